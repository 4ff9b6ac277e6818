"""Lines with errors in both coordinates beside published numbers and scipy.odr; effective robustness by simulation."""

import warnings

import numpy as np
import pandas as pd
import pytest

from scalinglaws.decide.robustness import effective_robustness
from scalinglaws.decide.york import york_line
from scalinglaws.schema import InputError, NoAnswer

# Pearson's data with York's weights: York 1966, Canadian Journal of Physics 44:1079, table II
PEARSON_X = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
PEARSON_Y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
WEIGHT_X = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0])
WEIGHT_Y = np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])


def test_pearsons_data_with_yorks_weights_give_the_published_line():
    line = york_line(PEARSON_X, PEARSON_Y, WEIGHT_X**-0.5, WEIGHT_Y**-0.5, scatter=False)
    assert line.slope == pytest.approx(-0.480533407, abs=1e-8)
    assert line.intercept == pytest.approx(5.479910224, abs=1e-8)
    assert line.slope_se == pytest.approx(0.0580, abs=5e-5) and line.intercept_se == pytest.approx(0.295, abs=5e-4)
    assert line.chi2 / 8 == pytest.approx(1.4833, abs=1e-4)


def test_it_is_orthogonal_distance_regression():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        odr = pytest.importorskip("scipy.odr")
        rng = np.random.default_rng(0)
        x = rng.normal(size=12)
        sx, sy = rng.uniform(0.05, 0.3, (2, 12))
        y = 0.3 + 1.2 * x + sy * rng.normal(size=12)
        seen = x + sx * rng.normal(size=12)
        model = odr.Model(lambda b, x: b[0] + b[1] * x)
        theirs = odr.ODR(odr.RealData(seen, y, sx, sy), model, [0.0, 1.0], sstol=1e-14, partol=1e-14, maxit=500).run()
    ours = york_line(seen, y, sx, sy, scatter=False)
    assert [ours.intercept, ours.slope] == pytest.approx(theirs.beta, rel=1e-5)
    assert ours.chi2 == pytest.approx(theirs.sum_square, rel=1e-6)


def test_without_errors_of_x_it_is_weighted_least_squares():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    x, sy = rng.normal(size=20), rng.uniform(0.1, 1, 20)
    y = 1 + 2 * x + sy * rng.normal(size=20)
    ours, theirs = york_line(x, y, np.zeros(20), sy, scatter=False), sm.WLS(y, sm.add_constant(x), sy**-2).fit()
    assert [ours.intercept, ours.slope] == pytest.approx(theirs.params)
    assert [ours.intercept_se, ours.slope_se] == pytest.approx(theirs.bse / np.sqrt(theirs.scale))
    assert ours.se(0.7) == pytest.approx(np.sqrt([1, 0.7] @ (theirs.cov_params() / theirs.scale) @ [1, 0.7]))


def test_the_scatter_of_the_points_is_estimated_without_bias():
    rng, taus, slopes = np.random.default_rng(2), [], []
    for _ in range(200):
        x = rng.normal(size=12)
        y = 0.5 + x + np.hypot(0.1, 0.3) * rng.normal(size=12)
        line = york_line(x + 0.1 * rng.normal(size=12), y, np.full(12, 0.1), np.full(12, 0.1))
        taus.append(line.tau), slopes.append(line.slope)
    assert np.sqrt(np.mean(np.square(taus))) == pytest.approx(0.3, rel=0.12)
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.02)  # ordinary least squares would give 0.99
    assert york_line([0, 1, 2], [0, 1, 2.1], [0.1] * 3, [0.1] * 3).tau == 0


def logit(p):
    return np.log(p / (1 - p))


def share(z):
    return 1 / (1 + np.exp(-z))


def study(count=1000, models=10, off=0.0, tau=0.0, seed=0, exact=False):
    """Models between 0.3 and 0.85 on the reference; under the shift logit p = 0.9 logit p - 0.8, model m0 `off` it."""
    rng = np.random.default_rng(seed)
    p = np.linspace(0.3, 0.85, models)
    q = share(0.9 * logit(p) - 0.8 + tau * rng.standard_normal(models) + off * (np.arange(models) == 0))
    draw = (lambda p: p) if exact else (lambda p: rng.binomial(count, p) / count)
    base = pd.DataFrame({"model": [f"m{k}" for k in range(models)], "params": np.arange(models) + 1.0,
                         "n_samples_for_metric": count})  # fmt: skip
    return pd.concat([base.assign(agreement=draw(p)), base.assign(dataset="names", agreement=draw(q))])


