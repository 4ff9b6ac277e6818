"""Quality of a set of images from its features: Fréchet distance, kernel distance, agreement, each with its error.

Standard errors are those of drawing the images again, given the reference; they do not hold the bias of a finite
sample (about c/n for the Fréchet distance, Chong & Forsyth 2020, arXiv:1911.07023): compare cells of equal n only.
Everything in float64. Nothing is added to a covariance.
"""

from dataclasses import dataclass

import numpy as np

from collect import weights
from scalinglaws.schema import InputError

VERSION = "1"  # of the definitions here; part of a cell's identity


@dataclass(frozen=True)
class Reference:
    """Statistics of the real images: mean [d], covariance [d, d], a random subset of features [m, d], and a hash."""

    mean: np.ndarray
    covariance: np.ndarray
    subset: np.ndarray
    count: int
    hash: str
    extractor: str

    @property
    def root(self):
        """L [d, d] with L L' = covariance (symmetric eigenvalues, negative rounding clipped)."""
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(np.clip(values, 0, None))


def write_reference(features, path, extractor, subset=5000, seed=0):
    """Reference statistics of features [image, d], as one safetensors file."""
    import torch

    chosen = np.random.default_rng(seed).choice(len(features), min(subset, len(features)), replace=False)
    tensors = {
        "mean": features.mean(0),
        "covariance": np.cov(features.T),
        "subset": features[chosen].astype(np.float32),
    }
    metadata = {"count": len(features), "extractor": extractor}
    weights.save({k: torch.as_tensor(v) for k, v in tensors.items()}, path, metadata)


def read_reference(path):
    """The Reference of a file that write_reference made; InputError when it is missing or damaged."""
    tensors, metadata = weights.load(path)
    if set(tensors) != {"mean", "covariance", "subset"}:
        raise InputError(
            f"{path} is not a reference file: it holds {', '.join(tensors)}. Make one with `collect reference`."
        )
    arrays = {k: v.double().numpy() for k, v in tensors.items()}
    return Reference(
        **arrays, count=int(metadata["count"]), hash=weights.fingerprint(path), extractor=metadata["extractor"]
    )


def frechet(features, reference):
    """(distance, standard error) between Gaussians: |m - mr|² + tr(S + R - 2 (S R)^½), Heusel et al. 2017, eq. 6.

    tr (S R)^½ is the sum of square roots of the eigenvalues of L' S L with L L' = R. The error is the spread of the
    influence function 2 (m - mr)·z + z'(I - T) z - tr((I - T) S), z = x - m, T = L (L' S L)^-½ L', over the images.
    """
    mean, covariance, root = features.mean(0), np.cov(features.T), reference.root
    values, vectors = np.linalg.eigh(root.T @ covariance @ root)
    shift, scale = mean - reference.mean, np.sqrt(np.clip(values, 0, None))
    distance = shift @ shift + np.trace(covariance) + np.trace(reference.covariance) - 2 * scale.sum()
    kept = scale > scale.max() * 1e-7
    transport = root @ ((vectors[:, kept] / scale[kept]) @ vectors[:, kept].T) @ root.T
    z = features - mean
    influence = 2 * z @ shift + np.einsum("ij,jk,ik->i", z, np.eye(len(mean)) - transport, z, optimize=True)
    return float(distance), float(influence.std(ddof=1) / np.sqrt(len(features)))


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def kernel_distance(features, reference):
    """(distance, standard error): unbiased squared MMD with the kernel (x·y/d + 1)³, Bińkowski et al. 2018, eq. 4."""
    x, y, n = features, reference.subset, len(features)
    within, across, real = _kernel(x, x), _kernel(x, y), _kernel(y, y)
    own = (within.sum(1) - within.diagonal()) / (n - 1)
    others = (real.sum() - np.trace(real)) / (len(y) * (len(y) - 1))
    distance = own.mean() + others - 2 * across.mean()
    return float(distance), float(2 * (own - across.mean(1)).std(ddof=1) / np.sqrt(n))


def agreement(found, asked):
    """(share, standard error) of images the classifier puts in the class that was asked, given equal classes."""
    hits = np.asarray(found) == np.asarray(asked)
    return float(hits.mean()), float(hits.std(ddof=1) / np.sqrt(len(hits)))


def score(features, found, asked, reference):
    """All quality columns of a row; InputError for images that are not finite or too few for a covariance."""
    if len(features) <= features.shape[1]:
        raise InputError(
            f"{len(features)} images cannot give a covariance of {features.shape[1]} features: sample more."
        )
    if not np.isfinite(features).all():
        raise InputError("The features of some images are not finite: the sampler or the weights diverged.")
    columns = {}
    for name, (value, error) in {
        "fd": frechet(features, reference),
        "kd": kernel_distance(features, reference),
        "agreement": agreement(found, asked),
    }.items():
        columns |= {name: value, f"{name}_se": error}
    return columns
