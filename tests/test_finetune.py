"""Continued training and super-resolution: the widened layer, the loss, and files to checkpoints of three kinds."""

import csv
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import tiny_pipelines  # noqa: E402
from diffusers import DDPMPipeline  # noqa: E402

from collect import weights  # noqa: E402
from collect.config.trainings import FinetuneFile  # noqa: E402
from collect.families import open_family  # noqa: E402
from collect.models import pipelines  # noqa: E402
from collect.models.pipelines import encoding, super_resolution  # noqa: E402
from collect.models.pipelines.loading import load_pipeline  # noqa: E402
from collect.models.tasks import small_and_target  # noqa: E402
from collect.sampling import loop as sampling  # noqa: E402
from collect.sampling.loop import SamplingConfig  # noqa: E402
from collect.training import examples, loop, parallel  # noqa: E402
from collect.training import pretrained as opening  # noqa: E402
from collect.training.denoising import denoising  # noqa: E402
from collect.training.finetune import open_base, upscale_examples, widened  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

KINDS = ("ddim", "sd", "dit", "sd3")  # pixels, a U-Net of text, a transformer of classes, flow matching
SAMPLER = {"sd3": "euler", "flux": "euler"}


def opened(name, **options):
    pipe, task, resolution = tiny_pipelines.build(name)
    options |= {"resolution": resolution} if resolution else {}
    assert opening.task_of(pipe) == task
    return opening.adapted(pipe, task, options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pipelines of random weights, and a folder of eight pictures with captions and classes."""
    from PIL import Image

    place = tmp_path_factory.mktemp("tuning")
    for name in KINDS:
        tiny_pipelines.build(name)[0].save_pretrained(place / name)
    rng = np.random.default_rng(0)
    for kind, column, values in (("text", "caption", ("a red cat", "a dog")), ("class", "class", (3, 7))):
        (place / kind).mkdir()
        with open(place / kind / "captions.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", column])
            for i in range(8):
                Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(place / kind / f"{i}.png")
                rows.writerow([f"{i}.png", values[i % 2]])
    return place


def settings(folders, name, **more):
    data = folders / ("class" if name == "dit" else "text")
    return {"base": str(folders / name), "data": str(data), "steps": 4, "batch": 4, "warmup": 1, "rate": 1e-3} | more


def cli(tmp_path, said, verb, content, *args):
    path = tmp_path / f"{verb}.yaml"
    path.write_text(yaml.safe_dump(content))
    return said("collect", verb, path, "--device", "cpu", *args)


def test_options_of_a_widened_pipeline_are_those_of_its_kind():
    pipe, _, side = tiny_pipelines.build("ddim")
    pipe.unet = super_resolution.widen(pipe.unet, super_resolution.latent_channels(pipe))
    side = side or pipe.unet.config.sample_size
    assert pipelines.adapt(pipe, "upscale", resolution=side, null_class=None).shape[1:] == (side, side)
    for options, sentence in (
        ({"side": 8}, "has no option side: allowed are resolution, null_class"),
        ({"resolution": 8 * side}, f"resolution was {8 * side}: this network draws {side} pixels alone"),
        ({"null_class": True}, "'null_class' of a .* was True: allowed are whole numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            pipelines.adapt(pipe, "upscale", **options)


@pytest.mark.parametrize("name", ["ddim", "sd", "sdxl", "dit", "pixart", "sd3"])
def test_a_widened_denoiser_starts_as_the_narrow_one(name):
    """The zeros add nothing: the same outputs, to the bit, whatever is beside the noise; the new weights do learn."""
    base = opened(name)
    wide, build = widened(base)
    noise = torch.randn(2, *base.model.shape, generator=torch.Generator().manual_seed(1))
    beside, t = torch.randn(2, *base.model.shape), torch.tensor([999, 7])
    given = {"prompts": ["a cat", ""], "classes": torch.tensor([1000, 1000])}
    cond, _ = sampling.encode(base.model, given)
    both, _ = sampling.encode(wide.model, given | {"beside": beside})
    with torch.no_grad():
        narrow = base.model.call(base.model.denoiser, noise, t, cond, 1.0)
        made = [wide.model.call(build(), noise, t, both | {"beside": y}, 1.0) for y in (beside, 0 * beside)]
    assert wide.model.shape == base.model.shape and torch.equal(*made)
    assert torch.allclose(made[0], narrow, atol=1e-6) and narrow.abs().max() > 1e-3
    net = build()
    wide.model.call(net, noise, t, both, 1.0).square().sum().backward()
    first = next(p for p in net.parameters() if p.dim() == 4 and p.shape[1] == 2 * base.model.shape[0])
    c = base.model.shape[0]
    assert first[:, c:].abs().max() == 0 and first.grad[:, c:].abs().max() > 0


def test_the_first_layer_with_zeros_is_exact_in_whole_numbers():
    """Weights and inputs whose sums have no rounding: equal to the bit in whatever order the channels are added."""
    net = tiny_pipelines.text_unet()
    wide = super_resolution.widen(net, 4)
    with torch.no_grad():
        for conv in (net.conv_in, wide.conv_in):
            conv.weight.copy_((conv.weight * 100).round()), conv.bias.copy_((conv.bias * 100).round())
        x, y = torch.randint(-8, 8, (2, 3, 4, 8, 8)).float()
        assert torch.equal(wide.conv_in(torch.cat([x, y], 1)), net.conv_in(x))


def test_small_images_are_those_of_the_task(tmp_path):
    """Training and sweep see the same small images."""
    from PIL import Image

    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    small, target = small_and_target(tmp_path / "a.png", 64, 4)
    images, _ = examples.read_examples(tmp_path, 64, "unconditional")
    assert torch.equal(images[0], target) and torch.equal(examples.reduced(images, 4)[0], small)


@pytest.mark.parametrize("name", KINDS)
def test_encoding_undoes_decoding(name):
    """An identity in the place of the autoencoder shows the scaling and shift alone."""
    base = opened(name)
    vae = encoding.autoencoder_of(base.pipe)
    if vae is None:
        images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
        assert torch.equal(base.model.finish(encoding.encode_images(base.pipe, base.model, images)), images)
        return
    z = torch.randn(2, 4, base.side // 2, base.side // 2)

    class Posterior:
        latent_dist = type("Gaussian", (), {"mean": z})

    vae.encode, vae.decode = lambda x: Posterior, lambda x, return_dict: (x,)
    images = torch.zeros(2, 3, base.side, base.side, dtype=torch.uint8)
    x = encoding.encode_images(base.pipe, base.model, images)
    assert torch.allclose(base.model.decode(x), z, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_its_definition(name):
    """Against diffusers' own schedulers, drawn by the same generator."""
    from diffusers import DDPMScheduler

    base = opened(name)
    x = torch.randn(6, *base.model.shape)
    labels = {"prompts": ["a cat", "a dog"] * 3, "classes": torch.arange(6)}
    loss = denoising(base, examples.Examples(x, labels), batch=5, drop=0.0)
    loss = loss(base.model.denoiser, loop.step_generator(0, 1))
    g = loop.step_generator(0, 1)
    chosen, noise = torch.randint(6, (5,), generator=g), torch.randn(5, *x.shape[1:], generator=g)
    level = torch.randint(1000, (5,), generator=g)
    cond, _ = sampling.encode(base.model, {"prompts": [labels["prompts"][i] for i in chosen], "classes": chosen})
    if name == "sd3":
        s = ((level + 1) / 1000).view(-1, 1, 1, 1)
        z, t, target = (1 - s) * x[chosen] + s * noise, level + 1, noise - x[chosen]
    else:
        schedule = DDPMScheduler.from_config(base.model.schedule)
        z, t, target = schedule.add_noise(x[chosen], noise, level), level, noise
    with torch.no_grad():
        expected = (base.model.call(base.model.denoiser, z, t, cond, 1.0) - target).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("task, name", [
    ("continue", "ddim"), ("continue", "dit"), ("super-resolution", "sd"),
    *(pytest.param(task, name, marks=pytest.mark.slow) for task, name in (
        ("continue", "sd"), ("continue", "sd3"), ("super-resolution", "ddim"), ("super-resolution", "dit"),
        ("super-resolution", "sd3"))),
])  # fmt: skip
def test_from_a_file_to_a_checkpoint_that_samples(task, name, folders, tmp_path, said):
    content = settings(folders, name, task=task, factor=2)
    code, out, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")
    assert code == 0, err
    assert "step 4 of 4, loss" in out and "nan" not in out
    base, made = load_pipeline(folders / name, "float32"), load_pipeline(tmp_path / "run" / "checkpoint", "float32")
    part = "unet" if hasattr(base, "unet") else "transformer"
    before, after = getattr(base, part).state_dict(), getattr(made, part).state_dict()
    moved = [k for k in before if before[k].shape == after[k].shape and not torch.equal(before[k], after[k])]
    assert len(moved) > len(before) / 2
    kind = yaml.safe_load((tmp_path / "run" / "family.yaml").read_text())["task"]["kind"]
    config, indices = SamplingConfig(SAMPLER.get(name, "ddim"), 2), range(2)
    if task == "continue":
        family = open_family(tmp_path / "run")
        model, todo = family.model("run"), family.task
        known = family.columns("run")
        assert kind == opening.task_of(base) and (known["train_steps"], known["train_dtype"]) == (4, "float32")
    else:
        todo = open_family(tmp_path / "run").task
        model = open_family(tmp_path / "run").model("run")
        assert kind == "upscale" == opening.task_of(made)
    samples, _ = sampling.samples(model, todo, config, indices)
    assert samples.dtype == torch.uint8 and samples.shape[2:] == (opening.adapted(made, kind, {}).side,) * 2


def drawn_after(folder, sampler="ddim"):
    family = open_family(folder)
    return sampling.samples(family.model(family.labels[0]), family.task, SamplingConfig(sampler, 2), range(2))[0]


@pytest.mark.parametrize("task", ["continue", "super-resolution"])
def test_a_network_that_learned_its_variance_is_trained_and_drawn_by_its_mean(task, folders, tmp_path, said):
    """Half of its six channels: the loss is that of the mean, and what they say of the variance changes no image."""
    tiny_pipelines.pixels(DDPMPipeline, learned_variance=True).save_pretrained(tmp_path / "base")
    content = settings(folders, tmp_path / "base", task=task, factor=2)
    code, out, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")
    assert code == 0 and "step 4 of 4, loss" in out, err
    before = [drawn_after(tmp_path / "run", name) for name in ("ddim", "ddpm", "dpm++2m")]
    path = tmp_path / "run" / "checkpoint" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors, about = weights.load(path)
    tensors["conv_out.weight"][3:] += 1.0
    weights.save(tensors, path, about | {"format": "pt"})
    after = [drawn_after(tmp_path / "run", name) for name in ("ddim", "ddpm", "dpm++2m")]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True)) and before[0].shape == (2, 3, 8, 8)


