"""Laws ranked by what they predict on hidden sizes."""

import numpy as np
import pandas as pd
import pytest
from test_fit import EDM2
from test_laws import rows

from scalinglaws import naive, stacking
from scalinglaws.fitting import fit
from scalinglaws.schema import InputError
from scalinglaws.validate import compare, extrapolate, folds

GRID = {"N": "N", "S": "S"}


def test_largest_sizes_are_hidden_one_after_another():
    x = np.array([1.0, 1, 2, 4, 8])
    result = folds(x, "largest", 2)
    assert [fold.hidden_from for fold in result] == [4.0, 8.0]
    assert result[0].keep.tolist() == [True, True, True, False, False]
    assert result[0].hide.tolist() == [False, False, False, True, False]


def test_the_most_expensive_decade_is_hidden():
    (fold,) = folds(np.array([1.0, 5, 9, 11, 100]), "decade")
    assert fold.keep.tolist() == [True, True, True, False, False]


def test_the_next_size_of_edm2_within_four_percent():
    result = fit(EDM2, "power_floor", "fid", {"N": "gflops"}, replicates=200)
    predicted = extrapolate(result)
    assert (np.abs(predicted["error"]) < 0.04).all()
    assert (predicted["low"] <= predicted["measured"]).all() and (predicted["measured"] <= predicted["high"]).all()


def test_a_hidden_size_is_a_model_that_is_not_owned():
    """Hidden rows of a size are predicted as those of a new model, since that model is not in the fit."""
    first, hidden = EDM2[EDM2.gflops < 500], EDM2[EDM2.gflops > 500]
    result = fit(first, "power_floor", "fid", {"N": "gflops"}, replicates=200)
    pd.testing.assert_frame_equal(result.predict(hidden, of="owned"), result.predict(hidden, of="new_model"))


def test_a_law_named_twice_is_ranked_once():
    known = {"folds": 2, "replicates": 20, "leave_out": "edm2"}
    once, twice = (compare(EDM2, laws, "fid", {"N": "gflops"}, **known).to_frame()
                   for laws in (["power", "power_floor"], ["power", "power_floor", "power"]))  # fmt: skip
    pd.testing.assert_frame_equal(once, twice)


@pytest.mark.parametrize("truth", ["size_steps_plain", "size_steps_interaction", "size_steps_product"])
def test_the_true_law_predicts_best(truth):
    names = ["size_steps_plain", "size_steps_interaction", "size_steps_product"]
    ranked = compare(rows(truth, 0.01), names, "y", GRID, replicates=100).to_frame()
    best = ranked.iloc[0]
    true = ranked[ranked["law"] == truth].iloc[0]
    assert true["held_out"] < 0.02 and true["held_out"] <= 1.3 * best["held_out"]
    assert ranked["hidden"].nunique() == 1


def test_a_law_that_cannot_be_ranked_says_why():
    ranked = compare(EDM2, quality="fid", inputs={"N": "gflops"}, replicates=50).to_frame().set_index("law")
    assert "power_floor" in ranked.index[:2]
    assert {"same as last", "forecast"} < set(ranked.index) and ranked["weight"].sum() == pytest.approx(1)
    assert "6 parameters but the table has 6 rows" in ranked.loc["bnsl_1", "note"]


def test_laws_of_a_score_rise():
    table = rows("size_steps_ceiling", 0.01).rename(columns={"y": "agreement"})
    ranked = compare(table, None, "agreement", GRID, replicates=20).to_frame()
    assert ranked.loc[0, "law"] == "size_steps_ceiling" and "size_steps_plain" not in set(ranked["law"])


def test_unknown_hiding():
    with pytest.raises(InputError, match="No way to hide named 'all'"):
        compare(EDM2, ["power"], "fid", {"N": "gflops"}, hide="all")


def test_too_few_sizes_to_hide_any():
    result = fit(EDM2.iloc[[0, 1, 2, 3]], "power_floor", "fid", {"N": "gflops"})
    with pytest.raises(InputError, match="cannot be refitted with the largest gflops hidden"):
        extrapolate(result, count=1)


def test_compare_takes_laws_of_some_inputs():
    table = rows("size_steps_plain", 0.01)
    ranked = compare(pd.DataFrame(table), ["size_steps", "power_floor"], "y", GRID, replicates=50).to_frame()
    assert ranked.loc[0, "law"] == "size_steps_plain"


