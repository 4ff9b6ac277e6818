"""What each command does: parsed arguments in, a Reply out, as JSON and as lines for people."""

import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import answer, display, examples, infer, measurements, studies, units, validate
from scalinglaws.answer import OPTIMISTIC, best_affordable, described, records
from scalinglaws.decide import fitted
from scalinglaws.decide.crossover import crossover as cross
from scalinglaws.decide.crossover import crossovers, measured_crossings
from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.decide.optimum import best_setting
from scalinglaws.fitting import fit_groups
from scalinglaws.schema import InputError

FAR = 0.05  # decades beyond the data that are worth a warning
SCHEMA = Path(__file__).with_name("answers.schema.json")


@dataclass(frozen=True)
class Reply:
    """An answer: `data` as JSON, `text` for people."""

    data: object
    text: str


def new(args):
    """Write a small csv of real measurements and a sweep file to start from."""
    paths, commands = examples.write(args.folder)
    text = "\n".join([*(f"Wrote {p}" for p in paths), "", "Try:", *(f"  {c}" for c in commands)])
    return Reply({"files": [str(p) for p in paths], "commands": commands}, text)


def ask(args):
    """The answer to a budget in one go: how the table was read, the law, the best size and steps, and the doubts."""
    keep = {"quality": args.quality, "law": args.law, "inputs": infer.pairs(args.inputs), "strict": args.strict}
    keep |= {"where": infer.pairs(args.where), "read_as": infer.pairs(args.read_as), "level": _level(args)}
    reply = answer.ask(args.file, args.budget, unit=args.unit, price=args.price, stages=_stages(args), **keep,
                       **_fit_options(args))  # fmt: skip
    return Reply(reply.record(), reply.summary())


def fit(args):
    """Fit a law and say how far to trust it."""
    if args.by and args.checks:
        raise InputError("--checks are of one fit: leave out --by, and name the rows with --where.")
    if args.by:
        return _fit_by(args)
    fitted_law, question = _fit(args)
    interval = fitted_law.interval(args.level)
    data = {
        "law": fitted_law.law.name, "values": fitted_law.values, "objective": fitted_law.objective,
        "rows": fitted_law.rows, "warnings": fitted_law.warnings, "equation": fitted_law.law.equation,
        "loss": fitted_law.loss, "delta": fitted_law.delta, "noise": fitted_law.noise, "level": args.level,
        "low": interval["low"].to_dict(), "high": interval["high"].to_dict(), **described(question),
    }  # fmt: skip
    data["notes"] = [*question.notes, *fitted_law.notes]
    text = _under(question, fitted_law.summary())
    if args.checks:
        from scalinglaws.checks import checks  # statsmodels takes a second to import

        result = checks(fitted_law, args.level)
        data, text = data | {"checks": result.data()}, f"{text}\n\n{result.summary()}"
    return Reply(data, text)


def _fit_by(args):
    """One fit for every value of the columns given by --by, in one batch."""
    question = _question(args, by=args.by)
    options, by = _fit_options(args), [question.column(name) for name in args.by]
    groups = fit_groups(question.table, by, question.law, question.quality, question.inputs, **options)
    table = groups.to_frame(args.level) if hasattr(groups, "to_frame") else groups.table(args.level)
    doubts = {" ".join(map(str, np.atleast_1d(np.array(k, object)))): f.warnings for k, f in groups.fits.items()}
    refused = {str(label): why for label, why in groups.refused.items()}
    lines = [f"{label}: {sentence}" for label, warnings in doubts.items() for sentence in warnings]
    lines += [f"Left out {label}: {why}" for label, why in refused.items()]
    data = {"groups": records(table), "level": args.level, "warnings": doubts, "refused": refused}
    return Reply(data | described(question), _under(question, "\n".join([display.text_table(table), *lines])))


def predict(args):
    """Predict new rows, given by --at or by a file, with intervals."""
    fitted_law, question = _fit(args)
    new_rows = _grid(args.at, fitted_law, question) if args.at else _new_rows(args, fitted_law)
    predicted = fitted_law.predict(new_rows, level=args.level).reset_index(drop=True)
    table = pd.concat([new_rows[list(fitted_law.inputs.values())].reset_index(drop=True), predicted], axis=1)
    far = table["decades_beyond"].max()
    beyond = [f"Up to {far:.1f} decades beyond the data: a projection, not checked."] if far > FAR else []
    warnings = [*beyond, *fitted_law.warnings]
    data = {"law": fitted_law.law.name, "level": args.level, "rows": records(table), "warnings": warnings}
    return Reply(data | described(question), _under(question, _lines(display.text_table(table), warnings)))


