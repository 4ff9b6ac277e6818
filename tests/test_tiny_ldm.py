"""The family as shipped: weights, measurements and recipe belong together, and the rows can be made again."""

from pathlib import Path

import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws import schema

ROOT = Path(__file__).parent.parent
MODELS, ROWS = ROOT / "data/models/tiny-ldm", sl.read("tiny-ldm")


def test_rows_obey_the_schema_and_span_30_times():
    assert schema.check(ROWS) == []
    assert ROWS.base_channels.nunique() >= 6
    assert ROWS.flops_per_forward.max() / ROWS.flops_per_forward.min() > 30
    assert (ROWS.flops_per_image == ROWS.nfe * ROWS.flops_per_forward).all()
    assert set(ROWS.sampler) == {"ddim", "dpm++2m", "ddpm"} and ROWS.guidance.nunique() > 1


def test_weights_are_small_and_are_those_that_were_measured():
    weights = pytest.importorskip("collect.weights")
    assert sum(path.stat().st_size for path in MODELS.iterdir()) <= 12e6
    for c, measured in ROWS.groupby("base_channels").weights:
        assert set(measured) == {weights.fingerprint(MODELS / f"c{c}.safetensors")}
    assert set(ROWS.reference) == {weights.fingerprint(MODELS / "reference.safetensors")}


@pytest.mark.slow
def test_a_shipped_row_is_measured_again():
    pytest.importorskip("torch")
    from collect.families.trained import TrainedFamily
    from collect.run.cell import Cell, ExecutionConfig, measure, prepare
    from collect.sampling.loop import SamplingConfig

    family = TrainedFamily(MODELS)
    again = measure(
        Cell("c8", SamplingConfig("ddim", 2), 2000),
        family,
        prepare(family.model("c8"), ExecutionConfig()),
        family.metrics(),
    )
    (row,) = ROWS.query("base_channels == 8 and sampler == 'ddim' and steps == 2 and guidance == 1").to_dict("records")
    for column in ("fd", "fd_se", "kd", "agreement"):
        assert again[column] == pytest.approx(row[column], rel=2e-3, abs=2e-3)
    for column in ("nfe", "params", "flops_per_forward", "flops_decode", "weights", "reference"):
        assert again[column] == row[column]


def test_training_rows_carry_compute():
    table = pd.read_csv(ROOT / "data/measurements/tiny-ldm-training.csv")
    assert schema.check(table) == []
    assert (table.train_flops == 3 * table.flops_per_forward * table.train_images).all()
    assert table.train_steps.max() == 64 * table.train_steps.min()
