"""The door: fit(table, law, quality, inputs) -> Fit."""

import numpy as np

from scalinglaws import laws
from scalinglaws.fitting.choice import choose
from scalinglaws.fitting.engine import fit_rows, noise, scaled_residuals, set_up
from scalinglaws.fitting.objective import Loss, check_loss
from scalinglaws.fitting.resample import choose_method
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.rows import match_inputs, read_rows
from scalinglaws.schema import InputError


def fit(
    table, law="power_floor", quality="fid", inputs=None, *, loss="huber", delta=None, residuals="log", se=None,
    weights=None, asymmetry=1.0, cluster=None, bootstrap="auto", replicates=1000, starts=8, seed=0,
) -> Fit:  # fmt: skip
    """Fit a law to a table by minimising the sum over rows of a loss on residuals.

    law: a name from scalinglaws.laws or a Law. inputs: {symbol: column}, or a column for one-input laws.
    loss: huber or squares. delta: where Huber's loss turns linear; None is 1.345 times the noise, reported.
    residuals: log (ln f - ln y) or raw. se: column of standard errors; weights: column of weights.
    asymmetry: below 1 rows above the curve count less (lower envelope). cluster: column(s) of rows that are
    resampled together, by default rows with equal inputs. bootstrap: auto, wild, pair or residual.
    """
    check_loss(loss, delta, residuals, asymmetry)
    _check_counts(replicates, starts, seed)
    options = {"loss": loss, "delta": delta, "residuals": residuals, "se": se, "weights": weights,
               "asymmetry": asymmetry, "cluster": cluster, "bootstrap": bootstrap, "replicates": replicates,
               "starts": starts, "seed": seed}  # fmt: skip
    if isinstance(law, str) and law in laws.CHOICES:
        fits = [_fit_one(table, laws.find(name), quality, inputs, options) for name in laws.CHOICES[law]]
        return choose(law, fits)
    return _fit_one(table, laws.find(law), quality, inputs, options)


def _fit_one(table, law, quality, inputs, options) -> Fit:
    law, inputs = match_inputs(law, inputs)
    rows = read_rows(table, law, quality, inputs, options["residuals"], options["se"], options["weights"],
                     options["cluster"])  # fmt: skip
    start = options["delta"] if options["loss"] == "huber" and options["delta"] else np.inf
    if options["loss"] == "huber" and options["delta"] is None:
        start = 1.0
    loss = Loss(start, options["asymmetry"], options["residuals"])
    setup, minima = fit_rows(set_up(law, rows, loss), options["starts"], options["seed"], options["delta"])
    theta = minima.theta[0]
    values = dict(zip(law.params, map(float, setup.coordinates.natural(theta)), strict=True))
    clusters = int(rows.cluster.max()) + 1
    return Fit(
        law, values, float(minima.objective[0]), len(rows.y), quality, inputs, rows.table, options["loss"],
        float(setup.problem.loss.delta), options["residuals"], noise(scaled_residuals(setup, theta), len(theta)),
        choose_method(options["bootstrap"], clusters), options["replicates"], options["seed"],
        setup=setup, minima=minima,
    )  # fmt: skip


def _check_counts(replicates, starts, seed):
    for name, value, least in (("replicates", replicates, 1), ("starts", starts, 1), ("seed", seed, 0)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
