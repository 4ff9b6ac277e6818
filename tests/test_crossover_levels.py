"""Samplers, students and other levels whose curves cross: laws with known parameters, whose crossing is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from synthetic import students

from scalinglaws import laws
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.crossover import crossover, crossovers, measured_crossings
from scalinglaws.decide.fitted import fit_levels
from scalinglaws.fitting import fit, fit_groups
from scalinglaws.schema import InputError

STEPS = 2.0 ** np.arange(0, 8)
SIZES = {"c8": 4e5, "c16": 1.6e6, "c32": 6.4e6, "c64": 2.56e7}  # FLOPs a forward
FLOOR = 3.0
CURVES = {"ddim": (30.0, 0.9), "heun": (90.0, 1.5)}  # B, b of FLOOR + B S^-b
CROSSING = (90 / 30) ** (1 / (1.5 - 0.9))  # B_1 S^-b_1 = B_2 S^-b_2 at S = (B_2 / B_1)^(1 / (b_2 - b_1))
CALLS = {"ddim": 1, "heun": 2}  # network evaluations a step


def samplers(noise=0.0, seed=0) -> pd.DataFrame:
    """Two samplers of one size."""
    rng = np.random.default_rng(seed)
    parts = [pd.DataFrame({"sampler": name, "steps": STEPS, "fd": FLOOR + B * STEPS**-b})
             for name, (B, b) in CURVES.items()]  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table.assign(fd=table["fd"] * np.exp(noise * rng.standard_normal(len(table))))


def family() -> pd.DataFrame:
    """Two samplers of four sizes, with what their images cost."""
    rows = [{"model": m, "flops_per_forward": n, "sampler": name, "steps": s, "nfe": CALLS[name] * s,
             "fd": FLOOR + 3e3 * n**-0.5 + B * s**-b}
            for name, (B, b) in CURVES.items() for m, n in SIZES.items() for s in STEPS]  # fmt: skip
    return pd.DataFrame(rows)


TWO = {"N": "flops_per_forward", "S": "steps"}


@pytest.mark.parametrize("share", [(), ("E",)])
def test_samplers_cross_where_the_closed_form_says(share):
    source = fit_levels(samplers(), "sampler", "power_floor", "fd", {"S": "steps"}, share=share, replicates=20)
    found = crossover(source, ("ddim", "heun"))
    assert found.cost == pytest.approx(CROSSING, rel=1e-4) and found.probability == 1.0
    assert found.value == pytest.approx(FLOOR + 30 * CROSSING**-0.9, rel=1e-4)
    assert (found.below, found.above, found.unit, found.by) == ("ddim", "heun", "steps", "sampler")
    assert "ddim and heun cross at 6.24 steps (90% interval for the models you own" in found.summary()


def test_order_of_the_levels_does_not_matter():
    groups = fit_groups(samplers(), "sampler", "power_floor", "fd", {"S": "steps"}, replicates=20)
    one, two = (crossover(groups, pair) for pair in (("ddim", "heun"), ("heun", "ddim")))
    assert one.cost == pytest.approx(two.cost) and (one.below, one.above) == (two.below, two.above)


def test_along_cost_counts_the_calls_of_each_sampler():
    """Heun asks twice a step: at equal cost it has half the steps."""
    groups = fit_groups(family(), "sampler", "size_steps_plain", "fd", TWO, replicates=20)
    found = crossover(groups, ("ddim", "heun"), at="c16")
    root = brentq(lambda s: 30 * s**-0.9 - 90 * (s / 2) ** -1.5, 1.5, 1e3)
    assert found.cost == pytest.approx(root * SIZES["c16"], rel=1e-3) and found.at == "model = c16"
    by_steps = crossover(groups, ("ddim", "heun"), at="c16", along="steps")
    assert by_steps.cost == pytest.approx(CROSSING, rel=1e-3) and by_steps.unit == "steps"
    table = crossovers(groups)
    assert table["at"].tolist() == [f"model = {m}" for m in SIZES]
    assert table["cost"].tolist() == pytest.approx([root * n for n in SIZES.values()], rel=1e-3)


def test_samplers_are_compared_at_the_sizes_both_have():
    fewer = family().query("sampler == 'ddim' or model != 'c8'")
    groups = fit_groups(fewer, "sampler", "size_steps_plain", "fd", TWO, replicates=5)
    for pair in (("ddim", "heun"), ("heun", "ddim")):
        assert crossovers(groups, pair)["at"].tolist() == ["model = c16", "model = c32", "model = c64"]


def test_one_cost_model_serves_all_samplers():
    """Built of one sampler's rows, it counts the evaluations of each."""
    groups = fit_groups(family(), "sampler", "size_steps_plain", "fd", TWO, replicates=20)
    cost = cost_model(family().query("sampler == 'ddim'"))
    one, two = (crossover(groups, ("ddim", "heun"), at="c16", cost=c) for c in (None, cost))
    assert one == two
    assert measured_crossings(groups, ("ddim", "heun"), at="c16", cost=cost) == measured_crossings(
        groups, ("ddim", "heun"), at="c16"
    )


