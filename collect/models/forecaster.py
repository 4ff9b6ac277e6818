"""tiny-series: a residual perceptron that denoises the weeks to forecast, given the weeks known, and its processes.

Only the width changes between sizes. Every process is z_t = alpha_t x + sigma_t noise, t uniform, and the network
predicts its velocity: v of a variance-preserving one, noise - x of flow matching.
"""

import math

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch.nn.functional import layer_norm, silu

from collect.models.model import Model, identity
from collect.models.rules import PROCESSES

BLOCKS = 2
WAVES = (1, 2, 4, 8)  # quarter turns of the angles that tell the network the noise level, over the whole process


class Block(torch.nn.Module):
    """x + W2 silu(W1 norm(x)), x [b, width]."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = torch.nn.Linear(width, width), torch.nn.Linear(width, width)

    def forward(self, x):
        return x + self.second(silu(self.first(layer_norm(x, x.shape[-1:]))))


class Forecaster(torch.nn.Module):
    """The velocity at noised futures x [b, horizon], given the weeks known, context [b, weeks]."""

    def __init__(self, width, context, horizon):
        super().__init__()
        self.enter = torch.nn.Linear(horizon + context + 2 * len(WAVES), width)
        self.blocks = torch.nn.Sequential(*(Block(width) for _ in range(BLOCKS)))
        self.leave = torch.nn.Linear(width, horizon)

    def forward(self, x, t, context):
        """t [b]: the noise level, 0 (data) to 1000 (noise)."""
        angles = t[:, None].to(x.dtype) / 1000 * (math.pi / 2) * torch.tensor(WAVES, dtype=x.dtype, device=x.device)
        h = self.blocks(self.enter(torch.cat([x, context, angles.cos(), angles.sin()], 1)))
        return self.leave(layer_norm(h, h.shape[-1:]))


def call(net, x, t, condition, guidance):
    """The network as a Model calls it."""
    return net(x, t, **condition)


def even_timesteps(scheduler, steps, device):
    """Even steps from noise to data; left alone, diffusers' Euler of flow matching spends its last one at 0.001."""
    even = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    taken = {"sigmas": torch.linspace(1, 1 / steps, steps).tolist()} if even else {"num_inference_steps": steps}
    scheduler.set_timesteps(**taken, device=device)


def model(net, process, horizon, scale):
    """The Model of a Forecaster under a process of PROCESSES; samples are in the unit of `scale`."""
    return Model(
        net,
        (horizon,),
        PROCESSES[process],
        lambda conditions: ({"context": torch.as_tensor(conditions["contexts"]).float() / scale}, None),
        lambda x: x * scale,
        finish=identity,
        guided="none",
        call=call,
        timesteps=even_timesteps,
        flow=process == "flow",
    )
