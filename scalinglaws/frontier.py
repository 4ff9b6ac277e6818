"""Measured rows alone, without a law: quality against cost of each size, the frontier, the winner at a budget.

Two sizes are rarely measured at one cost, so a comparison at a cost interpolates each size's own curve, straight in
logs of cost and quality (Mei et al. 2024 read the vertical line of their Figure 9 that way).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import measurements, schema
from scalinglaws.cost import per_row
from scalinglaws.schema import InputError
from scalinglaws.swaps import zeros


@dataclass(frozen=True)
class Curve:
    """One size's measured quality against cost, cost rising."""

    size: float
    model: str
    cost: np.ndarray  # [point], unit of the budget
    value: np.ndarray  # [point], quality
    rises: bool  # higher is better

    def at(self, cost):
        """Quality interpolated at costs inside the measured range; NaN outside."""
        inside = np.interp(np.log(cost), np.log(self.cost), np.log(self.value), np.nan, np.nan)
        return np.exp(inside)

    def meets(self, other):
        """Costs at which the two curves swap, within what both were measured at; often none."""
        knots = np.unique(np.concatenate([self.cost, other.cost]))
        knots = knots[(knots >= max(self.cost[0], other.cost[0])) & (knots <= min(self.cost[-1], other.cost[-1]))]
        gap = np.log(other.at(knots)) - np.log(self.at(knots))
        return [float(np.exp(x)) for x in zeros(np.log(knots), gap)]

    def within(self, budget):
        """The best quality that at most `budget` buys; NaN below the cheapest point."""
        at, points = self.at(budget), self.value[self.cost <= budget]
        bought = np.append(points, at if np.isfinite(at) else [])
        return np.nan if not len(bought) else bought.max() if self.rises else bought.min()


def curves(table, quality, unit="flops", size="flops_per_forward", decode=False, price=None):
    """The measured curve of each size, smallest first; repeats are averaged, the best setting at a cost is kept."""
    table = priced_rows(table, quality, unit, size, decode, price)
    rises = schema.higher_is_better(quality)
    return [_curve(n, rows, quality, rises) for n, rows in table.groupby(size)]


def along(table, quality, column):
    """The measured Curve of quality along an input, repeats averaged."""
    means = table.groupby(column)[quality].mean().sort_index()
    x = means.index.to_numpy(float)
    return Curve(np.nan, "", x, means.to_numpy(float), schema.higher_is_better(quality))


def measured_frontier(table, quality, unit="flops", size="flops_per_forward", decode=False, price=None):
    """The rows no other row beats in both cost and quality, cheapest first, with their `cost`."""
    rows = priced_rows(table, quality, unit, size, decode, price)
    rows = rows.sort_values(["cost", quality], ascending=[True, not schema.higher_is_better(quality)])
    worth = -rows[quality] if schema.higher_is_better(quality) else rows[quality]
    return rows[worth < worth.cummin().shift(fill_value=np.inf)].reset_index(drop=True)


def winners(table, budgets, quality, unit="flops", size="flops_per_forward", decode=False, price=None):
    """For each budget the size that reaches the best measured quality: budget, size, model, value, next, margin.

    `next` is the best value of any other size, `margin` the winner's lead over it in per cent of the value.
    """
    known = curves(table, quality, unit, size, decode, price)
    rows = [_winner(known, budget) for budget in budgets]
    return pd.DataFrame(rows, columns=["budget", "size", "model", "value", "next", "margin"])


def priced_rows(table, quality, unit="flops", size="flops_per_forward", decode=False, price=None):
    """The rows that have the quality, repeats averaged, with their `cost` an image in `unit`."""
    for column in (quality, size):
        if column not in table:
            raise InputError(f"Column {column!r} is missing; the table has {', '.join(table.columns)}.")
    rows = measurements.repeats(table[table[quality].notna()], quality)
    return rows.assign(cost=per_row(rows, unit, decode, price))


def _curve(size, rows, quality, rises):
    """The best setting at each cost, its measurements averaged."""
    model = str(rows["model"].iloc[0]) if "model" in rows else f"{size:g}"
    same = ["cost", *(c for c in ("sampler", "guidance") if c in rows)]
    means = rows.groupby(same, as_index=False, dropna=False)[quality].mean()
    best = means.sort_values(quality, ascending=not rises).drop_duplicates("cost").sort_values("cost")
    return Curve(float(size), model, best["cost"].to_numpy(float), best[quality].to_numpy(float), rises)


def _winner(known, budget):
    """One row of `winners`; an unaffordable budget gives no size."""
    reached = sorted((c for c in known if np.isfinite(c.within(budget))), key=lambda c: c.within(budget))
    reached = reached[::-1] if reached and reached[0].rises else reached
    if not reached:
        return budget, np.nan, None, np.nan, np.nan, np.nan
    value = reached[0].within(budget)
    other = reached[1].within(budget) if len(reached) > 1 else np.nan
    return budget, reached[0].size, reached[0].model, value, other, 100 * abs(other / value - 1)
