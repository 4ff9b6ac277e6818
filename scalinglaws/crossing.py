"""Where two sizes swap: the cost an image at which the larger becomes the better one, with an interval.

Both curves are quality against cost as steps grow, steps taken as continuous. Every refit gives its own crossing;
the interval is theirs, and `probability` is the share of refits that cross at all within the range searched.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from scalinglaws.frontier import curves
from scalinglaws.priced import priced
from scalinglaws.schema import InputError

POINTS = 400  # costs at which the two curves are compared


@dataclass(frozen=True)
class Crossover:
    """The cost at which two sizes swap; `cost` is None where they do not."""

    small: str
    large: str
    cost: float | None  # unit an image
    value: float | None  # quality there
    low: float | None
    high: float | None
    probability: float  # share of refits that cross within the range
    below: str | None  # who is better below the crossing, or everywhere
    above: str | None
    decades_beyond: float  # of the crossing, past the costs both sizes were measured at; 0 inside
    searched: tuple  # (from, to) costs, unit an image
    unit: str
    level: float
    warnings: tuple = ()

    def summary(self):
        """The answer in plain lines."""
        if self.cost is None:
            lines = [f"{self.small} and {self.large} do not cross: {self.below} is better throughout."]
        else:
            lines = [
                f"{self.small} and {self.large} cross at {self.cost:.4g} {self.unit} an image "
                f"({self.level:.0%} interval {_show(self.low, 'below')} to {_show(self.high, 'beyond')}): "
                f"{self.below} is better below, {self.above} above."
            ]
        lines.append(f"{self.probability:.0%} of the refits cross from {_span(self.searched)} {self.unit}.")
        return "\n".join(lines + [f"Warning: {w}" for w in self.warnings])


def crossover(
    fit, between, unit="flops", level=0.9, sampler=None, guidance=None, decode=False, price=None, beyond=1.0
):
    """Where the two sizes `between` (labels or numbers) swap; costs are searched `beyond` decades past the data."""
    view = priced(fit, unit, sampler, guidance, decode, price)
    if not view.steps:
        raise InputError("A crossing needs a law with steps, such as size_steps: without them a curve is a point.")
    small, large = _two(view, between)
    costs, data = _costs(view, small, large, beyond)
    first = _gap(view, small, large, costs)
    refits = _gap(view, small, large, costs, fit.replicates)
    crossings = _crossings(np.log(costs), refits)
    cost = _exp(_crossings(np.log(costs), first)[0])
    low, high = _interval(_censored(crossings, refits, first), level) if cost else (None, None)
    names = [view.model(n) for n in (small, large)]
    below, above = _winners(names, first, cost)
    point = {"cost": cost, "value": _value(view, small, cost), "low": low, "high": high}
    return Crossover(
        *names, **point, probability=float(np.isfinite(crossings).mean()), below=below, above=above,
        decades_beyond=_beyond(cost, data), searched=(float(costs[0]), float(costs[-1])), unit=unit, level=level,
        warnings=tuple(_warnings(view, costs, first, cost, data)),
    )  # fmt: skip


def crossovers(fit, unit="flops", sizes=None, neighbours=False, **options):
    """Every pair of sizes, or of neighbours only, one row each: small, large, cost, value, low, high, ..."""
    view = priced(fit, unit, options.get("sampler"), options.get("guidance"), price=options.get("price"))
    known = sorted(view.find(s) for s in (view.measured if sizes is None else sizes))
    couples = pairwise(known) if neighbours else combinations(known, 2)
    found = [crossover(fit, pair, unit, **options) for pair in couples]
    keys = ("small", "large", "cost", "value", "low", "high", "probability", "below", "above", "decades_beyond")
    return pd.DataFrame([{k: getattr(c, k) for k in keys} for c in found], columns=keys)


def measured_crossover(table, between, quality, unit="flops", size="flops_per_forward", decode=False, price=None):
    """The same without a law: costs at which the two measured curves, straight in logs, swap (a list, often empty).

    Only costs at which both sizes were measured count.
    """
    found = {c.model: c for c in curves(table, quality, unit, size, decode, price)}
    missing = [m for m in map(str, between) if m not in found]
    if missing:
        raise InputError(f"No measured size {missing[0]!r}. Measured sizes: {', '.join(found)}.")
    one, two = (found[str(m)] for m in between)
    knots = np.unique(np.concatenate([one.cost, two.cost]))
    knots = knots[(knots >= max(one.cost[0], two.cost[0])) & (knots <= min(one.cost[-1], two.cost[-1]))]
    gap = np.log(two.at(knots)) - np.log(one.at(knots))
    return [float(np.exp(x)) for x in _zeros(np.log(knots), gap)]


def _two(view, between):
    if isinstance(between, str) or len(between) != 2:
        raise InputError(f"between={between!r}: give two sizes, such as ('c16', 'c64').")
    small, large = sorted(view.find(s) for s in between)
    if small == large:
        raise InputError(f"between={tuple(between)!r}: both are the size {small:g}; give two different ones.")
    return small, large


def _costs(view, small, large, beyond):
    """Costs to search [cost], and the (from, to) both sizes were measured over.

    From the larger size's fewest measured steps to the smaller size's most, `beyond` decades further up.
    """
    steps = view.fit.table[view.fit.inputs[view.steps]].astype(float)
    low = float(view.cost.per_image(large, steps.min()))
    high = float(view.cost.per_image(small, steps.max()))
    return np.geomspace(low, max(high, low) * 10**beyond, POINTS), (low, high)


def _gap(view, small, large, costs, theta=None):
    """ln quality of the large minus the small [..., cost]; below 0 the large one is better (unless quality rises)."""
    with np.errstate(all="ignore"):  # wild refits may reach 0 or overflow; they count as not crossing
        one, two = (np.log(view.bought(n, costs, theta)) for n in (small, large))
        return one - two if view.rises else two - one


def _crossings(x, gap):
    """The first zero of each curve [replicate] along x, straight between points; NaN where there is none."""
    gap = np.atleast_2d(gap)
    swaps = np.sign(gap[:, 1:]) * np.sign(gap[:, :-1]) < 0
    i = swaps.argmax(axis=1)
    rows = np.arange(len(gap))
    here, then = gap[rows, i], gap[rows, i + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = x[i] + (x[i + 1] - x[i]) * here / (here - then)
    return np.where(swaps.any(axis=1), found, np.nan)


def _zeros(x, gap):
    """Every zero of one curve along x."""
    swaps = np.flatnonzero(np.sign(gap[1:]) * np.sign(gap[:-1]) < 0) if len(gap) > 1 else []
    return [x[i] + (x[i + 1] - x[i]) * gap[i] / (gap[i] - gap[i + 1]) for i in swaps]


def _censored(crossings, refits, first):
    """Crossings, with -inf where a refit already ends as the fit does and +inf where it stays as the fit begins."""
    over = np.where(np.sign(refits[:, 0]) == np.sign(first[-1]), -np.inf, np.inf)
    return np.where(np.isfinite(crossings), crossings, over)


def _interval(crossings, level):
    """Quantiles of the refits' crossings; an end is None where it lies outside the costs searched."""
    ends = np.quantile(crossings, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return tuple(_exp(x) for x in ends)


def _winners(names, gap, cost):
    """(better below, better above); the same one twice where they do not cross."""
    low, high = (names[0] if g > 0 else names[1] for g in (gap[0], gap[-1]))
    return (low, high) if cost else (low, low)


def _value(view, small, cost):
    """Quality where the curves meet."""
    return float(view.bought(small, cost)[0]) if cost else None


def _beyond(cost, data):
    """Decades of the crossing past the costs (from, to) both sizes were measured at."""
    return max(0.0, float(np.log10(cost / data[1]))) if cost else 0.0


def _warnings(view, costs, gap, cost, data):
    yield from view.warnings
    if data[1] < data[0]:
        yield "The two sizes were never measured at one cost: the curves meet only in the law."
    if cost and cost > data[1]:
        yield f"The crossing is {_beyond(cost, data):.1f} decades beyond the costs both were measured at."
    if len(_zeros(np.log(costs), gap)) > 1:
        yield "The curves cross more than once; this is the cheapest crossing."


def _exp(value):
    return float(np.exp(value)) if np.isfinite(value) else None


def _show(value, side):
    return f"{side} the costs searched" if value is None else f"{value:.4g}"


def _span(pair):
    return f"{pair[0]:.3g} to {pair[1]:.3g}"
