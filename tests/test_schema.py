"""The schema: a metric is declared once, ranges hold, sentences say row, value and what is allowed."""

import numpy as np
import pandas as pd
import pytest

from scalinglaws import schema, studies


def test_every_column_says_what_it_is():
    roles = {"setting", "cost", "quality", "error"}
    assert all(c.meaning and c.role in roles and c.kind in schema.KINDS for c in schema.COLUMNS.values())
    declared = [row[0] for row in schema._SETTINGS] + [m.name for m in schema.METRICS]
    assert len(set(declared)) == len(declared)


@pytest.mark.parametrize("metric", schema.METRICS, ids=lambda m: m.name)
def test_a_metric_is_declared_once_and_gives_the_rest(metric):
    derived = {c.name.removeprefix(metric.name): c for c in metric.columns()}
    extrapolated = {"_inf", "_inf_se"} if metric.extrapolated else set()
    assert set(derived) == {"", "_se", "_half1", "_half2"} | extrapolated
    assert {n for n, c in derived.items() if c.role == "error"} == {n for n in derived if n.endswith("_se")}
    quality = [c for c in derived.values() if c.role == "quality"]
    assert {c.higher_is_better for c in quality} == {metric.better == "higher"}
    assert all(c.unit == metric.unit and c.metric == metric.name for c in derived.values())


def test_the_direction_is_declared_not_read_from_prose():
    """A meaning may end in any words; the derived columns have the direction of their metric."""
    metric = schema.Metric("mine", "score", schema.NUMBER, "higher", "a score whose rival says lower is better")
    assert all(c.higher_is_better for c in metric.columns() if c.role == "quality")
    assert schema.higher_is_better("precision_half2") and not schema.higher_is_better("fd_inf")
    assert not schema.higher_is_better("a column nobody knows")


def test_repeats_may_be_pooled_over_and_settings_may_not():
    assert {"seed", "device", "source"} <= {c.name for c in schema.COLUMNS.values() if c.pooled}
    assert {"sampler", "guidance", "steps", "train_steps", "reference"} <= set(schema.unpooled())
    assert not {"seed", "model", "params", "fd"} & set(schema.unpooled())


def test_energy_has_the_stages_that_time_and_flops_have():
    stages = {"_per_image", "_decode", "_text"}
    assert {f"{unit}{stage}" for unit in ("flops", "seconds", "joules") for stage in stages} <= set(schema.COLUMNS)


def test_every_published_column_is_known():
    assert {c for n in studies.names() for c in studies.load(n)} <= set(schema.COLUMNS)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("params", 0, "Column 'params': row 2 holds 0; allowed is a number above 0."),
        ("params", -5, "Column 'params': row 2 holds -5; allowed is a number above 0."),
        ("fd", "good", "Column 'fd': row 2 holds the text 'good'; allowed is a number above 0."),
        ("fd", np.inf, "Column 'fd': row 2 holds inf; allowed is a number above 0."),
        ("steps", 2.5, "Column 'steps': row 2 holds 2.5; allowed is a whole number, 1 or more."),
        ("agreement", 1.2, "Column 'agreement': row 2 holds 1.2; allowed is a number from 0 to 1."),
        ("kd", "x", "Column 'kd': row 2 holds the text 'x'; allowed is a finite number."),
    ],
)
def test_known_columns_are_held_to_their_range(column, value, sentence):
    table = pd.DataFrame({column: pd.Series([1, value], dtype=object)})
    assert schema.check(table) == [sentence]


def test_nothing_is_allowed_where_the_column_is_not_used():
    assert schema.check(pd.DataFrame({"fd": [1.0, np.nan], "kd": [-1e-4, 0.0]})) == []


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_a_used_column_is_full_and_positive(value):
    (fault,) = schema.check(pd.DataFrame({"mine": [1.0, value]}), used=["mine"])
    assert fault.startswith("Column 'mine': row 2 holds") and "above 0, in every row used" in fault


def test_a_missing_column_names_those_there():
    (fault,) = schema.check(pd.DataFrame({"fid": [1.0]}), used=["steps"])
    assert fault == "Column 'steps' is missing; the table has fid."


def test_many_bad_rows_are_counted_not_listed():
    (fault,) = schema.check(pd.DataFrame({"fd": [-1.0] * 9}))
    assert "row 3 holds -1 (and 6 more rows)" in fault
