"""Surfaces of size and steps (or training): the largest model forecast whole, and what decisions made by it lose.

Each step count is a series in size, forecast by itself; the curves of the sizes that were measured are taken as they
are, between their points in ln quality against ln steps.
"""

from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pandas as pd

from scalinglaws.forecasting import series

LEAST = (3, 2)  # sizes and step counts of a surface
BUDGETS = 15
RULES = ("largest affordable", "smallest")  # decisions without a forecast


@dataclass(frozen=True)
class Surface:
    """Quality y [size, step] (lower is better) and cost [size, step], in the order of sizes and steps.

    along: the column of steps (steps, nfe, train_images or train_steps); slices: the series in size, one a step.
    """

    study: str
    label: str
    quality: str
    along: str
    sizes: np.ndarray
    steps: np.ndarray
    y: np.ndarray
    cost: np.ndarray
    slices: tuple = field(repr=False)

    @property
    def name(self) -> str:
        """What tells it from the study's others: its settings and the column of its steps."""
        return f"{self.label}, {self.along}" if self.label else self.along


def from_series(found: list[series.Series]) -> list[Surface]:
    """Surfaces made of the series in size of one study that differ in steps (or training) only.

    Models of one size trained for several lengths and sampled at the same steps are a surface for each length.
    """
    groups = {}
    for one in found:
        if one.kind == "size" and not one.asked and not series.rises(one.quality) and one.settings.get("_along"):
            groups.setdefault((one.study, one.quality, one.column, one.settings["_rest"]), []).append(one)
    result, apart = [], chain.from_iterable(_by_length(*group) for group in groups.items())
    for (study, quality, _, rest), held in apart:
        size = max(len(one) for one in held)
        held = sorted((o for o in held if len(o) == size), key=lambda o: o.settings["_at"])
        if size < LEAST[0] or len(held) < LEAST[1] or any(not np.array_equal(o.x, held[0].x) for o in held):
            continue
        steps, sizes = np.array([o.settings["_at"] for o in held], float), held[0].x
        result.append(Surface(study, rest, quality, held[0].settings["_along"], sizes, steps,
                              np.array([o.y for o in held]).T, sizes[:, None] * steps, tuple(held)))  # fmt: skip
    return result


def _by_length(key, held):
    """(key, series) of a group as it is, or of each training length where several were sampled at the same steps."""
    if len({one.settings["_at"] for one in held}) == len(held):
        return [(key, held)]
    parts = {}
    for one in held:
        label = ", ".join(filter(None, (key[-1], one.settings["_length"])))
        parts.setdefault((*key[:-1], label), []).append(one)
    return list(parts.items())


def published() -> list[Surface]:
    """All surfaces of the bundled studies."""
    return from_series(series.published())


def regret(surface: Surface, believed: dict) -> pd.DataFrame:
    """What decisions lose against the best measured size, the largest model unseen. One row per budget.

    believed: {method: quality of the largest model [step]}. Columns: one a method and one a rule of RULES: the share by
    which the measured quality of the size chosen exceeds that of the best; `budget` is the index (size x steps).
    """
    qualities = {name: np.vstack([surface.y[:-1], values]) for name, values in believed.items()}
    budgets = np.geomspace(surface.cost[0].min() * 1.5, surface.cost.max(), BUDGETS)
    rows = []
    for budget in budgets:
        true = best_affordable(surface, surface.y, budget)
        able = np.flatnonzero(np.isfinite(true))
        chosen = {name: int(np.argmin(best_affordable(surface, y, budget))) for name, y in qualities.items()}
        chosen |= dict(zip(RULES, (able[-1], able[0]), strict=True))
        rows.append({name: np.expm1(true[k] - true.min()) for name, k in chosen.items()})
    return pd.DataFrame(rows, index=pd.Index(budgets, name="budget"))


def best_affordable(surface: Surface, y: np.ndarray, budget: float) -> np.ndarray:
    """ln quality [size] of the best affordable steps, inf where not even the fewest are affordable."""
    result, steps = np.full(len(surface.sizes), np.inf), np.log(surface.steps)
    for i, cost in enumerate(surface.cost):
        if cost[0] <= budget:
            most = np.log(np.minimum(budget / surface.sizes[i], surface.steps[-1]))
            result[i] = np.interp(np.append(steps[steps <= most], most), steps, np.log(y[i])).min()
    return result
