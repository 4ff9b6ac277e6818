"""Sums of power terms, `E + A N^-a + B D^-b` and their kin, in logarithms, with exact derivatives.

f = sum_k t_k with t_k = exp(X_k theta_k) gives
    df = sum_k t_k x_k    and    d²f = sum_k t_k x_k x_k',
so that gradient and Hessian are matrix products of [replicate, row] with fixed [row, feature] tables.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scalinglaws.fitting.objective import summed_slices

ROWS = 32_768  # rows per slice: a million rows never become a million-row Jacobian


@dataclass(frozen=True)
class PowerSum:
    """A law of power terms on given inputs. Parameters are ln(coefficient at the centre) and exponents."""

    index: tuple[np.ndarray, ...]  # per term: its parameters' positions
    features: tuple[np.ndarray, ...]  # per term [row, parameter of the term]; the first column is 1
    count: int  # parameters

    @property
    def rows(self) -> int:
        return len(self.features[0])

    def terms(self, theta, rows=slice(None)):
        """exp(X_k theta_k) per term [replicate, row]; a bare constant stays [replicate, 1]."""
        for index, features in zip(self.index, self.features, strict=True):
            if len(index) == 1:
                yield np.exp(theta[:, index])
            else:
                yield np.exp(theta[:, index] @ features[rows].T)

    def value(self, theta):
        """f [replicate, row]."""
        total = sum(self.terms(theta))
        return np.broadcast_to(total, (len(theta), self.rows))

    def jacobian(self, theta):
        """df / dtheta [row, parameter] at one theta [parameter]."""
        found = np.zeros((self.rows, self.count))
        for index, features, term in zip(self.index, self.features, self.terms(theta[None]), strict=True):
            found[:, index] += term.T * features
        return found

    def evaluate(self, theta, data, members, mu):
        """Objective [replicate], gradient [replicate, parameter], damped Hessian, summed over slices of rows."""
        return summed_slices(lambda rows: self._evaluate(theta, data, members, mu, rows), self.rows, ROWS)

    def _evaluate(self, theta, data, members, mu, rows):
        terms = list(self.terms(theta, rows))
        f = sum(terms)
        if f.shape[1] == 1:
            f = np.broadcast_to(f, (len(theta), len(self.features[0][rows])))
        value, pull, twist, bend = data.losses(f, members, mu, rows)
        sloped = [(pull * term) @ x[rows] for term, x in zip(terms, self.features, strict=True)]
        products = self._small_products if self.rows <= ROWS else self._products(rows)
        curved = []
        for k, term in enumerate(terms):
            bent = bend * term
            curved += [(bent * terms[m]) @ products[k, m] for m in range(k)]
            curved.append(((twist + bent) * term) @ products[k, k])
        slope, curve = self._places
        hessian = np.concatenate(curved, axis=1) @ curve
        return value, np.concatenate(sloped, axis=1) @ slope, hessian.reshape(-1, self.count, self.count)

    @cached_property
    def _small_products(self):
        return self._products(slice(None))

    def _products(self, rows):
        """Products of the features of each pair of terms [row, feature x feature]."""
        found = {}
        for k, one in enumerate(self.features):
            for m, two in enumerate(self.features[: k + 1]):
                found[k, m] = (one[rows][:, :, None] * two[rows][:, None, :]).reshape(len(one[rows]), -1)
        return found

    @cached_property
    def _places(self):
        """0/1 matrices that put the concatenated sums of _evaluate where they belong in gradient and Hessian."""
        slope = np.concatenate([np.eye(self.count)[index] for index in self.index])
        curve = []
        for k, one in enumerate(self.index):
            for m, two in enumerate(self.index[: k + 1]):
                place = np.zeros((len(one), len(two), self.count, self.count))
                for a, i in enumerate(one):
                    for b, j in enumerate(two):
                        place[a, b, i, j] += 1.0
                        place[a, b, j, i] += 1.0 if m < k else 0.0
                curve.append(place.reshape(len(one) * len(two), -1))
        return slope, np.concatenate(curve)
