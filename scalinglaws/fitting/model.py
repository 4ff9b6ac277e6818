"""A law on given inputs, as the objective sees it: values and contractions of their derivatives, for many parameters.

Two models implement one protocol: PowerSum (closed form, matrix products) and AutodiffModel (any function of numpy).
A batch has M members (starts, replicates, groups), N rows, P parameters; theta [M, P] are internal parameters.

The full second derivative would be an array [M, N, P, P]. No fit needs it: Newton's method needs the sums over rows
  J'u = sum_n u_n df_n          and          sum_n u_n d²f_n + v_n df_n df_n'
for weights u, v [M, N] that the loss supplies (loss.py). So a model offers these sums, and never calls the objective.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from scalinglaws.fitting.autodiff import Jet, variables
from scalinglaws.fitting.settings import BATCH
from scalinglaws.laws import Law
from scalinglaws.schema import InputError


class Derivatives(Protocol):
    """A model at theta [M, P] on a slice of n rows."""

    value: np.ndarray  # [M, n], f

    def gradient(self, u: np.ndarray) -> np.ndarray:
        """sum_n u_n df_n [M, P], for u [M, n]."""

    def hessian(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """sum_n u_n d²f_n + v_n df_n df_n' [M, P, P], for u and v [M, n]."""


class Model(Protocol):
    """A law on N rows of inputs."""

    rows: int  # N
    slice_rows: int  # rows that are evaluated at once, so that memory does not grow with N

    def value(self, theta: np.ndarray) -> np.ndarray:
        """f [M, N] at theta [M, P]."""

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """df/dtheta [N, P] at one theta [P]."""

    def derivatives(self, theta: np.ndarray, members: np.ndarray, rows: slice) -> Derivatives:
        """Value and derivatives at theta [M, P] on a slice of rows; members [M]: their positions in the whole batch."""


@dataclass(frozen=True)
class PowerSum:
    """`E + A N^-a + B D^-b` and its kin. Parameters: ln(coefficient at the centre of the inputs) and exponents.

    f = sum_k t_k with t_k = exp(X_k theta_k) gives df = sum_k t_k x_k and d²f = sum_k t_k x_k x_k', so that
      J'u   = sum_k (u t_k) X_k
      d²-sum = sum_k (u t_k + v t_k²) (x_k x_k') + sum_{k != m} (v t_k t_m) (x_k x_m')
    are products of [M, N] with fixed [N, feature] tables.
    """

    index: tuple[np.ndarray, ...]  # of each term, the positions of its parameters
    features: tuple[np.ndarray, ...]  # of each term [N, parameter of the term]; the first column is 1
    count: int  # P
    slice_rows: int = BATCH.slice_power

    @property
    def rows(self) -> int:
        return len(self.features[0])

    def terms(self, theta, rows=slice(None)) -> list[np.ndarray]:
        """exp(X_k theta_k) of each term [M, n]; a bare constant stays [M, 1]."""
        return [
            np.exp(theta[:, index] if len(index) == 1 else theta[:, index] @ features[rows].T)
            for index, features in zip(self.index, self.features, strict=True)
        ]

    def value(self, theta):
        return np.broadcast_to(sum(self.terms(theta)), (len(theta), self.rows))

    def jacobian(self, theta):
        total = np.zeros((self.rows, self.count))
        for index, features, term in zip(self.index, self.features, self.terms(theta[None]), strict=True):
            total[:, index] += term.T * features
        return total

    def derivatives(self, theta, members, rows):
        terms = self.terms(theta, rows)
        value = sum(terms)
        if value.shape[1] == 1:
            value = np.broadcast_to(value, (len(theta), len(self.features[0][rows])))
        return PowerSumDerivatives(self, value, terms, rows)

    @property
    def columns(self) -> list[np.ndarray]:
        """Each [N]: the features but the constant ones. Models of one law differ in these only; see batching.py."""
        return [column for features in self.features for column in features.T[1:]]

    def jet(self, theta, columns) -> Jet:
        """f with derivatives at columns like those of `columns`, each [n] or [M, n]: slower, but one a member."""
        parameters = variables(theta, np.zeros(self.count, bool))
        rest, total = iter(columns), 0.0
        for index in self.index:
            exponent = sum((parameters[i] * next(rest) for i in index[1:]), parameters[index[0]])
            total = np.exp(exponent) + total
        return total

    def products(self, rows):
        """x_k x_m' of each pair of terms [n, feature x feature]; kept where all rows are one slice."""
        return self._all_products if self.rows <= self.slice_rows else self._products(rows)

    @cached_property
    def _all_products(self):
        return self._products(slice(None))

    def _products(self, rows):
        return {
            (k, m): (one[rows][:, :, None] * two[rows][:, None, :]).reshape(len(one[rows]), -1)
            for k, one in enumerate(self.features)
            for m, two in enumerate(self.features[: k + 1])
        }

    @cached_property
    def scatter(self):
        """0/1 matrices that add the concatenated sums of the terms into gradient [., P] and Hessian [., P x P]."""
        gradient = np.concatenate([np.eye(self.count)[index] for index in self.index])
        hessian = []
        for k, one in enumerate(self.index):
            for m, two in enumerate(self.index[: k + 1]):
                place = np.zeros((len(one), len(two), self.count, self.count))
                for a, i in enumerate(one):
                    for b, j in enumerate(two):
                        place[a, b, i, j] += 1.0
                        place[a, b, j, i] += 1.0 if m < k else 0.0
                hessian.append(place.reshape(len(one) * len(two), -1))
        return gradient, np.concatenate(hessian)


