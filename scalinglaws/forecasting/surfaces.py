"""Surfaces of size and steps: the whole largest model forecast from the smaller ones, and what the decision loses.

Each step count (or training length) is a series in size, forecast by itself; the curves of the sizes that were measured
are taken as they are, between their points in ln quality against ln steps.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws.forecasting import series
from scalinglaws.forecasting.forecast import of_series

LEAST = (3, 2)  # sizes and step counts of a surface
BUDGETS = 15
RULES = ("ours", "last", "largest", "smallest")


@dataclass(frozen=True)
class Surface:
    """Quality y [size, step] (lower is better), cost [size, step] of an item, in the order of sizes and steps."""

    study: str
    label: str
    quality: str
    along: str
    sizes: np.ndarray
    steps: np.ndarray
    y: np.ndarray
    se: np.ndarray
    cost: np.ndarray
    settings: dict

    def slice(self, step: int, count: int) -> series.Series:
        """Quality against the `count` smallest sizes at one step count."""
        return series.Series(self.study, "size", self.quality, "size", f"{self.label}, {self.steps[step]:g}",
                             self.sizes[:count], self.y[:count, step], self.se[:count, step],
                             self.settings)  # fmt: skip


def from_series(found: list[series.Series]) -> list[Surface]:
    """Surfaces made of the series in size of one study that differ in steps (or training) only."""
    result = []
    groups = {}
    for one in found:
        if one.kind == "size" and not series.rises(one.quality) and one.settings.get("_along"):
            groups.setdefault((one.study, one.quality, one.column, one.settings["_rest"]), []).append(one)
    for (study, quality, _, rest), held in groups.items():
        size = max(len(one) for one in held)
        held = sorted((o for o in held if len(o) == size), key=lambda o: o.settings["_at"])
        if size < LEAST[0] or len(held) < LEAST[1] or any(not np.array_equal(o.x, held[0].x) for o in held):
            continue
        steps = np.array([o.settings["_at"] for o in held], float)
        y, se = np.array([o.y for o in held]).T, np.array([o.se for o in held]).T
        result.append(Surface(study, rest, quality, held[0].settings["_along"], held[0].x, steps, y, se,
                              held[0].x[:, None] * steps[None], held[0].settings))  # fmt: skip
    return result


def published() -> list[Surface]:
    """All surfaces of the bundled studies."""
    return from_series(series.published())


def whole_model(surface: Surface) -> pd.DataFrame:
    """The largest model forecast from the others, one row a step count: truth, value, low, high (90 %), last."""
    count = len(surface.sizes) - 1
    rows = []
    for k, steps in enumerate(surface.steps):
        answer = of_series(surface.slice(k, count), [surface.sizes[-1]], leave_out=surface.study)
        relative = np.nan_to_num(surface.se[-1, k] / surface.y[-1, k])
        low, value, high = answer.quantiles((0.05, 0.5, 0.95), of="new_model", cell_error=relative)[0]
        rows.append({"study": surface.study, "label": surface.label, "quality": surface.quality, "steps": steps,
                     "truth": surface.y[-1, k], "value": value, "low": low, "high": high,
                     "last": surface.y[count - 1, k]})  # fmt: skip
    table = pd.DataFrame(rows)
    table["error"] = (table["value"] / table["truth"] - 1).abs()
    table["last_error"] = (table["last"] / table["truth"] - 1).abs()
    table["in90"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    return table


def regret(surface: Surface, forecast: pd.DataFrame | None = None) -> pd.DataFrame:
    """What decisions lose against the best measured, one row a budget, the largest model unseen.

    Columns: budget; the size each rule takes and the share by which its measured quality exceeds the best: ours, last
    (the largest is as good as the one before), largest affordable, smallest.
    """
    forecast = whole_model(surface) if forecast is None else forecast
    believed = surface.y.copy()
    believed[-1] = forecast["value"].to_numpy()
    same = surface.y.copy()
    same[-1] = surface.y[-2]
    rows = []
    low, high = surface.cost[0].min() * 1.5, surface.cost.max()
    for budget in np.geomspace(low, high, BUDGETS):
        true = _best(surface, surface.y, budget)
        able = np.flatnonzero(np.isfinite(true))
        best = np.nanmin(np.where(np.isfinite(true), true, np.nan))
        chosen = {"ours": int(np.argmin(_best(surface, believed, budget))),
                  "last": int(np.argmin(_best(surface, same, budget))),
                  "largest": int(able[-1]), "smallest": int(able[0])}  # fmt: skip
        rows.append({"study": surface.study, "label": surface.label, "quality": surface.quality, "budget": budget}
                    | {f"{rule}_size": surface.sizes[k] for rule, k in chosen.items()}
                    | {f"{rule}_regret": np.exp(true[k] - best) - 1 for rule, k in chosen.items()})  # fmt: skip
    return pd.DataFrame(rows)


def _best(surface, y, budget):
    """ln quality [size] of the best affordable steps, inf where not even the fewest are affordable."""
    result = np.full(len(surface.sizes), np.inf)
    for i, cost in enumerate(surface.cost):
        if cost[0] <= budget:
            at = np.log(np.minimum(budget / surface.sizes[i], surface.steps[-1]))
            inside = np.append(np.log(surface.steps[np.log(surface.steps) <= at]), at)
            result[i] = np.interp(inside, np.log(surface.steps), np.log(y[i])).min()
    return result


def summary(found: list[Surface] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row a surface: errors, coverage and regrets; every budget)."""
    found = published() if found is None else found
    rows, budgets = [], []
    for one in found:
        predicted = whole_model(one)
        lost = regret(one, predicted)
        budgets.append(lost)
        rows.append({"study": one.study, "surface": one.label, "quality": one.quality, "sizes": len(one.sizes),
                     "steps": len(one.steps), "error": predicted["error"].median(),
                     "last_error": predicted["last_error"].median(),
                     "in90": predicted["in90"].mean()}
                    | {f"{rule}_regret": lost[f"{rule}_regret"].mean() for rule in RULES}
                    | {"ours_worst": lost["ours_regret"].max()})  # fmt: skip
    return pd.DataFrame(rows), pd.concat(budgets, ignore_index=True)
