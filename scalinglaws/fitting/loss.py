"""What a fit minimises, with its exact first and second derivatives.

Rows n = 1..N with measured y_n, law f_n(theta), relative standard errors sigma_n, weights w_n:

  residual      z_n = (T(f_n) - T(y_n)) / sigma_n          T(f) = ln f | f | ln(1 + f)   (log | raw | log1p)
  objective     F   = sum_n w_n a_n rho(z_n)               a_n = asymmetry where z_n < 0 (above the curve), else 1

Huber's loss (1964, Annals of Mathematical Statistics 35:73), least squares in the limit delta -> infinity:

  rho(z)  = z²/2 where |z| <= delta,   delta (|z| - delta/2) beyond
  psi(z)  = rho'(z) = z,               delta sign z            = min(max(z, -delta), delta)
  psi'(z) = 1,                         0

Chain rule, once for all scales, with T' = 1/(f + c), T'' = -1/(f + c)² on logarithms (c = 0, or 1 for log1p) and
T' = 1, T'' = 0 on raw values:

  gradient  sum_n u_n df_n                         u_n = w_n a_n psi(z_n) T'_n / sigma_n
  Hessian   sum_n u_n d²f_n + v_n df_n df_n'       v_n = w_n a_n [psi'(z_n) T'_n² / sigma_n² + psi(z_n) T''_n / sigma_n]

Far from the minimum the Hessian may be indefinite. The parabola with curvature psi(z)/z >= psi'(z) that touches rho at
z lies above rho everywhere: it majorises it, and its Gauss-Newton matrix is that of iteratively reweighted least
squares (Huber 1981, section 7.8). Damping mu >= 0 mixes the two, with t = min(1, 1/mu):

  psi' -> t psi' + (1 - t + mu) psi(z)/z,   and t times every term that holds d²f or T''
"""

from dataclasses import dataclass, replace

import numpy as np

from scalinglaws.fitting.model import Model
from scalinglaws.schema import InputError

LOSSES = ("huber", "squares")
SCALES = ("log", "raw", "log1p")


@dataclass(frozen=True)
class Loss:
    """rho, psi and the scale T of the residuals; see the equations above."""

    delta: float = np.inf  # where Huber's loss turns linear, in units of z; inf is least squares
    asymmetry: float = 1.0  # multiplies the loss of rows above the curve; below 1 it sinks to the lower envelope
    scale: str = "log"  # log, raw or log1p

    @property
    def logarithmic(self) -> bool:
        return self.scale != "raw"

    @property
    def offset(self) -> float:
        """c, added before the logarithm."""
        return 1.0 if self.scale == "log1p" else 0.0

    def transform(self, value):
        """T(f): the scale on which residuals are differences."""
        return np.log(value + self.offset) if self.logarithmic else value

    def psi(self, z):
        """rho'(z)."""
        return z if self.delta == np.inf else np.clip(z, -self.delta, self.delta)

    def rho(self, z, psi):
        """The loss, given psi(z)."""
        return psi * (z - 0.5 * psi)

    def curvature(self, z, psi, exact, majoriser):
        """exact psi'(z) + majoriser psi(z)/z [M, n], for the shares exact and majoriser [M, 1]."""
        if self.delta == np.inf:
            return exact + majoriser
        inside = psi == z
        if not majoriser.any():
            return inside * exact
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside, exact + majoriser, majoriser * (psi / z))

    def asymmetry_weight(self, residual):
        """a [.., n], or None where the loss is symmetric."""
        return None if self.asymmetry == 1.0 else np.where(residual < 0, self.asymmetry, 1.0)


