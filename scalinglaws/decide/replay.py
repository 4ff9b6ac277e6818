"""Orders of measuring replayed on a full measured grid: what each would have answered after a share of its cost.

A replay starts with a few cheap cells, chosen at random, and uncovers one cell after another until the share is spent;
all orders answer with the same belief. Orders:

    design       greatest reduction of the decision's expected loss per unit of cost; stops where none is to be had
    V-optimal    greatest reduction of the mean variance over the whole grid per unit of cost
    D-optimal    greatest gain in ln det of the information on the law's parameters per unit of cost
    one at a time  sizes at the middle steps, steps at the middle size, then about the next pair
    cheapest     the cheapest first
    random       any
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from scalinglaws.decide import worth
from scalinglaws.decide.belief import Belief, believe
from scalinglaws.decide.design import ENOUGH, NEGLIGIBLE
from scalinglaws.decide.experiment import Experiment, prepare
from scalinglaws.schema import InputError

ORDERS = ("design", "V-optimal", "D-optimal", "one at a time", "cheapest", "random")
AGAIN = 6  # picks between two linearisations of the law
LIKELY = 0.05  # probability, given the whole grid, of a size that counts as its answer
DRAWS = 2000


@dataclass(frozen=True)
class Grid:
    """A full grid with one decision: every cell measured, and what the whole of it answers.

    cells: model, size, steps; z, error [cell] ln quality and its error; cost [cell]; sizes, counts: of the grid.
    """

    experiment: Experiment = field(repr=False)
    cells: pd.DataFrame = field(repr=False)
    z: np.ndarray = field(repr=False)
    relative: np.ndarray | None = field(repr=False)  # stated relative errors [cell]
    cost: np.ndarray = field(repr=False)
    whole: Belief = field(repr=False)
    least: float  # a gain of the decision's loss below this is none

    def believe(self, seen, z, start=None) -> Belief:
        """The belief after the cells `seen` were measured as z [cell]."""
        problem, known = self.experiment.problem, self.relative
        errors = None if known is None else known[seen]
        return believe(problem.form, problem.law.axes, self.whole.points, seen, np.exp(z[seen]), errors, start)

    @cached_property
    def likely(self) -> list:
        """For each budget the sizes that are the best with a probability of LIKELY, given the whole grid."""
        sizes, sign, result = self.whole.points["size"].to_numpy(), self.experiment.decision.sign, []
        for group in self.experiment.decision.groups:
            best = sizes[group][np.argmin(sign * self._draws(group), axis=1)]
            named, times = np.unique(best, return_counts=True)
            result.append(set(named[times >= LIKELY * DRAWS]))
        return result

    @cached_property
    def crossing(self) -> tuple:
        """(crossing of the whole grid, low, high of its 90 % interval), costs; None where it does not cross."""
        order, places = self.experiment.decision, self.experiment.places
        points, mean = np.unique(order.pairs), self.whole.mean.copy()
        at = []
        for row in self._draws(points):
            mean[points] = row
            at.append(order.crossing(mean, places))
        found = [x for x in at if x is not None]
        low, high = np.quantile(found, [0.05, 0.95]) if found else (None, None)
        return order.crossing(self.whole.mean, places), low, high

    def _draws(self, points):
        """ln quality [draw, point] given the whole grid."""
        return np.random.default_rng(5).multivariate_normal(
            self.whole.mean[points], self.whole.covariance[np.ix_(points, points)], DRAWS, method="eigh"
        )

    def truth(self, points) -> np.ndarray:
        """Measured ln quality at points of the belief, straight in ln steps between cells."""
        table = self.whole.points.iloc[points]
        result = np.empty(len(points))
        for size, rows in table.groupby("size"):
            own = self.cells["size"] == size
            steps, z = np.log(self.cells["steps"][own]), self.z[own]
            order = np.argsort(steps)
            at = np.log(rows["steps"])
            result[table["size"] == size] = np.interp(at, steps.iloc[order], z[order])
        return result


def whole_grid(source, question="optimum", **options) -> Grid:
    """The Grid of a table; options as for design(). Raises InputError where cells repeat or are missing."""
    experiment = prepare(source, question, **options)
    cells = experiment.belief.points.iloc[: len(experiment.problem.law.table)]
    full = cells["size"].nunique() * cells["steps"].nunique()
    if len(cells) != full or cells.duplicated(["size", "steps"]).any():
        raise InputError(f"A replay needs a full grid, every size at every number of steps once: {len(cells)} rows for "
                         f"{full} cells.")  # fmt: skip
    problem, table = experiment.problem, experiment.problem.law.table
    stated = f"{problem.quality}_se"
    relative = (table[stated] / table[problem.quality]).to_numpy(float) if stated in table else None
    cost = problem.cost.per_image(cells["size"].to_numpy(float), cells["steps"].to_numpy(float))
    z = np.log(table[problem.quality].to_numpy(float))
    return Grid(experiment, cells, z, relative, cost, experiment.belief, NEGLIGIBLE * ENOUGH[question])


def replay(grid: Grid, order: str, share=0.2, first=4, seed=0, noise=True) -> dict:
    """What one order answers after `share` of the grid's cost: regret, within, cells, spent.

    first: cells of the start, at random among the cheapest third. noise: whether a fresh error of each cell's own size
    is added to its measured value. regret: ln quality lost against the best measured, for the optimum; for a crossover
    the distance in ln cost from that of the whole grid. within: whether the answer lies in the whole grid's interval.
    """
    if order not in ORDERS:
        raise InputError(f"No order {order!r}. Known: {', '.join(ORDERS)}.")
    rng = np.random.default_rng(seed)
    count = len(grid.cells)
    cheap = np.argsort(grid.cost, kind="stable")[: max(first, count // 3)]
    seen = list(map(int, rng.choice(cheap, first, replace=False)))
    z = grid.z + (grid.whole.error[:count] * rng.standard_normal(count) if noise else 0.0)
    left = share * grid.cost.sum() - grid.cost[seen].sum()
    belief, follows = grid.believe(seen, z), order in MERITS
    plain = None if follows else _plain(grid, order, rng)
    while len(affordable := np.setdiff1d(np.flatnonzero(grid.cost <= left), seen)):
        if follows:
            merit = MERITS[order](grid, belief, affordable, seen)
            if order == "design" and merit.max() < grid.least:
                break
            pick = int(affordable[np.argmax(merit / grid.cost[affordable])])
        else:
            pick = next(cell for cell in plain if cell in affordable)
        seen.append(pick)
        left -= grid.cost[pick]
        if follows:
            again = (len(seen) - first) % AGAIN == 0
            belief = grid.believe(seen, z, belief.law.theta) if again else belief.observe(pick, z[pick])
    lost, within = _judged(grid, grid.believe(seen, z))
    return {"order": order, "seed": seed, "regret": lost, "within": within, "cells": len(seen),
            "spent": float(grid.cost[seen].sum() / grid.cost.sum())}  # fmt: skip


def _design(grid, belief, cells, seen):
    return grid.experiment.decision.gains(belief.mean[None], belief.covariance, belief.shifts(cells))


def _v_optimal(grid, belief, cells, seen):
    variance = belief.shifts(cells)[:, : len(grid.cells)] ** 2
    return variance.sum(1)


def _d_optimal(grid, belief, cells, seen):
    law = belief.law
    noise = law.sds.model**2 + law.misfit**2 + belief.error**2  # of a row about the law
    rows = law.slopes[seen] / np.sqrt(noise[seen])[:, None]
    information = np.diag(1 / law.prior) + rows.T @ rows
    new = law.slopes[cells]
    return np.log1p(np.einsum("ij,ij->i", new, np.linalg.solve(information, new.T).T) / noise[cells])


MERITS = {"design": _design, "V-optimal": _v_optimal, "D-optimal": _d_optimal}  # per unit of cost


def _plain(grid, order, rng):
    """All cells in an order that does not depend on the values measured."""
    if order == "cheapest":
        return np.argsort(grid.cost, kind="stable")
    if order == "random":
        return rng.permutation(len(grid.cells))
    size, steps = (np.unique(grid.cells[c], return_inverse=True)[1] for c in ("size", "steps"))
    far = np.minimum(abs(size - size.max() // 2), abs(steps - steps.max() // 2))  # 0 on the cross through the middle
    return np.lexsort((grid.cost, far))


def _judged(grid, belief):
    """(regret, whether the answer lies in the interval of the whole grid's)."""
    decision, places = grid.experiment.decision, grid.experiment.places
    if isinstance(decision, worth.Best):
        chosen = decision.choices(belief.mean)
        best = [decision.sign * grid.truth(group) for group in decision.groups]
        lost = [decision.sign * grid.truth([c])[0] - b.min() for c, b in zip(chosen, best, strict=True)]
        sizes = belief.points["size"].to_numpy()
        held = [sizes[c] in likely for c, likely in zip(chosen, grid.likely, strict=True)]
        return float(np.mean(lost)), float(np.mean(held))
    at, (whole, low, high) = decision.crossing(belief.mean, places), grid.crossing
    if at is None or whole is None:
        return (0.0 if at is whole else float(np.log(places[-1] / places[0]))), at is whole
    return float(abs(np.log(at / whole))), bool(low <= at <= high)


def replays(grid, count=200, orders=ORDERS, **options) -> pd.DataFrame:
    """One row per order and seed; options as for replay()."""
    return pd.DataFrame([replay(grid, order, seed=seed, **options) for seed in range(count) for order in orders])


def summary(table) -> pd.DataFrame:
    """One row per order: share within the whole grid's interval, mean and 95 % regret, cells, spent."""
    groups = table.groupby("order", sort=False)
    regret = groups["regret"]
    return pd.DataFrame({
        "within": groups["within"].mean(), "regret": regret.mean(), "regret95": regret.quantile(0.95),
        "cells": groups["cells"].mean(), "spent": groups["spent"].mean(),
    }).reset_index()  # fmt: skip
