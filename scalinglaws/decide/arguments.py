"""Wrong arguments of the decisions end in one sentence, an InputError, before anything is computed."""

import inspect
from functools import wraps

import numpy as np

from scalinglaws.schema import InputError


def checked(function):
    """The function, with an InputError instead of a TypeError where its arguments are not those of its signature."""
    signature = inspect.signature(function)
    name = function.__name__

    @wraps(function)
    def call(*given, **named):
        try:
            signature.bind(*given, **named)
        except TypeError as error:
            raise InputError(f"{name}: {error}. Arguments: {', '.join(signature.parameters)}.") from None
        return function(*given, **named)

    return call


def check_level(level):
    """A level of confidence, or InputError."""
    if not _is_number(level) or not 0 < level < 1:
        raise InputError(f"level={level!r}: give a number between 0 and 1, such as 0.9.")
    return float(level)


def check_pair(between, what, example):
    """Two different labels or numbers, or InputError."""
    wrong = isinstance(between, str) or not hasattr(between, "__len__") or len(between) != 2
    if wrong or str(between[0]) == str(between[1]):
        raise InputError(f"between={between!r}: give two different {what}, such as {example}.")
    return tuple(between)


def check_positive(value, name, unit=""):
    """A finite number above 0, or InputError."""
    if not _is_number(value) or not (np.isfinite(value) and value > 0):
        shown = f"{value:g}" if _is_number(value) else repr(value)
        raise InputError(f"{name} {shown}{f' {unit}' if unit else ''}: give a number above 0.")
    return float(value)


def check_falls(fit, name):
    """InputError where the law of a fit rises with its inputs: the decision takes the lowest value for the best."""
    if fit.law.trend == "rises":
        raise InputError(
            f"{name} takes the lowest value for the best, and the law {fit.law.name!r} of {fit.quality} rises: fit "
            "what falls, such as an error rate, 1 minus the accuracy, by a law in N and D."
        )


def _is_number(value):
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
