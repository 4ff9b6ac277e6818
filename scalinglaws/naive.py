"""Ways to predict that need no fitted law: the last value again, and the forecast that averages laws with a prior.

They stand beside the laws in every comparison. Each offers `without(keep)`, the same on fewer rows, and
`predict(table, level)`, with value, low and high of each row.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import ndtri

from scalinglaws.forecasting.forecast import forecast
from scalinglaws.forecasting.series import AXES
from scalinglaws.schema import numbers
from scalinglaws.stacking import LEAST

LAST, FORECAST = "same as last", "forecast"
NAMES = (LAST, FORECAST)


@dataclass(frozen=True)
class Last:
    """The quality of the largest value along one input, at the same value of the other input if there is one.

    Its error is a random walk in ln x whose variance is measured on the steps between the rows: 0 for the largest
    itself. Between values of the other input that were measured, ln quality is interpolated.
    """

    table: pd.DataFrame
    quality: str
    inputs: dict  # symbol: column
    along: str  # the symbol
    name = LAST
    parameters = 0

    def without(self, keep) -> "Last":
        return replace(self, table=self.table[keep])

    def predict(self, table, level=0.9) -> pd.DataFrame:
        column, other = self.inputs[self.along], next((c for s, c in self.inputs.items() if s != self.along), None)
        keys = [column, *([other] if other else [])]
        logs = np.log(self.table[[*keys, self.quality]].astype(float)).groupby(keys, as_index=False).mean()
        end = logs[column].max()
        last = logs[logs[column] == end]
        at = np.log(table[other].astype(float)) if other else None
        value = np.interp(at, last[other], last[self.quality]) if other else np.full(len(table), last[self.quality])
        rate = self._rate(logs, column, other)
        gap = np.abs(np.log(table[column].astype(float).to_numpy()) - end)
        spread = ndtri((1 + level) / 2) * np.maximum(np.sqrt(rate * gap), LEAST)
        out = {"value": np.exp(value), "low": np.exp(value - spread), "high": np.exp(value + spread)}
        return pd.DataFrame(out, table.index)

    def _rate(self, logs, column, other):
        """Variance of ln quality per unit of ln x, mean over neighbouring rows at one value of the other input."""
        parts = [part for _, part in logs.groupby(other)] if other else [logs]
        steps = [np.diff(part[self.quality]) ** 2 / np.diff(part[column]) for part in parts if len(part) > 1]
        return float(np.mean(np.concatenate(steps))) if steps else 1.0


@dataclass(frozen=True)
class Average:
    """`forecast`: laws averaged, with a prior learned from studies; along one input, beyond the rows."""

    table: pd.DataFrame
    quality: str
    column: str
    kind: str | None = None
    leave_out: str | None = None
    use_prior: bool = True
    name = FORECAST
    parameters = np.nan

    def without(self, keep) -> "Average":
        return replace(self, table=self.table[keep])

    def forecast(self, new):
        return forecast(self.table, self.quality, self.column, new, kind=self.kind, leave_out=self.leave_out,
                        use_prior=self.use_prior, pooled=True)  # fmt: skip

    def predict(self, table, level=0.9) -> pd.DataFrame:
        """Of a model you would train along size, else of a new measurement."""
        answer = self.forecast(table[self.column].to_numpy(float))
        low, high = answer.interval(level, "new_model" if answer.seen.kind == "size" else "owned").T
        return pd.DataFrame({"value": answer.value, "low": low, "high": high}, table.index)


def candidates(table, quality, inputs, along, leave_out=None, use_prior=True) -> list:
    """Those that the rows allow: values above 0, at most one other input; the forecast for one input only."""
    values = [numbers(table[c]) for c in (quality, *inputs.values()) if c in table]
    if len(values) != 1 + len(inputs) or len(inputs) > 2 or not all((v > 0).all() for v in values):
        return []
    table = table.assign(**{c: numbers(table[c]) for c in (quality, *inputs.values())})
    found = [Last(table, quality, inputs, along)]
    if len(inputs) == 1 and table[inputs[along]].nunique() > 1:
        kind = axis(along, inputs[along])
        found.append(Average(table, quality, inputs[along], kind, leave_out, use_prior))
    return found


def axis(symbol, column) -> str:
    """The kind of axis of a law's input: by its column where that is known, else by its symbol."""
    by_column = next((kind for kind, names in AXES.items() if column in names), None)
    return by_column or {"S": "steps", "D": "training", "C": "training"}.get(symbol, "size")