def test_a_network_of_classes_enlarges_by_its_null_class(folders, tmp_path, said):
    tiny_pipelines.pixels(DDPMPipeline, classes=11).save_pretrained(tmp_path / "base")
    content = settings(folders, tmp_path / "base", task="super-resolution", factor=2, steps=1)
    code, _, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")
    assert code == 2 and "say which stands for no class, as options: {null_class: N}, 0 to 10." in err
    content["options"] = {"null_class": 10}
    code, _, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "with")
    assert code == 0 and drawn_after(tmp_path / "with").shape == (2, 3, 8, 8), err


def test_options_of_a_family_are_those_of_its_models_trained_on(folders, tmp_path, said):
    """A null class without which nothing is dropped and nothing guided: `collect run` had it, more training had not."""
    tiny_pipelines.pixels(DDPMPipeline, classes=11).save_pretrained(tmp_path / "base")
    content = settings(folders, tmp_path / "base", steps=1, data=str(folders / "class"), options={"null_class": 10})
    assert cli(tmp_path, said, "finetune", content, "--out", tmp_path / "first")[0] == 0
    again = content | {"base": str(tmp_path / "first"), "label": "first", "options": {}}
    code, _, err = cli(tmp_path, said, "finetune", again, "--out", tmp_path / "more")
    assert code == 0 and open_family(tmp_path / "more").traits("more").guided == "pair", err


