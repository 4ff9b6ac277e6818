"""Zeros of sampled curves, straight between points."""

import numpy as np


def first_zeros(x, gap):
    """The first zero of each curve [replicate] along x, straight between points; NaN where there is none."""
    gap = np.atleast_2d(gap)
    changes = np.sign(gap[:, 1:]) * np.sign(gap[:, :-1]) < 0
    i, rows = changes.argmax(axis=1), np.arange(len(gap))
    here, then = gap[rows, i], gap[rows, i + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        zero = x[i] + (x[i + 1] - x[i]) * here / (here - then)
    return np.where(changes.any(axis=1), zero, np.nan)


def zeros(x, gap):
    """Every zero of one curve along x."""
    changes = np.flatnonzero(np.sign(gap[1:]) * np.sign(gap[:-1]) < 0) if len(gap) > 1 else []
    return [x[i] + (x[i + 1] - x[i]) * gap[i] / (gap[i] - gap[i + 1]) for i in changes]
