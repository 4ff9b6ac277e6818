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
ROUNDS = 40  # of widening and of narrowing a profile
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
    search = _Search.start(setup, best, noise_variance(fit.setup, fit.minima.theta[0]), _student(fit, level))
    low, high = search.ends()
    places = np.arange(len(best))
    natural = [np.diag(setup.coordinates.natural(np.where(np.eye(len(best), dtype=bool), end[places][:, None], best)))
               for end in (low, high)]  # fmt: skip
    return _table(fit, *natural)


@dataclass
class _Search:
    """Both ends of every parameter: member k moves parameter k % count, down first, then up."""

    setup: Setup
    best: np.ndarray  # [parameter], uncentred internal
    scale: float
    goal: float
    step: np.ndarray  # [member], signed first guess of the distance
    path: np.ndarray  # [member, parameter], how the others follow per unit of the moved one

    @classmethod
    def start(cls, setup, best, scale, goal):
        matrix = covariance(setup, best, np.sqrt(scale), internal=True)
        error = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        path = matrix / np.maximum(np.diag(matrix), 1e-300)[:, None]
        step = np.concatenate([-goal * error, goal * error])
        return cls(setup, best, scale, goal, step, np.concatenate([path, path]))

    def zeta(self, distance):
        """How far the objective has risen [member] with each parameter held at best + distance."""
        count = len(self.best)
        member, place = np.arange(2 * count), np.tile(np.arange(count), 2)
        lower, upper = (np.tile(edge, (2 * count, 1)) for edge in (self.setup.coordinates.lower,
                                                                     self.setup.coordinates.upper))  # fmt: skip
        held = np.clip(self.best[place] + distance, lower[member, place], upper[member, place])
        theta = np.clip(self.best + self.path * (held - self.best[place])[:, None], lower, upper)
        theta[member, place] = lower[member, place] = upper[member, place] = held
        found = minimise(self.setup.problem.with_(lower=lower, upper=upper), theta)
        floor = minimise(self.setup.problem, self.best[None]).objective[0]
        rise = np.maximum(found.objective - floor, 0.0)
        return np.where(np.isfinite(rise), np.sqrt(2 * rise / self.scale), np.inf)

    def ends(self):
        """Low and high [parameter]: widen until the goal is passed or a bound stops it, then narrow by secants."""
        count = len(self.best)
        place = np.tile(np.arange(count), 2)
        edge = np.where(self.step < 0, self.setup.coordinates.lower[place], self.setup.coordinates.upper[place])
        limit = edge - self.best[place]  # signed distance to the bound
        inside, outside = np.zeros(2 * count), self.step.copy()
        z_in, z_out = np.zeros(2 * count), np.zeros(2 * count)
        for _ in range(ROUNDS):
            outside = np.sign(self.step) * np.minimum(np.abs(outside), np.abs(limit))
            z_out = self.zeta(outside)
            short = (z_out < self.goal) & (np.abs(outside) < np.abs(limit)) & (np.abs(outside) < 1e3)
            if not short.any():
                break
            inside, z_in = np.where(short, outside, inside), np.where(short, z_out, z_in)
            outside = np.where(short, 2 * outside, outside)
        stopped = z_out < self.goal
        for _ in range(ROUNDS):
            share = np.where(np.isfinite(z_out), (self.goal - z_in) / np.maximum(z_out - z_in, 1e-300), 0.5)
            middle = inside + np.clip(share, 0.05, 0.95) * (outside - inside)
            z = self.zeta(middle)
            above = z >= self.goal
            outside, z_out = np.where(above & ~stopped, middle, outside), np.where(above & ~stopped, z, z_out)
            inside, z_in = np.where(above | stopped, inside, middle), np.where(above | stopped, z_in, z)
            close = np.abs(z - self.goal) < NARROW * self.goal
            if (close | stopped).all():
                break
        found = self.best[place] + np.where(stopped, limit, middle)
        return found[:count], found[count:]


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
