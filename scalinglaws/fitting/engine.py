"""From rows to the best parameters: a problem, its starts, the solver, and the noise that sets delta."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from scalinglaws.fitting.coordinates import Coordinates, model_of
from scalinglaws.fitting.objective import Loss
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.rows import Rows
from scalinglaws.fitting.seeds import SUBSAMPLE, general_seeds, power_seeds
from scalinglaws.fitting.solver import Minimum
from scalinglaws.fitting.stacked import minimise_all
from scalinglaws.laws import Law
from scalinglaws.schema import InputError

TUNING = 1.345  # Huber's constant: delta in units of the noise, 95 % efficient for normal noise
SMALLEST_DELTA = 1e-7  # below this the noise is rounding
DAMPINGS = np.array([1e-2, 0.3, 1.0, 5.0, 30.0, 1e3, 1e5, 1e7])  # where a single start begins
THIN = 8  # more rows than THIN x SUBSAMPLE are fitted in two stages
HEAT = 50  # iterations of every start
LAP = 200  # further ones of those that are slow but near the best
CREEP = 1e-7  # relative fall over HEAT iterations below which a start creeps along a flat valley and stops
NEAR = 2.0  # times the best objective: who goes on
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
    model, coordinates = model_of(law, rows.x, rows.y, centre)
    target = loss.transform(rows.y)
    boxed = np.isfinite(coordinates.lower) & np.isfinite(coordinates.upper)
    reach = np.where(coordinates.positive, 5.0, np.where(boxed, 2.0, np.inf))
    problem = Problem(model, target, loss, coordinates.lower, coordinates.upper, reach, rows.spread, rows.weight)
    return Setup(law, rows, problem, coordinates)


def cold_starts(setup: Setup, count: int, seed: int) -> np.ndarray:
    """Starts [start, parameter] from variable projection, on at most SUBSAMPLE rows."""
    rng = np.random.default_rng(seed)
    rows, coordinates = setup.rows, setup.coordinates
    pick = slice(None) if len(rows.y) <= SUBSAMPLE else rng.choice(len(rows.y), SUBSAMPLE, replace=False)
    y = rows.y[pick]
    log = setup.problem.loss.logarithmic
    scale = 1 / y if log else np.full(len(y), 1 / np.abs(y).mean())
    if rows.spread is not None:
        scale = scale / rows.spread[pick]
    if setup.law.function is None:
        features = [f[pick] for f in setup.problem.model.features]
        box = coordinates.lower, coordinates.upper
        return power_seeds(setup.problem.model.index, features, box, y, scale, count, rng)
    x = {symbol: values[pick] for symbol, values in rows.x.items()}
    return coordinates.internal(general_seeds(setup.law, x, y, scale, log, count, rng))


def thin_out(setup: Setup, seeds: np.ndarray, seed: int) -> np.ndarray:
    """With very many rows the starts go to their minima on some rows; only different minima go on with all."""
    keep = np.zeros(setup.problem.rows, bool)
    keep[np.random.default_rng(seed).choice(len(keep), THIN * SUBSAMPLE, replace=False)] = True
    loss = replace(setup.problem.loss, delta=np.inf)
    some = set_up(setup.law, setup.rows.where(keep), loss)
    natural = setup.coordinates.natural(seeds)
    found = solve(some, some.coordinates.internal(natural))
    near = found.objective <= 1.5 * found.objective[0]
    _, first = np.unique(np.round(found.objective[near] / found.objective[0], 6), return_index=True)
    return setup.coordinates.internal(some.coordinates.natural(found.theta[near][np.sort(first)]))


def race(problems: list[Problem], starts: list[np.ndarray], lap: int) -> list[Minimum]:
    """Every start for a while, then those that are neither settled nor far behind the best one of their problem.

    They go on for HEAT iterations at a time, up to lap, as long as that gains them anything to speak of.
    """
    found = minimise_all(problems, starts, HEAT)
    fall = [np.full(len(f.objective), np.inf) for f in found]
    for _ in range(-(-lap // HEAT)):
        on = [np.flatnonzero(~f.settled & (f.objective <= NEAR * np.nanmin(f.objective)) & (gain > CREEP * f.objective))
              for f, gain in zip(found, fall, strict=True)]  # fmt: skip
        late = [k for k, some in enumerate(on) if len(some)]
        if not late:
            break
        rest = minimise_all([problems[k] for k in late], [found[k].theta[on[k]] for k in late], HEAT,
                            mu=[np.full(len(on[k]), 0.1) for k in late])  # fmt: skip
        for k, more in zip(late, rest, strict=True):
            fall[k][on[k]] = found[k].objective[on[k]] - more.objective
            for name in Minimum.__dataclass_fields__:
                getattr(found[k], name)[on[k]] = getattr(more, name)
    return found


def solve(setup: Setup, starts: np.ndarray, lap: int = LAP) -> Minimum:
    """Every start to its minimum, the best one first; lap: iterations of those that are slow but near the best."""
    return solvable(setup, solve_all([setup], [starts], lap)[0])


def solve_all(setups: list[Setup], starts: list[np.ndarray], lap: int = LAP) -> list[Minimum]:
    """solve() for several setups of one law, in batches."""
    problems = [setup.problem for setup in setups]
    if setups[0].law.start is not None:  # one start given: tried with dampings that lead to different valleys
        mu = [np.repeat(DAMPINGS, len(some)) for some in starts]
        found = minimise_all(problems, [np.tile(some, (len(DAMPINGS), 1)) for some in starts], 2_000, mu=mu)
    else:
        found = race(problems, starts, lap)
    return [_best_first(setup, each) for setup, each in zip(setups, found, strict=True)]


def _best_first(setup, found):
    found = replace(found, theta=setup.law.sort(found.theta))
    order = np.argsort(found.objective, kind="stable")
    return Minimum(*(getattr(found, name)[order] for name in Minimum.__dataclass_fields__))


def solvable(setup: Setup, found: Minimum) -> Minimum:
    """What was found, if any start has a finite objective."""
    if not np.isfinite(found.objective).any():
        raise InputError(
            f"Law {setup.law.name!r} has no finite value at any start: check the unit of the inputs and of the "
            "quality, or give a law whose values stay positive."
        )
    return found


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


def fit_rows(setup: Setup, starts: int, seed: int, delta: float | None, seeds=None) -> tuple[Setup, Minimum]:
    """Fit with the loss asked for; a Huber delta of None is TUNING times the noise, found in two rounds."""
    if seeds is not None:
        return setup, solve(setup, seeds)
    setup, found = fit_all([setup], starts, seed, delta)[0]
    return setup, solvable(setup, found)


def fit_all(setups: list[Setup], starts: int, seed: int, delta: float | None) -> list[tuple[Setup, Minimum]]:
    """fit_rows() for several setups of one law and kind of loss, in batches; ask solvable() of each."""
    seeds = [_seeds(setup, starts, seed) for setup in setups]
    if setups[0].problem.loss.delta == np.inf or delta is not None:
        return list(zip(setups, solve_all(setups, seeds), strict=True))
    found = solve_all([s.with_loss(replace(s.problem.loss, delta=np.inf)) for s in setups], seeds, HEAT)
    for lap in (HEAT, LAP):
        setups = [_with_delta(setup, each.theta[0]) for setup, each in zip(setups, found, strict=True)]
        found = solve_all(setups, [each.theta for each in found], lap)
    return list(zip(setups, found, strict=True))


def _seeds(setup, starts, seed):
    with np.errstate(all="ignore"):
        seeds = cold_starts(setup, starts, seed)
    return thin_out(setup, seeds, seed) if setup.problem.rows > THIN * SUBSAMPLE else seeds


def _with_delta(setup, theta):
    """The setup with a delta of TUNING times the noise at theta."""
    scale = noise(scaled_residuals(setup, theta), len(setup.law.params))
    return setup.with_loss(replace(setup.problem.loss, delta=float(np.fmax(TUNING * scale, SMALLEST_DELTA))))


def information(setup: Setup, theta: np.ndarray) -> np.ndarray:
    """J'J [parameter, parameter] of the weighted residuals at internal theta, summed in slices of rows."""
    at = theta[None]
    with np.errstate(all="ignore"):
        own = setup.problem.loss.transform(setup.problem.model.value(at))[0]
    problem = setup.problem.with_(target=own, loss=Loss(scale=setup.problem.loss.scale))
    return problem.evaluate(at, np.zeros(1, int), np.zeros(1))[2][0]


