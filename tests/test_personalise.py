"""DreamBooth: its loss term by term, and subjects of random pipelines from their files to checkpoints."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from test_finetune import cli, folders, opened, settings  # noqa: E402, F401 - a fixture

from collect import weights  # noqa: E402
from collect.config import SweepFile, read_config  # noqa: E402
from collect.config.trainings import PersonaliseFile  # noqa: E402
from collect.families import open_family  # noqa: E402
from collect.sampling import loop as sampling  # noqa: E402
from collect.training import loop  # noqa: E402
from collect.training.dreambooth import prior_preservation  # noqa: E402
from collect.training.examples import Examples  # noqa: E402

PRIOR = {"sampler": "ddim", "steps": 2, "samples": 3}
SUBJECTS = {
    "sd": {"prompt": "a red cat", "class_prompt": "a cat"},
    "dit": {"subject_class": 5},
    "ddim": {},
}


def test_the_loss_is_the_subject_and_lambda_times_the_prior():
    """|eps(z, c) - noise|^2 of both, drawn in turn from the step's generator, written out with diffusers' scheduler."""
    from diffusers import DDPMScheduler

    base = opened("sd")
    both = [Examples(torch.randn(3, *base.model.shape), {"prompts": [p] * 3}) for p in ("a red cat", "a cat")]
    schedule, g, parts = DDPMScheduler.from_config(base.model.schedule), loop.step_generator(0, 1), []
    for data in both:
        chosen, noise = torch.randint(3, (2,), generator=g), torch.randn(2, *base.model.shape, generator=g)
        t, _ = torch.randint(1000, (2,), generator=g), torch.rand(2, generator=g)
        cond, _ = sampling.encode(base.model, data.take(chosen))
        with torch.no_grad():
            made = base.model.denoiser(schedule.add_noise(data.x[chosen], noise, t), t, **cond).sample
        parts.append((made - noise).square().mean().item())
    for weight in (0.0, 1.0, 2.5):
        value = prior_preservation(base, *both, batch=2, weight=weight)(base.model.denoiser, loop.step_generator(0, 1))
        assert value.item() == pytest.approx(parts[0] + weight * parts[1], rel=1e-5)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_of_a_random_pipeline(name, folders, tmp_path, said):  # noqa: F811
    content = settings(folders, name, steps=2, prior=PRIOR, **SUBJECTS[name])
    code, out, err = cli(tmp_path, said, "personalise", content, "--out", tmp_path / "run")
    assert code == 0 and "run: 8 images of the subject, 3 of its class" in out and "nan" not in out, err
    state = weights.load(tmp_path / "run" / "state.safetensors")[0]
    assert all(torch.isfinite(value).all() for value in state.values())
    family = open_family(tmp_path / "run")
    assert family.columns("run")["train_images"] == 2 * 2 * content["batch"]
    config = sampling.SamplingConfig("ddim", 2)
    samples, given = sampling.samples(family.model("run"), family.task, config, range(2))
    assert len(samples) == 2 and family.columns("run")["variant"] == "personalised"
    assert given.get("prompts", [content.get("prompt")])[0] == content.get("prompt")


def test_without_a_prompt_each_image_has_its_own_caption(folders, tmp_path, said):  # noqa: F811
    content = settings(folders, "sd", steps=1, prior=PRIOR, class_prompt="a cat")
    code, _, err = cli(tmp_path, said, "personalise", content, "--out", tmp_path / "run")
    assert code == 0, err
    assert open_family(tmp_path / "run").task.lines == ("a red cat", "a dog")  # of the folder's captions.csv
    text = settings(folders, "sd") | {"data": str(folders / "class"), "class_prompt": "a cat"}
    code, _, err = cli(tmp_path, said, "personalise", text, "--out", tmp_path / "other")
    assert code == 2 and "must have the columns file and caption; it has file, class" in err


@pytest.mark.parametrize("name, change, sentence", [
    ("sd", {}, "This model reads text: give prompt"),
    ("dit", {}, "give subject_class"),
    ("dit", {"subject_class": 1001}, "No class 1001: this network has the classes 0 to 1000."),
    ("sd", {"prompt": "a red cat"}, "give both: prompt"),
])  # fmt: skip
def test_what_a_subject_lacks_is_one_sentence(name, change, sentence, folders, tmp_path, said):  # noqa: F811
    code, _, err = cli(tmp_path, said, "personalise", settings(folders, name) | change, "--out", tmp_path / "run")
    assert code == 2 and sentence in err and err.count("\n") == 1


def test_fewer_steps_than_were_trained_is_one_sentence(folders, tmp_path, said):  # noqa: F811
    content = settings(folders, "ddim", steps=2, prior=PRIOR)
    assert cli(tmp_path, said, "personalise", content, "--out", tmp_path / "run")[0] == 0
    code, _, err = cli(tmp_path, said, "personalise", content | {"steps": 1}, "--out", tmp_path / "run")
    assert (
        code == 2 and "trained for 2 steps, more than the 1 wanted, and keeps those after 2: give one of these" in err
    )


@pytest.mark.parametrize("name", ["dragon", "horse", "parrot", "ship"])
def test_the_shipped_subjects_and_their_sweeps_belong_together(name):
    """Measured are the models that the training leaves, on its own images, and the released family beside them."""
    data = Path(__file__).parents[1] / "data"
    family, sweeps = data / "models" / "tiny-t2i", data / "sweeps" / "tiny-t2i-subject"
    file = read_config(family / f"subject-{name}.yaml", PersonaliseFile)
    for end, place in (("", family / file.out), ("-before", family)):
        own, kept = (read_config(sweeps / f"{name}{part}{end}.yaml", SweepFile) for part in ("", "-class"))
        assert own.models == kept.models == file.labels and own.samples == kept.samples
        assert (sweeps / own.family).resolve() == (sweeps / kept.family).resolve() == place.resolve()
        assert (place / own.quality[0]["images"]).resolve() == (family / file.data).resolve()
        assert (place / own.quality[0]["weights"]).resolve() == (family / "judge").resolve()
        assert (sweeps / kept.prompts).read_text() == f"{file.class_prompt}\n"
        assert all(f" {name} " in line for line in (sweeps / own.prompts).read_text().splitlines())
    assert f" {name} " in (family / "names.txt").read_text()


def test_a_damaged_image_and_an_unknown_label_are_said_before_anything_is_trained(folders, tmp_path, said):  # noqa: F811
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    content = settings(folders, "ddim", steps=1, prior=PRIOR)
    code, _, err = cli(
        tmp_path, said, "personalise", content | {"data": str(tmp_path / "photos")}, "--out", tmp_path / "a"
    )
    assert code == 2 and "a.png cannot be read as an image (UnidentifiedImageError): repair or remove it." in err
    assert cli(tmp_path, said, "personalise", content, "--out", tmp_path / "run")[0] == 0
    content |= {"base": str(tmp_path / "run"), "labels": ["run", "walk"]}
    code, out, err = cli(tmp_path, said, "personalise", content, "--out", tmp_path / "more")
    assert code == 2 and not out and "has no walk. Its models are run." in err
