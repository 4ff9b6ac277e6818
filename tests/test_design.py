"""What to measure next: values of measurements against closed forms and simulation, plans on measured tables."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

import scalinglaws as sl
from scalinglaws import laws
from scalinglaws.decide import belief as belief_of
from scalinglaws.decide import correlated, worth
from scalinglaws.decide.alternatives import budgets_of
from scalinglaws.decide.belief import CURVE, believe
from scalinglaws.decide.design import SHOWN, Plan, State, design, gains, in_order, next_pick
from scalinglaws.decide.experiment import prepare
from scalinglaws.decide.settings import prepare_settings
from scalinglaws.fitting.coordinates import model_and_coordinates
from scalinglaws.schema import InputError, NoAnswer

PLAIN = laws.find("size_steps_plain")


@pytest.fixture(scope="module")
def rows():
    return sl.read("tiny-ldm").query("sampler == 'ddim' and guidance == 1").reset_index(drop=True)


def grid(sizes=(1e6, 4e6, 1.6e7), steps=(4, 8, 16, 32)):
    return pd.DataFrame(
        [(f"m{i}", n, s) for i, n in enumerate(sizes) for s in steps], columns=["model", "size", "steps"]
    )


def test_the_belief_is_the_conditional_normal_of_its_own_prior():
    points, at = grid(), np.array([0, 3, 5, 10])
    law = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    z = np.log(law) + 0.02 * np.random.default_rng(0).standard_normal(len(points))
    sds = (0.03, 0.02, 1.0)
    errors = np.full(4, 0.01)
    belief = believe(PLAIN, ("N", "S"), points, at, np.exp(z[at]), errors, sds=sds)
    one_less = believe(PLAIN, ("N", "S"), points, at[:3], np.exp(z[at[:3]]), errors[:3], sds=sds)
    assert np.linalg.eigvalsh(belief.covariance).min() > -1e-9
    assert (np.diag(belief.covariance) <= np.diag(one_less.covariance) * 1.5 + 1e-9).all()
    moved = belief.observe(7, z[7], 0.0)
    assert moved.mean[7] == pytest.approx(z[7], abs=1e-9)
    assert moved.covariance[7, 7] == pytest.approx(0.0, abs=1e-12)


def two_models_and_the_law():
    """Points of two models and of the law itself, the rows measured, and their ln values, a law's but for 2 %."""
    points = pd.concat([grid((1e6, 4e6)), grid((1e6, 4e6)).assign(model=CURVE)], ignore_index=True)
    law = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    at = np.array([0, 1, 3, 4, 6, 7])
    return points, at, np.log(law[at]) + 0.02 * np.random.default_rng(0).standard_normal(6)


def matern(points):
    """(1 where two points are of one model, correlation in ln steps), none on the law itself.

    Rasmussen and Williams 2006, eq. 4.17.
    """
    label, steps = points["model"].to_numpy(), np.log(points["steps"].to_numpy(float))
    same = np.array([[float(a == b != CURVE) for a in label] for b in label])
    far = np.sqrt(3) * np.abs(np.subtract.outer(steps, steps)) / np.log(3)
    on = (label != CURVE).astype(float)
    return same, np.outer(on, on) * (1 + far) * np.exp(-far)


def test_the_belief_is_regression_on_the_law_and_the_errors_of_its_models():
    """Gaussian conditioning written out, about a mode that a general optimiser finds as well."""
    points, at, z = two_models_and_the_law()
    errors, sds = np.array([0.01, 0.02, 0.01, 0.03, np.nan, 0.02]), (0.05, 0.03, 0.5, 0.4, 0.3)
    found = believe(PLAIN, ("N", "S"), points, at, np.exp(z), errors, sds=sds)
    coordinates = model_and_coordinates(PLAIN, {"N": points["size"], "S": points["steps"]}, np.exp(z))[1]
    mean, sd = belief_of.parameter_prior(PLAIN, coordinates, z)
    same, near = matern(points)
    steps = points["steps"].to_numpy(float)
    falling = 0.03 * (np.minimum(steps, 32) / np.exp(np.log(steps[at]).mean())) ** -0.4
    own = 0.05**2 * same + np.outer(falling, falling) * near * np.where(same, 1.0, 0.3)
    noise = np.where(np.isnan(errors), 0.01, 0.5 * np.nan_to_num(errors))
    about = np.linalg.inv(own[np.ix_(at, at)] + np.diag(noise**2))

    def log_of(theta):
        return np.log(PLAIN.curve(coordinates.natural(theta), {"N": points["size"], "S": points["steps"]}))

    def lost(theta):
        off = z - log_of(theta)[at]
        return off @ about @ off / 2 + (((theta - mean) / sd) ** 2).sum() / 2

    theta = coordinates.internal(found.law.theta)
    assert lost(theta) == pytest.approx(minimize(lost, mean, method="BFGS").fun, rel=1e-3)
    step = 1e-5 * np.eye(len(theta))
    slopes = np.array([(log_of(theta + d) - log_of(theta - d)) / 2e-5 for d in step]).T
    prior, full = log_of(theta) + slopes @ (mean - theta), slopes @ np.diag(sd**2) @ slopes.T + own
    gain = full[:, at] @ np.linalg.inv(full[np.ix_(at, at)] + np.diag(noise**2))
    assert found.mean == pytest.approx(prior + gain @ (z - prior[at]), abs=1e-5)
    assert found.covariance == pytest.approx(full - gain @ full[at], abs=1e-6)
    assert found.error[at] == pytest.approx(noise) and found.error[-1] == pytest.approx(0.5 * 0.02)


