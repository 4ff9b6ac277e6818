"""Reading: every kind of source gives the same table; every fault is one sentence."""

import numpy as np
import pandas as pd
import pytest
from synthetic import family, law

from scalinglaws import cells, measurements
from scalinglaws.schema import InputError


@pytest.fixture
def table():
    return family(noise=0.02, seeds=(0, 1))


def store_of(table, folder):
    (folder / "cells").mkdir(parents=True)
    for i in range(len(table)):
        table.iloc[[i]].to_parquet(folder / "cells" / f"{i:03d}.parquet")
    return folder


def test_every_kind_of_source_gives_the_same_table(table, tmp_path):
    table.to_csv(tmp_path / "runs.csv", index=False)
    table.to_parquet(tmp_path / "runs.parquet")
    files = [tmp_path / "runs.csv", str(tmp_path / "runs.parquet"), store_of(table, tmp_path / "store")]
    sources = [table, *files, [table[:10], table[10:]]]
    prints = {measurements.fingerprint(measurements.read(s)) for s in sources}
    assert len(prints) == 1


def test_exact_duplicates_are_merged(table):
    assert len(measurements.read([table, table])) == len(table)


def test_fingerprint_is_blind_to_order_and_sees_values(table):
    shuffled = table.sample(frac=1, random_state=0)[list(reversed(table.columns))]
    assert measurements.fingerprint(shuffled) == measurements.fingerprint(table)
    assert measurements.fingerprint(table.assign(fd=table.fd * 1.001)) != measurements.fingerprint(table)


def test_repeats_give_mean_and_standard_error(table):
    once = measurements.repeats(table, "fd")
    first = table[(table.model == "c8") & (table.steps == 2)].fd
    assert len(once) == len(table) // 2 and set(once.repeats) == {2}
    assert once.fd[0] == pytest.approx(first.mean())
    assert once.fd_se[0] == pytest.approx(first.std(ddof=1) / np.sqrt(2))


def test_a_single_run_keeps_its_own_error():
    once = measurements.repeats(family(noise=0.02), "fd")
    assert once.fd_se[0] == pytest.approx(0.02 * once.fd[0])


def test_rows_that_disagree_are_named(table):
    twice = pd.concat([table[:3], table[:1].assign(fd=99.0)], ignore_index=True)
    with pytest.raises(InputError, match=r"Rows 1 and 4 have the same settings but fd .* and 99; keep one"):
        measurements.read(twice)


def test_a_quality_of_ones_own_is_watched_too():
    frame = pd.DataFrame({"params": [1, 1], "mine": [2.0, 3.0]})
    with pytest.raises(InputError, match="same settings but mine 2 and 3"):
        measurements.read(frame, quality="mine")


def test_a_second_measure_of_time_is_no_disagreement(table):
    again = table[:1].assign(seconds_per_image=1.0)
    assert len(measurements.read([table, again])) == len(table) + 1


def test_where_compares_numbers_as_numbers(table):
    assert set(measurements.where(table, steps="4", sampler="ddim").steps) == {4}
    with pytest.raises(InputError, match="No row has sampler = heun; the table has ddim"):
        measurements.where(table, sampler="heun")
    with pytest.raises(InputError, match="No column 'sampel' to filter on"):
        measurements.where(table, sampel="ddim")


def test_two_families_are_never_pooled(table):
    both = pd.concat([table, table.assign(family="other")])
    with pytest.raises(InputError, match=r"has 2 families; a law is fitted within one: .* They are 'syn', 'other'"):
        measurements.one_family(both)


