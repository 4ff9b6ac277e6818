"""Images to x, what a pipeline's denoiser is trained on: the inverse of the adapters' decode."""

import torch

from collect.models.pipelines.parts import to_model
from scalinglaws.schema import InputError


def autoencoder_of(pipe):
    """The pipeline's autoencoder, None where it works on pixels."""
    return getattr(pipe, "vae", None)


def image_side(pipe, model):
    """Side in pixels of the images that a Model of this pipeline draws."""
    vae = autoencoder_of(pipe)
    return model.shape[-1] * (1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1))


def image_channels(pipe, model):
    """Colour channels of the images: 3, or 1 for grey ones."""
    vae = autoencoder_of(pipe)
    return model.shape[0] if vae is None else vae.config.in_channels


@torch.no_grad()
def encode_images(pipe, model, images, batch=50):
    """x float32 [image, ...] of uint8 images [image, channel, side, side]: posterior means, scaled as the network takes
    them (and shifted, for flow models); pixels in -1..1 where the pipeline has no autoencoder."""
    vae = autoencoder_of(pipe)
    if images.shape[-1] != image_side(pipe, model):
        raise InputError(f"Images of {images.shape[-1]} pixels given; this model draws {image_side(pipe, model)}.")
    if vae is None:
        return model.pack(to_model(images))
    shift = (vae.config.shift_factor or 0.0) if model.flow else 0.0
    parts = [vae.encode(to_model(part).to(vae.device, vae.dtype)).latent_dist.mean for part in images.split(batch)]
    return model.pack(((torch.cat(parts).float() - shift) * vae.config.scaling_factor).cpu())
