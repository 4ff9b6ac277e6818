"""Figures draw what their tables hold, into the axes they are given."""

from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from synthetic import SIZES, STEPS, family, known_fit

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from scalinglaws import axes, figures, plots
from scalinglaws.decide import measured
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.crossover import crossover, crossovers
from scalinglaws.decide.curves import law_curves
from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.decide.optimum import at_budgets, optimum
from scalinglaws.fitting import fit as fit_law
from scalinglaws.fitting import fit_groups


@pytest.fixture(scope="module")
def fit():
    return known_fit(spread=0.02)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_two_fits_on_one_axes_have_two_colours_and_two_names():
    rows = family(noise=0.02)
    one, two = (rows[rows["model"] == name] for name in list(dict.fromkeys(rows["model"]))[:2])
    ax = fit_law(one, "power_floor", "fd", "steps", replicates=20).plot()
    assert legend(ax) == ["power_floor"]
    assert fit_law(two, "power_floor", "fd", "steps", replicates=20).plot(ax) is ax
    assert legend(ax) == ["power_floor", "power_floor (2)"]
    assert len({handle.get_color() for handle in ax.get_legend().legend_handles}) == 2


def test_a_fit_in_size_and_steps_names_every_size_as_the_table_does():
    rows = family(noise=0.02)
    inputs = {"N": "flops_per_forward", "S": "steps"}
    ax = fit_law(rows, "size_steps_plain", "fd", inputs, replicates=20).plot()
    assert legend(ax) == list(dict.fromkeys(rows.sort_values("flops_per_forward")["model"]))


def test_predictions_lie_on_the_line_where_they_are_exact():
    exact = pd.DataFrame({"law": ["a", "b"], "measured": [2.0, 8.0]})
    exact = exact.assign(predicted=exact.measured, low=exact.measured / 2, high=exact.measured * 1e9)
    ax = plots.predicted_against_measured(exact, "fd")
    assert legend(ax) == ["a", "b", "predicted = measured"] and ax.get_ylim()[1] < 100
    assert ax.lines[-1].get_xydata().tolist() == [[2, 2], [8, 8]]


def test_quality_against_cost_draws_every_row_and_crossover(fit):
    cost = cost_model(fit.table)
    rows = measured.points(fit.table, "fd", cost)
    pairs = crossovers(fit, neighbours=True)
    front = measured.frontier(fit.table, "fd", cost)
    ax = plots.quality_against_cost(rows, "fd", cost.label, law=law_curves(fit), frontier=front, crossovers=pairs)
    drawn = [line for line in ax.lines if len(line.get_xdata()) == len(STEPS) and line.get_marker() == "o"]
    assert len(drawn) == rows.model.nunique() and ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "sampling cost per image (FLOPs)" and ax.get_ylabel() == "fd"
    assert legend(ax)[:2] == ["c8", "c12"] and legend(ax)[-2:] == ["measured frontier", "neighbouring sizes cross"]


def test_winners_stack_to_one(fit):
    budgets = np.geomspace(1e7, 5e8, 8)
    answers = at_budgets(fit, budgets)
    assert answers.groupby("budget").probability.sum().tolist() == pytest.approx([1.0] * 8)
    ax = plots.winners(answers, "budget per image (FLOPs)", measured=measured.winners(fit.table, budgets, "fd"))
    tops = [c.get_paths()[0].vertices[:, 1].max() for c in ax.collections]
    assert max(tops) == pytest.approx(1.0) and ax.get_xlabel() == "budget per image (FLOPs)"


def test_held_out_shows_seen_and_unseen(fit):
    seen, held = fit.table[fit.table.model != "c48"], fit.table[fit.table.model == "c48"]
    curve = held[["steps"]].assign(value=held.fd, low=held.fd * 0.9, high=held.fd * 1.1)
    ax = plots.held_out(seen, held, curve, "fd", "steps")
    assert legend(ax)[-1] == "held out, measured"
    assert ax.get_xticks().tolist() == [2, 3, 4, 6, 8, 12, 20, 32, 50]


def test_results_draw_into_the_axes_they_are_given(fit):
    rows = family().assign(guidance=1.0)
    rows = pd.concat([rows, rows.assign(guidance=2.0, fd=lambda t: t.fd * 0.9)])
    results = optimum(fit, 1e8), crossover(fit, ("c8", "c24")), optimal_guidance(rows)
    figure, axes = plt.subplots(1, 3)
    for result, ax in zip(results, axes, strict=True):
        assert result.plot(ax) is ax and ax.has_data() and ax.get_xlabel() and ax.get_ylabel() == "fd"
    assert len(plt.get_fignums()) == 1
    assert results[0].plot().figure is not figure