@pytest.mark.parametrize(("name", "change", "sentence"), [
    ("dit", {"data": "class-1001"}, "No class 1001: this network has the classes 0 to 1000."),
    ("ddim", {"options": {"null_class": 3}}, "null_class was 3: this network has no classes."),
])  # fmt: skip
def test_a_class_that_is_not_there_is_said_before_anything_is_trained(name, change, sentence, folders, tmp_path, said):
    (folders / "class-1001").mkdir(exist_ok=True)
    for i in range(8):
        (folders / "class-1001" / f"{i}.png").write_bytes((folders / "class" / f"{i}.png").read_bytes())
    rows = ["file,class", *(f"{i}.png,{994 + i}" for i in range(8))]
    (folders / "class-1001" / "captions.csv").write_text("\n".join(rows))
    given = settings(folders, name) | change
    given["data"] = str(folders / given["data"])
    code, out, err = cli(tmp_path, said, "finetune", given, "--out", tmp_path / "run")
    assert code == 2 and sentence in err and "step" not in out


def test_killed_and_resumed_leaves_the_same_weights(folders, tmp_path, said):
    """Stopped after step 3, when the state on disk is that of step 2."""
    content = settings(folders, "sd", task="super-resolution", factor=2, save_every=2, steps=5)
    file = FinetuneFile(**content)
    base = open_base(file)
    model, build = widened(base)
    data = upscale_examples(file, base, tmp_path / "resumed")
    loss, config = denoising(model, data, file.batch, file.drop), loop.optimizer_config(file, file.seed)
    for step, _ in loop.train(build, loss, config, 5, tmp_path / "resumed", file.save_every):
        if step == 3:
            break
    kept = {}
    for name in ("straight", "resumed"):
        assert cli(tmp_path, said, "finetune", content, "--out", tmp_path / name)[0] == 0
        kept[name] = weights.load(tmp_path / name / "state.safetensors")[0]
    assert kept["straight"].keys() == kept["resumed"].keys()
    assert all(torch.equal(value, kept["resumed"][k]) for k, value in kept["straight"].items())


