"""The best guidance of every setting, told honestly: chosen on one half of the samples, reported on the other.

The best of several noisy numbers is better than what a repeat of it would give (Smith and Winkler 2006, Management
Science 52:311, the optimizer's curse). The collector writes the quality of the even and of the odd samples apart; each
half chooses once and the other half reports, and the two reports are averaged.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import schema
from scalinglaws.schema import InputError

GUIDED = ("guidance", "guidance_kind", "guidance_interval", "gnet")  # chosen together
FREE = ("nfe", "seed", "device", "threads", "sampling_batch", "versions", "source", "provenance", "note", "unknown",
        "params_provenance", "weights")  # may differ between the rows of a setting  # fmt: skip
ALWAYS = ("family", "model", "sampler", "steps")
HALVES = ("even", "odd")


@dataclass(frozen=True)
class Guidances:
    """One row a setting.

    guidances: how many were measured; guidance (and kind, interval, network, where the table has them): the best of
    all samples; value: quality by the half that did not choose, or of all samples where there are no halves; chosen:
    quality by the half that chose; optimism: chosen minus value, below 0 for a distance; agree: whether both halves
    choose the same; honest: false where value is that of the samples that chose.
    """

    table: pd.DataFrame
    quality: str
    notes: tuple[str, ...]

    def summary(self) -> str:
        """The table in plain text, and what to know of it."""
        shown = self.table.to_string(index=False, float_format=lambda v: f"{v:.4g}", na_rep="-")
        return "\n".join([shown, *self.notes])


def optimal_guidance(table: pd.DataFrame, quality: str = "fd") -> Guidances:
    """The best guidance of each model, sampler, steps and whatever other settings differ; see Guidances.

    Repeats (rows that differ in seed only) are averaged. Needs the columns guidance and quality; quality_even and
    quality_odd where the answer is to be honest.
    """
    _check(table, quality)
    table = table[table[quality].notna() & table["guidance"].notna()]
    if table.empty:
        raise InputError(f"No row has both guidance and {quality}.")
    same, how = _settings(table), [c for c in GUIDED if c in table]
    numbers = [c for c in (quality, *_halves(quality)) if c in table]
    means = table.groupby([*same, *how], dropna=False)[numbers].mean().reset_index()
    parts = means.groupby(same, dropna=False, sort=True) if same else [((), means)]
    rows = [dict(zip(same, key, strict=True)) | _best(part, quality, how) for key, part in parts]
    found = pd.DataFrame(rows)
    return Guidances(found, quality, tuple(_notes(found, quality)))


def _check(table, quality):
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A table of measurements is needed; got {type(table).__name__}.")
    for column in ("guidance", quality):
        if column not in table:
            raise InputError(f"Column {column!r} is missing; the table has {', '.join(map(str, table.columns))}.")
    for column in (quality, *_halves(quality)):
        if column in table and not pd.api.types.is_numeric_dtype(table[column]):
            raise InputError(f"Column {column!r} must hold numbers.")


def _halves(quality):
    return tuple(f"{quality}_{half}" for half in HALVES)


def _settings(table) -> list[str]:
    """Columns that tell settings apart: family, model, sampler and steps, and every other that tells more apart."""
    known = [c.name for c in schema.COLUMNS.values() if c.role == "setting" and c.name in table]
    same = [c for c in ALWAYS if c in table]
    for column in known:
        if column not in (*ALWAYS, *GUIDED, *FREE) and _count(table, [*same, column]) > _count(table, same):
            same.append(column)
    return same


def _count(table, columns) -> int:
    return table.groupby(columns, dropna=False).ngroups if columns else 1


def _best(rows, quality, how) -> dict:
    """The answer for one setting, one row a guidance."""
    best = _first(rows[quality], quality)
    told = {"guidances": len(rows)} | {c: rows[c].loc[best] for c in how}
    even, odd = (rows[c] if c in rows and rows[c].notna().all() else None for c in _halves(quality))
    if even is None or odd is None:
        value = float(rows[quality].loc[best])
        return told | {"value": value, "chosen": value, "optimism": np.nan, "agree": None, "honest": len(rows) == 1}
    by_even, by_odd = _first(even, quality), _first(odd, quality)
    value, chosen = (odd[by_even] + even[by_odd]) / 2, (even[by_even] + odd[by_odd]) / 2
    return told | {"value": float(value), "chosen": float(chosen), "optimism": float(chosen - value),
                   "agree": by_even == by_odd, "honest": True}  # fmt: skip


def _first(values, quality):
    """The index of the best value."""
    return values.idxmax() if schema.higher_is_better(quality) else values.idxmin()


def _notes(found, quality):
    several = found[found["guidances"] > 1]
    if several.empty:
        yield "Every setting was measured at one guidance: there was nothing to choose."
        return
    plain, halved = several[~several["honest"]], several[several["honest"]]
    if len(plain):
        yield (f"Optimistic: {len(plain)} of {len(several)} settings have no halves (columns "
               f"{', '.join(_halves(quality))}), so their value is that of the very samples that chose the guidance; a "
               "repeat will be worse.")  # fmt: skip
    if len(halved):
        yield (f"Chosen on one half, reported on the other in {len(halved)} settings; both halves agree in "
               f"{int(halved['agree'].sum())}; mean optimism of the choosing half {halved['optimism'].mean():.3g}. A "
               "half has fewer samples, which raises a Fréchet distance: compare halves with halves.")  # fmt: skip
