"""Samplers compared: rates of laws that are known, the better one by closed form, and what cannot be compared."""

import numpy as np
import pandas as pd
import pytest
from synthetic import SIZES, STEPS, A, E, a, row

import scalinglaws as sl
from scalinglaws.decide.samplers import ORDERS, verdict
from scalinglaws.schema import InputError

INPUTS = {"N": "flops_per_forward", "S": "steps"}


def rows(sampler, coefficient, rate):
    """Rows of E + A N^-a + coefficient S^-rate."""
    table = pd.DataFrame([row(m, s, sampler=sampler) for m in SIZES for s in STEPS])
    n, s = table["flops_per_forward"], table["steps"]
    return table.assign(fd=E + A * n**-a + coefficient * s**-rate)


@pytest.fixture(scope="module")
def comparison():
    table = pd.concat([rows("ddim", 20.0, 1.0), rows("dpm++2m", 60.0, 2.0)], ignore_index=True)
    return sl.compare_samplers(sl.fit_groups(table, ["sampler"], "size_steps_plain", "fd", INPUTS, replicates=40))


def test_rates_are_those_of_the_law(comparison):
    rates = comparison.rates.set_index("sampler")
    assert rates["rate"].to_dict() == pytest.approx({"ddim": 1.0, "dpm++2m": 2.0}, rel=1e-3)
    assert rates["order"].to_dict() == {"ddim": 1.0, "dpm++2m": 2.0}


def test_the_best_changes_where_the_two_are_equal(comparison):
    """20 / S = 60 / S^2 at 3 steps: the first is better below, the second above; best sizes at every budget."""
    for one in comparison.winners.itertuples():
        best = {}
        for name, (coefficient, rate) in {"ddim": (20.0, 1.0), "dpm++2m": (60.0, 2.0)}.items():
            allowed = [(n, int(one.budget // n)) for n in SIZES.values() if one.budget >= 2 * n]
            best[name] = min(E + A * n**-a + coefficient * s**-rate for n, s in allowed)
        assert one.value == pytest.approx(min(best.values()), rel=5e-3)
        if abs(np.log(best["ddim"] / best["dpm++2m"])) > 0.005:
            assert one.best == min(best, key=best.get)
    assert comparison.changes["best"].tolist()[-1] == "dpm++2m"


@pytest.mark.parametrize(
    ("low", "high", "order", "words"),
    [
        (0.9, 1.1, 1, "order 1"), (1.2, 1.3, 1, "between order 1 and 2"), (1.9, 2.1, 1, "twice order 1"),
        (0.2, 0.4, 1, "below order 1"), (2.5, 2.6, 1, "above twice order 1"), (1, 2, np.nan, "order not known"),
    ],
)  # fmt: skip
def test_verdicts(low, high, order, words):
    assert verdict(low, high, order) == words


def test_what_cannot_be_compared_is_a_sentence(comparison):
    table = rows("ddim", 20.0, 1.0)
    with pytest.raises(InputError, match="One level of 'sampler' alone"):
        sl.compare_samplers(sl.fit_groups(table, ["sampler"], "size_steps_plain", "fd", INPUTS, replicates=10))
    with pytest.raises(InputError, match="needs the Groups"):
        sl.compare_samplers(sl.fit(table, "size_steps_plain", "fd", INPUTS, replicates=10))


def test_the_headline_counts_the_budgets_and_those_of_which_it_is_sure(comparison):
    """A lead that the replicates do not confirm is no lead: of two samplers with the same rows none is sure."""
    sure = comparison.winners["probability"] >= 0.9
    for name, part in comparison.winners.groupby(comparison.winners["best"].astype(str)):
        share, certain = len(part) / len(sure), sure[part.index].sum() / len(sure)
        assert f"{name} at {share:.0%} ({certain:.0%})" in repr(comparison)
    noisy = rows("ddim", 20.0, 1.0)
    noisy["fd"] *= np.exp(np.random.default_rng(0).normal(0, 0.05, len(noisy)))
    table = pd.concat([noisy, noisy.assign(sampler="other")], ignore_index=True)
    same = sl.compare_samplers(sl.fit_groups(table, ["sampler"], "size_steps_plain", "fd", INPUTS, replicates=40))
    assert "(0%); in brackets" in repr(same)


def test_views(comparison):
    assert "dpm++2m" in repr(comparison) and "order" in comparison.summary()
    assert "<table" in comparison._repr_html_()
    assert len(comparison.plot().lines) >= 2


def test_units_are_read_as_people_write_them(comparison):
    table = pd.concat([rows("ddim", 20.0, 1.0), rows("dpm++2m", 60.0, 2.0)], ignore_index=True)
    groups = sl.fit_groups(table, ["sampler"], "size_steps_plain", "fd", INPUTS, replicates=40)
    assert repr(sl.compare_samplers(groups, unit="FLOPs")) == repr(comparison)


def test_orders_are_those_of_the_samplers_that_draw():
    samplers = pytest.importorskip("collect.sampling.samplers", exc_type=ImportError).SAMPLERS
    assert {name: row.order for name, row in samplers.items() if row.order} == ORDERS


@pytest.mark.parametrize("law", ["size_steps_ceiling", "size_steps_plain"])
def test_a_quality_that_rises_has_no_rate_of_errors(law):
    table = pd.concat([rows("ddim", 20.0, 1.0), rows("dpm++2m", 60.0, 2.0)], ignore_index=True)
    table = table.assign(clip=1 - table["fd"] / 1000)
    fits = sl.fit_groups(table, ["sampler"], law, "clip", INPUTS, replicates=20)
    with pytest.raises(InputError, match="clip rises as it gets better, and the order of a solver"):
        sl.compare_samplers(fits)
