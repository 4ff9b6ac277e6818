"""Predictions of a fit with intervals, and the tables from which it is drawn."""

import numpy as np
import pandas as pd

from scalinglaws import schema
from scalinglaws.fitting import draws, levels
from scalinglaws.schema import InputError

HUGE = 1e300  # stands for a replicate that runs away: differences of quantiles must not overflow
POINTS, CURVES = 60, 24  # of a curve; curves of a figure, at most


def check_level(level: float) -> None:
    """Raise InputError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1; got {level!r}.")


def predict(fit, table, level: float, of: str) -> pd.DataFrame:
    """value, low, high (or those of all of levels.OF), decades_beyond for each row of table; see Fit.predict."""
    check_level(level)
    levels.check_of(of, (*levels.OF, "all"))
    x = {symbol: _new_input(fit, table, symbol, column) for symbol, column in fit.inputs.items()}
    value = fit.curve(x)
    out = pd.DataFrame({"value": value})
    for one in levels.OF if of == "all" else (of,):
        drawn = draws.quality(fit, x, table, one)
        drawn = np.clip(np.nan_to_num(drawn, nan=HUGE, posinf=HUGE, neginf=-HUGE), -HUGE, HUGE)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        before = f"{one}_" if of == "all" else ""
        out[f"{before}low"], out[f"{before}high"] = np.minimum(low, value), np.maximum(high, value)
    out["decades_beyond"] = np.max([_beyond(fit.problem.data.x[s], x[s]) for s in fit.law.measures], axis=0)
    return out.set_axis(table.index)


def _new_input(fit, table, symbol, column):
    if not isinstance(table, pd.DataFrame) or (column not in table.columns and symbol not in table.columns):
        have = ", ".join(map(str, getattr(table, "columns", []))) or "no columns"
        raise InputError(f"A prediction of {fit.law.name!r} needs the column {column!r}; the table has {have}.")
    name = column if column in table.columns else symbol
    if symbol not in fit.law.measures:
        return fit.law.numbers(symbol, table[name].astype(str))
    x = pd.to_numeric(table[name], errors="coerce").to_numpy(float, na_value=np.nan)
    if not (np.isfinite(x) & ((x > 0) | fit.law.signed)).all():
        raise InputError(f"Column {name!r} must hold numbers that are finite and above zero to predict from.")
    return x


def _beyond(fitted, new):
    """Decades outside the fitted range [row]; 0 inside. Ranges instead of decades where inputs may be negative."""
    if fitted.min() <= 0 or new.min() <= 0:
        return np.maximum(np.maximum(new - fitted.max(), fitted.min() - new), 0.0) / np.ptp(fitted)
    return np.maximum(np.maximum(np.log10(new / fitted.max()), np.log10(fitted.min() / new)), 0.0)


def figure_tables(fit, level: float) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Curves [x, value, low, high, label], measured points [x, y, label] and the column on the x axis.

    The x axis is the input with most different values; there is a curve for each combination of the others, at most
    CURVES of them, over the range of the data. Sizes are labelled by the table's `model` where that names them one to
    one, other inputs by column and value; a single curve has the label "".
    """
    symbol = max(fit.law.measures, key=lambda s: len(np.unique(fit.problem.data.x[s])))
    column, others = fit.inputs[symbol], [c for s, c in fit.inputs.items() if s != symbol]
    table = fit.table.assign(_label="")
    for other in others:
        shown = f"{other} = " + table[other].map(lambda v: v if isinstance(v, str) else f"{v:.4g}")
        if other in schema.names(kind="size") and "model" in table and table["model"].notna().all():
            pairs = table[[other, "model"]].drop_duplicates()
            shown = table["model"].astype(str) if pairs[other].is_unique and pairs["model"].is_unique else shown
        table["_label"] += (", " if other != others[0] else "") + shown
    labels = table.groupby(others, sort=True)["_label"].first().unique() if others else np.array([""])
    kept = labels[np.unique(np.linspace(0, len(labels) - 1, min(CURVES, len(labels))).round().astype(int))]
    curves, points = [], []
    for label in kept:
        rows = table[table["_label"] == label]
        low, high = rows[column].astype(float).min(), rows[column].astype(float).max()
        x = np.geomspace(low, high, POINTS) if low > 0 else np.linspace(low, high, POINTS)
        grid = pd.DataFrame({column: x}).assign(**{c: rows[c].iloc[0] for c in others})
        band = fit.predict(grid, level, of="curve")
        curves.append(band[["value", "low", "high"]].assign(x=x, label=label))
        points.append(pd.DataFrame({"x": rows[column].astype(float), "y": rows[fit.quality], "label": label}))
    return pd.concat(curves, ignore_index=True), pd.concat(points, ignore_index=True), column
