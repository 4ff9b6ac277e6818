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
    options = {"loss": loss, "delta": delta, "residuals": residuals, "se": se, "weights": weights,
               "asymmetry": asymmetry, "cluster": cluster, "bootstrap": bootstrap, "replicates": replicates,
               "starts": starts, "seed": seed}  # fmt: skip
    check_options(options)
    if isinstance(law, str) and law in laws.CHOICES:
        return choose(law, same_delta([_fit_one(table, laws.find(name), quality, inputs, options)
                                       for name in laws.CHOICES[law]]))  # fmt: skip
    return _fit_one(table, laws.find(law), quality, inputs, options)


def _fit_one(table, law, quality, inputs, options) -> Fit:
    setup, inputs = prepare(table, law, quality, inputs, options)
    setup, minima = fit_rows(setup, options["starts"], options["seed"], options["delta"])
    return finish(setup, minima, quality, inputs, options)


def prepare(table, law, quality, inputs, options):
    """The law on the table's rows, ready for the solver, and {symbol: column}."""
    law, inputs = match_inputs(law, inputs)
    rows = read_rows(table, law, quality, inputs, options["residuals"], options["se"], options["weights"],
                     options["cluster"])  # fmt: skip
    return set_up(law, rows, _loss(options)), inputs


def _loss(options) -> Loss:
    """The loss asked for; a Huber delta that the noise will set begins at 1."""
    delta = (options["delta"] or 1.0) if options["loss"] == "huber" else np.inf
    return Loss(delta, options["asymmetry"], options["residuals"])


def finish(setup, minima, quality, inputs, options) -> Fit:
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


def refit(fit: Fit, y: np.ndarray | None = None, keep: np.ndarray | None = None, **options) -> Fit:
    """The same fit from cold with other measured values y [row], on the rows where keep [row] is true, or with other
    loss, delta, asymmetry, bootstrap, replicates, starts or seed.
    """
    rows = fit.setup.rows
    rows = rows if y is None else replace(rows, y=np.asarray(y, float), table=rows.table.assign(**{fit.quality: y}))
    rows = rows if keep is None else rows.where(keep)
    return _again(replace(fit.setup, rows=rows), fit.quality, fit.inputs, fit.options | options)


def _again(setup, quality, inputs, options, seeds=None) -> Fit:
    setup = set_up(setup.law, setup.rows, _loss(options))
    setup, minima = fit_rows(setup, options["starts"], options["seed"], options["delta"], seeds)
    return finish(setup, minima, quality, inputs, options)


def check_options(options):
    """Refuse a loss that does not exist and counts that are none."""
    check_loss(*(options[name] for name in ("loss", "delta", "residuals", "asymmetry")))
    for name, least in (("replicates", 1), ("starts", 1), ("seed", 0)):
        value = options[name]
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
