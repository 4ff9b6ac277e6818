"""Does the best size change with the budget: from which one to which, where, and whether it was measured there."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide import measured
from scalinglaws.decide.cost import UNITS, pricing
from scalinglaws.decide.fitted import whole
from scalinglaws.decide.optimum import at_budgets

BUDGETS = 60  # along the measured costs


@dataclass(frozen=True)
class Reversal:
    """The best size along the budget: by the law, and the best that was measured.

    changes: one row per stretch of budgets with one best size: budget (its first), model, steps, probability (of being
    the best, there), measured (the best measured size there).
    """

    changes: pd.DataFrame
    quality: str
    unit: str
    largest: str

    def __repr__(self):
        return f"<Reversal: {self.answer}>"

    @property
    def answer(self) -> str:
        """One sentence: the best size at the smallest and the largest measured budget."""
        first, last = self.changes.iloc[0], self.changes.iloc[-1]
        if len(self.changes) == 1:
            return f"By {self.quality} {first.model} is the best size at every measured budget: nothing reverses."
        sure = f"probability {first.probability:.2f} and {last.probability:.2f}, "
        sure += f"measured {first.measured} and {last.measured}"
        top = "the largest" if last.model == self.largest else "not the largest"
        return (
            f"By {self.quality} the best size goes from {first.model} at {first.budget:.3g} {self.unit} per image to "
            f"{last.model}, {top}, from {last.budget:.3g} on, at {display.count(last.steps, 'step')} there ({sure})."
        )

    def summary(self) -> str:
        """The sentence and the stretches."""
        return f"{self.answer}\n{display.text_table(self.changes)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per stretch of budgets."""
        return self.changes.copy()

    def _repr_html_(self):
        return display.html_page("The best size along the budget", self.changes, notes=[self.answer])

    def plot(self, ax=None):
        """Where each stretch begins, with the steps of its best size; returns the matplotlib Axes."""
        from scalinglaws import plots

        points = self.changes.assign(x=self.changes["budget"], y=self.changes["steps"].astype(float))
        points = points.assign(label=points["model"].astype(str))
        return plots.band(None, points, f"{self.unit} per image", "steps of the best size", ax)


def reversal(fit, unit="flops", budgets=BUDGETS):
    """The Reversal of a fit in size and steps, over budgets between the least and the largest measured cost."""
    law = whole(fit)
    cost = pricing(unit=unit)(law.table, law.size_column, law.steps_column)
    spent = cost.per_row(law.table)
    along = np.geomspace(spent.min(), spent.max(), budgets)
    table = at_budgets(fit, along, cost=cost)
    best = table[table["best"].astype(bool)].sort_values("budget")
    seen = measured.winners(law.table, along, fit.quality, cost, law.rises).set_index("budget")["model"].astype(str)
    best = best.assign(model=best["model"].astype(str), measured=seen.loc[best["budget"]].to_numpy())
    first = best[best["model"] != best["model"].shift()]
    largest = str(table.loc[table["size"].idxmax(), "model"])
    kept = first[["budget", "model", "steps", "probability", "measured"]].reset_index(drop=True)
    return Reversal(kept, fit.quality, UNITS[cost.unit], largest)