def test_naive_ways_stand_beside_the_laws_named():
    ranked = compare(EDM2, ["m4"], "fid", {"N": "gflops"}, replicates=20, leave_out="edm2").to_frame().set_index("law")
    assert set(ranked.index) == {"m4", "power", "power_floor", "same as last", "forecast"}
    assert (
        ranked.loc["same as last", "parameters"] == 0 and ranked.loc[["same as last", "forecast"], "aicc"].isna().all()
    )
    error = np.log([2.06 / 1.96, 1.96 / 1.91])  # the last two, each predicted by the value before it
    assert ranked.loc["same as last", "held_out"] == pytest.approx(np.sqrt(np.mean(error**2)))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_rows_are_answered_without_a_winner(count):
    ranking = compare(EDM2.iloc[:count], None, "fid", {"N": "gflops"}, replicates=20, leave_out="edm2")
    assert ranking.best is None
    assert ("no winner" in repr(ranking)) == (count > 2)
    answer = ranking.predict(pd.DataFrame({"gflops": [300.0]})).iloc[0]
    assert answer["low"] < answer["value"] < answer["high"]
    assert answer["low"] < 2.06 < answer["high"]


def test_no_law_predicts_better_than_the_last_value():
    x = 2.0 ** np.arange(8)
    flat = pd.DataFrame({"N": x, "y": [9.0, 6.0, 4.1, 4.0, 4.0, 4.0, 4.0, 4.0]})
    ranking = compare(flat, ["power"], "y", {"N": "N"}, folds=3, use_prior=False, replicates=20)
    assert "no law predicts better than the last value" in ranking.summary() or ranking.best == "power_floor"
    worse = compare(flat.assign(y=[9.0, 8, 7, 6, 5, 5.01, 5.0, 5.01]), ["power"], "y", {"N": "N"}, replicates=20)
    assert worse.best == "same as last" and "no law predicts better than the last value" in repr(worse)


def test_the_average_lies_among_the_laws_and_is_never_of_zero_width():
    x = 2.0 ** np.arange(7)
    exact = pd.DataFrame({"N": x, "y": 2 + 8 / x})
    ranking = compare(exact, ["power", "power_floor"], "y", {"N": "N"}, replicates=20)
    new = pd.DataFrame({"N": [20.0, 128.0, 1e4]})
    average = ranking.predict(new)
    single = np.array(
        [ranking.candidates[law].predict(new)["value"] for law in ("power", "power_floor", "same as last")]
    )
    assert (single.min(0) <= average["value"] * 1.001).all() and (average["value"] <= single.max(0) * 1.001).all()
    assert (np.log(average["high"] / average["low"]) > 0.01).all()
    assert average["value"][1] == pytest.approx(2 + 8 / 128, rel=0.02)
    with pytest.raises(InputError, match="needs the column 'N'"):
        ranking.predict(pd.DataFrame({"M": [3.0]}))


def test_last_follows_the_steps_of_the_largest_size():
    table = rows("size_steps_plain", 0.0)
    last = naive.Last(table, "y", GRID, "N")
    top = table[table["N"] == table["N"].max()]
    assert last.predict(top)["value"].to_numpy() == pytest.approx(top["y"].to_numpy())
    between = pd.DataFrame({"N": [table["N"].max() * 2], "S": [np.sqrt(top["S"].iloc[0] * top["S"].iloc[1])]})
    assert last.predict(between)["value"][0] == pytest.approx(np.sqrt(top["y"].iloc[0] * top["y"].iloc[1]))


def test_weights_are_those_of_stacking():
    """Against a search of the simplex by scipy, and the two limits."""
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(0)
    logs = rng.normal(0, 1.5, (12, 2))

    def loss(w):
        prior = stacking.PRIOR_ROWS * (np.log(w) + np.log(1 - w)) / 2
        return -np.log(w * np.exp(logs[:, 0]) + (1 - w) * np.exp(logs[:, 1])).sum() - prior

    best = minimize_scalar(loss, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-10}).x
    assert stacking.weights(logs)[0] == pytest.approx(best, abs=1e-5)
    assert stacking.weights(np.empty((0, 4))) == pytest.approx([0.25] * 4)
    many = np.repeat([[0.0, -20.0]], 10_000, 0)
    assert stacking.weights(many)[0] > 0.999


def test_a_mixture_of_one_keeps_its_interval():
    one = stacking.halves([[1.0, 2.0]], [[0.5, 1.9]], [[3.0, 2.5]], 0.9)
    found = stacking.quantiles(np.ones(1), one, [0.05, 0.5, 0.95])
    assert found == pytest.approx(np.array([[0.5, 1.9], [1.0, 2.0], [3.0, 2.5]]), abs=1e-6)
