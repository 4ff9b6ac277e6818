"""What a fit gives back: Fit for one law on one table, Groups for one law on many.

Both show themselves in five ways: repr (one line), summary() (text), to_frame(), _repr_html_() and plot(ax).
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.fitting import diagnostics, draws, messages, predict
from scalinglaws.fitting.levels import Levels, models
from scalinglaws.fitting.options import Options
from scalinglaws.fitting.problem import Problem, robust_sd
from scalinglaws.fitting.profile import profile_interval, student_quantile
from scalinglaws.fitting.solver import Minima
from scalinglaws.laws import Law
from scalinglaws.schema import InputError

INTERVALS = ("bootstrap", "profile", "delta")


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """One law fitted to one table. Everything else follows from these fields and is computed when asked for."""

    problem: Problem  # law, data, objective, coordinates
    minima: Minima  # of every start, best first, in internal coordinates
    quality: str  # the column fitted
    inputs: dict[str, str]  # symbol -> column
    options: Options
    resampling: str  # what was asked for, or auto's choice among pair, wild and residual
    notes: tuple[str, ...] = ()  # choices made, not reasons for doubt
    drawn: np.ndarray | None = field(default=None)  # replicates, where they were drawn with those of other groups

    @property
    def law(self) -> Law:
        return self.problem.law

    @property
    def theta(self) -> np.ndarray:
        """Natural parameters [P], in the order of law.params."""
        return np.array([self.values[name] for name in self.law.params])

    @cached_property
    def values(self) -> dict[str, float]:
        """Natural parameters by name. Coefficients and floors have the unit of the quality, exponents none."""
        natural = self.problem.coordinates.natural(self.minima.theta[0])
        return dict(zip(self.law.params, map(float, natural), strict=True))

    @property
    def objective(self) -> float:
        """The sum over rows of the loss."""
        return float(self.minima.objective[0])

    @property
    def table(self) -> pd.DataFrame:
        """The rows used."""
        return self.problem.data.table

    @property
    def rows(self) -> int:
        return len(self.problem.data.y)

    @property
    def loss(self) -> str:
        return self.options.loss

    @property
    def delta(self) -> float:
        """Where Huber's loss turns linear, in units of the residuals; inf for squares."""
        return float(self.problem.objective.loss.delta)

    @property
    def residual_scale(self) -> str:
        """log, raw or log1p."""
        return self.options.residuals

    @property
    def count(self) -> int:
        """Number of replicates."""
        return self.options.replicates

    @property
    def seed(self) -> int:
        return self.options.seed

    @cached_property
    def residuals(self) -> np.ndarray:
        """Fitted minus measured [N], on the scale of the fit, in units of the rows' relative standard errors."""
        return self.problem.residuals(self.minima.theta[0])

    @cached_property
    def noise(self) -> float:
        """Robust standard deviation of the residuals: on the log scale, a relative error."""
        return robust_sd(self.residuals, len(self.law.params))

    @cached_property
    def levels(self) -> Levels | None:
        """The error of a trained model and of a cell; None where residuals on the raw scale alone show the noise."""
        return draws.levels_of(self)

    @cached_property
    def trained_models(self) -> tuple[np.ndarray, pd.DataFrame]:
        """The trained model of each row [row], and the models [model] by the columns that name them."""
        return models(self)

    @cached_property
    def bootstrap(self) -> str:
        """The method that options.bootstrap came to: levels, pair, wild or residual."""
        return draws.LEVELS if draws.by_levels(self) else self.resampling

    @cached_property
    def trust(self) -> diagnostics.Trust:
        """Starts that agreed, next basin, bounds, condition, floor: as numbers."""
        return diagnostics.assess(self.problem, self.minima)

    @cached_property
    def warnings(self) -> list[str]:
        """Every reason for doubt, one sentence each."""
        with np.errstate(all="ignore"):  # a degenerate fit may have no finite curve
            return list(messages.doubts(self))

    @cached_property
    def replicates(self) -> np.ndarray:
        """Natural parameters [replicate, P] of the bootstrap, in the order of law.params."""
        return self.resampled(self.count, self.seed, self.bootstrap) if self.drawn is None else self.drawn

    @cached_property
    def curve_replicates(self) -> np.ndarray:
        """Natural parameters [replicate, P] for intervals of the curve: the replicates, or where the residuals are
        those of a near-exact fit, refits of rows with errors drawn from `levels`.
        """
        return draws.curve_replicates(self)

    def resampled(self, count: int, seed: int = 0, method: str = "auto") -> np.ndarray:
        """Natural parameters [count, P] of a bootstrap with another count, seed or method; not kept.

        auto: the method of the fit's own replicates.
        """
        return draws.replicates([self], count, seed, [self.bootstrap if method == "auto" else method])[0]

    @cached_property
    def standard_errors(self) -> dict[str, float]:
        """Of the natural parameters, by the delta method with s² = RSS / (N - P), rows taken as independent.

        interval() has skewed ones, and those of rows that share the error of a trained model.
        """
        spare = max(self.rows - len(self.law.params), 1)
        weight = 1.0 if self.problem.data.weight is None else self.problem.data.weight
        noise = float(np.sqrt(np.sum(weight * self.residuals**2) / spare))
        matrix = self.problem.covariance(self.minima.theta[0], noise)
        return dict(zip(self.law.params, np.sqrt(np.diag(matrix)).tolist(), strict=True))

    def curve(self, inputs: dict, theta=None) -> np.ndarray:
        """The law [..., n] at inputs {symbol: array [n]}, for natural parameters theta [..., P] (default: the fit's).

        Raises InputError where an input is missing.
        """
        missing = [symbol for symbol in self.law.inputs if symbol not in inputs]
        if missing:
            raise InputError(f"The curve of {self.law.name!r} needs {', '.join(missing)}; got {', '.join(inputs)}.")
        with np.errstate(all="ignore"):
            return self.law.curve(self.theta if theta is None else theta, inputs)

    def predict(self, table: pd.DataFrame, level: float = 0.9, of: str = "owned") -> pd.DataFrame:
        """The quality at new inputs, with an interval.

        table: a DataFrame with the fitted input columns (or columns named by symbol), n rows, in the units of the fit;
        `model` and `train_seed` are read where the fit has them. level: probability that the interval should hold. of:
        what the interval is for. curve: the law itself; owned: a new measurement of a model that is owned, so of its
        own error as its rows show it (one not in the fit has an error drawn anew) and the error of a cell; new_model: a
        measurement of a model trained anew; all: the three.

        Returns a DataFrame with the table's index [n]: value, low, high (unit of the quality; for `all` curve_low,
        curve_high, owned_low, ..., new_model_high) and decades_beyond, how far the row lies outside the fitted inputs
        in powers of ten (0 inside). The noise is that of `levels`, or of the residuals on the raw scale. Raises
        InputError for a missing column, for inputs that are not above zero, for a level outside 0 to 1 and for another
        interval.

        >>> import pandas as pd
        >>> from scalinglaws import fit
        >>> table = pd.DataFrame({"gflops": [46, 102, 181, 282, 406, 552], "fid": [3.53, 2.56, 2.25, 2.06, 1.96, 1.91]})
        >>> new = fit(table, "power_floor", "fid", {"N": "gflops"}).predict(pd.DataFrame({"gflops": [200, 1000]}))
        >>> new[["value", "decades_beyond"]].round(2)
           value  decades_beyond
        0   2.18            0.00
        1   1.84            0.26
        """
        with np.errstate(all="ignore"):
            return predict.predict(self, table, level, of)

    def interval(self, level: float = 0.9, method: str = "bootstrap") -> pd.DataFrame:
        """value, low and high of every parameter; the index holds their names.

        method: bootstrap, quantiles of the replicates; profile, where the profile objective has risen by what Student's
        t allows; delta, value +- t x standard error, symmetric; both take weights for inverse
        variances. Raises InputError for another method or level.
        """
        predict.check_level(level)
        if method not in INTERVALS:
            raise InputError(f"No intervals named {method!r}. Known: {', '.join(INTERVALS)}.")
        if method == "profile":
            low, high = profile_interval(self.problem, self.minima, level)
        elif method == "delta":
            width = np.array([self.standard_errors[name] for name in self.law.params])
            width *= student_quantile(self.rows, len(self.law.params), level)
            low, high = self.theta - width, self.theta + width
        else:
            values = np.clip(self.replicates, -predict.HUGE, predict.HUGE)
            low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return pd.DataFrame({"value": self.theta, "low": low, "high": high}, index=list(self.law.params))

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in self.values.items())
        doubts = len(self.warnings)
        return f"Fit({messages.headline(self)}; {numbers}; {self.rows} rows, noise {self.noise:.2g}, {doubts} warnings)"

    def summary(self, level: float = 0.9) -> str:
        """The fit in plain text: law, parameters with intervals, noise, starts, notes and warnings."""
        return messages.summary(self, level)

    def to_frame(self, level: float = 0.9) -> pd.DataFrame:
        """One row per parameter: parameter, value, standard_error, low, high."""
        frame = self.interval(level).rename_axis("parameter").reset_index()
        frame.insert(2, "standard_error", list(self.standard_errors.values()))
        return frame

    def _repr_html_(self) -> str:
        notes = (*messages.details(self), *self.notes)
        return display.html_page(messages.headline(self), self.to_frame(), self.warnings, notes)

    def plot(self, ax=None, level: float = 0.9):
        """The curve with its interval and the measured points; returns the matplotlib Axes.

        The x axis is the input with most different values; there is a curve for each combination of the others (at most
        24), such as each size. The band is the interval of the curve, noise not included. Several fits may be drawn
        into one `ax`: each has colours of its own.
        """
        from scalinglaws import plots

        *tables, column = predict.figure_tables(self, level)
        curves, points = (table.replace({"label": {"": self.law.name}}) for table in tables)
        return plots.band(curves, points, column, self.quality, ax=ax)


