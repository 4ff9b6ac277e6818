"""The loss of a text-conditional latent diffusion model, as a value for collect/training/loop.py."""

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch.nn.functional import mse_loss

SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


@dataclass(frozen=True)
class Encoded:
    """A training set as the denoiser sees it: latents [image, channel, h, w], text [image, token, number], and the
    text of nothing [token, number]; any floating dtype, used as float32."""

    latents: torch.Tensor
    text: torch.Tensor
    nothing: torch.Tensor


def denoising(data, batch=64, drop=0.1, schedule=None):
    """The loss E |v_theta(z_t, t, y) - v|^2, v = alpha_t noise - sigma_t z (Salimans & Ho 2022, arXiv:2202.00512), with
    z_t = alpha_t z + sigma_t noise, t uniform over 1,000 levels of the cosine schedule (Nichol & Dhariwal 2021,
    arXiv:2102.09672) and the text y replaced by the empty one with probability `drop` (Ho & Salimans 2022,
    arXiv:2207.12598)."""
    schedule = schedule or DDPMScheduler(**SCHEDULE)

    def loss(model, generator):
        z, y, noise, levels = draw(data, batch, drop, generator, len(schedule))
        predicted = model(schedule.add_noise(z, noise, levels), levels, y, return_dict=False)[0]
        return mse_loss(predicted, schedule.get_velocity(z, noise, levels))

    return loss


def draw(data, batch, drop, generator, levels=1000):
    """Latents, text (some dropped), noise and noise levels of one step, on the data's device: the generator decides."""
    device, n = data.latents.device, len(data.latents)
    chosen = torch.randint(n, (batch,), generator=generator).to(device)
    z = data.latents[chosen].float()
    noise = torch.randn(z.shape, generator=generator).to(device)
    t = torch.randint(levels, (batch,), generator=generator).to(device)
    dropped = (torch.rand(batch, generator=generator) < drop).to(device)
    y = torch.where(dropped[:, None, None], data.nothing.float(), data.text[chosen].float())
    return z, y, noise, t
