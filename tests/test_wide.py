"""Tables with one column per step count or size, and headers of two rows, as spreadsheets have them."""

import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws import infer, measurements, studies, wide
from scalinglaws.schema import InputError

SIZES = {"39M": 39e6, "145M": 145e6, "866M": 866e6, "1.5B": 1.5e9}
STEPS = (4, 8, 16, 32, 64)


def fid(n, s):
    return 8 + 2e4 * n**-0.45 + 90 * s**-1.1


def by_steps(name):
    rows = [{"Model": k, "Params": k} | {name.format(s): fid(n, s) for s in STEPS} for k, n in SIZES.items()]
    return pd.DataFrame(rows)


def written(path, lines):
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", ["FID ({} steps)", "fid_steps_{}", "{}-step FID", "FID-30k@{}steps", "NFE={} FID"])
def test_a_column_for_each_step_count_is_read_as_rows(tmp_path, name):
    by_steps(name).to_csv(tmp_path / "mine.csv", index=False)
    for source in (tmp_path / "mine.csv", by_steps(name)):
        question = infer.question(source)
        assert question.inputs == {"N": "params", "S": "nfe" if "NFE" in name else "steps"}
        rows = question.table
        assert len(rows) == 20 and np.allclose(rows.fid, fid(rows.params, rows[question.inputs["S"]]))
        assert any(note.startswith(f"Columns {name.format(4)}, ") and "fid by" in note for note in question.notes)


def test_a_column_for_each_size_is_read_as_rows():
    table = pd.DataFrame({"steps": STEPS} | {f"FID ({k})": fid(n, np.array(STEPS)) for k, n in SIZES.items()})
    rows = infer.question(table).table
    assert np.allclose(rows.fid, fid(rows.params, rows.steps)) and set(rows.model) == set(SIZES)


def test_two_qualities_share_their_rows(tmp_path):
    lines = ["Table 3: quality by steps,,,,,", "Model,Params,FID,,CLIP,", ",,4 steps,8 steps,4 steps,8 steps"]
    lines += [f"{k},{k},{fid(n, 4)},{fid(n, 8)},0.{i}1,0.{i}2" for i, (k, n) in enumerate(SIZES.items(), 1)]
    table = measurements.read(written(tmp_path / "mine.csv", lines))
    assert table[["Model", "steps", "clip"]].values.tolist()[:3] == [
        ["39M", 4, 0.11],
        ["39M", 8, 0.12],
        ["145M", 4, 0.21],
    ]
    assert np.allclose(table.fid, fid(table.Params.map(SIZES), table.steps))
    assert measurements.notes(table)[0] == "The first row, 'Table 3: quality by steps', is taken for a title."


def test_a_header_of_two_rows_is_one():
    from scalinglaws.csvfile import _header

    upright = [["Model", "FID", "", "CLIP", ""], ["", "4", "8", "4", "8"], ["c8", "9", "8", "0.2", "0.3"]]
    below = [["", "FID", "", "CLIP", ""], ["Model", "4", "8", "4", "8"], ["c8", "9", "8", "0.2", "0.3"]]
    for rows in (upright, below):
        assert _header(rows)[0] == ["Model", "FID 4", "FID 8", "CLIP 4", "CLIP 8"]
    for plain in (
        [["", "steps", "fid"], ["c8", "4", "9"], ["c12", "4", "8"]],
        [["model", "fid", ""], ["c8", "9", "a note"], ["c12", "8", ""]],
        [["model", "fid"], ["c8", "9"], ["", "8"]],
        [["", "steps", ""], ["0", "4", "9"], ["1", "4", "8"]],
    ):
        assert _header(plain)[0] == plain[0]


def made(message, table):
    """The rows that the sentence's own line of Python makes of a table."""
    line = message[message.index("sl.read(") : message.index(".to_csv(")].replace("sl.read(FILE)", "table")
    return eval(line.replace("...", "'DiT-XL/2': '675M'"), {"table": table, "sl": sl})


def test_steps_that_are_not_called_so_are_asked_about_with_what_to_do():
    table = by_steps("FID@{}")
    with pytest.raises(
        InputError, match=r"If they are steps, call them 'fid \(4 steps\)' .* make rows of them"
    ) as caught:
        infer.question(table)
    rows = infer.question(made(str(caught.value), table)).table
    assert np.allclose(rows.fid, fid(rows.params, rows.steps)) and len(rows) == 20


@pytest.mark.parametrize("name", ["{}", "{} steps"])
def test_values_alone_as_names_are_asked_about_too(name):
    table = by_steps(name)
    with pytest.raises(InputError, match="all them 'fid") as caught:
        infer.question(table)
    rows = infer.question(made(str(caught.value), table)).table
    assert np.allclose(rows.fid, fid(rows.params, rows.steps))


def test_sizes_by_name_are_asked_for_their_parameters():
    sizes = {"DiT-S/2": 33e6, "DiT-XL/2": 675e6}
    table = pd.DataFrame({"steps": STEPS} | {k: fid(n, np.array(STEPS)) for k, n in sizes.items()})
    with pytest.raises(InputError, match="If DiT-S/2, DiT-XL/2 are one quality of several sizes") as caught:
        infer.question(table)
    rows = infer.question(made(str(caught.value), table)).table
    assert np.allclose(rows.fid, fid(rows.params, rows.steps))
    counted = pd.DataFrame({"steps": STEPS} | {k: fid(n, np.array(STEPS)) for k, n in SIZES.items()})
    with pytest.raises(InputError, match=r"all them 'fid \(39M\)'") as caught:
        infer.question(counted)
    rows = infer.question(made(str(caught.value), counted)).table
    assert np.allclose(rows.fid, fid(rows.params, rows.steps))


def test_no_bundled_study_and_no_usual_column_is_taken_for_a_wide_one():
    for name in studies.names():
        assert not any(map(wide.split, studies.load(name).columns)), name
    for column in ("FID-50k", "fid10k", "DiT-XL/2", "top1", "fid_half1", "hpsv2", "FID 256x256", "fid_seed_1"):
        assert wide.split(column) is None
    two = pd.DataFrame({"params": [1e6, 2e6], "steps": [4, 8], "FID (4 steps)": [9.0, 8], "FID (8 steps)": [7.0, 6]})
    assert wide.as_rows(two) is two
