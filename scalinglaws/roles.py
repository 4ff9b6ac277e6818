"""Which columns a law takes: the quality, which way it goes, and the inputs.

quality_of(table)         the column of the quality
inputs_of(table, law)     {symbol: column} of the law's inputs
usual_law(...)            the law of a quality and inputs, where none is named
"""

import re
import shlex

import pandas as pd

from scalinglaws import evidence, laws, schema
from scalinglaws.schema import InputError
from scalinglaws.spellings import words_of

TRAINING = ("train_images", "train_steps", "epochs", "tokens", "train_flops")  # columns of a training length


def quality_of(table):
    """The quality column of a table, if it is plain which: a metric that is full, else one with gaps, else a loss.

    >>> quality_of(pd.DataFrame({"params": [1e8, 1e9], "loss": [3.0, 2.5]}))
    'loss'
    """
    held = [c for c in schema.names("quality") if c in table and table[c].notna().any()]
    metrics = [c for c in held if c == schema.COLUMNS[c].metric] or held
    candidates = [c for c in metrics if table[c].notna().all()] or metrics
    usual = [c for c in ("fd", "fid") if c in candidates]
    if usual or len(candidates) == 1:
        return (usual or candidates)[0]
    if not held:
        numeric = [c for c in table if c not in schema.COLUMNS and pd.api.types.is_numeric_dtype(table[c])]
        losses = [c for c in numeric if words_of(c)[-1:] == ["loss"]]
        if loss := _loss(losses):
            return loss
        candidates = losses or numeric
    if not candidates:
        raise InputError("Which column is the quality? None is called like one: name it (--quality), or add one such "
                         f"as fid; the table has {', '.join(map(str, table.columns))}.")  # fmt: skip
    have = ", ".join(map(str, candidates))
    raise InputError(f"Which column is the quality? Name one of {have} (--quality).")


def _loss(losses):
    """Of columns of losses `loss` itself, else the only one, else the only one not on training data; else None."""
    tested = [c for c in losses if not {"train", "training"} & set(words_of(c))]
    if "loss" in losses:
        return "loss"
    return (tested or losses)[0] if len(tested or losses) == 1 else None


def inputs_of(table, law=None):
    """{symbol: column} for the law: size first, then steps where they vary and the law takes them.

    Where neither varies, the training length; of size alone, the tokens, too, where one size saw several numbers of
    them. InputError where no column serves.
    """
    symbols = laws.find(_first_law(law)).inputs if law else ("N", "S")
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
    raise InputError(_no_inputs(table, sizes + steps, symbols))


def _first_law(law):
    """The law itself, or the first that a choice such as auto tries."""
    return laws.CHOICES.get(law, (law,))[0] if isinstance(law, str) else law


def _no_inputs(table, known, symbols):
    """Why the table has no inputs for a law of these symbols."""
    constant = [c for c in known if c in table and table[c].notna().any() and table[c].nunique() == 1]
    if constant:
        listed = " and ".join(f"{c} = {table[c].dropna().iloc[0]:g}" for c in constant[:2])
        return (f"Nothing varies that a law could run along: every row has {listed}. Measure another size, other steps "
                "or another training length.")  # fmt: skip
    named = " ".join(f"{s}=COLUMN" for s in symbols)
    return (f"No column is known as a size or steps: name the law's inputs, --inputs {named}, or say what a column "
            f"means, such as --read-as COLUMN=steps; the table has {', '.join(map(str, table.columns))}.")  # fmt: skip


def _first(table, columns, constant):
    """The first column that varies, a full one before one with gaps; a constant one only if `constant` allows it."""
    held = [c for c in columns if c in table and pd.api.types.is_numeric_dtype(table[c]) and table[c].notna().any()]
    full = [c for c in held if table[c].notna().all()]
    gaps = [c for c in held if 2 * table[c].notna().sum() > len(table)]
    varied = [c for c in (*full, *gaps) if table[c].nunique() > 1]
    return next(iter(varied + (full if constant else [])), None)


def usual_law(quality, inputs):
    """(the law's name where the user names none, {symbol: column} as it calls them), by which way the quality goes."""
    rising, trained = schema.higher_is_better(quality), [*inputs] == ["N", "D"]
    if trained and not rising:
        return "chinchilla", inputs
    if trained:  # no law of size and data rises
        inputs = dict(zip("NS", inputs.values(), strict=True))
    if len(inputs) == 2:
        return "size_steps_ceiling" if rising else "size_steps", inputs
    return "ceiling" if rising else "power_floor", inputs


def other_qualities(table, quality):
    """A sentence where a quality was taken and the table holds others that the user may have meant."""
    metrics = [c for c in schema.names("quality") if c in table and c == schema.COLUMNS[c].metric and c != quality]
    others = [c for c in metrics if table[c].notna().any()]
    if others and quality in schema.COLUMNS:
        yield f"quality = {quality}; the table also has {', '.join(others)} (--quality)."


def refuse_logarithms(table, inputs, quality):
    """InputError where a column is the logarithm of what a law runs in: by its name, or as a quality below 0.

    The log loss and the logarithm of a perplexity are losses.
    """
    if quality in table and schema.numbers(table[quality]).max() < 0:
        raise InputError(
            f"{quality} is below 0 in every row, as a log-likelihood is, and a law needs a quality above 0: give a "
            "column of its negative, a loss."
        )
    for column in (*inputs.values(), quality):
        words = words_of(column)
        named = words and column not in schema.COLUMNS and re.fullmatch(r"log(2|10)?|ln", words[0])
        if named and not (column == quality and {"loss", "perplexity", "ppl"} & {*words}):
            base = {"log2": "2", "log10": "10", "ln": "e"}.get(words[0], "its base")
            raise InputError(
                f"{column} is called like a logarithm, and laws run in the quantity itself: give a column of {base} to "
                f"the power of {column}."
            )


def refuse_unknown_direction(table, quality, inputs, law):
    """InputError where nobody knows whether a quality that rises with its inputs is better when high."""
    if quality in schema.COLUMNS or evidence.FALLING & set(words_of(quality)):
        return
    stated = law is not None and laws.find(_first_law(law)).trend == "rises"
    if not stated and not evidence.rises(table, quality, inputs.values()):
        return
    score, distance = (shlex.quote(f"{quality}={meaning}") for meaning in ("score", "distance"))
    along = "is to follow a law that rises" if stated else f"rises with {' and '.join(inputs.values())}"
    raise InputError(
        f"{quality} {along}: is a higher value better? Say --read-as {score} if it is (accuracy, a rate of wins), "
        f"--read-as {distance} if a lower one is (an error)."
    )
