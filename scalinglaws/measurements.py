"""Files, folders and frames in; one tidy table of measurements out.

read("runs.csv")        a csv or parquet file
read("store/")          a store of collect, a folder or an fsspec address: one checked parquet file per finished cell
read(frame)             a DataFrame, or a list of any of these

Repeats of one configuration carry a column `seed`. They are never merged on reading: a law is fitted to every row and
its intervals keep rows of one configuration or trained model together; `repeats` gives their means, `spread` how far
they differ.
"""

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import schema, units, wide
from scalinglaws.cells import read_store
from scalinglaws.csvfile import as_numbers, clean_label, read_csv
from scalinglaws.schema import InputError

FRAME = "The table"  # how messages call a table that came from no file
SHOWN = 3  # rows named in one sentence
LISTED = 12  # values of a column named in one sentence
AGREE = 1e-9  # relative; two rows of one configuration that differ by more disagree


def read(source, needs=(), quality=None, strict=False, named=None):
    """One tidy, checked table from a csv, a parquet, a store, a DataFrame or a list of these.

    `needs` are columns that must be there and above 0; so must `quality`, whose duplicates must agree. A row without a
    value in one of them is left out, which `notes` says; with `strict` it is refused. Raises InputError otherwise.
    A column for each step count or size becomes rows, unless it is one of these or of `named`: see `wide.as_rows`.

    >>> import pandas as pd
    >>> table = read(pd.DataFrame({"steps": [4, 8], "fid": ["12,5", None]}), quality="fid")
    >>> table.fid.tolist(), notes(table)
    ([12.5], ('Row 2 has no fid: left out.',))
    """
    label, table = _load(source)
    if table.empty:
        raise InputError(f"{label} holds no rows; give at least one measurement.")
    named = {column: column for column in (*needs, quality) if column} | (named or {})
    return tidy(wide.as_rows(table, named), needs, quality, label, strict)


def tidy(table, needs=(), quality=None, label=FRAME, strict=False):
    """Checked, typed, without exact duplicates; InputError in one sentence otherwise. See `read`."""
    used = list(dict.fromkeys([*needs, *([quality] if quality else [])]))
    said = notes(table)
    table = named(table, label)
    table, more = as_numbers(table, "" if label == FRAME else label)
    _refuse(schema.check(table, used, missing=not strict), label)
    table, left_out = _full(table, used)
    table = pd.DataFrame({c: _typed(table[c], c in used) for c in table.columns})
    again = table.index[table.duplicated()]
    if len(again):
        left_out = [*left_out, f"{rows_in_words(again)} the values of an earlier row in every column: counted once."]
    table = table.drop(index=again)
    _refuse(disagreements(table, quality), label)
    table = table.reset_index(drop=True)
    table.attrs["notes"] = tuple(dict.fromkeys((*said, *more, *left_out)))
    return table


def notes(table):
    """Sentences on how a table was read: rows left out, per cents, encoding."""
    return tuple(table.attrs.get("notes", ()))


def named(table, label=FRAME):
    """The table with clean column names, those of older files as they are called now; two of one name are refused."""
    table = table.rename(columns=lambda c: schema.RENAMED.get(clean_label(c), clean_label(c)))
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise InputError(f"{label} has two columns named {doubled[0]!r}: rename or remove one.")
    return table if pd.api.types.is_integer_dtype(table.index) else table.reset_index(drop=True)


def _full(table, used):
    """(rows that have a value in every used column, sentences on those that have not)."""
    said = []
    for column in used:
        missing = table.index[table[column].isna()]
        if len(missing) == len(table):
            raise InputError(f"Column {column!r} is empty: no row is left to fit.")
        if len(missing):
            said.append(f"{rows_in_words(missing)} no {column}: left out.")
            table = table.drop(index=missing)
    return table, said


def rows_in_words(index):
    """'Row 3 has', 'Rows 1, 2, 3 and 4 more have': rows are counted from 1."""
    shown, more = [str(int(i) + 1) for i in index[:SHOWN]], len(index) - SHOWN
    if len(index) == 1:
        return f"Row {shown[0]} has"
    return f"Rows {', '.join(shown)} and {more} more have" if more > 0 else f"Rows {' and '.join(shown)} have"


def merge(table):
    """Drop rows that repeat another row exactly."""
    return table[~table.duplicated()].reset_index(drop=True)


def disagreements(table, quality=None):
    """Sentences naming rows with the same settings, seed included, whose quality differs."""
    watched = [c for c in schema.names("quality") if c in table] + ([quality] if quality in table else [])
    same = settings(table, watched)
    if not same or not watched:
        return []
    groups = _keys(table, same)
    groups = groups[groups.duplicated(keep=False)]
    return [s for column in dict.fromkeys(watched) for s in _disagree(table.loc[groups.index, column], groups)]


