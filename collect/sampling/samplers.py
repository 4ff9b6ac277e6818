"""Samplers as a table: diffusers' schedulers with the order of the solver and the error it leads one to expect.

Neither torch nor diffusers is imported for a name of the table, so that a sweep file is checked at once. A sampler of
your own is a Sampler under the entry-point group `scalinglaws.samplers`; its `scheduler` is the name of a class in
diffusers, or a class of yours with diffusers' from_config, set_timesteps and step.
"""

from dataclasses import dataclass, field
from importlib.metadata import entry_points

from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Sampler:
    """A scheduler with its options. With `order` p the error falls as steps^-p towards the network's own."""

    scheduler: str | type  # class in diffusers, in collect/sampling/ddim.py, or your own
    options: dict = field(default_factory=dict)
    order: float | None = None  # None where no rate is known
    calls: int = 1  # network evaluations per step; a second-order one may save one at the last step
    flow: tuple | None = None  # (class, options) for flow-matching models; None: not for them
    version: int = 1  # goes into the name of a cell: higher where the sampler draws other images than it did before


DPM = {"algorithm_type": "dpmsolver++", "solver_order": 2}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
FLOW_EULER = ("FlowMatchEulerDiscreteScheduler", {})
FLOW_HEUN = ("FlowMatchHeunDiscreteScheduler", {})

SAMPLERS = {
    # name            scheduler                          options  order      calls    flow models
    "ddim":    Sampler("ExactDDIM",                      {},      order=1, version=2),  # Song et al. 2021, 2010.02502
    "ddpm":    Sampler("DDPMScheduler",                  {},      order=0.5),       # Ho et al. 2020, 2006.11239
    "euler":   Sampler("EulerDiscreteScheduler",         {},      order=1,          flow=FLOW_EULER),
    "heun":    Sampler("HeunDiscreteScheduler",          {},      order=2, calls=2, flow=FLOW_HEUN),
    "dpm++2m": Sampler("DPMSolverMultistepScheduler",    DPM,     order=2,
                       flow=("DPMSolverMultistepScheduler", DPM | FLOW)),           # Lu et al. 2022, 2211.01095
    "unipc":   Sampler("UniPCMultistepScheduler",        {},      order=3,
                       flow=("UniPCMultistepScheduler", FLOW)),                     # Zhao et al. 2023, 2302.04867
    "lcm":     Sampler("LCMScheduler"),                      # Luo et al. 2023, 2310.04378: distilled models, few steps
}  # fmt: skip

GROUP = "scalinglaws.samplers"
TOKENS = "it is for tokens, not for numbers"
NOISE = "it draws noise without the generator it is given, so that no sample could be repeated"
BACKWARDS = "it adds noise instead of removing it"
MORE = "its step asks for more than a prediction and a sample"
OWN = "it serves only the kind of network it was written for"

REFUSED = {  # diffusers' schedulers that do not fit a loop over predictions, and why; every other one is driven
    "AmusedScheduler": TOKENS,
    "BlockRefinementScheduler": TOKENS,
    "DiscreteDDIMScheduler": TOKENS,
    "EntropyBoundScheduler": TOKENS,
    "VQDiffusionScheduler": TOKENS,
    "CosineDPMSolverMultistepScheduler": NOISE,
    "DPMSolverSDEScheduler": NOISE,
    "DDIMInverseScheduler": BACKWARDS,
    "DPMSolverMultistepInverseScheduler": BACKWARDS,
    "CogVideoXDPMScheduler": MORE,
    "KarrasVeScheduler": MORE,
    "RePaintScheduler": MORE,
    "ScoreSdeVeScheduler": MORE,
    "DDPMWuerstchenScheduler": OWN,
    "HeliosDMDScheduler": OWN,
    "HeliosScheduler": OWN,
    "IPNDMScheduler": OWN,
    "MiniMaxH3Scheduler": OWN,
    "PiflowScheduler": OWN,
    "RFD4ProteinaScheduler": OWN,
    "SCMScheduler": OWN,
}

FOR_FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler",
            "FlowMapEulerDiscreteScheduler", "LTXEulerAncestralRFScheduler")  # fmt: skip


def by_class(name):
    """The Sampler of a diffusers class by its name ('KDPM2Discrete' or 'KDPM2DiscreteScheduler'), or None."""
    import diffusers  # takes seconds, so that names of the table come first

    full = next((name + end for end in ("", "Scheduler", "DiscreteScheduler") if hasattr(diffusers, name + end)), name)
    if not full.endswith("Scheduler"):
        return None
    return Sampler(full, {}, flow=(full, {}) if full in FOR_FLOW else None)


def sampler(name):
    """A row of the table, or any scheduler of diffusers by its class name; InputError lists what is known."""
    row = SAMPLERS.get(name) or by_class(name) or _installed(name)
    if row is None:
        raise InputError(
            f"No sampler named '{name}'. Known samplers: {', '.join(SAMPLERS)}, and diffusers' schedulers by class "
            f"name, such as KDPM2Discrete; an installed package adds its own under the entry-point group {GROUP}."
        )
    if row.scheduler in REFUSED:
        raise InputError(f"The scheduler {row.scheduler} cannot be used: {REFUSED[row.scheduler]}.")
    return row


def _installed(name):
    """The Sampler that an installed package offers under a name, or None."""
    matches = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    return matches[0].load() if matches else None
