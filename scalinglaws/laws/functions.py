"""Laws that are no sum of power terms, each with its starts. Symbols are those of the papers where they fit."""

import numpy as np


def kaplan(N, D, A, a, B, b):
    """L = ((A/N)^(a/b) + B/D)^b. Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5; A and B in units of N and D."""
    return np.exp(b * np.logaddexp((a / b) * np.log(A / N), np.log(B / D)))


def kaplan_starts(x, y, rng, count):
    """Exponents at random; A and B so that each term explains a random share of the middle of the data."""
    a, b = _log_uniform(rng, 0.03, 1.5, count), _log_uniform(rng, 0.03, 1.5, count)
    share = rng.uniform(0.05, 0.95, count)
    middle = {symbol: np.exp(np.log(v).mean()) for symbol, v in x.items()}
    level = np.exp(np.log(y).mean() + rng.normal(0, 0.2, count))
    return {
        "a": a, "b": b, "A": middle["N"] * (share * level ** (1 / b)) ** (b / a),
        "B": middle["D"] * (1 - share) * level ** (1 / b),
    }  # fmt: skip


def bnsl(breaks: int):
    """Smoothly broken power law with this many breaks. Caballero et al. 2022, arXiv:2210.14891, eq. 1:

    y = E + B x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i).
    """

    def law(x, E, B, c0, **breaks_):
        steps = np.log(x)
        log = np.log(B) - c0 * steps
        for i in range(1, breaks + 1):
            c, d, f = (breaks_[f"{name}{i}"] for name in "cdf")
            log = log - c * f * np.logaddexp(0.0, (steps - np.log(d)) / f)
        return E + np.exp(log)

    return law


def bnsl_params(breaks: int) -> tuple[str, ...]:
    """Names of the parameters of bnsl: E and B (a and b in the paper), c0, and c_i, d_i, f_i of each break."""
    return ("E", "B", "c0", *(f"{name}{i}" for i in range(1, breaks + 1) for name in "cdf"))


def bnsl_starts(breaks: int):
    """Floor, breaks and their sharpness at random; B, c0 and c_i by linear least squares of ln(y - E)."""

    def draw(x, y, rng, count):
        steps = np.log(x[next(iter(x))])
        floor = y.min() * (1 - _log_uniform(rng, 1e-4, 1.0, count))
        ends = steps.min(), steps.max()
        d = np.sort(rng.uniform(*ends, (count, breaks)), axis=1)
        f = _log_uniform(rng, 0.05, 2.0, (count, breaks))
        hinges = f[:, :, None] * np.logaddexp(0.0, (steps - d[:, :, None]) / f[:, :, None])
        one = np.broadcast_to(np.ones_like(steps), (count, 1, len(steps)))
        design = np.concatenate([one, -steps * one, -hinges], axis=1)
        target = np.log(y - floor[:, None])
        gram = design @ design.transpose(0, 2, 1)
        gram = gram + 1e-9 * np.einsum("gkk->gk", gram)[:, :, None] * np.eye(breaks + 2)
        c = np.linalg.solve(gram, design @ target[:, :, None])[:, :, 0]
        named = {"E": np.maximum(floor, 1e-6 * y.min()), "B": np.exp(np.clip(c[:, 0], -300, 300)), "c0": c[:, 1]}
        for i in range(breaks):
            named |= {f"c{i + 1}": c[:, 2 + i], f"d{i + 1}": np.exp(d[:, i]), f"f{i + 1}": f[:, i]}
        return named

    return draw


def m4(x, L, U, k, B, c):
    """(y - L) / (U - y)^k = B x^-c, solved for y. Alabdulmohsin et al. 2022, arXiv:2209.06640, estimator M4.

    L: value at infinite x, U: value at chance. With y = L + (U - L) s the equation is G(s, k) = ln s - k ln(1 - s) = r,
    r the right side, and s a function of r and k alone. Newton's method finds it in plain numbers; with the derivatives
    of the implicit function its Taylor polynomial of second order, in the number type of the parameters, carries first
    and second derivatives exactly.
    """
    width = U - L
    right = np.log(B) + c * -np.log(x) + (k - 1.0) * np.log(width)
    r, power = _plain(right), _plain(k)
    t = _logit(r, power)
    s, rest = np.exp(-np.logaddexp(0.0, -t)), np.exp(-np.logaddexp(0.0, t))  # s and 1 - s
    above, slope = np.logaddexp(0.0, t), rest + power * s  # -ln(1 - s), and s (1 - s) dG/ds
    by_r = s * rest / slope  # ds/dr, and ds/dk = -above ds/dr
    bent = by_r * (rest**2 - power * s**2) / slope**2  # d²s/dr²
    share = by_r * s / slope
    mixed = -above * bent - share  # d²s/dr dk
    twice = above * (share - mixed)  # d²s/dk²
    off, more = right - r, k - power  # 0, with the derivatives of r and k
    grown = off * (by_r + 0.5 * bent * off + mixed * more) + more * (0.5 * twice * more - above * by_r)
    return L + width * (s + grown)


