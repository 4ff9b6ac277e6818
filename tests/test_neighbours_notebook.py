"""The notebook of neighbouring questions runs on the bundled tables and closes with what they answer."""

from pathlib import Path

import nbformat
import pytest

from scalinglaws import notebooks, studies
from scalinglaws.decide.diffusion_time import best_diffusion_time
from scalinglaws.decide.paired import paired
from scalinglaws.decide.robustness import effective_robustness

pytest.importorskip("papermill")
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
ROOT = Path(__file__).parents[1]
TABLES = ("tiny-ldm-diffusion-time", "tiny-t2i-held-training")


@QUIET
@pytest.mark.slow
def test_it_closes_with_the_answers_of_its_tables(tmp_path):
    page = notebooks.report("neighbours", {}, tmp_path)
    code = [c for c in nbformat.read(tmp_path / "neighbours.ipynb", 4).cells if c.cell_type == "code"]
    said = code[-1].outputs[-1].data["text/markdown"]
    times = best_diffusion_time("tiny-ldm-diffusion-time", where="sampler=ddim")
    robust = effective_robustness(["tiny-t2i-held", "tiny-t2i-held-training"], reference="prompts")
    processes = paired("sit-samplers", "interpolant", "SBDM-VP", "fid")
    assert all(found.headline in said for found in (times, robust, processes)) and said.count(". ") == 1
    figures = [o for c in code for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(figures) == 9 and "ECM" in page.read_text()
    forecasts = code[-2].outputs[-1].data["text/markdown"]
    at = {"sampler": "euler", "steps": "64"}
    pathways = paired("tiny-series", "interpolant", "linear-beta", "crps", where=at)
    assert pathways.answer in forecasts and forecasts.count(". ") == 1
    assert "between trainings, and hidden rows say: crps" in forecasts


@pytest.mark.parametrize("name", TABLES)
def test_every_new_table_is_described(name):
    study = studies.describe(name)
    assert study.rows and study.caveats and study.title


def test_at_few_steps_the_best_diffusion_time_is_interior():
    """The measured answer: T* below the whole schedule at every size and number of steps, rising with steps."""
    rows = best_diffusion_time("tiny-ldm-diffusion-time", where="sampler=ddim").settings
    assert rows["interior"].sum() >= 11 and (rows[rows["steps"] <= 4]["gain_low"] > 1).all()
    assert rows.groupby("steps")["time"].median().is_monotonic_increasing


def test_the_sweeps_behind_the_tables_open():
    pytest.importorskip("torch")
    from collect.config import SweepFile, read_config

    for name in ("tiny-t2i-names-training", "tiny-t2i-pairs-training"):
        read_config(ROOT / f"data/sweeps/{name}.yaml", SweepFile)
    table = studies.load("tiny-ldm-diffusion-time").fillna({"diffusion_time": 1.0})
    for name, solver in (("tiny-ldm-diffusion-time", "ddim"), ("tiny-ldm-diffusion-time-2m", "dpm++2m")):
        sweep, rows = read_config(ROOT / f"data/sweeps/{name}.yaml", SweepFile), table[table["sampler"] == solver]
        assert sweep.samplers == [solver] and set(rows["diffusion_time"]) == set(sweep.diffusion_time)
        assert set(rows["steps"]) == set(sweep.steps) and set(rows["base_channels"]) == set(sweep.sizes)
