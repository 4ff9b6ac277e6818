"""Many groups at once: one law for every family, sampler or guidance, all starts and replicates in common batches."""

import inspect
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import laws
from scalinglaws.fitting import resample
from scalinglaws.fitting.choice import choose
from scalinglaws.fitting.door import check_options, finish, fit, prepare, same_delta
from scalinglaws.fitting.engine import fit_all, solvable
from scalinglaws.fitting.result import Fit
from scalinglaws.schema import InputError

OPTIONS = {p.name: p.default for p in inspect.signature(fit).parameters.values() if p.kind is p.KEYWORD_ONLY}


@dataclass(frozen=True)
class Groups:
    """One fit a group, and a sentence for every group that cannot be fitted."""

    by: tuple[str, ...]  # columns that tell the groups apart
    fits: dict[object, Fit]  # by the column's value, or by a tuple of values where there are several columns
    refused: dict[object, str]

    def __getitem__(self, label) -> Fit:
        if label not in self.fits:
            why = self.refused.get(label, f"Known groups: {', '.join(map(str, self.fits))}.")
            raise InputError(f"No fit of the group {label!r}. {why}")
        return self.fits[label]

    def __len__(self) -> int:
        return len(self.fits)

    def table(self, level: float = 0.9) -> pd.DataFrame:
        """One row a group: the columns of `by`, law, rows, noise, each parameter with _low and _high, doubts."""
        return pd.DataFrame([self._row(label, found, level) for label, found in self.fits.items()])

    def _row(self, label, found, level):
        row = dict(zip(self.by, label if len(self.by) > 1 else (label,), strict=True))
        row |= {"law": found.law.name, "rows": found.rows, "noise": found.noise}
        for name, ends in found.interval(level).iterrows():
            row |= {name: ends["value"], f"{name}_low": ends["low"], f"{name}_high": ends["high"]}
        return row | {"doubts": len(found.warnings)}


def fit_groups(table, by, law="power_floor", quality="fid", inputs=None, **options) -> Groups:
    """fit() for every group of rows that agree in the column(s) `by`, with the answers of separate fits.

    All groups' starts, then all groups' replicates, go through one solver in common batches. options: as for fit().
    """
    options = _settled(options)
    columns = _columns(table, by)
    parts = {_label(key): rows.reset_index(drop=True) for key, rows in table.groupby(columns, dropna=False)}
    names = laws.CHOICES.get(law, (law,)) if isinstance(law, str) else (law,)
    each = [_one_law(parts, laws.find(name), quality, inputs, options) for name in names]
    found, refused = {}, {}
    for label in parts:
        try:
            found[label] = _chosen(law, [outcomes[label] for outcomes in each])
        except InputError as refusal:
            refused[label] = str(refusal)
    if not found:
        first = next(iter(refused))
        raise InputError(f"None of the {len(refused)} groups can be fitted; {first}: {refused[first]}")
    draw_together(list(found.values()))
    return Groups(tuple(columns), found, refused)


def draw_together(fits: list[Fit]) -> None:
    """The bootstrap of several fits, in common batches for each law; every fit then holds its replicates."""
    for name in {found.law.name for found in fits}:
        some = [found for found in fits if found.law.name == name]
        draws = resample.replicate_all(
            [found.setup for found in some], [found.minima.theta[0] for found in some], some[0].count, some[0].seed,
            [found.bootstrap for found in some],
        )  # fmt: skip
        for found, theta in zip(some, draws, strict=True):
            vars(found)["replicates"] = found.setup.coordinates.natural(theta)  # the value of the cached property


def _one_law(parts, law, quality, inputs, options) -> dict:
    """{label: Fit, or the InputError that refuses it}."""
    found, ready = {}, {}
    for label, rows in parts.items():
        try:
            ready[label] = prepare(rows, law, quality, inputs, options)
        except InputError as refusal:
            found[label] = refusal
    if not ready:
        return found
    solved = fit_all([setup for setup, _ in ready.values()], options["starts"], options["seed"], options["delta"])
    for (label, (_, columns)), (setup, minima) in zip(ready.items(), solved, strict=True):
        try:
            found[label] = finish(setup, solvable(setup, minima), quality, columns, options)
        except InputError as refusal:
            found[label] = refusal
    return found


def _chosen(law, outcomes) -> Fit:
    """The one fit, or the one that the data choose between nested laws; raises the first refusal."""
    refusals = [outcome for outcome in outcomes if isinstance(outcome, InputError)]
    if refusals:
        raise refusals[0]
    return outcomes[0] if len(outcomes) == 1 else choose(law, same_delta(outcomes))


def _settled(options):
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise InputError(f"fit has no option {unknown[0]!r}. Known: {', '.join(OPTIONS)}.")
    options = OPTIONS | options
    check_options(options)
    return options


def _columns(table, by):
    columns = [by] if isinstance(by, str) else list(by)
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A fit needs a pandas DataFrame; got {type(table).__name__}.")
    missing = [c for c in columns if c not in table]
    if missing or not columns:
        have = ", ".join(map(str, table.columns))
        raise InputError(f"No column {missing[0]!r} to group by; the table has {have}." if missing else
                         f"Name a column to group by: the table has {have}.")  # fmt: skip
    return columns


def _label(key):
    """A group's name: the value, or a tuple of values."""
    plain = tuple(value.item() if isinstance(value, np.generic) else value for value in key)
    return plain if len(plain) > 1 else plain[0]
