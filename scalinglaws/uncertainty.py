"""How far the parameters may be off: bootstrap, profile and delta intervals, and how often they are right."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from scalinglaws.fitting.door import refit
from scalinglaws.fitting.engine import Setup, noise_variance, set_up
from scalinglaws.fitting.resample import covariance
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.solver import minimise
from scalinglaws.schema import InputError

METHODS = ("bootstrap", "profile", "delta")
ENOUGH = 100  # iterations of a refit with one parameter held, from nearby
ROUNDS = 40  # of widening and of narrowing a profile
FLAT, UNKNOWN = 1e-24, 0.1  # variance of a parameter that the tangent plane does not see, and where to begin then
FARTHEST = 1e3  # distance, in internal units, at which an end is not looked for any further
BASINS, SAME = 3, 1e-6  # other minima tried, and the relative rise that makes one another
NARROW = 1e-4  # of the interval's half width: when a profile end is found


def intervals(fit: Fit, level: float = 0.9, method: str = "bootstrap") -> pd.DataFrame:
    """value, low and high of every parameter.

    bootstrap: quantiles of fit.replicates; profile: where the profile objective has risen by what Student's t allows;
    delta: value +- t x standard error, symmetric.
    """
    if method not in METHODS:
        raise InputError(f"No intervals named {method!r}. Known: {', '.join(METHODS)}.")
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1; got {level!r}.")
    if method == "bootstrap":
        return fit.interval(level)
    if method == "profile":
        return profile(fit, level)
    errors = np.array([fit.standard_errors[name] for name in fit.law.params]) * _student(fit, level)
    return _table(fit, fit.theta - errors, fit.theta + errors)


def _student(fit: Fit, level: float) -> float:
    """Student's t for a two-sided interval with the fit's degrees of freedom."""
    return float(stdtrit(max(fit.rows - len(fit.law.params), 1), (1 + level) / 2))


def _table(fit, low, high):
    return pd.DataFrame({"value": fit.theta, "low": low, "high": high}, index=list(fit.law.params))


def profile(fit: Fit, level: float = 0.9) -> pd.DataFrame:
    """Profile intervals (Bates and Watts 1988, chapter 6), both ends of every parameter in one batch.

    A parameter is moved, the others are fitted again; zeta = sqrt(2 (F - F*) / scale) is compared with Student's t.
    scale is the noise variance for squares and sum psi² / sum psi' for Huber. An end at a bound is that bound.
    """
    setup = set_up(fit.law, fit.setup.rows, fit.setup.problem.loss, centre=False)
    best = setup.coordinates.internal(fit.theta)
    scale, goal = noise_variance(fit.setup, fit.minima.theta[0]), _student(fit, level)
    search = _Search.start(setup, best, _basins(fit, setup, scale * goal**2 / 2), scale, goal)
    low, high = search.ends()
    places = np.arange(len(best))
    natural = [np.diag(setup.coordinates.natural(np.where(np.eye(len(best), dtype=bool), end[places][:, None], best)))
               for end in (low, high)]  # fmt: skip
    return _table(fit, *natural)


def _basins(fit, setup, rise):
    """Other minima [minimum, parameter] that fit well enough to lie inside the interval, the best few."""
    objective = fit.minima.objective
    _, first = np.unique(np.round(objective / max(objective[0], 1e-300), 4), return_index=True)
    near = [k for k in first if objective[0] * (1 + SAME) < objective[k] <= objective[0] + rise][:BASINS]
    return setup.coordinates.internal(fit.setup.coordinates.natural(fit.minima.theta[near]))


@dataclass
class _Search:
    """Both ends of every parameter: member k moves parameter k % count, down first, then up."""

    setup: Setup
    best: np.ndarray  # [parameter], uncentred internal
    others: np.ndarray  # [minimum, parameter], further places to begin
    scale: float
    goal: float
    floor: float  # the objective at best
    step: np.ndarray  # [member], signed first guess of the distance
    path: np.ndarray  # [member, parameter], how the others follow per unit of the moved one

    @classmethod
    def start(cls, setup, best, others, scale, goal):
        matrix = covariance(setup, best, np.sqrt(scale), internal=True)
        spread = np.diag(matrix)
        error = np.where(spread > FLAT, np.sqrt(np.maximum(spread, FLAT)), UNKNOWN)
        path = matrix / np.maximum(np.diag(matrix), 1e-300)[:, None]
        step = np.concatenate([-goal * error, goal * error])
        floor = float(minimise(setup.problem, best[None]).objective[0])
        return cls(setup, best, others, scale, goal, floor, step, np.concatenate([path, path]))

    def zeta(self, distance, on):
        """How far the objective has risen [some member] with the parameter of each held at best + distance."""
        count = len(self.best)
        member, place = np.arange(len(on)), on % count
        lower, upper = (np.tile(edge, (len(on), 1)) for edge in (self.setup.coordinates.lower,
                                                                   self.setup.coordinates.upper))  # fmt: skip
        held = np.clip(self.best[place] + distance, lower[member, place], upper[member, place])
        theta = np.clip(self.best + self.path[on] * (held - self.best[place])[:, None], lower, upper)
        lower[member, place] = upper[member, place] = held
        starts = np.concatenate([theta[None], np.broadcast_to(self.others[:, None], (len(self.others), *theta.shape))])
        starts[:, member, place] = held
        tall = [np.tile(edge, (len(starts), 1)) for edge in (lower, upper)]
        found = minimise(self.setup.problem.with_(lower=tall[0], upper=tall[1]), starts.reshape(-1, count), ENOUGH)
        rise = np.maximum(found.objective.reshape(len(starts), -1).min(axis=0) - self.floor, 0.0)
        return np.where(np.isfinite(rise), np.sqrt(2 * rise / self.scale), np.inf)

    def ends(self):
        """Low and high [parameter]; an end that a bound stops, or that is not reached, is that far."""
        count = len(self.best)
        place = np.tile(np.arange(count), 2)
        edge = np.where(self.step < 0, self.setup.coordinates.lower[place], self.setup.coordinates.upper[place])
        inside, outside, z_in, z_out = self._widen(edge - self.best[place])
        stopped = z_out < self.goal
        self._narrow(np.flatnonzero(~stopped), inside, outside, z_in, z_out)
        found = self.best[place] + np.where(stopped, edge - self.best[place], outside)
        return found[:count], found[count:]

    def _widen(self, limit):
        """Distances inside and outside of each end, and the rise there: doubled until the goal is passed."""
        outside, inside = self.step.copy(), np.zeros_like(self.step)
        z_in, z_out, on = inside.copy(), inside.copy(), np.arange(len(inside))
        for _ in range(ROUNDS):
            outside[on] = np.sign(self.step[on]) * np.minimum(np.abs(outside[on]), np.abs(limit[on]))
            z_out[on] = self.zeta(outside[on], on)
            far = (np.abs(outside) >= np.abs(limit)) | (np.abs(outside) >= FARTHEST)
            on = on[(z_out[on] < self.goal) & ~far[on]]
            if not len(on):
                break
            inside[on], z_in[on], outside[on] = outside[on], z_out[on], 2 * outside[on]
        return inside, outside, z_in, z_out

    def _narrow(self, on, inside, outside, z_in, z_out):
        """Brings inside and outside together where the goal is passed: secants, every third time the middle."""
        for turn in range(ROUNDS):
            if not len(on):
                return
            share = np.where(
                np.isfinite(z_out[on]), (self.goal - z_in[on]) / np.maximum(z_out[on] - z_in[on], 1e-300), 0.5
            )
            share = np.clip(share, 0.05, 0.95) if turn % 3 < 2 else 0.5
            middle = inside[on] + share * (outside[on] - inside[on])
            z = self.zeta(middle, on)
            above, hit = z >= self.goal, np.abs(z - self.goal) < NARROW * self.goal
            up, down = on[above | hit], on[~above]
            outside[up], z_out[up] = middle[above | hit], z[above | hit]
            inside[down], z_in[down] = middle[~above], z[~above]
            on = on[~hit & (np.abs(outside[on] - inside[on]) > NARROW * np.abs(outside[on]))]


def coverage(fit: Fit, datasets: int = 200, level: float = 0.9, method: str = "bootstrap", seed: int = 0):
    """How often intervals contain the truth when the fit itself is the truth, on the fit's own design.

    Log-normal noise of fit.noise (normal on the raw scale) is added to the fitted curve, everything is refitted from
    cold. One row a parameter: cover, and mean half width over the value.
    """
    rng = np.random.default_rng(seed)
    curve, truth = fit.curve(fit.setup.rows.x), fit.theta
    hits, widths = np.zeros(len(truth)), np.zeros(len(truth))
    for _ in range(datasets):
        shock = fit.noise * rng.standard_normal(len(curve))
        value = curve + shock if fit.residual_scale == "raw" else curve * np.exp(shock)
        again = intervals(refit(fit, value), level, method)
        hits += (again["low"].to_numpy() <= truth) & (truth <= again["high"].to_numpy())
        widths += (again["high"] - again["low"]).to_numpy() / 2
    return pd.DataFrame({"cover": hits / datasets, "half_width": widths / datasets / np.abs(truth)},
                        index=list(fit.law.params))  # fmt: skip
