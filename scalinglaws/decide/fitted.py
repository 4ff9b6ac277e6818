"""One law with the rows behind it: a fit, the fit of one of several groups, or one level of a shared law.

The curves and the optimum ask it the same questions, whichever of the three it is.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from scalinglaws import laws, schema, units
from scalinglaws.decide import owned
from scalinglaws.fitting import Groups, draws, fit_groups
from scalinglaws.fitting import fit as fit_one
from scalinglaws.fitting.predict import HUGE
from scalinglaws.schema import InputError

STEPS = ("steps", "nfe")  # columns a sampling budget buys more of
ROUNDED = 0.01  # relative; what a number of parameters such as 83M may be rounded by
POOLED = ("sampler", "guidance")  # a law fitted to several values of these at once answers for their average


@dataclass(frozen=True)
class FittedLaw:
    """A law of size and steps, or of any inputs, as fitted."""

    fit: Any  # anything with law, inputs, curve, replicates, quality, table, predict
    table: pd.DataFrame  # the rows fitted, of one level those of the level
    inputs: dict  # symbol: column, without the symbol that holds the groups' names
    label: str = ""  # the level's name, where there are several
    group: str | None = None  # the level's name in a shared law
    order: np.ndarray | None = None  # [replicate], the replicates in another order

    @property
    def quality(self) -> str:
        return self.fit.quality

    @property
    def rises(self) -> bool:
        """Whether higher quality is better."""
        return rises(self.quality, getattr(self.fit, "law", None))

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning for every setting that the law pools."""
        mixed = [c for c in POOLED if c in self.table and self.table[c].nunique() > 1]
        return tuple(f"The law was fitted to {self.table[c].nunique()} values of {c} together; fit one at a time for "
                     "an answer on it." for c in mixed)  # fmt: skip

    @property
    def replicates(self):
        """Parameters [replicate, parameter] of the curve's own uncertainty."""
        theta = self.fit.curve_replicates if hasattr(self.fit, "curve_replicates") else self.fit.replicates
        return theta if self.order is None else theta[self.order]

    def own_errors(self, x, of):
        """ln of the own errors [replicate, n] of the trained models at inputs {symbol: [n]}, for one of levels.OF.

        A size that was not measured has one for new_model only.
        """
        if getattr(self.fit, "levels", None) is None:
            return np.zeros((len(self.replicates), len(next(iter(x.values())))))
        errors = draws.model_errors(self.fit, self._with_group(x), pd.DataFrame(), of, unseen=False)
        return errors if self.order is None else errors[self.order]

    def expected_errors(self, x, of):
        """ln of the own error [n] expected at inputs {symbol: [n]}: of models that are owned as their rows show it."""
        if of != "owned" or getattr(self.fit, "levels", None) is None:
            return np.zeros(len(next(iter(x.values()))))
        return owned.expected_errors(self.fit, self._with_group(x))

    def at(self, x, theta=None):
        """Quality [..., n] at inputs {symbol: [n]}; theta [..., parameter]."""
        return self.fit.curve(self._with_group(x), theta)

    def _with_group(self, x):
        """The inputs {symbol: [n]} and, of a shared law, the number of the group."""
        if self.group is None:
            return x
        names = np.array([self.group] * len(np.atleast_1d(next(iter(x.values())))), object)
        return x | {self.fit.law.inputs[-1]: self.fit.law.numbers(self.fit.law.inputs[-1], names)}

    def quality_at(self, size, steps, theta=None):
        """Quality [..., n] at sizes [n] and steps [n]; theta [..., parameter]."""
        size, steps = np.broadcast_arrays(np.atleast_1d(np.asarray(size, float)), np.asarray(steps, float))
        symbol, steps_symbol = self.axes
        return self.at({symbol: size} | ({steps_symbol: steps} if steps_symbol else {}), theta)

    def predicted(self, size, steps, level, of) -> pd.DataFrame:
        """value, low, high, decades_beyond at sizes [n] and steps [n], for one of levels.OF.

        As the fit predicts them; of a model that is owned the law times the error that its own rows show.
        """
        rows, columns = self.frame(size, steps), ["value", "low", "high", "decades_beyond"]
        if of != "owned" or getattr(self.fit, "levels", None) is None:
            return self.fit.predict(rows, level=level, of=of)[columns].reset_index(drop=True)
        x = {symbol: rows[column].to_numpy() for symbol, column in self.inputs.items()}
        table = self.fit.predict(rows, level=level, of="curve")
        value = table["value"] * np.exp(self.expected_errors(x, of))
        with np.errstate(all="ignore"):
            drawn = np.nan_to_num(draws.quality(self.fit, x, rows, of), nan=HUGE, posinf=HUGE, neginf=-HUGE)
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return table.assign(value=value, low=np.minimum(low, value), high=np.maximum(high, value))[columns]

    def frame(self, size, steps) -> pd.DataFrame:
        """Rows for `fit.predict`."""
        size, steps = np.broadcast_arrays(np.atleast_1d(np.asarray(size, float)), np.asarray(steps, float))
        return pd.DataFrame({self.size_column: size} | ({self.steps_column: steps} if self.steps_column else {}))

    @cached_property
    def axes(self):
        """(symbol of size, symbol of steps or None): a sampling budget buys nothing else."""
        steps = [s for s, column in self.inputs.items() if column in STEPS]
        sizes = [s for s in self.inputs if s not in steps]
        if len(sizes) != 1 or len(steps) > 1:
            given = ", ".join(f"{s}={c}" for s, c in self.inputs.items())
            raise InputError(f"A budget per image needs a law in size, or in size and steps; this one is in {given}.")
        return sizes[0], steps[0] if steps else None

    @property
    def size_column(self) -> str:
        return self.inputs[self.axes[0]]

    @property
    def steps_column(self) -> str | None:
        return self.inputs[self.axes[1]] if self.axes[1] else None

    @cached_property
    def sizes(self) -> np.ndarray:
        """Measured sizes [size], rising."""
        return np.unique(self.table[self.size_column].to_numpy(float))

    @cached_property
    def size_labels(self) -> tuple[str, ...]:
        """Labels of the measured sizes, smallest first."""
        if "model" not in self.table:
            return tuple(f"{size:g}" for size in self.sizes)
        size, label = self.table[self.size_column].to_numpy(float), self.table["model"].astype(str).to_numpy()
        return tuple(label[(size == known).argmax()] for known in self.sizes)

    def rows_of(self, size) -> pd.DataFrame:
        """The rows measured at a size."""
        return self.table[np.isclose(self.table[self.size_column].astype(float), size)]

    def label_of(self, size) -> str:
        """The label of a measured size, else the size itself as text."""
        same = np.isclose(self.sizes, size)
        return self.size_labels[same.argmax()] if same.any() else f"{size:g}"

    def find_size(self, size) -> float:
        """The size meant by a label such as 'c16' or by a number."""
        return find_value(self, self.size_column, size, positive=True)


