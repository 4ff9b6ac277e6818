"""A fit in sentences: every reason not to trust it, and its summary."""

import numpy as np
import pandas as pd

from scalinglaws.fitting.diagnostics import cluster_effects, patterns, uneven
from scalinglaws.fitting.levels import names_models
from scalinglaws.fitting.settings import DIAGNOSTICS
from scalinglaws.schema import higher_is_better


def doubts(fit):
    """Sentences, one a reason for doubt, most serious first."""
    yield from _no_law(fit)
    yield from fit.problem.data.warnings
    yield from _parameters(fit)
    yield from _few_values(fit)
    yield from _outliers(fit)
    yield from _residuals(fit)
    turns = list(_turns(fit))
    yield from turns
    if not turns:  # residuals where a law cannot follow the rows are no noise
        yield from _uneven(fit)


def _named(fit, symbols) -> str:
    """Such as "N (params) and S (steps)"."""
    return " and ".join(f"{s} ({fit.inputs[s]})" for s in symbols)


def _no_law(fit):
    """The law goes the wrong way, or a constant does as well.

    Evidence for a constant needs rows: a p-value of 0.3, or of 0.95, from one degree of freedom says nothing.
    """
    if higher_is_better(fit.quality) and fit.law.trend == "falls":
        yield (f"Higher {fit.quality!r} is better, but {fit.law.name!r} only falls: with one input fit 'ceiling' or "
               "'sigmoid'; with several, fit a distance or an error.")  # fmt: skip
    p, spare = fit.trust.against_constant, fit.rows - 1 - len(fit.law.measures)
    if p <= DIAGNOSTICS.constant:
        return
    inputs = ", ".join(f"{symbol} ({column})" for symbol, column in fit.inputs.items())
    if spare < DIAGNOSTICS.enough and fit.law.trend != "turns" and set(fit.trust.inactive) == set(fit.law.measures):
        turn = {"falls": "fall", "rises": "rise"}[fit.law.trend]
        yield (f"No law: {fit.quality!r} does not {turn} with {inputs} in these {fit.rows} rows, so the best curve is "
               "flat; do not extrapolate from this.")  # fmt: skip
    elif spare >= DIAGNOSTICS.enough:
        yield (f"No law: a constant explains {fit.quality!r} as well as a curve in {inputs} does (p = {p:.2g}); "
               "do not extrapolate from this.")  # fmt: skip
    else:
        yield (f"Too few rows to tell a curve in {inputs} from a constant (p = {p:.2g} with {fit.rows} rows): this is "
               "evidence neither for this law nor against it; collect more before extrapolating.")  # fmt: skip


def _parameters(fit):
    """What is wrong with single parameters: minima, bounds, the floor, inputs without effect, conditioning."""
    trust = fit.trust
    if not trust.converged:
        yield ("The solver did not converge, as in a flat valley: the parameters may not be the best ones; trust "
               "the curve within the data, or try more starts.")  # fmt: skip
    if trust.gap is not None and trust.gap < DIAGNOSTICS.gap:
        yield (f"A different set of parameters fits almost as well (objective only {trust.gap:.2%} higher): "
               "trust the curve within the data, not the single parameters.")  # fmt: skip
    for name in trust.on_bound:
        if name != fit.law.floor:
            yield f"Parameter {name} is on its bound ({fit.values[name]:.4g}): the data do not determine it."
    if trust.floor_identified is False:
        name, value = fit.law.floor, fit.values[fit.law.floor]
        low, high = fit.interval(0.9).loc[name, ["low", "high"]] if value > 0 else (0.0, 0.0)
        if low > DIAGNOSTICS.zero * value:
            yield (f"A law without a floor fits as well, so the rows do not establish the floor {name} = {value:.4g}. "
                   f"Its interval ({low:.4g} to {high:.4g}) takes for granted that there is one; values far beyond "
                   "the data depend on that: collect larger sizes or more steps.")  # fmt: skip
        else:
            yield (f"The floor {name} = {value:.4g} is not identified: a law without it fits as well, so values far "
                   "beyond the data are guesses; collect larger sizes or more steps.")  # fmt: skip
    for symbol in trust.inactive:
        yield (f"Quality {fit.quality!r} does not improve with {symbol} ({fit.inputs[symbol]}): no law in {symbol} "
               "is supported by these rows.")  # fmt: skip
    if trust.condition > DIAGNOSTICS.condition:
        yield (f"Parameters trade against each other (condition of the Jacobian {trust.condition:.1e}): "
               "read predictions, not single parameters.")  # fmt: skip


