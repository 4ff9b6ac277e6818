"""What a table's columns mean: from a file to the question a law answers, with every assumption in a sentence.

question("runs.csv")    Question: the rows, the law, the quality and the inputs; `readings` and `notes` say how

Nothing is pooled in silence: rows that differ in sampler, guidance or training are one question each.
"""

import re
import shlex
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import evidence, laws, measurements, schema, studies, wide
from scalinglaws.fitting import fit
from scalinglaws.schema import InputError
from scalinglaws.spellings import PRINTED, read_columns, without_unit, words_of
from scalinglaws.units import Quantity, number, parse
from scalinglaws.units import price as parse_price

TRAINING = ("train_images", "train_steps", "epochs", "tokens", "train_flops")  # columns of a training length
CHOICES = ("sampler", "guidance")  # a law answers for one value of each; a budget chooses between them


@dataclass(frozen=True)
class Question:
    """One question to one law: what `scalinglaws.fit` needs, and how it was understood."""

    table: pd.DataFrame
    law: object  # the law's name, or a Law
    quality: str
    inputs: dict  # symbol: column
    readings: tuple = ()  # spellings.Reading, one a column that was not called as in the schema
    notes: tuple = ()  # rows left out, repeats, how cells were read

    def sentences(self):
        """How the columns were read, one line each, and the notes."""
        symbols = {column: symbol for symbol, column in self.inputs.items()}
        symbols |= {self.quality: "quality"}
        first = list(symbols)
        ordered = sorted(self.readings, key=lambda r: first.index(r.meaning) if r.meaning in symbols else len(first))
        return [*(r.sentence(symbols.get(r.meaning)) for r in ordered), *self.notes]

    def size(self, given):
        """What the user calls a size: its label, a value as their columns have it, or a value in the law's unit."""
        labels = set(self.table["model"].astype(str)) if "model" in self.table else set()
        size, value = next(iter(self.inputs.values())), number(str(given))
        if str(given) in labels or value is None:
            return given
        for reading in (r for wanted in (size, "params") for r in self.readings if r.meaning == wanted):
            rows = self.table[np.isclose(self.table[reading.meaning].astype(float), reading.values(value))]
            if rows[size].nunique() == 1:
                return float(rows[size].iloc[0])
        return given

    def column(self, name):
        """The schema's column for what the user calls one; other names as they are."""
        return next((r.meaning for r in self.readings if r.column == name and r.column not in PRINTED), name)

    def value(self, name, number):
        """(column of the law, number in its unit) of an input by its symbol, its column or the user's own column."""
        reading = next((r for r in self.readings if r.column == name and r.column != r.meaning), None)
        return (reading.meaning, reading.values(number)) if reading else (self.inputs.get(name, name), number)

    def units(self):
        """{unit: columns it is counted from} of the budgets that the table can price."""
        full = {c for c in self.table.columns if self.table[c].notna().all()}
        forward = full & {"flops_per_forward", "gflops_per_forward", "flops_per_image"}
        units = {"flops": sorted(forward)} if forward else {}
        measured = {"seconds": "seconds_per_image", "joules": "joules_per_image"}
        units |= {unit: [column] for unit, column in measured.items() if column in full}
        return units | ({"money": units["seconds"]} if "seconds" in units else {})

    def budget(self, given, unit=None, price=None):
        """The budget per image as a Quantity in a unit that the table can price; InputError names the units there are.

        A bare number takes `unit`, else money where there is a price, else FLOPs, else the unit of the table's column.
        """
        quantity, known = parse(given, unit), self.units()
        if quantity.unit is None:
            first = "money" if price is not None else next(iter(known), "flops")
            reading = next((r for r in self.readings if [r.meaning] == known.get(first)), None)
            factor = reading.factor if reading and first in ("seconds", "joules") and reading.power == 1 else 1.0
            quantity = Quantity(quantity.value * factor, first)
        if quantity.unit not in known:
            raise InputError(self._unpriced(quantity.unit, known))
        if quantity.unit == "money":
            if price is None:
                raise InputError(f"A budget in money ({given}) needs the price of the machine, such as --price 2.5/h.")
            paid = parse_price(price).currency
            if paid and quantity.currency and paid != quantity.currency:
                raise InputError(f"The budget {given} is in {quantity.currency}, the price {price} in {paid}.")
        if not quantity.value > 0:
            raise InputError(f"Budget {given}: give a number above 0.")
        return quantity

    def _unpriced(self, unit, known):
        """The sentence for a budget in a unit that no column tells."""
        needed = {"flops": "flops_per_forward", "joules": "joules_per_image"}.get(unit, "seconds_per_image")
        gaps = int(self.table[needed].isna().sum()) if needed in self.table else 0
        lack = f"{gaps} of {len(self.table)} rows have no {needed}" if gaps else f"the table has no {needed}"
        names = {r.meaning: r.column for r in self.readings}
        offered = [f"{u} (from {', '.join(names.get(c, c) for c in columns)}"
                   f"{'; with --price' if u == 'money' else ''})" for u, columns in known.items()]  # fmt: skip
        hint = f"A budget here can be in {' or '.join(offered)}." if offered else (
            "Give a column of cost per image, such as gpu_ms, energy_j or gflops, for a budget.")  # fmt: skip
        for column, meaning in without_unit(self.table.columns):
            hint = f"Column {column!r} names no unit: say it with --read-as {column}={meaning}:ms (or s, J, ...)."
        return f"A budget in {unit} cannot be priced: {lack}. {hint}"

    def groups(self, apart=()):
        """{label: Question}: one a sampler and guidance, where the rows hold several at one size and number of steps,
        or where the column is among `apart`."""
        mixed = [c for c in CHOICES if c in mixing(self.table, self.inputs) or c in apart]
        if not mixed:
            return {"": self}
        parts = self.table.groupby(mixed, sort=True)
        groups = {}
        for key, rows in parts:
            values = zip(mixed, key if isinstance(key, tuple) else (key,), strict=True)
            label = " ".join(f"{c}={v:g}" if isinstance(v, float) else f"{c}={v}" for c, v in values)
            groups[label] = replace(self, table=rows.reset_index(drop=True))
        return groups

    def main(self):
        """(label, Question) of the sampler and guidance with the most rows."""
        groups = self.groups()
        label = max(groups, key=lambda k: len(groups[k].table))
        return label, groups[label]

    def hold_out(self, size=None):
        """(Question without the rows of one size, those rows); the largest size unless its label is given."""
        column = next(iter(self.inputs.values()))
        gone = self.table[column] == self.table[column].max()
        if size:
            gone = self.table[column].isin(measurements.where(self.table, model=size)[column])
        return replace(self, table=self.table[~gone].reset_index(drop=True)), self.table[gone].reset_index(drop=True)

    def check(self, fit, held, level=0.9):
        """Held-out rows beside their prediction: model, inputs, measured, value, low, high, inside, error.

        `inside` says whether the interval holds the measured value; `error` is predicted over measured, less one.
        """
        known = held[[c for c in ("model", *self.inputs.values()) if c in held]]
        table = known.assign(measured=held[self.quality]).join(fit.predict(held, level=level))
        inside = table["measured"].between(table["low"], table["high"])
        return table.assign(inside=inside, error=table["value"] / table["measured"] - 1)

    def curve(self, fit, held, level=0.9, points=60):
        """The prediction, with its interval, along the measured steps of the held size; along size without steps."""
        size, *rest = self.inputs.values()
        span = self.table[rest[0] if rest else size].astype(float)
        along = np.geomspace(span.min(), span.max(), points)
        new = pd.DataFrame({size: float(held[size].iloc[0]), rest[0]: along} if rest else {size: along})
        return new.join(fit.predict(new, level=level))

    def fit(self, **options):
        """The law fitted to the rows; options as for `scalinglaws.fit`."""
        named = {k: self.column(options[k]) for k in ("se", "weights") if isinstance(options.get(k), str)}
        return fit(self.table, self.law, self.quality, self.inputs, **options | named)

    def fits(self, **options):
        """({label: Fit}, sentences for what could not be fitted): one a sampler and guidance."""
        fits, skipped = {}, []
        for label, question in self.groups().items():
            try:
                fits[label] = question.fit(**options)
            except InputError as error:
                skipped.append(f"Left out {label or 'the rows'}: {error}")
        if not fits:
            raise InputError(skipped[0].partition(": ")[2])
        return fits, skipped


