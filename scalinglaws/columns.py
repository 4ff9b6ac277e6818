"""A table's columns called and counted as in the schema: by their names, where the values fit, or as the user says.

read_columns(table)         the table with its columns called as in the schema, and the readings, to be shown

A column that is called as in the schema is taken as it is; what a user names wins over every spelling.
"""

import re
from dataclasses import replace

import pandas as pd

from scalinglaws import schema, units
from scalinglaws.csvfile import clean_label
from scalinglaws.schema import InputError
from scalinglaws.spellings import METRICS, SPELLINGS, UNREAD, Reading, recognise, what, words_of
from scalinglaws.units import COUNTS

LETTERS = {1e3: "K", 1e6: "M", 1e9: "B", 1e12: "T"}
COUNTED = "with K, M and B as written"
PRINTED = {"latency_s", "throughput_img_s"}  # schema columns that serve as a cost where nothing better is there
SMALLEST = 1e4  # parameters; fewer are no count, but a size in a unit of the column's own


def read_columns(table, read_as=None, wanted=()):
    """(table with recognised columns called and counted as in the schema, readings).

    `read_as` {column: meaning} overrules: a schema column, with a unit after a colon where the name tells none
    ("seconds_per_image:ms"), or "none" to leave the column as it is. Of several columns with one meaning the one in
    `wanted` is taken; without one, InputError names the candidates.
    """
    read_as = {clean_label(column): meaning for column, meaning in (read_as or {}).items()}
    stated = {column: _stated(table, column, meaning) for column, meaning in read_as.items()}
    readings = [reading for reading in stated.values() if reading]
    taken = {reading.meaning for reading in readings}
    known = {c for c in table.columns if c in schema.COLUMNS and c not in stated}
    guesses = {}
    for column in table.columns:
        guess = None if column in stated or column in known - PRINTED else _guess(table, column)
        if guess and guess.meaning not in taken | known:
            guesses.setdefault(guess.meaning, []).append(guess)
    readings += [_only(meaning, several, wanted) for meaning, several in guesses.items()]
    for reading in readings:
        table = _apply(table, reading)
    for reading in _sizes_by_label(table) if "model" not in stated else ():
        readings.append(reading)
        table = _apply(table, reading)
    return _labelled(table, readings), tuple(readings)


def _stated(table, column, meaning):
    """The Reading a user states as `column=meaning`, `column=meaning:unit` or `column=none`."""
    if column not in table:
        raise InputError(f"--read-as {column}=...: no such column; the table has {', '.join(table.columns)}.")
    target, _, unit = str(meaning).partition(":")
    target = schema.RENAMED.get(target.strip(), target.strip())
    if target.casefold() in UNREAD:
        return None
    if target not in schema.COLUMNS:
        known = ", ".join([*SPELLINGS, *METRICS])
        raise InputError(f"--read-as {column}={meaning}: no meaning {target!r}. Usual ones: {known}; or 'none'.")
    if unit:
        unit, base = unit.strip(), {"s": "seconds", "J": "joules", "FLOPs": "flops"}.get(schema.COLUMNS[target].unit)
        size = units.scale(unit)
        if base and size and size[0] == base:
            return Reading(column, target, f"{what(target)}, in {unit}", size[1])
        if not base and unit.casefold() in COUNTS:
            return Reading(column, target, f"{what(target)}, in {unit}", COUNTS[unit.casefold()])
        allowed = {"seconds": "s, ms, h", "joules": "J, kJ, Wh", "flops": "FLOPs, GFLOPs"}.get(base, "K, M, B")
        raise InputError(
            f"--read-as {column}={target}:{unit}: no unit {unit!r} for {target}; give one such as {allowed}."
        )
    guess = recognise(column)
    reading = guess if guess and guess.meaning == target else Reading(column, target, what(target))
    return _as_counted(reading) if target == "params" and _holds_counts(table[column]) else reading


def _only(meaning, several, wanted):
    """The one of several readings with one meaning that is wanted; a time before a rate; InputError for a tie."""
    named = [reading for reading in several if reading.column in wanted] or several
    best = [reading for reading in named if reading.power == 1] or named
    if len(best) > 1:
        listed = " and ".join(repr(reading.column) for reading in best)
        raise InputError(
            f"Columns {listed} both read as {meaning}: say which with --read-as {best[0].column}={meaning}, "
            f"and leave the other with --read-as {best[1].column}=none."
        )
    return best[0]


def _guess(table, column):
    """The Reading of a column, if its values fit: numbers for numbers, text for text."""
    if column in PRINTED:
        power = -1 if column.startswith("throughput") else 1
        return Reading(column, "seconds_per_image", schema.COLUMNS[column].meaning, power=power)
    guess = recognise(column)
    if guess is None or (guess.meaning == "model" and _name_of_rows(table, column)):
        return None
    if guess.meaning == "params" and guess.factor == 1.0:
        return _size(table[column], guess)
    if guess.meaning == "params" and _mostly_text(table[column]):
        return _label_of_size(guess)
    if _in_percent(table, schema.COLUMNS[guess.meaning].metric):
        return replace(guess, words=f"{guess.words}, in per cent", factor=0.01)
    if guess.meaning == "seed":
        values = schema.numbers(table[column])
        return guess if (values.notna() & (values >= 0) & (values % 1 == 0)).all() else None
    return _forward_or_image(table, guess) if guess.meaning == "flops_per_forward" else guess


