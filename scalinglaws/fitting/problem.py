"""A fit as the solver sees it: a model on given inputs, measured values, weights, a loss and a box."""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting.objective import Loss


@dataclass(frozen=True)
class Problem:
    """Everything minimise() needs. Arrays marked [.., row] may have one leading axis over replicates."""

    model: object  # PowerSum or Jets: rows, value(theta), evaluate(theta, data, members, mu)
    target: np.ndarray  # [.., row], ln y on the log scale, y on the raw scale
    loss: Loss
    lower: np.ndarray  # [.., parameter], internal
    upper: np.ndarray
    reach: np.ndarray  # [parameter], the longest step
    spread: np.ndarray | None = None  # [row], residuals are divided by it (relative standard errors)
    weight: np.ndarray | None = None  # [.., row], the loss is multiplied by it

    @property
    def rows(self) -> int:
        return self.model.rows

    def box(self, members):
        """Bounds of these members."""
        return _of(self.lower, members), _of(self.upper, members)

    def evaluate(self, theta, members, mu):
        return self.model.evaluate(theta, self, members, mu)

    def residuals(self, theta) -> np.ndarray:
        """Model minus measurement [replicate, row] on the scale of the fit, not divided by spread."""
        value = self.model.value(theta)
        return (np.log(value) if self.loss.scale == "log" else value) - self.target

    def losses(self, f, members, mu, rows=slice(None)):
        """Loss summed over rows, and the two factors [replicate, row] that every derivative is made of.

        With s_k the share of term k in f: gradient = sum pull s_k x_k, and
        Hessian = sum pull s_k x_k x_k' + sum bend (sum_k s_k x_k)(sum_k s_k x_k)'.
        """
        log = self.loss.scale == "log"
        residual = (np.log(f) if log else f) - _of(self.target, members)[..., rows]
        spread = None if self.spread is None else self.spread[rows]
        z = residual if spread is None else residual / spread
        pull = self.loss.pull(z)
        value, bend = self.loss.value(z, pull), self.loss.curvature(z, pull, mu[:, None])
        if spread is not None:
            pull, bend = pull / spread, bend / spread**2
        if self.weight is not None or self.loss.asymmetry != 1.0:
            weight = self._weights(residual, members, rows)
            value, pull, bend = value * weight, pull * weight, bend * weight
        if log:
            return value.sum(axis=1), pull, bend - pull
        return value.sum(axis=1), pull * f, bend * f * f

    def _weights(self, residual, members, rows):
        weight = 1.0 if self.weight is None else _of(self.weight, members)[..., rows]
        tilt = self.loss.tilt(residual)
        return weight if tilt is None else weight * tilt

    def with_(self, **changes) -> "Problem":
        return replace(self, **changes)


def _of(array, members):
    return array if array.ndim == 1 else array[members]
