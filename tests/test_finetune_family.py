"""A training file for several models of a family, and its result by `collect run`: trained, sampled, measured."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import tiny_text_family  # noqa: E402
from tiny_text_family import archives  # noqa: E402

from collect import metrics, weights  # noqa: E402
from collect.config import KINDS, SweepFile, read_config  # noqa: E402
from collect.config.trainings import DistilFile, FinetuneFile, PersonaliseFile  # noqa: E402
from collect.datasets import scenes  # noqa: E402
from collect.families import open_family  # noqa: E402
from collect.models.tasks import small_and_target  # noqa: E402
from collect.sampling import loop as sampling  # noqa: E402
from collect.training import loop, pictures, several  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A text-to-image family of random weights, eight scenes with captions, and statistics of them."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "family").mkdir()
    tiny_text_family.family(folder / "family")
    pictures.write_scenes(tiny_text_family.icons(), "test", 8, folder / "scenes")
    return folder


def run(said, place, verb, content, out):
    path = place / f"{out}.yaml"
    path.write_text(yaml.safe_dump({"base": "family", "data": "scenes", "batch": 4, "warmup": 1} | content))
    return said("collect", verb, path, "--device", "cpu", "--out", place / out)


@pytest.fixture(scope="module")
def upscalers(place):
    """What `collect finetune` leaves of two sizes, with a checkpoint of every snapshot."""
    from scalinglaws.cli import main

    content = {"base": "family", "data": "scenes", "batch": 4, "warmup": 1, "labels": ["c8", "c12"], "steps": 3,
               "task": "super-resolution", "snapshots": True}  # fmt: skip
    (place / "sr.yaml").write_text(yaml.safe_dump(content))
    assert main(["collect", "finetune", str(place / "sr.yaml"), "--device", "cpu", "--out", str(place / "sr")]) == 0
    return place / "sr"


def test_a_fine_tuned_super_resolution_family_is_measured_by_collect_run(place, upscalers, said):
    """PSNR and SSIM as computed here from the samples; FD that of the judge's features, all by one sweep."""
    quality = [{"name": "psnr"}, {"name": "ssim"}, {
        "name": "distances", "features": "judge", "weights": str(place / "family" / "judge"), "columns": ["fd"],
        "reference": str(place / "family" / "reference-judge.safetensors")}]  # fmt: skip
    sweep = {"family": "sr", "steps": [2], "samplers": ["ddim"], "guidance": [1.0], "samples": 8, "batch": 4,
             "store": "cells", "quality": quality}  # fmt: skip
    (place / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    code, _, err = said("collect", "run", place / "sweep.yaml", "--device", "cpu")
    assert code == 0, err
    assert said("collect", "export", place / "cells", place / "runs.csv")[0] == 0
    rows = pd.read_csv(place / "runs.csv")
    assert set(rows["model"]) == {"c8-3", "c12-3"} and set(rows["variant"]) == {"fine-tuned"}
    assert set(rows["task"]) == {"upscale"} and set(rows["train_steps"]) == {3} and (rows["fd"] > 0).all()
    family = open_family(upscalers)
    samples, conditions = sampling.samples(
        family.model("c8-3"), family.task, sampling.SamplingConfig("ddim", 2), range(8)
    )
    first = rows[rows["model"] == "c8-3"].iloc[0]
    x, y = samples.double(), conditions["targets"].double()
    assert first["psnr"] == pytest.approx(float(metrics.pairs.psnr(x, y).mean()))
    assert first["ssim"] == pytest.approx(float(metrics.pairs.ssim(x, y).mean()))
    assert torch.equal(conditions["targets"][0], small_and_target(place / "scenes" / "00000.png", 32, 4)[1])


def test_the_images_are_encoded_once_for_sizes_of_one_encoder(upscalers):
    first, second = ((upscalers / label / "encoded.safetensors").stat() for label in ("c8", "c12"))
    assert first.st_ino == second.st_ino


def test_students_are_measured_on_the_prompts_of_the_file(place, said):
    content = {"labels": ["c8", "c8-s1"], "steps": 2, "method": "consistency", "prompts": "family/prompts.txt"}
    code, _, err = run(said, place, "distil", content, "students")
    assert code == 0, err
    family = open_family(place / "students")
    assert family.labels == ["c8-consistency", "c8-s1-consistency"]
    assert family.task.lines == open_family(place / "family").task.lines
    assert not torch.equal(*(family.model(label).denoiser.conv_in.weight for label in family.labels))


def test_examples_are_the_first(place, said):
    code, _, err = run(said, place, "finetune", {"label": "c8", "steps": 1, "examples": 3}, "few")
    assert code == 0, err
    assert len(weights.load(place / "few" / "encoded.safetensors")[0]["x"]) == 3


def test_a_label_or_labels(place, said):
    code, _, err = run(said, place, "finetune", {"label": "c8", "labels": ["c12"], "steps": 1}, "both")
    assert code == 2 and "give label, for one model, or labels, for several" in err


def test_networks_that_are_no_pipelines_are_refused(place, said):
    (place / "ldm").mkdir()
    (place / "ldm" / "family.yaml").write_text("family: tiny-ldm\nwidths: [8]\nsteps: 4\n")
    code, _, err = run(said, place, "finetune", {"base": "ldm", "label": "c8", "steps": 1}, "no")
    assert code == 2 and "holds no diffusers pipelines to train on (tiny-ldm's networks are none)" in err


def test_the_schema_of_a_training_file(said):
    for kind in ("finetune", "personalise", "distil"):
        code, out, _ = said("collect", "schema", kind)
        assert code == 0 and set(json.loads(out)["properties"]) == set(KINDS[kind].model_fields)


def test_scenes_as_a_folder_of_pictures(tmp_path, monkeypatch, said):
    """The captions and pixels are those of the split; a subject is shown alone."""
    archives(tmp_path, monkeypatch)
    code, out, err = said("collect", "data", "tiny-t2i", "--archives", tmp_path, "--scenes", "5", "--split", "test",
                          "--seed", "1", "--images", tmp_path / "made")  # fmt: skip
    assert code == 0, err
    from collect.datasets import emoji

    icons = emoji.icons(tmp_path)
    images, captions = scenes.draw(icons, "test", 5, 1)
    assert captions[0] in out
    _, target = small_and_target(tmp_path / "made" / "00003.png", 32, 4)
    assert np.array_equal(target.numpy(), images[3])
    shown = pictures.write_scenes(icons, "all", 4, tmp_path / "subject", subject=("fox", "noto"))
    assert len(shown) == 4 and all("fox" in caption for caption in shown)
    with pytest.raises(InputError, match="No 'unicorn' among the icons"):
        pictures.write_scenes(icons, "all", 4, tmp_path / "none", subject=("unicorn", "noto"))


def test_the_shipped_files_belong_together():
    """Each sweep's models are checkpoints that its training file leaves."""
    data = Path(__file__).parent.parent / "data"
    read = {
        "super-resolution": "finetune",
        "super-resolution-scratch": "finetune",
        "students": "distil",
        "students-62": "distil",
    }
    trained = {n: read_config(data / f"models/tiny-t2i/{n}.yaml", KINDS[kind]) for n, kind in read.items()}
    for name in ("super-resolution", "super-resolution-scratch"):
        file, sweep = trained[name], read_config(data / f"sweeps/tiny-t2i-{name}.yaml", SweepFile)
        steps = loop.snapshot_steps(file.steps)
        assert sweep.models == [f"{name}-{step}" for name in file.runs for step in steps]
        place = (data / "models/tiny-t2i" / file.out).resolve()
        assert (data / "sweeps" / sweep.family).resolve() == place
    for name, end in (("students", "consistency"), ("students-62", "consistency-62")):
        students = read_config(data / f"sweeps/tiny-t2i-{name}.yaml", SweepFile)
        assert students.models == [f"{label}-{end}" for label in trained[name].labels]


def test_several_seeds_of_each_label(place, said):
    """A run each, in the folder that the file names beside itself; seed 0 keeps the label and the weights of one."""
    one = {"steps": 1, "out": "plain"}
    each = {"labels": ["c8", "c12"], "seeds": [0, 1], "steps": 1, "out": "seeds"}
    for name, content in (("one", one | {"label": "c8"}), ("all", each)):
        path = place / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"base": "family", "data": "scenes", "batch": 4, "warmup": 1} | content))
        code, _, err = said("collect", "finetune", path, "--device", "cpu")
        assert code == 0, err
    joined = (place / "seeds" / "family.yaml").read_text()
    code, _, err = said("collect", "finetune", place / "all.yaml", "--device", "cpu")
    assert code == 0 and (place / "seeds" / "family.yaml").read_text() == joined, err  # by the file that the run kept
    family, plain = open_family(place / "seeds"), open_family(place / "plain")
    assert family.labels == ["c8", "c8-s1", "c12", "c12-s1"]
    assert [family.columns(label)["train_seed"] for label in family.labels] == [0, 1, 0, 1]
    weight = {label: family.model(label).denoiser.conv_in.weight for label in ("c8", "c8-s1")}
    assert torch.equal(weight["c8"], plain.model(plain.labels[0]).denoiser.conv_in.weight)
    assert not torch.equal(weight["c8"], weight["c8-s1"])


