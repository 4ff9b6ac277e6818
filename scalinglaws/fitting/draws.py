"""Draws of the quality at new inputs: of the curve, of a model that is owned, of a model trained anew.

A draw is one bootstrap replicate of the law, one pair of errors (model_sd, cell_sd) of the posterior of `levels`, the
own error of every trained model given its rows and that replicate, and the error of a cell.
"""

import zlib
from itertools import chain

import numpy as np
import pandas as pd

from scalinglaws.fitting import bootstrap, levels
from scalinglaws.fitting.settings import BOOTSTRAP
from scalinglaws.schema import InputError

LEVELS = "levels"  # the bootstrap that draws the errors of both levels
SMALL = 50  # rows below which new noise is normal; from there on the residuals themselves are drawn
EXACT = 0.5  # of the posterior's noise: residuals below it do not measure the noise


def levels_of(fit) -> levels.Levels | None:
    """The errors by which a fit's noise is drawn; None where the residuals alone do it.

    By levels are fits on the log scale, and others whose residuals are those of a near-exact fit.
    """
    try:
        found = levels.of_fit(fit)
    except InputError:
        return None
    return found if fit.residual_scale == "log" or _near_exact(fit, found) else None


def by_levels(fit) -> bool:
    """Whether replicates draw an error for each trained model and one for each cell: auto, on the log scale, where
    several models hold two rows or more each on average.

    Rows of a model share its error, and a handful of models cannot be resampled (benchmarks/coverage.py --models).
    """
    options, effect = fit.options, fit.problem.data.cluster_effect
    if options.bootstrap == LEVELS:
        return True
    if options.bootstrap != "auto" or options.cluster is not None or options.asymmetry != 1:
        return False
    if fit.residual_scale != "log" or (effect and not levels.names_models(fit, effect[0])):
        return False
    return 1 < len(fit.trained_models[1]) <= fit.rows / 2 and fit.levels is not None


def replicates(fits: list, count: int, seed: int, methods) -> list[np.ndarray]:
    """Natural parameters [count, P] of bootstrap refits of each fit of one law, from one seed, in common batches.

    methods: of each fit one of wild, pair, residual, levels, or auto. Raises InputError for a count below 1, and for
    levels where a fit has none.
    """
    if count < 1:
        raise InputError(f"replicates must be at least 1; got {count}.")
    problems = [fit.problem for fit in fits]
    parts = (_resamples(place, fit, count, seed, method)
             for place, (fit, method) in enumerate(zip(fits, methods, strict=True)))  # fmt: skip
    found = bootstrap.refitted(problems, chain.from_iterable(parts))
    with np.errstate(all="ignore"):  # a replicate may run away
        return [one.coordinates.natural(theta) for one, theta in zip(problems, found, strict=True)]


def curve_replicates(fit) -> np.ndarray:
    """Natural parameters [replicate, P] for the curve's own interval: the bootstrap's replicates.

    Residuals of a near-exact fit do not measure the noise, so replicates drawn from them would have no width: there
    the errors are drawn from the posterior of both levels, which the prior keeps above zero.
    """
    if fit.bootstrap == LEVELS or fit.levels is None or not _near_exact(fit, fit.levels):
        return fit.replicates
    return replicates([fit], fit.count, fit.seed, [LEVELS])[0]


