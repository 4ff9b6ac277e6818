"""What a sweep keeps, in a folder or an object store (collect/store/files.py), shared by any number of workers.

cells/NAME-KEY.parquet            one row per finished cell, immutable: the first one written is the cell, for ever
failed/NAME-KEY.json              why a cell gave no row
partial/NAME-KEY.N.safetensors    partial sums of a cell in work        (collect/store/partials.py)
leases/NAME-KEY.N                 who works on it                       (collect/store/leases.py)

Cells (scalinglaws/cells.py), failures and partial sums carry a checksum over the whole file. A file that is cut or has
a flipped bit is quarantined as `.damaged` (partial sums are dropped) and measured again, never read.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from collect.store import files, leases
from scalinglaws.cells import (
    FOLDER,
    PLACEHOLDER,
    SUFFIX,
    DamagedCell,
    add_checksum,
    as_frame,
    checksum_matches,
    decode_table,
    encode,
)
from scalinglaws.schema import InputError

CELLS, FAILED, QUARANTINED = FOLDER, "failed", ".damaged"


def identity(settings):
    """16 hex digits that name a cell: the hash of its settings in canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def stem(job):
    """The name of a cell's files, without folder and suffix."""
    return f"{job.name}-{job.key}"


def cell_file(stem):
    return f"{CELLS}/{stem}{SUFFIX}"


def failed_file(stem):
    return f"{FAILED}/{stem}.json"


@dataclass(frozen=True)
class Store:
    """A folder of cells, as a path, a URL that fsspec knows, or a place of collect/store/files.py."""

    folder: object

    @cached_property
    def files(self):
        return files.open_place(self.folder)

    @property
    def cells(self):
        return self.folder / CELLS if isinstance(self.folder, Path) else f"{self.folder}/{CELLS}"

    def path(self, name, key):
        """Where a cell is: a Path, or the text of a URL."""
        place = f"{self.folder}/{cell_file(f'{name}-{key}')}"
        return Path(place) if isinstance(self.files, files.Local) else place

    def has(self, name, key):
        """Whether a readable file of this cell is there; a damaged one is quarantined, not counted."""
        return self.files.has(cell_file(f"{name}-{key}")) and quarantine(self, f"{name}-{key}") is None

    def write(self, name, key, row):
        """Keep one row, whole or not at all; False when the cell was there before, which then stays as it is."""
        return self.keep(f"{name}-{key}", encode(row))

    def keep(self, stem, data):
        """The same with the row's bytes."""
        first = self.files.create(cell_file(stem), data, lasting=True)
        self.files.remove(failed_file(stem))
        return first

    def read(self, stem):
        """A cell's row {column: value}; InputError when it is not there or damaged."""
        return self._table(stem).to_pylist()[0]

    def table(self, among=None):
        """All rows, or those of the cells `among` (stems), as a DataFrame in the order of their file names; InputError
        names a damaged file."""
        found = self.stems() if among is None else self.stems() & set(among)
        return as_frame([self._table(stem) for stem in sorted(found)])

    def _table(self, stem):
        data = self.files.read(cell_file(stem))
        if data is None:
            raise InputError(f"No cell {stem} in {self.folder}: run its sweep first.")
        try:
            return decode_table(data)
        except DamagedCell as error:
            place = f"{self.folder}/{cell_file(stem)}"
            raise InputError(f"{place} is damaged ({error}): delete it and run the sweep again.") from error

    def stems(self):
        """The finished cells, by one listing."""
        return {name.removesuffix(SUFFIX) for name in self.files.names(CELLS) if name.endswith(SUFFIX)}

    def failures(self):
        """{cell: its outcome}, 'attempts' among it; a damaged outcome says so."""
        stems = [name.removesuffix(".json") for name in sorted(self.files.names(FAILED))]
        return {stem: self.failure(stem) for stem in stems}

    def failure(self, stem):
        """A cell's recorded outcome, or None: {status, reason, when, who, attempts}."""
        data = self.files.read(failed_file(stem))
        if data is None:
            return None
        if not checksum_matches(data):
            return {"status": "error", "reason": "its record is damaged", "when": None, "who": None, "attempts": 1}
        return {field: value for field, value in json.loads(data).items() if field != "checksum"}

    def fail(self, stem, status, reason, when, who):
        """Record why a cell gave no row; tries are counted."""
        before = self.failure(stem)
        attempts = before["attempts"] + 1 if before else 1
        outcome = {"status": status, "reason": reason, "when": when, "who": who, "attempts": attempts}
        record = json.dumps(outcome | {"checksum": PLACEHOLDER}).encode()
        self.files.replace(failed_file(stem), add_checksum(record))


def repeated(stems):
    """Names that several cells have, sorted: one place in the axes, measured with other weights, metrics, references or
    numbers of a network, as when a sweep was changed and run again."""
    names = Counter(stem.rpartition("-")[0] for stem in stems)
    return sorted(name for name, count in names.items() if count > 1)


def quarantine(store, stem):
    """The new name of a cell's file if it is damaged, else None; a good one that came meanwhile is put back."""
    data = store.files.read(cell_file(stem))
    if data is None or checksum_matches(data):
        return None
    name = f"{CELLS}/{stem}{QUARANTINED}"
    if store.files.move(cell_file(stem), name):
        moved = store.files.read(name)
        if moved is not None and checksum_matches(moved):
            store.files.create(cell_file(stem), moved, lasting=True)
            return None
    return name


def verify(store):
    """Read every cell once and quarantine the damaged ones; their new names."""
    moved = [quarantine(store, stem) for stem in sorted(store.stems())]
    return [name for name in moved if name]


def missing(store, jobs, retry=False):
    """The jobs that are neither done nor, unless `retry`, failed: two listings, whatever their number.

    A damaged file counts as done until verify() finds it.
    """
    done = store.files.names(CELLS)
    failed = set() if retry else store.files.names(FAILED)
    return [job for job in jobs if f"{stem(job)}{SUFFIX}" not in done and f"{stem(job)}.json" not in failed]


def status(store, jobs=None):
    """Counts of 'cells', 'done', 'missing' (neither done nor failed) and 'damaged', and who holds or failed what.

    'failed': [{cell, status, reason, when, who, attempts}], 'leased': [{cell, who, host, pid, since, gone}],
    times as ISO. Cells are known by their names, not read: a damaged file counts as done until verify() finds it.
    Without jobs of every cell that the store knows: 'cells' and 'missing' are None.
    """
    done, failed, held = store.stems(), store.failures(), leases.held(store.files)
    stems = done | failed.keys() | {lease["cell"] for lease in held} if jobs is None else {stem(job) for job in jobs}
    done, failed = done & stems, {s: why for s, why in failed.items() if s in stems}
    held = [lease for lease in held if lease["cell"] in stems - done]
    damaged = [name for name in store.files.names(CELLS) if name.endswith(QUARANTINED)]
    return {
        "cells": None if jobs is None else len(jobs), "done": len(done),
        "missing": None if jobs is None else len(stems - done - set(failed)), "damaged": len(damaged),
        "failed": [{"cell": s, **why} for s, why in failed.items() if s not in done], "leased": held,
    }  # fmt: skip
