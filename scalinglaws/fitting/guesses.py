"""Initial guesses by variable projection: for given exponents a sum of power terms is linear in its coefficients.

Golub and Pereyra 1973. Over a grid of exponents, coefficients >= 0 are solved by relative least squares from Gram
matrices alone; the best well-separated grid points start the solver.
"""

import numpy as np

from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.settings import MULTISTART


def initial_guesses(problem: Problem, count: int, seed: int) -> np.ndarray:
    """Internal starts [start, P] of a fit, at most count of them, from at most MULTISTART.subsample rows."""
    rng = np.random.default_rng(seed)
    data = problem.data
    few = len(data.y) <= MULTISTART.subsample
    pick = slice(None) if few else rng.choice(len(data.y), MULTISTART.subsample, replace=False)
    y = data.y[pick]
    scale = 1 / y if problem.objective.loss.logarithmic else np.full(len(y), 1 / np.abs(y).mean())
    if data.sigma is not None:
        scale = scale / data.sigma[pick]
    # only its ratios matter; a power of two changes no digit and keeps Gram matrices from underflowing to 0
    scale = scale / 2.0 ** np.floor(np.log2(scale.max()))
    with np.errstate(all="ignore"):
        if problem.law.function is None:
            return _power_sum(problem, pick, scale, count, rng)
        return problem.coordinates.internal(_autodiff(problem, pick, scale, count, rng))


def exponent_grid(lower, upper, rng) -> np.ndarray:
    """Points [point, exponent] that cover the box; exponents of falling terms on a square-root-like scale."""
    count = len(lower)
    if count >= len(MULTISTART.grid):
        return _stretch(rng.random((MULTISTART.draws, count)), lower, upper)
    axis = (np.arange(MULTISTART.grid[count]) + 0.5) / MULTISTART.grid[count]
    mesh = np.stack(np.meshgrid(*[axis] * count, indexing="ij"), axis=-1).reshape(-1, count)
    return _stretch(mesh, lower, upper)


def _stretch(unit, lower, upper):
    """[0, 1] to the box; dense near small falling exponents: 0.05 to 4 mostly."""
    low = MULTISTART.lowest_exponent
    falling = low * (np.minimum(upper, MULTISTART.highest_exponent) / low) ** unit
    either = MULTISTART.free_exponent * (2 * unit - 1)
    return np.where(lower >= 0, np.maximum(falling, lower), either)


def nonnegative(gram, right):
    """min c'Gc - 2 h'c with c >= 0 for every point: clipped exact solution, then coordinate descent."""
    count = gram.shape[-1]
    diagonal = np.einsum("gkk->gk", gram)
    ridge = MULTISTART.ridge * diagonal[:, :, None] * np.eye(count)
    c = np.linalg.solve(gram + ridge, right[:, :, None])[:, :, 0]
    outside = np.flatnonzero((c < 0).any(axis=1))
    c = np.maximum(c, 0.0)
    g, h, inner = gram[outside], right[outside], c[outside]
    for _ in range(MULTISTART.sweeps):
        for k in range(count):
            rest = h[:, k] - (g[:, k] * inner).sum(axis=1) + g[:, k, k] * inner[:, k]
            inner[:, k] = np.maximum(rest / g[:, k, k], 0.0)
    c[outside] = inner
    return c


def separated(points, loss, count):
    """Positions of the best points, no two of them close; distances in ranks of the grid."""
    order = np.argsort(loss, kind="stable")[: MULTISTART.shortlist * count]
    scale = np.ptp(points, axis=0) + 1e-12
    kept = []
    for k in order:
        if all(np.abs((points[k] - points[j]) / scale).max() > MULTISTART.distance for j in kept):
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
            few = len(one) * len(two) <= 20 * len(which[k])
            pairs = (one @ two.T)[which[k], which[m]] if few else np.einsum("gn,gn->g", one[which[k]], two[which[m]])
            gram[:, k, m] = gram[:, m, k] = pairs
    right = np.stack([(c @ target)[w] for c, w in zip(columns, which, strict=True)], axis=1)
    return gram, right


