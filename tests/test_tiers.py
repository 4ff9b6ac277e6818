"""Two levels beside a trend: statsmodels' fits, the size and power of the test on simulated laws, known breaks."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from scalinglaws.decide.breaks import LEAST, Problem
from scalinglaws.decide.tiers import tiers
from scalinglaws.schema import InputError, NoAnswer

matplotlib.use("Agg")
SIZES = np.geomspace(7e4, 4e6, 7)


def table(law, size_noise=0.0, own_noise=0.02, subjects=4, seed=0, before=None):
    """Rows of a law of ln size for subjects that differ by a shift; noise that a size's subjects share, and of each."""
    rng, x = np.random.default_rng(seed), np.log(SIZES)
    shared, rows = size_noise * rng.normal(size=7), []
    for subject in range(subjects):
        y = law(x) + 0.05 * rng.normal() + shared + own_noise * rng.normal(size=7)
        own = {"params": SIZES, "dataset": f"subject {subject}"}
        rows.append(pd.DataFrame(own | {"subject_similarity": y, "variant": "personalised"}))
        if before is not None:
            rows.append(pd.DataFrame(own | {"subject_similarity": before(x), "variant": None}))
    return pd.concat(rows, ignore_index=True)


def line(x):
    return 0.5 + 0.03 * (x - x[0])


def step(x, place=4, height=0.12):
    return 0.5 + height * (np.arange(7) >= place)


def problem(rows):
    wide = rows.pivot_table(index="dataset", columns="params", values="subject_similarity")
    return Problem.of(wide, np.zeros(wide.size))


def test_residuals_and_likelihoods_are_those_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    p = problem(table(line, own_noise=0.05))
    z, fits = p.means[None], []
    for place in p.places:
        fits.append(sm.OLS(p.means, sm.add_constant((np.arange(7) >= place).astype(float))).fit())
    rest, ((low, high),) = p.levels(z)
    assert rest[0] == pytest.approx([fit.ssr for fit in fits], rel=1e-9) and len(fits) == 7 - 2 * LEAST + 1
    best = min(fits, key=lambda fit: fit.ssr)
    assert [low, high - low] == pytest.approx(best.params)
    for trend, columns in (("line", [p.x]), ("curve", [p.x, p.x**2])):
        smooth = sm.OLS(p.means, sm.add_constant(np.column_stack(columns))).fit()
        assert p.trend(z, trend)[0][0] == pytest.approx(smooth.ssr, rel=1e-6)
        assert p.ratio(trend, z, 0.0)[0] == pytest.approx(best.llf - smooth.llf, rel=1e-6)


def test_the_floor_is_the_interaction_of_a_two_way_layout():
    """Mean square of subject x size by statsmodels' regression on both factors, over the number of subjects."""
    smf = pytest.importorskip("statsmodels.formula.api")
    rows = table(line, size_noise=0.05)
    fit = smf.ols("subject_similarity ~ C(dataset) + C(params)", rows).fit()
    assert problem(rows).floor == pytest.approx(fit.mse_resid / 4) and problem(rows).spare == fit.df_resid == 18


@pytest.mark.slow
@pytest.mark.parametrize("size_noise", [0.0, 0.03])
def test_a_line_is_rejected_as_often_as_the_level_says(size_noise):
    p = [tiers(table(line, size_noise, seed=s), draws=199, seed=s).tests["p_trend"][0] for s in range(300)]
    for level in (0.1, 0.2):
        assert np.mean(np.array(p) < level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 300) + 0.02)


@pytest.mark.slow
def test_a_known_break_is_placed_and_its_levels_are_not_rejected_too_often():
    made = [tiers(table(step, 0.02, seed=s), draws=199, seed=s) for s in range(200)]
    assert np.mean([m.below == SIZES[3] for m in made]) > 0.8
    assert np.mean([m.earliest <= SIZES[3] and m.latest >= SIZES[4] for m in made]) > 0.86
    assert np.mean([m.tests["p_levels"][0] < 0.1 for m in made]) < 0.16
    assert np.mean([m.step for m in made]) == pytest.approx(0.12, abs=0.01)


@pytest.mark.slow
def test_the_step_that_could_have_been_seen_is_seen_that_often():
    """The noise of the power is estimated by each table: the middle of 40 estimates is held against new tables."""
    seen = np.median([tiers(table(step, 0.02, 0.01, seed=s), draws=400, seed=s).seen for s in range(40)])
    rejected = []
    for s in range(200):
        law = lambda x, s=s: step(x, 2 + s % 4, seen)  # noqa: E731
        rejected.append(tiers(table(law, 0.02, 0.01, seed=1000 + s), draws=199, seed=s).tests["p_trend"][0] < 0.1)
    assert 0.6 < np.mean(rejected) < 0.95


def test_a_clear_step_and_a_clear_line_are_called_so():
    two, smooth = tiers(table(step, own_noise=0.01)), tiers(table(line, own_noise=0.003))
    assert two.verdict == "two tiers" and (two.below, two.above) == (SIZES[3], SIZES[4])
    assert two.earliest == SIZES[3] and two.latest == SIZES[4]
    assert smooth.verdict == "a smooth trend" and smooth.tests["log_ratio"][0] < 0
    assert (
        "shows two tiers: against two levels a line is rejected (p = 0.0" in two.answer and two.answer.count(". ") == 1
    )
    assert "a line is not rejected" in smooth.answer and "two levels are rejected" in smooth.answer


def test_noise_alone_is_undecided():
    assert tiers(table(lambda x: 0 * x + 0.5, own_noise=0.05)).verdict == "undecided"


def test_the_change_is_paired_by_subject():
    """Student's t of the differences, by scipy."""
    from scipy.stats import ttest_1samp

    rows = table(step, before=line)
    result = tiers(rows)
    wide = rows.assign(v=rows["variant"].fillna("before")).pivot_table(
        index="dataset", columns=["v", "params"], values="subject_similarity"
    )
    gain = wide["personalised"][SIZES[2]] - wide["before"][SIZES[2]]
    row = result.to_frame().iloc[2]
    low, high = ttest_1samp(gain, 0).confidence_interval(0.9)
    assert [row.change, row.change_low, row.change_high] == pytest.approx([gain.mean(), low, high])
    assert (
        "at the smallest size" in result.changed and "what subject_similarity was before" in tiers(table(step)).changed
    )


def test_subjects_without_all_sizes_are_left_out_and_few_sizes_have_no_answer():
    rows = table(step)
    assert tiers(rows.iloc[1:]).repeats == 3
    with pytest.raises(NoAnswer, match="take 5 sizes or more, all measured in one dataset: 4 have 4"):
        tiers(rows[rows["params"] < SIZES[4]])
    with pytest.raises(InputError, match="of variant 'dreambooth': there are personalised"):
        tiers(rows, after="dreambooth")
    with pytest.raises(InputError, match="no column dataset"):
        tiers(rows[rows["dataset"] == "subject 0"].drop(columns="dataset"))


def test_results_show_themselves():
    result = tiers(table(step, before=line))
    assert repr(result).startswith("<Tiers: ") and "\n" not in repr(result)
    assert "p_trend" in result.summary() and "<table" in result._repr_html_() and len(result.to_frame()) == 7
    for draw in (result.plot, result.plot_change):
        axes = draw()
        assert axes.get_yscale() == "linear" and axes.get_xlabel() == "params"
