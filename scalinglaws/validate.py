"""Laws ranked by what they predict: sizes are hidden, every law is refitted without them and scored on them."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws import laws as table_of_laws
from scalinglaws.fitting.api import fit, refit, same_delta
from scalinglaws.fitting.diagnostics import calibration
from scalinglaws.fitting.messages import doubts
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.selection import aicc
from scalinglaws.schema import InputError, higher_is_better

HIDE = ("largest", "decade")
REPLICATES = 300  # of a fold, enough for a 90 % interval
LEAST = 2  # different values of an input a fold must keep to be fitted
COLUMNS = ("law", "parameters", "held_out", "hidden", "inside", "aicc", "objective", "note")


@dataclass(frozen=True)
class Fold:
    """Rows to fit and rows to predict."""

    hidden_from: float  # smallest hidden value of the input
    keep: np.ndarray  # [row] bool
    hide: np.ndarray  # [row] bool


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Laws ranked on the same hidden rows, best first; see compare() for the columns of `ranked`."""

    ranked: pd.DataFrame
    quality: str
    column: str  # whose largest values were hidden
    level: float  # of the intervals in `inside`
    predictions: pd.DataFrame  # one row a law and hidden row: law, hidden_from, measured, predicted, low, high, error

    @property
    def best(self) -> str | None:
        """The law with the smallest error on the hidden rows; None unless at least two laws were ranked."""
        return self.ranked["law"].iloc[0] if self.ranked["held_out"].notna().sum() > 1 else None

    @property
    def notes(self) -> list[str]:
        """What is to be said of each law, where there is something."""
        return [f"{row.law}: {row.note}" for row in self.ranked.itertuples() if row.note]

    def _headline(self) -> str:
        hidden = self.ranked["hidden"].max()
        if np.isnan(hidden):
            return f"{self.quality}: no law could be ranked with the largest {self.column} hidden"
        best = f"{self.best} predicts best" if self.best else "no winner: fewer than two laws were ranked"
        return f"{self.quality}, {int(hidden)} rows of the largest {self.column} hidden: {best}"

    def __len__(self) -> int:
        return len(self.ranked)

    def __repr__(self) -> str:
        return f"Comparison({self._headline()})"

    def summary(self) -> str:
        """The ranking as text, with the notes."""
        return "\n".join([self._headline(), display.text_table(self.ranked.drop(columns="note")), *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """One row a law, best first; the columns are those of compare()."""
        return self.ranked

    def _repr_html_(self) -> str:
        return display.html_page(self._headline(), self.ranked.drop(columns="note"), notes=self.notes)

    def plot(self, ax=None):
        """Predicted against measured quality of the hidden rows, with intervals, by law; returns the Axes."""
        from scalinglaws import plots

        return plots.predicted_against_measured(self.predictions, self.quality, ax)


def folds(x: np.ndarray, hide: str = "largest", count: int = 3) -> list[Fold]:
    """largest: each of the count largest values from all smaller ones; decade: the top decade from the rest."""
    if hide not in HIDE:
        raise InputError(f"No way to hide named {hide!r}. Known: {', '.join(HIDE)}.")
    if hide == "decade":
        edge = x.max() / 10
        return [Fold(float(x[x > edge].min()), x <= edge, x > edge)]
    values = np.unique(x)
    return [Fold(float(v), x < v, x == v) for v in values[max(LEAST, len(values) - count) :]]


def extrapolate(
    one: Fit, along: str | None = None, hide: str = "largest", count: int = 3, level: float = 0.9
) -> pd.DataFrame:
    """Rolling extrapolation of one fit. One row a hidden row: hidden_from, measured, predicted, low, high, error.

    along: the symbol whose largest values are hidden (default: the law's first input). error: ln(predicted/measured),
    or the difference on the raw scale. Raises InputError where no refit is possible.
    """
    symbol = along or one.law.inputs[0]
    if symbol not in one.inputs:
        raise InputError(f"No input {symbol!r} to hide along; the law has {', '.join(one.inputs)}.")
    parts = [_predict(one, fold, level) for fold in usable(one, folds(one.problem.data.x[symbol], hide, count))]
    if not parts:
        raise InputError(
            f"Law {one.law.name!r} cannot be refitted with the largest {one.inputs[symbol]} hidden: "
            f"{len(one.law.params)} parameters need more rows or sizes. Collect more or choose a smaller law."
        )
    return pd.concat(parts, ignore_index=True)


def usable(one: Fit, parts: list[Fold]) -> list[Fold]:
    """Folds that keep enough rows and values for the law."""
    data = one.problem.data
    return [
        fold for fold in parts
        if fold.keep.sum() > len(one.law.params) and all(len(np.unique(v[fold.keep])) >= LEAST for v in data.x.values())
        and np.ptp(data.y[fold.keep]) > 0
    ]  # fmt: skip


def _predict(one: Fit, fold: Fold, level: float) -> pd.DataFrame:
    again = refit(one, keep=fold.keep)
    again = replace(again, options=replace(again.options, replicates=min(again.count, REPLICATES)))
    interval = again.predict(one.table[fold.hide], level)
    measured, predicted = one.problem.data.y[fold.hide], interval["value"].to_numpy()
    error = predicted - measured if one.residual_scale == "raw" else np.log(predicted / measured)
    return pd.DataFrame({
        "hidden_from": fold.hidden_from, "measured": measured, "predicted": predicted,
        "low": interval["low"].to_numpy(), "high": interval["high"].to_numpy(), "error": error,
    })  # fmt: skip


def candidates(inputs: dict, rises: bool = False) -> list[str]:
    """Names of the laws that take exactly these symbols; a one-input law takes any symbol."""
    wanted, names = "rises" if rises else "falls", []
    for name, law in table_of_laws.LAWS.items():
        one = len(law.inputs) == 1 == len(inputs) and (law.inputs == ("x",) or law.inputs[0] in inputs)
        if (one or set(law.inputs) == set(inputs)) and law.trend in (wanted, "turns"):
            names.append(name)
    return names


def compare(
    table, laws=None, quality="fid", inputs=None, *, along=None, hide="largest", folds=3, level=0.9, **options
) -> Comparison:
    """Laws ranked on the same hidden rows, best first.

    table: a DataFrame, one measurement a row. laws: names or Laws (default: every law that takes the inputs and
    falls or rises as the quality does); a law may use some of the inputs only. inputs: {symbol: column}. along: the
    symbol whose largest values are hidden (default: the first). hide: largest, each of the `folds` largest values in
    turn from all smaller ones; decade, the top decade. level: of the prediction intervals. options go to fit().

    Returns a Comparison; its frame has one row a law: law, parameters (count), held_out (root mean square error on the
    hidden rows, log scale: 0.02 is 2 %), hidden (rows), inside (share of them within the level interval), aicc
    (difference to the best), objective, note. Raises InputError where no law can be fitted.

    >>> import pandas as pd
    >>> from scalinglaws import compare
    >>> table = pd.DataFrame({"gflops": [46, 102, 181, 282, 406, 552], "fid": [3.53, 2.56, 2.25, 2.06, 1.96, 1.91]})
    >>> ranking = compare(table, ["power", "power_floor"], "fid", {"N": "gflops"}, folds=2)
    >>> ranking.best
    'power_floor'
    >>> ranking.to_frame()[["law", "parameters", "hidden"]]
               law  parameters  hidden
    0  power_floor           3       2
    1        power           2       2
    """
    if not isinstance(inputs, dict) or not inputs:
        raise InputError("compare needs inputs as a dict {symbol: column}, for example {'N': 'params'}.")
    given = candidates(inputs, higher_is_better(quality)) if laws is None else list(laws)
    if not given:
        raise InputError(f"No law takes the inputs {', '.join(inputs)}. Name some: laws=['power_floor', ...].")
    fits, refused = _fit_all(table, given, quality, inputs, options)
    symbol = along or next(iter(inputs))
    shared = _shared_folds(fits, symbol, hide, folds)
    best = min(fits, key=lambda one: one.objective)
    factor = calibration(best.problem, best.minima.theta[0])
    rows, predictions = [], []
    for one in fits:
        if shared and len(usable(one, shared)) == len(shared):
            predicted = pd.concat([_predict(one, fold, level) for fold in shared])
        else:  # no row where the law cannot be refitted on each of the folds
            predicted = pd.DataFrame(columns=["hidden_from", "measured", "predicted", "low", "high", "error"])
        rows.append(_score(one, predicted, factor))
        predictions.append(predicted.assign(law=one.law.name))
    rows += [{"law": name, "note": note} for name, note in refused.items()]
    ranked = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
        ["held_out", "aicc"], kind="stable", na_position="last", ignore_index=True)  # fmt: skip
    ranked["aicc"] = ranked["aicc"] - ranked["aicc"].min()
    predictions = [part for part in predictions if len(part)] or predictions[:1]
    return Comparison(ranked, quality, inputs.get(symbol, symbol), level, pd.concat(predictions, ignore_index=True))


def _fit_all(table, given, quality, inputs, options):
    """Fits of all laws that can be fitted, and sentences for the others."""
    fits, refused = [], {}
    for one in given:
        law = table_of_laws.find(one) if not (isinstance(one, str) and one in table_of_laws.CHOICES) else None
        name = one if law is None else law.name
        symbols = inputs if law is None or len(law.inputs) == len(inputs) == 1 else {
            s: c for s, c in inputs.items() if s in law.inputs}  # fmt: skip
        try:
            fits.append(fit(table, one, quality, symbols or inputs, **options))
        except InputError as refusal:
            refused[name] = str(refusal)
    if not fits:
        raise InputError(f"None of the laws can be fitted; {next(iter(refused))}: {next(iter(refused.values()))}")
    return same_delta(fits), refused


def _shared_folds(fits, symbol, hide, count):
    """The folds that most laws can be refitted on: larger laws that cannot are not ranked, the others not punished."""
    best = []
    for one in sorted(fits, key=lambda f: len(f.law.params)):
        if symbol in one.problem.data.x:
            own = usable(one, folds(one.problem.data.x[symbol], hide, count))
            best = own if not best else [f for f in best if any(o.hidden_from == f.hidden_from for o in own)] or best
    return best


def _score(one: Fit, predicted: pd.DataFrame, factor: float) -> dict:
    """One row of compare()."""
    row = {"law": one.law.name, "parameters": len(one.law.params), "aicc": aicc(one, factor),
           "objective": one.objective, "note": next(doubts(one), "")}  # fmt: skip
    if not len(predicted):
        return row | {"note": "not ranked: too few rows remain when the largest values are hidden"}
    inside = (predicted["low"] <= predicted["measured"]) & (predicted["measured"] <= predicted["high"])
    return row | {"held_out": float(np.sqrt(np.mean(predicted["error"] ** 2))), "hidden": len(predicted),
                  "inside": float(inside.mean())}  # fmt: skip
