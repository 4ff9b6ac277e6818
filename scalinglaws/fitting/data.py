"""From a table to the arrays of one fit; whatever cannot be fitted is refused here, in a sentence."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.fitting.options import Options
from scalinglaws.laws import Law
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Data:
    """The N rows of one fit as arrays."""

    table: pd.DataFrame  # the rows used
    x: dict[str, np.ndarray]  # symbol -> [row], positive
    y: np.ndarray  # [row], positive
    sigma: np.ndarray | None  # [row], standard errors on the scale of the residuals over their median
    weight: np.ndarray | None  # [row]
    cluster: np.ndarray  # [row], the number of the row's configuration
    warnings: tuple[str, ...] = ()  # what was left out
    cluster_effect: tuple[str, float] | None = None  # input whose equal values were made one configuration, p-value

    @property
    def clusters(self) -> int:
        """Number of configurations."""
        return int(self.cluster.max()) + 1

    def where(self, keep: np.ndarray) -> "Data":
        """The rows where keep [row] is true."""
        return replace(
            self, table=self.table[keep].reset_index(drop=True), y=self.y[keep],
            x={symbol: values[keep] for symbol, values in self.x.items()},
            sigma=None if self.sigma is None else self.sigma[keep],
            weight=None if self.weight is None else self.weight[keep],
            cluster=np.unique(self.cluster[keep], return_inverse=True)[1].reshape(-1),
        )  # fmt: skip


def match_inputs(law: Law, inputs) -> tuple[Law, dict[str, str]]:
    """The law and {symbol: column}; a one-input law takes the caller's symbol. InputError where symbols are wrong."""
    if isinstance(inputs, str):
        inputs = {law.inputs[0]: inputs}
    if not isinstance(inputs, dict) or not inputs:
        raise InputError(f"Law {law.name!r} needs inputs as a dict {{symbol: column}} with {_list(law.inputs)}.")
    inputs = {str(symbol): column for symbol, column in inputs.items()}
    if len(law.inputs) == 1 and len(inputs) == 1:
        symbol = next(iter(inputs))
        if symbol.isidentifier() and symbol not in law.params:
            return law.with_input(symbol), inputs
    missing = [symbol for symbol in law.inputs if symbol not in inputs]
    if missing or len(inputs) != len(law.inputs):
        raise InputError(
            f"Law {law.name!r} ({law.equation}) has the inputs {_list(law.inputs)}; "
            f"got {_list(inputs)}. Name a column for each, for example inputs={{'{law.inputs[0]}': 'column'}}."
        )
    return law, {symbol: inputs[symbol] for symbol in law.inputs}


def read_data(table, law: Law, quality: str, inputs: dict, options: Options) -> Data:
    """Check the columns a fit needs and turn them into arrays. Raises InputError for what cannot be fitted."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A fit needs a pandas DataFrame; got {type(table).__name__}.")
    if table.columns.duplicated().any():
        raise InputError(f"The table has two columns named {table.columns[table.columns.duplicated()][0]!r}.")
    warnings = []
    weight = None if options.weights is None else _weights(table, options.weights)
    if weight is not None and (weight == 0).any():
        warnings.append(f"{display.count((weight == 0).sum(), 'row')} of weight zero left out.")
        table, weight = table[weight > 0], weight[weight > 0]
    y, x, sigma = _numbers(table, quality, law, positive=options.residuals != "raw"), {}, None
    for symbol, column in inputs.items():
        if symbol in law.measures:
            x[symbol] = _numbers(table, column, law, positive=not law.signed)
        else:  # the name of a curve
            _present(table, column, law)
            x[symbol] = law.numbers(symbol, table[column].astype(str))
    if options.se is not None:  # dT/dy times the standard error of y
        errors = _numbers(table, options.se, law, what="standard errors")
        sigma = errors / {"log": y, "log1p": 1 + y, "raw": 1.0}[options.residuals]
    _enough(law, y, x, inputs, quality)
    sigma = None if sigma is None else sigma / np.median(sigma)
    keys = [options.cluster] if isinstance(options.cluster, str) else list(options.cluster or inputs.values())
    for key in keys:
        _present(table, key, law)
    cluster = table.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    return Data(table.reset_index(drop=True), x, y, sigma, weight, cluster, tuple(warnings))


def _present(table, column, law):
    if not isinstance(column, str) or column not in table.columns:
        have = ", ".join(map(str, table.columns)) or "no columns"
        raise InputError(f"Law {law.name!r} needs the column {column!r}; the table has {have}.")


def _numbers(table, column, law, positive=True, what="numbers") -> np.ndarray:
    _present(table, column, law)
    numbers = pd.to_numeric(table[column], errors="coerce")
    if pd.api.types.is_complex_dtype(numbers):
        raise InputError(f"Column {column!r} holds complex numbers; give real ones.")
    numbers = numbers.to_numpy(float, na_value=np.nan)
    bad = ~np.isfinite(numbers) | (numbers <= 0 if positive else False)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        kind = "finite and above zero" if positive else "finite"
        raise InputError(
            f"Column {column!r} must hold {what} that are {kind}; {int(bad.sum())} of {len(bad)} rows are not, "
            f"first {_shown(table[column].iloc[first])} in row {_shown(table.index[first])}. Correct or drop them."
        )
    tiny, huge = numbers.min(initial=1.0), numbers.max(initial=1.0)
    if positive and (tiny < 1e-100 or huge > 1e100):
        raise InputError(f"Column {column!r} runs from {tiny:g} to {huge:g}; choose a unit between 1e-100 and 1e100.")
    return numbers


def _shown(value) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _weights(table, weights) -> np.ndarray:
    if weights not in table.columns:
        raise InputError(f"weights={weights!r} is no column; the table has {', '.join(map(str, table.columns))}.")
    numbers = pd.to_numeric(table[weights], errors="coerce").to_numpy(float, na_value=np.nan)
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        raise InputError(f"Column {weights!r} must hold weights that are finite and not negative, in every row.")
    if not (numbers > 0).any():
        raise InputError(f"Every weight in column {weights!r} is zero: no row is left to fit.")
    return numbers


def _enough(law, y, x, inputs, quality):
    """InputError where the rows are fewer than a law needs, or do not vary."""
    count = len(law.params)
    if len(y) <= count:
        raise InputError(
            f"Law {law.name!r} has {count} parameters but the table has {display.count(len(y), 'row')}: "
            f"collect at least {count + 1 - len(y)} more or choose a law with fewer parameters; "
            "scalinglaws.forecast averages laws from two rows on."
        )
    if np.ptp(y) <= 1e-12 * abs(y).max():
        raise InputError(f"Quality {quality!r} is {y[0]:g} in every row: there is nothing to fit.")
    for symbol, column in inputs.items():
        if np.ptp(x[symbol]) <= 1e-12 * np.abs(x[symbol]).max():
            raise InputError(
                f"Every row has {column} = {x[symbol][0]:g}: law {law.name!r} needs at least two different "
                f"values of {symbol}. Collect another one or choose a law without {symbol}."
            )


def _list(names) -> str:
    return ", ".join(names) if names else "nothing"
