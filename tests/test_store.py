"""The store on a disk, in an fsspec filesystem and in memory: first write wins, damage is found, 100,000 cells."""

import errno
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

pytest.importorskip("safetensors")

from collect.jobs import Job
from collect.store import files, partials
from collect.store.store import Store, identity, missing, status, verify
from collect.store.tables import export, read_parquet
from scalinglaws.cells import decode, encode
from scalinglaws.schema import InputError

ROW = {"model": "c8", "steps": 4, "fd": 12.5, "unknown": None, "params": np.int64(45756), "kd": np.float32(0.5)}


def local(tmp_path):
    return Store(tmp_path / "store")


def remote(tmp_path):
    pytest.importorskip("fsspec")
    return Store(f"memory://{tmp_path.name}/{random.random()}")


def memory(tmp_path):
    return Store(files.Memory())


@pytest.fixture(params=[local, remote, memory], ids=["disk", "fsspec", "memory"])
def store(request, tmp_path):
    return request.param(tmp_path)


def overwrite(store, name, data):
    store.files.replace(name, data)


def test_a_row_comes_back_and_any_parquet_reader_agrees(store, tmp_path):
    assert store.write("a", "k", ROW) is True
    pd.testing.assert_frame_equal(
        store.table(), pd.DataFrame([ROW | {"kd": 0.5, "unknown": np.nan}]), check_dtype=False
    )
    (tmp_path / "copy.parquet").write_bytes(store.files.read("cells/a-k.parquet"))
    other = pq.read_table(tmp_path / "copy.parquet").to_pylist()
    assert other == [store.read("a-k")]
    assert read_parquet(tmp_path / "copy.parquet").equals(store.table())


def test_the_first_write_wins(store):
    assert store.write("a", "k", ROW) is True
    assert store.write("a", "k", ROW | {"fd": 99.0}) is False
    assert store.table().fd.tolist() == [12.5]
    assert store.stems() == {"a-k"} and store.has("a", "k") and not store.has("b", "k")


