"""Natural parameters as the user reads them, internal ones as the solver moves them.

internal = logarithms of positive parameters, taken at the centre of the inputs for power terms; others as they are.
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.fitting.general import General
from scalinglaws.fitting.powersum import PowerSum
from scalinglaws.laws import Law

BARE = 18.0  # e-folds below the smallest value at which a floor counts as zero


@dataclass(frozen=True)
class Coordinates:
    """A linear map and logarithms between natural and internal parameters."""

    positive: np.ndarray  # [parameter] bool
    shift: np.ndarray  # [parameter, parameter]: logs and exponents = shift @ internal
    lower: np.ndarray  # [parameter], internal
    upper: np.ndarray
    vanish: np.ndarray  # [parameter] bool: zero when on its lower bound

    def natural(self, theta):
        """[.., parameter] internal to natural."""
        straight = np.asarray(theta) @ self.shift.T
        with np.errstate(over="ignore"):
            value = np.where(self.positive, np.exp(np.where(self.positive, straight, 0.0)), straight)
        return np.where(self.vanish & (np.asarray(theta) <= self.lower), 0.0, value)

    def internal(self, natural):
        """[.., parameter] natural to internal; zeros go to the lower bound."""
        natural = np.asarray(natural, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            straight = np.where(self.positive, np.log(np.where(self.positive, natural, 1.0)), natural)
        straight = np.where(np.isneginf(straight), -700.0, straight)
        theta = straight @ (2 * np.eye(len(self.shift)) - self.shift).T
        return np.clip(theta, self.lower, self.upper)

    def slope(self, theta):
        """d natural / d internal [parameter, parameter] at one point."""
        return np.where(self.positive, self.natural(theta), 1.0)[:, None] * self.shift


def power_features(law: Law, x: dict, centre: bool = True):
    """index, features and mean features of each term of a power sum at inputs x {symbol: [row]}."""
    place = {name: k for k, name in enumerate(law.params)}
    logs = {symbol: np.log(x[symbol]) for symbol in law.inputs}
    index, features, means = [], [], []
    for term in law.terms:
        names = list(dict.fromkeys(p for p, _, _ in term.powers))
        columns = [sum(sign * logs[symbol] for p, symbol, sign in term.powers if p == name) for name in names]
        mean = np.array([column.mean() if centre else 0.0 for column in columns])
        ones = np.ones(len(next(iter(logs.values()))))
        index.append(np.array([place[term.coefficient], *(place[p] for p in names)]))
        features.append(np.stack([ones, *(c - m for c, m in zip(columns, mean, strict=True))], axis=1))
        means.append(mean)
    return index, features, means


def power_model(law: Law, x: dict, y: np.ndarray, centre: bool = True) -> tuple[PowerSum, Coordinates]:
    """The model and its coordinates for a sum of power terms."""
    index, features, means = power_features(law, x, centre)
    count = len(law.params)
    shift = np.eye(count)
    for i, mean in zip(index, means, strict=True):
        shift[i[0], i[1:]] = -mean
    positive = np.isin(law.params, law.positive)
    lower, upper = (np.array([law.bounds.get(p, (-np.inf, np.inf))[k] for p in law.params]) for k in (0, 1))
    vanish = np.array([p == law.floor for p in law.params])
    low = np.log(abs(y).min() + 1e-300)
    lower = np.where(positive, np.where(vanish, low - BARE, low - 200.0), lower)
    upper = np.where(positive, np.log(abs(y).max()) + np.where(vanish, 1.0, 200.0), upper)
    model = PowerSum(tuple(index), tuple(features), count)
    return model, Coordinates(positive, shift, lower, upper, vanish)


def general_model(law: Law, x: dict, y: np.ndarray) -> tuple[General, Coordinates]:
    """The model and its coordinates for a law given as a function."""
    positive, vanish = np.isin(law.params, law.positive), np.array([p == law.floor for p in law.params])
    edges = [law.bounds.get(p, (-np.inf, np.inf)) for p in law.params]
    with np.errstate(divide="ignore"):
        lower, upper = (
            np.array([np.log(max(edge[k], 0.0)) if log else edge[k] for edge, log in zip(edges, positive, strict=True)])
            for k in (0, 1)
        )
    lower = np.where(vanish & positive, np.log(abs(y).min()) - BARE, np.where(positive, np.maximum(lower, -600), lower))
    upper = np.where(positive, np.minimum(upper, 600), upper)
    return General(law, x, positive), Coordinates(positive, np.eye(len(positive)), lower, upper, vanish & positive)


def model_of(law: Law, x: dict, y: np.ndarray, centre: bool = True):
    """The model and its coordinates for any law."""
    return general_model(law, x, y) if law.function is not None else power_model(law, x, y, centre)
