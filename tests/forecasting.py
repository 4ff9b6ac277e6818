"""A plug-in for data that are not images: a small family of diffusion models that forecast a series, scored by CRPS.

This is all that a user writes: a task that gives the condition of sample i, and a function that opens a Model.
An installed package names both in its pyproject.toml; then a checkpoint family's family.yaml can use them by name:

    [project.entry-points."scalinglaws.tasks"]        task: {kind: forecast, options: {members: 10}}
    forecast = "forecasting:Forecast"                 models:
    [project.entry-points."scalinglaws.models"]         - {label: w4, kind: forecaster, options: {width: 4}}
    forecaster = "forecasting:open_forecaster"          - {label: w32, kind: forecaster, options: {width: 32}}

The series is x[t+1] = 0.8 x[t] + e, e ~ N(0, 0.36): its forecasts are Gaussian, so the best score is known.
"""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler

from collect.models.model import Model, identity

STEPS = 6  # values forecast
PHI, NOISE = 0.8, 0.6
SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction",
            "clip_sample": False, "timestep_spacing": "trailing"}  # fmt: skip


def futures(starts, rng):
    """Series [start, STEPS] that go on from values [start]."""
    x, out = np.asarray(starts, float), []
    for _ in range(STEPS):
        x = PHI * x + NOISE * rng.normal(size=x.shape)
        out.append(x)
    return np.stack(out, -1)


@dataclass(frozen=True)
class Forecast:
    """Sample i is one of `members` forecasts of context i // members; the truth is its target."""

    members: int = 10
    name = "forecast"

    def conditions(self, indices):
        contexts = np.asarray(indices) // self.members
        drawn = [np.random.default_rng((7, int(c))) for c in contexts]
        starts = np.array([rng.normal() for rng in drawn])
        targets = np.stack([futures(x, rng) for x, rng in zip(starts, drawn, strict=True)])
        return {"starts": starts, "targets": torch.as_tensor(targets)}

    def identity(self):
        return {"task": self.name, "members": self.members}


class Denoiser(torch.nn.Module):
    """v of a noised series [b, STEPS] at noise level t [b], given the value before it [b]."""

    def __init__(self, width):
        super().__init__()
        layers = [torch.nn.Linear(STEPS + 3, width), torch.nn.SiLU(), torch.nn.Linear(width, width), torch.nn.SiLU()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(width, STEPS))

    def forward(self, x, t, start):
        angle = t[:, None] / 1000 * np.pi / 2
        return self.layers(torch.cat([x, angle.cos(), angle.sin(), start[:, None]], 1))


def train(width, steps=1500, batch=256):
    """A Denoiser trained on drawn series."""
    torch.manual_seed(0)
    rng, net, schedule = np.random.default_rng(1), Denoiser(width), DDPMScheduler(**SCHEDULE)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(steps):
        starts = rng.normal(size=batch)
        x, noise = torch.tensor(futures(starts, rng)).float(), torch.tensor(rng.normal(size=(batch, STEPS))).float()
        t = torch.tensor(rng.integers(0, 1000, batch))
        found = net(schedule.add_noise(x, noise, t), t.float(), torch.tensor(starts).float())
        loss = ((found - schedule.get_velocity(x, noise, t)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def open_forecaster(width):
    """The Model of one width."""
    return Model(
        train(width),
        (STEPS,),
        SCHEDULE,
        lambda conditions: ({"start": torch.as_tensor(conditions["starts"]).float()}, None),
        identity,
        finish=identity,
        guided="none",
        call=lambda net, x, t, condition, guidance: net(x, t, **condition),
    )
