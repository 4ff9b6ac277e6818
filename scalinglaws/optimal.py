"""The best size and steps for a budget an image, with an interval and the probability that the size is the best.

Steps are whole. A size may spend at most the budget; where the law falls with steps it spends all of it, where the
law turns it stops at its best number of steps.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws.priced import priced
from scalinglaws.schema import InputError, higher_is_better

FLAT = 0.01  # sizes within this share of the best, or within the noise, are as good as the best
GRID = 200  # step counts tried for a size, at most
NAMED = 8  # sizes listed one by one; more are given as a range
FAR = 0.05  # decades beyond the data that are worth a warning


@dataclass(frozen=True)
class Optimum:
    """Which size and how many steps a budget should buy.

    `candidates` has one row a size: size, model, steps, cost, value, low, high, probability, decades_beyond.
    """

    size: float  # in the unit of the law's size column
    model: str
    steps: int
    cost: float  # unit an image
    value: float  # quality
    low: float
    high: float
    probability: float  # share of refits in which this size is the best
    budget: float  # unit an image
    unit: str
    quality: str
    level: float
    flat: tuple  # labels of the sizes as good as the best
    candidates: pd.DataFrame
    warnings: tuple

    def summary(self):
        """The answer in plain lines."""
        lines = [
            f"Best for {self.budget:g} {self.unit} an image: {self.model} with {self.steps} steps.",
            f"{self.quality} {self.value:.4g} ({self.level:.0%} interval {self.low:.4g} to {self.high:.4g}); "
            f"it is the best size in {self.probability:.0%} of the refits.",
        ]
        if len(self.flat) > 1:
            listed = ", ".join(self.flat) if len(self.flat) <= NAMED else f"{self.flat[0]} to {self.flat[-1]}"
            lines.append(f"As good within the noise: {listed}.")
        return "\n".join(lines + [f"Warning: {w}" for w in self.warnings])


def optimum(
    fit, budget, unit="flops", sizes=None, steps=None, sampler=None, guidance=None, level=0.9, decode=False, price=None
):
    """The best size and steps for `budget` an image.

    `sizes` are labels or numbers (default: the measured ones; "continuous": any between them), `steps` the step
    counts allowed (default: any whole number from the fewest measured). `price` is money an hour, for unit="money".
    """
    if not (np.isfinite(budget) and budget > 0):
        raise InputError(f"Budget {budget:g} {unit}: give a number above 0.")
    view = priced(fit, unit, sampler, guidance, decode, price)
    allowed = _allowed_steps(view, steps)
    asked = _asked(view, sizes)
    pairs = _continuous(view, budget) if _is(sizes, "continuous") else _each_size(view, asked, budget, allowed)
    if not pairs:
        raise InputError(_too_small(view, asked, budget, allowed))
    table = _candidates(view, pairs, level)
    best = int(table["value"].argmax() if view.rises else table["value"].argmin())
    return _answer(view, table, best, budget, level)


def answers(fit, budgets, unit="flops", **options):
    """The optimum at each budget that buys anything: one row a budget and candidate size.

    Columns are those of `Optimum.candidates` with `budget`, and `best`, true for the size chosen.
    """
    tables = []
    for budget in budgets:
        try:
            found = optimum(fit, budget, unit, **options)
        except InputError:  # below the cheapest candidate
            continue
        chosen = found.candidates["size"] == found.size
        tables.append(found.candidates.assign(budget=float(budget), best=chosen))
    if not tables:
        raise InputError(f"None of the budgets up to {max(budgets):g} {unit} buys an image; raise them.")
    return pd.concat(tables, ignore_index=True)


def optima(fits, budget, unit="flops", **options):
    """({label: Optimum}, sentences for the settings that cannot afford it) of several settings' fits {label: Fit}."""
    found, skipped = {}, []
    for label, fit in fits.items():
        try:
            found[label] = optimum(fit, budget, unit, **options)
        except InputError as error:
            if len(fits) == 1:
                raise
            skipped.append(f"Left out {label}: {error}")
    if not found:
        raise InputError(skipped[0].partition(": ")[2])
    return found, skipped


def choose(optima):
    """The best of several settings' optima, {label: Optimum}; each was fitted on its own rows.

    Returns (label, table of the settings, best first).
    """
    keys = ("model", "size", "steps", "cost", "value", "low", "high", "probability")
    table = pd.DataFrame([{"setting": label} | {k: getattr(o, k) for k in keys} for label, o in optima.items()])
    rises = higher_is_better(next(iter(optima.values())).quality)
    table = table.sort_values("value", ascending=not rises).reset_index(drop=True)
    return table["setting"].iloc[0], table


def _is(value, word):
    return isinstance(value, str) and value == word


def _asked(view, sizes):
    """Sizes to compare [size]; the measured ones where none are named."""
    if sizes is None or _is(sizes, "continuous"):
        return view.measured
    return np.unique([view.find(s) for s in ([sizes] if np.ndim(sizes) == 0 else sizes)])


def _fewest(view):
    """The fewest steps measured: below it a law in steps is not to be trusted."""
    return math.ceil(view.fit.table[view.fit.inputs[view.steps]].astype(float).min())


def _allowed_steps(view, steps):
    """Allowed step counts, rising, or None for any whole number."""
    if steps is None and view.steps:
        return None
    given = np.unique(view.fit.table["steps"]) if steps is None and "steps" in view.fit.table else steps
    return np.unique(np.atleast_1d(np.asarray(1 if given is None else given, float)))


