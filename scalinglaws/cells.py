"""The file of one finished cell, a one-row parquet file with a checksum, and the reader of a store of them.

    store/cells/NAME-KEY.parquet     one row each, immutable

The checksum is a sha256 over the whole file, its own 64 digits taken as zeros, kept in the parquet metadata: any
parquet reader reads the row, and any flipped bit or cut is found before a number is believed. No torch is needed.

>>> row = decode(encode({"model": "c8", "steps": 4, "fd": 12.5}))
>>> row["model"], row["steps"], row["fd"]
('c8', 4, 12.5)
>>> decode(encode({"fd": 12.5})[:-1])  # doctest: +IGNORE_EXCEPTION_DETAIL
Traceback (most recent call last):
    ...
scalinglaws.cells.DamagedCell: its 295 bytes are not those written: the checksum differs
"""

import hashlib
import os
import warnings
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scalinglaws.schema import InputError

FOLDER, SUFFIX = "cells", ".parquet"
MARK = b"sha256 of this file with these digits as zeros: "
DIGITS = 64
PLACEHOLDER = (MARK + b"0" * DIGITS).decode()  # written into a file's metadata, then filled in by add_checksum
KEY = b"checksum"  # of the parquet metadata; files written before 2026-11-25 have b"seal"
KEYS = (KEY, b"seal")
SHOWN = 3  # damaged files named in one sentence


class DamagedCell(ValueError):
    """The bytes are not those that were written: a cut, a flipped bit, or no cell file at all."""


class DamagedCellWarning(UserWarning):
    """Cells that were left out because their files are damaged."""


def _digest(data, at):
    """sha256, in hexadecimal bytes, of the data with the digits at a place taken as zeros."""
    view, digest = memoryview(data), hashlib.sha256()
    for part in (view[:at], b"0" * DIGITS, view[at + DIGITS :]):
        digest.update(part)
    return digest.hexdigest().encode()


def add_checksum(data):
    """The bytes with PLACEHOLDER's digits filled in; ValueError when PLACEHOLDER is not in them."""
    at = data.rindex(MARK) + len(MARK)
    return b"".join((data[:at], _digest(data, at), data[at + DIGITS :]))


def checksum_matches(data):
    """Whether the bytes are those that were written: not so after a cut or a flipped bit anywhere."""
    at = data.rfind(MARK) + len(MARK)
    return at >= len(MARK) and data[at : at + DIGITS] == _digest(data, at)


def encode(row):
    """The bytes of a cell file of one row {column: number, text or None}; InputError for any other value."""
    try:
        table = pa.Table.from_pylist([row])
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"The row {row} cannot be kept: {error}. Rows hold numbers, text and None.") from error
    out = pa.BufferOutputStream()
    plain = {"use_dictionary": False, "write_statistics": False, "compression": "NONE", "store_schema": False}
    with pq.ParquetWriter(out, table.schema, **plain) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({KEY.decode(): PLACEHOLDER})
    return add_checksum(out.getvalue().to_pybytes())


def decode(data):
    """The row {column: value} of a cell file's bytes; DamagedCell when the checksum or the parquet is bad."""
    return decode_table(data).to_pylist()[0]


def decode_table(data):
    """The same as an Arrow table of one row; DamagedCell as in decode."""
    if data.rfind(MARK) < 0:
        raise DamagedCell("its checksum is missing or cut off")
    if not checksum_matches(data):
        raise DamagedCell(f"its {len(data)} bytes are not those written: the checksum differs")
    return _parquet(data)


def read_table(data):
    """The Arrow table of a parquet file's bytes; a checksum is verified where the file has one, or had one.

    Files of other tools have none and are read as they are. DamagedCell as in decode.
    """
    if data.rfind(MARK) >= 0:
        return decode_table(data)
    table = _parquet(data)
    if any(key in (table.schema.metadata or {}) for key in KEYS):
        raise DamagedCell("its checksum is missing or cut off")
    return table


def _parquet(data):
    try:
        return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedCell(f"no parquet: {' '.join(str(error).split())[:120]}") from error


def read_store(url, skip_damaged=False):
    """All finished cells of a store as a DataFrame, one row per cell, in the order of their file names.

    url: a folder or an fsspec address (s3://bucket/run), of a store or of its cells/ alone. A damaged file is never
    read: InputError names all of them, or with `skip_damaged` they are left out with a DamagedCellWarning.
    InputError, too, when there is no cell.
    """
    tables, damaged = [], []
    for name, data in _files(url):
        try:
            tables.append(read_table(data))
        except DamagedCell as error:
            damaged.append(f"{name!r} is damaged and cannot be read ({error})")
    if damaged:
        more = f" and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
        listed = ", ".join(damaged[:SHOWN]) + more
        if not skip_damaged:
            raise InputError(f"{listed}; delete it and run the sweep again, which measures it anew.")
        warnings.warn(f"{len(damaged)} cell(s) left out: {listed}.", DamagedCellWarning, stacklevel=2)
    if not tables and not damaged:
        raise InputError(f"The folder {str(url)!r} holds no cells/*.parquet: run the sweep first.")
    return as_frame(tables)


def as_frame(tables):
    """Arrow tables below each other as one DataFrame: columns of any are columns of all."""
    if not tables:
        return pd.DataFrame()
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
        unknown = [f.with_type(pa.float64()) if pa.types.is_null(f.type) else f for f in whole.schema]
        return whole.cast(pa.schema(unknown)).to_pandas()  # a column of nulls alone is NaN, as in a csv
    except pa.ArrowException:  # a column that is text here and a number there
        frames = [table.to_pandas().dropna(axis=1, how="all") for table in tables]
        return pd.concat(frames, ignore_index=True)


def _files(url):
    """(name, bytes) of every cell file, by name."""
    text = os.fspath(url)
    if "://" in text:
        yield from _remote_files(text.rstrip("/"))
        return
    folder = Path(text)
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        yield str(path), path.read_bytes()


def _remote_files(url):
    try:
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(f"The store {url} cannot be opened: {error}. Give a folder, or install fsspec and the "
                         "package that it names for this kind of address.") from error  # fmt: skip
    folder = f"{root}/{FOLDER}" if fs.isdir(f"{root}/{FOLDER}") else root
    names = fs.ls(folder, detail=False) if fs.isdir(folder) else []
    for name in sorted(name for name in names if name.endswith(SUFFIX)):
        yield fs.unstrip_protocol(name), fs.cat_file(name)
