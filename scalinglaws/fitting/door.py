"""The door: fit(table, law, quality, inputs) -> Fit."""

from dataclasses import replace

import numpy as np

from scalinglaws import laws
from scalinglaws.fitting.choice import choose
from scalinglaws.fitting.engine import fit_rows, noise, scaled_residuals, set_up
from scalinglaws.fitting.objective import Loss, check_loss
from scalinglaws.fitting.resample import choose_method
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.rows import match_inputs, read_rows
from scalinglaws.fitting.trust import PATTERN, together
from scalinglaws.schema import InputError

LEAST = 5  # configurations that can be resampled


def fit(
    table, law="power_floor", quality="fid", inputs=None, *, loss="huber", delta=None, residuals="log", se=None,
    weights=None, asymmetry=1.0, cluster=None, bootstrap="auto", replicates=1000, starts=8, seed=0,
) -> Fit:  # fmt: skip
    """Fit a law to a table by minimising the sum over rows of a loss on residuals.

    law: a name from scalinglaws.laws or a Law. inputs: {symbol: column}, or a column for one-input laws.
    loss: huber or squares. delta: where Huber's loss turns linear; None is 1.345 times the noise, reported.
    residuals: log (ln f - ln y), raw (f - y) or log1p. se: column of standard errors; weights: column of weights.
    asymmetry: below 1 rows above the curve count less (lower envelope).
    cluster: column(s) of rows that are resampled together; None: rows with equal inputs, or with one equal input
    where the residuals show that those err together. bootstrap: auto, wild, pair or residual.
    """
    check_loss(loss, delta, residuals, asymmetry)
    _check_counts(replicates, starts, seed)
    options = {"loss": loss, "delta": delta, "residuals": residuals, "se": se, "weights": weights,
               "asymmetry": asymmetry, "cluster": cluster, "bootstrap": bootstrap, "replicates": replicates,
               "starts": starts, "seed": seed}  # fmt: skip
    if isinstance(law, str) and law in laws.CHOICES:
        return choose(law, same_delta([_fit_one(table, laws.find(name), quality, inputs, options)
                                       for name in laws.CHOICES[law]]))  # fmt: skip
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
    return _finish(setup, minima, quality, inputs, options)


def _finish(setup, minima, quality, inputs, options) -> Fit:
    """The result; rows that err together are resampled together unless the user chose how to resample."""
    notes = ()
    if options["cluster"] is None and options["bootstrap"] == "auto" and len(setup.law.measures) > 1:
        setup, notes = _gather(setup, minima.theta[0], inputs)
    method = choose_method(options["bootstrap"], int(setup.rows.cluster.max()) + 1, len(setup.rows.y))
    return replace(_result(setup, minima, quality, inputs, options, method), notes=notes)


def _gather(setup, theta, inputs):
    """Rows with the same value of the input along which residuals agree most become one configuration."""
    found = {
        s: p for s, p in together(setup, theta).items() if p < PATTERN and len(np.unique(setup.rows.x[s])) >= LEAST
    }
    if not found:
        return setup, ()
    symbol = min(found, key=found.get)
    cluster = np.unique(setup.rows.x[symbol], return_inverse=True)[1].reshape(-1)
    note = (f"Rows with the same {symbol} ({inputs[symbol]}) err together (p = {found[symbol]:.1g}): they are "
            "resampled together, which widens the intervals.")  # fmt: skip
    return replace(setup, rows=replace(setup.rows, cluster=cluster)), (note,)


def _result(setup, minima, quality, inputs, options, method) -> Fit:
    law, theta = setup.law, minima.theta[0]
    values = dict(zip(law.params, map(float, setup.coordinates.natural(theta)), strict=True))
    return Fit(
        law, values, float(minima.objective[0]), len(setup.rows.y), quality, inputs, setup.rows.table,
        options["loss"], float(setup.problem.loss.delta), options["residuals"],
        noise(scaled_residuals(setup, theta), len(theta)), method, options["replicates"], options["seed"],
        options=options, setup=setup, minima=minima,
    )  # fmt: skip


def same_delta(fits: list[Fit]) -> list[Fit]:
    """Fits of one table with one Huber delta, the smallest found, so that their objectives can be compared."""
    if all(found.delta == fits[0].delta for found in fits):
        return fits
    options = fits[0].options | {"delta": min(found.delta for found in fits)}
    return [_again(found.setup, found.quality, found.inputs, options, found.minima.theta) for found in fits]


def refit(fit: Fit, y: np.ndarray | None = None, keep: np.ndarray | None = None) -> Fit:
    """The same fit from cold with other measured values y [row], or on the rows where keep [row] is true."""
    rows = fit.setup.rows
    rows = rows if y is None else replace(rows, y=np.asarray(y, float), table=rows.table.assign(**{fit.quality: y}))
    rows = rows if keep is None else rows.where(keep)
    return _again(replace(fit.setup, rows=rows), fit.quality, fit.inputs, fit.options)


def _again(setup, quality, inputs, options, seeds=None) -> Fit:
    rows, loss = setup.rows, setup.problem.loss
    loss = replace(loss, delta=options["delta"]) if options["delta"] and options["loss"] == "huber" else loss
    setup = set_up(setup.law, rows, loss)
    setup, minima = fit_rows(setup, options["starts"], options["seed"], options["delta"], seeds)
    return _finish(setup, minima, quality, inputs, options)


def _check_counts(replicates, starts, seed):
    for name, value, least in (("replicates", replicates, 1), ("starts", starts, 1), ("seed", seed, 0)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
