"""The best measured quality of every size at every budget, with draws of the trainings behind it.

Trainings of one size differ, in ln of the quality, by deviations that cells (guidance, steps) share in part. Their
covariance is taken from all sizes that were trained several times, together, and its size is uncertain: by the number
of trainings, and by the prior of `levels.prior_of`, which alone answers where each size was trained once.
"""

import numpy as np
import pandas as pd

from scalinglaws import schema
from scalinglaws.fitting.levels import SDS, prior_of

CELL = ["guidance", "steps"]
ROUNDING = 1e-12  # of a logarithm: trainings that differ by less are copies of one


def best_measured(table, quality, shares, of, draws, seed):
    """ln of the loss [model, draw + 1, budget] of each size's best steps and guidance, and those [model, budget].

    table: rows with model (a Categorical, smallest first), training, guidance, steps, share (of a cost), the quality
    and perhaps its standard error. shares: the budgets, rising. of: what the draws are of, one of `levels.OF`. The
    first draw is as measured. A budget may be left unspent: what a smaller one reaches, a larger one does.
    """
    models, rng = list(table["model"].cat.categories), np.random.default_rng(seed)
    best = np.full((len(models), draws + 1, len(shares)), np.inf)
    guidance, steps = np.full((2, len(models), len(shares)), np.nan)
    sign, errors = -1 if schema.higher_is_better(quality) else 1, _errors(table, quality, of, draws, rng)
    for k, model in enumerate(models):
        mine = table[table["model"] == model].groupby(CELL)[["share", quality]].mean()
        for weight, cells in mine.groupby(level="guidance"):
            cost, logs = np.log(cells["share"].to_numpy(float)), np.log(cells[quality].to_numpy(float))
            curves = _between(cost, sign * (logs + errors[model].loc[cells.index].T.to_numpy()), np.log(shares))
            better = curves[0] < best[k, 0]
            along = np.exp(np.interp(np.log(shares), cost, np.log(cells.index.get_level_values("steps"))))
            guidance[k, better], steps[k, better] = weight, along[better]
            best[k] = np.minimum(best[k], curves)
    kept = np.minimum.accumulate(best, axis=2)
    last = np.maximum.accumulate(np.where(best[:, 0] <= kept[:, 0], np.arange(len(shares)), 0), axis=1)
    return kept, np.take_along_axis(guidance, last, axis=1), np.take_along_axis(steps, last, axis=1)


def _errors(table, quality, of, draws, rng):
    """{model: errors of ln quality [cell, draw + 1], the first of them 0}, independent between models."""
    logs = np.log(table.pivot_table(quality, CELL, ["model", "training"], observed=True).astype(float))
    modes, spare = _alike(logs) if of == "owned" else _modes(logs)
    sd = np.zeros(draws) if of == "owned" else _sds(modes, spare, prior_of(quality)["model"], draws, rng)
    held = spare >= logs.columns.get_level_values("model").nunique()  # whether deviations show the errors of cells
    own = None if held else _of_cells(table, quality)
    errors = {}
    for model, trainings in logs.T.groupby(level="model", observed=True):
        counts = trainings.count().clip(lower=1).to_numpy() if spare else 1  # [cell]; copies are one training
        shared = sd[:, None] * rng.standard_normal((draws, modes.shape[1])) @ modes.to_numpy().T
        drawn = shared * np.sqrt(1 / counts + (of == "new_model"))
        if own is not None:
            drawn = drawn + own[model].reindex(logs.index).fillna(0).to_numpy() * rng.standard_normal(drawn.shape)
        errors[model] = pd.DataFrame(np.vstack([np.zeros(len(logs)), drawn]).T, logs.index)
    return errors


def _modes(logs):
    """(modes [cell, mode], degrees of freedom) of what trainings of one size differ by.

    logs: of the quality [cell, (model, training)]. Modes times normal numbers have the covariance of one training.
    Cells in which no size was trained twice take what the others have in common; without any, all cells err alike.
    """
    sizes = logs.T.groupby(level="model", observed=True)
    deviations = (logs - sizes.transform("mean").T).fillna(0.0)
    apart = (deviations.abs() > ROUNDING).T.groupby(level="model", observed=True).any()  # [model, cell]
    spare = ((sizes.count() - 1).clip(lower=0) * apart).sum()  # [cell]
    if not spare.any():
        return _alike(logs)
    modes = deviations[spare > 0].div(np.sqrt(spare[spare > 0]), axis=0)
    common = modes.mean()
    if norm := np.sqrt((common**2).sum()):
        common = common / norm * np.sqrt((modes**2).sum(axis=1).mean())
    missing = logs.index[spare == 0]
    return pd.concat([modes, pd.DataFrame([common] * len(missing), missing)]).loc[logs.index], int(spare.max())


def _alike(logs):
    """One mode, in which all cells err alike, of no degree of freedom."""
    return pd.DataFrame(1.0, logs.index, [0]), 0


def _sds(modes, spare, prior, draws, rng):
    """Draws of the deviation of a training: as found in so many degrees of freedom, and by the prior of models."""
    found, (mean, width) = np.sqrt((modes**2).sum(axis=1).mean()), prior
    logs = -spare * (np.log(SDS) + (found / SDS) ** 2 / 2) - ((np.log(SDS) - mean) / width) ** 2 / 2
    weights = np.exp(logs - logs.max())
    return rng.choice(SDS, draws, p=weights / weights.sum()) / (found if spare else 1.0)


def _of_cells(table, quality):
    """Relative standard errors of the means over trainings, by model, guidance and steps."""
    cells = table.groupby(["model", *CELL], observed=True)
    if f"{quality}_se" not in table:
        return 0 * cells[quality].mean()
    squares = (table[f"{quality}_se"] ** 2).groupby([table[c] for c in ("model", *CELL)], observed=True).mean()
    return (np.sqrt(squares / cells["training"].nunique()) / cells[quality].mean()).fillna(0.0)


def _between(x, curves, at):
    """Curves [draw, x] straight between their points, at any place [budget]; infinite before the first."""
    found = np.array([np.interp(at, x, one) for one in curves])
    found[:, at < x[0] - 1e-9] = np.inf
    return found
