"""What each verb of the command line does: parsed arguments in, an answer out, as JSON and as lines for people."""

import json
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import pandas as pd

from scalinglaws import asking, levels, measurements, optimal, studies
from scalinglaws.crossing import crossover as cross
from scalinglaws.crossing import crossovers, measured_crossover
from scalinglaws.fitting import fit_groups
from scalinglaws.guidance import optimal_guidance
from scalinglaws.schema import InputError
from scalinglaws.validate import compare as rank

OPTIMISTIC = "chosen on the rows it is reported on, so its lead is a little optimistic"


@dataclass(frozen=True)
class Said:
    """An answer: `data` as JSON, `text` for people."""

    data: object
    text: str


def fit(args):
    """Fit a law and say how far to trust it."""
    if args.by and args.checks:
        raise InputError("--checks are of one fit: leave out --by, and name the rows with --where.")
    if args.by:
        return _fit_by(args)
    found, question = _fit(args)
    interval = found.interval(args.level)
    data = {
        "law": found.law.name, "values": found.values, "objective": found.objective, "rows": found.rows,
        "warnings": found.warnings, "notes": list(found.notes), "equation": found.law.equation,
        "quality": found.quality, "inputs": found.inputs, "loss": found.loss, "delta": _finite(found.delta),
        "noise": found.noise, "level": args.level, "low": interval["low"].to_dict(),
        "high": interval["high"].to_dict(), "data": measurements.fingerprint(question.table),
    }  # fmt: skip
    return _checked(found, data, args.level) if args.checks else Said(data, found.summary())


def _checked(found, data, level):
    """The fit with statsmodels' checks, which take a second to import."""
    from scalinglaws.checks import checks

    told = checks(found, level)
    return Said(data | {"checks": told.data()}, f"{found.summary()}\n\n{told.summary()}")


def _fit_by(args):
    """One fit for every value of the columns given by --by, in one batch."""
    question = _ask(args, by=args.by)
    options = _fit_options(args)
    groups = fit_groups(question.table, args.by, question.law, question.quality, question.inputs, **options)
    table = groups.table(args.level)
    told = {" ".join(map(str, np.atleast_1d(np.array(k, object)))): f.warnings for k, f in groups.fits.items()}
    refused = {str(label): why for label, why in groups.refused.items()}
    lines = [f"{label}: {sentence}" for label, found in told.items() for sentence in found]
    lines += [f"Left out {label}: {why}" for label, why in refused.items()]
    data = {"groups": _records(table), "level": args.level, "warnings": told, "refused": refused}
    return Said(data, "\n".join([_show(table), *lines]))


def predict(args):
    """Predict new rows, given by --at or by a file, with intervals."""
    found, _ = _fit(args)
    new = _grid(args.at, found) if args.at else _new_rows(args.new, found)
    answer = found.predict(new, level=args.level)
    table = pd.concat([new[list(found.inputs.values())].reset_index(drop=True), answer.reset_index(drop=True)], axis=1)
    far = table["decades_beyond"].max()
    beyond = [f"Up to {far:.1f} decades beyond the data: a projection, not checked."] if far > 0.05 else []
    warnings = beyond + found.warnings
    data = {"law": found.law.name, "quality": found.quality, "level": args.level, "rows": _records(table)}
    return Said(data | {"warnings": warnings}, _lines(_show(table), warnings))


def optimum(args):
    """The best size and steps for a budget; where rows hold several samplers or guidances, the best of those too."""
    question = _ask(args, choose=True)
    fits, unfit = question.fits(**_fit_options(args))
    options = {"sizes": _sizes(args.sizes), "steps": args.steps, "level": args.level} | _price_options(args)
    optima, poor = optimal.optima(fits, args.budget, args.unit, **options)
    label, table = optimal.choose(optima)
    best, several, skipped = optima[label], len(fits) > 1, unfit + poor
    data = {k: v for k, v in asdict(best).items() if k != "candidates"} | {"setting": label}
    data |= {"candidates": _records(best.candidates), "settings": _records(table), "skipped": skipped}
    data["warnings"] = [*best.warnings, *fits[label].warnings]
    head = [f"Best setting: {label} ({OPTIMISTIC}).", _show(table.drop(columns="size")), ""] if several else []
    answer = _lines(best.summary(), fits[label].warnings)
    return Said(data, "\n".join([*head, answer, "", _show(best.candidates), *skipped]))


def crossover(args):
    """Where two sizes swap, or two levels of another column, or every pair of them."""
    if args.by:
        return _crossover_by(args)
    found, question = _fit(args)
    options = {"unit": args.unit, "level": args.level} | _price_options(args)
    if not args.between:
        table = crossovers(found, **options)
        return Said({"pairs": _records(table), "warnings": found.warnings}, _lines(_show(table), found.warnings))
    answer = cross(found, args.between, **options)
    measured = _measured(question, found, answer, options)
    data = asdict(answer) | {"measured": measured, "warnings": [*answer.warnings, *found.warnings]}
    return Said(data, _lines(answer.summary(), found.warnings) + f"\n{_alone(measured)}")


def _alone(places):
    shown = ", ".join(f"{x:.4g}" for x in places) or "nowhere where both were measured"
    return f"Measured curves alone cross at: {shown}."


