"""Train a family: every size the same steps, batch and schedule; killed anywhere, it resumes to the same result.

Nothing here depends on the last step, so a longer run continues a shorter one: the rate falls as the inverse square
root of the step, and the average of the weights has a power-function profile (Karras et al. 2024, arXiv:2312.02696,
equations 67 and 121). All randomness is keyed by (seed, step), so that no generator needs to be stored.

    loss    v-prediction (Salimans & Ho 2022, arXiv:2202.00512) on a cosine schedule of 1,000 noise levels
    class   dropped with probability `drop_class`, for classifier-free guidance
    state   one safetensors file per size: weights, average, both Adam moments and the step
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch.nn.functional import mse_loss

from collect import weights
from collect.config.families import Recipe as Recipe
from collect.models.shapes import NULL_CLASS, SCHEDULE, shape

EMA_GAMMA = 6.94  # power-function profile of relative width 0.10


def rate(recipe, step):
    """Adam's rate at a step, counted from 1."""
    return recipe.rate * min(step / recipe.warmup, 1) / math.sqrt(max(step / recipe.decay_after, 1))


def ema_decay(step):
    """(1 - 1/step)^(gamma + 1): the average's profile grows with the run and needs no horizon."""
    return (1 - 1 / step) ** (EMA_GAMMA + 1)


def snapshot_steps(last, first=125):
    """Steps at which the average is kept: doubling from `first`, and the last."""
    doubling = [first * 2**k for k in range(64) if first * 2**k < last]
    return [*doubling, last]


@dataclass
class State:
    """A size in training; `step` steps are done."""

    model: torch.nn.Module
    average: dict
    optimizer: torch.optim.Optimizer
    step: int = 0


def start(family, c, recipe, device="cpu"):
    """A fresh State of one size."""
    torch.manual_seed(recipe.seed)
    model = shape(family).build(c).to(device)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return State(model, average, torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=0.0))


def save_state(state, path):
    """Weights, average, Adam's moments and the step as one safetensors file."""
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    weights.save(tensors, path, {"step": state.step})


def load_state(state, path):
    """Put a stored state into a fresh one; InputError when the file is damaged."""
    tensors, metadata = weights.load(path)
    moments = {}
    for key in (k for k in tensors if k.startswith("adam.")):
        _, index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = tensors[key]
    state.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    device = next(state.model.parameters()).device
    state.average = {k[8:]: v.to(device) for k, v in tensors.items() if k.startswith("average.")}
    state.step = int(metadata["step"])
    return state


def batch_of(latents, labels, recipe, step):
    """Latents, classes (some dropped), noise and noise levels of one step: a function of (seed, step) alone."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    chosen = torch.randint(len(latents), (recipe.batch,), generator=generator)
    noise = torch.randn((recipe.batch, *latents.shape[1:]), generator=generator)
    levels = torch.randint(SCHEDULE["num_train_timesteps"], (recipe.batch,), generator=generator)
    dropped = torch.rand(recipe.batch, generator=generator) < recipe.drop_class
    return latents[chosen], labels[chosen].masked_fill(dropped, NULL_CLASS), noise, levels


def advance(state, latents, labels, recipe, schedule, device="cpu"):
    """One training step; returns the loss."""
    step = state.step + 1
    x, y, noise, levels = (t.to(device) for t in batch_of(latents, labels, recipe, step))
    noisy, target = schedule.add_noise(x, noise, levels), schedule.get_velocity(x, noise, levels)
    loss = mse_loss(state.model(noisy, levels, y).sample, target)
    state.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
    for group in state.optimizer.param_groups:
        group["lr"] = rate(recipe, step)
    state.optimizer.step()
    _average(state, ema_decay(step))
    state.step = step
    return loss.item()


@torch.no_grad()
def _average(state, decay):
    now = state.model.state_dict()
    torch._foreach_lerp_(list(state.average.values()), [now[k] for k in state.average], 1 - decay)


def train_size(family, c, steps, latents, labels, recipe, folder, save_every=500, device="cpu"):
    """Train one size up to `steps` in `folder`, resuming what is there; yields (step, loss).

    Leaves `state.safetensors` and one `average-<step>.safetensors` a snapshot step reached.
    latents float32 [image, channel, h, w]; labels int64 [image].
    """
    folder, schedule = Path(folder), DDPMScheduler(**SCHEDULE)
    state, kept = start(family, c, recipe, device), snapshot_steps(steps)
    if (folder / "state.safetensors").exists():
        load_state(state, folder / "state.safetensors")
    while state.step < steps:
        loss = advance(state, latents, labels, recipe, schedule, device)
        if state.step in kept:
            weights.save(state.average, folder / f"average-{state.step:07d}.safetensors", {"step": state.step})
        if state.step % save_every == 0 or state.step == steps:
            save_state(state, folder / "state.safetensors")
        yield state.step, loss
