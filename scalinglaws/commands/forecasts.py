"""Verbs that look beyond the rows: forecast, backtest."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import backtest as board
from scalinglaws import measurements, pooling, schema, studies
from scalinglaws.answer import described, records
from scalinglaws.assignments import pairs
from scalinglaws.columns import read_columns
from scalinglaws.commands import reading
from scalinglaws.commands.reading import Reply
from scalinglaws.forecasting import language, page, rivals, series
from scalinglaws.forecasting.forecast import forecast as forecast_of
from scalinglaws.schema import InputError

SYMBOLS = {"N": "size", "S": "steps"}  # axis by its symbol: the first column of this kind that varies
EXAMPLE = "--at params=1e9,2e9"
EVERY = 25  # series between two lines of progress


def forecast(args):
    """A size, step count or training length that was not measured, from the rows of one curve; two rows are enough."""
    reading.level(args)
    axis, texts = _at(args)
    question = reading.question(args, inputs={"x": axis})
    column, quality = question.inputs["x"], question.quality
    if column == quality:
        raise InputError(f"--at {args.at[0]}: {axis} is the quality; name the column that it is forecast along.")
    new = np.unique([_number(question, axis, text) for text in texts])
    rows, question = _curve(question, column)
    options = {"kind": args.kind, "sampler": args.sampler, "use_prior": not args.no_prior}
    options["leave_out"] = args.file if args.file in studies.names() else None
    answer = forecast_of(rows, quality, column, new, **options)
    check = _check(rows, quality, column, options, args.level)
    high = answer.interval(args.level, "new_model").max()
    warnings = [*reading.beyond_one(question, high), *_warnings(check, answer)]
    x, y = float(answer.seen.x[-1]), float(answer.seen.y[-1])
    record, about = answer.record(args.level), described(question)
    data = record | about | {"notes": [*about["notes"], *record["notes"]]}
    data |= {"last": {"x": x, "value": y}, "check": check, "warnings": warnings}
    lines = [answer.summary(args.level), f"The last row again, {column} = {x:.4g}: {y:.4g}."]
    lines += [_sentence(check, column, args.level)] if check else []
    return Reply(data, reading.under(question, reading.with_warnings("\n".join(lines), warnings)))


def backtest(args):
    """Forecasts of values that were hidden, beside rival forecasts: of every bundled study, or of your tables."""
    names = list(rivals.RIVALS) if args.rivals == "all" else [n.strip() for n in args.rivals.split(",") if n.strip()]
    unknown = [name for name in names if name not in rivals.RIVALS]
    if unknown:
        raise InputError(f"No rival named {unknown[0]!r}. Known: all, {', '.join(rivals.RIVALS)}.")
    for option, path in (("--page", args.page), ("--write", args.write)):
        if path and not Path(path).absolute().parent.is_dir():
            raise InputError(f"{option} {path}: no folder {str(Path(path).parent)!r}; make it first.")
    stored = board.read(args.check) if args.check else None
    found, skipped = _series(args)
    result = board.backtest(found, names, processes=args.processes, progress=_report)
    text = board.summary(result)
    said = [f"Board: {board.write(result, args.write)}"] if args.write else []
    written = page.write(args.page, result, found, board.table(result)) if args.page else None
    said += [f"Page: {written}"] if written else []
    if stored is not None:
        said.append(f"{args.check}: {board.check(stored, result)} forecasts are as they were.")
    data = {"rows": records(result), "rivals": records(board.compare(result)), "summary": text.splitlines(),
            "skipped": skipped, "page": written and str(written)}  # fmt: skip
    return Reply(data, "\n".join([text, *skipped, *said]))


def _at(args):
    """(axis, texts of its values) of --at: COLUMN=V[,V], a symbol for the column, or model=LABEL of a row without
    quality, whose size is taken."""
    if len(args.at) > 1:
        raise InputError(f"--at names {len(args.at)} columns: a forecast runs along one, such as {EXAMPLE}.")
    if "=" not in args.at[0]:
        raise InputError(f"--at {args.at[0]}: write COLUMN=VALUE, such as {EXAMPLE}.")
    name, text = args.at[0].split("=", 1)
    texts = [t for t in text.split(",") if t.strip()]
    if not texts:
        raise InputError(f"--at {args.at[0]}: no value; write COLUMN=VALUE, such as {EXAMPLE}.")
    table, _ = read_columns(studies.read(args.file, named=pairs(args.read_as)), pairs(args.read_as), [name])
    if name in SYMBOLS and name not in table:
        return _varied(table, SYMBOLS[name]), texts
    if name == "model" and name in table:
        size = _varied(table, "size")
        return size, [f"{measurements.where(table, model=label)[size].iloc[0]:.17g}" for label in texts]
    return name, texts


def _varied(table, kind):
    """The first column of a kind that varies."""
    columns = [c for c in schema.names(kind=kind) if c in table]
    for column in columns:
        if pd.api.types.is_numeric_dtype(table[column]) and table[column].nunique() > 1:
            return column
    raise InputError(f"No column of {kind} that varies; the table has {', '.join(table.columns)}: name one by --at.")


def _number(question, axis, text):
    """A value of --at, above 0, in the unit of the law's column: 2e9, 350M, 1.3B."""
    value = question.value(axis, text)[1]
    if not 0 < value < np.inf:
        raise InputError(f"--at {axis}={text}: {text!r} is no number above 0; write {EXAMPLE} or params=1.3B.")
    return value


