"""Training and serving together, against brute force and a study with a known optimum."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from scalinglaws.decide.cheapest import data_for
from scalinglaws.decide.serving import OutOfReach, serve
from scalinglaws.fitting import fit, fit_groups
from scalinglaws.laws import custom, find
from scalinglaws.schema import InputError

matplotlib.use("Agg")
TRUE = {"E": 2.0, "A": 3e3, "a": 0.4, "B": 4e4, "h": -0.05, "b": 0.45, "K": 20.0, "g": 0.05, "k": 1.2}
STEPS = [4, 8, 16, 32, 64]
INPUTS = {"N": "N", "D": "D", "S": "S"}


def law(n, d, s, E, A, a, B, h, b, K, g, k):
    return E + A * n**-a + B * n**h * d**-b + K * n**g * s**-k


def study(noise=0.0, seed=0, crossed=False, **changes):
    """Rows of both kinds: training length varied at 16 steps, steps varied at the end of training."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    n2, s2 = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 6), STEPS))
    n, s = np.append(n, n2), np.append(np.full(len(n), 16.0), s2)
    d = np.append(d, np.full(len(n2), 1e11))
    y = law(n, d, s, **TRUE | changes) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pd.DataFrame({"N": n, "D": d, "S": s, "fd": y})


def brute(quality, served, calls=1.0, **changes):
    """(total, size, data, steps) of least 6 N D + served 2 N S calls, over a grid of N and D; no root is solved."""
    best = (np.inf,)
    n, d = np.meshgrid(np.geomspace(1e6, 1e10, 1500), np.geomspace(1e7, 1e13, 1500))
    for s in STEPS:
        cost = 6 * n * d + served * 2 * n * s * calls
        cost = np.where(law(n, d, s, **TRUE | changes) <= quality, cost, np.inf)
        at = np.unravel_index(cost.argmin(), cost.shape)
        best = min(best, (float(cost[at]), float(n[at]), float(d[at]), s))
    return best


@pytest.fixture(scope="module")
def joint():
    return fit(study(), "size_training_steps", "fd", INPUTS, replicates=20)


@pytest.mark.parametrize(("quality", "served"), [(6.0, 0.0), (6.0, 1e7), (6.0, 1e10), (4.5, 1e9)])
def test_the_plan_is_the_cheapest_of_brute_force(joint, quality, served):
    plan, (total, size, data, steps) = serve(joint, quality, served, steps=STEPS), brute(quality, served)
    assert plan.total == pytest.approx(total, rel=0.02) and plan.total <= total * 1.001
    assert plan.steps == steps or served == 0
    assert plan.size == pytest.approx(size, rel=0.12) and plan.data == pytest.approx(data, rel=0.12)
    assert law(plan.size, plan.data, plan.steps, **TRUE) == pytest.approx(quality, rel=1e-4)


def test_guidance_is_chosen_by_what_it_costs_and_what_it_gives():
    """Guidance 2 halves the step term and counts twice: worth it where steps are what costs."""
    rows = [study().assign(guidance=1.0), study(K=6.0).assign(guidance=2.0)]
    groups = fit_groups(pd.concat(rows), "guidance", "size_training_steps", "fd", INPUTS, replicates=10)
    plan = serve(groups, 5.0, 1e9, steps=STEPS)
    totals = {1.0: brute(5.0, 1e9)[0], 2.0: brute(5.0, 1e9, calls=2.0, K=6.0)[0]}
    assert plan.guidance == min(totals, key=totals.get) and plan.total == pytest.approx(min(totals.values()), rel=0.02)
    once = serve(groups, 5.0, 1e9, steps=STEPS, calls={1.0: 1.0, 2.0: 1.0})
    assert once.guidance == 2.0 and once.total <= plan.total
    assert "guidance 2" in once.summary()


def test_calls_are_those_counted_in_the_rows():
    rows = study().assign(nfe=lambda t: 2 * t["S"] - 1)  # a solver of second order
    heun = serve(fit(rows, "size_training_steps", "fd", INPUTS, replicates=5), 6.0, 1e9, steps=[16])
    assert heun.serving == pytest.approx(1e9 * 2 * heun.size * 31)


def test_naive_plans_stand_beside_and_cost_more(joint):
    plan = serve(joint, 6.0, 1e10, steps=STEPS)
    naive = plan.to_frame().set_index("plan")
    assert list(naive.index) == ["best", "trained compute-optimally, default steps", "largest size measured"]
    assert (naive["times_best"][1:] > 1).all() and naive["steps"].iloc[1] == 64 and naive["size"].iloc[2] == 1e9
    alone = brute(6.0, 0.0)
    assert naive["training"].iloc[1] == pytest.approx(alone[0], rel=0.02)
    assert serve(joint, 6.0, 1e10, steps=STEPS, default_steps=32).plans["steps"].iloc[1] == 32


