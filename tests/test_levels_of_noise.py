"""Two levels of noise: statsmodels as the outside, simulated families, and the bundled one."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import scalinglaws as sl
from scalinglaws.fitting import levels
from scalinglaws.laws import custom
from scalinglaws.schema import InputError


def family(model_sd, cell_sd, models=30, rows=8, seed=0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(models), rows)
    x = np.tile(np.linspace(0, 1, rows), models)
    y = 1 - 0.5 * x + model_sd * rng.standard_normal(models)[group] + cell_sd * rng.standard_normal(len(x))
    return pd.DataFrame({"x": x, "y": y, "group": group})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_sd, cell_sd", [(0.05, 0.02), (0.02, 0.05)])
def test_the_mode_under_a_flat_prior_is_that_of_statsmodels(model_sd, cell_sd):
    table = family(model_sd, cell_sd)
    mixed = smf.mixedlm("y ~ x", table, groups=table["group"]).fit(reml=True)
    line = np.polynomial.polynomial.polyfit(table["x"], table["y"], 1)
    residual = table["y"] - line[0] - line[1] * table["x"]
    found = levels.components(residual, table["group"], np.column_stack([np.ones(len(table)), table["x"]]), prior=None)
    m, c = np.unravel_index(found.grid.argmax(), found.grid.shape)
    step = levels.SDS[1] / levels.SDS[0]
    assert levels.SDS[m] == pytest.approx(float(np.sqrt(mixed.cov_re.iloc[0, 0])), rel=step - 1)
    assert levels.SDS[c] == pytest.approx(float(np.sqrt(mixed.scale)), rel=step - 1)


def test_intervals_hold_both_errors_of_simulated_families():
    inside = np.zeros(2)
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        true = np.exp([rng.normal(*levels.PRIOR["model"]), rng.normal(*levels.PRIOR["cell"])])
        table = family(*true, models=7, rows=8, seed=seed)
        line = np.column_stack([np.ones(len(table)), table["x"]])
        residual = table["y"] - line @ np.linalg.lstsq(line, table["y"], rcond=None)[0]
        found = levels.components(residual, table["group"], line)
        limits = (found.model_interval, found.cell_interval)
        inside += [low <= t <= high for (low, high), t in zip(limits, true, strict=True)]
    assert (inside >= 32).all() and (inside <= 40).all()  # 90 % of 40 is 36


def test_the_share_of_a_models_error_and_the_total():
    table = family(0.06, 0.03, models=60)
    line = np.column_stack([np.ones(len(table)), table["x"]])
    residual = table["y"] - line @ np.linalg.lstsq(line, table["y"], rcond=None)[0]
    found = levels.components(residual, table["group"], line)
    assert found.share == pytest.approx(0.06**2 / (0.06**2 + 0.03**2), abs=0.07)
    assert found.total == pytest.approx(np.hypot(0.06, 0.03), rel=0.15)


def test_errors_beyond_the_usual_grid_are_found():
    """A noise of 2 in ln quality, four times the largest value tried for usual tables."""
    residual = 2 * np.random.default_rng(0).standard_normal(200)
    found = levels.components(residual, np.repeat(np.arange(20), 10), prior=None)
    assert found.cell_sd == pytest.approx(residual.std(), rel=0.1)


def test_known_errors_of_cells_are_taken_off():
    rng = np.random.default_rng(0)
    known = np.full(400, 0.05)
    found = levels.components(known * rng.standard_normal(400), np.repeat(np.arange(50), 8), known=known)
    assert found.cell_sd < 0.02 and found.model_sd < 0.02


def test_an_error_is_never_zero():
    found = levels.components(np.zeros(6), np.repeat([0, 1, 2], 2))
    assert found.model_sd > 1e-3 and found.cell_sd > 1e-3


@pytest.mark.slow
def test_the_bundled_family_has_both():
    table = sl.read("tiny-ldm")
    rows = table[(table.sampler == "ddim") & (table.guidance == 1)]
    fit = sl.fit(rows, law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"}, replicates=5)
    found = levels.of_fit(fit)
    assert 0.005 < found.model_sd < 0.1 and found.models == 7 and "trained model" in found.summary()


def owned_family(seed=0, model_sd=0.05, cell_sd=0.01):
    """Sizes by steps of a known law, each size with an error of its own."""
    rng = np.random.default_rng(seed)
    sizes, steps = np.geomspace(1e6, 1e8, 6), np.array([4.0, 8, 16, 32, 64])
    n, s = (v.ravel() for v in np.meshgrid(sizes, steps, indexing="ij"))
    own = model_sd * rng.standard_normal(6)
    y = (5 + 300 * n**-0.3 + 60 * s**-1.2) * np.exp(np.repeat(own, 5) + cell_sd * rng.standard_normal(30))
    table = pd.DataFrame({"N": n, "S": s, "fd": y, "model": np.repeat(list("abcdef"), 5)})
    fit = sl.fit(table, "size_steps_plain", "fd", {"N": "N", "S": "S"}, replicates=60)
    return fit, table


def test_three_intervals_are_named_and_nested():
    fit, table = owned_family(model_sd=0.02)
    found = fit.predict(table, of="all")
    widths = {of: np.log(found[f"{of}_high"] / found[f"{of}_low"]).median() for of in levels.OF}
    assert 0 < 0.95 * widths["curve"] < widths["new_model"] and 0.95 * widths["owned"] < widths["new_model"]
    assert (found.filter(like="_high").min(axis=1) > found.filter(like="_low").max(axis=1) * 0.9).all()
    inside = (found["owned_low"] <= table["fd"]) & (table["fd"] <= found["owned_high"])
    assert inside.mean() > 0.8
    for of in levels.OF:
        one = fit.predict(table, of=of)
        assert one["low"].equals(found[f"{of}_low"].rename("low")) and one["value"].equals(found["value"])
    with pytest.raises(InputError, match="of='mean': give one of curve, owned, new_model, all"):
        fit.predict(table, of="mean")


def test_a_models_own_error_moves_its_interval():
    """A model that came out 10 % better than its law: of a new measurement of it, not of a new model of its size."""
    fit, table = owned_family(3, model_sd=0.08)
    found = fit.predict(table, of="all")
    off = np.log(table["fd"] / found["value"]).groupby(table["model"]).mean()
    rows = table["model"] == off.abs().idxmax()
    beyond = np.log(found["owned_high"] / table["fd"])[rows]
    assert (table["fd"][rows] > found["owned_low"][rows]).all() and beyond.between(0, 0.1).all()
    widths = {of: np.log(found[f"{of}_high"] / found[f"{of}_low"])[rows].median() for of in levels.OF}
    assert off.abs().max() > 0.1 and widths["owned"] < 0.7 * widths["new_model"]


@pytest.mark.parametrize("residuals", ["log", "raw", "log1p"])
def test_an_exact_fit_has_an_interval(residuals):
    """4 rows on a law, forecast 100 times beyond: residuals of nothing do not measure the noise, the prior does."""
    n = np.array([1e6, 3e6, 1e7, 3e7])
    table = pd.DataFrame({"params": n, "fid": 6 + 5000 * n**-0.6})
    fit = sl.fit(table, "power_floor", "fid", {"N": "params"}, residuals=residuals, replicates=200)
    found = fit.predict(pd.DataFrame({"params": [3e7, 3e9]}), of="all")
    widths = pd.DataFrame({of: np.log(found[f"{of}_high"] / found[f"{of}_low"]) for of in levels.OF})
    assert (widths > 0.02).all(axis=None) and (widths < 1).all(axis=None)
    assert (widths.iloc[1] > widths.iloc[0]).all()


def test_along_steps_all_rows_are_one_model_and_its_error_belongs_to_a_new_one():
    steps = 2.0 ** np.arange(10)
    shock = np.exp(0.01 * np.random.default_rng(0).standard_normal(10))
    table = pd.DataFrame({"steps": steps, "fd": (5 + 60 / steps) * shock})
    fit = sl.fit(table, "power_floor", "fd", {"S": "steps"}, replicates=400)
    assert fit.levels.models == 1 and fit.levels.model_sd == pytest.approx(np.exp(levels.PRIOR["model"][0]), rel=0.1)
    found = fit.predict(table, of="all")
    widths = {of: np.log(found[f"{of}_high"] / found[f"{of}_low"]).median() for of in levels.OF}
    assert widths["owned"] < 0.06 < widths["new_model"]
    assert "from other studies: all rows are of one model" in fit.summary()


def test_losses_have_a_prior_of_their_own():
    """Of 25 runs that err by 0.3 % nine tenths of the 90 % intervals hold the curve, and are not those of images."""
    assert levels.prior_of("val_loss") == levels.prior_of("loss") == levels.PRIOR_OF_LOSS
    assert levels.prior_of("fid") == levels.prior_of("lossless_share") == levels.PRIOR
    sizes, lengths = np.geomspace(1e8, 3e9, 5), np.geomspace(2e9, 6e10, 5)
    n, d = (axis.ravel() for axis in np.meshgrid(sizes, lengths, indexing="ij"))
    curve, held, widths = 1.8 + 480 * n**-0.35 + 2000 * d**-0.37, [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        errors = np.repeat(0.003 * rng.standard_normal(5), 5) + 0.0015 * rng.standard_normal(25)
        table = pd.DataFrame({"params": n, "tokens": d, "loss": curve * np.exp(errors)})
        found = sl.fit(table, "chinchilla", "loss", {"N": "params", "D": "tokens"}, replicates=100).predict(table)
        held.append(((found["low"] <= table["loss"]) & (table["loss"] <= found["high"])).mean())
        widths.append(np.log(found["high"] / found["low"]).median() / 2)
    assert np.mean(held) > 0.88 and np.median(widths) < 0.006


def test_a_law_that_misfits_does_not_make_models_err_by_more_than_they_lie_off_it():
    """Longer runs help large models more than the law can say: no model errs by itself, cells by 0.2 %."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(2e8, 6e9, 25), np.geomspace(2e9, 1e11, 12), indexing="ij"))
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(300))
    table = pd.DataFrame(
        {"N": n, "D": d, "loss": (0.3 + 300 * n**-0.38 + (d / 2e9) ** -0.3 * (n / 1e9) ** -0.1) * noise}
    )
    fit = sl.fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=60)
    off = np.log(table["loss"] / fit.curve(fit.problem.data.x)).to_numpy()
    assert 0.015 < off.std() < 0.03 and 0.004 < off.reshape(25, 12).mean(axis=1).std() < 0.006
    assert fit.levels.model_sd < 0.006 and fit.levels.cell_sd == pytest.approx(off.std(), rel=0.1)