def test_a_crossover_is_marked_where_the_curves_cross(fit):
    found = crossover(fit, ("c8", "c24"))
    ax = found.plot()
    (mark,) = [line for line in ax.lines if line.get_marker() == "X"]
    assert mark.get_xdata()[0] == found.cost and mark.get_ydata()[0] == found.value
    assert ax.get_xlabel() == "cost per image (FLOPs)" and legend(ax) == ["c8", "c24"]


def test_a_size_has_one_colour_in_every_figure(fit):
    everywhere = plots.colours(measured.points(fit.table, "fd")["model"])
    found = crossover(fit, ("c24", "c8"))
    assert list(everywhere) == list(SIZES)
    assert plots.colours(found.curves["label"]) == everywhere
    assert plots.colours(at_budgets(fit, [1e7])["model"]) == everywhere
    assert plots.colours(law_curves(fit)["label"]) == everywhere
    assert plots.colours(measured.winners(fit.table, [1e7], "fd")["model"]) == everywhere
    lines = [line for line in found.plot().lines if len(line.get_xdata()) > 10]
    assert [matplotlib.colors.to_rgb(line.get_color()) for line in lines] == [everywhere["c8"], everywhere["c24"]]


def test_the_sizes_that_a_budget_buys_have_the_colours_of_all(fit):
    everywhere = plots.colours(measured.points(fit.table, "fd")["model"])
    few = optimum(fit, 1e7).to_frame()
    assert len(few) < len(SIZES) and plots.colours(few["model"]) == everywhere
    dots = plots.candidates(few, "FLOPs", "fd").collections[-1].get_facecolors()
    assert [tuple(colour[:3]) for colour in dots] == [everywhere[model] for model in few["model"]]
    new = at_budgets(fit, [1e8], sizes=[5e5, 4e5])["model"]
    assert list(new.cat.categories) == ["c8", "500000"]


def test_trainings_of_a_size_share_its_label_and_its_colour(fit):
    again = fit.table.assign(model=fit.table["model"] + "-s1", fd=fit.table["fd"] * 1.01, train_seed=1)
    rows = measured.points(pd.concat([fit.table.assign(train_seed=0), again, again.assign(train_seed=2)]), "fd")
    assert len(rows) == 3 * len(fit.table) and list(rows["model"].cat.categories) == list(SIZES)
    ax = plots.quality_against_cost(rows, "fd", "cost", law=law_curves(fit))
    assert legend(ax) == list(SIZES)


def test_samplers_are_coloured_as_levels_and_not_as_sizes():
    both = pd.concat([family(), family(sampler="ddpm").assign(fd=lambda t: t.fd * (0.7 + 2 / t.steps))])
    groups = fit_groups(both, "sampler", "size_steps_plain", "fd", known_fit().inputs, replicates=5)
    label = crossover(groups, ("ddim", "ddpm"), at="c8").curves["label"]
    assert not label.cat.ordered and list(label.cat.categories) == ["ddim", "ddpm"]


def test_the_style_is_left_behind_and_nothing_else_is_reset(fit):
    before = dict(matplotlib.rcParams)
    plots.band(law_curves(fit), None, "cost", "fd")
    assert dict(matplotlib.rcParams) == before
    with axes.styled(None):
        matplotlib.rcParams["interactive"] = not before["interactive"]  # as a notebook's backend does
    assert matplotlib.rcParams["interactive"] != before["interactive"]
    matplotlib.rcParams["interactive"] = before["interactive"]


def test_band_takes_curves_points_or_both():
    x = np.geomspace(1, 100, 5)
    curves = pd.DataFrame({"x": x, "value": 1 / x, "low": 0.9 / x, "high": 1.1 / x, "label": "law"})
    points = pd.DataFrame({"x": x, "y": 1 / x, "label": "measured", "se": 0.01})
    ax = plots.band(curves, points, "steps", "fd")
    assert ax.get_xscale() == ax.get_yscale() == "log" and legend(ax) == ["law", "measured"]
    assert plots.band(curves, None, "steps", "fd", ax) is ax
    falls = plots.band(None, points.assign(y=-1.0), "steps", "score")
    assert falls.get_xscale() == "linear" and falls.get_ylabel() == "score"


def test_colours_run_from_dark_to_light():
    brightness = [sum(c) for c in plots.colours(["a", "b", "c"]).values()]
    assert brightness == sorted(brightness)


def test_a_table_shows_four_digits():
    assert "1.235e+04" in plots.table(family()[:1].assign(fd=12345.6)[["fd", "model"]]).to_html()


def beside(ax):
    """Whether the legend lies right of the axes, off the data."""
    ax.figure.canvas.draw()
    return ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_the_legend_of_the_answer_covers_no_size(fit):
    assert beside(optimum(fit, 3e8).plot())