def test_without_pretraining_the_weights_are_drawn_anew(folders):
    base = opened("sd")
    torch.manual_seed(5)
    drawn = base.trainable(pretrained=False).state_dict()
    assert not torch.equal(drawn["conv_in.weight"], base.model.denoiser.state_dict()["conv_in.weight"])
    kept, given = base.trainable().state_dict(), base.model.denoiser.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in given.items())


def test_a_training_that_diverges_says_so_and_leaves_no_checkpoint(folders, tmp_path, said):
    """It ran to its end, and the images of its checkpoint were black."""
    content = settings(folders, "ddim", rate=1e30, save_every=1, steps=8)
    code, out, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")
    assert code == 1 and err.count("\n") == 1 and "nan" not in out, err
    assert f"The training in {tmp_path / 'run'} diverged at step " in err and "Kept from before are state.saf" in err
    kept = weights.load(tmp_path / "run" / "state.safetensors")[0]
    assert all(torch.isfinite(value).all() for value in kept.values())
    assert not (tmp_path / "run" / "checkpoint").exists() and not (tmp_path / "run" / "family.yaml").exists()


WRONG = [
    ({"base": "nowhere"}, "No folder .*nowhere: give a diffusers folder"),
    ({"data": "nowhere"}, "No images"),
    ({"steps": 0}, "line [0-9]+: 'steps' was 0"),
    ({"task": "upscale"}, "'task' was 'upscale': Input should be 'continue' or 'super-resolution'"),
    ({"lr": 1}, "'lr' was 1: Extra inputs are not permitted .allowed keys: base, label"),
    ({"step": 5}, "a step is a snapshot of a label"),
    ({"task": "super-resolution", "factor": 3}, "Images of 16 pixels cannot be made 3 times smaller"),
]


