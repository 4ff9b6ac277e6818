"""The two other approaches of Hoffmann et al. 2022 to the best size for a training budget, with their known biases."""

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

    Runs whose ln compute is within `tolerance` of the least of them are one profile; profiles of fewer than 4 runs, or
    whose parabola has no minimum inside them, are left out. Returns profiles (DataFrame), exponent, coefficient and the
    bias to know.
    """
    order, rows = table.sort_values(compute), []
    for _, part in order.groupby(_alike(np.log(order[compute].to_numpy(float)), tolerance)):
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


def _alike(rising, tolerance):
    """Numbers [n] of the groups of rising values, each within `tolerance` of the first of its group."""
    number, first, groups = -1, -np.inf, []
    for value in rising:
        if value - first > tolerance:
            number, first = number + 1, value
        groups.append(number)
    return np.array(groups)


def envelope(table, quality, size, compute, bins=12) -> dict:
    """Approach 1 of Hoffmann et al. 2022: the size of the best run in each of `bins` of compute, then N_opt = k
    C^exponent.

    Bins of fewer than 3 sizes are left out.
    """
    logs = np.log(table[compute].to_numpy(float))
    edges = np.linspace(logs.min(), logs.max() + 1e-9, bins + 1)
    rows = []
    for _, part in table.groupby(np.digitize(logs, edges)):
        if part[size].nunique() < 3:  # where few sizes were tried, the best is but what was tried
            continue
        best = part.loc[part[quality].idxmin()]
        rows.append({"compute": float(best[compute]), "size": float(best[size]), "runs": len(part)})
    return _power(pd.DataFrame(rows, columns=["compute", "size", "runs"]), "envelope")


def at_compute(table, quality, size, compute, budgets):
    """What each size would have reached at each budget: its quality along training, straight in logs between its rows.

    Rows of size, compute and quality, none where the budget lies outside a size's rows: isoFLOP profiles from runs that
    were measured while they trained, as in approach 1 of Hoffmann et al. 2022. A schedule that ends in a decay is worth
    more at its end than on the way: use rows of one constant schedule, or of finished runs.
    """
    rows = []
    for value, part in table.groupby(size):
        part = part.groupby(compute)[quality].mean()
        x, y = np.log(part.index.to_numpy(float)), np.log(part.to_numpy(float))
        for budget in budgets:
            if x[0] - 1e-9 <= np.log(budget) <= x[-1] + 1e-9:
                rows.append({size: value, compute: budget, quality: float(np.exp(np.interp(np.log(budget), x, y)))})
    return pd.DataFrame(rows, columns=[size, compute, quality])


def line(approach, budgets, level=0.9):
    """N_opt = k C^exponent of `isoflop` or `envelope` with the band of its straight line in logs (least squares).

    Returns budget, value, low, high; the band is nan with two profiles, which a line joins exactly. It holds the
    scatter of the profiles about the line, not the bias of the approach.
    """
    from scipy.stats import t

    x, y = (np.log(approach["profiles"][c].to_numpy(float)) for c in ("compute", "size"))
    at = np.log(np.asarray(budgets, float))
    value, spare = np.log(approach["coefficient"]) + approach["exponent"] * at, len(x) - 2
    width = np.full(at.shape, np.nan)
    if spare > 0:
        variance = np.sum((y - np.log(approach["coefficient"]) - approach["exponent"] * x) ** 2) / spare
        width = t.ppf((1 + level) / 2, spare) * np.sqrt(
            variance * (1 / len(x) + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))
        )
    ends = {"low": np.exp(value - width), "high": np.exp(value + width)}
    return pd.DataFrame({"budget": budgets, "value": np.exp(value)} | ends)


def _power(profiles, approach):
    if len(profiles) < 2:
        raise InputError(
            f"The {approach} approach needs an optimum between the sizes at 2 computes or more; these runs have "
            f"{'one' if len(profiles) else 'none'}."
        )
    if profiles["size"].nunique() == 1:
        raise InputError(
            f"The {approach} approach finds {profiles['size'].iloc[0]:.3g} the best size at all {len(profiles)} "
            "computes: no growth can be read off one size."
        )
    exponent, level = np.polyfit(np.log(profiles["compute"]), np.log(profiles["size"]), 1)
    return {
        "profiles": profiles,
        "exponent": float(exponent),
        "coefficient": float(np.exp(level)),
        "bias": BIASES[approach],
    }
