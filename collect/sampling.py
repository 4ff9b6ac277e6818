"""From seeds to latents: diffusers' schedulers as a table, guidance, and one noise stream a sample.

Sample i of a run with seed s is the same image whatever the batch it is computed in: its start noise and, for
ancestral samplers, every later draw come from a generator keyed by (s, i).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from collect.families import CLASSES, NULL_CLASS
from collect.train import SCHEDULE
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Sampler:
    """A scheduler with its options; order is the solver's, which bounds how fast error falls with steps."""

    scheduler: type
    options: dict = field(default_factory=dict)
    order: float = 1.0
    noisy: bool = False  # draws fresh noise at each step


TRAILING = {"timestep_spacing": "trailing"}  # starts at pure noise (Lin et al. 2023, arXiv:2305.08891, table 2)
SAMPLERS = {  # error expected to fall as steps^-order towards the network's own
    "ddim": Sampler(DDIMScheduler, {"clip_sample": False, **TRAILING}, order=1),
    "dpm++2m": Sampler(
        DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2, **TRAILING}, order=2
    ),
    "ddpm": Sampler(DDPMScheduler, {"clip_sample": False, **TRAILING}, order=0.5, noisy=True),
}


def sampler(name):
    """A row of the table; InputError lists the known names."""
    if name not in SAMPLERS:
        raise InputError(f"No sampler named '{name}'. Known samplers: {', '.join(SAMPLERS)}. See collect/sampling.py.")
    return SAMPLERS[name]


def calls(guidance):
    """Network evaluations a step and sample: two with classifier-free guidance, one at guidance 1 (none)."""
    return 1 if guidance == 1 else 2


def asked_classes(indices):
    """The class asked of each sample index: all ten in turn. int64 [image]."""
    return torch.as_tensor(indices) % CLASSES


def generators(seed, indices):
    """One generator a sample, keyed by (seed, index), mixed into the 32 bits that torch's CPU generator takes."""
    keys = [int(np.random.SeedSequence((seed, int(i))).generate_state(1)[0]) for i in indices]
    return [torch.Generator().manual_seed(key) for key in keys]


def predict(model, x, t, classes, guidance):
    """The network's v at noise level t; with guidance w: v_null + w (v_class - v_null), Ho & Salimans 2022, eq. 6."""
    levels = t.expand(len(x))
    if guidance == 1:
        return model(x, levels, classes).sample
    null = torch.full_like(classes, NULL_CLASS)
    both = model(torch.cat([x, x]), torch.cat([levels, levels]), torch.cat([null, classes])).sample
    v_null, v_class = both.chunk(2)
    return v_null + guidance * (v_class - v_null)


@torch.no_grad()
def latents(model, name, steps, guidance, seed, indices, shape=(4, 8, 8), device="cpu"):
    """Latents float32 [image, *shape] of the given sample indices: one trip through the scheduler."""
    row, streams = sampler(name), generators(seed, indices)
    scheduler = row.scheduler(**SCHEDULE, **row.options)
    scheduler.set_timesteps(steps, device=device)
    x = torch.stack([torch.randn(shape, generator=g) for g in streams]).to(device)
    classes, extra = asked_classes(indices).to(device), {"generator": streams} if row.noisy else {}
    for t in scheduler.timesteps:
        x = scheduler.step(predict(model, x, t, classes, guidance), t, x, **extra).prev_sample
    return x


class Calls:
    """Counts the network evaluations really made, sample by sample, by a hook on the forward; a context manager."""

    def __init__(self, model):
        self.model, self.samples = model, 0

    def __enter__(self):
        self.hook = self.model.register_forward_hook(lambda module, args, out: self._count(len(args[0])))
        return self

    def _count(self, n):
        self.samples += n

    def __exit__(self, *_):
        self.hook.remove()
