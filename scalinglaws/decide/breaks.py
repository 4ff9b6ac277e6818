"""Two levels beside polynomial trends: residuals, simulated likelihood ratios, likely places of the break, power.

Means of K sizes are Gaussian about a shape, all of one variance, which is not below a known or estimated floor.
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.decide.power import POWER

LEAST = 2  # sizes on each side of a break
TRENDS = {"line": 1, "curve": 2}  # degree in ln size
STEPS = np.geomspace(0.5, 60, 40)  # simulated steps, in deviations of a mean
RATIOS = np.geomspace(0.05, 60, 24)  # simulated rises of a line, likewise, for the power


@dataclass(frozen=True)
class Problem:
    """Means of K sizes, and the least variance that they can have.

    x: ln size [K]; means [K]; floor: variance of a mean by the repeats' own noise, of `spare` degrees of freedom (0
    where it is taken as known).
    """

    x: np.ndarray
    means: np.ndarray
    floor: float
    spare: int

    @classmethod
    def of(cls, wide, errors):
        """The Problem of a table [repeat, size] without gaps, errors those of its numbers, used for a single repeat."""
        y = wide.to_numpy(float)
        repeats, sizes = y.shape
        x, means = np.log(wide.columns.to_numpy(float)), y.mean(0)
        if repeats == 1:
            return cls(x, means, float((errors**2).mean()), 0)
        rest = y - y.mean(1, keepdims=True) - means + y.mean()
        spare = (repeats - 1) * (sizes - 1)
        return cls(x, means, float((rest**2).sum() / spare / repeats), spare)

    @property
    def places(self):
        """Sizes below the break, for each place that it may have."""
        return np.arange(LEAST, len(self.x) - LEAST + 1)

    def basis(self, trend):
        """Orthonormal columns [K, degree + 1] of a polynomial in ln size."""
        return np.linalg.qr(np.vander((self.x - self.x.mean()) / np.ptp(self.x), TRENDS[trend] + 1))[0]

    def trend(self, z, name):
        """(residual sum of squares [n], fitted [n, K]) of means z [n, K]."""
        fitted = z @ self.basis(name) @ self.basis(name).T
        return ((z - fitted) ** 2).sum(1), fitted

    def levels(self, z):
        """(residual sums of squares [n, place], (lower, upper) level at the best place [n, 2])."""
        sums, k = np.cumsum(z, axis=1)[:, self.places - 1], len(self.x)
        total = z.sum(1, keepdims=True)
        both = np.stack([sums / self.places, (total - sums) / (k - self.places)], axis=-1)
        rest = (z**2).sum(1, keepdims=True) - both[..., 0] * sums - both[..., 1] * (total - sums)
        return np.maximum(rest, 0.0), both[np.arange(len(z)), rest.argmin(1)]

    def likelihood(self, rest, floor):
        """Logarithm of the greatest Gaussian likelihood at residual sums of squares, up to a constant."""
        k = len(self.x)
        variance = np.maximum(rest / k, np.maximum(floor, 1e-12 * np.ptp(self.means) ** 2 + 1e-300))
        return -0.5 * (k * np.log(variance) + rest / variance)

    def ratio(self, trend, z, floor):
        """Log likelihood ratio [n] of two levels over a trend."""
        return self.likelihood(self.levels(z)[0].min(1), floor) - self.likelihood(self.trend(z, trend)[0], floor)

    def variance(self, rest, free):
        """Variance of a mean about a shape of `free` parameters, not below the floor."""
        return max(float(rest) / (len(self.x) - free), self.floor)

    def simulate(self, mean, variance, count, rng):
        """(means [count, K], floors [count]) drawn about a mean [K]."""
        z = mean + np.sqrt(variance) * rng.normal(size=(count, len(self.x)))
        return z, self.floor * (rng.chisquare(self.spare, count) / self.spare if self.spare else np.ones(count))

    def step(self, place):
        """0 below a place and 1 above [K]."""
        return (np.arange(len(self.x)) >= place).astype(float)


def compare(problem, trend, draws, rng):
    """The row of `tests` for a trend."""
    z, k = problem.means[None], len(problem.x)
    rest, fitted = problem.trend(z, trend)
    levels, ((low, high),) = problem.levels(z)
    two_levels = low + (high - low) * problem.step(problem.places[levels[0].argmin()])
    ratio = problem.ratio(trend, z, problem.floor)[0]

    def simulated(mean, rest, free):
        return problem.ratio(trend, *problem.simulate(mean, problem.variance(rest, free), draws, rng))

    as_trend = simulated(fitted[0], rest[0], TRENDS[trend] + 1)
    as_levels = simulated(two_levels, levels.min(), 3)
    return {
        "trend": trend, "misfit": np.sqrt(rest[0] / k), "levels_misfit": np.sqrt(levels.min() / k), "log_ratio": ratio,
        "p_trend": (1 + (as_trend >= ratio).sum()) / (1 + draws),
        "p_levels": (1 + (as_levels <= ratio).sum()) / (1 + draws),
    }  # fmt: skip


def likely_places(problem, draws, rng, alpha):
    """(places that are not excluded, the likeliest place): each is tested by how much less likely it is than the best,
    against data simulated with the break there."""
    rest = problem.levels(problem.means[None])[0][0]
    best, kept = rest.argmin(), []
    for index, place in enumerate(problem.places):
        upper = problem.step(place) > 0
        mean = np.where(upper, problem.means[upper].mean(), problem.means[~upper].mean())
        z, floors = problem.simulate(mean, problem.variance(rest[index], 2), draws, rng)
        logs = problem.likelihood(problem.levels(z)[0], floors[:, None])
        observed = problem.likelihood(rest[[best, index]], problem.floor) @ [1, -1]
        if index == best or (logs.max(1) - logs[:, index] >= observed).mean() > alpha:
            kept.append(int(place))
    return kept, int(problem.places[best])


def seen_step(problem, alpha, draws, rng):
    """The least step whose data reject the line with probability POWER, the break at any of the places.

    The noise is that about the shape which fits best. The critical ratio depends on the line's rise over its noise:
    it is simulated on a grid of rises and read off at each simulated table's own.
    """
    z = problem.means[None]
    rests = [problem.variance(problem.trend(z, t)[0][0], TRENDS[t] + 1) for t in TRENDS]
    variance = min([*rests, problem.variance(problem.levels(z)[0].min(), 3)])
    if variance <= 0:
        return 0.0
    unit = np.sqrt(variance)
    line = problem.basis("line") @ problem.basis("line").T @ problem.x
    line = (line - line.mean()) / np.ptp(line)

    def rises(z, floors):
        rest, fitted = problem.trend(z, "line")
        spread = np.sqrt(np.maximum(rest / (len(problem.x) - 2), floors))
        return np.abs(fitted[:, -1] - fitted[:, 0]) / spread

    critical, at = [], []
    for rise in RATIOS:
        simulated = problem.simulate(rise * unit * line, variance, draws, rng)
        critical.append(np.quantile(problem.ratio("line", *simulated), 1 - alpha))
        at.append(np.median(rises(*simulated)))
    order = np.argsort(at)
    share = []
    for step in STEPS:
        means = step * unit * np.stack([problem.step(place) for place in rng.choice(problem.places, draws)])
        z, floors = problem.simulate(means, variance, draws, rng)
        limit = np.interp(rises(z, floors), np.array(at)[order], np.array(critical)[order])
        share.append((problem.ratio("line", z, floors) > limit).mean())
    reached = np.flatnonzero(np.array(share) >= POWER)
    return float(STEPS[reached[0]] * unit) if len(reached) else np.inf
