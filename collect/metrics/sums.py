"""Streamed float64 sums of features, mergeable in any order, and a bounded subset of the features themselves.

The two halves of the samples are summed apart, so that each can be reported. A sample's half follows from a hash of its
number, not from the number, because conditions take turns (class i mod 10) and each half must see all of them.
The subset keeps the samples of smallest hash: the same ones whatever the batch, the worker and the order of arrival.
State: count int64 [half], total [half, feature], outer [half, feature, feature], indices int64 [kept] and
kept float32 [kept, feature], in the order of their hashes.
"""

from dataclasses import dataclass

import numpy as np
import torch

from scalinglaws.schema import InputError

SUBSET = 5000  # features kept, at most
FEW = "{} sample(s) have no covariance: a Fréchet distance needs at least 2, and thousands to mean much."


@dataclass(frozen=True)
class Gaussian:
    """Mean [feature] and covariance [feature, feature] (n - 1 below the line) of `count` samples."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def shuffle(indices):
    """A fixed one-to-one scrambling of sample numbers, uint64 (splitmix64, Steele et al. 2014)."""
    x = np.asarray(indices).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def half_of(indices):
    """0 or 1 for each sample number: the half it belongs to."""
    return (shuffle(indices) % np.uint64(2)).astype(int)


def start(dimensions):
    """Sums of no samples."""
    return {
        "count": np.zeros(2, np.int64),
        "total": np.zeros((2, dimensions)),
        "outer": np.zeros((2, dimensions, dimensions)),
        "indices": np.zeros(0, np.int64),
        "kept": np.zeros((0, dimensions), np.float32),
    }


def of(features, indices, subset=SUBSET):
    """Sums of one batch: float32 features [sample, feature] and the samples' numbers int64 [sample]."""
    indices, x = np.asarray(indices), features.astype(np.float64)
    halves = [x[half_of(indices) == half] for half in (0, 1)]
    return {
        "count": np.array([len(h) for h in halves], np.int64),
        "total": np.stack([h.sum(0) for h in halves]),
        "outer": np.stack([product(h.T, h) for h in halves]),
    } | _smallest(indices.astype(np.int64), features.astype(np.float32), subset)


def product(a, b):
    """a @ b by torch: numpy's threads would wait for torch's, which just sampled, and cost ten times the product."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def merge(a, b, subset=SUBSET):
    """Sums of two disjoint sets of samples; InputError when a kept sample is in both."""
    if twice := np.intersect1d(a["indices"], b["indices"]).tolist():
        raise InputError(f"Sample {twice[0]} is in both partial sums: merge disjoint sets of samples only.")
    added = {name: a[name] + b[name] for name in ("count", "total", "outer")}
    indices, kept = (np.concatenate([a[name], b[name]]) for name in ("indices", "kept"))
    return added | _smallest(indices, kept, subset)


def _smallest(indices, features, subset):
    order = np.argsort(shuffle(indices))[:subset]
    return {"indices": indices[order], "kept": features[order]}


def gaussian(sums, half=None):
    """The Gaussian of all samples, or or of half 0 or 1 alone; InputError below two samples."""
    picked = [0, 1] if half is None else [half]
    count = int(sums["count"][picked].sum())
    if count < 2:
        raise InputError(FEW.format(count))
    mean = sums["total"][picked].sum(0) / count
    outer = sums["outer"][picked].sum(0)
    return Gaussian(mean, (outer - count * np.outer(mean, mean)) / (count - 1), count)


def moments(features):
    """The Gaussian of features [sample, feature] that are all at hand."""
    if len(features) < 2:
        raise InputError(FEW.format(len(features)))
    mean = features.mean(0)
    z = features - mean
    return Gaussian(mean, z.T @ z / (len(features) - 1), len(features))
