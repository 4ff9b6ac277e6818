"""A straight line through points with errors in both coordinates, and a scatter of its own.

York, Evensen, Martinez and Delgado 2004, American Journal of Physics 72:367: the line of maximum likelihood for normal
errors sx_i and sy_i that are independent, by their fixed-point iteration (equations 13), with the standard errors of
the adjusted points. Where the points scatter by more than their errors say, a scatter tau of y is added so that the
weighted squares come to their degrees of freedom (Paule and Mandel 1982, J. Res. Natl. Bur. Stand. 87:377).
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.schema import NoAnswer

ROUNDS = 500  # of the iteration, at most
CLOSE = 1e-13  # relative change of the slope at which it ends
LEAST = 3  # points


@dataclass(frozen=True)
class YorkLine:
    """y = intercept + slope x: standard errors, their covariance, chi2 of n - 2 degrees of freedom without tau, tau."""

    slope: float
    intercept: float
    slope_se: float
    intercept_se: float
    covariance: float
    chi2: float
    tau: float
    count: int

    def at(self, x) -> np.ndarray:
        """y at x."""
        return self.intercept + self.slope * np.asarray(x, float)

    def se(self, x) -> np.ndarray:
        """Standard error of the line at x."""
        x = np.asarray(x, float)
        variance = self.intercept_se**2 + 2 * x * self.covariance + x**2 * self.slope_se**2
        return np.sqrt(np.maximum(variance, 0.0))


def york_line(x, y, sx, sy, scatter=True) -> YorkLine:
    """The YorkLine of x, y [point] with standard errors sx, sy [point]; tau = 0 unless `scatter`.

    NoAnswer for fewer than three points, or where all x are alike.

    >>> line = york_line([1, 2, 3, 4], [2.0, 3.0, 4.0, 5.0], [0.1] * 4, [0.1] * 4)
    >>> round(line.slope, 6), round(line.intercept, 6), line.tau
    (1.0, 1.0, 0.0)
    """
    x, y, sx, sy = (np.asarray(v, float) for v in (x, y, sx, sy))
    if len(x) < LEAST or np.ptp(x) == 0:
        raise NoAnswer(f"A line needs {LEAST} points of different x; there are {len(np.unique(x))}.")
    tau = _scatter(x, y, sx, sy) if scatter else 0.0
    slope, intercept, errors, _ = _iterate(x, y, sx, np.hypot(sy, tau))
    chi2 = _iterate(x, y, sx, sy)[3]
    return YorkLine(slope, intercept, *errors, chi2, tau, len(x))


def _iterate(x, y, sx, sy):
    """(slope b, intercept a, (se of b, se of a, covariance), chi2) by York et al. 2004, equations 13."""
    slope = np.polyfit(x, y, 1)[0]
    vx, vy = sx**2, sy**2
    for _ in range(ROUNDS):
        weight = 1 / np.maximum(vy + slope**2 * vx, 1e-300)
        middle = np.average(x, weights=weight), np.average(y, weights=weight)
        u, v = x - middle[0], y - middle[1]
        beta = weight * (u * vy + slope * v * vx)
        before, slope = slope, float((weight * beta * v).sum() / (weight * beta * u).sum())
        if abs(slope - before) <= CLOSE * max(abs(slope), 1e-12):
            break
    intercept = float(middle[1] - slope * middle[0])
    adjusted = middle[0] + beta
    centre = np.average(adjusted, weights=weight)
    variance = 1 / (weight * (adjusted - centre) ** 2).sum()
    errors = np.sqrt(variance), np.sqrt(1 / weight.sum() + centre**2 * variance), -centre * variance
    return slope, intercept, tuple(map(float, errors)), float((weight * (y - intercept - slope * x) ** 2).sum())


def _scatter(x, y, sx, sy):
    """tau at which chi2 is its degrees of freedom; 0 where it is below them without any."""
    from scipy.optimize import brentq

    spare = len(x) - 2
    excess = lambda tau: _iterate(x, y, sx, np.hypot(sy, tau))[3] - spare  # noqa: E731
    if excess(0.0) <= 0:
        return 0.0
    most = float(np.ptp(y)) or 1.0
    while excess(most) > 0:
        most *= 2
    return float(brentq(excess, 0.0, most, xtol=1e-10))