def question(source, quality=None, law=None, inputs=None, where=None, choose=False, by=(), read_as=None, strict=False):
    """The Question about a file, study name or table; what is not named is taken from its columns.

    `where` keeps rows: {column: value}, or text "column=value; column=value". `choose` allows several samplers and
    guidances, for `Question.groups`; `by` names columns whose values are fitted apart, for `fit_groups`. `inputs`
    {symbol: column} and `quality` may use the table's own names; `read_as` {column: meaning} overrules how a column is
    read, see `spellings.read_columns`. A row without quality or input is left out, unless `strict`.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"model_size_B": [0.1, 0.3, 1, 3], "fid": [9.0, 6.5, 5.0, 4.2]})
    >>> print(*question(table).sentences(), sep="\\n")
    N = model_size_B (read as parameters, in billions)
    """
    where, read_as, inputs = (stated(given) for given in (where, read_as, inputs))
    raw = studies.read(source)
    conditions = {c: v for c, v in (where or {}).items() if measurements.clean_label(c) in raw}
    wanted = [*(inputs or {}).values(), *([quality] if quality else [])]
    table, readings = read_columns(measurements.matching(raw, conditions), read_as, wanted)
    later = {c: v for c, v in (where or {}).items() if c not in conditions}
    table = measurements.matching(table, later)
    called = {r.column: r.meaning for r in readings if r.column not in PRINTED}
    by = [called.get(column, column) for column in by]
    if "family" not in by:
        measurements.one_family(table)
    named, quality = bool(quality), called.get(quality, quality) or _quality(table, raw)
    inputs = {symbol: called.get(column, column) for symbol, column in (inputs or {}).items()} or _inputs(table, law)
    _refuse_logarithms([*inputs.values(), quality])
    table, inputs, readings = _steps_by_symbol(table, inputs, readings)
    table = measurements.tidy(table, [*inputs.values()], quality, strict=strict)
    chosen = [c for c in dict.fromkeys((*(CHOICES if choose else ()), *by)) if c in table]
    mixed = [c for c in mixing(table, inputs, chosen) if c not in chosen]
    if mixed:
        raise InputError(_mixed(table, mixed[0], inputs, readings))
    spread = measurements.spread(table, quality, inputs.values())
    _refuse_unlike(table, quality, inputs, chosen, readings)
    _refuse_unknown_direction(table, quality, inputs, law)
    others = () if named else _other_qualities(table, quality)
    notes = (*others, *measurements.notes(table), *([spread.sentence()] if spread else []))
    notes = (*notes, *_taken_for_repeats(table, quality, inputs, chosen), *_length_follows_size(table, inputs))
    rising = schema.higher_is_better(quality)
    if not law and [*inputs] == ["N", "D"] and not rising:
        law = "chinchilla"
    elif not law and rising:
        law = "size_steps_ceiling" if len(inputs) == 2 else "ceiling"
        inputs = dict(zip("NS", inputs.values(), strict=True)) if [*inputs] == ["N", "D"] else inputs
    elif not law:
        law = "size_steps" if len(inputs) == 2 else "power_floor"
    return Question(table, law, quality, inputs, readings, notes)


