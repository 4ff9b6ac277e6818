"""Orders of measuring replayed on measured grids: who has the whole grid's answer after a share of its cost.

python -m benchmarks.design [--replays 200] [--shares 0.05 0.2] [--grids tiny-ldm ...] [--orders ...] [--out FILE]
python -m benchmarks.design --settings [--replays 20]    grids of several guidances or samplers, by regret

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
from scalinglaws.decide.design import design
from scalinglaws.decide.settings import prepare_settings

BUDGETS = 10
SHARES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
SURE = 0.95  # of the replays, for an order to count as having the answer
DATA = Path(__file__).parents[1] / "data" / "measurements"
GRIDS = {  # name: (source, rows, quality, pair of sizes that cross)
    "tiny-ldm": ("tiny-ldm", "sampler == 'ddim' and guidance == 1", "fd", ("c8", "c16")),
    "tiny-ldm kd": ("tiny-ldm", "sampler == 'ddim' and guidance == 1", "kd", ("c8", "c16")),
    "tiny-ldm dpm++": ("tiny-ldm", "sampler == 'dpm++2m' and guidance == 1", "fd", ("c8", "c16")),
    "tiny-t2i": (DATA / "tiny-t2i-2000.csv", "sampler == 'ddim' and guidance == 1", "fd", ("c16", "c24")),
    "tiny-t2i w 2": (DATA / "tiny-t2i-2000.csv", "sampler == 'ddim' and guidance == 2", "fd", ("c16", "c24")),
}

CELL = ["model", "steps", "sampler", "guidance"]
SETTINGS = {  # name: (source, rows, quality) of several samplers or guidances
    "tiny-t2i guidance 1, 2": ("tiny-t2i", "sampler == 'ddim' and guidance in (1, 2) and steps != 50", "fd"),
    "tiny-t2i guidance 1, 2, EfficientNet": ("tiny-t2i", "sampler == 'ddim' and guidance in (1, 2) and steps != 50",
                                             "fd_effnet_lite0"),
    "tiny-ldm samplers": ("tiny-ldm", "guidance == 1 and steps <= 64", "fd"),
}  # fmt: skip


def rows_of(name):
    """(table, quality, pair) of a grid."""
    source, kept, quality, pair = GRIDS[name]
    return sl.read(source).query(kept).reset_index(drop=True), quality, pair


def run(name, count, shares, orders=replay.ORDERS):
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
            for order in orders:
                rows.append({"grid": name, "question": question, "share": share}
                            | replay.replay(grid, order, share, seed=seed))  # fmt: skip
    return pd.DataFrame(rows)


def settings_replays(name, count, shares):
    """One row a replay, order and share of the grid's cost, on a grid of several settings: regret, spent.

    Each replay begins with four random cells of the cheapest third of each setting, with fresh errors, and has one
    budget. regret: ln of the measured quality at the choice over the best measured, straight in ln steps between cells.
    """
    source, kept, quality = SETTINGS[name]
    table = sl.read(source).query(kept).reset_index(drop=True)
    setting = table[["sampler", "guidance"]].astype(str).agg(" ".join, axis=1)
    table["cost"] = np.concatenate([cost_model(rows).per_row(rows) for _, rows in table.groupby(setting)])[
        np.argsort(np.concatenate([rows.index for _, rows in table.groupby(setting)]))]  # fmt: skip
    budgets = np.geomspace(3 * table["cost"].min(), table["cost"].max(), BUDGETS)
    for seed in range(count):
        rng, budget = np.random.default_rng(seed), float(budgets[seed % BUDGETS])
        cheap = [rows.nsmallest(max(4, len(rows) // 3), "cost").index for _, rows in table.groupby(setting)]
        start = np.concatenate([rng.choice(index, 4, replace=False) for index in cheap])
        drawn = table[quality] + table[f"{quality}_se"] * rng.standard_normal(len(table))
        orders = {"design": None, "cheapest": table["cost"].sort_values().index, "random": rng.permutation(len(table))}
        for share in shares:
            left = share * table["cost"].sum() - table["cost"][start].sum()
            for order, rest in orders.items():
                seen = _measured(table.assign(**{quality: drawn}), quality, list(start), left, rest, budget)
                known = prepare_settings(table.assign(**{quality: drawn}).loc[seen], quality=quality, budget=budget,
                                         candidates=table[[*CELL, "flops_per_forward"]])  # fmt: skip
                yield {"grid": name, "order": order, "share": share, "seed": seed,
                       "regret": regret(table, quality, known), "cells": len(seen),
                       "spent": table["cost"][seen].sum() / table["cost"].sum()}  # fmt: skip


def _measured(table, quality, seen, left, rest, budget):
    """Indices of the cells that an order has measured once no further one is within what is left."""
    while rest is None:
        missing = table.assign(samples=table["n_samples_for_metric"]).drop(index=seen)
        missing = missing[missing["cost"] <= left]
        if missing.empty:
            return seen
        plan = design(table.loc[seen], "optimum", float(left), quality=quality, budget=budget, most=4,
                      candidates=missing[[*CELL, "flops_per_forward", "samples", "cost"]], compare=False)  # fmt: skip
        if plan.cells.empty:
            return seen
        new = missing.reset_index().merge(plan.cells[CELL].drop_duplicates(), on=CELL)["index"]  # repeats say no more
        seen, left = [*seen, *new], left - table["cost"][new].sum()
    for cell in rest:
        if cell not in seen and table["cost"][cell] <= left:
            seen, left = [*seen, cell], left - table["cost"][cell]
    return seen


def regret(table, quality, experiment):
    """ln of the measured quality at the choice over that of the best alternative, of the whole grid."""
    (chosen,), whole = experiment.decision.choices(experiment.belief.mean), {}
    points = experiment.belief.points.copy()
    points["setting"] = points.get("setting", pd.Series("", points.index))
    varied = [c for c in ("sampler", "guidance") if table[c].nunique() > 1]
    for key, rows in table.groupby([*varied, "model"]):
        label = " ".join(
            f"{c}={v:g}" if isinstance(v, float) else f"{c}={v}" for c, v in zip(varied, key, strict=False)
        )
        rows = rows.sort_values("steps")
        whole[label, key[-1]] = np.log(rows["steps"].to_numpy(float)), np.log(rows[quality].to_numpy(float))
    alternatives = points.iloc[experiment.decision.groups[0]]
    lost = {k: np.interp(np.log(p.steps), *whole[p.setting, p.model]) for k, p in alternatives.iterrows()}
    return lost[chosen] - min(lost.values())


def curves(table):
    """Part of the replays within the whole grid's interval [order, share], and the least share that makes it SURE."""
    within = table.pivot_table(index="order", columns="share", values="within", sort=False)
    least = {}
    for order, row in within.iterrows():
        below = max(row.index[row < SURE], default=0.0)
        least[order] = min(row.index[row.index > below], default=np.nan)
    return within.assign(**{f"{SURE:.0%} from": pd.Series(least)})


