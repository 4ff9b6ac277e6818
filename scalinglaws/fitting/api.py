"""What users call: fit() for one table, fit_groups() for many groups of one; refit() changes one thing of a fit."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from scalinglaws import laws
from scalinglaws.fitting import bootstrap, draws, messages
from scalinglaws.fitting.data import match_inputs, read_data
from scalinglaws.fitting.diagnostics import cluster_effects
from scalinglaws.fitting.multistart import estimate, multistart, solved
from scalinglaws.fitting.options import Options
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.result import Fit, Groups
from scalinglaws.fitting.selection import choose, without_interaction
from scalinglaws.fitting.settings import DIAGNOSTICS
from scalinglaws.schema import InputError


def fit(
    table, law="power_floor", quality="fid", inputs=None, *, loss="huber", delta=None, residuals="log", se=None,
    weights=None, asymmetry=1.0, cluster=None, bootstrap="auto", replicates=1000, starts=8, seed=0,
) -> Fit:  # fmt: skip
    """Fit a law to a table by minimising the sum over rows of a loss on residuals.

    table: a DataFrame with one measurement a row, N rows. law: a name from scalinglaws.laws (or 'size_steps', where the
    data choose between two) or a Law; see scalinglaws.laws.custom for your own. quality: the column to explain.
    inputs: {symbol: column}, or a column for laws of one input. Inputs and quality keep their units.

    loss: huber or squares. delta: where Huber's loss turns linear; None is 1.345 times the noise, reported.
    residuals: log (ln f - ln y), raw (f - y) or log1p (ln(1+f) - ln(1+y)). se: column of standard errors, in the unit
    of the quality; weights: column of how much each row counts, 0 leaves it out. Rows of unequal noise need se: with
    weights alone a bootstrap of pooled residuals takes their noise for even. asymmetry: weight of rows above the curve,
    below 1 for the lower envelope. cluster: column(s) whose equal values are resampled together; None: rows with equal
    inputs, or with one equal input where the residuals show that those share an error. bootstrap: auto, wild, pair,
    residual or levels (an error drawn for each trained model and for each cell; auto where models hold several rows
    each, which then resamples nothing), of so many replicates. starts: initial guesses of the search. seed: of all
    random numbers.

    Returns a Fit. Raises InputError, with what to do about it, where columns are missing, hold what has no logarithm,
    or are too few for the law.

    >>> import pandas as pd
    >>> from scalinglaws import fit
    >>> table = pd.DataFrame({"gflops": [46, 102, 181, 282, 406, 552], "fid": [3.53, 2.56, 2.25, 2.06, 1.96, 1.91]})
    >>> edm2 = fit(table, "power_floor", "fid", {"N": "gflops"}, loss="squares")
    >>> {name: round(value, 2) for name, value in edm2.values.items()}
    {'E': 1.74, 'A': 66.74, 'a': 0.95}
    """
    options = Options(loss, delta, residuals, se, weights, asymmetry, cluster, bootstrap, replicates, starts, seed)
    result = _fit_tables({"": table}, law, quality, inputs, options)[""]
    if isinstance(result, InputError):
        raise result
    return result


def fit_groups(table, by, law="power_floor", quality="fid", inputs=None, **options) -> Groups:
    """fit() of the law for every group of the table's rows that agree in the column(s) `by`, as if fitted separately.

    All groups' starts, then all groups' replicates, go through one solver in common batches. quality, inputs, options:
    as for fit(). A group that cannot be fitted does not stop the others: see Groups.refused. InputError if none can.
    """
    options = Options.of(options)
    columns = [by] if isinstance(by, str) else list(by)
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A fit needs a pandas DataFrame; got {type(table).__name__}.")
    missing, have = [c for c in columns if c not in table], ", ".join(map(str, table.columns))
    if missing or not columns:
        what = f"No column {missing[0]!r} to group by" if missing else "Name a column to group by"
        raise InputError(f"{what}; the table has {have}.")
    parts = {}
    for key, rows in table.groupby(columns, dropna=False):  # named by the value, or by a tuple of values
        plain = tuple(value.item() if isinstance(value, np.generic) else value for value in key)
        parts[plain if len(plain) > 1 else plain[0]] = rows.reset_index(drop=True)
    results = _fit_tables(parts, law, quality, inputs, options)
    refused = {label: str(result) for label, result in results.items() if isinstance(result, InputError)}
    fits = {label: result for label, result in results.items() if label not in refused}
    if not fits:
        first = next(iter(refused))
        raise InputError(f"None of the {len(refused)} groups can be fitted; {first}: {refused[first]}")
    return Groups(tuple(columns), _with_draws(fits), refused)


def _fit_tables(tables: dict, law, quality, inputs, options) -> dict:
    """{label: Fit, or the InputError that refuses it} of each table, all starts in common batches."""
    if isinstance(law, str) and law in laws.CHOICES:
        both = [_fit_tables(tables, name, quality, inputs, options) for name in laws.CHOICES[law]]
        results = {}
        for label in tables:
            pair = [one[label] for one in both]
            try:
                plain, rich = pair
                if isinstance(plain, InputError):
                    results[label] = plain
                elif isinstance(rich, InputError):
                    results[label] = without_interaction(law, plain, rich)
                else:
                    results[label] = choose(law, *same_delta(pair))
            except InputError as refusal:
                results[label] = refusal
        return results
    law, results, ready = laws.find(law), {}, {}
    for label, table in tables.items():
        try:
            own, columns = match_inputs(law, inputs)
            data = read_data(table, own, quality, columns, options)
            ready[label] = Problem.build(own, data, options.as_loss()), columns
        except InputError as refusal:
            results[label] = refusal
    problems = [problem for problem, _ in ready.values()]
    solutions = estimate(problems, options.starts, options.seed, options.delta) if problems else []
    for (label, (_, columns)), (problem, minima) in zip(ready.items(), solutions, strict=True):
        try:
            results[label] = _finish(problem, solved(problem, minima), quality, columns, options)
        except InputError as refusal:
            results[label] = refusal
    return results


def _finish(problem, minima, quality, inputs, options) -> Fit:
    """The result; rows that share an error become one configuration unless the user chose how to resample."""
    data = problem.data
    if options.cluster is None and options.bootstrap == "auto" and len(problem.law.measures) > 1:
        data = _clustered(problem, minima.theta[0])
    method = bootstrap.choose_method(options.bootstrap, data.clusters, len(data.y))
    result = Fit(replace(problem, data=data), minima, quality, inputs, options, method)
    return replace(result, notes=(messages.cluster_note(result),)) if data.cluster_effect else result


def _clustered(problem, theta):
    """The data with rows of one value of an input as one configuration, the input whose rows agree most; if any do."""
    effects = {
        symbol: p
        for symbol, p in cluster_effects(problem, theta).items()
        if p < DIAGNOSTICS.pattern and len(np.unique(problem.data.x[symbol])) >= DIAGNOSTICS.clusters
    }
    if not effects:
        return problem.data
    symbol = min(effects, key=effects.get)
    cluster = np.unique(problem.data.x[symbol], return_inverse=True)[1].reshape(-1)
    return replace(problem.data, cluster=cluster, cluster_effect=(symbol, effects[symbol]))


def same_delta(fits: list[Fit]) -> list[Fit]:
    """Fits of one table with one Huber delta, the smallest of theirs, so that their objectives can be compared.

    They go on from their minima; configurations and the note that the data chose them stay.
    """
    if all(one.delta == fits[0].delta for one in fits):
        return fits
    delta = min(one.delta for one in fits)
    again = []
    for one in fits:
        options = replace(one.options, delta=delta)
        problem = Problem.build(one.law, one.problem.data, options.as_loss())
        minima = solved(problem, multistart([problem], [one.minima.theta])[0])
        again.append(_finish(problem, minima, one.quality, one.inputs, options))
    return again


def refit(one: Fit, y: np.ndarray | None = None, keep: np.ndarray | None = None, **options) -> Fit:
    """The same fit from new initial guesses, with other measured values y [N], on the rows where keep [N] is true, or
    with other loss, delta, asymmetry, bootstrap, replicates, starts or seed. Configurations stay.
    """
    data = one.problem.data
    if y is not None:
        data = replace(data, y=np.asarray(y, float), table=data.table.assign(**{one.quality: y}))
    data = data if keep is None else data.where(keep)
    options = Options(**asdict(one.options) | options)
    problem = Problem.build(one.law, data, options.as_loss())
    problem, minima = estimate([problem], options.starts, options.seed, options.delta)[0]
    return _finish(problem, solved(problem, minima), one.quality, one.inputs, options)


def _with_draws(fits: dict) -> dict:
    """The fits with their bootstrap replicates, drawn in common batches for each law."""
    drawn = dict(fits)
    for name in {one.law.name for one in fits.values()}:
        some = {label: one for label, one in fits.items() if one.law.name == name}
        any_fit, methods = next(iter(some.values())), [one.bootstrap for one in some.values()]
        found = draws.replicates(list(some.values()), any_fit.count, any_fit.seed, methods)
        drawn |= {label: replace(one, drawn=theta) for (label, one), theta in zip(some.items(), found, strict=True)}
    return drawn
