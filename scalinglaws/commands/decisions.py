"""Verbs that decide: ask, optimum, crossover, design, guidance."""

import pandas as pd

from scalinglaws import answer, display, infer, measurements, roles, studies, units
from scalinglaws.answer import OPTIMISTIC, best_affordable, described, records
from scalinglaws.assignments import pairs
from scalinglaws.commands import reading
from scalinglaws.commands.reading import Reply
from scalinglaws.decide import fitted
from scalinglaws.decide.crossover import crossover as cross
from scalinglaws.decide.crossover import crossovers, measured_crossings
from scalinglaws.decide.design import design as design_of
from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.decide.misfit import misfit
from scalinglaws.decide.optimum import best_setting
from scalinglaws.schema import InputError


def ask(args):
    """The answer to a budget in one go: how the table was read, the law, the best size and steps, and the doubts."""
    keep = {"quality": args.quality, "law": args.law, "inputs": pairs(args.inputs), "strict": args.strict}
    keep |= {"where": pairs(args.where), "read_as": pairs(args.read_as), "level": reading.level(args)}
    reply = answer.ask(args.file, args.budget, unit=args.unit, price=args.price, stages=reading.stages(args), **keep,
                       **reading.fit_options(args))  # fmt: skip
    return Reply(reply.record(), reply.summary())


def optimum(args):
    """The best size and steps for a budget; where rows hold several samplers or guidances, the best of those too."""
    question = reading.question(args, choose=True)
    budget = question.budget(args.budget, args.unit, args.price)
    fits, unfit = question.fits(**reading.fit_options(args))
    sizes = args.sizes and ("continuous" if args.sizes == ["continuous"] else [question.size(s) for s in args.sizes])
    options = {"sizes": sizes or None, "steps": args.steps, "level": args.level}
    optima, poor = best_affordable(fits, budget, price=args.price, stages=reading.stages(args), **options)
    label, table = best_setting(optima)
    best, skipped = optima[label], unfit + poor
    data = best.record() | {"setting": label, "candidates": records(best.candidates), "settings": records(table)}
    doubts = [*misfit(fits[label]), *fits[label].warnings]
    data |= {"skipped": skipped, "warnings": [*best.warnings, *doubts]} | described(question)
    shown = display.text_table(table.drop(columns="size"))
    head = [f"Best setting: {label} ({OPTIMISTIC}).", shown, ""] if len(fits) > 1 else []
    lines = reading.with_warnings(best.summary(), doubts)
    return Reply(
        data, reading.under(question, "\n".join([*head, lines, "", display.text_table(best.candidates), *skipped]))
    )


def crossover(args):
    """Where two sizes cross, or two levels of another column, or every pair of them."""
    if args.by:
        return _crossover_by(args)
    for option in ("at", "along", "share"):
        if getattr(args, option):
            raise InputError(f"--{option} is for the levels of a column: name it by --by, such as --by sampler.")
    fitted_law, question = reading.fitted(args)
    options, doubts = _cost_options(args, question), [*misfit(fitted_law), *fitted_law.warnings]
    if not args.between:
        table = crossovers(fitted_law, level=args.level, **options)
        data = {"pairs": records(table), "warnings": doubts} | described(question)
        return Reply(data, reading.under(question, reading.with_warnings(display.text_table(table), doubts)))
    between = [question.size(size) for size in args.between]
    crossing = cross(fitted_law, between, level=args.level, **options)
    alone = measured_crossings(fitted_law, between, **options)
    data = crossing.record() | {"measured": alone, "warnings": [*crossing.warnings, *doubts]}
    text = reading.with_warnings(crossing.summary(), doubts) + f"\n{_alone(alone)}"
    return Reply(data | described(question), reading.under(question, text))


def _alone(places):
    shown = ", ".join(f"{x:.4g}" for x in places) or "nowhere where both were measured"
    return f"Measured curves alone cross at: {shown}."


def _crossover_by(args):
    """Where the levels of a column cross, such as samplers: at one size, or a table of all."""
    question = reading.question(args, by=[args.by])
    table, share, by = question.table, args.share or (), question.column(args.by)
    if share and args.between:
        table = pd.concat([measurements.where(table, **{by: name}) for name in args.between])
    levels = fitted.fit_levels(table, by, question.law, question.quality, question.inputs, share=share,
                               **reading.fit_options(args, question))  # fmt: skip
    place = {"at": args.at and question.size(args.at), "along": args.along}
    options = {"level": args.level, **place} | (_cost_options(args, question) if not args.along else {})
    if args.between and (args.at or len(question.inputs) == 1):
        crossing = cross(levels, args.between, **options)
        alone = measured_crossings(levels, args.between, **{k: v for k, v in options.items() if k != "level"})
        text = f"{crossing.summary()}\n{_alone(alone)}"
        return Reply(crossing.record() | {"measured": alone} | described(question), reading.under(question, text))
    pairs = crossovers(levels, args.between, **options)
    data = {"by": by, "pairs": records(pairs), "warnings": []} | described(question)
    return Reply(data, reading.under(question, display.text_table(pairs)))


def design(args):
    """What to measure next: the cells and trainings that reduce the loss of a decision most per unit of cost."""
    question = reading.question(args, choose=args.question == "optimum")
    sizes = {"between": args.between and [question.size(size) for size in args.between]}
    training = units.number(args.training) if args.training not in (None, "column") else args.training == "column"
    if training is None:
        raise InputError(f"--training {args.training}: give the cost of training a size as a number, or 'column'.")
    known = {"quality": question.quality, "law": question.law, "inputs": question.inputs}
    plan = design_of(
        question.table, args.question, args.spend, **known, budget=args.budget, steps=args.steps, samples=args.samples,
        training=training or None, of=args.of, price=args.price, enough=args.enough, most=args.most, **sizes,
    )  # fmt: skip
    about = described(question)
    record = plan.record() | about | {"notes": [*about["notes"], *plan.notes]}
    return Reply(record, reading.under(question, plan.summary()))


def guidance(args):
    """The best guidance of every setting, cross-fitted: chosen on one half of the samples, reported on the other."""
    wanted = [args.quality] if args.quality else []
    named = {column: column for column in wanted} | pairs(args.read_as)
    raw = studies.read(args.file, named=named)
    table, readings = infer.kept_and_read(raw, pairs(args.where), pairs(args.read_as), wanted)
    called = {r.column: r.meaning for r in readings}
    best = optimal_guidance(table, called.get(args.quality, args.quality) or roles.quality_of(table))
    data = {"settings": records(best.to_frame()), "quality": best.quality, "notes": list(best.notes)}
    return Reply(data, "\n".join([*(r.sentence() for r in readings), best.summary()]))


def _cost_options(args, question):
    """unit, stages and price of a cost without a budget: the unit asked for, or the first the table can price."""
    unit = units.canonical(args.unit) or ("money" if args.price is not None else next(iter(question.units()), "flops"))
    question.budget(1.0, unit, args.price)  # refuses a unit the table cannot price
    return {"unit": unit, "stages": reading.stages(args), "price": args.price if unit == "money" else None}
