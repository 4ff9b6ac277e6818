"""Noise with levels: the error a trained model has of its own, and the error of a cell.

    ln y_ij = ln f(x_ij) + u_j + e_ij,   u_j ~ N(0, model_sd^2) shared by all rows of model j,
                                         e_ij ~ N(0, cell_sd^2 + known_ij^2)

Restricted likelihood on a grid of (model_sd, cell_sd), the law linearised about its fit (Patterson and Thompson 1971),
times a prior learned from measured families; the posterior, not a point, is used. The mode under a flat prior is what
statsmodels' MixedLM gives, and a test holds it to that.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws.schema import InputError

OF = ("curve", "owned", "new_model")  # the law; a measurement of a model you own; of a model you would train
SDS = np.geomspace(1e-3, 0.5, 28)  # of both levels, relative
PRIOR = {"model": (np.log(0.03), 0.7), "cell": (np.log(0.02), 0.8)}  # mean and sd of ln sd: see `learned` in prior.json


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

    @property
    def share(self) -> float:
        """Share of a row's variance that belongs to the trained model, averaged over the posterior."""
        m, c = np.meshgrid(self.sds**2, self.sds**2, indexing="ij")
        return float((self.grid * m / (m + c)).sum())

    def draws(self, count: int, seed: int = 0) -> np.ndarray:
        """(model_sd, cell_sd) [draw, 2] from the posterior."""
        chosen = np.random.default_rng(seed).choice(self.grid.size, count, p=self.grid.ravel())
        return np.column_stack([self.sds[chosen // len(self.sds)], self.sds[chosen % len(self.sds)]])

    def to_frame(self) -> pd.DataFrame:
        """One row a level: sd, low, high."""
        found = (("trained model", self.model_sd, self.model_interval), ("cell", self.cell_sd, self.cell_interval))
        return pd.DataFrame([{"level": name, "sd": sd, "low": low, "high": high} for name, sd, (low, high) in found])

    def summary(self) -> str:
        """Both errors in a sentence."""
        return (
            f"A trained model errs by {self.model_sd:.1%} of its own (90 % {self.model_interval[0]:.1%} to "
            f"{self.model_interval[1]:.1%}, {self.models} models), a cell by {self.cell_sd:.1%} "
            f"({self.cell_interval[0]:.1%} to {self.cell_interval[1]:.1%}, {self.rows} rows); "
            f"{self.share:.0%} of a row's variance is the model's."
        )


def components(residuals, group, jacobian=None, known=None, prior=PRIOR) -> Levels:
    """The two errors from residuals of a law.

    residuals [row] ln measured - ln law; group [row] labels of the trained models; jacobian [row, parameter] of ln law
    (None: a mean only); known [row] relative standard errors of the cells; prior: None for a flat one.
    """
    r = np.asarray(residuals, float)
    _, group = np.unique(np.asarray(group).astype(str), return_inverse=True)
    x = np.ones((len(r), 1)) if jacobian is None else np.asarray(jacobian, float)
    x = np.linalg.qr(x)[0][:, : np.linalg.matrix_rank(x)]
    fixed = np.zeros(len(r)) if known is None else np.nan_to_num(np.asarray(known, float)) ** 2
    if len(r) <= x.shape[1]:
        raise InputError(f"{len(r)} rows for {x.shape[1]} parameters leave nothing to measure an error by.")
    logs = np.array([_restricted(r, x, group, cell**2 + fixed, SDS**2) for cell in SDS]).T  # [model, cell]
    if prior is not None:
        for axis, name in enumerate(("model", "cell")):
            mean, sd = prior[name]
            weight = -0.5 * ((np.log(SDS) - mean) / sd) ** 2
            logs = logs + (weight[:, None] if axis == 0 else weight[None])
    grid = np.exp(logs - logs.max())
    grid /= grid.sum()
    model, cell = (_quantiles(grid.sum(1 - axis)) for axis in (0, 1))
    return Levels(grid, SDS, model[1], cell[1], (model[0], model[2]), (cell[0], cell[2]), int(group.max()) + 1, len(r))


def of_fit(fit, model_column="model", prior=PRIOR) -> Levels:
    """The two errors of a Fit, its rows grouped by trained model (a column, or the law's size where it is missing)."""
    table = fit.table
    column = model_column if model_column in table else fit.inputs.get("N", next(iter(fit.inputs.values())))
    inputs = {s: table[c].to_numpy(float) for s, c in fit.inputs.items()}
    residuals = np.log(table[fit.quality].to_numpy(float)) - np.log(fit.curve(inputs))
    error = f"{fit.quality}_se"
    known = table[error].to_numpy(float) / table[fit.quality].to_numpy(float) if error in table else None
    return components(residuals, table[column], jacobian(fit, inputs), known, prior)


def jacobian(fit, inputs) -> np.ndarray:
    """d ln curve / d parameter, each scaled by its own size [row, parameter], by central differences."""
    theta = np.asarray(fit.theta, float)
    step = 1e-5 * np.maximum(np.abs(theta), 1e-8)
    shifted = np.concatenate([theta + np.diag(step), theta - np.diag(step)])
    with np.errstate(all="ignore"):
        logs = np.log(fit.curve(inputs, shifted))
    slopes = (logs[: len(theta)] - logs[len(theta) :]) / 2e-5
    return np.where(np.isfinite(slopes), slopes, 0.0).T


def _restricted(r, x, group, diagonal, model_variances):
    """Restricted log likelihood [model variance] with the cells' variances given [row]."""
    inverse = 1 / diagonal
    ones = np.zeros((group.max() + 1, len(r)))
    ones[group, np.arange(len(r))] = inverse
    s = ones.sum(1)  # 1' D^-1 1 of each model
    both = np.column_stack([x, r])
    inner = both.T @ (inverse[:, None] * both)
    sums = ones @ both  # [model, column]
    result = []
    for variance in model_variances:
        c = variance / (1 + variance * s)
        full = inner - sums.T @ (c[:, None] * sums)
        xx, xr, rr = full[:-1, :-1], full[:-1, -1], full[-1, -1]
        factor = np.linalg.cholesky(xx + 1e-12 * np.trace(xx) * np.eye(len(xx)))
        explained = np.linalg.solve(factor, xr)
        determinant = np.log(diagonal).sum() + np.log1p(variance * s).sum()
        result.append(-0.5 * (determinant + 2 * np.log(np.diag(factor)).sum() + rr - explained @ explained))
    return np.array(result)


def _quantiles(weights):
    """5, 50 and 95 % [3] of a level's sd, between the grid's points."""
    total = np.cumsum(weights) - weights / 2
    return tuple(np.exp(np.interp([0.05, 0.5, 0.95], total, np.log(SDS))).tolist())


def draws(fit, table, of="owned", model_column="model", count=400, seed=0, found: Levels | None = None) -> np.ndarray:
    """ln quality [draw, row] of rows of a table by a Fit, for one of OF; said for that level alone.

    curve      the law's own uncertainty, by the fit's replicates
    owned      a new measurement of the models of the fit: the curve, each model's own error as the rows show it, a cell
    new_model  a measurement of models trained anew: each with an error of its own, shared by its rows, and a cell
    A model of `table` that the fit has not seen has a new error in `owned` too.
    """
    if of not in OF:
        raise InputError(f"No level named {of!r}. Known: {', '.join(OF)}.")
    found = found or of_fit(fit, model_column)
    rng = np.random.default_rng(seed)
    inputs = {s: table[c].to_numpy(float) for s, c in fit.inputs.items()}
    theta = np.asarray(fit.replicates)
    with np.errstate(all="ignore"):
        logs = np.log(fit.curve(inputs, theta[rng.integers(len(theta), size=count)]))
    logs = np.where(np.isfinite(logs), logs, np.log(fit.curve(inputs))[None])
    if of == "curve":
        return logs
    sds = found.draws(count, seed)
    column = model_column if model_column in fit.table else fit.inputs.get("N", next(iter(fit.inputs.values())))
    labels, where = np.unique(table[column].astype(str), return_inverse=True)
    own = np.empty((count, len(labels)))
    for j, label in enumerate(labels):
        mean, sd = _own(fit, column, label, sds) if of == "owned" else (0.0, sds[:, 0])
        own[:, j] = mean + sd * rng.standard_normal(count)
    return logs + own[:, where] + sds[:, 1:] * rng.standard_normal(logs.shape)


def predict(fit, table, level=0.9, model_column="model", seed=0) -> pd.DataFrame:
    """value and the three intervals of rows of a table: curve_low, curve_high, owned_low, ... new_model_high."""
    found = of_fit(fit, model_column)
    inputs = {s: table[c].to_numpy(float) for s, c in fit.inputs.items()}
    result = pd.DataFrame({"value": fit.curve(inputs)}, index=table.index)
    for of in OF:
        drawn = draws(fit, table, of, model_column, 1000, seed, found)
        low, high = np.exp(np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0))
        result[f"{of}_low"], result[f"{of}_high"] = low, high
    return result


def probability_best(fit, table, of="owned", model_column="model", count=2000, seed=0, higher=False) -> np.ndarray:
    """Share of draws [row] in which a row of the table is the best, for one of OF.

    A cell's error is no quality of a model, so it is left out.
    """
    found = of_fit(fit, model_column)
    exact = np.full_like(found.grid, 0.0)
    exact[:, 0] = found.grid.sum(1)  # the errors of models as they are, those of cells the least of the grid
    drawn = draws(fit, table, of, model_column, count, seed, replace(found, grid=exact / exact.sum()))
    best = drawn.argmax(1) if higher else drawn.argmin(1)
    return np.bincount(best, minlength=drawn.shape[1]) / count


def _own(fit, column, label, sds):
    """Mean and sd [draw] of one model's own error given its rows (best linear unbiased prediction)."""
    rows = fit.table[fit.table[column].astype(str) == label]
    if rows.empty:
        return 0.0, sds[:, 0]
    inputs = {s: rows[c].to_numpy(float) for s, c in fit.inputs.items()}
    residual = np.log(rows[fit.quality].to_numpy(float)) - np.log(fit.curve(inputs))
    error = f"{fit.quality}_se"
    known = rows[error].to_numpy(float) / rows[fit.quality].to_numpy(float) if error in rows else np.zeros(len(rows))
    weight = 1 / (sds[:, 1:] ** 2 + np.nan_to_num(known) ** 2)  # [draw, row]
    precision = weight.sum(1) + 1 / sds[:, 0] ** 2
    return weight @ residual / precision, precision**-0.5