def rises(quality, law) -> bool:
    """Whether a higher quality is better: as the schema says; of a column that it does not know, as its law goes."""
    if quality in schema.COLUMNS:
        return schema.higher_is_better(quality)
    return getattr(law, "trend", "falls") == "rises"


def find_value(law, column, name, positive=False) -> float:
    """The value in `column` meant by a model's label, by a number, or by parameters such as 83M; else InputError."""
    named = law.table[law.table["model"].astype(str) == str(name)] if "model" in law.table else law.table[:0]
    named = named if len(named) else _with_parameters(law.table, name)
    if named[column].nunique() == 1:
        return float(named[column].iloc[0])
    try:
        value = float(name)
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value) and len(named):
        values = ", ".join(f"{v:g}" for v in sorted(named[column].unique()))
        raise InputError(f"{name} has {named[column].nunique()} values of {column} ({values}): keep one with --where.")
    if not np.isfinite(value) or (positive and value <= 0):
        known = ", ".join(labels(law, column))
        raise InputError(f"No size {name!r}. Known sizes: {known}; or give a number{' above 0' if positive else ''}.")
    return value


def _with_parameters(table, name):
    """The rows of as many parameters as a text such as 83M says, to its rounding; none for other texts."""
    counted = isinstance(name, str) and units.number(name) is None and "params" in table and units.count(name)
    return table[np.isclose(table["params"].astype(float), counted, rtol=ROUNDED)] if counted else table[:0]


