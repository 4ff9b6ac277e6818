"""The alternatives between which each question decides, as points of a belief, and the decision on them.

Each builder returns (frame of model, size, steps; a function of their first index that gives the decision; places, the
costs per image at which it is taken).
"""

import numpy as np
import pandas as pd

from scalinglaws.decide import worth
from scalinglaws.decide.arguments import check_pair, check_positive
from scalinglaws.decide.cost import ROUNDING, UNITS
from scalinglaws.schema import InputError, NoAnswer
from scalinglaws.units import parse

BUDGETS = 12  # over which the loss is averaged where no budget is named
PLACES = 40  # along cost, of a crossover
BEYOND = 2.0  # times the most steps of any cell: further is not decided on


def best_at_budgets(problem, budget, between):
    """Every size at every number of steps that a budget buys, for each budget; InputError where one buys none."""
    if between is not None:
        raise InputError("between= is for the question 'crossover'; the optimum is asked at a budget per image.")
    cost, sizes, counts = problem.cost, problem.sizes, problem.counts
    spent = problem.cells_cost()
    budgets = budgets_of(budget, cost.unit, spent)
    frames, groups, first = [], [], 0
    for each in budgets:
        rows = []
        for size in sizes:
            most = float(cost.steps(size, each)) * ROUNDING
            inside = counts[counts <= most]
            if problem.law.steps_column and len(inside):
                inside = np.union1d(inside, np.floor(min(most, BEYOND * counts[-1])))
            rows += [(problem.named(size), size, s) for s in inside]
        frames += rows
        groups.append(np.arange(first, first + len(rows)))
        first += len(rows)
    if not all(map(len, groups)):
        below(budgets[0], cost.unit, spent.min())
    sign = -1.0 if problem.rises else 1.0
    return _frame(frames), lambda start: worth.Best(tuple(start + g for g in groups), sign), budgets


def order_along_cost(problem, budget, between):
    """The two sizes at the steps that each cost buys, over the costs that both can spend; InputError where none is."""
    if budget is not None:
        raise InputError("budget= is for the question 'optimum'; a crossover is searched along the cost per image.")
    if not problem.law.steps_column:
        raise InputError("A crossover along cost needs a law with steps, such as size_steps_interaction.")
    cost, counts = problem.cost, problem.counts
    labels = [problem.label(size) for size in problem.sizes]
    pair = check_pair(between, "sizes", tuple(labels[:2])) if between is not None else None
    if pair is None:
        raise InputError(f"A crossover needs between=, two of the sizes {', '.join(labels)}.")
    one, two = sorted(problem.find_size(s) for s in pair)
    low = max(cost.per_image(s, counts[0]) for s in (one, two))
    high = BEYOND * min(cost.per_image(s, counts[-1]) for s in (one, two))
    if one == two or not high > low:
        raise InputError(f"between={between!r}: no cost per image buys both sizes a number of steps; give two closer.")
    places = np.geomspace(low, high, PLACES)
    rows = [(problem.named(size), size, float(cost.steps(size, at))) for at in places for size in (one, two)]
    pairs = np.arange(2 * PLACES).reshape(-1, 2)
    width = float(np.log(places[1] / places[0]))
    return _frame(rows), lambda start: worth.Order(start + pairs, width), places


def largest(problem, budget, between):
    """The largest size at every number of steps; InputError for a budget or a pair, which this question has not."""
    if budget is not None or between is not None:
        raise InputError("budget= and between= are for the questions 'optimum' and 'crossover'.")
    size = problem.sizes[-1]
    rows = [(problem.named(size), size, s) for s in problem.counts]
    return _frame(rows), lambda start: worth.Spread(start + np.arange(len(rows))), None


QUESTIONS = {"optimum": best_at_budgets, "crossover": order_along_cost, "largest": largest}


def budgets_of(given, unit, spent) -> np.ndarray:
    """Budgets per image in `unit`: as given, or from the cheapest to the most expensive of what cells cost [cell]."""
    if given is None:
        return np.geomspace(spent.min() * 1.5, spent.max(), BUDGETS)
    several = np.atleast_1d(np.asarray(given, object))
    return np.array([budget_of(one, unit) for one in several])


def below(budget, unit, least):
    """Raise NoAnswer for a budget per image that buys no cell; least: the cost of the cheapest."""
    raise NoAnswer(f"A budget of {budget:g} {UNITS[unit]} per image is below the cheapest cell, {least:.4g}; raise it.")


def budget_of(given, unit) -> float:
    """A budget per image in `unit`, of text or a number; InputError for another unit, or what is not above 0."""
    return check_positive(parse(given, unit).value, "Budget", UNITS[unit])


def _frame(rows):
    return pd.DataFrame(rows, columns=["model", "size", "steps"])
