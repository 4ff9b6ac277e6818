"""Rows of stores and table files as one csv or parquet file."""

from pathlib import Path

import pandas as pd

from collect.store.store import Store
from collect.writing import whole
from scalinglaws.cells import FOLDER, DamagedCell, as_frame, read_store, read_table
from scalinglaws.schema import InputError


def read_parquet(path):
    """A parquet file as a DataFrame, a cell's checksum verified; InputError when it is damaged."""
    try:
        return as_frame([read_table(Path(path).read_bytes())])
    except (OSError, DamagedCell) as error:
        raise InputError(f"The file {path} is damaged ({error}): export it, or run its sweep, again.") from error


FORMATS = {  # suffix: (read, write)
    ".csv": (pd.read_csv, lambda table, path: table.to_csv(path, index=False)),
    ".parquet": (read_parquet, lambda table, path: table.to_parquet(path, index=False)),
}


def table_format(path):
    """(read, write) of a table file by its suffix; InputError where it is no .csv or .parquet."""
    if Path(path).suffix not in FORMATS:
        raise InputError(f"'{path}' is neither {' nor '.join(FORMATS)}, nor a folder of finished cells.")
    return FORMATS[Path(path).suffix]


def store_at(source):
    """The Store at a URL or in a folder, or None where the source is something else."""
    return Store(source) if "://" in str(source) or (Path(source) / FOLDER).is_dir() else None


def _rows(source, among=None):
    """The rows of a store, or of its cells `among`, or of a table file; InputError when there are none."""
    store = store_at(source)
    if store and among is None:
        return read_store(source)
    if store:
        table = store.table(among)
        if table.empty:
            raise InputError(f"'{source}' holds none of the sweep's cells: run the sweep, or leave --sweep out.")
        return table
    if Path(source).is_dir():
        raise InputError(f"'{source}' holds no finished cell: run its sweep first.")
    if not Path(source).exists():
        raise InputError(f"Nothing at '{source}': give a folder of finished cells, or a .csv or .parquet file.")
    table = table_format(source)[0](source)
    if table.empty:
        raise InputError(f"'{source}' has no rows: export it again.")
    return table


def export(sources, out, among=None):
    """Write the rows of several stores or tables as one file, exact repeats dropped; returns the table.

    among: names of the files (stems) of the cells that are taken of stores; all when left out.
    """
    table_format(out)
    rows = [_rows(source, among) for source in sources]
    table = pd.concat(rows, ignore_index=True).drop_duplicates(ignore_index=True)
    write_table(table, out)
    return table


def write_table(table, out):
    """A table as one .csv or .parquet file, whole or not at all; InputError where it cannot be written."""
    write = table_format(out)[1]
    with whole(out) as part:
        write(table, part)