def _few_values(fit):
    """Too few different inputs to test the law, or to measure the noise."""
    data = fit.problem.data
    for symbol in fit.law.measures:
        different = len(np.unique(data.x[symbol]))
        if different < DIAGNOSTICS.few_values:
            yield (f"Only {different} different values of {symbol} ({fit.inputs[symbol]}): extrapolation in {symbol} "
                   "depends on the law being right, which so few values hardly test.")  # fmt: skip
    if data.clusters - len(fit.law.params) < DIAGNOSTICS.few_spare:
        leans = ", and intervals of predictions lean on that of other studies" if fit.residual_scale == "log" else ""
        yield (f"{data.clusters} configurations ({_configuration(fit)}) for {len(fit.law.params)} parameters: the "
               f"residuals hardly measure the noise{leans}.")  # fmt: skip


def _configuration(fit) -> str:
    """What one configuration is: a combination of inputs, or what the user or the data made one."""
    if fit.options.cluster:
        names = [fit.options.cluster] if isinstance(fit.options.cluster, str) else fit.options.cluster
        return f"different values of {' and '.join(names)}"
    if fit.problem.data.cluster_effect:
        return f"different values of {_named(fit, fit.problem.data.cluster_effect[:1])}"
    kind = "values" if len(fit.inputs) == 1 else "combinations"
    return f"different {kind} of {_named(fit, fit.inputs)}"


def _outliers(fit):
    """Single rows far from the law, such as those of a run that diverged; the worst is named by its inputs.

    Of simulated tables without such a row (6 sizes by 7 step counts, or 5 to 20 sizes; noise of 1 to 10 %) 0 of 1,032
    have one named. One row times 2 is named in all of 24 grids of 1 or 3 % noise and 2 of 12 of 8 %, times 4 in 11 of
    12 of those; of nine sizes in 75, 20 and 5 % at noises of 1, 5 and 10 %, of eight in 30, 15 and 0 %, of six never.
    """
    if fit.residual_scale != "log":
        return
    d, residual = DIAGNOSTICS, np.log(fit.problem.data.y) - np.log(fit.curve(fit.problem.data.x))
    beyond = (np.abs(fit.residuals) > d.far_noise * fit.noise) & (np.abs(residual) > d.far_least)
    far = np.flatnonzero(beyond)
    if not 0 < len(far) <= max(1, d.far_share * fit.rows):
        return
    worst = far[np.abs(residual[far]).argmax()]
    place = ", ".join(f"{fit.inputs[s]} = {fit.problem.data.x[s][worst]:.4g}" for s in fit.law.measures)
    rows = "A row lies" if len(far) == 1 else f"{len(far)} rows lie"
    yield (f"{rows} far from the law, at {place} by a factor of {np.exp(abs(residual[worst])):.3g} "
           f"({fit.quality} = {fit.problem.data.y[worst]:.4g}): if a run diverged or a number is mistyped, leave it "
           "out; it widens the intervals and moves the errors of models and cells.")  # fmt: skip


def _residuals(fit):
    """Patterns that the law misses, and errors that rows share."""
    missed = patterns(fit.problem, fit.minima.theta[0]) if fit.law.trend != "turns" else {}
    for name, p in missed.items():
        if p < DIAGNOSTICS.pattern:
            yield (f"Lack of fit: the residuals follow a pattern ({name}, p = {p:.1g}), so the law misses something "
                   f"systematic; robust residual sd {fit.noise:.3g}.")  # fmt: skip
    for symbol, p in cluster_effects(fit.problem, fit.minima.theta[0]).items():
        drawn = fit.bootstrap == "levels" and names_models(fit, symbol)  # an error of each model is drawn
        if p < DIAGNOSTICS.pattern and not drawn:
            yield (f"Rows with the same {symbol} share an error (p = {p:.1g}): the intervals are too narrow; "
                   f"resample them together with cluster={fit.inputs[symbol]!r}.")  # fmt: skip


def _uneven(fit):
    """Noise that grows or falls along an input, which the intervals take to be even."""
    p, ratios = uneven(fit.problem, fit.minima.theta[0])
    symbol = max(ratios, key=lambda s: abs(np.log(ratios[s])), default=None)
    ratio = ratios.get(symbol, 1.0)
    if p >= DIAGNOSTICS.pattern or 1 / DIAGNOSTICS.uneven < ratio < DIAGNOSTICS.uneven:
        return
    end, other = ("largest", "smallest") if ratio > 1 else ("smallest", "largest")
    times = ratio if ratio > 1 else 1 / ratio
    say = "more than 10" if times > 10 else f"about {times:.0f}"
    yield (f"The noise is uneven: at the {end} {_named(fit, [symbol])} {say} times that at the {other} (p = {p:.1g}). "
           f"The intervals take it to be even and are too narrow there: name a column of standard errors of "
           f"{fit.quality} (se=, --se).")  # fmt: skip