def _curve(question, column):
    """(rows of one curve, Question with notes on it); repeats are left to forecast(), which averages them."""
    table, quality = question.table, question.quality
    along = next((k for k, names in series.AXES.items() if column in names), "size")
    for other in () if along == "size" else [c for c in ("model", *schema.names(kind="size")) if c in table]:
        if table[other].nunique() > 1:
            raise InputError(
                f"{pooling.mixture(table[other], other)}: a forecast along {column} is of one; keep one with "
                f"{pooling.where(other)}."
            )
    varied = [c for c in schema.unpooled() if c in table and c not in (column, *series.FOLLOWS[along])]
    varied = [c for c in varied if table[c].nunique() > 1]
    notes = [f"Along the curve {', '.join(varied)} differ, too: taken as part of it."] if varied else []
    spread = measurements.spread(table, quality, [column])
    if spread is None:
        return table, replace(question, notes=(*question.notes, *notes))
    notes += [f"{len(table)} rows are {table[column].nunique()} values of {column}: repeats are averaged."]
    kept = [note for note in question.notes if note != spread.sentence()]  # which is about fits
    return table, replace(question, notes=(*kept, *notes))


def _check(rows, quality, column, options, level):
    """The largest measured row forecast from the smaller ones; None where fewer than two remain."""
    largest = rows[column] == rows[column].max()
    if rows[column].nunique() < 3:
        return None
    answer = forecast_of(rows[~largest], quality, column, [rows[column].max()], **options)
    low, high = answer.interval(level, "new_model")[0]
    measured = float(np.exp(np.log(rows.loc[largest, quality]).mean()))
    known = {"x": float(rows[column].max()), "measured": measured, "last": float(answer.seen.y[-1])}
    return known | {"value": float(answer.value[0]), "low": float(low), "high": float(high)}


def _sentence(check, column, level):
    error, naive = (abs(check[k] / check["measured"] - 1) for k in ("value", "last"))
    return (
        f"Check: {column} = {check['x']:.4g} from the smaller ones would have been {check['value']:.4g} ({level:.0%} "
        f"interval {check['low']:.4g} to {check['high']:.4g}); measured is {check['measured']:.4g}: {error:.1%} off; "
        f"the row before it again is {naive:.1%} off."
    )


def _warnings(check, answer):
    warnings = []
    if check and not check["low"] <= check["measured"] <= check["high"]:
        warnings.append("The largest measured row lies outside the interval forecast from the smaller ones: trust the "
                        "intervals above less than they say.")  # fmt: skip
    reach = float(np.log10(answer.new.max() / answer.seen.x[-1]))
    if reach > 1:
        warnings.append(
            f"{reach:.1f} decades beyond the largest row: the prior was learned from steps of less than one."
        )
    return warnings


def _series(args):
    """(series of the tables, or of all bundled studies; sentences of what was skipped)."""
    found, skipped = [], []
    if not args.tables:
        print("Reading the bundled studies ...", file=sys.stderr)
        found = series.published()
    for source in args.tables:
        bundled, table = source in studies.names(), studies.read(source)
        table = table if bundled else _as_in_the_schema(table)
        own = series.questions(table, source if bundled else Path(source).stem)
        found += own
        skipped += [] if own else [_no_curve(source, table)]
    if args.language and not Path(args.language).is_dir():
        raise InputError(f"No folder {args.language!r}: give the folder of the language sets, or leave out --language.")
    others, missing = language.load(args.language) if args.language else ([], [])
    if skipped and not found + others:
        raise InputError(skipped[0])
    return found + others, skipped + missing


def _as_in_the_schema(table):
    """The table with columns called as in the schema; as it is, where two columns could be one."""
    try:
        return read_columns(table)[0]
    except InputError:
        return table


def _no_curve(source, table):
    """Why a table asks nothing of the board."""
    if not any(c in table for c in (*schema.names("quality"), "loss")):
        return f"{source} has no quality, such as fid or loss; its columns are {', '.join(map(str, table.columns))}."
    return (f"No curve of 3 values or more in {source}, so nothing can be hidden: a curve is quality against size, "
            "steps or training length with all other settings equal; measure one more of these.")  # fmt: skip


def _report(done, of):
    """Progress of a long run, on stderr."""
    if done % EVERY == 0:
        print(f"{done} of {of} series done.", file=sys.stderr)
