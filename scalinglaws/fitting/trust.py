"""How far a fit can be trusted, as numbers: basins, bounds, conditioning, floor, patterns in the residuals."""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from scalinglaws.fitting.engine import Setup, information, noise, robust_scale, scaled_residuals
from scalinglaws.fitting.powersum import PowerSum
from scalinglaws.fitting.solver import Minimum, minimise

BASINS, ENOUGH = 4, 80  # minima and iterations that a held parameter is tried from and for
PATTERN = 0.01  # p-value below which a pattern in the residuals is said
SAME = 1e-6  # relative difference of objectives below which two starts agree


@dataclass(frozen=True)
class Trust:
    """The state of one fit."""

    starts: int
    agreed: int  # starts that reached the best objective
    gap: float | None  # relative rise of the objective to the next basin, None if no start ended elsewhere
    settled: bool  # the best start met the stopping rule
    on_bound: tuple[str, ...]
    condition: float  # of the Jacobian with columns of length one
    floor_identified: bool | None  # None if the law has no floor
    against_constant: float  # p-value: could a constant explain the rows as well? near 1 there is no law
    silent: tuple[str, ...]  # inputs whose term adds less than the noise anywhere


def assess(setup: Setup, minima: Minimum) -> Trust:
    """Look at a finished fit."""
    with np.errstate(all="ignore"):
        return _assess(setup, minima)


def _assess(setup: Setup, minima: Minimum) -> Trust:
    best, theta = minima.objective[0], minima.theta[0]
    same = minima.objective <= best * (1 + SAME) + 1e-20
    other = minima.objective[~same & np.isfinite(minima.objective)]
    gap = float(other.min() / max(best, 1e-300) - 1) if len(other) else None
    at = (theta <= setup.coordinates.lower) | (theta >= setup.coordinates.upper)
    return Trust(
        starts=len(same), agreed=int(same.sum()), gap=gap, settled=bool(minima.settled[0]),
        on_bound=tuple(name for name, hit in zip(setup.law.params, at, strict=True) if hit),
        condition=condition(setup, theta), floor_identified=floor_identified(setup, minima),
        against_constant=against_constant(setup, minima), silent=silent_inputs(setup, theta),
    )  # fmt: skip


def condition(setup: Setup, theta: np.ndarray) -> float:
    """Condition number of the Jacobian in internal coordinates, columns scaled to length one; inf if singular."""
    gram = information(setup, theta)
    size = np.sqrt(np.diag(gram))
    if not (size > 0).all():
        return float("inf")
    values = np.linalg.eigvalsh(gram / np.outer(size, size))
    return float(np.sqrt(values[-1] / values[0])) if values[0] > 1e-15 else float("inf")


def calibration(setup: Setup, theta: np.ndarray) -> float:
    """c of -2 ln L = c n ln(F / n), with F the sum of losses: 1 for squares, 1.27 for absolute values of normal noise.

    c = 2 F E psi' / sum psi²: then a superfluous parameter lowers -2 ln L by chi² of one degree of freedom whatever
    delta is (Schrader and Hettmansperger 1980, Biometrika 67:93; Ronchetti 1985, Statistics and Probability Letters
    3:21). Measured: 1.06 to 1.14 on average for deltas from 0.05 to 1.3 noises, 1.13 for squares on the same tables.
    """
    square, slope = robust_scale(setup, theta)
    residual = scaled_residuals(setup, theta)
    weight = 1.0 if setup.rows.weight is None else setup.rows.weight
    total = float((weight * setup.problem.loss.value(residual, setup.problem.loss.pull(residual))).sum())
    return 2 * total * slope / square if square > 0 and slope > 0 else 1.0


def without(setup: Setup, minima: Minimum, name: str, value: float) -> float:
    """The best objective when one internal parameter is held at value."""
    place = setup.law.params.index(name)
    lower, upper = setup.coordinates.lower.copy(), setup.coordinates.upper.copy()
    lower[place] = upper[place] = value
    starts = minima.theta[:BASINS].copy()
    starts[:, place] = value
    others = starts.copy()
    exponents = ~setup.coordinates.positive
    others[:, exponents] = others[:, exponents] * 0.5
    found = minimise(setup.problem.with_(lower=lower, upper=upper), np.concatenate([starts, others]), ENOUGH)
    return float(found.objective.min())


def floor_identified(setup: Setup, minima: Minimum) -> bool | None:
    """Whether taking the floor away makes the fit worse by more than chance (5 %)."""
    law = setup.law
    if law.floor is None or law.floor not in law.params:
        return None
    place = law.params.index(law.floor)
    if minima.theta[0, place] <= setup.coordinates.lower[place]:
        return False
    bare = without(setup, minima, law.floor, setup.coordinates.lower[place])
    return rise_is_chance(setup, minima, bare, 1) < 0.05


