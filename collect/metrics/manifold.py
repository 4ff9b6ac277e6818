"""Precision and recall: shares inside the other set's manifold, Kynkäänniemi et al. 2019 (arXiv:1904.06991), eq. 1-2.

The manifold of a set is the union of balls, one per point, that reach to its third neighbour. Both shares depend on
how many points there are: compare cells of equal n and one reference only.
"""

import numpy as np

from scalinglaws.schema import InputError

NEIGHBOURS = 3
NEAREST = 24  # neighbours looked at when samples are left out
TIMES, SHARE = 20, 4  # the jackknife leaves out one sample of SHARE, TIMES times


def squared(x, y):
    """Squared distances [row of x, row of y], float64; rounding below zero clipped."""
    return np.clip((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T, 0, None)


def _to_others(x):
    """Squared distances among the rows, none to itself; InputError for fewer than a ball needs."""
    if len(x) <= NEIGHBOURS:
        raise InputError(
            f"{len(x)} image(s) have no third neighbour: precision and recall need at least {NEIGHBOURS + 1} on both "
            f"sides, better thousands."
        )
    distances = squared(x, x)
    np.fill_diagonal(distances, np.inf)
    return distances


def radii(x):
    """Squared distance of each row to its third nearest other row."""
    return _third(_to_others(x))


def _third(distances):
    return np.partition(distances, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]


def covered(distances, reach):
    """Which rows [row] lie in the ball of some column: distances [row, column], reach [column], both squared."""
    return (distances <= reach).any(1)


def precision_recall(features, reference):
    """{"precision": (share, error), "recall": ...} of features [sample, d].

    Errors are those of drawing the samples again. Precision: each sample is inside or not, given the reference.
    Recall: a jackknife, since every sample moves the manifold. Leaving out one sample at a time fails for nearest
    neighbours (Shao & Wu 1989, doi:10.1214/aos/1176347263), so it leaves out a random quarter; against repeated draws
    its error was 0.9 to 1.6 times right: wide rather than narrow.
    """
    x = np.asarray(features, np.float64)
    across, among = squared(x, reference.subset), _to_others(x)
    inside = covered(across, reference.radii)
    recalled = covered(across.T, _third(among))
    return {
        "precision": (float(inside.mean()), float(inside.std(ddof=1) / np.sqrt(len(x)))),
        "recall": (float(recalled.mean()), _recall_error(across.T, among)),
    }


def _recall_error(across, among):
    """The jackknife's standard error of recall, from squared distances [real image, sample] and [sample, sample]."""
    if len(among) < SHARE * (NEIGHBOURS + 1):
        return np.nan
    rng, kept = np.random.default_rng(0), len(among) - len(among) // SHARE
    drawn = [rng.permutation(len(among))[:kept] for _ in range(TIMES)]
    shares = list(_recall_of_each(across, among, drawn))
    return float(np.std(shares, ddof=1) * np.sqrt(kept / (len(among) - kept)))


def _recall_of_each(across, among, drawn):
    """Recall with each choice of samples in turn, the others left out."""
    last = min(NEAREST, len(among) - 1)
    near = np.argpartition(among, last, axis=1)[:, :last]  # numbers of the nearest others [sample, neighbour]
    length = np.take_along_axis(among, near, axis=1)
    for chosen in drawn:
        alone = np.zeros(len(among), bool)
        alone[chosen] = True
        reach = _third(np.where(alone[near], length, np.inf))
        yield covered(across[:, alone], reach[alone]).mean()
