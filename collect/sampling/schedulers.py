"""The scheduler of a sampler for a model: diffusers' classes and our own, from the model's configuration."""

import inspect

import diffusers

from collect.sampling.ddim import ExactDDIM
from collect.sampling.samplers import FOR_FLOW, SAMPLERS, sampler
from scalinglaws.schema import InputError

LEARNED = ("learned", "learned_range")  # variance_type of schedulers
OWN = {"ExactDDIM": ExactDDIM}  # classes that the table of samplers names and diffusers lacks


def scheduler(name, model, diffusion_time=1.0):
    """The scheduler of a sampler for a Model, from the model's own configuration and the sampler's options.

    diffusion_time: share of the noise schedule that is sampled, see cut(). A learned variance is left out, since models
    give the mean alone; `ddpm` then takes the lower bound, beta~ (Ho et al. 2020, arXiv:2006.11239, section 3.2).
    InputError where the sampler does not fit.
    """
    row = sampler(name)
    if model.flow and row.flow is None:
        allowed = ", ".join(k for k, v in SAMPLERS.items() if v.flow)
        raise InputError(f"Sampler '{name}' is not for flow-matching models; use {allowed}.")
    if not model.flow and row.scheduler in FOR_FLOW:
        raise InputError(f"Sampler '{name}' is for flow-matching models; this one is not.")
    kind, options = row.flow if model.flow else (row.scheduler, row.options)
    kind = (OWN.get(kind) or getattr(diffusers, kind)) if isinstance(kind, str) else kind
    known = inspect.signature(kind.__init__).parameters
    settings = {k: v for k, v in (_shifted(model) | options).items() if k in known and v not in LEARNED}
    schedule = kind.from_config(settings)
    if diffusion_time == 1:
        return schedule
    if model.flow or not hasattr(schedule, "betas"):
        raise InputError(
            f"Sampler '{name}' cannot start at a diffusion time of {diffusion_time:g}: only schedules of discrete "
            "noise levels can be cut, and no flow-matching ones; leave diffusion_time out."
        )
    return kind.from_config(settings | {k: v for k, v in cut(schedule.betas, diffusion_time).items() if k in known})


def _shifted(model):
    """A model's configuration; a flow-matching one's shift under the name that multistep solvers have for it, too."""
    return {"flow_shift": model.schedule.get("shift", 1.0)} | model.schedule if model.flow else model.schedule


def cut(betas, diffusion_time):
    """The settings of a noise schedule that ends at a share T of its levels: the first round(T n) of n, unchanged.

    A sampler then spends all of its steps on a shorter path, and starts from N(0, 1) where data still shows: the error
    of the start grows as T falls, that of the path falls (Franzese et al. 2022, arXiv:2206.05173, section 2).
    InputError for a T not in (0, 1].
    """
    if not 0 < diffusion_time <= 1:
        raise InputError(
            f"diffusion_time was {diffusion_time:g}: a share of the noise schedule, above 0 and at most 1."
        )
    kept = betas[: max(1, round(diffusion_time * len(betas)))].tolist()
    return {"trained_betas": kept, "num_train_timesteps": len(kept), "rescale_betas_zero_snr": False}
