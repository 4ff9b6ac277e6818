"""A feature network: uint8 images in, numbers out, with everything that moves those numbers on record.

Grey images are repeated to three channels for a network that wants colour. Sizes are changed by one named filter, in
float, clamped to 0..255 and not rounded to whole levels again. Features are float32; sums of them are float64.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Network:
    """What measures images, and what its distances are called.

    `model` takes uint8 [image, channel, h, w] and returns [image, feature]. `about` holds, as JSON, all that changes
    the numbers: hash of the weights, layer, resize filter, rounding rule. A network of your own is one of these.
    """

    name: str
    dimensions: int
    model: object
    channels: int = 3  # 1 or 3: what the model takes
    about: dict = field(default_factory=dict)
    fd: str = "fd"  # column of the Fréchet distance; _se, _inf, _half1 and _half2 follow it
    kd: str = "kd"  # column of the kernel distance
    suffix: str = ""  # of precision and recall
    batch: int = 64  # images at once
    classify: object = None  # uint8 images -> class [image], where the network tells classes apart

    def column(self, quality):
        """The row's name for fd, fd_inf, fd_half1, fd_half2, kd, precision or recall."""
        if quality.startswith("fd"):
            return self.fd + quality[2:]
        return {"kd": self.kd}.get(quality, quality + self.suffix)

    def identity(self):
        """Name and everything in `about`: two networks of one identity give the same features."""
        return {"network": self.name, "dimensions": self.dimensions} | self.about

    def extract(self, images):
        """float32 features [image, feature] of uint8 images [image, channel, h, w]."""
        features = self._each(self.model, images)
        if features.shape[1:] != (self.dimensions,):
            raise InputError(
                f"Network '{self.name}' gave features of shape {features.shape[1:]}, not {self.dimensions}."
            )
        if not np.isfinite(features).all():
            raise InputError(f"Network '{self.name}' gave features that are not finite: are its weights damaged?")
        return features.astype(np.float32)

    def classes(self, images):
        """The class that the network sees in each image, int64 [image]; InputError when it tells none apart."""
        if self.classify is None:
            raise InputError(f"Network '{self.name}' does not classify: agreement needs one that does.")
        return self._each(self.classify, images).astype(np.int64)

    @torch.inference_mode()
    def _each(self, function, images):
        images = as_channels(torch.as_tensor(images), self.channels, self.name)
        parts = [function(part.to(device_of(self.model))).cpu().numpy() for part in images.split(self.batch)]
        return np.concatenate(parts)


def device_of(model):
    """Where a module's weights are; the CPU for what has none."""
    weights = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if weights is None else weights.device


def as_channels(images, channels, name):
    """uint8 [image, channels, h, w]: grey repeated where colour is wanted; InputError for colour to a grey network."""
    if images.ndim != 4 or images.dtype != torch.uint8:
        raise InputError(
            f"Network '{name}' takes uint8 images [image, channel, h, w], not {images.dtype} {[*images.shape]}."
        )
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    raise InputError(f"Network '{name}' takes {channels} channel(s), the images have {images.shape[1]}.")


class Prepared(nn.Module):
    """A network behind its input's preparation: resize to a side in pixels, then (level - mean) / deviation.

    Channels come last in memory: convolutions are half again as fast, features the same to 1e-5.
    """

    def __init__(self, network, size=None, filter="bicubic", mean=0.0, deviation=1.0):
        super().__init__()
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.size, self.filter = size, filter
        self.mean, self.deviation = mean, deviation

    def forward(self, images):
        x = (resize(images.float(), self.size, self.filter) - self.mean) / self.deviation
        return self.network(x.contiguous(memory_format=torch.channels_last))

    def about(self):
        """The preparation in words, for an identity."""
        rule = f"torch {self.filter}, antialias, clamped to 0..255, not rounded" if self.size else "as it comes"
        return {"size": self.size, "resize": rule, "mean": self.mean, "deviation": self.deviation}


def resize(images, size, filter="bicubic"):
    """Float images [image, channel, h, w] with both sides `size` pixels, antialiased, clamped to 0..255."""
    if size is None or images.shape[-2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode=filter, antialias=True).clamp(0, 255)


def fingerprint(model):
    """The first 16 hex digits of the sha256 of a module's weights, by name, dtype and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {[*tensor.shape]}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