@dataclass(frozen=True, eq=False, repr=False)
class Groups:
    """One fit per group, and a sentence for every group that cannot be fitted."""

    by: tuple[str, ...]  # columns whose values name the groups
    fits: dict[object, Fit]  # by the column's value, or by a tuple of values where there are several columns
    refused: dict[object, str]

    def __getitem__(self, label) -> Fit:
        if label not in self.fits:
            why = self.refused.get(label, f"Known groups: {', '.join(map(str, self.fits))}.")
            raise InputError(f"No fit of the group {label!r}. {why}")
        return self.fits[label]

    def __len__(self) -> int:
        return len(self.fits)

    def to_frame(self, level: float = 0.9) -> pd.DataFrame:
        """One row per group: the columns of `by`, law, rows, noise, each parameter with _low and _high, warnings."""
        rows = []
        for label, fit in self.fits.items():
            row = dict(zip(self.by, label if len(self.by) > 1 else (label,), strict=True))
            row |= {"law": fit.law.name, "rows": fit.rows, "noise": fit.noise}
            for name, ends in fit.interval(level).iterrows():
                row |= {name: ends["value"], f"{name}_low": ends["low"], f"{name}_high": ends["high"]}
            rows.append(row | {"warnings": len(fit.warnings)})
        return pd.DataFrame(rows)

    @property
    def warnings(self) -> list[str]:
        """The warnings of every fit with its group's name, then the groups that were refused."""
        doubts = [f"{label}: {sentence}" for label, fit in self.fits.items() for sentence in fit.warnings]
        return doubts + [f"{label} not fitted: {sentence}" for label, sentence in self.refused.items()]

    def _headline(self) -> str:
        laws = ", ".join(dict.fromkeys(fit.law.name for fit in self.fits.values()))
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return f"{laws} of {self._any.quality} by {', '.join(self.by)}: {len(self.fits)} groups{refused}"

    @property
    def _any(self) -> Fit:
        return next(iter(self.fits.values()))

    def __repr__(self) -> str:
        return f"Groups({self._headline()})"

    def summary(self) -> str:
        """All groups as a table, and their warnings."""
        return "\n".join([self._headline(), display.text_table(self.to_frame()), *self.warnings])

    def _repr_html_(self) -> str:
        return display.html_page(self._headline(), self.to_frame(), self.warnings)

    def plot(self, ax=None, level: float = 0.9):
        """The curves of all groups in one figure; returns the matplotlib Axes."""
        from scalinglaws import plots

        curves, points = [], []
        for label, fit in self.fits.items():
            name = ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)
            line, dots, column = predict.figure_tables(fit, level)
            for part, into in ((line, curves), (dots, points)):
                into.append(part.assign(label=[f"{name}, {text}" if text else name for text in part["label"]]))
        curves, points = (pd.concat(parts, ignore_index=True) for parts in (curves, points))
        return plots.band(curves, points, column, self._any.quality, ax=ax)
