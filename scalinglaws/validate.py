"""Laws ranked by what they predict: sizes are hidden, every law is refitted without them and scored on them."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import laws as table_of_laws
from scalinglaws.fitting.choice import aicc
from scalinglaws.fitting.door import fit, refit, same_delta
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.trust import calibration
from scalinglaws.schema import InputError

HIDE = ("largest", "decade")
REPLICATES = 300  # of a fold, enough for a 90 % interval
LEAST = 2  # different values of an input a fold must keep to be fitted


@dataclass(frozen=True)
class Fold:
    """Rows to fit and rows to predict."""

    hidden_from: float  # smallest hidden value of the input
    keep: np.ndarray  # [row] bool
    hide: np.ndarray  # [row] bool


def folds(x: np.ndarray, hide: str = "largest", count: int = 3) -> list[Fold]:
    """largest: each of the count largest values from all smaller ones; decade: the top decade from the rest."""
    if hide not in HIDE:
        raise InputError(f"No way to hide named {hide!r}. Known: {', '.join(HIDE)}.")
    if hide == "decade":
        edge = x.max() / 10
        return [Fold(float(x[x > edge].min()), x <= edge, x > edge)]
    values = np.unique(x)
    return [Fold(float(v), x < v, x == v) for v in values[max(LEAST, len(values) - count) :]]


def extrapolate(found: Fit, along: str | None = None, hide: str = "largest", count: int = 3, level: float = 0.9):
    """Rolling extrapolation of one fit. One row a hidden row: hidden_from, measured, predicted, low, high, error.

    along: the symbol whose largest values are hidden (default: the law's first input). error: ln(predicted/measured),
    or the difference on the raw scale.
    """
    symbol = along or found.law.inputs[0]
    if symbol not in found.inputs:
        raise InputError(f"No input {symbol!r} to hide along; the law has {', '.join(found.inputs)}.")
    parts = [_predict(found, fold, level) for fold in usable(found, folds(found.setup.rows.x[symbol], hide, count))]
    if not parts:
        raise InputError(
            f"Law {found.law.name!r} cannot be refitted with the largest {found.inputs[symbol]} hidden: "
            f"{len(found.law.params)} parameters need more rows or sizes. Collect more or choose a smaller law."
        )
    return pd.concat(parts, ignore_index=True)


def usable(found: Fit, parts: list[Fold]) -> list[Fold]:
    """Folds that keep enough rows and values for the law."""
    x = found.setup.rows.x
    return [
        fold for fold in parts
        if fold.keep.sum() > len(found.law.params) and all(len(np.unique(v[fold.keep])) >= LEAST for v in x.values())
        and np.ptp(found.setup.rows.y[fold.keep]) > 0
    ]  # fmt: skip


def _predict(found: Fit, fold: Fold, level: float) -> pd.DataFrame:
    hidden = found.setup.rows.table[fold.hide]
    again = refit(found, keep=fold.keep)
    told = replace(again, count=min(again.count, REPLICATES)).predict(hidden, level)
    measured = found.setup.rows.y[fold.hide]
    predicted = told["value"].to_numpy()
    error = predicted - measured if found.residual_scale == "raw" else np.log(predicted / measured)
    return pd.DataFrame({
        "hidden_from": fold.hidden_from, "measured": measured, "predicted": predicted, "low": told["low"].to_numpy(),
        "high": told["high"].to_numpy(), "error": error,
    })  # fmt: skip


def candidates(inputs: dict, rises: bool = False) -> list[str]:
    """Names of the laws that take exactly these symbols; a one-input law takes any symbol."""
    wanted = "rises" if rises else "falls"
    found = []
    for name, law in table_of_laws.LAWS.items():
        one = len(law.inputs) == 1 == len(inputs) and (law.inputs == ("x",) or law.inputs[0] in inputs)
        if (one or set(law.inputs) == set(inputs)) and law.trend in (wanted, "turns"):
            found.append(name)
    return found


def compare(table, laws=None, quality="fid", inputs=None, *, along=None, hide="largest", folds=3, level=0.9, **options):
    """Laws ranked on the same hidden rows, best first.

    laws: names or Laws (default: every law that takes the inputs); a law may use some of the inputs only. options go
    to fit(). Columns: law, parameters, held_out (root mean square error on the hidden rows, log scale: 0.02 is 2 %),
    hidden (rows), inside (share of them within the level interval), aicc (difference to the best), objective, note.
    """
    if not isinstance(inputs, dict) or not inputs:
        raise InputError("compare needs inputs as a dict {symbol: column}, for example {'N': 'params'}.")
    given = candidates(inputs) if laws is None else list(laws)
    if not given:
        raise InputError(f"No law takes the inputs {', '.join(inputs)}. Name some: laws=['power_floor', ...].")
    fits, refused = _fit_all(table, given, quality, inputs, options)
    symbol = along or next(iter(inputs))
    shared = _shared_folds(fits, symbol, hide, folds)
    best = min(fits, key=lambda found: found.objective)
    factor = calibration(best.setup, best.minima.theta[0])
    rows = [_score(found, shared, level, factor) for found in fits]
    rows += [{"law": name, "note": note} for name, note in refused.items()]
    ranked = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
        ["held_out", "aicc"], kind="stable", na_position="last", ignore_index=True)  # fmt: skip
    ranked["aicc"] = ranked["aicc"] - ranked["aicc"].min()
    return ranked


COLUMNS = ("law", "parameters", "held_out", "hidden", "inside", "aicc", "objective", "note")


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
    """The folds that most laws can be refitted on: larger laws that cannot are told so, not the others punished."""
    best = []
    for found in sorted(fits, key=lambda f: len(f.law.params)):
        if symbol in found.setup.rows.x:
            own = usable(found, folds(found.setup.rows.x[symbol], hide, count))
            best = own if not best else [f for f in best if any(o.hidden_from == f.hidden_from for o in own)] or best
    return best


def _score(found: Fit, shared: list[Fold], level: float, factor: float) -> dict:
    """One row of compare()."""
    row = {"law": found.law.name, "parameters": len(found.law.params), "aicc": aicc(found, factor),
           "objective": found.objective, "note": found.warnings[0] if found.warnings else ""}  # fmt: skip
    if not shared or len(usable(found, shared)) < len(shared):
        return row | {"note": "not ranked: too few rows remain when the largest values are hidden"}
    told = pd.concat([_predict(found, fold, level) for fold in shared])
    inside = (told["low"] <= told["measured"]) & (told["measured"] <= told["high"])
    return row | {"held_out": float(np.sqrt(np.mean(told["error"] ** 2))), "hidden": len(told),
                  "inside": float(inside.mean())}  # fmt: skip
