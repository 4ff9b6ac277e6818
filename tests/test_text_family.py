"""A text-to-image family: its file, a sweep over it, and every size as an ordinary diffusers folder."""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
os.environ["HF_HUB_OFFLINE"] = "1"

import tiny_text_family  # noqa: E402
from test_sweep import run  # noqa: E402

from collect.config import TextFamilyFile, read_config  # noqa: E402
from collect.datasets import scenes  # noqa: E402
from collect.families import TextFamily  # noqa: E402
from collect.run import cell, sweep  # noqa: E402
from collect.sampling import loop as sampling  # noqa: E402
from collect.sampling.loop import SamplingConfig  # noqa: E402
from collect.training import loop, text, text_parts  # noqa: E402
from collect.training.losses import Captions  # noqa: E402
from collect.training.text_parts import make_scenes  # noqa: E402
from scalinglaws import schema  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_text_family.family(tmp_path_factory.mktemp("family"))


def test_labels_and_training_seeds(folder):
    file = read_config(folder / "family.yaml", TextFamilyFile)
    assert file.labels == ["c8", "c12", "c8-s1"] and file.width("c8-s1") == 8 and file.seed("c8-s1") == 1
    with pytest.raises(InputError, match=r"no model .c9.*c8, c12, c8-s1"):
        file.width("c9")
    with pytest.raises(InputError, match="seeds are given for width 9"):
        path = folder / "wrong.yaml"
        path.write_text(tiny_text_family.FAMILY.replace("{8: [1]}", "{9: [1]}"))
        read_config(path, TextFamilyFile)


def test_seconds_of_the_text_are_those_of_encoding_it_in_every_cell(folder, monkeypatch):
    """Prompts are remembered, so that a second cell of a model had next to no seconds of text beside its FLOPs."""
    family, within, timed = TextFamily(folder), [], []

    class Watched(cell.Stage):
        def __enter__(self):
            within.append(self)
            super().__enter__()

        def __exit__(self, *error):
            super().__exit__(*error)
            within.pop()

    ready = cell.prepare(family.model("c8"), cell.ExecutionConfig(batch=4))
    one = cell.Cell("c8", SamplingConfig("ddim", 1), 8)
    cell.measure(one, family, ready, [])
    monkeypatch.setattr(cell, "Stage", Watched)
    count = lambda module, args, kwargs, out: within and timed.extend(out.last_hidden_state)  # noqa: E731
    ready.model.modules["text_encoder"].register_forward_hook(count, with_kwargs=True)
    cell.measure(one, family, ready, [])
    assert len(timed) == 2 * one.samples  # each prompt and the empty one, as flops_text counts them


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_saved_pipeline_draws_the_same_images(folder, tmp_path, guidance):
    from diffusers import StableDiffusionPipeline

    family = TextFamily(folder)
    pipe = StableDiffusionPipeline.from_pretrained(family.save_pipeline("c12", tmp_path), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    ours, conditions = sampling.samples(
        family.model("c12"), family.task, SamplingConfig("ddim", 4, guidance, seed=2), range(3)
    )
    theirs = pipe(
        conditions["prompts"], num_inference_steps=4, guidance_scale=guidance, output_type="np",
        generator=sampling.generators(2, range(3)),
    ).images  # fmt: skip
    assert "channels (12, 24)" in (tmp_path / "README.md").read_text()
    off = np.abs((theirs * 255).round().transpose(0, 3, 1, 2) - ours.numpy().astype(float))
    assert ours.shape == (3, 3, 32, 32) and off.max() <= 1 and (off > 0).mean() < 0.02
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".ckpt", ".pkl")]


def test_networks_have_the_precision_of_the_sweep(folder):
    model = TextFamily(folder).model("c8", "bfloat16")
    assert {p.dtype for part in model.parts for p in part.parameters()} == {torch.bfloat16}
    drawn, _ = sampling.samples(model, TextFamily(folder).task, SamplingConfig("ddim", 2, 2.0), range(2))
    assert drawn.shape == (2, 3, 32, 32) and drawn.dtype == torch.uint8


def test_a_sweep_over_it(folder, tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        f"family: {folder}\nmodels: [c8, c8-s1]\nsteps: [2]\nguidance: [1.0, 2.0]\nsamples: 12\nbatch: 12\nquality:\n"
        "- {name: distances, features: judge, weights: judge, reference: reference-judge.safetensors}\n"
        "- {name: matching, model: judge, others: prompts.txt}\n- {name: clip, model: judge}\n"
    )
    opened = sweep.open_sweep(tmp_path / "sweep.yaml", tmp_path / "store")
    before = TextFamily.cost_profile.cache_info().misses
    assert len(opened.uncounted) == 4 and TextFamily.cost_profile.cache_info().misses == before  # nothing is counted
    list(run(opened))
    table = opened.store.table()
    assert len(table) == 4 and schema.check(table) == []
    assert set(table.train_seed) == {0, 1} and set(table.train_steps) == {6}
    assert (table.nfe == np.where(table.guidance == 1, 2, 4)).all()
    assert table.flops_text.gt(0).all() and table.fd.gt(0).all() and table["clip"].abs().le(1).all()
    assert (table.train_flops == 3 * table.flops_per_forward * 8 * 6).all()
    assert opened.jobs[0].flops > 0


