"""Numbers that carry their exact first and second derivatives: write a law once in numpy, never its gradient.

Forward-mode automatic differentiation (Griewank and Walther 2008, chapter 13), sparse: a number only knows the
parameters it depends on, and a derivative that does not depend on the row stays one number per replicate.
"""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Jet(NDArrayOperatorsMixin):
    """value, grad {i: d/di} and hess {(i, j): d²/didj, i <= j}; arrays [replicate, row] or [replicate, 1]."""

    __slots__ = ("grad", "hess", "value")

    def __init__(self, value, grad=None, hess=None):
        self.value, self.grad, self.hess = value, grad or {}, hess or {}

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or options.get("out") is not None:
            return NotImplemented
        if ufunc in UNARY and len(inputs) == 1:
            return chain(inputs[0], *UNARY[ufunc](inputs[0].value))
        if ufunc in BINARY and len(inputs) == 2:
            return BINARY[ufunc](*inputs)
        raise TypeError(f"a law may not use numpy.{ufunc.__name__}; known: {', '.join(sorted(KNOWN))}")


def chain(a: Jet, value, first, second) -> Jet:
    """f(a) from f, f' and f'' at a."""
    grad = {i: first * g for i, g in a.grad.items()}
    hess = {ij: first * h for ij, h in a.hess.items()}
    keys = sorted(a.grad)
    for m, i in enumerate(keys):
        scaled = second * a.grad[i]
        for j in keys[m:]:
            _add(hess, (i, j), scaled * a.grad[j])
    return Jet(value, grad, hess)


def _add(table, key, value):
    table[key] = table[key] + value if key in table else value


def add(a, b):
    if not isinstance(a, Jet):
        a, b = b, a
    if not isinstance(b, Jet):
        return Jet(a.value + b, a.grad, a.hess)
    grad, hess = dict(a.grad), dict(a.hess)
    for i, g in b.grad.items():
        _add(grad, i, g)
    for ij, h in b.hess.items():
        _add(hess, ij, h)
    return Jet(a.value + b.value, grad, hess)


def multiply(a, b):
    if not isinstance(a, Jet):
        a, b = b, a
    if not isinstance(b, Jet):
        return Jet(a.value * b, {i: g * b for i, g in a.grad.items()}, {ij: h * b for ij, h in a.hess.items()})
    grad = {i: g * b.value for i, g in a.grad.items()}
    hess = {ij: h * b.value for ij, h in a.hess.items()}
    for i, g in b.grad.items():
        _add(grad, i, g * a.value)
    for ij, h in b.hess.items():
        _add(hess, ij, h * a.value)
    for i, g in a.grad.items():
        for j, k in b.grad.items():
            _add(hess, (min(i, j), max(i, j)), g * k if i != j else 2 * g * k)
    return Jet(a.value * b.value, grad, hess)


def subtract(a, b):
    return add(a, multiply(b, -1.0) if isinstance(b, Jet) else np.negative(b))


def divide(a, b):
    if not isinstance(b, Jet):
        return multiply(a, 1.0 / np.asarray(b, float))
    one = 1.0 / b.value
    return multiply(chain(b, one, -(one**2), 2 * one**3), a)


def power(a, b):
    if isinstance(b, Jet):
        return np.exp(multiply(b, np.log(a)))
    if np.ndim(b) == 0 and b == 2:
        return multiply(a, a)
    v = a.value
    return chain(a, v**b, b * v ** (b - 1), b * (b - 1) * v ** (b - 2))


def logaddexp(a, b):
    """ln(e^a + e^b) = a + ln(1 + e^(b - a)), stable for both signs."""
    gap = subtract(b, a)
    soft = np.logaddexp(0.0, gap.value)
    share = np.exp(gap.value - soft)
    return add(chain(gap, soft, share, share * (1 - share)), a)


UNARY = {  # f, f', f''
    np.negative: lambda v: (-v, -1.0, 0.0),
    np.positive: lambda v: (v, 1.0, 0.0),
    np.exp: lambda v: (np.exp(v),) * 3,
    np.expm1: lambda v: (np.expm1(v), np.exp(v), np.exp(v)),
    np.log: lambda v: (np.log(v), 1 / v, -1 / v**2),
    np.log1p: lambda v: (np.log1p(v), 1 / (1 + v), -1 / (1 + v) ** 2),
    np.sqrt: lambda v: (np.sqrt(v), 0.5 / np.sqrt(v), -0.25 / v**1.5),
    np.square: lambda v: (v * v, 2 * v, 2.0),
    np.reciprocal: lambda v: (1 / v, -1 / v**2, 2 / v**3),
    np.sin: lambda v: (np.sin(v), np.cos(v), -np.sin(v)),
    np.cos: lambda v: (np.cos(v), -np.sin(v), -np.cos(v)),
    np.tan: lambda v: ((t := np.tan(v)), 1 + t * t, 2 * t * (1 + t * t)),
    np.arctan: lambda v: (np.arctan(v), 1 / (1 + v * v), -2 * v / (1 + v * v) ** 2),
    np.sinh: lambda v: (np.sinh(v), np.cosh(v), np.sinh(v)),
    np.cosh: lambda v: (np.cosh(v), np.sinh(v), np.cosh(v)),
    np.tanh: lambda v: ((t := np.tanh(v)), 1 - t * t, -2 * t * (1 - t * t)),
}
BINARY = {
    np.add: add, np.subtract: subtract, np.multiply: multiply, np.divide: divide, np.power: power,
    np.float_power: power, np.logaddexp: logaddexp,
}  # fmt: skip
KNOWN = [ufunc.__name__ for ufunc in (*UNARY, *BINARY)]


def variables(theta: np.ndarray, positive: np.ndarray) -> list[Jet]:
    """One Jet [replicate, 1] per internal parameter [replicate, parameter]; positive ones are exp(theta)."""
    jets = []
    for k in range(theta.shape[1]):
        value = theta[:, k, None]
        if positive[k]:
            value = np.exp(value)
        jets.append(Jet(value, {k: value if positive[k] else 1.0}, {(k, k): value} if positive[k] else {}))
    return jets
