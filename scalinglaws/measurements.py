"""Files, folders and frames in; one tidy table of measurements out.

read("runs.csv")        a csv or parquet file
read("store/")          a collect store: one parquet file a finished cell, under store/cells/
read(frame)             a DataFrame, or a list of any of these
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import schema
from scalinglaws.schema import InputError

FRAME = "The table"  # how messages call a table that came from no file
AGREE = 1e-9  # relative; two rows of one configuration that differ by more disagree


def read(source, needs=(), quality=None):
    """One tidy, checked table from a csv, a parquet, a store, a DataFrame or a list of these.

    `needs` are columns that must be there, full and positive; so must `quality`, whose duplicates must agree.
    """
    label, table = _load(source)
    table = table.rename(columns=lambda c: str(c).strip())
    if table.empty:
        raise InputError(f"{label} holds no rows; give at least one measurement.")
    return tidy(table, needs, quality, label)


def tidy(table, needs=(), quality=None, label=FRAME):
    """Checked, typed, without exact duplicates; InputError in one sentence otherwise."""
    used = list(dict.fromkeys([*needs, *([quality] if quality else [])]))
    _refuse(schema.check(table, used), label)
    table = merge(_typed(table, used))
    _refuse(disagreements(table, quality), label)
    return table


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
    return [s for column in dict.fromkeys(watched) for s in _disagree(table[column], groups)]


def settings(table, results=()):
    """Columns that tell one configuration from another: all but costs, qualities and their errors."""
    measured = {c.name for c in schema.COLUMNS.values() if c.role != "setting"} | set(results)
    return [c for c in table.columns if c not in measured and not str(c).endswith("_se")]


def repeats(table, quality):
    """One row a configuration: numbers averaged over seeds; `quality`_se from the seeds, or as given for one.

    Adds `repeats`, the number of rows behind each.
    """
    same = [c for c in settings(table, [quality]) if c != "seed"]
    groups = [g for _, g in table.groupby(_keys(table, same), sort=False)] if same else [table]
    return pd.DataFrame([_average(g, same, quality) for g in groups]).reset_index(drop=True)


def where(table, **conditions):
    """Rows whose columns equal the given values; an empty answer is an InputError naming what there is."""
    for column, value in conditions.items():
        if column not in table:
            raise InputError(f"No column {column!r} to filter on; the table has {', '.join(table.columns)}.")
        kept = table[[_equal(v, value) for v in table[column]]]
        if kept.empty:
            raise InputError(f"No row has {column} = {value}; the table has {_some(table[column])}.")
        table = kept
    return table.reset_index(drop=True)


def families(table):
    """Names of the families in the table, in order; a table without the column is one unnamed family."""
    return list(dict.fromkeys(table["family"].dropna())) if "family" in table else []


def one_family(table, label=FRAME):
    """The table, if it holds one family; a law is fitted within one family only."""
    found = families(table)
    if len(found) > 1:
        listed = ", ".join(repr(f) for f in found)
        raise InputError(f"{label} has {len(found)} families; a law is fitted within one: name a family of {listed}.")
    return table


def fingerprint(table):
    """Hash of the content, 16 hex digits, blind to the order of rows and columns."""
    columns = sorted(map(str, table.columns))
    rows = sorted("\x1f".join(_canonical(v) for v in row) for row in table[columns].itertuples(index=False))
    return hashlib.sha256("\x1e".join([*columns, *rows]).encode()).hexdigest()[:16]


def _load(source):
    """(label, raw DataFrame) of anything `read` takes."""
    if isinstance(source, pd.DataFrame):
        return FRAME, source.reset_index(drop=True)
    if isinstance(source, list | tuple):
        return "The list", _concat([_load(s)[1] for s in source])
    if not isinstance(source, str | Path):
        raise InputError(f"Cannot read a {type(source).__name__}; give a csv, parquet, store or DataFrame.")
    path = Path(source)
    return str(path), (_load_store(path) if path.is_dir() else _load_file(path))


def _concat(tables):
    full = [t.dropna(axis=1, how="all") for t in tables if len(t)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()


def _load_file(path):
    if not path.exists():
        raise InputError(f"No file {str(path)!r}; give a csv, a parquet or the folder of a collect store.")
    if path.suffix.lower() not in READERS:
        raise InputError(f"{str(path)!r} ends in {path.suffix!r}; allowed are .csv, .parquet or a store.")
    if not path.stat().st_size:
        raise InputError(f"{str(path)!r} is empty; give a table with a header and at least one row.")
    return _parse(path, "export it again")


def _read_csv(path):
    """A csv parted by comma, semicolon or tab, whichever the header has most of."""
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    part = max(",;\t", key=header.count)
    return pd.read_csv(path, sep=part, decimal="," if part == ";" else ".", encoding="utf-8-sig")


READERS = {".csv": _read_csv, ".parquet": pd.read_parquet}


def _parse(path, next_step):
    try:
        return READERS[path.suffix.lower()](path)
    except Exception as error:  # pandas and pyarrow raise many kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{str(path)!r} is damaged and cannot be read ({reason}); {next_step}.") from error


def _load_store(path):
    cells = path / "cells" if (path / "cells").is_dir() else path
    files = sorted(cells.glob("*.parquet"))
    if not files:
        raise InputError(f"The folder {str(path)!r} holds no cells/*.parquet: run the sweep first.")
    return _concat([_parse(f, "delete it and run the sweep again, which measures it anew") for f in files])


def _refuse(faults, label):
    if faults:
        place = f"{label}: " if label != FRAME else ""
        more = f" ({len(faults) - 1} more of the kind.)" if len(faults) > 1 else ""
        raise InputError(f"{place}{faults[0]}{more}")


def _typed(table, used):
    """Known columns as numbers or text, whole where they are whole; mappings as JSON text."""
    return pd.DataFrame({c: _cast(table[c], c in used) for c in table.columns})


def _cast(column, used):
    known = schema.COLUMNS.get(column.name)
    if used or (known and known.allowed is not schema.TEXT):
        values = schema.numbers(column)
        whole = values.notna().all() and (values % 1 == 0).all() and values.abs().max() < 2**53
        return values.astype("int64") if whole else values
    if column.map(lambda v: isinstance(v, dict | list)).any():
        return column.map(lambda v: json.dumps(v, sort_keys=True))
    return column.map(_text) if known else column


def _text(value):
    return None if value is None or value is pd.NA or value != value else str(value)


def _keys(table, columns):
    """One string a row, equal where the columns are."""
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
                "keep one, or mark repeats by a column 'seed'."
            )


def _average(group, same, quality):
    row = group[same].iloc[0].to_dict()
    numeric = [c for c in group.select_dtypes("number") if c not in row and c != "seed"]
    row |= group[numeric].mean().to_dict()
    if len(group) > 1:
        row[f"{quality}_se"] = group[quality].std(ddof=1) / np.sqrt(len(group))
    return row | {"repeats": len(group)}


def _equal(held, value):
    try:
        return float(held) == float(value)
    except (TypeError, ValueError):
        return str(held) == str(value)


def _some(column, shown=12):
    found = [str(v) for v in dict.fromkeys(column.dropna())]
    return ", ".join(found[:shown]) + (f" and {len(found) - shown} more" if len(found) > shown else "")
