"""diffusers' pipelines, each adapted once: a table from pipeline class to the Model it gives.

Every adapter keeps to what the pipeline's own call does with its parts; tests compare the two image by image.
"""

from functools import partial

import torch

from collect.models.model import Model, identity
from scalinglaws.schema import InputError

CACHE_BYTES = 2**31  # of encoded prompts kept


class Remembered:
    """encode(list of prompts) -> tuple of tensors [prompt, ...], each prompt encoded once while there is room."""

    def __init__(self, encode):
        self.encode, self.known, self.bytes = encode, {}, 0

    def __call__(self, prompts):
        new = sorted(set(prompts) - set(self.known))
        fresh = dict(zip(new, zip(*self.encode(new), strict=True), strict=True)) if new else {}
        rows = [fresh[p] if p in fresh else self.known[p] for p in prompts]
        self._keep(fresh)
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))

    def _keep(self, fresh):
        for prompt, row in fresh.items():
            size = sum(t.nbytes for t in row)
            if self.bytes + size <= CACHE_BYTES:
                self.known[prompt], self.bytes = tuple(t.clone() for t in row), self.bytes + size


def square(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def decoder(vae, shift=0.0):
    """x -> images through a VAE: x / its scaling factor + shift."""
    scale = vae.config.scaling_factor
    return lambda x: vae.decode((x / scale + shift).to(vae.dtype), return_dict=False)[0]


def weighed(pipe):
    """{name: module} of a pipeline's parts that have weights."""
    return {k: v for k, v in pipe.components.items() if isinstance(v, torch.nn.Module)}


def schedule(pipe):
    """The scheduler's configuration, without what diffusers notes about itself."""
    return {k: v for k, v in pipe.scheduler.config.items() if not k.startswith("_")}


def _latent(pipe, net, resolution):
    """(channels, h, w) of the latents: of the asked resolution in pixels, or of the network's own."""
    side = (resolution // pipe.vae_scale_factor,) * 2 if resolution else square(net.config.sample_size)
    return (net.config.in_channels, *side)


def pixels(pipe, resolution=None, null_class=None):
    """DDPMPipeline, DDIMPipeline: a U-Net on pixels, unconditional or of classes."""
    net = pipe.unet
    return Model(
        net,
        (net.config.in_channels, *square(net.config.sample_size)),
        schedule(pipe),
        partial(classes, null_class) if net.config.num_class_embeds else lambda asked: ({}, None),
        identity,
        guided="none" if null_class is None else "pair",
        modules=weighed(pipe),
    )


def classes(null_class, asked):
    """({'class_labels': what is asked}, the same of the class that stands for nothing, or None)."""
    labels = torch.as_tensor(asked["classes"])
    nothing = None if null_class is None else {"class_labels": torch.full_like(labels, null_class)}
    return {"class_labels": labels}, nothing


def text_unet(pipe, resolution=None):
    """Stable Diffusion 1 and 2, and latent consistency models (guidance embedded in the network)."""
    net = pipe.unet
    embedded = net.config.time_cond_proj_dim is not None
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, net.device, 1, True))

    def condition(asked):
        wanted, nothing = encode(asked["prompts"])
        return {"encoder_hidden_states": wanted}, {"encoder_hidden_states": nothing}

    def call(net, x, t, condition, guidance):
        extra = {}
        if embedded:
            weight = torch.full((len(x),), guidance - 1.0)
            width = pipe.unet.config.time_cond_proj_dim
            extra = {"timestep_cond": pipe.get_guidance_scale_embedding(weight, width).to(x)}
        return net(x, t, return_dict=False, **condition, **extra)[0]

    return Model(
        net,
        _latent(pipe, net, resolution),
        schedule(pipe),
        condition,
        decoder(pipe.vae),
        guided="embedded" if embedded else "pair",
        call=call,
        text=encode.encode,
        modules=weighed(pipe),
    )


def sdxl(pipe, resolution=None):
    """Stable Diffusion XL: two text encoders, and the image's size as a condition."""
    net = pipe.unet
    shape = _latent(pipe, net, resolution)
    side = tuple(n * pipe.vae_scale_factor for n in shape[1:])
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, device=net.device))

    def condition(asked):
        wanted, nothing, pooled, pooled_nothing = encode(asked["prompts"])
        width = pipe.text_encoder_2.config.projection_dim
        ids = pipe._get_add_time_ids(side, (0, 0), side, wanted.dtype, width).repeat(len(wanted), 1)
        return _sdxl_names(wanted, pooled, ids), _sdxl_names(nothing, pooled_nothing, ids)

    def call(net, x, t, condition, guidance):
        added = {k: condition[k] for k in ("text_embeds", "time_ids")}
        hidden = condition["encoder_hidden_states"]
        return net(x, t, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=False)[0]

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


def _sdxl_names(hidden, pooled, ids):
    return {"encoder_hidden_states": hidden, "text_embeds": pooled, "time_ids": ids}


def without_variance(prediction, channels):
    """The first half of a prediction that carries a learned variance, too (Nichol & Dhariwal 2021)."""
    return prediction[:, :channels] if prediction.shape[1] == 2 * channels else prediction


def dit(pipe, resolution=None):
    """DiT: a transformer of classes; the class after the last is 'nothing asked'."""
    net = pipe.transformer
    null, channels = net.config.num_embeds_ada_norm, net.config.in_channels

    def call(net, x, t, condition, guidance):
        return without_variance(net(x, timestep=t, return_dict=False, **condition)[0], channels)

    return Model(
        net,
        (channels, *square(net.config.sample_size)),
        schedule(pipe),
        partial(classes, null),
        decoder(pipe.vae),
        call=call,
        modules=weighed(pipe),
    )


