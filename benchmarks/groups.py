"""Many groups: one call of fit_groups against a loop of fit, fits and replicates, in one run.

python -m benchmarks.groups [--replicates 100]
"""

import argparse
import time

import numpy as np
import pandas as pd

from scalinglaws.fitting import fit, fit_groups

TRUTH = {"E": 5.0, "A": 3e3, "a": 0.4, "B": 600.0, "g": -0.2, "b": 1.1}
SIZES, STEPS = np.geomspace(1e6, 1e9, 8), 2.0 ** np.arange(1, 9)
CASES = (
    # law                       groups, rows kept of each
    ("power_floor", 200, SIZES.size),
    ("size_steps_interaction", 60, 24),
    ("size_steps_interaction", 60, 64),
)


def study(groups: int, rows: int) -> pd.DataFrame:
    """Groups with floors and exponents of their own, 2 % noise."""
    rng = np.random.default_rng(0)
    mesh = np.array([(n, s) for s in STEPS for n in SIZES])[:rows]
    parts = []
    for k in range(groups):
        floor, slope = rng.uniform(2, 8), rng.uniform(0.8, 1.6)
        n, s = mesh.T
        value = floor + 3e3 * n**-0.4 + 600 * n**-0.2 * s**-slope
        noisy = value * np.exp(0.02 * rng.standard_normal(rows))
        parts.append(pd.DataFrame({"group": f"g{k}", "N": n, "S": s, "fd": noisy}))
    return pd.concat(parts, ignore_index=True)


def loop(table, law, inputs, replicates):
    """Separate fits with their replicates."""
    fits = {name: fit(rows, law, "fd", inputs, replicates=replicates) for name, rows in table.groupby("group")}
    for one in fits.values():
        one.replicates  # noqa: B018, computed when asked for
    return fits


def clock(function, *arguments, **options):
    """Seconds of own work and result, the better of two."""
    best = np.inf
    for _ in range(2):
        start = time.process_time()
        fits = function(*arguments, **options)
        best = min(best, time.process_time() - start)
    return best, fits


def difference(one, two):
    """Largest relative difference of parameters, and of the replicates' curves."""
    values = max(abs(one[k].theta / two[k].theta - 1).max() for k in two)
    curves = max(abs(one[k].curve(two[k].problem.data.x, one[k].replicates)
                     / two[k].curve(two[k].problem.data.x, two[k].replicates) - 1).max() for k in two)  # fmt: skip
    return values, curves


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, nargs="*", default=[1, 100, 1000])
    for law, groups, rows in CASES:
        table = study(groups, rows)
        inputs = {"N": "N"} if law == "power_floor" else {"N": "N", "S": "S"}
        for replicates in parser.parse_args().replicates:
            spent, together = clock(fit_groups, table, "group", law, "fd", inputs, replicates=replicates)
            slow, apart = clock(loop, table, law, inputs, replicates)
            values, curves = difference(together.fits, apart)
            print(f"{law}, {groups} groups of {rows} rows, {replicates:4d} replicates: together {spent:.2f} s, "
                  f"apart {slow:.2f} s, {slow / spent:.1f} times faster; parameters differ by {values:.0e}, "
                  f"replicates' curves by {curves:.0e}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