def _size(values, guess):
    """The Reading of a size that names no unit: a count as written, a label, or a number in a unit of its own."""
    if _holds_counts(values):
        return _as_counted(guess)
    if _mostly_text(values):
        return _label_of_size(guess)
    if schema.numbers(values).max() < SMALLEST:
        return replace(guess, words="the model's size, in the column's own unit")
    return guess


def _holds_counts(values):
    """Whether every cell of a column of text is a count, such as 39M."""
    return not pd.api.types.is_numeric_dtype(values) and bool(_counted(values.dropna()).notna().all())


def _as_counted(reading):
    """The Reading of a column whose text cells count."""
    return replace(reading, words=f"{reading.words}, {COUNTED}", counted=True)


def _mostly_text(values):
    """Whether a column is of text, and most of it no number."""
    return not pd.api.types.is_numeric_dtype(values) and 2 * schema.numbers(values).notna().sum() < len(values)


def _label_of_size(guess):
    """Text in a column of sizes is the size's label: S, B, L."""
    return Reading(guess.column, "model", what("model")) if "size" in "".join(words_of(guess.column)) else None


def _name_of_rows(table, column):
    """Whether a label is another one in every row, while sizes recur: the name of a run, not of a size."""
    sizes = [c for c in table.columns if c in schema.names(kind="size") or _is(c, "params")]
    return table[column].nunique() == len(table) and any(table[c].nunique() < len(table) for c in sizes)


def _forward_or_image(table, guess):
    """A bare `gflops` that grows with the steps counts a whole image; one that does not, a forward pass."""
    if not re.fullmatch(r"[kmgtpe]?(flops?|macs?)", "".join(words_of(guess.column))):
        return guess
    steps = next((c for c in table.columns if c == "steps" or _is(c, "steps")), None)
    size = next((c for c in table.columns if c in ("model", "params") or _is(c, "params") or _is(c, "model")), None)
    if steps and table[steps].nunique() > 1 and (size is None or table.groupby(size)[guess.column].nunique().max() > 1):
        words = guess.words.replace("per forward pass", "per image, since it changes with the steps")
        return replace(guess, meaning="flops_per_image", words=words)
    return guess


def _in_percent(table, metric):
    """Whether a metric that is a share, such as geneval, stands in per cent: most values above 1, none above 100."""
    if not metric or schema.COLUMNS[metric].allowed is not schema.SHARE:
        return False
    columns = [schema.numbers(table[c]) for c in table.columns if _is(c, metric)]
    return any(column.median() > 1 and column.max() <= 100 for column in columns)


def _is(column, meaning):
    """Whether a column's name alone suggests a meaning."""
    guess = recognise(column)
    return guess is not None and guess.meaning == meaning


def _sizes_by_label(table):
    """The Reading of labels such as 39M as parameters, where no column tells a size."""
    sized = [c for c in table.columns if c in schema.names(kind="size")]
    labels = table["model"] if "model" in table else pd.Series(dtype=object)
    if sized or labels.nunique() < 2 or not labels.map(lambda v: isinstance(v, str)).all():
        return []
    written = labels.map(lambda v: bool(re.fullmatch(r"\d+(\.\d+)?\s*[KMB]", v.strip())))
    return [_as_counted(Reading("model", "params", "parameters"))] if written.all() else []


def _counted(column):
    """A column as numbers, where text such as 39M and 1.5B counts in millions and billions; NaN for other text."""
    try:
        return column.map(lambda v: units.count(v) if isinstance(v, str) else v).astype(float)
    except InputError as error:
        raise InputError(f"Column {column.name!r}: {error}") from None


def _apply(table, reading):
    """The table with the column called and counted as in the schema."""
    written = table[reading.column]
    values = _values(written, reading)
    if reading.column in PRINTED and reading.meaning != reading.column:
        return table.assign(**{reading.meaning: values})
    if reading.meaning in table and reading.meaning != reading.column:  # the user names another column for it
        table = table.drop(columns=reading.meaning)
    table = table.assign(**{reading.column: values}).rename(columns={reading.column: reading.meaning})
    return table.assign(model=written) if reading.counted and "model" not in table else table


def _values(written, reading):
    """A column's values in the schema's unit; text that is no number stays for the check of the table."""
    if schema.COLUMNS[reading.meaning].allowed is schema.TEXT:
        return written
    if (reading.factor, reading.power, reading.counted) == (1.0, 1, False):
        return written
    numbers = _counted(written) if reading.counted else schema.numbers(written)
    return reading.values(numbers).where(numbers.notna(), written)


def _labelled(table, readings):
    """The table with a label for every size, such as 1.3B, where parameters tell the sizes and no column names them."""
    if "model" in table or "params" not in table:
        return table
    params = schema.numbers(table["params"])
    counted = next((r.factor for r in readings if r.meaning == "params" and r.factor in LETTERS), None)
    if counted is None and not (params.max() >= SMALLEST and _same_sizes(table)):
        return table
    labels = params.map(lambda v: _label(v, counted or _thousands(v)), na_action="ignore")
    return table.assign(model=labels.where(params.notna(), None))


def _label(count, factor):
    return f"{count / factor:.{6 if factor > 1 else 12}g}{LETTERS.get(factor, '')}"


def _thousands(count):
    """The largest of a thousand, a million, ... that a count holds; 1 below a thousand."""
    return max((factor for factor in LETTERS if count >= factor), default=1.0)


def _same_sizes(table):
    """Whether params tell apart what every other full column of size tells apart, and nothing else."""
    sizes = [c for c in schema.names(kind="size") if c in table and table[c].notna().all()]
    return all(len(table[[c, "params"]].drop_duplicates()) == table[c].nunique() == table["params"].nunique()
               for c in sizes)  # fmt: skip
