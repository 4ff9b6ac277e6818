"""U-Nets: on pixels, on latents with a text, with two texts (SDXL)."""

from functools import partial

import torch

from collect.models.model import Model, identity, plain_call
from collect.models.pipelines.parts import (
    Remembered,
    classes,
    decoder,
    latent_shape,
    only,
    schedule,
    square,
    weighed,
    without_variance,
)
from scalinglaws.schema import InputError


def pixels(pipe, resolution=None, null_class=None):
    """DDPMPipeline, DDIMPipeline: a U-Net on pixels, unconditional or of classes, at its own resolution alone. Of a
    learned variance (Nichol & Dhariwal 2021, arXiv:2102.09672) only the mean is used."""
    net, count = pipe.unet, pipe.unet.config.num_class_embeds
    only(resolution, max(square(net.config.sample_size)))
    if null_class is not None and null_class >= (count or 0):
        known = f"the classes 0 to {count - 1}" if count else "no classes"
        raise InputError(f"null_class was {null_class}: this network has {known}.")
    return Model(
        net,
        (net.config.in_channels, *square(net.config.sample_size)),
        schedule(pipe),
        partial(classes, count, null_class) if count else lambda conditions: ({}, None),
        identity,
        guided="none" if null_class is None else "pair",
        call=lambda net, *given: without_variance(plain_call(net, *given), pipe.unet.config.in_channels),
        modules=weighed(pipe),
    )


def guided(pipe):
    """'embedded' where the network takes the guidance as an input, 'pair' where not."""
    return "pair" if pipe.unet.config.time_cond_proj_dim is None else "embedded"


def guidance_input(pipe, guidance, x):
    """{'timestep_cond': [b, width]} of a network that takes the guidance as an input, {} of others."""
    width = pipe.unet.config.time_cond_proj_dim
    if width is None:
        return {}
    weight = torch.full((len(x),), guidance - 1.0)
    return {"timestep_cond": pipe.get_guidance_scale_embedding(weight, width).to(x)}


def text_unet(pipe, resolution=None):
    """Stable Diffusion 1 and 2, and latent consistency models (guidance embedded in the network)."""
    net = pipe.unet
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, net.device, 1, True))

    def condition(conditions):
        cond, uncond = encode(conditions["prompts"])
        return {"encoder_hidden_states": cond}, {"encoder_hidden_states": uncond}

    def call(net, x, t, condition, guidance):
        return net(x, t, return_dict=False, **condition, **guidance_input(pipe, guidance, x))[0]

    return Model(
        net,
        latent_shape(pipe, net, resolution),
        schedule(pipe),
        condition,
        decoder(pipe.vae),
        guided=guided(pipe),
        call=call,
        text=encode.encode,
        modules=weighed(pipe),
    )


def sdxl(pipe, resolution=None):
    """Stable Diffusion XL and its latent consistency models: two text encoders, and the image's size as a condition."""
    net = pipe.unet
    shape = latent_shape(pipe, net, resolution)
    side = tuple(n * pipe.vae_scale_factor for n in shape[1:])
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, device=net.device))

    def condition(conditions):
        cond, uncond, pooled, pooled_uncond = encode(conditions["prompts"])
        width = pipe.text_encoder_2.config.projection_dim
        ids = pipe._get_add_time_ids(side, (0, 0), side, cond.dtype, width).repeat(len(cond), 1)
        return _sdxl_names(cond, pooled, ids), _sdxl_names(uncond, pooled_uncond, ids)

    def call(net, x, t, condition, guidance):
        added = {k: condition[k] for k in ("text_embeds", "time_ids")}
        hidden, extra = condition["encoder_hidden_states"], guidance_input(pipe, guidance, x)
        return net(x, t, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=False, **extra)[0]

    return Model(
        net,
        shape,
        schedule(pipe),
        condition,
        decoder(pipe.vae),
        guided=guided(pipe),
        call=call,
        text=encode.encode,
        modules=weighed(pipe),
    )


def _sdxl_names(hidden, pooled, ids):
    return {"encoder_hidden_states": hidden, "text_embeds": pooled, "time_ids": ids}