def test_of_many_writers_at_once_exactly_one_is_first(tmp_path):
    store = local(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        for round in range(20):
            first = list(pool.map(lambda i, r=round: store.write(f"c{r}", "k", ROW | {"steps": i + 1}), range(16)))
            assert sum(first) == 1
            assert store.read(f"c{round}-k")["steps"] == first.index(True) + 1
    assert store.files.names("tmp") == set()


@pytest.mark.parametrize("harm", [lambda d: d[:100], lambda d: b"", lambda d: d[:50] + b"\0" + d[51:]])
def test_damaged_cells_are_quarantined_and_never_read(store, harm):
    for name in "abc":
        store.write(name, "k", ROW)
    overwrite(store, "cells/b-k.parquet", harm(store.files.read("cells/b-k.parquet")))
    with pytest.raises(InputError, match=r"b-k.parquet is damaged .*: delete it and run the sweep again"):
        store.table()
    assert verify(store) == ["cells/b-k.damaged"] and verify(store) == []
    assert len(store.table()) == 2 and not store.has("b", "k")
    assert store.write("b", "k", ROW) is True and len(store.table()) == 3


def test_has_quarantines_a_damaged_cell(store):
    store.write("a", "k", ROW)
    overwrite(store, "cells/a-k.parquet", b"PAR1")
    assert not store.has("a", "k") and store.files.names("cells") == {"a-k.damaged"}


def test_a_good_cell_that_came_while_a_damaged_one_was_read_is_put_back(tmp_path, monkeypatch):
    store = local(tmp_path)
    store.write("a", "k", ROW)
    good, once = store.files.read("cells/a-k.parquet"), iter([b"damaged"])
    read = files.Local.read
    monkeypatch.setattr(files.Local, "read", lambda self, name: next(once, None) or read(self, name))
    assert verify(store) == [] and store.files.read("cells/a-k.parquet") == good


def test_partial_sums_by_token_the_damaged_ones_dropped(store):
    place, sums = store.files, {"sum": np.arange(6.0).reshape(2, 3), "n": np.array([7])}
    partials.keep_partial(place, "a-k", 0, sums)
    partials.keep_partial(place, "a-k", 2, {"n": np.array([9])})
    partials.keep_partial(place, "a-k2", 5, {"n": np.array([1])})
    assert partials.tokens(place, "a-k") == [2, 0]
    assert partials.read_partial(place, "a-k", [2, 0])["n"] == 9
    name = "partial/a-k.2.safetensors"
    data = place.read(name)
    place.replace(name, data[:-1] + bytes([data[-1] ^ 1]))
    read = partials.read_partial(place, "a-k", [2, 0])
    assert read.keys() == sums.keys() and all(np.array_equal(read[k], sums[k]) for k in sums)
    assert partials.tokens(place, "a-k") == [0]
    partials.drop_partials(place, "a-k", 2)
    assert partials.tokens(place, "a-k") == [] and partials.tokens(place, "a-k2") == [5]


def test_outcomes_count_attempts_and_a_row_ends_them(store):
    store.fail("a-k", "nan", "NaN in image 3", "2026-01-01T00:00:00Z", "me")
    store.fail("a-k", "oom", "even one image", "2026-01-02T00:00:00Z", "you")
    outcome = {"status": "oom", "reason": "even one image", "when": "2026-01-02T00:00:00Z", "who": "you"}
    assert store.failures() == {"a-k": outcome | {"attempts": 2}}
    overwrite(store, "failed/a-k.json", store.files.read("failed/a-k.json").replace(b"oom", b"nan"))
    assert store.failure("a-k")["reason"] == "its record is damaged"
    store.write("a", "k", ROW)
    assert store.failures() == {}


def test_status_tells_counts_and_reasons(store):
    jobs = [job(name) for name in "abcd"]
    store.write("a", jobs[0].key, ROW)
    store.write("b", jobs[1].key, ROW)
    overwrite(store, f"cells/b-{jobs[1].key}.parquet", b"")
    store.fail(f"c-{jobs[2].key}", "nan", "all images are NaN", "2026-01-01T00:00:00Z", "me")
    verify(store)
    counts = status(store, jobs)
    assert {k: counts[k] for k in ("cells", "done", "missing", "damaged")} == {"cells": 4, "done": 1, "missing": 2,
                                                                            "damaged": 1}  # fmt: skip
    assert counts["failed"][0]["reason"] == "all images are NaN" and counts["leased"] == []
    assert [j.name for j in missing(store, jobs)] == ["b", "d"]
    assert [j.name for j in missing(store, jobs, retry=True)] == ["b", "c", "d"]


def job(name, flops=1.0):
    return Job(name, identity({"name": name}), flops, name)


def test_a_row_that_no_file_can_hold_is_refused():
    with pytest.raises(InputError, match=r"cannot be kept: .* Rows hold numbers, text and None"):
        encode({"fd": object()})


def test_rows_of_different_columns_and_types_are_one_table(store):
    store.write("a", "k", {"fd": 1, "note": None})
    store.write("b", "k", {"fd": 2.5, "kd": 1.0})
    store.write("c", "k", {"fd": None, "note": "x"})
    table = store.table()
    assert table.fd.tolist()[:2] == [1.0, 2.5] and np.isnan(table.fd[2]) and table.note.tolist()[2] == "x"
    assert list(table.columns) == ["fd", "note", "kd"]


def test_a_url_store_exports(tmp_path):
    store = remote(tmp_path)
    store.write("a", "k", ROW)
    assert len(export([store.folder], tmp_path / "out.csv")) == 1


def test_an_unknown_url_says_what_to_do():
    with pytest.raises(InputError, match=r"nowhere://x cannot be opened: .*Give a folder, or install the package"):
        Store("nowhere://x").files.names("cells")


def test_without_hard_links_the_first_write_still_wins(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = local(tmp_path)
    assert store.write("a", "k", ROW) is True and store.write("a", "k", ROW | {"fd": 9.0}) is False
    assert store.table().fd.tolist() == [12.5] and store.files.names("tmp") == set()


def test_litter_of_killed_writers_is_swept_after_an_hour(tmp_path):
    store = local(tmp_path)
    store.write("a", "k", ROW)
    for name, age in (("old", 2 * files.LEFT), ("new", 0)):
        path = tmp_path / "store" / "tmp" / name
        path.write_bytes(b"half a fi")
        os.utime(path, (time.time() - age,) * 2)
    store.files.sweep()
    assert store.files.names("tmp") == {"new"}


FULL = r"did not take .* \((No space left on device|File too large)\): make room there or choose another store"


def keep_cell(store):
    store.write("c", "k", ROW)


def keep_sums(store):
    partials.keep_partial(store.files, "b-k", 0, {"n": np.array([2])})


@pytest.mark.parametrize("call, keep", [("fsync", keep_cell), ("link", keep_cell), ("write", keep_cell),
                                        ("write", keep_sums), ("replace", keep_sums)])  # fmt: skip
def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch, call, keep):
    store = local(tmp_path)
    store.write("a", "k", ROW)
    partials.keep_partial(store.files, "b-k", 0, {"n": np.array([1])})
    before = {folder: store.files.names(folder) for folder in ("cells", "partial", "tmp")}
    if call == "write":
        monkeypatch.setattr(files, "open", _Full, raising=False)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match=FULL):
        keep(store)
    monkeypatch.undo()
    assert {folder: store.files.names(folder) for folder in before} == before
    assert partials.read_partial(store.files, "b-k", [0])["n"] == 1 and store.write("c", "k", ROW)


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Full:
    """A file on a disk with room for ten bytes."""

    def __init__(self, path, mode):
        self.file = path.open(mode)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[:10])
        full()