@pytest.mark.parametrize(("content", "said_what"), [
    ({"label": "c8", "seeds": [0, 1]}, "seeds are of several labels: give labels, or one seed"),
    ({"labels": ["c8", "c8-s1"], "seeds": [0, 1]}, "two runs would have one name, c8-s1: each label and seed once"),
    ({"labels": ["c12", "c8", "c8"]}, "two runs would have one name, c8:"),
    ({"labels": ["c8"], "seeds": [2, 2]}, "two runs would have one name, c8-s2:"),
    ({"labels": ["c8"], "seeds": [0, 1], "seed": 3}, "give seed, for one training of each label, or seeds"),
])  # fmt: skip
def test_seeds_that_have_no_run_of_their_own(place, said, content, said_what):
    code, _, err = run(said, place, "finetune", content | {"steps": 1}, "no-seeds")
    assert code == 2 and said_what in err


def training(**content):
    return FinetuneFile(**{"base": "family", "data": "scenes", "steps": 1} | content)


def test_runs_are_named_by_label_and_by_seed_beside_0():
    assert training(label="c8").runs == {}
    assert training(labels=["c8", "c12"], seed=5).runs == {"c8": ("c8", 5), "c12": ("c12", 5)}
    found = training(labels=["c8", "c12"], seeds=[2, 0]).runs
    assert list(found.items()) == [
        ("c8-s2", ("c8", 2)), ("c8", ("c8", 0)), ("c12-s2", ("c12", 2)), ("c12", ("c12", 0)),
    ]  # fmt: skip


