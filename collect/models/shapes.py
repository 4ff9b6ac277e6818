"""Families: models shaped by one rule in which only the width changes, and what a forward pass of each costs.

The paper's family is Mei et al. 2024 (arXiv:2404.01367), Table 1: an SD2-layout U-Net of channels [c, 2c, 4c, 4c].
The shipped ones are U-Nets of channels [c, 2c]: tiny-ldm is conditioned on classes, tiny-t2i on text.
"""

from dataclasses import dataclass
from functools import cache

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from torch.utils.flop_counter import FlopCounterMode

from collect.models import tiny_t2i
from collect.models.rules import known_shape

CLASSES = 10
NULL_CLASS = CLASSES  # the dropped condition of classifier-free guidance
SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


@dataclass(frozen=True)
class ForwardCost:
    """Size and cost of one forward pass, counted on the meta device."""

    base_channels: int
    params: int
    flops_per_forward: int  # FLOPs for one sample, attention included
    macs_per_forward: int  # multiply-adds, half the FLOPs


def tiny(c):
    """One tiny-ldm denoiser of base width c: 4x8x8 latents, v-prediction, 10 classes and one for 'no class'."""
    return UNet2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(c, 2 * c),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=4,
        num_class_embeds=CLASSES + 1,
    )


def tiny_inputs():
    return torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, dtype=torch.long)


def mei(c):
    """One U-Net of the paper's Table 1 (the sizes match the SD2 layout to the digit)."""
    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(c, 2 * c, 4 * c, 4 * c),
        layers_per_block=2,
        cross_attention_dim=1024,
        use_linear_projection=True,
    )


def mei_inputs():
    return torch.zeros(1, 4, 64, 64), torch.zeros(1), torch.zeros(1, 77, 1024)


@dataclass(frozen=True)
class Shape:
    """A family's rule: build(c) and one sample's inputs."""

    build: callable
    inputs: callable


SHAPES = {  # one for each name in collect/models/rules.py
    "tiny-ldm": Shape(tiny, tiny_inputs),
    "mei": Shape(mei, mei_inputs),
    "tiny-t2i": Shape(tiny_t2i.build, tiny_t2i.inputs),
}

# Mei et al. Table 1 as printed: base channels, label, params (M), GFLOPs, normalised cost, FID, CLIP.
MEI_TABLE_1 = (
    (64, "39M", 39, 25.3, 0.07, 25.30, 0.305),  # 25.3 is a misprint: its cost of 0.07 x 789.3 says 56.9
    (96, "83M", 83, 102.7, 0.13, 24.30, 0.308),
    (128, "145M", 145, 161.5, 0.20, 24.18, 0.310),
    (160, "223M", 223, 233.5, 0.30, 23.76, 0.310),
    (192, "318M", 318, 318.5, 0.40, 22.83, 0.311),
    (224, "430M", 430, 416.6, 0.53, 22.35, 0.312),
    (256, "558M", 558, 527.8, 0.67, 22.15, 0.312),
    (288, "704M", 704, 652.0, 0.83, 21.82, 0.312),
    (320, "866M", 866, 789.3, 1.00, 21.55, 0.312),
    (512, "2B", 2000, 1887.5, 2.39, 20.98, 0.312),
    (768, "5B", 5000, 4082.6, 5.17, 20.14, 0.314),
)


def shape(family):
    """The rule of a family by name; InputError lists the known ones."""
    return SHAPES[known_shape(family)]


def forward_flops(model, inputs):
    """FLOPs of one forward on the meta device, where attention is counted (on the CPU it counts as zero)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.to("meta")(*(x.to("meta") for x in inputs))
    return counter.get_total_flops()


@cache
def forward_cost(family, c):
    """The ForwardCost of one width, from the architecture alone: no weights are made."""
    rule = shape(family)
    with torch.device("meta"):
        model = rule.build(c)
    flops = forward_flops(model, rule.inputs())
    return ForwardCost(c, sum(p.numel() for p in model.parameters()), flops, flops // 2)


def mei_side_by_side():
    """Rows of (paper's figures, ours) for the eleven widths: label, c, params, GFLOPs, printed GFLOPs, ratio."""
    for c, label, params, gflops, *_ in MEI_TABLE_1:
        ours = forward_cost("mei", c)
        expected = 56.9 if c == 64 else gflops  # the misprint, corrected from the printed cost
        yield {
            "model": label,
            "base_channels": c,
            "params_paper_M": params,
            "params_M": ours.params / 1e6,
            "gflops_paper": gflops,
            "gflops": ours.flops_per_forward / 1e9,
            "gflops_ratio": ours.flops_per_forward / 1e9 / expected,
        }