def test_a_real_limit_on_file_size_leaves_no_half_file(tmp_path):
    """RLIMIT_FSIZE in a process of its own: the kernel cuts the write in the middle."""
    code = f"""
import resource, signal, sys
sys.dont_write_bytecode = True  # the interpreter would keep modules imported below cut at the limit
from collect.store.store import Store
from tests.test_store import ROW
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
Store({str(tmp_path)!r}).write("a", "k", ROW)
"""
    root = Path(__file__).parent.parent
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
                           env=os.environ | {"PYTHONPATH": str(root)})  # fmt: skip
    assert "File too large" in ended.stderr and "InputError" in ended.stderr
    assert Store(tmp_path).stems() == set() and Store(tmp_path).files.names("tmp") == set()
    assert Store(tmp_path).write("a", "k", ROW)


WRITES = {  # folder: file, what writes more than 300 bytes of it
    "one": ("family.yaml", "pretrained.write_family({0!r}, {{}}, [{{'label': 'a' * 600}}])"),
    "all": ("family.yaml", "several.join(Path({0!r}), ['a', 'b'])"),
    "scenes": (
        "captions.csv",
        "pictures.write_images(np.zeros((2, 3, 1, 1), 'u1'), ['a' * 400, 'b'], Path({0!r}))",
    ),
}


def test_what_a_training_leaves_is_whole_or_what_was_there(tmp_path):
    """The same limit, on text that was half a file for whoever read it next."""
    code = """
import resource, signal, sys
sys.dont_write_bytecode = True
from pathlib import Path
import numpy as np
from collect.training import pictures, pretrained, several
from scalinglaws.schema import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
"""
    for folder, (name, write) in WRITES.items():
        for part in (".", "a", "b"):
            (tmp_path / folder / part).mkdir(parents=True, exist_ok=True)
        for part in "ab":
            text = f"task: {{}}\nmodels: [{{label: {part * 200}, path: p}}]\n"
            (tmp_path / folder / part / "family.yaml").write_text(text)
        (tmp_path / folder / name).write_text("as before")
        code += f"try:\n    {write.format(str(tmp_path / folder))}\nexcept InputError as error:\n    print(error)\n"
    root = Path(__file__).parent.parent
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
                           env=os.environ | {"PYTHONPATH": str(root)})  # fmt: skip
    assert ended.returncode == 0 and ended.stdout.count("File too large") == len(WRITES), ended.stdout + ended.stderr
    for folder, (name, _) in WRITES.items():
        assert (tmp_path / folder / name).read_text() == "as before" and not list((tmp_path / folder).glob(".*"))


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 256 KiB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_really_full_disk_then_room_again(tiny_disk):
    store = Store(tiny_disk / "store")
    with pytest.raises(InputError, match=FULL):
        for i in range(1000):
            store.write(f"c{i:03d}", "k", ROW)
    kept = len(store.stems())
    assert 10 < kept < 1000 and verify(store) == [] and len(store.table()) == kept
    assert store.files.names("tmp") == set()
    with pytest.raises(InputError, match=FULL):
        partials.keep_partial(store.files, "c", 0, {"sum": np.zeros(100_000)})
    store.files.remove("cells/c000-k.parquet")
    store.files.remove("cells/c001-k.parquet")
    assert store.write("c000", "k", ROW) and verify(store) == []


class Counted(files.Memory):
    """A place that counts what is requested of it."""

    def names(self, folder):
        self.writes.append(folder)
        return super().names(folder)

    def read(self, name):
        raise AssertionError("planning reads no file")

    has = stamps = read


def test_the_planner_knows_100_000_cells_by_two_listings():
    """Two listings and set look-ups, whatever the number; names as a disk would hold them."""
    place, jobs = Counted(), [Job(f"c{i}", f"k{i}", 1.0, i) for i in range(100_000)]
    place.folders["cells"] = dict.fromkeys((f"{j.name}-{j.key}.parquet" for j in jobs[::2]), (b"", 0))
    assert missing(Store(place), jobs) == jobs[1::2]
    assert place.writes[1:] == ["cells", "failed"]


@pytest.mark.slow
def test_100_000_files_on_a_disk_are_one_listing(tmp_path, monkeypatch):
    place, listed = files.Local(tmp_path), []
    place.create("cells/first-k.parquet", b"")
    for i in range(100_000):
        open(tmp_path / "cells" / f"c{i}-k.parquet", "xb").close()
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    assert len(place.names("cells")) == 100_001 and len(listed) == 1
    assert len(place.stamps("cells")) == 100_001


def test_a_row_of_the_whole_schema_is_a_small_file():
    """100,000 of them, of 75 columns each, are below 1.5 GB."""
    from scalinglaws.schema import COLUMNS

    data = encode({name: 1.0 if c.unit else "some text" for name, c in COLUMNS.items()})
    assert len(data) < 200 * len(COLUMNS) and set(decode(data)) == set(COLUMNS)