def test_the_prior_of_parameters_is_about_the_values():
    """The floor below the least value, coefficients below the median one, exponents that fall or may do either."""
    points, _, z = two_models_and_the_law()
    x = {"N": points["size"], "S": points["steps"]}
    plain = belief_of.parameter_prior(PLAIN, model_and_coordinates(PLAIN, x, np.exp(z))[1], z)
    coefficient = (np.median(z) - 0.7, 1.5)
    wanted = {"E": (z.min() - 0.5, 1.0), "A": coefficient, "a": (0.6, 0.6), "B": coefficient, "b": (0.6, 0.6)}
    richer = laws.find("size_steps_interaction")
    tilted = belief_of.parameter_prior(richer, model_and_coordinates(richer, x, np.exp(z))[1], z)
    for law, (mean, sd) in ((PLAIN, plain), (richer, tilted)):
        for name, *pair in zip(law.params, mean, sd, strict=True):
            assert pair == pytest.approx((wanted | {"g": (0.0, 0.3)})[name])


def test_errors_about_a_law_are_their_posterior_means():
    """By scipy's normal density on the whole grid of tried values, with the lognormal priors of 3 and 4 % and every
    decay and correlation between models as likely."""
    points, at, _ = two_models_and_the_law()
    same, near = (part[np.ix_(at, at)] for part in matern(points))
    residual, of_law = np.array([0.05, 0.06, 0.04, -0.02, -0.05, -0.03]), 0.01**2 * np.ones((6, 6))
    noise, ratio = belief_of.CellErrors(np.full(6, 0.03)), points["steps"].to_numpy()[at] / 8.0
    weights, tried = [], []
    values = belief_of.MODEL_SDS, belief_of.MISFIT_SDS, (0.1, 0.3, 1.0), belief_of.DECAYS, belief_of.COMMONS
    for model, misfit, share, decay, common in itertools.product(*values):
        smooth = near * np.where(same, 1.0, common) * np.outer(ratio, ratio) ** -decay
        full = model**2 * same + misfit**2 * smooth + of_law + np.diag(np.full(6, 0.03 * share) ** 2)
        prior = norm.pdf(np.log(model / 0.03) / 0.7) * norm.pdf(np.log(misfit / 0.04) / 0.8)
        weights.append(prior * multivariate_normal.pdf(residual, cov=full))
        tried.append((model**2, misfit**2, share**2, decay, common))
    *squares, decay, common = np.average(tried, axis=0, weights=weights)
    found = belief_of._likely(residual, of_law, same, near, noise, ratio)
    assert found == pytest.approx((*np.sqrt(squares), decay, common))
    mixed = belief_of.CellErrors(np.array([0.01, 0.02, 0.1, np.nan]))
    assert mixed.own(0.3) == pytest.approx([0.003, 0.006, 0.03, 0.01]) and mixed.usual(0.3) == pytest.approx(0.006)


def test_with_all_rows_the_belief_lies_at_the_rows():
    points = grid()
    value = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    belief = believe(PLAIN, ("N", "S"), points, np.arange(len(points)), value, np.full(len(points), 0.001))
    assert np.exp(belief.mean) == pytest.approx(value, rel=0.01)


