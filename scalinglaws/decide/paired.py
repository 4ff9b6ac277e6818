"""One choice against another with everything else the same: paired ratios of a quality, such as of forward processes.

Rows that agree in every other setting make a pair; the logarithm of the ratio of their qualities is averaged over the
pairs. Where each size was trained from several seeds, a pair is one training (a size and a seed) beside the standard's:
its sampling settings, which repeat no training, are averaged first. Where what is compared is a matter of training and
three sizes or more were trained once for each value, a pair is a size, for the same reason: of 60 simulated tables of
four sizes, three step counts and an error of 5 % a training, intervals over all pairs held the truth in 62 %. Else how
much two trainings of one recipe differ is not in the interval; a note says so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from scalinglaws import display, schema
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import check_direction, need, rows_of
from scalinglaws.fitting.levels import is_sampling
from scalinglaws.schema import InputError, NoAnswer

COSTS = ("nfe",)  # of kind steps, but a consequence of the choice, not a setting of its own
SIZES = ("params", "flops_per_forward", "base_channels", "model")  # the first that is full says which models are alike
LEAST = 2  # pairs that an interval takes
SEVERAL = 3  # sizes, from which on they are what was repeated


@dataclass(frozen=True)
class Paired:
    """One row per value of the column: value, pairs, ratio (geometric mean of quality over the standard's), low, high,
    detectable (ratio that would be seen with probability 0.8; the other side is its inverse), better ('yes', 'no',
    'undecided'). pairs: one row per pair: value, pair (its settings; of trainings the size), quality, standard, ratio.
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
        """The ratio of every pair, or of every size over its trainings, and the means with their intervals."""
        from scalinglaws.figures import intervals

        means = self.rows.assign(label=self.rows["value"].astype(str) + ", mean", group="mean")
        same = self.pairs.groupby(["value", "pair"], sort=False)["ratio"]
        single = pd.DataFrame(
            [_row(value, ratios, self.quality, self.level) | {"pair": pair} for (value, pair), ratios in same]
        )
        alone = single["pairs"] < LEAST
        single = single.assign(low=single["low"].where(~alone, single["ratio"]),
                               high=single["high"].where(~alone, single["ratio"]))  # fmt: skip
        single = single.assign(label=single["value"].astype(str) + ", " + single["pair"], group="pair")
        single = single.drop(columns="value").rename(columns={"ratio": "value"})
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
    check_direction(table, quality)
    values, same = table[column].astype(str), table[column] == pd.to_numeric(standard, errors="coerce")
    if same.any():  # 2 and "2" are the number 2.0
        standard = values[same].iloc[0]
    if standard not in set(values):
        raise InputError(f"No row has {column} {standard!r}: the table has {', '.join(sorted(set(values)))}.")
    size = _size(table)
    same = [c for c in schema.unpooled() if c in table and c not in (column, *COSTS, *size)]
    same = [*size, *(c for c in same if _varies(table, c, size))]
    seeds = ["train_seed"] if _trained_again(table, values, standard) else []
    table = table.assign(value=values, pair=_words(table, same), size=_words(table, size))
    trained = bool(seeds) or (bool(size) and not is_sampling(column) and _sizes(table, standard) >= SEVERAL)
    kept = ["pair", "size", *seeds]
    means = table.groupby([*kept, "value"], sort=False)[quality].mean().unstack()
    pairs = means.melt(ignore_index=False, value_name=quality).set_index("value", append=True)[quality]
    pairs = pairs.reset_index().merge(means[standard].rename("standard").reset_index(), on=kept)
    pairs = pairs[pairs["value"] != standard].dropna()
    if pairs.empty:
        raise NoAnswer(f"No row shares all other settings with one of {column} {standard}.")
    if trained:
        logs = pairs.assign(**np.log(pairs[[quality, "standard"]])).groupby(["value", "size", *seeds], sort=False)
        pairs = np.exp(logs[[quality, "standard"]].mean()).reset_index().rename(columns={"size": "pair"})
    pairs = pairs.assign(ratio=pairs[quality] / pairs["standard"]).drop(columns="size", errors="ignore")
    rows = [_row(value, part["ratio"], quality, level) for value, part in pairs.groupby("value", sort=False)]
    notes = _notes(table, pairs if trained else None)
    return Paired(pd.DataFrame(rows), pairs.reset_index(drop=True), column, standard, quality, level, notes)


def _size(table):
    """[the column that says which models are alike], model where each size is one; [] for a table of one size."""
    full = [c for c in SIZES if c in table and table[c].notna().all()]
    if not full or table[full[0]].nunique() < 2:
        return []
    size, name = full[0], full[-1]
    each = len(table.drop_duplicates([size, name]))
    return [name if each == table[size].nunique() == table[name].nunique() else size]


def _varies(table, column, size):
    """Whether a setting has several values at one size."""
    return table.groupby(size or (lambda _: 0))[column].nunique(dropna=False).max() > 1


def _sizes(table, standard):
    """The least number of sizes that a value shares with the standard."""
    sizes = table.groupby("value")["size"].agg(set)
    return min(len(found & sizes[standard]) for found in sizes)


def _words(table, columns):
    """The settings of each row as one text; numbers with the name of their column."""

    def words(column):
        values = table[column]
        return values.map(f"{column} {{:.12g}}".format) if is_numeric_dtype(values) else values.astype(str)

    return pd.concat(map(words, columns), axis=1).agg(", ".join, axis=1) if columns else pd.Series("all", table.index)


def _trained_again(table, values, standard):
    """Whether every value was trained from two seeds or more that the standard was trained from, too."""
    if "train_seed" not in table or table["train_seed"].isna().any():
        return False
    seeds = table["train_seed"].groupby(values).agg(set)
    return all(len(found & seeds[standard]) >= LEAST for found in seeds)


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


def _notes(table, trainings):
    """What the intervals hold and leave out. trainings: the pairs, where each is a training; else None."""
    if trainings is not None and "train_seed" not in trainings:
        return (f"A pair is one of {trainings['pair'].nunique()} sizes, whose sampling settings and trainings are "
                "averaged first: what sizes differ by holds the errors of trainings.",)  # fmt: skip
    if trainings is not None:
        sizes, seeds = trainings["pair"].nunique(), trainings["train_seed"].nunique()
        return (f"A pair is a training, {sizes} sizes from {seeds} seeds; its sampling settings are averaged first.",)
    several = "train_seed" in table and table["train_seed"].nunique() > 1
    why = "Trainings of several seeds are not there of every value" if several else "One training of each"
    return (f"{why}: the intervals are over sampling settings and sizes, not over trainings.",)
