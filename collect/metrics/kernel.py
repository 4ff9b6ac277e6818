"""Kernel distance: unbiased squared MMD with the kernel (x·y/d + 1)³, Bińkowski et al. 2018 (arXiv:1801.01401), eq. 4.

One U-statistic over the whole subsets, not a mean over random blocks: the same expectation as KID, less noise.
"""

import numpy as np

from scalinglaws.schema import InputError

ROWS = 128  # of a kernel matrix at once: what a cache holds


def kernel_sums(x, y):
    """Sum of the kernel of each row of x to all rows of y, float64 [row of x]."""
    columns = y.T / x.shape[1]
    sums = np.empty(len(x))
    for i in range(0, len(x), ROWS):
        base = x[i : i + ROWS] @ columns
        base += 1
        sums[i : i + ROWS] = np.einsum("ij,ij,ij->i", base, base, base)
    return sums


def others(x):
    """Mean kernel of each row to the other rows."""
    own = ((x * x).sum(1) / x.shape[1] + 1) ** 3
    return (kernel_sums(x, x) - own) / (len(x) - 1)


def kernel_mean(x):
    """Mean kernel between two different rows."""
    if len(x) < 2:
        raise InputError(f"The reference keeps {len(x)} image(s): a kernel distance needs at least 2, and many more.")
    return float(others(x).mean())


def kernel_distance(features, reference):
    """(distance, standard error) of features [sample, d] against a Reference's subset; the error is that of drawing
    the samples again: twice the spread of a sample's mean kernel to the others less that to the real images."""
    x, n = np.asarray(features, np.float64), len(features)
    if n < 2:
        raise InputError(f"{n} sample(s) have no kernel distance: it needs at least 2, better thousands.")
    own, across = others(x), kernel_sums(x, reference.subset) / len(reference.subset)
    distance = own.mean() + reference.own_kernel - 2 * across.mean()
    return float(distance), float(2 * (own - across).std(ddof=1) / np.sqrt(n))
