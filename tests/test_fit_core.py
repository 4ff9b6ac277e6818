"""The parts of the fitting core against their definitions: loss, models, Newton step, depth of the call stack."""

import inspect

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime, nnls
from test_fit import EDM2
from test_laws import TRUTH, rows

from scalinglaws import laws
from scalinglaws.fitting import fit
from scalinglaws.fitting.batching import minimise_all, stack
from scalinglaws.fitting.data import match_inputs, read_data
from scalinglaws.fitting.guesses import nonnegative
from scalinglaws.fitting.loss import Loss
from scalinglaws.fitting.model import AutodiffModel, PowerSum
from scalinglaws.fitting.options import Options
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.solver import minimise, newton_step
from scalinglaws.schema import InputError

Z = np.array([-3.0, -1.2, -0.7, -1e-3, 0.0, 1e-3, 0.4, 1.1, 5.0])


def problem(law="chinchilla", noise=0.05, seed=0, **loss) -> Problem:
    law, inputs = match_inputs(laws.find(law), {s: s for s in TRUTH[law][1]})
    return Problem.build(law, read_data(rows(law.name, noise, seed), law, "y", inputs, Options()), Loss(**loss))


@pytest.mark.parametrize("delta", [1.0, np.inf])
def test_psi_is_the_slope_of_rho_and_the_majoriser_lies_above(delta):
    loss = Loss(delta)
    rho = lambda z: loss.rho(z, loss.psi(z))  # noqa: E731
    huber = np.where(np.abs(Z) <= delta, Z**2 / 2, delta * (np.abs(Z) - delta / 2) if delta < np.inf else 0)
    assert rho(Z) == pytest.approx(huber)
    assert loss.psi(Z) == pytest.approx((rho(Z + 1e-6) - rho(Z - 1e-6)) / 2e-6, abs=1e-6)
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    second = np.broadcast_to(loss.curvature(Z, loss.psi(Z), one, zero), (1, len(Z)))[0]
    assert second == pytest.approx((loss.psi(Z + 1e-6) - loss.psi(Z - 1e-6)) / 2e-6, abs=1e-6)
    for z in Z[Z != 0]:  # the parabola that touches rho at z with curvature psi(z)/z
        parabola = rho(z) + loss.psi(z) / z / 2 * (Z**2 - z**2)
        assert (parabola >= rho(Z) - 1e-12).all()


@pytest.mark.parametrize("loss", [{}, {"delta": 0.03}, {"delta": 0.03, "asymmetry": 0.3}, {"scale": "raw"}])
def test_a_sum_of_powers_and_the_same_law_as_a_function_agree(loss):
    """Closed form against automatic differentiation, objective, gradient and Hessian, damped and not."""
    one = problem(**loss)
    law = one.law

    def function(N, D, E, A, a, B, b):
        return E + A * N**-a + B * D**-b

    same = laws.custom(function, law.params, law.inputs, positive=law.positive, bounds=law.bounds)
    plain = Problem.build(law, one.data, one.objective.loss, centre=False)
    two = Problem.build(same, one.data, one.objective.loss)
    assert isinstance(plain.objective.model, PowerSum) and isinstance(two.objective.model, AutodiffModel)
    theta = plain.coordinates.internal([[TRUTH["chinchilla"][0][p] for p in law.params]] * 3) + 0.01
    for mu in (0.0, 0.5, 20.0):
        parts = [p.objective.evaluate(theta, np.arange(3), np.full(3, mu)) for p in (plain, two)]
        for closed, automatic in zip(*parts, strict=True):
            assert automatic == pytest.approx(closed, rel=1e-9, abs=1e-9 * np.abs(closed).max())
    assert two.objective.model.jacobian(theta[0]) == pytest.approx(plain.objective.model.jacobian(theta[0]), rel=1e-9)


@pytest.mark.parametrize("law", ["chinchilla", "bnsl_1"])
def test_a_model_contracts_its_jacobian(law):
    """gradient(u) is J'u, and hessian(0, v) is J' diag(v) J; the Jacobian against differences."""
    one = problem(law)
    model, rng = one.objective.model, np.random.default_rng(0)
    theta = one.coordinates.internal([TRUTH[law][0][p] for p in one.law.params])
    jacobian = model.jacobian(theta)
    slopes = approx_fprime(theta, lambda t: model.value(t[None])[0], 1e-7)
    assert np.abs(jacobian - slopes).max() < 1e-5 * np.abs(jacobian).max()
    u, v = rng.standard_normal((2, 1, model.rows))
    at = model.derivatives(theta[None], np.zeros(1, int), slice(None))
    assert at.value == pytest.approx(model.value(theta[None]))
    assert at.gradient(u)[0] == pytest.approx(u[0] @ jacobian)
    assert at.hessian(np.zeros_like(v), v)[0] == pytest.approx(jacobian.T @ (v[0, :, None] * jacobian))


