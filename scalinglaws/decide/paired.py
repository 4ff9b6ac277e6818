"""One choice against another with everything else the same: paired ratios of a quality, such as of forward processes.

Rows that agree in every other setting make a pair; the logarithm of the ratio of their qualities is averaged over the
pairs. Pairs of one training repeat only the sampling: how much two trainings of one recipe differ is not in the
interval; a note says so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import display, schema
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import need, rows_of
from scalinglaws.schema import InputError, NoAnswer

COSTS = ("nfe",)  # of kind steps, but a consequence of the choice, not a setting of its own
SIZES = ("params", "flops_per_forward", "base_channels", "model")  # the first that is full says which models are alike
LEAST = 2  # pairs that an interval takes


@dataclass(frozen=True)
class Paired:
    """One row per value of the column: value, pairs, ratio (geometric mean of quality over the standard's), low, high,
    detectable (ratio that would be seen with probability 0.8; the other side is its inverse), better ('yes', 'no',
    'undecided'). pairs: one row per pair: value, pair (the settings in words), quality, standard, ratio.
    """

    rows: pd.DataFrame
    pairs: pd.DataFrame
    column: str
    standard: str
    quality: str
    level: float
    notes: tuple[str, ...] = ()

    def __repr__(self):
        return f"<Paired: {self.answer}>"

    @property
    def answer(self) -> str:
        """One sentence: the ratios, with intervals."""
        return f"{self.headline}."

    @property
    def headline(self) -> str:
        """The ratios, with intervals."""
        said = "; ".join(
            f"{r.value} {r.ratio:.3f} ({r.low:.3f} to {r.high:.3f}, {r.pairs} pairs, better: {r.better})"
            for r in self.rows.itertuples()
        )
        return f"{self.quality} over that of {self.column} {self.standard}, everything else the same: {said}"

    def summary(self) -> str:
        """The rows and what to know of them."""
        return "\n".join([display.text_table(self.rows), *self.notes, self.answer])

    def to_frame(self) -> pd.DataFrame:
        """One row per value."""
        return self.rows.copy()

    def _repr_html_(self):
        return display.html_page(f"{self.quality} against {self.column} {self.standard}", self.rows, notes=self.notes)

    def plot(self, ax=None):
        """The ratio of every pair, and the means with their intervals; returns the matplotlib Axes."""
        from scalinglaws.figures import intervals

        means = self.rows.assign(label=self.rows["value"].astype(str) + ", mean", group="mean")
        single = self.pairs.assign(label=self.pairs["value"].astype(str) + ", " + self.pairs["pair"], group="pair")
        single = single.drop(columns="value").rename(columns={"ratio": "value"})
        single = single.assign(low=single["value"], high=single["value"])
        means = means.drop(columns="value").rename(columns={"ratio": "value"})
        kept = ["label", "group", "value", "low", "high"]
        text = f"{self.quality} over that of {self.standard}"
        return intervals(pd.concat([means[kept], single[kept]], ignore_index=True), text, ax, reference=1.0)


@checked
def paired(source, column, standard, quality="fd", *, where=None, level=0.9) -> Paired:
    """The Paired ratios of every other value of `column` to `standard`, paired by all other settings.

    source: a bundled study, a file or a frame. InputError where the column or the standard is missing, NoAnswer where
    no pair is left.
    """
    level = check_level(level)
    table = rows_of(source, where)
    need(table, (column, quality))
    table = table[table[quality].notna() & table[column].notna()]
    values = table[column].astype(str)
    if standard not in set(values):
        raise InputError(f"No row has {column} {standard!r}: the table has {', '.join(sorted(set(values)))}.")
    size = [c for c in SIZES if c in table and table[c].notna().all()][:1]
    same = [c for c in (*size, *schema.unpooled()) if c in table and c != column and c not in COSTS]
    same = [c for c in dict.fromkeys(same) if table[c].nunique(dropna=False) > 1]
    key = table[same].astype(str).agg(", ".join, axis=1) if same else pd.Series("all", table.index)
    means = table.assign(value=values, pair=key).groupby(["pair", "value"], sort=False)[quality].mean().unstack()
    pairs = means.melt(ignore_index=False, value_name=quality).reset_index()
    pairs = pairs[pairs["value"] != standard].assign(standard=lambda t: t["pair"].map(means[standard])).dropna()
    pairs["ratio"] = pairs[quality] / pairs["standard"]
    if pairs.empty:
        raise NoAnswer(f"No row shares all other settings with one of {column} {standard}.")
    rows = [_row(value, part["ratio"], quality, level) for value, part in pairs.groupby("value", sort=False)]
    return Paired(pd.DataFrame(rows), pairs.reset_index(drop=True), column, standard, quality, level, _notes(table))


def _row(value, ratios, quality, level):
    """The geometric mean of ratios [pair] with Student's interval; infinite for a single pair."""
    logs = np.log(ratios.to_numpy(float))
    if len(logs) < LEAST:
        low, high, seen = 0.0, np.inf, np.inf
    else:
        found = effect(logs.mean(), logs.std(ddof=1) / np.sqrt(len(logs)), len(logs) - 1, level)
        low, high, seen = np.exp([found.low, found.high, found.detectable])
    sign = schema.higher_is_better(quality)
    better = "undecided" if low <= 1 <= high else "yes" if (high < 1) != sign else "no"
    return {"value": value, "pairs": len(logs), "ratio": float(np.exp(logs.mean())), "low": float(low),
            "high": float(high), "detectable": float(seen), "better": better}  # fmt: skip


def _notes(table):
    """What the intervals leave out."""
    seeds = table["train_seed"].nunique() if "train_seed" in table else 0
    return () if seeds > 1 else (
        "One training of each: the intervals are over sampling settings and sizes, not over trainings.",
    )  # fmt: skip
