"""Forecasts without a network, by CRPS: what any model of a series has to beat.

persistence   the last known value stays
year_ago      the change that followed the same week of the year before; contexts of 52 weeks
regression    least squares of each week to forecast on the weeks known (numpy's lstsq)

Each is a point for every test window; its ensemble is that point plus the residuals of all training windows, week by
week together, so that nothing is drawn.
"""

import numpy as np

from collect.metrics.crps import crps


def persistence(train, windows):
    """Points [window, horizon]: windows are differences from the last known value, so 0."""
    return np.zeros_like(windows.futures)


def year_ago(train, windows):
    """Points [window, horizon]: the change that followed the first of the weeks known."""
    horizon = windows.futures.shape[1]
    return windows.contexts[:, 1 : horizon + 1] - windows.contexts[:, :1]


def regression(train, windows):
    """Points [window, horizon] of a regression fitted to the training windows."""
    known, asked = (np.column_stack([w.contexts[:, :-1], np.ones(len(w))]) for w in (train, windows))
    return asked @ np.linalg.lstsq(known, train.futures, rcond=None)[0]


NAIVE = {"persistence": persistence, "year_ago": year_ago, "regression": regression}


def naive_scores(train, test, points=NAIVE):
    """{name: mean fair CRPS over the test Windows}, in their unit; points: {name: (train, windows) -> points}."""
    found = {}
    for name, point in points.items():
        residuals = train.futures - point(train, train)
        ensembles = point(train, test)[:, None] + residuals  # [window, member, horizon]
        scores = [crps(members, truth).mean() for members, truth in zip(ensembles, test.futures, strict=True)]
        found[name] = float(np.mean(scores))
    return found
