"""Sheets of pictures: the sweep's own samples, laid out by size and steps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tiny_text_family  # noqa: E402
from PIL import Image  # noqa: E402

from collect import drawing  # noqa: E402
from collect.sampling.loop import How, samples  # noqa: E402
from collect.text_family import TextFamily  # noqa: E402
from scalinglaws.cli import main  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_text_family.family(tmp_path_factory.mktemp("family"))


def test_a_sheet_holds_the_sweeps_own_samples(folder):
    family = TextFamily(folder)
    made = drawing.sheet(family, ["c8", "c12"], [1, 3], family.task.lines[:2], 2, guidance=2.0, seed=3)
    ours, _ = samples(family.model("c12"), family.task, How("ddim", 3, 2.0, seed=3), range(2))
    np.testing.assert_array_equal(made.pictures[1, 1], ours.numpy())
    picture = np.asarray(made.image(1))
    top, left = drawing.MARGIN // 3 + 32 + drawing.GAP, drawing.MARGIN + 2 * 32 + drawing.GAP
    np.testing.assert_array_equal(picture[top : top + 32, left : left + 32], ours[0].permute(1, 2, 0).numpy())


def test_draw_as_typed(folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    asked = ["collect", "draw", str(folder), str(out), "--prompt", "a fox on teal", "--steps", "1", "2"]
    assert main([*asked, "--models", "c8"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (drawing.MARGIN + 2 * (64 + drawing.GAP), drawing.MARGIN // 3 + 64 + drawing.GAP)
    assert "a fox on teal" in capsys.readouterr().out
    assert main([*asked, "--models", "c9"]) == 2
    assert "no model c9" in capsys.readouterr().err
