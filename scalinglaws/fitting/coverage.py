"""How often intervals contain the truth, by simulation."""

import numpy as np
import pandas as pd

from scalinglaws.fitting.api import refit
from scalinglaws.fitting.result import Fit


def coverage(
    fit: Fit,
    datasets: int = 200,
    level: float = 0.9,
    method: str = "bootstrap",
    seed: int = 0,
    noise: float | None = None,
) -> pd.DataFrame:
    """How often intervals contain the truth when the fit itself is the truth, on the fit's own design.

    Normal noise of the given standard deviation, default fit.noise, is added to the fitted curve on the scale of the
    residuals (log, raw or log1p), and everything is fitted again from new initial guesses. Where the fit has standard
    errors, that is the noise of the row of median error, and the others' is in proportion. method: see Fit.interval.
    One row a parameter: cover (share of data sets), half_width (mean, relative to the value).
    """
    rng = np.random.default_rng(seed)
    data, offset = fit.problem.data, fit.problem.objective.loss.offset
    curve, truth = fit.curve(data.x), fit.theta
    noise = (fit.noise if noise is None else noise) * (1.0 if data.sigma is None else data.sigma)
    hits, widths = np.zeros(len(truth)), np.zeros(len(truth))
    for _ in range(datasets):
        shock = noise * rng.standard_normal(len(curve))
        value = curve + shock if fit.residual_scale == "raw" else (curve + offset) * np.exp(shock) - offset
        again = refit(fit, value).interval(level, method)
        hits += (again["low"].to_numpy() <= truth) & (truth <= again["high"].to_numpy())
        widths += (again["high"] - again["low"]).to_numpy() / 2
    columns = {"cover": hits / datasets, "half_width": widths / datasets / np.abs(truth)}
    return pd.DataFrame(columns, index=list(fit.law.params))
