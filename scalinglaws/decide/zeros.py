"""Zeros of sampled curves, straight between points."""

import numpy as np


def first_zeros(x, gap):
    """The first zero of each curve [replicate] along x [n], straight between points; NaN where there is none.

    gap: the curves [n] or [replicate, n]. A curve that touches 0 and turns back has no zero there.
    """
    gap = np.atleast_2d(gap)
    changes = _changes(gap)
    i, rows = changes.argmax(axis=1), np.arange(len(gap))
    here, then = gap[rows, i], gap[rows, i + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        zero = x[i] + (x[i + 1] - x[i]) * here / (here - then)
    return np.where(changes.any(axis=1), zero, np.nan)


def zeros(x, gap):
    """Every zero of one curve [n] along x [n], as for first_zeros.

    >>> list(map(float, zeros(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.0, -1.0, 1.0]))))
    [1.0, 2.5]
    """
    changes = np.flatnonzero(_changes(gap[None])[0]) if len(gap) > 1 else []
    return [x[i] + (x[i + 1] - x[i]) * gap[i] / (gap[i] - gap[i + 1]) for i in changes]


def _changes(gap):
    """Whether the sign changes from each point to the next [replicate, n - 1]; a 0 has the sign of the point before."""
    signs = np.sign(gap)
    last = np.maximum.accumulate(np.where(signs == 0, 0, np.arange(signs.shape[1])), axis=1)
    return signs[:, 1:] * np.take_along_axis(signs, last, axis=1)[:, :-1] < 0
