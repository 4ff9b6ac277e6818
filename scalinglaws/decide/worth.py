"""What a decision may still lose, and by how much a measurement is expected to reduce that, before it is made.

All three questions take the belief as one Gaussian. A measurement moves the mean of the points by a vector times a
standard normal (`shifts` of the belief) and the covariance by its outer product, so that the expected loss afterwards
is an integral over one normal: the knowledge gradient for correlated beliefs (Frazier, Powell and Dayanik 2009, INFORMS
J. Computing 21). A batch is planned by draws of the means that its first measurements may lead to.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from scalinglaws.decide.zeros import first_zeros

EDGES = ndtri(np.arange(25) / 24)
NODES = 24 * -np.diff(np.exp(-0.5 * EDGES**2)) / np.sqrt(2 * np.pi)  # means of 24 equal parts of a normal
DRAWS = 4000  # of a loss that has no closed form


@dataclass(frozen=True)
class Best:
    """The best alternative at each budget; loss: the expected regret in ln quality, averaged over the budgets.

    groups: for each budget the indices of its alternatives among the points. sign: 1 where lower quality is better.
    """

    groups: tuple[np.ndarray, ...]
    sign: float = 1.0
    unit = "expected regret, ln quality"

    def choices(self, mean) -> list[int]:
        """The point chosen at each budget."""
        return [int(group[np.argmin(self.sign * mean[group])]) for group in self.groups]

    def loss(self, mean, covariance) -> float:
        """Expected regret by draws; the same normals every time."""
        total = 0.0
        for group in self.groups:
            m = self.sign * mean[group]
            root = _root(covariance[np.ix_(group, group)])
            drawn = m + _normals(DRAWS, len(group)) @ root.T
            total += (drawn[:, m.argmin()] - drawn.min(1)).mean()
        return float(total / len(self.groups))

    def gains(self, means, covariance, shifts) -> np.ndarray:
        """Expected reduction of the loss [candidate]; means [draw, point], shifts [candidate, point]."""
        total = np.zeros(len(shifts))
        for group in self.groups:
            group = group[_possible(self.sign * means[:, group], covariance[np.ix_(group, group)])]
            m, t = self.sign * means[:, group], self.sign * shifts[:, group]
            after = (m[None, :, None] + t[:, None, None] * NODES[None, None, :, None]).min(-1)
            total += m.min(1).mean() - after.mean((1, 2))
        return np.maximum(total, 0.0) / len(self.groups)


@dataclass(frozen=True)
class Order:
    """Which of two is better along cost; loss: the expected absolute error of ln crossing.

    pairs [place, 2]: indices of the two at each cost, the costs evenly spaced in logs by `width`. The integral over ln
    cost of the probability of the wrong order is the expected distance from the crossing taken to the true one.
    """

    pairs: np.ndarray
    width: float
    unit = "expected error of ln crossing"

    def loss(self, mean, covariance) -> float:
        """The expected error of ln crossing."""
        gap, variance = self._gap(mean[None], covariance)
        return float(self.width * ndtr(-np.abs(gap[0]) / np.sqrt(variance)).sum())

    def crossing(self, mean, costs) -> float | None:
        """The lowest cost within `costs` [place] at which the order changes; None where it never does."""
        zero = first_zeros(np.log(costs), mean[self.pairs[:, 0]] - mean[self.pairs[:, 1]])[0]
        return float(np.exp(zero)) if np.isfinite(zero) else None

    def gains(self, means, covariance, shifts) -> np.ndarray:
        """Expected reduction of the loss [candidate]."""
        gap, variance = self._gap(means, covariance)
        now = ndtr(-np.abs(gap) / np.sqrt(variance)).sum(1).mean()
        t = shifts[:, self.pairs[:, 0]] - shifts[:, self.pairs[:, 1]]  # [candidate, place]
        left = np.sqrt(np.maximum(variance - t**2, 1e-12))
        moved = np.abs(gap[None, :, None] + t[:, None, None] * NODES[None, None, :, None])
        after = ndtr(-moved / left[:, None, None]).sum(-1).mean((1, 2))
        return self.width * np.maximum(now - after, 0.0)

    def _gap(self, means, covariance):
        one, two = self.pairs.T
        variance = covariance[one, one] + covariance[two, two] - 2 * covariance[one, two]
        return means[:, one] - means[:, two], np.maximum(variance, 1e-12)


@dataclass(frozen=True)
class Spread:
    """A prediction at some points; loss: its standard deviation in ln quality, averaged over them."""

    targets: np.ndarray
    unit = "standard deviation of ln quality"

    def loss(self, mean, covariance) -> float:
        """The standard deviation."""
        return float(np.sqrt(np.maximum(np.diag(covariance)[self.targets], 0.0)).mean())

    def gains(self, means, covariance, shifts) -> np.ndarray:
        """Reduction of the loss [candidate]."""
        variance = np.diag(covariance)[self.targets]
        left = np.sqrt(np.maximum(variance - shifts[:, self.targets] ** 2, 0.0))
        return np.maximum(np.sqrt(np.maximum(variance, 0.0)).mean() - left.mean(1), 0.0)


def _possible(means, covariance) -> np.ndarray:
    """Which alternatives [alternative] may turn out the best, to five standard deviations."""
    best = means.mean(0).argmin()
    variance = np.diag(covariance) + covariance[best, best] - 2 * covariance[best]
    return (means - means[:, [best]]).min(0) <= 5 * np.sqrt(np.maximum(variance, 0.0))


def _normals(draws, count) -> np.ndarray:
    """Standard normals [draw, count], the same ones every time, each with its negative."""
    half = np.random.default_rng(11).standard_normal((draws // 2, count))
    return np.concatenate([half, -half])


def _root(covariance) -> np.ndarray:
    """A square root of a covariance that may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
