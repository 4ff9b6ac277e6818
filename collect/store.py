"""Finished cells: one immutable parquet file each, written whole, then renamed into place."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from scalinglaws.schema import InputError


def identity(settings):
    """16 hex digits that name a cell: the hash of its settings in canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Store:
    """A folder of cells; any number of them may be there, in any order."""

    folder: Path

    @property
    def cells(self):
        return Path(self.folder) / "cells"

    def path(self, name, key):
        return self.cells / f"{name}-{key}.parquet"

    def has(self, name, key):
        """Whether a readable file of this cell is there; a damaged one is set aside as `.damaged`, not counted."""
        path = self.path(name, key)
        if not path.exists():
            return False
        try:
            read_cell(path)
            return True
        except InputError:
            os.replace(path, path.with_suffix(".damaged"))
            return False

    def write(self, name, key, row):
        """Keep one row, whole or not at all."""
        self.cells.mkdir(parents=True, exist_ok=True)
        part = self.cells / f".{name}-{key}.{os.getpid()}"
        pd.DataFrame([row]).to_parquet(part, index=False)
        os.replace(part, self.path(name, key))

    def table(self):
        """All rows in the order of their file names; InputError names a damaged file."""
        rows = [read_cell(path) for path in sorted(self.cells.glob("*.parquet"))]
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def read_cell(path):
    """One cell's row as a table; InputError when the file is damaged."""
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"The cell file {path} is damaged ({reason}): delete it and run the sweep again.") from error


FORMATS = {  # suffix: (read, write)
    ".csv": (pd.read_csv, lambda table, path: table.to_csv(path, index=False)),
    ".parquet": (read_cell, lambda table, path: table.to_parquet(path, index=False)),
}


def _format(path):
    if Path(path).suffix not in FORMATS:
        raise InputError(f"'{path}' is neither {' nor '.join(FORMATS)}, nor a folder of finished cells.")
    return FORMATS[Path(path).suffix]


def _rows(source):
    """The rows of a store's folder or of a table file; InputError when there are none."""
    if not Path(source).exists():
        raise InputError(f"Nothing at '{source}': give a folder of finished cells, or a .csv or .parquet file.")
    table = Store(Path(source)).table() if Path(source).is_dir() else _format(source)[0](source)
    if table.empty:
        raise InputError(f"'{source}' holds no finished cell: run its sweep first.")
    return table


def export(sources, out):
    """Write the rows of several stores or tables as one file, exact repeats dropped; returns the table."""
    write = _format(out)[1]
    table = pd.concat([_rows(source) for source in sources], ignore_index=True).drop_duplicates(ignore_index=True)
    part = Path(out).with_name(f".{os.getpid()}-{Path(out).name}")
    write(table, part)
    os.replace(part, out)
    return table
