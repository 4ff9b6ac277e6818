"""Costs against the rule the synthetic rows were made by, and against a line fitted elsewhere."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress
from synthetic import DECODE, family, known_fit

import scalinglaws as sl
from scalinglaws import studies
from scalinglaws.decide import measured
from scalinglaws.decide.cost import UNITS, calls_from, cost_model, pricing
from scalinglaws.decide.crossover import crossover
from scalinglaws.decide.curves import law_curves
from scalinglaws.decide.optimum import optimum
from scalinglaws.schema import InputError

N, S = 1.6e6, 8  # a size, FLOPs per forward; steps
BOTH = ("denoise", "decode")


def test_flops_are_calls_times_forward_and_decoding_is_a_stage_of_its_own():
    assert cost_model(family()).per_image(N, S) == pytest.approx(N * S)
    assert cost_model(family(), stages=BOTH).per_image(N, S) == pytest.approx(N * S + DECODE)
    assert cost_model(family(guidance=3.0)).per_image(N, S) == pytest.approx(2 * N * S)


def test_calls_follow_the_count_and_not_the_steps():
    heun = family().assign(nfe=lambda t: 2 * t.steps - 1)
    calls, notes = calls_from(heun)
    assert (calls.per_step, calls.extra, notes) == (2.0, -1.0, ())
    assert calls.steps(calls.at(17)) == 17


def test_calls_are_assumed_and_said_where_not_counted():
    calls, (note,) = calls_from(family(guidance=3.0).drop(columns="nfe"))
    assert calls.per_step == 2 and "two network evaluations per step (guided) assumed" in note


def test_seconds_are_the_line_through_the_runs():
    table = family()
    line = linregress(table[table.model == "c16"].nfe, table[table.model == "c16"].seconds_per_image)
    cost = cost_model(table, "seconds")
    assert cost.per_call(N) == pytest.approx(line.slope) and cost.fixed(N) == pytest.approx(line.intercept)


def test_money_is_seconds_at_a_price():
    seconds, money = (cost_model(family(), u, price=7.2) for u in ("seconds", "money"))
    assert money.per_image(N, S) == pytest.approx(seconds.per_image(N, S) * 7.2 / 3600)
    assert cost_model(family(), "money", price="$0.12/min").per_image(N, S) == pytest.approx(money.per_image(N, S))
    with pytest.raises(InputError, match="needs price="):
        cost_model(family(), "money")


def test_a_line_never_starts_below_zero():
    late = family().assign(seconds_per_image=lambda t: 1e-4 * t.nfe**1.3)
    assert (cost_model(late, "seconds").stages[0].fixed >= 0).all()


def test_seconds_that_the_line_does_not_describe_are_noted():
    late = family().assign(seconds_per_image=lambda t: 1e-4 * t.nfe**1.3)
    assert any("Measured seconds differ from the cost model by up to" in n for n in cost_model(late, "seconds").notes)
    assert cost_model(family(), "seconds").notes == ()


def test_sizes_between_and_beyond_are_interpolated_in_logs():
    cost = cost_model(family(), size="params")
    params = np.array([1e4, 2e4, 1e6])
    assert cost.per_call(params) == pytest.approx(params * 50)


def test_steps_and_per_image_are_inverse():
    cost = cost_model(family(), "seconds", stages=BOTH)
    assert cost.steps(N, cost.per_image(N, 13)) == pytest.approx(13)


def test_printed_gflops_are_said_to_be_as_printed():
    cost = cost_model(studies.load("mei"), size="params")
    assert cost.per_image(866e6, 50) == pytest.approx(789.3e9 * 100)
    assert "as the study printed them" in cost.notes[0]


def test_of_two_counts_of_a_forward_pass_that_of_the_laws_size_is_priced():
    """A study prints GFLOPs that are multiply-adds: half of what was counted."""
    table = family().drop(columns="flops_per_image").assign(gflops_per_forward=lambda t: t.macs_per_forward / 1e9)
    assert cost_model(table).per_image(N, S) == pytest.approx(N * S)
    assert cost_model(table, size="gflops_per_forward").per_image(N / 2e9, S) == pytest.approx(N / 2 * S)


def test_beside_the_only_size_measured_an_evaluation_costs_in_proportion():
    cost = cost_model(family().query("model == 'c16'"))
    assert cost.per_call(np.array([N / 2, N, 3 * N])) == pytest.approx([N / 2, N, 3 * N])


def test_rows_that_cost_differently_are_averaged_and_said():
    calls, (note,) = calls_from(pd.concat([family(), family(guidance=2.0)]))
    assert calls.per_step == pytest.approx(1.5) and "guided and unguided, or several solvers, are averaged" in note
    machines = pd.concat([family().assign(threads=n) for n in (1, 2)])
    assert "The seconds were measured with 2 values of threads: keep one." in cost_model(machines, "seconds").notes
    assert cost_model(machines).notes == ()  # FLOPs are those of any machine


def test_rows_cost_what_was_measured():
    table = family(guidance=2.0)
    assert cost_model(table).per_row(table) == pytest.approx(table.flops_per_forward * table.steps * 2)
    bare = table.drop(columns=["flops_per_image", "nfe"])
    assert cost_model(bare).per_row(bare) == pytest.approx(cost_model(table).per_row(table))
    cost = cost_model(table, "seconds", stages=BOTH)
    assert cost.per_row(table) == pytest.approx(table.seconds_per_image + 1e-4)


@pytest.mark.parametrize(
    ("rows", "unit", "stages"),
    [
        ("sampler == 'ddim' and guidance == 1", "flops", ("denoise",)),
        ("sampler == 'ddim' and guidance == 1", "flops", BOTH),
        ("sampler == 'ddim' and guidance == 1", "seconds", BOTH),
        ("sampler == 'ddim' and guidance == 1.5", "flops", BOTH),
        ("sampler == 'dpm++2m'", "flops", ("denoise",)),
    ],
)
def test_points_and_curves_of_tiny_ldm_have_one_cost(rows, unit, stages):
    """Every measured row lies at the cost at which the law's curve has the row's steps, guided rows too."""
    table = sl.read("tiny-ldm").query(rows)
    cost = cost_model(table, unit, stages=stages)
    points = measured.points(table, "fd", cost)
    assert points["cost"].to_numpy() == pytest.approx(cost.per_image(points["size"], points["steps"]), rel=1e-12)
    assert cost.steps(points["size"].to_numpy(), points["cost"].to_numpy()) == pytest.approx(points["steps"], rel=1e-9)
    if unit == "flops" and stages == ("denoise",):
        assert points["cost"].to_numpy() == pytest.approx(points["flops_per_image"], rel=1e-12)


def test_flops_measured_per_image_count_and_not_forward_times_calls():
    """A guide network half as large: an evaluation costs three quarters of a forward pass on average."""
    table = family(guidance=2.0).assign(flops_per_image=lambda t: 0.75 * t.nfe * t.flops_per_forward)
    cost = cost_model(table)
    assert cost.per_image(N, S) == pytest.approx(0.75 * 2 * N * S)
    curves = law_curves(known_fit(table=table))
    points = measured.points(table, "fd", cost)
    for label, rows in curves.groupby("label", observed=True):
        own = points[points["model"] == label]["cost"]
        assert rows["x"].min() == pytest.approx(own.min()) and rows["x"].max() == pytest.approx(own.max())


def test_one_cost_model_prices_every_sampler_by_its_own_evaluations():
    cost = cost_model(family())
    heun = family().assign(nfe=lambda t: 2 * t.steps)
    assert cost.counting(heun).per_image(N, S) == pytest.approx(2 * N * S)
    assert cost.per_row(heun) == pytest.approx(heun.flops_per_forward * heun.nfe)


def test_costs_of_another_machine_answer_for_the_fit():
    """Quality measured in one place, time in another: the cost model is built of the second table."""
    fit = known_fit(table=family().drop(columns="seconds_per_image"))
    cost = cost_model(family(), "seconds")
    assert optimum(fit, "20 ms", cost=cost).unit == "seconds"
    assert crossover(fit, ("c8", "c16"), cost=cost).cost == crossover(known_fit(), ("c8", "c16"), unit="seconds").cost


def test_stages_are_summed_and_shown():
    table = family().assign(flops_text=5e5, joules_per_image=lambda t: 2 * t.seconds_per_image, joules_decode=1e-3)
    every = cost_model(table, stages=("decode", "text", "denoise"))
    assert every.per_image(N, S) == pytest.approx(N * S + DECODE + 5e5)
    assert every.label == "sampling cost per image (FLOPs; denoise + text + decode)"
    assert every.to_frame().groupby("stage").fixed.max().to_dict() == {"decode": DECODE, "denoise": 0, "text": 5e5}
    assert cost_model(table, "joules", stages=BOTH).fixed(N) == pytest.approx(2e-4 + 1e-3)


@pytest.mark.parametrize(
    ("unit", "stages", "sentence"),
    [
        ("joules", ("denoise",), "the stage 'denoise' needs the column 'joules_per_image': no row has it; give it"),
        ("joules", BOTH, "needs the column 'joules_per_image'"),
        ("flops", ("denoise", "text"), "with the stage 'text' needs the column 'flops_text': no row has it"),
        ("seconds", ("denoise", "text"), "needs the column 'seconds_text'"),
        ("flops", ("sampling",), r"stages=\('sampling',\): give some of denoise, text, decode"),
        ("flops", (), "give some of denoise, text, decode"),
        ("flops", ("decode",), "without 'denoise' no steps are paid for"),
        ("flop-hours", ("denoise",), "No unit 'flop-hours' for a budget. Known units: flops, seconds, joules, money"),
    ],
)
def test_a_stage_without_data_is_refused_and_never_zero(unit, stages, sentence):
    with pytest.raises(InputError, match=sentence):
        cost_model(family(), unit, stages=stages)


def test_joules_of_decoding_are_never_added_as_zero():
    table = family().assign(joules_per_image=lambda t: 2 * t.seconds_per_image)
    with pytest.raises(InputError, match="'decode' needs the column 'joules_decode': no row has it; give it, or leave"):
        optimum(known_fit(table=table), 1.0, "joules", stages=BOTH)
    part = table.assign(joules_decode=np.where(table.model == "c8", np.nan, 1e-3))
    with pytest.raises(InputError, match="no row of c8 has it"):
        cost_model(part, "joules", stages=BOTH)


def test_a_cost_that_does_not_rise_with_steps_buys_none():
    with pytest.raises(InputError, match="does not rise with the network evaluations"):
        cost_model(family().assign(seconds_per_image=1.0), "seconds")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cost": 3}, "cost=3: give a CostModel"),
        ({"cost": cost_model(family()), "unit": "seconds"}, "Give cost= alone, or unit="),
        ({"cost": cost_model(family()), "price": 2.0}, "Give cost= alone, or unit="),
        ({"unit": "money", "price": -1}, "price -1 per hour: give a number above 0"),
        ({"unit": "money", "price": "free"}, "'free' is no quantity"),
    ],
)
def test_what_cannot_price_is_said(options, sentence):
    with pytest.raises(InputError, match=sentence):
        pricing(**options)(family(), "flops_per_forward", "steps")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ([1], "A cost needs a table of measurements; got list"),
        (family()[:0], "A cost needs at least one measured row"),
        (family().drop(columns="flops_per_forward"), "A cost needs the size column 'flops_per_forward', full"),
    ],
)
def test_what_is_no_table_of_sizes_is_refused(table, sentence):
    with pytest.raises(InputError, match=sentence):
        cost_model(table)


def test_a_cost_by_another_size_is_refused():
    with pytest.raises(InputError, match="The cost model is by 'params', the law by 'flops_per_forward'"):
        optimum(known_fit(), 1e8, cost=cost_model(family(), size="params"))


def test_units_are_those_of_budgets():
    assert list(UNITS) == ["flops", "seconds", "joules", "money"]


def test_evaluations_assumed_are_no_doubt_where_the_cost_was_measured():
    """Twice as many evaluations of half the time each cost the same: only FLOPs of a forward pass need their count."""
    rows = family(guidance=3.0).drop(columns="nfe")
    assert cost_model(rows, "seconds").notes == ()
    counted = cost_model(family(guidance=3.0), "seconds")
    assert cost_model(rows, "seconds").per_image(N, S) == pytest.approx(counted.per_image(N, S))
    assert "two network evaluations" in cost_model(rows.drop(columns="flops_per_image")).notes[0]
    known = known_fit(table=rows)
    assert not [w for w in optimum(known, 0.01, "seconds").warnings if "nfe" in w]
    assert [w for w in optimum(known_fit(table=rows.drop(columns="flops_per_image")), 1e8).warnings if "nfe" in w]
    mixed = pd.concat([rows, family().drop(columns="nfe")])
    assert "one per step assumed" in cost_model(mixed, "seconds").notes[0]
