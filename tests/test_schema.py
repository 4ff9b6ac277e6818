"""The contract: ranges hold, sentences say row, value and what is allowed."""

import numpy as np
import pandas as pd
import pytest

from scalinglaws import schema, studies


def test_every_column_says_what_it_is():
    assert len(schema.COLUMNS) == len(schema._TABLE)
    roles = {"setting", "cost", "quality", "error"}
    assert all(c.meaning and c.role in roles for c in schema.COLUMNS.values())


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
