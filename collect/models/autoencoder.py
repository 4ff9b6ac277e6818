"""The family's shared autoencoder: 1x32x32 images to 4x8x8 latents, diffusers' AutoencoderKL."""

import torch
from diffusers import AutoencoderKL

LATENT = (4, 8, 8)


def build(scaling_factor=1.0):
    """The autoencoder; scaling_factor is 1 / standard deviation of the latents, as diffusers has it."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        mid_block_add_attention=False,
        scaling_factor=scaling_factor,
    )


def to_model(images):
    """uint8 [image, h, w] or [image, channel, h, w] -> float32 [image, channel, h, w] in -1..1."""
    return (images if images.ndim == 4 else images[:, None]).float() / 127.5 - 1


@torch.no_grad()
def encode(model, images, batch=1000):
    """Posterior means float32 [image, latent, 8, 8] of uint8 images, times the scaling factor."""
    parts = [model.encode(to_model(chunk)).latent_dist.mean for chunk in images.split(batch)]
    return torch.cat(parts) * model.config.scaling_factor


@torch.no_grad()
def decode(model, latents, batch=500):
    """float images [image, channel, 32, 32] in -1..1 of scaled latents [image, latent, 8, 8]."""
    return torch.cat([model.decode(z / model.config.scaling_factor).sample for z in latents.split(batch)])
