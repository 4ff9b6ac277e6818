"""Verbs about laws: fit, predict, compare."""

from itertools import product

import numpy as np
import pandas as pd

from scalinglaws import display, measurements, studies, validate
from scalinglaws.answer import described, records
from scalinglaws.assignments import pairs
from scalinglaws.columns import read_columns
from scalinglaws.commands import reading
from scalinglaws.commands.reading import FAR, Reply
from scalinglaws.fitting import fit_groups
from scalinglaws.schema import InputError


def fit(args):
    """Fit a law and say how far to trust it."""
    if args.by and args.checks:
        raise InputError("--checks are of one fit: leave out --by, and name the rows with --where.")
    if args.by:
        return _fit_by(args)
    fitted_law, question = reading.fitted(args)
    interval = fitted_law.interval(args.level)
    data = {
        "law": fitted_law.law.name, "values": fitted_law.values, "objective": fitted_law.objective,
        "rows": fitted_law.rows, "warnings": fitted_law.warnings, "equation": fitted_law.law.equation,
        "loss": fitted_law.loss, "delta": fitted_law.delta, "noise": fitted_law.noise, "level": args.level,
        "low": interval["low"].to_dict(), "high": interval["high"].to_dict(), **described(question),
    }  # fmt: skip
    data["notes"] = [*question.notes, *fitted_law.notes]
    text = reading.under(question, fitted_law.summary(args.level))
    if args.checks:
        from scalinglaws.checks import checks  # statsmodels takes a second to import

        result = checks(fitted_law, args.level)
        data, text = data | {"checks": result.data()}, f"{text}\n\n{result.summary()}"
    return Reply(data, text)


def _fit_by(args):
    """One fit for every value of the columns given by --by, in one batch."""
    question = reading.question(args, by=args.by)
    options, by = reading.fit_options(args, question), [question.column(name) for name in args.by]
    groups = fit_groups(question.table, by, question.law, question.quality, question.inputs, **options)
    table = groups.to_frame(args.level)
    doubts = {" ".join(map(str, np.atleast_1d(np.array(k, object)))): f.warnings for k, f in groups.fits.items()}
    refused = {str(label): why for label, why in groups.refused.items()}
    lines = [f"{label}: {sentence}" for label, warnings in doubts.items() for sentence in warnings]
    lines += [f"Left out {label}: {why}" for label, why in refused.items()]
    data = {"groups": records(table), "level": args.level, "warnings": doubts, "refused": refused}
    return Reply(data | described(question), reading.under(question, "\n".join([display.text_table(table), *lines])))


def predict(args):
    """Predict new rows, given by --at or by a file, with intervals."""
    fitted_law, question = reading.fitted(args)
    new_rows = _grid(args.at, fitted_law, question) if args.at else _new_rows(args, fitted_law)
    predicted = fitted_law.predict(new_rows, level=args.level).reset_index(drop=True)
    table = pd.concat([new_rows[list(fitted_law.inputs.values())].reset_index(drop=True), predicted], axis=1)
    far = table["decades_beyond"].max()
    beyond = [f"Up to {far:.1f} decades beyond the data: a projection, not checked."] if far > FAR else []
    warnings = [*beyond, *reading.beyond_one(question, predicted["high"]), *fitted_law.warnings]
    data = {"law": fitted_law.law.name, "level": args.level, "rows": records(table), "warnings": warnings}
    return Reply(
        data | described(question), reading.under(question, reading.with_warnings(display.text_table(table), warnings))
    )


def compare(args):
    """Laws ranked by what they predict."""
    question = reading.question(args)
    options = {"along": args.along, "hide": args.hide, "level": args.level} | reading.fit_options(args, question)
    ranked = validate.compare(question.table, args.laws, question.quality, question.inputs, **options).to_frame()
    notes = [f"{row.law}: {row.note}" for row in ranked.itertuples() if row.note]
    unit = "held_out is the error on hidden rows, on the log scale: 0.02 is 2 %."
    text = "\n".join([display.text_table(ranked.drop(columns="note")), unit, *notes])
    return Reply({"laws": records(ranked), "level": args.level} | described(question), reading.under(question, text))


def _grid(at, fitted_law, question):
    """Every combination of the values given as symbol=v,v or column=v,v."""
    values = {}
    for name, text in pairs(at).items():
        given = [question.value(name, v) for v in text.split(",")]
        column = given[0][0]
        if column not in fitted_law.inputs.values():
            listed = ", ".join(fitted_law.inputs.values())
            raise InputError(f"--at {name}=...: the law's inputs are {', '.join(fitted_law.inputs)} ({listed}).")
        values[column] = [number for _, number in given]
    return pd.DataFrame(list(product(*values.values())), columns=list(values))


def _new_rows(args, fitted_law):
    if args.new is None:
        return fitted_law.table
    table = studies.read(args.new)
    read_as = {column: meaning for column, meaning in pairs(args.read_as).items() if column in table}
    table, _ = read_columns(table, read_as)
    return measurements.tidy(table, fitted_law.inputs.values(), strict=args.strict)
