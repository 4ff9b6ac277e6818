"""One solver for everything: damped Newton steps for a batch of starts, replicates or held parameters at once.

Nocedal and Wright, Numerical Optimization (2006), chapters 3, 6 and 16.7 (bounds). The Hessian is exact; damping mu
mixes it with the majoriser's Gauss-Newton matrix (loss.py) and, above 1, adds Marquardt's (1963) diagonal. A step is
accepted only if the objective falls; accepted full steps lower mu to 0, where convergence is quadratic.
"""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from scalinglaws.fitting import settings
from scalinglaws.fitting.loss import Objective


@dataclass(frozen=True)
class Minima:
    """Where each of M members ended."""

    theta: np.ndarray  # [M, P], internal parameters
    objective: np.ndarray  # [M]
    gradient: np.ndarray  # [M, P]
    hessian: np.ndarray  # [M, P, P], damped as at the last step
    converged: np.ndarray  # [M] bool, false where the iterations ran out

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.theta, self.objective, self.gradient, self.hessian, self.converged

    def take(self, members) -> "Minima":
        """These members, in this order."""
        return Minima(*(array[members] for array in self.arrays))

    def replaced(self, members, others: "Minima") -> "Minima":
        """A copy in which these members are the others."""
        copies = [array.copy() for array in self.arrays]
        for copy, new in zip(copies, others.arrays, strict=True):
            copy[members] = new
        return Minima(*copies)

    def split(self, counts) -> list["Minima"]:
        """The first counts[0] members, the next counts[1], ..."""
        parts = (np.split(array, np.cumsum(counts)[:-1]) for array in self.arrays)
        return [Minima(*part) for part in zip(*parts, strict=True)]

    @staticmethod
    def concatenated(parts: list["Minima"]) -> "Minima":
        return Minima(*(np.concatenate(arrays) for arrays in zip(*(part.arrays for part in parts), strict=True)))


@dataclass
class State:
    """A batch of M members on their way; every array has the member as its first axis and changes in place."""

    theta: np.ndarray  # [M, P], the best point so far
    value: np.ndarray  # [M], its objective
    gradient: np.ndarray  # [M, P]
    hessian: np.ndarray  # [M, P, P], damped with the mu it was computed with
    mu: np.ndarray  # [M], damping
    active: np.ndarray  # [M] bool, still iterating
    moved: np.ndarray  # [M] bool, theta or Hessian changed since the direction was computed
    outdated: np.ndarray  # [M] bool, the Hessian was computed with another mu and must be computed again
    direction: np.ndarray  # [M, P], the damped Newton step
    length: np.ndarray  # [M], share of the direction that is tried: 1, then 1/4, ...
    extension: np.ndarray  # [M], at least 1: how much further along negative curvature
    indefinite: np.ndarray  # [M] bool, negative curvature was met since mu was last below 1
    stalls: np.ndarray  # [M], accepted steps in a row that gained next to nothing
    rejections: np.ndarray  # [M], steps in a row that did not fall

    @classmethod
    def start(cls, objective, theta, members, mu) -> "State":
        value, gradient, hessian = objective.evaluate(theta, members, mu)
        count, value = len(theta), np.where(np.isfinite(value), value, np.inf)
        return cls(
            theta, value, gradient, hessian, mu, active=np.isfinite(value), moved=np.ones(count, bool),
            outdated=np.zeros(count, bool), direction=np.zeros_like(theta), length=np.ones(count),
            extension=np.ones(count), indefinite=np.zeros(count, bool), stalls=np.zeros(count, int),
            rejections=np.zeros(count, int),
        )  # fmt: skip


def minimise(objective: Objective, theta, members=None, mu=None, limits=settings.SOLVER) -> Minima:
    """Descend from every row of theta [M, P]. members [M]: whose data they fit (default 0..M-1); mu [M]: first damping.

    One batch: see batching.py for many members, which are cut into batches that live in the cache.
    """
    members = np.arange(len(theta)) if members is None else members
    mu = np.full(len(theta), limits.mu_start) if mu is None else mu.copy()
    with np.errstate(all="ignore"):
        s = State.start(objective, np.clip(theta, *objective.box(members)), members, mu)
        for _ in range(limits.iterations):
            recompute_hessians(s, objective, members)
            on, gradient, free = free_gradients(s, objective, members)
            direction, indefinite = newton_step(s.hessian[on], gradient, free, np.maximum(s.mu[on] - 1.0, 0.0), limits)
            turn(s, on, direction, indefinite, objective.max_step, limits)
            stop_converged(s, on, gradient, objective, members, limits)
            on = np.flatnonzero(s.active)
            if not len(on):
                break
            step = (s.length * s.extension)[on, None] * s.direction[on]
            trial = np.clip(s.theta[on] + step, *objective.box(members[on]))
            value, gradient, hessian = objective.evaluate(trial, members[on], s.mu[on])
            falls = value < s.value[on]
            accept(s, on[falls], trial[falls], value[falls], gradient[falls], hessian[falls], limits)
            reject(s, on[~falls], limits)
    return Minima(s.theta, s.value, s.gradient, s.hessian, ~s.active)


def recompute_hessians(s: State, objective, members) -> None:
    """Hessians that were computed with another damping are computed again."""
    on = np.flatnonzero(s.active & s.outdated)
    if len(on):
        s.hessian[on] = objective.evaluate(s.theta[on], members[on], s.mu[on])[2]
        s.outdated[on], s.moved[on] = False, True


