"""Results show themselves in five ways, and the examples in docstrings are true."""

import doctest
import importlib

import numpy as np
import pandas as pd
import pytest
from test_fit import EDM2
from test_laws import rows

from scalinglaws import plots
from scalinglaws.fitting import fit, fit_groups
from scalinglaws.schema import InputError
from scalinglaws.validate import compare

needs_band = pytest.mark.skipif(not hasattr(plots, "band"), reason="plots.band is not there yet")


@pytest.fixture(scope="module")
def edm2():
    return fit(EDM2, "power_floor", "fid", {"N": "gflops"}, replicates=50)


def test_a_fit_in_one_line_and_as_a_table(edm2):
    assert repr(edm2) == (
        "Fit(power_floor: fid = E + A*N^-a; E=1.739, A=66.74, a=0.9459; 6 rows, noise 0.011, 1 warnings)"
    )
    frame = edm2.to_frame(0.5)
    assert frame.columns.tolist() == ["parameter", "value", "standard_error", "low", "high"]
    assert frame["parameter"].tolist() == ["E", "A", "a"] and (frame["low"] < frame["high"]).all()
    assert frame["standard_error"].tolist() == list(edm2.standard_errors.values())


def test_a_fit_as_html(edm2):
    page = edm2._repr_html_()
    assert "power_floor: fid = E + A*N^-a" in page and "<table" in page and "Only 6 different values of N" in page


def test_intervals_are_checked(edm2):
    with pytest.raises(InputError, match="level must lie between 0 and 1; got 90"):
        edm2.interval(90)
    with pytest.raises(InputError, match=r"No intervals named 'exact'\. Known: bootstrap, profile, delta"):
        edm2.interval(0.9, "exact")


def test_a_result_is_never_changed(edm2):
    with pytest.raises(AttributeError):
        edm2.notes = ("mine",)
    before = edm2.minima.theta.copy()
    edm2.interval(0.9, "profile"), edm2.warnings, edm2.predict(EDM2)
    assert np.array_equal(before, edm2.minima.theta)


@needs_band
@pytest.mark.parametrize("law", ["power_floor", "size_steps_plain"])
def test_a_fit_is_drawn_on_given_axes(law):
    import matplotlib.pyplot as plt

    table = rows(law, 0.02)
    one = fit(table, law, "y", {s: s for s in table.columns[:-1]}, replicates=20)
    figure, ax = plt.subplots()
    assert one.plot(ax) is ax and ax.lines and ax.get_ylabel() == "y"
    plt.close(figure)


def two_groups():
    table = pd.concat([EDM2.assign(g="a"), EDM2.assign(g="b", fid=EDM2["fid"] * 2), EDM2.iloc[:2].assign(g="c")])
    return fit_groups(table, "g", "power_floor", "fid", {"N": "gflops"}, replicates=20)


def test_groups_in_one_line_as_table_and_html():
    groups = two_groups()
    assert repr(groups) == "Groups(power_floor of fid by g: 2 groups, 1 refused)"
    assert groups.to_frame()["g"].tolist() == ["a", "b"] and "c not fitted" in groups.summary()
    assert "<table" in groups._repr_html_()


@needs_band
def test_groups_are_drawn_together():
    import matplotlib.pyplot as plt

    ax = two_groups().plot()
    assert ax.get_xlabel() == "gflops"
    plt.close(ax.figure)


def test_a_comparison_in_five_views():
    import matplotlib.pyplot as plt

    ranking = compare(EDM2, ["power", "power_floor", "bnsl_1"], "fid", {"N": "gflops"}, folds=2, replicates=20)
    assert "Comparison(fid, 2 rows of the largest gflops hidden: power_floor predicts best" in repr(ranking)
    assert ranking.best == "power_floor" in ranking.to_frame()["law"].iloc[:2].tolist() and len(ranking) == 5
    assert "bnsl_1: Law 'bnsl_1'" in ranking.summary() and "<table" in ranking._repr_html_()
    laws = {"power", "power_floor", "same as last", "forecast"}
    assert set(ranking.predictions["law"]) == laws and len(ranking.predictions) == 8
    ax = ranking.plot()
    assert ax.get_xlabel() == "measured fid"
    plt.close(ax.figure)


def test_no_winner_where_one_law_was_ranked():
    ranking = compare(EDM2.iloc[:4], ["power", "power_floor"], "fid", {"N": "gflops"}, folds=2, replicates=20)
    ranked = ranking.to_frame().dropna(subset="held_out")["law"]
    assert set(ranked) == {"power", "same as last", "forecast"}
    assert ranking.best is None and "no winner" in repr(ranking)


MODULES = ("fitting.api", "fitting.result", "laws", "laws.law", "laws.shared", "validate")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"scalinglaws.{name}")
    failed, tried = doctest.testmod(module)
    assert tried and not failed
