"""Two levels beside a trend: statsmodels' fits, the size and power of the test on simulated laws, known breaks."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from scalinglaws.decide.breaks import LEAST, Problem, p_trend, rest, rotated, share
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
    fits = [sm.OLS(p.means, sm.add_constant((np.arange(7) >= place).astype(float))).fit() for place in p.places]
    assert p.levels(p.means) == pytest.approx([fit.ssr for fit in fits], rel=1e-9) and len(fits) == 7 - 2 * LEAST + 1
    best = min(fits, key=lambda fit: fit.ssr)
    result = tiers(table(line, own_noise=0.05))
    assert [result.low, result.step] == pytest.approx(best.params)
    for trend, columns in (("line", [p.x]), ("curve", [p.x, p.x**2])):
        smooth = sm.OLS(p.means, sm.add_constant(np.column_stack(columns))).fit()
        row = result.tests.set_index("trend").loc[trend]
        assert rest(p.means, p.trend(trend)) == pytest.approx(smooth.ssr, rel=1e-6)
        assert row.log_ratio == pytest.approx(best.llf - smooth.llf, rel=1e-6)
    fit = sm.OLS(p.means, sm.add_constant(p.x)).fit()
    rise = np.array([fit.params[1], *fit.conf_int(0.1)[1]]) * np.ptp(p.x)
    assert [result.rise.value, result.rise.low, result.rise.high] == pytest.approx(rise)


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")  # size holds one of the lines
def test_the_noise_is_what_repeats_differ_by_beyond_lines_of_their_own():
    """Mean square left by statsmodels' regression on size and a line for each subject, over the number of subjects."""
    smf = pytest.importorskip("statsmodels.formula.api")
    rows = table(line, size_noise=0.05).assign(x=lambda t: np.log(t["params"]))
    fit = smf.ols("subject_similarity ~ C(dataset) * x + C(params)", rows).fit()
    assert fit.df_resid == 3 * 5 and problem(rows).noise == pytest.approx(fit.mse_resid / 4)


def test_rotations_keep_the_fit_and_the_length_of_the_residual():
    p = problem(table(line, own_noise=0.05))
    basis = p.trend("line")
    drawn = rotated(p.means, basis, 50, np.random.default_rng(0))
    np.testing.assert_allclose(drawn @ basis, np.broadcast_to(p.means @ basis, (50, 2)), atol=1e-12)
    np.testing.assert_allclose(rest(drawn, basis), rest(p.means, basis), rtol=1e-9)


def test_a_break_at_a_known_place_beside_a_constant_is_students_t_test():
    """There the test has a closed form: statsmodels' t of the difference of the two levels."""
    sm = pytest.importorskip("statsmodels.api")
    p = problem(table(line, own_noise=0.05))
    flat = np.ones((7, 1)) / np.sqrt(7)
    split = p.split(3)
    drawn = rest(rotated(p.means, flat, 40_000, np.random.default_rng(0)), split)
    exact = sm.OLS(p.means, sm.add_constant((np.arange(7) >= 3).astype(float))).fit().pvalues[1]
    assert share(drawn <= rest(p.means, split)) == pytest.approx(exact, abs=4 * np.sqrt(exact / 40_000))


@pytest.mark.parametrize("law", [line, lambda x: 0 * x], ids=["line", "flat"])
@pytest.mark.parametrize("noise", [0.002, 0.02, 0.2])
def test_a_line_is_rejected_as_often_as_the_level_says(law, noise):
    p = problem(table(line))
    z = law(p.x) + noise * np.random.default_rng(0).normal(size=(2000, 7))
    values = p_trend(p, z, "line", 199, np.random.default_rng(1))
    for level in (0.05, 0.1, 0.2):
        assert np.mean(values <= level) == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 2000))


@pytest.mark.slow
def test_a_known_break_is_placed_and_its_levels_are_not_rejected_too_often():
    made = [tiers(table(step, 0.02, seed=s), draws=199, seed=s) for s in range(100)]
    assert np.mean([m.below == SIZES[3] for m in made]) > 0.8
    assert np.mean([m.earliest <= SIZES[3] and m.latest >= SIZES[4] for m in made]) > 0.83
    assert np.mean([m.tests["p_levels"][0] < 0.1 for m in made]) < 0.18
    assert np.mean([m.verdict in ("a smooth trend", "neither") for m in made]) < 0.15  # of both tests
    assert np.mean([m.step for m in made]) == pytest.approx(0.12, abs=0.01)


def test_the_step_that_could_have_been_seen_is_seen_that_often():
    """The noise of the power is estimated by each table: the middle of 15 estimates is held against new tables."""
    seen = np.median([tiers(table(step, 0.02, 0.01, seed=s), draws=99, seed=s).seen for s in range(15)])
    p, rng = problem(table(step)), np.random.default_rng(0)
    above = np.arange(7) >= rng.choice(p.places, (1000, 1))
    z = seen * above + np.hypot(0.02, 0.01 / 2) * rng.normal(size=above.shape)
    assert 0.65 < np.mean(p_trend(p, z, "line", 199, rng) < 0.1) < 0.92


def test_a_clear_step_and_a_clear_line_are_called_so():
    two, smooth = tiers(table(step, own_noise=0.01)), tiers(table(line, own_noise=0.003))
    assert two.verdict == "two tiers" and (two.below, two.above) == (SIZES[3], SIZES[4])
    assert two.earliest == SIZES[3] and two.latest == SIZES[4]
    assert smooth.verdict == "a smooth trend" and smooth.tests["log_ratio"][0] < 0
    assert (
        "and shows two tiers: against two levels a line is rejected (p = 0.0" in two.answer
        and two.answer.count(". ") == 1
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
        assert axes.get_yscale() == "linear" and axes.get_xlabel() == "parameters"
