"""The prior over laws, exponents, floors and noise: learned from published series, a group of relatives left out.

    python -m scalinglaws.forecasting.prior learn     write prior.json from the bundled studies
    python -m scalinglaws.forecasting.prior widths    calibrate its intervals anew
    python -m scalinglaws.forecasting.prior show

log prior(point) = sum over contexts and features of  context x B[context, feature] x feature(point). B maximises the
logarithmic score of forecasts of hidden rows (each series from each of its beginnings; a share OUTLIERS is left to what
no law foresees), less a ridge penalty that pulls every kind of question towards what all share: a hierarchical prior
with its mode as estimate. Curves of one group of relatives count together as the square root of their number.
`prior.json` holds one B learned from all groups and one with each group left out; a study that belongs to a group gets
the one that has not seen it.
"""

import json
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.special import logsumexp, ndtri

from scalinglaws.forecasting import design as model
from scalinglaws.forecasting import series
from scalinglaws.forecasting.siblings import evidence_of
from scalinglaws.schema import InputError

FILE = Path(__file__).resolve().parent / "prior.json"
CONTEXTS = ("all", "size", "steps", "training", "score", "share", "fast_solver", "stochastic_solver", "few_step")
RIDGE = {"all": 0.4, "size": 2.0, "steps": 2.0, "training": 2.0}  # penalty of a coefficient squared
NEGLIGIBLE = 12.0  # in log likelihood below the best point of the task
MODEL_SD, CELL_SHARE = 0.023, 0.4  # typical error of a trained model; share of a size series' variance that is cells'
OUTLIERS, BROAD = 0.05, 0.4  # share of hidden rows that no law foresees, and their density in ln y
MANY = 10  # curves of one kind in a group; of more, fewer beginnings are used
RIDGE_OTHER = 4.0
STRENGTH = "guidance"  # the column of guidance strengths, where it is what is forecast
CALIBRATED = (0.5, 0.9)  # levels of the intervals whose widths are calibrated
AS_IT_IS = (1.0, 1.0)  # factors of an interval that is not
WIDENED = (1.0, 2.5)  # least and most factor of an interval
FAST = ("dpm", "heun", "unipc", "deis", "ipndm", "rk2", "rk3", "edm", "2m", "3m", "dopri")
STOCHASTIC = ("ddpm", "sde", "ancestral", "maruyama", "euler-a", "sigma-hat")
FEW_STEP = ("few-step", "consistency", "student", "shortcut", "meanflow", "distilled", "ucgm")


def context(kind: str, quality: str, sampler: str = "") -> np.ndarray:
    """CONTEXTS [context] of a question, 0 or 1."""
    name, known = str(sampler).lower(), quality.split("_")[0]
    steps = kind == "steps"
    few = steps and any(k in name for k in FEW_STEP)
    stochastic = steps and not few and any(k in name for k in STOCHASTIC)
    fast = steps and not few and not stochastic and any(k in name for k in FAST)
    share = known in series.SHARES
    score = series.rises(quality) and not share
    return np.array([1, kind == "size", steps, kind == "training", score, share, fast, stochastic, few], dtype=float)


def context_of(one: series.Series) -> np.ndarray:
    return context(one.kind, one.quality, one.solver)


@dataclass(frozen=True)
class Task:
    """Rows seen of a series and one hidden row."""

    series: series.Series
    seen: int
    hidden: int
    weight: float


def tasks(found: list[series.Series]) -> list[Task]:
    """The next row after every beginning of at least two rows, and the last row from those at least three short.

    Weights: a group counts as the square root of the number of its curves of a kind; several metrics of one curve share
    its weight; the last row of a curve counts as much as all rows before.
    """
    curves, metrics = {}, {}
    for one in found:
        curves.setdefault((one.group, one.kind), set()).add((one.study, one.label))
        metrics[one.study, one.kind, one.label] = metrics.get((one.study, one.kind, one.label), 0) + 1
    result = []
    for one in found:
        count = len(curves[one.group, one.kind])
        pairs = [(n, n) for n in range(2, len(one))] + [(n, len(one) - 1) for n in range(3, len(one) - 2)]
        if count > MANY:
            pairs = pairs[-2:] if len(one) < 6 else [pairs[1], (len(one) - 1, len(one) - 1)]
        share = count**-0.5 / metrics[one.study, one.kind, one.label]
        for seen, hidden in pairs:
            final = seen == len(one) - 1
            result.append(Task(one, seen, hidden, share * (1.0 if final else 1.0 / max(len(pairs) - 1, 1))))
    return result


