"""Tables with one column per step count or size, and headers of two rows, as spreadsheets have them."""

import re

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
    spaced = [["Model", "FID", "", "", ""], ["", "4", "8", "", "16"], ["c8", "9", "8", "", "7"]]
    assert _header(spaced)[0] == ["Model", "FID 4", "FID 8", "", "FID 16"]
    for plain in (
        [["", "steps", "fid"], ["c8", "4", "9"], ["c12", "4", "8"]],
        [["model", "fid", ""], ["c8", "9", "a note"], ["c12", "8", ""]],
        [["model", "fid"], ["c8", "9"], ["", "8"]],
        [["", "steps", ""], ["0", "4", "9"], ["1", "4", "8"]],
        [["model", "params", "steps", "fid", ""], ["", "39e6", "4", "9", "warm-up"], ["S", "39e6", "8", "8", ""]],
        [["", "params", "fid", ""], ["S", "1e6", "9", "best"], ["B", "2e6", "8", ""]],
        [["", "fid", ""], ["S", "9", "best"], ["B", "8", ""]],
        [["model", "fid", "fid"], ["S", "9", "8"], ["B", "8", "7"]],
        [["", "fid", "fid"], ["S", "9", "8"], ["B", "", ""], ["L", "8", "7"]],
        [["model", "", ""], ["S", "9", "8"], ["B", "8", "7"]],
    ):
        assert _header(plain) == (plain[0], plain[1:], [])


def test_titles_above_a_header_of_numbers_go(tmp_path):
    lines = ["Table 1,,,", "FID by steps,,,", "Model,4,8,16", "S,9,8,7", "B,8,7,6"]
    for titles, said in ((lines[:2], "rows, 'Table 1' and 'FID by steps', are taken for titles"),
                         (lines[:1], "row, 'Table 1', is taken for a title")):  # fmt: skip
        table = measurements.read(written(tmp_path / "mine.csv", [*titles, *lines[2:]]))
        assert [*table.columns] == ["Model", "4", "8", "16"] and len(table) == 2
        assert measurements.notes(table) == (f"The first {said}.",)


@pytest.mark.parametrize("index", [None, "Model"])
def test_a_header_of_two_rows_as_pandas_writes_it_is_read(tmp_path, index):
    columns = pd.MultiIndex.from_product([["FID", "CLIP"], ["4 steps", "8 steps"]])
    frame = pd.DataFrame([[9.0, 8, 0.1, 0.2], [7.0, 6, 0.3, 0.4]], pd.Index(["39M", "145M"], name=index), columns)
    frame.to_csv(tmp_path / "mine.csv")
    table = measurements.read(tmp_path / "mine.csv")
    assert table[[index or "column 1", "steps", "fid", "clip"]].values.tolist() == [
        ["39M", 4, 9, 0.1], ["39M", 8, 8, 0.2], ["145M", 4, 7, 0.3], ["145M", 8, 6, 0.4]]  # fmt: skip
    assert ", , " not in measurements.notes(table)[0] and "are , " not in measurements.notes(table)[0]


def test_what_pandas_pivots_is_read_as_it_was(tmp_path):
    grid = pd.DataFrame([{"model": k, "steps": s, "fid": fid(n, s)} for k, n in SIZES.items() for s in STEPS])
    grid.pivot(index="model", columns="steps", values=["fid"]).to_csv(tmp_path / "mine.csv")
    table = measurements.read(tmp_path / "mine.csv").merge(grid, on=["model", "steps"])
    assert len(table) == 20 and np.allclose(table.fid_x, table.fid_y)


def made(message, table):
    """The rows that the sentence's own line of Python makes of a table."""
    line = message[message.index("sl.read(") : message.index(".to_csv(")].replace("sl.read(FILE)", "table")
    return eval(line.replace("...", "'DiT-XL/2': '675M'"), {"table": table, "sl": sl})


