"""The best guidance of every setting, cross-fitted: chosen on one half of the samples, reported on the other.

The best of several noisy numbers is better than what a repeat of it would give (Smith and Winkler 2006, Management
Science 52:311, the optimizer's curse). The collector splits the samples in two halves by a hash of their number and
writes the quality of each; each half chooses once, the other half reports, and the two reports are averaged.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, schema
from scalinglaws.decide.arguments import checked
from scalinglaws.decide.rows import SIZES, check_direction
from scalinglaws.schema import InputError

GUIDED = tuple(c.name for c in schema.COLUMNS.values() if c.kind == "guidance")  # chosen together
ALWAYS = ("family", "model", "sampler", "steps")
HALVES = ("half1", "half2")
GRIDS = 3  # of guidances, shown in one sentence


@dataclass(frozen=True)
class OptimalGuidance:
    """The best guidance of every setting.

    table: one row per setting, by rising size. guidances: how many were measured; guidance (kind, interval, network,
    where they are columns): the best of all samples; value: quality by the half that did not choose, or of all samples
    where there are no halves; chosen: quality by the half that chose; optimism: chosen minus value, below 0 for a
    distance; agree: whether both halves choose the same; cross_fitted: false where value is that of the samples that
    chose; beyond: below or above where the best is the least or largest guidance measured there, and may lie beyond.
    measured: one row per setting and guidance, repeats averaged, with `best` true for the one chosen of all samples.
    """

    table: pd.DataFrame
    quality: str
    notes: tuple[str, ...]
    measured: pd.DataFrame = field(repr=False, compare=False)

    def __repr__(self):
        several = int((self.table["guidances"] > 1).sum())
        return f"<OptimalGuidance: {len(self.table)} settings, {several} with several guidances, by {self.quality}>"

    def summary(self) -> str:
        """The table in plain text, and what to know of it."""
        return "\n".join([display.text_table(self.table), *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """One row per setting."""
        return self.table

    def _repr_html_(self):
        return display.html_page(f"The best guidance by {self.quality}", self.table, notes=self.notes)

    def plot(self, ax=None):
        """Quality against guidance of every setting, the best marked; returns the matplotlib Axes."""
        from scalinglaws import plots

        return plots.guidance(self.measured, self.quality, ax)


@checked
def optimal_guidance(table: pd.DataFrame, quality: str = "fd") -> OptimalGuidance:
    """The best guidance of each model, sampler, steps and whatever other settings differ; see OptimalGuidance.

    Repeats (rows that differ in seed only) are averaged. Needs the columns guidance and quality, and quality_half1 and
    quality_half2 where the answer is to be cross-fitted. InputError where a column is missing or holds no numbers.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"model": "c8", "guidance": [1.0, 1.5, 3.0], "fd": [12.0, 9.5, 14.2],
    ...                      "fd_half1": [12.4, 9.9, 14.8], "fd_half2": [12.6, 10.1, 14.4]})
    >>> optimal_guidance(rows).to_frame()[["model", "guidance", "value", "cross_fitted"]].values.tolist()
    [['c8', 1.5, 10.0, True]]
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A table of measurements is needed; got {type(table).__name__}.")
    for column in ("guidance", quality):
        if column not in table:
            raise InputError(f"Column {column!r} is missing; the table has {', '.join(map(str, table.columns))}.")
    for column in (quality, *_halves(quality)):
        if column in table and not pd.api.types.is_numeric_dtype(table[column]):
            raise InputError(f"Column {column!r} must hold numbers.")
    table = table[table[quality].notna() & table["guidance"].notna()]
    if table.empty:
        raise InputError(f"No row has both guidance and {quality}.")
    check_direction(table, quality)
    same, how = _settings(table), [c for c in GUIDED if c in table]
    numbers = [c for c in (quality, *_halves(quality)) if c in table]
    means = table.groupby([*same, *how], dropna=False)[numbers].mean().reset_index()
    parts = means.groupby(same, dropna=False, sort=True) if same else [((), means)]
    rows = [dict(zip(same, key, strict=True)) | _best(part, quality, how) for key, part in parts]
    settings = pd.DataFrame(rows)
    measured = pd.concat([part.assign(setting=_label(part, same), best=part.index == _first(part[quality], quality))
                          for _, part in parts], ignore_index=True)  # fmt: skip
    if "model" in measured:  # by rising size, by which figures are coloured
        size = next((c for c in SIZES if c in table and table[c].notna().all()), "model")
        models = list(dict.fromkeys(table.sort_values(size)["model"]))
        measured["model"] = pd.Categorical(measured["model"], models, ordered=True)
        place = settings["model"].map({model: k for k, model in enumerate(models)})
        settings = settings.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    notes = (*_notes(settings, quality), *uneven(measured))
    return OptimalGuidance(settings, quality, notes, measured)


