"""Distance of each image to its target: PSNR, SSIM and LPIPS, averaged over images.

conditions["targets"]: uint8 images like the samples. All in float64 but LPIPS' network.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv2d

from collect.metrics.mean import Mean, required
from scalinglaws.schema import InputError

LEVELS = 255  # between black and white
ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


def pair(batch, metric):
    """Samples and targets as float64 [image, channel, h, w]; InputError when they are not alike."""
    x, y = torch.as_tensor(batch.samples), torch.as_tensor(required(batch, "targets", metric))
    if x.shape != y.shape or x.dtype != torch.uint8 or y.dtype != torch.uint8:
        raise InputError(
            f"'{metric}' compares uint8 images of one shape: samples are {x.dtype} {[*x.shape]}, targets {y.dtype} "
            f"{[*y.shape]}."
        )
    return x.double(), y.double()


def psnr(x, y):
    """10 log10(255² / mean square error) of each image, dB [image]; infinite for an exact copy."""
    error = (x - y).square().flatten(1).mean(1)
    return 10 * torch.log10(LEVELS**2 / error)


def _window(size=11, sigma=1.5):
    x = torch.arange(size, dtype=torch.float64) - size // 2
    line = torch.exp(-((x / sigma) ** 2) / 2)
    return torch.outer(line, line) / line.sum() ** 2


def ssim(x, y):
    """Structural similarity of each image [image]: Wang et al. 2004, eq. 13, Gaussian window of 11 pixels and sigma
    1.5, constants (0.01, 0.03) x 255, the mean over channels and over pixels whose window lies inside the image
    (torchmetrics 1.9 mirrors the border and averages over it, too)."""
    n, channels, h, w = x.shape
    if min(h, w) < 11:
        raise InputError(f"SSIM's window is 11 pixels wide, the images are {w} x {h}: leave 'ssim' out.")
    fields = torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 2)[:, None]
    mx, my, xx, yy, xy = conv2d(fields, _window()[None, None]).view(5, n, channels, h - 10, w - 10)
    one, two = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2
    light = (2 * mx * my + one) / (mx**2 + my**2 + one)
    shape = (2 * (xy - mx * my) + two) / (xx - mx**2 + yy - my**2 + two)
    return (light * shape).flatten(1).mean(1)


def open_psnr():
    """Mean over images of each one's PSNR, as super-resolution prints it; nan once an image equals its target.

    torchmetrics' default pools the square error over images first, which gives another number.
    """

    def score(batch):
        scores = psnr(*pair(batch, "psnr")).numpy()
        return np.where(np.isfinite(scores), scores, np.nan)

    return Mean("psnr", "1", score)


def open_ssim():
    """Mean over images of each one's SSIM."""
    return Mean("ssim", "1", lambda batch: ssim(*pair(batch, "ssim")).numpy())


class Lpips(nn.Module):
    """LPIPS 0.1 on AlexNet, Zhang et al. 2018 (arXiv:1801.03924), eq. 1: images [image, 3, h, w] in -1..1 -> [image].

    The layout of AlexNet's convolutions carries the names of torchvision's weight file.
    """

    TAPS = (1, 4, 7, 9, 11)  # after each rectifier

    def __init__(self):
        super().__init__()
        pool = nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool,
            nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), pool,
            nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.heads = nn.ParameterList([torch.zeros(1, c, 1, 1) for c in (64, 192, 384, 256, 256)])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1))

    def layers(self, images):
        """Features after each rectifier, of unit length over channels."""
        x = (images - self.shift) / self.scale
        for k, layer in enumerate(self.features):
            x = layer(x)
            if k in self.TAPS:
                yield x / (x.square().sum(1, keepdim=True) + 1e-8).sqrt()

    def forward(self, x, y):
        pairs = zip(self.heads, self.layers(x), self.layers(y), strict=True)
        return sum(((a - b).square() * head).sum(1).mean((1, 2)) for head, a, b in pairs)


def _file(path, what, then):
    if not path or not Path(path).exists():
        raise InputError(f"LPIPS needs {what}{f', not found at {path}' if path else ''}: {then}")
    return Path(path)


def load_lpips(weights=None, heads=None):
    """Lpips with AlexNet's ImageNet weights and the learned heads, and the hash of both files."""
    hub = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET.rsplit("/", 1)[1]
    spec = find_spec("torchmetrics")
    given = heads or (spec and Path(spec.origin).parent / "functional/image/lpips_models/alex.pth")
    first = _file(weights or hub, "AlexNet's weights", f"fetch {ALEXNET} once and give its path as weights.")
    second = _file(given, "its heads", "pip install torchmetrics, or give the path of LPIPS' alex.pth as heads.")
    model = Lpips()
    alexnet, learned = (torch.load(path, map_location="cpu", weights_only=True) for path in (first, second))
    model.features.load_state_dict({k[9:]: v for k, v in alexnet.items() if k.startswith("features.")})
    with torch.no_grad():
        for k, head in enumerate(model.heads):
            head.copy_(learned[f"lin{k}.model.1.weight"])
    digest = hashlib.sha256(first.read_bytes() + second.read_bytes()).hexdigest()[:16]
    return model.eval().requires_grad_(False), digest


def open_lpips(weights=None, heads=None, device="cpu"):
    """Mean LPIPS on AlexNet. No package ships AlexNet's weights: give their path where there is no network."""
    model, digest = load_lpips(weights, heads)
    model.to(device)

    @torch.inference_mode()
    def score(batch):
        both = [(images / 127.5 - 1).float().expand(-1, 3, -1, -1).to(device) for images in pair(batch, "lpips")]
        return model(*both).cpu().numpy()

    return Mean("lpips", "1", score, {"network": "alexnet, LPIPS 0.1", "weights": digest})