def test_measured_seconds_are_those_of_each_sampler():
    """Heun's steps cost twice the seconds: both curves are priced from their own rows."""
    table = family().assign(seconds_per_image=lambda t: 1e-3 * t.nfe * np.where(t.sampler == "heun", 1.5, 1.0))
    groups = fit_groups(table, "sampler", "size_steps_plain", "fd", TWO, replicates=5)
    (place,) = measured_crossings(groups, ("ddim", "heun"), at="c16", unit="seconds")
    root = brentq(lambda s: 30 * s**-0.9 - 90 * (s / 3) ** -1.5, 1.5, 1e3)
    assert place == pytest.approx(1e-3 * root, rel=0.1)
    assert crossover(groups, ("ddim", "heun"), at="c16", unit="seconds").cost == pytest.approx(1e-3 * root, rel=1e-3)


def test_students_cross_along_size():
    """A student that is better when small and its teacher: A_1 N^-a_1 = A_2 N^-a_2."""
    groups = fit_groups(students(), "variant", "power", "fid", {"N": "params"}, replicates=20)
    found = crossover(groups, ("student", "teacher"))
    assert found.cost == pytest.approx((900 / 150) ** (1 / 0.1), rel=1e-4)
    assert (found.below, found.above, found.unit) == ("student", "teacher", "params")


def test_a_score_that_rises_has_its_winner_above():
    x = np.geomspace(1, 1e4, 12)
    table = pd.concat([pd.DataFrame({"steps": x, "sampler": name, "clip": C - A * x**-a})
                       for name, C, A, a in (("one", 0.30, 0.1, 0.9), ("two", 0.33, 0.2, 0.5))])  # fmt: skip
    found = crossover(fit_groups(table, "sampler", "ceiling", "clip", {"S": "steps"}, replicates=20), ("one", "two"))
    root = brentq(lambda s: 0.30 - 0.1 * s**-0.9 - 0.33 + 0.2 * s**-0.5, 2, 1e4)
    assert found.cost == pytest.approx(root, rel=1e-3) and (found.below, found.above) == ("one", "two")


def test_of_two_crossings_the_first_is_answered():
    """3 + 20 / S + 0.002 S^0.6 and 3.03 + 12 S^-0.8 are equal at two step counts."""
    x = np.geomspace(2, 2e4, 14)
    table = pd.concat([pd.DataFrame({"steps": x, "sampler": "bends", "fd": 3 + 20 * x**-1 + 0.002 * x**0.6}),
                       pd.DataFrame({"steps": x, "sampler": "falls", "fd": 3.03 + 12 * x**-0.8})])  # fmt: skip
    groups = fit_groups(table, "sampler", "steps_turn", "fd", {"S": "steps"}, replicates=10)
    found = crossover(groups, ("bends", "falls"))
    gap = lambda s: 20 / s + 0.002 * s**0.6 - 0.03 - 12 * s**-0.8  # noqa: E731
    first, second = brentq(gap, 2, 60), brentq(gap, 60, 2e4)
    assert found.cost == pytest.approx(first, rel=1e-2) and second > first
    assert (found.below, found.above) == ("falls", "bends") and "more than once" in found.summary()


