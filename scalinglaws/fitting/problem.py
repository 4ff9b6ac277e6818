"""A fit as the solver sees it: a model on given inputs, measured values, weights, a loss and a box."""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting.objective import Loss


@dataclass(frozen=True)
class Problem:
    """Everything minimise() needs. Arrays marked [.., row] may have one leading axis over replicates."""

    model: object  # PowerSum or Jets: rows, value(theta), evaluate(theta, data, members, mu)
    target: np.ndarray  # [.., row], loss.transform(y)
    loss: Loss
    lower: np.ndarray  # [.., parameter], internal
    upper: np.ndarray
    reach: np.ndarray  # [parameter], the longest step
    spread: np.ndarray | None = None  # [.., row], residuals are divided by it (relative standard errors)
    weight: np.ndarray | None = None  # [.., row], the loss is multiplied by it

    @property
    def rows(self) -> int:
        return self.model.rows

    def box(self, members):
        """Bounds of these members."""
        return _of(self.lower, members), _of(self.upper, members)

    def evaluate(self, theta, members, mu):
        with np.errstate(all="ignore"):  # a step into infinity is refused by its objective
            return self.model.evaluate(theta, self, members, mu)

    def residuals(self, theta) -> np.ndarray:
        """Model minus measurement [replicate, row] on the scale of the fit, not divided by spread."""
        with np.errstate(all="ignore"):
            return self.loss.transform(self.model.value(theta)) - self.target

    def losses(self, f, members, mu, rows=slice(None)):
        """Loss summed over rows, and the three factors [replicate, row] that every derivative is made of:

        gradient = sum pull df and Hessian = sum twist d²f + bend df df'. It is
        t exact + (1 - t + mu) Gauss-Newton of the IRLS majoriser, with t = min(1, 1/mu): exact at mu = 0, and never
        negative at large mu.
        """
        mu = mu[:, None]
        exact = 1.0 / np.maximum(mu, 1.0)
        residual = self.loss.transform(f) - _of(self.target, members)[..., rows]
        spread = 1.0 if self.spread is None else _of(self.spread, members)[..., rows]
        z = residual if self.spread is None else residual / spread
        pull = self.loss.pull(z)
        value, bend = self.loss.value(z, pull), self.loss.curvature(z, pull, exact, 1.0 - exact + mu)
        inner = f + self.loss.offset if self.loss.offset else f
        weight = self._weights(residual, members, rows)
        value = value.sum(axis=1) if weight is None else np.einsum("rn,rn->r", value, np.broadcast_to(weight, f.shape))
        scale = (1.0 if weight is None else weight) / (inner * spread if self.loss.logarithmic else spread)
        slope = pull * scale
        twist = exact * slope if (mu > 1).any() else slope
        bend = bend * scale / spread
        bend = (bend - twist) / inner if self.loss.logarithmic else bend
        return value, slope, twist, np.broadcast_to(bend, slope.shape)

    def _weights(self, residual, members, rows):
        weight = None if self.weight is None else _of(self.weight, members)[..., rows]
        tilt = self.loss.tilt(residual)
        return weight if tilt is None else tilt if weight is None else weight * tilt

    def with_(self, **changes) -> "Problem":
        return replace(self, **changes)


def _of(array, members):
    return array if array.ndim == 1 else array[members]
