"""The cheapest way to a wanted quality: sizes, training lengths, steps and guidances searched for least total cost.

For each size, steps and guidance the law is solved for the data, in closed form where it is a sum of powers; the size
is searched on a grid that is then refined.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalinglaws.decide.training_cost import TrainingCost
from scalinglaws.fitting.result import Fit
from scalinglaws.laws.law import term_value

FINE = 21  # sizes between the neighbours of the best of the grid
LOG_DATA = (-3.0, 30.0)  # log10 D of the bisection, for laws that are no sum of powers


@dataclass(frozen=True)
class Option:
    """One way to serve."""

    guidance: object  # a weight, or the label of its fit; None for a single fit
    fit: Fit
    steps: float | None  # None where the law has no steps
    calls: float  # network evaluations per image

    def inputs(self, sizes):
        """Of the law without data, {symbol: array} at sizes."""
        return {"N": sizes} if self.steps is None else {"N": sizes, "S": np.full(sizes.shape, self.steps)}


@dataclass(frozen=True)
class Prices:
    """What training and serving cost, in `unit`."""

    training: TrainingCost
    forward: Callable  # sizes [n] -> FLOPs of one forward pass [n]
    fixed: float  # FLOPs per image besides the forward passes
    scales: tuple[float, float]  # unit per FLOP, of training and of serving
    unit: str

    def of(self, size, data, calls, served):
        """(cost of training, cost of serving so many images) in the unit."""
        serving = served * (self.forward(size) * calls + self.fixed)
        return self.training.of(size, data) * self.scales[0], serving * self.scales[1]


@dataclass(frozen=True)
class Demand:
    """What is wanted, and between which ways of having it the choice lies."""

    quality: float
    served: float  # images (or tokens) over the lifetime
    prices: Prices
    options: tuple[Option, ...]
    sizes: np.ndarray  # [n] tried, rising


def data_for(fit, quality, inputs, theta):
    """D [replicate, n] at which the law gives the quality, at inputs {symbol: [n] or [replicate, n]}; inf if none does.

    In closed form for a sum of powers with one falling term in D, else by bisection. theta [replicate, parameter].
    """
    law, theta = fit.law, np.asarray(theta, float)
    inside = [t for t in law.terms if any(symbol == "D" for _, symbol, _ in t.powers)]
    with np.errstate(all="ignore"):
        if len(inside) == 1:
            named = {name: theta[:, k, None] for k, name in enumerate(law.params)}
            rest = sum(term_value(t, named, inputs) for t in law.terms if t not in inside)
            exponent = next(sign * named[p] for p, symbol, sign in inside[0].powers if symbol == "D")
            scale = term_value(inside[0], named, inputs | {"D": np.ones_like(inputs["N"])})
            room = quality - rest
            return np.where((room > 0) & (exponent < 0), (room / scale) ** (1 / exponent), np.inf)
        grid = inputs["N"] + np.zeros((len(theta), 1))
        low, high = (np.full(grid.shape, end) for end in LOG_DATA)

        def reached(log_data):
            rows = [law.curve(t, {s: np.broadcast_to(v, grid.shape)[k] for s, v in inputs.items()}
                              | {"D": 10.0 ** log_data[k]}) for k, t in enumerate(theta)]  # fmt: skip
            return np.array(rows) <= quality

        able = reached(high)
        for _ in range(50):
            middle = (low + high) / 2
            good = reached(middle)
            low, high = np.where(good, low, middle), np.where(good, middle, high)
        return np.where(able, 10.0**high, np.inf)


def costs(demand, option, sizes, theta):
    """{size, data, training, serving, total} [replicate, n] at sizes [replicate, n]; total inf where unreachable."""
    data = data_for(option.fit, demand.quality, option.inputs(sizes), theta)
    training, serving = demand.prices.of(sizes, data, option.calls, demand.served)
    total = np.where(np.isfinite(data), training + serving, np.inf)
    values = {"size": sizes, "data": data, "training": training, "serving": serving, "total": total}
    return {name: np.broadcast_to(value, total.shape) for name, value in values.items()}


def cheapest(demand, thetas):
    """{size, data, training, serving, total, option} [replicate] of least total cost; total inf where unreachable.

    thetas: {guidance: natural parameters [replicate, parameter]}; option: its number.
    """
    best = None
    for number, option in enumerate(demand.options):
        theta = thetas[option.guidance]
        rows, sizes = np.arange(len(theta)), np.broadcast_to(demand.sizes, (len(theta), len(demand.sizes)))
        at = costs(demand, option, sizes, theta)["total"].argmin(1)
        near = [sizes[rows, np.clip(at + k, 0, len(demand.sizes) - 1)] for k in (-1, 1)]
        fine = costs(demand, option, np.geomspace(*near, FINE, axis=1), theta)
        at = fine["total"].argmin(1)
        own = {name: value[rows, at] for name, value in fine.items()} | {"option": np.full(len(rows), number)}
        lower = own["total"] < best["total"] if best else True
        best = {name: np.where(lower, value, best[name] if best else value) for name, value in own.items()}
    return best