def _plain(number):
    """The value of a number that carries derivatives."""
    return getattr(number, "value", number)


def _logit(right, k, steps=12):
    """t that solves ln s - k ln(1 - s) = right with s = 1 / (1 + e^-t), to 1e-8 or in 12 steps of Newton's method.

    The left side is t far below zero and k t far above: that is where it begins.
    """
    t = np.where(right < 0, right, right / k)
    for _ in range(steps):
        below = np.logaddexp(0.0, -t)  # -ln s; -ln(1 - s) is t more
        s = np.exp(-below)
        miss = (k * (below + t) - below - right) / (1.0 - s + k * s)
        t = t - miss
        if not (np.abs(miss) > 1e-8 * (1.0 + np.abs(t))).any():
            break
    return t


def m4_starts(x, y, rng, count):
    """Bounds L and U outside the data, exponents at random; B from the mean of the rest in logarithms."""
    k, c = _log_uniform(rng, 0.2, 5.0, count), _log_uniform(rng, 0.05, 3.0, count)
    low = y.min() * (1 - _log_uniform(rng, 1e-3, 1.0, count))
    high = y.max() * (1 + _log_uniform(rng, 1e-3, 10.0, count))
    steps = np.log(x[next(iter(x))])
    each = np.log(y - low[:, None]) - k[:, None] * np.log(high[:, None] - y) + c[:, None] * steps
    return {"L": np.maximum(low, 1e-6 * y.min()), "U": high, "k": k, "B": np.exp(each.mean(axis=1)), "c": c}


def ceiling(x, C, A, a):
    """A score that rises to a ceiling: C - A x^-a."""
    return C - A * x**-a


def size_steps_ceiling(N, S, C, A, a, B, b):
    """A score that rises to a ceiling in size and steps: C - A N^-a - B S^-b."""
    return C - A * N**-a - B * S**-b


def sigmoid(x, C, m, a):
    """A score that rises from zero to a ceiling, half of it at x = m: C / (1 + (m/x)^a)."""
    return C * np.exp(-np.logaddexp(0.0, a * (np.log(m) - np.log(x))))


def guidance(w, E, K, W):
    """Best guidance W, quadratic in ln w around it: E + K ln(w/W)^2."""
    return E + K * (np.log(w) - np.log(W)) ** 2


def guidance_size(N, w, E, A, a, K, W, m):
    """Quality in size and guidance; the best guidance W N^m moves with size."""
    return E + A * N**-a + K * (np.log(w) - np.log(W) - m * np.log(N)) ** 2


def guidance_size_steps(N, S, w, E, A, a, B, b, K, W, m, k):
    """Quality in size, steps and guidance; the best guidance W N^m S^k moves with both."""
    turn = np.log(w) - np.log(W) - m * np.log(N) - k * np.log(S)
    return E + A * N**-a + B * S**-b + K * turn**2


def guidance_starts(x, y, rng, count):
    """Exponents at random; the best guidance somewhere among those measured in the middle of sizes and steps."""
    m, k = (rng.uniform(-0.5, 0.5, count) * (rng.random(count) < 0.7) for _ in range(2))
    best = _log_uniform(rng, x["w"].min(), x["w"].max(), count)
    named = {"a": _log_uniform(rng, 0.05, 2.0, count), "m": m, "W": best * np.exp(-m * np.log(x["N"]).mean())}
    if "S" not in x:
        return named
    named["W"] = named["W"] * np.exp(-k * np.log(x["S"]).mean())
    return named | {"b": _log_uniform(rng, 0.2, 3.0, count), "k": k}


def _log_uniform(rng, low, high, shape):
    return low * (high / low) ** rng.random(shape)