@dataclass(frozen=True)
class PowerSumDerivatives:
    """See Derivatives."""

    model: PowerSum
    value: np.ndarray  # [M, n]
    terms: list[np.ndarray]  # of each term [M, n] or [M, 1]
    rows: slice

    def gradient(self, u):
        sums = [(u * term) @ x[self.rows] for term, x in zip(self.terms, self.model.features, strict=True)]
        return np.concatenate(sums, axis=1) @ self.model.scatter[0]

    def hessian(self, u, v):
        products, sums = self.model.products(self.rows), []
        for k, term in enumerate(self.terms):
            weighted = v * term
            sums += [(weighted * self.terms[m]) @ products[k, m] for m in range(k)]
            sums.append(((u + weighted) * term) @ products[k, k])
        count = self.model.count
        return (np.concatenate(sums, axis=1) @ self.model.scatter[1]).reshape(-1, count, count)


@dataclass(frozen=True)
class AutodiffModel:
    """A law given as a function, differentiated by Jets (autodiff.py). Positive parameters are fitted as logarithms."""

    law: Law
    x: dict[str, np.ndarray]  # symbol -> [N]
    positive: np.ndarray  # [P] bool
    slice_rows: int = BATCH.slice_autodiff

    @property
    def rows(self) -> int:
        return len(next(iter(self.x.values())))

    def value(self, theta):
        named = np.where(self.positive, np.exp(np.where(self.positive, theta, 0.0)), theta)[:, :, None]
        value = self.law.function(**self.x, **{name: named[:, k] for k, name in enumerate(self.law.params)})
        return np.broadcast_to(value, (len(theta), self.rows))

    def jacobian(self, theta):
        jet = self.jet(theta[None], self.columns)
        columns = [np.broadcast_to(jet.grad.get(i, 0.0), (1, self.rows))[0] for i in range(len(theta))]
        return np.stack(columns, axis=1)

    def derivatives(self, theta, members, rows):
        columns = [column[rows] for column in self.columns]
        return JetDerivatives(self.jet(theta, columns), (len(theta), len(columns[0])), theta.shape[1])

    @property
    def columns(self) -> list[np.ndarray]:
        """Each [N]: the inputs. Models of one law differ in these only; see batching.py."""
        return list(self.x.values())

    def jet(self, theta, columns) -> Jet:
        """f with derivatives by internal parameters, at columns like those of `columns`, each [n] or [M, n]."""
        x = dict(zip(self.x, columns, strict=True))
        value = self.law.function(**x, **dict(zip(self.law.params, variables(theta, self.positive), strict=True)))
        if not isinstance(value, Jet):
            raise InputError(f"Law {self.law.name!r} does not depend on its parameters: check its function.")
        return value


@dataclass(frozen=True)
class JetDerivatives:
    """See Derivatives."""

    jet: Jet
    shape: tuple[int, int]  # M, n
    count: int  # P

    @property
    def value(self):
        return np.broadcast_to(self.jet.value, self.shape)

    def gradient(self, u):
        total = np.zeros((self.shape[0], self.count))
        for i, g in self.jet.grad.items():
            total[:, i] = (u * g).sum(axis=1)
        return total

    def hessian(self, u, v):
        total = np.zeros((self.shape[0], self.count, self.count))
        for i, g in self.jet.grad.items():
            weighted = v * g
            for j, other in self.jet.grad.items():
                if j >= i:
                    total[:, i, j] = (weighted * other).sum(axis=1)
        for (i, j), h in self.jet.hess.items():
            total[:, i, j] += (u * h).sum(axis=1)
        return total + np.triu(total, 1).transpose(0, 2, 1)
