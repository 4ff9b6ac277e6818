"""Bootstrap replicates of a fit: configurations are resampled, never rows.

pair: configurations drawn with replacement. wild: the residuals of a configuration are multiplied by one random
number (Webb's six points, Cameron, Gelbach and Miller 2008). residual: residuals are pooled and drawn with random
sign, for few configurations and even noise. Small samples: residuals are divided by sqrt(1 - leverage), and every
replicate's deviation is scaled by sqrt(dof / chi²_dof), which turns normal tails into Student's. levels, a parametric
one, is in draws.py.
"""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting.batching import minimise_all
from scalinglaws.fitting.loss import Objective
from scalinglaws.fitting.options import METHODS
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.settings import BOOTSTRAP, DIAGNOSTICS, SOLVER
from scalinglaws.schema import InputError

WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))


def choose_method(method: str, clusters: int, rows: int) -> str:
    """What auto means: pooled residuals for few single rows, pairs for few configurations of several rows, else wild.

    Where trained models hold several rows each, draws.by_levels() goes before it.

    Measured at ten sizes with a cluster effect, 90 % intervals of the curve: pair 87 %, wild 80 %, single rows 40 %.
    InputError for a method that is not in METHODS.
    """
    if method not in METHODS:
        raise InputError(f"No bootstrap named {method!r}. Known: {', '.join(METHODS)}.")
    if method != "auto":
        return method
    if clusters >= BOOTSTRAP.few:
        return "wild"
    return "residual" if clusters == rows else "pair"


@dataclass(frozen=True)
class Resample:
    """R replicates of one problem before they are refitted."""

    place: int  # of the problem among several
    theta: np.ndarray  # [P], where the refits start
    objective: Objective  # with resampled weights or targets [R, N]
    scale: np.ndarray  # [R], Student's
    scaled_after: bool  # the scale multiplies the refits' deviations; else it is in the targets

    @property
    def starts(self) -> np.ndarray:
        return np.tile(self.theta, (len(self.scale), 1))

    def replicates(self, refits) -> np.ndarray:
        """[R, P] from refits [R, P], with Student's tails."""
        return self.theta + (refits - self.theta) * self.scale[:, None] if self.scaled_after else refits


def refitted(problems: list[Problem], resamples) -> list[np.ndarray]:
    """Internal parameters [replicate, P] of each problem of one law, refitted to its resamples in common batches.

    Each problem's replicates do not depend on which others are there.
    """
    limits = replace(SOLVER, iterations=BOOTSTRAP.iterations, stall_tolerance=BOOTSTRAP.stall_tolerance)
    parts = [[] for _ in problems]
    with np.errstate(all="ignore"):
        for block in _blocks(resamples):
            refits = minimise_all([r.objective for r in block], [r.starts for r in block], limits)
            for resample, refit in zip(block, refits, strict=True):
                parts[resample.place].append(resample.replicates(refit.theta))
    return [problem.law.sort(np.concatenate(part)) for problem, part in zip(problems, parts, strict=True)]


def _blocks(resamples):
    """Lists of resamples of at most about BOOTSTRAP.block numbers."""
    held, numbers = [], 0
    for resample in resamples:
        size = len(resample.scale) * resample.objective.rows
        if held and numbers + size > BOOTSTRAP.block:
            yield held
            held, numbers = [], 0
        held.append(resample)
        numbers += size
    if held:
        yield held


def resamples(place: int, problem: Problem, theta, count: int, seed: int, method: str):
    """The replicates of one problem with its minimum theta [P] before they are refitted, in blocks."""
    method = choose_method(method, problem.data.clusters, problem.objective.rows)
    rng = np.random.default_rng([seed, BOOTSTRAP.stream])
    block = max(1, BOOTSTRAP.block // problem.objective.rows)
    for k in range(0, count, block):
        yield _resample(place, problem, theta, min(block, count - k), rng, method)


def _resample(place, problem, theta, count, rng, method) -> Resample:
    objective, clusters, rows = problem.objective, problem.data.clusters, problem.objective.rows
    scale = student_scale(degrees_of_freedom(problem), count, rng)
    if method == "pair":
        weight = pair_weights(problem, count, rng)
        return Resample(place, theta, objective.with_(weight=weight), scale, scaled_after=True)
    residual = objective.residuals(theta[None])[0]
    fitted = residual + objective.target
    if method == "wild":
        signs = rng.choice(np.concatenate([WEBB, -WEBB]), (count, clusters))[:, problem.data.cluster]
        shocks = residual * hc2_scale(problem, theta) * np.sqrt(clusters / max(clusters - 1, 1)) * signs
    else:
        sigma = 1.0 if problem.data.sigma is None else problem.data.sigma
        pool = residual * np.sqrt(rows / max(rows - len(theta), 1)) / sigma
        signs = rng.choice([-1.0, 1.0], (count, rows))
        shocks = rng.choice(pool, (count, rows)) * signs * sigma
    target = fitted + scale[:, None] * shocks
    return Resample(place, theta, objective.with_(target=target), scale, scaled_after=False)


def degrees_of_freedom(problem: Problem) -> int:
    """Rows minus parameters, or configurations minus one where configurations hold several rows; at least 1."""
    clusters, rows, parameters = problem.data.clusters, problem.objective.rows, len(problem.law.params)
    return max(rows - parameters if clusters == rows else min(clusters - 1, rows - parameters), 1)


def student_scale(dof: int, count: int, rng) -> np.ndarray:
    """sqrt(dof / chi²_dof) [count]: normal deviations times this are Student's."""
    return np.minimum(np.sqrt(dof / rng.chisquare(dof, count)), BOOTSTRAP.student_most)


def pair_weights(problem: Problem, count: int, rng) -> np.ndarray:
    """How often each row is drawn [count, N]; draws of too few different configurations are repeated."""
    clusters, rows, parameters = problem.data.clusters, problem.objective.rows, len(problem.law.params)
    need = min(parameters + 1 if clusters == rows else 3, clusters - 1)
    even = np.full(clusters, 1 / clusters)
    times = rng.multinomial(clusters, even, count)
    for _ in range(BOOTSTRAP.redraws):
        poor = np.flatnonzero((times > 0).sum(axis=1) < need)
        if not len(poor):
            break
        times[poor] = rng.multinomial(clusters, even, len(poor))
    weight = times[:, problem.data.cluster].astype(float)
    return weight if problem.data.weight is None else weight * problem.data.weight


def hc2_scale(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """1 / sqrt(1 - leverage) [N] (MacKinnon and White 1985, HC2); the mean leverage where there are many rows."""
    rows, count = problem.objective.rows, len(theta)
    mean = np.full(rows, np.sqrt(rows / max(rows - count, 1)))
    if rows > DIAGNOSTICS.dense:
        return mean
    jacobian = problem.jacobian(theta)
    size = np.sqrt((jacobian**2).sum(axis=0))
    basis, _ = np.linalg.qr(jacobian / np.where(size > 0, size, 1.0))
    leverage = (basis**2).sum(axis=1)
    return 1 / np.sqrt(1 - np.minimum(leverage, 1 - 1 / mean**2 / 4)) if np.isfinite(leverage).all() else mean
