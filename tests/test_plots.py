"""Figures draw what their tables hold."""

import matplotlib
import numpy as np
import pytest
from synthetic import STEPS, family, known_fit

matplotlib.use("Agg")

from scalinglaws import crossing, frontier, optimal, plots, priced


@pytest.fixture(scope="module")
def fit():
    return known_fit(spread=0.02)


def test_quality_against_cost_draws_every_row_and_crossing(fit):
    rows = frontier.priced_rows(fit.table, "fd").assign(size=lambda t: t.flops_per_forward)
    pairs = crossing.crossovers(fit, neighbours=True)
    front = frontier.measured_frontier(fit.table, "fd")
    figure = plots.quality_against_cost(rows, "fd", "flops", priced.law_curves(fit), front, pairs)
    (ax,) = figure.axes
    drawn = [line for line in ax.lines if len(line.get_xdata()) == len(STEPS) and line.get_marker() == "o"]
    assert len(drawn) == rows.model.nunique() and ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "sampling cost an image (FLOPs)"
    assert [t.get_text() for t in ax.get_legend().get_texts()][:2] == ["c8", "c12"]


def test_winners_stack_to_one(fit):
    budgets = np.geomspace(1e7, 5e8, 8)
    answers = optimal.answers(fit, budgets)
    assert answers.groupby("budget").probability.sum().tolist() == pytest.approx([1.0] * 8)
    figure = plots.winners(answers, frontier.winners(fit.table, budgets, "fd"))
    assert len(figure.axes) == 2


def test_held_out_shows_seen_and_unseen(fit):
    seen, held = fit.table[fit.table.model != "c48"], fit.table[fit.table.model == "c48"]
    curve = held[["steps"]].assign(value=held.fd, low=held.fd * 0.9, high=held.fd * 1.1)
    (ax,) = plots.held_out(seen, held, curve, "fd", "steps").axes
    assert [t.get_text() for t in ax.get_legend().get_texts()][-1] == "held out, measured"
    assert ax.get_xticks().tolist() == [2, 3, 4, 6, 8, 12, 20, 32, 50]


def test_colours_run_from_dark_to_light():
    shades = plots.colours(["a", "b", "c"])
    brightness = [sum(c) for c in shades.values()]
    assert brightness == sorted(brightness)


def test_a_table_shows_four_digits():
    assert "1.235e+04" in plots.table(family()[:1].assign(fd=12345.6)[["fd", "model"]]).to_html()
