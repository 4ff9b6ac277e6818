"""One-break law on 4-digit addition (Caballero et al. 2022, fig. 4 left), the published recipe and ours in one run.

python -m benchmarks.bnsl

Their recipe: least squares of ln(1 + y) on the first 14 rows, a coarse grid of starts, then scipy's curve_fit with its
usual tolerances. Score: root mean square of ln(predicted / measured) on the last three rows.
"""

import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from scalinglaws.fitting import fit

PATH = Path(__file__).parents[2] / "shared" / "data" / "language" / "bnsl_4digit_addition.csv"
AXES = (np.arange(0, 1, 0.1), np.arange(0, 40, 2.5), np.arange(0, 1, 0.25))
ORDER = (0, 1, 2, 2, 1, 2)  # the axis of each of E, B, c0, c1, d1, f1
EXACT = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and whether a row is fitted."""
    table = pd.read_csv(PATH)
    return tuple(table[c].to_numpy(t) for c, t in (("dataset_size", float), ("test_loss", float), ("train", bool)))


def curve(x, E, B, c0, c1, d1, f1):
    """ln(1 + y), as the recipe fits it: the law written out, not in logarithms."""
    return np.log(E + B * x**-c0 * (1 + (x / d1) ** (1 / f1)) ** (-c1 * f1) + 1)


def grid_start(x, y):
    """The best point of the published grid; B and d1 lie on 1.25^g - 0.9."""
    best, start = np.inf, None
    for E in AXES[0]:
        theta = np.array(list(product([E], *(AXES[k] for k in ORDER[1:]))))
        theta[:, [1, 4]] = 1.25 ** theta[:, [1, 4]] - 0.9
        miss = np.mean((curve(x, *theta.T[:, :, None]) - np.log1p(y)) ** 2, axis=1)
        k = int(np.nanargmin(np.where(np.isfinite(miss), miss, np.inf)))
        best, start = min((best, start), (miss[k], theta[k]), key=lambda pair: pair[0])
    return start


def show(name, seconds, theta, x, y, seen):
    miss = curve(x, *theta) - np.log1p(y)
    held = np.log(np.expm1(curve(x, *theta))[~seen] / y[~seen])
    print(f"{name:34s} {seconds:6.2f} s  objective {np.sum(miss[seen] ** 2) / 2:.16e}  "
          f"held-out {np.sqrt(np.mean(held**2)):.10f}")  # fmt: skip


def main():
    if not PATH.exists():
        raise SystemExit("the BNSL points are not here")
    x, y, seen = points()
    for name, options in (("published recipe", {}), ("the same, tolerances of 1e-15", EXACT)):
        begin = time.process_time()
        with np.errstate(all="ignore"):
            start = grid_start(x[seen], y[seen])
            theta, _ = curve_fit(curve, x[seen], np.log1p(y[seen]), p0=start, maxfev=100_000, **options)
        show(name, time.process_time() - begin, theta, x, y, seen)
    begin = time.process_time()
    result = fit(pd.DataFrame({"x": x, "y": y})[seen], "bnsl_1", "y", "x", loss="squares", residuals="log1p")
    show("ours", time.process_time() - begin, result.theta, x, y, seen)


if __name__ == "__main__":
    main()
