"""What a sweep keeps, in a folder or an object store (collect/store/files.py), shared by any number of workers.

cells/NAME-KEY.parquet            one row a finished cell, immutable: the first one written is the cell, for ever
failed/NAME-KEY.json              why a cell gave no row
partial/NAME-KEY.N.safetensors    partial sums of a cell in work        (collect/store/partials.py)
leases/NAME-KEY.N                 who works on it                       (collect/store/leases.py)

Cells, failures and partial sums carry a checksum over the whole file. A file that is cut or has a flipped bit is
set aside as `.damaged` (partial sums are dropped) and measured again, never read.
"""

import hashlib
import io
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from collect.store import files, leases
from scalinglaws.schema import InputError

CELLS, FAILED = "cells", "failed"


def identity(settings):
    """16 hex digits that name a cell: the hash of its settings in canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def stem(job):
    """The name of a cell's files, without folder and suffix."""
    return f"{job.name}-{job.key}"


@dataclass(frozen=True)
class Store:
    """A folder of cells, as a path, a URL that fsspec knows, or a place of collect/store/files.py."""

    folder: object

    @cached_property
    def files(self):
        return files.files(self.folder)

    @property
    def cells(self):
        return self.folder / CELLS if isinstance(self.folder, Path) else f"{self.folder}/{CELLS}"

    def path(self, name, key):
        """Where a cell is: a Path, or the text of a URL."""
        place = f"{self.folder}/{CELLS}/{name}-{key}.parquet"
        return Path(place) if isinstance(self.files, files.Local) else place

    def has(self, name, key):
        """Whether a readable file of this cell is there; a damaged one is set aside as `.damaged`, not counted."""
        return self.files.has(cell_file(f"{name}-{key}")) and set_aside(self, f"{name}-{key}") is None

    def write(self, name, key, row):
        """Keep one row, whole or not at all; False when the cell was there before, which then stays as it is."""
        return self.keep(f"{name}-{key}", encode(row))

    def keep(self, stem, data):
        """The same with the row's bytes."""
        first = self.files.create(cell_file(stem), data, lasting=True)
        self.files.remove(failed_file(stem))
        return first

    def read(self, stem):
        """A cell's row as an Arrow table; InputError when it is not there or damaged."""
        data = self.files.read(cell_file(stem))
        if data is None:
            raise InputError(f"No cell {stem} in {self.folder}: run its sweep first.")
        return decode(data, f"{self.folder}/{cell_file(stem)}")

    def table(self):
        """All rows in the order of their file names; InputError names a damaged file."""
        rows = [self.read(found) for found in sorted(self.stems())]
        return pa.concat_tables(rows, promote_options="permissive").to_pandas() if rows else pd.DataFrame()

    def stems(self):
        """The finished cells, by one listing."""
        return {name.removesuffix(".parquet") for name in self.files.names(CELLS) if name.endswith(".parquet")}

    def failures(self):
        """{cell: its outcome}, 'attempts' among it; a damaged outcome says so."""
        return {name.removesuffix(".json"): self.failure(name.removesuffix(".json"))
                for name in sorted(self.files.names(FAILED))}  # fmt: skip

    def failure(self, stem):
        """A cell's recorded outcome, or None: {status, reason, when, who, attempts}."""
        data = self.files.read(failed_file(stem))
        if data is None:
            return None
        if not files.sealed(data):
            return {"status": "error", "reason": "its record is damaged", "when": None, "who": None, "attempts": 1}
        return {field: value for field, value in json.loads(data).items() if field != "seal"}

    def fail(self, stem, status, reason, when, who):
        """Record why a cell gave no row; tries are counted."""
        before = self.failure(stem)
        attempts = before["attempts"] + 1 if before else 1
        outcome = {"status": status, "reason": reason, "when": when, "who": who, "attempts": attempts}
        self.files.replace(failed_file(stem), files.seal(json.dumps(outcome | {"seal": files.BLANK}).encode()))


def cell_file(stem):
    return f"{CELLS}/{stem}.parquet"


