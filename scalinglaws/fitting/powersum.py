"""Sums of power terms, `E + A N^-a + B D^-b` and their kin, in logarithms, with exact derivatives.

f = sum_k t_k with t_k = exp(X_k theta_k) gives
    df = sum_k t_k x_k    and    d²f = sum_k t_k x_k x_k',
so that gradient and Hessian are matrix products of [replicate, row] with fixed [row, feature] tables.
"""

from dataclasses import dataclass

import numpy as np

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
        total = None
        for start in range(0, self.rows, ROWS):
            part = self._evaluate(theta, data, members, mu, slice(start, start + ROWS))
            total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
        return total

    def _evaluate(self, theta, data, members, mu, rows):
        terms = list(self.terms(theta, rows))
        f = sum(terms)
        if f.shape[1] == 1:
            f = np.broadcast_to(f, (len(theta), len(self.features[0][rows])))
        value, pull, twist, bend = data.losses(f, members, mu, rows)
        gradient = np.zeros((len(theta), self.count))
        hessian = np.zeros((len(theta), self.count, self.count))
        for k, term in enumerate(terms):
            bent = bend * term
            self._block(gradient, hessian, k, rows, pull * term, twist * term + bent * term)
            for m in range(k):
                self._cross(hessian, k, m, rows, bent * terms[m])
        return value, gradient, hessian

    def _block(self, gradient, hessian, k, rows, pulled, curved):
        index, width = self.index[k], len(self.index[k])
        if width == 1:
            gradient[:, index[0]] += pulled.sum(axis=1)
            hessian[:, index[0], index[0]] += curved.sum(axis=1)
            return
        products = self._products(k, k, rows)
        gradient[:, index] += pulled @ self.features[k][rows]
        block = (curved @ products).reshape(-1, width, width)
        hessian[:, index[:, None], index] += block

    def _cross(self, hessian, k, m, rows, bent):
        one, two = self.index[k], self.index[m]
        block = (bent @ self._products(k, m, rows)).reshape(-1, len(one), len(two))
        hessian[:, one[:, None], two] += block
        hessian[:, two[:, None], one] += block.transpose(0, 2, 1)

    def _products(self, k, m, rows):
        one, two = self.features[k][rows], self.features[m][rows]
        return (one[:, :, None] * two[:, None, :]).reshape(len(one), -1)
