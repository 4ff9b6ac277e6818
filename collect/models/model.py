"""A generative model as the sampler sees it, whatever it came from: noise in, samples out.

Foreign models are adapted once, at the edge: diffusers' pipelines in collect/models/pipelines, the trained family in
collect/families/trained.py, a user's own through the entry-point group `scalinglaws.models`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

GUIDED = {  # how a model is guided: network calls per step and sample at a guidance other than 1
    "pair": 2,  # classifier-free: with and without the condition
    "embedded": 1,  # the weight is an input of the network
    "none": 1,  # it cannot be guided
}


def calls(guided, guidance):
    """Network evaluations per step and sample of a first-order sampler; guided is a key of GUIDED."""
    return 1 if guidance == 1 else GUIDED[guided]


def plain_call(net, x, t, condition, guidance):
    """diffusers' usual signature: the sample, the noise level, the condition by name."""
    return net(x, t, return_dict=False, **condition)[0]


def plain_timesteps(scheduler, steps, device):
    scheduler.set_timesteps(steps, device=device)


def identity(x):
    return x


def to_images(x):
    """float [b, channel, h, w] in -1..1 -> uint8, rounded to nearest and clipped, as diffusers writes images."""
    return ((x.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Traits:
    """What decides which samplers and guidances fit a model; known without its weights. Each equals only itself."""

    guided: str  # a key of GUIDED
    flow: bool  # flow matching
    schedule: dict  # the configuration of its scheduler
    timesteps: Callable = plain_timesteps


@dataclass(frozen=True)
class Model:
    """One network with what surrounds it. b is a batch of samples."""

    denoiser: torch.nn.Module
    shape: tuple[int, ...]  # of one sample's noise
    schedule: dict  # the configuration of the scheduler it was trained or shipped with
    condition: Callable  # conditions -> (cond {name: tensor [b, ...]}, uncond: the same, or None)
    decode: Callable  # x [b, ...] -> float [b, channel, h, w] in -1..1 for images, [b, ...] for other data
    finish: Callable = to_images  # what decode gave -> uint8 images; identity for data that are not images
    guided: str = "pair"  # a key of GUIDED
    call: Callable = plain_call  # (net, x, t [b], condition, guidance) -> prediction like x
    timesteps: Callable = plain_timesteps  # (scheduler, steps, device): sets the scheduler's timesteps
    pack: Callable = identity  # noise [b, *shape] -> x, where the network wants it otherwise
    flow: bool = False  # flow matching: x = (1 - s) data + s noise, s = t / 1000
    text: Callable | None = None  # prompts -> encodes them, for their FLOPs; None where nothing is encoded
    modules: dict = field(default_factory=dict)  # everything with weights, by name; the denoiser among them
    weights: str = ""  # of a plug-in's model: what tells its weights from others, part of the name of its cells

    def calls(self, guidance):
        """Network evaluations per step and sample that a first-order sampler makes."""
        return calls(self.guided, guidance)

    @property
    def traits(self):
        return Traits(self.guided, self.flow, self.schedule, self.timesteps)

    @property
    def parts(self):
        """Everything with weights, each once."""
        return list({id(m): m for m in (self.denoiser, *self.modules.values())}.values())


def example(model, batch=1, device="cpu"):
    """(x, t [b]) of a forward pass: zeros of the right shapes."""
    x = model.pack(torch.zeros(batch, *model.shape, device=device))
    return x, torch.zeros(batch, device=device)