def failed_file(stem):
    return f"{FAILED}/{stem}.json"


def encode(row):
    """The bytes of a one-row parquet file with its seal; InputError names a value that is no number, text or null."""
    try:
        table = pa.Table.from_pylist([row])
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"The row {row} cannot be kept: {error}. Rows hold numbers, text and None.") from error
    out = pa.BufferOutputStream()
    plain = {"use_dictionary": False, "write_statistics": False, "compression": "NONE", "store_schema": False}
    with pq.ParquetWriter(out, table.schema, **plain) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"seal": files.BLANK})
    return files.seal(out.getvalue().to_pybytes())


def decode(data, place):
    """The row of a sealed parquet file as an Arrow table; InputError when not one byte may be trusted."""
    if not files.sealed(data):
        size = f"{len(data)} bytes that are not those written"
        raise InputError(f"The cell file {place} is damaged ({size}): delete it and run the sweep again.")
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def set_aside(store, stem):
    """The new name of a cell's file if it is damaged, else None; a good one that came meanwhile is put back."""
    data = store.files.read(cell_file(stem))
    if data is None or files.sealed(data):
        return None
    aside = f"{CELLS}/{stem}.damaged"
    if store.files.move(cell_file(stem), aside):
        found = store.files.read(aside)
        if found is not None and files.sealed(found):
            store.files.create(cell_file(stem), found, lasting=True)
            return None
    return aside


def verify(store):
    """Read every cell once and set the damaged ones aside; their new names."""
    return [aside for aside in (set_aside(store, found) for found in sorted(store.stems())) if aside]


def missing(store, jobs, retry=False):
    """The jobs that are neither done nor, unless asked again, failed: two listings, whatever their number."""
    done = store.files.names(CELLS)
    failed = set() if retry else store.files.names(FAILED)
    return [job for job in jobs if f"{stem(job)}.parquet" not in done and f"{stem(job)}.json" not in failed]


def status(store, jobs):
    """Counts of 'cells', 'done', 'missing' (neither done nor failed) and 'damaged', and who holds or failed what.

    'failed': [{cell, status, reason, when, who, attempts}], 'leased': [{cell, who, host, pid, since}], times as ISO.
    """
    stems = {stem(job) for job in jobs}
    done, failed = store.stems() & stems, {s: why for s, why in store.failures().items() if s in stems}
    held = [lease for lease in leases.held(store.files) if lease["cell"] in stems - done]
    aside = [name for name in store.files.names(CELLS) if name.endswith(".damaged")]
    return {
        "cells": len(jobs), "done": len(done), "missing": len(stems - done - set(failed)), "damaged": len(aside),
        "failed": [{"cell": s, **why} for s, why in failed.items() if s not in done], "leased": held,
    }  # fmt: skip


def read_cell(path):
    """A parquet file as a table; InputError when it is damaged. A cell's seal is checked, other files have none."""
    data = Path(path).read_bytes()
    try:
        if data.rfind(files.MARK) >= 0:
            return decode(data, path).to_pandas()
        return pd.read_parquet(io.BytesIO(data))
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
    """The rows of a store's folder or URL, or of a table file; InputError when there are none."""
    if "://" not in str(source) and not Path(source).exists():
        raise InputError(f"Nothing at '{source}': give a folder of finished cells, or a .csv or .parquet file.")
    if "://" in str(source) or Path(source).is_dir():
        table = Store(source).table()
    else:
        table = _format(source)[0](source)
    if table.empty:
        raise InputError(f"'{source}' holds no finished cell: run its sweep first.")
    return table


def export(sources, out):
    """Write the rows of several stores or tables as one file, exact repeats dropped; returns the table."""
    _format(out)
    table = pd.concat([_rows(source) for source in sources], ignore_index=True).drop_duplicates(ignore_index=True)
    write_table(table, out)
    return table


def write_table(table, out):
    """A table as one .csv or .parquet file, whole or not at all."""
    write = _format(out)[1]
    part = Path(out).with_name(f".{os.getpid()}-{Path(out).name}")
    write(table, part)
    os.replace(part, out)
