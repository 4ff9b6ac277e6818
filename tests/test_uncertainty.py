"""Intervals: three roads to the same answer, and how often they are right."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from test_fit import EDM2, LANGUAGE
from test_laws import TRUTH, rows

from scalinglaws.fitting import coverage, fit
from scalinglaws.fitting.batching import minimise_all
from scalinglaws.fitting.bootstrap import degrees_of_freedom
from scalinglaws.fitting.diagnostics import cluster_effects
from scalinglaws.laws import LAWS, custom
from scalinglaws.schema import InputError


def fitted(name, noise=0.02, seed=0, **options):
    symbols = {symbol: symbol for symbol in TRUTH[name][1]}
    return fit(rows(name, noise, seed), name, "y", symbols, **options)


@pytest.mark.parametrize("name", ["power", "power_floor", "size_steps_interaction", "bnsl_1", "kaplan"])
def test_bootstrap_and_profile_agree_where_the_law_is_well_determined(name):
    result = fitted(name, loss="squares", replicates=2000, bootstrap="residual")  # rows independent, as in a profile
    one, two = result.interval(0.9), result.interval(0.9, "profile")
    width = (two["high"] - two["low"]).to_numpy()
    assert (np.abs(one["low"] - two["low"]) < 0.25 * width).all()
    assert (np.abs(one["high"] - two["high"]) < 0.25 * width).all()


def test_profile_ends_raise_the_objective_by_what_student_allows():
    result = fit(EDM2, "power_floor", "fid", {"N": "gflops"}, loss="squares")
    ends = result.interval(0.9, "profile")
    goal = result.objective * (1 + 2.353363**2 / 3)  # Student's t at 0.95 with 3 degrees of freedom
    for E in ends.loc["E", ["low", "high"]]:
        rest = fit(EDM2.assign(fid=EDM2["fid"] - E), "power", "fid", {"N": "gflops"}, loss="squares", residuals="raw")
        A, a = rest.values["A"], rest.values["a"]
        assert E + A > 0 and a > 0
        held = _best_with_floor(E)
        assert held == pytest.approx(goal, rel=1e-3)


def _best_with_floor(E):
    """Least squares on logs of E + A x^-a with E held, by scipy."""
    from scipy.optimize import minimize

    x, y = np.log(EDM2["gflops"]), np.log(EDM2["fid"])
    loss = lambda p: 0.5 * np.sum((np.log(E + np.exp(p[0] - p[1] * (x - 5))) - y) ** 2)  # noqa: E731
    return minimize(loss, [-0.5, 0.9], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-16}).fun


@pytest.mark.slow
def test_a_profile_looks_into_the_other_basins():
    """A best fit with a kink (f2 on its bound) whose smooth rival is 0.6 % higher: both lie in the interval."""
    result = fit(rows("bnsl_2", 0.02, 0), "bnsl_2", "y", {"x": "x"}, loss="squares")
    assert result.trust.on_bound == ("f2",) and result.trust.gap < 0.01
    rival = result.problem.coordinates.natural(
        result.minima.theta[result.minima.objective > result.objective * 1.001][0]
    )
    ends = result.interval(0.9, "profile")
    assert (ends["low"] <= np.minimum(result.theta, rival) * (1 + 1e-9)).all()
    assert (ends["high"] >= np.maximum(result.theta, rival) * (1 - 1e-9)).all()


def test_a_floor_that_is_not_there_has_a_profile_down_to_zero():
    table = pd.DataFrame({"n": np.geomspace(1, 1e3, 12)})
    shock = 0.05 * np.random.default_rng(1).standard_normal(12)
    result = fit(table.assign(q=5 * table["n"] ** -0.5 * np.exp(shock)), "power_floor", "q", {"N": "n"})
    assert result.interval(0.9, "profile").loc["E", "low"] == 0.0
    assert result.trust.floor_identified is False
    assert "The floor E" in " ".join(result.warnings)


def test_published_standard_errors_of_the_chinchilla_points():
    """Besiroglu et al. 2024, arXiv:2404.10102: 4,000 pair resamples, their draws, within 0.5 %."""
    path = LANGUAGE / "epoch_chinchilla_svg_extracted_data.csv"
    if not path.exists():
        pytest.skip("the Chinchilla points are not on this machine")
    table = pd.read_csv(path)
    table = table[table["loss"].rank(ascending=False) > 5]
    table = table.assign(D=table["Training FLOP"] / (6 * table["Model Size"]))
    result = fit(table, "chinchilla", "loss", {"N": "Model Size", "D": "D"}, delta=1e-3)
    rows, draw = len(table), np.random.RandomState(42)
    weights = np.stack([np.bincount(draw.choice(rows, rows), minlength=rows) for _ in range(4000)]).astype(float)
    objective, starts = result.problem.objective.with_(weight=weights), np.tile(result.minima.theta[0], (4000, 1))
    refits = minimise_all([objective], [starts])[0]
    errors = dict(zip(result.law.params, result.problem.coordinates.natural(refits.theta).std(axis=0), strict=True))
    assert errors == pytest.approx({"A": 124.5, "B": 1293, "E": 0.0257, "a": 0.0154, "b": 0.0206}, rel=5e-3)


def test_bootstrap_keeps_a_configuration_together():
    table = pd.concat([rows("power_floor", 0.02, seed) for seed in range(4)])
    result = fit(table, "power_floor", "y", {"N": "x"}, replicates=300, bootstrap="pair")
    assert len(np.unique(result.problem.data.cluster)) == 12
    single = fit(table.reset_index(), "power_floor", "y", {"N": "x"}, cluster="index", replicates=300)
    assert np.array_equal(np.sort(np.unique(single.problem.data.cluster)), np.arange(12))


def straight(x, noise, **options):
    """A straight line in 1/x by least squares on the raw scale, and the design of it at x and at 1."""
    y = 2 + 3 / x + noise * np.random.default_rng(4).standard_normal(len(x))
    law = custom(lambda x, E, A: E + A / x, ("E", "A"))
    table = pd.DataFrame({"x": x, "y": y, "se": noise})
    found = fit(table, law, "y", {"x": "x"}, residuals="raw", loss="squares", replicates=4000, **options)
    low, high = found.predict(pd.DataFrame({"x": [1.0]}), of="curve")[["low", "high"]].to_numpy()[0]
    return y, sm.add_constant(1 / x), (low, high)


def test_the_wild_bootstrap_is_that_of_hc2():
    """MacKinnon and White 1985 by statsmodels; noise that grows to the end that all leverage is at."""
    x = np.geomspace(1, 50, 30)
    y, design, (low, high) = straight(x, 0.05 + 0.2 / x**2, bootstrap="wild")
    robust = sm.OLS(y, design).fit(cov_type="HC2")
    error = np.sqrt(np.ones(2) @ robust.cov_params() @ np.ones(2)) * np.sqrt(30 / 29)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, 28) * error, rel=0.06)


def test_pooled_residuals_of_rows_with_standard_errors_are_weighted_least_squares():
    x = np.geomspace(1, 20, 8)
    noise = np.where(np.arange(8) % 2, 0.02, 0.2)
    y, design, (low, high) = straight(x, noise, se="se", bootstrap="residual")
    rival = sm.WLS(y, design, weights=noise**-2).fit().get_prediction([1.0, 1.0]).conf_int(alpha=0.1)[0]
    assert high - low == pytest.approx(np.ptp(rival), rel=0.06)


def test_clusters_less_one_are_the_degrees_of_freedom():
    """Cameron, Gelbach and Miller 2008: t of G - 1; of single rows those less the parameters."""
    table = rows("size_steps_plain", 0.02, 0)
    alone, clustered = (fit(table, "size_steps_plain", "y", {"N": "N", "S": "S"}, replicates=1, **options)
                        for options in ({}, {"cluster": "N"}))  # fmt: skip
    assert degrees_of_freedom(alone.problem) == len(table) - 5
    assert degrees_of_freedom(clustered.problem) == table["N"].nunique() - 1


def test_a_shared_error_is_found_by_an_analysis_of_variance():
    table = rows("size_steps_plain", 0.02, 3)
    found = fit(table, "size_steps_plain", "y", {"N": "N", "S": "S"}, loss="squares", replicates=1)
    residual = pd.Series(found.problem.residuals(found.minima.theta[0]))
    effects = cluster_effects(found.problem, found.minima.theta[0])
    assert set(effects) == {"N", "S"}
    for column, p in effects.items():
        groups = residual.groupby(table[column].to_numpy())
        within, between = (groups.var(ddof=0) * groups.size()).sum(), (groups.size() * groups.mean() ** 2).sum()
        spare = len(table) - groups.ngroups - 5
        ratio = between / (groups.ngroups - 1) / (within / spare)
        assert p == pytest.approx(stats.f.sf(ratio, groups.ngroups - 1, spare), rel=1e-6) and 0.01 < p < 1


def test_unknown_method():
    with pytest.raises(InputError, match="No intervals named 'magic'"):
        fitted("power").interval(0.9, "magic")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bootstrap", "profile"])
@pytest.mark.parametrize("name", [name for name in LAWS if name not in ("bnsl_2", "bnsl_3")])
def test_ninety_percent_intervals_cover(name, method):
    """200 noisy replicates of a design with eight sizes or more; the mean over the law's parameters.

    No model errs by itself there. So few models cannot rule out that they do: by levels parameters in size hold more.
    """
    result = fitted(name, 0.02, loss="squares", replicates=400)
    result = fit(rows(name), name, "y", result.inputs, loss="squares", replicates=400)
    cover = coverage(result, 200, 0.9, method, noise=0.02)["cover"]
    most = 0.98 if method == "bootstrap" and result.bootstrap == "levels" else 0.94
    assert 0.86 <= cover.mean() <= most and cover.min() > 0.8


def test_coverage_is_measured_with_the_noise_that_the_fit_takes_for_granted():
    """Standard errors of 0.2 % and 20 %: noise that is even would put most of it on the exact rows."""
    x, rng = np.geomspace(1, 1e4, 14), np.random.default_rng(1)
    se = np.where(x > 50, 0.002, 0.2)
    table = pd.DataFrame({"x": x, "y": (2 + 8 * x**-0.6) * np.exp(se * rng.standard_normal(14))})
    table["se"] = se * table["y"]
    result = fit(table, "power_floor", "y", {"N": "x"}, loss="squares", se="se")
    assert 0.82 <= coverage(result, 150, 0.9, "delta", noise=0.002)["cover"].mean() <= 0.96


@pytest.mark.slow
def test_few_sizes_are_warned_about_and_their_coverage_is_known():
    table = rows("power_floor").iloc[[0, 3, 6, 9, 11]]
    result = fit(table, "power_floor", "y", {"N": "x"}, loss="squares", replicates=400)
    assert "Only 5 different values of N" in " ".join(result.warnings)
    assert coverage(result, 200, noise=0.01)["cover"].mean() > 0.8


def sized(seed, spread=0.05) -> pd.DataFrame:
    """Every size has an error of its own, as one trained model has."""
    table, rng = rows("size_steps_plain", 0.01, seed), np.random.default_rng(seed)
    return table.assign(
        y=table["y"] * np.exp(spread * rng.standard_normal(10))[table["N"].rank(method="dense").astype(int) - 1]
    )


def test_sizes_that_share_an_error_are_reported_and_each_model_is_given_one():
    alone = fit(sized(1), "size_steps_plain", "y", {"N": "N", "S": "S"}, bootstrap="residual")
    assert "Rows with the same N share an error" in " ".join(alone.warnings)
    assert "resample them together with cluster='N'" in " ".join(alone.warnings)
    whole = fit(sized(1), "size_steps_plain", "y", {"N": "N", "S": "S"})
    assert "Rows with the same N (N) share an error" in whole.notes[0] and "each trained model" in whole.notes[0]
    assert "share an error" not in " ".join(whole.warnings)
    new = pd.DataFrame({"N": [1e10], "S": [64.0]})
    width = [float(np.ptp(result.predict(new, of="curve")[["low", "high"]].to_numpy())) for result in (alone, whole)]
    assert width[1] > 1.5 * width[0] and whole.bootstrap == "levels"
    assert "1000 levels replicates" in whole.summary()


def power_of_models(seed, models=12, cells=6) -> pd.DataFrame:
    """ln y = ln 5 - 0.3 ln N, an error of 4 % for each model and of 2 % for each cell."""
    rng = np.random.default_rng(seed)
    size = np.repeat(np.geomspace(1e6, 1e9, models), cells)
    errors = np.repeat(0.04 * rng.standard_normal(models), cells) + 0.02 * rng.standard_normal(len(size))
    return pd.DataFrame({"N": size, "seed": np.tile(range(cells), models), "y": 5 * size**-0.3 * np.exp(errors)})


@pytest.mark.filterwarnings("ignore:The MLE may be on the boundary")
def test_replicates_by_levels_have_the_standard_error_of_a_mixed_model():
    ratios = []
    for seed in range(5):
        table = power_of_models(seed)
        ours = fit(table, "power", "y", {"N": "N"})
        assert ours.bootstrap == "levels"
        theirs = sm.MixedLM(np.log(table["y"]), sm.add_constant(np.log(table["N"])), groups=table["N"]).fit(reml=True)
        ratios.append(np.std(ours.replicates[:, ours.law.params.index("a")]) / theirs.bse["N"])
    assert min(ratios) > 0.95 and max(ratios) < 1.25, ratios


def test_more_replicates_are_drawn_by_the_method_of_the_fit():
    one = fit(power_of_models(0), "power", "y", {"N": "N"}, replicates=50)
    assert one.bootstrap == "levels"
    np.testing.assert_array_equal(one.resampled(50), one.replicates)


def test_levels_need_relative_errors_and_give_way_to_what_the_user_asks():
    table = power_of_models(1)
    with pytest.raises(InputError, match="give residuals='log', or another bootstrap"):
        fit(table, "power", "y", {"N": "N"}, residuals="raw", bootstrap="levels").replicates  # noqa: B018
    for option in ({"cluster": "N"}, {"asymmetry": 0.3}):
        with pytest.raises(InputError, match="leave out cluster= and asymmetry="):
            fit(table, "power", "y", {"N": "N"}, bootstrap="levels", **option)
    assert fit(table, "power", "y", {"N": "N"}, residuals="raw").bootstrap != "levels"
    assert fit(table, "power", "y", {"N": "N"}, cluster="N").bootstrap == "pair"
    assert fit(table, "power", "y", {"N": "N"}, bootstrap="residual").bootstrap == "residual"
    one_each = table[table["seed"] == 0]
    assert fit(one_each, "power", "y", {"N": "N"}).bootstrap == "residual"
    assert fit(one_each, "power", "y", {"N": "N"}, bootstrap="levels").bootstrap == "levels"


@pytest.mark.slow
@pytest.mark.parametrize("design", ["five sizes", "four sizes, three trainings"])
def test_intervals_beyond_few_models_hold_by_levels_and_not_by_rows(design):
    of_models = pytest.importorskip("benchmarks.coverage").of_models
    held = of_models(design, "levels", 150).drop(columns="half width").mean()
    assert (held > 0.83).all() and (held < 0.99).all(), held
    assert of_models(design, "single residuals", 60)["beyond"].mean() < 0.8


@pytest.mark.slow
def test_ninety_percent_predictions_hold_the_next_measurement():
    law, truth = LAWS["size_steps_interaction"], TRUTH["size_steps_interaction"][0]
    new = pd.DataFrame({"N": [3e7, 1e10], "S": [20.0, 20.0]})
    curve = law.curve([truth[p] for p in law.params], {s: new[s] for s in new})
    held, rng = np.zeros(2), np.random.default_rng(1)
    for seed in range(200):
        predicted = fitted("size_steps_interaction", 0.02, seed, replicates=300).predict(new)
        measured = curve * np.exp(0.02 * rng.standard_normal(2))
        held += (predicted["low"] <= measured) & (measured <= predicted["high"])
    assert (held / 200 > 0.85).all() and (held / 200 < 0.99).all()  # no model errs by itself, which few cannot show