@pytest.mark.parametrize("change, sentence", WRONG)
def test_what_is_wrong_is_one_sentence(change, sentence, folders, tmp_path, said):
    import re

    code, _, err = cli(tmp_path, said, "finetune", settings(folders, "sd") | change, "--out", tmp_path / "run")
    assert code == 2 and re.search(sentence, err), err
    assert err.count("\n") == 1


def test_another_file_does_not_continue_a_run(folders, tmp_path, said):
    content = settings(folders, "sd", steps=1)
    assert cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")[0] == 0
    code, _, err = cli(tmp_path, said, "finetune", content | {"rate": 0.1}, "--out", tmp_path / "run")
    assert code == 2 and "holds a run of another file" in err


@pytest.mark.parametrize(("name", "change", "sentence"), [
    ("sd", {"prompts": "nowhere.txt"}, "No prompts from .*nowhere.txt"),
    ("dit", {"prompts": "p.txt"}, "a model of task 'class' is not measured on them: leave it out."),
    ("sd", {"task": "super-resolution", "factor": 2, "images": "nowhere"}, "No images .* in .*nowhere"),
])  # fmt: skip
def test_what_it_cannot_be_measured_on_is_said_before_the_training(name, change, sentence, folders, tmp_path, said):
    import re

    (tmp_path / "p.txt").write_text("a cat\n")
    content = settings(folders, name, steps=1) | change
    code, out, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")
    assert code == 2 and re.search(sentence, err) and "step" not in out, err


def test_a_run_that_was_refused_before_it_began_is_no_run(folders, tmp_path, said):
    content = settings(folders, "sd", steps=1)
    assert cli(tmp_path, said, "finetune", content | {"data": "nowhere"}, "--out", tmp_path / "run")[0] == 2
    code, _, err = cli(tmp_path, said, "finetune", content, "--out", tmp_path / "run")
    assert code == 0, err


def test_what_it_is_measured_on_may_change_with_the_same_weights(folders, tmp_path, said):
    content, out = settings(folders, "sd", steps=1), tmp_path / "run"
    assert cli(tmp_path, said, "finetune", content, "--out", out)[0] == 0
    before = weights.fingerprint(out / "state.safetensors")
    (tmp_path / "p.txt").write_text("a cat\n")
    code, _, err = cli(tmp_path, said, "finetune", content | {"prompts": "p.txt"}, "--out", out)
    assert code == 0 and open_family(out).task.lines == ("a cat",), err
    assert weights.fingerprint(out / "state.safetensors") == before


@pytest.mark.parametrize("verb, how", [("finetune", {}), ("finetune", {"snapshots": True}),
                                       ("distil", {"method": "consistency"})])  # fmt: skip
def test_fewer_steps_than_were_trained_is_one_sentence(verb, how, folders, tmp_path, said):
    content, out = settings(folders, "ddim", steps=2) | how, tmp_path / "run"
    assert cli(tmp_path, said, verb, content, "--out", out)[0] == 0
    code, _, err = cli(tmp_path, said, verb, content | {"steps": 1}, "--out", out)
    assert code == 2 and "trained for 2 steps, more than the 1 wanted, and keeps those after 2: give one" in err


