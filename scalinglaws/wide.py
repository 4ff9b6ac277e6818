"""Tables with one column per step count or size: read as rows where the names say so, else what to do about them.

as_rows(table)   "FID (4 steps)", "FID (8 steps)" become rows of fid at 4 and 8 steps; so do "FID (39M)", "FID (145M)"
hint(table)      how to make rows of columns that look like one quality, but do not say what they differ in
"""

import re
from dataclasses import dataclass

import pandas as pd

from scalinglaws import schema
from scalinglaws.csvfile import clean_label
from scalinglaws.spellings import METRICS, UNREAD, recognise, words_of
from scalinglaws.units import count

AXES = {"step": "steps", "steps": "steps", "nfe": "nfe", "nfes": "nfe"}  # word in a name: column
FILLERS = {"at", "sampling", "inference", "denoising", "sampler", "vs", "by"}  # words beside these that add nothing
SHORT = re.compile(r"\d{1,4}|\d+(\.\d+)?[mb]")  # steps, or a size
LONG = re.compile(r"\d{5,7}|\d+(\.\d+)?k")  # steps of training; beside a quality maybe how many images it is of
TRAINING = 1000  # as many steps and more may be steps of a training
KINDS = [(True, True), (True, False), (False, True), (False, False)]  # whether a name tells a quality, and the axis
SHOWN = 3  # columns named in one sentence


@dataclass(frozen=True)
class WideColumn:
    """What a column's name says of its values: a quality, at one value of an axis ('' where the name does not say)."""

    column: str
    quality: str  # column of the schema, '' where the name has no more than the value
    axis: str  # steps, nfe, params or ''
    value: float
    written: str


def split(column) -> WideColumn | None:
    """What a name such as "FID@4", "4-step FID", "fid_steps_4", "FID-30k (39M)" or "16" says; None for others.

    The axis of "fid step 4" is '', since it may be a step of training. Five digits or thousands count images beside a
    quality ("FID-50k") unless the name says steps.

    >>> split("FID-30k (4 steps)")
    WideColumn(column='FID-30k (4 steps)', quality='fid', axis='steps', value=4.0, written='4')
    >>> split("FID@4").axis, split("FID-50k"), split("FID 50k steps").value, split("CLIP 1.5B").value
    ('', None, 50000.0, 1500000000.0)
    """
    words = _words(column)
    numbers, axes = _numbers(words), [AXES[w] for w in words if w in AXES]
    rest = " ".join(w for w in words if w not in {*numbers, *AXES, *FILLERS})
    quality = getattr(recognise(rest), "meaning", "") if rest else ""
    if len(numbers) != 1 or len(axes) > 1 or (rest and quality.removesuffix("_se") not in METRICS):
        return None
    (written,) = numbers
    if LONG.fullmatch(written) and rest and not axes:
        return None
    sized = written[-1] in "mb"
    axis = "params" if sized and not axes else axes[0] if axes else ""
    if f"step {written}" in " ".join(words):
        axis = ""
    value = count(written)
    return None if value is None else WideColumn(column, quality, axis, value, written.upper() if sized else written)


def as_rows(table, named=None) -> pd.DataFrame:
    """The table with one row for each value that names of columns give to a quality: steps, nfe, or params.

    Unchanged where no two columns do, where `_clash` or `_doubt` says why not, or where `named`, {column: meaning} as
    a user reads them, has one of them; those that the user calls "none" are left as they are.
    """
    named = {clean_label(column): meaning for column, meaning in (named or {}).items()}
    unread = {column for column, meaning in named.items() if str(meaning).strip().casefold() in UNREAD}
    found = [c for c in map(split, table.columns) if c and c.quality and c.axis and clean_label(c.column) not in unread]
    values = dict.fromkeys(c.value for c in found)
    if len(values) < 2 or named.keys() & {clean_label(c.column) for c in found}:
        return table
    if _clash(table, found) or _doubt(table, found):
        return table
    axis, kept = found[0].axis, [c for c in table.columns if c not in {wide.column for wide in found}]
    parts = []
    for value in values:
        held = [c for c in found if c.value == value]
        label = {"model": held[0].written} if axis == "params" else {}
        parts.append(table[kept].assign(**{axis: value}, **label, **{c.quality: table[c.column] for c in held}))
    rows = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    rows.attrs["notes"] = (*table.attrs.get("notes", ()), *_said(found, kept, unread))
    return rows


def _said(found, kept, unread):
    """Sentences on the columns that became rows, and on those that name a value of their axis, too, but did not."""
    axis, written = found[0].axis, {c.written.lower() for c in found}
    yield (f"Columns {_listed(found)} are read as rows: {' and '.join(dict.fromkeys(c.quality for c in found))} by "
           f"{axis}.")  # fmt: skip
    words = {c: _words(c) for c in kept if clean_label(c) not in unread}
    left = [c for c, some in words.items() if written & {*some} and (axis == "params" or axis in map(AXES.get, some))]
    if left:
        yield f"Left as they are: {_listed_names(left)}. To use them, give each row its own value."


