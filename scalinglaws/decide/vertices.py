"""The best value of an input between measured ones, and the law of such optima in size and steps.

An optimum is the vertex of the parabola through the best measured point and the two beside it. Where the best measured
is the first or the last, it is known only to lie beyond the middle of the last two, and enters the law as that bound:

    ln best = ln centre + m ln(size) + k ln(steps)      `censored.censored_line`, models as groups
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws.decide.censored import ABOVE, BELOW, INSIDE, CensoredLine, censored_line

EXPONENTS = {"size": "exponent of size", "steps": "exponent of steps"}  # column: term of the law


@dataclass(frozen=True)
class Vertex:
    """Where a loss along x is least: the place, or its bound where `side` is above or below, and its interval."""

    place: float
    side: str
    low: float
    high: float
    inside: np.ndarray  # places of the draws whose optimum is no bound


def vertices(x, loss):
    """(place [n], side [n]) of the least loss [n, k] along rising x [k].

    Inside: the vertex of the parabola through the least value and its two neighbours. At an end of x: the middle of the
    last two, beyond which the optimum of any symmetric curve lies; side is then above or below.

    >>> place, side = vertices(np.array([0.0, 1.0, 2.0]), np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 2.0]]))
    >>> place.tolist(), side.tolist()
    ([1.0, 0.5], ['', 'below'])
    """
    k = loss.argmin(axis=1)
    mid, row = np.clip(k, 1, len(x) - 2), np.arange(len(loss))
    a, b, c = x[mid - 1], x[mid], x[mid + 1]
    fa, fb, fc = (loss[row, mid + d] for d in (-1, 0, 1))
    with np.errstate(all="ignore"):
        bend = (b - a) * (fb - fc) - (b - c) * (fb - fa)
        inside = b - ((b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)) / (2 * bend)
    low, high = (x[0] + x[1]) / 2, (x[-2] + x[-1]) / 2
    side = np.where(k == 0, BELOW, np.where(k == len(x) - 1, ABOVE, INSIDE))
    place = np.where(side == BELOW, low, np.where(side == ABOVE, high, np.where(np.isfinite(inside), inside, b)))
    return place, side


def locate(x, loss, drawn, level, ends=(-np.inf, np.inf)) -> Vertex:
    """The Vertex of a loss [k] along rising x [k], its interval that of the draws [draw, k].

    ends: where the optimum of a draw lies at least and at most that is below or above x.
    """
    place, side = vertices(x, np.concatenate([loss[None], drawn]))
    least, most = np.where(side == BELOW, ends[0], place)[1:], np.where(side == ABOVE, ends[1], place)[1:]
    low = np.quantile(least, (1 - level) / 2, method="nearest")
    high = np.quantile(most, (1 + level) / 2, method="nearest")
    return Vertex(float(place[0]), str(side[0]), float(low), float(high), place[1:][side[1:] == INSIDE])


def typical_setting(settings) -> dict:
    """{size, steps}: their geometric means, at which the law is centred."""
    return {c: float(np.exp(np.log(settings[c].astype(float)).mean())) for c in EXPONENTS}


def law_of_optima(settings, optima, symbol, level) -> tuple[pd.DataFrame, CensoredLine]:
    """(term, value, low, high; the line in logs): the first term is the optimum at the typical size and steps.

    settings: one row each, model, size, steps, beyond (INSIDE, ABOVE or BELOW) and s, the standard error of ln optimum;
    a bound has the median error of the others, of which there must be one. optima [row]: the optimum or its bound.
    """
    typical = typical_setting(settings)
    varied = [c for c in EXPONENTS if settings[c].nunique() > 1]
    columns = [np.log(settings[c].to_numpy(float) / typical[c]) for c in varied]
    inside = settings["beyond"] == INSIDE
    s = np.where(inside, settings["s"], settings.loc[inside, "s"].median())
    line = censored_line(np.stack([np.ones(len(settings)), *columns], axis=1), np.log(optima), settings["beyond"], s,
                         settings["model"].astype(str), level)  # fmt: skip
    rows = [(f"{symbol} at the typical size and steps", *np.exp([line.beta[0], line.low[0], line.high[0]]))]
    rows += [(EXPONENTS[c], line.beta[k], line.low[k], line.high[k]) for k, c in enumerate(varied, 1)]
    return pd.DataFrame(rows, columns=["term", "value", "low", "high"]), line
