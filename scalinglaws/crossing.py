"""Where two sizes, samplers or students swap: the cost an image at which the other becomes the better one.

Curves of sizes are quality against cost as steps grow, steps taken as continuous. Every refit gives its own crossing;
the interval is theirs, and `probability` is the share of refits that cross at all within the range searched.
"""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from scalinglaws import levels
from scalinglaws.frontier import curves
from scalinglaws.priced import priced
from scalinglaws.schema import InputError
from scalinglaws.swaps import POINTS, Crossover, meet

SHOWN = ("small", "large", "cost", "value", "low", "high", "probability", "below", "above", "decades_beyond")


def crossover(
    fit, between, unit="flops", level=0.9, sampler=None, guidance=None, decode=False, price=None, beyond=1.0, by=None,
    at=None, along=None,
) -> Crossover:  # fmt: skip
    """Where the two sizes `between` (labels or numbers) swap; costs are searched `beyond` decades past the data.

    With the Groups of `fit_groups`, or the Fit of a shared law, `between` are two of its groups: samplers, students,
    any column's levels. `by` names that column; `at` is the size at which they are compared, `along` the input along
    which, where it is not the cost an image.
    """
    if levels.several(fit):
        return levels.crossover(fit, between, unit, level, decode, price, beyond, by, at, along)
    view = priced(fit, unit, sampler, guidance, decode, price)
    if not view.steps:
        raise InputError("A crossing needs a law with steps, such as size_steps: without them a curve is a point.")
    small, large = _two(view, between)
    costs, data = _costs(view, small, large, beyond)
    first, refits = (_gap(view, small, large, costs, theta) for theta in (None, fit.replicates))
    told = (*view.warnings, *([] if data[1] >= data[0] else [APART]))
    return meet([view.model(n) for n in (small, large)], costs, first, refits, data,
                lambda cost: view.bought(small, cost)[0], unit, level, told)  # fmt: skip


APART = "The two sizes were never measured at one cost: the curves meet only in the law."


def crossovers(fit, unit="flops", sizes=None, neighbours=False, **options):
    """Every pair, or of neighbours only, one row each: small, large, cost, value, low, high, ...

    Pairs of sizes; of groups where there are several, at every size (or `at` one), or along the law's one input.
    """
    if levels.several(fit):
        return levels.crossovers(fit, unit, SHOWN, **options)
    view = priced(fit, unit, options.get("sampler"), options.get("guidance"), price=options.get("price"))
    known = sorted(view.find(s) for s in (view.measured if sizes is None else sizes))
    couples = pairwise(known) if neighbours else combinations(known, 2)
    found = [crossover(fit, pair, unit, **options) for pair in couples]
    return pd.DataFrame([{k: getattr(c, k) for k in SHOWN} for c in found], columns=SHOWN)


def measured_crossover(table, between, quality, unit="flops", size="flops_per_forward", decode=False, price=None):
    """The same without a law: costs at which the two measured curves, straight in logs, swap (a list, often empty).

    Only costs at which both sizes were measured count.
    """
    found = {c.model: c for c in curves(table, quality, unit, size, decode, price)}
    missing = [m for m in map(str, between) if m not in found]
    if missing:
        raise InputError(f"No measured size {missing[0]!r}. Measured sizes: {', '.join(found)}.")
    one, two = (found[str(m)] for m in between)
    return one.meets(two)


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