def test_a_sweep_may_bring_its_own_prompts(folder, small_family, tmp_path):
    (tmp_path / "mine.txt").write_text("a fox on teal\na red apple\n")
    text = "family: {}\nmodels: [c8]\nsteps: [1]\nsamples: 4\nquality: [{{name: clip, model: judge}}]\n"
    rows = {}
    for name, more in (("own", ""), ("mine", "prompts: mine.txt\n")):
        (tmp_path / f"{name}.yaml").write_text(text.format(folder) + more)
        opened = sweep.open_sweep(tmp_path / f"{name}.yaml", tmp_path / "store")
        list(run(opened))
        rows[name] = opened.jobs[0].key
    assert opened.family.task.lines == ("a fox on teal", "a red apple") and rows["own"] != rows["mine"]
    table = opened.store.table()
    assert schema.check(table) == [] and set(table.dataset.dropna()) == {"mine"} and table["clip"].nunique() == 2
    (tmp_path / "class.yaml").write_text(text.format(small_family) + "prompts: mine.txt\n")
    with pytest.raises(InputError, match="'small' is conditioned on class, not on text"):
        sweep.open_sweep(tmp_path / "class.yaml", tmp_path / "store")


def test_captions_of_held_out_names_and_pairs_are_in_no_training_scene(folder):
    icons, family = tiny_text_family.icons(100), TextFamily(folder)
    split = {
        name: text_parts.prompt_scenes(family.file, icons, family.tokenizer(), 40, split=name)
        for name in ("test", "names", "pairs")
    }
    names, pairs = scenes.held_out(len(icons.names), len(icons.styles))
    drawn = {name: {(thing.name, thing.style) for s in kept for thing in s.objects} for name, kept in split.items()}
    assert all(names[name] for name, _ in drawn["names"]) and all(pairs[pair] for pair in drawn["pairs"])
    assert not any(names[name] or pairs[name, style] for name, style in drawn["test"])
    assert {len(kept) for kept in split.values()} == {40}
    assert text_parts.prompt_scenes(family.file, tiny_text_family.icons(5), family.tokenizer(), 4, split="names") == []


def test_training_goes_from_snapshot_to_snapshot_and_is_released(folder, tmp_path):
    file = read_config(folder / "family.yaml", TextFamilyFile)
    data = Captions(torch.randn(20, 8, 8, 8).half(), torch.randn(20, 20, 96).half(), torch.zeros(20, 96))
    done = list(text.train_labels(file, tmp_path, data, file.labels, 3))
    assert [(label, step) for label, step, _ in done] == [(label, s) for label in file.labels for s in (1, 2, 3)]
    assert done[0][2] != done[6][2]  # another seed
    assert list(text.train_labels(file, tmp_path, data, file.labels, 3)) == []
    for name in ("text", "judge", "autoencoder.safetensors", "family.yaml", "prompts.txt"):
        (tmp_path / name).symlink_to(folder / name)
    out = text.release(file, tmp_path, tmp_path / "out")
    released, (_, path) = TextFamily(out), loop.snapshots(tmp_path / "c8")[-1]
    kept, average = released.denoiser("c8").state_dict(), TextFamily(out, {"c8": path}).denoiser("c8").state_dict()
    assert all(torch.equal(kept[k], average[k].half().float()) for k in kept)
    assert released.text_encoder().dtype == torch.float32 and released.columns("c8")["train_steps"] == 3
    with pytest.raises(InputError, match=r"has a snapshot of step 2; all have \[3\]"):
        text.release(file, tmp_path, out, step=2)


def test_data_are_made_once_from_archives(tmp_path, monkeypatch):
    archives = tiny_text_family.archives(tmp_path, monkeypatch)
    images, captions = make_scenes(archives, tmp_path, "train", 30)
    assert images.shape == (30, 3, 32, 32) and len(captions) == 30
    for path in archives.glob("*.tgz"):
        path.unlink()
    again, same = make_scenes(archives, tmp_path, "train", 30)
    assert torch.equal(images, again) and captions == same
    for count, seed in ((40, 0), (30, 1)):  # a family of 40 scenes was trained on the 30
        with pytest.raises(
            InputError, match=f"holds 30 scenes of seed 0 of the split 'train', not the {count} of seed {seed}"
        ):
            make_scenes(archives, tmp_path, "train", count, seed)


def test_a_text_encoder_whose_writing_was_cut_is_written_again(tmp_path, monkeypatch):
    """Killed after its weights and before the rest: the next run took the folder for a finished one."""
    from collect.models import dual_encoder
    from collect.training import text_parts

    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    about = {"width": 32, "layers": 1, "patch": 16, "seed": 0}
    make = lambda: list(text_parts.make_dual_encoder(tmp_path, "text", about, images, ["a cat", "a dog"] * 4, 1))  # noqa: E731
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dual_encoder, "processor", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        make()
    make()
    assert {path.name for path in (tmp_path / "text").iterdir()} >= {"config.json", "preprocessor_config.json"}
    assert dual_encoder.load(tmp_path / "text")[0].dtype == torch.float32
    assert make() == [] and not (tmp_path / ".text.part").exists()
