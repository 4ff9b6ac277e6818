"""What all verbs share: the Reply, how options become a question to a law, and lines for people."""

from dataclasses import dataclass

import numpy as np

from scalinglaws import infer, schema
from scalinglaws.assignments import pairs
from scalinglaws.schema import InputError

FAR = 0.05  # decades beyond the data that are worth a warning


@dataclass(frozen=True)
class Reply:
    """An answer: `data` as JSON, `text` for people."""

    data: object
    text: str


def question(args, choose=False, by=(), law=None, inputs=None):
    """The Question that a verb's options put to the table; `law` and `inputs` where the verb has no such options."""
    if hasattr(args, "level"):
        level(args)
    law, inputs = law or getattr(args, "law", None), inputs or pairs(getattr(args, "inputs", None))
    where, read_as = pairs(args.where), pairs(args.read_as)
    return infer.question(args.file, args.quality, law, inputs, where, choose, by, read_as, args.strict)


def level(args):
    """The level of the intervals, refused outside 0 to 1."""
    if not 0 < args.level < 1:
        raise InputError(f"--level {args.level:g}: give a number between 0 and 1, such as 0.9.")
    return args.level


def fitted(args):
    """(Fit, Question) of a verb that fits one law."""
    asked = question(args)
    return asked.fit(**fit_options(args)), asked


def fit_options(args, question=None):
    """Options of fit(); its columns by the names of the question's table."""
    errors = question.column(args.se) if question and args.se else args.se
    return {"loss": args.loss, "delta": args.delta, "seed": args.seed} | ({"se": errors} if errors else {})


def stages(args):
    """What a budget per image pays for."""
    return ("denoise", *(["text"] if args.text else []), *(["decode"] if args.decode else []))


def beyond_one(asked, high):
    """A sentence where values of a quality that is a share, at most 1 in every row, or their intervals pass 1."""
    known = schema.COLUMNS.get(asked.quality)
    share = known and (known.allowed is schema.SHARE or known.name == "accuracy")
    if share and asked.table[asked.quality].max() <= 1 < np.max(high):
        yield f"{asked.quality} is a share, at most 1, which the curve does not know: read values above 1 as 1."


def under(asked, text):
    """The text below how the columns were read."""
    return "\n".join([*asked.sentences(), text])


def with_warnings(text, warnings):
    """The text with one line a warning below it."""
    return "\n".join([text, *(f"Warning: {w}" for w in warnings)])