@dataclass(frozen=True)
class Table:
    """All tasks at all design points: log likelihood and log predictive density [task, point], contexts, weights."""

    loglik: np.ndarray
    predictive: np.ndarray
    contexts: np.ndarray
    weights: np.ndarray
    groups: np.ndarray


def tabulate(given: list[Task], points: model.Design) -> Table:
    """Evidence and predictive density of every task at every point."""
    loglik = np.empty((len(given), points.log_volume.size), np.float32)
    predictive = np.empty_like(loglik)
    sigma2 = points.sigma[None, :] ** 2
    for i, task in enumerate(given):
        one = task.series
        seen = one.first(task.seen)
        found = evidence_of(seen, one.x[task.hidden], points)
        relative = np.nan_to_num(one.se[task.hidden] / one.y[task.hidden])
        variance = found.variance[0] + sigma2 + relative**2
        error = np.log(one.y[task.hidden]) - found.mean[0]
        density = -0.5 * (error**2 / variance + np.log(variance)) - 0.5 * np.log(2 * np.pi)
        loglik[i] = np.maximum(found.loglik + points.log_volume, -1e6).ravel()
        predictive[i] = density.ravel()
    loglik -= loglik.max(1, keepdims=True)
    return Table(
        loglik, predictive, np.array([context_of(t.series.first(t.seen)) for t in given]),
        np.array([t.weight for t in given]), np.array([t.series.group for t in given]),
    )  # fmt: skip


def learn(table: Table, points: model.Design, iterations: int = 100) -> np.ndarray:
    """B [context, feature] of the best penalised logarithmic score."""
    from scipy.optimize import minimize  # a slow import that forecasts do not need

    features = points.features.reshape(-1, points.features.shape[-1])
    ridge = np.array([RIDGE.get(c, RIDGE_OTHER) for c in CONTEXTS])[:, None] * np.ones(features.shape[1])
    start = initial()
    parts = [_sparse(table, rows) for rows in _kinds(table.contexts)]

    def objective(flat):
        b = flat.reshape(start.shape)
        value, gradient = 0.0, np.zeros_like(b)
        for one, weights, point, starts, loglik, predictive in parts:
            seen = loglik + (features @ (one @ b)).astype(np.float32)[point]
            seen_share, norm_seen = _softmax(seen, starts)
            both_share, norm_both = _softmax(seen + predictive, starts)
            density = (1 - OUTLIERS) * np.exp(norm_both - norm_seen)
            value -= float(weights @ np.log(density + OUTLIERS * BROAD))
            pulled = weights * density / (density + OUTLIERS * BROAD)
            change = (both_share - seen_share) * np.repeat(pulled, np.diff(np.append(starts, len(point))))
            gradient -= np.outer(one, np.bincount(point, change, len(features)) @ features)
        off = b - start
        return value + float((ridge * off**2).sum()), (gradient + 2 * ridge * off).ravel()

    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    return found.x.reshape(start.shape)


def _kinds(contexts):
    """Row numbers of each different context."""
    _, which = np.unique(contexts, axis=0, return_inverse=True)
    return [np.flatnonzero(which.ravel() == k) for k in range(which.max() + 1)]


