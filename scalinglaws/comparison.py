"""What compare() gives back: laws ranked on the same hidden rows, and their average by the weights of `stacking`."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, naive, stacking
from scalinglaws.schema import InputError


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Laws ranked on the same hidden rows, best first; see compare() for the columns of `ranked`."""

    ranked: pd.DataFrame
    quality: str
    column: str  # whose largest values were hidden
    level: float  # of the intervals in `inside`
    predictions: pd.DataFrame  # one row per law and hidden row: law, hidden_from, measured, predicted, low, high, error
    candidates: dict = field(default_factory=dict)  # name: Fit, naive.Last or naive.Average, of all rows
    logarithmic: bool = True  # predictions are averaged in ln quality

    @property
    def best(self) -> str | None:
        """The law with the smallest error on the hidden rows, or "same as last" where no law errs less than that.

        None unless two fitted laws were ranked. The forecast is an average of laws, and not named here.
        """
        ranked = self.ranked[self.ranked["held_out"].notna() & (self.ranked["law"] != naive.FORECAST)]
        return ranked["law"].iloc[0] if (ranked["law"] != naive.LAST).sum() > 1 else None

    @property
    def weights(self) -> dict:
        """The weight of each law in the average, largest first; laws that were not ranked have none."""
        held = self.ranked[self.ranked["weight"] > 0].sort_values("weight", ascending=False, kind="stable")
        return dict(zip(held["law"], held["weight"], strict=True))

    @property
    def notes(self) -> list[str]:
        """What is to be said of each law, where there is something."""
        return [f"{row.law}: {row.note}" for row in self.ranked.itertuples() if row.note]

    def predict(self, table, level=0.9) -> pd.DataFrame:
        """value, low, high of each row of `table` by the average of the laws with their weights.

        value is the median of the mixture, low and high the ends of its central interval, never of zero width. Where a
        law says nothing of a row (`forecast` within the measured rows), the others share its weight. Raises InputError
        where a column is missing, a level is not between 0 and 1, or no law is left.
        """
        if not 0 < level < 1:
            raise InputError(f"level must lie between 0 and 1; got {level!r}.")
        if self.column not in table:
            raise InputError(f"The average needs the column {self.column!r}; given were {', '.join(map(str, table))}.")
        out = pd.DataFrame(np.nan, table.index, ["value", "low", "high"])
        largest = max(one.table[self.column].max() for one in self.candidates.values())
        within = table[self.column].to_numpy(float) < largest
        for inner in (False, True):
            if (within == inner).any():
                out[within == inner] = self._mixture(table[within == inner], level, inner)
        return out

    def _mixture(self, table, level, within):
        held = {k: w for k, w in self.weights.items() if not (within and k == naive.FORECAST)}
        if not held:  # rows between the measured ones, where nothing was ranked
            held = dict.fromkeys([k for k in self.candidates if k != naive.FORECAST], 1.0)
        if not held:
            raise InputError("No law is left to predict between the measured rows: fit one, or collect more rows.")
        scale = np.log if self.logarithmic else np.asarray
        with np.errstate(all="ignore"):
            parts = [[scale(end) for end in self.candidates[k].predict(table, self.level)[["value", "low", "high"]]
                      .to_numpy(float).T] for k in held]  # fmt: skip
        stacked = stacking.halves(*np.moveaxis(np.array(parts), 1, 0), self.level)
        tail = (1 - level) / 2
        w = np.array(list(held.values())) / sum(held.values())
        ends = stacking.quantiles(w, stacked, [0.5, tail, 1 - tail]).T
        return np.exp(ends) if self.logarithmic else ends

    def _headline(self) -> str:
        hidden = self.ranked["hidden"].max()
        if np.isnan(hidden):
            return f"{self.quality}: no law could be ranked with the largest {self.column} hidden"
        said = {None: "no winner: fewer than two laws were ranked",
                naive.LAST: "no law predicts better than the last value"}  # fmt: skip
        best = said.get(self.best, f"{self.best} predicts best")
        if self.best and self.ranked["law"].iloc[0] == naive.FORECAST:
            best += ", the forecast (an average of laws) better still"
        return f"{self.quality}, {int(hidden)} rows of the largest {self.column} hidden: {best}"

    def _average(self) -> str:
        shares = ", ".join(f"{law} {weight:.0%}" for law, weight in self.weights.items())
        return f"The average of the laws (.predict): {shares}." if shares else "No law was ranked: there is no average."

    def __len__(self) -> int:
        return len(self.ranked)

    def __repr__(self) -> str:
        return f"Comparison({self._headline()})"

    def summary(self) -> str:
        """The ranking as text, with the weights and the notes."""
        table = display.text_table(self.ranked.drop(columns="note"))
        return "\n".join([self._headline(), table, self._average(), *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """One row per law, best first; the columns are those of compare()."""
        return self.ranked

    def _repr_html_(self) -> str:
        return display.html_page(
            self._headline(), self.ranked.drop(columns="note"), notes=[self._average(), *self.notes]
        )

    def plot(self, ax=None):
        """Predicted against measured quality of the hidden rows, with intervals, by law; returns the Axes."""
        from scalinglaws import plots

        return plots.predicted_against_measured(self.predictions, self.quality, ax)