def test_seconds_and_money(joint):
    flops = serve(joint, 6.0, 1e9, steps=STEPS)
    seconds = serve(joint, 6.0, 1e9, steps=STEPS, speed=1e12)
    assert seconds.unit == "s" and seconds.total == pytest.approx(flops.total / 1e12, rel=1e-6)
    money = serve(joint, 6.0, 1e9, steps=STEPS, speed=1e12, price="$3.60/h")
    assert money.unit == "USD" and money.total == pytest.approx(seconds.total * 1e-3, rel=1e-6)
    slow = serve(joint, 6.0, 1e9, steps=STEPS, speed=(1e12, 1e11))  # serving uses the machine worse: smaller, longer
    assert slow.size < seconds.size and slow.data > seconds.data
    fixed = serve(joint, 6.0, 1e9, steps=STEPS, fixed=1e6)
    assert fixed.total == pytest.approx(flops.total + 1e15, rel=1e-6)
    with pytest.raises(InputError, match="price= needs speed="):
        serve(joint, 6.0, 1e9, steps=STEPS, price=2.0)


def test_intervals_hold_the_optimum_of_a_simulated_study():
    true, inside = brute(6.0, 1e9), 0
    for seed in range(6):
        found = fit(study(0.02, seed), "size_training_steps", "fd", INPUTS, replicates=150)
        plan = serve(found, 6.0, 1e9, steps=STEPS)
        low, high = plan.intervals["total"]
        inside += low <= true[0] <= high
        assert sum(plan.chosen.values()) == pytest.approx(1) and plan.reached > 0.9
    assert inside >= 4  # of 90 % intervals: fewer than 4 of 6 has a probability of 1.6 %


def test_what_is_out_of_reach_is_said(joint):
    with pytest.raises(OutOfReach, match=r"No size reaches fd 1\.5 by this law, whose best is 2\.\d+: ask for a"):
        serve(joint, 1.5, 1e9, steps=STEPS)
    noisy = fit(study(0.05, 1), "size_training_steps", "fd", INPUTS, replicates=100)
    sizes = np.geomspace(1e7, 1e12, 200)
    best = noisy.curve({"N": sizes, "D": np.full(200, 1e30), "S": np.full(200, 64.0)}).min()
    edge = serve(noisy, 1.02 * best, 1e9, steps=STEPS, sizes=(1e7, 1e12))
    assert 0.2 < edge.reached < 0.95 and "bootstrap replicates reach" in edge.summary()
    assert np.isinf(edge.intervals["total"][1]) and "and more): training" in edge.summary()
    assert np.isfinite(edge.intervals["total"][0]) and np.isfinite(edge.intervals["size"]).all()
    assert edge.decades_beyond > 0 and "projection" in edge.summary()


def test_data_by_bisection_is_data_in_closed_form(joint):
    free = custom(lambda N, D, S, E, A, a, B, h, b, K, g, k: law(N, D, S, E, A, a, B, h, b, K, g, k),
                  find("size_training_steps").params, inputs=("N", "D", "S"))  # fmt: skip
    inputs = {"N": np.geomspace(1e6, 1e9, 9)[None], "S": np.full((1, 9), 16.0)}
    theta = np.asarray(joint.replicates)[:3]
    slow = data_for(type("Other", (), {"law": free}), 6.0, inputs, theta)
    assert data_for(joint, 6.0, inputs, theta) == pytest.approx(slow, rel=1e-9) and np.isinf(slow).any()


def test_five_views(joint):
    plan = serve(joint, 6.0, 1e9, steps=STEPS)
    assert repr(plan).startswith("Serving(fd 6, 1e+09 served") and "\n" not in repr(plan)
    assert "<table" in plan._repr_html_() and "largest size measured" in plan._repr_html_()
    ax = plan.plot()
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named[:3] == ["total", "training", "serving"] and "best" in named
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": None}, "give the step counts allowed"),
        ({"steps": [0]}, "above 0"),
        ({"served": -1}, "served=-1: give the number of images"),
        ({"default_steps": 7}, "default_steps=7 is none of the steps allowed"),
        ({"speed": 0}, "above 0"),
    ],
)
def test_wrong_arguments_are_one_sentence(joint, change, sentence):
    given = {"quality": 6.0, "served": 1e9, "steps": STEPS} | change
    with pytest.raises(InputError, match=sentence):
        serve(joint, **given)
    with pytest.raises(InputError, match="serve needs a law in N and D"):
        serve(fit(study(), "power_floor", "fd", {"x": "N"}, replicates=5), 6.0, 1e9)
