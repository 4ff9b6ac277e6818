"""How far a fit can be trusted, as numbers: basins, bounds, conditioning, floor, patterns in the residuals."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import fdtrc

from scalinglaws.fitting.model import PowerSum
from scalinglaws.fitting.problem import Problem, robust_sd
from scalinglaws.fitting.settings import DIAGNOSTICS, SOLVER
from scalinglaws.fitting.solver import Minima, minimise


@dataclass(frozen=True)
class Trust:
    """The state of one fit."""

    starts: int
    agreed: int  # starts that reached the best objective
    gap: float | None  # relative rise of the objective to the next basin, None if no start ended elsewhere
    converged: bool  # the best start met the stopping rule
    on_bound: tuple[str, ...]
    condition: float  # of the Jacobian with columns of length one
    floor_identified: bool | None  # None if the law has no floor
    against_constant: float  # p-value: could a constant explain the rows as well? 1 if they change the wrong way
    inactive: tuple[str, ...]  # inputs along which the fitted curve changes by less than 0.1 %


def assess(problem: Problem, minima: Minima) -> Trust:
    """Look at a finished fit."""
    best, theta, c = minima.objective[0], minima.theta[0], problem.coordinates
    with np.errstate(all="ignore"):
        same = minima.objective <= best * (1 + DIAGNOSTICS.same) + 1e-20
        other = minima.objective[~same & np.isfinite(minima.objective)]
        on_bound = (theta <= c.lower) | (theta >= c.upper)
        return Trust(
            starts=len(same), agreed=int(same.sum()), converged=bool(minima.converged[0]),
            gap=float(other.min() / max(best, 1e-300) - 1) if len(other) else None,
            on_bound=tuple(name for name, hit in zip(problem.law.params, on_bound, strict=True) if hit),
            condition=condition(problem, theta), floor_identified=floor_identified(problem, minima),
            against_constant=against_constant(problem, minima), inactive=inactive_inputs(problem, theta),
        )  # fmt: skip


def condition(problem: Problem, theta: np.ndarray) -> float:
    """Condition number of the Jacobian in internal coordinates, columns scaled to length one; inf if singular or not
    finite."""
    gram = problem.information(theta)
    size = np.sqrt(np.diag(gram))
    scaled = gram / np.outer(size, size)
    if not np.isfinite(scaled).all():  # a column of length 0 gives 0 / 0
        return float("inf")
    values = np.linalg.eigvalsh(scaled)
    return float(np.sqrt(values[-1] / values[0])) if values[0] > 1e-15 else float("inf")


def calibration(problem: Problem, theta: np.ndarray) -> float:
    """c of -2 ln L = c n ln(F / n), with F the sum of losses: 1 for squares, 1.27 for absolute values of normal noise.

    c = 2 F E psi' / sum psi²: then a superfluous parameter lowers -2 ln L by chi² of one degree of freedom whatever
    delta is (Schrader and Hettmansperger 1980, Biometrika 67:93; Ronchetti 1985, Statistics and Probability Letters
    3:21). Measured: 1.06 to 1.14 on average for deltas from 0.05 to 1.3 noises, 1.13 for squares on the same tables.
    """
    square, slope = problem.psi_moments(theta)
    z, loss = problem.residuals(theta), problem.objective.loss
    weight = 1.0 if problem.data.weight is None else problem.data.weight
    total = float((weight * loss.rho(z, loss.psi(z))).sum())
    return 2 * total * slope / square if square > 0 and slope > 0 else 1.0


def floor_identified(problem: Problem, minima: Minima) -> bool | None:
    """Whether taking the floor away makes the fit worse by more than chance (5 %); None if the law has no floor."""
    law = problem.law
    if law.floor is None or law.floor not in law.params:
        return None
    place, lower = law.params.index(law.floor), problem.coordinates.lower
    if minima.theta[0, place] <= lower[place]:
        return False
    held = lower[place]  # no floor: from several minima, and from flatter curves
    low, high = lower.copy(), problem.coordinates.upper.copy()
    low[place] = high[place] = held
    starts = minima.theta[: DIAGNOSTICS.basins].copy()
    starts[:, place] = held
    flatter, exponents = starts.copy(), ~problem.coordinates.positive
    flatter[:, exponents] = flatter[:, exponents] * 0.5
    limits = replace(SOLVER, iterations=DIAGNOSTICS.iterations)
    without = problem.objective.with_(lower=low, upper=high)
    bare = float(minimise(without, np.concatenate([starts, flatter]), limits=limits).objective.min())
    return rise_by_chance(problem, minima, bare, 1) < DIAGNOSTICS.floor


def rise_by_chance(problem: Problem, minima: Minima, objective: float, fewer: int) -> float:
    """p-value that a law with fewer parameters and this objective is as good: F test, by calibration()."""
    spare, best = max(problem.objective.rows - len(problem.law.params), 1), minima.objective[0]
    if best <= 1e-24 * problem.objective.rows:
        return float(objective <= 1e-20)
    ratio = np.log(max(objective / best, 1.0)) * calibration(problem, minima.theta[0])
    return float(fdtrc(fewer, spare, spare * np.expm1(min(ratio, 300.0)) / fewer))


def against_constant(problem: Problem, minima: Minima) -> float:
    """p-value that one constant explains the rows as well as the law, or as a straight line in logarithms."""
    level, wide = np.full((1, 1), np.log(np.abs(problem.data.y).mean())), np.array([1e3])
    constant = PowerSum((np.array([0]),), (np.ones((problem.objective.rows, 1)),), 1)
    flat = problem.objective.with_(model=constant, lower=-wide, upper=wide, max_step=np.array([5.0]))
    fewer = max(len(problem.law.params) - 1, 1)
    by_law = rise_by_chance(problem, minima, float(minimise(flat, level).objective[0]), fewer)
    return min(by_law, straight_line(problem))


def straight_line(problem: Problem) -> float:
    """p-value of the F test that ln quality does not change along ln inputs; 1 if it only changes the wrong way."""
    law = problem.law
    if not problem.objective.loss.logarithmic or not law.measures:
        return 1.0
    y = np.log(problem.data.y)
    x = np.column_stack([np.ones(len(y)), *(logarithms(problem)[s] for s in law.measures)])
    slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
    rest, total = np.sum((y - x @ slopes) ** 2), np.sum((y - y.mean()) ** 2)
    used, spare = len(slopes) - 1, len(y) - len(slopes)
    wrong = {"falls": (slopes[1:] >= 0).all(), "rises": (slopes[1:] <= 0).all()}.get(law.trend, False)
    if wrong or spare < 1 or total <= 0:
        return 1.0
    return float(fdtrc(used, spare, (total - rest) / used / max(rest / spare, 1e-300)))


def inactive_inputs(problem: Problem, theta: np.ndarray) -> tuple[str, ...]:
    """Inputs along which the fitted curve changes by less than 0.1 % over the whole range of the data."""
    law, x = problem.law, problem.data.x
    natural = problem.coordinates.natural(theta)
    inactive = []
    for symbol in law.measures if problem.objective.loss.logarithmic else ():
        ends = [law.curve(natural, x | {symbol: np.full(len(x[symbol]), end)})
                for end in (x[symbol].min(), x[symbol].max())]  # fmt: skip
        if np.abs(np.log(ends[0] / ends[1])).max() < DIAGNOSTICS.inactive:
            inactive.append(symbol)
    return tuple(inactive)


def patterns(problem: Problem, theta: np.ndarray) -> dict[str, float]:
    """p-values that the residuals follow the square of ln x or a product of two inputs: {"curvature in S": p, ...}."""
    residual = problem.residuals(theta)
    noise = robust_sd(residual, len(theta))
    residual = np.clip(residual, -3 * noise, 3 * noise) if noise > 0 else residual  # outliers are no pattern
    unit = {s: (v - v.mean()) / v.std() for s, v in logarithms(problem).items()}
    names = list(unit)
    columns = {f"curvature in {s}": unit[s] ** 2 for s in names if len(np.unique(unit[s])) > 3}
    columns |= {f"{s} and {t} interact": unit[s] * unit[t] for k, s in enumerate(names) for t in names[k + 1 :]}
    return {name: _extra_column(problem, theta, residual, column) for name, column in columns.items()}


def logarithms(problem: Problem) -> dict[str, np.ndarray]:
    """ln of the inputs [N], or the inputs themselves where they may be negative."""
    law = problem.law
    return {s: x if law.signed or s not in law.measures else np.log(x) for s, x in problem.data.x.items()}


def _extra_column(problem, theta, residual, column) -> float:
    """F test of one more column beside the logarithms, least squares; 1 where no degree of freedom is left."""
    basis = np.column_stack([np.ones(len(residual)), *logarithms(problem).values()])
    spare = len(residual) - len(theta) - 1
    if spare < 2:
        return 1.0
    column = column - basis @ np.linalg.lstsq(basis, column, rcond=None)[0]
    rest = residual - basis @ np.linalg.lstsq(basis, residual, rcond=None)[0]
    size, total = column @ column, rest @ rest
    if size < 1e-12 * len(column) or total <= 1e-24 * len(column):
        return 1.0
    explained = (column @ rest) ** 2 / size
    return float(fdtrc(1, spare, explained / max((total - explained) / spare, 1e-300)))


def uneven(problem: Problem, theta: np.ndarray) -> tuple[float, dict[str, float]]:
    """(p-value that the noise is even, {input: noise at its largest value over that at its smallest}).

    The F test of the absolute residuals along ln of all inputs (Glejser 1969, JASA 64:316), outliers cut to three
    noises. On 40 tables of six sizes and eight steps each it is below 0.01 in none where the noise is even, and in 82 %
    where it grows ten times.
    """
    residual = problem.residuals(theta)
    noise = robust_sd(residual, len(theta))
    size, logs = np.minimum(np.abs(residual), 3 * noise), logarithms(problem)
    design = np.column_stack([np.ones(len(size)), *logs.values()])
    spare = len(size) - np.linalg.matrix_rank(design) - len(theta)
    if spare < DIAGNOSTICS.enough or not noise > 0:
        return 1.0, {}
    slopes = np.linalg.lstsq(design, size, rcond=None)[0]
    rest, total = ((size - design @ slopes) ** 2).sum(), ((size - size.mean()) ** 2).sum()
    p = float(fdtrc(len(logs), spare, (total - rest) / len(logs) / max(rest / spare, 1e-300)))
    ends = {s: size.mean() + slope * (np.array([x.min(), x.max()]) - x.mean())
            for (s, x), slope in zip(logs.items(), slopes[1:], strict=True)}  # fmt: skip
    least = noise / 20
    return p, {s: float(max(high, least) / max(low, least)) for s, (low, high) in ends.items()}


def cluster_effects(problem: Problem, theta: np.ndarray) -> dict[str, float]:
    """p-values that rows with the same value of an input share an error (one-way analysis of variance).

    Empty where several rows already share a configuration: the bootstrap then resamples them as one.
    """
    residual, effects = problem.residuals(theta), {}
    if problem.data.clusters < len(residual):
        return effects
    for symbol in problem.law.measures:
        _, group, size = np.unique(problem.data.x[symbol], return_inverse=True, return_counts=True)
        spare = len(residual) - len(size) - len(theta)
        if len(size) < 3 or spare < 3:
            continue
        mean = np.bincount(group.reshape(-1), residual) / size
        between, total = (size * mean**2).sum(), (residual**2).sum()
        if total > 1e-24 * len(residual):
            ratio = between / (len(size) - 1) / max((total - between) / spare, 1e-300)
            effects[symbol] = float(fdtrc(len(size) - 1, spare, ratio))
    return effects
