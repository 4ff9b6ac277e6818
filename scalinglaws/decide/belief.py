"""What is believed of ln quality at chosen points, as one Gaussian: a law, each model's own error, its misfit in steps.

    ln y(model j, x) = ln f(x; theta) + u_j + w_j(ln steps) + e,    e the error of one measurement

theta has a prior in the internal coordinates of the law, u_j ~ N(0, model_sd^2) is the trained model's own error,
w_j a smooth process in ln steps (Matern 3/2) of standard deviation misfit_sd_j (steps / typical steps)^-decay, no less
beyond the most steps measured, which says that no law is exact: each model has its own, shrunk to what all have in
common, since a law may hold for some models and not for others, and it may be wider at few steps, since a law in steps
is one of many steps. What the law misses of one model it may miss of the others: the w_j of two models have a
correlation, `common`. The law is linearised at its posterior mode (Gauss-Newton), so that everything after it is
linear: a measurement moves the mean and the covariance of all points by one rank. Two rows are enough, as theta has a
prior.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from scalinglaws.fitting.coordinates import model_and_coordinates
from scalinglaws.laws import Law
from scalinglaws.schema import InputError

CURVE = ""  # the model of a point on the law itself, without an error of its own
LENGTH = np.log(3.0)  # of w, in ln steps
MODEL, MISFIT = (np.log(0.03), 0.7), (np.log(0.04), 0.8)  # priors of the errors: mean and sd of ln sd
MODEL_SDS, MISFIT_SDS = np.geomspace(0.004, 0.25, 6), np.geomspace(0.004, 0.25, 6)
FACTORS, OWN = np.geomspace(0.1, 5.0, 9), 0.5  # of a model's misfit to the common one; sd of the prior of their ln,
# whose mean is such that the expected square is 1: a model of which little is known has the common misfit
COMMONS = (0.0, 0.5)  # correlations of the misfits of two models at equal steps
DECAYS = (0.0, 0.3, 0.6, 0.9)  # of a misfit, as a power of steps
SHARES = (0.1, 0.3, 1.0)  # of a cell's stated standard error that is not common to all cells
UNSTATED = 0.01  # error of a measurement whose standard error is not stated, relative
# prior of the parameters of a power sum, in internal coordinates: mean, sd
FLOOR, COEFFICIENT = (-0.5, 1.0), (-0.7, 1.5)  # relative to ln of the least and of the median value
FALLING, EITHER = (0.6, 0.6), (0.0, 0.3)  # exponents


class Sds(NamedTuple):
    """Standard deviations of ln quality about a law."""

    model: float  # of a trained model's own error u
    misfit: float  # of w at the typical number of steps, what all models have in common
    share: float  # of a cell's stated standard error that is not common to all cells
    decay: float = 0.0  # with which the misfit falls in steps
    common: float = 0.0  # correlation of the misfits of two models


@dataclass(frozen=True)
class Linearised:
    """The law behind a belief, linearised at its posterior mode, and the errors about it."""

    sds: Sds
    misfit: np.ndarray = field(repr=False)  # standard deviation of w, of each point's model at its steps [point]
    theta: np.ndarray = field(repr=False)  # natural parameters at which the law is linearised
    slopes: np.ndarray = field(repr=False)  # d ln f by the law's internal parameters [point, parameter]
    prior: np.ndarray = field(repr=False)  # variances of the internal parameters [parameter]
    before: np.ndarray = field(repr=False)  # mean before any row [point]
    rows: np.ndarray = field(repr=False)  # points that were measured [row]
    measured: np.ndarray = field(repr=False)  # ln quality there [row]


@dataclass(frozen=True)
class Belief:
    """Mean [point] and covariance [point, point] of ln quality, and the error [point] of one measurement there."""

    points: pd.DataFrame = field(repr=False)  # model, size, steps (setting); model CURVE for the law itself
    mean: np.ndarray = field(repr=False)
    covariance: np.ndarray = field(repr=False)
    error: np.ndarray = field(repr=False)
    law: Linearised | None = field(default=None, repr=False)  # None where several settings are behind it

    def observe(self, where: int, value: float, error: float | None = None) -> "Belief":
        """The belief after ln quality `value` is measured at a point, with the error of one measurement or another."""
        noise = self.error[where] if error is None else error
        column = self.covariance[:, where]
        total = column[where] + noise**2
        covariance = self.covariance - np.outer(column, column) / total
        return replace(self, mean=self.mean + column / total * (value - self.mean[where]), covariance=covariance)

    def shifts(self, where, scale=1.0) -> np.ndarray:
        """How far a measurement at each of some points moves the mean of every point, per unit normal [where, point].

        scale [where]: error of the measurement over `error`, as of other numbers of samples.
        """
        columns, error = self.covariance[:, where], self.error[where] * scale
        return (columns / np.sqrt(self.covariance[where, where] + error**2)).T


@dataclass(frozen=True)
class CellErrors:
    """Standard errors of the measured cells, relative [row]; NaN where they are not stated."""

    relative: np.ndarray

    @property
    def stated(self) -> np.ndarray:
        """Whether each is stated [row]."""
        return np.isfinite(self.relative) & (self.relative > 0)

    def own(self, share: float) -> np.ndarray:
        """The part of each that is not common to all cells [row]."""
        return np.where(self.stated, share * np.where(self.stated, self.relative, 0.0), UNSTATED)

    def usual(self, share: float) -> float:
        """The same for a cell that is not measured yet: of the median error."""
        return np.median(self.relative[self.stated]) * share if self.stated.any() else UNSTATED


def believe(law: Law, symbols, points: pd.DataFrame, rows, values, errors=None, start=None, sds=None) -> Belief:
    """The belief at `points` (model, size, steps) after rows were measured.

    symbols: (symbol of size, symbol of steps or None) of the law; rows [row] indices into points; values [row] quality;
    errors [row] relative standard errors, NaN or None where they are not stated. start: natural parameters to begin at;
    for a law that is no sum of power terms they are the mean of the prior as well. sds: the Sds, where known; the
    misfit is then that of all models. Raises InputError for such a law without a start.
    """
    rows, z = np.asarray(rows, int), np.log(np.asarray(values, float))
    x = {symbols[0]: points["size"].to_numpy(float)}
    if symbols[1]:
        x[symbols[1]] = points["steps"].to_numpy(float)
    model, coordinates = model_and_coordinates(law, x, np.exp(z))
    theta = None if start is None else coordinates.internal(start)
    mean, sd = parameter_prior(law, coordinates, z, theta)
    noise = CellErrors(np.full(len(z), np.nan) if errors is None else np.asarray(errors, float))
    same, near = same_models(points)
    measured, label = np.ix_(rows, rows), points["model"].to_numpy(str)

    def own(sds, misfit):
        """Covariance of the models' own errors and misfits [point, point]."""
        return sds.model**2 * same + np.outer(misfit, misfit) * misfit_correlation(same, near, sds.common)

    chosen = Sds(*sds) if sds else Sds(float(np.exp(MODEL[0])), float(np.exp(MISFIT[0])), 0.3)
    ratio = relative_steps(points, rows)
    misfit = chosen.misfit * ratio**-chosen.decay
    for _ in range(1 if sds else 2):
        about = own(chosen, misfit)[measured] + np.diag(noise.own(chosen.share) ** 2)
        theta = _mode(model, coordinates, rows, z, mean, sd, about, theta)
        log, slopes = _tangent(model, theta)
        if not sds:
            residual = z - log[rows] - slopes[rows] @ (mean - theta)
            of_law = (slopes[rows] * sd**2) @ slopes[rows].T
            chosen = _likely(residual, of_law, same[measured], near[measured], noise, ratio[rows])
            falling = ratio**-chosen.decay
            nearby = misfit_correlation(same[measured], near[measured], chosen.common)
            nearby = nearby * np.outer(falling[rows], falling[rows])
            misfit = falling * _own_misfits(residual, of_law, same[measured], nearby, label[rows], chosen,
                                            noise.own(chosen.share), label)  # fmt: skip
    before = log + slopes @ (mean - theta)
    full = (slopes * sd**2) @ slopes.T + own(chosen, misfit)
    error = np.full(len(points), noise.usual(chosen.share))
    error[rows] = noise.own(chosen.share)
    behind = Linearised(chosen, misfit, coordinates.natural(theta), slopes, sd**2, before, rows, z)
    return Belief(points, *conditioned(before, full, rows, z, error[rows]), error, behind)