def ahead(within):
    """Sentences on the orders that have the answer more often than the design, one a share."""
    for share in within.columns[:-1]:
        row = within[share]
        better = row[row > row["design"]]
        if len(better):
            names = ", ".join(f"{name} {value:.3f}" for name, value in better.items())
            yield f"At {share:.0%} the design ({row['design']:.3f}) is behind {names}."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    parser.add_argument("--grids", nargs="*", default=list(GRIDS), choices=GRIDS)
    parser.add_argument("--orders", nargs="*", default=replay.ORDERS, choices=replay.ORDERS)
    parser.add_argument("--out", help="a CSV file for every replay")
    parser.add_argument("--settings", action="store_true", help="grids of several samplers or guidances")
    options = parser.parse_args()
    every = []
    if options.settings:
        for name in SETTINGS:
            table = pd.DataFrame(settings_replays(name, options.replays, sorted(options.shares)))
            print(f"\n{name}: {options.replays} replays; mean regret of the choice, in ln quality, and share spent")
            shown = table.pivot_table(index="order", columns="share", values=["regret", "spent"], sort=False)
            print(shown.to_string(float_format="{:.4f}".format), flush=True)
        return
    for name in options.grids:
        start = time.perf_counter()
        every.append(run(name, options.replays, sorted(options.shares), options.orders))
        print(f"\n{name}: {options.replays} replays, {time.perf_counter() - start:.0f} s")
        for question, table in every[-1].groupby("question", sort=False):
            print(f"\n{question}: part of the replays within the whole grid's interval, by share of its cost")
            within = curves(table)
            print(within.to_string(float_format="{:.3f}".format))
            print(*(ahead(within) if "design" in within.index else ()), sep="\n")
            last = table[table["share"] == table["share"].max()]
            print(f"\n{question}, {last['share'].iloc[0]:.0%} of the grid's cost")
            print(replay.summary(last).to_string(index=False, float_format="{:.4f}".format), flush=True)
    if options.out:
        pd.concat(every, ignore_index=True).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
