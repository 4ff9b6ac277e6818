"""What a table's columns mean: from a file to the question a law answers, with every assumption in a sentence.

question("runs.csv")    Question: the rows, the law, the quality and the inputs; `readings` and `notes` say how

Nothing is pooled in silence: rows that differ in sampler, guidance or training are one question each.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalinglaws import measurements, pooling, roles, schema, studies, wide
from scalinglaws.assignments import stated
from scalinglaws.columns import PRINTED, read_columns
from scalinglaws.fitting import fit
from scalinglaws.pooling import CHOICES
from scalinglaws.schema import InputError
from scalinglaws.spellings import without_unit
from scalinglaws.units import Quantity, count, number, parse
from scalinglaws.units import price as parse_price


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

    def value(self, name, text):
        """(column of the law, number in its unit) of an input by its symbol, its column or the user's own column.

        text: a number in the unit of the column named, or a count such as 1.3B; InputError for anything else.
        """
        reading = next((r for r in self.readings if r.column == name and r.column != r.meaning), None)
        column, plain = (reading.meaning if reading else self.inputs.get(name, name)), number(text)
        value = count(text) if plain is None else reading.values(plain) if reading else plain
        if value is None:
            raise InputError(f"{name}={text}: {text!r} is no number above 0; write params=1e9,2e9 or params=1.3B.")
        return column, value

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
        mixed = [c for c in CHOICES if c in pooling.mixing(self.table, self.inputs) or c in apart]
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
        """The prediction, with its interval, along the measured steps of the held size; along size without steps, up to
        the held one."""
        size, *rest = self.inputs.values()
        span = pd.concat([rows[rest[0] if rest else size] for rows in (self.table, held)]).astype(float)
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
    read, see `columns.read_columns`. A row without quality or input is left out, unless `strict`.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"model_size_B": [0.1, 0.3, 1, 3], "fid": [9.0, 6.5, 5.0, 4.2]})
    >>> print(*question(table).sentences(), sep="\\n")
    N = model_size_B (read as parameters, in billions)
    """
    inputs = stated(inputs)
    wanted = [*inputs.values(), *([quality] if quality else [])]
    read_as = stated(read_as)
    raw = studies.read(source, named={column: column for column in wanted} | read_as)
    table, readings = kept_and_read(raw, stated(where), read_as, wanted)
    called = {r.column: r.meaning for r in readings if r.column not in PRINTED}
    by = [called.get(column, column) for column in by]
    if "family" not in by:
        measurements.one_family(table)
    named, quality = bool(quality), _quality(table, raw, called.get(quality, quality))
    inputs = {symbol: called.get(column, column) for symbol, column in inputs.items()} or roles.inputs_of(table, law)
    roles.refuse_logarithms(table, inputs, quality)
    table, inputs, readings = _steps_by_symbol(table, inputs, readings)
    table = measurements.tidy(table, [*inputs.values()], quality, strict=strict)
    chosen = [c for c in dict.fromkeys((*(CHOICES if choose else ()), *by)) if c in table]
    pooling.refuse_mixture(table, quality, inputs, chosen, {r.meaning: r.column for r in readings})
    roles.refuse_unknown_direction(table, quality, inputs, law)
    spread = measurements.spread(table, quality, inputs.values())
    notes = (
        *(() if named else roles.other_qualities(table, quality)),
        *measurements.notes(table),
        *([spread.sentence()] if spread else []),
        *pooling.assumptions(table, quality, inputs, chosen),
    )
    if not law:
        law, inputs = roles.usual_law(quality, inputs)
    return Question(table, law, quality, inputs, readings, notes)


def _quality(table, raw, given):
    """The quality column; where there is none, the error says what to do with a column for each step count or size."""
    if given in table:
        return given
    try:
        known = roles.quality_of(table)
    except InputError as error:
        hint = wide.hint(raw, given)
        if given and not hint:
            return given  # measurements.tidy says what the table has
        asked = f"Column {given!r} is missing." if given else "Which column is the quality?"
        raise InputError(f"{asked} {hint}" if hint else str(error)) from None
    return given or known


def kept_and_read(raw, conditions, read_as=None, wanted=()):
    """(rows that meet the conditions, their columns called as in the schema; readings).

    raw: as `studies.read` gives it. A condition on a column that the raw table lacks is on one that reading the columns
    gives.
    """
    as_written = {c: v for c, v in conditions.items() if measurements.clean_label(c) in raw}
    table, readings = read_columns(measurements.matching(raw, as_written), read_as, wanted)
    return measurements.matching(table, {c: v for c, v in conditions.items() if c not in as_written}), readings


def _steps_by_symbol(table, inputs, readings):
    """A column named as S that nothing recognises is read as steps: a budget buys steps."""
    column = inputs.get("S")
    if not column or column in schema.COLUMNS or column not in table or "steps" in table:
        return table, inputs, readings
    table, more = read_columns(table, {column: "steps"})
    return table, inputs | {"S": "steps"}, (*readings, *(r for r in more if r.column == column))