def conditioned(before, full, rows, z, error):
    """(mean [point], covariance [point, point]) after ln quality z was measured at rows, with those errors."""
    gain = np.linalg.solve(full[np.ix_(rows, rows)] + np.diag(error**2), full[rows]).T
    return before + gain @ (z - before[rows]), full - gain @ full[rows]


def parameter_prior(law: Law, coordinates, z, start=None):
    """(mean, sd) [parameter] of the internal parameters, by ln quality z [row]; for a law given as a function, about
    `start`, without which it is an InputError.
    """
    if not law.terms:
        if start is None:
            raise InputError(f"Law {law.name!r} is no sum of power terms: fit it first and give the fit.")
        return np.asarray(start, float), np.where(coordinates.positive, COEFFICIENT[1], 1.0)
    mean, sd = np.zeros((2, len(law.params)))
    for k, name in enumerate(law.params):
        if name in law.positive:
            (shift, sd[k]) = FLOOR if name == law.floor else COEFFICIENT
            mean[k] = (z.min() if name == law.floor else np.median(z)) + shift
        else:
            mean[k], sd[k] = FALLING if law.bounds.get(name, (-1.0,))[0] >= 0 else EITHER
    return mean, sd


def same_models(points):
    """(1 where two points are of one model, the correlation of w between their steps) [point, point]; none on the law
    itself."""
    label = points["model"].to_numpy(str)
    trained = label != CURVE
    same = ((label[:, None] == label[None]) & trained[:, None]).astype(float)
    steps = np.log(points["steps"].to_numpy(float))
    distance = np.sqrt(3) * np.abs(steps[:, None] - steps[None]) / LENGTH
    return same, np.outer(trained, trained) * (1 + distance) * np.exp(-distance)


