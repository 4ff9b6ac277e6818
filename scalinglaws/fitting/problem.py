"""One fit before it is solved: a law, its data, the objective and the coordinates; and its tangent plane at a point."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from scalinglaws.fitting.coordinates import Coordinates, model_and_coordinates
from scalinglaws.fitting.data import Data
from scalinglaws.fitting.loss import Loss, Objective
from scalinglaws.fitting.settings import DIAGNOSTICS
from scalinglaws.laws import Law


@dataclass(frozen=True)
class Problem:
    """A law on data, ready for the solver. theta is internal throughout."""

    law: Law
    data: Data
    objective: Objective
    coordinates: Coordinates

    @classmethod
    def build(cls, law: Law, data: Data, loss: Loss, centre: bool = True) -> "Problem":
        model, c = model_and_coordinates(law, data.x, data.y, centre)
        target = loss.transform(data.y)
        objective = Objective(model, target, loss, c.lower, c.upper, c.max_step, data.sigma, data.weight)
        return cls(law, data, objective, c)

    def with_loss(self, **changes) -> "Problem":
        """The same with another delta, asymmetry or scale."""
        return replace(self, objective=self.objective.with_(loss=replace(self.objective.loss, **changes)))

    def residuals(self, theta) -> np.ndarray:
        """z [N] at theta [P]: fitted minus measured on the scale of the fit, in units of relative standard errors."""
        residuals = self.objective.residuals(theta[None])[0]
        return residuals if self.data.sigma is None else residuals / self.data.sigma

    def jacobian(self, theta) -> np.ndarray:
        """dz/dtheta [N, P] at theta [P], rows times the square root of their weights."""
        model, loss, data = self.objective.model, self.objective.loss, self.data
        jacobian = model.jacobian(theta)
        if loss.logarithmic:
            jacobian = jacobian / (model.value(theta[None])[0] + loss.offset)[:, None]
        scale = 1.0 if data.sigma is None else 1.0 / data.sigma
        scale = scale if data.weight is None else scale * np.sqrt(data.weight)
        return jacobian * np.reshape(scale, (-1, 1))

    def information(self, theta) -> np.ndarray:
        """J'J [P, P] of jacobian() at theta [P], summed in slices of rows: the Hessian where all residuals are zero."""
        at = theta[None]
        with np.errstate(all="ignore"):
            own = self.objective.loss.transform(self.objective.model.value(at))[0]
        exact = self.objective.with_(target=own, loss=Loss(scale=self.objective.loss.scale))
        return exact.evaluate(at, np.zeros(1, int), np.zeros(1))[2][0]

    def covariance(self, theta, noise: float, internal: bool = False) -> np.ndarray:
        """noise² (J'J)^-1 [P, P] of natural or internal parameters, by the delta method; columns of J scaled first."""
        change = np.eye(len(theta)) if internal else self.coordinates.jacobian(theta)
        gram = self.information(theta)
        size = np.sqrt(np.diag(gram))
        size = np.where(size > 0, size, 1.0)
        if self.objective.rows <= DIAGNOSTICS.dense:
            triangle = np.linalg.qr(self.jacobian(theta) / size, mode="r")
            half = change @ (np.linalg.pinv(triangle, rcond=1e-14) / size[:, None])
            return noise**2 * half @ half.T
        inverse = np.linalg.pinv(gram / np.outer(size, size), hermitian=True) / np.outer(size, size)
        return noise**2 * change @ inverse @ change.T

    def psi_moments(self, theta) -> tuple[float, float]:
        """sum psi² over rows, and E psi', the share of a normal noise of the residuals' robust width inside delta.

        The share counted instead is biased: a small delta makes the curve pass through as many points as it has
        parameters.
        """
        z, loss = self.residuals(theta), self.objective.loss
        weight = 1.0 if self.data.weight is None else self.data.weight
        width = max(robust_sd(z, len(theta)), 1e-300)
        return float((weight * loss.psi(z) ** 2).sum()), float(erf(min(loss.delta / width, 40.0) / np.sqrt(2)))

    def noise_variance(self, theta) -> float:
        """sum psi² / E psi' / (N - P): RSS / (N - P) for squares, Huber's (1981, section 7.6) scale otherwise."""
        square, slope = self.psi_moments(theta)
        return square / slope / max(self.objective.rows - len(theta), 1)


def robust_sd(residuals: np.ndarray, parameters: int) -> float:
    """Robust standard deviation of residuals [N] after fitting so many parameters.

    The median absolute residual without the smallest ones, as many as parameters, which a robust fit makes zero.
    """
    size = np.sort(np.abs(residuals))
    spare = max(len(size) - parameters, 1)
    return float(DIAGNOSTICS.mad * np.median(size[-spare:]))
