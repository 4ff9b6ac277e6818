"""Training: one step for every model here, whose loss is a value; a loop that is killed anywhere resumes bitwise.

Nothing depends on the last step, so a longer run continues a shorter one: the rate falls as the inverse square root of
the step, and the average of the weights has a power-function profile (Karras et al. 2024, arXiv:2312.02696, equations
67 and 121). All randomness is keyed by (seed, step): no generator is stored.

    loss       a function of (model, the step's generator) -> scalar tensor; it holds its data (losses.py)
    state      one safetensors file: weights, average, Adam's moments and the step; never of weights that are not finite
    snapshots  `average-<step>.safetensors` at doubling steps
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from collect import weights
from collect.training.parallel import Alone
from scalinglaws.schema import InputError, NoAnswer

FIRST_SNAPSHOT = 125  # steps


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, its learning rate over the steps, and the average of the weights."""

    rate: float = 2e-3  # Adam's peak learning rate
    warmup: int = 200  # steps
    decay_after: int = 2000  # steps at the peak rate before it falls as 1/sqrt(step)
    clip: float = 1.0  # largest norm of the gradient
    gamma: float = 6.94  # power-function profile of the average, of relative width 0.10
    weight_decay: float = 0.0
    seed: int = 0


def optimizer_config(recipe, seed):
    """The OptimizerConfig of what a file says of its training: rate, warmup, decay_after, clip."""
    return OptimizerConfig(recipe.rate, recipe.warmup, recipe.decay_after, recipe.clip, seed=seed)


def learning_rate(config, step):
    """Adam's learning rate at a step, counted from 1."""
    return config.rate * min(step / config.warmup, 1) / math.sqrt(max(step / config.decay_after, 1))


def ema_decay(gamma, step):
    """(1 - 1/step)^(gamma + 1): the average's profile grows with the run and needs no horizon."""
    return (1 - 1 / step) ** (gamma + 1)


def snapshot_steps(last):
    """Steps at which the average is kept: doubling from FIRST_SNAPSHOT, and the last."""
    doubling = [FIRST_SNAPSHOT * 2**k for k in range(64) if FIRST_SNAPSHOT * 2**k < last]
    return [*doubling, last]


def is_doubling(step):
    """Whether a step is FIRST_SNAPSHOT times a power of two."""
    ratio = step // FIRST_SNAPSHOT
    return step % FIRST_SNAPSHOT == 0 and ratio > 0 and ratio & (ratio - 1) == 0


def step_generator(seed, step, rank=0):
    """The generator of one step, of one of several processes; torch's takes 32 bits, so the rank is mixed into them."""
    key = seed * 1_000_003 + step
    return torch.Generator().manual_seed(int(np.random.SeedSequence((key, rank)).generate_state(1)[0]) if rank else key)


@dataclass
class State:
    """A model in training; `step` steps are done."""

    model: torch.nn.Module
    average: dict
    optimizer: torch.optim.Optimizer
    step: int = 0


