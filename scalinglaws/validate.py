"""Laws ranked by what they predict, and averaged: sizes are hidden, every law is refitted without them and scored.

Naive ways to predict stand among the laws (see `naive`); weights are those of `stacking`.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import laws as table_of_laws
from scalinglaws import naive, stacking
from scalinglaws.comparison import Comparison
from scalinglaws.fitting.api import fit, refit, same_delta
from scalinglaws.fitting.diagnostics import calibration
from scalinglaws.fitting.messages import doubts
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.selection import aicc
from scalinglaws.schema import InputError, check, higher_is_better

HIDE = ("largest", "decade")
REPLICATES = 300  # of a fold, enough for a 90 % interval
LEAST = 2  # different values of an input a fold must keep to be fitted
PLAIN = ("power", "power_floor")  # among the candidates whatever laws are named, where there is one input
COLUMNS = ("law", "parameters", "held_out", "hidden", "inside", "weight", "aicc", "objective", "note")


@dataclass(frozen=True)
class Fold:
    """Rows to fit and rows to predict."""

    hidden_from: float  # smallest hidden value of the input
    keep: np.ndarray  # [row] bool
    hide: np.ndarray  # [row] bool


def folds(x: np.ndarray, hide: str = "largest", count: int = 3) -> list[Fold]:
    """The rows to fit and those to predict, for the values x [row] of an input; InputError for another `hide`.

    largest: each of the `count` largest values from all smaller ones; decade: the top decade from the rest.
    """
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
    """Rolling extrapolation of one fit. One row per hidden row: hidden_from, measured, predicted, low, high, error.

    along: the symbol whose largest values are hidden (default: the law's first input). error: ln(predicted/measured),
    or the difference on the raw scale. Raises InputError where no refit is possible.
    """
    symbol = along or one.law.inputs[0]
    if symbol not in one.inputs:
        raise InputError(f"No input {symbol!r} to hide along; the law has {', '.join(one.inputs)}.")
    raw = one.residual_scale == "raw"
    parts = [_predict(one, fold, level, one.table, one.quality, raw)
             for fold in usable(one, folds(one.problem.data.x[symbol], hide, count))]  # fmt: skip
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


def _predict(one, fold: Fold, level: float, rows, quality, raw) -> pd.DataFrame:
    """Hidden rows of a fold beside what a Fit or a naive way says of them from the rows kept."""
    if isinstance(one, Fit):
        again = refit(one, keep=fold.keep)
        again = replace(again, options=replace(again.options, replicates=min(again.count, REPLICATES)))
    else:
        again = one.without(fold.keep)
    interval = again.predict(rows[fold.hide], level)
    measured, predicted = rows[quality].to_numpy(float)[fold.hide], interval["value"].to_numpy()
    error = predicted - measured if raw else np.log(predicted / measured)
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
    table, laws=None, quality="fid", inputs=None, *, along=None, hide="largest", folds=3, level=0.9, use_prior=True,
    leave_out=None, **options,
) -> Comparison:  # fmt: skip
    """Laws ranked on the same hidden rows, best first, and averaged by how well they predict those.

    table: a DataFrame, one measurement a row. laws: names or Laws (default: every law that takes the inputs and
    falls or rises as the quality does); a law may use some of the inputs only. inputs: {symbol: column}. along: the
    symbol whose largest values are hidden (default: the first). hide: largest, each of the `folds` largest values in
    turn from all smaller ones; decade, the top decade. level: of the prediction intervals. options go to fit().

    "same as last", the value of the largest seen, is always a candidate; with one input so are the power laws without
    and with a floor, and "forecast", the average of laws with a learned prior (scalinglaws.forecast), which answers
    from two rows on. use_prior, leave_out: of that forecast; the prior has not seen a bundled study whose rows these
    are.

    Returns a Comparison; its frame has one row per law: law, parameters (count), held_out (root mean square error on
    the hidden rows, log scale: 0.02 is 2 %), hidden (rows), inside (share of them within the interval), weight (in the
    average: stacking, Yao et al. 2018, see `stacking`), aicc (difference to the best), objective, note. Raises
    InputError where no law can be fitted and no forecast be made.

    >>> import pandas as pd
    >>> from scalinglaws import compare
    >>> table = pd.DataFrame({"gflops": [46, 102, 181, 282, 406, 552], "fid": [3.53, 2.56, 2.25, 2.06, 1.96, 1.91]})
    >>> ranking = compare(table, ["power", "power_floor"], "fid", {"N": "gflops"}, folds=2, leave_out="edm2")
    >>> ranking.best
    'power_floor'
    >>> ranking.to_frame()[["law", "parameters", "hidden"]]
                law  parameters  hidden
    0      forecast         NaN       2
    1   power_floor         3.0       2
    2  same as last         0.0       2
    3         power         2.0       2
    >>> bool(1.8 < ranking.predict(pd.DataFrame({"gflops": [800]}))["value"][0] < 1.91)
    True
    """
    if not isinstance(inputs, dict) or not inputs:
        raise InputError("compare needs inputs as a dict {symbol: column}, for example {'N': 'params'}.")
    symbol = along or next(iter(inputs))
    fits, refused = _fit_all(table, _given(laws, inputs, quality), quality, inputs, options)
    rows = fits[0].table if fits else table
    plain = naive.candidates(rows, quality, inputs, symbol, leave_out, use_prior)
    if not fits and naive.FORECAST not in [one.name for one in plain]:
        raise InputError(_why_none(table, inputs, quality, refused))
    shared = _shared_folds(fits, symbol, hide, folds) or _naive_folds(rows, plain, hide, folds)
    best = min(fits, key=lambda one: one.objective, default=None)
    raw = best is not None and best.residual_scale == "raw"
    known = {_name(one): one for one in (*fits, *plain)}
    hidden = {name: _hidden_rows(one, shared, level, rows, quality, raw) for name, one in known.items()}
    predictions = pd.concat(
        [part for part in hidden.values() if len(part)] or [*hidden.values()][:1], ignore_index=True
    )
    logarithmic = not raw and bool((rows[quality] > 0).all())
    ranked = _ranked(known, hidden, refused, best)
    ranked["weight"] = ranked["law"].map(_weights(predictions, level, logarithmic, known)).astype(float)
    return Comparison(ranked, quality, inputs.get(symbol, symbol), level, predictions, known, logarithmic)


def _given(laws, inputs, quality):
    """The laws to compare: those named with the plain power laws, or all that take the inputs."""
    usual = candidates(inputs, higher_is_better(quality))
    given = usual if laws is None else [*laws, *(name for name in PLAIN if name in usual and name not in laws)]
    if not given:
        raise InputError(f"No law takes the inputs {', '.join(inputs)}. Name some: laws=['power_floor', ...].")
    return given


def _why_none(table, inputs, quality, refused):
    """A fault of the table, else why the first law was refused."""
    faults = check(table, [*inputs.values(), quality]) if isinstance(table, pd.DataFrame) else ()
    name, why = next(iter(refused.items()))
    return faults[0] if faults else f"None of the laws can be fitted; {name}: {why}"


def _name(one):
    """What a Fit or a naive way is called in the ranking."""
    return one.law.name if isinstance(one, Fit) else one.name


def _hidden_rows(one, shared, level, rows, quality, raw):
    """The rows of _predict on every shared fold, of a Fit or a naive way, with its name as `law`; none of a law that
    cannot be refitted on each of them."""
    if shared and (not isinstance(one, Fit) or len(usable(one, shared)) == len(shared)):
        predicted = pd.concat([_predict(one, fold, level, rows, quality, raw) for fold in shared])
    else:
        predicted = pd.DataFrame(columns=["hidden_from", "measured", "predicted", "low", "high", "error"])
    return predicted.assign(law=_name(one))


def _ranked(known, hidden, refused, best):
    """The columns of compare() but the weight, one row per law, best first. best: the Fit whose noise aicc takes."""
    factor = calibration(best.problem, best.minima.theta[0]) if best else None
    scored = [_about(one, factor) | _score(hidden[name]) for name, one in known.items()]
    scored += [{"law": name, "note": note} for name, note in refused.items()]
    ranked = pd.DataFrame(scored, columns=list(COLUMNS)).sort_values(
        ["held_out", "aicc"], kind="stable", na_position="last", ignore_index=True)  # fmt: skip
    return ranked.assign(aicc=ranked["aicc"] - ranked["aicc"].min())


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
    return same_delta(fits) if fits else [], refused


def _shared_folds(fits, symbol, hide, count):
    """The folds that most laws can be refitted on: larger laws that cannot are not ranked, the others not punished."""
    best = []
    for one in sorted(fits, key=lambda f: len(f.law.params)):
        if symbol in one.problem.data.x:
            own = usable(one, folds(one.problem.data.x[symbol], hide, count))
            best = own if not best else [f for f in best if any(o.hidden_from == f.hidden_from for o in own)] or best
    return best


def _naive_folds(rows, plain, hide, count):
    """Folds where no law can be refitted on any: those that leave the naive ways two different values."""
    if not plain:
        return []
    x = rows[plain[0].inputs[plain[0].along]].to_numpy(float)
    return [fold for fold in folds(x, hide, count) if len(np.unique(x[fold.keep])) >= LEAST]


def _weights(predictions, level, logarithmic, known) -> dict:
    """{law: weight} by the hidden rows; the forecast alone where nothing could be hidden.

    Before any hidden row the forecast, which averages laws itself, has half of the weight, the others equal shares.
    """
    if not len(predictions):
        return {name: 1.0 for name in known if name == naive.FORECAST}
    scale = np.log if logarithmic else np.asarray
    logs = {}
    for law, part in predictions.groupby("law", sort=False):
        with np.errstate(all="ignore"):
            found = stacking.halves(*(scale(part[c].to_numpy(float)) for c in ("predicted", "low", "high")), level)
        logs[law] = found.log_density(scale(part["measured"].to_numpy(float)))
    before = np.array([1.0 if law != naive.FORECAST else max(len(logs) - 1, 1) for law in logs])
    shares = stacking.weights(np.column_stack(list(logs.values())), before / before.sum())
    return dict(zip(logs, shares, strict=True))


def _about(one, factor) -> dict:
    """The columns of compare() that do not depend on hidden rows."""
    if not isinstance(one, Fit):
        return {"law": one.name, "parameters": one.parameters, "note": ""}
    return {"law": one.law.name, "parameters": len(one.law.params), "aicc": aicc(one, factor),
            "objective": one.objective, "note": next(doubts(one), "")}  # fmt: skip


def _score(predicted: pd.DataFrame) -> dict:
    """The columns of compare() that do."""
    if not len(predicted):
        return {"note": "not ranked: too few rows remain when the largest values are hidden"}
    inside = (predicted["low"] <= predicted["measured"]) & (predicted["measured"] <= predicted["high"])
    return {"held_out": float(np.sqrt(np.mean(predicted["error"] ** 2))), "hidden": len(predicted),
            "inside": float(inside.mean())}  # fmt: skip