def _resamples(place, fit, count, seed, method):
    """Resamples of one fit: by levels the law with errors drawn for each model and each cell, else of its rows."""
    problem, theta = fit.problem, fit.minima.theta[0]
    if method != LEVELS:
        yield from bootstrap.resamples(place, problem, theta, count, seed, method)
        return
    if fit.levels is None:
        raise InputError(
            f"bootstrap='levels' draws relative errors of trained models and cells, which {fit.quality} on "
            f"{fit.residual_scale} residuals does not show: give residuals='log', or another bootstrap."
        )
    problem, group = problem.with_loss(delta=np.inf), fit.trained_models[0]
    rng = np.random.default_rng([seed, BOOTSTRAP.stream, 1])
    sds = fit.levels.draws(count, seed)
    own = sds[:, :1] * rng.standard_normal((count, group.max() + 1)) * (fit.levels.models > 1)
    logs, known = np.log(fit.curve(problem.data.x)), _known(fit)
    block = max(1, BOOTSTRAP.block // fit.rows)
    for k in range(0, count, block):
        some = slice(k, k + block)
        noise = rng.standard_normal((len(sds[some]), fit.rows)) * np.hypot(sds[some, 1:], known)
        target = problem.objective.loss.transform(np.exp(logs + own[some][:, group] + noise))
        objective = problem.objective.with_(target=target)
        yield bootstrap.Resample(place, theta, objective, np.ones(len(target)), scaled_after=False)


def own_errors(fit, chosen) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd [replicate, chosen] of ln of the own error of some of the fit's trained models [chosen].

    Best linear unbiased prediction, given the model's rows and the replicate of the law. Where the whole table is one
    model its error is in the curve: 0.
    """
    group, known = fit.trained_models
    theta = fit.curve_replicates
    if len(known) == 1:
        return np.zeros((len(theta), 1)), np.zeros((len(theta), 1))
    order = np.argsort(group, kind="stable")
    order = order[np.isin(group[order], chosen)]
    starts = np.searchsorted(group[order], chosen)
    x, y = {s: v[order] for s, v in fit.problem.data.x.items()}, np.log(fit.problem.data.y[order])
    sds, stated = fit.levels.draws(len(theta), fit.seed), _known(fit)[order]
    means, deviations = [], []
    block = max(1, BOOTSTRAP.block // len(y))
    for k in range(0, len(theta), block):
        some = sds[k : k + block]
        with np.errstate(all="ignore"):
            residual = np.nan_to_num(y - np.log(fit.curve(x, theta[k : k + block])), posinf=0.0, neginf=0.0)
        weight = 1 / (some[:, 1:] ** 2 + stated**2)  # [replicate, row]
        precision = np.add.reduceat(weight, starts, axis=1) + 1 / some[:, :1] ** 2
        means.append(np.add.reduceat(weight * residual, starts, axis=1) / precision)
        deviations.append(precision**-0.5)
    return np.concatenate(means), np.concatenate(deviations)


def model_errors(fit, x, table, of, unseen=True) -> np.ndarray:
    """ln of the own error [replicate, row] of the trained models of new rows, for one of levels.OF.

    x {symbol: [row]}; table: rows with `model` or `train_seed` where a model is to be told by them. curve: 0. owned:
    the error of a model of the fit as its rows show it, of several that fit the row any of them; that of a model not
    seen is drawn anew if `unseen`, else 0. new_model: drawn anew, one for all rows of a model.
    """
    count, rows = len(fit.curve_replicates), len(next(iter(x.values())))
    if of == "curve" or fit.levels is None:
        return np.zeros((count, rows))
    sds = fit.levels.draws(count, fit.seed)[:, 0]
    number, matches, names = _trained(fit, x, table)
    errors, each = np.zeros((count, len(names))), np.arange(count)
    chosen = np.unique(np.concatenate(matches)) if of == "owned" else []
    own = own_errors(fit, chosen) if len(chosen) else None
    for k, (owned, name) in enumerate(zip(matches, names, strict=True)):
        rng = np.random.default_rng([fit.seed, BOOTSTRAP.noise_stream, zlib.crc32(name.encode())])
        normal = rng.standard_normal(count)
        if of == "owned" and len(owned):
            one = np.searchsorted(chosen, owned[0] if len(owned) == 1 else rng.choice(owned, count))
            mean, sd = (part[each, one] for part in own)
            errors[:, k] = mean + sd * normal
        elif of == "new_model" or unseen:
            errors[:, k] = sds * normal
    return errors[:, number]


def quality(fit, x, table, of) -> np.ndarray:
    """Quality [replicate, row] of new rows for one of levels.OF; with a cell's error but for the curve."""
    drawn = fit.curve(x, fit.curve_replicates)
    if of == "curve":
        return drawn
    if fit.levels is None:
        return _with_residuals(fit, drawn)
    return drawn * np.exp(model_errors(fit, x, table, of) + _cell_errors(fit, table, drawn.shape))


def log_residuals(fit) -> np.ndarray:
    """ln measured - ln law [row], whatever the scale of the fit."""
    with np.errstate(all="ignore"):
        return np.log(fit.problem.data.y) - np.log(fit.curve(fit.problem.data.x))


def _near_exact(fit, found) -> bool:
    spare = max(fit.rows - len(fit.law.params), 1)
    return bool(np.sqrt(np.sum(log_residuals(fit) ** 2) / spare) < EXACT * np.hypot(found.total, found.known))


def _known(fit) -> np.ndarray:
    """Relative standard errors [row] of the fitted rows, where they are those of single cells."""
    known = levels.known_errors(fit, fit.table)
    return np.zeros(fit.rows) if known is None else known * fit.levels.independent


def _cell_errors(fit, table, shape) -> np.ndarray:
    """ln of the error of a cell [replicate, row]: normal, or with the shape of many residuals."""
    rng = np.random.default_rng([fit.seed, BOOTSTRAP.noise_stream])
    known = levels.known_errors(fit, table)
    known = fit.levels.known if known is None else known * fit.levels.independent
    sd = np.hypot(fit.levels.draws(shape[0], fit.seed)[:, 1:], known)
    if fit.rows < SMALL:
        return sd * rng.standard_normal(shape)
    pool = _cell_residuals(fit)
    width = np.sqrt(np.mean(pool**2))
    if not width > 0:
        return sd * rng.standard_normal(shape)
    return sd * rng.choice(pool / width, shape) * rng.choice([-1.0, 1.0], shape)


def _cell_residuals(fit) -> np.ndarray:
    """Residuals [row] less the own errors of their models, in units of what a cell's error is thought to be."""
    group, sd = fit.trained_models[0], np.hypot(fit.levels.cell_sd, _known(fit))
    residual, weight = log_residuals(fit), sd**-2.0
    own = np.bincount(group, weight * residual) / (np.bincount(group, weight) + fit.levels.model_sd**-2)
    return (residual - own[group] * (group.max() > 0)) / sd


def _with_residuals(fit, drawn) -> np.ndarray:
    """Draws with the noise of the residuals, added on the raw scale, else multiplied; Student-distributed."""
    rng = np.random.default_rng([fit.seed, BOOTSTRAP.noise_stream])
    spare = max(fit.rows - len(fit.law.params), 1)
    scale = bootstrap.student_scale(bootstrap.degrees_of_freedom(fit.problem), len(drawn), rng)[:, None]
    pool = fit.residuals * np.sqrt(fit.rows / spare)
    if fit.rows < SMALL:
        noise = rng.standard_normal(drawn.shape) * max(fit.noise, float(np.sqrt(np.mean(pool**2))))
    else:
        noise = rng.choice(pool, drawn.shape) * rng.choice([-1.0, 1.0], drawn.shape)
    if fit.residual_scale == "raw":
        return drawn + scale * noise
    offset = fit.problem.objective.loss.offset
    return (drawn + offset) * np.exp(scale * noise) - offset


def _trained(fit, x, table):
    """Of new rows: number of the trained model [row], indices of the fit's models that it may be, its name [model]."""
    known = fit.trained_models[1]
    new = pd.DataFrame({c: x[s] for s, c in fit.inputs.items() if levels.names_models(fit, s)})
    for column in ("model", "train_seed"):
        if column in known and column in table and column not in new:
            new[column] = np.asarray(table[column])
    if new.empty:
        return np.zeros(len(next(iter(x.values()))), int), [np.arange(len(known))], [""]
    rows = list(zip(*(_hashable(new[column]) for column in new), strict=True))
    place = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    matches, names = [], []
    for row in place:
        same = np.ones(len(known), bool)
        for column, value in zip(new, row, strict=True):
            held = known[column]
            same &= np.isclose(held, value, rtol=1e-6) if isinstance(value, float) else (held == value).to_numpy()
        matches.append(np.flatnonzero(same))
        names.append(" ".join(f"{value:.12g}" if isinstance(value, float) else str(value) for value in row))
    return np.array([place[row] for row in rows]), matches, names


def _hashable(column):
    """The values of a column, every NaN the same one, so that they are equal."""
    return [value if value == value else np.nan for value in column.tolist()]
