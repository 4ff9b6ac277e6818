"""One solver for everything: damped Newton steps over a batch of starts, replicates or fixed values at once.

Nocedal and Wright, Numerical Optimization (2006), chapters 3 and 6. The Hessian is exact and is damped with the
majoriser: mu = 1 is Gauss-Newton on the IRLS weights, mu = 0 is Newton, and above 1 Marquardt's (1963) diagonal is
added. A trial step counts only if the objective falls.
"""

from dataclasses import dataclass

import numpy as np

SMALL = 32  # members up to which LAPACK is quicker than loops over parameters
BATCH = 65_536  # numbers per array in one batch: replicates x rows that still live in the cache
FLAT = 1e-2  # a predicted fall below this part of a stalled step ends a fit
STALLED = 1e-11  # an achieved relative fall below this is a stalled step
FARTHEST = 256.0  # the most a step along negative curvature is lengthened
PATIENCE = 4  # stalled steps before a fit ends
NEAR = 1e-3  # the longest step, in internal units, that is taken without trying it
REFUSALS = 40  # steps refused in a row before a fit ends


@dataclass(frozen=True)
class Minimum:
    """Where each member of the batch ended."""

    theta: np.ndarray  # [replicate, parameter], internal
    objective: np.ndarray  # [replicate]
    gradient: np.ndarray  # [replicate, parameter]
    hessian: np.ndarray  # [replicate, parameter, parameter]
    settled: np.ndarray  # [replicate], false where the iterations ran out


