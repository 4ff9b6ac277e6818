"""Statistics of the real images: their Gaussian, a subset of features, and which network saw them. One file, hashed."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from collect import weights
from collect.metrics import sums as streamed
from collect.metrics.kernel import kernel_mean
from collect.metrics.manifold import radii
from scalinglaws.schema import InputError

TENSORS = {"mean", "covariance", "subset"}


def few(count, what, dimensions):
    """A sentence where so many images are too few for a covariance of so many features; else None."""
    if count > dimensions:
        return None
    return (
        f"{count} {what} are fewer than the {dimensions} features + 1 that a covariance of full rank needs: a "
        "Frechet distance of so few is biased upwards, and comparable with others of as many alone. Take several times "
        "the features."
    )


@dataclass(frozen=True)
class Reference:
    """Mean [d], covariance [d, d], a subset of features [m, d], their count, the file's hash, the network's name.

    What every cell needs of it is worked out once: the half `root`, the subset's own kernel mean and radii.
    """

    mean: np.ndarray
    covariance: np.ndarray
    subset: np.ndarray
    count: int
    hash: str
    extractor: str
    about: dict = field(default_factory=dict)  # identity of the network, how the images were read

    @cached_property
    def root(self):
        """L [d, d] with L L' = covariance (symmetric eigenvalues, negative rounding clipped)."""
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(np.clip(values, 0, None))

    @cached_property
    def own_kernel(self):
        """Mean kernel between two different images of the subset."""
        return kernel_mean(self.subset)

    @cached_property
    def radii(self):
        """Squared distance of each image of the subset to its third neighbour [m]."""
        return radii(self.subset)

    def check(self, network):
        """This reference; InputError when it was made with another network, weights, layer or resize filter."""
        mine, given = self.about.get("network", {"network": self.extractor}), network.identity()
        wrong = [k for k in mine if mine[k] != given.get(k)]
        if wrong:
            differ = ", ".join(f"{k} {mine[k]} against {given.get(k)}" for k in wrong)
            raise InputError(
                f"Reference {self.hash} was not made with the feature network '{network.name}' ({differ}): "
                f"make one with it by `scalinglaws collect reference`."
            )
        return self


def _write(path, gaussian, subset, extractor, about):
    """One file; all metadata goes under one key, since safetensors keeps several in no fixed order and the same
    images would give another hash every time."""
    import torch

    tensors = {"mean": gaussian.mean, "covariance": gaussian.covariance, "subset": subset.astype(np.float32)}
    metadata = {"count": gaussian.count, "extractor": extractor, "about": about}
    header = {"reference": json.dumps(metadata, sort_keys=True)}
    weights.save({k: torch.as_tensor(v) for k, v in tensors.items()}, path, header)


def write_sums(sums, path, network, **about):
    """A reference file of streamed sums; `about`: how the images were read, any JSON."""
    _write(path, streamed.gaussian(sums), sums["kept"], network.name, {"network": network.identity()} | about)


def write_reference(features, path, extractor, subset=5000, seed=0):
    """A reference file of features [image, d] that are all at hand, with a random subset of them."""
    chosen = np.random.default_rng(seed).choice(len(features), min(subset, len(features)), replace=False)
    _write(path, streamed.moments(features), features[chosen], extractor, {})


def read_reference(path):
    """The Reference of a file; InputError when it is missing, damaged or something else."""
    if not Path(path).exists():
        raise InputError(f"No reference file {path}: make one with `scalinglaws collect reference FOLDER {path}`.")
    tensors, metadata = weights.load(path)
    if set(tensors) != TENSORS:
        raise InputError(
            f"{path} is not a reference file: it holds {', '.join(tensors)}. Make one with `scalinglaws collect "
            f"reference`."
        )
    arrays = {k: v.double().numpy() for k, v in tensors.items()}
    known = json.loads(metadata["reference"]) if "reference" in metadata else metadata  # before metrics 2: apart
    return Reference(**arrays, count=int(known["count"]), hash=weights.fingerprint(path),
                     extractor=known["extractor"], about=known.get("about", {}))  # fmt: skip
