"""The family's shared autoencoder: 1x32x32 images to 4x8x8 latents, diffusers' AutoencoderKL trained from scratch."""

import torch
from diffusers import AutoencoderKL
from torch.nn.functional import mse_loss

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
    """uint8 [image, 32, 32] -> float32 [image, 1, 32, 32] in -1..1."""
    return images[:, None].float() / 127.5 - 1


def train(images, steps=3000, batch=64, peak_rate=2e-3, kl_weight=1e-5, seed=0):
    """Train on squared error plus a small KL term; yields (step, reconstruction error, model)."""
    torch.manual_seed(seed)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), peak_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        x = to_model(images[torch.randint(len(images), (batch,), generator=generator)])
        posterior = model.encode(x).latent_dist
        error = mse_loss(model.decode(posterior.sample()).sample, x)
        loss = error + kl_weight * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield step, error.item(), model


@torch.no_grad()
def encode(model, images, batch=1000):
    """Posterior means float32 [image, 4, 8, 8] of uint8 images, times the scaling factor."""
    parts = [model.encode(to_model(chunk)).latent_dist.mean for chunk in images.split(batch)]
    return torch.cat(parts) * model.config.scaling_factor


@torch.no_grad()
def decode(model, latents, batch=500):
    """float images [image, 1, 32, 32] in -1..1 of scaled latents [image, 4, 8, 8]."""
    return torch.cat([model.decode(z / model.config.scaling_factor).sample for z in latents.split(batch)])