def _quality(table, raw):
    """The quality column; where there is none, the error says what to do with a column for each step count or size."""
    try:
        return quality_of(table)
    except InputError as error:
        hint = wide.hint(raw)
        raise InputError(f"Which column is the quality? {hint}" if hint else str(error)) from None


def _mixed(table, column, inputs, readings):
    """The sentence for rows of one point that differ in a column: keep one value, or let the law run along it."""
    values = sorted(table[column].dropna().unique(), key=lambda v: (isinstance(v, str), v))
    shown = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values[:12])
    called = {r.meaning: r.column for r in readings}
    name = called.get(column, column)
    along = ""
    if column in TRAINING and [*inputs] == ["N"]:
        both = [shlex.quote(f"{s}={called.get(c, c)}") for s, c in (inputs | {"D": column}).items()]
        along = f", or let the law run along both, --inputs {' '.join(both)}"
    return (f"The rows mix {len(values)} values of {name} ({shown}) and a law in {' and '.join(inputs.values())} "
            f"cannot tell them apart: keep one with {_where(name)}{along}.")  # fmt: skip


def _where(column):
    """--where CFG=VALUE as it is typed in a shell.

    >>> _where("cfg"), _where("CFG scale")
    ('--where cfg=VALUE', "--where 'CFG scale=VALUE'")
    """
    return f"--where {shlex.quote(f'{column}=VALUE')}"


