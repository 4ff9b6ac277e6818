"""The CostProfile of a Model: what its denoiser, its text encoders and its decoder cost, without computing anything."""

from contextlib import nullcontext

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from collect.models.model import example
from collect.profile.flops import CostProfile, count_live


def cost_profile(model, task):
    """The CostProfile of one sample, the task's first; shapes flow through the model's own code, no numbers do."""
    first = next(model.denoiser.parameters())
    conditions = task.conditions([0]) | {"noise": lambda shape: torch.zeros(1, *shape)}
    shapes_only = FakeTensorMode(allow_non_fake_inputs=True) if first.is_meta else nullcontext()
    with torch.no_grad(), shapes_only:
        cond, _ = model.condition(conditions)
    kinds = {k: first.dtype if v.is_floating_point() else v.dtype for k, v in cond.items()}
    cond = {k: torch.zeros(v.shape, dtype=kinds[k], device=first.device) for k, v in cond.items()}

    def forward():
        x, t = example(model, device=first.device)
        return model.call(model.denoiser, x.to(first.dtype), t, cond, 1.0)

    def decode():
        return model.decode(model.pack(torch.zeros(1, *model.shape, device=first.device)))

    text = [v for k, v in model.modules.items() if k.startswith("text_encoder")]
    rest = [v for k, v in model.modules.items() if k in ("vae", "vqvae", "autoencoder")]
    return CostProfile(
        count_live(model.denoiser, forward),
        count_live(torch.nn.ModuleList(text), lambda: model.text(conditions["prompts"])) if text else None,
        count_live(torch.nn.ModuleList(rest), decode) if rest else None,
    )
