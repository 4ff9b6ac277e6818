"""A family of checkpoints: diffusers folders on disk and a user's own plug-ins, measured through the same sweep."""

from importlib.metadata import EntryPoint

import numpy as np
import pandas as pd
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import tiny_pipelines  # noqa: E402
from test_sweep import run  # noqa: E402

from collect import metrics  # noqa: E402
from collect.features import NETWORKS, Network  # noqa: E402
from collect.run import sweep  # noqa: E402
from collect.sampling import loop  # noqa: E402
from scalinglaws import schema  # noqa: E402
from scalinglaws.cli import main  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

COLOURS = Network("colours", 3, lambda images: images.float().mean((2, 3)), 3, {"weights": "none"})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two Stable Diffusion folders, a DiT and an upscaler of random weights, three prompts, pictures, a reference."""
    from PIL import Image

    place = tmp_path_factory.mktemp("checkpoints")
    for name in ("sd", "dit", "ldm-upscale"):
        tiny_pipelines.build(name)[0].save_pretrained(place / name)
    torch.manual_seed(1)
    tiny_pipelines.stable_diffusion().save_pretrained(place / "sd-b")
    (place / "prompts.txt").write_text("a red cat\n\na blue house\na dog\n")
    rng = np.random.default_rng(0)
    (place / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(place / "pictures" / f"{i}.png")
    features = COLOURS.extract(torch.randint(0, 256, (80, 3, 16, 16), dtype=torch.uint8))
    metrics.write_reference(features.astype(float), place / "reference.safetensors", "colours", subset=80)
    return place


TEXT = {"kind": "text", "prompts": "prompts.txt"}
PAIR = [{"label": "small", "path": "sd", "train_steps": 5}, {"label": "b", "path": "sd-b", "variant": "distilled"}]


def opened(checkpoints, tmp_path, rows=PAIR, task=TEXT, **options):
    family = tmp_path / "family"
    family.mkdir(exist_ok=True)
    models = [row | {"path": str(checkpoints / row["path"])} if "path" in row else row for row in rows]
    task = task | {k: str(checkpoints / task[k]) for k in ("prompts", "images") if k in task}
    (family / "family.yaml").write_text(yaml.safe_dump({"family": "mine", "task": task, "models": models}))
    options = {"family": "family", "samples": 66, "batch": 33, "steps": [2]} | options
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(options))
    return sweep.open_sweep(tmp_path / "sweep.yaml", tmp_path / "store")


DISTANCES = {"name": "distances", "features": "colours", "columns": ["fd"]}


def test_a_family_of_folders_is_measured_over_every_axis(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "colours", lambda device="cpu": COLOURS)
    quality = [DISTANCES | {"reference": str(checkpoints / "reference.safetensors")}]
    axes = {"guidance": [1.0, 3.0], "guidance_interval": [None, [0.1, 5.0]], "samplers": ["ddim", "heun"]}
    found = opened(checkpoints, tmp_path, quality=quality, steps=[4], **axes)
    assert len(found.jobs) == 2 * 2 * 3  # an interval needs guidance
    table = pd.DataFrame(run(found))
    assert len(table) == 12 and schema.check(table) == []
    assert set(table.model) == {"small", "b"} and set(table.task) == {"text"}
    assert table.set_index("model").variant.dropna().to_dict() == {"b": "distilled"}
    assert table.fd.gt(0).all() and table.flops_text.gt(0).all() and table.flops_decode.gt(0).all()
    cells = table[table.model == "small"].fillna({"guidance_interval": "always"})
    nfe = {(row.sampler, row.guidance, row.guidance_interval): row.nfe for row in cells.itertuples()}
    assert nfe["ddim", 1.0, "always"] == 4 and nfe["ddim", 3.0, "always"] == 8
    assert 4 < nfe["ddim", 3.0, "0.1-5"] < 8
    assert nfe["heun", 1.0, "always"] == 7  # two evaluations a step, but for the last
    expected = {cell.sampling: loop.evaluations(cell.sampling, found.family.traits("small")) for cell in found.cells}
    for sampling, count in expected.items():
        between = "{:g}-{:g}".format(*sampling.interval) if sampling.interval else "always"
        assert nfe[sampling.sampler, sampling.guidance, between] == count
    assert (table.flops_per_image == table.nfe * table.flops_per_forward).all()


def test_upscaling_is_scored_against_its_targets(checkpoints, tmp_path):
    task = {"kind": "upscale", "images": "pictures", "side": 32}
    found = opened(checkpoints, tmp_path, [{"label": "up", "path": "ldm-upscale"}], task, quality=[{"name": "psnr"}])
    (row,) = run(found)
    samples, conditions = loop.samples(found.family.model("up"), found.family.task, found.cells[0].sampling, range(66))
    error = ((samples.double() - conditions["targets"].double()) ** 2).flatten(1).mean(1)
    assert row["psnr"] == pytest.approx(float((10 * torch.log10(255**2 / error)).mean()), rel=1e-6)


def test_the_line_of_a_finished_cell_shows_a_quality_of_its_sweep(checkpoints, tmp_path, capsys):
    model, task = [{"label": "up", "path": "ldm-upscale"}], {"kind": "upscale", "images": "pictures", "side": 32}
    opened(checkpoints, tmp_path, model, task, quality=[{"name": "ssim"}], samples=4)
    assert main(["collect", "run", str(tmp_path / "sweep.yaml"), "--store", str(tmp_path / "shown")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ms/sample" in line]
    assert " ssim " in line and "+-" in line


def test_best_of_n_pays_for_every_candidate(small_family, tmp_path):
    (tmp_path / "s.yaml").write_text(
        f"family: {small_family}\nsizes: [8]\nsteps: [2]\nsamples: 66\nbest_of: [1, 3]\nverifier: class-likelihood\n"
    )
    found = sweep.open_sweep(tmp_path / "s.yaml", tmp_path / "store")
    rows = {row.get("best_of", 1): row for row in run(found)}
    assert rows[3]["nfe"] == 3 * rows[1]["nfe"] == 6 and rows[3]["verifier"] == "class-likelihood"
    assert rows[3]["flops_decode"] == 3 * rows[1]["flops_decode"]
    assert rows[3]["agreement"] > rows[1]["agreement"]


def test_a_metric_of_single_samples_verifies(checkpoints, tmp_path):
    task, model = {"kind": "upscale", "images": "pictures", "side": 32}, [{"label": "up", "path": "ldm-upscale"}]
    quality, verifier = [{"name": "psnr"}, {"name": "ssim"}], {"name": "psnr"}
    found = opened(
        checkpoints, tmp_path, model, task, quality=quality, best_of=[1, 3], verifier=verifier, intra_batch_workers=2
    )
    one, three = sorted(run(found), key=lambda row: row.get("best_of", 1))
    assert three["psnr"] > one["psnr"] and three["verifier"] == "psnr" and three["nfe"] == 3 * one["nfe"]
    for verifier, sentence in (
        ({"model": "clip"}, r"line \d+: 'verifier' was {'model': 'clip'}: it has no name"),
        ({"name": "clip", "model": "x"}, "'x' is no folder here"),
        ("crps", r"No verifier 'crps'. Known: class-likelihood, clip, psnr, ssim, lpips"),
    ):
        with pytest.raises(InputError, match=sentence):
            _ = opened(checkpoints, tmp_path, model, task, quality=quality, best_of=[2], verifier=verifier).jobs


BAD = [
    ({"rows": [{"label": "x", "path": "sd"}]}, {"models": ["y"]}, "Family 'mine' has no model y. Its models are x."),
    ({"rows": [{"label": "x"}]}, {}, "line 3: 'models.0'"),
    ({"rows": [{"label": "x", "path": "nowhere"}]}, {}, "if .*nowhere' is a hub name, pin its revision"),
    ({"rows": [{"label": "x", "kind": "mystery"}]}, {}, "No kind of model 'mystery'. Known: "),
    ({"rows": PAIR, "task": {"kind": "upscale", "images": "pictures", "side": 30}}, {}, "choose a multiple"),
    ({"rows": PAIR, "task": {"kind": "class"}}, {}, "Model 'small': A StableDiffusionPipeline cannot do task 'class'"),
    ({"rows": PAIR, "task": {"kind": "audio"}}, {}, "No task 'audio'. Known: unconditional, class, text, upscale"),
    (
        {"rows": [PAIR[0] | {"options": {"side": 8}}]},
        {},
        "Model 'small': .* has no option side: allowed are resolution",
    ),
    ({"rows": [PAIR[0] | {"options": {"resolution": "8"}}]}, {}, "'resolution' of a .* was '8': allowed are whole"),
    ({"rows": [{"label": "x", "path": "prompts.txt"}]}, {}, "is a single file, .*from_single_file"),
]


@pytest.mark.parametrize("family, options, sentence", BAD)
def test_what_is_wrong_with_a_checkpoint_family_is_one_sentence(checkpoints, tmp_path, family, options, sentence):
    with pytest.raises(InputError, match=sentence):
        found = opened(checkpoints, tmp_path, quality=[{"name": "psnr"}], **family, **options)
        found.family.model(found.labels[0])


def test_weights_that_are_not_safetensors_are_refused(checkpoints, tmp_path, capfd):
    import shutil

    shutil.copytree(checkpoints / "dit", tmp_path / "dit")
    (path,) = (tmp_path / "dit" / "transformer").glob("*.safetensors")
    torch.save({}, path.with_name("diffusion_pytorch_model.bin"))
    path.unlink()
    from collect.models.pipelines import loading

    with pytest.raises(InputError, match=r"is not a diffusers pipeline with safetensors weights.*save_pretrained"):
        loading.load_pipeline(tmp_path / "dit", "float32")
    assert capfd.readouterr() == ("", "")  # diffusers logs nothing beside the sentence


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_network_whose_files_lack_a_weight_is_refused_and_not_measured_with_random_numbers(
    part, checkpoints, tmp_path
):
    import shutil

    from safetensors.torch import load_file, save_file

    from collect.models.pipelines import loading

    shutil.copytree(checkpoints / "sd", tmp_path / "sd")
    (path,) = (tmp_path / "sd" / part).glob("*.safetensors")
    tensors = load_file(path)
    lost = sorted(tensors)[0]
    save_file({k: v for k, v in tensors.items() if k != lost}, path, {"format": "pt"})
    with pytest.raises(
        InputError, match=f"lack 1 of the tensors that its config.json asks for, such as .*{lost[-20:]}"
    ):
        loading.load_pipeline(tmp_path / "sd", "float32")


def test_weights_of_other_shapes_are_refused_in_one_line(checkpoints, tmp_path):
    import json
    import shutil

    from collect.models.pipelines import loading

    shutil.copytree(checkpoints / "sd", tmp_path / "sd")
    path = tmp_path / "sd" / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"block_out_channels": [16, 32]}))
    with pytest.raises(InputError, match=r"size mismatch|expected shape") as refused:
        loading.load_pipeline(tmp_path / "sd", "float32")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 700


MINE = """
import torch
from pathlib import Path
from collect import weights
from collect.metrics import Mean
from collect.models.model import Model, identity
from collect.sampling.samplers import Sampler

