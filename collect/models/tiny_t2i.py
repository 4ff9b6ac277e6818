"""The rule of tiny-t2i: Stable Diffusion's architecture in small, in which only the base width c changes.

A U-Net of channels (c, 2c) on 8x8x8 latents; it attends to itself and to the text's tokens at 4x4 positions, in the
lower level and the middle, by four heads.
"""

import torch
from diffusers import UNet2DConditionModel

LATENT = (8, 8, 8)  # channels, height, width
TOKENS, TEXT = 20, 96  # of a prompt: tokens, numbers per token


def build(c):
    """One denoiser of base width c, v-prediction."""
    return UNet2DConditionModel(
        sample_size=LATENT[1],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        block_out_channels=(c, 2 * c),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=4,
        use_linear_projection=True,
    )


def inputs():
    """One sample's inputs: latents, noise level, text."""
    return torch.zeros(1, *LATENT), torch.zeros(1), torch.zeros(1, TOKENS, TEXT)