def _each_size(view, asked, budget, allowed):
    """(size, steps) of every size that can afford an allowed number of steps."""
    pairs = [(n, _best_steps(view, n, budget, allowed)) for n in asked]
    return [(n, s) for n, s in pairs if s]


def _best_steps(view, size, budget, allowed):
    """The best affordable number of steps of a size; None if it affords none."""
    most = float(view.cost.steps(size, budget)) * (1 + 1e-9)
    tried = _whole(_fewest(view), most) if allowed is None else allowed[allowed <= most]
    if not len(tried):
        return None
    values = view.quality(size, tried)
    return int(tried[values.argmax() if view.rises else values.argmin()])


def _whole(least, most):
    """Whole numbers from `least` to `most`, about evenly spaced in logs; none if most is below."""
    most = math.floor(min(most, 1e15))
    return np.unique(np.round(np.geomspace(least, most, GRID))) if most >= least else np.array([])


def _continuous(view, budget):
    """(size, steps) where a whole number of steps spends the budget exactly, within the measured sizes."""
    low, high = view.measured[0], view.measured[-1]
    grid = np.geomspace(low, high, 4 * GRID)
    counts = _whole(_fewest(view), float(view.cost.steps(low, budget)) * (1 + 1e-9))
    pairs = [(_size_for(grid, view.cost.per_image(grid, s), budget), int(s)) for s in counts]
    return sorted(dict(sorted(pairs)).items())


def _size_for(grid, cost, budget):
    """The largest size on the grid's range whose cost is within the budget."""
    return float(np.exp(np.interp(np.log(budget), np.log(cost), np.log(grid))))


def _candidates(view, pairs, level):
    """One row a candidate, with intervals and the probability of being the best."""
    size, steps = np.array(pairs, float).T
    table = view.fit.predict(view.frame(size, steps), level=level)
    table = pd.DataFrame({c: np.asarray(table[c], float) for c in ("value", "low", "high", "decades_beyond")})
    known = {"size": size, "model": [view.model(n) for n in size], "steps": steps.astype(int)}
    spent = {"cost": view.cost.per_image(size, steps)}
    return pd.DataFrame(known | spent).join(table).assign(probability=_probability(view, size, steps))


def _probability(view, size, steps):
    """Share of the refits in which each candidate is the best [candidate]."""
    values = view.quality(size, steps, view.fit.replicates)
    best = values.argmax(axis=-1) if view.rises else values.argmin(axis=-1)
    return np.bincount(best, minlength=len(size)) / len(best)


def _answer(view, table, best, budget, level):
    row = table.iloc[best]
    ratio = table["value"] / row["value"] if not view.rises else row["value"] / table["value"]
    flat = table["model"][ratio <= 1 + max(FLAT, _relative_noise(view.fit, row["value"]))]
    fields = {k: row[k] for k in ("size", "model", "cost", "value", "low", "high", "probability")}
    return Optimum(
        **fields, steps=int(row["steps"]), budget=float(budget), unit=view.cost.unit, quality=view.fit.quality,
        level=level, flat=tuple(flat), candidates=table, warnings=tuple(_warnings(view, row, table, budget)),
    )  # fmt: skip


def _relative_noise(fit, value):
    """Noise of one measurement as a share of the value."""
    raw = getattr(fit, "residual_scale", "log") == "raw"
    return float(fit.noise) / (value if raw else 1.0)


def _warnings(view, row, table, budget):
    yield from view.warnings
    yield from _beyond_budget(view, budget)
    if row["decades_beyond"] > FAR:
        yield f"The best lies {row['decades_beyond']:.1f} decades beyond the measured rows: a projection, not checked."
    if view.steps:
        yield from _edge(view, row)
    if row["size"] in (view.measured[0], view.measured[-1]):
        end = "smallest" if row["size"] == view.measured[0] else "largest"
        yield f"The best is the {end} size measured: a {end[:-2] + 'r'} one may be better still."


def _beyond_budget(view, budget):
    """A budget outside what the measured rows cost."""
    table = view.fit.table
    steps = table[view.fit.inputs[view.steps]] if view.steps else table.get("steps", 1.0)
    spent = view.cost.per_image(table[view.fit.inputs[view.size]].to_numpy(float), np.asarray(steps, float))
    for far, side in ((math.log10(budget / spent.max()), "dearest"), (math.log10(spent.min() / budget), "cheapest")):
        if far > FAR:
            yield f"The budget is {far:.1f} decades beyond the {side} measured row: read the answer as a projection."


def _edge(view, row):
    """Steps at or outside the ends of the measured steps."""
    known = view.fit.table[view.fit.inputs[view.steps]].astype(float)
    if row["steps"] > known.max():
        yield f"{int(row['steps'])} steps were never measured; the most was {known.max():g}."
    if row["steps"] <= known.min():
        word = "the fewest measured" if row["steps"] == known.min() else f"fewer than the {known.min():g} measured"
        yield f"The best takes {int(row['steps'])} steps, {word}: fewer may do."


def _too_small(view, asked, budget, allowed):
    """The sentence for a budget below the cheapest candidate."""
    first = _fewest(view) if allowed is None else allowed[0]
    costs = view.cost.per_image(asked, np.full(len(asked), float(first)))
    cheap = int(np.argmin(costs))
    return (
        f"A budget of {budget:g} {view.cost.unit} an image is below the cheapest candidate: "
        f"{view.model(asked[cheap])} at {first:g} steps costs {costs[cheap]:.4g}; raise the budget."
    )