class Field(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))
    def forward(self, x, t):
        return self.value * x

class Ode:
    @classmethod
    def from_config(cls, settings):
        return cls()
    def set_timesteps(self, steps, device=None):
        self.timesteps, self.width = torch.arange(steps, 0, -1), 1 / steps
    def step(self, velocity, t, x):
        class Stepped:
            prev_sample = x + self.width * velocity
        return Stepped

EULER = Sampler(Ode, order=1)

def open_field(path):
    tensors, _ = weights.load(path)
    return Model(Field(tensors["value"].item()), (500,), {}, lambda conditions: ({}, None), identity, finish=identity,
                 guided="none", weights=weights.fingerprint(path), call=lambda net, x, t, condition, w: net(x, t))

def open_square():
    return Mean("square", "1", lambda batch: (batch.samples.double() ** 2).mean(1).numpy())
"""


def test_a_plug_in_of_an_ode_converges_at_its_order_and_other_weights_are_other_cells(tmp_path, monkeypatch):
    """dx/dt = v x from x ~ N(0, 1): E x^2 = (1 + v / steps)^(2 steps) by Euler's method, towards e^(2 v)."""
    from collect import weights

    offers = {"models": "field", "metrics": "square", "samplers": "ode"}
    objects = {"field": "open_field", "square": "open_square", "ode": "EULER"}
    points = [EntryPoint(n, f"own_ode:{objects[n]}", f"scalinglaws.{kind}") for kind, n in offers.items()]
    (tmp_path / "own_ode.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("collect.plugins", "collect.sampling.samplers"):
        monkeypatch.setattr(f"{module}.entry_points", lambda group: [p for p in points if p.group == group])
    path, keys = tmp_path / "v.safetensors", []
    model = [{"label": "m", "kind": "field", "options": {"path": str(path)}}]
    for value in (0.5, -0.5):
        weights.save({"value": torch.tensor(value)}, path)
        axes = {"samplers": ["ode"], "steps": [1, 4], "samples": 400, "quality": [{"name": "square"}]}
        (tmp_path / str(value)).mkdir()  # the same file would be opened once in a process
        found = opened(tmp_path, tmp_path / str(value), model, {"kind": "unconditional"}, **axes)
        for row in run(found):
            assert row["square"] == pytest.approx((1 + value / row["steps"]) ** (2 * row["steps"]), rel=0.02)
        keys += [job.key for job in found.jobs]
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    "axes, said",
    [
        ({"samplers": ["ddim", "FlowMatchEulerDiscrete"]}, "Model 'small': Sampler 'FlowMatch.* is for flow-matching"),
        ({"guidance": [1.0, 2.0]}, "Model 'up': This model cannot be guided: guidance was 2, allowed is 1. Give such"),
    ],
)
def test_what_does_not_fit_a_model_is_refused_before_anything_runs(checkpoints, tmp_path, axes, said):
    up = [{"label": "up", "path": "ldm-upscale"}], {"kind": "upscale", "images": "pictures", "side": 32}
    with pytest.raises(InputError, match=said):
        opened(checkpoints, tmp_path, *(up if "guidance" in axes else ()), quality=[{"name": "psnr"}], **axes)
