"""What a fit minimises: the sum over rows of a loss on residuals, and its first two derivatives."""

from dataclasses import dataclass

import numpy as np

from scalinglaws.schema import InputError

LOSSES = ("huber", "squares")
SCALES = ("log", "raw", "log1p")


@dataclass(frozen=True)
class Loss:
    """Huber's loss (1964): r²/2 inside delta, delta(|r| - delta/2) outside; delta = inf is least squares.

    asymmetry multiplies the loss of rows that lie above the curve; below 1 the curve sinks to the lower envelope.
    """

    delta: float = np.inf
    asymmetry: float = 1.0
    scale: str = "log"  # residual: ln f - ln y; raw: f - y; log1p: ln(1 + f) - ln(1 + y)

    @property
    def logarithmic(self) -> bool:
        return self.scale != "raw"

    @property
    def offset(self) -> float:
        """Added before the logarithm."""
        return 1.0 if self.scale == "log1p" else 0.0

    def transform(self, value):
        """The scale on which residuals are differences."""
        return np.log(value + self.offset) if self.logarithmic else value

    def pull(self, residual):
        """psi = d loss / d residual, before asymmetry."""
        return residual if self.delta == np.inf else np.clip(residual, -self.delta, self.delta)

    def value(self, residual, pull):
        return pull * (residual - 0.5 * pull)

    def curvature(self, residual, pull, exact, damping):
        """exact x second derivative + damping x curvature of the IRLS majoriser, psi(r)/r."""
        if self.delta == np.inf:
            return exact + damping
        inside = pull == residual
        if not damping.any():
            return inside * exact
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside, exact + damping, damping * (pull / residual))

    def tilt(self, residual):
        """Row weights that make the loss asymmetric: rows above the curve have a negative residual."""
        return None if self.asymmetry == 1.0 else np.where(residual < 0, self.asymmetry, 1.0)


def check_loss(loss: str, delta: float | None, residuals: str, asymmetry: float) -> None:
    """Refuse a loss that does not exist."""
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


def summed_slices(evaluate, rows: int, size: int) -> list:
    """The term-by-term sum of evaluate(slice) over slices of at most `size` rows."""
    total = None
    for start in range(0, rows, size):
        part = evaluate(slice(start, start + size))
        total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
    return total