def start(build, config, device="cpu"):
    """A fresh State of build(), its weights drawn by the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build().to(device)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    return State(model, average, torch.optim.AdamW(trained, config.rate, weight_decay=config.weight_decay))


def save_state(state, path, model=None, where=None):
    """Weights, average, Adam's moments, the step, the number of processes and their precision as one safetensors file;
    model: the State's without a wrapper."""
    where = where or Alone()
    tensors = {f"model.{k}": v for k, v in (model or state.model).state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    weights.save(tensors, path, {"step": state.step, "processes": where.processes, "dtype": where.dtype})


def load_state(state, path, where=None):
    """Put a stored state into a fresh one; InputError when the file is damaged, of another number of processes or
    precision, or of weights that are not finite."""
    tensors, metadata = weights.load(path)
    where = where or Alone()
    if (before := int(metadata.get("processes", 1))) != where.processes:
        raise InputError(
            f"{path} is of {before} processes, each with a batch of its own, and cannot be continued by "
            f"{where.processes}: start {before}, or choose another --out."
        )
    if (before := metadata.get("dtype", where.dtype)) != where.dtype:  # older states do not say
        raise InputError(
            f"{path} was trained in {before} and cannot be continued in {where.dtype}: train in {before}, or choose "
            "another --out."
        )
    if bad := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise InputError(
            f"{path} holds numbers that are not finite ({bad[0]}, for one): its run had diverged by step "
            f"{metadata['step']}. Delete it to start again, with a smaller rate or a longer warmup."
        )
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


def optimize(model, optimizer, loss, generator, clip=None, where=None):
    """One step of an optimizer on a loss, the gradient's norm held to `clip`; returns the loss and that norm, without
    a clip 0."""
    where, value, norm = where or Alone(), loss(model, generator), 0.0
    optimizer.zero_grad()
    where.backward(value)
    if clip is not None:
        norm = where.clip(optimizer.param_groups[0]["params"], clip)
    optimizer.step()
    return value.item(), float(norm)


def advance(state, loss, config, where=None):
    """One step of a State; returns the loss and the norm of its gradient."""
    where, step = where or Alone(), state.step + 1
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    if getattr(loss, "averaged", False):
        loss = partial(loss, average=state.average)
    generator = step_generator(config.seed, step, where.rank)
    value = optimize(state.model, state.optimizer, loss, generator, config.clip, where)
    _average(state, where.bare(state.model), ema_decay(config.gamma, step))
    state.step = step
    return value


def check_finite(value, norm, step, folder, kept):
    """NoAnswer where a step's loss or the norm of its gradient is not finite: the weights after it are of no use.

    kept: the step of the state in `folder`, None where there is none. The norm is that of all processes' gradients, so
    that all of them stop at one step.
    """
    if math.isfinite(value) and math.isfinite(norm):
        return
    held = [f"state.safetensors of step {kept}"] if kept else []
    held += [f"snapshot {path.name}" for _, path in snapshots(folder)[-1:]]
    last = f"Kept from before are {' and '.join(held)}" if held else "Nothing was kept before it"
    raise NoAnswer(
        f"The training in {folder} diverged at step {step}: the loss was {value:g}, the norm of its gradient {norm:g}. "
        f"{last}. The same training would end the same way: give a smaller rate or a longer warmup, and another --out."
    )


@torch.no_grad()
def _average(state, model, decay):
    now = model.state_dict()
    pairs = [(kept, now[k]) for k, kept in state.average.items() if kept.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)


def train(build, loss, config, steps, folder, save_every=250, device="cpu", where=None):
    """Train build() up to `steps` in `folder`, resuming what is there; yields (step, loss).

    Leaves `state.safetensors` and one `average-<step>.safetensors` at each doubling step and at the last.
    A loss with the attribute `averaged` is called with `average`, {name: tensor} of the average of the weights, too.
    where: the processes and the precision (parallel.py); by default this process on `device`. A loss that is not finite
    ends the run, see check_finite; what is on disk stays.
    """
    folder, where = Path(folder), where or Alone(device)
    state = start(build, config, where.device)
    if (folder / "state.safetensors").exists():
        load_state(state, folder / "state.safetensors", where)
    state.model, state.optimizer = where.prepare(state.model, state.optimizer)
    kept = state.step
    while state.step < steps:
        value, norm = advance(state, loss, config, where)
        check_finite(value, norm, state.step, folder, kept)
        if where.first and (is_doubling(state.step) or state.step == steps):
            weights.save(state.average, snapshot(folder, state.step), {"step": state.step})
        if state.step % save_every == 0 or state.step == steps:
            kept = state.step
            if where.first:
                save_state(state, folder / "state.safetensors", where.bare(state.model), where)
        yield state.step, value
    where.wait()


def train_one_cycle(build, loss, steps, peak_rate, weight_decay=0.0, clip=None, seed=0):
    """Train build() by Adam with a one-cycle rate (Smith & Topin 2018, arXiv:1708.07120); yields (step, loss, model).

    For small parts that need no resuming: the rate depends on the last step, and one generator serves all steps.
    NoAnswer where the loss is not finite.
    """
    torch.manual_seed(seed)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), peak_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        value, norm = optimize(model, optimizer, loss, generator, clip)
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise NoAnswer(
                f"The training of a {type(model).__name__} diverged at step {step}: its loss is {value:g}, the norm of "
                f"its gradient {norm:g}, and nothing was written. Its data or its rate are at fault."
            )
        schedule.step()
        yield step, value, model


def snapshot(folder, step):
    """Where the average of a step is kept."""
    return Path(folder) / f"average-{step:07d}.safetensors"


def snapshots(folder):
    """[(step, path)] of the averages in a folder, in order."""
    return [(int(p.stem.split("-")[1]), p) for p in sorted(Path(folder).glob("average-*.safetensors"))]


def common_snapshot(folder, labels, step=None):
    """(step, {label: path}) of a snapshot that every label has in <folder>/<label>: of `step`, or the last one.

    InputError when there is none.
    """
    kept = {label: dict(snapshots(Path(folder) / label)) for label in labels}
    common = sorted(set.intersection(*map(set, kept.values())))
    if not common or step not in (None, *common):
        raise InputError(f"Not every size in {folder} has a snapshot of step {step}; all have {common or 'none'}.")
    step = step or common[-1]
    return step, {label: kept[label][step] for label in labels}


def release_averages(folder, labels, into, step=None):
    """Write each label's average of a snapshot step, see common_snapshot, as float16 to <into>/<label>.safetensors."""
    step, paths = common_snapshot(folder, labels, step)
    for label, path in paths.items():
        weights.save(weights.load(path)[0], Path(into) / f"{label}.safetensors", {"train_steps": step}, half=True)
