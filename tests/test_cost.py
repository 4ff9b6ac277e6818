"""Costs against the rule the synthetic rows were made by, and against a line fitted elsewhere."""

import numpy as np
import pytest
from scipy.stats import linregress
from synthetic import DECODE, family

from scalinglaws import cost, studies
from scalinglaws.schema import InputError

N, S = 1.6e6, 8  # a size, FLOPs a forward; steps


def test_flops_are_calls_times_forward_and_decoding_is_apart():
    assert cost.cost_from(family()).per_image(N, S) == pytest.approx(N * S)
    assert cost.cost_from(family(), decode=True).per_image(N, S) == pytest.approx(N * S + DECODE)
    assert cost.cost_from(family(guidance=3.0)).per_image(N, S) == pytest.approx(2 * N * S)


def test_calls_follow_the_count_and_not_the_steps():
    heun = family().assign(nfe=lambda t: 2 * t.steps - 1)
    calls, notes = cost.calls_from(heun)
    assert (calls.per_step, calls.extra, notes) == (2.0, -1.0, ())
    assert calls.steps(calls.at(17)) == 17


def test_calls_are_assumed_aloud_where_not_counted():
    calls, (note,) = cost.calls_from(family(guidance=3.0).drop(columns="nfe"))
    assert calls.per_step == 2 and "two network evaluations a step (guided) assumed" in note


def test_seconds_are_the_line_through_the_runs():
    table = family()
    line = linregress(table[table.model == "c16"].nfe, table[table.model == "c16"].seconds_per_image)
    made = cost.cost_from(table, "seconds")
    assert made.rate(N) == pytest.approx(line.slope) and made.overhead(N) == pytest.approx(line.intercept)


def test_money_is_seconds_at_a_price():
    seconds, money = (cost.cost_from(family(), u, price=7.2) for u in ("seconds", "money"))
    assert money.per_image(N, S) == pytest.approx(seconds.per_image(N, S) * 7.2 / 3600)
    with pytest.raises(InputError, match="needs price="):
        cost.cost_from(family(), "money")


def test_a_line_never_starts_below_zero():
    late = family().assign(seconds_per_image=lambda t: 1e-4 * t.nfe**1.3)
    assert (cost.cost_from(late, "seconds").fixed >= 0).all()


def test_sizes_between_and_beyond_are_interpolated_in_logs():
    made = cost.cost_from(family(), size="params")
    params = np.array([1e4, 2e4, 1e6])
    assert made.rate(params) == pytest.approx(params * 50)


def test_steps_and_per_image_are_inverse():
    made = cost.cost_from(family(), "seconds", decode=True)
    assert made.steps(N, made.per_image(N, 13)) == pytest.approx(13)


def test_printed_gflops_are_said_to_be_as_printed():
    made = cost.cost_from(studies.load("mei"), size="params")
    assert made.per_image(866e6, 50) == pytest.approx(789.3e9 * 100)
    assert "as the study printed them" in made.notes[0]


def test_rows_cost_what_was_measured():
    table = family(guidance=2.0)
    assert cost.per_row(table) == pytest.approx(table.flops_per_forward * table.steps * 2)
    bare = table.drop(columns=["flops_per_image", "nfe"])
    assert cost.per_row(bare) == pytest.approx(cost.per_row(table))
    assert cost.per_row(table, "seconds", decode=True) == pytest.approx(table.seconds_per_image + 1e-4)


@pytest.mark.parametrize(
    ("unit", "sentence"),
    [
        ("flop", "No unit 'flop' for a budget. Known units: flops, seconds, joules, money"),
        ("joules", "needs the column 'joules_per_image', full"),
    ],
)
def test_what_cannot_be_priced_is_said(unit, sentence):
    with pytest.raises(InputError, match=sentence):
        cost.cost_from(family(), unit)
