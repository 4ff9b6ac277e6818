"""Several groups in one batch: problems of one law put together, their rows padded with weight zero.

A group's Huber delta becomes part of its scale, delta² rho_1(r / delta) = rho_delta(r), so that groups with deltas of
their own share one loss.
"""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting.general import General, sums
from scalinglaws.fitting.jet import Jet, variables
from scalinglaws.fitting.solver import BATCH, Minimum, minimise

ALONE = BATCH // 4  # numbers, members x rows, from which a group fills a batch of its own


@dataclass(frozen=True)
class Stacked:
    """One law on the inputs of several groups."""

    law: object  # a General or a PowerSum of the groups
    columns: tuple[np.ndarray, ...]  # each [group, row]: inputs of a general law, features of a sum of power terms
    owner: np.ndarray  # [member], its group

    @property
    def rows(self) -> int:
        return self.columns[0].shape[1]

    def evaluate(self, theta, data, members, mu):
        """Objective [member], gradient [member, parameter], damped Hessian."""
        group = self.owner[members]
        f = self.jet(theta, [column[group] for column in self.columns])
        return sums(f, (len(theta), self.rows), theta.shape[1], data, members, mu)

    def jet(self, theta, columns) -> Jet:
        """The law's value [member, row] with derivatives by internal parameters."""
        if isinstance(self.law, General):
            return self.law.at(theta, dict(zip(self.law.x, columns, strict=True)))
        names = variables(theta, np.zeros(theta.shape[1], bool))
        rest, total = iter(columns), 0.0
        for index in self.law.index:
            total = np.exp(sum((names[i] * next(rest) for i in index[1:]), names[index[0]])) + total
        return total


def minimise_all(problems, thetas, *options, mu=None, stalled=1e-11) -> list[Minimum]:
    """minimise() for several problems of one law; those of about as many rows share batches.

    thetas: of each problem [member, parameter]; mu: of each [member]. options: as for minimise().
    """
    mu = [np.ones(len(theta)) for theta in thetas] if mu is None else mu
    found = [None] * len(problems)
    for part in batches(problems, thetas):
        if len(part) == 1:
            (k,) = part
            found[k] = minimise(problems[k], thetas[k], *options, mu=mu[k], stalled=stalled)
            continue
        counts = [len(thetas[k]) for k in part]
        one = stack([problems[k] for k in part], counts)
        theta, damping = (np.concatenate([given[k] for k in part]) for given in (thetas, mu))
        whole = minimise(one, theta, *options, mu=damping, stalled=stalled)
        for k, piece in zip(part, split(whole, counts), strict=True):
            found[k] = piece
    return found


def batches(problems, thetas) -> list[list[int]]:
    """Positions of problems to solve together: rows within a factor of two, none that fills a batch alone."""
    alone, alike = [], {}
    for k, (problem, theta) in enumerate(zip(problems, thetas, strict=True)):
        if len(theta) * problem.rows >= ALONE or not len(theta):
            alone.append([k])
        else:
            alike.setdefault(int(np.ceil(np.log2(problem.rows))), []).append(k)
    return alone + list(alike.values())


def split(whole: Minimum, counts) -> list[Minimum]:
    """The members of each problem."""
    ends = np.cumsum(counts)[:-1]
    return [Minimum(*parts) for parts in zip(*(np.split(part, ends) for part in vars(whole).values()), strict=True)]


def stack(problems, counts):
    """One problem with the members of all, counts of each, in order."""
    rows = max(problem.rows for problem in problems)
    owner = np.repeat(np.arange(len(problems)), counts)
    columns = tuple(np.stack([_pad(c, rows) for c in given]) for given in zip(*map(_columns, problems), strict=True))
    delta = problems[0].loss.delta
    robust = delta != np.inf
    delta = np.array([problem.loss.delta if robust else 1.0 for problem in problems])[owner, None]
    plain = not robust and all(p.spread is None and p.weight is None and p.rows == rows for p in problems)
    spread, weight = (_members([_or_one(p, field) for p in problems], counts, rows) for field in ("spread", "weight"))
    weight = weight * (np.arange(rows) < np.array([p.rows for p in problems])[owner, None])
    return replace(
        problems[0], model=Stacked(problems[0].model, columns, owner),
        target=_members([p.target for p in problems], counts, rows),
        loss=replace(problems[0].loss, delta=1.0 if robust else np.inf),
        lower=_boxes(problems, "lower", counts), upper=_boxes(problems, "upper", counts),
        spread=None if plain else spread * delta, weight=None if plain else weight * delta**2,
    )  # fmt: skip


def _columns(problem) -> list[np.ndarray]:
    """Each [row]: inputs of a general law, features but the constant ones of a sum of power terms."""
    model = problem.model
    if isinstance(model, General):
        return list(model.x.values())
    return [column for features in model.features for column in features.T[1:]]


def _pad(values, rows):
    """[.., row] with the first row repeated at the end."""
    values = np.asarray(values, float)
    more = np.repeat(values[..., :1], rows - values.shape[-1], axis=-1)
    return np.concatenate([values, more], axis=-1)


def _or_one(problem, field):
    given = getattr(problem, field)
    return np.ones(problem.rows) if given is None else given


def _members(each, counts, rows):
    """[member, row] of arrays [row] or [member of the problem, row]."""
    return np.concatenate([np.broadcast_to(_pad(v, rows), (n, rows)) for v, n in zip(each, counts, strict=True)])


def _boxes(problems, field, counts):
    """Bounds [member, parameter]."""
    return np.concatenate([np.broadcast_to(getattr(p, field), (n, np.shape(getattr(p, field))[-1]))
                           for p, n in zip(problems, counts, strict=True)])  # fmt: skip