def _refuse_logarithms(columns):
    """InputError where a column is the logarithm of what a law runs in, by its name."""
    for column in columns:
        words = words_of(column)
        if words and column not in schema.COLUMNS and re.fullmatch(r"log(2|10)?|ln", words[0]):
            base = {"log2": "2", "log10": "10", "ln": "e"}.get(words[0], "its base")
            raise InputError(
                f"{column} is called like a logarithm, and laws run in the quantity itself: give a column of {base} to "
                f"the power of {column}."
            )


def _refuse_unlike(table, quality, inputs, chosen, readings):
    """InputError where a column that nobody knows explains why rows of one point differ."""
    column = evidence.tell_apart(table, quality, [*inputs.values()], chosen)
    if column is None:
        return
    values = sorted(map(str, table[column].dropna().unique()))
    column = next((r.column for r in readings if r.meaning == column), column)
    shown = ", ".join(values[:12]) + (", ..." if len(values) > 12 else "")
    raise InputError(
        f"The rows mix {len(values)} values of {column} ({shown}): {quality} differs between them at equal "
        f"{' and '.join(inputs.values())}, by more than chance, and a law in these cannot tell them apart. Keep one "
        f"with {_where(column)}, or, if they are repeats after all, say so with --read-as "
        f"{shlex.quote(f'{column}=note')}."
    )


def _taken_for_repeats(table, quality, inputs, chosen):
    """A sentence on unknown columns in which rows of one point differ, and which do not tell them apart."""
    columns = evidence.repeating(table, quality, [*inputs.values()], chosen)
    if columns:
        yield (f"Rows that differ in {' and '.join(columns)} only are taken for repeats: no difference between them is "
               f"sure. Keep one with {_where(columns[0])} if they are not.")  # fmt: skip


def _length_follows_size(table, inputs):
    """A sentence where every size was trained for a length of its own: a law in size follows both.

    Training FLOPs are no such length: of equal steps they grow with the size.
    """
    size = inputs.get("N")
    for column in [c for c in TRAINING if c != "train_flops"] if size else ():
        other = column in table and column not in inputs.values() and table[column].nunique() > 1
        if other and (table.groupby(size)[column].nunique() <= 1).all():
            yield f"{column} differs between sizes: a law in {size} follows the two together."


def _refuse_unknown_direction(table, quality, inputs, law):
    """InputError where nobody knows whether a quality that rises with its inputs is better when high."""
    if quality in schema.COLUMNS or evidence.FALLING & set(words_of(quality)):
        return
    first = laws.CHOICES.get(law, (law,))[0] if isinstance(law, str) else law
    stated = law is not None and laws.find(first).trend == "rises"
    if not stated and not evidence.rises(table, quality, inputs.values()):
        return
    along = "is to follow a law that rises" if stated else f"rises with {' and '.join(inputs.values())}"
    raise InputError(
        f"{quality} {along}: is a higher value better? Say --read-as {quality}=score if it is (accuracy, a rate of "
        f"wins), --read-as {quality}=distance if a lower one is (an error)."
    )


def _other_qualities(table, quality):
    """A sentence where a quality was taken and the table holds others that the user may have meant."""
    metrics = [c for c in schema.names("quality") if c in table and c == schema.COLUMNS[c].metric and c != quality]
    others = [c for c in metrics if table[c].notna().any()]
    if others and quality in schema.COLUMNS:
        yield f"quality = {quality}; the table also has {', '.join(others)} (--quality)."


def _steps_by_symbol(table, inputs, readings):
    """A column named as S that nothing recognises is read as steps: a budget buys steps."""
    column = inputs.get("S")
    if not column or column in schema.COLUMNS or column not in table or "steps" in table:
        return table, inputs, readings
    table, more = read_columns(table, {column: "steps"})
    return table, inputs | {"S": "steps"}, (*readings, *(r for r in more if r.column == column))


def mixing(table, inputs, chosen=()):
    """Columns in which rows differ that the law takes for the same point; samplers are always apart.

    Rows that differ in the `chosen` columns are different points.
    """
    sized = any(c not in TRAINING and (c not in schema.COLUMNS or schema.COLUMNS[c].kind != "steps")
                for c in inputs.values())  # fmt: skip
    free = [*schema.unpooled(), *(() if sized else ("model", *schema.names(kind="size")))]
    free = [c for c in free if c in table and c not in inputs.values()]
    same = table.groupby([*inputs.values(), *chosen], dropna=False)
    apart = [c for c in free if schema.COLUMNS[c].kind == "sampler" and table[c].nunique() > 1]
    order = sorted(free, key=lambda c: c not in CHOICES)
    return apart + [c for c in order if c not in apart and (same[c].nunique() > 1).any()]


