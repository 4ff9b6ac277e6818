"""The text-to-image family as shipped: weights, measurements and recipe belong together, and rows can be made again."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import scalinglaws as sl
from scalinglaws import schema

ROOT = Path(__file__).parent.parent
MODELS, ROWS, TRAINING = ROOT / "data/models/tiny-t2i", sl.read("tiny-t2i"), sl.read("tiny-t2i-training")
FIRST = ROWS[ROWS.train_seed == 0]


def test_rows_obey_the_schema_and_say_what_they_are():
    assert schema.check(ROWS) == [] and schema.check(TRAINING) == []
    assert ROWS.flops_per_forward.max() / ROWS.flops_per_forward.min() > 50
    assert (ROWS.flops_per_image == ROWS.nfe * ROWS.flops_per_forward).all()
    assert (ROWS.nfe == ROWS.steps * (1 + (ROWS.guidance != 1))).all()
    assert set(ROWS.train_steps) == {8000} and set(ROWS.train_images) == {512_000}
    assert set(ROWS.n_samples_for_metric) == set(TRAINING.n_samples_for_metric) == {1000}
    assert (TRAINING.train_flops == 3 * TRAINING.flops_per_forward * TRAINING.train_images).all()
    assert not ROWS.duplicated(["model", "sampler", "steps", "guidance"]).any()


def test_weights_are_small_and_are_those_that_were_measured():
    weights = pytest.importorskip("collect.weights")
    shipped = [path for path in MODELS.rglob("*.safetensors") if not path.name.startswith("reference")]
    assert sum(path.stat().st_size for path in shipped) <= 25e6
    for label, measured in ROWS.groupby("model").weights:
        if label.startswith(("c24-", "c32-")):
            continue  # further seeds, measured and not shipped
        assert set(measured) == {weights.fingerprint(MODELS / f"{label}.safetensors")}


@pytest.mark.slow
def test_a_shipped_row_is_measured_again():
    pytest.importorskip("torch")
    from collect.families import TextFamily
    from collect.families.text import METRICS
    from collect.run.cell import Cell, ExecutionConfig, measure, prepare
    from collect.sampling.loop import SamplingConfig

    family = TextFamily(MODELS)
    scores = family.metrics([spec for spec in METRICS if "effnet-lite0-96" not in spec.values()])
    cell, ready = Cell("c8", SamplingConfig("ddim", 2, 2.0), 1000), prepare(family.model("c8"), ExecutionConfig())
    again = measure(cell, family, ready, scores)
    (row,) = ROWS.query("model == 'c8' and sampler == 'ddim' and steps == 2 and guidance == 2").to_dict("records")
    for column in ("fd", "kd", "agreement", "clip"):
        assert again[column] == pytest.approx(row[column], rel=5e-3, abs=3e-3)
    for column in ("nfe", "params", "flops_per_forward", "flops_text", "flops_decode", "weights"):
        assert again[column] == row[column]


@pytest.mark.slow
def test_the_family_opens_without_a_word_of_the_libraries_below(tmp_path):
    pytest.importorskip("torch")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"family: {MODELS}\nmodels: [c8]\nsteps: [4]\nsamples: 5000\n")
    code = f"from scalinglaws.cli import main; main(['collect', 'plan', {str(sweep)!r}, '--untimed'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "1 of 1 cells missing" in done.stdout
    assert "transformers" not in done.stderr and "Loading" not in done.stderr


@pytest.mark.parametrize(("steps", "guidance"), [(8, 1), (16, 1), (8, 2), (16, 2), (50, 2), (32, 2)])
def test_every_doubling_of_the_width_lowers_the_distance_on_imagenets_features(steps, guidance):
    rows = FIRST.query(f"sampler == 'ddim' and steps == {steps} and guidance == {guidance}").set_index("base_channels")
    for c in (8, 12, 16, 24, 32):
        error = (rows.fd_effnet_lite0_se[c] ** 2 + rows.fd_effnet_lite0_se[2 * c] ** 2) ** 0.5
        assert rows.fd_effnet_lite0[c] - rows.fd_effnet_lite0[2 * c] > 2 * error


@pytest.mark.parametrize("quality", ["fd_effnet_lite0", "fd_effnet_lite0_inf"])
def test_with_five_times_the_images_every_width_beats_the_one_before_it(quality):
    rows = sl.read("tiny-t2i-5120").query("steps == 50").sort_values("base_channels")
    falls, errors = -rows[quality].diff(), (rows[f"{quality}_se"] ** 2).rolling(2).sum() ** 0.5
    assert len(rows) == 7 and set(rows.n_samples_for_metric) == {5120} and (falls / errors)[1:].min() > 4


@pytest.mark.parametrize("steps", [4, 8, 16, 32])
def test_guided_sizes_fall_in_order_at_every_few_steps(steps):
    rows = sl.read("tiny-t2i-5120").query(f"steps == {steps} and guidance == 2").sort_values("base_channels")
    falls, errors = -rows.fd_effnet_lite0.diff(), (rows.fd_effnet_lite0_se**2).rolling(2).sum() ** 0.5
    assert len(rows) == 7 and (falls / errors)[1:].min() > 3


def test_unseen_names_are_drawn_far_less_often_than_unseen_pairs_and_these_less_than_seen_ones():
    table = sl.read("tiny-t2i-held").pivot(index="base_channels", columns="dataset", values="agreement")
    assert len(table) == 7 and (table.prompts - table.pairs > 0.04).all()
    assert (table.pairs - table["names"] > 0.25).all()


def test_guidance_raises_agreement_and_costs_fd_on_the_judge():
    for _, rows in FIRST.query("sampler == 'ddim' and steps == 16").groupby("model"):
        rows = rows.set_index("guidance")
        assert rows.agreement[2] > rows.agreement[1] + 2 * rows.agreement_se[2]
        assert rows.fd[4] > rows.fd[2]


def test_the_recipe_is_the_one_that_was_run():
    pytest.importorskip("torch")
    from collect.config import TextFamilyFile, read_config

    file = read_config(MODELS / "family.yaml", TextFamilyFile)
    assert set(FIRST.model) == set(file.labels[:7]) and set(TRAINING.model) <= set(file.labels)
    assert len(file.labels) == 15 and {len(seeds) for seeds in file.seeds.values()} == {2}
    assert file.recipe.batch * file.steps == ROWS.train_images.max()


@pytest.mark.parametrize("study, names", [
    ("tiny-t2i", ["", "-guidance", "-guidance-4", "-50", "-128", "-samplers", "-ancestral", "-samplers-guidance"]),
    ("tiny-t2i-strides", ["-strides"]),
    ("tiny-t2i-5120", ["-5120", "-5120-unguided", "-5120-guidance"]),
])  # fmt: skip
def test_every_row_comes_from_a_sweep_that_ships_and_no_cell_of_them_is_missing(study, names):
    pytest.importorskip("torch")
    from collect.config import SweepFile, read_config

    cells = []
    for name in names:
        file = read_config(ROOT / f"data/sweeps/tiny-t2i{name}.yaml", SweepFile)
        axes = file.models, file.samplers, file.steps, file.guidance, [file.samples], [file.seed]
        cells += itertools.product(*axes)
    table = sl.read(study)
    assert table["study"].nunique() == 1, "rows of several studies are never compared"
    rows = table[["model", "sampler", "steps", "guidance", "n_samples_for_metric", "seed"]]
    assert set(rows.itertuples(index=False, name=None)) == set(cells) and len(rows) == len(set(cells))
