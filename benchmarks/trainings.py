"""Models trained again, predicted from one training of each size: do intervals and probabilities hold for real seeds?

python -m benchmarks.trainings [TABLE] [--law size_steps_interaction_turn]

Of tiny-t2i every size was trained three times. A law of size and steps is fitted to the trainings of one seed. Its
intervals are asked for the cells of the other two, beside what the seen training of the size measured there (naive).
Then the best size for each budget is chosen by the law, by the seen measurements alone and as the largest affordable,
and looked up in the trainings not seen: how often the chosen size is their best beside the stated probability, and how
much worse it is than their best.
"""

import argparse

import numpy as np
import pandas as pd

import scalinglaws as sl

QUALITIES = ("fd", "fd_effnet_lite0")
LEVELS = (0.9, 0.5)
BUDGETS = 12
SIZE = "flops_per_forward"


def groups(table):
    """(guidance, its rows, of the step counts at which every training was measured)."""
    for weight, rows in table.groupby("guidance"):
        counts = rows.groupby("steps").size()
        yield weight, rows[rows["steps"].isin(counts.index[counts == counts.max()])]


def predicted(fit, seen, new, quality):
    """One row for each cell of the trainings not seen: errors of law and naive, and whether each interval holds it."""
    naive = new[[SIZE, "steps"]].merge(seen[[SIZE, "steps", quality]], on=[SIZE, "steps"], how="left")[quality]
    truth = new[quality].to_numpy()
    found = {"naive": np.abs(naive.to_numpy() / truth - 1)}
    for level in LEVELS:
        answer = fit.predict(new.drop(columns=["model", "train_seed"]), level, of="new_model")
        found["law"] = np.abs(answer["value"].to_numpy() / truth - 1)
        found[f"within {level:.0%}"] = answer["low"].le(truth) & answer["high"].ge(truth)
    return pd.DataFrame(found)


def measured(rows, quality, budgets):
    """The best quality (one that falls) [size, budget] of each size, smallest first, straight in logs between steps."""
    curves = []
    for size, part in rows.sort_values("steps").groupby(SIZE):
        cost = np.log(size * part["steps"].to_numpy(float))
        curves.append(np.interp(np.log(budgets), cost, np.log(part[quality].cummin()), left=np.inf))
    return np.exp(curves)


def decided(fit, seen, new, quality):
    """One row for each budget and training not seen: stated and true for the size chosen by the law, and regrets."""
    sizes = np.sort(seen[SIZE].unique())
    budgets = np.geomspace(sizes[-1] * seen["steps"].min(), sizes[-1] * seen["steps"].max(), BUDGETS)
    answers = [sl.optimum(fit, budget, "flops", of="new_model") for budget in budgets]
    law = np.array([np.abs(np.log(sizes / answer.size)).argmin() for answer in answers])
    own = measured(seen, quality, budgets).argmin(axis=0)
    for _, rows in new.groupby("train_seed"):
        curves = measured(rows, quality, budgets)
        worse = curves / curves.min(axis=0) - 1
        columns = np.arange(BUDGETS)
        yield pd.DataFrame({"stated": [answer.probability for answer in answers], "true": worse[law, columns] == 0,
                            "regret": worse[law, columns], "of measured": worse[own, columns],
                            "of largest": worse[-1]})  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", default="tiny-t2i-seeds")
    parser.add_argument("--law")
    options, lines = parser.parse_args(), []
    table = sl.read(options.table)
    for quality in QUALITIES:
        for weight, rows in groups(table):
            cells, choices = [], []
            for seed in rows["train_seed"].unique():
                seen, new = rows[rows["train_seed"] == seed], rows[rows["train_seed"] != seed]
                fit = sl.question(seen, quality=quality, law=options.law).fit()
                cells.append(predicted(fit, seen, new, quality))
                choices += decided(fit, seen, new, quality)
            cells, choices = pd.concat(cells), pd.concat(choices)
            errors = cells[["law", "naive"]].median().add_prefix("error of ")
            lines.append({"quality": quality, "guidance": weight, "cells": len(cells)} | dict(errors)
                         | dict(cells.drop(columns=["law", "naive"]).mean()) | dict(choices.mean()))  # fmt: skip
    print(pd.DataFrame(lines).round(3).T.to_string(header=False))


if __name__ == "__main__":
    main()
