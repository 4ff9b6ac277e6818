"""Images for prompts: the sweep's own samples, laid out by size and steps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tiny_text_family  # noqa: E402
from PIL import Image  # noqa: E402

from collect.families import TextFamily  # noqa: E402
from collect.run import prompt_sheet  # noqa: E402
from collect.sampling.loop import SamplingConfig, samples  # noqa: E402
from scalinglaws.cli import main  # noqa: E402
from scalinglaws.site import pictures  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_text_family.family(tmp_path_factory.mktemp("family"))


def test_a_sheet_holds_the_sweeps_own_samples(folder):
    family = TextFamily(folder)
    sheet = prompt_sheet.prompt_sheet(family, ["c8", "c12"], [1, 3], family.task.lines[:2], 2, guidance=2.0, seed=3)
    ours, _ = samples(family.model("c12"), family.task, SamplingConfig("ddim", 3, 2.0, seed=3), range(2))
    np.testing.assert_array_equal(sheet.images[1, 1], ours.numpy())
    picture = np.asarray(sheet.page(1))
    top, left = prompt_sheet.MARGIN // 3 + 32 + prompt_sheet.GAP, prompt_sheet.MARGIN + 2 * 32 + prompt_sheet.GAP
    np.testing.assert_array_equal(picture[top : top + 32, left : left + 32], ours[0].permute(1, 2, 0).numpy())


def test_the_grid_beside_a_sheet_is_where_the_samples_are(folder, tmp_path):
    out = tmp_path / "sheet.png"
    command = [
        "collect",
        "draw",
        str(folder),
        str(out),
        "--models",
        "c8",
        "c12",
        "--steps",
        "1",
        "2",
        "--guidance",
        "1",
    ]
    assert main([*command, "--count", "2", "--scale", "1"]) == 0
    boxes, family = dict(pictures.read_sheet(out).boxes()), TextFamily(folder)
    with Image.open(out) as picture:
        for (model, steps), (left, top, width, height) in boxes.items():
            ours, _ = samples(family.model(model), family.task, SamplingConfig("ddim", steps), range(2))
            cell = np.asarray(picture)[top : top + height, left : left + width]
            np.testing.assert_array_equal(cell, np.hstack(ours.permute(0, 2, 3, 1).numpy()))
    assert len(boxes) == 4


def test_draw_as_typed(folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    command = ["collect", "draw", str(folder), str(out), "--prompt", "a fox on teal", "--steps", "1", "2"]
    assert main([*command, "--models", "c8"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (
            prompt_sheet.MARGIN + 2 * (64 + prompt_sheet.GAP),
            prompt_sheet.MARGIN // 3 + 64 + prompt_sheet.GAP,
        )
    assert "a fox on teal" in capsys.readouterr().out
    assert main([*command, "--models", "c9"]) == 2
    assert "no model c9" in capsys.readouterr().err


def test_a_family_without_text_is_not_drawn(small_family, tmp_path, capsys):
    assert main(["collect", "draw", str(small_family), str(tmp_path / "sheet.png")]) == 2
    assert "Family 'small' is conditioned on class, not on text" in capsys.readouterr().err
