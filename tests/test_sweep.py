"""Sweeps on a small random family: planned, measured, killed, resumed, damaged, refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch")

from collect import sweep
from collect.measure import Cell
from scalinglaws import schema
from scalinglaws.schema import InputError

SWEEP = "family: {family}\nsizes: [8, 12]\nsamplers: [ddim]\nsteps: [1, 2]\nsamples: 80\nbatch: 40\n"
TIMING = ["seconds_per_image", "seconds_decode", "peak_memory_bytes"]


@pytest.fixture
def file(small_bundle, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP.format(family=small_bundle))
    return path


def settled(store):
    """The finished table without what the clock and the memory say."""
    return store.table().drop(columns=TIMING).sort_values(["base_channels", "steps"]).reset_index(drop=True)


def test_every_cell_is_measured_once_and_obeys_the_schema(file, tmp_path):
    opened = sweep.open_sweep(file, tmp_path / "store")
    prices = sweep.plan(opened)
    assert len(prices) == 4 and all(p.seconds > 0 for p in prices)
    card = opened.bundle.card(12)
    assert prices[-1].flops == 80 * (2 * card.flops_per_forward + opened.bundle.decode_flops)
    assert len(list(sweep.run(opened))) == 4
    assert list(sweep.run(opened)) == [] and sweep.plan(opened) == []
    table = opened.store.table()
    assert schema.check(table) == []
    assert set(table.columns) <= set(schema.COLUMNS)
    assert (table.flops_per_image == table.nfe * table.flops_per_forward).all()
    assert (table.nfe == table.steps).all()
    assert sweep.status(opened) == {"cells": 4, "done": 4, "missing": 0, "damaged": 0}


def test_stopped_anywhere_it_goes_on(file, tmp_path):
    straight = sweep.open_sweep(file, tmp_path / "a")
    list(sweep.run(straight))
    stopped = sweep.open_sweep(file, tmp_path / "b")
    next(sweep.run(stopped))
    assert sweep.status(stopped)["done"] == 1
    list(sweep.run(stopped))
    pd.testing.assert_frame_equal(settled(straight.store), settled(stopped.store))


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_sweep(file, tmp_path):
    file.write_text(file.read_text().replace("steps: [1, 2]", "steps: [1, 2, 3, 4, 5, 6]"))
    straight, killed = (sweep.open_sweep(file, tmp_path / name) for name in "ab")
    list(sweep.run(straight))
    code = f"from collect import sweep\nlist(sweep.run(sweep.open_sweep({str(file)!r}, {str(tmp_path / 'b')!r})))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent.parent)
    while len(list(killed.store.cells.glob("*.parquet"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < sweep.status(killed)["done"] < 12
    list(sweep.run(killed))
    pd.testing.assert_frame_equal(settled(straight.store), settled(killed.store))


def test_a_damaged_cell_is_set_aside_and_measured_again(file, tmp_path):
    opened = sweep.open_sweep(file, tmp_path / "store")
    list(sweep.run(opened))
    before = settled(opened.store)
    victim = sorted(opened.store.cells.glob("*.parquet"))[1]
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{victim.name} is damaged .* delete it and run the sweep again"):
        opened.store.table()
    assert len(list(sweep.run(opened))) == 1
    assert sweep.status(opened)["damaged"] == 1
    pd.testing.assert_frame_equal(before, settled(opened.store))


def test_other_weights_are_another_cell(small_bundle, tmp_path):
    import shutil

    from collect import families, weights
    from collect.bundle import Bundle
    from collect.measure import key

    copy = tmp_path / "bundle"
    shutil.copytree(small_bundle, copy)
    cell = Cell(8, "ddim", 1, 1.0, 80)
    assert key(cell, Bundle(copy)) == key(cell, Bundle(small_bundle))
    weights.save(families.tiny(8).state_dict(), copy / "c8.safetensors", half=True)
    assert key(cell, Bundle(copy)) != key(cell, Bundle(small_bundle))


def test_truncated_and_foreign_weights_are_refused(small_bundle, tmp_path):
    import shutil

    from collect.bundle import Bundle

    copy = tmp_path / "bundle"
    shutil.copytree(small_bundle, copy)
    shutil.copy(copy / "c12.safetensors", copy / "c8.safetensors")
    with pytest.raises(InputError, match=r"c8.safetensors does not fit this model"):
        Bundle(copy).denoiser(8)
    os.truncate(copy / "c8.safetensors", 1000)
    with pytest.raises(InputError, match=r"c8.safetensors is damaged"):
        Bundle(copy).denoiser(8)


BAD = [
    ("steps: [1, 2]", "steps: [0]", "'steps.0' was 0: Input should be greater than 0"),
    ("steps: [1, 2]", "steps: [2000]", "'steps.0' was 2000"),
    ("samplers: [ddim]", "samplers: [eulr]", "No sampler named 'eulr'. Known samplers: ddim"),
    ("samples: 80", "samples: 10", "'samples' was 10: Input should be greater than 64"),
    ("sizes: [8, 12]", "sizes: [9]", "Family 'small' has no size 9. Its base widths are 8, 12"),
    ("batch: 40", "bacth: 40", "'bacth' was 40: Extra inputs are not permitted"),
    ("batch: 40", "batch: [", "is not readable YAML"),
    ("family: ", "family: nowhere/", "No file"),
]


@pytest.mark.parametrize("old, new, sentence", BAD, ids=[new for _, new, _ in BAD])
def test_bad_sweep_files_get_one_sentence(file, old, new, sentence):
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        sweep.open_sweep(file)
    assert sentence in str(caught.value)


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="No CUDA device is here"):
        sweep.pick_device("cuda")
    assert sweep.pick_device() == "cpu"


def test_export_joins_stores_and_tables_and_drops_repeats(file, tmp_path):
    from collect.store import export

    opened = sweep.open_sweep(file, tmp_path / "store")
    next(sweep.run(opened))
    first = export([tmp_path / "store"], tmp_path / "first.csv")
    list(sweep.run(opened))
    both = export([tmp_path / "first.csv", tmp_path / "store"], tmp_path / "all.parquet")
    assert len(first) == 1 and len(both) == 4
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "all.parquet"), both)
    with pytest.raises(InputError, match=r"'x.txt' is neither .csv nor .parquet"):
        export([tmp_path / "store"], "x.txt")
    with pytest.raises(InputError, match="holds no finished cell"):
        export([tmp_path], tmp_path / "none.csv")