def uneven(measured):
    """A sentence where the settings were not all measured at the same guidances.

    measured: setting and guidance; settings of one guidance are no choice and do not count.

    >>> rows = pd.DataFrame({"setting": list("aaabb"), "guidance": [1.0, 2, 4, 4, 8]})
    >>> next(uneven(rows))[:85]
    'The guidances differ between settings (1, 2, 4 in 1; 4, 8 in 1): a best one at an end'
    """
    grids = measured.groupby("setting")["guidance"].agg(lambda w: tuple(sorted(set(w))))
    counts = Counter(grids[grids.map(len) > 1])
    if len(counts) < 2:
        return
    common = sorted(counts, key=lambda grid: (-counts[grid], -len(grid), grid))
    shown = [f"{_numbers(grid)} in {counts[grid]}" for grid in common[:GRIDS]]
    more = f"; {len(counts) - GRIDS} more" if len(counts) > GRIDS else ""
    shared = _numbers(sorted(set.intersection(*map(set, counts))))
    compare = f"compare settings at the guidances that all share ({shared})" if shared else "they share none"
    yield (f"The guidances differ between settings ({'; '.join(shown)}{more}): a best one at an end of its own grid "
           f"(column beyond) may lie beyond; {compare}.")  # fmt: skip


def _numbers(values):
    return ", ".join(f"{v:g}" for v in values)


def _halves(quality):
    return tuple(f"{quality}_{half}" for half in HALVES)


def _settings(table) -> list[str]:
    """Columns that separate settings: family, model, sampler and steps, and every other that separates more.

    Evaluations are a setting where no column of steps is: guidance may double those of one number of steps.
    """
    known = [c.name for c in schema.COLUMNS.values() if c.role == "setting" and not c.pooled and c.name in table]
    same = [c for c in ALWAYS if c in table]
    for column in known:
        if column in (*ALWAYS, *GUIDED) or (column == "nfe" and "steps" in table):
            continue
        if _count(table, [*same, column]) > _count(table, same):
            same.append(column)
    return same


def _count(table, columns) -> int:
    return table.groupby(columns, dropna=False).ngroups if columns else 1


def _best(rows, quality, how) -> dict:
    """The answer for one setting, one row per guidance."""
    best = _first(rows[quality], quality)
    answer = {"guidances": len(rows)} | {c: rows[c].loc[best] for c in how}
    ends = {"beyond": _beyond(rows["guidance"], best)}
    one, two = (rows[c] if c in rows and rows[c].notna().all() else None for c in _halves(quality))
    if one is None or two is None:
        value = float(rows[quality].loc[best])
        return answer | {"value": value, "chosen": value, "optimism": np.nan, "agree": None,
                         "cross_fitted": len(rows) == 1} | ends  # fmt: skip
    by_one, by_two = _first(one, quality), _first(two, quality)
    value, chosen = (two[by_one] + one[by_two]) / 2, (one[by_one] + two[by_two]) / 2
    return answer | {"value": float(value), "chosen": float(chosen), "optimism": float(chosen - value),
                     "agree": by_one == by_two, "cross_fitted": True} | ends  # fmt: skip


def _beyond(guidances, best):
    """'below' or 'above' where the best of several guidances is the least or the largest, else ''."""
    if guidances.nunique() < 2 or guidances.min() < guidances[best] < guidances.max():
        return ""
    return "below" if guidances[best] == guidances.min() else "above"


def _label(rows, same) -> str:
    """The setting in words."""
    return ", ".join(f"{c}={rows[c].iloc[0]}" for c in same if pd.notna(rows[c].iloc[0]))


def _first(values, quality):
    """The index of the best value."""
    return values.idxmax() if schema.higher_is_better(quality) else values.idxmin()


def _notes(settings, quality):
    several = settings[settings["guidances"] > 1]
    if several.empty:
        yield "Every setting was measured at one guidance: there was nothing to choose."
        return
    plain, halved = several[~several["cross_fitted"]], several[several["cross_fitted"]]
    if len(plain):
        yield (f"Optimistic: {len(plain)} of {len(several)} settings have no halves (columns "
               f"{', '.join(_halves(quality))}), so their value is that of the very samples that chose the guidance; a "
               "repeat will be worse.")  # fmt: skip
    if len(halved):
        yield (f"Chosen on one half, reported on the other in {len(halved)} settings; both halves agree in "
               f"{int(halved['agree'].sum())}; mean optimism of the choosing half {halved['optimism'].mean():.3g}. A "
               "half has fewer samples, which raises a Fréchet distance: compare halves with halves.")  # fmt: skip