def test_losses_have_ticks_below_ten_per_cent_and_above():
    rows = pd.DataFrame({"guidance": ["1", "2", "by the law"], "mean": [58.0, 13.0, 0.4], "worst": [91.0, 24.0, 2.0]})
    ax = figures.losses(rows, "fid")
    low, high = ax.get_ylim()
    assert [t for t in ax.get_yticks() if low <= t <= high] == [0, 2, 5, 10, 20, 50] and beside(ax)


def test_the_best_guidance_has_at_least_three_ticks():
    rows = pd.DataFrame({"model": pd.Categorical(["s", "l"]), "steps": [8, 8], "w": [2.9, 4.3], "low": [2.9, 4.3],
                         "high": [2.9, np.inf], "beyond": ["", "above"]})  # fmt: skip
    ax = figures.best_guidance(rows, rows[["model", "steps", "w"]], "fid")
    low, high = ax.get_ylim()
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 3


@pytest.mark.parametrize(("low", "high"), [(5.6, 46), (1.7, 7), (11, 33), (1, 1000), (0.02, 0.9), (4.1, 4.9)])
def test_a_logarithmic_axis_has_three_numbers_at_least(low, high):
    ax = plt.subplots()[1]
    ax.plot([1, 2], [low, high])
    axes.label_axes(ax, "x", "y")
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    shown = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert 3 <= len(shown) <= 11 and all(float(axes.short(tick)) == tick for tick in shown)


@pytest.mark.parametrize(("low", "high"), [(5.5, 12), (10, 25), (2, 4.9), (1.05, 2.6), (1.02, 1.4), (400, 900)])
def test_a_short_logarithmic_axis_has_three_numbers_within_its_very_ends(low, high):
    ticks = axes.Numbers(subs=(1.0, 2.0, 5.0)).tick_values(low, high)
    assert 3 <= sum((ticks >= low) & (ticks <= high)) <= 11
    assert [float(axes.short(tick)) for tick in ticks] == pytest.approx([*ticks])


@pytest.mark.parametrize("span", [(0.105, 8.58), (2e7, 4e8), (0.105, 98.0), (1e6, 2e10)])
def test_labels_of_costs_do_not_overlap(span):
    both = {"model": ["c8", "c16"], "size": [1.0, 2.0]}
    answers = pd.concat([pd.DataFrame(both | {"budget": b, "probability": 0.5}) for b in np.geomspace(*span, 9)])
    points = pd.DataFrame(both | {"cost": span, "fd": [20.0, 3.0]})
    for ax in (plots.winners(answers, "cost"), plots.quality_against_cost(points, "fd", "cost")):
        ax.figure.canvas.draw()
        low, high = ax.get_xlim()
        ticks = [*zip(ax.get_xticks(), ax.get_xticklabels(), strict=True), *zip(ax.get_xticks(minor=True),
                 ax.get_xticklabels(minor=True), strict=True)]  # fmt: skip
        shown = [label.get_window_extent() for at, label in ticks if low <= at <= high and label.get_text()]
        shown = sorted(shown, key=lambda box: box.x0)
        assert len(shown) >= 3 and all(left.x1 < right.x0 for left, right in pairwise(shown))


def test_long_names_of_accounts_leave_the_axes_their_width():
    accounts = [f"FLOPs with text encoder and decoder and training over {n}00 images" for n in range(5)]
    rows = [{"account": name, "share": share, "model": model} for name in accounts
            for share, model in ((0.01, "c8"), (1.0, "c64"))]  # fmt: skip
    winners = pd.DataFrame(rows).assign(model=lambda t: pd.Categorical(t["model"], ["c8", "c64"], ordered=True))
    ax = figures.which_size(winners, "c64")
    ax.figure.canvas.draw()
    assert ax.get_position().width > 0.75


def test_labels_of_many_sizes_do_not_overlap():
    sizes = [39, 83, 145, 223, 318, 430, 558, 704, 866, 2000]
    rows = pd.DataFrame({"model": [f"unet-{m}M" for m in sizes], "size": sizes, "steps": range(10, 20), "value": 20.0})
    ax = plots.candidates(rows.assign(low=19.0, high=21.0, best=rows["size"] == 430), "params", "fid")
    ax.figure.canvas.draw()
    labels = ax.get_xticklabels()
    assert labels[0].get_text() == "unet-39M, 10 steps" and labels[0].get_rotation() == 45
    few = plots.candidates(rows[:4].assign(low=19.0, high=21.0, best=False), "params", "fid")
    few.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in few.get_xticklabels()]
    assert few.get_xticklabels()[0].get_text() == "unet-39M\n10 steps"
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
