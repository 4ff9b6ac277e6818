"""Super-resolution: a small image beside the latent."""

import torch

from collect.models.model import Model
from collect.models.pipelines.parts import Remembered, decoder, schedule, to_model, weighed


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
        lambda conditions: ({"small": to_model(conditions["small"])}, None),
        lambda x: pipe.vqvae.decode(x.to(pipe.vqvae.dtype), return_dict=False)[0],
        guided="none",
        call=call,
        modules=weighed(pipe),
    )


def text_upscale(pipe, resolution, noise_level=20):
    """StableDiffusionUpscalePipeline: the small image, noised a little, beside the latent, and a text."""
    net, encode = pipe.unet, Remembered(lambda prompts: pipe.encode_prompt(prompts, pipe.unet.device, 1, True))
    channels, factor = pipe.vae.config.latent_channels, 4

    def condition(conditions):
        cond, uncond = encode(conditions["prompts"])
        level = torch.full((len(cond),), noise_level)
        small = to_model(conditions["small"])
        noised = pipe.low_res_scheduler.add_noise(small, conditions["noise"](small.shape[1:]), level)
        return [{"encoder_hidden_states": h, "small": noised, "class_labels": level} for h in (cond, uncond)]

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