def labels(law, column) -> list[str]:
    """Labels of the law's rows by rising value of `column`, or the values where rows have no label."""
    rows = law.table.sort_values(column)
    return list(dict.fromkeys(rows["model"].astype(str) if "model" in rows else (f"{v:g}" for v in rows[column])))


def whole(fit) -> FittedLaw:
    """The law of one fit; InputError for Groups, and for what is no fit."""
    if isinstance(fit, Groups):
        raise InputError(f"These are {len(fit)} fits by {', '.join(fit.by)}: give one of them, such as "
                         f"groups[{next(iter(fit.fits))!r}].")  # fmt: skip
    if not (hasattr(fit, "curve") and hasattr(fit, "inputs")):
        raise InputError(f"A fitted law is needed, from fit(table, ...); got {type(fit).__name__}.")
    return FittedLaw(fit, fit.table, fit.inputs)


def has_levels(source) -> bool:
    """Whether these are several curves: Groups, or the fit of a shared law."""
    return isinstance(source, Groups) or bool(getattr(getattr(source, "law", None), "groups", ()))


def fit_levels(table, by, law, quality, inputs, *, share=(), **options):
    """Groups, one fit for each level of the column `by`; with parameters to share, one Fit of all levels.

    table, law, quality, inputs and options as for fit(). InputError where parameters of a choice of laws are shared.
    """
    if not share:
        return fit_groups(table, by, law, quality, inputs, **options)
    if law in laws.CHOICES:
        raise InputError(f"Sharing {', '.join(share)} needs one law, such as {laws.CHOICES[law][0]!r}, not {law!r}.")
    names = sorted(map(str, table[by].dropna().unique()))
    law = laws.find(law)
    symbol = next(s for s in ("g", "group", "level") if s not in (*law.inputs, *law.params, *inputs))
    one = law.with_input(next(iter(inputs))) if len(law.inputs) == 1 else law
    return fit_one(table, laws.shared(one, names, share, symbol), quality, {**inputs, symbol: by}, **options)


def level_names(source) -> list:
    """Names of the levels, in order."""
    return list(source.fits) if isinstance(source, Groups) else list(source.law.groups)


def level_column(source) -> str:
    """The column whose levels are compared; InputError for Groups by several columns."""
    if not isinstance(source, Groups):
        return source.inputs[source.law.inputs[-1]]
    if len(source.by) != 1:
        raise InputError(f"A crossover compares the levels of one column; these are groups by {', '.join(source.by)}.")
    return source.by[0]


def level(source, name, second=False) -> FittedLaw:
    """The law of one level.

    Separate fits draw their replicates from a common seed; those of the second of two compared are put in another
    order, so that the two are independent.
    """
    column = level_column(source)
    if not isinstance(source, Groups):
        name = _known(name, source.law.groups, column)
        rows = source.table[source.table[column].astype(str) == name].reset_index(drop=True)
        inputs = {symbol: source.inputs[symbol] for symbol in source.law.inputs[:-1]}
        return FittedLaw(source, rows, inputs, name, group=name)
    fit = source[_known(name, [*source.fits, *source.refused], column)]
    order = np.random.default_rng([fit.seed, 31]).permutation(fit.count) if second else None
    return FittedLaw(fit, fit.table, fit.inputs, str(name), order=order)


def _known(name, names, column):
    """The level meant by a name or number as typed."""
    for known in names:
        if str(known) == str(name) or (isinstance(known, float) and f"{known:g}" == str(name)):
            return known
    raise InputError(f"No {column} {str(name)!r}. Known: {', '.join(map(str, names))}.")
