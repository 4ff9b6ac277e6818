"""Choosing between nested laws: the textbook's criterion for squares, and as good a choice under Huber's loss."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.tools.eval_measures import aicc as textbook
from test_fit import STEPPED, grid
from test_laws import TRUTH, rows

from scalinglaws.fitting import coverage, fit, fit_groups
from scalinglaws.fitting.diagnostics import calibration
from scalinglaws.fitting.selection import aicc, held_out
from scalinglaws.laws import power_sum

PLAIN = {"E": 5.0, "A": 3e3, "a": 0.4, "B": 80.0, "g": 0.0, "b": 1.1}
LOSSES = ({"loss": "squares"}, {"delta": 0.0269}, {"delta": 0.006}, {"delta": 0.002})  # of 2 % noise: 1.3 to 0.1


def test_squares_give_the_textbook_differences():
    """Against statsmodels' AICc of the same straight lines in logarithms, the noise counted as a parameter."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"N": np.tile(np.geomspace(1, 100, 6), 4), "S": np.repeat([1.0, 2, 4, 8], 6)})
    table["y"] = 9 * table["N"] ** -0.4 * table["S"] ** -0.05 * np.exp(0.1 * rng.standard_normal(24))
    one = fit(table, "power", "y", {"N": "N"}, loss="squares")
    two = fit(table, power_sum("two", "A*N^-a*S^-b", "here"), "y", {"N": "N", "S": "S"}, loss="squares")
    lines = [smf.ols(f, table).fit() for f in ("np.log(y) ~ np.log(N)", "np.log(y) ~ np.log(N) + np.log(S)")]
    small, large = (textbook(line.llf, line.nobs, line.df_model + 2) for line in lines)
    assert aicc(two) - aicc(one) == pytest.approx(large - small, rel=1e-8)
    assert calibration(two.problem, two.minima.theta[0]) == pytest.approx(1.0)


def gains(tables, options):
    """How much the interaction lowers -2 ln L [table], and by how much it lowers AICc."""
    small, large = (fit_groups(tables, "table", law, "fd", STEPPED, replicates=1, **options)
                    for law in ("size_steps_plain", "size_steps_interaction"))  # fmt: skip
    pairs = [(small[k], large[k], calibration(large[k].problem, large[k].minima.theta[0])) for k in small.fits]
    falls = [c * two.rows * np.log(one.objective / two.objective) for one, two, c in pairs]
    return np.array(falls), np.array([aicc(one, c) - aicc(two, c) for one, two, c in pairs])


def simulated(count, degrees=None) -> pd.DataFrame:
    """Tables of the plain law with 2 % noise, normal or Student's."""
    rng, parts = np.random.default_rng(5), []
    for k in range(count):
        shock = rng.standard_normal(64) if degrees is None else rng.standard_t(degrees, 64)
        parts.append(grid(PLAIN).assign(table=k, fd=lambda t, e=shock: t["fd"] * np.exp(0.02 * e)))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [None, 3])
def test_a_superfluous_parameter_counts_the_same_under_every_loss(degrees):
    """chi² of one degree: 1 on average, and chosen by AICc about as often as under least squares."""
    tables = simulated(150, degrees)
    squares, *robust = [gains(tables, options) for options in LOSSES]
    chosen = np.mean(squares[1] > 0)
    for fall, gain in robust:
        assert 0.75 < fall.mean() < 1.5
        assert abs(np.mean(gain > 0) - chosen) < 0.06


@pytest.mark.slow
def test_a_real_interaction_is_chosen_as_often_as_under_squares():
    truth = PLAIN | {"g": -0.01, "B": 80.0 * 1e6**0.01}
    parts = [grid(truth, 0.02, seed).assign(table=seed) for seed in range(60)]
    squares, default, *_ = [np.mean(gains(pd.concat(parts), options)[1] > 0) for options in LOSSES[:2]]
    assert 0.5 < squares < 0.99 and abs(default - squares) < 0.12


def test_too_few_rows_for_the_criterion_are_said_in_words():
    """7 rows leave AICc no degrees of freedom for either law: the note has no nan and no inf in it."""
    table = pd.DataFrame({"n": [10, 1.6e8, 5.5e8, 16, 1.1, 20, 6.2e7], "s": [2, 9.6e8, 2.5, 12, 4, 2.8e7, 12],
                          "q": [16.4, 4, 1, 4, 3e8, 4.5, 2]})  # fmt: skip
    chosen = fit(table, "size_steps", "q", {"N": "n", "S": "s"}, residuals="log1p", replicates=5)
    assert chosen.law.name == "size_steps_plain"
    assert any("7 rows are too few to weigh the interaction by AICc" in note for note in chosen.notes)
    assert not {"nan", "inf", "-inf"} & set(chosen.summary().split())


@pytest.mark.parametrize("count", [6, 7])
def test_too_few_rows_for_the_interaction_are_fitted_by_the_plain_law(count):
    """6 rows: the interaction has as many parameters; alone and as one of several groups."""
    table = grid(PLAIN, 0.01, 1).sample(40, random_state=3)
    some = table.iloc[:count]
    chosen, plain = (fit(some, law, "fd", STEPPED, replicates=5) for law in ("size_steps", "size_steps_plain"))
    assert chosen.law.name == "size_steps_plain" and chosen.values == pytest.approx(plain.values, rel=1e-4)
    note = "the interaction is left out: Law 'size_steps_interaction' has 6 parameters but the table has 6 rows"
    assert (note in " ".join(chosen.notes)) == (count == 6)
    both = pd.concat([table.assign(g="many"), some.assign(g="few"), some.iloc[:5].assign(g="fewer")])
    groups = fit_groups(both, "g", "size_steps", "fd", STEPPED, replicates=5)
    assert set(groups.fits) == {"many", "few"} and "'size_steps_plain' has 5 parameters" in groups.refused["fewer"]


def test_a_held_out_prediction_that_overflows_is_an_infinite_error():
    """A law that rises with size, its largest size set absurdly far out: no warning, no NaN."""
    result = fit(grid(PLAIN | {"g": 1.1, "B": 80.0 * 1e6**-1.1}, 0.02), "size_steps_interaction", "fd", STEPPED)
    x = result.problem.data.x
    far = replace(result.problem.data, x=x | {"N": np.where(x["N"] == x["N"].max(), 1e300, x["N"])})
    assert held_out(replace(result, problem=replace(result.problem, data=far))) == np.inf


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"delta": 0.004}])
def test_profile_intervals_cover_under_huber_too(options):
    """At a delta of 0.2 noises they held 76 % before the scale was calibrated."""
    result = fit(rows("power_floor"), "power_floor", "y", {s: s for s in TRUTH["power_floor"][1]}, **options)
    assert 0.86 <= coverage(result, 200, 0.9, "profile", noise=0.02)["cover"].mean() <= 0.95
