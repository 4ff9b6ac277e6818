"""Two levels beside polynomial trends: residuals, tests by rotation, likely places of the break, power.

Means of K sizes are Gaussian about a shape with one variance. Given the shape's fit and the length of the residual, the
residual points in every direction left with equal probability: drawing directions gives the exact distribution of any
statistic under that shape, whatever its slope and noise (rotation tests, Langsrud 2005,
doi:10.1007/s11222-005-4789-5). So the search over places of the break is part of the distribution.
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.decide.power import POWER

LEAST = 2  # sizes on each side of a break
TRENDS = {"line": 1, "curve": 2}  # degree in ln size
STEPS = np.geomspace(1, 40, 16)  # simulated steps, in deviations of a mean
TABLES, ROTATIONS = 200, 99  # simulated for each of them, and rotations of each table


@dataclass(frozen=True)
class Problem:
    """Means of K sizes: x ln size [K]; means [K]; noise: the least variance of a mean, by what repeats differ by beyond
    a line of their own in ln size."""

    x: np.ndarray
    means: np.ndarray
    noise: float

    @classmethod
    def of(cls, wide, errors):
        """The Problem of a table [repeat, size] without gaps, errors those of its numbers, used for a single repeat."""
        y, x = wide.to_numpy(float), np.log(wide.columns.to_numpy(float))
        repeats, sizes = y.shape
        alone = cls(x, y.mean(0), float((errors**2).mean()))
        if repeats == 1:
            return alone
        rests = rest(y - alone.means, alone.trend("line")).sum() / ((repeats - 1) * (sizes - 2))
        return cls(x, alone.means, float(rests / repeats))

    @property
    def places(self):
        """Sizes below the break, for each place that it may have."""
        return np.arange(LEAST, len(self.x) - LEAST + 1)

    def trend(self, name):
        """Orthonormal columns [K, degree + 1] of a polynomial in ln size."""
        return np.linalg.qr(np.vander((self.x - self.x.mean()) / np.ptp(self.x), TRENDS[name] + 1))[0]

    def split(self, place):
        """Orthonormal columns [K, 2]: the sizes below a place, those above."""
        below = np.arange(len(self.x)) < place
        return np.stack([below / np.sqrt(below.sum()), ~below / np.sqrt((~below).sum())], axis=1)

    def levels(self, z):
        """Residual sums of squares [..., place] of two levels, of means z [..., K]."""
        return np.stack([rest(z, self.split(place)) for place in self.places], axis=-1)


def rest(z, basis):
    """Residual sum of squares [...] of means z [..., K] about their projection on orthonormal columns."""
    return ((z - z @ basis @ basis.T) ** 2).sum(-1)


def rotated(z, basis, draws, rng):
    """Means [..., draw, K] with the fit of z [..., K] and its length of residual, in directions drawn anew."""
    fitted = z @ basis @ basis.T
    direction = rng.normal(size=(*z.shape[:-1], draws, z.shape[-1]))
    direction -= direction @ basis @ basis.T
    length = np.linalg.norm(z - fitted, axis=-1)[..., None, None]
    return fitted[..., None, :] + direction * length / np.linalg.norm(direction, axis=-1, keepdims=True)


def share(extreme):
    """(1 + how many are extreme) / (1 + how many there are), along the last axis: a p value of that many draws."""
    return (1 + extreme.sum(-1)) / (1 + extreme.shape[-1])


def p_trend(problem, z, trend, draws, rng):
    """Probability [...] that data of the trend are fitted by two levels as well as means z [..., K] are."""
    drawn = problem.levels(rotated(z, problem.trend(trend), draws, rng)).min(-1)
    return share(drawn <= problem.levels(z).min(-1)[..., None])


def p_levels(problem, trend, draws, rng):
    """Probability that data of two levels, broken at the likeliest place, are fitted by the trend as well as these.

    Of draws, those count whose likeliest place is that one, too.
    """
    place = problem.levels(problem.means).argmin()
    drawn = rotated(problem.means, problem.split(problem.places[place]), draws, rng)
    drawn = drawn[problem.levels(drawn).argmin(-1) == place]
    return share(rest(drawn, problem.trend(trend)) <= rest(problem.means, problem.trend(trend)))


def compare(problem, trend, draws, rng):
    """A trend and two levels: misfits (deviations), log likelihood ratio of levels over trend, both p values."""
    k, about, split = len(problem.x), rest(problem.means, problem.trend(trend)), problem.levels(problem.means).min()
    with np.errstate(divide="ignore"):
        ratio = k / 2 * (np.log(about) - np.log(split))
    return {
        "trend": trend, "misfit": np.sqrt(about / k), "levels_misfit": np.sqrt(split / k), "log_ratio": ratio,
        "p_trend": float(p_trend(problem, problem.means, trend, draws, rng)),
        "p_levels": float(p_levels(problem, trend, draws, rng)),
    }  # fmt: skip


def likely_places(problem, draws, rng, alpha):
    """(places of the break that are not rejected at `alpha`, the likeliest): each against `draws` simulated data sets
    with the break there, by how much better another place fits."""
    found = problem.levels(problem.means)
    drawn = [problem.levels(rotated(problem.means, problem.split(p), draws, rng)).min(-1) for p in problem.places]
    kept = [int(p) for p, best in zip(problem.places, drawn, strict=True) if share(best <= found.min()) > alpha]
    likeliest = int(problem.places[found.argmin()])
    return sorted({likeliest, *kept}), likeliest


def seen_step(problem, alpha, rng):
    """The least step whose data reject the line with probability POWER, the break at any of the places; infinite where
    none of STEPS does. The noise is that about the shape which fits best, and not below the repeats' own."""
    spare = len(problem.x) - np.array([2, 3, 3])
    rests = [*(rest(problem.means, problem.trend(t)) for t in TRENDS), problem.levels(problem.means).min()]
    unit = np.sqrt(max((rests / spare).min(), problem.noise))
    above = np.arange(len(problem.x)) >= rng.choice(problem.places, (TABLES, 1))
    noise = rng.normal(size=above.shape)
    power = np.array([
        (p_trend(problem, step * above + noise, "line", ROTATIONS, rng) < alpha).mean() for step in STEPS
    ])  # fmt: skip
    if power.max() < POWER:
        return np.inf
    return float(unit * np.exp(np.interp(POWER, np.maximum.accumulate(power), np.log(STEPS))))