def test_without_noise_the_trend_and_the_residual_are_exact():
    found = effective_robustness(study(exact=True, count=10**9))
    line = found.lines.iloc[0]
    assert line["slope"] == pytest.approx(0.9, abs=1e-6) and np.abs(found.rows["robustness"]).max() < 1e-7
    assert not found.rows["differs"].any() and line["tau"] == 0


def test_a_model_off_the_trend_is_told_from_the_others():
    found = effective_robustness(study(off=0.6, count=4000))
    first = found.rows.iloc[0]
    assert found.rows["differs"].tolist() == [True] + [False] * 9
    assert first["logits"] == pytest.approx(0.6, abs=0.15) and first["robustness"] > 0.05
    assert first["low"] < first["shifted"] - share(0.9 * logit(0.3) - 0.8) < first["high"]
    assert "m0 on names (+0." in found.answer


@pytest.mark.parametrize("tau", [0.0, 0.2])
def test_intervals_contain_no_robustness_as_often_as_they_say(tau):
    inside, off = [], 0
    for seed in range(60):
        rows = effective_robustness(study(tau=tau, seed=seed)).rows
        inside += ((rows["low"] <= 0) & (rows["high"] >= 0)).tolist()
        off += bool(rows["differs"].any())
    assert 0.86 < np.mean(inside) < 0.97
    assert off / 60 < 0.2  # a family-wise level of 0.1


def test_the_detectable_effect_is_detected_in_four_of_five():
    size = effective_robustness(study(seed=1)).lines["detectable"].iloc[0]
    middle = 5
    hits = []
    for seed in range(60):
        table = study(seed=seed)
        p = np.linspace(0.3, 0.85, 10)[middle]
        moved = share(0.9 * logit(p) - 0.8) + size
        at = (table["model"] == f"m{middle}") & (table["dataset"] == "names")
        table.loc[at, "agreement"] = np.random.default_rng(seed).binomial(1000, moved) / 1000
        hits.append(effective_robustness(table).rows["differs"].iloc[middle])
    assert 0.6 < np.mean(hits) < 0.95


def test_models_outside_the_trend_and_other_formats():
    table = study(count=4000)
    table["variant"] = np.where(table["model"] == "m3", "student", "")
    table.loc[(table["model"] == "m3") & (table["dataset"] == "names"), "agreement"] -= 0.2
    found = effective_robustness(table.rename(columns={"dataset": "prompts"}), by="prompts", trend={"variant": ""})
    student = found.rows[~found.rows["trend"]]
    assert student["model"].tolist() == ["m3, student"] and student["differs"].all()
    assert student["robustness"].iloc[0] == pytest.approx(-0.2, abs=0.06) and found.lines["models"].iloc[0] == 9


def test_a_share_of_none_has_a_logit():
    table = study()
    table.loc[(table["model"] == "m0") & (table["dataset"] == "names"), "agreement"] = 0.0
    rows = effective_robustness(table).rows
    assert np.isfinite(rows[["robustness", "low", "high", "z"]]).all().all() and rows["differs"].iloc[0]


def test_it_shows_itself_in_five_ways():
    found = effective_robustness(study())
    assert "has slope 0.89" in repr(found) and "\n" not in repr(found) and found.answer in found.summary()
    assert len(found.to_frame()) == 10 and "<table" in found._repr_html_()
    ax = found.plot()
    assert ax.get_xscale() == ax.get_yscale() == "logit"
    assert found.plot_residuals().get_xlabel().startswith("effective robustness")


def test_what_it_cannot_use_is_said():
    table = study()
    with pytest.raises(InputError, match="has no column dataset"):
        effective_robustness(table[:10].drop(columns="dataset"))
    with pytest.raises(InputError, match="No rows with dataset 'pairs'"):
        effective_robustness(table, shifts=["pairs"])
    with pytest.raises(InputError, match="Errors are needed"):
        effective_robustness(table.drop(columns="n_samples_for_metric"))
    with pytest.raises(InputError, match="must be a share"):
        effective_robustness(table.assign(fd=2.0), "fd")
    with pytest.raises(NoAnswer, match="A trend needs 4 models"):
        effective_robustness(study(models=3))
