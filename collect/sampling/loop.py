"""From seeds to samples: one trip through a scheduler, guidance (also over an interval of noise levels), best of n.

Sample i of a run with seed s is the same whatever the batch it is computed in: its start noise and, for ancestral
samplers, every later draw come from a generator keyed by (s, i), and by the candidate's number in best of n.
"""

import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from collect.jobs import Outcome
from collect.models.model import calls
from collect.sampling.samplers import scheduler
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class How:
    """How samples are drawn: the axes of a sweep that the network does not see."""

    sampler: str
    steps: int
    guidance: float = 1.0
    interval: tuple[float, float] | None = None  # noise-to-signal ratios between which guidance is on; None: always
    seed: int = 0


def generators(seed, indices, *more):
    """One generator a sample, keyed by (seed, index, *more), mixed into the 32 bits that torch's generator takes."""
    keys = [int(np.random.SeedSequence((seed, int(i), *more)).generate_state(1)[0]) for i in indices]
    return [torch.Generator().manual_seed(key) for key in keys]


def draw(streams, shape):
    """Standard normal noise [sample, *shape], each row from its own generator."""
    return torch.stack([torch.randn(shape, generator=g) for g in streams])


def noise_ratio(schedule, flow, t):
    """Noise over signal at a time step t (sigma of Karras et al. 2022, arXiv:2206.00364)."""
    if flow:
        share = float(t) / schedule.config.num_train_timesteps
        return share / max(1 - share, 1e-12)
    known = schedule.alphas_cumprod.double().cpu().numpy()
    signal2 = np.interp(float(t), np.arange(len(known)), known)
    return float(np.sqrt((1 - signal2) / signal2))


def weights_by_step(how, model, schedule):
    """The guidance weight at each of the scheduler's time steps: how.guidance inside the interval, 1 outside."""
    if how.interval is None or how.guidance == 1:
        return [how.guidance] * len(schedule.timesteps)
    low, high = how.interval
    ratios = [noise_ratio(schedule, model.flow, t) for t in schedule.timesteps]
    return [how.guidance if low <= ratio <= high else 1.0 for ratio in ratios]


def planned(how, model, device="cpu"):
    """The scheduler of a trip with its time steps; InputError where the sampler cannot make so many."""
    schedule = scheduler(how.sampler, model)
    try:
        model.timesteps(schedule, how.steps, device)
    except ValueError as error:
        raise InputError(f"Sampler '{how.sampler}' cannot make {how.steps} steps: {error}") from error
    return schedule


@lru_cache(maxsize=100_000)
def evaluations(how, traits):
    """Network evaluations a sample: one at each of the scheduler's time steps, two where guidance takes a pair."""
    check_guidance(traits, how.guidance)
    return sum(calls(traits.guided, weight) for weight in weights_by_step(how, traits, planned(how, traits)))


def check_guidance(model, guidance):
    """InputError when a model cannot be guided but is asked to be."""
    if model.guided == "none" and guidance != 1:
        raise InputError(f"This model cannot be guided: guidance was {guidance:g}, allowed is 1.")


def predict(model, net, x, t, condition, nothing, weight):
    """The network's prediction; with a weight w: u + w (c - u), Ho & Salimans 2022, arXiv:2207.12598, eq. 6."""
    levels = t.expand(len(x))
    if weight == 1 or model.guided == "embedded":
        return model.call(net, x, levels, condition, weight)
    both = {k: torch.cat([nothing[k], condition[k]]) for k in condition}
    unasked, asked = model.call(net, torch.cat([x, x]), torch.cat([levels, levels]), both, weight).chunk(2)
    return unasked + weight * (asked - unasked)


def placed(condition, device, dtype):
    """Conditions on the network's device, and numbers of it in the network's precision."""
    return condition and {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in condition.items()}


@dataclass
class Trip:
    """What a trip through the noise levels starts from."""

    schedule: object
    streams: list  # a generator a sample
    noise: torch.Tensor  # x [sample, ...] of variance 1
    conditions: tuple  # what is asked, and the same for nothing asked


