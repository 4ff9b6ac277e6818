"""Where to start: variable projection. For given exponents a sum of power terms is linear in its coefficients.

Golub and Pereyra 1973. Over a grid of exponents, coefficients >= 0 are solved by relative least squares from Gram
matrices alone; the best well-separated grid points start the solver.
"""

import numpy as np

GRID = {0: 1, 1: 64, 2: 24, 3: 11, 4: 6}  # exponents -> points on each axis
DRAWS = 1_500  # grid points beyond four exponents
SUBSAMPLE = 2_048  # rows used to find starts


def exponent_grid(lower, upper, rng) -> np.ndarray:
    """Points [point, exponent] that cover the box; exponents of falling terms on a square-root-like scale."""
    count = len(lower)
    if count not in GRID:
        return _stretch(rng.random((DRAWS, count)), lower, upper)
    axis = (np.arange(GRID[count]) + 0.5) / GRID[count]
    mesh = np.stack(np.meshgrid(*[axis] * count, indexing="ij"), axis=-1).reshape(-1, count)
    return _stretch(mesh, lower, upper)


def _stretch(unit, lower, upper):
    """[0, 1] to the box; dense near small falling exponents: 0.05 to 4 mostly."""
    falling = lower >= 0
    up = 0.03 * (np.minimum(upper, 6.0) / 0.03) ** unit
    both = 1.5 * (2 * unit - 1)
    return np.where(falling, np.maximum(up, lower), both)


def nonnegative(gram, right, sweeps=30):
    """min c'Gc - 2 h'c with c >= 0 for every point: clipped exact solution, then coordinate descent."""
    count = gram.shape[-1]
    diagonal = np.einsum("gkk->gk", gram)
    ridge = 1e-12 * diagonal[:, :, None] * np.eye(count)
    c = np.linalg.solve(gram + ridge, right[:, :, None])[:, :, 0]
    outside = np.flatnonzero((c < 0).any(axis=1))
    c = np.maximum(c, 0.0)
    g, h, inner = gram[outside], right[outside], c[outside]
    for _ in range(sweeps):
        for k in range(count):
            rest = h[:, k] - (g[:, k] * inner).sum(axis=1) + g[:, k, k] * inner[:, k]
            inner[:, k] = np.maximum(rest / g[:, k, k], 0.0)
    c[outside] = inner
    return c


def separated(points, loss, count):
    """Positions of the best points, no two of them close; distances in ranks of the grid."""
    order = np.argsort(loss, kind="stable")[: 40 * count]
    scale = np.ptp(points, axis=0) + 1e-12
    kept = []
    for k in order:
        if all(np.abs((points[k] - points[j]) / scale).max() > 0.04 for j in kept):
            kept.append(k)
        if len(kept) == count:
            break
    return np.array(kept)


def gram_tables(columns, which, target):
    """Gram matrices [point, term, term] and right sides [point, term] without a [point, row] table.

    columns: per term [choice, row]; which: per term [point], the choice made at each grid point.
    """
    gram = np.empty((len(which[0]), len(columns), len(columns)))
    for k, one in enumerate(columns):
        for m, two in enumerate(columns[: k + 1]):
            gram[:, k, m] = gram[:, m, k] = (one @ two.T)[which[k], which[m]]
    right = np.stack([(c @ target)[w] for c, w in zip(columns, which, strict=True)], axis=1)
    return gram, right


def power_seeds(index, features, box, y, scale, count, rng):
    """Starts [start, parameter] for a sum of power terms.

    index, features: as in PowerSum; box: lower and upper [parameter]; y, scale [row]: the misfit is scale (f - y).
    """
    coefficients = np.array([i[0] for i in index])
    exponents = np.setdiff1d(np.arange(len(box[0])), coefficients)
    points = exponent_grid(box[0][exponents], box[1][exponents], rng)
    theta = np.zeros((len(points), len(box[0])))
    theta[:, exponents] = points
    columns, which = [], []
    for i, x in zip(index, features, strict=True):
        choices, inverse = np.unique(theta[:, i[1:]], axis=0, return_inverse=True)
        columns.append(np.exp(np.clip(choices @ x[:, 1:].T, -300, 300)) * scale)
        which.append(inverse.reshape(-1))
    gram, right = gram_tables(columns, which, y * scale)
    c = nonnegative(gram, right)
    misfit = np.einsum("gk,gkl,gl->g", c, gram, c) - 2 * (right * c).sum(axis=1)
    small = 1e-3 * y.min()
    theta[:, coefficients] = np.log(np.maximum(c, small))
    return theta[separated(points, misfit, count)]