def free_gradients(s: State, objective, members):
    """(members that need a new direction [m], their gradient [m, P], 0 where a bound holds, free [m, P] elsewhere)."""
    on = np.flatnonzero(s.active & s.moved)
    lower, upper = objective.box(members[on])
    at_bound = (s.theta[on] <= lower) & (s.gradient[on] > 0) | (s.theta[on] >= upper) & (s.gradient[on] < 0)
    return on, np.where(at_bound, 0.0, s.gradient[on]), ~at_bound


def turn(s: State, on, direction, indefinite, max_step, limits) -> None:
    """Give the members `on` a new direction [m, P], at most max_step long; indefinite [m]: damped more from now on."""
    longest = np.abs(direction / max_step).max(axis=1)
    direction = direction * np.minimum(1.0, 1.0 / np.maximum(longest, 1e-300))[:, None]
    s.direction[on], s.length[on], s.moved[on] = direction, 1.0, False
    s.outdated[on] = indefinite & (s.mu[on] <= limits.mu_recompute)
    s.indefinite[on] = indefinite | (s.indefinite[on] & (s.mu[on] >= 1.0))
    s.mu[on] = np.where(indefinite, np.maximum(limits.mu_indefinite * s.mu[on], 1.0), s.mu[on])


def stop_converged(s: State, on, gradient, objective, members, limits) -> None:
    """Stop where the step promises less than a stalled step gains. A short exact step is taken without a trial."""
    gain = -(s.direction[on] * gradient).sum(axis=1)
    least = np.maximum(limits.gain_tolerance * limits.stall_tolerance * s.value[on], limits.smallest_gain)
    s.active[on] = (gain > least) | s.outdated[on]
    on = on[~s.active[on]]
    on = on[(s.mu[on] == 0) & (np.abs(s.direction[on]).max(axis=1, initial=0.0) < limits.polish_step)]
    s.theta[on] = np.clip(s.theta[on] + s.direction[on], *objective.box(members[on]))


def accept(s: State, on, theta, value, gradient, hessian, limits) -> None:
    """Move the members `on` to where the objective fell; after a full step trust the quadratic model more."""
    stalled = s.value[on] - value <= limits.stall_tolerance * value
    s.stalls[on] = np.where(stalled, s.stalls[on] + 1, 0)
    full = s.length[on] == 1.0
    longer = np.minimum(limits.extend * s.extension[on], limits.max_extension)
    s.extension[on] = np.where(full & s.indefinite[on], longer, 1.0)
    s.mu[on] = np.where(full, s.mu[on] * limits.mu_accept, s.mu[on])
    s.mu[on] = np.where(s.mu[on] < limits.mu_zero, 0.0, s.mu[on])
    s.theta[on], s.value[on], s.gradient[on], s.hessian[on] = theta, value, gradient, hessian
    s.moved[on], s.rejections[on] = True, 0
    s.active[on] = s.stalls[on] < limits.max_stalls


def reject(s: State, on, limits) -> None:
    """A quarter of the step and more damping; every second time the Hessian is computed anew with it."""
    s.length[on] *= limits.backtrack
    s.extension[on] = np.maximum(limits.backtrack * s.extension[on], 1.0)
    s.rejections[on] += 1
    more = np.minimum(s.mu[on] * limits.mu_reject, limits.mu_most)
    s.mu[on] = np.maximum(limits.mu_reject_least, more)
    s.outdated[on] = s.rejections[on] % 2 == 0
    s.active[on] = s.rejections[on] < limits.max_rejections


def newton_step(hessian, gradient, free, ridge, limits=settings.SOLVER):
    """Solve (H + ridge diag H) step = -gradient for each member, by LDL' with pivots kept positive.

    hessian [M, P, P], ridge [M]; free [M, P]: the other parameters stay; gradient [M, P]: zero where not free.
    Returns step [M, P], and [M] bool where a pivot had to be replaced: there the matrix is not positive definite.
    """
    count = hessian.shape[1]
    every = np.arange(count)
    size = np.sqrt(np.abs(hessian[:, every, every]))
    size = np.where(free & (size > 0) & np.isfinite(size), size, 1.0)
    a = np.empty((len(hessian), count, count + 1))  # scaled to a unit diagonal; the right side is the last column
    np.divide(hessian, size[:, :, None] * size[:, None, :], out=a[:, :, :count])
    if not free.all():
        a[:, :, :count] *= free[:, :, None] & free[:, None, :]
    a[:, every, every] += ridge[:, None]
    a[:, :, count] = gradient / size
    if len(a) <= limits.lapack_members:  # few members: LAPACK, if all are safely positive definite
        with suppress(np.linalg.LinAlgError):
            factor = np.linalg.cholesky(a[:, :, :-1])
            if (np.einsum("mpp->mp", factor) > limits.lapack_pivot).all():
                return -np.linalg.solve(a[:, :, :-1], a[:, :, -1:])[:, :, 0] / size, np.zeros(len(a), bool)
    indefinite = np.zeros(len(a), bool)
    for j in range(count):
        good = a[:, j, j] > limits.pivot
        indefinite |= ~good & free[:, j]
        a[:, j, j] = np.where(good & free[:, j], a[:, j, j], 1.0)
        ratio = a[:, j + 1 :, j] / a[:, j, j, None]
        a[:, j + 1 :, j + 1 :] -= ratio[:, :, None] * a[:, None, j, j + 1 :]
    step = a[:, :, count]
    for j in range(count - 1, -1, -1):
        step[:, j] /= a[:, j, j]
        step[:, :j] -= a[:, :j, j] * step[:, j, None]
    return -step / size, indefinite
