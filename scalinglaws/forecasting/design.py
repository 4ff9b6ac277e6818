"""The model of a short series, and what its rows say at every point of a fixed design.

Model, for rows sorted by x (size, steps or training length) with x0 the last row:

    ln y_i = mu + ln(phi + (1 - phi) (x_i / x0)^-a) + s_i w(ln x_i) + e_i
    s_i the share of the value above its floor, so that w is a relative error of what lies above the floor
    w what the law misses, 0 at x0: a Brownian motion of variance tau^2 per unit of ln x, or one whose slope is a
      Brownian motion of variance kappa^2 per unit of ln x
    e_i ~ N(0, sigma^2 + se_i^2)

phi is the floor's share of the value at x0. phi = 0 is a power law, 0 < phi < 1 a power law with a floor, phi = 1 the
last value again (a random walk), phi > 1 a rise towards a ceiling, a < 0 a rising power law. mu has a flat prior and is
integrated exactly; the other four parameters live on a fixed design, so that an answer is a weighted sum over some
thousand points: deterministic, without a start, a chain or a seed. Two rows are enough; an interval is never of zero
width, because sigma has a prior.

The prior over the design is log-linear in `FEATURES`, with coefficients that depend on what is asked (kind of axis,
class of the quality, order of the solver), learned by `scalinglaws.forecasting.prior` from published studies.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

LAWS = ("last", "power", "floor", "rise")  # what parts of the design are called


@dataclass(frozen=True)
class Design:
    """Points of the integration: shapes (a, phi) crossed with noises (sigma, tau, kappa).

    a, phi [shape]; sigma, tau, kappa [noise]; features [shape, noise, feature]; log_volume [shape, noise]; law [shape].
    fine: whether it is the fine design of `design` or the coarse one.
    """

    a: np.ndarray
    phi: np.ndarray
    sigma: np.ndarray
    tau: np.ndarray
    kappa: np.ndarray
    features: np.ndarray
    log_volume: np.ndarray
    law: np.ndarray
    fine: bool = False


FEATURES = (
    "power", "floor", "rise",  # against `last`
    "ln_a", "ln_a^2", "logit_phi", "logit_phi^2", "ln_a*logit_phi",  # of falling shapes
    "power_ln_a", "power_ln_a^2",
    "rise_ln_slope", "rise_ln_slope^2", "rise_straight",
    "ln_sigma", "ln_sigma^2", "ln_tau", "ln_tau^2", "no_miss", "kappa", "ln_kappa", "ln_kappa^2", "last_ln_tau",
)  # fmt: skip


WEAK = {"ln_a^2": -0.3, "logit_phi^2": -0.2, "power_ln_a^2": -0.3, "rise_ln_slope^2": -0.3, "rise": -1.0,
        "ln_sigma^2": -0.5, "ln_tau^2": -0.5, "ln_kappa^2": -0.5, "kappa": -0.5, "power_ln_a": -0.5}  # fmt: skip


def weak() -> np.ndarray:
    """Coefficients [feature] before any study, weakly informative: exponents about 1, noise about 2 %."""
    return np.array([WEAK.get(name, 0.0) for name in FEATURES])


@lru_cache(maxsize=4)
def design(fine: bool = False) -> Design:
    """The fixed design, coarse (for learning) or fine (for answers)."""
    a_values = np.geomspace(0.04, 8, 24 if fine else 13)
    share = 1 / (1 + np.exp(-np.linspace(-4, 5, 19 if fine else 12)))  # logit from -4 to 5
    sigma = np.geomspace(0.0015, 0.2, 8 if fine else 6)
    tau = np.geomspace(0.004, 0.8, 7 if fine else 5)
    kappa = np.geomspace(0.01, 1.0, 4)
    shapes = [("last", 1.0, 1.0, 0.0)]
    step_a, step_share = np.log(a_values[1] / a_values[0]), 9 / (len(share) - 1)
    shapes += [("power", a, 0.0, step_a) for a in a_values]
    shapes += [("floor", a, p, step_a * step_share) for a in a_values for p in share]
    slopes = np.geomspace(0.002, 1.0, 12 if fine else 8)  # d ln y / d ln x at the last row, rising
    step_slope = np.log(slopes[1] / slopes[0])
    shapes += [("rise", -s, 0.0, step_slope) for s in slopes]
    for a in (0.3, 0.7, 1.5, 3.0):  # towards a ceiling: slope = (phi - 1) a
        shapes += [("rise", a, 1 + s / a, step_slope) for s in slopes]
    law, a, phi, volume = (np.array(v) for v in zip(*shapes, strict=True))
    # what the law misses: nothing, a walk or a slope that walks
    misses = [(0.0, 0.0, 0.0)] + [(t, 0.0, np.log(tau[1] / tau[0])) for t in tau]
    misses += [(0.0, k, np.log(kappa[1] / kappa[0])) for k in kappa]
    s, t, k, width = np.array([(s, *miss) for s in sigma for miss in misses]).T
    noise_volume = np.log(np.log(sigma[1] / sigma[0])) + np.log(np.where(width > 0, width, 1.0))
    shape_volume = np.log(np.where(volume > 0, volume, 1.0))
    log_volume = shape_volume[:, None] + noise_volume[None]
    return Design(a, phi, s, t, k, _features(law, a, phi, s, t, k), log_volume, law, fine)


def _features(law, a, phi, sigma, tau, kappa):
    """FEATURES [shape, noise, feature], each centred to be near 0 and of size 1."""
    falls = law == "floor"
    ln_a = np.log(np.abs(a))
    inside = np.where(falls, phi, 0.5)
    logit = np.log(inside / (1 - inside)) / 2
    slope = np.where(a < 0, -a, np.where(phi > 1, (phi - 1) * a, 1.0))
    ln_slope = (np.log(slope) - np.log(0.05)) / 1.5
    power, rise = law == "power", law == "rise"
    shape = [power, falls, rise, falls * ln_a, falls * ln_a**2, falls * logit, falls * logit**2, falls * ln_a * logit,
             power * ln_a, power * ln_a**2, rise * ln_slope, rise * ln_slope**2, rise & (a < 0)]  # fmt: skip
    ln_s = np.log(sigma / 0.02) / 1.2
    ln_t = np.where(tau > 0, np.log(np.where(tau > 0, tau, 1) / 0.05) / 1.3, 0.0)
    ln_k = np.where(kappa > 0, np.log(np.where(kappa > 0, kappa, 1) / 0.1) / 1.3, 0.0)
    none = (tau == 0) & (kappa == 0)
    noise = [ln_s, ln_s**2, ln_t, ln_t**2, none, kappa > 0, ln_k, ln_k**2]
    grid = np.ones((len(a), len(sigma)))
    parts = [grid * np.asarray(f, float)[:, None] for f in shape] + [grid * np.asarray(f, float)[None] for f in noise]
    parts.append(np.outer(law == "last", ln_t))
    return np.stack(parts, -1)


@dataclass(frozen=True)
class Evidence:
    """Of every design point: log marginal likelihood [shape, noise]; mean [new, shape, noise] of ln y at the new x;
    variances of the curve there [new, shape, noise]; sigma^2 is what a new measurement adds."""

    loglik: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def evidence(x, y, new, se=None, points: Design | None = None) -> Evidence:
    """What the rows say at every design point, mu and w integrated out. x, y, se [row] sorted by x; new [new] beyond
    x0.

    w is filtered from the last row backwards (Kalman), for the data and for a column of ones at once, which gives the
    generalised least squares of mu and the restricted likelihood.
    """
    points = points or design()
    z, ln_x, ln_new = np.log(y), np.log(x), np.log(np.atleast_1d(new))
    relative = np.zeros(len(z)) if se is None else np.nan_to_num(np.asarray(se, float) / y)
    curve, share = _shape(points, ln_x - ln_x[-1])  # [shape, row]
    ahead, share_ahead = _shape(points, ln_new - ln_x[-1])
    walk, kappa = points.tau**2, points.kappa**2  # [noise]
    size = (len(points.a), len(points.sigma))
    p00, p01, p11, data, data1, ones, ones1 = (
        np.zeros(size) for _ in range(7)
    )  # covariance and means of w and its slope
    logs, cross, precision, square = (np.zeros(size) for _ in range(4))
    later = ln_x[-1]
    for i in range(len(z) - 1, -1, -1):
        gap, later, s = later - ln_x[i], ln_x[i], share[:, i, None]
        p00 = p00 + 2 * gap * p01 + gap**2 * p11 + walk * gap + kappa * gap**3 / 3
        p01 = p01 + gap * p11 + kappa * gap**2 / 2
        p11 = p11 + kappa * gap
        data, ones = data + gap * data1, ones + gap * ones1
        total = s**2 * p00 + points.sigma**2 + relative[i] ** 2
        gain, gain1 = p00 * s / total, p01 * s / total
        off, unit = z[i] - curve[:, i, None] - s * data, 1 - s * ones
        data, data1, ones, ones1 = data + gain * off, data1 + gain1 * off, ones + gain * unit, ones1 + gain1 * unit
        p11 = p11 - gain1 * s * p01
        p00, p01 = p00 * (1 - gain * s), p01 * (1 - gain * s)
        logs += np.log(total)
        cross, precision, square = cross + off * unit / total, precision + unit**2 / total, square + off**2 / total
    mu = cross / precision
    loglik = -0.5 * (logs + square - cross * mu + np.log(precision))
    bad = ~np.isfinite(loglik)
    loglik[bad] = -np.inf
    mean = ahead.T[:, :, None] + np.where(bad, 0.0, mu)
    gap = np.maximum(ln_new - ln_x[-1], 0)[:, None, None]
    variance = 1 / precision + share_ahead.T[:, :, None] ** 2 * (walk * gap + kappa * gap**3 / 3)
    return Evidence(loglik, np.nan_to_num(mean, nan=z[-1]), np.nan_to_num(variance, nan=1.0))


def _shape(points, distance):
    """ln(phi + (1 - phi) exp(-a distance)) and the share of it that w moves [shape, x].

    w multiplies what lies above the floor (below the ceiling), and all of a law without one. NaN where a rise would
    have to start below 0.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        excess = (1 - points.phi[:, None]) * np.exp(-points.a[:, None] * distance[None])
        value = points.phi[:, None] + excess
        log = np.where(value > 0, np.log(value), np.nan)
        share = np.where((points.law == "last")[:, None], 1.0, np.abs(excess / value))
    return log, np.minimum(share, 1.0)


def mixture(weights, mean, sd, levels):
    """Quantiles [level] of a mixture of normals, by bisection."""
    low = np.full(len(levels), (mean - 9 * sd).min())
    high = np.full(len(levels), (mean + 9 * sd).max())
    for _ in range(44):  # to 1e-12 of the range
        middle = (low + high) / 2
        below = weights @ ndtr((middle[None] - mean[:, None]) / sd[:, None])
        low, high = np.where(below < levels, middle, low), np.where(below < levels, high, middle)
    return (low + high) / 2