def test_numbers_written_as_text_are_numbers():
    assert measurements.read(pd.DataFrame({"fd": ["1.5", "2"]})).fd.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    "content",
    [b"fd,steps\n1.5,2\n2.5,3\n", b"fd;steps\n1,5;2\n2,5;3\n", b"fd;steps\n1.5;2\n2.5;3\n",
     b"fd\tsteps\n1.5\t2\n2.5\t3\n", b"\xef\xbb\xbffd, steps\n1.5,2\n2.5,3\n"],
)  # fmt: skip
def test_csvs_of_other_customs_are_read(tmp_path, content):
    (tmp_path / "runs.csv").write_bytes(content)
    table = measurements.read(tmp_path / "runs.csv", needs=["steps"])
    assert table.fd.tolist() == [1.5, 2.5] and table.steps.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.csv", None, "No file .*none.csv'; give a csv, a parquet or the folder of a collect store"),
        ("empty.csv", b"", "empty.csv' is empty; give a table"),
        ("head.csv", b"fd,steps\n", "head.csv holds no rows"),
        ("runs.xlsx", b"x", "ends in '.xlsx'; allowed are .csv, .parquet or a store"),
        ("runs.parquet", b"PAR1 cut", "runs.parquet' is damaged"),
        ("text.csv", b"fd,steps\n1,2\ngood,3\n", "text.csv: Column 'fd': row 2 holds the text 'good'"),
        ("two.csv", b"fd,steps\n-1,0\n", r"allowed is a number above 0\. \(1 more of the kind"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        measurements.read(tmp_path / name)


def test_a_folder_without_cells_and_a_damaged_cell_are_named(table, tmp_path):
    with pytest.raises(InputError, match=r"holds no cells/\*\.parquet: run the sweep first"):
        measurements.read(tmp_path)
    store = store_of(table[:3], tmp_path / "store")
    cell = store / "cells" / "001.parquet"
    cell.write_bytes(cell.read_bytes()[:200])
    with pytest.raises(InputError, match=r"001.parquet' is damaged .* delete it and run the sweep again"):
        measurements.read(store)


def test_a_cell_whose_bytes_changed_is_never_read(table, tmp_path):
    """A flipped bit that parquet does not notice: the one reader of a store checks the checksum."""
    (tmp_path / "cells").mkdir()
    for i, row in enumerate(table[:3].to_dict("records")):
        (tmp_path / "cells" / f"{i}.parquet").write_bytes(cells.encode(row))
    assert measurements.read(tmp_path).fd.tolist() == table.fd[:3].tolist()
    path = tmp_path / "cells" / "1.parquet"
    data = bytearray(path.read_bytes())
    at = data.find(np.float64(table.fd[1]).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert pd.read_parquet(path).fd[0] != table.fd[1]
    with pytest.raises(InputError, match=r"1.parquet' is damaged .*checksum differs"):
        measurements.read(tmp_path)


def test_a_store_at_an_address_is_read_like_a_folder(table):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/run/cells/a.parquet", cells.encode(table.iloc[0].to_dict()))
    assert measurements.read("memory://run").fd.tolist() == [table.fd[0]]


def test_rows_without_a_needed_value_are_left_out_and_said_or_refused(table):
    gaps = table.astype({"fd": object})
    gaps.loc[[2, 5, 9, 11], "fd"] = [None, np.nan, "n/a", "-"]
    read = measurements.read(gaps, quality="fd")
    assert len(read) == len(table) - 4
    assert measurements.notes(read) == ("Rows 3, 6, 10 and 1 more have no fd: left out.",)
    with pytest.raises(InputError, match=r"row 3 holds nothing \(NaN\)"):
        measurements.read(gaps, quality="fd", strict=True)
    with pytest.raises(InputError, match="Column 'fd' is empty"):
        measurements.read(table.assign(fd=np.nan), quality="fd")


def test_columns_of_older_files_are_read_under_their_new_names():
    table = measurements.read(pd.DataFrame({"fd_even": [2.0], "fd_odd": [3.0]}))
    assert list(table.columns) == ["fd_half1", "fd_half2"]


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(InputError, match="two columns named 'fd'"):
        measurements.read(pd.DataFrame([[1.0, 2.0]], columns=["fd", " fd"]))


def test_a_missing_column_and_a_strange_source():
    with pytest.raises(InputError, match=r"^Column 'nfe' is missing; the table has"):
        measurements.read(family().drop(columns="nfe"), needs=["nfe"])
    with pytest.raises(InputError, match="Cannot read a int"):
        measurements.read(3)


def test_the_synthetic_law_is_what_it_says():
    frame = family()
    assert np.allclose(frame.fd, law(frame.flops_per_forward, frame.steps))
