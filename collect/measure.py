"""One cell: sample it, decode, extract, score; a row of the schema comes out."""

from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import torch

from collect import autoencoder, features, metrics, weights
from collect.meters import Clock, device_name, peak_bytes, reset_peak
from collect.sampling import Calls, asked_classes, latents
from collect.store import identity

LIBRARIES = ("torch", "diffusers", "numpy")


@dataclass(frozen=True)
class Cell:
    """What is measured: a width, how it is sampled, how many images, and the seed."""

    base_channels: int
    sampler: str
    steps: int
    guidance: float
    samples: int
    seed: int = 0

    @property
    def name(self):
        return f"c{self.base_channels}-{self.sampler}-{self.steps}-w{self.guidance:g}-n{self.samples}-s{self.seed}"


def key(cell, bundle, path=None):
    """The identity of a cell: its settings, the hashes of every weight that shapes it, and the metrics' version."""
    own = weights.fingerprint(path or bundle.path(cell.base_channels))
    return identity(asdict(cell) | bundle.part_hashes | {"weights": own, "metrics": metrics.VERSION})


def batches(count, size):
    """Sample indices 0..count-1 in pieces of `size`, as arrays."""
    return np.array_split(np.arange(count), range(size, count, size))


def images(model, decoder, cell, batch, device="cpu"):
    """(uint8 images [image, 32, 32], denoising Clock, decoding Clock) of a cell, batch by batch."""
    denoise, decode, parts = Clock(device), Clock(device), []
    for indices in batches(cell.samples, batch):
        with denoise:
            z = latents(model, cell.sampler, cell.steps, cell.guidance, cell.seed, indices, device=device)
        with decode:
            parts.append(autoencoder.decode(decoder, z).cpu())
    return torch.cat(parts), denoise, decode


def measure(cell, bundle, batch=250, path=None, device="cpu"):
    """The row of one cell; InputError when its images are not finite."""
    model, decoder = bundle.denoiser(cell.base_channels, path).to(device), bundle.autoencoder().to(device)
    known_peak = reset_peak(device)
    with Calls(model) as counted:
        pictures, denoise, decode = images(model, decoder, cell, batch, device)
    peak = peak_bytes(device) if known_peak else None
    found_features, found = features.extract(bundle.classifier(), pictures)
    quality = metrics.score(found_features, found, asked_classes(np.arange(cell.samples)).numpy(), bundle.reference)
    cost = _cost(cell, bundle, counted.samples / cell.samples, denoise.seconds, decode.seconds)
    return _who(cell, bundle, path) | cost | {"peak_memory_bytes": peak} | quality | _where(batch, device)


def _who(cell, bundle, path):
    return {
        "study": bundle.file.family,
        "family": bundle.file.family,
        "model": f"c{cell.base_channels}",
        "base_channels": cell.base_channels,
        "sampler": cell.sampler,
        "steps": cell.steps,
        "guidance": cell.guidance,
        "seed": cell.seed,
        "n_samples_for_metric": cell.samples,
        "features": bundle.reference.extractor,
        "reference": bundle.reference.hash,
        "weights": weights.fingerprint(path or bundle.path(cell.base_channels)),
    }


def _cost(cell, bundle, nfe, denoise_seconds, decode_seconds):
    known = bundle.card(cell.base_channels)
    return {
        "params": known.params,
        "flops_per_forward": known.flops_per_forward,
        "macs_per_forward": known.macs_per_forward,
        "nfe": nfe,
        "flops_per_image": nfe * known.flops_per_forward,
        "flops_decode": bundle.decode_flops,
        "seconds_per_image": denoise_seconds / cell.samples,
        "seconds_decode": decode_seconds / cell.samples,
    }


def _where(batch, device):
    versions = "; ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return {
        "sampling_batch": batch,
        "device": device_name(device),
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "versions": f"{versions}; metrics {metrics.VERSION}",
    }
