"""Where two curves swap: the first zero of their gap in every refit, an interval, and who is better on either side."""

from dataclasses import dataclass

import numpy as np

from scalinglaws.cost import UNITS

POINTS = 400  # places at which the two curves are compared


@dataclass(frozen=True)
class Crossover:
    """Where two sizes, or two levels of a column such as samplers, swap; `cost` is None where they do not.

    `cost` is in `unit`: FLOPs, seconds, joules or money an image, or the unit of the input that the curves run along.
    """

    small: str  # the smaller size, or the first level named
    large: str
    cost: float | None
    value: float | None  # quality there
    low: float | None
    high: float | None
    probability: float  # share of refits that cross within the range
    below: str | None  # who is better below the crossing, or everywhere
    above: str | None
    decades_beyond: float  # of the crossing, past what both were measured at; 0 inside
    searched: tuple  # (from, to), in the unit
    unit: str
    level: float
    warnings: tuple = ()
    by: str = "size"  # what tells the two apart
    at: str = ""  # what is the same for both, such as model = c16

    def summary(self):
        """The answer in plain lines."""
        unit = f"{self.unit} an image" if self.unit in UNITS else self.unit
        pair = f"{self.small} and {self.large}" + (f" ({self.at})" if self.at else "")
        if self.cost is None:
            lines = [f"{pair} do not cross: {self.below} is better throughout."]
        else:
            lines = [
                f"{pair} cross at {self.cost:.4g} {unit} "
                f"({self.level:.0%} interval {_show(self.low, 'below')} to {_show(self.high, 'beyond')}): "
                f"{self.below} is better below, {self.above} above."
            ]
        lines.append(f"{self.probability:.0%} of the refits cross from {_span(self.searched)} {self.unit}.")
        return "\n".join(lines + [f"Warning: {w}" for w in self.warnings])


def meet(names, x, first, refits, data, value, unit, level, told=(), **about):
    """The Crossover of two curves from their gap along x [place]: first [place], and of every refit [refit, place].

    gap: ln quality of the second minus the first, positive where the first is better. data: (from, to) measured of
    both. value(x): quality there. told: warnings.
    """
    crossings = first_zeros(np.log(x), refits)
    cost = _exp(first_zeros(np.log(x), first)[0])
    low, high = _interval(_censored(crossings, refits, first), level) if cost else (None, None)
    below, above = _winners(names, first, cost)
    return Crossover(
        *names, cost=cost, value=float(value(cost)) if cost else None, low=low, high=high,
        probability=float(np.isfinite(crossings).mean()), below=below, above=above,
        decades_beyond=_beyond(cost, data), searched=(float(x[0]), float(x[-1])), unit=unit, level=level,
        warnings=(*told, *_warnings(x, first, cost, data)), **about,
    )  # fmt: skip


def first_zeros(x, gap):
    """The first zero of each curve [replicate] along x, straight between points; NaN where there is none."""
    gap = np.atleast_2d(gap)
    swaps = np.sign(gap[:, 1:]) * np.sign(gap[:, :-1]) < 0
    i = swaps.argmax(axis=1)
    rows = np.arange(len(gap))
    here, then = gap[rows, i], gap[rows, i + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = x[i] + (x[i + 1] - x[i]) * here / (here - then)
    return np.where(swaps.any(axis=1), found, np.nan)


def zeros(x, gap):
    """Every zero of one curve along x."""
    swaps = np.flatnonzero(np.sign(gap[1:]) * np.sign(gap[:-1]) < 0) if len(gap) > 1 else []
    return [x[i] + (x[i + 1] - x[i]) * gap[i] / (gap[i] - gap[i + 1]) for i in swaps]


def _censored(crossings, refits, first):
    """Crossings, with -inf where a refit begins as the fit goes on after its crossing, +inf where it never leaves."""
    over = np.where(np.sign(refits[:, 0]) == -np.sign(first[0]), -np.inf, np.inf)
    return np.where(np.isfinite(crossings), crossings, over)


def _interval(crossings, level):
    """Quantiles of the refits' crossings; an end is None where it lies outside the costs searched."""
    ends = np.quantile(crossings, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return tuple(_exp(x) for x in ends)


def _winners(names, gap, cost):
    """(better below the first crossing, better just above it); the same one twice where they do not cross."""
    below, above = names if gap[0] > 0 else names[::-1]
    return (below, above) if cost else (below, below)


def _beyond(cost, data):
    """Decades of the crossing past what both were measured at (from, to)."""
    return max(0.0, float(np.log10(cost / data[1]))) if cost else 0.0


def _warnings(x, gap, cost, data):
    if cost and cost > data[1]:
        yield f"The crossing is {_beyond(cost, data):.1f} decades beyond what both were measured at."
    if len(zeros(np.log(x), gap)) > 1:
        yield "The curves cross more than once; this is the lowest crossing."


def _exp(value):
    return float(np.exp(value)) if np.isfinite(value) else None


def _show(value, side):
    return f"{side} the costs searched" if value is None else f"{value:.4g}"


def _span(pair):
    return f"{pair[0]:.3g} to {pair[1]:.3g}"
