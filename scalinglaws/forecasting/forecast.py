"""Forecasts of a short series: a Bayesian average over laws, noise levels and trends, with a prior learned from
studies.

The model is that of `design`; `forecast` is what a user calls.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from scalinglaws import schema
from scalinglaws.forecasting import prior, series
from scalinglaws.forecasting.design import LAWS, design, evidence, mixture
from scalinglaws.schema import InputError

OF = ("curve", "owned", "new_model")  # what an interval is for, see Forecast.quantiles


@dataclass(frozen=True)
class Forecast:
    """A weighted mixture of normals in ln y at every new x.

    new [new]; weights [point] sum to 1, the points that matter only; mean and curve_variance [new, point]; sigma
    [point]
    the relative error of one row; floor [point, any] is E (0 without one); last_y the last measured value. cell_share
    is the
    share of sigma^2 that is a cell's own (images drawn again), the rest is the trained model's. width multiplies the
    logs of intervals about the median: the calibration learned on studies left out.
    """

    column: str
    quality: str
    rows: int
    new: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    curve_variance: np.ndarray
    sigma: np.ndarray
    floor: np.ndarray
    law: np.ndarray
    prior_law: dict
    flat: dict
    last_x: float
    last_y: float
    one_model: bool
    width: float
    model_sd: float
    cell_share: float

    @property
    def value(self) -> np.ndarray:
        """The median forecast [new]."""
        return self.quantiles((0.5,), of="curve")[:, 0]

    def quantiles(self, levels, of="owned", cell_error=0.0) -> np.ndarray:
        """Quantiles [new, level] of one of OF: curve, owned or new_model.

        curve: the law itself. owned: one more measurement of a model you own, which adds the error of a cell (along
        size, of a model whose own error is in the curve). new_model: a measurement of a model you would train, which
        adds the error a trained model has of its own. cell_error: relative standard error of the new measurement where
        it is known. Raises InputError for any other interval.
        """
        if of not in OF:
            raise InputError(f"No interval named {of!r}. Known: {', '.join(OF)}.")
        square = self.sigma**2
        if self.one_model:
            extra = {"curve": 0 * square, "owned": square, "new_model": square + self.model_sd**2}[of]
        else:
            extra = {"curve": 0 * square, "owned": square * self.cell_share, "new_model": square}[of]
        sd = np.sqrt(self.curve_variance + extra + (cell_error**2 if of != "curve" else 0.0))
        levels = np.append(np.asarray(levels, float), 0.5)
        logs = np.array([mixture(self.weights, m, s, levels) for m, s in zip(self.mean, sd, strict=True)])
        middle = logs[:, -1:]
        return np.exp(middle + self.width * (logs[:, :-1] - middle))

    def interval(self, level=0.9, of="owned") -> np.ndarray:
        """[new, 2] the central interval of one of OF."""
        return self.quantiles(((1 - level) / 2, (1 + level) / 2), of)

    def laws(self) -> dict:
        """Posterior weight of each kind of law."""
        return {name: float(self.weights[self.law == name].sum()) for name in LAWS}

    def floor_interval(self, level=0.9) -> tuple[float, float]:
        """Central interval of the floor E, 0 where there is none."""
        return tuple(_weighted(self.floor, self.weights, [(1 - level) / 2, (1 + level) / 2]))

    def to_frame(self, level=0.9) -> pd.DataFrame:
        """One row a new x: value and the three intervals."""
        columns = {self.column: self.new, "value": self.value}
        for of in OF:
            low, high = self.interval(level, of).T
            columns |= {f"{of}_low": low, f"{of}_high": high}
        reach = np.log10(np.maximum(self.new / self.last_x, 1))
        return pd.DataFrame(columns | {"decades_beyond": reach})

    def summary(self, level=0.9) -> str:
        """What is forecast, by which laws, and how much of it is the prior."""
        percent = f"{level:.0%}"
        lines = []
        for row in self.to_frame(level).itertuples(index=False):
            x, value, *limits, reach = row
            named = zip(("of the curve", "of a new measurement of a model you own", "of a model you would train"),
                        limits[::2], limits[1::2], strict=True)  # fmt: skip
            kind = f", a projection {reach:.1f} decades beyond the rows" if reach > 0 else ""
            lines.append(f"{self.quality} at {self.column} = {x:.4g}: {value:.4g}{kind}")
            lines += [f"  {percent} interval {words}: {low:.4g} to {high:.4g}" for words, low, high in named]
        laws = ", ".join(f"{name} {weight:.0%}" for name, weight in self.laws().items())
        low, high = self.floor_interval(level)
        lines.append(f"Laws averaged: {laws}.")
        lines.append(
            f"With your {self.rows} rows alone the floor could be {self.flat['floor'][0]:.3g} to "
            f"{self.flat['floor'][1]:.3g}; with studies like yours it is {low:.3g} to {high:.3g}. With the rows alone "
            f"the first forecast would be {self.flat['low']:.4g} to {self.flat['high']:.4g}."
        )
        return "\n".join(lines)

    def __repr__(self):
        return f"Forecast of {self.quality} at {len(self.new)} values of {self.column} from {self.rows} rows"

    def _repr_html_(self):
        from scalinglaws import display

        return display.html_page(repr(self), self.summary()) if hasattr(display, "html_page") else self.summary()

    def plot(self, ax=None):
        """Value and interval at the new x, through `scalinglaws.plots.band`."""
        from scalinglaws import plots

        low, high = self.interval().T
        curve = pd.DataFrame({"x": self.new, "value": self.value, "low": low, "high": high, "label": "forecast"})
        return plots.band(curve, pd.DataFrame({"x": [self.last_x], "y": [self.last_y], "label": "last row"}),
                          self.column, self.quality, ax)  # fmt: skip


def forecast(table, quality, column, new, *, kind=None, sampler=None, leave_out=None, use_prior=True) -> Forecast:
    """Forecast of one curve of a table beyond its last row; two rows are enough.

    table: rows of one curve (all other settings equal); column: the axis, such as params or steps; new: values beyond
    the largest; kind: size, steps or training (default: by the column); sampler: the solver's name where steps are the
    axis (default: the table's column). use_prior=False answers from the rows and a weak prior alone. `leave_out` is a
    bundled study, or a group of them, that the prior must not have seen. Raises InputError.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"params": [125e6, 280e6, 498e6, 777e6, 1119e6], "fid": [3.53, 2.56, 2.25, 2.06, 1.96]})
    >>> answer = forecast(rows, "fid", "params", [1523e6], leave_out="edm2")
    >>> bool(1.8 < answer.value[0] < 2.0)
    True
    """
    faults = schema.check(table, [column, quality])
    if faults:
        raise InputError(faults[0])
    kind = kind or next((k for k, names in series.AXES.items() if column in names), "size")
    rows = table.sort_values(column)
    if rows[column].duplicated().any():
        raise InputError(
            f"Column {column!r} holds {rows[column].duplicated().sum()} repeated values: a forecast takes the rows of "
            "one curve; choose the other settings first (scalinglaws.measurements.where), or average repeats."
        )
    error = rows[f"{quality}_se"] if f"{quality}_se" in rows else pd.Series(np.nan, rows.index)
    name = sampler or (rows["sampler"].iloc[0] if "sampler" in rows else "")
    study = rows["study"].iloc[0] if "study" in rows else "table"
    one = series.Series(study, kind, quality, column, study, rows[column].to_numpy(float),
                        rows[quality].to_numpy(float), error.to_numpy(float), {"sampler": name})  # fmt: skip
    return of_series(one, new, leave_out, use_prior)


def of_series(one, new, leave_out=None, use_prior=True, fine=True) -> Forecast:
    """Forecast of a Series; see `forecast`."""
    new = np.atleast_1d(np.asarray(new, float))
    if len(one) < 2:
        raise InputError(f"A forecast needs 2 rows or more; given were {len(one)}: measure one more {one.column}.")
    if (new < one.x[-1]).any():
        raise InputError(
            f"A forecast looks beyond the rows: {one.column} = {new.min():.4g} is below the largest, {one.x[-1]:.4g}; "
            "inside the rows use scalinglaws.fit(...).predict."
        )
    points = design(fine)
    found = evidence(one.x, one.y, new, one.se, points)
    learned = prior.load(leave_out) if use_prior else prior.weak()
    prior_logs = points.features @ (prior.context_of(one) @ learned.coefficients) + points.log_volume
    logs = found.loglik + prior_logs
    flat_logs = found.loglik + points.features @ prior.initial()[0] + points.log_volume
    weights, keep = _heavy(logs)
    law = np.broadcast_to(points.law[:, None], logs.shape)[keep]
    before = np.exp(prior_logs - logsumexp(prior_logs))
    flat_weights, flat_keep = _heavy(flat_logs)
    flat_floor = _floors(one, points, flat_keep)
    flat_sd = np.sqrt(found.variance[0][flat_keep] + _noise(points, flat_keep) ** 2)
    low, high = np.exp(mixture(flat_weights, found.mean[0][flat_keep], flat_sd, np.array([0.05, 0.95])))
    flat = {"floor": tuple(_weighted(flat_floor, flat_weights, [0.05, 0.95])), "low": float(low), "high": float(high)}
    return Forecast(
        one.column, one.quality, len(one), new, weights, found.mean[:, keep], found.variance[:, keep],
        _noise(points, keep), _floors(one, points, keep), law,
        {name: float(before[points.law == name].sum()) for name in LAWS}, flat, float(one.x[-1]), float(one.y[-1]),
        one.kind != "size", learned.width.get(one.kind, 1.0) if len(one) > 2 else 1.0, learned.model_sd,
        learned.cell_share,
    )  # fmt: skip


def _heavy(logs, share=1e-5):
    """(weights [point], mask) of the points that hold all but a trifle of the mass."""
    top = logs.max()
    keep = logs > top + np.log(share)
    weights = np.exp(logs[keep] - top)
    return weights / weights.sum(), keep


def _noise(points, keep):
    return np.broadcast_to(points.sigma, (len(points.a), len(points.sigma)))[keep]


def _floors(one, points, keep):
    """E [point, 5] of the falling laws with a floor, 0 for the others: their share of the last measured value.

    Each point stands for a cell of the design, so five values across its cell.
    """
    falls = points.law == "floor"
    inside = np.where(falls, points.phi, 0.5)
    logit = np.log(inside / (1 - inside))
    step = np.diff(np.unique(logit[falls].round(6))).min()
    across = logit[:, None] + step * np.linspace(-0.4, 0.4, 5)
    share = np.where(falls[:, None], 1 / (1 + np.exp(-across)), 0.0)
    return np.broadcast_to(share[:, None] * one.y[-1], (len(falls), len(points.sigma), 5))[keep]


def _weighted(values, weights, levels):
    """Weighted quantiles of values [point, any], the weight of a point shared by its values."""
    weights = np.repeat(weights / values.shape[1], values.shape[1])
    values = values.ravel()
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return [float(values[order][min(np.searchsorted(total, q), len(values) - 1)]) for q in levels]