@pytest.mark.parametrize("how", [{}, {"task": "super-resolution", "factor": 2}])
def test_images_that_changed_do_not_continue_a_run(how, folders, tmp_path, said):
    """A ninth one that comes first: eight encoded images would go on with the captions of the others."""
    import shutil

    shutil.copytree(folders / "text", tmp_path / "data")
    content, out = settings(folders, "sd", steps=1, data=str(tmp_path / "data")) | how, tmp_path / "run"
    assert cli(tmp_path, said, "finetune", content, "--out", out)[0] == 0
    shutil.copy(tmp_path / "data" / "3.png", tmp_path / "data" / "00.png")
    with open(tmp_path / "data" / "captions.csv", "a") as file:
        file.write("00.png,a blue house\n")
    code, _, err = cli(tmp_path, said, "finetune", content | {"steps": 2}, "--out", out)
    assert code == 2 and "was made of 8 images that are not the 9 in the data now: put them back, or" in err
    (tmp_path / "data" / "00.png").rename(tmp_path / "data" / "0.png")  # as many, another one
    assert cli(tmp_path, said, "finetune", content | {"steps": 2}, "--out", out)[0] == 2
    shutil.copy(folders / "text" / "0.png", tmp_path / "data" / "0.png")
    assert cli(tmp_path, said, "finetune", content | {"steps": 2}, "--out", out)[0] == 0


def test_images_are_hashed_once(folders, tmp_path, monkeypatch):
    """For the encoded ones and for their small copies alike: a hundred thousand took twice the seconds."""
    import hashlib

    hashed, sha256 = [], hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda data=b"", **more: hashed.append(data) or sha256(data, **more))
    file = FinetuneFile(**settings(folders, "sd", task="super-resolution", factor=2))
    upscale_examples(file, open_base(file), tmp_path)
    assert sum(memoryview(data).nbytes == 8 * 3 * 16 * 16 for data in hashed) == 1
    names = [weights.load(tmp_path / f"encoded{end}.safetensors")[1]["images"] for end in ("", "-small")]
    images, _ = examples.read_examples(folders / "text", 16, "unconditional")
    assert names == [sha256(images.numpy().tobytes()).hexdigest()[:16]] * 2


def test_captions_that_are_missing_are_named(folders, tmp_path):
    with pytest.raises(InputError, match="must have the columns file and caption; it has file, class"):
        examples.read_examples(folders / "class", 16, "text")
    with pytest.raises(InputError, match="write a csv with columns file,caption"):
        (folders / "text" / "captions.csv").rename(tmp_path / "captions.csv")
        try:
            examples.read_examples(folders / "text", 16, "text")
        finally:
            (tmp_path / "captions.csv").rename(folders / "text" / "captions.csv")


def test_accelerate_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match="pip install accelerate"):
        parallel.accelerated("bf16")
    with pytest.raises(InputError, match="No precision 'fp16' to train in: choose no or bf16"):
        parallel.accelerated("fp16")


