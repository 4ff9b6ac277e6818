"""What each trained model of a fit is expected to differ from its law by: the point that the draws of `fitting.draws`
scatter about.
"""

import numpy as np

from scalinglaws.fitting import draws, levels


def expected_errors(fit, x) -> np.ndarray:
    """ln of the own error [n] expected of the fit's trained models at inputs {symbol: [n]}; 0 for other sizes.

    Best linear unbiased prediction about the fitted law, averaged over the posterior of both errors: the mean residual
    of a model's rows, shrunk by what a cell's error may explain of it. Of several models at one size, as of several
    seeds of training, the mean.
    """
    group, known = fit.trained_models
    count = len(next(iter(x.values())))
    if fit.levels is None or len(known) == 1:
        return np.zeros(count)
    same = np.ones((count, len(known)), bool)
    for symbol, values in x.items():
        if levels.names_models(fit, symbol):
            same &= np.isclose(known[fit.inputs[symbol]], np.asarray(values)[:, None], rtol=1e-6)
    return same @ _by_model(fit, group) / np.maximum(same.sum(1), 1)


def _by_model(fit, group):
    """The expected ln own error [model]."""
    stated = levels.known_errors(fit, fit.table)
    stated = 0.0 if stated is None else stated * fit.levels.independent
    residual, variances = np.nan_to_num(draws.log_residuals(fit), posinf=0.0, neginf=0.0), fit.levels.sds**2
    precision = 1 / (variances[:, None] + np.broadcast_to(np.square(stated), residual.shape))  # [cell_sd, row]
    sums = [np.array([np.bincount(group, row) for row in part]) for part in (precision, precision * residual)]
    shrunk = sums[1] / (sums[0] + 1 / variances[:, None, None])  # [model_sd, cell_sd, model]
    return np.einsum("mc,mcj->j", fit.levels.grid, shrunk)
