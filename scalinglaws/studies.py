"""The bundled studies by name: what papers printed, and the family this project trained and measured.

search("flow")      names of those with the word in name or title
load("edm2")        the table, checked
describe("edm2")    its source, families, quality columns and caveats
read(x)             a bundled name, or anything `measurements.read` takes
"""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from scalinglaws import measurements, schema
from scalinglaws.schema import InputError

HERE = Path(__file__).resolve().parent
HOMES = (HERE / "data", HERE.parent / "data")  # of the tables, in the wheel and in the checkout
FOLDERS = ("published", "measurements")  # folders of data/ that hold studies, one file per study
CATALOGUE = "studies.toml"  # beside them: titles, caveats and relatives


@dataclass(frozen=True)
class Study:
    """What a bundled study is; `quality` are its quality columns, `caveats` are to be read before fitting."""

    name: str
    title: str
    rows: int
    families: tuple
    quality: tuple
    sources: tuple
    caveats: tuple


@cache
def known():
    """{name: {title, caveats, relatives}} of the catalogue, in its order; not to be changed."""
    path = next((home / CATALOGUE for home in HOMES if (home / CATALOGUE).exists()), None)
    if path is None:
        raise InputError(f"No {CATALOGUE} in {' or '.join(map(str, HOMES))}: install the package again.")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def names():
    """Names of the studies that are there, in the order of the catalogue."""
    return [name for name in known() if _file(name)]


def search(words=""):
    """Names of the studies whose name or title holds all of these words, in the order of the catalogue.

    Raises InputError where none does.

    >>> search("karras 2023")
    ['edm2']
    """
    held = {name: f"{name} {known()[name]['title']}".lower() for name in names()}
    found = [name for name, text in held.items() if all(word in text for word in words.lower().split())]
    if not found:
        raise InputError(f"No study has {words!r} in its name or title.{_close(words)} Known: {', '.join(names())}.")
    return found


def load(name, family=None):
    """The study's table; one of its families if asked."""
    table = measurements.read(_path(name))
    return measurements.where(table, family=family) if family else table


def describe(name):
    """Source, size, families, quality columns and caveats of a study.

    From its table as it is stored, which is tidy: the checks of `load` would take seconds over all studies.
    """
    path = _path(name)
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, low_memory=False)
    quality = tuple(c for c in schema.names("quality") if c in table and table[c].notna().any())
    sources = tuple(dict.fromkeys(table["source"].dropna())) if "source" in table else ()
    entry, families = known()[name], tuple(measurements.families(table))
    return Study(name, entry["title"], len(table), families, quality, sources, tuple(entry.get("caveats", ())))


def read(source, needs=(), quality=None, strict=False, named=None):
    """A bundled study by its name, or a csv, parquet, store, DataFrame or list: one tidy, checked table.

    See `measurements.read`: a row without a value in `needs` or `quality` is left out, or refused with `strict`.

    >>> len(read("mei", quality="fid"))
    11
    """
    called = isinstance(source, str) and "://" not in source and not Path(source).exists()
    path = _file(source) if called else None
    if called and not path and not Path(source).suffix:
        raise InputError(f"No file or study named {source!r}.{_close(source)} Bundled studies: {', '.join(names())}.")
    return measurements.read(path or source, needs, quality, strict, named)


def _close(name):
    """A sentence that names the study spelt most like it, or nothing."""
    close = difflib.get_close_matches(name, names(), 1)
    return f" Do you mean {close[0]!r}?" if close else ""


def _path(name):
    """Path of the study's table; InputError lists the known ones."""
    path = _file(name)
    if path is None:
        raise InputError(f"No study named {name!r}. Known studies: {', '.join(names())}.")
    return path


def _file(name):
    """Path of the study's table, in the wheel or in the checkout; None if there is none."""
    if name not in known():
        return None
    folders = [home / folder for home in HOMES for folder in FOLDERS]
    places = [folder / f"{name}{end}" for folder in folders for end in (".parquet", ".csv")]
    return next((p for p in places if p.exists()), None)
