"""Forecasts of a short series: a Bayesian average over laws, noise and trends, with a prior learned from studies.

The model is that of `design`; `forecast` is what a user calls.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from scalinglaws import display, schema
from scalinglaws.fitting.levels import OF
from scalinglaws.forecasting import prior
from scalinglaws.forecasting.design import LAWS, design, mixture
from scalinglaws.forecasting.series import AXES, Series, one_row_each, rises
from scalinglaws.forecasting.siblings import evidence_of
from scalinglaws.schema import InputError

WORDS = {"curve": "of the curve", "owned": "of a new measurement of a model you own",
         "new_model": "of a measurement of a model you would train"}  # fmt: skip
SHORT = {"curve": "the curve", "owned": "a model you own", "new_model": "a model you would train"}  # in figures
SEEDS = ("seed", "train_seed")  # repeats of one row differ in them
POINTS = 40  # of a drawn curve
TRIFLE = 1e-5  # of the weight of the heaviest point of the design; lighter ones are left out


@dataclass(frozen=True)
class Forecast:
    """A weighted mixture of normals in ln y at every new x.

    seen: the rows. new [new]; weights [point] sum to 1, of the points that matter only; mean and curve_variance
    [new, point]; sigma [point] the relative error of one row; floor [point, any] is E (0 without one); law [point].
    prior_law: weight of each kind of law before the rows. width: factors of the 50 and of the 90 % interval of ln y,
    learned on studies left out (`prior.calibrated`). model_sd: relative error of a trained model, where the rows are of
    one. cell_share: share of sigma^2 that is a cell's own (images drawn again), the rest is the trained model's.
    cell_error: known relative standard error of a new measurement. leave_out, use_prior: as given.
    """

    seen: Series = field(repr=False)
    new: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    curve_variance: np.ndarray
    sigma: np.ndarray
    floor: np.ndarray
    law: np.ndarray
    prior_law: dict
    width: tuple
    model_sd: float
    cell_share: float
    cell_error: float = 0.0
    leave_out: str | None = None
    use_prior: bool = True

    @property
    def quality(self) -> str:
        """The column that is forecast."""
        return self.seen.quality

    @property
    def column(self) -> str:
        """The column of x."""
        return self.seen.column

    @property
    def rows(self) -> int:
        """How many rows were seen."""
        return len(self.seen)

    @property
    def value(self) -> np.ndarray:
        """The median forecast [new]."""
        return self.quantiles((0.5,), of="curve")[:, 0]

    def quantiles(self, levels, of="owned", cell_error=None) -> np.ndarray:
        """Quantiles [new, level] of one of OF: curve, owned or new_model.

        curve: the law itself. owned: one more measurement of a model you own, which adds the error of a cell (along
        size, of a model whose own error is in the curve). new_model: a measurement of a model you would train, which
        adds the error a trained model has of its own. cell_error: relative standard error of the new measurement where
        it is known (default: the median of the rows', of a single repeat where they are means). Raises InputError for
        any other interval.
        """
        if of not in OF:
            raise InputError(f"No interval named {of!r}. Known: {', '.join(OF)}.")
        square, known = self.sigma**2, self.cell_error if cell_error is None else cell_error
        if self.seen.kind == "size":
            extra = {"curve": 0 * square, "owned": square * self.cell_share, "new_model": square}[of]
        else:
            extra = {"curve": 0 * square, "owned": square, "new_model": square + self.model_sd**2}[of]
        sd = np.sqrt(self.curve_variance + extra + (known**2 if of != "curve" else 0.0))
        levels = np.append(np.asarray(levels, float), 0.5)
        logs = np.array([mixture(self.weights, m, s, levels) for m, s in zip(self.mean, sd, strict=True)])
        middle = logs[:, -1:]
        most = schema.COLUMNS[self.quality].allowed.high if self.quality in schema.COLUMNS else np.inf
        least = 1.0 if self.quality == prior.STRENGTH and self.seen.y.min() >= 1 else 0.0  # 1 is no guidance
        logs = middle + prior.calibrated(levels[:-1], self.width) * (logs[:, :-1] - middle)
        return np.clip(np.exp(logs), least, most)

    def interval(self, level=0.9, of="owned") -> np.ndarray:
        """[new, 2] the central interval of one of OF."""
        if not 0 < level < 1:
            raise InputError(f"level must lie between 0 and 1; got {level!r}.")
        return self.quantiles(((1 - level) / 2, (1 + level) / 2), of)

    def laws(self) -> dict:
        """Posterior weight of each kind of law."""
        return {name: float(self.weights[self.law == name].sum()) for name in LAWS}

    def floor_interval(self, level=0.9) -> tuple[float, float]:
        """Central interval of the floor E, 0 where there is none."""
        return tuple(_weighted(self.floor, self.weights, [(1 - level) / 2, (1 + level) / 2]))

    def to_frame(self, level=0.9) -> pd.DataFrame:
        """One row per new x: x, value, low and high of the three intervals, decades beyond the rows."""
        columns = {self.column: self.new, "value": self.value}
        for of in OF:
            low, high = self.interval(level, of).T
            columns |= {f"{of}_low": low, f"{of}_high": high}
        return pd.DataFrame(columns | {"decades_beyond": np.log10(np.maximum(self.new / self.seen.x[-1], 1))})

    @property
    def flat(self) -> dict:
        """What the rows say without a prior of studies, 90 %: floor, and low and high of the first forecast."""
        alone = self.alone()
        low, high = alone.interval(of="new_model" if self.seen.kind == "size" else "owned")[0]
        return {"floor": alone.floor_interval(), "low": float(low), "high": float(high)}

    def alone(self) -> "Forecast":
        """The same rows without a prior of studies."""
        return replace(of_series(self.seen, self.new, use_prior=False), cell_error=self.cell_error)

    def prior_sentence(self, level=0.9) -> str:
        """How much of the answer is the prior: floor and first forecast with the rows alone, and with the studies."""
        of = "new_model" if self.seen.kind == "size" else "owned"
        alone = self.alone() if self.use_prior else self
        (low, high), (floor, top) = alone.interval(level, of)[0], alone.floor_interval(level)
        first, last = self.interval(level, of)[0] if rises(self.quality) else self.floor_interval(level)
        ahead = f"{self.quality} at {self.column} = {self.new[0]:.4g}"
        start = f"With your {self.rows} rows alone"
        if not self.use_prior:
            text = f"{start} the floor could be {floor:.3g} to {top:.3g}; no studies were used as a prior"
        elif rises(self.quality):
            text = f"{start} {ahead} could be {low:.4g} to {high:.4g}; studies like yours put it at {first:.4g} to "
            text += f"{last:.4g}"
        else:
            text = f"{start} the floor could be {floor:.3g} to {top:.3g}; studies like yours put it at {first:.3g} to "
            text += f"{last:.3g}. Without them {ahead} could be {low:.4g} to {high:.4g}"
        return f"{text} ({level:.0%} intervals)."

    def summary(self, level=0.9) -> str:
        """What is forecast, by which laws, and how much of it is the prior."""
        lines = []
        for row in self.to_frame(level).itertuples(index=False):
            x, value, *limits, reach = row
            kind = f", a projection {reach:.1f} decades beyond the rows" if reach > 0 else ""
            lines.append(f"{self.quality} at {self.column} = {x:.4g}: {value:.4g}{kind}")
            named = zip(OF, limits[::2], limits[1::2], strict=True)
            lines += [f"  {level:.0%} interval {WORDS[of]}: {low:.4g} to {high:.4g}" for of, low, high in named]
        return "\n".join([*lines, self._averaged(), self.prior_sentence(level)])

    def record(self, level=0.9) -> dict:
        """Everything, for JSON."""
        frame = self.to_frame(level).rename(columns={self.column: "x"})
        low, high = self.floor_interval(level)
        return {
            "quality": self.quality, "column": self.column, "rows": self.rows, "level": level,
            "forecast": frame.to_dict("records"), "laws": self.laws(),
            "floor": {"low": low, "high": high}, "used_prior": self.use_prior, "notes": [self.prior_sentence(level)],
        }  # fmt: skip

    def __repr__(self):
        low, high = self.interval()[0]
        more = f" (and {len(self.new) - 1} more)" if len(self.new) > 1 else ""
        return (f"<Forecast: {self.quality} {self.value[0]:.4g} ({low:.4g} to {high:.4g}) at {self.column} = "
                f"{self.new[0]:.4g}{more}, from {self.rows} rows>")  # fmt: skip

    def _repr_html_(self):
        headline = f"{self.quality} beyond {self.rows} rows of {self.column}"
        return display.html_page(headline, self.to_frame(), notes=[self._averaged(), self.prior_sentence()])

    def plot(self, ax=None):
        """The rows seen and the forecast beyond them, with the three intervals (90 %); returns the matplotlib Axes."""
        from scalinglaws import plots

        ahead = np.geomspace(self.seen.x[-1], self.new.max(), POINTS)
        drawn = replace(of_series(self.seen, ahead, self.leave_out, self.use_prior), cell_error=self.cell_error)
        bands = []
        for of in reversed(OF):  # the widest first, below the others
            low, high = drawn.interval(of=of).T
            bands.append(pd.DataFrame({"x": ahead, "value": drawn.value, "low": low, "high": high, "label": SHORT[of]}))
        rows = pd.DataFrame({"x": self.seen.x, "y": self.seen.y, "label": "rows seen"})
        if np.isfinite(self.seen.se).any():
            rows["se"] = self.seen.se
        return plots.band(pd.concat(bands), rows, self.column.replace("_", " "), self.quality, ax)

    def _averaged(self):
        laws = ", ".join(f"{name} {weight:.0%}" for name, weight in self.laws().items())
        return f"Laws averaged: {laws}."


def forecast(
    table, quality, column, new, *, kind=None, sampler=None, leave_out=None, use_prior=True, pooled=False
) -> Forecast:
    """Forecast of one curve of a table beyond its last row; two rows are enough.

    table: rows of one curve (all other settings equal; rows that differ in `seed` or `train_seed` only are averaged
    geometrically; their spread is the error of each, and of the one new measurement that is forecast). quality: a
    column with values above 0, in any unit, whether it falls or rises. column: the axis, such as params or steps; new:
    values beyond the largest. kind: size, steps or training (default: by the column). sampler: the solver's name where
    steps are the axis (default: the table's column). leave_out: a bundled study, or a group of them, that the prior
    must not have seen (default: the study the rows say they are of). use_prior=False answers from the rows and a weak
    prior alone. pooled: rows of one x are repeats, whatever they differ in. Raises InputError.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"params": [125e6, 280e6, 498e6, 777e6, 1119e6], "fid": [3.53, 2.56, 2.25, 2.06, 1.96]})
    >>> answer = forecast(rows, "fid", "params", [1523e6], leave_out="edm2")
    >>> bool(1.8 < answer.value[0] < 2.0)
    True
    """
    one = series_of(table, quality, column, kind, sampler, pooled)
    single = one.se / one.y * np.sqrt(table.groupby(column).size().to_numpy())  # of one repeat, not of their mean
    single = single[np.isfinite(single)]
    answer = of_series(one, new, leave_out or one.study, use_prior)
    return replace(answer, cell_error=float(np.median(single)) if len(single) else 0.0)


def series_of(table, quality, column, kind=None, sampler=None, pooled=False) -> Series:
    """The rows of one curve as a Series; see `forecast` for the arguments and the errors."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A forecast needs a pandas DataFrame; got {type(table).__name__}.")
    faults = schema.check(table, [column, quality])
    if faults:
        raise InputError(faults[0])
    kind = kind or next((k for k, names in AXES.items() if column in names), "size")
    if kind not in AXES:
        raise InputError(f"No kind of axis named {kind!r}. Known: {', '.join(AXES)}.")
    if not pooled and table[column].duplicated().any():
        _refuse_unlike(table, column)
    rows, error = one_row_each(table.reset_index(drop=True), quality, column)
    name = sampler or (rows["sampler"].iloc[0] if "sampler" in rows else "")
    return Series(_study(table), kind, quality, column, "", rows[column].to_numpy(float),
                         rows[quality].to_numpy(float), error, {"sampler": name})  # fmt: skip


