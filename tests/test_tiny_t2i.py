"""The measurements of the text-to-image family as shipped, and its recipe."""

from pathlib import Path

import pytest

import scalinglaws as sl
from scalinglaws import schema

ROOT = Path(__file__).parent.parent
ROWS = sl.read(ROOT / "data/measurements/tiny-t2i-2000.csv")


def test_rows_obey_the_schema_and_say_what_they_are():
    assert schema.check(ROWS) == []
    assert ROWS.flops_per_forward.max() / ROWS.flops_per_forward.min() > 50
    assert (ROWS.flops_per_image == ROWS.nfe * ROWS.flops_per_forward).all()
    assert set(ROWS.train_steps) == {2000} and set(ROWS.train_images) == {128_000}
    assert len(ROWS.groupby(["model", "steps", "guidance"])) == len(ROWS) == 84


def test_every_doubling_of_the_width_lowers_the_distance_on_imagenets_features():
    for steps in (16, 50):
        rows = ROWS[(ROWS.steps == steps) & (ROWS.guidance == 1)].set_index("base_channels")
        for c in (8, 12, 16, 24, 32):
            error = (rows.fd_effnet_lite0_se[c] ** 2 + rows.fd_effnet_lite0_se[2 * c] ** 2) ** 0.5
            assert rows.fd_effnet_lite0[c] - rows.fd_effnet_lite0[2 * c] > 2 * error


def test_the_recipe_is_the_one_that_was_run():
    pytest.importorskip("torch")
    from collect.config import SweepFile, TextFamilyFile, read_config

    file = read_config(ROOT / "data/models/tiny-t2i/family.yaml", TextFamilyFile)
    sweep = read_config(ROOT / "data/sweeps/tiny-t2i.yaml", SweepFile)
    assert set(ROWS.model) == set(file.labels[:7]) == set(sweep.models)
    assert len(file.labels) == 15 and {len(seeds) for seeds in file.seeds.values()} == {2}