def cluster_note(fit) -> str:
    """Says that the data made rows with one value of an input a configuration."""
    symbol, p = fit.problem.data.cluster_effect
    way = "each trained model has one of its own in every replicate" if fit.bootstrap == "levels" else (
        "they are resampled together")  # fmt: skip
    return (f"Rows with the same {_named(fit, [symbol])} share an error (p = {p:.1g}): {way}, "
            "which widens the intervals.")  # fmt: skip


def _turns(fit):
    """Quality that rises at the end of an input, other inputs fixed, where the fitted curve does not."""
    if fit.law.trend != "falls":
        return
    x = fit.problem.data.x
    with np.errstate(all="ignore"):
        frame = pd.DataFrame({**x, "_y": np.log(fit.problem.data.y), "_f": np.log(fit.curve(x))})
    frame = frame.groupby(list(x), as_index=False)[["_y", "_f"]].mean()
    for symbol in fit.law.measures:
        rest = [s for s in x if s != symbol]
        if rest:  # short groups go first: a million different rows are a million groups
            long = frame[frame.groupby(rest)["_y"].transform("size") >= DIAGNOSTICS.turn_points]
            curves = [curve.sort_values(symbol) for _, curve in long.groupby(rest)]
        else:
            curves = [frame] if len(frame) >= DIAGNOSTICS.turn_points else []
        up = [c for c in curves if _rises(c["_y"].to_numpy(), fit.noise) and not _rises(c["_f"].to_numpy(), fit.noise)]
        if not up or len(up) < DIAGNOSTICS.turn_share * len(curves):
            continue
        worst = np.expm1(max(c["_y"].iloc[-1] - c["_y"].min() for c in up))
        falls_first = [c for c in up if _rises(c["_y"].to_numpy()[::-1], fit.noise)]
        only_rise, by = len(up) - len(falls_first), f"of {len(curves)} curves (by up to {worst:.0%})"
        if falls_first:
            start = np.median([c[symbol].iloc[int(c["_y"].argmin())] for c in falls_first])
            yield (f"Quality turns up again beyond {fit.inputs[symbol]} of about {start:.4g} in {len(falls_first)} "
                   f"{by}; this law only falls: fit the falling part or a law with a turn.")  # fmt: skip
        if only_rise:
            yield (f"Quality rises with {fit.inputs[symbol]} in {only_rise} {by}, but this law only falls and cannot "
                   "follow.")  # fmt: skip


def _rises(y, noise) -> bool:
    """Whether ln quality [row], in order of the input, ends above its minimum: by three noises, or twice in a row."""
    d, rise = DIAGNOSTICS, y[-1] - y.min()
    return rise > max(d.turn_noise * noise, d.turn_least) or (rise > d.turn_twice and bool((np.diff(y)[-2:] > 0).all()))


def headline(fit) -> str:
    """The law's name, and its equation with the quality's name."""
    return f"{fit.law.name}: {fit.quality} = {fit.law.equation}"


def details(fit, level=0.9) -> list[str]:
    """Source, inputs, how the fit was done, the state of its starts, and what the intervals of this level are from."""
    options, trust = fit.options, fit.trust
    return [
        f"source: {fit.law.source}",
        "inputs: " + ", ".join(f"{symbol} = {column}" for symbol, column in fit.inputs.items()),
        f"rows {fit.rows}, {options.loss} on {options.residuals} residuals, delta {fit.delta:.4g}, "
        f"objective {fit.objective:.8g}, noise {fit.noise:.4g}",
        f"{trust.agreed} of {trust.starts} starts agree; condition {trust.condition:.3g}; "
        f"{100 * level:g} % intervals from {fit.count} {fit.bootstrap} replicates",
        *([fit.levels.summary()] if fit.levels else []),
    ]


def summary(fit, level=0.9) -> str:
    """The fit in plain text: law, parameters with intervals, noise, trust, notes and warnings."""
    source, inputs, *how = details(fit, level)
    table = fit.interval(level).to_string(float_format=lambda v: f"{v:.6g}")
    doubtful = [f"warning: {sentence}" for sentence in fit.warnings]
    notes = [f"note: {note}" for note in fit.notes]
    return "\n".join([headline(fit), source, inputs, table, *how, *notes, *doubtful])
