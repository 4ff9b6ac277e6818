"""Csv files as spreadsheets and people write them: text cells in, numbers and text out, or one sentence.

Separator, encoding, decimal comma, thousands separators, percentages and the words for a missing value are taken from
the file. A cell that could be two numbers is refused with its row and column; nothing is guessed.
"""

import csv
import io
import itertools
import re
import unicodedata

import numpy as np
import pandas as pd

from scalinglaws import schema, units
from scalinglaws.schema import InputError

SEPARATORS = ",;\t|"
NOTHING = {"", "na", "n/a", "nan", "null", "none", "#n/a", "<na>"}  # missing, in any column of numbers, with these:
DASHES = {"-", "--", "–", "—", "?", "n.a.", "n. a.", ".", "missing", "tbd", "oom", "#div/0!", "#value!", "#ref!"}
TEXT_NOTHING = {"", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>", "#N/A", "None"}  # in a column of text


def read_csv(path):
    """The file's table, its cells numbers where they are numbers; notes on how it was read in attrs["notes"].

    Raises InputError where rows do not match the header, two columns share a name, or a number is ambiguous.
    """
    text, notes = _decode(path.read_bytes())
    header, rows, said = _cells(text, path)
    table = pd.DataFrame(rows, columns=header, dtype=object)
    table, more = as_numbers(table, str(path))
    table.attrs["notes"] = (*notes, *said, *more)
    return table


def clean_label(label):
    """A column's name without BOM, odd spaces and line breaks, its accents in one form (NFC)."""
    return " ".join(unicodedata.normalize("NFC", str(label)).replace("\ufeff", "").split())


def as_numbers(table, label=""):
    """(table with its text cells as numbers where they are, notes); columns that the schema keeps as text stay text."""
    place = f"{label}: " if label else ""
    read = [c for c in table.columns if _holds_text(table[c]) and not _is_text(c)]
    marks = {_custom(_texts(table[c]).values()) for c in read} - {""}
    decimal = marks.pop() if len(marks) == 1 else ""  # of the file: one column can only be read with it, none without
    notes, out = [], {}
    for name in table.columns:
        column = table[name]
        if not _holds_text(column):
            out[name] = column
        elif _is_text(name):
            out[name] = column.map(lambda v: None if isinstance(v, str) and v.strip() in TEXT_NOTHING else _strip(v))
        else:
            out[name], note = _column(column, decimal, place)
            notes += note
    return pd.DataFrame(out, index=table.index), notes


def _holds_text(column):
    return column.dtype == object or pd.api.types.is_string_dtype(column)


def _decode(data):
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ["The file is not UTF-8: read as Windows text (cp1252)."]


def _cells(text, path):
    """(names of the columns, rows of equally many cells, notes) of a file's text."""
    lines = _without_comments(text.splitlines(keepends=True))
    if lines and (stated := re.fullmatch(r"sep=(.)\s*", lines[0])):  # Excel's own first line
        return _split("".join(lines[1:]), stated[1], path)
    return _split("".join(lines), _separator([line for line in lines if line.strip()][:2]), path)


def _without_comments(lines):
    """The lines that are no comments; a commented header, as numpy.savetxt writes it, is none.

    It names as many cells as the first line below it has, of which some are numbers.
    """
    first = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    kept = [line for line in lines if not line.startswith("#")]
    if not first or not lines[first - 1].startswith("#"):
        return kept
    header = lines[first - 1].lstrip("# ")
    above, below = (next(csv.reader([line], delimiter=_separator([header, lines[first]])), [])
                    for line in (header, lines[first]))  # fmt: skip
    numbers = [[units.number(cell) is not None for cell in cells] for cells in (above, below)]
    is_header = len(above) == len(below) > 1 and not any(numbers[0]) and any(numbers[1])
    return [header, *kept] if is_header else kept


def _separator(lines):
    """The separator with the most cells in the first line, a header, that separates the second, too: no title's."""
    cells = {s: [len(next(csv.reader([line], delimiter=s), [])) for line in lines] for s in SEPARATORS}
    return max(SEPARATORS, key=lambda s: (cells[s][-1:] > [1], cells[s]))


def _split(text, separator, path):
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows = [row for row in reader if any(cell.strip() for cell in row)]
    if not rows:
        return [], [], []
    header, body, notes = _header(rows)
    for i, row in enumerate(body):
        while len(row) > len(header) and not row[-1].strip():
            row.pop()
        if len(row) > len(header):
            hint = " A decimal comma needs quotes where commas separate the cells." if separator == "," else ""
            raise InputError(f"{path}: row {i + 1} has {len(row)} cells, the header {len(header)}.{hint}")
        row += [""] * (len(header) - len(row))
    keep = [k for k, name in enumerate(header) if name or any(row[k].strip() for row in body)]
    if len(keep) > 1 and not header[0] and [row[0] for row in body] == [str(i) for i in range(len(body))]:
        keep = keep[1:]  # the row numbers that pandas writes
    names = [header[k] or f"column {k + 1}" for k in keep]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise InputError(f"{path} has {names.count(doubled)} columns named {doubled!r}: rename or remove all but one.")
    return names, [[row[k] for k in keep] for row in body], notes


def _header(rows):
    """(names of the columns, rows below, notes): titles above the header go, a header of two rows becomes one.

    The upper row of two has cells merged over several columns, as spreadsheets export them: FID, nothing, nothing
    above 4, 8, 16; or the same name again in each, as pandas does. Each column is called by both, "FID 4"; one with a
    blank in either row by the other.
    """
    rows, notes = _below_titles(rows)
    rows = _without_levels(rows)
    header, body = [clean_label(cell) for cell in rows[0]], rows[1:]
    upper = _once(header)
    if len(rows) < 3 or not _is_merged(upper, rows[1], repeated=upper != header):
        return header, body, notes
    above, names = "", []
    for name, lower in itertools.zip_longest(upper, map(clean_label, rows[1]), fillvalue=""):
        above = name or above
        names.append(f"{above} {lower}".strip() if lower else name)
    return names, body[1:], [*notes, f"The header has two rows; its columns are {', '.join(filter(None, names))}."]


def _without_levels(rows):
    """The rows, where pandas wrote the names of the columns' levels into the first column, that of the index below.

    `,fid,fid` above `steps,4,8` above `model,,` becomes `model,fid,fid` above `,4 steps,8 steps`.
    """
    if len(rows) < 4 or _once(rows[0]) == rows[0] or not _alone(rows[2]):
        return rows
    level, *values = rows[1]
    if level.casefold() not in schema.COLUMNS and (level or rows[0][0]):  # a row of data
        return rows
    return [[rows[2][0], *rows[0][1:]], ["", *(f"{value} {level}".strip() for value in values)], *rows[3:]]


def _once(names):
    """The names, '' for one that repeats its left neighbour."""
    return [name if k == 0 or name != names[k - 1] else "" for k, name in enumerate(names)]


def _below_titles(rows):
    """(rows without titles, notes): rows of one cell alone, a text, above a row of names, of which the first is one."""
    titles = [clean_label(row[0]) for row in itertools.takewhile(_alone, rows)]
    names = [cell for cell in rows[len(titles)] if cell.strip()] if len(titles) < len(rows) - 1 else []
    column = titles and titles[-1].casefold() in schema.COLUMNS  # the name of a column beside others without one
    if not titles or column or len(names) < 2 or any(units.number(text) is not None for text in (*titles, names[0])):
        return rows, []
    first = f"row, {titles[0]!r}, is taken for a title" if len(titles) == 1 else (
        f"rows, {' and '.join(map(repr, titles))}, are taken for titles")  # fmt: skip
    return rows[len(titles) :], [f"The first {first}."]


def _alone(row):
    """Whether the first cell alone holds something."""
    return bool(row[0].strip()) and not any(cell.strip() for cell in row[1:])


def _is_merged(upper, second, repeated):
    """Whether the second row is a header, too: it fills blanks that follow a name, and its first cell is a name.

    A row of data is none: it has a number below a name that is not merged, or numbers beside texts below one name.
    """
    filled = [cell.strip() for cell in second]
    pairs = list(zip(upper, filled, strict=False))
    follows = any(lower and not name and any(upper[:k]) for k, (name, lower) in enumerate(pairs))
    below = not repeated and not upper[0] and bool(filled[0]) and units.number(filled[0]) is None  # Model, second row
    return follows and not _is_data(pairs[1:]) and (below or ((bool(upper[0]) or repeated) and not filled[0]))


def _is_data(pairs):
    """Whether cells (name, cell below) have numbers where a header of merged cells has none."""
    starts = [k for k, (name, _) in enumerate(pairs) if name]
    groups = [pairs[k:end] for k, end in itertools.pairwise([*starts, len(pairs)])]
    numeric = [[units.number(lower) is not None for _, lower in group if lower] for group in groups]
    mixed = any(len({*some}) > 1 for some in numeric)
    return mixed or any(len(group) == 1 and some == [True] for group, some in zip(groups[:-1], numeric, strict=False))


def _strip(value):
    return " ".join(value.split()) if isinstance(value, str) else value


def _is_text(name):
    return name in schema.COLUMNS and schema.COLUMNS[name].allowed is schema.TEXT


def _texts(column):
    """Stripped text cells that hold something."""
    cells = {i: v.strip() for i, v in column.items() if isinstance(v, str)}
    return {i: v for i, v in cells.items() if v.casefold() not in NOTHING | DASHES}


def _custom(texts):
    """',' or '.' where cells can only be read with that decimal mark; '' where none or both occur."""
    bare = [t.rstrip("% ").strip() for t in texts]
    marks = set()
    for text in bare:
        if re.fullmatch(r"[+-]?\d+[.,]\d+([eE][+-]?\d+)?", text) and not units.GROUP.fullmatch(text):
            marks.add("," if "," in text else ".")
        elif "," in text and "." in text and units.number(text) is not None:
            marks.add("," if text.rfind(",") > text.rfind(".") else ".")
    return marks.pop() if len(marks) == 1 else ""


def _column(column, decimal, place):
    """(column as numbers, notes), or as text where most cells are none."""
    texts = _texts(column)
    held = column.map(lambda v: v.strip() if isinstance(v, str) else v)
    plain = pd.to_numeric(held.map(lambda v: np.nan if _nothing(v) else v), errors="coerce")
    if decimal != "," and not (plain.isna() & held.notna() & ~held.map(_nothing)).any():
        return plain, []
    known = schema.COLUMNS.get(column.name)
    custom = _custom(texts.values())
    values = {i: _number(t, column.name, i, known, custom or decimal, custom, place) for i, t in texts.items()}
    if column.name == "params":  # 39M, 1.5B
        values = {i: _count(texts[i], column.name, i, place) if v is None else v for i, v in values.items()}
    read = [v for v in values.values() if v is not None]
    if not known and 2 * len(read) < len(texts):
        return column.map(lambda v: None if isinstance(v, str) and v.strip() in TEXT_NOTHING else _strip(v)), []
    factor, notes = _percent(column.name, texts, known, place)
    numbers = {i: texts[i] if v is None else v * factor for i, v in values.items()}
    cells = [numbers[i] if i in numbers else np.nan if _nothing(v) else v for i, v in column.items()]
    out = pd.Series(cells, index=column.index, name=column.name, dtype=object)
    return (pd.to_numeric(out) if len(read) == len(texts) else out), notes


def _nothing(value):
    return isinstance(value, str) and value.strip().casefold() in NOTHING | DASHES


def _number(text, name, row, known, decimal, custom, place):
    """The number of one cell, None for text; refused where one separator before three digits can be either mark."""
    bare = text.rstrip("%").strip() if text.endswith("%") else text
    whole = known is not None and known.allowed.whole
    doubtful = units.GROUP.fullmatch(bare) and ("," in bare or decimal == ",")
    if doubtful and whole:
        return float(re.sub("[.,]", "", bare))
    if doubtful and not custom and ("," not in bare or decimal != ","):
        one, other = bare.replace(",", ".").replace(".", ""), bare.replace(",", ".")
        raise InputError(
            f"{place}Column {name!r}: row {row + 1} holds {text!r}, which may be {one} or {other}: "
            "write it without a thousands separator, or with a point for the decimals."
        )
    if doubtful and "." in bare and custom == ",":
        return float(bare.replace(".", ""))
    return units.number(bare, decimal or None)


def _count(text, name, row, place):
    """The number of a cell such as 39M, None for other text."""
    try:
        return units.count(text)
    except InputError as error:
        raise InputError(f"{place}Column {name!r}, row {row + 1}: {error}") from None


def _percent(name, texts, known, place):
    """(factor, notes) for a column of percentages: a share is kept as a share."""
    marked = [i for i, t in texts.items() if t.endswith("%")]
    if not marked:
        return 1.0, []
    plain = [i for i in texts if i not in set(marked)]
    if plain:
        raise InputError(
            f"{place}Column {name!r}: row {marked[0] + 1} holds {texts[marked[0]]!r} and row {plain[0] + 1} "
            f"{texts[plain[0]]!r}: write all with % or all without."
        )
    if known and known.unit not in ("share", "%"):
        unit = known.unit or "number"
        raise InputError(f"{place}Column {name!r}: row {marked[0] + 1} holds {texts[marked[0]]!r}; a {unit} has no %.")
    if known and known.unit == "%":
        return 1.0, []
    return 0.01, [f"Column {name!r}: percentages are read as shares, {texts[marked[0]]} as "
                  f"{units.number(texts[marked[0]].rstrip('% ')) / 100:g}."]  # fmt: skip
