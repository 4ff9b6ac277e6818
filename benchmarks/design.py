"""Orders of measuring replayed on measured grids: who has the whole grid's answer after a share of its cost.

python -m benchmarks.design [--replays 200] [--shares 0.05 0.2] [--grids tiny-ldm ...] [--out FILE]

Each replay has a budget of its own (one of BUDGETS from the cheapest cell to the most expensive), a random start of
four cheap cells, and fresh errors of the measured values. Crossovers: the pair of each grid, a quarter of the replays.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import scalinglaws as sl
from scalinglaws.decide import replay
from scalinglaws.decide.cost import cost_model

BUDGETS = 10
DATA = Path(__file__).parents[1] / "data" / "measurements"
GRIDS = {  # name: (source, rows, quality, pair of sizes that cross)
    "tiny-ldm": ("tiny-ldm", "sampler == 'ddim' and guidance == 1", "fd", ("c8", "c16")),
    "tiny-ldm kd": ("tiny-ldm", "sampler == 'ddim' and guidance == 1", "kd", ("c8", "c16")),
    "tiny-ldm dpm++": ("tiny-ldm", "sampler == 'dpm++2m' and guidance == 1", "fd", ("c8", "c16")),
    "tiny-t2i": (DATA / "tiny-t2i-2000.csv", "sampler == 'ddim' and guidance == 1", "fd", ("c8", "c16")),
    "tiny-t2i w 2": (DATA / "tiny-t2i-2000.csv", "sampler == 'ddim' and guidance == 2", "fd", ("c8", "c16")),
}


def rows_of(name):
    """(table, quality, pair) of a grid."""
    source, kept, quality, pair = GRIDS[name]
    return sl.read(source).query(kept).reset_index(drop=True), quality, pair


def run(name, count, shares):
    """One row a replay, order, question and share of the grid's cost."""
    table, quality, pair = rows_of(name)
    spent = cost_model(table).per_row(table)
    budgets = np.geomspace(1.5 * spent.min(), spent.max(), BUDGETS)
    grids = [("optimum", replay.whole_grid(table, "optimum", budget=float(b), quality=quality)) for b in budgets]
    crossing = replay.whole_grid(table, "crossover", between=pair, quality=quality)
    tasks = [(*grids[seed % BUDGETS], seed) for seed in range(count)]
    tasks += [("crossover", crossing, seed) for seed in range(count // 4)]
    rows = []
    for question, grid, seed in tasks:
        for share in shares:
            for order in replay.ORDERS:
                rows.append({"grid": name, "question": question, "share": share}
                            | replay.replay(grid, order, share, seed=seed))  # fmt: skip
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.05, 0.2])
    parser.add_argument("--grids", nargs="*", default=list(GRIDS))
    parser.add_argument("--out", help="a CSV file for every replay")
    options = parser.parse_args()
    found = []
    for name in options.grids:
        start = time.perf_counter()
        found.append(run(name, options.replays, options.shares))
        print(f"\n{name}: {options.replays} replays, {time.perf_counter() - start:.0f} s")
        for (question, share), table in found[-1].groupby(["question", "share"]):
            print(f"\n{question}, {share:.0%} of the grid's cost")
            print(replay.summary(table).to_string(index=False, float_format="{:.4f}".format), flush=True)
    if options.out:
        pd.concat(found, ignore_index=True).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
