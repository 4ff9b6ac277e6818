"""A fit in sentences and tables: doubts, summary, predictions."""

import numpy as np
import pandas as pd

from scalinglaws.fitting import resample
from scalinglaws.fitting.trust import PATTERN, pattern, together
from scalinglaws.schema import InputError, higher_is_better

ILL = 1e4  # condition of the Jacobian from which parameters trade against each other
HUGE = 1e300  # stands for a replicate that runs away
FEW_SIZES = 8  # different values of an input below which intervals are doubtful


def doubts(fit) -> list[str]:
    """Every reason not to trust the fit, one sentence each."""
    makers = (_wrong_way, _no_law, _notes, _basins, _bounds, _floor, _no_effect, _conditioning, _few, _patterns,
              _together, _turn)  # fmt: skip
    return [sentence for make in makers for sentence in make(fit)]


def _wrong_way(fit):
    if higher_is_better(fit.quality) and fit.law.trend == "falls":
        yield (f"Higher {fit.quality!r} is better, but {fit.law.name!r} only falls: with one input fit 'ceiling' or "
               "'sigmoid'; with several, fit a distance or an error.")  # fmt: skip


def _no_law(fit):
    p = fit.trust.against_constant
    if p > 0.05:
        names = ", ".join(f"{symbol} ({column})" for symbol, column in fit.inputs.items())
        yield (f"No law: a constant explains {fit.quality!r} as well as a curve in {names} does (p = {p:.2g}); "
               "do not extrapolate from this.")  # fmt: skip


def _notes(fit):
    return list(fit.setup.rows.notes)


def _basins(fit):
    trust = fit.trust
    if not trust.settled:
        yield ("The solver did not come to rest, as in a flat valley: the parameters may not be the best ones; trust "
               "the curve within the data, or try more starts.")  # fmt: skip
    if trust.gap is not None and trust.gap < 0.01:
        yield (f"A different set of parameters fits almost as well (objective only {trust.gap:.2%} higher): "
               "trust the curve within the data, not the single parameters.")  # fmt: skip


def _bounds(fit):
    for name in fit.trust.on_bound:
        if name != fit.law.floor:
            yield f"Parameter {name} is on its bound ({fit.values[name]:.4g}): the data do not determine it."


def _floor(fit):
    if fit.trust.floor_identified is False:
        yield (f"The floor {fit.law.floor} = {fit.values[fit.law.floor]:.4g} is not identified: a law without it fits "
               "as well, so values far beyond the data are guesses; collect larger sizes or more steps.")  # fmt: skip


def _no_effect(fit):
    for symbol in fit.trust.silent:
        yield (f"Quality {fit.quality!r} does not improve with {symbol} ({fit.inputs[symbol]}): no law in {symbol} "
               "is supported by these rows.")  # fmt: skip


def _conditioning(fit):
    if fit.trust.condition > ILL:
        yield (f"Parameters trade against each other (condition of the Jacobian {fit.trust.condition:.1e}): "
               "read predictions, not single parameters.")  # fmt: skip


def _few(fit):
    for symbol in fit.law.measures:
        column = fit.inputs[symbol]
        different = len(np.unique(fit.setup.rows.x[symbol]))
        if different < FEW_SIZES:
            yield (f"Only {different} different values of {symbol} ({column}): intervals are wide and, for "
                   f"extrapolation in {symbol}, depend on the law being right.")  # fmt: skip
    spare = len(np.unique(fit.setup.rows.cluster)) - len(fit.law.params)
    if spare < 3:
        yield (f"Only {max(spare, 0)} configurations more than parameters: the residuals hardly measure the noise.")


def _patterns(fit):
    if fit.law.trend == "turns":
        return
    for name, p in pattern(fit.setup, fit.minima.theta[0]).items():
        if p < PATTERN:
            yield (f"Lack of fit: the residuals follow a pattern ({name}, p = {p:.1g}), so the law misses something "
                   f"systematic; robust residual sd {fit.noise:.3g}.")  # fmt: skip


def _together(fit):
    for symbol, p in together(fit.setup, fit.minima.theta[0]).items():
        if p < PATTERN:
            yield (f"Rows with the same {symbol} err together (p = {p:.1g}): the intervals are too narrow; "
                   f"resample them together with cluster={fit.inputs[symbol]!r}.")  # fmt: skip


def _turn(fit):
    """Quality that rises again at the end of an input, other inputs fixed, where the fitted curve does not."""
    if fit.law.trend != "falls":
        return
    x, y = fit.setup.rows.x, fit.setup.rows.y
    with np.errstate(all="ignore"):
        fitted = np.log(fit.curve(x))
    frame = pd.DataFrame({**x, "_y": np.log(y), "_f": fitted}).groupby(list(x), as_index=False)[["_y", "_f"]].mean()
    for symbol in fit.law.measures:
        column = fit.inputs[symbol]
        rest = [s for s in x if s != symbol]
        long = frame[frame.groupby(rest)["_y"].transform("size") >= 4] if rest else frame
        groups = [g.sort_values(symbol) for _, g in long.groupby(rest)] if rest else [frame.sort_values(symbol)]
        groups = [g for g in groups if len(g) >= 4]
        up = [g for g in groups if _rises(g["_y"].to_numpy(), fit.noise) and not _rises(g["_f"].to_numpy(), fit.noise)]
        if up and len(up) >= 0.3 * len(groups):
            start = np.median([g[symbol].iloc[int(g["_y"].argmin())] for g in up])
            worst = np.expm1(max(g["_y"].iloc[-1] - g["_y"].min() for g in up))
            where = f"beyond {column} of about {start:.4g} in {len(up)} of {len(groups)} curves"
            yield (f"Quality turns up again {where} (by up to {worst:.0%}); "
                   "this law only falls: fit the falling part or a law with a turn.")  # fmt: skip