def test_rows_that_go_the_wrong_way_are_noise_to_a_law_on_its_bound():
    """A falling law is flat through rows that rise: what it misses is noise, not a slope that it could have had."""
    table = pd.DataFrame({"n": np.geomspace(1, 100, 4), "q": [3.0, 4.0, 5.0, 6.0]})
    fit = sl.fit(table, "power", "q", {"N": "n"}, replicates=100)
    found = fit.predict(table)
    assert fit.levels.total > 0.15 and ((found["low"] < table["q"]) & (table["q"] < found["high"])).all()


def test_seeds_of_a_training_are_models_of_their_own():
    rng = np.random.default_rng(0)
    sizes, seeds, steps = np.geomspace(1e6, 1e8, 4), np.arange(5), np.array([4.0, 16, 64])
    n, k, s = (v.ravel() for v in np.meshgrid(sizes, seeds, steps, indexing="ij"))
    own = 0.05 * rng.standard_normal((4, 5))
    y = (5 + 300 * n**-0.3 + 60 * s**-1.2) * np.exp(np.repeat(own.ravel(), 3) + 0.005 * rng.standard_normal(60))
    table = pd.DataFrame({"N": n, "S": s, "train_seed": k, "fd": y})
    fit = sl.fit(table, "size_steps_plain", "fd", {"N": "N", "S": "S"}, replicates=100)
    assert fit.levels.models == 20 and fit.levels.model_sd == pytest.approx(own.std(), rel=0.35)
    new = pd.DataFrame({"N": sizes[0], "S": 16.0, "train_seed": seeds})
    middle = np.log(fit.predict(new)["low"] * fit.predict(new)["high"]).to_numpy() / 2
    assert np.corrcoef(middle, own[0])[0, 1] > 0.95  # each seed has the interval of its own
    unnamed = fit.predict(new.iloc[:1].drop(columns="train_seed"))  # any of the five
    assert unnamed["high"].iloc[0] > np.exp(middle.max()) and unnamed["low"].iloc[0] < np.exp(middle.min())


