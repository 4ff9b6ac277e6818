"""Noise with levels: the error a trained model has of its own, and the error of a cell.

    ln y_ij = ln f(x_ij) + u_j + e_ij,   u_j ~ N(0, model_sd^2) shared by all rows of model j,
                                         e_ij ~ N(0, cell_sd^2 + known_ij^2)

Restricted likelihood on a grid of (model_sd, cell_sd), the law linearised about its fit (Patterson and Thompson 1971),
times a prior learned from measured families; the posterior, not a point, is used. The mode under a flat prior is what
statsmodels' MixedLM gives, and a test holds it to that. A law that misfits is bent by that likelihood, away from the
fit, to meet what it misses within models, which then seem to err by far more than they lie off the curve that is used:
where they lie so near it that such errors are refuted, the errors are those about the fitted curve.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import chdtri

from scalinglaws import schema
from scalinglaws.schema import InputError
from scalinglaws.spellings import words_of

OF = ("curve", "owned", "new_model")  # the law; a measurement of a model you own; of a model you would train
PRIOR = {"model": (np.log(0.03), 0.7), "cell": (np.log(0.02), 0.8)}  # mean and sd of ln sd, relative errors
PRIOR_OF_LOSS = {"model": (np.log(0.004), 0.7), "cell": (np.log(0.004), 0.8)}  # of cross-entropies of language models
SDS = np.geomspace(1e-3, 0.5, 28)  # of both errors, relative; the grid goes on where the residuals ask for it
LEAST = 1e-5  # the smallest standard deviation that many rows can show
LARGEST = 10.0  # relative standard error of a row; larger ones say the same: nothing is known of it
REFUTED = 0.01  # probability of models' means so near the fitted curve, below which their error is not as inferred
SURE = 20  # degrees of freedom from which residuals may show less than SDS does, or deny standard errors
MOST = 4_000  # rows from which the two errors are learned; of larger tables whole models are drawn
NO_SIZE = ("S", "D", "C", "w")  # symbols of inputs in which rows of one trained model differ, where the column is new
SAMPLING = ("eta", "best_of", "verifier", "diffusion_coef", "guidance_kind", "dtype", "seed")  # settings of one model


@dataclass(frozen=True)
class Levels:
    """Posterior of the two errors. grid [model_sd, cell_sd] of weights; sds [value]; model, cell: medians; intervals
    90 %.
    """

    grid: np.ndarray
    sds: np.ndarray
    model_sd: float
    cell_sd: float
    model_interval: tuple
    cell_interval: tuple
    models: int
    rows: int
    known: float = 0.0  # median relative standard error of the rows, which a new measurement has as well
    independent: bool = True  # whether the standard errors are those of single cells; else they are left out

    @property
    def share(self) -> float:
        """Share of a row's variance that belongs to the trained model, averaged over the posterior."""
        m, c = np.meshgrid(self.sds**2, self.sds**2, indexing="ij")
        return float((self.grid * m / (m + c)).sum())

    @property
    def total(self) -> float:
        """Median of sqrt(model_sd^2 + cell_sd^2); of cell_sd where all rows are of one model."""
        if self.models == 1:
            return self.cell_sd
        both = np.sqrt(np.add.outer(self.sds**2, self.sds**2)).ravel()
        order = np.argsort(both)
        weight = self.grid.ravel()[order]
        return float(np.interp(0.5, np.cumsum(weight) - weight / 2, both[order]))

    def draws(self, count: int, seed: int = 0) -> np.ndarray:
        """(model_sd, cell_sd) [draw, 2] from the posterior."""
        chosen = np.random.default_rng(seed).choice(self.grid.size, count, p=self.grid.ravel())
        return np.column_stack([self.sds[chosen // len(self.sds)], self.sds[chosen % len(self.sds)]])

    def to_frame(self) -> pd.DataFrame:
        """One row per level: sd, low, high."""
        found = (("trained model", self.model_sd, self.model_interval), ("cell", self.cell_sd, self.cell_interval))
        return pd.DataFrame([{"level": name, "sd": sd, "low": low, "high": high} for name, sd, (low, high) in found])

    def summary(self) -> str:
        """Both errors in a sentence."""
        model, cell = (
            f"{sd:.1%}{extra} (90 % {low:.1%} to {high:.1%}"
            for sd, (low, high), extra in ((self.model_sd, self.model_interval, " of its own"),
                                           (self.cell_sd, self.cell_interval, ""))
        )  # fmt: skip
        if self.models == 1:
            return (f"A trained model errs by {model}, from other studies: all rows are of one model), a cell by "
                    f"{cell}, {self.rows} rows).")  # fmt: skip
        if self.models == self.rows:
            return (f"A trained model errs by {model}), a cell by {cell}): one row a model shows their sum, "
                    f"{self.rows} rows, and other studies the share of each.")  # fmt: skip
        return (f"A trained model errs by {model}, {self.models} models), a cell by {cell}, {self.rows} rows); "
                f"{self.share:.0%} of a row's variance is the model's.")  # fmt: skip


def check_of(of, known=OF) -> None:
    """Raise InputError unless `of` is one of the three intervals."""
    if of not in known:
        raise InputError(f"of={of!r}: give one of {', '.join(known)}.")


def prior_of(quality) -> dict:
    """Mean and sd of ln of both errors before any row: PRIOR, or PRIOR_OF_LOSS for a column of losses."""
    return PRIOR_OF_LOSS if words_of(quality)[-1:] == ["loss"] else PRIOR


def components(residuals, group, jacobian=None, known=None, prior=PRIOR) -> Levels:
    """The two errors from residuals of a law.

    residuals [row] ln measured - ln law; group [row] labels of the trained models; jacobian [row, parameter] of ln law
    (None: a mean only); known [row] relative standard errors of the cells; prior: None for a flat one. Standard errors
    above the scatter of many rows are no errors of single cells, as where cells share images or a reference: left out.
    """
    r = np.asarray(residuals, float)
    group = pd.factorize(np.asarray(group), use_na_sentinel=False)[0]
    x = np.ones((len(r), 1)) if jacobian is None else np.asarray(jacobian, float)
    x = np.linalg.svd(x, full_matrices=False)[0][:, : np.linalg.matrix_rank(x)]
    spare = len(r) - x.shape[1]
    if spare <= 0:
        raise InputError(f"{len(r)} rows for {x.shape[1]} parameters leave nothing to measure an error by.")
    off = r - x @ (x.T @ r)
    scatter = np.sqrt(np.sum(off**2) / spare)
    fixed = np.zeros(len(r)) if known is None else np.clip(np.nan_to_num(np.asarray(known, float)), 0.0, LARGEST)
    most = scatter * (1 + 2.5 / np.sqrt(2 * spare))  # the scatter itself is uncertain
    independent = bool(spare < SURE or np.sqrt(np.mean(fixed**2)) <= most)
    fixed = fixed * independent
    sds = _grid(scatter, spare)
    logs = _likelihood(r, x, group, fixed, sds)
    if _refuted(off, group, x.shape[1], sds, logs):
        logs = _likelihood(off, x, group, fixed, sds, bent=False)
    if prior is not None:
        weight = {name: -0.5 * ((np.log(sds) - mean) / sd) ** 2 for name, (mean, sd) in prior.items()}
        logs = logs + weight["model"][:, None] + weight["cell"]
    grid = np.exp(logs - logs.max())
    grid /= grid.sum()
    model, cell = (_quantiles(grid.sum(1 - axis), sds) for axis in (0, 1))
    ends = (model[0], model[2]), (cell[0], cell[2])
    count = int(group.max()) + 1
    return Levels(grid, sds, model[1], cell[1], *ends, count, len(r), float(np.median(fixed)), independent)


def of_fit(fit) -> Levels:
    """The two errors of a Fit, its rows grouped by trained model; see models().

    Raises InputError where the quality or the law is not above zero.
    """
    data, group = fit.problem.data, models(fit)[0]
    keep = _some(group)
    x = {symbol: values[keep] for symbol, values in data.x.items()}
    curve, y = fit.curve(x), data.y[keep]
    if not ((y > 0) & (curve > 0) & np.isfinite(curve)).all():
        raise InputError("Relative errors need a quality and a law above zero in every row.")
    known = known_errors(fit, fit.table)
    known = None if known is None else known[keep]
    return components(np.log(y / curve), group[keep], jacobian(fit, x), known, prior_of(fit.quality))


def models(fit) -> tuple[np.ndarray, pd.DataFrame]:
    """The trained model of each row [row], and the models [model] by the columns that name them.

    A trained model has one size, one `model` label and one `train_seed`, as far as the law and the table have them, and
    one level of a shared law unless that is a setting of sampling. Without any of these the whole table is one model.
    """
    keys = pd.DataFrame({c: fit.problem.data.x[s] for s, c in fit.inputs.items() if names_models(fit, s)})
    for column in ("model", "train_seed"):
        if column in fit.table and column not in keys:
            keys[column] = fit.table[column].to_numpy()
    if keys.empty:
        return np.zeros(fit.rows, int), pd.DataFrame(index=[0])
    group = keys.groupby(list(keys), dropna=False, sort=False).ngroup().to_numpy()
    return group, keys.drop_duplicates().reset_index(drop=True)


def names_models(fit, symbol) -> bool:
    """Whether rows that differ in this input are of different trained models."""
    name = fit.inputs[symbol]
    if symbol not in fit.law.measures:
        return not is_sampling(name)
    column = schema.COLUMNS.get(name)
    return column.kind == "size" if column else symbol not in NO_SIZE


def is_sampling(column) -> bool:
    """Whether rows that differ in this column may be of one trained model."""
    known = schema.COLUMNS.get(column)
    return column in SAMPLING or (known is not None and known.kind in ("sampler", "guidance", "steps"))


def known_errors(fit, table) -> np.ndarray | None:
    """Relative standard errors [row] of a table's qualities, by the column of the fit or `<quality>_se`; None without.

    Rows whose error is missing have 0.
    """
    column = fit.options.se or f"{fit.quality}_se"
    if column not in table or fit.quality not in table:
        return None
    errors, y = (pd.to_numeric(table[c], errors="coerce").to_numpy(float) for c in (column, fit.quality))
    with np.errstate(all="ignore"):
        return np.minimum(np.nan_to_num(np.abs(errors / y), posinf=0.0), LARGEST)


def jacobian(fit, inputs) -> np.ndarray:
    """d ln curve / d parameter, each scaled by its own size [row, parameter], by central differences.

    0 for parameters on a bound: they do not follow the rows.
    """
    theta = np.asarray(fit.theta, float)
    step = 1e-5 * np.maximum(np.abs(theta), 1e-8)
    shifted = np.concatenate([theta + np.diag(step), theta - np.diag(step)])
    with np.errstate(all="ignore"):
        logs = np.log(fit.curve(inputs, shifted))
        slopes = (logs[: len(theta)] - logs[len(theta) :]) / 2e-5
    box, internal = fit.problem.coordinates, fit.minima.theta[0]
    free = (internal > box.lower) & (internal < box.upper)
    return np.where(np.isfinite(slopes) & free[:, None], slopes, 0.0).T


def _some(group):
    """Indices of at most about MOST rows: whole models, drawn at random, and of long ones every few rows."""
    if len(group) <= MOST:
        return np.arange(len(group))
    rng = np.random.default_rng(0)
    size = np.bincount(group)
    order = rng.permutation(len(size))
    most = max(1, MOST // min(len(size), 50))  # rows of one model
    kept = order[np.cumsum(np.minimum(size, most)[order]) <= MOST]
    rows = np.concatenate([rng.permutation(np.flatnonzero(group == k))[:most] for k in kept])
    return np.sort(rows)


def _grid(scatter, spare):
    """Standard deviations [value] of the grid: SDS, up to five times a larger scatter, and below it where it is sure.

    Few residuals of a near-exact fit do not measure the noise: there the grid ends at a thousandth.
    """
    low = np.clip(scatter / 10, LEAST, SDS[0]) if spare >= SURE else SDS[0]
    high = max(SDS[-1], 5 * scatter)
    step = np.log(SDS[1] / SDS[0])
    below, above = (max(0, int(np.ceil(np.log(ratio) / step - 1e-9))) for ratio in (SDS[0] / low, high / SDS[-1]))
    return SDS[0] * np.exp(step * np.arange(-below, len(SDS) + above))


def _likelihood(r, x, group, fixed, sds, bent=True):
    """Restricted log likelihood [model_sd, cell_sd]; not bent: of the residuals about the law as it was fitted."""
    try:
        logs = np.array([_restricted(r, x, group, cell**2 + fixed**2, sds**2, bent) for cell in sds]).T
    except np.linalg.LinAlgError:
        logs = np.array([np.nan])
    if not np.isfinite(logs).all():
        raise InputError("The errors of these rows differ too much in size to be told apart.")
    return logs


def _refuted(off, group, parameters, sds, logs):
    """Whether the models' mean residuals are too small for the most likely error of a trained model."""
    rows = np.bincount(group)
    spare = len(rows) - parameters
    error = sds[np.unravel_index(logs.argmax(), logs.shape)[0]]
    means = np.bincount(group, off) / rows
    return bool(spare > 0 and np.sum(means**2) / error**2 < chdtri(spare, 1 - REFUTED))


def _restricted(r, x, group, diagonal, model_variances, bent):
    """Restricted log likelihood [model variance] with the cells' variances given [row]."""
    inverse = 1 / diagonal
    both = np.column_stack([x, r])
    weighted = inverse[:, None] * both
    s = np.bincount(group, inverse)  # 1' D^-1 1 of each model
    sums = np.stack([np.bincount(group, column) for column in weighted.T], 1)  # [model, column]
    c = model_variances[:, None] / (1 + model_variances[:, None] * s)  # [variance, model]
    full = both.T @ weighted - sums.T @ (c[:, :, None] * sums)  # [variance, column, column]
    xx, xr, rr = full[:, :-1, :-1], full[:, :-1, -1], full[:, -1, -1]
    ridge = 1e-12 * np.trace(xx, axis1=1, axis2=2)[:, None, None] * np.eye(x.shape[1])
    factor = np.linalg.cholesky(xx + ridge)
    explained = np.linalg.solve(factor, xr[:, :, None])[:, :, 0]
    determinant = np.log(diagonal).sum() + np.log1p(model_variances[:, None] * s).sum(1)
    halves = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
    return -0.5 * (determinant + halves + rr - bent * (explained**2).sum(1))


def _quantiles(weights, sds):
    """5, 50 and 95 % [3] of a level's sd, between the grid's points."""
    total = np.cumsum(weights) - weights / 2
    return tuple(np.exp(np.interp([0.05, 0.5, 0.95], total, np.log(sds))).tolist())
