"""What a study's other curves say of one curve: its exponent and noise, and along steps its floor.

A table seldom holds one curve. Curves of the same quality along the same axis (`Series.siblings`) enter the evidence of
every point of the design in two ways, both tempered because siblings are alike and not the same:

shape   siblings of the same solver share exponent, kind of law and noise; the floor's share is their own. All of them
        together count as at most one curve.
floor   along steps, curves of one model and guidance converge to nearly the same quality whatever the solver. Each
        sibling's own posterior of its floor, blurred by a Student t in ln E, is what the floor is likely to be.

Only rows at or below the last x that is seen take part (`Series.first`), so that nothing hidden leaks in.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from scalinglaws.forecasting import design as model
from scalinglaws.forecasting import series

SHAPE, FLOOR, COUNTED = 0.5, 2.0, 2  # weight of a sibling's evidence, for its shape and its floor; how many count
SPREAD, FREEDOM = 0.3, 3  # of ln E between curves of one model: scale and degrees of freedom of a Student t
UNLIKE = 0.02  # density left to a floor that no sibling shares
NEGLIGIBLE = 40.0  # in log likelihood
NO_FLOOR = 0.01  # a power law's floor, as a share of its last value
SAME_MODEL = ("family", "model", "guidance")
KEPT = 512  # siblings whose evidence is kept: the curves of a study share them


def evidence_of(one: series.Series, new, points: model.Design) -> model.Evidence:
    """`design.evidence` of a series, with what its siblings say added to the log likelihood."""
    found = model.evidence(one.x, one.y, new, one.se, points)
    extra = _tempered(SHAPE, [_shape(_rows(s), points.fine) for s in one.siblings if s.solver == one.solver])
    if one.kind == "steps":
        floor = np.log(_floors(points, one.y[-1]))
        near = [s for s in one.siblings if _same_model(s, one)]
        extra = extra + _tempered(FLOOR, [_floor(_rows(s), points, floor) for s in near])
    return replace(found, loglik=found.loglik + extra)


def _tempered(weight, logs):
    """Mean log density [shape, noise] of the siblings, times a weight that grows with their number up to COUNTED."""
    return weight * min(len(logs), COUNTED) * np.mean(logs, 0) if logs else 0.0


def _same_model(a, b):
    return all(str(a.settings.get(c)) == str(b.settings.get(c)) for c in SAME_MODEL)


def _rows(one):
    """x, y and se as bytes: what the evidence of a sibling is kept by."""
    return one.x.tobytes(), one.y.tobytes(), one.se.tobytes()


@lru_cache(maxsize=KEPT)
def _evidence(rows, fine):
    x, y, se = (np.frombuffer(v) for v in rows)
    return model.evidence(x, y, 2 * x[-1:], se, model.design(fine)).loglik


@lru_cache(maxsize=KEPT)
def _shape(rows, fine):
    """Log likelihood [shape, noise] of a sibling, its floor's share averaged out."""
    points, logs = model.design(fine), _evidence(rows, fine)
    logs = np.maximum(logs - logs.max(), -NEGLIGIBLE)
    floors = points.law == "floor"
    for a in np.unique(points.a[floors]):
        same = floors & (points.a == a)
        top = logs[same].max(0)
        logs[same] = top + np.log(np.exp(logs[same] - top).mean(0))
    return logs.astype(np.float32)


def _floor(rows, points, floor):
    """Log density [shape, 1] of the floors ln E [shape] by a sibling's own posterior of its floor."""
    at, mass = _floor_mass(rows, points.fine)
    off = (floor[:, None] - at) / SPREAD
    return np.log(UNLIKE + (1 + off**2 / FREEDOM) ** (-(FREEDOM + 1) / 2) @ mass)[:, None]


@lru_cache(maxsize=KEPT)
def _floor_mass(rows, fine):
    """(ln E [value], posterior mass [value]) of a sibling by its rows and the weak prior."""
    points = model.design(fine)
    logs = _evidence(rows, fine) + points.log_volume + points.features @ model.weak()
    last = np.frombuffer(rows[1])[-1]
    at, which = np.unique(np.log(_floors(points, last)).round(1), return_inverse=True)
    mass = np.bincount(which, np.exp(logs - logs.max()).sum(1))
    return at, mass / mass.sum()


def _floors(points, last):
    """E [shape] of a curve whose last value is `last`; the last value itself for a walk or a rise."""
    return last * np.where(points.law == "floor", points.phi, np.where(points.law == "power", NO_FLOOR, 1.0))