def noise_variance(setup: Setup, theta: np.ndarray) -> float:
    """sum psi² / E psi' / (n - p): RSS / (n - p) for squares, Huber's (1981, section 7.6) scale otherwise."""
    square, slope = robust_scale(setup, theta)
    return square / slope / max(setup.problem.rows - len(theta), 1)


def robust_scale(setup: Setup, theta: np.ndarray) -> tuple[float, float]:
    """sum psi² over rows, and E psi', the share of a normal noise of the residuals' robust width inside delta.

    The share counted instead is biased: a small delta makes the curve pass through as many points as it has
    parameters.
    """
    residual = scaled_residuals(setup, theta)
    pull = setup.problem.loss.pull(residual)
    weight = 1.0 if setup.rows.weight is None else setup.rows.weight
    delta, width = setup.problem.loss.delta, max(noise(residual, len(theta)), 1e-300)
    return float((weight * pull**2).sum()), float(erf(min(delta / width, 40.0) / np.sqrt(2)))


def whitened_jacobian(setup: Setup, theta: np.ndarray) -> np.ndarray:
    """J [row, parameter] of the residuals at internal theta, rows times sqrt(weight) / spread."""
    model, loss, rows = setup.problem.model, setup.problem.loss, setup.rows
    jacobian = model.jacobian(theta)
    if loss.logarithmic:
        jacobian = jacobian / (model.value(theta[None])[0] + loss.offset)[:, None]
    scale = 1.0 if rows.spread is None else 1.0 / rows.spread
    scale = scale if rows.weight is None else scale * np.sqrt(rows.weight)
    return jacobian * np.reshape(scale, (-1, 1))
