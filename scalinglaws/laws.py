"""The table of laws: equation, source, inputs, named parameters, bounds.

A law is a row. A sum of power terms is its own equation, read from the text; any other law is a function of its
inputs and parameters. Units: inputs keep the unit of their column, coefficients and floors have the unit of the
quality, exponents have none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from scalinglaws.schema import InputError

EXPONENTS = (0.0, 10.0)  # of a falling power term
TILTS = (-5.0, 5.0)  # of a factor that may rise or fall, x^g


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
    trend: str = "falls"  # falls, rises or turns

    def curve(self, theta, inputs: dict):
        """Value [..., n] at inputs {symbol: array [n]} for natural parameters theta [..., parameter]."""
        theta = np.asarray(theta, float)
        named = {name: theta[..., k, None] for k, name in enumerate(self.params)}
        x = {symbol: np.atleast_1d(np.asarray(inputs[symbol], float)) for symbol in self.inputs}
        if self.function is not None:
            return self.function(**x, **named) + np.zeros_like(sum(x.values()))
        return sum(_term(term, named, x) for term in self.terms)

    def with_input(self, symbol: str) -> "Law":
        """The same one-input law with its input called symbol."""
        old = self.inputs[0]
        if symbol == old:
            return self
        terms = tuple(Term(t.coefficient, tuple((p, symbol, sign) for p, _, sign in t.powers)) for t in self.terms)
        equation = re.sub(rf"\b{old}\b", symbol, self.equation)
        function = self.function and (lambda **given: self.function(**{old: given.pop(symbol)}, **given))
        return replace(self, inputs=(symbol,), terms=terms, equation=equation, function=function)


def _term(term: Term, named: dict, x: dict):
    value = named[term.coefficient]
    for exponent, symbol, sign in term.powers:
        value = value * x[symbol] ** (sign * named[exponent])
    return value + np.zeros_like(sum(x.values()))


def power_sum(name: str, equation: str, source: str, **changes) -> Law:
    """A law whose equation is a sum of power terms, such as `E + A*N^-a + B*N^g*S^-b`."""
    terms = tuple(_read_term(text) for text in equation.split(" + "))
    params, inputs = [], []
    for term in terms:
        params += [term.coefficient, *(exponent for exponent, _, _ in term.powers)]
        inputs += [symbol for _, symbol, _ in term.powers]
    falls = {p: EXPONENTS if sign < 0 else TILTS for t in terms for p, _, sign in t.powers}
    floor = next((t.coefficient for t in terms if not t.powers), None)
    row = Law(
        name, equation, source, tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(params)),
        terms=terms, positive=tuple(t.coefficient for t in terms),
        bounds=falls | dict.fromkeys((t.coefficient for t in terms), (0.0, np.inf)), floor=floor,
    )  # fmt: skip
    return replace(row, **changes)


def _read_term(text: str) -> Term:
    coefficient, *factors = text.strip().split("*")
    powers = []
    for factor in factors:
        symbol, exponent = factor.split("^")
        powers.append((exponent.lstrip("-"), symbol, -1 if exponent.startswith("-") else 1))
    return Term(coefficient, tuple(powers))


HESTNESS = "Hestness et al. 2017, arXiv:1712.00409"
ROWS = (
    power_sum("power", "A*x^-a", HESTNESS),
    power_sum("power_floor", "E + A*x^-a", HESTNESS),
    power_sum("chinchilla", "E + A*N^-a + B*D^-b", "Hoffmann et al. 2022, arXiv:2203.15556, eq. 2"),
    power_sum("size_steps_plain", "E + A*N^-a + B*S^-b", "the shape of arXiv:2203.15556 in size and steps"),
    power_sum("size_steps_interaction", "E + A*N^-a + B*N^g*S^-b", "size_steps_plain, B depends on size"),
)
LAWS = {row.name: row for row in ROWS}
CHOICES = {"size_steps": ("size_steps_plain", "size_steps_interaction")}  # the data choose between them


def find(law: "str | Law") -> Law:
    """The law of this name, or the law itself."""
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        known = ", ".join([*LAWS, *CHOICES])
        raise InputError(f"No law named {law!r}. Known laws: {known}. See scalinglaws/laws.py.")
    return LAWS[law]
