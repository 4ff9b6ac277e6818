"""tiny-t2i's shared autoencoder: 3x32x32 images to 8x8x8 latents (f = 4), diffusers' AutoencoderKL.

Images and latents pass through it by `autoencoder.encode` and `autoencoder.decode`.
"""

from diffusers import AutoencoderKL

from collect.models.tiny_t2i import LATENT


def build(scaling_factor=1.0):
    """The autoencoder; scaling_factor is 1 / standard deviation of the latents, as diffusers has it."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=LATENT[0],
        norm_num_groups=4,
        sample_size=32,
        mid_block_add_attention=False,
        scaling_factor=scaling_factor,
    )


def freeze_encoder(model):
    """The autoencoder with everything that makes latents frozen, so that only its decoder is trained."""
    for part in (model.encoder, model.quant_conv):
        part.requires_grad_(False)
    return model
