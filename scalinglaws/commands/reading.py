"""What all verbs share: the Reply, how options become a question to a law, and lines for people."""

import re
from dataclasses import dataclass

from scalinglaws import infer, units
from scalinglaws.schema import InputError
from scalinglaws.spellings import COUNTS

FAR = 0.05  # decades beyond the data that are worth a warning


@dataclass(frozen=True)
class Reply:
    """An answer: `data` as JSON, `text` for people."""

    data: object
    text: str


def question(args, choose=False, by=(), law=None, inputs=None):
    """The Question that a verb's options put to the table; `law` and `inputs` where the verb has no such options."""
    level(args)
    law, inputs = law or getattr(args, "law", None), inputs or infer.pairs(getattr(args, "inputs", None))
    where, read_as = infer.pairs(args.where), infer.pairs(args.read_as)
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


def fit_options(args):
    """Options of fit()."""
    return {"loss": args.loss, "delta": args.delta, "seed": args.seed}


def count(text):
    """The number above 0 of '2e9', '1.3B' or '300 million'; None where the text is no such number.

    >>> count("1.3B"), count("300 million"), count("2e9"), count("-1"), count("many")
    (1300000000.0, 300000000.0, 2000000000.0, None, None)
    """
    value, parts = units.number(text), re.fullmatch(r"(.*[\d.])\s*([A-Za-z]+)", text.strip())
    if value is None and parts and parts[2].casefold() in COUNTS:
        number = units.number(parts[1])
        value = None if number is None else number * COUNTS[parts[2].casefold()]
    return value if value is not None and 0 < value < float("inf") else None


def stages(args):
    """What a budget per image pays for."""
    return ("denoise", *(["text"] if args.text else []), *(["decode"] if args.decode else []))


def under(asked, text):
    """The text below how the columns were read."""
    return "\n".join([*asked.sentences(), text])


def with_warnings(text, warnings):
    """The text with one line a warning below it."""
    return "\n".join([text, *(f"Warning: {w}" for w in warnings)])
