"""An effect with its interval and its power: how large it would have to be to be seen in such data.

Rows of one trained model share the model's own error, so the models, not the rows, are what was repeated: the
delete-one-model jackknife (Efron and Tibshirani 1993, chapter 11) with Student's t of one degree fewer than models.
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.schema import NoAnswer

POWER = 0.8  # probability with which the effect that could have been seen is seen


@dataclass(frozen=True)
class Effect:
    """An estimate, its interval and standard error, and the least effect seen with probability POWER."""

    value: float
    low: float
    high: float
    se: float
    detectable: float  # absolute, in the unit of the value

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def jackknife(estimate, table, by="model", level=0.9) -> list[Effect]:
    """Effects of `estimate(rows) -> [number]`, by leaving out each value of the column `by` in turn.

    Raises NoAnswer for fewer than three values.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"model": ["a", "b", "c", "d"], "x": [1.0, 2.0, 3.0, 6.0]})
    >>> (mean,) = jackknife(lambda rows: [rows["x"].mean()], rows)
    >>> f"{mean.value:.4f} {mean.se:.4f} {rows['x'].std() / 2:.4f}"
    '3.0000 1.0801 1.0801'
    """
    names = table[by].unique()
    if len(names) < 3:
        raise NoAnswer(f"An effect across {by} needs three values of it; the table has {len(names)}.")
    left = np.array([estimate(table[table[by] != name]) for name in names], float)
    error = np.sqrt((len(names) - 1) / len(names) * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    return [effect(v, s, len(names) - 1, level) for v, s in zip(estimate(table), error, strict=True)]


def effect(value, se, spare, level=0.9) -> Effect:
    """The Effect of an estimate with a standard error of `spare` degrees of freedom (infinite where it is known)."""
    from scipy.stats import t

    width = t.ppf((1 + level) / 2, spare)
    value, se = float(value), float(se)
    return Effect(
        value, float(value - width * se), float(value + width * se), se, float((width + t.ppf(POWER, spare)) * se)
    )