def optimum(args):
    """The best size and steps for a budget; where rows hold several samplers or guidances, the best of those too."""
    question = _question(args, choose=True)
    budget = question.budget(args.budget, args.unit, args.price)
    fits, unfit = question.fits(**_fit_options(args))
    sizes = args.sizes and ("continuous" if args.sizes == ["continuous"] else [question.size(s) for s in args.sizes])
    options = {"sizes": sizes or None, "steps": args.steps, "level": args.level}
    optima, poor = best_affordable(fits, budget, price=args.price, stages=_stages(args), **options)
    label, table = best_setting(optima)
    best, skipped = optima[label], unfit + poor
    data = best.record() | {"setting": label, "candidates": records(best.candidates), "settings": records(table)}
    data |= {"skipped": skipped, "warnings": [*best.warnings, *fits[label].warnings]} | described(question)
    shown = display.text_table(table.drop(columns="size"))
    head = [f"Best setting: {label} ({OPTIMISTIC}).", shown, ""] if len(fits) > 1 else []
    lines = _lines(best.summary(), fits[label].warnings)
    return Reply(data, _under(question, "\n".join([*head, lines, "", display.text_table(best.candidates), *skipped])))


def crossover(args):
    """Where two sizes cross, or two levels of another column, or every pair of them."""
    if args.by:
        return _crossover_by(args)
    fitted_law, question = _fit(args)
    options = _cost_options(args, question)
    if not args.between:
        table = crossovers(fitted_law, level=args.level, **options)
        data = {"pairs": records(table), "warnings": fitted_law.warnings} | described(question)
        return Reply(data, _under(question, _lines(display.text_table(table), fitted_law.warnings)))
    between = [question.size(size) for size in args.between]
    crossing = cross(fitted_law, between, level=args.level, **options)
    alone = measured_crossings(fitted_law, between, **options)
    data = crossing.record() | {"measured": alone, "warnings": [*crossing.warnings, *fitted_law.warnings]}
    text = _lines(crossing.summary(), fitted_law.warnings) + f"\n{_alone(alone)}"
    return Reply(data | described(question), _under(question, text))


def _alone(places):
    shown = ", ".join(f"{x:.4g}" for x in places) or "nowhere where both were measured"
    return f"Measured curves alone cross at: {shown}."


def _crossover_by(args):
    """Where the levels of a column cross, such as samplers: at one size, or a table of all."""
    question = _question(args, by=[args.by])
    table, share, by = question.table, args.share or (), question.column(args.by)
    if share and args.between:
        table = pd.concat([measurements.where(table, **{by: name}) for name in args.between])
    levels = fitted.fit_levels(table, by, question.law, question.quality, question.inputs, share=share,
                               **_fit_options(args))  # fmt: skip
    place = {"at": args.at and question.size(args.at), "along": args.along}
    options = {"level": args.level, **place} | (_cost_options(args, question) if not args.along else {})
    if args.between and (args.at or len(question.inputs) == 1):
        crossing = cross(levels, args.between, **options)
        alone = measured_crossings(levels, args.between, **{k: v for k, v in options.items() if k != "level"})
        text = f"{crossing.summary()}\n{_alone(alone)}"
        return Reply(crossing.record() | {"measured": alone} | described(question), _under(question, text))
    pairs = crossovers(levels, args.between, **options)
    data = {"by": by, "pairs": records(pairs), "warnings": []} | described(question)
    return Reply(data, _under(question, display.text_table(pairs)))


def compare(args):
    """Laws ranked by what they predict."""
    question = _question(args)
    options = {"along": args.along, "hide": args.hide, "level": args.level} | _fit_options(args)
    ranked = validate.compare(question.table, args.laws, question.quality, question.inputs, **options)
    ranked = ranked.to_frame() if hasattr(ranked, "to_frame") else ranked
    notes = [f"{row.law}: {row.note}" for row in ranked.itertuples() if row.note]
    unit = "held_out is the error on hidden rows, on the log scale: 0.02 is 2 %."
    text = "\n".join([display.text_table(ranked.drop(columns="note")), unit, *notes])
    return Reply({"laws": records(ranked), "level": args.level} | described(question), _under(question, text))


