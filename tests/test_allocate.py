"""Training budgets: closed form against numbers, published exponents, a simulated study, serving against scipy."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from scalinglaws.decide.allocate import allocate, along_budgets, closed_form
from scalinglaws.decide.isoflop import at_compute, envelope, isoflop, line
from scalinglaws.decide.serving import serve
from scalinglaws.decide.training_cost import RepeatedData, training_cost
from scalinglaws.fitting import fit
from scalinglaws.laws import custom
from scalinglaws.schema import InputError

matplotlib.use("Agg")
POINTS = Path(__file__).parents[2] / "shared" / "data" / "language" / "epoch_chinchilla_svg_extracted_data.csv"
TRUE = {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}  # Hoffmann et al. 2022, table A3


def loss(n, d, E, A, a, B, b):
    return E + A * n**-a + B * d**-b


def study(noise=0.0, seed=0, law=None):
    """Runs on a grid of sizes and tokens."""
    law = law or TRUE
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 1e10, 8), np.geomspace(1e9, 3e11, 8)))
    y = loss(n, d, **law) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pd.DataFrame({"N": n, "D": d, "loss": y, "train_flops": 6 * n * d})


@pytest.fixture(scope="module")
def exact():
    return fit(study(), "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=20)


@pytest.mark.parametrize("budget", [1e19, 1e21, 1e23])
def test_the_closed_form_is_the_numeric_optimum(exact, budget):
    answer = allocate(exact, budget)
    assert answer.size == pytest.approx(answer.closed[0], rel=2e-3)
    assert answer.data == pytest.approx(answer.closed[1], rel=2e-3)
    best = minimize_scalar(lambda x: loss(np.exp(x), budget / 6 / np.exp(x), **TRUE), bounds=(14, 30), method="bounded")
    assert answer.size == pytest.approx(np.exp(best.x), rel=2e-3)
    assert answer.quality == pytest.approx(best.fun, rel=1e-6)
    assert answer.flat[0] < answer.size < answer.flat[1]
    edges = loss(np.array(answer.flat), budget / 6 / np.array(answer.flat), **TRUE)
    assert np.all(edges <= best.fun * 1.01) and np.all(edges > best.fun * 1.009)


def test_exponents_are_those_hoffmann_derived_from_the_law(exact):
    size, data = allocate(exact, "1e21 FLOPs").exponents
    assert size == pytest.approx(0.28 / 0.62, abs=1e-3) and data == pytest.approx(0.34 / 0.62, abs=1e-3)


def test_projection_or_prediction_is_said(exact):
    assert allocate(exact, 1e20).decades_beyond == 0 and "within the range" in allocate(exact, 1e20).summary()
    assert allocate(exact, "1e26 FLOPs").decades_beyond > 1 and "projection" in allocate(exact, 1e26).summary()


@pytest.mark.skipif(not POINTS.exists(), reason="the Chinchilla points are not shipped")
def test_the_chinchilla_points_give_twenty_tokens_a_parameter():
    table = pd.read_csv(POINTS)
    table = table[table["loss"].rank(ascending=False) > 5].rename(columns={"Model Size": "N"})
    table = table.assign(D=table["Training FLOP"] / 6 / table["N"])
    answer = allocate(
        fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, delta=1e-3, replicates=100), "5.76e23 FLOPs"
    )
    assert answer.exponents[0] == pytest.approx(0.3671724 / (0.3473105 + 0.3671724), abs=2e-3)  # Besiroglu et al. 2024
    assert 15 < answer.per_size < 30 and answer.intervals["per_size"][0] < answer.per_size
    assert 4e10 < answer.size < 9e10  # Chinchilla was 70 B parameters


def test_liang_and_others_law_of_diffusion_transformers_comes_back():
    """N_opt = 0.0009 C^0.5681, D_opt = 186.8535 C^0.4319 (arXiv:2410.08184): a law with these optima, and 958 M at
    1.5e21.
    """
    a, b = 0.4319, 0.5681  # b / (a + b) = 0.5681
    ratio = (0.0009 * 6**0.5681) ** (a + b)  # a A / (b B)
    law = {"E": 0.5, "A": ratio * b / a * 100, "a": a, "B": 100.0, "b": b}
    answer = allocate(fit(study(law=law), "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=5), 1.5e21)
    assert answer.size == pytest.approx(0.0009 * 1.5e21**0.5681, rel=5e-3)
    assert answer.size == pytest.approx(965e6, rel=0.02)
    assert answer.data == pytest.approx(186.8535 * 1.5e21**0.4319, rel=2e-2)


def test_intervals_hold_the_optimum_of_a_simulated_study():
    inside = 0
    true = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (1e22 / 6) ** (0.28 / 0.62)
    for seed in range(8):
        found = fit(study(0.01, seed), "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=200)
        low, high = allocate(found, 1e22).intervals["size"]
        inside += low <= true <= high
    assert inside >= 5


def test_costs_may_be_a_column_a_number_or_a_function(exact):
    plain = allocate(exact, 1e21)
    for cost in ("train_flops", 6.0, lambda n, d: 6 * n * d):
        answer = allocate(exact, 1e21, cost=cost)
        assert answer.size == pytest.approx(plain.size, rel=1e-3) and answer.data == pytest.approx(plain.data, rel=1e-3)
    dear = allocate(exact, 1e21, cost=lambda n, d: 6 * n * d + 1e10 * d)  # attention and embeddings: dear small models
    assert dear.size > plain.size and dear.closed is None
    assert training_cost(exact, "train_flops").power == pytest.approx((6, 1, 1), rel=1e-6)


def test_a_column_of_costs_is_described_with_its_largest_deviation():
    """6 N D times errors of 5 and 10 % that no power of N and D describes: they sum to nothing along either."""
    either = np.array([1, -1, 1, -1, 1, -1, 1, -1]), np.array([2, -2, 1, -1, 1, -1, 1, -1])
    off = np.log(1.1) / 2 * np.multiply.outer(*either).T.ravel()
    table = study().assign(bill=lambda t: t.train_flops * np.exp(off), nothing=lambda t: t.train_flops * (t.N > 1e8))
    law = fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=5)
    model = training_cost(law, "bill")
    assert model.power == pytest.approx((6, 1, 1), rel=1e-6)
    assert model.words == "column bill as 6 N^1.000 D^1.000, off by 10% at most"
    with pytest.raises(InputError, match="The cost column 'nothing' must be above 0 in every fitted row"):
        training_cost(law, "nothing")


def test_exponents_of_a_law_without_a_closed_form():
    """((A/N)^(a/b) + B/D)^b is least where A' N^-(a/b) + B / D is: with c N^p D^q the exponents are those of
    Hoffmann et al. 2022, eq. 4, for the exponents a/b and 1."""
    a, b, p, q = 0.076, 0.103, 1.2, 0.9
    table = study().assign(loss=lambda t: ((8.8e13 / t.N) ** (a / b) + 5.4e13 / t.D) ** b)
    table = table.assign(bill=2 * table.N**p * table.D**q)
    law = fit(table, "kaplan", "loss", {"N": "N", "D": "D"}, replicates=5)
    answer = allocate(law, np.median(table.bill), cost="bill")
    expected = 1 / (q * a / b + p), a / b / (q * a / b + p)
    assert answer.closed is None and answer.exponents == pytest.approx(expected, rel=2e-3)


def test_a_law_in_size_and_compute_gives_the_same_optimum(exact):
    again = fit(study(), "size_training", "loss", {"N": "N", "C": "train_flops"}, replicates=5)
    assert allocate(again, 1e21).size == pytest.approx(allocate(exact, 1e21).size, rel=0.02)


def test_the_other_approaches_come_with_their_biases():
    sizes = np.geomspace(0.1, 10, 9)
    rows = []
    for budget in np.geomspace(1e19, 1e21, 5):
        best = allocate_true(budget)
        rows += [(n * best, budget, loss(n * best, budget / 6 / n / best, **TRUE)) for n in sizes]
    table = pd.DataFrame(rows, columns=["N", "C", "loss"])
    second = isoflop(table, "loss", "N", "C")
    assert len(second["profiles"]) == 5 and second["exponent"] == pytest.approx(0.28 / 0.62, abs=0.01)
    assert "biased" in second["bias"]
    assert envelope(table, "loss", "N", "C", bins=5)["exponent"] == pytest.approx(0.28 / 0.62, abs=0.1)


def test_runs_at_every_compute_are_no_profile_of_one():
    """Sixty runs 4 % apart in compute reach ten times as far: each is near the next one, not near the first."""
    compute, rng = 1e20 * 1.04 ** np.arange(60), np.random.default_rng(0)
    size = allocate_true(compute) * 10 ** rng.uniform(-1, 1, 60)
    table = pd.DataFrame({"N": size, "C": compute, "loss": loss(size, compute / 6 / size, **TRUE)})
    with pytest.raises(InputError, match="2 computes or more; these runs have none"):
        isoflop(table, "loss", "N", "C")


def allocate_true(budget):
    return (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (budget / 6) ** (0.28 / 0.62)


@pytest.mark.parametrize("served", [0.0, 1e12, 1e14])
def test_serving_is_the_optimum_of_sardana_and_others(exact, served):
    """Least 6 N D + 2 N served with L(N, D) = quality (arXiv:2401.00448, eq. 3), by scipy."""
    quality = 2.2

    def total(x):
        rest = quality - 1.69 - 406.4 * np.exp(x) ** -0.34
        return 1e40 if rest <= 0 else 6 * np.exp(x) * (410.7 / rest) ** (1 / 0.28) + 2 * np.exp(x) * served

    best = minimize_scalar(total, bounds=(20, 26), method="bounded")
    answer = serve(exact, quality, served)
    assert answer.total == pytest.approx(best.fun, rel=2e-3)
    assert answer.size == pytest.approx(np.exp(best.x), rel=0.06)


def test_more_to_serve_means_a_smaller_size_trained_longer(exact):
    few, many = serve(exact, 2.2, 1e11), serve(exact, 2.2, 1e14)
    assert many.size < few.size and many.data > few.data
    assert "trained compute-optimally" in many.summary()


def test_steps_of_serving_are_chosen_with_the_size():
    n, d, s = (
        v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e8, 1e10, 5), [4, 8, 16, 32, 64])
    )
    table = pd.DataFrame({"N": n, "D": d, "S": s, "fd": 2 + 3e3 * n**-0.4 + 4e3 * d**-0.4 + 60 * s**-1.2})
    from scalinglaws.laws import power_sum

    joint = fit(table, power_sum("joint", "E + A*N^-a + B*D^-b + F*S^-f", "test"), "fd",
                {"N": "N", "D": "D", "S": "S"}, replicates=10)  # fmt: skip
    few = serve(joint, 12.0, 1e4, steps=[4, 8, 16, 32, 64])
    many = serve(joint, 12.0, 1e11, steps=[4, 8, 16, 32, 64])
    assert few.steps >= many.steps and many.size < few.size


def test_a_budget_below_the_rows_is_a_projection_too(exact):
    size, data = closed_form(exact, training_cost(exact), 1e14)[0]
    below = max(np.log10(5e7 / size), np.log10(1e9 / data))
    assert allocate(exact, 1e14).decades_beyond == pytest.approx(below, abs=1e-3) and below > 1


def test_an_optimum_at_an_end_of_the_sizes_is_no_optimum(exact):
    true = closed_form(exact, training_cost(exact), 1e21)[0][0]
    for ends in ((true / 100, true / 2), (true * 2, true * 100)):
        assert "The optimum lies at an end of the sizes tried" in allocate(exact, 1e21, sizes=ends).summary()
    noisy = fit(study(0.02), "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=200)
    _, A, a, B, b = np.asarray(noisy.curve_replicates).T
    drawn = (a * A / (b * B)) ** (1 / (a + b)) * (1e21 / 6) ** (b / (a + b))  # the closed form of each replicate
    end = allocate(noisy, 1e21).size * 1.03
    said = allocate(noisy, 1e21, sizes=(1e6, end)).warnings
    share = f"{np.mean(drawn > end / 1.02):.0%} of the bootstrap replicates have no optimum inside"
    assert len(said) == 1 and said[0].startswith(share)


def test_what_cannot_be_answered_is_a_sentence(exact):
    with pytest.raises(InputError, match="a law in size and data"):
        allocate(fit(study(), "power_floor", "loss", {"x": "N"}, replicates=5), 1e21)
    with pytest.raises(InputError, match="No column 'hours'"):
        allocate(exact, 1e21, cost="hours")
    with pytest.raises(InputError, match="above 0"):
        allocate(exact, 0)
    with pytest.raises(InputError, match=r"1e-300 is 317 decades below the fitted rows, which cost 3e.17 to 1.8e.22"):
        allocate(exact, 1e-300)
    with pytest.raises(InputError, match="78 decades above the fitted rows"):
        along_budgets(exact, [1e20, "1e100 FLOPs"])
    with pytest.raises(InputError, match="No size reaches"):
        serve(exact, 1.0, 1e12)


def test_closed_form_of_a_general_power_cost(exact):
    cost = training_cost(exact, lambda n, d: 2 * n**1.2 * d**0.9)
    power = type(cost)(cost.words, cost.of, (2.0, 1.2, 0.9))
    answer = allocate(exact, 1e21, cost=lambda n, d: 2 * n**1.2 * d**0.9)
    assert answer.size == pytest.approx(closed_form(exact, power, 1e21)[0][0], rel=3e-3)


def test_repeated_data_cost_what_their_effect_takes_data(exact):
    """Muennighoff et al. 2023, eq. of effective data: U + U R* (1 - exp(-R / R*)); its inverse is the cost."""
    cost = RepeatedData(2e9)
    seen = np.array([1e9, 2e9, 8e9, 4e10])
    repeats = np.maximum(seen / 2e9 - 1, 0)
    effective = np.where(repeats > 0, 2e9 + 2e9 * 15.387756 * (1 - np.exp(-repeats / 15.387756)), seen)
    assert cost.seen(effective) == pytest.approx(seen, rel=1e-9)
    plenty, few = allocate(exact, 1e21, unique=1e15), allocate(exact, 1e21, cost=RepeatedData(2e9))
    assert plenty.epochs < 1 and few.epochs == pytest.approx(few.seen / 2e9) and few.epochs > 4
    assert few.size > plenty.size and few.seen > few.data and "items are processed" in few.summary()
    n = np.exp(np.linspace(18, 28, 40001))  # brute force over total data, not over its effect
    repeats = np.maximum(1e21 / 6 / n / 2e9 - 1, 0)
    effect = np.where(repeats > 0, 2e9 * (1 + 15.387756 * (1 - np.exp(-repeats / 15.387756))), 1e21 / 6 / n)
    best = loss(n, effect, **TRUE)
    assert few.size == pytest.approx(n[best.argmin()], rel=0.01) and few.quality == pytest.approx(best.min(), rel=1e-5)


def test_steps_and_epochs_are_those_of_the_data(exact):
    answer = allocate(exact, 1e21, batch=2**20, unique=5e9)
    frame = answer.to_frame().set_index("quantity")
    assert frame.loc["train_steps", "value"] == pytest.approx(answer.data / 2**20)
    assert frame.loc["epochs", "high"] == pytest.approx(answer.intervals["data"][1] / 5e9)
    for wrong in ({"batch": 0}, {"unique": 0}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} 0: give a number above 0"):
            allocate(exact, 1e21, **wrong)


def test_many_budgets_are_the_single_ones_and_follow_the_exponents(exact):
    path = along_budgets(exact, ["1e20 FLOPs", 1e22])
    one = allocate(exact, 1e22)
    assert path["size"].iloc[1] == pytest.approx(one.size) and path["data_low"].iloc[1] == one.intervals["data"][0]
    growth = np.log(path["size"].iloc[1] / path["size"].iloc[0]) / np.log(100)
    assert growth == pytest.approx(one.exponents[0], abs=1e-3)
    assert one.intervals["exponent"] == pytest.approx((one.exponents[0],) * 2, abs=0.02)


def test_no_interval_of_an_exact_fit_is_without_width(exact):
    """Residuals of an exact fit measure no noise: the prior of losses and the number of rows do."""
    answers = allocate(exact, 1e22), serve(exact, 2.2, 1e12)
    for answer, value in zip(answers, ("quality", "total"), strict=True):
        for name, (low, high) in answer.intervals.items():
            assert high > (1 + 2e-5) * low, name
        assert answer.intervals[value][0] < getattr(answer, value) < answer.intervals[value][1]


def test_a_law_with_steps_is_allocated_at_a_number_of_steps():
    n, d, s = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5), [8, 16, 32]))
    table = pd.DataFrame({"N": n, "D": d, "S": s, "fd": loss(n, d, **TRUE) + 10 * n**0.02 * s**-1.0})
    joint = fit(table, "size_training_steps", "fd", {"N": "N", "D": "D", "S": "S"}, replicates=5)
    for steps in (8, 32):
        best = minimize_scalar(
            lambda x, s=steps: loss(np.exp(x), 1e19 / 6 / np.exp(x), **TRUE) + 10 * np.exp(0.02 * x) / s,
            bounds=(14, 30), method="bounded",
        )  # fmt: skip
        assert allocate(joint, 1e19, at={"S": steps}).size == pytest.approx(np.exp(best.x), rel=0.01)
    with pytest.raises(InputError, match=r"give at= with a value of S"):
        allocate(joint, 1e19)


def test_the_parabola_is_biased_as_it_is_said_to_be():
    """Of exact profiles that reach 16 times either way of the optimum, the parabola is 5 % off, the surface is not."""
    rows = []
    for budget in np.geomspace(1e19, 1e21, 5):
        sizes = allocate_true(budget) * np.geomspace(1 / 16, 16, 12)
        rows += [(n, budget / 6 / n, budget, loss(n, budget / 6 / n, **TRUE)) for n in sizes]
    table = pd.DataFrame(rows, columns=["N", "D", "C", "loss"])
    off = isoflop(table, "loss", "N", "C")["profiles"]
    parabola = np.log(off["size"] / allocate_true(off["compute"]))
    surface = allocate(fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=5), 1e20)
    assert (parabola > 0.04).all() and surface.size == pytest.approx(allocate_true(1e20), rel=5e-3)


def test_profiles_from_runs_measured_while_they_trained():
    table = study().assign(C=lambda t: t["train_flops"])
    at = at_compute(table, "loss", "N", "C", [1e20, 1e21])
    true = loss(at["N"], at["C"] / 6 / at["N"], **TRUE)
    assert at["loss"].to_numpy() == pytest.approx(true.to_numpy(), rel=0.01) and at["C"].nunique() == 2
    assert at_compute(table, "loss", "N", "C", [1e30]).empty
    found = isoflop(at_compute(table, "loss", "N", "C", np.geomspace(3e19, 3e20, 6)), "loss", "N", "C")
    band = line(found, [1e20], 0.9)
    assert band["low"][0] < band["value"][0] < band["high"][0]
    assert band["value"][0] == pytest.approx(allocate_true(1e20), rel=0.3)


def test_five_views_of_an_allocation(exact):
    answer = allocate(exact, 1e26)
    assert repr(answer).startswith("Allocation(1e+26: N ") and "\n" not in repr(answer)
    page = answer._repr_html_()
    assert "<table" in page and "projection" in page and "lose less than 1%" in page
    assert f"N grows as budget^{answer.exponents[0]:.3f}" in page and "data: " not in page  # the table holds the rest
    assert answer.plot().get_xlabel() == "N"
    matplotlib.pyplot.close("all")


def test_steps_priced_as_items_are_said_and_an_optimum_at_an_end_has_no_exponent_interval():
    rows = pd.DataFrame(
        [(n, d) for n in (1e8, 3e8, 1e9) for d in (1e4, 3e4, 1e5, 3e5)], columns=["params", "train_steps"]
    )
    rows["loss"] = 1 + 40 * rows["params"] ** -0.2 + 9 * rows["train_steps"] ** -0.3
    law = fit(rows, "chinchilla", "loss", {"N": "params", "D": "train_steps"}, replicates=20)
    inside = allocate(law, "1e14 FLOPs")
    assert "6 N D is FLOPs where D counts tokens or images, and train_steps does not" in inside.warnings[0]
    assert not any("6 N D" in w for w in allocate(law, "1e20 FLOPs", cost=6 * 256).warnings)
    narrow = allocate(law, "1e14 FLOPs", sizes=(1e8, 2e8))
    assert np.isnan(narrow.intervals["exponent"]).all() and "budget^" in narrow.summary()


def test_a_law_that_rises_is_refused_instead_of_given_its_worst_size():
    rises = custom(lambda N, D, C, A, a, B, b: C - A * N**-a - B * D**-b, ["C", "A", "a", "B", "b"], trend="rises")
    rows = study().assign(acc=lambda t: 0.9 - 20 * t["N"] ** -0.3 - 50 * t["D"] ** -0.28)
    law = fit(rows, rises, "acc", {"N": "N", "D": "D"}, replicates=5)
    for decide in (lambda: allocate(law, "1e20 FLOPs"), lambda: serve(law, 0.8, 1e9)):
        with pytest.raises(InputError, match=r"takes the lowest value for the best, and the law .* of acc rises: fit"):
            decide()


def test_an_envelope_of_one_size_shows_no_growth():
    table = pd.concat([pd.DataFrame({"N": [1.0, 2.0, 3.0], "C": c, "loss": [2.0, 1.0, 2.0]}) for c in (1e19, 1e20)])
    with pytest.raises(InputError, match="finds 2 the best size at all 2 computes: no growth"):
        envelope(table, "loss", "N", "C", bins=2)


def test_the_cost_of_training_is_in_flops_unless_steps_are_counted():
    assert training_cost(fit(study(), "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=2)).words.startswith(
        "FLOPs, 6 x N"
    )
    rows = study().rename(columns={"D": "train_steps"})
    assert training_cost(fit(rows, "chinchilla", "loss", {"N": "N", "D": "train_steps"}, replicates=2)).words == (
        "6 x N x data"
    )
