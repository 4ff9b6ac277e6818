"""Which experiments to buy: V-optimal order on four tasks of arXiv:2604.22753, held-out R² beside the published.

    python -m benchmarks.scalebench [--data ../shared/data/scalebench]

One rule for all tasks: of the affordable rows buy the one that lowers the mean predictive variance over the target most
per square root of its cost (the law linearised at the present fit, with a weak prior on its parameters), refit as the
rows grow by 30 %, stop when nothing is affordable. The budget is a share of the pool's cost, of each group apart.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

SHARES = (0.01, 0.05, 0.10, 1.0)
PUBLISHED = {"vocab": (0.96, 0.98, 0.98, 0.93), "parallel": (-1.00, 0.77, 0.99, 0.99), "moe": (0.67, 0.80, 0.83, 0.81),
             "farseer": (0.67, 0.88, 0.93, 0.91)}  # fmt: skip
POWER = 0.5  # of the cost by which the gain is divided
NOISE = 0.01  # of the loss, relative: only its ratio to the prior matters


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


def refit(law, mean, sd, x, y, noise, rng, starts, theta):
    """Parameters of the highest posterior from the present ones and a few drawn."""

    def residual(t):
        with np.errstate(all="ignore"):
            off = np.nan_to_num((law(t, *x.T) - y) / noise, nan=1e6, posinf=1e6, neginf=-1e6)
        return np.concatenate([np.clip(off, -1e6, 1e6), (t - mean) / sd])

    first = [theta] + [mean + 0.7 * sd * rng.standard_normal(len(mean)) for _ in range(starts - 1)]
    return min((least_squares(residual, t, max_nfev=200) for t in first), key=lambda found: found.cost).x


def buy(task, pool, target, share, seed=0):
    """(rows bought, predictions for the target) of one group, spending at most a share of the pool's cost."""
    law, mean, sd, inputs, quality, cost = TASKS[task]
    mean, sd, rng = np.array(mean, float), np.array(sd, float), np.random.default_rng(seed)
    price = cost(pool).to_numpy(float)
    price = price / price.sum()
    x, y, new = pool[inputs].to_numpy(float), pool[quality].to_numpy(float), target[inputs].to_numpy(float)
    noise = NOISE * max(np.abs(y).mean(), 0.3)
    bought, theta, fitted = np.zeros(len(y), bool), mean.copy(), 0
    while (able := ~bought & (price <= share * (1 + 1e-9) - price[bought].sum())).any():
        slopes, ahead = jacobian(law, theta, x) / noise, jacobian(law, theta, new)
        inverse = np.linalg.inv(np.diag(1 / sd**2) + slopes[bought].T @ slopes[bought])
        lowered = ((slopes @ inverse @ ahead.T) ** 2).sum(1) / (1 + np.einsum("ij,jk,ik->i", slopes, inverse, slopes))
        bought[int(np.where(able, lowered / price**POWER, -1).argmax())] = True
        if bought.sum() - fitted >= max(3, 0.3 * fitted):
            theta, fitted = refit(law, mean, sd, x[bought], y[bought], noise, rng, 2, theta), bought.sum()
    if bought.any():
        theta = refit(law, mean, sd, x[bought], y[bought], noise, rng, 6, theta)
    return int(bought.sum()), law(theta, *new.T)


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
    folder = parser.parse_args().data
    for task, theirs in PUBLISHED.items():
        for share, published in zip(SHARES, theirs, strict=True):
            ours, count = score(task, folder, share)
            verdict = "reached" if ours >= published - 0.005 else "not reached"
            print(f"{task:9s} {share:4.0%} of the cost: R² {ours:6.3f}, {count} rows, published {published}: {verdict}")


if __name__ == "__main__":
    main()