def test_a_step_is_a_snapshot_of_a_label():
    assert training(labels=["c8"], step=4).step == training(label="c8", step=4).step == 4
    with pytest.raises(ValueError, match="a step is a snapshot of a label: give the label, too"):
        training(step=4)


def test_paths_are_those_beside_the_file_and_what_is_left_out_stays_out(tmp_path):
    place = tmp_path / "a" / "train.yaml"
    given = training(data="/elsewhere/scenes", images="test", prompts="lists/p.txt", out="run").resolved(place)
    assert [given.base, given.data, given.images, given.prompts, given.out] == [
        str(tmp_path / "a" / "family"), "/elsewhere/scenes", str(tmp_path / "a" / "test"),
        str(tmp_path / "a" / "lists" / "p.txt"), str(tmp_path / "a" / "run"),
    ]  # fmt: skip
    alone = training().resolved(place)
    assert (alone.images, alone.prompts, alone.out) == (None, None, None)


@pytest.mark.parametrize(("content", "said_what"), [
    ({"method": "guided", "guidance": [3.0, 1.0]}, r"low <= high, not \[3.0, 1.0\]"),
    ({"method": "progressive", "student_steps": [4, 4, 2]}, r"student_steps fall, .*, not \[4, 4, 2\]"),
    ({"method": "progressive", "student_steps": [1, 2]}, r"student_steps fall, .*, not \[1, 2\]"),
])  # fmt: skip
def test_what_a_student_cannot_be_is_said(content, said_what):
    with pytest.raises(ValueError, match=said_what):
        DistilFile(base="family", data="scenes", steps=1, **content)


def test_a_subject_needs_the_prompt_of_its_class():
    given = {"base": "family", "data": "photos", "steps": 1}
    assert PersonaliseFile(**given, class_prompt="a dog").prompt is None
    with pytest.raises(ValueError, match="give both: prompt, of the subject, and class_prompt, of its class"):
        PersonaliseFile(**given, prompt="a sks dog")


def test_families_of_runs_are_joined_by_hand(tmp_path):
    """Labels begin with their run's, paths are from the joined family, and what is absolute stays so."""
    own = {"c8": ("c8", "c80"), "c80": ("c80-3", "last"), "c8-s1": ("c8-s1-3", "c8-3")}
    for run, labels in own.items():
        (tmp_path / run).mkdir()
        task = {"kind": "text", "prompts": f"{run}.txt", "images": "/elsewhere/test", "side": 32}
        rows = [{"label": label, "path": "checkpoint", "seed": 1} for label in labels]
        (tmp_path / run / "family.yaml").write_text(yaml.safe_dump({"family": run, "task": task, "models": rows}))
    several.join(tmp_path, list(own))
    found = yaml.safe_load((tmp_path / "family.yaml").read_text())
    assert found["family"] == tmp_path.name
    assert found["task"] == {"kind": "text", "prompts": "c8/c8.txt", "images": "/elsewhere/test", "side": 32}
    assert [(row["label"], row["path"]) for row in found["models"]] == [
        ("c8", "c8/checkpoint"), ("c8-c80", "c8/checkpoint"), ("c80-3", "c80/checkpoint"),
        ("c80-last", "c80/checkpoint"),
        ("c8-s1-3", "c8-s1/checkpoint"), ("c8-s1-c8-3", "c8-s1/checkpoint"),
    ]  # fmt: skip
    assert {row["seed"] for row in found["models"]} == {1}


def test_encoded_images_are_linked_and_what_a_run_has_is_kept(tmp_path):
    (tmp_path / "first").mkdir()
    for name in ("encoded.safetensors", "encoded-text.safetensors", "state.safetensors"):
        (tmp_path / "first" / name).write_text("first")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "encoded.safetensors").write_text("own")
    for _ in range(2):
        several.share_encoded(tmp_path / "first", tmp_path / "second")
    found = {path.name: path.read_text() for path in (tmp_path / "second").iterdir()}
    assert found == {"encoded.safetensors": "own", "encoded-text.safetensors": "first"}
