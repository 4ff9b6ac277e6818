"""Sums of power terms, `E + A N^-a + B D^-b` and their kin, as log-sum-exp with exact derivatives.

ln f = ln sum_k exp(X_k theta_k); the softmax weights s_k = exp(X_k theta_k) / f give
    d ln f / d theta = sum_k s_k x_k    and    d² ln f = sum_k s_k x_k x_k' - (d ln f)(d ln f)',
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
        value, pull, bend = data.losses(f, members, mu, rows)
        shares = [term / f for term in terms]
        gradient = np.zeros((len(theta), self.count))
        hessian = np.zeros((len(theta), self.count, self.count))
        for k, share in enumerate(shares):
            pulled, bent = pull * share, bend * share
            self._block(gradient, hessian, k, rows, pulled, bent * share)
            for m in range(k):
                self._cross(hessian, k, m, rows, bent * shares[m])
        return value, gradient, hessian

    def _block(self, gradient, hessian, k, rows, pulled, bent):
        index, width = self.index[k], len(self.index[k])
        if width == 1:
            gradient[:, index[0]] += pulled.sum(axis=1)
            hessian[:, index[0], index[0]] += (pulled + bent).sum(axis=1)
            return
        products = self._products(k, k, rows)
        gradient[:, index] += pulled @ self.features[k][rows]
        block = ((pulled + bent) @ products).reshape(-1, width, width)
        hessian[:, index[:, None], index] += block

    def _cross(self, hessian, k, m, rows, bent):
        one, two = self.index[k], self.index[m]
        block = (bent @ self._products(k, m, rows)).reshape(-1, len(one), len(two))
        hessian[:, one[:, None], two] += block
        hessian[:, two[:, None], one] += block.transpose(0, 2, 1)

    def _products(self, k, m, rows):
        one, two = self.features[k][rows], self.features[m][rows]
        return (one[:, :, None] * two[:, None, :]).reshape(len(one), -1)
