"""Profile intervals (Bates and Watts 1988, chapter 6), both ends of every parameter in one batch.

A parameter is moved and held, the others are fitted again; zeta = sqrt(2 (F - F*) / scale) is compared with Student's
t. scale is the noise variance for squares and sum psi² / sum psi' for Huber. An end at a bound is that bound.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from scalinglaws.fitting.batching import minimise_all
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.settings import PROFILE, SOLVER
from scalinglaws.fitting.solver import Minima, minimise


def student_quantile(rows: int, parameters: int, level: float) -> float:
    """Student's t of a two-sided interval with rows - parameters degrees of freedom."""
    return float(stdtrit(max(rows - parameters, 1), (1 + level) / 2))


def profile_interval(problem: Problem, minima: Minima, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Low and high [P] of the natural parameters."""
    plain = Problem.build(problem.law, problem.data, problem.objective.loss, centre=False)  # moves what the user reads
    best = plain.coordinates.internal(problem.coordinates.natural(minima.theta[0]))
    scale = problem.noise_variance(minima.theta[0])
    goal = student_quantile(problem.objective.rows, len(problem.law.params), level)
    objective = minima.objective
    _, first = np.unique(np.round(objective / max(objective[0], 1e-300), 4), return_index=True)
    most = objective[0] + scale * goal**2 / 2  # other minima below this lie inside the interval: the best few
    within = [k for k in first if objective[0] * (1 + PROFILE.same) < objective[k] <= most]
    basins = plain.coordinates.internal(problem.coordinates.natural(minima.theta[within[: PROFILE.basins]]))
    ends = _Profile.start(plain, best, basins, scale, goal).ends()
    moved = np.eye(len(best), dtype=bool)
    low, high = (np.diag(plain.coordinates.natural(np.where(moved, end[:, None], best))) for end in ends)
    return low, high


@dataclass(frozen=True)
class _Profile:
    """Both ends of every parameter: end k moves parameter k % P, down first, then up."""

    problem: Problem
    best: np.ndarray  # [P], internal, not centred
    basins: np.ndarray  # [minimum, P], further places to begin
    scale: float
    goal: float
    lowest: float  # the objective at best
    step: np.ndarray  # [end], signed first guess of the distance
    path: np.ndarray  # [end, P], how the other parameters follow per unit of the moved one

    @classmethod
    def start(cls, problem, best, basins, scale, goal):
        matrix = problem.covariance(best, np.sqrt(scale), internal=True)
        variance = np.diag(matrix)
        error = np.where(variance > PROFILE.flat, np.sqrt(np.maximum(variance, PROFILE.flat)), PROFILE.unknown)
        path = matrix / np.maximum(variance, 1e-300)[:, None]
        lowest = float(minimise(problem.objective, best[None]).objective[0])
        step = np.concatenate([-goal * error, goal * error])
        return cls(problem, best, basins, scale, goal, lowest, step, np.concatenate([path, path]))

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high [P], internal; an end that a bound stops, or that is not reached, is that far."""
        count = len(self.best)
        place = np.tile(np.arange(count), 2)
        c = self.problem.coordinates
        limit = np.where(self.step < 0, c.lower[place], c.upper[place]) - self.best[place]
        inside, outside, z_in, z_out = self._widened(limit)
        stopped = z_out < self.goal
        outside = self._narrowed(np.flatnonzero(~stopped), inside, outside, z_in, z_out)
        end = self.best[place] + np.where(stopped, limit, outside)
        return end[:count], end[count:]

    def zeta(self, distance, on):
        """sqrt(2 (F - F*) / scale) of these ends with the parameter of each held at best + distance."""
        count, member, place = len(self.best), np.arange(len(on)), on % len(self.best)
        c = self.problem.coordinates
        lower, upper = np.tile(c.lower, (len(on), 1)), np.tile(c.upper, (len(on), 1))
        held = np.clip(self.best[place] + distance, lower[member, place], upper[member, place])
        theta = np.clip(self.best + self.path[on] * (held - self.best[place])[:, None], lower, upper)
        lower[member, place] = upper[member, place] = held
        basins = np.broadcast_to(self.basins[:, None], (len(self.basins), *theta.shape))
        starts = np.concatenate([theta[None], basins])
        starts[:, member, place] = held
        tall = [np.tile(edge, (len(starts), 1)) for edge in (lower, upper)]
        objective = self.problem.objective.with_(lower=tall[0], upper=tall[1])
        limits = replace(SOLVER, iterations=PROFILE.iterations)
        refits = minimise_all([objective], [starts.reshape(-1, count)], limits)[0]
        rise = np.maximum(refits.objective.reshape(len(starts), -1).min(axis=0) - self.lowest, 0.0)
        return np.where(np.isfinite(rise), np.sqrt(2 * rise / self.scale), np.inf)

    def _widened(self, limit):
        """Distances inside and outside of each end, and zeta there: doubled until the goal is passed."""
        outside, inside = self.step.copy(), np.zeros_like(self.step)
        z_in, z_out, on = inside.copy(), inside.copy(), np.arange(len(inside))
        for _ in range(PROFILE.rounds):
            outside[on] = np.sign(self.step[on]) * np.minimum(np.abs(outside[on]), np.abs(limit[on]))
            z_out[on] = self.zeta(outside[on], on)
            far = (np.abs(outside) >= np.abs(limit)) | (np.abs(outside) >= PROFILE.farthest)
            on = on[(z_out[on] < self.goal) & ~far[on]]
            if not len(on):
                break
            inside[on], z_in[on], outside[on] = outside[on], z_out[on], 2 * outside[on]
        return inside, outside, z_in, z_out

    def _narrowed(self, on, inside, outside, z_in, z_out):
        """outside brought to the goal where it was passed: secants, every third time the middle."""
        for turn in range(PROFILE.rounds):
            if not len(on):
                break
            gap = np.maximum(z_out[on] - z_in[on], 1e-300)
            share = np.where(np.isfinite(z_out[on]), (self.goal - z_in[on]) / gap, 0.5)
            share = np.clip(share, 0.05, 0.95) if turn % 3 < 2 else 0.5
            middle = inside[on] + share * (outside[on] - inside[on])
            z = self.zeta(middle, on)
            above, hit = z >= self.goal, np.abs(z - self.goal) < PROFILE.narrow * self.goal
            up, down = on[above | hit], on[~above]
            outside[up], z_out[up] = middle[above | hit], z[above | hit]
            inside[down], z_in[down] = middle[~above], z[~above]
            on = on[~hit & (np.abs(outside[on] - inside[on]) > PROFILE.narrow * np.abs(outside[on]))]
        return outside
