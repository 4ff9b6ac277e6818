"""Optima against the closed form of `E + A N^-a + B S^-b` under the cost N·S, and against scipy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from synthetic import DECODE, SIZES, A, B, E, KnownFit, a, b, family, known_fit, law

from scalinglaws.decide import measured
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.measured import frontier
from scalinglaws.decide.optimum import at_budgets, best_setting, optima, optimum
from scalinglaws.decide.reversal import reversal
from scalinglaws.fitting import fit as fit_law
from scalinglaws.fitting import fit_groups
from scalinglaws.schema import InputError, NoAnswer

BUDGETS = (1e8, 3e8)  # FLOPs per image, chosen so that the optimum lies inside the measured sizes


def closed_form(budget):
    """N*, S*, value: setting the derivative along N·S = budget to zero."""
    n = (a * A / (b * B) * budget**b) ** (1 / (a + b))
    return n, budget / n, law(n, budget / n)


@pytest.mark.parametrize("budget", BUDGETS)
def test_any_size_reaches_the_closed_form(budget):
    best = optimum(known_fit(), budget, sizes="continuous")
    n, s, value = closed_form(budget)
    assert best.size == pytest.approx(n, rel=0.03) and best.steps == pytest.approx(s, abs=1)
    assert best.value == pytest.approx(value, rel=1e-4) and best.cost == pytest.approx(budget, rel=1e-4)


@pytest.mark.parametrize("budget", BUDGETS)
def test_decoding_and_guidance_move_the_optimum_as_scipy_says(budget):
    fit = known_fit(table=family(guidance=2.0))
    best = optimum(fit, budget, sizes="continuous", stages=("denoise", "decode"))
    cost = {"fun": lambda x: law(np.exp(x), (budget - DECODE) / (2 * np.exp(x)))}
    found = minimize_scalar(**cost, bounds=(np.log(4e5), np.log(1.44e7)), method="bounded")
    assert best.value == pytest.approx(found.fun, rel=1e-3)


def test_measured_sizes_are_compared_one_by_one():
    best = optimum(known_fit(), 1e8)
    by_hand = {m: min(law(n, s) for s in range(2, int(1e8 // n) + 1)) for m, n in SIZES.items() if n * 2 <= 1e8}
    assert best.model == min(by_hand, key=by_hand.get) and best.value == pytest.approx(min(by_hand.values()))
    assert best.candidates.value.tolist() == pytest.approx(list(by_hand.values()))
    assert best.steps == int(1e8 // SIZES[best.model]) and best.cost <= 1e8


def test_the_probability_is_the_share_of_refits():
    fit = known_fit(spread=0.05, refits=400)
    best = optimum(fit, 1e8)
    wins = np.zeros(len(best.candidates))
    for theta in fit.replicates:
        values = fit.curve({"N": best.candidates["size"], "S": best.candidates.steps}, theta)
        wins[values.argmin()] += 1 / 400
    assert best.candidates.probability.tolist() == pytest.approx(wins.tolist())
    assert best.probability < 1 and best.candidates.probability.sum() == pytest.approx(1)


def test_without_doubt_the_interval_is_a_point():
    best = optimum(known_fit(), 1e8)
    assert best.low == pytest.approx(best.value) == best.high and best.probability == 1.0


def test_the_flat_region_holds_the_noise():
    quiet, noisy = (optimum(known_fit(), 2e7, sizes=["c8", "c12"]), optimum(known_fit(), 1e8))
    assert quiet.flat and set(noisy.flat) <= set(SIZES)
    assert "c16" in optimum(noisy_fit(0.05), 1e8).flat


def noisy_fit(noise):
    return replace(known_fit(), noise=noise)


class Reciprocal(KnownFit):
    """The same law as a quality that rises: its best is where fd is least."""

    def curve(self, columns, theta=None):
        return 1 / super().curve(columns, theta)


@pytest.mark.parametrize("options", [{}, {"sizes": "continuous"}, {"steps": [4, 16, 30]}])
def test_a_quality_that_rises_has_the_same_best(options):
    falls = replace(known_fit(spread=0.05, refits=200), noise=0.2)
    rises = Reciprocal(**vars(falls) | {"quality": "precision"})
    fd, precision = optimum(falls, 1e8, **options), optimum(rises, 1e8, **options)
    assert precision.value == pytest.approx(1 / fd.value) and precision.best_sizes == fd.best_sizes
    assert "sizes" in options or precision.probability == fd.probability < 1
    assert (precision.size, precision.steps, precision.flat) == (fd.size, fd.steps, fd.flat) and len(fd.flat) > 1
    assert precision.candidates["steps"].tolist() == fd.candidates["steps"].tolist()
    assert precision.candidates["probability"].equals(fd.candidates["probability"])


class Raw(KnownFit):
    residual_scale = "raw"


def test_noise_in_the_unit_of_the_quality_is_a_share_of_the_best():
    log = optimum(noisy_fit(0.05), 1e8)
    raw = optimum(Raw(**vars(known_fit()) | {"noise": 0.05 * log.value}), 1e8)
    assert raw.flat == log.flat and 1 < len(raw.flat) < len(SIZES)


def test_allowed_steps_and_sizes_are_kept_to():
    best = optimum(known_fit(), 1e8, sizes=["c16", 6.4e6], steps=[2, 10])
    assert best.candidates.model.tolist() == ["c16", "c32"] and set(best.candidates.steps) == {10}


def test_a_law_that_turns_stops_at_its_best_steps():
    best = optimum(Turning(), 1e9, sizes=["c8"])
    assert best.steps == pytest.approx(20, abs=1) and best.cost < 1e9


class Turning:
    """A quality that is best at 20 steps, whatever the size."""

    inputs, quality, noise, table, replicates = (
        {"N": "flops_per_forward", "S": "steps"}, "fd", 0.0, family(), np.zeros((3, 1)),
    )  # fmt: skip

    def curve(self, columns, theta=None):
        value = 1 + np.log(columns["S"] / 20) ** 2
        return value if theta is None else value + np.zeros((len(theta), 1))

    def predict(self, table, level=0.9, of="owned"):
        value = self.curve({"S": table["steps"].to_numpy()})
        return table.assign(value=value, low=value, high=value, decades_beyond=0.0)


def test_a_budget_below_the_cheapest_names_it():
    sentence = "A budget of 10000 FLOPs per image is below the cheapest candidate: c8 at 2 steps costs 8e.05"
    with pytest.raises(NoAnswer, match=sentence):
        optimum(known_fit(), 1e4)
    with pytest.raises(NoAnswer, match=sentence):
        optima({"a": known_fit(), "b": known_fit()}, 1e4)
    with pytest.raises(InputError, match="below the cheapest candidate: c16 at 5 steps"):
        optimum(known_fit(), 1e6, sizes=["c16"], steps=[5])


@pytest.mark.parametrize(
    ("budget", "options", "sentence"),
    [
        (0, {}, "Budget 0 flops: give a number above 0"),
        (-1.0, {}, "give a number above 0"),
        (float("nan"), {}, "give a number above 0"),
        (float("inf"), {}, "give a number above 0"),
        (None, {}, "Budget None flops: give a number above 0"),
        ([1e8], {}, "give a number above 0"),
        ("much", {}, "'much' is no quantity"),
        ("500ms", {"unit": "flops"}, "'500ms' is in seconds, but the unit asked for is flops"),
        ("500ms", {"cost": cost_model(family())}, "The budget '500ms' is in seconds, the cost model in flops"),
        (1e8, {"unit": "furlongs"}, "No unit 'furlongs' for a budget"),
        (1e8, {"decode": True}, "optimum: got an unexpected keyword argument 'decode'. Arguments: fit, budget, unit"),
        (1e8, {"level": 0}, "level=0: give a number between 0 and 1"),
        (1e8, {"of": "mine"}, "of='mine': give one of curve, owned, new_model"),
        (1e8, {"steps": ["few"]}, "steps=.'few'.: give numbers of steps"),
        (1e8, {"steps": [0]}, "give whole numbers of steps above 0"),
        (1e8, {"steps": [2.5, 7.9]}, "give whole numbers of steps above 0"),
        (1e8, {"sizes": ["c99"]}, "No size 'c99'. Known sizes: c8, c12"),
        ("$1e-9", {}, "needs price="),
    ],
)
def test_wrong_arguments_end_in_one_sentence(budget, options, sentence):
    with pytest.raises(InputError, match=sentence):
        optimum(known_fit(), budget, **options)


@pytest.mark.parametrize(
    ("text", "number", "unit", "options"),
    [
        ("100 MFLOPs", 1e8, "flops", {}),
        ("1e8", 1e8, "flops", {}),
        ("20ms", 0.02, "seconds", {}),
        ("$0.00002", 2e-5, "money", {"price": 7.2}),
    ],
)
def test_budgets_are_read_as_people_write_them(text, number, unit, options):
    assert optimum(known_fit(), text, **options) == optimum(known_fit(), number, unit, **options)


def test_a_bare_budget_is_in_the_unit_of_the_cost_model():
    assert optimum(known_fit(), 0.02, cost=cost_model(family(), "seconds")) == optimum(known_fit(), "20 ms")


def test_groups_are_not_one_law():
    groups = fit_groups(family(), "guidance", "size_steps_plain", "fd", known_fit().inputs, replicates=5)
    with pytest.raises(InputError, match=r"These are 1 fits by guidance: give one of them, such as groups.1.0."):
        optimum(groups, 1e8)


def test_a_budget_far_beyond_is_answered_with_a_warning():
    best = optimum(known_fit(), 7.2e11)
    assert any("3.0 decades beyond the most expensive measured row" in w for w in best.warnings)
    assert any("steps were never measured; the most was 50" in w for w in best.warnings)
    assert any("largest size measured: a larger one may be better still" in w for w in best.warnings)


def test_a_budget_below_the_rows_is_answered_with_a_warning():
    best = optimum(known_fit(), 4e5, steps=[1])
    assert best.warnings[0] == (
        "The budget is 0.3 decades beyond the cheapest measured row: read the answer as a projection."
    )
    assert "The best takes 1 step, fewer than the 2 measured: fewer may do." in best.warnings
    fewest = optimum(known_fit(), 8e5).warnings
    assert "The best takes 2 steps, the fewest measured: fewer may do." in fewest
    assert "The best is the smallest size measured: a smaller one may be better still." in fewest
    assert optimum(known_fit(), 1e8).warnings == ()


def test_unknown_sizes_and_mixed_samplers_are_said():
    with pytest.raises(InputError, match=r"No size 'c99'. Known sizes: c8, c12"):
        optimum(known_fit(), 1e8, sizes=["c99"])
    both = pd.concat([family(), family(sampler="ddpm")])
    best = optimum(known_fit(table=both), 1e8, cost=cost_model(family()))
    assert any("2 values of sampler together" in w for w in best.warnings)


def test_the_best_setting_is_the_best_of_their_optima():
    worse = known_fit((E, A, a, 2 * B, b), table=family(sampler="ddpm"))
    answers, skipped = optima({"ddim": known_fit(), "ddpm": worse}, 1e8)
    label, table = best_setting(answers)
    assert skipped == [] and label == "ddim" and table.setting.tolist() == ["ddim", "ddpm"]


def test_the_summary_reads_as_sentences():
    text = optimum(known_fit(spread=0.02), 1e8).summary()
    assert text.startswith("Best for 1e+08 FLOPs per image: c24 with 27 steps.\nfd 4.7")
    assert "% probability that c24 is the best of the models you own." in text
    texts = [optimum(known_fit(spread=0.02), 1e8, of=of).summary() for of in ("curve", "new_model")]
    assert "interval of the law's curve" in texts[0] and "it is the best size in " in texts[0]
    assert "interval of a model trained anew" in texts[1] and "is the best size for models trained anew." in texts[1]


def test_the_measured_frontier_is_beaten_by_no_row():
    table = family(noise=0.05)
    cost, front = cost_model(table).per_row(table), measured.frontier(table, "fd")
    for _, row in front.iterrows():
        assert not ((cost <= row.cost) & (table.fd < row.fd)).any()
    beaten = [((cost <= c) & (table.fd < fd)).any() for c, fd in zip(cost, table.fd, strict=True)]
    assert len(front) == len(table) - sum(beaten)


def test_winners_interpolate_each_size_and_never_spend_more():
    won = measured.winners(family(), [1e5, 1e7, 1e8, 1e12], "fd").set_index("budget")
    assert pd.isna(won.model[1e5]) and won.model[1e12] == "c48"
    expected = {m: law(n, min(1e8 / n, 50)) for m, n in SIZES.items()}
    assert won.model[1e8] == min(expected, key=expected.get)
    assert won.value[1e12] == pytest.approx(law(SIZES["c48"], 50))
    assert won.value[1e8] == pytest.approx(min(expected.values()), rel=0.01)


def test_answers_at_many_budgets_name_the_best_size():
    table = at_budgets(known_fit(spread=0.02), np.geomspace(1e5, 1e9, 5))
    assert table.groupby("budget").best.sum().tolist() == [1] * table.budget.nunique()
    assert list(table.model.cat.categories) == list(SIZES) and table.budget.min() > 1e5
    with pytest.raises(InputError, match="below the cheapest candidate"):
        at_budgets(known_fit(), [1.0, 2.0])
    assert at_budgets(known_fit(), ["20ms"], cost=None).equals(at_budgets(known_fit(), [0.02], "seconds"))


def test_the_result_shows_itself():
    best = optimum(known_fit(spread=0.02), 1e8)
    assert repr(best) == "<Optimum: c24 with 27 steps for 1e+08 FLOPs per image, fd 4.731>"
    assert "<table" in best._repr_html_() and best.to_frame().query("best").model.tolist() == ["c24"]
    assert "candidates" not in best.record()


def rising(name="hits"):
    """Fits of two samplers to a share that rises with size and steps, of a name that the schema does not know."""
    table = family()
    share = 0.9 - 0.1 * (table["fd"] - 2) / (table["fd"].max() - 2)
    inputs = {"N": "flops_per_forward", "S": "steps"}
    rows = {"good": table.assign(**{name: share}), "bad": table.assign(**{name: 0.8 * share})}
    return {k: fit_law(t, "size_steps_ceiling", name, inputs, replicates=20) for k, t in rows.items()}


def test_of_several_settings_of_an_unknown_quality_that_rises_the_highest_is_the_best():
    answers, _ = optima(rising(), 1e8)
    label, table = best_setting(answers)
    assert label == "good" and table["setting"].tolist() == ["good", "bad"] and answers["good"].rises


def test_the_measured_winners_and_frontier_of_such_a_quality_are_the_highest_too():
    fit = rising()["good"]
    changes = reversal(fit).changes
    assert changes["measured"].iloc[-1] in ("c32", "c48") and changes["measured"].iloc[-1] == changes["model"].iloc[-1]
    front = frontier(fit.table, "hits", rises=True)
    assert front["hits"].is_monotonic_increasing and len(front) > 5


def test_of_any_size_the_answer_is_the_interval_of_the_best_one():
    fit = known_fit(spread=0.05, refits=400)
    best = optimum(fit, 1e8, sizes="continuous")
    drawn = []
    for _, scale, small, other, beta in fit.replicates:  # in the order of law.params
        n = (small * scale / (beta * other) * 1e8**beta) ** (1 / (small + beta))
        drawn.append(n)
    low, high = np.quantile(drawn, [0.05, 0.95])
    assert best.best_sizes == pytest.approx((low, high), rel=0.05)
    assert np.isnan(best.probability) and best.candidates["probability"].isna().all()
    assert "the law's best flops_per_forward lies from" in best.summary() and "probability" not in best.summary()
    assert not [w for w in best.warnings if "likelier" in w or "more often" in w]


def test_of_any_size_the_steps_allowed_are_kept():
    best = optimum(known_fit(), 1e8, sizes="continuous", steps=[8, 50])
    assert set(best.candidates["steps"]) == {8, 50}
    assert best.cost == pytest.approx(1e8, rel=1e-4)


@pytest.mark.parametrize(
    ("budget", "price", "words"),
    [("$0.00002", 7.2, "2e-05 USD per"), (2e-5, "€7.20/h", "2e-05 EUR per"), (2e-5, 7.2, "2e-05 money per")],
)
def test_money_is_written_in_the_currency_that_was_named(budget, price, words):
    best = optimum(known_fit(), budget, "money", price=price)
    assert words in best.summary() and best.unit == "money"
    with pytest.raises(NoAnswer, match=words.split()[1]):
        optimum(known_fit(), budget if budget == 2e-5 else "$2e-12", "money", price=price, steps=[10**9])
