"""The Card of a Model: what its denoiser, its text encoders and its decoder cost, without computing anything."""

from contextlib import nullcontext

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from collect.models.model import example
from collect.profile.flops import Card, count_live


def card(model, task):
    """The Card of one sample as a task asks for its first; shapes flow through the model's own code, no numbers do."""
    first = next(model.denoiser.parameters())
    asked = task.ask([0]) | {"noise": lambda shape: torch.zeros(1, *shape)}
    wanted = _condition(model, asked, first)

    def forward():
        x, t = example(model, device=first.device)
        return model.call(model.denoiser, x.to(first.dtype), t, wanted, 1.0)

    def decode():
        return model.decode(model.pack(torch.zeros(1, *model.shape, device=first.device)))

    text = [v for k, v in model.modules.items() if k.startswith("text_encoder")]
    rest = [v for k, v in model.modules.items() if k in ("vae", "vqvae", "autoencoder")]
    return Card(
        count_live(model.denoiser, forward),
        count_live(torch.nn.ModuleList(text), lambda: model.text(asked["prompts"])) if text else None,
        count_live(torch.nn.ModuleList(rest), decode) if rest else None,
    )


def _condition(model, asked, first):
    """What is asked as the denoiser takes it; zeros, or shapes alone for a network on the meta device."""
    shapes_only = FakeTensorMode(allow_non_fake_inputs=True) if first.is_meta else nullcontext()
    with torch.no_grad(), shapes_only:
        wanted, _ = model.condition(asked)
    kinds = {k: first.dtype if v.is_floating_point() else v.dtype for k, v in wanted.items()}
    return {k: torch.zeros(v.shape, dtype=kinds[k], device=first.device) for k, v in wanted.items()}