def pixart(pipe, resolution=None):
    """PixArt-alpha and -sigma: a transformer of T5 text with its mask."""
    net, length = pipe.transformer, 120 if type(pipe).__name__ == "PixArtAlphaPipeline" else 300
    shape = _latent(pipe, net, resolution)
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, device=net.device, max_sequence_length=length))
    sized = net.config.sample_size == 128 and getattr(net, "use_additional_conditions", False)

    def condition(asked):
        wanted, mask, nothing, no_mask = encode(asked["prompts"])
        return [
            {"encoder_hidden_states": h, "encoder_attention_mask": m} for h, m in ((wanted, mask), (nothing, no_mask))
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
    shape = _latent(pipe, net, resolution)
    encode = Remembered(lambda prompts: pipe.encode_prompt(prompts, prompts, prompts, device=net.device))

    def condition(asked):
        wanted, nothing, pooled, no_pooled = encode(asked["prompts"])
        pairs = ((wanted, pooled), (nothing, no_pooled))
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

    def condition(asked):
        hidden, pooled = encode(asked["prompts"])
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}, None

    def call(net, x, t, condition, guidance):
        weight = torch.full((len(x),), float(guidance), device=x.device) if embedded else None
        words = torch.zeros(condition["encoder_hidden_states"].shape[1], 3, device=x.device, dtype=x.dtype)
        where = {"txt_ids": words, "img_ids": places.to(x)}
        return net(x, timestep=t / 1000, guidance=weight, return_dict=False, **where, **condition)[0]

    def timesteps(scheduler, steps, device):
        even = {"sigmas": torch.linspace(1, 1 / steps, steps).tolist()}
        own = {"num_inference_steps": steps} if scheduler.config.get("use_flow_sigmas") else even
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


def to_model(images):
    """uint8 [b, channel, h, w] -> float in -1..1."""
    return images.float() / 127.5 - 1


def latent_upscale(pipe, resolution):
    """LDMSuperResolutionPipeline: the small image beside the latent; a VQ decoder."""
    net = pipe.unet
    factor = 2 ** (len(pipe.vqvae.config.block_out_channels) - 1)

    def call(net, x, t, condition, guidance):
        return net(torch.cat([x, condition["small"]], 1), t, return_dict=False)[0]

    return Model(
        net,
        (net.config.in_channels // 2, resolution // factor, resolution // factor),
        schedule(pipe),
        lambda asked: ({"small": to_model(asked["small"])}, None),
        lambda x: pipe.vqvae.decode(x.to(pipe.vqvae.dtype), return_dict=False)[0],
        guided="none",
        call=call,
        modules=weighed(pipe),
    )


def text_upscale(pipe, resolution, noise_level=20):
    """StableDiffusionUpscalePipeline: the small image, noised a little, beside the latent, and a text."""
    net, encode = pipe.unet, Remembered(lambda prompts: pipe.encode_prompt(prompts, pipe.unet.device, 1, True))
    channels, factor = pipe.vae.config.latent_channels, 4

    def condition(asked):
        wanted, nothing = encode(asked["prompts"])
        level = torch.full((len(wanted),), noise_level)
        small = to_model(asked["small"])
        noised = pipe.low_res_scheduler.add_noise(small, asked["noise"](small.shape[1:]), level)
        return [{"encoder_hidden_states": h, "small": noised, "class_labels": level} for h in (wanted, nothing)]

    def call(net, x, t, condition, guidance):
        rest = {k: v for k, v in condition.items() if k != "small"}
        return net(torch.cat([x, condition["small"]], 1), t, return_dict=False, **rest)[0]

    return Model(
        net,
        (channels, resolution // factor, resolution // factor),
        schedule(pipe),
        condition,
        decoder(pipe.vae),
        call=call,
        text=encode.encode,
        modules=weighed(pipe),
    )


ADAPTERS = {  # pipeline class: (adapter, the tasks it can be asked)
    "DDPMPipeline": (pixels, ("unconditional", "class")),
    "DDIMPipeline": (pixels, ("unconditional", "class")),
    "DiTPipeline": (dit, ("class",)),
    "StableDiffusionPipeline": (text_unet, ("text",)),
    "LatentConsistencyModelPipeline": (text_unet, ("text",)),
    "StableDiffusionXLPipeline": (sdxl, ("text",)),
    "PixArtAlphaPipeline": (pixart, ("text",)),
    "PixArtSigmaPipeline": (pixart, ("text",)),
    "StableDiffusion3Pipeline": (sd3, ("text",)),
    "FluxPipeline": (flux, ("text",)),
    "LDMSuperResolutionPipeline": (latent_upscale, ("upscale",)),
    "StableDiffusionUpscalePipeline": (text_upscale, ("upscale",)),
}


def adapt(pipe, task, **options):
    """The Model of a loaded diffusers pipeline; InputError for a class not in ADAPTERS or a task it cannot do."""
    name = type(pipe).__name__
    if name not in ADAPTERS:
        raise InputError(
            f"Pipelines of class {name} are not known. Known: {', '.join(ADAPTERS)}. "
            "Add one through the entry-point group 'scalinglaws.models'."
        )
    adapter, tasks = ADAPTERS[name]
    if task not in tasks:
        raise InputError(f"A {name} cannot be asked for task '{task}': it does {' and '.join(tasks)}.")
    return adapter(pipe, **options)