def test_steps_that_are_not_called_so_are_asked_about_with_what_to_do():
    table = by_steps("FID@{}")
    with pytest.raises(
        InputError, match=r"If they are sampling steps, call them 'fid \(4 steps\)' .* make rows of them"
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


@pytest.mark.parametrize("name", ["fid step {}", "FID ({} steps)"])
def test_steps_that_may_be_of_training_are_asked_about(name):
    steps = (250, 1000, 2000)
    table = pd.DataFrame([{"params": n} | {name.format(s): fid(n, s) for s in steps} for n in SIZES.values()])
    with pytest.raises(InputError, match=r"they may be steps of training. If they are .* make rows of them") as caught:
        infer.question(table)
    rows = made(str(caught.value), table)
    assert np.allclose(rows.fid, fid(rows.params, rows.train_steps)) and sorted(set(rows.train_steps)) == [*steps]
    with pytest.raises(InputError, match=r"If they are sampling steps, call them 'fid \(4 steps\)'"):
        infer.question(by_steps("fid_step_{}"))


def test_a_count_beside_a_size_is_no_size():
    runs = pd.DataFrame({"model": list("SSBB"), "steps": [4, 8] * 2, "FID 1M": [9.0, 8, 7, 6], "FID 2M": 5.0})
    bits = pd.DataFrame({"params": [1e8, 2e8], "steps": 4, "FID 8b": [9.0, 8], "FID 4b": [12.0, 11]})
    for table, said in ((runs, "1M may count .* beside model"), (bits, "8B may count .* beside params")):
        assert wide.as_rows(table) is table
        with pytest.raises(InputError, match=f"{said}.* make rows of them"):
            infer.question(table)


def test_no_steps_are_no_value():
    assert wide.split("FID (0 steps)") is None
    assert infer.question(by_steps("FID ({} steps)").assign(**{"FID (0 steps)": 300.0})).table.steps.notna().all()


def test_columns_that_a_user_names_stay(tmp_path):
    table, path = by_steps("FID ({} steps)"), tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    for source in (table, path):
        one = infer.question(source, quality="FID (4 steps)")
        assert one.inputs == {"N": "params"} and np.allclose(one.table["FID (4 steps)"], fid(one.table.params, 4))
        assert np.allclose(infer.question(source, read_as={"FID (4 steps)": "fid"}).table.fid, fid(one.table.params, 4))
        some = infer.question(source, read_as={"FID (8 steps)": "none"}).table
        assert sorted(set(some.steps)) == [4, 16, 32, 64] and np.allclose(some.fid, fid(some.params, some.steps))
        assert len(measurements.read(source, quality="FID (4 steps)")) == 4


def test_errors_of_a_quality_become_rows_and_costs_are_named():
    more = {f"FID se ({s} steps)": s / 100 for s in STEPS} | {f"gpu ms ({s} steps)": float(s) for s in STEPS}
    question = infer.question(by_steps("FID ({} steps)").assign(**more))
    assert np.allclose(question.table.fid_se, question.table.steps / 100)
    left = "gpu ms (4 steps), gpu ms (8 steps), gpu ms (16 steps) and 2 more"
    assert f"Left as they are: {left}. To use them, give each row its own value." in question.notes


def test_the_line_of_python_takes_the_value_and_no_other_number():
    table = by_steps("{} FD-DINOv2")
    with pytest.raises(InputError, match="If they are sampling steps") as caught:
        infer.question(table)
    rows = made(str(caught.value), table)
    assert np.allclose(rows.fd_dinov2, fid(rows.Params.map(SIZES), rows.steps))


@pytest.mark.parametrize(
    ("more", "why"),
    [({"FID (1M)": 1.0, "FID (2M)": 2.0}, "differ in params and in steps"), ({"steps": 4}, "the table has steps"),
     ({"4-step FID": 1.0}, "two of them are at one value")],
)  # fmt: skip
def test_why_clear_names_are_not_read_as_rows_is_said(more, why):
    with pytest.raises(InputError, match=f"{why}.*: rename or remove some of the columns"):
        infer.question(by_steps("FID ({} steps)").assign(**more))


def test_values_are_no_sizes_beside_names_of_sizes():
    table = pd.DataFrame({"steps": STEPS, "DiT-S": 9.0, "DiT-B": 8.0, "FID (4 steps)": 7.0})
    with pytest.raises(InputError, match="If DiT-S, DiT-B are one quality"):
        infer.question(table)


@pytest.mark.parametrize("name", ["{}", "FID @{} steps"])
@pytest.mark.parametrize("values", [("10000", "50000", "400000"), ("10k", "50k", "400k")])
def test_columns_of_training_lengths_get_a_line_that_makes_rows(name, values):
    columns = {name.format(v): [30.0 - k, 20.0 - k, 10.0 - k] for k, v in enumerate(values)}
    table = pd.DataFrame({"model": ["S", "B", "L"], "params": ["33M", "130M", "458M"]} | columns)
    with pytest.raises(InputError, match=r"Column .fid. is missing\. .* may be steps of training") as refused:
        infer.question(table, quality="fid")
    line = re.search(r"make rows of them: (sl.*)\.to_csv", str(refused.value))[1]
    rows = eval(line, {"FILE": table, "sl": sl})
    assert sorted(set(rows["train_steps"])) == [1e4, 5e4, 4e5] and len(rows) == 9
    assert rows.loc[(rows["model"] == "B") & (rows["train_steps"] == 5e4), "fid"].item() == 19.0


def test_the_line_makes_the_quality_that_was_asked_for_and_none_is_given_beside_a_known_one():
    table = pd.DataFrame({"params": [1e8, 3e8, 1e9], "10000": [3.0, 2.8, 2.6], "50000": [2.9, 2.6, 2.3]})
    with pytest.raises(InputError, match=r"Column 'loss' is missing\. .*value_name='loss'"):
        infer.question(table, quality="loss")
    with pytest.raises(InputError, match=r"Column 'fidd' is missing; the table has params, 10000, 50000, fid"):
        infer.question(table.assign(fid=[9.0, 8.0, 7.5]), quality="fidd")


def test_thousands_beside_a_quality_count_images():
    table = pd.DataFrame({"params": [33e6, 130e6, 458e6], "FID-10k": [30.0, 20.0, 10.0], "FID-50k": [29.0, 19.0, 9.0]})
    assert wide.hint(table) == "" and wide.as_rows(table) is table
