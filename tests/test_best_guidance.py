"""w*(size, steps) of a simulated study comes back, also where the grid of guidances cuts its optima off."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from scalinglaws.decide.best_guidance import best_guidance
from scalinglaws.decide.censored import censored_line
from scalinglaws.decide.vertices import vertices
from scalinglaws.schema import InputError, NoAnswer

SIZES = {"c8": 1e6, "c16": 4e6, "c32": 1.6e7, "c64": 6.4e7, "c96": 1.5e8}
STEPS = (4, 8, 16, 32, 64)
GRID = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
TYPICAL = np.exp(np.mean(np.log(list(SIZES.values())))), np.exp(np.mean(np.log(STEPS)))
CENTRE, M, K = 2.5, -0.15, 0.2  # w* = 2.5 at the typical size and steps


def optimum(n, s):
    """w* of a size and steps."""
    return CENTRE * (n / TYPICAL[0]) ** M * (s / TYPICAL[1]) ** K


def study(grid=GRID, noise=0.005, own=0.0, seed=0, **more) -> pd.DataFrame:
    """fd with halves and errors; `own` is the models' error of ln w*."""
    rng, rows = np.random.default_rng(seed), []
    for model, n in SIZES.items():
        shift = np.exp(own * rng.standard_normal())
        for s in STEPS:
            for w in grid:
                exact = 10 + 40 / s + 3 * np.log(w / (optimum(n, s) * shift)) ** 2
                one, two = exact * np.exp(noise * np.sqrt(2) * rng.standard_normal(2))
                rows.append({"model": model, "flops_per_forward": n, "sampler": "ddim", "steps": s, "guidance": w,
                             "fd": (one + two) / 2, "fd_half1": one, "fd_half2": two,
                             "fd_se": noise * exact})  # fmt: skip
    return pd.DataFrame(rows).assign(**more)


def test_a_parabola_has_its_vertex_where_it_is():
    x = np.log([1.0, 1.5, 2.0, 4.0])
    place, side = vertices(x, np.stack([(x - at) ** 2 for at in (0.5, 0.8, -1.0, 3.0)]))
    assert side.tolist() == ["", "", "below", "above"]
    assert np.allclose(place, [0.5, 0.8, (x[0] + x[1]) / 2, (x[2] + x[3]) / 2])


def test_without_noise_the_law_is_exact():
    found = best_guidance(study(noise=0.0))
    assert found.settings["beyond"].eq("").all()
    assert np.allclose(found.settings["w"], optimum(found.settings["size"], found.settings["steps"]), rtol=0.06)
    assert found.law["value"].tolist() == pytest.approx([CENTRE, M, K], abs=0.03)
    assert np.allclose(found.at([1e6, 1e8], [4, 32]), optimum(np.array([1e6, 1e8]), np.array([4, 32])), rtol=0.06)


def test_without_bounds_and_groups_it_is_least_squares():
    rng = np.random.default_rng(1)
    x = np.stack([np.ones(60), rng.normal(size=60)], axis=1)
    y = x @ [1.0, -0.5] + 0.3 * rng.normal(size=60)
    line = censored_line(x, y, [""] * 60, np.zeros(60), np.arange(60))
    assert np.allclose(line.beta, np.linalg.lstsq(x, y, rcond=None)[0], atol=2e-3)
    spread = np.sqrt(0.3**2 * np.linalg.inv(x.T @ x)[1, 1])
    assert line.high[1] - line.low[1] == pytest.approx(2 * 1.67 * spread, rel=0.25)


def test_bounds_are_those_of_tobit():
    rng = np.random.default_rng(2)
    x = np.stack([np.ones(200), rng.normal(size=200)], axis=1)
    true = x @ [0.2, 0.5] + 0.4 * rng.normal(size=200)
    side, y = np.where(true < 0, "below", ""), np.maximum(true, 0)
    line = censored_line(x, y, side, np.zeros(200), np.arange(200))

    def tobit(p):
        z = (y - x @ p[:2]) / np.exp(p[2])
        return -np.where(y > 0, norm.logpdf(z) - p[2], norm.logcdf(z)).sum()

    assert np.allclose(line.beta, minimize(tobit, [0, 0, 0]).x[:2], atol=5e-3)
    assert np.hypot(line.tau, line.omega) == pytest.approx(np.exp(minimize(tobit, [0, 0, 0]).x[2]), rel=0.03)