def _study(table):
    """The study that rows say they are of, "table" where they do not."""
    named = table["study"].dropna().astype(str) if "study" in table else ()
    return named.iloc[0] if len(named) else "table"


def _refuse_unlike(table, column):
    """InputError where rows of one x are not known to be repeats."""
    same = table.groupby(column)
    settings = [c for c in ("family", "model", *schema.unpooled()) if c in table and c != column]
    differ = [c for c in settings if (same[c].nunique(dropna=False) > 1).any()]
    if differ or not any(c in table and same[c].nunique().max() > 1 for c in SEEDS):
        why = f"they differ in {differ[0]}" if differ else "no column seed says that they are repeats"
        raise InputError(
            f"Column {column!r} holds {table[column].duplicated().sum()} repeated values, and {why}: a forecast takes "
            "the rows of one curve; choose the other settings first (scalinglaws.measurements.where), or name repeats "
            "by a column seed."
        )


def of_series(one, new, leave_out=None, use_prior=True, fine=True) -> Forecast:
    """Forecast of a Series; see `forecast`."""
    try:
        new = np.atleast_1d(np.asarray(new, float))
    except (TypeError, ValueError):
        raise InputError(f"Give numbers of {one.column} beyond {one.x[-1]:.4g} to forecast at; got {new!r}.") from None
    if len(one) < 2:
        raise InputError(f"A forecast needs 2 rows or more; given were {len(one)}: measure one more {one.column}.")
    if not len(new) or not np.isfinite(new).all():
        raise InputError(f"Give numbers of {one.column} beyond {one.x[-1]:.4g} to forecast at; got {new.tolist()}.")
    if (new < one.x[-1]).any():
        raise InputError(
            f"A forecast looks beyond the rows: {one.column} = {new.min():.4g} is below the largest, {one.x[-1]:.4g}; "
            "inside the rows use scalinglaws.fit(...).predict."
        )
    points = design(fine)
    found = evidence_of(one, new, points)
    learned = prior.load(leave_out) if use_prior else prior.weak()
    prior_logs = learned.logs(one, points)
    weights, keep = _heavy(found.loglik + prior_logs)
    before = np.exp(prior_logs - logsumexp(prior_logs))
    return Forecast(
        one, new, weights, found.mean[:, keep], found.variance[:, keep], _noise(points, keep),
        _floors(one, points, keep), np.broadcast_to(points.law[:, None], keep.shape)[keep],
        {name: float(before[points.law == name].sum()) for name in LAWS},
        learned.width.get(one.kind, prior.AS_IT_IS) if len(one) > 2 else prior.AS_IT_IS,
        learned.model_sd, learned.cell_share, leave_out=leave_out, use_prior=use_prior,
    )  # fmt: skip


def _heavy(logs):
    """(weights [point], mask) of the points that hold all but a trifle of the mass."""
    top = logs.max()
    keep = logs > top + np.log(TRIFLE)
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