def misfit_correlation(same, near, common):
    """Correlation of w of two points [point, point], w being in part one process for all models, in part its model's
    own; common: the first one's share of the variance, of all points or of each."""
    own = 1 - np.asarray(common)
    return near * (np.sqrt(np.outer(common, common)) + np.sqrt(np.outer(own, own)) * same)


def relative_steps(points, rows):
    """Steps of each point, those of the rows at most, over the geometric mean of those of the rows [point]."""
    steps = points["steps"].to_numpy(float)
    return np.minimum(steps, steps[rows].max()) / np.exp(np.log(steps[rows]).mean())


def _tangent(model, theta):
    """ln f [point] and its slopes [point, parameter] at internal theta [parameter]."""
    with np.errstate(all="ignore"):
        value = np.maximum(model.value(theta[None])[0], 1e-300)
        slopes = model.jacobian(theta) / value[:, None]
    return np.log(value), np.where(np.isfinite(slopes), slopes, 0.0)


def _mode(model, coordinates, rows, z, mean, sd, covariance, start=None, iterations=40):
    """Posterior mode of theta by Gauss-Newton with Levenberg's damping, within the law's box."""
    factor = np.linalg.cholesky(covariance)

    def parts(theta):
        log, slopes = _tangent(model, theta)
        whitened = np.linalg.solve(factor, np.column_stack([z - log[rows], slopes[rows]]))
        residual = np.concatenate([whitened[:, 0], (mean - theta) / sd])
        return residual, np.concatenate([whitened[:, 1:], np.diag(1 / sd)])

    theta = np.clip(mean if start is None else start, coordinates.lower, coordinates.upper)
    (residual, slopes), damping = parts(theta), 1e-3
    for _ in range(iterations):
        square = slopes.T @ slopes
        step = np.linalg.solve(square + damping * np.diag(np.diag(square)), slopes.T @ residual)
        new = np.clip(theta + np.clip(step, -2, 2), coordinates.lower, coordinates.upper)
        tried = parts(new)
        drop = residual @ residual - tried[0] @ tried[0]
        if drop > 0:
            theta, (residual, slopes), damping = new, tried, damping / 5
        else:
            damping *= 8
        if 0 < drop < 1e-4 or damping > 1e8:
            break
    return theta


