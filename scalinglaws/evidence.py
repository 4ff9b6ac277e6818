"""What the values of a table say where its names say nothing: which rows are unlike, and which way a quality goes.

tell_apart(table, quality, inputs)    a column that nobody knows, whose values explain why rows of one point differ
rises(table, quality, inputs)         whether a quality is larger at the large end of its inputs than at the small end

Both are tests, not rules by name: a column `arch` with a network that is 10 % better everywhere is found, a column with
the names of random seeds is not, since a seed of one size knows nothing of the same seed of another.
"""

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from scalinglaws import schema

SURE = 1e-3  # p-value, divided by the columns tested, below which rows are taken to be unlike
EXPLAINED = 0.25  # share of the differences within points that a column must explain to matter
CLEAR = 3.0  # t-value of the change from the small to the large end beyond which a quality rises
FALLING = {"loss", "losses", "ppl", "perplexity", "nll", "bpb", "bpd", "error", "err", "rmse", "mse", "mae", "wer",
           "cer", "fid", "fd", "kid", "mmd", "distance", "lpips"}  # fmt: skip


def repeating(table, quality, inputs, chosen=()):
    """Columns unknown to the schema, and `model`, whose values recur and differ between rows of one point."""
    points = table.groupby([*inputs, *chosen], dropna=False)
    own = [c for c in table.columns if c not in schema.COLUMNS and c not in (quality, *inputs, *chosen)]
    named = [c for c in [*own, "model"] if c in table and not str(c).endswith("_se")]
    recurring = [c for c in named if 1 < table[c].nunique() <= len(table) / 2]
    return [c for c in recurring if (points[c].nunique() > 1).any()]


def tell_apart(table, quality, inputs, chosen=()):
    """Of `repeating` columns the one that explains best why rows of one point differ, or None.

    The F test of its values in ln quality, one mean a size and value, differences of the sizes (of the points, where
    there is one size) removed. The column with the fewest values is named first.
    """
    columns = repeating(table, quality, inputs, chosen)
    y = np.log(table[quality].to_numpy(float))
    point = table.groupby([*inputs, *chosen], dropna=False).ngroup()
    first = next(iter(inputs))
    unit = table.groupby([first, *chosen], dropna=False).ngroup() if table[first].nunique() > 1 else point
    left = pd.Series(y, table.index) - pd.Series(y, table.index).groupby(point).transform("mean")
    found = [c for c in columns if _explains(left, unit, point, table[c], SURE / len(columns))]
    return min(found, key=lambda c: (c == "model", table[c].nunique()), default=None)


def _explains(left, unit, point, values, sure):
    """Whether `values` explain what is `left` within points, alike in every unit."""
    codes = pd.Series(pd.factorize(values, use_na_sentinel=False)[0], left.index)
    dummies = pd.get_dummies(codes).astype(float)
    dummies = dummies - dummies.groupby(point).transform("mean")
    fit = _projected(dummies.to_numpy(), left.to_numpy())
    total = float((left**2).sum())
    if total == 0 or float(fit @ fit) < EXPLAINED * total:
        return False
    cells = pd.DataFrame({"left": left, "unit": unit, "code": codes}).groupby(["unit", "code"])["left"].mean()
    cells = cells.reset_index()
    wide = pd.get_dummies(cells["code"]).astype(float)
    wide = wide - wide.groupby(cells["unit"]).transform("mean")
    y = cells["left"] - cells.groupby("unit")["left"].transform("mean")
    explained = _projected(wide.to_numpy(), y.to_numpy())
    freedom = int(np.linalg.matrix_rank(wide.to_numpy()))
    spare = len(cells) - cells["unit"].nunique() - freedom
    if not freedom or spare < 1:
        return False
    rest = max(float(((y - explained) ** 2).sum()), 1e-24)
    return fdtrc(freedom, spare, float(explained @ explained) / freedom / (rest / spare)) < sure


def _projected(x, y):
    """y as the columns of x explain it, by least squares."""
    return x @ np.linalg.lstsq(x, y, rcond=None)[0]


def rises(table, quality, inputs):
    """Whether ln quality clearly rises from the small end of all inputs to the large one, along a straight line in ln.

    >>> table = pd.DataFrame({"params": [1e7, 1e8, 1e9, 1e10], "hits": [0.5, 0.61, 0.68, 0.74]})
    >>> rises(table, "hits", ["params"])
    True
    """
    y, x = np.log(table[quality].to_numpy(float)), np.log(table[list(inputs)].to_numpy(float))
    ends = np.ptp(x, axis=0)
    design = np.column_stack([np.ones(len(y)), x])
    spare = len(y) - np.linalg.matrix_rank(design)
    coefficients = np.linalg.pinv(design) @ y
    change = float(coefficients[1:] @ ends)
    if spare < 1:
        return change > 0
    noise = ((y - design @ coefficients) ** 2).sum() / spare
    reach = np.concatenate([[0.0], ends])
    error = np.sqrt(noise * reach @ np.linalg.pinv(design.T @ design) @ reach)
    return bool(change > CLEAR * error)
