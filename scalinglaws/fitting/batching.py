"""Many members, many groups: the work of minimise() cut or put together into batches that live in the cache.

One objective with thousands of members (replicates) is cut. Several objectives of one law with few rows each (groups)
are put together, rows padded with weight zero. A group's own Huber delta becomes part of its sigma and weight,
delta² rho_1(r / delta) = rho_delta(r), so that all share one loss.
"""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting import settings
from scalinglaws.fitting.loss import Objective
from scalinglaws.fitting.model import AutodiffModel, JetDerivatives, PowerSum
from scalinglaws.fitting.settings import BATCH
from scalinglaws.fitting.solver import Minima, minimise


def minimise_all(objectives, starts, limits=settings.SOLVER, mu=None) -> list[Minima]:
    """minimise() for several objectives of one law, each from its own starts.

    starts: of each objective [M, P]; mu: of each [M], the first damping. Returns the Minima of each.
    """
    mu = [np.full(len(theta), limits.mu_start) for theta in starts] if mu is None else mu
    minima = [None] * len(objectives)
    for group in _batches(objectives, starts):
        counts = [len(starts[k]) for k in group]
        objective = objectives[group[0]] if len(group) == 1 else stack([objectives[k] for k in group], counts)
        theta, damping = (np.concatenate([each[k] for k in group]) for each in (starts, mu))
        size = max(BATCH.least, BATCH.numbers // max(1, objective.rows))
        cuts = [np.arange(k, min(k + size, len(theta))) for k in range(0, len(theta), size)]
        parts = [minimise(objective, theta[cut], cut, damping[cut], limits) for cut in cuts]
        for k, part in zip(group, Minima.concatenated(parts).split(counts), strict=True):
            minima[k] = part
    return minima


def _batches(objectives, starts) -> list[list[int]]:
    """Positions of objectives to put together: rows within a factor of two, none that fills a batch alone."""
    alone, alike = [], {}
    for k, (objective, theta) in enumerate(zip(objectives, starts, strict=True)):
        if len(theta) * objective.rows >= BATCH.alone or not len(theta):
            alone.append([k])
        else:
            alike.setdefault(int(np.ceil(np.log2(objective.rows))), []).append(k)
    return alone + list(alike.values())


@dataclass(frozen=True)
class StackedModel:
    """One law on the inputs of several groups: a Model for the solver, whose members differ in their inputs.

    All rows are one slice: groups that are put together are small.
    """

    law: AutodiffModel | PowerSum  # of any of the groups
    columns: tuple[np.ndarray, ...]  # each [group, row], see Model.columns
    owner: np.ndarray  # [member], its group

    @property
    def rows(self) -> int:
        return self.columns[0].shape[1]

    slice_rows = rows

    def derivatives(self, theta, members, rows):
        group = self.owner[members]
        jet = self.law.jet(theta, [column[group] for column in self.columns])
        return JetDerivatives(jet, (len(theta), self.rows), theta.shape[1])


def stack(objectives: list[Objective], counts) -> Objective:
    """One objective with the members of all, counts of each, in order."""
    rows = max(objective.rows for objective in objectives)
    owner = np.repeat(np.arange(len(objectives)), counts)
    each = zip(*(objective.model.columns for objective in objectives), strict=True)
    columns = tuple(np.stack([_pad(column, rows) for column in columns]) for columns in each)
    robust = objectives[0].loss.delta != np.inf
    delta = np.array([objective.loss.delta if robust else 1.0 for objective in objectives])[owner, None]
    plain = not robust and all(o.sigma is None and o.weight is None and o.rows == rows for o in objectives)
    sigma, weight = (
        _members([np.ones(o.rows) if values is None else values for o, values in pairs], counts, rows)
        for pairs in ([(o, o.sigma) for o in objectives], [(o, o.weight) for o in objectives])
    )
    weight = weight * (np.arange(rows) < np.array([objective.rows for objective in objectives])[owner, None])
    return replace(
        objectives[0], model=StackedModel(objectives[0].model, columns, owner),
        target=_members([objective.target for objective in objectives], counts, rows),
        loss=replace(objectives[0].loss, delta=1.0 if robust else np.inf),
        lower=_bounds([objective.lower for objective in objectives], counts),
        upper=_bounds([objective.upper for objective in objectives], counts),
        sigma=None if plain else sigma * delta, weight=None if plain else weight * delta**2,
    )  # fmt: skip


def _pad(values, rows):
    """[.., row] with the first row repeated at the end."""
    values = np.asarray(values, float)
    more = np.repeat(values[..., :1], rows - values.shape[-1], axis=-1)
    return np.concatenate([values, more], axis=-1)


def _members(each, counts, rows):
    """[member, row] of arrays [row] or [member of the group, row]."""
    return np.concatenate([np.broadcast_to(_pad(v, rows), (n, rows)) for v, n in zip(each, counts, strict=True)])


def _bounds(each, counts):
    """[member, parameter] of arrays [parameter] or [member of the group, parameter]."""
    return np.concatenate([np.broadcast_to(v, (n, np.shape(v)[-1])) for v, n in zip(each, counts, strict=True)])
