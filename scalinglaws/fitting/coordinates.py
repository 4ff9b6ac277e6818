"""Natural parameters as the user reads them, internal ones as the solver moves them.

internal = logarithms of positive parameters, taken at the centre of the inputs for power terms; others as they are.
Centring matters: the Hessian of the Chinchilla points has condition number 3.5e11 in natural parameters.
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.fitting.model import AutodiffModel, Model, PowerSum
from scalinglaws.fitting.settings import BOX
from scalinglaws.laws import Law


@dataclass(frozen=True)
class Coordinates:
    """A linear map and logarithms between natural and internal parameters, with the box the solver stays in."""

    positive: np.ndarray  # [P] bool
    shift: np.ndarray  # [P, P]: logs and exponents = shift @ internal
    lower: np.ndarray  # [P], internal
    upper: np.ndarray
    vanish: np.ndarray  # [P] bool: zero when on its lower bound

    def natural(self, theta):
        """[.., P] internal to natural."""
        straight = np.asarray(theta) @ self.shift.T
        with np.errstate(over="ignore"):
            value = np.where(self.positive, np.exp(np.where(self.positive, straight, 0.0)), straight)
        return np.where(self.vanish & (np.asarray(theta) <= self.lower), 0.0, value)

    def internal(self, natural):
        """[.., P] natural to internal; zeros go to the lower bound."""
        natural = np.asarray(natural, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            straight = np.where(self.positive, np.log(np.where(self.positive, natural, 1.0)), natural)
        straight = np.where(np.isneginf(straight), -700.0, straight)
        theta = straight @ (2 * np.eye(len(self.shift)) - self.shift).T
        return np.clip(theta, self.lower, self.upper)

    def jacobian(self, theta):
        """d natural / d internal [P, P] at one point [P]."""
        return np.where(self.positive, self.natural(theta), 1.0)[:, None] * self.shift

    @property
    def max_step(self) -> np.ndarray:
        """[P], the longest step of the solver."""
        boxed = np.isfinite(self.lower) & np.isfinite(self.upper)
        return np.where(self.positive, BOX.step_logarithm, np.where(boxed, BOX.step_bounded, np.inf))


def model_and_coordinates(law: Law, x: dict, y: np.ndarray, centre: bool = True) -> tuple[Model, Coordinates]:
    """A law on inputs x {symbol: [N]}, and its coordinates for values like y [N]."""
    return _autodiff(law, x, y) if law.function is not None else _power_sum(law, x, y, centre)


def _power_sum(law, x, y, centre):
    place = {name: k for k, name in enumerate(law.params)}
    logs = {symbol: np.log(x[symbol]) for symbol in law.inputs}
    ones, count = np.ones(len(next(iter(logs.values())))), len(law.params)
    index, features, shift = [], [], np.eye(count)
    for term in law.terms:
        names = list(dict.fromkeys(p for p, _, _ in term.powers))
        columns = [sum(sign * logs[symbol] for p, symbol, sign in term.powers if p == name) for name in names]
        mean = np.array([column.mean() if centre else 0.0 for column in columns])
        index.append(np.array([place[term.coefficient], *(place[p] for p in names)]))
        features.append(np.stack([ones, *(c - m for c, m in zip(columns, mean, strict=True))], axis=1))
        shift[index[-1][0], index[-1][1:]] = -mean
    positive = np.isin(law.params, law.positive)
    lower, upper = (np.array([law.bounds.get(p, (-np.inf, np.inf))[k] for p in law.params]) for k in (0, 1))
    vanish = np.array([p == law.floor for p in law.params])
    low = np.log(abs(y).min() + 1e-300)
    lower = np.where(positive, np.where(vanish, low - BOX.floor, low - BOX.coefficient), lower)
    upper = np.where(positive, np.log(abs(y).max()) + np.where(vanish, 1.0, BOX.coefficient), upper)
    return PowerSum(tuple(index), tuple(features), count), Coordinates(positive, shift, lower, upper, vanish)


def _autodiff(law, x, y):
    positive, vanish = np.isin(law.params, law.positive), np.array([p == law.floor for p in law.params])
    edges = [law.bounds.get(p, (-np.inf, np.inf)) for p in law.params]
    with np.errstate(divide="ignore"):
        lower, upper = (
            np.array([np.log(max(edge[k], 0.0)) if log else edge[k] for edge, log in zip(edges, positive, strict=True)])
            for k in (0, 1)
        )
    most = BOX.logarithm
    lower = np.where(positive, np.maximum(lower, -most), lower)
    lower = np.where(vanish & positive, np.log(abs(y).min()) - BOX.floor, lower)
    upper = np.where(positive, np.minimum(upper, most), upper)
    return AutodiffModel(law, x, positive), Coordinates(
        positive, np.eye(len(positive)), lower, upper, vanish & positive
    )
