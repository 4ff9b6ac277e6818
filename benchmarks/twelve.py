"""Twelve laws on an 80-row study of size and steps: 1,000 bootstraps each and rolling extrapolation.

python -m benchmarks.twelve
"""

import time

import numpy as np
import pandas as pd

from scalinglaws import laws
from scalinglaws.fitting import fit
from scalinglaws.laws import functions
from scalinglaws.validate import compare

SOURCE = "benchmark"
SUMS = {
    "no_floor": "A*N^-a + B*S^-b",
    "size_only": "E + A*N^-a",
    "steps_only": "E + B*S^-b",
    "product_no_floor": "A*N^-a*S^-b",
    "shared_exponent": "E + A*N^-a + B*N^-a*S^-b",
    "size_power": "A*N^-a",
    "three_terms": "E + A*N^-a + B*S^-b + C*N^-c*S^-d",
}


def kaplan_steps() -> laws.Law:
    """Kaplan's joint form in size and steps."""
    return laws.custom(
        lambda N, S, A, a, B, b: functions.kaplan(N, S, A, a, B, b), ["A", "a", "B", "b"], ["N", "S"], "kaplan_steps",
        positive=("A", "B"), bounds={"a": (1e-3, 10.0), "b": (1e-3, 10.0)},
        draw=lambda x, y, rng, count: functions.kaplan_starts({"N": x["N"], "D": x["S"]}, y, rng, count),
    )  # fmt: skip


def twelve() -> list:
    return ["size_steps_plain", "size_steps_interaction", "size_steps_product", "size_steps_turn",
            kaplan_steps(), *(laws.power_sum(name, text, SOURCE) for name, text in SUMS.items())]  # fmt: skip


def study(seed=0) -> pd.DataFrame:
    """Ten sizes at eight step counts, 2 % noise."""
    table = pd.DataFrame(
        [(n, s) for n in np.geomspace(1e6, 1e9, 10) for s in 2.0 ** np.arange(1, 9)], columns=["N", "S"]
    )
    value = 5 + 3e3 * table["N"] ** -0.4 + 600 * table["N"] ** -0.2 * table["S"] ** -1.1
    return table.assign(fd=value * np.exp(0.02 * np.random.default_rng(seed).standard_normal(len(table))))


def main():
    table = study()
    start, work = time.perf_counter(), time.process_time()
    ranked = compare(table, twelve(), "fd", {"N": "N", "S": "S"}, replicates=1000).to_frame()
    for law in twelve():
        symbols = laws.find(law).inputs
        assert fit(table, law, "fd", {s: s for s in symbols}, replicates=1000).replicates.shape[0] == 1000
    print(ranked.drop(columns="note").to_string(float_format=lambda v: f"{v:.4g}"))
    spent, own = time.perf_counter() - start, time.process_time() - work
    print(f"{len(ranked)} laws, {len(table)} rows, 1,000 replicates each, rolling extrapolation: {spent:.1f} s, "
          f"of which {own:.1f} s own work on one core")  # fmt: skip


if __name__ == "__main__":
    main()