@dataclass(frozen=True)
class Objective:
    """F(theta) with gradient and Hessian, for many members at once. Arrays [.., N] may differ between members."""

    model: Model
    target: np.ndarray  # [.., N], T(y)
    loss: Loss
    lower: np.ndarray  # [.., P], bounds of internal parameters
    upper: np.ndarray
    max_step: np.ndarray  # [P], the longest step, internal units
    sigma: np.ndarray | None = None  # [.., N], relative standard errors
    weight: np.ndarray | None = None  # [.., N]

    @property
    def rows(self) -> int:
        return self.model.rows

    def with_(self, **changes) -> "Objective":
        return replace(self, **changes)

    def box(self, members):
        """Bounds of these members, [P] or [M, P]."""
        return _of(self.lower, members), _of(self.upper, members)

    def residuals(self, theta) -> np.ndarray:
        """T(f) - T(y) [M, N] at theta [M, P], not divided by sigma."""
        with np.errstate(all="ignore"):
            return self.loss.transform(self.model.value(theta)) - self.target

    def evaluate(self, theta, members, mu) -> list[np.ndarray]:
        """F [M], gradient [M, P] and damped Hessian [M, P, P] at theta [M, P] with damping mu [M].

        members [M]: which targets, weights and bounds are theirs. Rows are summed slice by slice. A step into infinity
        has an objective that is not finite; it is for the solver to reject it.
        """
        total = None
        with np.errstate(all="ignore"):
            for start in range(0, self.rows, self.model.slice_rows):
                rows = slice(start, start + self.model.slice_rows)
                law = self.model.derivatives(theta, members, rows)
                value, u, damped_u, v = self._row_terms(law.value, members, mu[:, None], rows)
                part = [value, law.gradient(u), law.hessian(damped_u, v)]
                total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
        return total

    def _row_terms(self, f, members, mu, rows):
        """F [M], and u, t u, v [M, n] of the module's docstring, for values f [M, n] of the law; mu [M, 1].

        A function of its own so that its many arrays are freed, and their cache with them, before the matrix products.
        """
        loss = self.loss
        residual = loss.transform(f) - _of(self.target, members)[..., rows]
        sigma = None if self.sigma is None else _of(self.sigma, members)[..., rows]
        weight = None if self.weight is None else _of(self.weight, members)[..., rows]
        side = loss.asymmetry_weight(residual)
        weight = weight if side is None else side if weight is None else weight * side  # w a
        z = residual if sigma is None else residual / sigma
        psi = loss.psi(z)
        rho = loss.rho(z, psi)
        value = rho.sum(axis=1) if weight is None else np.einsum("mn,mn->m", rho, np.broadcast_to(weight, f.shape))

        exact = 1.0 / np.maximum(mu, 1.0)  # t
        curvature = loss.curvature(z, psi, exact, 1.0 - exact + mu)
        inner = f + loss.offset if loss.offset else f  # 1 / T' on logarithms
        slope = inner if loss.logarithmic else 1.0  # 1 / T', and sigma / T' where there are standard errors
        scale = (1.0 if weight is None else weight) / (slope if sigma is None else slope * sigma)  # w a T' / sigma
        u = psi * scale
        damped_u = exact * u if (mu > 1).any() else u
        v = curvature * scale if sigma is None else curvature * scale / sigma
        v = (v - damped_u) / inner if loss.logarithmic else v  # T'' = -T' / (f + c)
        return value, u, damped_u, np.broadcast_to(v, u.shape)


def _of(array, members):
    """The members' own rows of an array, or the array that all share."""
    return array if array.ndim == 1 else array[members]


def check_loss(loss: str, delta: float | None, residuals: str, asymmetry: float) -> None:
    """Raise InputError for a loss that does not exist."""
    if loss not in LOSSES:
        raise InputError(f"No loss named {loss!r}. Known losses: {', '.join(LOSSES)}.")
    if residuals not in SCALES:
        raise InputError(
            f"No residuals named {residuals!r}. Known: log (ln f - ln y), raw (f - y), log1p (ln(1+f) - ln(1+y))."
        )
    if delta is not None and not (np.isreal(delta) and delta > 0):
        raise InputError(f"delta must be a positive number or None (from the noise); got {delta!r}.")
    if not (np.isreal(asymmetry) and 0 < asymmetry < np.inf):
        raise InputError(f"asymmetry must be a positive number (1 is symmetric); got {asymmetry!r}.")