def test_levels_that_never_cross_are_said():
    table = samplers(0.01)
    table.loc[table["sampler"] == "heun", "fd"] *= 4
    groups = fit_groups(table, "sampler", "power_floor", "fd", {"S": "steps"}, replicates=200)
    found = crossover(groups, ("ddim", "heun"))
    assert found.cost is None and found.probability < 0.05 and found.below == found.above == "ddim"
    assert "ddim and heun do not cross: ddim is better throughout" in found.summary()


@pytest.mark.slow
@pytest.mark.parametrize("share", [(), ("E",)])
def test_the_interval_holds_the_crossing(share):
    """90 % intervals of eight steps a sampler; on 400 tables 90 % hold it, and 86 % with a shared floor."""
    held = 0
    for seed in range(100):
        options = {"share": share, "loss": "squares", "replicates": 200}
        fits = fit_levels(samplers(0.02, seed), "sampler", "power_floor", "fd", {"S": "steps"}, **options)
        found = crossover(fits, ("ddim", "heun"))
        held += (found.low or 0) <= CROSSING <= (found.high or np.inf)
    assert 79 <= held <= 97


def test_measured_curves_cross_where_the_law_does():
    groups = fit_groups(family(), "sampler", "size_steps_plain", "fd", TWO, replicates=20)
    (found,) = measured_crossings(groups, ("ddim", "heun"), at="c16", along="steps")
    assert found == pytest.approx(CROSSING, rel=0.1)
    (found,) = measured_crossings(groups, ("ddim", "heun"), at="c16")
    assert found == pytest.approx(crossover(groups, ("ddim", "heun"), at="c16").cost, rel=0.1)
    one = fit_groups(samplers(), "sampler", "power_floor", "fd", {"S": "steps"}, replicates=20)
    assert measured_crossings(one, ("ddim", "heun")) == pytest.approx([CROSSING], rel=0.1)


@pytest.mark.parametrize(
    ("between", "options", "sentence"),
    [
        (("ddim", "euler"), {}, "No sampler 'euler'. Known: ddim, heun"),
        (("ddim", "ddim"), {}, "give two different levels of 'sampler'"),
        (("ddim", "heun"), {"by": "guidance"}, "crossover: got an unexpected keyword argument 'by'. Arguments: source"),
        (("ddim", "heun"), {}, "Name the size at which to compare, at=...: c8, c16, c32, c64"),
        (("ddim", "heun"), {"at": "c9"}, "No size 'c9'. Known sizes: c8"),
        (("ddim", "heun"), {"at": "c9", "along": "steps"}, "No size 'c9'. Known sizes: c8"),
        (("ddim", "heun"), {"at": "c8", "along": "guidance"}, "No input 'guidance' to compare along"),
    ],
)
def test_bad_questions_get_one_sentence(between, options, sentence):
    groups = fit_groups(family(), "sampler", "size_steps_plain", "fd", TWO, replicates=5)
    with pytest.raises(InputError) as refusal:
        crossover(groups, between, **options)
    assert sentence in str(refusal.value)


def test_sharing_needs_one_law():
    with pytest.raises(InputError, match="needs one law, such as 'size_steps_plain', not 'size_steps'"):
        fit_levels(family(), "sampler", "size_steps", "fd", TWO, share=("E",))


def test_a_shared_law_of_one_input_keeps_its_symbol():
    found = fit_levels(samplers(), "sampler", "power_floor", "fd", {"S": "steps"}, share=("E",), replicates=5)
    assert found.inputs == {"S": "steps", "g": "sampler"} and found.law.groups == ("ddim", "heun")
    law = laws.shared(laws.find("power_floor"), ("ddim", "heun"))
    alone = fit(samplers(), law, "fd", {"x": "steps", "g": "sampler"})
    assert found.values == pytest.approx(alone.values)
