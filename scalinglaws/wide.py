"""Tables with one column per step count or size: read as rows where the names say so, else what to do about them.

as_rows(table)   "FID (4 steps)", "FID (8 steps)" become rows of fid at 4 and 8 steps; so do "FID (39M)", "FID (145M)"
hint(table)      how to make rows of columns that look like one quality, but do not say what they differ in
"""

import re
from dataclasses import dataclass

import pandas as pd

from scalinglaws import schema
from scalinglaws.spellings import METRICS, recognise, words_of
from scalinglaws.units import count

AXES = {"step": "steps", "steps": "steps", "nfe": "nfe", "nfes": "nfe"}  # word in a name: column
EMPTY = {"at", "sampling", "inference", "denoising", "sampler", "vs", "by"}  # words beside these that add nothing
SHOWN = 3  # columns named in one sentence
LAST_NUMBER = r"(\d+)\D*$"


@dataclass(frozen=True)
class Cell:
    """What a column's name says of its values: a quality, at one value of an axis ('' where the name does not say)."""

    column: str
    quality: str  # column of the schema, '' where the name has no more than the value
    axis: str  # steps, nfe, params or ''
    value: float
    written: str


def split(column) -> Cell | None:
    """The Cell of a column such as "FID@4", "4-step FID", "fid_steps_4", "FID-30k (39M)" or "16"; None for others.

    >>> split("FID-30k (4 steps)")
    Cell(column='FID-30k (4 steps)', quality='fid', axis='steps', value=4.0, written='4')
    >>> split("FID@4").axis, split("FID-50k"), split("CLIP 1.5B").value
    ('', None, 1500000000.0)
    """
    name = re.sub(r"(?<=\d)(?=(steps?|nfes?)\b)", " ", str(column), flags=re.I)  # 4steps
    words = [w.replace("point", ".") for w in words_of(re.sub(r"(?<=\d)\.(?=\d)", "point", name))]
    numbers = [w for w in words if re.fullmatch(r"\d{1,4}|\d+(\.\d+)?[mb]", w)]
    if len(numbers) != 1:
        return None
    axes = [AXES[w] for w in words if w in AXES]
    rest = " ".join(w for w in words if w not in {*numbers, *AXES, *EMPTY})
    quality = recognise(rest) if rest else None
    if len(axes) > 1 or (rest and (quality is None or quality.meaning not in METRICS)):
        return None
    sized = numbers[0][-1] in "mb"
    axis = "params" if sized and not axes else axes[0] if axes else ""
    written = numbers[0].upper() if sized else numbers[0]
    return Cell(column, quality.meaning if quality else "", axis, count(numbers[0]), written)


def as_rows(table) -> pd.DataFrame:
    """The table with one row for each value that names of columns give to a quality: steps, nfe, or params.

    Unchanged where no two columns do, where they differ in several ways, or where the table has that column already.
    """
    cells = [c for c in map(split, table.columns) if c and c.quality and c.axis]
    axes, values = {c.axis for c in cells}, dict.fromkeys(c.value for c in cells)
    twice = len({(c.quality, c.value) for c in cells}) < len(cells)
    if len(axes) != 1 or len(values) < 2 or twice or _known(table, cells) & (axes | {c.quality for c in cells}):
        return table
    axis, kept = axes.pop(), [c for c in table.columns if c not in {cell.column for cell in cells}]
    parts = []
    for value in values:
        held = [c for c in cells if c.value == value]
        label = {"model": held[0].written} if axis == "params" and "model" not in _known(table, cells) else {}
        parts.append(table[kept].assign(**{axis: value}, **label, **{c.quality: table[c.column] for c in held}))
    rows = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    rows.attrs["notes"] = (*table.attrs.get("notes", ()), f"Columns {_listed(cells)} are read as rows: "
                           f"{' and '.join(dict.fromkeys(c.quality for c in cells))} by {axis}.")  # fmt: skip
    return rows


def hint(table) -> str:
    """What to do where columns look like one quality, each at a value of something; '' where none do."""
    cells = [c for c in map(split, table.columns) if c and not (c.axis and c.quality)]
    cells = [c for c in cells if (c.quality, c.axis) == (cells[0].quality, cells[0].axis)]
    if len(cells) < 2:
        return _of_sizes(table)
    first, kept = cells[0], [c for c in table.columns if not split(c)]
    axis, quality = first.axis or "steps", first.quality or "fid"
    called = f"{quality} ({first.written}{'' if axis == 'params' else f' {axis}'})"
    numbers = f".assign({axis}=lambda t: t.{axis}.str.extract(r'{LAST_NUMBER}')[0])" if axis != "params" else ""
    return (f"Columns {_listed(cells)} look like one quality, a column for each value, where a row should be one "
            f"measurement. {'Call' if first.axis else 'If they are steps, call'} them {called!r} and so on, or make "
            f"rows of them: {_melt(table, kept, axis, quality)}{numbers}.to_csv('rows.csv', index=False).")  # fmt: skip


def _of_sizes(table):
    """The hint where steps are known and several columns of numbers are not: one column per size."""
    unknown = [c for c in table.columns if c not in schema.COLUMNS and recognise(c) is None
               and pd.api.types.is_numeric_dtype(table[c])]  # fmt: skip
    known = [c for c in table.columns if c not in unknown]
    meanings = _meanings(known)
    if len(unknown) < 2 or not meanings & {*AXES.values()} or meanings & {"model", *schema.names(kind="size")}:
        return ""
    return (f"If {_listed_names(unknown)} are one quality of several sizes, a column each, make rows of them, with the "
            f"size of each: {_melt(table, known, 'model', 'fid')}.assign(params=lambda t: t.model.map("
            f"{{{unknown[0]!r}: '33M', ...}})).to_csv('rows.csv', index=False).")  # fmt: skip


def _melt(table, kept, axis, quality):
    return f"sl.read(FILE).melt({list(kept)}, var_name={axis!r}, value_name={quality!r})"


def _known(table, cells):
    """Meanings of the columns that are no cells."""
    return _meanings(set(table.columns) - {c.column for c in cells})


def _meanings(columns):
    return {c if c in schema.COLUMNS else getattr(recognise(c), "meaning", "") for c in columns}


def _listed(cells):
    return _listed_names([cell.column for cell in cells])


def _listed_names(names):
    return ", ".join(map(str, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
