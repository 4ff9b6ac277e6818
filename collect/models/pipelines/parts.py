"""What the adapters share: parts of a diffusers pipeline as a Model wants them."""

import threading

import numpy as np
import torch

from scalinglaws.schema import InputError

CACHE_BYTES = 2**31  # of encoded prompts kept


class Remembered:
    """encode(list of prompts) -> tuple of tensors [prompt, ...], each prompt encoded once while there is room."""

    def __init__(self, encode):
        self.encode, self.known, self.bytes = encode, {}, 0
        self.lock = threading.Lock()  # tokenizers refuse two threads at once

    def __call__(self, prompts):
        with self.lock:
            new = sorted(set(prompts) - set(self.known))
            fresh = dict(zip(new, zip(*self.encode(new), strict=True), strict=True)) if new else {}
            rows = [fresh[p] if p in fresh else self.known[p] for p in prompts]
            for prompt, row in fresh.items():
                size = sum(t.nbytes for t in row)
                if self.bytes + size <= CACHE_BYTES:
                    self.known[prompt], self.bytes = tuple(t.clone() for t in row), self.bytes + size
            return tuple(torch.stack(column) for column in zip(*rows, strict=True))


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
    """The scheduler's configuration, without what diffusers notes about itself.

    A spacing of the steps that its file does not say is left to the class that samples, as in diffusers' from_config:
    the default of the one that shipped (PNDM's 'leading' for Stable Diffusion 1) is no setting of the model.
    """
    config = pipe.scheduler.config
    unsaid = {"timestep_spacing"} & set(config.get("_use_default_values", ()))
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in unsaid}


def latent_shape(pipe, net, resolution):
    """(channels, h, w) of the latents: of a resolution in pixels, or of the network's own."""
    side = (resolution // pipe.vae_scale_factor,) * 2 if resolution else square(net.config.sample_size)
    return (net.config.in_channels, *side)


def only(resolution, side):
    """InputError for a resolution in pixels, where one is given, other than the one that the network draws."""
    if resolution not in (None, side):
        raise InputError(f"resolution was {resolution}: this network draws {side} pixels alone; leave resolution out.")


def classes(count, null_class, conditions):
    """(cond {'class_labels': ...}, uncond: the same of the null class, or None); InputError for a class that is none of
    the network's `count`, the null class among them."""
    given = np.asarray(conditions["classes"])
    if wrong := sorted(set(given[(given < 0) | (given >= count)].tolist())):
        raise InputError(f"No class {wrong[0]}: this network has the classes 0 to {count - 1}.")
    labels = torch.as_tensor(given)
    uncond = None if null_class is None else {"class_labels": torch.full_like(labels, null_class)}
    return {"class_labels": labels}, uncond


def without_variance(prediction, channels):
    """The first half of a prediction that carries a learned variance, too (Nichol & Dhariwal 2021)."""
    return prediction[:, :channels] if prediction.shape[1] == 2 * channels else prediction


def to_model(images):
    """uint8 [b, channel, h, w] -> float in -1..1."""
    return images.float() / 127.5 - 1
