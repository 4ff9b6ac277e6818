"""A straight line through values of which some are bounds only, with an effect of each group: panel Tobit.

y_i = beta . x_i + u_g + e_i, with u_g ~ N(0, omega^2) for each group and e_i ~ N(0, s_i^2 + tau^2), s_i known. A value
beyond a bound enters by the probability of being beyond it (Tobin 1958, Econometrica 26:24); the group's effect is
integrated out by Gauss-Hermite quadrature (Butler and Moffitt 1982, Econometrica 50:761). Intervals are those of the
profile likelihood, so an end that the data do not bound is infinite.
"""

from dataclasses import dataclass

import numpy as np

NODES = 21  # of the quadrature
LEAST = 1e-3  # least tau and omega, in units of y
REACH = 64.0  # standard errors (or units) at which the search for an end gives up
INSIDE, ABOVE, BELOW = "", "above", "below"  # where a value lies: known, above its bound, below its bound


@dataclass(frozen=True)
class CensoredLine:
    """beta [coefficient], low, high (infinite where the data give no bound), tau and omega in units of y."""

    beta: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tau: float
    omega: float


def censored_line(x, y, side, s, group, level=0.9) -> CensoredLine:
    """Maximum likelihood and profile intervals at `level`.

    x: [row, coefficient], with a column of ones for the constant. y: [row], the value, or its bound. side: [row] of "",
    "above" or "below". s: [row], known standard errors. group: [row], labels of the groups. The quantile of the profile
    is Student's t squared with as many degrees of freedom as there are groups, less the coefficients, one at least.
    """
    from scipy.stats import t

    x, y, s = np.asarray(x, float), np.asarray(y, float), np.asarray(s, float)
    side, group = np.asarray(side), np.unique(np.asarray(group), return_inverse=True)[1]
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = np.log(weights / weights.sum())

    def loss(parameters):
        beta, (tau, omega) = parameters[:-2], LEAST + np.exp(np.clip(parameters[-2:], -20, 10))
        middle = (x @ beta)[:, None] + omega * nodes  # [row, node]
        each = _log_likelihood(y[:, None], middle, np.sqrt(s**2 + tau**2)[:, None], side)
        grouped = np.zeros((group.max() + 1, NODES))
        np.add.at(grouped, group, each)
        return -np.logaddexp.reduce(grouped + weights, axis=1).sum()

    start = np.concatenate([np.linalg.lstsq(x, y, rcond=None)[0], np.log([0.2, 0.1])])
    best, least = _minimum(loss, start)
    spare = max(len(np.unique(group)) - x.shape[1], 1)
    rise = t.ppf((1 + level) / 2, spare) ** 2 / 2
    ends = np.array([[_end(loss, best, least, k, sign, rise) for sign in (-1, 1)] for k in range(x.shape[1])])
    tau, omega = LEAST + np.exp(best[-2:])
    return CensoredLine(best[:-2], ends[:, 0], ends[:, 1], float(tau), float(omega))


def _log_likelihood(y, middle, width, side):
    """ln of density, or of the probability of being beyond the bound [row, node]."""
    from scipy.special import log_ndtr

    z = (y - middle) / width
    inside = -0.5 * z**2 - np.log(width) - 0.5 * np.log(2 * np.pi)
    beyond = log_ndtr(np.where((side == ABOVE)[:, None], -z, z))
    return np.where((side == INSIDE)[:, None], inside, beyond)


def _minimum(loss, start):
    from scipy.optimize import minimize

    found = minimize(loss, start, method="L-BFGS-B")
    again = minimize(loss, found.x, method="L-BFGS-B")
    return again.x, float(again.fun)


def _end(loss, best, least, k, sign, rise):
    """Where the profile of coefficient k has risen by `rise`, going up (sign 1) or down; infinite where it never does.

    Doubling steps out, then bisection; each point starts from its neighbour's nuisance parameters.
    """
    from scipy.optimize import minimize

    others, warm = np.arange(len(best)) != k, best[np.arange(len(best)) != k]

    def risen(value):
        nonlocal warm
        full = best.copy()
        full[k] = value

        def held(rest):
            full[others] = rest
            return loss(full)

        found = minimize(held, warm, method="L-BFGS-B")
        warm = found.x
        return found.fun - least >= rise

    inner, step = best[k], 0.02
    while not risen(best[k] + sign * step):
        inner, step = best[k] + sign * step, 2 * step
        if step > REACH:
            return sign * np.inf
    outer = best[k] + sign * step
    while abs(outer - inner) > 0.02 * abs(outer - best[k]):
        middle = (inner + outer) / 2
        inner, outer = (inner, middle) if risen(middle) else (middle, outer)
    return outer