def settings(table, results=()):
    """Columns that tell one configuration from another: all but costs, qualities and their errors."""
    measured = {c.name for c in schema.COLUMNS.values() if c.role != "setting"} | set(results)
    return [c for c in table.columns if c not in measured and not str(c).endswith("_se")]


def repeats(table, quality):
    """One row per configuration: numbers averaged over its seeds, and `repeats`, the number of rows behind each.

    `quality`_se is the standard error of that mean: from the spread between seeds, s / sqrt(n), which holds the spread
    within a seed, too, since every seed draws its own samples; with one seed, the error the row gives.
    """
    same = [c for c in settings(table, [quality]) if c != "seed"]
    groups = [g for _, g in table.groupby(_keys(table, same), sort=False)] if same else [table]
    means = []
    for group in groups:
        row = group[same].iloc[0].to_dict()
        numeric = [c for c in group.select_dtypes("number") if c not in row and c != "seed"]
        row |= group[numeric].mean().to_dict()
        if len(group) > 1:
            row[f"{quality}_se"] = group[quality].std(ddof=1) / np.sqrt(len(group))
        means.append(row | {"repeats": len(group)})
    return pd.DataFrame(means).reset_index(drop=True)


def spread(table, quality, inputs=()):
    """How far repeats of one configuration differ: Spread, or None where no configuration was measured twice.

    A configuration is one value of the `inputs` and of every known setting that may not be pooled.
    """
    labels = [c for c in schema.names(kind="label") if c in table]
    keys = list(dict.fromkeys([*inputs, *labels, *(c for c in schema.unpooled() if c in table)]))
    groups = [g for _, g in table.groupby(keys, dropna=False)] if keys else [table]
    several = [g for g in groups if len(g) > 1]
    if not several:
        return None
    logs = [np.log(g[quality].to_numpy(float)) for g in several]
    free = sum(len(y) - 1 for y in logs)
    between = float(np.sqrt(sum(((y - y.mean()) ** 2).sum() for y in logs) / free))
    error, within = f"{quality}_se", None
    if error in table and table[error].notna().all() and (table[error] > 0).any():
        within = float(np.sqrt(np.mean((table[error].astype(float) / table[quality].astype(float)) ** 2)))
    counts = [len(g) for g in groups]
    return Spread(quality, min(counts), max(counts), len(several), len(groups), between, within, free)


@dataclass(frozen=True)
class Spread:
    """The spread of a quality between repeats (seeds) of one configuration and within one, as shares of its value."""

    quality: str
    fewest: int  # repeats of a configuration
    most: int
    several: int  # configurations with more than one
    configurations: int
    between: float  # standard deviation between the repeats of a configuration, pooled over configurations
    within: float | None  # root mean square of the standard errors that the rows give; None without them
    freedom: int  # degrees of freedom of `between`

    def sentence(self):
        """What was measured how often, how far it differs, and what is done with it."""
        count = f"{self.most}" if self.fewest == self.most else f"{self.fewest} to {self.most}"
        within = f", within one by {self.within:.2g} (its {self.quality}_se)" if self.within else ""
        text = (
            f"{count} rows per configuration in {self.several} of {self.configurations}: {self.quality} differs "
            f"between them by {self.between:.2g} of its value ({self.freedom} degrees of freedom){within}. "
            "The law is fitted to all rows, its intervals keep those of one configuration or model together; measured "
            "curves join their means."
        )
        if self.within and self.between > 2 * self.within:
            text += " Seeds differ by more than their own standard errors say: more seeds tell more than more samples."
        return text


def where(table, **conditions):
    """Rows whose columns equal the given values; an empty answer is an InputError naming what there is."""
    return matching(table, conditions).reset_index(drop=True)


def matching(table, conditions):
    """The same, rows keeping their index; InputError as in where."""
    for column, value in conditions.items():
        name = clean_label(column)
        if name not in table:
            raise InputError(f"No column {column!r} to filter on; the table has {', '.join(map(str, table.columns))}.")
        kept = table[[_equal(v, value) for v in table[name]]]
        if kept.empty:
            values = [str(v) for v in dict.fromkeys(table[name].dropna())]
            more = f" and {len(values) - LISTED} more" if len(values) > LISTED else ""
            raise InputError(f"No row has {name} = {value}; the table has {', '.join(values[:LISTED])}{more}.")
        table = kept
    return table


def families(table):
    """Names of the families in the table, in order; a table without the column is one unnamed family."""
    return list(dict.fromkeys(table["family"].dropna())) if "family" in table else []


def one_family(table):
    """The table, if it holds one family, else InputError: a law is fitted within one family only."""
    names = families(table)
    if len(names) > 1:
        listed = ", ".join(map(repr, names[:LISTED])) + f" and {len(names) - LISTED} more" * (len(names) > LISTED)
        raise InputError(
            f"{FRAME} has {len(names)} families; a law is fitted within one: keep one with --where "
            f"'family=NAME', in Python where={{'family': NAME}}. They are {listed}."
        )
    return table


