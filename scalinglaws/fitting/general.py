"""Laws that are no sum of power terms: any function of inputs and parameters, differentiated by Jets."""

from dataclasses import dataclass

import numpy as np

from scalinglaws.fitting.jet import Jet, variables
from scalinglaws.fitting.objective import summed_slices
from scalinglaws.laws import Law
from scalinglaws.schema import InputError

ROWS = 8_192  # rows per slice


@dataclass(frozen=True)
class General:
    """A law given as a function, on given inputs."""

    law: Law
    x: dict[str, np.ndarray]  # symbol -> [row]
    positive: np.ndarray  # [parameter] bool

    @property
    def rows(self) -> int:
        return len(next(iter(self.x.values())))

    def value(self, theta):
        """f [replicate, row]."""
        named = np.where(self.positive, np.exp(np.where(self.positive, theta, 0.0)), theta)[:, :, None]
        value = self.law.function(**self.x, **{name: named[:, k] for k, name in enumerate(self.law.params)})
        return np.broadcast_to(value, (len(theta), self.rows))

    def evaluate(self, theta, data, members, mu):
        """Objective [replicate], gradient [replicate, parameter], damped Hessian, summed over slices of rows."""
        return summed_slices(lambda rows: self._evaluate(theta, data, members, mu, rows), self.rows, ROWS)

    def jacobian(self, theta):
        """df / dtheta [row, parameter] at one theta [parameter]."""
        f = self.jet(theta[None])
        columns = [np.broadcast_to(f.grad.get(i, 0.0), (1, self.rows))[0] for i in range(len(theta))]
        return np.stack(columns, axis=1)

    def jet(self, theta, rows=slice(None)) -> Jet:
        """The law's value with derivatives by internal parameters."""
        return self.at(theta, {symbol: x[rows] for symbol, x in self.x.items()})

    def at(self, theta, x) -> Jet:
        """The same at inputs x {symbol: [row] or [replicate, row]}."""
        named = dict(zip(self.law.params, variables(theta, self.positive), strict=True))
        found = self.law.function(**x, **named)
        if not isinstance(found, Jet):
            raise InputError(f"Law {self.law.name!r} does not depend on its parameters: check its function.")
        return found

    def _evaluate(self, theta, data, members, mu, rows):
        shape = (len(theta), len(next(iter(self.x.values()))[rows]))
        return sums(self.jet(theta, rows), shape, theta.shape[1], data, members, mu, rows)


def sums(f: Jet, shape, count, data, members, mu, rows=slice(None)):
    """Objective [replicate], gradient [replicate, parameter], damped Hessian; f is the law, shape [replicate, row]."""
    value, pull, twist, bend = data.losses(np.broadcast_to(f.value, shape), members, mu, rows)
    gradient, hessian = np.zeros((shape[0], count)), np.zeros((shape[0], count, count))
    for i, g in f.grad.items():
        gradient[:, i] = (pull * g).sum(axis=1)
        bent = bend * g
        for j, other in f.grad.items():
            if j >= i:
                hessian[:, i, j] = (bent * other).sum(axis=1)
    for (i, j), h in f.hess.items():
        hessian[:, i, j] += (twist * h).sum(axis=1)
    upper = np.triu(hessian, 1)
    return value, gradient, hessian + upper.transpose(0, 2, 1)