def _sparse(table, rows):
    """(context, weights, point numbers, starts, log likelihoods, predictive) of the points that can matter, in a
    row.
    """
    kept = [np.flatnonzero(table.loglik[r] > -NEGLIGIBLE) for r in rows]
    starts = np.concatenate([[0], np.cumsum([len(k) for k in kept])[:-1]])
    loglik = np.concatenate([table.loglik[r, k] for r, k in zip(rows, kept, strict=True)])
    predictive = np.concatenate([np.maximum(table.predictive[r, k], -1e4) for r, k in zip(rows, kept, strict=True)])
    return table.contexts[rows[0]], table.weights[rows], np.concatenate(kept), starts, loglik, predictive


def _softmax(logs, starts):
    """(weights [entry], log of their sum [task]) of entries that lie task by task from `starts`."""
    counts = np.diff(np.append(starts, len(logs)))
    top = np.maximum.reduceat(logs, starts)
    weights = np.exp(logs - np.repeat(top, counts))
    total = np.add.reduceat(weights, starts)
    return weights / np.repeat(total, counts), np.log(total).astype(float) + top


def initial() -> np.ndarray:
    """B before any study: `design.weak`, whatever is asked."""
    b = np.zeros((len(CONTEXTS), len(model.FEATURES)))
    b[0] = model.weak()
    return b


@dataclass(frozen=True)
class Prior:
    """B [context, feature]; width {kind: factors of CALIBRATED intervals}; model_sd a trained model's own relative
    error; cell_share of the variance along sizes.
    """

    coefficients: np.ndarray
    width: dict = field(default_factory=dict)
    model_sd: float = 0.03
    cell_share: float = 0.5
    source: str = ""

    def logs(self, one: series.Series, points: model.Design) -> np.ndarray:
        """Log prior [shape, noise] of the design's points, not normalised, for what is asked by a series.

        Studies of qualities do not say whether a guidance strength, which is chosen, follows size at all: there half of
        the mass is on the last value again.
        """
        logs = points.features @ (context_of(one) @ self.coefficients) + points.log_volume
        if one.quality != STRENGTH:
            return logs
        last = points.law == "last"
        return logs - np.where(last[:, None], logsumexp(logs[last]), logsumexp(logs[~last]))


def weak() -> Prior:
    """No study: what `initial` says."""
    return Prior(initial(), source="no study")


def load(leave_out: str | None = None) -> Prior:
    """The shipped prior; the one that has not seen a study (or group) and its relatives if `leave_out` names it."""
    held = _file()
    group = series.group_of(leave_out) if leave_out else None
    chosen = held["without"].get(group, held["all"]) if group else held["all"]
    if held["features"] != list(model.FEATURES) or held["contexts"] != list(CONTEXTS):
        raise InputError(
            f"{FILE.name} was learned by another version: run python -m scalinglaws.forecasting.prior learn."
        )
    width = held["width"].get(group, held["width"]["all"]) if group else held["width"]["all"]
    return Prior(np.array(chosen), width, held["model_sd"], held["cell_share"], held["source"])


@lru_cache(maxsize=1)
def _file():
    if not FILE.exists():
        raise InputError(f"No file {FILE.name} beside the package: run python -m scalinglaws.forecasting.prior learn.")
    return json.loads(FILE.read_text())


def main(words=None):
    """Learn and write, calibrate, or show."""
    words = sys.argv[1:] if words is None else words
    if words == ["learn"]:
        write(FILE)
    elif words == ["widths"]:
        held, points = _file(), model.design()
        without = {group: np.array(b) for group, b in held["without"].items()}
        held["width"] = widths(tasks(series.learned()), without, points)
        FILE.write_text(json.dumps(held) + "\n")
    elif words == ["show"]:
        import pandas as pd

        print(_file()["source"])
        print(pd.DataFrame(load().coefficients, CONTEXTS, model.FEATURES).T.round(2).to_string())
        print(pd.DataFrame(_file()["width"]).T.to_string())
    else:
        raise SystemExit("python -m scalinglaws.forecasting.prior learn | widths | show")


