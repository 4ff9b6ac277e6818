"""tiny-t2i's shared autoencoder: 3x32x32 images to 8x8x8 latents (f = 4), diffusers' AutoencoderKL from scratch."""

import torch
from diffusers import AutoencoderKL
from torch.nn.functional import l1_loss

CHANNELS, SIDE = 8, 8
LATENT = (CHANNELS, SIDE, SIDE)
KL_WEIGHT = 3e-7


def build(scaling_factor=1.0):
    """The autoencoder; scaling_factor is 1 / standard deviation of the latents, as diffusers has it."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=4,
        sample_size=32,
        mid_block_add_attention=False,
        scaling_factor=scaling_factor,
    )


def to_model(images):
    """uint8 [image, 3, h, w] -> float32 in -1..1."""
    return images.float() / 127.5 - 1


def reconstruction(images, batch=32):
    """The loss |decode(z) - x| + 3e-7 KL(q(z|x) || N(0, 1)), z ~ q(z|x) (Kingma & Welling 2013, arXiv:1312.6114; the
    small weight as in Rombach et al. 2022, arXiv:2112.10752), on uint8 images [image, 3, h, w]."""

    def loss(model, generator):
        x = to_model(images[torch.randint(len(images), (batch,), generator=generator)])
        x = x.contiguous(memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = model.decode(posterior.mean + posterior.std * noise).sample
        return l1_loss(decoded, x) + KL_WEIGHT * posterior.kl().mean()

    return loss


def with_decoder_free(tensors):
    """A build for the loop: the autoencoder of some weights with everything that makes latents frozen."""

    def frozen():
        model = build()
        model.load_state_dict(tensors)
        for part in (model.encoder, model.quant_conv):
            part.requires_grad_(False)
        return model.to(memory_format=torch.channels_last)

    return frozen


def decoding(images, batch=32):
    """The loss |decode(E q(z|x)) - x| of the decoder alone, on uint8 images [image, 3, h, w]: denoisers trained
    on the encoder's latents stay as they are (as Stable Diffusion's decoders were tuned after their denoisers)."""

    def loss(model, generator):
        x = to_model(images[torch.randint(len(images), (batch,), generator=generator)])
        with torch.no_grad():
            z = model.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        return l1_loss(model.decode(z).sample, x)

    return loss


@torch.no_grad()
def encode(model, images, batch=250):
    """Posterior means float32 [image, 8, 8, 8] of uint8 images, times the scaling factor."""
    parts = [model.encode(to_model(chunk)).latent_dist.mean for chunk in images.split(batch)]
    return torch.cat(parts) * model.config.scaling_factor


@torch.no_grad()
def decode(model, latents, batch=32):
    """float images [image, 3, 32, 32] in -1..1 of scaled latents [image, 8, 8, 8]."""
    return torch.cat([model.decode(z / model.config.scaling_factor).sample for z in latents.split(batch)])
