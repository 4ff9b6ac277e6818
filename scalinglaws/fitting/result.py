"""What a fit gives back: values, how far to trust them, curves and predictions."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from scalinglaws.fitting import describe, resample
from scalinglaws.fitting.engine import Setup, scaled_residuals
from scalinglaws.fitting.trust import Trust, assess
from scalinglaws.laws import Law
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Fit:
    """One law fitted to one table. Nothing is remembered but what follows from these fields."""

    law: Law
    values: dict[str, float]  # natural parameters
    objective: float  # the sum over rows of the loss
    rows: int
    quality: str
    inputs: dict[str, str]  # symbol -> column
    table: pd.DataFrame  # the rows used
    loss: str
    delta: float  # inf for squares
    residual_scale: str  # log or raw
    noise: float  # robust sd of the residuals: on the log scale, a relative error
    bootstrap: str  # pair, wild or residual
    count: int  # replicates
    seed: int
    notes: tuple[str, ...] = ()  # choices made, not reasons for doubt
    options: dict = field(default=None, repr=False)  # as given to fit()
    setup: Setup = field(default=None, repr=False)
    minima: object = field(default=None, repr=False)  # of every start, best first

    @cached_property
    def trust(self) -> Trust:
        """Starts that agreed, next basin, bounds, condition, floor: as numbers."""
        return assess(self.setup, self.minima)

    @cached_property
    def warnings(self) -> list[str]:
        """Every reason for doubt, one sentence each."""
        return describe.doubts(self)

    @cached_property
    def replicates(self) -> np.ndarray:
        """Natural parameters [replicate, parameter] of the bootstrap, in the order of law.params."""
        return self.resampled(self.count, self.seed, self.bootstrap)

    def resampled(self, count: int, seed: int = 0, bootstrap: str = "auto") -> np.ndarray:
        """Replicates with another count, seed or method; not kept."""
        theta = resample.replicate(self.setup, self.minima.theta[0], count, seed, bootstrap)
        return self.setup.coordinates.natural(theta)

    @cached_property
    def residuals(self) -> np.ndarray:
        """Fitted minus measured [row], ln or raw, in units of the rows' relative standard errors."""
        return scaled_residuals(self.setup, self.minima.theta[0])

    @property
    def theta(self) -> np.ndarray:
        """Natural parameters [parameter]."""
        return np.array([self.values[name] for name in self.law.params])

    @cached_property
    def standard_errors(self) -> dict[str, float]:
        """Of the natural parameters, by the delta method with s² = RSS / (n - p); see interval() for skewed ones."""
        spare = max(self.rows - len(self.law.params), 1)
        weight = 1.0 if self.setup.rows.weight is None else self.setup.rows.weight
        sigma = float(np.sqrt(np.sum(weight * self.residuals**2) / spare))
        matrix = resample.covariance(self.setup, self.minima.theta[0], sigma)
        return dict(zip(self.law.params, np.sqrt(np.diag(matrix)).tolist(), strict=True))

    def with_noise(self, noise: float) -> "Fit":
        """The same fit with another noise, to simulate from; see uncertainty.coverage."""
        return replace(self, noise=float(noise))

    def curve(self, inputs: dict, theta=None) -> np.ndarray:
        """The law at inputs {symbol: array [n]}; theta [..., parameter] gives [..., n]."""
        missing = [symbol for symbol in self.law.inputs if symbol not in inputs]
        if missing:
            raise InputError(f"The curve of {self.law.name!r} needs {', '.join(missing)}; got {', '.join(inputs)}.")
        with np.errstate(all="ignore"):
            return self.law.curve(self.theta if theta is None else theta, inputs)

    def predict(self, table, level: float = 0.9, mean: bool = False) -> pd.DataFrame:
        """value, low, high for each row, and how many decades it lies beyond the fitted inputs.

        mean=False: the interval of a new measurement, noise included; mean=True: of the curve itself.
        """
        with np.errstate(all="ignore"):
            return describe.predict(self, table, level, mean)

    def interval(self, level: float = 0.9) -> pd.DataFrame:
        """low and high of every parameter, from the replicates."""
        draws = np.clip(self.replicates, -describe.HUGE, describe.HUGE)  # differences of quantiles must not overflow
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return pd.DataFrame({"value": self.theta, "low": low, "high": high}, index=list(self.law.params))

    def summary(self) -> str:
        """The fit in plain text."""
        return describe.summary(self)