def begun(model, how, indices, asked, device="cpu", candidate=0):
    """The Trip of the given sample indices."""
    dtype = next(model.denoiser.parameters(), torch.empty(0)).dtype
    check_guidance(model, how.guidance)
    streams = generators(how.seed, indices, *([candidate] if candidate else []))
    noise = model.pack(draw(streams, model.shape)).to(device)
    conditions = tuple(placed(c, device, dtype) for c in model.condition(asked))
    return Trip(planned(how, model, device), streams, noise, conditions)


def called(model, net, trip, x, t, weight):
    """The network's prediction at a time step of a trip, float32."""
    seen = trip.schedule.scale_model_input(x, t) if hasattr(trip.schedule, "scale_model_input") else x
    dtype = next(model.denoiser.parameters(), torch.empty(0)).dtype
    return predict(model, net, seen.to(dtype), t, *trip.conditions, weight).float()


@torch.no_grad()
def latents(model, how, indices, asked, net=None, device="cpu", candidate=0):
    """x [sample, ...] of the given sample indices, float32; `net` is the denoiser or a compiled twin of it."""
    net = model.denoiser if net is None else net
    trip = begun(model, how, indices, asked, device, candidate)
    schedule, x = trip.schedule, trip.noise * float(getattr(trip.schedule, "init_noise_sigma", 1.0))
    extra = {"generator": trip.streams} if "generator" in inspect.signature(schedule.step).parameters else {}
    for t, weight in zip(schedule.timesteps, weights_by_step(how, model, schedule), strict=True):
        x = schedule.step(called(model, net, trip, x, t, weight), t, x, **extra).prev_sample
    return x


@torch.no_grad()
def first_calls(model, how, indices, asked, net=None, device="cpu", candidate=0):
    """The noise of the given samples, after a call of the network for each weight that a trip has: nothing is solved.

    For what must run before it is timed, and for the time of one call.
    """
    net = model.denoiser if net is None else net
    trip = begun(model, how, indices, asked, device, candidate)
    for weight in set(weights_by_step(how, model, trip.schedule)):
        called(model, net, trip, trip.noise, trip.schedule.timesteps[0], weight)
    return trip.noise


def asked_of(task, how, indices):
    """What a task asks of some samples, with a source of further noise keyed like the sample's own."""
    noise = lambda shape: draw(generators(how.seed, indices, 0, 1), shape)  # noqa: E731
    return task.ask(indices) | {"indices": np.asarray(indices), "noise": noise}


def samples(model, task, how, indices, net=None, device="cpu", candidate=0):
    """(samples [sample, ...], asked) of the given indices: drawn and decoded."""
    asked = asked_of(task, how, indices)
    return finished(model, latents(model, how, indices, asked, net, device, candidate)), asked


@torch.no_grad()
def finished(model, x):
    """The samples of x, on the CPU; Outcome 'nan' when x or what the decoder makes of it is not finite."""
    made = model.decode(x)
    for what, values in (("sampler", x), ("decoder", made)):
        if not torch.isfinite(values).all():
            raise Outcome("nan", f"the {what} gave numbers that are not finite")
    return model.finish(made).cpu()


def best_of(n, verifier, draw_one):
    """Of n candidates for each sample the one the verifier scores highest; draw_one(j) -> (samples, asked)."""
    kept, asked = draw_one(0)
    if n == 1:
        return kept, asked
    score = verifier(kept, asked)
    for j in range(1, n):
        other, _ = draw_one(j)
        found = verifier(other, asked)
        better = torch.as_tensor(found > score)
        kept, score = torch.where(better.view(-1, *[1] * (kept.dim() - 1)), other, kept), np.maximum(score, found)
    return kept, asked


@contextmanager
def counting(net):
    """Counts the network evaluations really made, by a hook on the forward: yields a list, samples of each call."""
    counted = []  # appended to by whatever thread calls

    def add(module, args, kwargs, out):
        counted.append(len(args[0] if args else kwargs["hidden_states"]))

    hook = net.register_forward_hook(add, with_kwargs=True)
    try:
        yield counted
    finally:
        hook.remove()
