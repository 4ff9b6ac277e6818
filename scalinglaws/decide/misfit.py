"""Whether a decision's law is one that the rows follow: what it misses beside their standard errors, and turning laws.

The probability that a size is the best is that of a law that holds. A law of size and steps that only falls gives every
size all the steps that it can afford; where quality turns up with steps, as it does with guidance, its parameters bend
to follow, and it may name a size that no training bears out.
"""

import numpy as np

from scalinglaws.decide.fitted import STEPS
from scalinglaws.fitting import draws
from scalinglaws.fitting import fit as fit_one
from scalinglaws.fitting.api import same_delta
from scalinglaws.fitting.diagnostics import calibration
from scalinglaws.fitting.levels import known_errors
from scalinglaws.fitting.selection import aicc
from scalinglaws.fitting.settings import DIAGNOSTICS
from scalinglaws.schema import InputError

FALLING = ("size_steps_plain", "size_steps_interaction")
TURNING = ("size_steps_turn", "size_steps_interaction_turn")
TIMES = 2.0  # the standard error of cells, by which a law that misses them is doubted


def misfit(fit):
    """Sentences on why the law of a fit may mislead a decision: none where the rows follow it.

    Of 65 simulated tables (7 sizes, 6 step counts) that follow a falling law none has one, of 40 that turn strongly
    all have, of 50 that turn weakly 3.
    """
    missed, stated = missed_cells(fit), stated_error(fit)
    wrong = missed > TIMES * stated
    if wrong:
        yield (f"The law misses single cells by {missed:.1%}, and their standard errors are {stated:.1%} in the median "
               f"({fit.options.se or f'{fit.quality}_se'}): the rows do not follow it, so that the best size may be "
               "another and its probability is too sure; compare with the measured rows.")  # fmt: skip
    better = turning(fit, DIAGNOSTICS.aicc if wrong else DIAGNOSTICS.aicc_decisive)
    if better:
        yield (f"A law that turns with steps fits these rows better, and {fit.law.name} only falls: ask again with "
               f"--law {better} (law={better!r}) before you act on a size.")  # fmt: skip


def missed_cells(fit) -> float:
    """What the law misses of a cell, root mean square of ln quality: the errors of whole models are taken out."""
    group, known = fit.trained_models
    spare = fit.rows - len(known) - len(fit.law.params)
    if spare < 1 or fit.residual_scale != "log":
        return 0.0
    residual = draws.log_residuals(fit)
    residual = residual - (np.bincount(group, residual) / np.bincount(group))[group]
    return float(np.sqrt((residual**2).sum() / spare))


def stated_error(fit) -> float:
    """The median standard error of the fitted rows, relative; infinite where none is stated."""
    errors = known_errors(fit, fit.table)
    errors = np.array([]) if errors is None else errors[errors > 0]
    return float(np.median(errors)) if len(errors) else np.inf


def turning(fit, gain):
    """The law that turns with steps which fits the rows of a falling law better, by more than `gain` in AICc; or None.

    It is fitted to the same rows with the same options, for its misfit alone.
    """
    if fit.law.name not in FALLING or not any(column in STEPS for column in fit.inputs.values()):
        return None
    others = []
    for law in TURNING:
        try:
            others.append(fit_one(fit.table, law, fit.quality, fit.inputs, **vars(fit.options) | {"replicates": 1}))
        except InputError:  # too few rows
            continue
    fit, *others = same_delta([fit, *others])
    if not others:
        return None
    factor = calibration(others[-1].problem, others[-1].minima.theta[0])
    best = min(others, key=lambda one: aicc(one, factor))
    return best.law.name if aicc(fit, factor) - aicc(best, factor) > gain else None