def guidance(args):
    """The best guidance of every setting, cross-fitted: chosen on one half of the samples, reported on the other."""
    wanted = [args.quality] if args.quality else []
    table, readings = infer.read_columns(studies.read(args.file), infer.pairs(args.read_as), wanted)
    table = measurements.where(table, **infer.pairs(args.where))
    called = {r.column: r.meaning for r in readings}
    best = optimal_guidance(table, called.get(args.quality, args.quality) or infer.quality_of(table))
    data = {"settings": records(best.to_frame()), "quality": best.quality, "notes": list(best.notes)}
    return Reply(data, "\n".join([*(r.sentence() for r in readings), best.summary()]))


def list_studies(args):
    """The bundled studies, or one with its caveats."""
    if args.name:
        study = studies.describe(args.name)
        lines = [f"{study.name}: {study.title}", f"rows      {study.rows}", f"quality   {', '.join(study.quality)}"]
        lines += [f"family    {f}" for f in study.families] + [f"source    {s}" for s in study.sources]
        return Reply(asdict(study), "\n".join(lines + [f"caveat    {c}" for c in study.caveats]))
    known = [studies.describe(name) for name in studies.names()]
    lines = [f"{s.name:16} {s.rows:4} rows  {', '.join(s.quality):34} {s.title}" for s in known]
    return Reply([asdict(s) for s in known], "\n".join(lines))


def report(args):
    """Run a notebook and print the path of its HTML."""
    from scalinglaws import notebooks

    path = notebooks.report(args.name, infer.pairs(args.parameter), args.out)
    return Reply({"report": str(path)}, f"Report: {path}")


def show_schema(args):
    """The JSON Schema of what --json prints."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    if args.verb:
        if args.verb not in schema["$defs"]:
            known = ", ".join(name for name in schema["$defs"] if name[0].islower())
            raise InputError(f"No JSON Schema for {args.verb!r}. Commands: {known}.")
        schema = {k: v for k, v in schema.items() if k != "oneOf"} | {"$ref": f"#/$defs/{args.verb}"}
    return Reply(schema, json.dumps(schema, indent=2))


def _question(args, choose=False, by=()):
    _level(args)
    return infer.question(
        args.file, args.quality, args.law, infer.pairs(args.inputs), infer.pairs(args.where), choose, by,
        infer.pairs(args.read_as), args.strict,
    )  # fmt: skip


def _level(args):
    if not 0 < args.level < 1:
        raise InputError(f"--level {args.level:g}: give a number between 0 and 1, such as 0.9.")
    return args.level


def _fit(args):
    question = _question(args)
    return question.fit(**_fit_options(args)), question


def _fit_options(args):
    return {"loss": args.loss, "delta": args.delta, "seed": args.seed}


def _stages(args):
    return ("denoise", *(["text"] if args.text else []), *(["decode"] if args.decode else []))


def _cost_options(args, question):
    """unit, stages and price of a cost without a budget: the unit asked for, or the first the table can price."""
    unit = units.canonical(args.unit) or ("money" if args.price is not None else next(iter(question.units()), "flops"))
    question.budget(1.0, unit, args.price)  # refuses a unit the table cannot price
    return {"unit": unit, "stages": _stages(args), "price": args.price if unit == "money" else None}


def _grid(at, fitted_law, question):
    """Every combination of the values given as symbol=v,v or column=v,v."""
    values = {}
    for name, text in infer.pairs(at).items():
        numbers = {v: units.number(v) for v in text.split(",")}
        if None in numbers.values():
            wrong = next(v for v, number in numbers.items() if number is None)
            raise InputError(f"{wrong!r} is no number; write --at N=1e7 S=10,20.")
        given = [question.value(name, numbers[v]) for v in text.split(",")]
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
    read_as = {column: meaning for column, meaning in infer.pairs(args.read_as).items() if column in table}
    table, _ = infer.read_columns(table, read_as)
    return measurements.tidy(table, fitted_law.inputs.values(), strict=args.strict)


def _under(question, text):
    """The text below how the columns were read."""
    return "\n".join([*question.sentences(), text])


def _lines(text, warnings):
    return "\n".join([text, *(f"Warning: {w}" for w in warnings)])