def _power_sum(problem, pick, scale, count, rng):
    """Internal guesses [start, P] for a sum of power terms on the picked rows; the misfit is scale [row] x (f - y)."""
    model, y = problem.objective.model, problem.data.y[pick]
    lower, upper = problem.coordinates.lower, problem.coordinates.upper
    coefficients = np.array([index[0] for index in model.index])
    exponents = np.setdiff1d(np.arange(model.count), coefficients)
    points = exponent_grid(lower[exponents], upper[exponents], rng)
    theta = np.zeros((len(points), model.count))
    theta[:, exponents] = points
    columns, which = [], []
    for index, features in zip(model.index, model.features, strict=True):
        choices, inverse = np.unique(theta[:, index[1:]], axis=0, return_inverse=True)
        columns.append(np.exp(np.clip(choices @ features[pick][:, 1:].T, -300, 300)) * scale)
        which.append(inverse.reshape(-1))
    gram, right = gram_tables(columns, which, y * scale)
    c = nonnegative(gram, right)
    misfit = np.einsum("gk,gkl,gl->g", c, gram, c) - 2 * (right * c).sum(axis=1)
    small = MULTISTART.smallest_coefficient * y.min()
    theta[:, coefficients] = np.log(np.maximum(c, small))
    return theta[separated(points, misfit, count)]


def _autodiff(problem, pick, scale, count, rng):
    """Natural guesses [start, P] for a law given as a function: drawn, linear parameters solved, scored."""
    law, y = problem.law, problem.data.y[pick]
    x = {symbol: values[pick] for symbol, values in problem.data.x.items()}
    if law.start is not None:
        return np.array([[law.start[name] for name in law.params]], float)
    draws = int(np.clip(MULTISTART.draw_numbers // len(y), MULTISTART.least_draws, MULTISTART.draws))
    named = law.draw(x, y, rng, draws) if law.draw else draw_ranges(law, x, y, rng, draws)
    with np.errstate(all="ignore"):
        named = solve_linear(law, x, y, scale, named) if law.linear else named
        theta = np.stack([np.broadcast_to(named[name], draws) for name in law.params], axis=1)
        value = law.curve(theta, x)
        misfit = np.log(value / y) if problem.objective.loss.logarithmic else (value - y) * scale
        loss = (misfit**2).sum(axis=1)
    good = np.isfinite(loss) & np.isfinite(theta).all(axis=1)
    if not good.any():
        return theta[:count]
    order = np.argsort(np.where(good, loss, np.inf), kind="stable")[: min(count, int(good.sum()))]
    return theta[order]


def draw_ranges(law, x, y, rng, draws) -> dict:
    """Draws from law.ranges: log-uniform in positive ranges, uniform in others; "x" or "y" is the data's range."""
    named = {}
    for name in law.params:
        edge = law.ranges.get(name, law.bounds.get(name, (0.0, np.inf) if name in law.positive else (-3.0, 3.0)))
        of_data = isinstance(edge, str)
        if of_data:
            values = y if edge == "y" else x[edge if edge in x else law.inputs[0]]
            edge = values.min(), values.max()
        low, high = edge
        if name in law.positive:
            low, high = low if low > 0 else 1e-2, high if np.isfinite(high) else 1e2
        low = max(low, -1e2)
        high = high if of_data else min(high, max(1e2, 10 * low))
        unit = rng.random(draws)
        named[name] = low * (high / low) ** unit if low > 0 else low + (high - low) * unit
    return named


def solve_linear(law, x, y, scale, named) -> dict:
    """The linear parameters of every draw by relative least squares; positive ones stay above zero."""
    draws = len(next(iter(named.values())))
    at = {name: values[:, None] for name, values in named.items()}
    off = at | {name: np.zeros((draws, 1)) for name in law.linear}
    base = law.function(**x, **off) + np.zeros_like(y)
    columns = [(law.function(**x, **off | {name: np.ones((draws, 1))}) - base) * scale for name in law.linear]
    stack = np.stack([np.broadcast_to(c, (draws, len(y))) for c in columns], axis=1)
    stack = np.where(np.isfinite(stack), stack, 0.0)
    right = np.einsum("gkn,gn->gk", stack, np.nan_to_num((y - base) * scale))
    gram = stack @ stack.transpose(0, 2, 1)
    size = np.sqrt(np.einsum("gkk->gk", gram)) + 1e-300
    unit = gram / size[:, :, None] / size[:, None, :] + MULTISTART.ridge * np.eye(len(columns))
    c = nonnegative(unit, right / size) / size
    free = [name not in law.positive for name in law.linear]
    if any(free):
        c = np.where(free, np.linalg.solve(unit, (right / size)[:, :, None])[:, :, 0] / size, c)
    low = np.where(free, -np.inf, 1e-4 * np.abs(y).min())
    return named | dict(zip(law.linear, np.maximum(c, low).T, strict=True))
