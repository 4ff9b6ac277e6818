"""Every law of the table comes back from its own noise-free curve; a user's law is a function and names."""

import numpy as np
import pandas as pd
import pytest

from scalinglaws import laws
from scalinglaws.fitting import fit
from scalinglaws.fitting.data import match_inputs, read_data
from scalinglaws.fitting.loss import Loss
from scalinglaws.fitting.options import Options
from scalinglaws.fitting.problem import Problem
from scalinglaws.schema import InputError

spread = np.geomspace
SIZES = spread(1e6, 1e9, 10)


def line(low, high, count, symbol="x") -> dict:
    return {symbol: spread(low, high, count)}


def cross(**axes) -> dict:
    mesh = np.meshgrid(*axes.values(), indexing="ij")
    return {symbol: values.ravel() for symbol, values in zip(axes, mesh, strict=True)}


# law: parameters, inputs. Units: those of the quality for E, A, B, C, K; of the input for d, m, A and B of kaplan.
TRUTH = {
    "power": ({"A": 50, "a": 0.3}, line(1e6, 1e9, 12)),
    "power_floor": ({"E": 1.7, "A": 5e3, "a": 0.6}, line(1e6, 1e9, 12)),
    "chinchilla": ({"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}, cross(N=SIZES, D=spread(1e9, 1e12, 10))),
    "size_steps_plain": ({"E": 5, "A": 3e3, "a": 0.4, "B": 60, "b": 1.1}, cross(N=SIZES, S=spread(2, 256, 8))),
    "size_steps_interaction": (
        {"E": 5, "A": 3e3, "a": 0.4, "B": 600, "g": -0.2, "b": 1.1}, cross(N=SIZES, S=spread(2, 256, 8))),
    "size_steps_product": ({"E": 3, "A": 5e3, "a": 0.4, "b": 0.7}, cross(N=SIZES, S=spread(2, 256, 8))),
    "size_training": ({"E": 1.7, "A": 400, "a": 0.34, "B": 400, "b": 0.28}, cross(N=SIZES, C=spread(1e17, 1e21, 10))),
    "size_training_steps": (
        {"E": 5, "A": 3e3, "a": 0.5, "B": 6e5, "h": -0.15, "b": 0.6, "K": 60, "g": 0.08, "k": 1.4},
        cross(N=SIZES, D=spread(1e6, 1e9, 5), S=spread(2, 128, 6))),
    "steps_turn": ({"E": 3, "B": 30, "b": 1.2, "C": 0.05, "c": 0.6}, line(1, 1000, 24, "S")),
    "size_steps_turn": (
        {"E": 3, "A": 3e3, "a": 0.5, "B": 30, "b": 1.2, "C": 0.05, "c": 0.6}, cross(N=SIZES, S=spread(1, 1000, 12))),
    "size_steps_interaction_turn": (
        {"E": 3, "A": 3e3, "a": 0.5, "B": 90, "g": -0.1, "b": 1.2, "C": 0.02, "h": 0.05, "c": 0.6},
        cross(N=SIZES, S=spread(1, 1000, 12))),
    "kaplan": (
        {"A": 8.8e13, "a": 0.076, "B": 5.4e13, "b": 0.095}, cross(N=spread(1e5, 1e10, 10), D=spread(1e7, 1e12, 10))),
    "bnsl_1": ({"E": 0.5, "B": 20, "c0": 0.2, "c1": 0.5, "d1": 1e4, "f1": 0.3}, line(1e2, 1e7, 40)),
    "bnsl_2": (
        {"E": 0.5, "B": 20, "c0": 0.1, "c1": 0.5, "d1": 1e3, "f1": 0.3, "c2": -0.35, "d2": 1e5, "f2": 0.3},
        line(1e1, 1e8, 80)),
    "bnsl_3": (
        {"E": 0.5, "B": 20, "c0": 0.1, "c1": 0.5, "d1": 1e3, "f1": 0.25, "c2": -0.45, "d2": 1e5, "f2": 0.25, "c3": 0.6,
         "d3": 1e7, "f3": 0.25}, line(1e1, 1e10, 160)),
    "m4": ({"L": 0.1, "U": 2.5, "k": 0.8, "B": 30, "c": 0.5}, line(1e1, 1e7, 40)),
    "ceiling": ({"C": 0.33, "A": 2.0, "a": 0.25}, line(1e4, 1e9, 16)),
    "size_steps_ceiling": ({"C": 0.33, "A": 2.0, "a": 0.25, "B": 0.1, "b": 0.9}, cross(N=SIZES, S=spread(2, 256, 8))),
    "sigmoid": ({"C": 0.9, "m": 1e6, "a": 0.7}, line(1e4, 1e9, 24)),
    "guidance": ({"E": 3, "K": 2, "W": 1.8}, line(1, 6, 12, "w")),
    "guidance_size": ({"E": 2, "A": 3e3, "a": 0.5, "K": 2, "W": 0.5, "m": 0.07}, cross(N=SIZES, w=spread(1, 6, 9))),
    "guidance_size_steps": (
        {"E": 2, "A": 3e3, "a": 0.5, "B": 10, "b": 1.1, "K": 2, "W": 0.5, "m": 0.07, "k": 0.05},
        cross(N=SIZES, S=spread(2, 128, 6), w=spread(1, 6, 7))),
}  # fmt: skip


def rows(name: str, noise=0.0, seed=0) -> pd.DataFrame:
    """The law's own curve with log-normal noise."""
    truth, x = TRUTH[name]
    law = laws.LAWS[name]
    value = law.curve([truth[p] for p in law.params], x)
    shock = np.random.default_rng(seed).standard_normal(len(value))
    return pd.DataFrame(x).assign(y=value * np.exp(noise * shock))


def test_every_law_is_tested():
    assert set(TRUTH) >= {name for name in laws.LAWS if not name.startswith("shared")}


@pytest.mark.parametrize("loss", ["squares", "huber"])
@pytest.mark.parametrize("name", TRUTH)
def test_noise_free_recovery(name, loss):
    symbols = {symbol: symbol for symbol in laws.LAWS[name].inputs}
    result = fit(rows(name), name, "y", {s: s for s in TRUTH[name][1]} if len(symbols) == 1 else symbols, loss=loss)
    assert result.values == pytest.approx(TRUTH[name][0], rel=1e-7)


@pytest.mark.parametrize("name", laws.LAWS)
def test_every_law_names_equation_source_and_parameters(name):
    law = laws.LAWS[name]
    assert law.equation and law.source and law.inputs
    assert law.params == tuple(dict.fromkeys(law.params))


def test_a_users_law_needs_a_function_and_names():
    def tempered(x, E, A, a, t):
        return E + A * (x + t) ** -a

    law = laws.custom(tempered, ("E", "A", "a", "t"), positive=("E", "A", "a", "t"), linear=("E", "A"),
                      ranges={"a": (0.1, 3.0), "t": "x"})  # fmt: skip
    x = spread(1, 1e4, 30)
    result = fit(pd.DataFrame({"x": x, "y": tempered(x, 2.0, 40.0, 0.7, 25.0)}), law, "y", "x")
    assert result.values == pytest.approx({"E": 2.0, "A": 40.0, "a": 0.7, "t": 25.0}, rel=1e-7)


@pytest.mark.parametrize("equation", ["C - A*N^-a", "E + 2*N^-a", "E + A*N", "E + A*N^-0.5", "", "E + -A*N^-a"])
def test_an_equation_that_is_no_sum_of_power_terms_is_refused(equation):
    with pytest.raises(InputError, match=r"Law 'mine': .* is no power term. Write a sum of terms such as A\*N\^-a"):
        laws.power_sum("mine", equation, "me")


def test_a_users_sum_of_powers_is_its_equation():
    law = laws.power_sum("mine", "E + A*N^-a*S^-b", "me")
    x = cross(N=SIZES, S=spread(1, 100, 5))
    y = 2 + 300 * x["N"] ** -0.3 * x["S"] ** -0.5
    result = fit(pd.DataFrame(x).assign(y=y), law, "y", {"N": "N", "S": "S"})
    assert result.values == pytest.approx({"E": 2, "A": 300, "a": 0.3, "b": 0.5}, rel=1e-7)


def test_a_law_whose_function_misses_a_parameter():
    with pytest.raises(InputError, match="it takes x, E"):
        laws.custom(lambda x, E: E + 0 * x, ("E", "A"))


def test_unknown_law():
    with pytest.raises(InputError, match=r"No law named 'powr'\. Known laws: power, power_floor"):
        laws.find("powr")


def samplers(noise=0.0) -> pd.DataFrame:
    """Two samplers with one floor."""
    steps = 2.0 ** np.arange(1, 9)
    parts = [pd.DataFrame({"steps": steps, "sampler": name, "fd": 3 + B * steps**-b})
             for name, B, b in (("ddim", 40, 1.0), ("dpm", 60, 1.9))]  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table.assign(fd=table["fd"] * np.exp(noise * np.random.default_rng(0).standard_normal(len(table))))


def test_curves_that_share_a_floor():
    law = laws.shared(laws.find("power_floor"), ("ddim", "dpm"), ("E",))
    result = fit(samplers(), law, "fd", {"x": "steps", "g": "sampler"})
    truth = {"E": 3, "A_ddim": 40, "A_dpm": 60, "a_ddim": 1.0, "a_dpm": 1.9}
    assert result.values == pytest.approx(truth, rel=1e-7)
    noisy = fit(samplers(0.02), law, "fd", {"x": "steps", "g": "sampler"}, replicates=100)
    predicted = noisy.predict(pd.DataFrame({"steps": [10.0, 10.0], "sampler": ["ddim", "dpm"]}))
    assert predicted["value"].tolist() == pytest.approx([7.0, 3 + 60 * 10**-1.9], rel=0.05)
    assert noisy.curve({"x": [10.0], "g": ["dpm"]})[0] == pytest.approx(predicted["value"][1])


def test_an_unknown_curve():
    law = laws.shared(laws.find("power_floor"), ("ddim", "euler"), ("E",))
    with pytest.raises(InputError, match="No curve named 'dpm'"):
        fit(samplers(), law, "fd", {"x": "steps", "g": "sampler"})
    with pytest.raises(InputError, match="Sharing needs two groups or more"):
        laws.shared(laws.find("power"), ("one",), ("A",))


@pytest.mark.parametrize("scale", ["log", "raw", "log1p"])
@pytest.mark.parametrize("name", TRUTH)
def test_gradient_and_hessian_are_exact(name, scale):
    """Against central differences of objective and gradient, Huber's linear part included."""
    law, inputs = match_inputs(laws.find(name), {s: s for s in TRUTH[name][1]})
    problem = Problem.build(law, read_data(rows(name, 0.1), law, "y", inputs, Options()), Loss(0.05, scale=scale))
    theta = problem.coordinates.internal([TRUTH[name][0][p] for p in law.params]) + 0.01

    def at(point):
        value, gradient, hessian = problem.objective.evaluate(point[None], np.zeros(1, int), np.zeros(1))
        return value[0], gradient[0], hessian[0]

    _, gradient, hessian = at(theta)
    steps = 1e-6 * np.eye(len(theta))
    slope = np.array([at(theta + step)[0] - at(theta - step)[0] for step in steps]) / 2e-6
    second = np.array([at(theta + step)[1] - at(theta - step)[1] for step in steps]) / 2e-6
    assert np.abs(slope - gradient).max() < 1e-5 * np.abs(gradient).max()
    assert np.abs(second - hessian).max() < 1e-5 * np.abs(hessian).max()