def test_a_model_that_the_law_misses_leaves_the_others_their_own_misfit():
    """Two of five models rise with steps, which the law cannot; the others follow it but for 0.5 %."""
    points = grid(np.geomspace(1e6, 2.56e8, 5), (1, 2, 4, 8, 16, 32, 64))
    value = PLAIN.curve([3.0, 2000.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    rising = np.where(points["model"].isin(["m0", "m1"]), 0.1 * np.log(points["steps"]), 0.0)
    value = value * np.exp(rising + 0.005 * np.random.default_rng(0).standard_normal(len(points)))
    belief = believe(PLAIN, ("N", "S"), points, np.arange(len(points)), value, np.full(len(points), 0.005))
    typical = points["steps"] == 8  # the geometric mean
    misfit = dict(zip(points["model"][typical], belief.law.misfit[typical], strict=True))
    assert min(misfit["m0"], misfit["m1"]) > 1.5 * max(misfit["m2"], misfit["m3"], misfit["m4"])
    assert max(misfit["m2"], misfit["m3"], misfit["m4"]) < belief.law.sds.misfit < max(misfit.values())
    some = np.flatnonzero(points["model"] != "m4")
    unseen = believe(PLAIN, ("N", "S"), points, some, value[some], np.full(len(some), 0.005))
    common = unseen.law.misfit[typical & (points["model"] == "m4")]
    assert common == pytest.approx(unseen.law.sds.misfit), "of a model without rows, what is common"


@pytest.mark.parametrize("power, low, high", [(0.0, 0.0, 0.2), (0.9, 0.65, 0.9)])
def test_a_misfit_that_falls_with_steps_is_told_from_an_even_one(power, low, high):
    """Misfits of 5 % at the typical 8 steps that fall with a power of steps, drawn from the process itself."""
    points = grid(np.geomspace(1e6, 2.56e8, 5), (1, 2, 4, 8, 16, 32, 64))
    curve = PLAIN.curve([3.0, 2000.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    falling = 0.05 * (points["steps"].to_numpy() / 8.0) ** -power
    same, near = matern(points)
    smooth = np.linalg.cholesky(same * near + 1e-9 * np.eye(len(points)))
    normal, errors = np.random.default_rng(0).standard_normal((4, len(points))), np.full(len(points), 0.005)
    drawn = curve * np.exp(falling * (normal @ smooth.T))
    beliefs = [believe(PLAIN, ("N", "S"), points, np.arange(len(points)), value, errors) for value in drawn]
    assert low <= np.mean([b.law.sds.decay for b in beliefs]) <= high
    ends = [b.law.misfit[points["steps"] == 1].mean() / b.law.misfit[points["steps"] == 64].mean() for b in beliefs]
    assert np.mean(ends) > 10 if power else np.mean(ends) < 2.5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_value_of_a_measurement_between_two_is_the_known_closed_form(sign):
    """E max(0, m + t z) of a difference m with a shift t: t (d Phi(d) + phi(d)), d = -|m| / t (Frazier et al. 2009).

    A sign of -1: higher is better. A third alternative is out of the question.
    """
    m, t = 0.03, 0.05
    best, mean = worth.Best((np.arange(3),), sign), sign * np.array([0.0, m, 9.0])
    gains = best.gains(mean[None], np.eye(3), np.array([[0.0, t, 0.0]]))
    d = -m / t
    assert gains[0] == pytest.approx(t * (d * norm.cdf(d) + norm.pdf(d)), rel=0.03)
    assert best.choices(mean) == [0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_expected_regret_of_two_is_the_known_closed_form(sign):
    m, s = 0.02, 0.04
    best, mean = worth.Best((np.arange(3),), sign), sign * np.array([0.0, m, 9.0])
    loss = best.loss(mean, np.diag([s**2 / 2, s**2 / 2, 0.0]))
    d = -m / s
    assert loss == pytest.approx(s * (d * norm.cdf(d) + norm.pdf(d)), rel=0.08)


def test_the_gain_of_a_prediction_is_what_the_belief_loses_of_its_standard_deviation():
    """Of a Gaussian the covariance after a measurement is known before it."""
    points = grid()
    law = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    at = np.array([0, 3, 5])
    belief = believe(PLAIN, ("N", "S"), points, at, law[at], np.full(3, 0.01), sds=(0.03, 0.02, 1.0))
    spread, tried = worth.Spread(np.array([8, 11])), np.array([1, 7, 10])
    gains = spread.gains(belief.mean[None], belief.covariance, belief.shifts(tried))
    after = [spread.loss(moved.mean, moved.covariance) for moved in (belief.observe(k, 1.0) for k in tried)]
    assert gains == pytest.approx(spread.loss(belief.mean, belief.covariance) - np.array(after)) and (gains > 0).all()


def test_a_model_of_which_nothing_is_known_has_the_common_misfit():
    """One row beside an error that hides it: the prior alone, whose expected square is the common one."""
    one = np.ones((1, 1))
    misfit = belief_of._own_misfits(
        np.zeros(1), 0 * one, one, one, np.array(["m0"]), belief_of.Sds(0.03, 0.02, 1.0), np.array([10.0]), ["m0", "m1"]
    )
    assert misfit == pytest.approx([0.02, 0.02], rel=0.03)


def test_the_loss_of_an_order_is_the_expected_distance_from_the_crossing():
    """A straight gap whose height is uncertain crosses at a normal place: E|error| = sd sqrt(2 / pi)."""
    x = np.linspace(-3, 3, 241)
    mean = np.concatenate([x, np.zeros_like(x)])
    covariance = np.zeros((482, 482))
    covariance[:241, :241] = 0.3**2
    pairs = np.column_stack([np.arange(241), 241 + np.arange(241)])
    order = worth.Order(pairs, x[1] - x[0])
    assert order.loss(mean, covariance) == pytest.approx(0.3 * np.sqrt(2 / np.pi), rel=0.01)
    assert order.crossing(mean, np.exp(x)) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gains_are_those_of_simulated_measurements(sign):
    """The knowledge gradient against measuring a thousand times: draw a truth, measure, choose again."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((4, 4)) * 0.1
    covariance, mean, error = root @ root.T, np.array([0.0, 0.02, 0.05, 0.1]), 0.02
    shift = covariance[:, 1] / np.sqrt(covariance[1, 1] + error**2)
    gain = worth.Best((np.arange(4),), sign).gains(sign * mean[None], covariance, shift[None])[0]
    truth = mean + rng.standard_normal((40000, 4)) @ root.T
    seen = truth[:, 1] + error * rng.standard_normal(40000)
    after = mean + np.outer(seen - mean[1], covariance[:, 1]) / (covariance[1, 1] + error**2)
    lost = truth[:, 0].mean() - truth[np.arange(40000), after.argmin(1)].mean()
    assert gain == pytest.approx(lost, rel=0.08)


@pytest.fixture(scope="module")
def experiment(rows):
    return prepare(rows.query("steps <= 8"), "largest", steps=[32, 64])


def test_a_batch_foresees_means_of_the_right_spread_and_independent_of_each_other(experiment):
    start = State.of(experiment.belief)
    one, two = start.after(experiment, 0), start.after(experiment, 0).after(experiment, 9)
    first = experiment.shifts(experiment.belief, [0])[0]
    second = experiment.shifts(one.belief, [9])[0]
    assert one.means.mean(0) == pytest.approx(experiment.belief.mean, abs=1e-12)
    spread = np.outer(first, first) + np.outer(second, second)
    assert np.cov(two.means.T) == pytest.approx(spread, abs=0.25 * spread.max())
    assert two.belief.covariance == pytest.approx(experiment.belief.covariance - spread)
    drawn = np.linalg.lstsq(np.column_stack([first, second]), (two.means - experiment.belief.mean).T, rcond=None)[0]
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.4


def test_the_next_pick_gains_most_per_cost_and_an_order_spends_what_it_has(experiment):
    state, rows = State.of(experiment.belief), experiment.candidates.index
    gained, costs = gains(experiment, state, rows), experiment.costs(rows)
    best = int(np.argmax(gained / costs))
    assert best != np.argmax(gained), "else nothing is tested"
    assert next_pick(experiment, state, np.inf) == (best, pytest.approx(gained[best]), costs[best])
    cheap = [k for k in np.argsort(costs) if k != best][:1]
    assert in_order(experiment, [best, *cheap], costs[best] * (1 + 1e-9), 9) == pytest.approx(gained[best])


def test_a_gain_that_is_negligible_ends_the_plan(rows):
    one = pd.DataFrame({"model": "c16", "steps": 8, "samples": [1]})
    plan = design(rows.query("steps <= 8"), "largest", "1e14 FLOPs", candidates=one, enough=1e-3, most=2)
    assert plan.cells.empty and plan.loss > plan.enough


def test_candidates_cost_what_is_given_and_a_new_model_is_trained_once(rows):
    seen = rows.query("steps <= 8")
    seen = seen.assign(n_samples_for_metric=np.where(np.arange(len(seen)) < 3, 9000, 1000))
    given = pd.DataFrame({"model": ["new", "new", "c16"], "flops_per_forward": 5e6, "steps": [8, 16, 8],
                          "samples": [1000, 4000, 1000], "cost": [3e9, 5e9, 7e9]})  # fmt: skip
    found = prepare(seen, "largest", candidates=given, training=1e10)
    assert found.costs(found.candidates.index) == pytest.approx([1.3e10, 1.5e10, 7e9])
    assert found.costs(found.candidates.index, ("new",)) == pytest.approx([3e9, 5e9, 7e9])
    assert found.candidates["scale"].tolist() == pytest.approx([1, 0.5, 1])
    assert State.of(found.belief).after(found, 0).trained == ("new",)


def test_training_costs_follow_a_power_of_the_size():
    table = grid().assign(train_flops=lambda t: 5 * t["size"] ** 1.3).rename(columns={"size": "flops_per_forward"})
    table["fd"] = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": table["flops_per_forward"], "S": table["steps"]})
    table.loc[0, "train_flops"] /= 2  # a checkpoint on the way
    found = prepare(table, "largest", training=True, sizes=[1e8]).candidates
    by_size = found.groupby("size")["training"].max()
    assert by_size.to_dict() == pytest.approx({n: 5 * n**1.3 for n in (1e6, 4e6, 1.6e7, 1e8)})
    assert (found.loc[found["model"].isin(["m0", "m1", "m2"]), "training"] == 0).all()


def test_alternatives_reach_from_the_cheapest_cell_to_twice_the_most_steps(rows):
    seen = rows.query("steps <= 8")
    one, two = (seen.loc[seen["model"] == name, "flops_per_forward"].iloc[0] for name in ("c8", "c16"))
    first, last = seen["steps"].min(), seen["steps"].max()
    crossing = prepare(seen, "crossover", between=("c8", "c16"))
    assert crossing.places[[0, -1]] == pytest.approx([two * first, 2 * one * last])
    assert crossing.decision.width == pytest.approx(np.log(2 * one * last / (two * first)) / 39)
    assert budgets_of(None, "flops", np.array([2.0, 8.0, 100.0])) == pytest.approx(np.geomspace(3, 100, 12))
    rich = prepare(seen, "optimum", budget=1e15)
    assert rich.belief.points["steps"].iloc[rich.decision.groups[0]].max() == 2 * last


def test_the_answer_of_a_prediction_has_its_standard_deviation_and_rows_their_relative_errors(experiment):
    last = experiment.decision.targets[-1]
    spread = np.sqrt(experiment.belief.covariance[last, last])
    assert experiment.answer().endswith(f"with a standard deviation of {spread:.1%}")
    table = experiment.problem.law.table
    stated = experiment.belief.law.sds.share * table["fd_se"] / table["fd"]
    assert experiment.belief.error[: len(table)] == pytest.approx(stated)


@pytest.mark.parametrize("question, more", [("optimum", {"budget": "300 MFLOPs"}), ("optimum", {}), ("largest", {}),
                                            ("crossover", {"between": ("c8", "c16"), "enough": 0.02})])  # fmt: skip
def test_a_plan_spends_no_more_than_it_may_and_lowers_the_loss(rows, question, more):
    plan = design(rows.query("steps <= 8"), question, "5 TFLOPs", steps=[32, 64], most=6, **more)
    assert isinstance(plan, Plan) and len(plan.cells)
    assert plan.cost <= 5e12
    assert plan.expected < plan.loss
    assert list(plan.to_frame().columns) == list(SHOWN)
    assert (np.diff(plan.cells["loss_after"]) <= 0).all()
    assert plan.expected <= 1.1 * min(plan.others.values())


def test_nothing_is_worth_measuring_where_the_loss_is_small(rows):
    plan = design(rows, "optimum", "1e13 FLOPs", budget="300 MFLOPs")
    assert plan.cells.empty and "Nothing is worth measuring" in plan.summary()
    assert plan.record()["cells"] == []


def test_a_crossover_asks_for_cells_of_its_two_sizes(rows):
    plan = design(rows.query("steps <= 8"), "crossover", "5 TFLOPs", between=("c8", "c16"), steps=[32, 64, 128])
    assert set(plan.cells["model"][:3]) <= {"c8", "c16"}


def test_more_images_cost_more_and_say_more(rows):
    wanted = pd.DataFrame({"model": "c16", "steps": 64, "samples": [1000, 4000]})
    seen = rows.query("steps <= 8")
    one, two = (design(seen, "largest", "1e14 FLOPs", candidates=wanted.iloc[[k]], most=1, enough=1e-9) for k in (0, 1))
    assert two.cost == pytest.approx(4 * one.cost)
    assert two.cells["gain"].iloc[0] > one.cells["gain"].iloc[0]


def test_settings_are_decided_between_and_each_alone_is_as_before_where_they_are_uncorrelated(monkeypatch):
    monkeypatch.setattr(correlated, "CORRELATIONS", (0.0,))
    rows = sl.read("tiny-ldm").query("sampler == 'ddim' and guidance <= 1.5 and steps <= 16")
    both = prepare_settings(rows, budget=3e8, steps=[32, 64])
    parts = {w: prepare(rows.query("guidance == @w"), budget=3e8, steps=[32, 64]) for w in (1.0, 1.5)}
    start = 0
    for w, part in parts.items():
        here = slice(start, start := start + len(part.belief.mean))
        np.testing.assert_allclose(both.belief.mean[here], part.belief.mean, rtol=1e-9)
        np.testing.assert_allclose(both.belief.covariance[here, here], part.belief.covariance, atol=1e-10)
        np.testing.assert_allclose(both.belief.covariance[here, start:], 0, atol=1e-10)
        mine = both.candidates[both.candidates["guidance"] == w]
        np.testing.assert_array_equal(mine["sampling"], part.candidates["sampling"])
    best = min(part.belief.mean[part.decision.choices(part.belief.mean)[0]] for part in parts.values())
    assert both.belief.mean[both.decision.choices(both.belief.mean)[0]] == pytest.approx(best)
    assert "guidance=" in both.answer()


def two_settings(shared, seed):
    """Beliefs of two settings on the same twelve points, ten and four of which are measured, with a law each and model
    errors of 5 %, the same in both or each its own; the points' true ln quality [setting, point]."""
    points, rng = grid(), np.random.default_rng(seed)
    model, true, beliefs = rng.normal(0, 0.05, (2, 3)), [], {}
    for k, (at, floor) in enumerate([(np.delete(np.arange(12), [5, 9]), 3.0), (np.array([0, 2, 4, 10]), 2.0)]):
        law = PLAIN.curve([floor, 200.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
        true.append(np.log(law) + np.repeat(model[0 if shared else k], 4))
        z = true[-1] + rng.normal(0, 0.005, 12)
        beliefs[f"w={k}"] = believe(PLAIN, ("N", "S"), points, at, np.exp(z[at]), np.full(len(at), 0.005))
    return beliefs, np.array(true)


def test_settings_together_are_the_conditional_normal_of_correlated_laws_and_errors(monkeypatch):
    """Conditioned by hand, pair of points by pair of points, as in Rasmussen and Williams 2006, eqs. 2.23 and 2.24."""
    monkeypatch.setattr(correlated, "CORRELATIONS", (0.6,))
    beliefs, _ = two_settings(True, 0)
    laws, full = [b.law for b in beliefs.values()], np.empty((24, 24))
    same, near = matern(grid())
    for i, j in np.ndindex(2, 2):
        cross = laws[i].slopes @ np.diag(np.sqrt(laws[i].prior * laws[j].prior)) @ laws[j].slopes.T
        cross = cross + laws[i].sds.model * laws[j].sds.model * same
        a, b = laws[i].sds.common, laws[j].sds.common
        alike = near * (np.sqrt(a * b) + np.sqrt((1 - a) * (1 - b)) * same)
        cross = cross + laws[i].misfit[:, None] * laws[j].misfit * alike
        full[12 * i : 12 * i + 12, 12 * j : 12 * j + 12] = cross if i == j else 0.6 * cross
    at = np.concatenate([laws[0].rows, 12 + laws[1].rows])
    errors = np.concatenate([b.error for b in beliefs.values()])
    inverse = np.linalg.inv(full[np.ix_(at, at)] + np.diag(errors[at] ** 2))
    before, z = (np.concatenate([getattr(law, name) for law in laws]) for name in ("before", "measured"))
    found = correlated.together(beliefs)
    np.testing.assert_allclose(found.mean, before + full[:, at] @ inverse @ (z - before[at]), rtol=1e-6)
    np.testing.assert_allclose(found.covariance, full - full[:, at] @ inverse @ full[at], atol=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_rows_of_one_setting_help_in_another_most_where_models_err_alike(shared, monkeypatch):
    """Mean log density of the cells of the second setting that were not measured, over twenty simulated studies."""
    better = []
    for seed in range(20):
        beliefs, true = two_settings(shared, seed)
        new = 12 + np.setdiff1d(np.arange(12), beliefs["w=1"].law.rows)
        scores = []
        for tried in (correlated.CORRELATIONS, (0.0,)):
            with monkeypatch.context() as patch:
                patch.setattr(correlated, "CORRELATIONS", tried)
                found = correlated.together(beliefs)
            sd = np.sqrt(np.diag(found.covariance)[new])
            scores.append(norm.logpdf(true[1][new - 12], found.mean[new], sd).mean())
        better.append(scores[0] - scores[1])
    assert np.mean(better) > (0.2 if shared else 0.05)


def several_settings():
    """Sampler a at guidance 1, b at 1 and 2, of three sizes each; b at 2 has a size more, and one step count less."""
    places = {("a", 1.0): (grid(), 1.0), ("b", 1.0): (grid(), 0.9),
              ("b", 2.0): (grid((1e6, 4e6, 1.6e7, 6.4e7), (2, 4, 8)), 1.1)}  # fmt: skip
    parts = [t.assign(sampler=s, guidance=w, better=b) for (s, w), (t, b) in places.items()]
    table = pd.concat(parts, ignore_index=True)
    value = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": table["size"], "S": table["steps"]})
    table = table.assign(fd=value * table["better"], nfe=table["steps"]).drop(columns="better")
    return table.rename(columns={"size": "flops_per_forward"})


def test_each_budget_chooses_among_the_settings_that_it_affords():
    """The cheapest of all is 2 steps at guidance 2; at one and a half times its cost nothing else can be had."""
    table = several_settings()
    found = prepare_settings(table, law="size_steps_plain")
    points, least = found.belief.points, table["flops_per_forward"] * table["nfe"]
    least = least.groupby(["sampler=" + table["sampler"] + " guidance=" + table["guidance"].map("{:g}".format)]).min()
    cost = (points["size"] * points["steps"]).to_numpy()
    assert found.places[0] == pytest.approx(1.5 * least.min()) and least.nunique() > 1
    for group, budget in zip(found.decision.groups, found.places, strict=True):
        assert set(points["setting"].iloc[group]) == set(least.index[least <= budget])
        assert (cost[group] <= budget * (1 + 1e-9)).all()
    wanted = found.candidates
    at = points.iloc[wanted["point"]].reset_index(drop=True)
    assert at[["model", "size", "steps"]].equals(wanted[["model", "size", "steps"]])
    assert at["setting"].tolist() == [f"sampler={s} guidance={w:g}" for s, w in wanted[["sampler", "guidance"]].values]
    with pytest.raises(NoAnswer, match=r"A budget of 1000 FLOPs .* below the cheapest cell, 2e\+06;"):
        prepare_settings(table, law="size_steps_plain", budget=[1000.0, 1e9])
    with pytest.raises(InputError, match="between= is for the question 'crossover'"):
        prepare_settings(table, law="size_steps_plain", between=("m0", "m1"))


@pytest.mark.parametrize("scale", [1.0, 3.0, 5.0])
def test_a_budget_of_just_the_cheapest_cell_buys_it_as_in_one_setting(scale):
    """Whatever the rounding: a cost goes through logs, and some come out a bit above what was written."""
    table = several_settings().assign(flops_per_forward=lambda t: scale * t["flops_per_forward"])
    given = {"law": "size_steps_plain", "budget": scale * 2e6}
    alone = prepare(table.query("sampler == 'b' and guidance == 2"), **given)
    found = prepare_settings(table, **given)
    assert set(found.belief.points["setting"]) == {"sampler=b guidance=2"}
    assert alone.answer() == "m0 at 2 steps" and found.answer() == "m0 at 2 steps (sampler=b guidance=2)"


def test_candidates_are_of_the_setting_that_they_name():
    """m3 was measured in one setting, and its size is known in all."""
    table = several_settings()
    wanted = pd.DataFrame({"model": ["m3", "m0"], "steps": [64, 64], "sampler": ["a", "b"], "guidance": [1.0, 2.0]})
    found = prepare_settings(table, law="size_steps_plain", candidates=wanted).candidates
    shown = found[["model", "size", "steps", "sampler", "guidance"]].values.tolist()
    assert shown == [["m3", 6.4e7, 64.0, "a", 1.0], ["m0", 1e6, 64.0, "b", 2.0]]
    apart = table.query("sampler == 'a'").assign(guidance=lambda t: np.where(t["steps"] <= 8, 1.0, 2.0))
    two = pd.DataFrame({"model": "m0", "steps": [64, 64], "guidance": [1.0, 2.0]})  # measured at no common step count
    found = prepare_settings(apart, law="size_steps_plain", candidates=two)
    assert set(found.belief.points["setting"]) == {"guidance=1", "guidance=2"}


def test_of_a_quality_that_rises_the_highest_is_chosen():
    rows = sl.read("tiny-ldm").query("sampler == 'ddim' and guidance <= 1.5 and steps <= 16")
    found = prepare_settings(rows, quality="agreement", budget=3e8)
    mean, (group,) = found.belief.mean, found.decision.groups
    assert mean[found.decision.choices(mean)[0]] == mean[group].max() > mean[group].min()


def test_a_setting_that_cannot_be_priced_is_left_out_and_said():
    table = several_settings().query("guidance == 1")
    table["seconds_per_image"] = (1e-9 * table["flops_per_forward"] * table["nfe"]).where(table["sampler"] == "b")
    given = {"unit": "seconds", "law": "size_steps_plain"}
    with pytest.raises(InputError, match="seconds_per_image"):
        prepare_settings(table.drop(columns="seconds_per_image"), **given)
    found = prepare_settings(table, **given)
    assert set(found.belief.points["setting"]) == {"sampler=b"}
    assert sum(note.startswith("Left out sampler=a: ") for note in found.notes) == 1


def test_a_plan_over_settings_names_them_in_every_row():
    rows = sl.read("tiny-ldm").query("guidance == 1 and steps <= 8")
    plan = design(rows, "optimum", "3e13 FLOPs", steps=[16, 32, 64], enough=1e-5, most=4)
    assert set(plan.cells["sampler"]) <= set(rows["sampler"]) and len(plan.cells)
    assert f"sampler={plan.answer.split('sampler=')[1].split(')')[0]}" in plan.summary()
    wanted = pd.DataFrame({"model": "c48", "steps": 64, "sampler": ["ddim", "dpm++2m"]})
    few = design(rows, "optimum", "3e13 FLOPs", candidates=wanted, enough=1e-9, most=9)
    assert set(few.cells["model"]) <= {"c48"}


@pytest.mark.parametrize("arguments, said", [
    (dict(candidates=pd.DataFrame({"model": ["c48"], "steps": [64]})), "candidates need that column"),
    (dict(candidates=pd.DataFrame({"model": ["c48"], "steps": [64], "sampler": "euler"})), "at sampler=euler, where"),
    (dict(question="largest"), "keep one with --where sampler"), (dict(budget=1), "below the cheapest cell"),
])  # fmt: skip
def test_bad_arguments_on_settings_end_in_a_sentence(arguments, said):
    with pytest.raises(InputError, match=said):
        design(sl.read("tiny-ldm").query("guidance == 1 and steps <= 8"), **arguments)


def test_a_second_seed_helps_where_the_question_is_which_size_to_train():
    """Many cells of each model leave its own error alone: only another training of a size can average it."""
    points = pd.concat([grid(), grid(steps=(5, 6, 10, 12, 20, 24))])
    value = PLAIN.curve([3.0, 200.0, 0.3, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    own = {"m0": 0.05, "m1": -0.06, "m2": 0.04}
    table = pd.DataFrame({"model": points["model"], "flops_per_forward": points["size"], "steps": points["steps"],
                          "fd": value * np.exp(points["model"].map(own))})  # fmt: skip
    plan = design(table, "largest", "1e15 FLOPs", training=1e9, samples=100, most=3, enough=1e-9)
    assert plan.cells["kind"].iloc[0] == "seed"
    new = design(table, "largest", "1e15 FLOPs", training=1e9, sizes=[8e6, 6.4e7], samples=100, most=8, enough=1e-9)
    assert "training" in set(new.cells["kind"])


def test_a_spend_in_time_counts_the_measured_seconds(rows):
    timed = rows.query("steps <= 8 and seconds_per_image == seconds_per_image")
    plan = design(timed, "largest", "0.01 GPU-hours", steps=[32], most=4)
    assert plan.unit == "seconds" and plan.cost <= 36


def test_five_views(rows, tmp_path):
    plan = design(rows.query("steps <= 8"), "largest", "5 TFLOPs", steps=[32, 64], most=3)
    assert repr(plan).startswith("<Plan: Measure ")
    assert "expected loss" in plan.summary()
    assert "<table" in plan._repr_html_()
    assert plan.plot().get_xlabel() == "spent (FLOPs)"
    assert plan.record()["cells"][0]["model"] == plan.cells["model"].iloc[0]


@pytest.mark.parametrize("arguments, said", [
    (dict(question="best"), "No question 'best'"), (dict(spend="3 bananas"), "no unit 'bananas'"),
    (dict(spend=-1), "spend -1"), (dict(question="crossover"), "needs between="),
    (dict(question="crossover", between=("c8", "c99")), "No size 'c99'"),
    (dict(budget="1 s"), "is in seconds"), (dict(between=("c8", "c16")), "between= is for"),
    (dict(sizes=[1e8]), "give training="), (dict(of="best"), "of='best'"), (dict(samples=0), "samples=0"),
    (dict(candidates=pd.DataFrame({"steps": [3]})), "candidates need the column model"),
    (dict(candidates=pd.DataFrame({"model": ["new"], "steps": [3]})), "No size known for 'new'"),
    (dict(most=0), "most=0"), (dict(question="largest", budget=3), "are for the questions"),
    (dict(spend="1 h", training=True), "train_flops"), (dict(spend="$3"), "needs price="),
])  # fmt: skip
def test_bad_arguments_end_in_a_sentence(rows, arguments, said):
    with pytest.raises(InputError, match=said):
        design(rows.query("steps <= 8"), **arguments)


def test_a_budget_below_every_cell_has_no_answer(rows):
    with pytest.raises(NoAnswer, match="below the cheapest cell"):
        design(rows, budget=1)


def test_points_on_the_law_have_no_error_of_their_own():
    points = pd.concat([grid(), grid().assign(model=CURVE)], ignore_index=True)
    value = PLAIN.curve([3.0, 200.0, 0.4, 60.0, 1.1], {"N": points["size"], "S": points["steps"]})
    belief = believe(PLAIN, ("N", "S"), points, np.arange(12), value[:12], None, sds=(0.1, 0.01, 1.0))
    law, owned = np.diag(belief.covariance)[12:], np.diag(belief.covariance)[:12]
    assert (law > 4 * owned).all()


def test_a_rising_law_of_an_unknown_quality_says_which_way_is_better():
    """As for the optimum of the same fit: the size that a closed form gives, not the worst one."""
    n, s = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e10, 5), [2, 4, 8, 16, 32, 64]))
    hits = 0.9 - 3e3 * n**-0.5 - 0.5 * s**-0.7
    table = pd.DataFrame({"flops_per_forward": n, "steps": s, "hits": hits})
    inputs = {"N": "flops_per_forward", "S": "steps"}
    fit = sl.fit(table, "size_steps_ceiling", "hits", inputs, replicates=20)
    plan = design(fit, "optimum", "1e12 FLOPs", budget="2e10 FLOPs", compare=False)
    best = sl.optimum(fit, "2e10 FLOPs")
    assert best.size == pytest.approx(1e9) and plan.answer == f"{best.model} at {best.steps} steps"
