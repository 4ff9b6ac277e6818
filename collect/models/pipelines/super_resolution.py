"""Super-resolution by any denoiser: the latent of the small image, enlarged, beside the noise (Mei et al. 2024,
arXiv:2404.01367, Fig. 2).

widen    a denoiser with more input channels whose weights are zero: at step 0 its outputs are the narrow one's
adapt    the Model of a pipeline whose denoiser was widened, for the task `upscale`
"""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from collect.models.pipelines.encoding import autoencoder_of, encode_images, image_side
from collect.models.pipelines.parts import without_variance
from collect.models.pipelines.transformers import dit, pixart, sd3
from collect.models.pipelines.unets import pixels, sdxl, text_unet
from scalinglaws.schema import InputError

BASES = {  # pipeline class: the adapter of the narrow one
    "DDPMPipeline": pixels,
    "DDIMPipeline": pixels,
    "DiTPipeline": dit,
    "StableDiffusionPipeline": text_unet,
    "StableDiffusionXLPipeline": sdxl,
    "PixArtAlphaPipeline": pixart,
    "PixArtSigmaPipeline": pixart,
    "StableDiffusion3Pipeline": sd3,
}


def widen(net, extra):
    """A copy of a denoiser that takes `extra` more input channels after its own, their weights zero in the first
    layer: f(cat[x, y]) = f(x) for every finite y. The outputs keep their channels.

    InputError where not exactly one weight depends on the number of input channels.
    """
    config = {k: v for k, v in net.config.items() if not k.startswith("_")}
    outputs = {"out_channels": config["out_channels"] or config["in_channels"]} if "out_channels" in config else {}
    wide = type(net).from_config(config | outputs | {"in_channels": config["in_channels"] + extra})
    old, new = net.state_dict(), wide.state_dict()
    wider = [name for name in new if new[name].shape != old[name].shape]
    if len(wider) != 1 or new[wider[0]].shape[1] != old[wider[0]].shape[1] + extra:
        raise InputError(f"A {type(net).__name__} cannot be widened: {len(wider)} of its weights see the input.")
    first = torch.zeros_like(new[wider[0]])
    first[:, : config["in_channels"]] = old[wider[0]]
    wide.load_state_dict(old | {wider[0]: first})
    return wide.eval()


def latent_channels(pipe):
    """Channels of one x: of the autoencoder's latents, or of the pixels (1, 3 or 4; a learned variance has as many)."""
    vae = autoencoder_of(pipe)
    if vae is not None:
        return vae.config.latent_channels
    made = pipe.unet.config.out_channels
    return made // 2 if made in (2, 6, 8) else made


def is_widened(pipe):
    """Whether the pipeline's denoiser takes an image beside the noise."""
    net = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    return type(pipe).__name__ in BASES and net.config.in_channels == 2 * latent_channels(pipe)


def adapt(pipe, resolution=None, **options):
    """The Model of a widened pipeline: conditions hold `small` uint8 [b, 3, h, w] (or `beside`, its encoded x) and
    `prompts` where the pipeline reads text; a network of classes gets its null class."""
    name = type(pipe).__name__
    if not is_widened(pipe):
        raise InputError(
            f"This {name} takes no image beside the noise: make one by `scalinglaws collect finetune` with "
            f"task: super-resolution, from a {', '.join(BASES)}."
        )
    null = _null_class(pipe, options.get("null_class"))
    base = BASES[name](pipe, resolution=resolution, **options)
    channels = latent_channels(pipe)
    narrow = replace(base, shape=(channels, *base.shape[1:]))

    def condition(conditions):
        beside = conditions.get("beside")
        beside = encode_small(pipe, narrow, conditions["small"]) if beside is None else beside
        classes = {} if null is None else {"classes": np.full(len(beside), null)}
        cond, uncond = base.condition(conditions | classes)
        return cond | {"beside": beside}, uncond and uncond | {"beside": beside}

    def call(net, x, t, condition, guidance):
        rest = {k: v for k, v in condition.items() if k != "beside"}
        return without_variance(base.call(net, torch.cat([x, condition["beside"]], 1), t, rest, guidance), channels)

    return replace(narrow, condition=condition, call=call)


def _null_class(pipe, given):
    """The class that stands for none: DiT's own, or the one given for a U-Net; None where there are no classes."""
    if type(pipe).__name__ == "DiTPipeline":
        return pipe.transformer.config.num_embeds_ada_norm
    count = getattr(pipe, "unet", None) and pipe.unet.config.num_class_embeds
    if count and given is None:
        raise InputError(
            f"This U-Net has {count} classes, and enlarging is of none of them: say which stands for no class, as "
            f"options: {{null_class: N}}, 0 to {count - 1}."
        )
    return given if count else None


def enlarge(small, side):
    """uint8 [b, channel, side, side] of small images, by bicubic interpolation."""
    large = interpolate(small.float(), size=(side, side), mode="bicubic", align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)


def encode_small(pipe, model, small):
    """x [b, ...] of small images uint8 [b, channel, h, w], enlarged to the model's side."""
    return encode_images(pipe, model, enlarge(small, image_side(pipe, model)))
