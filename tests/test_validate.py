"""Laws ranked by what they predict on hidden sizes."""

import numpy as np
import pandas as pd
import pytest
from test_fit import EDM2
from test_laws import rows

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
    assert ranked.index[0] == "power_floor"
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