def _clash(table, found):
    """Why columns that name values cannot be rows, whatever the values are of; '' where they can."""
    axes = sorted({c.axis or "steps" for c in found})
    taken = sorted(_known(table, found) & {*axes, *(c.quality for c in found)} - {"", "params"})
    if len(axes) > 1:
        return f"they differ in {' and in '.join(axes)}"
    if taken:
        return f"the table has {' and '.join(taken)} already"
    return "two of them are at one value" if len({(c.quality, c.value) for c in found}) < len(found) else ""


def _doubt(table, found):
    """Why the values may be no sampling steps and no parameters; '' where nothing speaks against it."""
    sizes = sorted(_known(table, found) & {"model", *schema.names(kind="size")})
    if found[0].axis == "params":
        return f"{found[0].written} may count something else than parameters, beside {sizes[0]}" if sizes else ""
    return "they may be steps of training" if max(c.value for c in found) >= TRAINING else ""


def hint(table, quality="") -> str:
    """What to do where columns look like one quality, each at a value of something; '' where none do.

    quality: what it is called where the columns do not say it (default: fid).
    """
    columns = [c for c in map(split, table.columns) if c]
    kinds = [[c for c in columns if (bool(c.quality), bool(c.axis)) == kind] for kind in KINDS]
    found = max(kinds, key=len)
    same = [c for c in found if (c.quality, c.axis) == (found[0].quality, found[0].axis)]
    if len(same) < 2:
        return _of_sizes(table)
    first, clash, doubt = same[0], _clash(table, found), _doubt(table, found)
    axis, quality = first.axis or "steps", first.quality or quality or "fid"
    looks = (f"Columns {_listed(same)} look like one quality, a column for each value, where a row should be one "
             "measurement")  # fmt: skip
    if clash:
        return f"{looks}, but {clash}: rename or remove some of the columns."
    kept = [c for c in table.columns if not split(c)]
    rows = {name: f"make rows of them: {_melt(kept, name, quality)}.assign({name}=lambda t: t[{name!r}].map("
                  f"{_values(same)})).to_csv('rows.csv', index=False)" for name in (axis, "train_steps")}  # fmt: skip
    if doubt:
        return (f"{looks}, but {doubt}. If they are steps of training, {rows['train_steps']}; otherwise with the name "
                "of what they are in place of train_steps.")  # fmt: skip
    call = "Call" if first.axis else "If they are sampling steps, call"
    called = f"{quality} ({first.written}{'' if axis == 'params' else f' {axis}'})"
    return f"{looks}. {call} them {called!r} and so on, or {rows[axis]}."


def _of_sizes(table):
    """The hint where steps are known and several columns of numbers are not: one column per size."""
    unknown = [c for c in table.columns if c not in schema.COLUMNS and recognise(c) is None and split(c) is None
               and pd.api.types.is_numeric_dtype(table[c])]  # fmt: skip
    known = [c for c in table.columns if c not in unknown]
    meanings = _meanings(known)
    if len(unknown) < 2 or not meanings & {*AXES.values()} or meanings & {"model", *schema.names(kind="size")}:
        return ""
    return (f"If {_listed_names(unknown)} are one quality of several sizes, a column each, make rows of them, with the "
            f"size of each: {_melt(known, 'model', 'fid')}.assign(params=lambda t: t.model.map("
            f"{{{unknown[0]!r}: '33M', ...}})).to_csv('rows.csv', index=False).")  # fmt: skip


def _melt(kept, axis, quality):
    return f"sl.read(FILE).melt({list(kept)}, var_name={axis!r}, value_name={quality!r})"


def _values(columns):
    """{column: value} as Python writes it."""
    return "{" + ", ".join(f"{c.column!r}: {c.value:.10g}" for c in columns) + "}"


def _words(column):
    """Words of a name in lower case, numbers such as 1.5b whole, and 4steps as two."""
    name = re.sub(r"(?<=\d)(?=(steps?|nfes?)\b)", " ", str(column), flags=re.I)
    return [w.replace("point", ".") for w in words_of(re.sub(r"(?<=\d)\.(?=\d)", "point", name))]


def _numbers(words):
    """Words that are a value: SHORT ones, else LONG ones."""
    return [w for w in words if SHORT.fullmatch(w)] or [w for w in words if LONG.fullmatch(w)]


def _known(table, found):
    """Meanings of the columns that are not among these."""
    return _meanings(set(table.columns) - {c.column for c in found})


def _meanings(columns):
    return {c if c in schema.COLUMNS else getattr(recognise(c), "meaning", "") for c in columns}


def _listed(found):
    return _listed_names([c.column for c in found])


def _listed_names(names):
    return ", ".join(map(str, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
