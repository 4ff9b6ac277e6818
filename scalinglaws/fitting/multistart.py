"""From initial guesses to the best minimum, and from its residuals to Huber's delta.

Every start gets a budget of iterations; those that are neither converged nor far behind the best of their problem get
another, as long as it gains them anything. All starts of all problems of one law share batches.
"""

from dataclasses import replace

import numpy as np

from scalinglaws.fitting.batching import minimise_all
from scalinglaws.fitting.guesses import initial_guesses
from scalinglaws.fitting.problem import Problem, robust_sd
from scalinglaws.fitting.settings import DAMPINGS, MULTISTART, SOLVER
from scalinglaws.fitting.solver import Minima
from scalinglaws.schema import InputError


def estimate(problems: list[Problem], starts: int, seed: int, delta: float | None) -> list[tuple[Problem, Minima]]:
    """The problems of one law with the loss asked for, and their minima, best first; ask solved() of each.

    A Huber delta of None is 1.345 robust standard deviations of the residuals: those of least squares first, then those
    of the fit with that delta.
    """
    guesses = [_guesses(problem, starts, seed) for problem in problems]
    if problems[0].objective.loss.delta == np.inf or delta is not None:
        return list(zip(problems, multistart(problems, guesses), strict=True))
    minima = multistart([problem.with_loss(delta=np.inf) for problem in problems], guesses, MULTISTART.budget)
    for total in (MULTISTART.budget, MULTISTART.total):
        widths = [robust_sd(problem.residuals(each.theta[0]), len(problem.law.params))
                  for problem, each in zip(problems, minima, strict=True)]  # fmt: skip
        deltas = [float(np.fmax(MULTISTART.huber * width, MULTISTART.smallest_delta)) for width in widths]
        problems = [problem.with_loss(delta=each) for problem, each in zip(problems, deltas, strict=True)]
        minima = multistart(problems, [each.theta for each in minima], total)
    return list(zip(problems, minima, strict=True))


def solved(problem: Problem, minima: Minima) -> Minima:
    """The minima, if any start has a finite objective; raises InputError otherwise."""
    if not np.isfinite(minima.objective).any():
        raise InputError(
            f"Law {problem.law.name!r} has no finite value at any start: check the unit of the inputs and of the "
            "quality, or give a law whose values stay positive."
        )
    return minima


def multistart(problems: list[Problem], starts: list[np.ndarray], total: int = MULTISTART.total) -> list[Minima]:
    """Every start [start, P] of every problem to its minimum, best first.

    total: further iterations of the starts that are slow but near the best.
    """
    objectives = [problem.objective for problem in problems]
    limits, mu = replace(SOLVER, iterations=MULTISTART.budget), None
    if problems[0].law.start is not None:  # the user's one start: tried with dampings that lead to different valleys
        limits, total = replace(SOLVER, iterations=MULTISTART.single_iterations), 0
        mu = [np.repeat(DAMPINGS, len(some)) for some in starts]
        starts = [np.tile(some, (len(DAMPINGS), 1)) for some in starts]
    minima = minimise_all(objectives, starts, limits, mu)
    gains = [np.full(len(each.objective), np.inf) for each in minima]
    for _ in range(-(-total // MULTISTART.budget)):
        slow = [_slow(each, gain) for each, gain in zip(minima, gains, strict=True)]
        late = [k for k, members in enumerate(slow) if len(members)]
        if not late:
            break
        mu = [np.full(len(slow[k]), SOLVER.mu_restart) for k in late]
        rest = minimise_all([objectives[k] for k in late], [minima[k].theta[slow[k]] for k in late], limits, mu)
        for k, more in zip(late, rest, strict=True):
            gains[k][slow[k]] = minima[k].objective[slow[k]] - more.objective
            minima[k] = minima[k].replaced(slow[k], more)
    best_first = [each.take(np.argsort(each.objective, kind="stable")) for each in minima]
    return [
        replace(each, theta=problem.law.sort(each.theta)) for problem, each in zip(problems, best_first, strict=True)
    ]


def _slow(minima, gain):
    """Positions of the starts worth another budget: not converged, near the best, and the last budget gained [start]
    them something."""
    near = minima.objective <= MULTISTART.near * np.nanmin(minima.objective)
    return np.flatnonzero(~minima.converged & near & (gain > MULTISTART.stall * minima.objective))


def _guesses(problem, starts, seed):
    """Initial guesses [start, P]; with very many rows, the different minima that they reach on some of the rows."""
    guesses = initial_guesses(problem, starts, seed)
    some = MULTISTART.thin * MULTISTART.subsample
    if problem.objective.rows <= some:
        return guesses
    keep = np.zeros(problem.objective.rows, bool)
    keep[np.random.default_rng(seed).choice(len(keep), some, replace=False)] = True
    thin = Problem.build(problem.law, problem.data.where(keep), replace(problem.objective.loss, delta=np.inf))
    natural = problem.coordinates.natural(guesses)
    minima = solved(thin, multistart([thin], [thin.coordinates.internal(natural)])[0])
    near = minima.objective <= MULTISTART.thin_near * minima.objective[0]
    _, first = np.unique(np.round(minima.objective[near] / minima.objective[0], 6), return_index=True)
    return problem.coordinates.internal(thin.coordinates.natural(minima.theta[near][np.sort(first)]))
