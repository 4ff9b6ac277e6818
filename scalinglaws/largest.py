"""The largest size: predicted from the others in every way there is, and the next one, which nobody trained, forecast.

predict_largest(question, fit)    errors of the law, a plain power law, the forecast and the last value
next_size(question)               Forecast of a model twice as large as the largest
hold_out(question, size)          HeldOut: one size by the law fitted to the others, row by row
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scalinglaws import display, naive, schema
from scalinglaws.forecasting.forecast import Forecast, forecast, of_series, series_of
from scalinglaws.infer import Question
from scalinglaws.laws import find
from scalinglaws.schema import InputError

PLAIN = {1: "power", 2: "size_steps_product"}  # by the number of inputs: the law everyone draws first
NAIVE = "same as the largest size seen"
AVERAGE = "forecast (laws averaged, with a prior)"
NEXT = 2.0  # times the largest


def predict_largest(question, fit, options=None, use_prior=True, leave_out=None) -> tuple[pd.DataFrame, list[str]]:
    """The largest size predicted from the others: by the law, a plain power law, the forecast and the last value.

    Returns a table (way, median_error, largest_error as shares of the measured value, rows), which is empty where too
    few rows remain, and a sentence for each law that cannot be fitted without that size. `fit` None: without a law.
    """
    seen, held = question.hold_out()
    measured, size = held[question.quality].to_numpy(float), next(iter(question.inputs.values()))
    guesses, refused = _by_laws(seen, held, fit, options or {})
    if seen.table[size].nunique() > 1:
        guesses[AVERAGE] = _forecasts(question, seen.table, held, use_prior, leave_out)
        guesses[NAIVE] = _same_as_last(question, seen.table, held)
    rows = []
    for way, guess in guesses.items():
        error = np.abs(guess / measured - 1)[np.isfinite(guess)]
        if len(error):
            rows.append({"way": way, "median_error": np.median(error), "largest_error": error.max(),
                         "rows": len(error)})  # fmt: skip
    return pd.DataFrame(rows, columns=["way", "median_error", "largest_error", "rows"]), refused


def _by_laws(seen, held, fit, options):
    """({way: prediction of each held row [row]} of the law of a Fit and of a plain power law, sentences on those that
    cannot be fitted to the seen rows)."""
    asked = {fit.law.name: replace(seen, law=fit.law)} if fit else {}
    plain = PLAIN.get(len(seen.inputs))
    if fit and plain not in (None, fit.law.name) and fit.law.trend != "rises":
        inputs = dict(zip(find(plain).inputs, seen.inputs.values(), strict=True))
        asked[f"{plain} (a plain power law)"] = replace(seen, law=plain, inputs=inputs)
    guesses, refused = {}, []
    for way, one in asked.items():
        x = {symbol: held[column].to_numpy(float) for symbol, column in one.inputs.items()}
        try:
            guesses[way] = one.fit(**options).curve(x)
        except InputError as error:
            refused.append(f"The largest {next(iter(seen.inputs.values()))} is not predicted by {way}: {error}")
    return guesses, refused


def next_size(question, at=None, use_prior=True, leave_out=None) -> tuple[Forecast, str]:
    """(Forecast of the quality of a model twice as large as the largest, words for its steps).

    Along the first input; a second input is held at its measured value nearest to `at`, of those measured at the most
    sizes (default: the largest of them). Raises InputError where no two sizes were measured alike.
    """
    (symbol, column), *others = question.inputs.items()
    table, words = question.table, ""
    if others:
        other = others[0][1]
        counts = table.groupby(other)[column].nunique()
        values = counts.index[counts == counts.max()].to_numpy(float)
        chosen = values[np.abs(np.log(values / at)).argmin()] if at else values.max()
        table, words = table[table[other] == chosen], f" at {other} = {chosen:g}"
    new = NEXT * table[column].max()
    kind = naive.axis(symbol, column)
    answer = forecast(table, question.quality, column, [new], kind=kind, leave_out=leave_out, use_prior=use_prior,
                      pooled=True)  # fmt: skip
    return answer, words


def _forecasts(question, seen, held, use_prior, leave_out):
    """The forecast of each held row [row] from the seen rows at its other input, NaN where those are too few.

    On the coarse design, a quarter of the time: its medians agree to some thousandths.
    """
    (symbol, column), *others = question.inputs.items()
    kind, guess = naive.axis(symbol, column), pd.Series(np.nan, held.index)
    read = (*question.inputs.values(), question.quality, f"{question.quality}_se", "seed", "sampler", "study")
    seen = seen[[name for name in read if name in seen]]
    for value, part in held.groupby(others[0][1]) if others else [(None, held)]:
        rows = seen if value is None else seen[seen[others[0][1]] == value]
        try:
            one = series_of(rows, question.quality, column, kind, pooled=True)
            answer = of_series(one, part[column].to_numpy(float)[:1], leave_out or one.study, use_prior, fine=False)
        except InputError:
            continue
        guess[part.index] = answer.value[0]
    return guess.to_numpy(float)


def _same_as_last(question, seen, held):
    """The quality of the largest size seen [row], at the same other input; NaN where it was not measured there."""
    size, *others = question.inputs.values()
    last = seen[seen[size] == seen[size].max()]
    known = last.groupby(others[0])[question.quality].mean() if others else last[question.quality].mean()
    return (held[others[0]].map(known) if others else pd.Series(known, index=held.index)).to_numpy(float)


@dataclass(frozen=True)
class HeldOut:
    """One size predicted by the law fitted to the others, beside what was measured.

    table: one row per measurement of that size: model, inputs, measured, value, low, high, inside, error (predicted
    over measured, less one).
    """

    question: Question = field(repr=False)  # of the other sizes
    fit: object = field(repr=False)  # to the other sizes
    table: pd.DataFrame = field(repr=False, compare=False)
    rows: pd.DataFrame = field(repr=False, compare=False)  # the rows held out
    name: str = ""
    level: float = 0.9

    def __repr__(self):
        return f"<HeldOut: {self._sentence()}>"

    def summary(self) -> str:
        """How far off the prediction is, and its rows."""
        return f"{self._sentence()}\n{display.text_table(self.table)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per measurement of the size held out."""
        return self.table

    def _repr_html_(self):
        return display.html_page(self._sentence(), self.table, self.fit.warnings)

    def plot(self, ax=None):
        """The seen sizes, the prediction with its interval and the measured rows; returns the matplotlib Axes."""
        from scalinglaws import plots

        size, *others = self.question.inputs.values()
        curve = self.question.curve(self.fit, self.rows, self.level)
        seen = self.question.table if "model" in self.question.table else self.question.table.assign(
            model=self.question.table[size].astype(str))  # fmt: skip
        return plots.held_out(seen, self.rows, curve, self.question.quality, others[0] if others else size, ax=ax)

    def _sentence(self):
        error, inside = self.table["error"].abs(), self.table["inside"].mean()
        return (f"{self.name} predicted from the others: median error {error.median():.1%}, largest "
                f"{error.max():.1%}; {inside:.0%} of the {len(self.table)} measured rows lie inside the "
                f"{self.level:.0%} interval.")  # fmt: skip


def hold_out(question, size=None, level=0.9, options=None) -> HeldOut:
    """One size (default: the largest) predicted by the law fitted to the others; InputError where there is no other."""
    seen, rows = question.hold_out(size or None)
    if rows.empty or seen.table.empty:
        raise InputError(f"No size {size!r} to hold out, or no other one.")
    fit = seen.fit(**(options or {}))
    column = next(iter(question.inputs.values()))
    first, sized = rows[column].iloc[0], column not in schema.COLUMNS or schema.COLUMNS[column].kind == "size"
    name = str(rows["model"].iloc[0]) if sized and "model" in rows else f"{column} = {first:g}"
    return HeldOut(seen, fit, seen.check(fit, rows, level), rows, name, level)
