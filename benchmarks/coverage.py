"""How often 90 % intervals hold the truth: every law of the table, by design, method and number of sizes.

python -m benchmarks.coverage [--datasets 200] [--laws power_floor bnsl_1] [--methods bootstrap profile]
"""

import argparse
import sys
from pathlib import Path

from scalinglaws.fitting import coverage, fit

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from test_laws import TRUTH, rows

FEW = (4, 5, 6, 8, 12)  # sizes of the power law with floor


def show(title, one, options, method):
    """One line: the mean over parameters and the two extremes."""
    cover = coverage(one, options.datasets, 0.9, method, noise=options.noise)["cover"]
    print(f"{title:34s} {method:10s} {one.rows:4d} rows  mean {cover.mean():.3f}  lowest {cover.idxmin()} "
          f"{cover.min():.3f}  highest {cover.idxmax()} {cover.max():.3f}", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--laws", nargs="*", default=list(TRUTH))
    parser.add_argument("--methods", nargs="*", default=["bootstrap", "profile"])
    options = parser.parse_args()
    for name in options.laws:
        one = fit(rows(name), name, "y", {s: s for s in TRUTH[name][1]}, loss="squares", replicates=400)
        for method in options.methods:
            show(name, one, options, method)
    table = rows("power_floor")
    for count in FEW if "power_floor" in options.laws else ():
        some = table.iloc[[round(k * 11 / (count - 1)) for k in range(count)]]
        one = fit(some, "power_floor", "y", {"N": "x"}, loss="squares", replicates=400)
        show(f"power_floor, {count} sizes", one, options, "bootstrap")


if __name__ == "__main__":
    main()
