"""From seeds to samples: a trajectory through the noise levels, guidance (also over an interval of them), best of n.

Sample i of a run with seed s is the same whatever the batch it is computed in: its start noise and, for ancestral
samplers, every later draw come from a generator keyed by (s, i), and by the candidate's number in best of n.
"""

import inspect
import math
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from collect.jobs import Outcome
from collect.models.model import calls
from collect.sampling.schedulers import scheduler
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class SamplingConfig:
    """How samples are drawn: the axes of a sweep that the network does not see."""

    sampler: str
    steps: int
    guidance: float = 1.0
    interval: tuple[float, float] | None = None  # noise-to-signal ratios between which guidance is on; None: always
    seed: int = 0
    diffusion_time: float = 1.0  # share of the noise schedule at which sampling starts, see schedulers.cut


def generators(seed, indices, *more):
    """One generator per sample, keyed by (seed, index, *more), mixed into the 32 bits that torch's generator takes."""
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


def weights_by_step(config, model, schedule):
    """The guidance weight at each of the scheduler's time steps: config.guidance inside the interval, 1 outside."""
    if config.interval is None or config.guidance == 1:
        return [config.guidance] * len(schedule.timesteps)
    low, high = config.interval
    ratios = [noise_ratio(schedule, model.flow, t) for t in schedule.timesteps]
    return [config.guidance if low <= ratio <= high else 1.0 for ratio in ratios]


def planned(config, model, device="cpu"):
    """The scheduler of a trajectory with its time steps; InputError where the sampler cannot make so many."""
    schedule = scheduler(config.sampler, model, config.diffusion_time)
    try:
        model.timesteps(schedule, config.steps, device)
    except ValueError as error:
        raise InputError(f"Sampler '{config.sampler}' cannot make {config.steps} steps: {error}") from error
    return schedule


@lru_cache(maxsize=100_000)
def evaluations(config, traits):
    """Network evaluations per sample: one at each of the scheduler's time steps, two where guidance takes a pair."""
    check_guidance(traits, config.guidance)
    return sum(calls(traits.guided, weight) for weight in weights_by_step(config, traits, planned(config, traits)))


def check_guidance(model, guidance):
    """InputError for a guidance other than 1 of a model that cannot be guided."""
    if model.guided == "none" and guidance != 1:
        raise InputError(f"This model cannot be guided: guidance was {guidance:g}, allowed is 1.")


def predict(model, net, x, t, cond, uncond, weight):
    """The network's prediction; with a weight w: u + w (c - u), Ho & Salimans 2022, arXiv:2207.12598, eq. 6."""
    levels = t.expand(len(x))
    if weight == 1 or model.guided == "embedded":
        return model.call(net, x, levels, cond, weight)
    both = {k: torch.cat([uncond[k], cond[k]]) for k in cond}
    u, c = model.call(net, torch.cat([x, x]), torch.cat([levels, levels]), both, weight).chunk(2)
    return u + weight * (c - u)


def network_dtype(model):
    return next(model.denoiser.parameters(), torch.empty(0)).dtype


@torch.no_grad()
def encode(model, conditions, device="cpu"):
    """(cond, uncond) as the network takes them, on its device; numbers of them in the network's precision."""
    dtype = network_dtype(model)
    return tuple(
        part and {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in part.items()}
        for part in model.condition(conditions)
    )


@dataclass
class SamplerState:
    """What a trajectory through the noise levels starts from."""

    schedule: object
    streams: list  # a generator per sample
    noise: torch.Tensor  # x [sample, ...] of variance 1
    encoded: tuple  # (cond, uncond)


def init(model, config, indices, encoded, device="cpu", candidate=0):
    """The SamplerState of the given sample indices; `encoded`: their conditions, by encode()."""
    check_guidance(model, config.guidance)
    streams = generators(config.seed, indices, *([candidate] if candidate else []))
    noise = model.pack(draw(streams, model.shape)).to(device)
    return SamplerState(planned(config, model, device), streams, noise, encoded)


