"""Transformers of classes or text: DiT, PixArt, and the flow models SD3 and Flux."""

from functools import partial
from inspect import signature

import torch

from collect.models.model import Model
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


def dit(pipe, resolution=None):
    """DiT: a transformer of classes, at its own resolution alone; the class after the last is the null class."""
    net = pipe.transformer
    null, channels = net.config.num_embeds_ada_norm, net.config.in_channels
    only(resolution, net.config.sample_size * 2 ** (len(pipe.vae.config.block_out_channels) - 1))

    def call(net, x, t, condition, guidance):
        return without_variance(net(x, timestep=t, return_dict=False, **condition)[0], channels)

    return Model(
        net,
        (channels, *square(net.config.sample_size)),
        schedule(pipe),
        partial(classes, null + 1, null),
        decoder(pipe.vae),
        call=call,
        modules=weighed(pipe),
    )


def pixart(pipe, resolution=None):
    """PixArt-alpha and -sigma: a transformer of T5 text with its mask."""
    net, length = pipe.transformer, 120 if type(pipe).__name__ == "PixArtAlphaPipeline" else 300
    shape = latent_shape(pipe, net, resolution)
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, device=net.device, max_sequence_length=length))
    sized = net.config.sample_size == 128 and getattr(net, "use_additional_conditions", False)

    def condition(conditions):
        cond, mask, uncond, mask_uncond = encode(conditions["prompts"])
        return [
            {"encoder_hidden_states": h, "encoder_attention_mask": m} for h, m in ((cond, mask), (uncond, mask_uncond))
        ]

    def call(net, x, t, condition, guidance):
        side = torch.tensor([n * pipe.vae_scale_factor for n in shape[1:]], dtype=x.dtype, device=x.device)
        size = {"resolution": side.repeat(len(x), 1), "aspect_ratio": (side[:1] / side[1:]).repeat(len(x), 1)}
        added = size if sized else {"resolution": None, "aspect_ratio": None}
        made = net(x, timestep=t, added_cond_kwargs=added, return_dict=False, **condition)[0]
        return without_variance(made, shape[0])

    return Model(
        net,
        shape,
        schedule(pipe),
        condition,
        decoder(pipe.vae),
        call=call,
        text=encode.encode,
        modules=weighed(pipe),
    )


def shift(scheduler, tokens):
    """mu of the resolution-dependent shift of flow models (Esser et al. 2024, arXiv:2403.03206, section 5.3.2)."""
    known = scheduler.config
    low, high = known.get("base_image_seq_len", 256), known.get("max_image_seq_len", 4096)
    least, most = known.get("base_shift", 0.5), known.get("max_shift", 1.15)
    return least + (most - least) * (tokens - low) / (high - low)


def sd3(pipe, resolution=None):
    """Stable Diffusion 3: flow matching on a transformer of three text encoders."""
    net = pipe.transformer
    shape = latent_shape(pipe, net, resolution)
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, prompts, prompts, device=net.device))

    def condition(conditions):
        cond, uncond, pooled, pooled_uncond = encode(conditions["prompts"])
        pairs = ((cond, pooled), (uncond, pooled_uncond))
        return [{"encoder_hidden_states": h, "pooled_projections": p} for h, p in pairs]

    def timesteps(scheduler, steps, device):
        tokens = shape[1] * shape[2] // net.config.patch_size**2
        moved = {"mu": shift(scheduler, tokens)} if scheduler.config.get("use_dynamic_shifting") else {}
        scheduler.set_timesteps(steps, device=device, **moved)

    return Model(
        net,
        shape,
        schedule(pipe),
        condition,
        decoder(pipe.vae, pipe.vae.config.shift_factor or 0.0),
        call=lambda net, x, t, condition, guidance: net(x, timestep=t, return_dict=False, **condition)[0],
        timesteps=timesteps,
        flow=True,
        text=encode.encode,
        modules=weighed(pipe),
    )


def flux(pipe, resolution=None):
    """Flux: flow matching on 2x2 patches; the guided ones take the weight as an input."""
    net, channels = pipe.transformer, pipe.transformer.config.in_channels // 4
    side = 2 * ((resolution or pipe.default_sample_size * pipe.vae_scale_factor) // (2 * pipe.vae_scale_factor))
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, prompts, device=net.device)[:2])
    rows, columns = torch.meshgrid(torch.arange(side // 2), torch.arange(side // 2), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3)

    def condition(conditions):
        hidden, pooled = encode(conditions["prompts"])
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}, None

    def call(net, x, t, condition, guidance):
        weight = torch.full((len(x),), float(guidance), device=x.device) if embedded else None
        words = torch.zeros(condition["encoder_hidden_states"].shape[1], 3, device=x.device, dtype=x.dtype)
        where = {"txt_ids": words, "img_ids": places.to(x)}
        return net(x, timestep=t / 1000, guidance=weight, return_dict=False, **where, **condition)[0]

    def timesteps(scheduler, steps, device):
        multistep = scheduler.config.get("use_flow_sigmas")
        if not multistep and "sigmas" not in signature(scheduler.set_timesteps).parameters:
            raise ValueError(
                f"{type(scheduler).__name__} takes no noise levels, and Flux's depend on the image's size."
            )
        even = {"sigmas": torch.linspace(1, 1 / steps, steps).tolist()}
        own = {"num_inference_steps": steps} if multistep else even
        moved = {"mu": shift(scheduler, len(places))} if scheduler.config.get("use_dynamic_shifting") else {}
        scheduler.set_timesteps(**own, device=device, **moved)

    embedded = net.config.guidance_embeds
    decode = decoder(pipe.vae, pipe.vae.config.shift_factor or 0.0)
    return Model(
        net,
        (channels, side, side),
        schedule(pipe),
        condition,
        lambda x: decode(unpack(x, side)),
        guided="embedded" if embedded else "none",
        call=call,
        timesteps=timesteps,
        pack=pack,
        flow=True,
        text=encode.encode,
        modules=weighed(pipe),
    )


def pack(x):
    """[b, channel, h, w] -> [b, h/2 w/2, 4 channel]: 2x2 patches as tokens."""
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpack(x, side):
    """The inverse of pack for square latents."""
    b, _, c = x.shape
    return x.view(b, side // 2, side // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c // 4, side, side)
