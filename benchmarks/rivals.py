"""What people run: log-sum-exp of the Chinchilla law, Huber 1e-3, one start or one resample at a time, in scipy."""

from itertools import product

import numpy as np
from scipy.optimize import approx_fprime, minimize
from scipy.special import logsumexp

DELTA = 1e-3


def objective(theta, logs, target, weight=1.0):
    """theta = a, b, e, alpha, beta; logs = (ln N, ln D) [row]."""
    residual = _log_loss(theta, *logs) - target
    size = np.abs(residual)
    return np.sum(weight * np.where(size <= DELTA, residual**2 / 2, DELTA * (size - DELTA / 2)))


def with_gradient(theta, logs, target, weight=1.0):
    """The same with its analytic gradient."""
    n, d = logs
    terms = np.stack([theta[0] - theta[3] * n, theta[1] - theta[4] * d, np.full_like(n, theta[2])])
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    residual = np.log(total) + top - target
    psi = weight * np.clip(residual, -DELTA, DELTA)
    size = np.abs(residual)
    value = np.sum(weight * np.where(size <= DELTA, residual**2 / 2, DELTA * (size - DELTA / 2)))
    a, b, e = psi * shares / total
    return value, np.array([a.sum(), b.sum(), e.sum(), -(a * n).sum(), -(b * d).sum()])


def _log_loss(theta, n, d):
    return logsumexp(np.stack([theta[0] - theta[3] * n, theta[1] - theta[4] * d, np.full_like(n, theta[2])]), axis=0)


def grid():
    """The 4,500 starts of the published replication."""
    half = np.arange(0, 2.5, 0.5)
    return [np.array(s) for s in product(np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), half, half)]


def grid_fit(logs, target, starts, analytic: bool) -> np.ndarray:
    """Objectives [start] of L-BFGS-B from each start."""
    function = with_gradient if analytic else objective
    return np.array([minimize(function, s, (logs, target), method="L-BFGS-B", jac=analytic).fun for s in starts])


def bootstrap_fit(logs, target, weights, start) -> np.ndarray:
    """Objectives [resample] of BFGS with analytic gradient, warm from start; weights [resample, row]."""
    return np.array([minimize(with_gradient, start, (logs, target, w), method="BFGS", jac=True).fun for w in weights])


def check_gradient(logs, target):
    """The analytic gradient against differences."""
    theta = np.array([6.0, 7.0, 0.5, 0.35, 0.37])
    numeric = approx_fprime(theta, objective, 1e-8, logs, target)
    assert np.allclose(numeric, with_gradient(theta, logs, target)[1], rtol=1e-3, atol=1e-4)
