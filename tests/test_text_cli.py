"""`collect data`, `train`, `release` of a text-to-image family as a user types them, on archives of painted squares."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
import tiny_text_family  # noqa: E402

from collect import weights  # noqa: E402
from collect.datasets import emoji, scenes  # noqa: E402
from collect.families import TextFamily, open_family  # noqa: E402
from collect.features import open_network  # noqa: E402
from collect.metrics import gaussians  # noqa: E402
from collect.metrics.reference import read_reference  # noqa: E402
from collect.training import text_parts  # noqa: E402
from scalinglaws.cli import main  # noqa: E402

SMALL = {"layers": 1, "patch": 8}
FAMILY = tiny_text_family.FAMILY.replace("widths: [8, 12]", "widths: [8]").replace("reference: 200", "reference: 8")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(text_parts, "TEXT", SMALL | {"width": 96, "seed": 0})
    monkeypatch.setattr(text_parts, "JUDGE", SMALL | {"width": 32, "seed": 1})


@pytest.mark.slow
def test_from_archives_to_a_family_that_samples(tmp_path, monkeypatch, capsys, small_parts):
    archives = tiny_text_family.archives(tmp_path, monkeypatch)
    path, run, out = tmp_path / "family.yaml", tmp_path / "run", tmp_path / "out"
    path.write_text(FAMILY)
    for _ in range(2):  # the second time nothing is left to do
        assert main(["collect", "train", str(path), "--data", str(archives), "--out", str(run)]) == 0
    assert "Next: scalinglaws collect release" in capsys.readouterr().out
    assert main(["collect", "release", str(run), str(out)]) == 0
    assert "2 models in" in capsys.readouterr().out
    family = open_family(out)
    assert isinstance(family, TextFamily) and len(family.task.lines) == 12 and len(family.metrics()) == 4
    lines, reference = (out / "prompts.txt").read_text(), out / "reference-judge.safetensors"
    kept = weights.load(reference)[0]
    reference.unlink()
    command = ["collect", "data", "tiny-t2i", "--archives", str(archives), "--references", str(out)]
    assert main(command) == 0 and "reference-judge.safetensors: 8 scenes" in capsys.readouterr().out
    made = weights.load(reference)[0]
    assert all(torch.equal(kept[name], made[name]) for name in kept) and (out / "prompts.txt").read_text() == lines
    assert main(command) == 0 and "lacks nothing" in capsys.readouterr().out
    assert main(["collect", "data", "tiny-t2i", "--archives", str(archives), "--floors", str(out)]) == 0
    real, coded = (line for line in capsys.readouterr().out.splitlines() if " 12 scenes: " in line)
    canvas, network = scenes.Canvas(icons := emoji.icons(archives)), open_network("judge", weights=str(out / "judge"))
    drawn = [canvas.draw(s) for s in text_parts.prompt_scenes(family.file, icons, family.tokenizer())]
    features = network.extract(torch.from_numpy(np.stack(drawn))).astype(float)
    alone = gaussians.frechet(features, read_reference(reference))[0]
    assert f"real, 12 scenes: fd {alone:.4g} +- " in real and coded.startswith("autoencoded, 12 scenes: fd ")
    assert main(["collect", "release", str(run), str(tmp_path / "one"), "--models", "c8"]) == 0
    assert "1 model in" in capsys.readouterr().out and open_family(tmp_path / "one").labels == ["c8"]
    assert main(["collect", "release", str(run), str(out), "--models", "c9"]) == 2
    assert "no model c9. Its models are c8, c8-s1" in capsys.readouterr().err
    path.write_text(FAMILY.replace("batch: 8", "batch: 9"))
    assert main(["collect", "train", str(path), "--data", str(archives), "--out", str(run)]) == 2
    assert "run of another recipe" in capsys.readouterr().err


def test_data_are_built_and_their_licences_named(tmp_path, monkeypatch, capsys):
    archives = tiny_text_family.archives(tmp_path, monkeypatch)
    command = ["collect", "data", "tiny-t2i", "--archives", str(archives), "--out", str(tmp_path / "run"), "--scenes"]
    assert main([*command, "5"]) == 0
    printed = capsys.readouterr().out
    assert "5 scenes of 32 pixels" in printed and "artwork CC-BY 4.0" in printed
    assert main([*command, "0"]) == 2
    assert main(["collect", "data", "cifar"]) == 2
    assert "There is tiny-t2i" in capsys.readouterr().err
