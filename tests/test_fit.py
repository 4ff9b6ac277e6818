"""fit(): reference answers, recovery, sentences."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalinglaws import laws
from scalinglaws.fitting import fit
from scalinglaws.schema import InputError

LANGUAGE = Path(__file__).parents[2] / "shared" / "data" / "language"
EDM2 = pd.DataFrame({"gflops": [46, 102, 181, 282, 406, 552], "fid": [3.53, 2.56, 2.25, 2.06, 1.96, 1.91]})
SIZES, STEPS = np.geomspace(1e6, 1e8, 8), 2.0 ** np.arange(1, 9)
STEPPED = {"N": "flops", "S": "steps"}


def grid(truth: dict, noise=0.0, seed=0, law="size_steps_interaction") -> pd.DataFrame:
    """Sizes x steps with a known law and log-normal noise."""
    table = pd.DataFrame([(n, s) for n in SIZES for s in STEPS], columns=["flops", "steps"])
    row = laws.LAWS[law]
    value = row.curve([truth[p] for p in row.params], {"N": table["flops"], "S": table["steps"]})
    shock = np.random.default_rng(seed).standard_normal(len(table))
    return table.assign(fd=value * np.exp(noise * shock))


@pytest.mark.parametrize(
    ("options", "E", "A", "a"),
    [
        ({"loss": "squares"}, 1.7395, 66.74, 0.9459),
        ({"delta": 1e-3}, 1.7448, 69.99, 0.9584),
        ({"loss": "squares", "residuals": "raw"}, 1.7471, 69.87, 0.9585),
    ],
)
def test_edm2_six_sizes(options, E, A, a):
    values = fit(EDM2, "power_floor", "fid", {"N": "gflops"}, **options).values
    assert (round(values["E"], 4), round(values["A"], 2), round(values["a"], 4)) == (E, A, a)


@pytest.fixture(scope="module")
def chinchilla() -> pd.DataFrame:
    path = LANGUAGE / "epoch_chinchilla_svg_extracted_data.csv"
    if not path.exists():
        pytest.skip("the Chinchilla points are not on this machine")
    table = pd.read_csv(path).sort_values("loss").iloc[:-5]
    return table.assign(D=table["Training FLOP"] / (6 * table["Model Size"]))


def test_chinchilla_points(chinchilla):
    result = fit(chinchilla, "chinchilla", "loss", {"N": "Model Size", "D": "D"}, delta=1e-3)
    assert result.objective == pytest.approx(0.0010182740178006, rel=1e-8)
    assert result.values == pytest.approx(
        {"A": 477.82587, "B": 2143.41736, "E": 1.81722, "a": 0.34731050, "b": 0.36717243}, rel=1e-5
    )
    assert result.trust.agreed == result.trust.starts


@pytest.mark.parametrize("g", [0.0, -0.3])
def test_size_steps_chooses_the_interaction_only_where_it_is(g):
    truth = {"E": 5.0, "A": 3e3, "a": 0.4, "B": 80.0 * 1e6**-g, "g": g, "b": 1.1}
    result = fit(grid(truth, 0.02), "size_steps", "fd", STEPPED)
    assert result.law.name == ("size_steps_interaction" if g else "size_steps_plain")
    assert "chosen" in result.notes[0]


def test_bnsl_extrapolates_no_worse_than_the_published_script():
    path = LANGUAGE / "bnsl_4digit_addition.csv"
    if not path.exists():
        pytest.skip("the BNSL points are not on this machine")
    table = pd.read_csv(path)
    seen, hidden = table[table["train"] == 1], table[table["train"] == 0]
    result = fit(seen, "bnsl_1", "test_loss", "dataset_size", loss="squares", residuals="log1p")
    error = np.log(result.curve({"x": hidden["dataset_size"]}) / hidden["test_loss"])
    assert round(np.sqrt(np.mean(error**2)), 7) <= 0.0109157  # the script's number, printed to 7 digits


def test_bnsl_is_the_optimum_of_the_published_objective():
    """Their curve_fit stops early, at a held-out 0.01091568; let it go on and it ends where we do, at 0.01091572."""
    from scipy.optimize import curve_fit

    points = pytest.importorskip("benchmarks.bnsl")
    if not points.PATH.exists():
        pytest.skip("the BNSL points are not on this machine")
    x, y, seen = points.points()
    result = fit(pd.DataFrame({"x": x, "y": y})[seen], "bnsl_1", "y", "x", loss="squares", residuals="log1p")
    for options, rise in (({}, 1e-9), (points.EXACT, 1e-11)):
        theta, _ = curve_fit(points.curve, x[seen], np.log1p(y[seen]), p0=result.theta * 1.02, maxfev=10**5, **options)
        objective = np.sum((points.curve(x[seen], *theta) - np.log1p(y[seen])) ** 2) / 2
        assert result.objective <= objective * (1 + 1e-11) and objective <= result.objective * (1 + rise)
    assert result.theta == pytest.approx(theta, rel=1e-5)


def test_same_seed_same_replicates():
    table = grid({"E": 5.0, "A": 3e3, "a": 0.4, "B": 80.0, "g": 0.0, "b": 1.1}, 0.02)
    one, two = (fit(table, "size_steps_plain", "fd", STEPPED, seed=3, replicates=50) for _ in range(2))
    assert np.array_equal(one.replicates, two.replicates)
    assert one.replicates.shape == (50, len(one.law.params))


def test_prediction_says_how_far_it_reaches():
    result = fit(EDM2, "power_floor", "fid", {"N": "gflops"}, replicates=200)
    predicted = result.predict(pd.DataFrame({"gflops": [100.0, 5520.0]}))
    assert predicted["decades_beyond"].tolist() == pytest.approx([0.0, 1.0])
    assert (predicted["low"] <= predicted["value"]).all() and (predicted["value"] <= predicted["high"]).all()
    curve = result.predict(pd.DataFrame({"gflops": [100.0]}), of="curve")
    assert (curve["high"] - curve["low"]).iloc[0] < (predicted["high"] - predicted["low"]).iloc[0]


def test_curve_takes_many_parameters():
    result = fit(EDM2, "power_floor", "fid", {"N": "gflops"}, replicates=20)
    assert result.curve({"N": [50.0, 60.0]}, result.replicates).shape == (20, 2)
    assert "6 rows" in result.summary() or "rows 6" in result.summary()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"law": "powr"}, "No law named 'powr'. Known laws: power, power_floor"),
        ({"quality": "clip"}, "needs the column 'clip'; the table has gflops, fid"),
        ({"law": "chinchilla"}, "has the inputs N, D; got N"),
        ({"table": EDM2.iloc[:3]}, "'power_floor' has 3 parameters but the table has 3 rows"),
        ({"table": EDM2.assign(gflops=5.0)}, "Every row has gflops = 5"),
        ({"table": EDM2.assign(fid=2.0)}, "is 2 in every row"),
        ({"table": EDM2.assign(fid=[1, 2, 3, np.inf, 5, 6])}, "finite and above zero; 1 of 6 rows"),
        ({"loss": "cauchy"}, "No loss named 'cauchy'"),
        ({"delta": -1}, "delta must be a positive number"),
    ],
)
def test_refusals(change, sentence):
    with pytest.raises(InputError, match=None) as refusal:
        fit(**({"table": EDM2, "law": "power_floor", "quality": "fid", "inputs": {"N": "gflops"}} | change))
    assert sentence in str(refusal.value)


TRUTH = {"E": 5.0, "A": 3e3, "a": 0.4, "B": 80.0, "g": 0.0, "b": 1.1}


def test_default_delta_is_a_multiple_of_the_noise():
    result = fit(grid(TRUTH, 0.02), "size_steps_plain", "fd", STEPPED)
    assert result.noise == pytest.approx(0.02, rel=0.25)
    assert result.delta == pytest.approx(1.345 * result.noise, rel=0.05)


def test_huber_resists_outliers_that_move_squares():
    table = grid(TRUTH, 0.005)
    table.loc[[3, 17, 40], "fd"] *= 3
    errors = {loss: abs(fit(table, "size_steps_plain", "fd", STEPPED, loss=loss).values["E"] / 5 - 1)
              for loss in ("huber", "squares")}  # fmt: skip
    assert errors["huber"] < 0.02 < errors["squares"]


def test_rows_with_small_standard_errors_count_more():
    table = grid(TRUTH, 0.0)
    table["fd_se"] = 0.01 * table["fd"]
    table.loc[::5, "fd"] *= 1.2
    table.loc[::5, "fd_se"] *= 100
    result = fit(table, "size_steps_plain", "fd", STEPPED, se="fd_se", loss="squares")
    assert result.values["E"] == pytest.approx(5, rel=0.01)


def test_weights_equal_repeated_rows():
    table = grid(TRUTH, 0.05).assign(w=1.0)
    table.loc[:9, "w"] = 3.0
    repeated = pd.concat([table, table.iloc[:10], table.iloc[:10]])
    one = fit(table, "size_steps_plain", "fd", STEPPED, weights="w", loss="squares")
    two = fit(repeated, "size_steps_plain", "fd", STEPPED, loss="squares")
    assert one.values == pytest.approx(two.values, rel=1e-6)
    assert one.objective == pytest.approx(two.objective, rel=1e-9)


def test_asymmetry_sinks_to_the_lower_envelope():
    table = grid(TRUTH, 0.1)
    middle, low = (fit(table, "size_steps_plain", "fd", STEPPED, asymmetry=k).residuals for k in (1.0, 0.05))
    assert 0.35 < np.mean(middle < 0) < 0.65
    assert np.mean(low < 0) > 0.75  # measured above the curve


def test_a_result_reports_starts_basins_and_bounds():
    result = fit(grid(TRUTH, 0.02), "size_steps_plain", "fd", STEPPED)
    trust = result.trust
    assert trust.starts == trust.agreed == 8 and trust.gap is None and trust.converged
    assert trust.on_bound == () and trust.floor_identified and 1 < trust.condition < 1e3
    turned = fit(EDM2.assign(fid=EDM2["fid"][::-1].to_numpy()), "power", "fid", {"N": "gflops"})
    assert turned.trust.on_bound == ("a",) and turned.warnings[0].startswith("No law")


def test_a_size_dependent_step_law_is_a_pattern_in_the_residuals():
    truth = TRUTH | {"g": -0.3, "B": 80.0 * 1e6**0.3}
    text = " ".join(fit(grid(truth, 0.01), "size_steps_plain", "fd", STEPPED).warnings)
    assert "N and S interact" in text


@pytest.mark.parametrize("seed", range(3))
def test_m4_without_a_visible_ceiling_is_no_worse_than_the_law_it_contains(seed):
    """U and k then run along a flat valley towards power_floor; where it stops, the fit is as good and says so."""
    x = np.geomspace(10, 1e7, 40)
    shock = np.random.default_rng(seed).standard_normal(40)
    table = pd.DataFrame({"x": x, "y": (0.3 + 5 * x**-0.3) * np.exp(0.02 * shock)})
    result, inner = (fit(table, law, "y", "x", loss="squares") for law in ("m4", "power_floor"))
    assert result.objective <= inner.objective * (1 + 1e-5)
    text = " ".join(result.warnings)
    assert any(doubt in text for doubt in ("on its bound", "A different set", "trade against", "did not converge"))


def test_scipy_finds_nothing_better():
    """Every law of two inputs against scipy's trf from our optimum and from its neighbourhood."""
    from scipy.optimize import least_squares

    table = grid(TRUTH | {"g": -0.2, "B": 1500.0}, 0.05)
    result = fit(table, "size_steps_interaction", "fd", STEPPED, loss="squares")
    x = {"N": table["flops"].to_numpy(), "S": table["steps"].to_numpy()}
    start = result.theta
    for shift in (1.0, 0.97, 1.03):
        rival = least_squares(lambda p: np.log(result.law.curve(p, x) / table["fd"]), start * shift, x_scale=abs(start))
        assert result.objective <= rival.cost * (1 + 1e-12)


def test_an_interaction_that_the_law_knows_is_no_turn():
    table = grid({"E": 12, "A": 1.2e6, "a": 0.87, "B": 86, "g": 0.08, "b": 1.29}, noise=0.01)
    result = fit(table, "size_steps", "fd", STEPPED)
    assert result.law.name == "size_steps_interaction"
    assert not [w for w in result.warnings if "turns up" in w]
    assert [w for w in fit(table, "size_steps_plain", "fd", STEPPED).warnings if "turns up" in w]


def test_a_quality_that_rises_as_it_improves_is_said():
    table = grid({"E": 0.5, "A": 10, "a": 0.3, "B": 0.2, "b": 1}, noise=0.01, law="size_steps_plain")
    result = fit(table.rename(columns={"fd": "agreement"}), "size_steps_plain", "agreement", STEPPED)
    assert result.warnings[0].startswith("Higher 'agreement' is better, but 'size_steps_plain' only falls")
