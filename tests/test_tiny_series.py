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


def means(process, steps, sampler="euler"):
    """crps [width], mean over the trainings."""
    rows = ROWS[(ROWS.interpolant == process) & (ROWS.sampler == sampler) & (ROWS.steps == steps)]
    return rows.groupby("base_channels").crps.mean()


def test_forecasters_of_32_and_more_beat_the_regression_and_the_smallest_does_not():
    regression = ROWS.crps_regression.iloc[0]
    for process in ROWS.interpolant.unique():
        best = means(process, 64)
        assert best[4] > regression and (best[[32, 64, 128]] < 0.87 * regression).all()
        assert best.diff()[1:4].max() < 0 and best[128] == pytest.approx(best[64], rel=0.005)  # then it is level


def test_under_flow_more_steps_are_never_worse_under_linear_beta_they_are_at_small_sizes():
    flow = np.array([means("flow", steps) for steps in (1, 2, 4, 8, 16, 32, 64)])
    assert (np.diff(flow, axis=0) < 0).all()
    assert (means("linear-beta", 64)[[4, 8]] / means("linear-beta", 4)[[4, 8]] > 1.14).all()


def test_processes_differ_at_four_steps_and_at_small_sizes_not_at_many_steps_and_large_ones():
    large = ROWS[(ROWS.base_channels >= 32) & (ROWS.sampler == "euler")]
    few, many = (paired(large[large.steps == s], "interpolant", "linear-beta", "crps").rows for s in (4, 64))
    few, many = (rows.set_index("value").loc["flow"] for rows in (few, many))
    assert few.ratio == pytest.approx(0.949, abs=5e-4) and few.high < 0.96 and few.better == "yes"
    assert many.ratio == pytest.approx(1.001, abs=5e-4) and many.better == "undecided"
    found = paired("tiny-series", "interpolant", "linear-beta", "crps", where={"sampler": "euler", "steps": "64"})
    row = found.rows.set_index("value").loc["flow"]
    assert (row.ratio, row.low, row.high) == pytest.approx((0.984, 0.972, 0.997), abs=6e-4) and row.pairs == 18


@pytest.mark.slow
def test_under_flow_there_is_a_law_with_a_floor_and_the_last_value_predicts_better():
    kept = {"interpolant": "flow", "sampler": "euler"}
    asked = sl.question("tiny-series", quality="crps", where=kept, law="size_steps")
    fit = sl.fit(asked.table, asked.law, asked.quality, asked.inputs, replicates=50)
    assert fit.law.name == "size_steps_interaction" and fit.levels.share == pytest.approx(0.30, abs=0.02)
    assert fit.values["E"] == pytest.approx(0.270, abs=5e-4) and fit.values["a"] == pytest.approx(1.00, abs=0.01)
    for along in ("N", "S"):
        found = sl.compare(asked.table, quality="crps", inputs=asked.inputs, along=along, folds=1)
        assert found.best == "same as last"
