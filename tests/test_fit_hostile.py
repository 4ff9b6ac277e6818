"""Malformed tables: a valid result or one of our sentences, never a stack trace or NaN."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scalinglaws.fitting import fit
from scalinglaws.fitting.diagnostics import condition
from scalinglaws.schema import InputError
from scalinglaws.validate import compare

LAWS = ("power", "power_floor", "size_steps", "chinchilla", "bnsl_1", "m4", "ceiling", "sigmoid", "steps_turn")
NASTY = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(1e-3, 1e6),
    st.sampled_from([0, -1, 1, 1.0, None, "12", "twelve", True, 10**30, 1e-300, np.int8(3), pd.NaT]),
)
TAME = st.one_of(st.floats(0.5, 1e9), st.floats(1.0, 20.0), st.sampled_from([1.0, 2.0, 4.0, 1e-30, 1e30]))


@st.composite
def tables(draw):
    """Up to 14 rows of numbers, then up to two faults."""
    count = draw(st.integers(0, 14))
    table = pd.DataFrame({name: pd.Series(draw(st.lists(TAME, min_size=count, max_size=count)), dtype=object)
                          for name in ("n", "s", "q", "w", "e")})  # fmt: skip
    for fault in draw(st.lists(st.sampled_from(["cell", "drop", "constant", "twice", "sorted"]), max_size=2)):
        name = draw(st.sampled_from(list(table.columns) or ["n"]))
        if fault == "cell" and len(table):
            table = table.astype(object)
            table.loc[draw(st.integers(0, len(table) - 1)), name] = draw(NASTY)
        elif fault == "drop":
            table = table.drop(columns=name, errors="ignore")
        elif fault == "constant":
            table[name] = draw(NASTY)
        elif fault == "twice":
            table = pd.concat([table, table], ignore_index=True)
        elif fault == "sorted":
            table[name] = (
                sorted(table[name], key=lambda v: -abs(v) if isinstance(v, float) else 0) if name in table else 0
            )
    return table.infer_objects() if draw(st.booleans()) else table


def check(result):
    """Everything a result shows is a number."""
    assert all(np.isfinite(value) for value in result.values.values())
    assert np.isfinite([result.objective, result.noise]).all()
    assert all(isinstance(sentence, str) and "nan" not in sentence.split() for sentence in result.warnings)
    predicted = result.predict(result.table.head(2))
    assert not predicted.isna().any().any() and (predicted["low"] <= predicted["high"]).all()
    assert "nan" not in result.summary().lower().split()


FORMS = {
    "table": tables(), "law": st.sampled_from(LAWS), "loss": st.sampled_from(["huber", "squares"]),
    "residuals": st.sampled_from(["log", "raw", "log1p"]), "se": st.sampled_from([None, "e"]),
    "weights": st.sampled_from([None, "w"]), "bootstrap": st.sampled_from(["auto", "pair", "wild"]),
}  # fmt: skip
SAME = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}


@settings(max_examples=40, **SAME)
@given(**FORMS)
def test_random_malformed_tables(**form):
    try_fit(**form)


@pytest.mark.slow
@settings(max_examples=600, **SAME)
@given(**FORMS)
def test_many_random_malformed_tables(**form):
    try_fit(**form)


def try_fit(table, law, loss, residuals, se, weights, bootstrap):
    """A valid result or a sentence."""
    two = law in ("size_steps", "chinchilla")
    inputs = {"N": "n", "S" if law == "size_steps" else "D": "s"} if two else {"N": "n"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check(fit(table, law, "q", inputs, loss=loss, residuals=residuals, se=se, weights=weights,
                      bootstrap=bootstrap, replicates=20, starts=4))  # fmt: skip
    except InputError as refusal:
        assert len(str(refusal)) > 20


GOOD = pd.DataFrame({"n": [1.0, 2, 4, 8, 16, 32], "q": [9.0, 6, 4.5, 3.8, 3.5, 3.3], "w": 1.0, "e": 0.1})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n": 4.0}, "Every row has n = 4: law 'power_floor' needs at least two different values of N"),
        ({"q": 3.0}, "Quality 'q' is 3 in every row"),
        ({"q": [9.0, 6, np.inf, 3.8, 3.5, 3.3]}, "finite and above zero; 1 of 6 rows are not, first inf in row 2"),
        ({"q": ["9", "6", "x", "4", "3", "3"]}, "first 'x' in row 2"),
        ({"n": [0.0, 2, 4, 8, 16, 32]}, "first 0.0 in row 0"),
        ({"w": 0.0}, "Every weight in column 'w' is zero"),
        ({"w": [1, 1, None, 1, 1, 1]}, "must hold weights that are finite and not negative"),
        ({"e": [0.1, 0, 0.1, 0.1, 0.1, 0.1]}, "standard errors that are finite and above zero"),
    ],
)
def test_each_fault_has_its_sentence(change, sentence):
    with pytest.raises(InputError) as refusal:
        fit(GOOD.assign(**change), "power_floor", "q", {"N": "n"}, weights="w", se="e")
    assert sentence in str(refusal.value)


def test_missing_weights_column():
    with pytest.raises(InputError, match="weights='nothing' is no column"):
        fit(GOOD, "power", "q", {"N": "n"}, weights="nothing")


def test_weight_zero_leaves_a_row_out():
    wrong = GOOD.assign(q=[9.0, 60, 4.5, 3.8, 3.5, 3.3], w=[1, 0, 1, 1, 1, 1])
    result = fit(wrong, "power_floor", "q", {"N": "n"}, weights="w")
    assert result.rows == 5 and "1 row of weight zero left out" in " ".join(result.warnings)


def test_quality_that_does_not_improve_with_size_is_no_law():
    sprint = pd.DataFrame({"params": [6e8, 6e8, 1.6e9, 1.6e9], "fid": [7.04, 6.48, 7.69, 6.54]})
    result = fit(sprint, "power_floor", "fid", {"N": "params"})
    assert result.warnings[0].startswith("No law: 'fid' does not fall with N (params) in these 4 rows")


def test_rows_that_turn_up_again_are_reported():
    steps = np.array([1.0, 2, 4, 8, 16, 32, 64, 128])
    table = pd.concat([pd.DataFrame({"n": n, "s": steps, "q": (2 + 10 / steps + 0.01 * steps) * n**-0.1})
                       for n in (1.0, 4, 16, 64)])  # fmt: skip
    text = " ".join(fit(table, "size_steps_plain", "q", {"N": "n", "S": "s"}).warnings)
    assert "turns up again beyond s of about 32 in 4 of 4 curves" in text


def test_compare_refuses_in_sentences():
    with pytest.raises(InputError, match="None of the laws can be fitted"):
        compare(GOOD.head(1), quality="q", inputs={"N": "n"})
    with pytest.raises(InputError, match="compare needs inputs as a dict"):
        compare(GOOD, quality="q", inputs="n")


def test_rows_of_tiny_weight_do_not_underflow():
    """Qualities of 1e273 and standard errors of 1e30: a Gram matrix of 0 was once solved."""
    n = [0.8, 2, 4, 9.8e8, 1.86, 2.49, 2, 1, 1]
    q = [4e8, 1.9e8, 3e273, 3.43, 2, 2, 1.9, 1.5, 1]
    e = [2e8, 1e30, 6.5e8, 4, 8.3, 17.5, 2.39, 2.7e8, 1]
    table = pd.DataFrame({"n": n, "s": n, "q": q, "w": 1.0, "e": e})
    try_fit(table, "steps_turn", "huber", "raw", "e", "w", "auto")


def test_a_condition_that_overflows_is_infinite():
    class Overflowing:
        def information(self, theta):
            return np.full((4, 4), np.inf)

    with np.errstate(all="ignore"):
        assert condition(Overflowing(), np.zeros(4)) == np.inf
