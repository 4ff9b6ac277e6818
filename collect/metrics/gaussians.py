"""Fréchet distance between Gaussians from sums, with its error, and extrapolated to infinitely many samples.

|m - r|² + tr(S + R - 2 (S R)^½), Heusel et al. 2017 (arXiv:1706.08500), eq. 6. The trace of the root is the sum of
the roots of the eigenvalues of L' S L with L L' = R, L kept by the reference. Nothing is added to a covariance;
eigenvalues below zero are rounding and count as zero, and of n samples at most n - 1 eigenvalues are not zero. So
n <= d gives the distance of the rank-deficient covariance: right as a number, and biased upwards like every finite
sample's (by about c/n; c of the order d times the trace over 4), which `fd_se` does not hold and `fd_inf` removes.
The reference is taken as the truth: what its own finite number of images adds, about c/n again, is in all of them and
the same for all cells.
"""

from dataclasses import dataclass

import numpy as np

from collect.metrics.sums import gaussian, half_of, moments

SMALL = 1e-7  # of the largest root: below it a direction has no transport


def _spread(sample, reference):
    return reference.root.T @ sample.covariance @ reference.root


def _distance(sample, reference, roots):
    shift = sample.mean - reference.mean
    return float(shift @ shift + np.trace(sample.covariance) + np.trace(reference.covariance) - 2 * roots.sum())


def distance(sample, reference):
    """The Fréchet distance of a Gaussian to a Reference."""
    values = np.linalg.eigvalsh(_spread(sample, reference))[-(sample.count - 1) :]
    return _distance(sample, reference, np.sqrt(np.clip(values, 0, None)))


@dataclass(frozen=True)
class Transport:
    """The best map from the samples' Gaussian to the reference's: T = W diag(s) W', W' S W = 1."""

    roots: np.ndarray  # s [k], of the eigenvalues of L' S L
    whiten: np.ndarray  # W [feature, k]
    distance: float


def transport(sample, reference):
    """The Transport of a Gaussian to a Reference, its distance beside it."""
    values, vectors = np.linalg.eigh(_spread(sample, reference))
    roots = np.sqrt(np.clip(values, 0, None))
    roots[: max(0, len(roots) - sample.count + 1)] = 0
    kept = roots > roots.max() * SMALL
    return Transport(roots[kept], reference.root @ vectors[:, kept] / roots[kept], _distance(sample, reference, roots))


def influence(features, sample, reference, to):
    """How each sample moves the distance, times n: 2 z·(m - r) + z'(1 - T) z less its mean, z = x - m [sample]."""
    z = features - sample.mean
    whole = (np.trace(sample.covariance) - to.roots.sum()) * (1 - 1 / sample.count)
    return 2 * z @ (sample.mean - reference.mean) + (z * z).sum(1) - (z @ to.whiten) ** 2 @ to.roots - whole


def pair_noise(features, sample, to):
    """Mean square of k(x, y), by which pairs of samples move the distance, times n²: the second derivative.

    k = x'Ty + ½ Σ_ij w_ij (u u' - 1)_ij (v v' - 1)_ij with u, v = W'x, W'y and w_ij = s_i s_j / (s_i + s_j): the
    second-order perturbation of tr (L' S L)^½. It is the noise that remains where the influence vanishes.
    """
    half = len(features) // 2
    u, v = ((part - sample.mean) @ to.whiten for part in (features[:half], features[half : 2 * half]))
    s, t = to.roots, u * v
    weight = s[:, None] * s / (s[:, None] + s)
    second = ((t @ weight) * t).sum(1) - (u * u + v * v) @ (s / 2) + (s / 2).sum()
    return float(np.mean((t @ s + second / 2) ** 2))


def _parts(sums):
    """Disjoint sets of kept features, each of a quarter of all samples, halves apart; or all that is kept."""
    size = int(sums["count"].sum()) // 4
    halves = [sums["kept"][half_of(sums["indices"]) == half] for half in (0, 1)]
    parts = [h[k * size : (k + 1) * size] for h in halves for k in range(len(h) // size)]
    return [part.astype(np.float64) for part in parts or [sums["kept"][:size]]]


def through(n):
    """Weights of the parabola in 1/n through three points, at 1/n = 0 (Lagrange)."""
    x = 1 / np.asarray(n, float)
    return np.array([np.prod([b / (b - a) for b in x if b != a]) for a in x])


def extrapolate(sums, halves, reference, to, error):
    """(FD extrapolated to infinitely many samples, standard error); both nan below 4 samples per feature.

    Chong & Forsyth 2020 (arXiv:1911.07023) draw a line in 1/n through distances of random subsets. Here: a parabola
    through all samples, the two halves, and quarters out of the kept subset, which leaves less noise and less bias.
    The error adds up the influence, the noise of pairs and the whole step from the line to the parabola.
    halves: distances of each half of the samples (sums.half_of); error: the standard error of the distance itself.
    """
    sample, parts = gaussian(sums), _parts(sums)
    if min(map(len, parts)) < len(sample.mean):
        return np.nan, np.nan
    n = [sample.count, sample.count / 2, np.mean([len(p) for p in parts])]
    # distance of each part, less what its choice moved it to first order
    controlled = [distance(moments(p), reference) - influence(p, sample, reference, to).mean() for p in parts]
    third = np.mean(controlled)
    distances, w = np.array([to.distance, np.mean(halves), third]), through(n)
    pairs = pair_noise(sums["kept"].astype(np.float64), sample, to)
    second = pairs * ((w[0] ** 2 + (w[0] + 2 * w[1]) ** 2) / n[0] ** 2 + 2 * w[2] ** 2 / n[2] ** 2 / len(parts))
    step = w @ distances - (2 * distances[0] - distances[1])
    return float(w @ distances), float(np.sqrt(error**2 + second + step**2))


def columns(sums, reference, infinite=False):
    """{"fd": (value, error), "fd_half1": (value, None), "fd_half2": ...} and with `infinite` "fd_inf", of sums."""
    sample, kept = gaussian(sums), sums["kept"].astype(np.float64)
    to = transport(sample, reference)
    error = influence(kept, sample, reference, to).std(ddof=1) / np.sqrt(sample.count)
    halves = [distance(gaussian(sums, h), reference) if sums["count"][h] > 1 else np.nan for h in (0, 1)]
    pairs = {"fd": (to.distance, float(error)), "fd_half1": (halves[0], None), "fd_half2": (halves[1], None)}
    if infinite:
        pairs["fd_inf"] = extrapolate(sums, halves, reference, to, error)
    return pairs


def frechet(features, reference):
    """(distance, standard error) of features [sample, d] that are all at hand."""
    sample = moments(features)
    to = transport(sample, reference)
    return to.distance, float(influence(features, sample, reference, to).std(ddof=1) / np.sqrt(len(features)))