def test_many_rows_may_show_less_noise_than_the_grid_and_standard_errors_that_are_shared():
    n = np.geomspace(1e6, 1e9, 60)
    shock = 2e-4 * np.random.default_rng(0).standard_normal(60)
    table = pd.DataFrame({"params": n, "loss": (2 + 400 * n**-0.3) * np.exp(shock)})
    table["loss_se"] = 0.03 * table["loss"]  # of the images or texts that all cells share
    fit = sl.fit(table, "power_floor", "loss", {"N": "params"}, replicates=200)
    found = fit.predict(table)
    assert not fit.levels.independent
    assert np.log(found["high"] / found["low"]).median() == pytest.approx(2 * 1.645 * 2e-4, rel=0.5)


@pytest.mark.parametrize("se, share", [(0.01, 1.0), (0.1, 1.0), (0.01, 0.5), (0.1, 0.5)])
def test_rows_of_unlike_errors_have_each_the_shape_of_a_normal(se, share):
    """Half of the rows err by 1 %, half by 10 %: pooled as they are they would be no normal."""
    steps, known = np.geomspace(1, 512, 400), np.tile([0.01, 0.1], 200)
    shock = np.exp(known * np.random.default_rng(0).standard_normal(400))
    table = pd.DataFrame({"steps": steps, "fd": (5 + 60 / steps) * shock})
    table["fd_se"] = known * table["fd"]
    fit = sl.fit(table, "power_floor", "fd", {"S": "steps"}, replicates=1000)
    new = pd.DataFrame({"steps": np.geomspace(10, 50, 5)})
    new["fd"] = fit.predict(new)["value"]
    found = fit.predict(new.assign(fd_se=se * new["fd"]), level=0.9 if share == 1 else 0.5)
    width = np.log(found["high"] / found["low"]).median() / 2
    assert width == pytest.approx((1.645 if share == 1 else 0.674) * np.hypot(se, fit.levels.cell_sd), rel=0.15)


