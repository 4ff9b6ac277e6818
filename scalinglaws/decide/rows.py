"""The rows of a study that a decision is made on: read, kept by condition, narrowed to one setting, columns checked."""

import pandas as pd

from scalinglaws import evidence, infer, measurements, schema, studies
from scalinglaws.assignments import stated
from scalinglaws.schema import InputError
from scalinglaws.spellings import words_of

SIZES = ("flops_per_forward", "gflops_per_forward", "params", "base_channels", "depth")  # by which models are ordered


def rows_of(source, where=None):
    """The rows of a study, path or table that are kept by `where`: {column: value} or text "a=b; c=d".

    Columns are called and counted as in the schema, by their usual spellings, as for `infer.question`.

    >>> rows_of(pd.DataFrame({"model_size_M": [39, 83], "num_steps": [4, 4]}), "num_steps=4").params.tolist()
    [39000000, 83000000]
    """
    table, readings = infer.kept_and_read(studies.read(source), stated(where))
    return measurements.tidy(table) if readings else table.reset_index(drop=True)


def need(table, columns):
    """InputError that names the columns which a table lacks."""
    if missing := [c for c in columns if c not in table]:
        raise InputError(f"The table has no column {', '.join(missing)}: it has {', '.join(map(str, table))}.")


def size_column(table, size=None) -> str:
    """`size`, or the first of SIZES that is full; InputError where the table has it not, or none of them.

    >>> size_column(pd.DataFrame({"params": [1e6, 2e6], "depth": [2, 4]}))
    'params'
    """
    if size is not None:
        need(table, (size,))
        return size
    full = [c for c in SIZES if c in table and table[c].notna().all()]
    if not full:
        raise InputError(f"The table has no full column of sizes: name one with size=, or give {', '.join(SIZES)}.")
    return full[0]


def check_direction(table, quality):
    """InputError where a quality that the schema does not know clearly rises with size or steps: which way is better
    is then known to nobody, and what is unknown is taken to fall.

    >>> check_direction(pd.DataFrame({"params": [1e6, 1e7, 1e8], "steps": 8, "wins": [0.2, 0.41, 0.6]}), "wins")
    Traceback (most recent call last):
    scalinglaws.schema.InputError: wins rises with params: is a higher value better? Call the column score if it is \
(accuracy, a rate of wins), distance if a lower one is (an error); on the command line --read-as wins=score.
    """
    if quality in schema.COLUMNS or evidence.FALLING & set(words_of(quality)):
        return
    numbers = table[table[quality] > 0].select_dtypes("number")
    varied = [c for c in (*SIZES, "steps") if c in numbers and numbers[c].gt(0).all() and numbers[c].nunique() > 1]
    inputs = list(dict.fromkeys((*varied[:1], *(c for c in varied if c == "steps"))))
    if inputs and evidence.rises(numbers, quality, inputs):
        raise InputError(
            f"{quality} rises with {' and '.join(inputs)}: is a higher value better? Call the column score if it is "
            "(accuracy, a rate of wins), distance if a lower one is (an error); on the command line --read-as "
            f"{quality}=score."
        )


def commonest(table, columns, dropna=True):
    """(rows of the value that most rows have in each of the columns, a sentence for each choice made).

    dropna: whether rows without a value are no group of their own.
    """
    notes = []
    for column in columns:
        if column in table and table[column].nunique(dropna=dropna) > 1:
            counts = table[column].value_counts(dropna=dropna)
            most, equal = counts.index[0], int((counts == counts.iloc[0]).sum())
            table = table[table[column].isna() if pd.isna(most) else table[column] == most]
            said = f"no {column}" if pd.isna(most) else f"{column} {most}"
            why = "there are most" if equal == 1 else f"there are as many as of other values of {column}"
            notes.append(f"Rows with {said} alone are used, of which {why}.")
    return table, notes
