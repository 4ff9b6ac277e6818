"""Csv files of other customs: understood, or refused in one sentence that names row and column."""

import codecs

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalinglaws import measurements
from scalinglaws.csvfile import clean_label, read_csv
from scalinglaws.schema import InputError


def read(tmp_path, content):
    path = tmp_path / "runs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return measurements.read(path)


@pytest.mark.parametrize(
    ("content", "column", "values"),
    [
        ("steps;fid\n1;12,5\n2;1.008,25\n", "fid", [12.5, 1008.25]),
        ("steps;fid\n1;12.5\n2;8.25\n", "fid", [12.5, 8.25]),
        ('model,params\na,"1,234,000"\nb,"2,000,000"\n', "params", [1234000, 2000000]),
        ('model,steps\na,"1,234"\nb,"2,000"\n', "steps", [1234, 2000]),
        ("model;fid;params\na;2,5;1.234\nb;2,1;2.000,5\n", "params", [1234, 2000.5]),
        ("params;fid\n1\u202f234\u202f567;2,5\n2 000 000;2,1\n", "params", [1234567, 2000000]),
        ("params,fid\n1'234'567,2.5\n2'000'000,2.1\n", "params", [1234567, 2000000]),
        ("precision,fid\n12 %,3\n15%,4\n", "precision", [0.12, 0.15]),
        ("clip_rel_drop_pct,fid\n12 %,3\n15%,4\n", "clip_rel_drop_pct", [12, 15]),
        ("sep=;\nsteps;fid\n1;2,5\n", "fid", [2.5]),
        ("# a comment\nsteps|fid\n1|2.5\n", "fid", [2.5]),
        ("steps,fid,,\n1,2,,\n\n,,,\n2,3,,\n", "fid", [2, 3]),
        ("steps\tfid\n1\t−2e-1\n", "kd", None),
        (codecs.BOM_UTF8 + b" steps , fid \n1,2\n", "steps", [1]),
        ("steps\tfid\n1\t2,5\n".encode("utf-16"), "fid", [2.5]),
        ("Größe;fid\n10;2,5\n".encode("cp1252"), "Größe", [10]),
        (",steps,fid\n0,1,2\n1,2,3\n", "steps", [1, 2]),
        ("Table 3: FID, by steps\nsteps;fid\n1;12,5\n2;8,25\n", "fid", [12.5, 8.25]),
        ("Table 3\nsteps;fid\n1;12,5\n2;8,25\n", "fid", [12.5, 8.25]),
    ],
)
def test_customs_that_are_plain_are_understood(tmp_path, content, column, values):
    if values is None:
        with pytest.raises(InputError, match=r"Column 'fid': row 1 holds -0\.2"):
            read(tmp_path, content)
    else:
        assert read(tmp_path, content)[column].tolist() == values


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('model,params\na,"1,234"\nb,950\n', r"Column 'params': row 1 holds '1,234', which may be 1234 or 1.234"),
        ("fid;params\n2,5;1.234\n2,1;2.500\n", r"Column 'params': row 1 holds '1.234', which may be 1234 or 1.234"),
        ("precision,fid\n12 %,3\n0.3,4\n", "row 1 holds '12 %' and row 2 '0.3': write all with % or all without"),
        ("steps,fid\n1,3.5%\n", "Column 'fid': row 1 holds '3.5%'; a distance has no %"),
        ("steps,fid\n1,2,5\n", "row 1 has 3 cells, the header 2. A decimal comma needs quotes"),
        ("fid,steps,fid\n1,2,3\n", "has 2 columns named 'fid': rename or remove all but one"),
        ("steps,fid\n1,inf\n2,3\n", "Column 'fid': row 1 holds inf"),
        ("steps,fid\n1,good\n2,3\n", "Column 'fid': row 1 holds the text 'good'"),
        ("steps,fid\n1.5,3\n", "Column 'steps': row 1 holds 1.5; allowed is a whole number"),
    ],
)
def test_what_could_be_two_things_is_refused_with_row_and_column(tmp_path, content, sentence):
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, content)


def test_words_for_nothing_are_missing(tmp_path):
    words = ["n/a", "-", "—", "", "NaN", "null", "?", "#DIV/0!", "None", "N/A", "OOM"]
    table = read(tmp_path, "steps,fid\n" + "".join(f"{i + 1},{w}\n" for i, w in enumerate(words)) + "99,5\n")
    assert table.fid.notna().sum() == 1 and table.fid.iloc[-1] == 5


def test_text_stays_text(tmp_path):
    table = read(tmp_path, "model,eta,guidance_kind,mine\n016,0.0,none,a1\n032,0.5,cfg,b2\n")
    assert table.model.tolist() == ["016", "032"] and table.guidance_kind.tolist() == ["none", "cfg"]
    assert table.eta.tolist() == ["0.0", "0.5"] and table.mine.tolist() == ["a1", "b2"]


def test_labels_are_one_whatever_their_spaces_and_composition():
    assert clean_label("\ufeff e\u0301tapes\u00a0\n (n) ") == "étapes (n)"


def test_text_numbers_of_a_frame_are_understood_too():
    table = measurements.read(pd.DataFrame({"steps": ["4", "8"], "fid": ["12,5", "8,25"]}))
    assert table.fid.tolist() == [12.5, 8.25] and table.steps.tolist() == [4, 8]


numbers = st.lists(st.floats(1e-6, 1e9).map(lambda v: float(f"{v:.7g}")), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(numbers, st.sampled_from([(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")]))
def test_what_pandas_writes_is_read_back_exactly(tmp_path_factory, values, custom):
    separator, decimal = custom
    path = tmp_path_factory.mktemp("csv") / "runs.csv"
    table = pd.DataFrame({"x": values, "fid": values, "label": ["a"] * len(values)})
    table.to_csv(path, index=False, sep=separator, decimal=decimal, float_format="%.10f")
    np.testing.assert_allclose(read_csv(path).fid.astype(float), [float(f"{v:.10f}") for v in values], rtol=1e-12)


@pytest.mark.parametrize("header", ["# params,fid", "#params,fid", "# made by hand, in June\n# params,fid"])
def test_a_commented_header_as_numpy_writes_it_is_a_header(tmp_path, header):
    (tmp_path / "mine.csv").write_text(f"{header}\n1e8,9.5\n1e9,6.5\n")
    assert measurements.read(tmp_path / "mine.csv").to_dict("list") == {"params": [10**8, 10**9], "fid": [9.5, 6.5]}


def test_a_comment_with_a_comma_above_a_header_is_a_comment(tmp_path):
    (tmp_path / "mine.csv").write_text("# made by hand, in June\nparams,fid\n1e8,9.5\n1e9,6.5\n")
    assert measurements.read(tmp_path / "mine.csv").fid.tolist() == [9.5, 6.5]
