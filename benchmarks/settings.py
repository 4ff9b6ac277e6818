"""Cells of several samplers or guidances predicted from a few of them, by three beliefs.

python -m benchmarks.settings [--starts 8]

Of each grid random cells are shown: 8 of every setting, 14 of one and 4 of the others, or 14 of every one; the rest are
predicted, and the best of all chosen for one budget: expected beside measured regret of the choice, in ln quality. All
sides have laws of the same form: `together` as a design has them, `apart` without a correlation between the settings,
`even` with misfits as wide at few steps as at many, each model's its own.
"""

import argparse
from contextlib import ExitStack
from itertools import product
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy.stats import norm

import scalinglaws as sl
from benchmarks.design import BUDGETS, CELL, SETTINGS, regret
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.settings import prepare_settings

GRIDS = SETTINGS | {
    "tiny-ldm guidance 1, 1.5": ("tiny-ldm", "sampler == 'ddim' and guidance <= 1.5 and steps <= 64", "fd"),
    "tiny-t2i guidance 1.5 to 4": (
        "tiny-t2i", "sampler == 'ddim' and guidance in (1.5, 2, 3, 4) and steps in (4, 8, 16)", "fd"
    ),
}  # fmt: skip
SHOWN = ((8, 8), (14, 4), (14, 14))  # cells of one setting, and of each other
SIDES = {"apart": {"correlated.CORRELATIONS": (0.0,)}, "even": {"belief.DECAYS": (0.0,), "belief.COMMONS": (0.0,)},
         "together": {}}  # fmt: skip
COLUMNS = ["grid", "shown", "side", "log density", "median error", "within 90 %", "expected regret", "regret"]


def predicted(table, quality, seen, budget):
    """The side and the other numbers of COLUMNS, one a side."""
    new = table.drop(index=seen)
    for side, changed in SIDES.items():
        with ExitStack() as stack:
            for name, value in changed.items():
                stack.enter_context(patch(f"scalinglaws.decide.{name}", value))
            found = prepare_settings(table.loc[seen], quality=quality, budget=budget,
                                     candidates=new[[*CELL, "flops_per_forward"]])  # fmt: skip
        at = found.candidates.merge(new[[*CELL, quality]], on=CELL)
        point, truth = at["point"].to_numpy(), np.log(at[quality].to_numpy())
        mean, sd = found.belief.mean[point], np.sqrt(np.diag(found.belief.covariance)[point])
        sd = np.hypot(sd, found.belief.error[point])
        off = np.abs(truth - mean)
        expected = found.decision.loss(found.belief.mean, found.belief.covariance)
        yield (side, norm.logpdf(truth, mean, sd).mean(), np.median(off), (off <= norm.ppf(0.95) * sd).mean(), expected,
               regret(table, quality, found))  # fmt: skip


def scores(name, count):
    """A row for each random choice of the cells shown and each side: grid, shown, side and what `predicted` gives."""
    source, kept, quality = GRIDS[name]
    table = sl.read(source).query(kept).reset_index(drop=True)
    groups = [part.index for _, part in table.groupby(["sampler", "guidance"])]
    cost = np.concatenate([cost_model(table.loc[index]).per_row(table.loc[index]) for index in groups])
    budgets = np.geomspace(3 * cost.min(), cost.max(), BUDGETS)
    for seed, (first, other) in product(range(count), SHOWN):
        rng = np.random.default_rng(seed)
        sizes = rng.permutation([first] + [other] * (len(groups) - 1))
        seen = [rng.choice(part, n, replace=False) for part, n in zip(groups, sizes, strict=True)]
        for found in predicted(table, quality, sorted(np.concatenate(seen)), rng.choice(budgets)):
            yield (name, f"{first}, {other}", *found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=8, help="random choices of the cells shown")
    count = parser.parse_args().starts
    rows = [row for name in GRIDS for row in scores(name, count)]
    result = pd.DataFrame(rows, columns=COLUMNS)
    means = result.groupby(["grid", "shown", "side"], sort=False).mean().unstack()
    print(means.to_string(float_format="{:.3f}".format))
    print(result.groupby("side")[COLUMNS[5:]].mean().to_string(float_format="{:.3f}".format))
    errors, density = means["median error"], means["log density"]
    for side in ("apart", "even"):
        ratio = np.exp(np.log(errors["together"] / errors[side]).mean())
        higher = (density["together"] > density[side]).sum()
        print(f"error together over {side}: {ratio:.2f}; log density higher in {higher} of {len(means)}")


if __name__ == "__main__":
    main()
