"""The verb about a training budget: allocate."""

import re

import pandas as pd

from scalinglaws import laws, schema, studies, units
from scalinglaws.answer import described, records
from scalinglaws.assignments import pairs
from scalinglaws.columns import read_columns
from scalinglaws.commands import reading
from scalinglaws.commands.reading import Reply
from scalinglaws.decide.allocate import allocate as allocate_of
from scalinglaws.decide.isoflop import envelope, isoflop
from scalinglaws.decide.serving import serve
from scalinglaws.decide.training_cost import LENGTHS, training_cost
from scalinglaws.schema import InputError

SIZES = ("flops_per_forward", "macs_per_forward", "gflops_per_forward", "params")
DATA = ("tokens", "train_tokens", "train_images", "D")  # what 6 N D counts
COMPUTE = ("train_flops", "C")


def allocate(args):
    """Which size and how much data a training budget should buy; with --serve, which pay off over a lifetime of use."""
    if args.budget is None and args.serve is None:
        raise InputError("Give --budget, such as '1e21 FLOPs', or --serve IMAGES with --quality-wanted Q.")
    _checked(args)
    inputs = _inputs(args)
    law = args.law or ("chinchilla" if "D" in inputs else "size_training")
    question = reading.question(args, law=law, inputs=inputs)
    if schema.higher_is_better(question.quality):
        raise InputError(f"{question.quality} rises as it gets better and these laws fall: name a loss or a distance.")
    fit = question.fit(**reading.fit_options(args))
    cost = _cost(args, question)
    data = {"law": law, "equation": fit.law.equation, "values": fit.values, "level": args.level}
    texts, data = [f"{question.quality} = {fit.law.equation}"], data | {"allocation": None, "serving": None}
    if args.budget is not None:
        answer = allocate_of(fit, _budget(args), cost=cost, sizes=args.sizes, level=args.level, at=_at(args, fit))
        beside, sentences = _approaches(fit, question, cost, answer)
        texts += [answer.summary(), *sentences]
        data |= {"allocation": _record(answer), "approaches": beside}
    if args.serve is not None:
        served = _serving(args, fit, cost)
        texts.append(served.summary())
        data["serving"] = _served(served)
    data |= {"warnings": fit.warnings} | described(question)
    return Reply(data, reading.under(question, reading.with_warnings("\n".join(texts), fit.warnings)))


def _at(args, fit):
    """The steps at which a law with steps is asked for size and data."""
    if "S" not in fit.law.inputs:
        return None
    if not args.steps or len(args.steps) != 1:
        raise InputError(f"The law {fit.law.name} has sampling steps: say at how many, such as --steps 32.")
    return {"S": args.steps[0]}


def _checked(args):
    """Refuse numbers that mean nothing before anything is read."""
    reading.level(args)
    for option in ("quality_wanted", "calls"):
        if args.serve is None and getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} is for --serve IMAGES, which is missing.")
    if args.sizes and not 0 < args.sizes[0] < args.sizes[1] < float("inf"):
        raise InputError(
            f"--sizes {args.sizes[0]:g} {args.sizes[1]:g}: give a smaller and a larger size, both above 0."
        )
    for name, value in (
        *([("--calls", args.calls)] if args.calls is not None else ()),
        *(("--steps", s) for s in args.steps or ()),
    ):
        if not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g}: give a number above 0.")


def _inputs(args):
    """{symbol: column}: size N with data D where the law and the table have both, else with training compute C."""
    symbols = laws.find(laws.CHOICES.get(args.law, (args.law,))[0]).inputs if args.law else ("N", "D", "C", "S")
    if "N" not in symbols or not {"D", "C"} & set(symbols):
        raise InputError(
            f"--law {args.law} has the inputs {', '.join(symbols)}; a training budget needs size and data (N and D) or "
            "size and training compute (N and C): choose chinchilla, kaplan or size_training."
        )
    given = pairs(args.inputs)
    if given:
        if "N" not in given or not {"D", "C"} & set(given):
            raise InputError(
                f"--inputs {' '.join(args.inputs)}: name N=COLUMN and D=COLUMN (data) or C=COLUMN (compute)."
            )
        return given
    table, _ = read_columns(studies.read(args.file, named=pairs(args.read_as)), pairs(args.read_as))
    size = _first(table, SIZES)
    data = _first(table, (*DATA, *(LENGTHS if args.cost else ()))) if "D" in symbols else None
    compute = _first(table, COMPUTE) if "C" in symbols else None
    if size and (data or compute):
        steps = {"S": _first(table, schema.names(kind="steps")) or "steps"} if args.law and "S" in symbols else {}
        return {"N": size} | ({"D": data} if data else {"C": compute}) | steps
    lack = " or ".join(
        words for symbol, words in (("D", "training data"), ("C", "training compute")) if symbol in symbols
    )
    length = _first(table, LENGTHS) if "D" in symbols else None
    hint = f" {length} varies, but 6 N D counts tokens or images: give --cost, a number c for c N D or a column."
    raise InputError(
        f"No column of {lack if size else 'size'} varies: name them by --inputs N=COLUMN "
        f"D=COLUMN (data) or N=COLUMN C=COLUMN (training compute); the table has {', '.join(map(str, table.columns))}."
        f"{hint if size and length else ''}"
    )


