"""The two other approaches of Hoffmann et al. 2022 to the best size for a training budget, with their biases said."""

import numpy as np
import pandas as pd

from scalinglaws.schema import InputError

BIASES = {
    "isoflop": "A parabola through an isoFLOP profile is biased: its range is not symmetric about the optimum and the "
    "true profile is not a parabola (on the Chinchilla points the intercept is 4 % low at 16 times either way; D* of "
    "published studies came out 58 to 75 % high). Prefer the surface.",
    "envelope": "The lowest loss at each compute among the runs that happen to be there favours lucky runs and the "
    "sizes that were tried; its exponent is the least reliable of the three.",
}


def isoflop(table, quality, size, compute, tolerance=0.05) -> dict:
    """Approach 2 of Hoffmann et al. 2022: a parabola in ln N through the runs of each compute, then N_opt = k
    C^exponent.

    Runs whose compute agrees within `tolerance` are one profile; profiles of fewer than 4 runs, or whose parabola has
    no minimum inside them, are left out. Returns profiles (DataFrame), exponent, coefficient and the bias to know.
    """
    order = table.sort_values(compute)
    logs = np.log(order[compute].to_numpy(float))
    number = np.concatenate([[0], np.cumsum(np.diff(logs) > tolerance)])
    rows = []
    for _, part in order.groupby(number):
        if len(part) < 4 or part[size].nunique() < 4:
            continue
        x, y = np.log(part[size].to_numpy(float)), part[quality].to_numpy(float)
        curvature, slope, _ = np.polyfit(x, y, 2)
        best = -slope / (2 * curvature) if curvature > 0 else np.nan
        if curvature > 0 and x.min() <= best <= x.max():
            rows.append(
                {"compute": float(np.exp(np.log(part[compute]).mean())), "size": float(np.exp(best)), "runs": len(part)}
            )
    return _power(pd.DataFrame(rows, columns=["compute", "size", "runs"]), "isoflop")


def envelope(table, quality, size, compute, bins=12) -> dict:
    """Approach 1 of Hoffmann et al. 2022: the size of the best run in each of `bins` of compute, then N_opt = k
    C^exponent.
    """
    logs = np.log(table[compute].to_numpy(float))
    edges = np.linspace(logs.min(), logs.max() + 1e-9, bins + 1)
    rows = []
    for _, part in table.groupby(np.digitize(logs, edges)):
        best = part.loc[part[quality].idxmin()]
        rows.append({"compute": float(best[compute]), "size": float(best[size]), "runs": len(part)})
    return _power(pd.DataFrame(rows), "envelope")


def _power(profiles, approach):
    if len(profiles) < 2:
        raise InputError(f"The {approach} approach found {len(profiles)} optimum: it needs runs of 2 computes or more.")
    exponent, level = np.polyfit(np.log(profiles["compute"]), np.log(profiles["size"]), 1)
    return {
        "profiles": profiles,
        "exponent": float(exponent),
        "coefficient": float(np.exp(level)),
        "bias": BIASES[approach],
    }
