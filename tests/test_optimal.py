"""Optima against the closed form of `E + A N^-a + B S^-b` under the cost N·S, and against scipy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from synthetic import DECODE, SIZES, A, B, E, a, b, family, known_fit, law

from scalinglaws import frontier, optimal
from scalinglaws.schema import InputError

BUDGETS = (1e8, 3e8)  # FLOPs an image, chosen so that the optimum lies inside the measured sizes


def closed_form(budget):
    """N*, S*, value: setting the derivative along N·S = budget to nought."""
    n = (a * A / (b * B) * budget**b) ** (1 / (a + b))
    return n, budget / n, law(n, budget / n)


@pytest.mark.parametrize("budget", BUDGETS)
def test_any_size_reaches_the_closed_form(budget):
    best = optimal.optimum(known_fit(), budget, sizes="continuous")
    n, s, value = closed_form(budget)
    assert best.size == pytest.approx(n, rel=0.03) and best.steps == pytest.approx(s, abs=1)
    assert best.value == pytest.approx(value, rel=1e-4) and best.cost == pytest.approx(budget, rel=1e-4)


@pytest.mark.parametrize("budget", BUDGETS)
def test_decoding_and_guidance_move_the_optimum_as_scipy_says(budget):
    fit = known_fit(table=family(guidance=2.0))
    best = optimal.optimum(fit, budget, sizes="continuous", decode=True)
    cost = {"fun": lambda x: law(np.exp(x), (budget - DECODE) / (2 * np.exp(x)))}
    found = minimize_scalar(**cost, bounds=(np.log(4e5), np.log(1.44e7)), method="bounded")
    assert best.value == pytest.approx(found.fun, rel=1e-3)


def test_measured_sizes_are_compared_one_by_one():
    best = optimal.optimum(known_fit(), 1e8)
    by_hand = {m: min(law(n, s) for s in range(2, int(1e8 // n) + 1)) for m, n in SIZES.items() if n * 2 <= 1e8}
    assert best.model == min(by_hand, key=by_hand.get) and best.value == pytest.approx(min(by_hand.values()))
    assert best.candidates.value.tolist() == pytest.approx(list(by_hand.values()))
    assert best.steps == int(1e8 // SIZES[best.model]) and best.cost <= 1e8


def test_the_probability_is_the_share_of_refits():
    fit = known_fit(spread=0.05, refits=400)
    best = optimal.optimum(fit, 1e8)
    wins = np.zeros(len(best.candidates))
    for theta in fit.replicates:
        values = fit.curve({"N": best.candidates["size"], "S": best.candidates.steps}, theta)
        wins[values.argmin()] += 1 / 400
    assert best.candidates.probability.tolist() == pytest.approx(wins.tolist())
    assert best.probability < 1 and best.candidates.probability.sum() == pytest.approx(1)


def test_without_doubt_the_interval_is_a_point():
    best = optimal.optimum(known_fit(), 1e8)
    assert best.low == pytest.approx(best.value) == best.high and best.probability == 1.0


def test_the_flat_region_holds_the_noise():
    quiet, noisy = (optimal.optimum(known_fit(), 2e7, sizes=["c8", "c12"]), optimal.optimum(known_fit(), 1e8))
    assert quiet.flat and set(noisy.flat) <= set(SIZES)
    assert "c16" in optimal.optimum(noisy_fit(0.05), 1e8).flat


def noisy_fit(noise):
    return replace(known_fit(), noise=noise)


def test_allowed_steps_and_sizes_are_kept_to():
    best = optimal.optimum(known_fit(), 1e8, sizes=["c16", 6.4e6], steps=[2, 10])
    assert best.candidates.model.tolist() == ["c16", "c32"] and set(best.candidates.steps) == {10}


def test_a_law_that_turns_stops_at_its_best_steps():
    best = optimal.optimum(Turning(), 1e9, sizes=["c8"])
    assert best.steps == pytest.approx(20, abs=1) and best.cost < 1e9


class Turning:
    """A quality that is best at 20 steps, whatever the size."""

    inputs, quality, noise, table, replicates = (
        {"N": "flops_per_forward", "S": "steps"}, "fd", 0.0, family(), np.zeros((3, 1)),
    )  # fmt: skip

    def curve(self, columns, theta=None):
        value = 1 + np.log(columns["S"] / 20) ** 2
        return value if theta is None else value + np.zeros((len(theta), 1))

    def predict(self, table, level=0.9):
        value = self.curve({"S": table["steps"].to_numpy()})
        return table.assign(value=value, low=value, high=value, decades_beyond=0.0)


def test_a_budget_below_the_cheapest_names_it():
    sentence = "A budget of 10000 flops an image is below the cheapest candidate: c8 at 2 steps costs 8e.05"
    with pytest.raises(InputError, match=sentence):
        optimal.optimum(known_fit(), 1e4)
    with pytest.raises(InputError, match="below the cheapest candidate: c16 at 5 steps"):
        optimal.optimum(known_fit(), 1e6, sizes=["c16"], steps=[5])


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_number_above_0(budget):
    with pytest.raises(InputError, match="give a number above 0"):
        optimal.optimum(known_fit(), budget)


def test_a_budget_far_beyond_is_answered_with_a_warning():
    best = optimal.optimum(known_fit(), 7.2e11)
    assert any("3.0 decades beyond the dearest measured row" in w for w in best.warnings)
    assert any("steps were never measured; the most was 50" in w for w in best.warnings)
    assert any("largest size measured: a larger one may be better still" in w for w in best.warnings)


def test_unknown_sizes_and_mixed_samplers_are_said():
    with pytest.raises(InputError, match=r"No size 'c99'. Known sizes: c8, c12"):
        optimal.optimum(known_fit(), 1e8, sizes=["c99"])
    both = pd.concat([family(), family(sampler="ddpm")])
    best = optimal.optimum(known_fit(table=both), 1e8, sampler="ddim")
    assert any("2 values of sampler together" in w for w in best.warnings)


def test_the_best_setting_is_the_best_of_their_optima():
    worse = known_fit((E, A, a, 2 * B, b), table=family(sampler="ddpm"))
    optima = {"ddim": optimal.optimum(known_fit(), 1e8), "ddpm": optimal.optimum(worse, 1e8)}
    label, table = optimal.choose(optima)
    assert label == "ddim" and table.setting.tolist() == ["ddim", "ddpm"]


def test_the_summary_reads_as_sentences():
    text = optimal.optimum(known_fit(spread=0.02), 1e8).summary()
    assert text.startswith("Best for 1e+08 flops an image: c24 with 27 steps.\nfd 4.7")


def test_the_measured_frontier_is_beaten_by_no_row():
    table = family(noise=0.05)
    front = frontier.measured_frontier(table, "fd")
    for _, row in front.iterrows():
        assert not ((table.flops_per_image <= row.cost) & (table.fd < row.fd)).any()
    beaten = [((table.flops_per_image <= r.flops_per_image) & (table.fd < r.fd)).any() for r in table.itertuples()]
    assert len(front) == len(table) - sum(beaten)


def test_winners_interpolate_each_size_and_never_spend_more():
    won = frontier.winners(family(), [1e5, 1e7, 1e8, 1e12], "fd").set_index("budget")
    assert pd.isna(won.model[1e5]) and won.model[1e12] == "c48"
    expected = {m: law(n, min(1e8 / n, 50)) for m, n in SIZES.items()}
    assert won.model[1e8] == min(expected, key=expected.get)
    assert won.value[1e12] == pytest.approx(law(SIZES["c48"], 50))
    assert won.value[1e8] == pytest.approx(min(expected.values()), rel=0.01)