def test_accelerate_in_float32_is_the_loop_without_it(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    kept = []
    for name, where in (("alone", None), ("accelerated", parallel.accelerated())):
        build, config = lambda: torch.nn.Linear(4, 1), loop.OptimizerConfig(warmup=1)
        loss = lambda net, g: net(torch.randn(8, 4, generator=g)).square().mean()  # noqa: E731
        list(loop.train(build, loss, config, 3, tmp_path / name, where=where))
        kept.append(weights.load(tmp_path / name / "state.safetensors")[0])
    assert all(torch.equal(value, kept[1][k]) for k, value in kept[0].items())


def test_gradients_that_accelerate_would_accumulate_are_refused(monkeypatch):
    """accelerate would divide each loss by the number in its configuration, and the loop step all the same."""
    pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(InputError, match="set to accumulate gradients over 4 steps, which this loop does not do"):
        parallel.accelerated()


@pytest.mark.parametrize(("variable", "name"), [
    ("FSDP", "FSDP"), ("DEEPSPEED", "DeepSpeed"), ("MEGATRON_LM", "Megatron-LM"),
    ("PARALLELISM_CONFIG", "a parallelism_config"),
])  # fmt: skip
def test_a_launch_that_splits_the_model_is_refused(variable, name, monkeypatch):
    """By what `accelerate launch` sets; DeepSpeed ended in the ImportError of a package that would not have helped."""
    pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv(f"ACCELERATE_USE_{variable}", "true")
    with pytest.raises(InputError, match=f"launched with {name}, .* trains a whole one in each .*DDP.* --multi_gpu"):
        parallel.accelerated()


@pytest.mark.parametrize(("precision", "dtype"), [("no", "float32"), ("bf16", "bfloat16 mixed")])
def test_the_precision_of_a_training_is_known(precision, dtype, monkeypatch):
    accelerate = pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    try:
        where = parallel.accelerated(precision)
        assert where.dtype == dtype
        layer = where.prepare(torch.nn.Linear(4, 4), None)[0]
        assert layer(torch.randn(2, 4)).dtype == torch.float32  # accelerate gives float32 back
        with where.own.autocast():
            assert torch.nn.functional.linear(torch.randn(2, 4), torch.randn(4, 4)).dtype == (
                torch.bfloat16 if precision == "bf16" else torch.float32
            )
    finally:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def linear():
    return torch.nn.Linear(4, 1)


def own_batch(net, generator):
    return net(torch.randn(8, 4, generator=generator)).square().mean()


PROCESS = """
import sys; sys.path.insert(0, {tests!r})
from test_finetune import linear, loop, own_batch, parallel
where = parallel.accelerated()
list(loop.train(linear, own_batch, loop.OptimizerConfig(warmup=1), 3, {folder!r}, where=where))
"""


def two_processes(script, folder):
    """What two processes of accelerate say on stderr, and their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = script.format(tests=os.path.dirname(__file__), folder=str(folder))
    shared = {"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [os.environ | shared | {"RANK": str(r), "LOCAL_RANK": str(r)} for r in range(2)]
    started = [
        subprocess.Popen([sys.executable, "-c", script], env=env, stderr=subprocess.PIPE, text=True) for env in ranks
    ]
    return [process.communicate()[1] for process in started], [process.returncode for process in started]


DIVERGING = PROCESS.replace("own_batch, loop", "diverging, loop").replace("own_batch", "diverging")


def diverging(net, generator):
    """Not finite in process 1 alone, at step 3: that of the state that would be kept last."""
    bad = os.environ["RANK"] == "1" and generator.initial_seed() == loop.step_generator(0, 3, 1).initial_seed()
    return own_batch(net, generator) * (float("nan") if bad else 1.0)


@pytest.mark.slow
def test_all_processes_stop_at_the_step_at_which_one_diverges(tmp_path):
    """The first has a finite loss there, and a gradient averaged with that of the second: nothing is written of it."""
    pytest.importorskip("accelerate")
    said, codes = two_processes(DIVERGING, tmp_path)
    assert codes == [1, 1] and all("diverged at step 3" in text for text in said)
    assert "the loss was nan" in said[1] and "the loss was nan" not in said[0]
    assert not (tmp_path / "state.safetensors").exists()


@pytest.mark.slow
def test_two_processes_are_one_with_the_batches_of_both(tmp_path):
    """Two real processes, against steps on the mean of their two losses, each on numbers of its own."""
    pytest.importorskip("accelerate")
    said, codes = two_processes(PROCESS, tmp_path)
    assert codes == [0, 0], said
    config = loop.OptimizerConfig(warmup=1)
    state = loop.start(linear, config)
    for step in (1, 2, 3):
        other = loop.step_generator(config.seed, step, 1)
        loop.advance(state, lambda net, g, other=other: (own_batch(net, g) + own_batch(net, other)) / 2, config)
    kept = weights.load(tmp_path / "state.safetensors")[0]
    assert all(torch.allclose(kept[f"model.{k}"], v, atol=1e-6) for k, v in state.model.state_dict().items())
    list(loop.train(linear, own_batch, config, 3, tmp_path / "alone"))
    alone = weights.load(tmp_path / "alone" / "state.safetensors")[0]
    assert not torch.allclose(kept["model.weight"], alone["model.weight"], atol=1e-5)