def rise_is_chance(setup: Setup, minima: Minimum, objective: float, fewer: int) -> float:
    """p-value that a smaller law with this objective and fewer parameters is as good: F test, by calibration."""
    spare, best = max(setup.problem.rows - len(setup.law.params), 1), minima.objective[0]
    if best <= 1e-24 * setup.problem.rows:
        return float(objective <= 1e-20)
    ratio = np.log(max(objective / best, 1.0)) * calibration(setup, minima.theta[0])
    return float(fdtrc(fewer, spare, spare * np.expm1(min(ratio, 300.0)) / fewer))


def against_constant(setup: Setup, minima: Minimum) -> float:
    """p-value that one constant explains the rows as well as the law, or as a straight line in logarithms."""
    problem, level = setup.problem, np.full((1, 1), np.log(np.abs(setup.rows.y).mean()))
    flat = PowerSum((np.array([0]),), (np.ones((problem.rows, 1)),), 1)
    wide = np.array([1e3])
    found = minimise(problem.with_(model=flat, lower=-wide, upper=wide, reach=np.array([5.0])), level)
    by_law = rise_is_chance(setup, minima, float(found.objective[0]), max(len(setup.law.params) - 1, 1))
    return min(by_law, straight_line(setup))


def straight_line(setup: Setup) -> float:
    """p-value of the F test that ln quality does not change along ln inputs; 1 if it only changes the wrong way."""
    if not setup.problem.loss.logarithmic or not setup.law.measures:
        return 1.0
    y = np.log(setup.rows.y)
    x = np.column_stack([np.ones(len(y)), *(logarithms(setup)[s] for s in setup.law.measures)])
    slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
    rest, total = np.sum((y - x @ slopes) ** 2), np.sum((y - y.mean()) ** 2)
    used, spare = len(slopes) - 1, len(y) - len(slopes)
    wrong = {"falls": (slopes[1:] >= 0).all(), "rises": (slopes[1:] <= 0).all()}.get(setup.law.trend, False)
    if wrong or spare < 1 or total <= 0:
        return 1.0
    return float(fdtrc(used, spare, (total - rest) / used / max(rest / spare, 1e-300)))


def silent_inputs(setup: Setup, theta: np.ndarray) -> tuple[str, ...]:
    """Inputs along which the fitted curve changes by less than 0.1 % over the whole range of the data."""
    law, x = setup.law, setup.rows.x
    natural = setup.coordinates.natural(theta)
    quiet = []
    for symbol in law.measures if setup.problem.loss.logarithmic else ():
        ends = [law.curve(natural, x | {symbol: np.full(len(x[symbol]), end)})
                for end in (x[symbol].min(), x[symbol].max())]  # fmt: skip
        if np.abs(np.log(ends[0] / ends[1])).max() < 1e-3:
            quiet.append(symbol)
    return tuple(quiet)


def pattern(setup: Setup, theta: np.ndarray) -> dict[str, float]:
    """p-values that the residuals follow ln x, its square, or a product of two inputs: {"S bends": p, ...}."""
    residual = scaled_residuals(setup, theta)
    spare = noise(residual, len(theta))
    residual = np.clip(residual, -3 * spare, 3 * spare) if spare > 0 else residual  # outliers are no pattern
    logs = logarithms(setup)
    unit = {s: (v - v.mean()) / v.std() for s, v in logs.items()}
    names = list(unit)
    tests = {f"{s} bends": unit[s] ** 2 for s in names if len(np.unique(unit[s])) > 3}
    tests |= {f"{s} and {t} interact": unit[s] * unit[t] for k, s in enumerate(names) for t in names[k + 1 :]}
    return {name: extra_column(setup, theta, residual, column) for name, column in tests.items()}


def logarithms(setup: Setup) -> dict[str, np.ndarray]:
    """ln of the inputs [row], or the inputs themselves where they may be negative."""
    return {s: x if setup.law.signed or s not in setup.law.measures else np.log(x) for s, x in setup.rows.x.items()}


def extra_column(setup, theta, residual, column) -> float:
    """F test of one column added to the Jacobian, least squares; 1 where no degree of freedom is left."""
    basis = np.column_stack([np.ones(len(residual)), *logarithms(setup).values()])
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


def together(setup: Setup, theta: np.ndarray) -> dict[str, float]:
    """p-values that rows with the same value of an input err together (one-way analysis of variance)."""
    residual = scaled_residuals(setup, theta)
    found = {}
    for symbol in setup.law.measures:
        _, group, size = np.unique(setup.rows.x[symbol], return_inverse=True, return_counts=True)
        spare = len(residual) - len(size) - len(theta)
        if len(size) < 3 or spare < 3 or len(np.unique(setup.rows.cluster)) < len(residual):
            continue
        mean = np.bincount(group.reshape(-1), residual) / size
        between, total = (size * mean**2).sum(), (residual**2).sum()
        if total > 1e-24 * len(residual):
            ratio = between / (len(size) - 1) / max((total - between) / spare, 1e-300)
            found[symbol] = float(fdtrc(len(size) - 1, spare, ratio))
    return found
