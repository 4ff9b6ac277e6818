"""Two levels of noise: statsmodels as the outside, simulated families, and the bundled one."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from scalinglaws.fitting import levels


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
    import scalinglaws as sl

    table = sl.read("tiny-ldm")
    rows = table[(table.sampler == "ddim") & (table.guidance == 1)]
    fit = sl.fit(rows, law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"}, replicates=5)
    found = levels.of_fit(fit)
    assert 0.005 < found.model_sd < 0.1 and found.models == 7 and "trained model" in found.summary()


def owned_family(seed=0, model_sd=0.05, cell_sd=0.01):
    """Sizes by steps of a known law, each size with an error of its own."""
    import scalinglaws as sl

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
    found = levels.predict(fit, table)
    widths = {of: np.log(found[f"{of}_high"] / found[f"{of}_low"]).median() for of in levels.OF}
    assert 0 < 0.95 * widths["curve"] < widths["new_model"] and 0.95 * widths["owned"] < widths["new_model"]
    assert (found.filter(like="_high").min(axis=1) > found.filter(like="_low").max(axis=1) * 0.9).all()
    inside = (found["owned_low"] <= table["fd"]) & (table["fd"] <= found["owned_high"])
    assert inside.mean() > 0.8


def test_a_models_own_error_moves_what_is_said_of_it():
    """The model that came out 10 % better than its law is likelier the best among those owned than among new ones."""
    fit, table = owned_family(3)
    rows = table[table["S"] == 64]
    owned = levels.probability_best(fit, rows, "owned")
    fresh = levels.probability_best(fit, rows, "new_model")
    assert owned.sum() == pytest.approx(1) and fresh.sum() == pytest.approx(1)
    assert owned.max() > fresh.max()
    truth = rows["fd"].to_numpy().argmin()
    assert owned[truth] > fresh[truth]
