"""Quality along one axis: a fitted law, one level of a column, or measured rows alone, all as one kind of Curve.

Fitted curves run along the cost per image as steps grow (steps taken as continuous) or along one of the law's inputs.
Measured curves are straight in logs between points: two sizes are rarely measured at one cost (Mei et al. 2024,
arXiv:2404.01367, read the vertical line of their Figure 9 that way).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import schema
from scalinglaws.decide.cost import pricing
from scalinglaws.decide.fitted import FittedLaw, find_value, labels, whole
from scalinglaws.schema import InputError

REPLICATES = 400  # of a measured curve, from its standard errors


@dataclass(frozen=True)
class Curve:
    """Quality along x."""

    label: str
    x_unit: str  # flops, seconds, joules or money per image, or the name of a column
    rises: bool  # whether higher is better
    span: tuple[float, float]  # (from, to) measured
    at: Callable[[np.ndarray], np.ndarray]  # x [n] -> quality [n]
    draws: Callable[[np.ndarray], np.ndarray]  # x [n] -> quality [replicate, n]; replicate by replicate of one origin
    domain: tuple[float, float] | None = None  # (from, to) the law was fitted over; None: the span
    points: np.ndarray | None = None  # x of the measured points [point], rising; None: fitted
    notes: tuple[str, ...] = ()

    @property
    def fitted(self) -> bool:
        return self.points is None

    def frame(self, x, level=0.9, draws=None) -> pd.DataFrame:
        """x, value, low, high, label: the curve with the interval of its draws at x, drawn where not given."""
        draws = self.draws(x) if draws is None else draws
        with np.errstate(all="ignore"):
            low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return pd.DataFrame({"x": x, "value": self.at(x), "low": low, "high": high, "label": self.label})


def cost_curve(law: FittedLaw, cost, size, label=None, of="curve") -> Curve:
    """The quality along cost at one size, as steps grow, for one of levels.OF.

    A trained model's own error shifts its whole curve: the curve of one that is owned is the law times the error its
    rows show. InputError for a law without steps.
    """
    if not law.steps_column:
        raise InputError(
            "A curve along cost needs a law with steps, such as size_steps; or name the input to compare along: "
            "along='steps'."
        )
    every = law.table[law.steps_column].astype(float)
    rows = law.rows_of(size)
    own = rows[law.steps_column].astype(float) if len(rows) else every
    ends = [(float(cost.per_image(size, s.min())), float(cost.per_image(size, s.max()))) for s in (own, every)]

    def quality(x, theta=None):
        x = np.atleast_1d(np.asarray(x, float))
        return law.quality_at(size, cost.steps(size, x), theta)

    at, drawn = _shifted(law, quality, {law.axes[0]: np.array([float(size)])}, of)
    return Curve(law.label_of(size) if label is None else label, cost.unit, law.rises, ends[0], at, drawn, ends[1],
                 notes=(*law.notes, *cost.notes))  # fmt: skip


def _shifted(law, quality, model, of):
    """(at, draws) of a Curve: quality(x, theta) of the law times the own error of the model at {symbol: [1]}."""
    expected, own = np.exp(law.expected_errors(model, of)), np.exp(law.own_errors(model, of))
    return lambda x: expected * quality(x), lambda x: own * quality(x, law.replicates)


def law_curves(fit, cost=None, level=0.9, points=60, of="curve") -> pd.DataFrame:
    """The law along cost for each measured size, over its measured steps: x (cost), value, low, high, label, size.

    The interval is without the noise of a measurement; of (one of levels.OF): the law's curves, or those of models
    that are owned or trained anew. cost: a CostModel (default: FLOPs).
    """
    law = whole(fit)
    cost = pricing(cost)(law.table, law.size_column, law.steps_column)
    curves = {size: cost_curve(law, cost, size, of=of) for size in law.sizes}
    span = law.table[law.steps_column].astype(float)
    steps = np.geomspace(span.min(), span.max(), points)
    frames = [curve.frame(cost.per_image(size, steps), level).assign(size=size) for size, curve in curves.items()]
    table = pd.concat(frames, ignore_index=True)
    return table.assign(label=pd.Categorical(table["label"], law.size_labels, ordered=True))


def input_curve(law: FittedLaw, symbol, held, of="curve") -> Curve:
    """The quality along one input, the others held at {symbol: value}, for one of levels.OF."""
    x = law.table[law.inputs[symbol]].astype(float)

    def quality(x, theta=None):
        x = np.atleast_1d(x)
        return law.at({symbol: x} | {s: np.full(np.size(x), v) for s, v in held.items()}, theta)

    model = {symbol: x.to_numpy()[:1]} | {s: np.array([float(v)]) for s, v in held.items()}
    span = float(x.min()), float(x.max())
    return Curve(law.label, law.inputs[symbol], law.rises, span, *_shifted(law, quality, model, of))


def measured_curve(label, x, quality, unit, rises, errors=None) -> Curve:
    """Measured points x [point], rising, and their quality [point], straight in logs between; NaN outside.

    errors: standard errors [point]; with them the draws are normal about the points, else the one measured curve.
    """
    x, quality = np.asarray(x, float), np.asarray(quality, float)
    known = errors is not None and np.isfinite(errors).all()

    def between(x_new, values):
        with np.errstate(all="ignore"):
            return np.exp(np.interp(np.log(x_new), np.log(x), np.log(values), np.nan, np.nan))

    def draws(x_new):
        if not known:
            return between(x_new, quality)[None]
        shock = np.random.default_rng([7, zlib.crc32(label.encode())]).standard_normal((REPLICATES, len(x)))
        return np.array([between(x_new, quality + one * np.asarray(errors, float)) for one in shock])

    return Curve(label, unit, rises, (float(x[0]), float(x[-1])), lambda x_new: between(x_new, quality), draws,
                 points=x)  # fmt: skip


def measured_cost_curves(points, quality, unit, rises=None) -> dict[float, Curve]:
    """{size: Curve} of the priced rows of measured.points(), smallest first; the best setting at a cost is kept.

    rises: whether higher is better (default: as the schema says of the quality).
    """
    rises = schema.higher_is_better(quality) if rises is None else rises
    same = ["cost", *(c for c in ("sampler", "guidance") if c in points)]
    known = f"{quality}_se" in points
    points = points.assign(_variance=points[f"{quality}_se"].astype(float) ** 2 if known else np.nan)
    curves = {}
    for size, rows in points.groupby("size"):
        groups = rows.groupby(same, as_index=False, dropna=False)
        error = np.sqrt(groups["_variance"].mean()["_variance"] / groups.size()["size"])
        means = groups[quality].mean().assign(_se=error)
        best = means.sort_values(quality, ascending=not rises).drop_duplicates("cost").sort_values("cost")
        label = str(rows["model"].iloc[0])
        curves[float(size)] = measured_curve(label, best["cost"], best[quality], unit, rises, best["_se"])
    return curves


def measured_input_curve(law: FittedLaw, symbol, held) -> Curve | None:
    """The measured rows along one input, the others held at {symbol: value}, repeats averaged; None without rows."""
    rows = law.table
    for other, value in held.items():
        rows = rows[np.isclose(rows[law.inputs[other]].astype(float), value)]
    if rows.empty:
        return None
    means = rows.groupby(law.inputs[symbol])[law.quality].mean().sort_index()
    return measured_curve(law.label, means.index, means, law.inputs[symbol], law.rises)


def symbol_along(law: FittedLaw, along):
    """The symbol the curves run along; None for the cost per image. InputError where the law has no such input."""
    if along is None:
        return None if len(law.inputs) > 1 else next(iter(law.inputs))
    for symbol, column in law.inputs.items():
        if along in (symbol, column):
            return symbol
    raise InputError(f"No input {along!r} to compare along; the law has {', '.join(law.inputs.values())}.")


def held_at(law: FittedLaw, symbol, at) -> dict:
    """{symbol: value} of the inputs other than `symbol`, from a size's label or a number."""
    return {s: find_value(law, law.inputs[s], needed(law, s, at)) for s in law.inputs if s != symbol}


def needed(law: FittedLaw, symbol, at):
    """`at`, or InputError where it is not given."""
    if at is None:
        known = ", ".join(labels(law, law.inputs[symbol]))
        raise InputError(f"Name the size at which to compare, at=...: {known}.")
    return at
