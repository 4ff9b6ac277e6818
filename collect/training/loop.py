"""One training loop for every model here; the loss is a value. Killed anywhere, it resumes to the same weights.

Nothing depends on the last step, so a longer run continues a shorter one: the rate falls as the inverse square root of
the step, and the average of the weights has a power-function profile (Karras et al. 2024, arXiv:2312.02696, equations
67 and 121). All randomness is keyed by (seed, step): no generator is stored.

    loss       a function of (model, step's generator) -> scalar tensor; it holds its data
    state      one safetensors file: weights, average, Adam's moments and the step
    snapshots  `average-<step>.safetensors` at doubling steps
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from collect import weights

FIRST_SNAPSHOT = 125


@dataclass(frozen=True)
class Pace:
    """How the weights move."""

    rate: float = 2e-3  # Adam's peak rate
    warmup: int = 200  # steps
    decay_after: int = 2000  # steps at the peak rate before it falls as 1/sqrt(step)
    clip: float = 1.0  # largest norm of the gradient
    gamma: float = 6.94  # power-function profile of the average, of relative width 0.10
    weight_decay: float = 0.0
    seed: int = 0


def rate(pace, step):
    """Adam's rate at a step, counted from 1."""
    return pace.rate * min(step / pace.warmup, 1) / math.sqrt(max(step / pace.decay_after, 1))


def ema_decay(gamma, step):
    """(1 - 1/step)^(gamma + 1): the average's profile grows with the run and needs no horizon."""
    return (1 - 1 / step) ** (gamma + 1)


def snapshot_steps(last, first=FIRST_SNAPSHOT):
    """Steps at which the average is kept: doubling from `first`, and the last."""
    doubling = [first * 2**k for k in range(64) if first * 2**k < last]
    return [*doubling, last]


def is_doubling(step, first=FIRST_SNAPSHOT):
    """Whether a step is `first` times a power of two."""
    ratio = step // first
    return step % first == 0 and ratio > 0 and ratio & (ratio - 1) == 0


def keyed(seed, step):
    """The generator of one step."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


@dataclass
class State:
    """A model in training; `step` steps are done."""

    model: torch.nn.Module
    average: dict
    optimizer: torch.optim.Optimizer
    step: int = 0


def start(build, pace, device="cpu"):
    """A fresh State of build(), its weights drawn by the pace's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(pace.seed)
        model = build().to(device)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    return State(model, average, torch.optim.AdamW(trained, pace.rate, weight_decay=pace.weight_decay))


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


def advance(state, loss, pace):
    """One step of Adam on a loss; returns its value."""
    step = state.step + 1
    value = loss(state.model, keyed(pace.seed, step))
    state.optimizer.zero_grad()
    value.backward()
    trained = state.optimizer.param_groups[0]["params"]
    torch.nn.utils.clip_grad_norm_(trained, pace.clip)
    for group in state.optimizer.param_groups:
        group["lr"] = rate(pace, step)
    state.optimizer.step()
    _average(state, ema_decay(pace.gamma, step))
    state.step = step
    return value.item()


@torch.no_grad()
def _average(state, decay):
    now = state.model.state_dict()
    pairs = [(kept, now[k]) for k, kept in state.average.items() if kept.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)


def train(build, loss, pace, steps, folder, save_every=250, device="cpu"):
    """Train build() up to `steps` in `folder`, resuming what is there; yields (step, loss).

    Leaves `state.safetensors` and one `average-<step>.safetensors` at each doubling step and at the last.
    """
    folder = Path(folder)
    state = start(build, pace, device)
    if (folder / "state.safetensors").exists():
        load_state(state, folder / "state.safetensors")
    while state.step < steps:
        value = advance(state, loss, pace)
        if is_doubling(state.step) or state.step == steps:
            weights.save(state.average, snapshot(folder, state.step), {"step": state.step})
        if state.step % save_every == 0 or state.step == steps:
            save_state(state, folder / "state.safetensors")
        yield state.step, value


def snapshot(folder, step):
    """Where the average of a step is kept."""
    return Path(folder) / f"average-{step:07d}.safetensors"


def snapshots(folder):
    """[(step, path)] of the averages in a folder, in order."""
    return [(int(p.stem.split("-")[1]), p) for p in sorted(Path(folder).glob("average-*.safetensors"))]
