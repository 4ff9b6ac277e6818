"""The measured family of forecasters: the table is whole, belongs to its recipe, and says what the texts say."""

from pathlib import Path

import numpy as np
import pytest

import scalinglaws as sl
from scalinglaws import schema, studies
from scalinglaws.decide.paired import paired

ROOT = Path(__file__).parents[1]
ROWS = sl.read("tiny-series")
NAIVE = ("crps_persistence", "crps_year_ago", "crps_regression")


def test_every_cell_is_there_once():
    axes = ["interpolant", "base_channels", "train_seed", "sampler", "steps"]
    assert schema.check(ROWS) == [] and not ROWS.duplicated(axes).any()
    assert len(ROWS) == np.prod([ROWS[c].nunique() for c in axes])
    assert ROWS.flops_per_forward.max() / ROWS.flops_per_forward.min() > 200
    assert studies.describe("tiny-series").quality == ("crps",)


def test_the_recipe_is_the_one_that_was_run():
    pytest.importorskip("torch")
    from collect.config import SeriesFamilyFile, SweepFile, read_config
    from collect.families import SeriesFamily

    file = read_config(ROOT / "data/models/tiny-series/family.yaml", SeriesFamilyFile)
    sweep = read_config(ROOT / "data/sweeps/tiny-series.yaml", SweepFile)
    assert set(ROWS.model) == set(file.labels) and set(ROWS.sampler) == set(sweep.samplers)
    assert set(ROWS.steps) == set(sweep.steps) and set(ROWS.n_samples_for_metric) == {sweep.samples}
    assert set(ROWS.train_images) == {file.recipe.batch * file.steps}
    family = SeriesFamily(ROOT / "data/models/tiny-series")
    assert {c: ROWS[c].unique().item() for c in NAIVE} == pytest.approx(family.naive)
    assert [round(family.naive[c], 4) for c in NAIVE] == [0.7849, 0.4245, 0.3195]
    sizes = ROWS.drop_duplicates("base_channels").set_index("base_channels").flops_per_forward
    assert all(family.cost_profile(f"w{w}-flow-s0").columns(1)["flops_per_forward"] == f for w, f in sizes.items())
