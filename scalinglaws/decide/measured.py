"""Measured rows alone, without a law: quality against cost of each size, the frontier, the best size at a budget."""

import numpy as np
import pandas as pd

from scalinglaws import measurements, schema
from scalinglaws.decide.cost import CostModel, cost_model
from scalinglaws.decide.curves import measured_cost_curves
from scalinglaws.schema import InputError

WINNER = ["budget", "size", "model", "value", "next", "margin"]


def points(table, quality, cost: CostModel | None = None) -> pd.DataFrame:
    """The rows that have the quality, repeats averaged, with their `cost` per image, `size` and `model`.

    `model` is categorical, sizes in rising order, so that every figure gives a size the same colour; trainings of one
    size have one label, that of its first row, as in a law's curves. InputError where the column of the quality or of
    the size is missing.
    """
    if quality not in table:
        raise InputError(f"Column {quality!r} is missing; the table has {', '.join(table.columns)}.")
    cost = cost or cost_model(table)
    if cost.size not in table:
        raise InputError(f"Column {cost.size!r} is missing; the table has {', '.join(table.columns)}.")
    rows = measurements.repeats(table[table[quality].notna()], quality)
    size = rows[cost.size].astype(float)
    label = rows["model"].astype(str) if "model" in rows else size.map("{:g}".format)
    label = label.groupby(size).transform("first")
    order = label[size.argsort(kind="stable")].drop_duplicates()
    named = pd.Categorical(label, categories=order, ordered=True)
    return rows.assign(cost=cost.per_row(rows), size=size, model=named)


def frontier(table, quality, cost: CostModel | None = None, rises=None) -> pd.DataFrame:
    """The points no other point beats in both cost and quality, cheapest first.

    rises: whether higher is better (default: as the schema says of the quality).
    """
    rises = schema.higher_is_better(quality) if rises is None else rises
    rows = points(table, quality, cost).sort_values(["cost", quality], ascending=[True, not rises])
    loss = -rows[quality] if rises else rows[quality]
    return rows[loss < loss.cummin().shift(fill_value=np.inf)].reset_index(drop=True)


def winners(table, budgets, quality, cost: CostModel | None = None, rises=None) -> pd.DataFrame:
    """For each budget the size that reaches the best measured quality: budget, size, model, value, next, margin.

    `next` is the best value of any other size, `margin` the winner's lead over it in per cent of the value.
    rises: as for frontier().
    """
    cost = cost or cost_model(table)
    rows = points(table, quality, cost)
    rises, won = schema.higher_is_better(quality) if rises is None else rises, []
    curves = measured_cost_curves(rows, quality, cost.unit, rises)
    for budget in budgets:
        reached = [(best_within(curve, budget), size, curve.label) for size, curve in curves.items()]
        reached = sorted((one for one in reached if np.isfinite(one[0])), key=lambda one: one[0])
        if not reached:  # an unaffordable budget gives no size
            won.append((budget, np.nan, None, np.nan, np.nan, np.nan))
            continue
        value, size, model = reached[-1 if rises else 0]
        other = reached[-2 if rises else 1][0] if len(reached) > 1 else np.nan
        won.append((budget, size, model, value, other, 100 * abs(other / value - 1)))
    table = pd.DataFrame(won, columns=WINNER)
    return table.assign(model=pd.Categorical(table["model"], categories=rows["model"].cat.categories, ordered=True))


def best_within(curve, budget) -> float:
    """The best quality of a measured curve at costs up to the budget; NaN below its cheapest point."""
    known = curve.points[curve.points <= budget]
    ends = [budget] if curve.span[0] <= budget <= curve.span[1] else []
    if not len(known):
        return np.nan
    values = curve.at(np.concatenate([known, ends]))
    return values.max() if curve.rises else values.min()
