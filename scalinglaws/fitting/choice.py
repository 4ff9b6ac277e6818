"""Choosing between two nested laws by AICc and by the largest size held out."""

from dataclasses import replace

import numpy as np

from scalinglaws.fitting.engine import fit_rows, set_up
from scalinglaws.fitting.result import Fit
from scalinglaws.fitting.trust import calibration

CLEAR = 2.0  # AICc difference that counts
DECISIVE = 10.0  # AICc difference that leaves the simpler law no support (Burnham and Anderson 2004)


def aicc(fit: Fit, factor: float | None = None) -> float:
    """Akaike's criterion with Hurvich and Tsai's correction (1989): c n ln(F / n) + 2 k + 2 k (k + 1) / (n - k - 1).

    c is 1 for squares, the textbook's; for Huber's loss it is that of trust.calibration, which makes the criterion
    Ronchetti's robust one (1985). Laws are compared with one c, that of the best or richest. inf without degrees of
    freedom.
    """
    factor = calibration(fit.setup, fit.minima.theta[0]) if factor is None else factor
    n, k = fit.rows, len(fit.law.params) + 1
    if n - k - 1 <= 0:
        return float("inf")
    floor = max(fit.objective / n, 1e-30)
    return float(factor * n * np.log(floor) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def choose(name: str, fits: list[Fit]) -> Fit:
    """The richer law where AICc favours it decisively, or clearly and it is no worse on the largest size held out."""
    plain, rich = fits
    factor = calibration(rich.setup, rich.minima.theta[0])
    gain = aicc(plain, factor) - aicc(rich, factor)
    errors = [held_out(fit) for fit in fits]
    supported = gain > DECISIVE or (gain > CLEAR and (None in errors or errors[1] <= errors[0] * 1.05))
    best = rich if supported else plain
    shown = "not tested" if None in errors else f"{errors[0]:.3g} plain, {errors[1]:.3g} interaction"
    note = (f"{name}: {best.law.name} chosen; the interaction lowers AICc by {gain:.3g} (more than {CLEAR:g} counts, "
            f"more than {DECISIVE:g} decides); error on the largest {_first(plain)} held out (log residual): "
            f"{shown}.")  # fmt: skip
    return replace(best, notes=(*best.notes, note))


def _first(fit: Fit) -> str:
    return next(iter(fit.inputs))


def held_out(fit: Fit) -> float | None:
    """Root mean square log residual on the rows of the largest first input, fitted without them; None if too few."""
    x = fit.setup.rows.x[_first(fit)]
    keep = x < x.max()
    if keep.sum() <= len(fit.law.params) or len(np.unique(x[keep])) < 2:
        return None
    setup = set_up(fit.law, fit.setup.rows.where(keep), fit.setup.problem.loss)
    _, minima = fit_rows(setup, 4, fit.seed, fit.delta)
    natural = setup.coordinates.natural(minima.theta[0])
    with np.errstate(all="ignore"):  # a degenerate fit may predict nothing finite
        curve = fit.law.curve(natural, {s: v[~keep] for s, v in fit.setup.rows.x.items()})
        error = float(np.sqrt(np.mean(np.log(curve / fit.setup.rows.y[~keep]) ** 2)))
    return error if np.isfinite(error) else np.inf
