"""Forecasters of a real series: the data, a process whose best score is known, training that resumes, a whole run."""

import math

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from test_sweep import run  # noqa: E402

from collect import weights  # noqa: E402
from collect.config import SeriesFamilyFile, read_config  # noqa: E402
from collect.datasets import series as data  # noqa: E402
from collect.families import SeriesFamily, open_family  # noqa: E402
from collect.families.naive_forecasts import naive_scores  # noqa: E402
from collect.metrics.crps import crps  # noqa: E402
from collect.models import forecaster  # noqa: E402
from collect.run import sweep  # noqa: E402
from collect.sampling.loop import SamplingConfig, latents, planned  # noqa: E402
from collect.training import loop, series  # noqa: E402
from collect.training.process import process_of  # noqa: E402
from scalinglaws import schema  # noqa: E402
from scalinglaws.cli import main  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

PHI, NOISE, HORIZON = 0.8, 0.6, 6
FAMILY = """
family: small-series
kind: series
widths: [4, 8]
processes: [cosine, flow]
seeds: [0, 3]
steps: 130
recipe: {batch: 16, warmup: 5}
members: 4
check: {sampler: euler, steps: 2, samples: 40}
"""
SWEEP = """
family: released
samplers: [euler, dpm++2m]
steps: [1, 4]
samples: 416
"""


def autoregression(count, seed):
    """Windows of x[t+1] = 0.8 x[t] + e, e ~ N(0, 0.36) from a known start: contexts [window, 1]."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=count)]
    for _ in range(HORIZON):
        x.append(PHI * x[-1] + NOISE * rng.normal(size=count))
    return data.Windows(x[0][:, None], np.stack(x[1:], 1))


def best_crps():
    """The score of the true forecasts: a Gaussian of deviation s scores s / sqrt(pi) (Gneiting & Raftery 2007)."""
    variances = [NOISE**2 * sum(PHI ** (2 * k) for k in range(t)) for t in range(1, HORIZON + 1)]
    return sum(map(math.sqrt, variances)) / HORIZON / math.sqrt(math.pi)


@pytest.fixture
def family(tmp_path):
    """The file of a family of eight small models, in a folder of its own."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "family.yaml").write_text(FAMILY)
    return SeriesFamily(tmp_path / "run")


def test_the_series_is_whole_and_its_gaps_lie_before_the_test():
    from statsmodels.datasets import co2

    raw = co2.load_pandas().data["co2"]
    dates, values = data.weekly_co2()
    known = raw.notna().to_numpy()
    assert len(values) == 2284 and (~known).sum() == 59 and np.isfinite(values).all()
    assert np.array_equal(values[known], raw.to_numpy()[known]) and known[dates >= np.datetime64(data.TEST_FROM)].all()


def test_no_week_of_the_test_is_trained_on_and_no_two_forecasts_overlap():
    dates, values = data.weekly_co2()
    split = int(np.searchsorted(dates, np.datetime64(data.TEST_FROM)))
    assert str(dates[split])[:10] == "1986-01-04"
    train, test = data.co2_windows()
    first, last = values[data.CONTEXT - 1], values[split - data.HORIZON - 1]  # last known weeks
    assert np.allclose(train.futures[0], values[data.CONTEXT : data.CONTEXT + data.HORIZON] - first)
    assert np.allclose(train.futures[-1], values[split - data.HORIZON : split] - last)
    known = np.repeat(values[split - 1 : -data.HORIZON : data.HORIZON], data.HORIZON)
    whole = len(test) * data.HORIZON
    assert np.allclose(test.futures.ravel() + known[:whole], values[split : split + whole])
    assert (train.contexts[:, -1] == 0).all() and (len(train), len(test)) == (1390, 104)


