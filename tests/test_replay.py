"""Replays on grids of a law whose best sizes and crossing are known."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from scalinglaws.decide import replay
from scalinglaws.schema import InputError

SIZES, STEPS = np.geomspace(1e6, 2.56e8, 7), (1, 2, 4, 8, 16, 32, 64)


def law(size, steps):
    return 2 + 4e3 * size**-0.5 + 60 * steps**-1.2


def table(noise=0.005):
    """One row a cell, with errors of `noise` relative to the law."""
    cells = pd.MultiIndex.from_product([SIZES, STEPS], names=["flops_per_forward", "steps"]).to_frame(index=False)
    true = law(cells["flops_per_forward"], cells["steps"])
    error = noise * np.random.default_rng(1).standard_normal(len(cells))
    return cells.assign(model=cells["flops_per_forward"].map("{:.3g}".format), nfe=cells["steps"].astype(float),
                        fid=true * (1 + error), fid_se=noise * true)  # fmt: skip


def best(budget):
    """The size that is the best at a budget, any whole number of steps."""
    return min(SIZES[budget // SIZES >= 1], key=lambda n: law(n, min(budget // n, 128)))


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.mark.parametrize("budget", [1e7, 3e8, 3e9])
def test_the_whole_grid_answers_as_the_law_it_was_made_of(rows, budget):
    grid = replay.whole_grid(rows, "optimum", budget=budget)
    assert best(budget) in grid.likely[0]
    assert len(grid.likely[0]) <= 3


def test_the_crossing_of_the_whole_grid_is_that_of_the_law(rows):
    small, large = SIZES[2], SIZES[3]
    true = brentq(lambda c: law(small, c / small) - law(large, c / large), 2 * large, 100 * large)
    at, low, high = replay.whole_grid(rows, "crossover", between=(small, large)).crossing
    assert low <= true <= high and abs(np.log(at / true)) < 0.15


@pytest.mark.parametrize("order", replay.ORDERS)
def test_an_order_measures_no_cell_twice_and_no_more_than_its_share(rows, order):
    grid = replay.whole_grid(rows, "optimum", budget=3e8)
    row = replay.replay(grid, order, 0.03, seed=3)
    assert row["spent"] <= 0.03 and 4 <= row["cells"] <= len(rows)
    assert row == replay.replay(grid, order, 0.03, seed=3)
    assert 0 <= row["within"] <= 1


def test_without_noise_and_with_all_cells_nothing_is_lost(rows):
    grid = replay.whole_grid(table(0.001), "optimum", budget=3e8)
    row = replay.replay(grid, "cheapest", 1.0, noise=False)
    assert row["cells"] == len(rows) and row["within"] == 1.0 and row["regret"] < 0.02


def test_a_replay_needs_a_full_grid_and_a_known_order(rows):
    with pytest.raises(InputError, match="full grid"):
        replay.whole_grid(rows.iloc[1:], "optimum", budget=3e8)
    with pytest.raises(InputError, match="No order 'best'"):
        replay.replay(replay.whole_grid(rows, "optimum", budget=3e8), "best")


@pytest.mark.slow
@pytest.mark.parametrize("question, share, more", [
    ("optimum", 0.03, {"budget": 3e9}),
    ("crossover", 0.1, {"between": SIZES[2:4]}),
])  # fmt: skip
def test_the_design_has_the_answer_of_the_whole_grid_where_a_random_order_loses_more(rows, question, share, more):
    grid = replay.whole_grid(rows, question, **more)
    table = replay.summary(replay.replays(grid, 20, ("design", "random"), share=share)).set_index("order")
    assert table.loc["design", "within"] >= 0.85
    assert table.loc["design", "within"] >= table.loc["random", "within"]
    assert table.loc["design", "regret"] <= table.loc["random", "regret"]
    assert table.loc["design", "spent"] <= table.loc["random", "spent"] <= share
