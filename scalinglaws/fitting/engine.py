"""From rows to the best parameters: a problem, its starts, the solver, and the noise that sets delta."""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting.coordinates import Coordinates, power_model
from scalinglaws.fitting.objective import Loss
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.rows import Rows
from scalinglaws.fitting.seeds import SUBSAMPLE, power_seeds
from scalinglaws.fitting.solver import Minimum, minimise
from scalinglaws.laws import Law
from scalinglaws.schema import InputError

TUNING = 1.345  # Huber's constant: delta in units of the noise, 95 % efficient for normal noise
SMALLEST_DELTA = 1e-7  # below this the noise is rounding
MAD = 1.4826  # normal standard deviation over median absolute deviation


@dataclass(frozen=True)
class Setup:
    """A law on rows, ready for the solver."""

    law: Law
    rows: Rows
    problem: Problem
    coordinates: Coordinates

    def with_loss(self, loss: Loss) -> "Setup":
        return replace(self, problem=self.problem.with_(loss=loss))


def set_up(law: Law, rows: Rows, loss: Loss, centre: bool = True) -> Setup:
    """The problem of fitting law to rows."""
    model, coordinates = power_model(law, rows.x, rows.y, centre)
    target = np.log(rows.y) if loss.scale == "log" else rows.y
    reach = np.where(coordinates.positive, 5.0, 2.0)
    problem = Problem(model, target, loss, coordinates.lower, coordinates.upper, reach, rows.spread, rows.weight)
    return Setup(law, rows, problem, coordinates)


def cold_starts(setup: Setup, count: int, seed: int) -> np.ndarray:
    """Starts [start, parameter] from variable projection, on at most SUBSAMPLE rows."""
    rng = np.random.default_rng(seed)
    model, coordinates, y = setup.problem.model, setup.coordinates, setup.rows.y
    pick = slice(None) if len(y) <= SUBSAMPLE else rng.choice(len(y), SUBSAMPLE, replace=False)
    scale = 1 / y[pick] if setup.problem.loss.scale == "log" else np.full(len(y[pick]), 1 / y[pick].mean())
    if setup.rows.spread is not None:
        scale = scale / setup.rows.spread[pick]
    features = [f[pick] for f in model.features]
    box = coordinates.lower, coordinates.upper
    return power_seeds(model.index, features, box, y[pick], scale, count, rng)


def solve(setup: Setup, starts: np.ndarray) -> Minimum:
    """Every start to its minimum, the best one first."""
    found = minimise(setup.problem, starts)
    if not np.isfinite(found.objective).any():
        raise InputError(
            f"Law {setup.law.name!r} has no finite value at any start: check the unit of the inputs and of the "
            "quality, or give a law whose values stay positive."
        )
    order = np.argsort(found.objective, kind="stable")
    return Minimum(*(getattr(found, name)[order] for name in Minimum.__dataclass_fields__))


def noise(residuals: np.ndarray, count: int) -> float:
    """Robust standard deviation of residuals [row] after fitting count parameters.

    The median absolute residual without the count smallest, which a robust fit makes zero.
    """
    size = np.sort(np.abs(residuals))
    spare = max(len(size) - count, 1)
    return float(MAD * np.median(size[-spare:]))


def scaled_residuals(setup: Setup, theta) -> np.ndarray:
    """Residuals [row] at internal theta [parameter], in units of their relative standard errors."""
    residuals = setup.problem.residuals(theta[None])[0]
    return residuals if setup.rows.spread is None else residuals / setup.rows.spread


def fit_rows(setup: Setup, starts: int, seed: int, delta: float | None) -> tuple[Setup, Minimum]:
    """Fit with the loss asked for; a Huber delta of None is TUNING times the noise, found in two rounds."""
    loss = setup.problem.loss
    seeds = cold_starts(setup, starts, seed)
    if loss.delta == np.inf or delta is not None:
        return setup, solve(setup, seeds)
    found = solve(setup.with_loss(replace(loss, delta=np.inf)), seeds)
    for _ in range(2):
        scale = noise(scaled_residuals(setup, found.theta[0]), len(setup.law.params))
        setup = setup.with_loss(replace(loss, delta=max(TUNING * scale, SMALLEST_DELTA)))
        found = solve(setup, found.theta)
    return setup, found


def information(setup: Setup, theta: np.ndarray) -> np.ndarray:
    """J'J [parameter, parameter] of the weighted residuals at internal theta, summed in slices of rows."""
    at = theta[None]
    value = setup.problem.model.value(at)
    own = (np.log(value) if setup.problem.loss.scale == "log" else value)[0]
    problem = setup.problem.with_(target=own, loss=Loss(scale=setup.problem.loss.scale))
    return problem.evaluate(at, np.zeros(1, int), np.zeros(1))[2][0]