def fingerprint(table):
    """Hash of the content, 16 hex digits, blind to the order of rows and columns."""
    columns = sorted(map(str, table.columns))
    rows = sorted("\x1f".join(_canonical(v) for v in row) for row in table[columns].itertuples(index=False))
    return hashlib.sha256("\x1e".join([*columns, *rows]).encode()).hexdigest()[:16]


def _load(source):
    """(label, raw DataFrame) of anything `read` takes."""
    if isinstance(source, pd.DataFrame):
        return FRAME, _with_index(source)
    if isinstance(source, list | tuple):
        parts = [_load(s) for s in source]
        frames = [named(part, label) for label, part in parts]
        frames = [frame.dropna(axis=1, how="all") for frame in frames if len(frame)]
        table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        table.attrs["notes"] = tuple(sentence for _, part in parts for sentence in notes(part))
        return "The list", table
    if not isinstance(source, str | Path):
        raise InputError(f"Cannot read a {type(source).__name__}; give a csv, parquet, store or DataFrame.")
    if "://" in str(source) or Path(source).is_dir():
        return str(source), read_store(source)
    return str(source), _load_file(Path(source))


def _with_index(frame):
    """The frame with the named levels of its index as columns; InputError where columns have several levels."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise InputError(
            f"The table's columns have {frame.columns.nlevels} levels, such as {frame.columns[0]}: give each one name, "
            "as with table.columns = ['_'.join(map(str, c)) for c in table.columns]."
        )
    kept = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=kept).reset_index(drop=True) if kept else frame.reset_index(drop=True)


READERS = {".csv": read_csv, ".tsv": read_csv, ".txt": read_csv, ".parquet": pd.read_parquet}


def _load_file(path):
    if not path.exists():
        raise InputError(f"No file {str(path)!r}; give a csv, a parquet or the folder of a collect store.")
    if path.suffix.lower() not in READERS:
        hint = " Save the sheet as csv." if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
        raise InputError(f"{str(path)!r} ends in {path.suffix!r}; allowed are .csv, .parquet or a store.{hint}")
    if not path.stat().st_size:
        raise InputError(f"{str(path)!r} is empty; give a table with a header and at least one row.")
    try:
        return _with_index(READERS[path.suffix.lower()](path))
    except InputError:
        raise
    except Exception as error:  # csv, pandas and pyarrow raise many kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{str(path)!r} is damaged and cannot be read ({reason}); export it again.") from error


def _refuse(faults, label):
    if faults:
        place = f"{label}: " if label != FRAME else ""
        more = f" ({len(faults) - 1} more of the kind.)" if len(faults) > 1 else ""
        raise InputError(f"{place}{faults[0]}{more}")


def _typed(column, used):
    """A known column as numbers or text, whole where all are whole; mappings as JSON text."""
    known = schema.COLUMNS.get(column.name)
    if used or (known and known.allowed is not schema.TEXT):
        values = schema.numbers(column)
        whole = values.notna().all() and (values % 1 == 0).all() and values.abs().max() < 2**53
        return values.astype("int64") if whole else values
    if column.map(lambda v: isinstance(v, dict | list)).any():
        return column.map(lambda v: json.dumps(v, sort_keys=True))
    return column.map(lambda v: None if v is None or v is pd.NA or v != v else str(v)) if known else column


def _keys(table, columns):
    """One string per row, equal where the columns are."""
    rows = ["\x1f".join(_canonical(v) for v in row) for row in table[columns].itertuples(index=False)]
    return pd.Series(rows, index=table.index)


def _canonical(value):
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return f"{float(value):.12g}"
    return "nan" if value is None or value is pd.NA else str(value)


def _disagree(column, groups):
    for _, held in column.dropna().groupby(groups, sort=False):
        if held.max() - held.min() > AGREE * held.abs().max():
            rows = " and ".join(str(i + 1) for i in held.index[:2])
            values = " and ".join(f"{v:g}" for v in held.iloc[:2])
            yield (
                f"Rows {rows} have the same settings but {column.name} {values}; "
                "keep one, or mark repeats by different numbers in a column 'seed'."
            )


def _equal(held, value):
    """Whether a cell holds what a condition says: a number, a count such as 1.3B, or a text."""
    try:
        return float(held) == float(value)
    except (TypeError, ValueError):
        pass
    if isinstance(held, int | float | np.number) and isinstance(value, str):
        return bool(np.isclose(held, units.count(value) or np.nan, rtol=AGREE, atol=0))
    return unicodedata.normalize("NFC", str(held)) == unicodedata.normalize("NFC", str(value))