def _crossover_by(args):
    """Where the levels of a column swap, such as samplers: at one size, or a table of all."""
    question = _ask(args, by=[args.by])
    table = question.table
    if args.share and args.between:
        table = pd.concat([measurements.where(table, **{args.by: name}) for name in args.between])
    found = levels.fit_levels(table, args.by, question.law, question.quality, question.inputs, args.share or (),
                              **_fit_options(args))  # fmt: skip
    options = {"unit": args.unit, "level": args.level, "at": args.at, "along": args.along} | _price_options(args)
    if args.between and (args.at or len(question.inputs) == 1):
        answer = cross(found, args.between, by=args.by, **options)
        alone = levels.measured(found, args.between, **{k: v for k, v in options.items() if k != "level"})
        return Said(asdict(answer) | {"measured": alone}, f"{answer.summary()}\n{_alone(alone)}")
    pairs = crossovers(found, between=args.between, **options)
    return Said({"by": args.by, "pairs": _records(pairs)}, _show(pairs))


def compare(args):
    """Laws ranked by what they predict."""
    question = _ask(args)
    options = {"along": args.along, "hide": args.hide, "level": args.level} | _fit_options(args)
    ranked = rank(question.table, args.laws, question.quality, question.inputs, **options)
    notes = [f"{row.law}: {row.note}" for row in ranked.itertuples() if row.note]
    told = "held_out is the error on hidden rows, on the log scale: 0.02 is 2 %."
    return Said(_records(ranked), "\n".join([_show(ranked.drop(columns="note")), told, *notes]))


def guidance(args):
    """The best guidance of every setting, chosen on one half of the samples and reported on the other."""
    table = measurements.where(studies.read(args.file), **asking.pairs(args.where))
    found = optimal_guidance(table, args.quality or asking.quality_of(table))
    data = {"settings": _records(found.table), "quality": found.quality, "notes": list(found.notes)}
    return Said(data, found.summary())


def list_studies(args):
    """The bundled studies, or one with its traps."""
    if args.name:
        study = studies.describe(args.name)
        return Said(asdict(study), _describe(study))
    found = [studies.describe(name) for name in studies.names()]
    lines = [f"{s.name:16} {s.rows:4} rows  {', '.join(s.quality):34} {s.title}" for s in found]
    return Said([asdict(s) for s in found], "\n".join(lines))


def report(args):
    """Run a notebook and print the path of its HTML."""
    from scalinglaws import notebooks

    path = notebooks.report(args.name, asking.pairs(args.parameter), args.out)
    return Said({"report": str(path)}, f"Report: {path}")


def _ask(args, choose=False, by=()):
    inputs, conditions = asking.pairs(args.inputs), asking.pairs(args.where)
    if not 0 < args.level < 1:
        raise InputError(f"--level {args.level:g}: give a number between 0 and 1, such as 0.9.")
    return asking.ask(args.file, args.quality, args.law, inputs, conditions, choose, by)


def _fit(args):
    question = _ask(args)
    return question.fit(**_fit_options(args)), question


def _fit_options(args):
    return {"loss": args.loss, "delta": args.delta, "seed": args.seed}


def _price_options(args):
    return {"decode": args.decode, "price": args.price}


def _sizes(given):
    return "continuous" if given == ["continuous"] else given


def _measured(question, found, answer, options):
    """Costs at which the measured curves alone cross; none for sizes that were not measured."""
    keep = {k: options[k] for k in ("unit", "decode", "price")}
    size = next(iter(found.inputs.values()))
    try:
        between = (answer.small, answer.large)
        return measured_crossover(question.table, between, found.quality, size=size, **keep)
    except InputError:
        return []


def _grid(at, found):
    """Every combination of the values given as symbol=v,v or column=v,v."""
    given = asking.pairs(at)
    columns = {**found.inputs, **{c: c for c in found.inputs.values()}}
    unknown = [k for k in given if k not in columns]
    if unknown:
        raise InputError(f"--at {unknown[0]}=...: the law's inputs are {', '.join(found.inputs)} ({_shown(found)}).")
    values = {columns[k]: [_number(v) for v in text.split(",")] for k, text in given.items()}
    return pd.DataFrame(list(product(*values.values())), columns=list(values))


def _new_rows(file, found):
    return found.table if file is None else studies.read(file, needs=found.inputs.values())


def _number(text):
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{text!r} is no number; write --at N=1e7 S=10,20.") from None


def _shown(found):
    return ", ".join(found.inputs.values())


def _describe(study):
    lines = [f"{study.name}: {study.title}", f"rows      {study.rows}", f"quality   {', '.join(study.quality)}"]
    lines += [f"family    {f}" for f in study.families] + [f"source    {s}" for s in study.sources]
    return "\n".join(lines + [f"trap      {t}" for t in study.traps])


def _lines(text, warnings):
    return "\n".join([text, *(f"Warning: {w}" for w in warnings)])


def _show(table):
    return table.to_string(index=False, float_format=lambda v: f"{v:.4g}", na_rep="-")


def _records(table):
    return json.loads(table.to_json(orient="records", double_precision=15))


def _finite(value):
    return value if np.isfinite(value) else None