def test_a_grid_that_cuts_optima_off_gives_bounds_and_not_a_flat_law():
    table = study(grid=(2.0, 3.0, 4.0))
    found = best_guidance(table)
    edges = found.settings["beyond"].value_counts()
    assert edges["below"] > 5 and "lie below the grid of guidances and enter as bounds" in found.summary()
    assert found.settings.loc[found.settings["beyond"] == "below", "low"].eq(0).all()
    assert (np.diff(found.settings[["low", "w", "high"]].replace(np.inf, 1e9), axis=1) >= 0).all()
    inside = found.settings["w"].to_numpy(float)
    x = np.stack([np.ones(len(inside)), np.log(found.settings["size"] / TYPICAL[0])], axis=1)
    naive = np.linalg.lstsq(x, np.log(inside), rcond=None)[0][1]
    _, m, k = found.law["value"]
    assert abs(m - M) < 0.05 < abs(naive - M) and abs(k - K) < 0.07
    assert found.law["low"].iloc[1] < M < found.law["high"].iloc[1]


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    held = []
    for seed in range(40):
        law = best_guidance(study(grid=(1.5, 2.0, 3.0, 4.0), noise=0.01, own=0.1, seed=seed)).law
        held.append((law["low"] < [CENTRE, M, K]) & (law["high"] > [CENTRE, M, K]))
    assert np.all(np.mean(held, axis=0) > 0.8)


def test_the_worst_fixed_guidance_costs_what_the_study_says():
    found = best_guidance(study(noise=0.0))
    losses = found.losses.set_index("guidance")
    cells = [(n, s) for n in SIZES.values() for s in STEPS]
    for w in ("1", "4"):
        best = [min(np.log(g / optimum(n, s)) ** 2 for g in GRID) for n, s in cells]
        exact = [(10 + 40 / s + 3 * np.log(float(w) / optimum(n, s)) ** 2) / (10 + 40 / s + 3 * b)
                 for (n, s), b in zip(cells, best, strict=True)]  # fmt: skip
        assert losses.loc[w, "mean"] == pytest.approx(100 * (np.mean(exact) - 1))
        assert losses.loc[w, "worst"] == pytest.approx(100 * (np.max(exact) - 1))
    assert losses.loc["by the law", "mean"] < losses["mean"].drop("by the law").min()


def test_a_quality_that_rises_has_its_maximum():
    table = study(noise=0.0).assign(agreement=lambda t: 1 / t["fd"])
    one, two = best_guidance(table), best_guidance(table, "agreement")
    assert two.law["value"].tolist() == pytest.approx(one.law["value"].tolist(), abs=0.02)
    assert (two.losses["mean"] > -1e-9).all()


def test_what_cannot_be_answered_is_said():
    with pytest.raises(NoAnswer, match="0 settings were measured at three guidances or more"):
        best_guidance(study(grid=(1.0, 2.0)))
    with pytest.raises(NoAnswer, match="Every setting has its best guidance at an edge"):
        best_guidance(study(grid=(6.0, 8.0, 9.0)))
    with pytest.raises(InputError, match="The table has no column steps"):
        best_guidance(study().drop(columns="steps"))


def test_the_sampler_with_most_rows_is_kept():
    heun = study(sampler="heun", noise=0.1)
    found = best_guidance(pd.concat([heun[heun["steps"] == 8], study()]))
    assert found.law.equals(best_guidance(study()).law)
    assert found.notes[0] == "Rows with sampler ddim alone are used, of which there are most."


def test_it_shows_itself_in_five_ways():
    found = best_guidance(study())
    assert repr(found).startswith("<BestGuidance: 25 settings, w* 2.4") and len(found.to_frame()) == 25
    assert "exponent of size" in found._repr_html_() and found.answer in found.summary()
    assert found.answer.count(". ") == 1 and "Guidance 3 for all costs" in found.answer
    for draw in (found.plot, found.plot_map, found.plot_losses):
        assert draw().get_xlabel()
    assert len(found.plot_curves()) == 2


def test_guidances_that_some_settings_lack_are_named_beside_the_one_for_all():
    table = study(noise=0.0)
    few = table[(table.steps < 64) | (table.guidance < 5)]
    whole, found = best_guidance(table), best_guidance(few)
    assert found.losses["guidance"].tolist() == ["1", "1.5", "2", "3", "4", "by the law"]
    assert any("are compared; 6, 8 are not, and losses" in note for note in found.notes)
    assert ", of those measured in every setting, costs" in found.answer
    assert ", of those" not in whole.answer and not any("are compared" in note for note in whole.notes)


def test_intervals_without_errors_are_said_to_hold_none():
    sentence = "No row has a fd_se: the intervals of single settings hold no error of measuring."
    assert (
        sentence in best_guidance(study().drop(columns="fd_se")).notes and sentence not in best_guidance(study()).notes
    )
