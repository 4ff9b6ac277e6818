"""One law: equation, source, inputs, named parameters, bounds.

A sum of power terms is its own equation, read from the text; any other law is a function of its inputs and parameters.
Units: inputs keep the unit of their column, coefficients and floors have the unit of the quality, exponents have none.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from scalinglaws.schema import InputError

EXPONENTS = (0.0, 10.0)  # of a falling power term
EITHER_SIGN = (-5.0, 5.0)  # of a factor that may rise or fall, x^g


@dataclass(frozen=True)
class Term:
    """coefficient * product of symbol^(sign * exponent)."""

    coefficient: str
    powers: tuple[tuple[str, str, int], ...] = ()  # (exponent, symbol, sign)


@dataclass(frozen=True)
class Law:
    """One row of the table of laws."""

    name: str
    equation: str
    source: str
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    terms: tuple[Term, ...] = ()  # a sum of power terms, or
    function: Callable | None = None  # function(**inputs, **params) -> value
    positive: tuple[str, ...] = ()  # parameters fitted as logarithms
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)  # natural; others are free
    floor: str | None = None  # the value that is left when every input is infinite
    signed: bool = False  # inputs may be zero or negative
    trend: str = "falls"  # falls, rises or turns
    linear: tuple[str, ...] = ()  # parameters the value is linear in: solved for, not searched
    ranges: dict[str, tuple[float, float] | str] = field(default_factory=dict)  # starts; "x" or "y": of the data
    draw: Callable | None = None  # starts instead of ranges: draw(x, y, rng, count) -> {param: [count]}
    start: dict[str, float] | None = None  # one start, instead of all searching
    groups: tuple[str, ...] = ()  # names of the curves; the last input holds one of them a row
    alike: tuple[tuple[str, ...], ...] = ()  # exchangeable groups of parameters, reported in order of their first

    def sort(self, theta: np.ndarray) -> np.ndarray:
        """theta [replicate, parameter], internal or natural, with exchangeable groups in order."""
        if not self.alike:
            return theta
        place = np.array([[self.params.index(name) for name in group] for group in self.alike])
        order = np.argsort(theta[:, place[:, 0]], axis=1)
        out = theta.copy()
        out[:, place] = np.take_along_axis(theta[:, place], order[:, :, None], axis=1)
        return out

    @property
    def measures(self) -> tuple[str, ...]:
        """Inputs that are quantities, not the name of a group."""
        return self.inputs[:-1] if self.groups else self.inputs

    def numbers(self, symbol: str, values) -> np.ndarray:
        """Values of an input as numbers; names of groups become their position."""
        if symbol in self.measures:
            return np.asarray(values, float)
        place = {name: float(k) for k, name in enumerate(self.groups)}
        numbers = [place.get(str(value), value) for value in np.atleast_1d(np.asarray(values, object))]
        wrong = [value for value in numbers if not isinstance(value, float) or not 0 <= value < len(place)]
        if wrong:
            raise InputError(f"No curve named {str(wrong[0])!r} in {self.name!r}. Known: {', '.join(self.groups)}.")
        return np.array(numbers, float)

    def curve(self, theta, inputs: dict):
        """Value [..., n] at inputs {symbol: array [n]} for natural parameters theta [..., parameter]."""
        theta = np.asarray(theta, float)
        named = {name: theta[..., k, None] for k, name in enumerate(self.params)}
        x = {symbol: np.atleast_1d(self.numbers(symbol, inputs[symbol])) for symbol in self.inputs}
        if self.function is not None:
            return self.function(**x, **named) + np.zeros_like(sum(x.values()))
        return sum(term_value(term, named, x) for term in self.terms)

    def with_input(self, symbol: str) -> "Law":
        """The same one-input law with its input called symbol."""
        old = self.inputs[0]
        if symbol == old:
            return self
        terms = tuple(Term(t.coefficient, tuple((p, symbol, sign) for p, _, sign in t.powers)) for t in self.terms)
        equation = re.sub(rf"\b{old}\b", symbol, self.equation)
        function = self.function and (lambda **given: self.function(**{old: given.pop(symbol)}, **given))
        return replace(self, inputs=(symbol,), terms=terms, equation=equation, function=function)


def term_value(term: Term, named: dict, x: dict):
    """One power term at inputs x for parameters by name."""
    value = named[term.coefficient]
    for exponent, symbol, sign in term.powers:
        base = x[symbol]
        base = base[:1] if (base == base[:1]).all() else base  # one size at many steps: its power is taken once
        value = value * base ** (sign * named[exponent])
    return value + np.zeros_like(sum(x.values()))


def power_sum(name: str, equation: str, source: str, **changes) -> Law:
    """A law whose equation is a sum of power terms; changes replace fields of Law, such as bounds.

    Coefficients are positive. Exponents written with a minus lie in 0..10, others in -5..5. The term without powers is
    the floor. Raises InputError for an equation that is no such sum: write it as a function, see custom().

    >>> law = power_sum("two_floors", "E + A*N^-a + B*N^g*S^-b", "here")
    >>> law.inputs, law.params
    (('N', 'S'), ('E', 'A', 'a', 'B', 'g', 'b'))
    """
    terms, params, inputs = [], [], []
    for text in equation.split("+"):
        coefficient, *factors = (part.strip() for part in text.split("*"))
        powers = [re.fullmatch(r"(\w+)\^(-?)([^\W\d]\w*)", factor) for factor in factors]
        if not (coefficient.isidentifier() and all(powers)):
            raise InputError(
                f"Law {name!r}: {text.strip()!r} in {equation!r} is no power term. Write a sum of terms such as "
                f"A*N^-a with named coefficients and exponents, or give the law as a function to laws.custom."
            )
        terms.append(Term(coefficient, tuple((p[3], p[1], -1 if p[2] else 1) for p in powers)))
        params += [coefficient, *(p[3] for p in powers)]
        inputs += [p[1] for p in powers]
    signs = sorted((sign, p) for t in terms for p, _, sign in t.powers)
    falls = {p: EXPONENTS if sign < 0 else EITHER_SIGN for sign, p in reversed(signs)}
    floor = next((t.coefficient for t in terms if not t.powers), None)
    row = Law(
        name, equation, source, tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(params)),
        terms=tuple(terms), positive=tuple(t.coefficient for t in terms),
        bounds=falls | dict.fromkeys((t.coefficient for t in terms), (0.0, np.inf)), floor=floor,
    )  # fmt: skip
    return replace(row, **changes | {"bounds": row.bounds | changes.get("bounds", {})})


def custom(function: Callable, params, inputs=None, name: str = "", **changes) -> Law:
    """Your own law: a function of inputs and parameters written with numpy; derivatives are exact and need no code.

    function: takes its inputs (arrays [N]) and parameters (numbers) by name and returns the quality [N]; it may use
    + - * / ** and numpy's exp, log, sqrt, logaddexp, sin, ... params: names of the parameters; inputs: of the inputs
    (default: the other arguments). changes: further fields of Law. Useful ones: positive (fitted as logarithms), linear
    (solved for, not searched), bounds and ranges (where to search), floor, trend.

    Raises InputError where names and arguments do not match.

    >>> import numpy as np, pandas as pd
    >>> from scalinglaws.fitting import fit
    >>> def shifted(x, E, A, a, t):
    ...     return E + A * (x + t) ** -a
    >>> law = custom(shifted, ("E", "A", "a", "t"), positive=("E", "A", "a", "t"), linear=("E", "A"),
    ...              ranges={"a": (0.1, 3), "t": "x"})
    >>> x = np.geomspace(1, 1e4, 30)
    >>> table = pd.DataFrame({"steps": x, "fid": shifted(x, 2.0, 40.0, 0.7, 25.0)})
    >>> {name: round(value, 4) for name, value in fit(table, law, "fid", "steps").values.items()}
    {'E': 2.0, 'A': 40.0, 'a': 0.7, 't': 25.0}
    """
    params = tuple(params)
    arguments = tuple(inspect.signature(function).parameters)
    missing = [p for p in params if p not in arguments]
    inputs = tuple(inputs) if inputs else tuple(a for a in arguments if a not in params)
    if missing or not params or not inputs or set(inputs) | set(params) != set(arguments):
        raise InputError(
            f"A law's function takes its inputs and its parameters by name; it takes {', '.join(arguments)}, "
            f"the parameters given are {', '.join(params) or 'none'} and the inputs {', '.join(inputs) or 'none'}."
        )
    name = name or getattr(function, "__name__", "custom")
    equation = changes.pop("equation", f"{name}({', '.join(arguments)})")
    source = changes.pop("source", "given by the user")
    return Law(name, equation, source, inputs, params, function=function, **changes)