def test_slices_of_rows_sum_to_the_whole():
    from dataclasses import replace

    one = problem()
    sliced = one.objective.with_(model=replace(one.objective.model, slice_rows=7))
    theta = one.coordinates.internal([[TRUTH["chinchilla"][0][p] for p in one.law.params]])
    for whole, parts in zip(*(o.evaluate(theta, np.zeros(1, int), np.zeros(1)) for o in (one.objective, sliced)),
                            strict=True):  # fmt: skip
        assert parts == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("members", [3, 100])
def test_a_newton_step_solves_the_damped_system(members):
    """Against numpy for definite matrices; indefinite ones are reported; a parameter that is not free stays."""
    rng = np.random.default_rng(0)
    half = rng.standard_normal((members, 4, 6))
    matrix, gradient = half @ half.transpose(0, 2, 1), rng.standard_normal((members, 4))
    free, ridge = np.ones((members, 4), bool), rng.uniform(0, 2, members)
    step, indefinite = newton_step(matrix, gradient, free, ridge)
    damped = matrix + ridge[:, None, None] * matrix * np.eye(4)
    assert step == pytest.approx(np.linalg.solve(damped, -gradient[:, :, None])[:, :, 0]) and not indefinite.any()
    matrix[1, 0, 0], free[2, 1], gradient[2, 1] = -1.0, False, 0.0
    step, indefinite = newton_step(matrix, gradient, free, np.zeros(members))
    assert indefinite[1] and not indefinite[2] and step[2, 1] == 0
    assert ((step * gradient).sum(axis=1)[~indefinite] < 0).all()


def test_groups_in_one_batch_end_where_they_end_alone():
    """Different numbers of rows and different deltas: delta² rho_1(r / delta) = rho_delta(r)."""
    some = [problem("power_floor", 0.05, seed, delta=0.02 * (seed + 1)) for seed in range(3)]
    some[1] = Problem.build(some[1].law, some[1].data.where(np.arange(12) < 9), some[1].objective.loss)
    starts = [one.coordinates.internal([[1.5, 3e3, 0.5]]) for one in some]
    whole = stack([one.objective for one in some], [1, 1, 1])
    together = minimise(whole, np.concatenate(starts))
    alone = [minimise_all([one.objective], [start])[0] for one, start in zip(some, starts, strict=True)]
    assert together.theta == pytest.approx(np.concatenate([each.theta for each in alone]), rel=1e-7)
    assert together.objective == pytest.approx(np.concatenate([each.objective for each in alone]), rel=1e-10)


def test_minima_are_replaced_in_a_copy():
    one = problem("power_floor")
    minima = minimise(one.objective, one.coordinates.internal([[1.0, 3e3, 0.5], [2.0, 9e3, 0.9]]))
    before = minima.theta.copy()
    changed = minima.replaced(np.array([0]), minima.take([1]))
    assert np.array_equal(minima.theta, before) and np.array_equal(changed.theta[0], before[1])


def test_coefficients_are_not_negative():
    """Coordinate descent against scipy's nnls."""
    rng = np.random.default_rng(1)
    design, target = rng.standard_normal((20, 12, 3)), rng.standard_normal((20, 12))
    gram, right = design.transpose(0, 2, 1) @ design, np.einsum("gnk,gn->gk", design, target)
    expected = np.array([nnls(d, t)[0] for d, t in zip(design, target, strict=True)])
    assert nonnegative(gram, right) == pytest.approx(expected, abs=1e-6)


def test_six_calls_from_fit_to_the_linear_solve(monkeypatch):
    """fit, _fit_tables, estimate, multistart, minimise_all, minimise, newton_step."""
    solve, depths = np.linalg.solve, []

    def spy(*arguments):
        names = [frame.function for frame in inspect.stack() if "scalinglaws" in frame.filename]
        if "newton_step" in names:
            depths.append(len([name for name in names if not name.startswith("<")]) - 1)
        return solve(*arguments)

    monkeypatch.setattr(np.linalg, "solve", spy)
    fit(EDM2, "power_floor", "fid", {"N": "gflops"})
    assert depths and max(depths) <= 6


def test_options_are_checked_once():
    table = pd.DataFrame({"x": [1.0, 2, 3, 4], "y": [4.0, 3, 2.5, 2.2]})
    result = fit(table, "power", "y", "x", delta=0.1, replicates=7, seed=3)
    assert result.options == Options(delta=0.1, replicates=7, seed=3)
    assert (result.count, result.seed, result.loss, result.residual_scale) == (7, 3, "huber", "log")
    with pytest.raises(InputError, match=r"No bootstrap named 'jackknife'\. Known: auto, wild, pair, residual"):
        Options(bootstrap="jackknife")
