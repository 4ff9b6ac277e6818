"""From what a user names to what a law is fitted to: the table, its law, quality and inputs, or one clear sentence.

Nothing is pooled in silence: rows that differ in sampler, guidance or training are one question each.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import laws, measurements, schema, studies
from scalinglaws.fitting import fit
from scalinglaws.schema import InputError

SIZES = ("flops_per_forward", "gflops_per_forward", "params", "base_channels", "depth")  # first that serves
STEPS = ("steps", "nfe", "ar_steps")
SETTINGS = ("sampler", "guidance")  # a law answers for one value of each; a budget may choose between them
APART = (*SETTINGS, *STEPS, "train_steps", "n_samples_for_metric", "features", "reference", "dtype", "eta",
         "guidance_kind", "dataset", "resolution", "autoencoder")  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """One question to one law: what `scalinglaws.fit` needs."""

    table: pd.DataFrame
    law: str
    quality: str
    inputs: dict  # symbol: column

    def groups(self):
        """{label: Ask}: one a sampler and guidance, where the rows hold several."""
        mixed = [c for c in SETTINGS if c in mixing(self.table, self.inputs)]
        if not mixed:
            return {"": self}
        parts = self.table.groupby(mixed, sort=True)
        return {_label(mixed, key): replace(self, table=rows.reset_index(drop=True)) for key, rows in parts}

    def main(self):
        """(label, Ask) of the sampler and guidance with the most rows."""
        groups = self.groups()
        label = max(groups, key=lambda k: len(groups[k].table))
        return label, groups[label]

    def hold_out(self, size=None):
        """(Ask without the rows of one size, those rows); the largest size unless its label is given."""
        column = next(iter(self.inputs.values()))
        gone = self.table[column] == self.table[column].max()
        if size:
            gone = self.table[column].isin(measurements.where(self.table, model=size)[column])
        return replace(self, table=self.table[~gone].reset_index(drop=True)), self.table[gone].reset_index(drop=True)

    def check(self, fit, held, level=0.9):
        """Held-out rows beside their prediction: model, inputs, measured, value, low, high, inside, error.

        `inside` says whether the interval holds the measured value; `error` is predicted over measured, less one.
        """
        told = held[[c for c in ("model", *self.inputs.values()) if c in held]]
        table = told.assign(measured=held[self.quality]).join(fit.predict(held, level=level))
        inside = table["measured"].between(table["low"], table["high"])
        return table.assign(inside=inside, error=table["value"] / table["measured"] - 1)

    def curve(self, fit, held, level=0.9, points=60):
        """The prediction, with its interval, along the measured steps of the held size; along size without steps."""
        size, *rest = self.inputs.values()
        span = self.table[rest[0] if rest else size].astype(float)
        along = np.geomspace(span.min(), span.max(), points)
        new = pd.DataFrame({size: float(held[size].iloc[0]), rest[0]: along} if rest else {size: along})
        return new.join(fit.predict(new, level=level))

    def fit(self, **options):
        """The law fitted to the rows; options as for `scalinglaws.fit`."""
        return fit(self.table, self.law, self.quality, self.inputs, **options)

    def fits(self, **options):
        """({label: Fit}, sentences for what could not be fitted): one a sampler and guidance."""
        found, skipped = {}, []
        for label, question in self.groups().items():
            try:
                found[label] = question.fit(**options)
            except InputError as error:
                skipped.append(f"Left out {label or 'the rows'}: {error}")
        if not found:
            raise InputError(skipped[0].partition(": ")[2])
        return found, skipped


def ask(source, quality=None, law=None, inputs=None, where=None, choose=False, by=()):
    """The question about a file, study name or table; what is not named is taken from its columns.

    `where` keeps rows: {column: value}. `choose` allows several samplers and guidances, for `Ask.groups`; `by` names
    columns whose values are fitted apart, for `fit_groups`.
    """
    table = measurements.where(studies.read(source), **(where or {}))
    if "family" not in by:
        measurements.one_family(table)
    quality = quality or quality_of(table)
    inputs = inputs or _inputs(table, law)
    table = measurements.tidy(table, [*inputs.values()], quality)
    chosen = [c for c in dict.fromkeys((*(SETTINGS if choose else ()), *by)) if c in table]
    mixed = [c for c in mixing(table, inputs, chosen) if c not in chosen]
    if mixed:
        raise InputError(_one_at_a_time(table, mixed[0], inputs))
    return Ask(table, law or _law(inputs, quality), quality, inputs)


def mixing(table, inputs, chosen=()):
    """Columns in which rows differ that the law takes for the same point; samplers are always apart.

    Rows that differ in the `chosen` columns are different points.
    """
    free = [c for c in APART if c in table and c not in inputs.values()]
    same = table.groupby([*inputs.values(), *chosen], dropna=False)
    one = [c for c in free if c == "sampler" and table[c].nunique() > 1]
    return one + [c for c in free if c not in one and (same[c].nunique() > 1).any()]


def pairs(items):
    """{'a': 'b'} of ['a=b', ...], as typed on a command line."""
    items = [str(item) for item in items or () if str(item).strip()]
    split = [item.partition("=") for item in items]
    for (left, sign, right), item in zip(split, items, strict=True):
        if not (left and sign and right):
            raise InputError(f"{item!r} is not NAME=VALUE, such as sampler=ddim.")
    return {left.strip(): right.strip() for left, _, right in split}


def quality_of(table):
    """The quality column of a table, if it is plain which."""
    found = [c for c in schema.names("quality") if c in table and table[c].notna().all()]
    usual = [c for c in ("fd", "fid") if c in found]
    if usual or len(found) == 1:
        return (usual or found)[0]
    have = ", ".join(found or table.columns)
    raise InputError(f"Which column is the quality? Name one of {have} (--quality).")


def _inputs(table, law):
    """{symbol: column} for the law: size first, then steps where they vary and the law has room for them."""
    symbols = laws.find(laws.CHOICES.get(law, (law,))[0]).inputs if law else ("N", "S")
    size, steps = _first(table, SIZES, bool(law)), _first(table, STEPS, bool(law) and len(symbols) > 1)
    found = [c for c in (size, steps) if c]
    if symbols == ("N", "S") and len(found) == 2:
        return dict(zip(symbols, found, strict=True))
    if found and (len(symbols) == 1 or not law):
        return {"N" if size else "S": found[0]}
    have = ", ".join(table.columns)
    raise InputError(f"Name the law's inputs, such as --inputs {symbols[0]}=COLUMN; the table has {have}.")


def _first(table, columns, constant):
    """The first full column that varies; one that does not only if `constant` allows it."""
    full = [c for c in columns if c in table and table[c].notna().all()]
    varied = [c for c in full if table[c].nunique() > 1]
    return next(iter(varied + (full if constant else [])), None)


def _law(inputs, quality):
    """The law where none is named: size and steps, or one input with a floor, or a ceiling for a rising quality."""
    one = "ceiling" if schema.higher_is_better(quality) else "power_floor"
    return "size_steps" if len(inputs) == 2 else one


def _one_at_a_time(table, column, inputs):
    values = sorted(table[column].dropna().unique(), key=str)
    shown = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values[:12])
    law_in = " and ".join(inputs.values())
    return (
        f"The rows mix {len(values)} values of {column} ({shown}) and a law in {law_in} cannot tell them apart: "
        f"keep one with --where {column}=VALUE."
    )


def _label(columns, key):
    key = key if isinstance(key, tuple) else (key,)
    return " ".join(f"{c}={v:g}" if isinstance(v, float) else f"{c}={v}" for c, v in zip(columns, key, strict=True))