def _rises(y, noise) -> bool:
    """Whether ln quality [row], in order of the input, ends above its minimum: by three noises, or twice in a row."""
    rise = y[-1] - y.min()
    return rise > max(3 * noise, 0.01) or (rise > 0.03 and bool((np.diff(y)[-2:] > 0).all()))


def predict(fit, table, level: float, mean: bool) -> pd.DataFrame:
    """value, low, high, decades_beyond for each row of table; see Fit.predict."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1; got {level!r}.")
    x = {symbol: _new_input(fit, table, symbol, column) for symbol, column in fit.inputs.items()}
    value, draws = fit.curve(x), fit.curve(x, fit.replicates)
    if not mean:
        draws = _with_noise(fit, draws)
    draws = np.nan_to_num(draws, nan=HUGE, posinf=HUGE, neginf=-HUGE)
    draws = np.clip(draws, -HUGE, HUGE)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    out = pd.DataFrame({"value": value, "low": np.minimum(low, value), "high": np.maximum(high, value)})
    out["decades_beyond"] = np.max([_beyond(fit.setup.rows.x[s], x[s]) for s in fit.law.measures], axis=0)
    return out.set_axis(table.index)


def _with_noise(fit, draws):
    """draws [replicate, row] times exp(noise), or plus noise on the raw scale; Student-distributed."""
    rng = np.random.default_rng([fit.seed, 104729])
    spare = max(fit.rows - len(fit.law.params), 1)
    scale = resample.student_scale(resample.degrees_of_freedom(fit.setup, len(fit.law.params)), len(draws), rng)[
        :, None
    ]
    pool = fit.residuals * np.sqrt(fit.rows / spare)
    size = max(fit.noise, float(np.sqrt(np.mean(pool**2)))) if fit.rows < 50 else None
    noise = rng.standard_normal(draws.shape) * size if size is not None else (
        rng.choice(pool, draws.shape) * rng.choice([-1.0, 1.0], draws.shape))  # fmt: skip
    if fit.residual_scale == "raw":
        return draws + scale * noise
    offset = fit.setup.problem.loss.offset
    return (draws + offset) * np.exp(scale * noise) - offset


def _new_input(fit, table, symbol, column):
    if not isinstance(table, pd.DataFrame) or (column not in table.columns and symbol not in table.columns):
        have = ", ".join(map(str, getattr(table, "columns", []))) or "no columns"
        raise InputError(f"A prediction of {fit.law.name!r} needs the column {column!r}; the table has {have}.")
    name = column if column in table.columns else symbol
    if symbol not in fit.law.measures:
        return fit.law.numbers(symbol, table[name].astype(str))
    x = pd.to_numeric(table[name], errors="coerce").to_numpy(float, na_value=np.nan)
    if not (np.isfinite(x) & ((x > 0) | fit.law.signed)).all():
        raise InputError(f"Column {name!r} must hold numbers that are finite and above zero to predict from.")
    return x


def _beyond(fitted, new):
    """Decades outside the fitted range [row]; 0 inside. Ranges instead of decades where inputs may be negative."""
    if fitted.min() <= 0 or new.min() <= 0:
        return np.maximum(np.maximum(new - fitted.max(), fitted.min() - new), 0.0) / np.ptp(fitted)
    return np.maximum(np.maximum(np.log10(new / fitted.max()), np.log10(fitted.min() / new)), 0.0)


def summary(fit) -> str:
    """The fit in plain text: law, parameters with intervals, noise, trust, notes and warnings."""
    head = [f"{fit.law.name}: {fit.quality} = {fit.law.equation}", f"source: {fit.law.source}"]
    head.append("inputs: " + ", ".join(f"{symbol} = {column}" for symbol, column in fit.inputs.items()))
    table = fit.interval(0.9).to_string(float_format=lambda v: f"{v:.6g}")
    tail = [f"rows {fit.rows}, {fit.loss} on {fit.residual_scale} residuals, delta {fit.delta:.4g}, "
            f"objective {fit.objective:.8g}, noise {fit.noise:.4g}",
            f"{fit.trust.agreed} of {fit.trust.starts} starts agree; condition {fit.trust.condition:.3g}; "
            f"90 % intervals from {fit.count} {fit.bootstrap} replicates"]  # fmt: skip
    doubtful = [f"warning: {sentence}" for sentence in fit.warnings]
    return "\n".join([*head, table, *tail, *(f"note: {note}" for note in fit.notes), *doubtful])