def write(path=FILE):
    """Learn from all groups, and with each left out, and write the file. A few minutes on one core."""
    points, given = model.design(), tasks(series.learned())
    table = tabulate(given, points)
    without = {}
    for group in sorted(set(table.groups)):
        without[group] = learn(_rows(table, table.groups != group), points).round(4)
        print(f"without {group}: learned", flush=True)
    held = {
        "source": f"{len({id(t.series) for t in given})} series of {len(without)} groups of relatives among the "
        "bundled studies and measurements (data/published, data/measurements): python -m "
        "scalinglaws.forecasting.prior learn",
        "features": model.FEATURES, "contexts": CONTEXTS, "model_sd": MODEL_SD, "cell_share": CELL_SHARE,
        "all": learn(table, points).round(4).tolist(),
        "without": {group: b.tolist() for group, b in without.items()},
        "width": widths(given, without, points),
    }  # fmt: skip
    Path(path).write_text(json.dumps(held) + "\n")


def widths(given, without, points) -> dict:
    """{group left out, or "all": {kind: factors}}: what CALIBRATED intervals are widened by where 3 rows or more are
    seen, so that those of unseen studies hold as often as they say.

    Split-conformal: the factor of a level is that quantile of (error / half of the interval) over forecasts of last
    rows by priors that had not seen their group. Groups weigh as the square root of their number, and the factor is
    pulled to 1 as groups are few. It is never below 1: studies forecast before the prior was learned with them needed
    wider intervals than those left out (LOG.md, 2026-11-30).
    """
    levels, rows = np.array([0.05, 0.25, 0.5, 0.75, 0.95]), []
    for task in given:
        one = task.series
        if task.seen != len(one) - 1 or task.seen < 3:
            continue
        seen = one.first(task.seen)
        found = evidence_of(seen, one.x[-1], points)
        logs = found.loglik + points.features @ (context_of(seen) @ without[one.group]) + points.log_volume
        weights = np.exp(logs - logs.max()).ravel()
        sd = np.sqrt(found.variance[0] + points.sigma**2 + np.nan_to_num(one.se[-1] / one.y[-1]) ** 2).ravel()
        limits = model.mixture(weights / weights.sum(), found.mean[0].ravel(), sd, levels)
        error, off = np.log(one.y[-1]) - limits[2], limits - limits[2]
        ratios = [error / (off[low] if error < 0 else off[high]) for low, high in ((1, 3), (0, 4))]
        rows.append((one.kind, one.group, ratios))
    return {left: {kind: conformal([r[1:] for r in rows if r[0] == kind and r[1] != left]) for kind in series.AXES}
            for left in ["all", *sorted(without)]}  # fmt: skip


def conformal(rows) -> tuple:
    """The factors of CALIBRATED intervals by rows of (group, ratios of the error to half of each interval)."""
    if not rows:
        return AS_IT_IS
    groups, ratios = [group for group, _ in rows], np.array([r for _, r in rows])
    weights = np.array([groups.count(group) ** -0.5 for group in groups])
    count, found = len(set(groups)), []
    for level, ratio in zip(CALIBRATED, ratios.T, strict=True):
        order = np.argsort(ratio)
        share = np.cumsum(weights[order]) / weights.sum()
        quantile = np.clip(ratio[order][np.searchsorted(share, level)], *WIDENED)
        found.append(round(float(quantile ** (count / (count + 2))), 3))
    return tuple(found)


def calibrated(levels, width) -> np.ndarray:
    """Factors [level] on the distance of quantiles of ln y from the median.

    width: those of the 50 and of the 90 % interval. Between them the standard normal deviate of a level is moved
    piecewise linearly, beyond 90 % the factor stays.
    """
    z = np.abs(ndtri(np.asarray(levels, float)))
    known = np.array([0.0, *ndtri([(1 + level) / 2 for level in CALIBRATED])])
    moved = np.maximum.accumulate(known * [1.0, *width])
    with np.errstate(invalid="ignore"):
        factor = np.interp(z, known, moved) / z
    return np.where(z > known[-1], moved[-1] / known[-1], np.where(z > 0, factor, 1.0))


def _rows(table, keep):
    return Table(
        table.loglik[keep], table.predictive[keep], table.contexts[keep], table.weights[keep], table.groups[keep]
    )


if __name__ == "__main__":
    main()