def stated(given):
    """A dictionary as it is; text as typed on a command line, "sampler=ddim; guidance=1", or a list of such, as one."""
    return pairs(given.split(";")) if isinstance(given, str) else given if isinstance(given, dict) else pairs(given)


def pairs(items):
    """{'a': 'b'} of ['a=b', ...], as typed on a command line."""
    items = [str(item) for item in items or () if str(item).strip()]
    split = [item.partition("=") for item in items]
    for (left, sign, right), item in zip(split, items, strict=True):
        if not (left and sign and right):
            raise InputError(f"{item!r} is not NAME=VALUE, such as sampler=ddim.")
    return {left.strip(): right.strip() for left, _, right in split}


def quality_of(table):
    """The quality column of a table, if it is plain which: a metric that is full, else one with gaps, else `loss`.

    >>> quality_of(pd.DataFrame({"params": [1e8, 1e9], "loss": [3.0, 2.5]}))
    'loss'
    """
    held = [c for c in schema.names("quality") if c in table and table[c].notna().any()]
    metrics = [c for c in held if c == schema.COLUMNS[c].metric] or held
    full = [c for c in metrics if table[c].notna().all()]
    for found in (full, metrics):
        usual = [c for c in ("fd", "fid") if c in found]
        if usual or len(found) == 1:
            return (usual or found)[0]
        if found:
            break
    numeric = [c for c in table.columns if c not in schema.COLUMNS and pd.api.types.is_numeric_dtype(table[c])]
    if not held and (losses := [c for c in numeric if words_of(c)[-1:] == ["loss"]]):
        tested = [c for c in losses if "train" not in words_of(c) and "training" not in words_of(c)]
        if "loss" in losses or len(tested or losses) == 1:
            return "loss" if "loss" in losses else (tested or losses)[0]
        numeric = losses
    have = ", ".join(map(str, full or metrics or numeric or table.columns))
    raise InputError(f"Which column is the quality? Name one of {have} (--quality).")


def _inputs(table, law):
    """{symbol: column} for the law: size first, then steps where they vary and the law takes them.

    Where neither varies, the training length.
    """
    choices = laws.CHOICES.get(law, (law,)) if isinstance(law, str) else (law,)
    symbols = laws.find(choices[0]).inputs if law else ("N", "S")
    sizes, steps = schema.names(kind="size"), schema.names(kind="steps")
    size, step = _first(table, sizes, bool(law)), _first(table, steps, bool(law) and len(symbols) > 1)
    columns = [c for c in (size, step) if c]
    tokens = _first(table, ("tokens",), False) if not law and size and not step else None
    if tokens and (table.groupby(size)[tokens].nunique() > 1).any():
        return {"N": size, "D": tokens}
    if symbols == ("N", "S") and len(columns) == 2:
        return dict(zip(symbols, columns, strict=True))
    if columns and (len(symbols) == 1 or not law):
        return {"N" if size else "S": columns[0]}
    trained = _first(table, TRAINING, False)
    if trained and (not law or len(symbols) == 1):
        return {"D": trained}
    have = ", ".join(map(str, table.columns))
    constant = [c for c in sizes + steps if c in table and table[c].notna().any() and table[c].nunique() == 1]
    if constant:
        listed = " and ".join(f"{c} = {table[c].dropna().iloc[0]:g}" for c in constant[:2])
        raise InputError(
            f"Nothing varies that a law could run along: every row has {listed}. Measure another size, other steps or "
            "another training length."
        )
    named = " ".join(f"{s}=COLUMN" for s in symbols)
    raise InputError(
        f"No column is known as a size or steps: name the law's inputs, --inputs {named}, or say what a column means, "
        f"such as --read-as COLUMN=steps; the table has {have}."
    )


def _first(table, columns, constant):
    """The first column that varies, a full one before one with gaps; a constant one only if `constant` allows it."""
    held = [c for c in columns if c in table and pd.api.types.is_numeric_dtype(table[c]) and table[c].notna().any()]
    full = [c for c in held if table[c].notna().all()]
    gaps = [c for c in held if 2 * table[c].notna().sum() > len(table)]
    varied = [c for c in (*full, *gaps) if table[c].nunique() > 1]
    return next(iter(varied + (full if constant else [])), None)