def _likely(residual, of_law, same, near, noise: CellErrors, ratio) -> Sds:
    """Roots of the posterior means of the squares of the Sds, means of the decay and of common, theta integrated out.

    residual [row] about the prior's mean of theta; of_law [row, row] the covariance that the prior of theta gives;
    same, near [row, row] as of same_models; ratio [row] as of relative_steps.
    """
    shapes = list(product(DECAYS, COMMONS))
    near = [misfit_correlation(same, near, common) * np.outer(ratio, ratio) ** -decay for decay, common in shapes]
    own = [np.multiply.outer(MODEL_SDS**2, same)[:, None] + np.multiply.outer(MISFIT_SDS**2, one)[None] for one in near]
    prior = np.add.outer(((np.log(MODEL_SDS) - MODEL[0]) / MODEL[1]) ** 2,
                         ((np.log(MISFIT_SDS) - MISFIT[0]) / MISFIT[1]) ** 2)  # fmt: skip
    shares = SHARES if noise.stated.any() else (1.0,)
    logs = np.array([[log_density(residual, one + of_law + np.diag(noise.own(share) ** 2)) - 0.5 * prior
                      for one in own] for share in shares])  # fmt: skip
    weights = np.exp(logs - logs.max())  # [share, shape, model_sd, misfit_sd]
    weights /= weights.sum()
    means = (weights.sum((0, 1, 3)) @ MODEL_SDS**2, weights.sum((0, 1, 2)) @ MISFIT_SDS**2,
             weights.sum((1, 2, 3)) @ np.square(shares))  # fmt: skip
    return Sds(*np.sqrt(means).tolist(), *(weights.sum((0, 2, 3)) @ np.array(shapes)).tolist())


def _own_misfits(residual, of_law, same, near, label, chosen, error, every):
    """misfit_sd of the model of each point [point], whose labels are `every`: roots of the posterior means of their
    squares given the common one, theta integrated out; of a model without rows the common one.

    label [row]: the models of the rows. One model after the other, the others as they are, twice.
    """
    misfit, prior = np.full(len(label), chosen.misfit), 0.5 * (np.log(FACTORS) / OWN + OWN) ** 2
    rest = chosen.model**2 * same + of_law + np.diag(error**2)
    for name in [*dict.fromkeys(label)] * 2:
        tried = np.where(label == name, FACTORS[:, None] * chosen.misfit, misfit)  # [factor, row]
        logs = log_density(residual, rest + tried[:, :, None] * tried[:, None, :] * near) - prior
        weights = np.exp(logs - logs.max())
        misfit[label == name] = chosen.misfit * np.sqrt(weights @ FACTORS**2 / weights.sum())
    known = dict(zip(label, misfit, strict=True))
    return np.array([known.get(name, chosen.misfit) for name in every])


def log_density(residual, covariance):
    """ln of the normal density of residual [row], but for a constant, for each covariance [..., row, row]."""
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, residual[:, None])[..., 0]
    return -0.5 * (white**2).sum(-1) - np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