def test_naive_scores_are_those_of_gaussians():
    """A regression finds the autoregression, so it has the best score; persistence errs by (1 - 0.8^t) x besides."""
    train, test = autoregression(1500, 1), autoregression(600, 2)
    ahead = lambda train, windows: windows.contexts @ np.linalg.lstsq(train.contexts, train.futures, rcond=None)[0]  # noqa: E731
    points = {"stays": lambda train, windows: np.repeat(windows.contexts, HORIZON, 1), "regression": ahead}
    found = naive_scores(train, test, points)
    assert found["regression"] == pytest.approx(best_crps(), abs=0.03) and found["stays"] > found["regression"] + 0.02


def test_a_regression_knows_a_straight_line():
    slopes = np.random.default_rng(0).normal(size=(80, 1))
    contexts, futures = slopes * np.arange(-9, 1.0), slopes * np.arange(1.0, 4)
    train, test = data.Windows(contexts[:60], futures[:60]), data.Windows(contexts[60:], futures[60:])
    found = naive_scores(train, test)
    assert found["regression"] == pytest.approx(0, abs=1e-9) and found["year_ago"] == pytest.approx(0, abs=1e-9)
    assert found["persistence"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("process", forecaster.PROCESSES)
def test_every_process_learns_an_autoregression_to_its_best_score(process, tmp_path):
    train, test, members = autoregression(20_000, 1), autoregression(400, 2), 20
    build = lambda: forecaster.Forecaster(32, 1, HORIZON)  # noqa: E731
    net = build()
    model = forecaster.model(net, process, HORIZON, 1.0)
    loss = series.denoising(train, 1.0, process_of(model), batch=256)
    for _ in loop.train(build, loss, loop.OptimizerConfig(2e-3, 100, 1000), 1500, tmp_path):
        pass
    weights.load_into(net.requires_grad_(False), loop.snapshot(tmp_path, 1500))
    conditions = {"contexts": np.repeat(test.contexts, members, 0)}
    drawn = latents(model, SamplingConfig("euler", 16), np.arange(400 * members), conditions)
    drawn = drawn.double().numpy().reshape(400, members, HORIZON)
    scores = [crps(ensemble, truth).mean() for ensemble, truth in zip(drawn, test.futures, strict=True)]
    error = np.std(scores) / math.sqrt(len(scores))
    assert np.mean(scores) == pytest.approx(best_crps(), abs=0.015 + 3 * error)


def test_processes_draw_the_same_windows_noise_and_levels():
    """With a network that hands back what it is given, z differs by alpha and sigma of the same x, noise and level."""
    train, seen = data.co2_windows()[0], {}
    for process in forecaster.PROCESSES:
        kind = process_of(forecaster.model(torch.nn.Identity(), process, data.HORIZON, 1.0))

        def net(z, t, context, kind=kind, name=process):
            level = t if kind.flow else t + 1
            seen[name] = level, context, *kind.coefficients(t, z), z
            return z

        net.parameters = lambda: iter([torch.zeros(1)])
        series.denoising(train, 1.0, kind, 8)(net, loop.step_generator(0, 7))
    pairs = [seen["flow"], seen["cosine"]]
    assert all(torch.equal(one, other) for one, other in zip(*[pair[:2] for pair in pairs], strict=True))
    chosen = torch.randint(len(train), (8,), generator=loop.step_generator(0, 7))
    x = torch.as_tensor(train.futures).float()[chosen]
    noises = [(z - alpha * x) / sigma for *_, alpha, sigma, z in seen.values()]
    assert torch.allclose(noises[0], noises[1], atol=0.02) and torch.allclose(noises[1], noises[2], atol=0.02)


@pytest.mark.parametrize("process", ["linear-beta", "cosine"])
@pytest.mark.parametrize("steps", [1, 5, 20])  # divisors of the 1,000 levels: DDIM's other steps overlap
def test_euler_is_ddim_where_both_can_run(process, steps):
    torch.manual_seed(0)
    net = forecaster.Forecaster(8, data.CONTEXT, data.HORIZON).requires_grad_(False)
    model = forecaster.model(net, process, data.HORIZON, 1.0)
    conditions = {"contexts": data.co2_windows()[1].contexts[:9]}
    drawn = [latents(model, SamplingConfig(name, steps), range(9), conditions) for name in ("euler", "ddim")]
    assert torch.allclose(*drawn, atol=2e-3)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_flow_steps_are_even_from_noise_to_data(steps):
    model = forecaster.model(torch.nn.Linear(1, 1), "flow", data.HORIZON, 1.0)
    for sampler in ("euler", "dpm++2m"):
        sigmas = planned(SamplingConfig(sampler, steps), model).sigmas
        assert torch.allclose(sigmas, torch.linspace(1, 0, steps + 1), atol=1.1e-3)


def test_stopped_and_resumed_is_bitwise_the_undisturbed_run(family, tmp_path):
    for place, stop in (("a", None), ("b", 5), ("b", None)):
        for step, _ in series.train_model(family, "w4-flow-s3", 8, tmp_path / place, save_every=2):
            if step == stop:
                break
    straight, resumed = (weights.load(tmp_path / place / "state.safetensors")[0] for place in "ab")
    assert straight.keys() == resumed.keys() and all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_the_loss_is_taken_on_the_device_of_the_network(family):
    net = family.build("w4-flow-s3").to("meta")  # stands for a GPU: tensors of two devices do not mix there either
    process = process_of(family.blueprint("w4-flow-s3"))
    loss = series.denoising(family.windows[0], family.scale, process)(net, torch.Generator().manual_seed(0))
    assert loss.device.type == "meta"


def test_labels_name_width_process_and_seed(family):
    file = family.file
    assert file.labels[0] == "w4-cosine-s0" and len(file.labels) == 8 and file.parts("w8-flow-s3") == (8, "flow", 3)
    with pytest.raises(InputError, match=r"has no model 'w9-flow-s0'. Its models are w4-cosine-s0 to w8-flow-s3"):
        file.parts("w9-flow-s0")
    (family.folder / "family.yaml").write_text(FAMILY.replace("flow", "learned"))
    with pytest.raises(InputError, match=r"'processes.1' was 'learned': Input should be 'linear-beta', 'cosine' or"):
        read_config(family.folder / "family.yaml", SeriesFamilyFile)


@pytest.mark.slow
def test_a_family_is_trained_released_and_measured_as_a_user_types_it(tmp_path, capsys):
    (tmp_path / "family.yaml").write_text(FAMILY)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    trained, released = str(tmp_path / "run"), str(tmp_path / "released")
    assert main(["collect", "train", str(tmp_path / "family.yaml"), "--out", trained, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "1390 windows to train on, 104 to test on; CRPS in ppm of persistence 0.7849" in said
    assert "w8-flow-s3: step 130, crps " in said
    assert main(["collect", "release", trained, released]) == 0
    table = pd.DataFrame(run(sweep.open_sweep(tmp_path / "sweep.yaml", tmp_path / "store")))
    assert len(table) == 32 and schema.check(table) == [] and set(table.interpolant) == {"cosine", "flow"}
    assert set(table.train_seed) == {0, 3} and (table.train_steps == 130).all() and (table.nfe == table.steps).all()
    family = open_family(tmp_path / "released")
    assert table.crps_regression.unique() == pytest.approx([naive_scores(*family.windows)["regression"]])
    row = table[(table.model == "w8-flow-s3") & (table.sampler == "euler") & (table.steps == 4)].iloc[0]
    model, test = family.model("w8-flow-s3"), family.windows[1]
    x = latents(model, SamplingConfig("euler", 4), range(416), family.task.conditions(range(416)))
    drawn = model.decode(x).double().numpy().reshape(104, 4, data.HORIZON)
    scores = [crps(ensemble, truth).mean() for ensemble, truth in zip(drawn, test.futures, strict=True)]
    assert row.crps == pytest.approx(np.mean(scores)) and row.crps_se == pytest.approx(
        np.std(scores, ddof=1) / math.sqrt(104), rel=1e-6
    )


def test_missing_weights_are_said(tmp_path):
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "family.yaml").write_text(FAMILY)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    with pytest.raises(InputError, match=r"w4-cosine-s0.safetensors: train the family first"):
        sweep.open_sweep(tmp_path / "sweep.yaml", tmp_path / "store")
