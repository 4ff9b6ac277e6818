"""Replays on grids of a law whose best sizes and crossing are known."""

from dataclasses import replace

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


def crossing_grid(rows):
    return replay.whole_grid(rows, "crossover", between=SIZES[2:4])


def test_truth_between_cells_is_straight_in_the_logarithm_of_steps(rows):
    """A budget of 20 MFLOPs buys 20 steps of the smallest size: between 16 and 32."""
    grid = replay.whole_grid(rows, "optimum", budget=2e7)
    at = grid.whole.points.iloc[(points := grid.experiment.decision.groups[0])]
    place = points[(at["size"] == SIZES[0]) & (at["steps"] == 20)]
    below, above = np.log(rows["fid"][(rows["flops_per_forward"] == SIZES[0]) & rows["steps"].isin([16, 32])])
    assert grid.truth(place) == pytest.approx([below + np.log(20 / 16) / np.log(2) * (above - below)])


def test_a_start_is_among_the_cheapest_third_with_errors_of_the_cells_own_size(rows, monkeypatch):
    grid, errors, believe = replay.whole_grid(rows, "optimum", budget=3e8), [], replay.believe

    def spy(form, axes, points, seen, values, *rest):
        errors.extend((np.log(values) - grid.z[seen]) / grid.whole.error[seen])
        return believe(form, axes, points, seen, values, *rest)

    monkeypatch.setattr(replay, "believe", spy)
    started = [replay.replay(grid, "random", 0.0, seed=seed)["spent"] for seed in range(20)]
    third = np.sort(grid.cost)[: len(grid.cost) // 3]
    assert third[:4].sum() <= min(started) * grid.cost.sum() and max(started) * grid.cost.sum() <= third[-4:].sum()
    drawn = np.reshape(errors, (40, 4))[::2]  # each start is believed twice
    assert 0.75 < drawn.std() < 1.25


def test_merits_are_what_a_measurement_takes_from_variances_and_adds_to_the_information(rows):
    grid = replay.whole_grid(rows, "optimum", budget=3e8)
    seen, cells, count = [0, 1, 8, 15], np.array([5, 20, 48]), len(grid.cells)
    belief = grid.believe(seen, grid.z)
    taken = [np.diag(belief.covariance - belief.observe(c, 0.0).covariance)[:count].sum() for c in cells]
    assert replay.MERITS["V-optimal"](grid, belief, cells, seen) == pytest.approx(taken)
    law = belief.law

    def information(at):
        noise = law.sds.model**2 + law.misfit[at] ** 2 + belief.error[at] ** 2
        return np.diag(1 / law.prior) + (law.slopes[at].T / noise) @ law.slopes[at]

    added = [np.linalg.slogdet(information([*seen, c]))[1] - np.linalg.slogdet(information(seen))[1] for c in cells]
    assert replay.MERITS["D-optimal"](grid, belief, cells, seen) == pytest.approx(added)


def test_equal_merits_are_measured_from_the_cheapest(rows, monkeypatch):
    grid = replay.whole_grid(rows, "optimum", budget=3e8)
    monkeypatch.setitem(replay.MERITS, "V-optimal", lambda grid, belief, cells, seen: np.ones(len(cells)))
    equal, cheapest = (replay.replay(grid, order, 0.01, seed=1) for order in ("V-optimal", "cheapest"))
    assert equal["cells"] == cheapest["cells"] > 6 and equal["spent"] == cheapest["spent"]


def test_a_design_stops_where_nothing_is_to_be_had(rows):
    grid = replay.whole_grid(rows, "optimum", budget=3e8)
    assert replay.replay(grid, "design", 1.0)["cells"] < len(rows) / 2


def test_one_at_a_time_begins_on_the_cross_through_the_middle(rows):
    first = replay._plain(replay.whole_grid(rows, "optimum", budget=3e8), "one at a time", None)[:13]
    cells = rows.iloc[first]
    assert ((cells["flops_per_forward"] == SIZES[3]) | (cells["steps"] == STEPS[3])).all()


def test_the_interval_of_a_crossing_holds_nine_tenths_of_its_draws(rows):
    grid = crossing_grid(rows)
    order, places = grid.experiment.decision, grid.experiment.places
    draws = np.random.default_rng(0).multivariate_normal(grid.whole.mean, grid.whole.covariance, 1000, method="eigh")
    at = np.array([order.crossing(mean, places) or np.nan for mean in draws])
    _, low, high = grid.crossing
    assert np.mean(at[np.isfinite(at)] < low) == pytest.approx(0.05, abs=0.025)
    assert np.mean(at[np.isfinite(at)] > high) == pytest.approx(0.05, abs=0.025)


def test_a_crossing_is_judged_by_its_distance_in_ln_cost(rows):
    grid = crossing_grid(rows)
    (one, two), places = grid.experiment.decision.pairs.T, grid.experiment.places
    whole, low, high = grid.crossing

    def judged(gap):
        mean = grid.whole.mean.copy()
        mean[one], mean[two] = gap, 0.0
        return replay._judged(grid, replace(grid.whole, mean=mean))

    for at in (whole * 1.01, places[3] * 1.01):
        assert judged(np.log(places / at)) == (pytest.approx(abs(np.log(at / whole)), rel=1e-6), low <= at <= high)
    assert judged(np.ones(len(places))) == (pytest.approx(np.log(places[-1] / places[0])), False)


def test_a_summary_has_means_and_the_regret_of_the_twentieth():
    table = pd.DataFrame(
        {"order": "design", "within": [1, 0] * 50, "regret": np.arange(100) / 100, "cells": 5, "spent": 0.1}
    )
    row = replay.summary(table).iloc[0]
    assert (row["within"], row["regret"], row["regret95"]) == pytest.approx((0.5, 0.495, 0.9405))


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
def test_the_design_loses_less_than_a_random_order_for_less(rows, question, share, more):
    grid = replay.whole_grid(rows, question, **more)
    table = replay.summary(replay.replays(grid, 20, ("design", "random"), share=share)).set_index("order")
    assert table.loc["design", "within"] >= 0.6
    assert table.loc["design", "regret"] <= table.loc["random", "regret"]
    assert table.loc["design", "spent"] <= table.loc["random", "spent"] <= share
