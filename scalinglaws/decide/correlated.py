"""Beliefs of several samplers and guidances as one: what is measured in one of these settings moves the others.

The settings have a law each, of the same form. A parameter that deviates from its prior mean in one is likely to do so
in the others, and a trained model errs alike, in level and along steps, whatever samples from it. The parameters are
the internal ones, whose coefficients are taken amid each setting's own rows.
"""

from itertools import product

import numpy as np
import pandas as pd

from scalinglaws.decide.belief import Belief, conditioned, log_density, misfit_correlation, same_models

CORRELATIONS = (0.0, 0.3, 0.6, 0.8, 0.95)  # tried, of two settings' laws and of a model's errors in them


def together(beliefs: dict[str, Belief]) -> Belief:
    """One Belief on the points of several, in the order given; the points have a column `setting`, which holds their
    names.

    Each law stays linearised where its own rows put it. The two correlations, that of every parameter of the law and
    that of the errors about it, are their posterior means over CORRELATIONS: 0.53 where the rows say nothing.
    """
    points = pd.concat([b.points.assign(setting=name) for name, b in beliefs.items()], ignore_index=True)
    laws, starts = [b.law for b in beliefs.values()], np.cumsum([0, *(len(b.points) for b in beliefs.values())])
    before, z = np.concatenate([law.before for law in laws]), np.concatenate([law.measured for law in laws])
    rows = np.concatenate([law.rows + start for law, start in zip(laws, starts[:-1], strict=True)])
    error = np.concatenate([b.error for b in beliefs.values()])
    law, own = _covariances(laws, points)
    setting = points["setting"].to_numpy(str)
    alike = setting[:, None] == setting

    def full(of_laws, of_errors, at=slice(None)):
        """Covariance of ln quality before any row, of all points or of those `at`."""
        return law[at] * np.where(alike[at], 1.0, of_laws) + own[at] * np.where(alike[at], 1.0, of_errors)

    tried, measured = list(product(CORRELATIONS, repeat=2)), np.ix_(rows, rows)
    noise = np.diag(error[rows] ** 2)
    logs = np.array([log_density(z - before[rows], full(*pair, measured) + noise) for pair in tried])
    weights = np.exp(logs - logs.max())
    chosen = weights @ np.array(tried) / weights.sum()
    return Belief(points, *conditioned(before, full(*chosen), rows, z, error[rows]), error)


def _covariances(laws, points):
    """Covariances [point, point] that the priors of the laws give, and the errors about them, as if fully correlated
    between settings."""
    scaled = np.concatenate([law.slopes * np.sqrt(law.prior) for law in laws])
    model = np.concatenate([np.full(len(law.before), law.sds.model) for law in laws])
    misfit = np.concatenate([law.misfit for law in laws])
    same, near = same_models(points)
    common = np.concatenate([np.full(len(law.before), law.sds.common) for law in laws])
    own = np.outer(misfit, misfit) * misfit_correlation(same, near, common)
    return scaled @ scaled.T, np.outer(model, model) * same + own
