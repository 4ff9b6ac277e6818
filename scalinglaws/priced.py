"""A fitted law with a price tag: what quality a size reaches for a cost. Crossings and optima are asked of this."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scalinglaws import schema
from scalinglaws.cost import Cost, cost_from
from scalinglaws.measurements import where
from scalinglaws.schema import InputError

STEPS = ("steps", "nfe")  # columns a sampling budget buys more of


@dataclass(frozen=True)
class Priced:
    """A fit, the cost of its images, and which of the law's symbols are size and steps."""

    fit: Any  # anything with law, inputs, curve, replicates, noise, table
    cost: Cost
    size: str  # symbol
    steps: str | None  # symbol; None where the law knows no steps
    warnings: tuple = ()

    @property
    def rises(self):
        """Whether higher quality is better."""
        return schema.higher_is_better(self.fit.quality)

    @property
    def measured(self):
        """Measured sizes, rising."""
        return self.cost.sizes

    def quality(self, size, steps, theta=None):
        """The law's quality [..., n] at sizes [n] and steps [n]."""
        size, steps = np.broadcast_arrays(np.asarray(size, float), np.asarray(steps, float))
        inputs = {self.size: np.atleast_1d(size)}
        if self.steps:
            inputs[self.steps] = np.atleast_1d(steps)
        return self.fit.curve(inputs, theta)

    def bought(self, size, costs, theta=None):
        """The law's quality [..., n] of one size at costs [n], steps taken as continuous."""
        return self.quality(size, self.cost.steps(size, np.asarray(costs, float)), theta)

    def frame(self, size, steps):
        """Rows for `fit.predict`."""
        size, steps = np.broadcast_arrays(np.atleast_1d(np.asarray(size, float)), np.asarray(steps, float))
        columns = {self.fit.inputs[self.size]: size}
        return pd.DataFrame(columns | ({self.fit.inputs[self.steps]: steps} if self.steps else {}))

    def model(self, size):
        """The label of a measured size, else the size itself as text."""
        column, table = self.fit.inputs[self.size], self.fit.table
        rows = table[np.isclose(table[column].astype(float), size)] if "model" in table else table[:0]
        return str(rows["model"].iloc[0]) if len(rows) else f"{size:g}"

    def find(self, size):
        """The size meant by a label such as 'c16' or by a number."""
        table = self.fit.table
        named = table[table["model"].astype(str) == str(size)] if "model" in table else table[:0]
        if len(named):
            return float(named[self.fit.inputs[self.size]].iloc[0])
        try:
            return _positive(float(size))
        except (TypeError, ValueError):
            known = ", ".join(self.model(n) for n in self.measured)
            raise InputError(f"No size {size!r}. Known sizes: {known}; or give a number above 0.") from None


def priced(fit, unit="flops", sampler=None, guidance=None, decode=False, price=None):
    """The fit with the cost of its own rows, or of those of one sampler and guidance."""
    size, steps = axes(fit)
    rows, warnings = _rows(fit.table, sampler, guidance)
    steps_column = fit.inputs[steps] if steps else "steps"
    cost = cost_from(rows, unit, fit.inputs[size], steps_column, decode, price)
    return Priced(fit, cost, size, steps, (*warnings, *cost.notes))


def law_curves(fit, unit="flops", level=0.9, points=60, **options):
    """The law along cost for each measured size, over its measured steps: size, model, cost, value, low, high.

    The interval is of the curve itself, without the noise of a measurement.
    """
    view = priced(fit, unit, **options)
    if not view.steps:
        raise InputError("A curve along cost needs a law with steps, such as size_steps.")
    steps = fit.table[fit.inputs[view.steps]].astype(float)
    along = np.geomspace(steps.min(), steps.max(), points)
    return pd.concat([_law_curve(view, n, along, level) for n in view.measured], ignore_index=True)


def _law_curve(view, size, steps, level):
    low, high = np.quantile(view.quality(size, steps, view.fit.replicates), [(1 - level) / 2, (1 + level) / 2], axis=0)
    known = {"size": size, "model": view.model(size), "steps": steps, "cost": view.cost.per_image(size, steps)}
    return pd.DataFrame(known | {"value": view.quality(size, steps), "low": low, "high": high})


def axes(fit):
    """(symbol of size, symbol of steps or None); a sampling budget buys nothing else."""
    steps = [s for s, column in fit.inputs.items() if column in STEPS]
    sizes = [s for s in fit.inputs if s not in steps]
    if len(sizes) != 1 or len(steps) > 1:
        given = ", ".join(f"{s}={c}" for s, c in fit.inputs.items())
        raise InputError(f"A budget an image needs a law in size, or in size and steps; this one is in {given}.")
    return sizes[0], steps[0] if steps else None


def _rows(table, sampler, guidance):
    """Rows of the sampler and guidance asked for, and warnings where several remain."""
    asked = {"sampler": sampler, "guidance": guidance}
    mixed = [c for c in asked if c in table and table[c].nunique() > 1]
    rows = where(table, **{c: v for c, v in asked.items() if v is not None})
    return rows, tuple(
        f"The law was fitted to {table[c].nunique()} values of {c} together; fit one at a time for an answer on it."
        for c in mixed
    )


def _positive(value):
    if not (np.isfinite(value) and value > 0):
        raise ValueError
    return value
