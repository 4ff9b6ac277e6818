"""Choosing between two nested laws by AICc and by the largest size held out."""

from dataclasses import replace

import numpy as np

from scalinglaws.fitting.diagnostics import calibration
from scalinglaws.fitting.multistart import estimate, solved
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.settings import DIAGNOSTICS

STARTS = 4  # of the refit without the largest size


def aicc(fit: Fit, factor: float | None = None) -> float:
    """Akaike's criterion with Hurvich and Tsai's correction (1989): c n ln(F / n) + 2 k + 2 k (k + 1) / (n - k - 1).

    k counts the parameters and the noise. c is 1 for squares, the textbook's; for Huber's loss it is that of
    diagnostics.calibration, which makes the criterion Ronchetti's robust one (1985). Laws are compared with one c, that
    of the best or richest, given as factor. inf without degrees of freedom.
    """
    factor = calibration(fit.problem, fit.minima.theta[0]) if factor is None else factor
    n, k = fit.rows, len(fit.law.params) + 1
    if n - k - 1 <= 0:
        return float("inf")
    mean = max(fit.objective / n, 1e-30)
    return float(factor * n * np.log(mean) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def choose(name: str, plain: Fit, rich: Fit) -> Fit:
    """The richer law where AICc favours it decisively, or clearly and it is no worse on the largest size held out."""
    factor = calibration(rich.problem, rich.minima.theta[0])
    scores = aicc(plain, factor), aicc(rich, factor)
    gain = scores[0] - scores[1] if np.isfinite(scores).all() else -np.inf  # without degrees of freedom: the plain law
    errors = [held_out(plain), held_out(rich)]
    tested = None not in errors
    no_worse = not tested or errors[1] <= errors[0] * DIAGNOSTICS.held_out
    supported = gain > DIAGNOSTICS.aicc_decisive or (gain > DIAGNOSTICS.aicc and no_worse)
    best = rich if supported else plain
    shown = f"{errors[0]:.3g} plain, {errors[1]:.3g} interaction" if tested else "not tested"
    weighed = (f"the interaction {'lowers' if gain >= 0 else 'raises'} AICc by {abs(gain):.3g} (lower by more than "
               f"{DIAGNOSTICS.aicc:g} counts, more than {DIAGNOSTICS.aicc_decisive:g} decides)")  # fmt: skip
    if np.isinf(gain):
        weighed = f"{plain.rows} rows are too few to weigh the interaction by AICc"
    note = (f"{name}: {best.law.name} chosen; {weighed}; error on the largest {next(iter(plain.inputs))} held out (log "
            f"residual): {shown}.")  # fmt: skip
    return replace(best, notes=(*best.notes, note))


def without_interaction(name: str, plain: Fit, refusal: Exception) -> Fit:
    """The plain law where the interaction cannot be fitted, as with too few rows, with a note that says why."""
    note = f"{name}: {plain.law.name} chosen; the interaction is left out: {refusal}"
    return replace(plain, notes=(*plain.notes, note))


def held_out(fit: Fit) -> float | None:
    """Root mean square log residual on the rows of the largest first input, fitted without them; None if too few."""
    data, symbol = fit.problem.data, next(iter(fit.inputs))
    keep = data.x[symbol] < data.x[symbol].max()
    if keep.sum() <= len(fit.law.params) or len(np.unique(data.x[symbol][keep])) < 2:
        return None
    problem = Problem.build(fit.law, data.where(keep), fit.problem.objective.loss)
    problem, minima = estimate([problem], STARTS, fit.seed, fit.delta)[0]
    natural = problem.coordinates.natural(solved(problem, minima).theta[0])
    with np.errstate(all="ignore"):  # a degenerate fit may predict nothing finite
        curve = fit.law.curve(natural, {s: v[~keep] for s, v in data.x.items()})
        error = float(np.sqrt(np.mean(np.log(curve / data.y[~keep]) ** 2)))
    return error if np.isfinite(error) else np.inf
