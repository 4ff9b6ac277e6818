"""The plug-in example, installed as a package would be: found by entry points, measured by the same sweep."""

import math
import sys
from pathlib import Path

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from forecasting import NOISE, PHI, STEPS  # noqa: E402
from test_sweep import run  # noqa: E402

from collect.run import sweep  # noqa: E402
from scalinglaws import schema  # noqa: E402

POINTS = """
[scalinglaws.tasks]
forecast = forecasting:Forecast
[scalinglaws.models]
forecaster = forecasting:open_forecaster
[scalinglaws.metrics]
spread = forecasting_metrics:open_spread
[scalinglaws.samplers]
half-euler = forecasting_metrics:HALF
"""
METRICS = """
from collect.metrics import Mean
from collect.sampling.samplers import Sampler

HALF = Sampler("EulerDiscreteScheduler", {"timestep_spacing": "linspace"}, order=1)


def open_spread():
    return Mean("spread", "1", lambda batch: batch.samples.double().std(1).numpy())
"""
FAMILY = """
family: forecasts
task: {kind: forecast, options: {members: 10}}
models:
  - {label: w4, kind: forecaster, options: {width: 4}}
  - {label: w32, kind: forecaster, options: {width: 32}}
"""
SWEEP = """
family: family
samplers: [ddim, half-euler]
steps: [1, 16]
samples: 4000
batch: 500
quality: [{name: crps, members: 10}, {name: spread}]
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example as an installed distribution."""
    place = tmp_path / "site"
    about = place / "forecasting-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: forecasting\nVersion: 1\n")
    (about / "entry_points.txt").write_text(POINTS)
    (place / "forecasting_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(place)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield
    sys.modules.pop("forecasting_metrics", None)


def best_crps():
    """The score of the true forecasts: a Gaussian of deviation s scores s / sqrt(pi) (Gneiting & Raftery 2007)."""
    variances = [NOISE**2 * sum(PHI ** (2 * k) for k in range(t)) for t in range(1, STEPS + 1)]
    return sum(map(math.sqrt, variances)) / STEPS / math.sqrt(math.pi)


def test_forecasts_are_scored_by_crps_through_plug_ins_alone(installed, tmp_path):
    (tmp_path / "family").mkdir()
    (tmp_path / "family" / "family.yaml").write_text(FAMILY)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    opened = sweep.open_sweep(tmp_path / "sweep.yaml", tmp_path / "store")
    table = pd.DataFrame(run(opened))
    assert len(table) == 8 and schema.check(table) == [] and set(table.task) == {"forecast"}
    crps = table.set_index(["model", "sampler", "steps"]).crps
    error = table.crps_se.max()
    assert crps["w32", "ddim", 16] < crps["w4", "ddim", 16] < crps["w4", "ddim", 1]
    assert crps["w32", "ddim", 16] == pytest.approx(best_crps(), abs=0.02 + 4 * error)
    assert crps.min() > best_crps() - 4 * error
    assert table.spread.gt(0).all() and table.flops_per_forward.nunique() == 2
