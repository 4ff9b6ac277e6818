"""Which rows a law may take for repeats of one point: mixtures are refused, doubtful repeats are said.

mixing(table, inputs)    known columns in which rows of one point differ
refuse_mixture(...)      InputError where a known column, or one that the values tell, mixes unlike rows
assumptions(...)         sentences on what was pooled all the same
"""

import shlex

from scalinglaws import evidence, measurements, schema
from scalinglaws.roles import TRAINING
from scalinglaws.schema import InputError

MEASURED_WITH = ("features", "reference")  # rows that differ in them have qualities ON_FEATURES that do not compare
ON_FEATURES = ("fd", "fid", "sfid", "kd", "kid", "precision", "recall")  # first words of their names
CHOICES = ("sampler", "guidance")  # a law answers for one value of each; a budget chooses between them


def mixing(table, inputs, chosen=()):
    """Columns in which rows differ that the law takes for the same point; samplers are always apart.

    inputs: {symbol: column} of the law. Rows that differ in the `chosen` columns are different points.
    """
    sized = any(c not in TRAINING and (c not in schema.COLUMNS or schema.COLUMNS[c].kind != "steps")
                for c in inputs.values())  # fmt: skip
    free = [*schema.unpooled(), *(() if sized else ("model", *schema.names(kind="size")))]
    free = [c for c in free if c in table and c not in inputs.values()]
    same = table.groupby([*inputs.values(), *chosen], dropna=False)
    apart = [c for c in free if schema.COLUMNS[c].kind == "sampler" and table[c].nunique() > 1]
    order = sorted(free, key=lambda c: c not in CHOICES)
    return apart + [c for c in order if c not in apart and (same[c].nunique() > 1).any()]


def refuse_mixture(table, quality, inputs, chosen, names):
    """InputError where rows that the law takes for one point are of several kinds.

    The kinds are told by a column of the schema, or by one that nobody knows and whose values explain the differences
    (`evidence.tell_apart`). names: {column: what the user calls it}.
    """
    along = " and ".join(inputs.values())
    known = [c for c in mixing(table, inputs, chosen) if c not in chosen]
    column = known[0] if known else evidence.tell_apart(table, quality, [*inputs.values()], chosen)
    if column is None:
        return
    name = names.get(column, column)
    advice = f"{mixture(table[column], name)} and a law in {along} cannot tell them apart: keep one with {where(name)}"
    if column == "model" and "N" not in inputs:
        advice += ", or give their sizes in a column, such as params"
    if column in TRAINING and [*inputs] == ["N"]:
        both = [shlex.quote(f"{s}={names.get(c, c)}") for s, c in (inputs | {"D": column}).items()]
        advice += f", or let the law run along both, --inputs {' '.join(both)}"
    if known:
        raise InputError(f"{advice}.")
    raise InputError(
        f"{advice}. At equal {along} {quality} differs between them by more than chance; if they are repeats after "
        f"all, say so with --read-as {shlex.quote(f'{name}=note')}."
    )


def where(column):
    """--where CFG=VALUE as it is typed in a shell.

    >>> where("cfg"), where("CFG scale")
    ('--where cfg=VALUE', "--where 'CFG scale=VALUE'")
    """
    return f"--where {shlex.quote(f'{column}=VALUE')}"


def mixture(column, name):
    """'The rows mix 2 values of sampler (ddim, ddpm)', the beginning of a refusal."""
    values = sorted(column.dropna().unique(), key=lambda v: (isinstance(v, str), v))
    shown = [f"{v:g}" if isinstance(v, float) else str(v) for v in values[: measurements.LISTED]]
    more = ["..."] if len(values) > measurements.LISTED else []
    return f"The rows mix {len(values)} values of {name} ({', '.join(shown + more)})"


def assumptions(table, quality, inputs, chosen):
    """Sentences on what is pooled: repeats that a column calls by names, training lengths that follow the size."""
    columns = evidence.repeating(table, quality, [*inputs.values()], chosen)
    if columns:
        yield (f"Rows that differ in {' and '.join(columns)} only are taken for repeats: no difference between them is "
               f"sure. Keep one with {where(columns[0])} if they are not.")  # fmt: skip
    for column in _measured_with(table, quality):
        yield (f"{mixture(table[column], column)}: {quality} measured with different ones does not compare. Keep one "
               f"with {where(column)}.")  # fmt: skip
    size = inputs.get("N")
    for column in _lengths_by_size(table, inputs) if size else ():
        yield f"{column} differs between sizes: a law in {size} follows the two together."


def _measured_with(table, quality):
    """Columns that say that a quality on features was measured with several networks, or to several references."""
    on_features = quality in schema.COLUMNS and quality.split("_")[0] in ON_FEATURES
    return [c for c in MEASURED_WITH if on_features and c in table and table[c].nunique() > 1]


def _lengths_by_size(table, inputs):
    """Columns of a training length of which every size has its own, so that a law in size follows both.

    Training FLOPs are no such length: of equal steps they grow with the size.
    """
    lengths = [c for c in TRAINING if c != "train_flops" and c in table and c not in inputs.values()]
    one_each = [c for c in lengths if (table.groupby(inputs["N"])[c].nunique() <= 1).all()]
    return [c for c in one_each if table[c].nunique() > 1]
