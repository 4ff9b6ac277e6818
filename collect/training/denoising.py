"""The denoising loss of any pipeline that collect adapts, on Examples: continued training and super-resolution."""

import torch
from torch.nn.functional import mse_loss

from collect.training.pretrained import dropped_conditions


def denoising(pretrained, examples, batch=32, drop=0.1):
    """The loss E |f_theta(z_t, t, c) - target|^2, z_t = alpha_t x + sigma_t noise, t uniform over the levels, in what
    the network predicts: noise (Ho et al. 2020, arXiv:2006.11239, eq. 14), v (Salimans & Ho 2022, arXiv:2202.00512),
    x, or the velocity of flow matching (Liu et al. 2022, arXiv:2209.03003, eq. 1); the condition is dropped with
    probability `drop` (Ho & Salimans 2022, arXiv:2207.12598).

    For a widened denoiser the conditions hold `beside`, the encoded small image (Mei et al. 2024, arXiv:2404.01367,
    Fig. 2), which is never dropped.
    """

    def loss(net, generator):
        x, t, noise, condition = draw(pretrained, examples, batch, drop, generator)
        z = pretrained.process.noised(x, noise, t)
        return error(pretrained, net, z, t, condition, pretrained.process.target(x, noise, t))

    return loss


def error(pretrained, net, z, t, condition, target):
    """|f(z, t, c) - target|^2, mean over the batch and the numbers of each."""
    return mse_loss(pretrained.model.call(net, z, times(t, z), condition, 1.0).float(), target)


def times(t, like):
    """Times t [b] on the device of the network's input."""
    return torch.as_tensor(t).to(like.device)


def draw(pretrained, examples, batch, drop, generator):
    """(x [b, ...], t [b], noise like x, condition) of one step: a function of the generator alone."""
    chosen = torch.randint(len(examples), (batch,), generator=generator)
    noise = torch.randn((batch, *examples.x.shape[1:]), generator=generator)
    t = pretrained.process.draw(batch, generator)
    dropped = torch.rand(batch, generator=generator) < drop
    condition = dropped_conditions(pretrained.model, examples.take(chosen), dropped, pretrained.device)
    x = examples.x[chosen].float().to(pretrained.device)
    return x, t, noise.to(pretrained.device), condition