def _first(table, columns):
    held = [c for c in columns if c in table and pd.api.types.is_numeric_dtype(table[c])]
    return next((c for c in held if table[c].nunique() > 1), None)


def _cost(args, question):
    """--cost as a number, or as a column of the table."""
    if args.cost is None:
        return None
    number = units.number(args.cost)
    if number is not None and not 0 < number < float("inf"):
        raise InputError(f"--cost {args.cost}: give a number above 0, so that training costs that times N times D.")
    return question.column(args.cost) if number is None else number


def _budget(args):
    """--budget in FLOPs; with a cost of the user's own, a number in its unit."""
    quantity = units.parse(args.budget)
    if quantity.unit in (None, "flops"):
        return quantity.value
    raise InputError(
        f"--budget {args.budget!r} is in {quantity.unit}; training is counted in FLOPs here, such as '1e21 FLOPs'. For "
        "another unit name a column of training cost with --cost and give the budget as a number in its unit."
    )


def _approaches(fit, question, cost, answer):
    """Optimal sizes by the isoFLOP and envelope approaches of Hoffmann et al. 2022: (records, sentences)."""
    table, size = question.table, question.inputs["N"]
    compute = question.inputs.get("C") or (_first(table, COMPUTE) if cost is None else None)
    if compute is None:
        compute, of = "cost of training", training_cost(fit, cost).of
        spent = of(table[size].to_numpy(float), table[question.inputs["D"]].to_numpy(float))
        table = table.assign(**{compute: spent})
    found, sentences = [], []
    for name, approach in (("isoFLOP profiles", isoflop), ("the envelope", envelope)):
        try:
            result = approach(table, question.quality, size, compute)
        except InputError as error:
            sentences.append(f"By {name}: no answer. {error}")
            continue
        best, exponent = result["coefficient"] * answer.budget ** result["exponent"], result["exponent"]
        found.append({"approach": approach.__name__, "size": best} | result | {"profiles": records(result["profiles"])})
        sentences.append(f"By {name}: {size} {best:.4g}, growing as budget^{exponent:.3f}. {result['bias']}")
    return found, sentences


def _serving(args, fit, cost):
    if args.quality_wanted is None:
        raise InputError(f"--serve {args.serve} needs --quality-wanted, the {fit.quality} to be reached.")
    options = {"steps": args.steps} if "S" in fit.law.inputs else {}
    return serve(fit, args.quality_wanted, _served_items(args.serve), cost=cost, calls=args.calls, sizes=args.sizes,
                 level=args.level, **options)  # fmt: skip


def _served_items(text):
    """The number of '1e9 images', '2B', '300 million'."""
    value = units.count(re.sub(r"\s*(images?|img|samples?|items?|tokens?|requests?)$", "", text.strip(), flags=re.I))
    if value is None:
        raise InputError(f"--serve {text!r}: give the images of a lifetime, such as 1e9 or '300 million images'.")
    return value


def _record(answer):
    rows = {row["quantity"]: {k: row[k] for k in ("value", "low", "high")} for row in records(answer.to_frame())}
    low, high = answer.intervals["exponent"]
    rows["exponent"] = {"value": answer.exponents[0], "low": low, "high": high}
    return {
        "budget": answer.budget, "cost": answer.cost, **rows, "flat": list(answer.flat),
        "decades_beyond": answer.decades_beyond, "closed": answer.closed and list(answer.closed),
        "exponents": list(answer.exponents), "warnings": list(answer.warnings), "notes": list(answer.notes),
        "columns": dict(zip(("size", "data", "quality"), answer.columns, strict=True)),
    }  # fmt: skip


def _served(answer):
    names = ("quality", "served", "size", "data", "steps", "total", "training", "serving", "unit", "reached")
    return {k: getattr(answer, k) for k in (*names, "decades_beyond")} | {
        "intervals": {k: list(v) for k, v in answer.intervals.items()},
        "plans": records(answer.to_frame()), "warnings": list(answer.warnings),
    }  # fmt: skip
