"""The notebooks of fine-tunes and students run end to end on tables whose laws are known, and close with the answer."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from test_effects import runs, students

from scalinglaws import notebooks

pytest.importorskip("papermill")
pytestmark = [
    pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]  # fmt: skip
FAMILY = "tiny-t2i-super-resolution"


def upscalers():
    """Snapshots of all sizes at 8 steps, with and without pretraining, and the last ones at other numbers of steps."""
    tuned, drawn = runs(noise=0.01, factor=1e3), runs(factor=2e3, variant="from scratch")
    tuned, drawn = tuned.assign(family=FAMILY), drawn.assign(family=f"{FAMILY}-scratch")
    last = tuned[tuned["train_steps"] == 1000]
    more = [last.assign(steps=s, fd=last["fd"] * (1 + 2 / s) / (1 + 2 / 8)) for s in (1, 2, 4, 16, 32)]
    table = pd.concat([tuned, drawn, *more], ignore_index=True)
    cost = {"nfe": table["steps"], "macs_per_forward": table["flops_per_forward"] / 2, "sampler": "ddim"}
    model = table["params"].map("c{:.0f}".format) + "-" + table["train_steps"].astype(str)
    return table.assign(model=model, **cost, guidance=1.0, fd_se=0.01 * table["fd"], seed=0)


def last_output(folder, name):
    code = [c for c in nbformat.read(folder / f"{name}.ipynb", 4).cells if c.cell_type == "code"]
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs)
    return code[-1].outputs[-1].data["text/markdown"]


@pytest.mark.parametrize("name, words", [
    ("downstream_scaling", "fd follows size (exponent -0.3"), ("downstream_efficiency", "the best size goes from"),
])  # fmt: skip
def test_downstream(name, words, tmp_path):
    upscalers().to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report(name, {"study": str(tmp_path / "runs.csv")}, tmp_path)
    assert words in last_output(tmp_path, name)


def test_distillation(tmp_path):
    students().assign(guidance=2.0).to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report("distillation", {"study": str(tmp_path / "runs.csv")}, tmp_path)
    said = last_output(tmp_path, "distillation")
    assert "shows no change with size" in said and "4.0, 4.0" in said


def test_fine_tunes_without_others_need_no_variant(tmp_path):
    table = runs(noise=0.01).drop(columns=["variant", "fd", "ssim"]).rename(columns={"params": "n_params"})
    table.to_csv(tmp_path / "runs.csv", index=False)
    given = {"study": str(tmp_path / "runs.csv"), "quality": "psnr", "variant": ""}
    notebooks.report("downstream_scaling", given, tmp_path)
    assert "psnr follows training compute (exponent -0.2" in last_output(tmp_path, "downstream_scaling")


def test_an_approach_without_an_answer_is_said(tmp_path):
    """Runs of five sizes of equal tokens: no isoFLOP profile has an optimum between its sizes."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(2e7, 6e8, 5), np.geomspace(1e9, 2e10, 5)))
    runs = pd.DataFrame({"N": n.astype(int), "tokens": d, "loss": 1.9 + 420 * n**-0.36 + 1200 * d**-0.33})
    runs.to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report("training_budget", {"study": str(tmp_path / "runs.csv"), "quality": "loss"}, tmp_path)
    assert "needs an optimum between the sizes" in (tmp_path / "training_budget.html").read_text()
