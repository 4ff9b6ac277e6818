"""The file of a finished cell: any flipped bit and any cut is found; a store is read from a disk and by fsspec."""

import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from scalinglaws import cells
from scalinglaws.cells import DamagedCell, DamagedCellWarning, decode, encode, read_store
from scalinglaws.schema import InputError

ROW = {"model": "c8", "steps": 4, "fd": 12.5, "unknown": None, "params": np.int64(45756), "kd": np.float32(0.5)}


def test_a_row_comes_back_and_any_parquet_reader_agrees(tmp_path):
    (tmp_path / "a.parquet").write_bytes(encode(ROW))
    assert decode(encode(ROW)) == ROW
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [ROW]


def test_every_flipped_bit_and_every_cut_is_found():
    data = encode(ROW)
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        for read in (decode, cells.read_table):  # a mark that is damaged makes no file of another tool of it
            with pytest.raises(DamagedCell):
                read(flipped)
        with pytest.raises(DamagedCell):
            decode(data[:at])
    with pytest.raises(DamagedCell):
        decode(data + b"x")


@pytest.fixture(params=["disk", "fsspec"])
def store(request, tmp_path):
    """(its address, write(name, data))."""
    if request.param == "disk":
        (tmp_path / "cells").mkdir()
        return tmp_path, lambda name, data: (tmp_path / "cells" / name).write_bytes(data)
    memory = pytest.importorskip("fsspec").filesystem("memory")
    url = f"memory://cells{tmp_path}"
    return url, lambda name, data: memory.pipe_file(f"{url}/cells/{name}", data)


def test_a_store_is_one_table_in_the_order_of_its_files(store):
    url, write = store
    write("b.parquet", encode({"fd": 2.5, "kd": 1.0}))
    write("a.parquet", encode({"fd": 1, "note": None}))
    write("c.parquet", encode({"fd": None, "note": "x"}))
    write("d.damaged", b"not read")
    table = read_store(url)
    assert table.fd.tolist()[:2] == [1.0, 2.5] and np.isnan(table.fd[2]) and table.note[2] == "x"
    assert list(table.columns) == ["fd", "note", "kd"]
    pd.testing.assert_frame_equal(read_store(f"{url}/cells"), table)


def test_one_column_as_text_and_as_a_number(store):
    url, write = store
    write("a.parquet", encode({"guidance_interval": "0.1-5"}))
    write("b.parquet", encode({"guidance_interval": 3.0}))
    assert read_store(url).guidance_interval.tolist() == ["0.1-5", 3.0]


def cut(data):
    return data[:-20]


def flip(data):
    """One bit of the number 99 another one: any parquet reader reads 99.00000000000003 or so."""
    at = data.index(struct.pack("<d", 99.0))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("harm", [cut, flip, lambda data: b""])
def test_a_damaged_cell_is_never_read(store, harm):
    url, write = store
    write("a.parquet", encode(ROW))
    write("b.parquet", harm(encode(ROW | {"fd": 99.0})))
    with pytest.raises(InputError, match=r"b.parquet' is damaged .* delete it and run the sweep again"):
        read_store(url)
    with pytest.warns(DamagedCellWarning, match=r"1 cell\(s\) left out: .*b.parquet' is damaged"):
        table = read_store(url, skip_damaged=True)
    assert table.fd.tolist() == [12.5]


def test_the_flipped_bit_of_this_test_is_one_that_pyarrow_does_not_see(tmp_path):
    (tmp_path / "a.parquet").write_bytes(flip(encode(ROW | {"fd": 99.0})))
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert row["fd"] != 99.0 and row["fd"] == pytest.approx(99.0)


def test_files_of_other_tools_have_no_checksum_and_are_read(tmp_path):
    pd.DataFrame([ROW]).to_parquet(tmp_path / "a.parquet")
    assert read_store(tmp_path).fd.tolist() == [12.5]
    with pytest.raises(InputError, match=r"holds no cells/\*.parquet: run the sweep first"):
        read_store(tmp_path / "nowhere")


def test_an_unknown_address_says_what_to_do():
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match=r"nowhere://x cannot be opened: .*Give a folder, or install"):
        read_store("nowhere://x")


def test_a_row_that_no_file_can_hold_is_refused():
    with pytest.raises(InputError, match=r"cannot be kept: .* Rows hold numbers, text and None"):
        encode({"fd": object()})


def test_reading_cells_needs_no_torch():
    code = "import sys, scalinglaws.cells; print([m for m in ('torch', 'matplotlib', 'collect') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
