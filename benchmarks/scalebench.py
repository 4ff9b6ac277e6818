"""Which experiments to buy: V-optimal order on four tasks of arXiv:2604.22753, held-out R² beside the published.

    python -m benchmarks.scalebench [--data ../shared/data/scalebench] [--task farseer]

One rule for all tasks. No law is exact: what it leaves of the measured values is taken as a smooth discrepancy (a
Gaussian process in the logs of the inputs; Kennedy and O'Hagan 2001) and as noise, whose size, share and length are
those of the largest marginal likelihood of the rows bought. So the many cheap rows do not outvote the few near the
target. Of the affordable rows buy the one that lowers the mean predictive variance over the target most per square root
of its cost (the law linearised at the present fit, with a weak prior on its parameters), refit as the rows grow by
30 %, stop when nothing is affordable. The budget is a share of the pool's cost, of each group apart.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares

SHARES = (0.01, 0.05, 0.10, 1.0)
PUBLISHED = {"vocab": (0.96, 0.98, 0.98, 0.93), "parallel": (-1.00, 0.77, 0.99, 0.99), "moe": (0.67, 0.80, 0.83, 0.81),
             "farseer": (0.67, 0.88, 0.93, 0.91)}  # fmt: skip
POWER = 0.5  # of the cost by which the gain is divided
EXPECTED = 0.01  # of the loss: deviation of a row from its law expected before any is bought
SCALES = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5)  # times that: what is tried, with a log-normal prior of deviation 1
SHARES_SMOOTH = (0.5, 0.9, 0.99)  # of the variance: the smooth discrepancy; the rest is noise
LENGTHS = (0.5, 1.0, 2.0)  # of the discrepancy, in decades of the inputs


class Misfit(NamedTuple):
    """What a law leaves: deviation in the unit of the quality, share of it that is smooth, its length in decades."""

    deviation: float
    share: float = 0.9
    length: float = 1.0

    def smooth(self, x, other):
        """Covariance [row, other row] of the discrepancy at inputs x and other."""
        apart = ((np.log10(x)[:, None] - np.log10(other)[None]) ** 2).sum(-1)
        return self.deviation**2 * self.share * np.exp(-apart / (2 * self.length**2))

    def noise(self):
        """Variance of the noise."""
        return self.deviation**2 * (1 - self.share)


def farseer(t, n, d):
    """exp(s N^q + S) + exp(B N^b + Q) D^-exp(A N^a + E): Li et al. 2025, arXiv:2506.10972; nine parameters."""
    ln_n, ln_d = np.log(n / 1e9), np.log(d / 3e10)
    s, q, S, B, b, Q, A, a, E = t
    return np.exp(s * np.exp(q * ln_n) + S) + np.exp(B * np.exp(b * ln_n) + Q - ln_d * np.exp(A * np.exp(a * ln_n) + E))


def moe(t, experts, n):
    """E + A N^-a X^-b exp(g ln N ln X): Clark et al. 2022, arXiv:2202.01169, with a floor."""
    ln_n, ln_x = np.log(n / 3e8), np.log(experts)
    E, A, a, b, g = t
    return np.exp(E) + np.exp(A - a * ln_n - b * ln_x + g * ln_n * ln_x)


def parallel(t, n, p):
    """E + A (N (1 + k ln P))^-a: Chen et al. 2025, arXiv:2505.10475."""
    E, A, a, k = t
    return np.exp(E) + np.exp(A) * (n / 1e9 * (1 + np.exp(k) * np.log(p))) ** -np.exp(a)


def vocab(t, n, v, h):
    """-E + A N^-a + B V^-b + C H^-c: Tao et al. 2024, arXiv:2407.13623."""
    E, A, a, B, b, C, c = t
    return -E + np.exp(A) * (n / 3e8) ** -a + np.exp(B) * (v / 3e4) ** -b + np.exp(C) * (h / 2e10) ** -c


# task: (law, mean and sd of its parameters before any row, inputs, quality, cost)
TASKS = {
    "parallel": (parallel, [-0.3, -0.5, -1.6, -1.05], [0.7, 0.7, 0.5, 0.5], ["num_params", "parallel_size"], "loss",
                 lambda t: t.num_params),
    "moe": (moe, [0.5, 0, 0.2, 0.05, 0], [0.7, 0.7, 0.15, 0.05, 0.02], ["num_experts", "dense_parameter_count"],
            "loss_validation", lambda t: t.num_experts * t.dense_parameter_count),
    "farseer": (farseer, [0.1, -0.3, -1.2, 0.5, -0.3, -1.5, 0.1, -0.2, -1.0],
                [0.7, 0.3, 1, 0.7, 0.3, 1, 0.5, 0.3, 0.7], ["N", "D"], "loss", lambda t: 6 * t.N * t.D),
    "vocab": (vocab, [6, 0, 0.3, -1, 0.5, 0, 0.4], [2, 1, 0.2, 1, 0.3, 1, 0.2],
              ["non_vocab_parameters", "vocab_size", "num_characters"], "unigram_normalized_loss",
              lambda t: 6 * t.non_vocab_parameters * t.num_characters),
}  # fmt: skip


def jacobian(law, theta, x):
    """d law / d parameter [row, parameter]."""
    step = 1e-4 * np.eye(len(theta))
    return np.array([(law(theta + s, *x.T) - law(theta - s, *x.T)) / 2e-4 for s in step]).T


def refit(task, x, y, misfit, rng, starts, theta):
    """(parameters of the highest posterior from the present ones and a few drawn, misfit) given rows x, y."""
    law, mean, sd = TASKS[task][0], *map(np.array, TASKS[task][1:3])
    root = np.linalg.cholesky(misfit.smooth(x, x) + misfit.noise() * np.eye(len(y)))

    def residual(t):
        with np.errstate(all="ignore"):
            off = np.nan_to_num((law(t, *x.T) - y) / misfit.deviation, nan=1e6, posinf=1e6, neginf=-1e6)
        off = misfit.deviation * np.clip(off, -1e6, 1e6)
        return np.concatenate([solve_triangular(root, off, lower=True), (t - mean) / sd])

    first = [theta] + [mean + 0.7 * sd * rng.standard_normal(len(mean)) for _ in range(starts - 1)]
    theta = min((least_squares(residual, t, max_nfev=200) for t in first), key=lambda found: found.cost).x
    return theta, likeliest(task, x, y, theta)


def likeliest(task, x, y, theta):
    """The misfit of the largest marginal likelihood, the law linearised at theta."""
    law, mean, sd = TASKS[task][0], *map(np.array, TASKS[task][1:3])
    slopes, expected = jacobian(law, theta, x), first_misfit(task, x).deviation
    off, known = y - law(theta, *x.T) + slopes @ (theta - mean), (slopes * sd) @ (slopes * sd).T
    best = {}
    for share, length in product(SHARES_SMOOTH, LENGTHS):
        unit = Misfit(1.0, share, length)
        shape = unit.smooth(x, x) + unit.noise() * np.eye(len(y))
        for scale in SCALES:
            root = np.linalg.cholesky(known + (scale * expected) ** 2 * shape)
            left = solve_triangular(root, off, lower=True)
            score = -0.5 * (left @ left) - np.log(np.diag(root)).sum() - 0.5 * np.log(scale) ** 2
            best[score] = Misfit(scale * expected, share, length)
    return best[max(best)]


def first_misfit(task, x):
    """The misfit expected before any row is bought."""
    law, mean = TASKS[task][:2]
    return Misfit(EXPECTED * max(np.abs(law(np.array(mean, float), *x.T)).mean(), 0.3))


def covariance(task, theta, misfit, every, bought):
    """Predictive covariance [row, row] of the law and its discrepancy at inputs `every`, given the rows bought."""
    law, sd = TASKS[task][0], np.array(TASKS[task][2], float)
    slopes = jacobian(law, theta, every) * sd
    prior, at = slopes @ slopes.T + misfit.smooth(every, every), np.flatnonzero(bought)
    known = prior[np.ix_(at, at)] + misfit.noise() * np.eye(len(at))
    return prior - prior[:, at] @ np.linalg.solve(known, prior[at])


def buy(task, pool, target, share, seed=0):
    """(rows bought, predictions for the target) of one group, spending at most a share of the pool's cost."""
    law, mean, _, inputs, quality, cost = TASKS[task]
    price = cost(pool).to_numpy(float) / cost(pool).sum()
    x, y, new = pool[inputs].to_numpy(float), pool[quality].to_numpy(float), target[inputs].to_numpy(float)
    every, rng, n = np.vstack([x, new]), np.random.default_rng(seed), len(y)
    misfit, theta, bought, fitted = first_misfit(task, x), np.array(mean, float), np.zeros(n, bool), 0
    spread = covariance(task, theta, misfit, every, bought)
    while (able := ~bought & (price <= share * (1 + 1e-9) - price[bought].sum())).any():
        alone = np.diag(spread)[:n] + misfit.noise()  # variance of a new measurement
        lowered = (spread[:n, n:] ** 2).sum(1) / alone
        best = int(np.where(able, lowered / price**POWER, -1).argmax())
        bought[best] = True
        if bought.sum() - fitted >= max(3, 0.3 * fitted):
            (theta, misfit), fitted = refit(task, x[bought], y[bought], misfit, rng, 2, theta), bought.sum()
            spread = covariance(task, theta, misfit, every, bought)
        else:
            spread = spread - np.outer(spread[:, best], spread[best]) / alone[best]
    rows, values = x[bought], y[bought]
    if not bought.any():
        return 0, law(theta, *new.T)
    for _ in range(3):  # parameters and misfit in turn
        theta, misfit = refit(task, rows, values, misfit, rng, 6, theta)
    known = misfit.smooth(rows, rows) + misfit.noise() * np.eye(len(rows))
    missed = misfit.smooth(new, rows) @ np.linalg.solve(known, values - law(theta, *rows.T))
    return int(bought.sum()), law(theta, *new.T) + missed


def score(task, folder, share):
    """(R² over the target rows of all groups, rows bought)."""
    pool, target = (pd.read_csv(Path(folder) / f"{task}.{part}.csv") for part in ("train", "test"))
    truth, told, count = [], [], 0
    for group, rows in target.groupby("group"):
        bought, values = buy(task, pool[pool["group"] == group], rows, share)
        truth, told, count = [*truth, *rows[TASKS[task][4]]], [*told, *values], count + bought
    truth, told = np.array(truth), np.array(told)
    return 1 - ((truth - told) ** 2).sum() / ((truth - truth.mean()) ** 2).sum(), count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/scalebench")
    parser.add_argument("--task", choices=PUBLISHED)
    given = parser.parse_args()
    folder = given.data
    for task, theirs in PUBLISHED.items():
        if given.task not in (None, task):
            continue
        for share, published in zip(SHARES, theirs, strict=True):
            ours, count = score(task, folder, share)
            verdict = "reached" if ours >= published - 0.005 else "not reached"
            print(f"{task:9s} {share:4.0%} of the cost: R² {ours:6.3f}, {count} rows, published {published}: {verdict}")


if __name__ == "__main__":
    main()