@pytest.mark.parametrize("residuals", ["raw", "log1p"])
def test_the_next_row_lies_where_least_squares_says(residuals):
    """A straight line in 1/x on the scale of the residuals: the intervals of statsmodels, of the line and of a row."""
    from statsmodels.api import OLS, add_constant

    to, back = (np.log1p, np.expm1) if residuals == "log1p" else (np.asarray, np.asarray)
    x, shock = np.geomspace(1, 8, 10), np.array([0.1, -0.1, 2, 0, -0.1, 0.1, -2, 0.1, 0, -0.1])
    table = pd.DataFrame({"x": x, "y": back(0.5 + 0.8 / x + 0.05 * shock)})
    law = custom(lambda x, E, A: (np.exp(E + A / x) - 1) if residuals == "log1p" else E + A / x, ("E", "A"))
    fit = sl.fit(table, law, "y", {"x": "x"}, residuals=residuals, loss="squares", replicates=4000)
    rival = OLS(to(table["y"]), add_constant(1 / x)).fit().get_prediction([1.0, 1 / 3.0])
    for of in ("curve", "owned"):
        found = to(fit.predict(pd.DataFrame({"x": [3.0]}), of=of)[["low", "high"]].to_numpy()[0])
        low, high = rival.conf_int(obs=of == "owned", alpha=0.1)[0]
        assert found.mean() == pytest.approx((low + high) / 2, rel=0.005)
        assert np.ptp(found) == pytest.approx(high - low, rel=0.03)