def minimise(problem, theta: np.ndarray, iterations: int = 300, mu=None, stalled=STALLED) -> Minimum:
    """Minimise problem.evaluate from every row of theta [replicate, parameter], in batches that fit the cache.

    mu [replicate]: the damping to begin with, 1 by default. stalled: relative fall that no longer counts as progress.
    """
    mu = np.ones(len(theta)) if mu is None else mu
    size = max(8, BATCH // max(1, problem.rows))
    chunks = [np.arange(k, min(k + size, len(theta))) for k in range(0, len(theta), size)]
    parts = [_minimise(problem, theta[chunk], chunk, iterations, mu[chunk], stalled) for chunk in chunks]
    fields = ("theta", "objective", "gradient", "hessian", "settled")
    return Minimum(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


def _minimise(problem, theta, members, iterations, mu, stalled):
    """One batch; members [replicate] are the positions in the whole problem's data."""
    theta = np.clip(theta, *problem.box(members))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        state = _State(problem, theta, members, mu, stalled)
        for _ in range(iterations):
            if not state.live.any():
                break
            state.step()
    return Minimum(state.theta, state.value, state.gradient, state.hessian, ~state.live)


class _State:
    """The batch while it moves: arrays over replicates, changed in place by step()."""

    def __init__(self, problem, theta, members, mu, stalled):
        self.problem, self.theta, self.members, self.mu = problem, theta, members, mu
        self.stalled = stalled
        self.value, self.gradient, self.hessian = problem.evaluate(theta, members, mu)
        self.value = np.where(np.isfinite(self.value), self.value, np.inf)
        self.live = np.isfinite(self.value)
        self.stalls, self.refusals = np.zeros(len(theta), int), np.zeros(len(theta), int)
        self.shrink, self.fresh = np.ones(len(theta)), np.ones(len(theta), bool)
        self.bent = np.zeros(len(theta), bool)  # the exact Hessian has a negative direction here
        self.stretch = np.ones(len(theta))  # grows while damped steps along such a direction succeed
        self.stale = np.zeros(len(theta), bool)  # the Hessian was made with another mu
        self.move = np.zeros_like(theta)

    def step(self):
        """Aim where the point moved, try, keep what falls, shorten what does not."""
        self._aim()
        on = np.flatnonzero(self.live)
        if not len(on):
            return
        lower, upper = self.problem.box(self.members[on])
        trial = np.clip(self.theta[on] + (self.shrink * self.stretch)[on, None] * self.move[on], lower, upper)
        value, gradient, hessian = self.problem.evaluate(trial, self.members[on], self.mu[on])
        falls = value < self.value[on]
        self._keep(on[falls], trial[falls], value[falls], gradient[falls], hessian[falls])
        self._refuse(on[~falls])

    def _aim(self):
        """New Newton steps for the members that moved; members with nothing left to gain stop."""
        stale = np.flatnonzero(self.live & self.stale)
        if len(stale):
            self.hessian[stale] = self.problem.evaluate(self.theta[stale], self.members[stale], self.mu[stale])[2]
            self.stale[stale], self.fresh[stale] = False, True
        on = np.flatnonzero(self.live & self.fresh)
        lower, upper = self.problem.box(self.members[on])
        free = ~(((self.theta[on] <= lower) & (self.gradient[on] > 0))
                 | ((self.theta[on] >= upper) & (self.gradient[on] < 0)))  # fmt: skip
        gradient = np.where(free, self.gradient[on], 0.0)
        move, doubtful = newton_step(self.hessian[on], gradient, free, np.maximum(self.mu[on] - 1.0, 0.0))
        reach = self.problem.reach
        move *= np.minimum(1.0, 1.0 / np.maximum(np.abs(move / reach).max(axis=1), 1e-300))[:, None]
        gain = -(move * gradient).sum(axis=1)
        self.move[on], self.shrink[on], self.fresh[on] = move, 1.0, False
        self.stale[on] = doubtful & (self.mu[on] <= 1e3)
        self.bent[on] = doubtful | (self.bent[on] & (self.mu[on] >= 1.0))
        self.mu[on] = np.where(doubtful, np.maximum(4 * self.mu[on], 1.0), self.mu[on])
        self.live[on] = ((gain > FLAT * self.stalled * self.value[on]) & (gain > 1e-30)) | self.stale[on]
        self._polish(on[~self.live[on]])

    def _polish(self, on):
        """A last Newton step, not tried, for members whose objective it changes less than a stalled step would."""
        near = on[(self.mu[on] == 0) & (np.abs(self.move[on]).max(axis=1, initial=0.0) < NEAR)]
        self.theta[near] = np.clip(self.theta[near] + self.move[near], *self.problem.box(self.members[near]))

    def _keep(self, on, trial, value, gradient, hessian):
        stalled = self.value[on] - value <= self.stalled * value
        self.stalls[on] = np.where(stalled, self.stalls[on] + 1, 0)
        full = self.shrink[on] == 1.0
        self.stretch[on] = np.where(full & self.bent[on], np.minimum(2 * self.stretch[on], FARTHEST), 1.0)
        self.mu[on] = np.where(full, self.mu[on] * 0.1, self.mu[on])
        self.mu[on] = np.where(self.mu[on] < 1e-3, 0.0, self.mu[on])
        self.theta[on], self.value[on], self.gradient[on], self.hessian[on] = trial, value, gradient, hessian
        self.fresh[on], self.refusals[on] = True, 0
        self.live[on] = self.stalls[on] < PATIENCE

    def _refuse(self, on):
        self.shrink[on] *= 0.25
        self.stretch[on] = np.maximum(0.25 * self.stretch[on], 1.0)
        self.refusals[on] += 1
        self.mu[on] = np.maximum(0.5, np.minimum(self.mu[on] * 3, 1e8))
        self.stale[on] = self.refusals[on] % 2 == 0
        self.live[on] = self.refusals[on] < REFUSALS


def newton_step(hessian, gradient, free, ridge):
    """Solve (hessian + ridge diag) step = -gradient per member by LDL' with pivots kept positive.

    free [replicate, parameter]: the others do not move. Returns steps and where a pivot had to be replaced.
    """
    count = hessian.shape[1]
    every = np.arange(count)
    size = np.sqrt(np.abs(hessian[:, every, every]))
    size = np.where(free & (size > 0) & np.isfinite(size), size, 1.0)
    a = np.empty((len(hessian), count, count + 1))  # the right side is the last column
    np.divide(hessian, size[:, :, None] * size[:, None, :], out=a[:, :, :count])
    if not free.all():
        a[:, :, :count] *= free[:, :, None] & free[:, None, :]
    a[:, every, every] += ridge[:, None]
    a[:, :, count] = gradient / size
    if len(a) <= SMALL and (solved := _solve_positive(a)) is not None:
        return -solved / size, np.zeros(len(a), bool)
    doubtful = np.zeros(len(a), bool)
    for j in range(count):
        good = a[:, j, j] > 1e-14
        doubtful |= ~good & free[:, j]
        a[:, j, j] = np.where(good & free[:, j], a[:, j, j], 1.0)
        ratio = a[:, j + 1 :, j] / a[:, j, j, None]
        a[:, j + 1 :, j + 1 :] -= ratio[:, :, None] * a[:, None, j, j + 1 :]
    step = a[:, :, count]
    for j in range(count - 1, -1, -1):
        step[:, j] /= a[:, j, j]
        step[:, :j] -= a[:, :j, j] * step[:, j, None]
    return -step / size, doubtful


def _solve_positive(a):
    """Solve a batch [member, parameter, parameter + 1] with its last column; None unless all are positive definite."""
    try:
        factor = np.linalg.cholesky(a[:, :, :-1])
    except np.linalg.LinAlgError:
        return None
    if not (np.einsum("rpp->rp", factor) > 1e-7).all():
        return None
    return np.linalg.solve(a[:, :, :-1], a[:, :, -1:])[:, :, 0]