def start_scale(schedule, diffusion_time=1.0):
    """What a trajectory multiplies its noise of variance 1 by, so that it starts as a variance-preserving one would.

    Schedulers that add noise to unscaled data start from sigma times noise; where the schedule is cut, sigma is not so
    large that the data could be left out, and the start is the square root of sigma^2 + 1 times noise.
    """
    scale = float(getattr(schedule, "init_noise_sigma", 1.0))
    return scale if diffusion_time == 1 or scale == 1 else math.hypot(1.0, float(schedule.sigmas[0]))


def model_output(model, net, state, x, t, weight):
    """The network's prediction at a time step of a trajectory, float32."""
    scaled = state.schedule.scale_model_input(x, t) if hasattr(state.schedule, "scale_model_input") else x
    return predict(model, net, scaled.to(network_dtype(model)), t, *state.encoded, weight).float()


@torch.no_grad()
def latents(model, config, indices, conditions, net=None, device="cpu", candidate=0, encoded=None):
    """x [sample, ...] of the given sample indices, float32.

    net: the denoiser or a compiled twin of it. encoded: the conditions, where encode() was already called on them.
    """
    net = model.denoiser if net is None else net
    state = init(model, config, indices, encoded or encode(model, conditions, device), device, candidate)
    schedule, x = state.schedule, state.noise * start_scale(state.schedule, config.diffusion_time)
    extra = {"generator": state.streams} if "generator" in inspect.signature(schedule.step).parameters else {}
    for t, weight in zip(schedule.timesteps, weights_by_step(config, model, schedule), strict=True):
        x = schedule.step(model_output(model, net, state, x, t, weight), t, x, **extra).prev_sample
    return x


@torch.no_grad()
def first_calls(model, config, indices, conditions, net=None, device="cpu", candidate=0, encoded=None):
    """The noise of the given samples, after one network call for each guidance weight of the trajectory; no solving.

    For what must run before it is timed.
    """
    net = model.denoiser if net is None else net
    state = init(model, config, indices, encoded or encode(model, conditions, device), device, candidate)
    for weight in set(weights_by_step(config, model, state.schedule)):
        model_output(model, net, state, state.noise, state.schedule.timesteps[0], weight)
    return state.noise


def conditions_for(task, config, indices):
    """The task's conditions of some samples, with a source of further noise keyed like the sample's own."""
    noise = lambda shape: draw(generators(config.seed, indices, 0, 1), shape)  # noqa: E731
    return task.conditions(indices) | {"indices": np.asarray(indices), "noise": noise}


def samples(model, task, config, indices, net=None, device="cpu", candidate=0):
    """(samples [sample, ...], conditions) of the given indices: drawn and decoded."""
    conditions = conditions_for(task, config, indices)
    return finished(model, latents(model, config, indices, conditions, net, device, candidate)), conditions


@torch.no_grad()
def finished(model, x):
    """The samples of x, on the CPU; Outcome 'nan' when x or what the decoder makes of it is not finite."""
    made = model.decode(x)
    for what, values in (("sampler", x), ("decoder", made)):
        if not torch.isfinite(values).all():
            raise Outcome("nan", f"the {what} gave numbers that are not finite")
    return model.finish(made).cpu()


def best_of(n, verifier, candidate, conditions):
    """Of n candidates for each sample the one the verifier scores highest; candidate(j) -> samples [sample, ...]."""
    kept = candidate(0)
    if n == 1:
        return kept
    best = verifier(kept, conditions)
    for j in range(1, n):
        other = candidate(j)
        score = verifier(other, conditions)
        better = torch.as_tensor(score > best)
        kept, best = torch.where(better.view(-1, *[1] * (kept.dim() - 1)), other, kept), np.maximum(best, score)
    return kept


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
