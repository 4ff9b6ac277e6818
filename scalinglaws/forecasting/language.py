"""Series of published language-model experiments, which are not shipped: a test set that the prior has not seen."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws.forecasting import series

SETS = (  # file, columns renamed
    ("epoch_chinchilla_svg_extracted_data.csv", {"Model Size": "params", "Training FLOP": "train_flops"}),
    ("kyotakano_chinchilla_llm_df.csv", {"N": "params", "C": "train_flops"}),
    ("mlfoundations_scaling_models.csv", {"loss_shard-{0000000..0000010}.tar": "loss", "dataset": "family"}),
    ("revisiting_nsl_benchmark_nmt.csv", {"Loss": "loss", "Seen Examples": "train_images", "Model": "model"}),
    ("bnsl_4digit_addition.csv", {"test_loss": "loss", "dataset_size": "train_images"}),
)
SAME_SIZE = 0.03  # sizes within 3 % are one model


def load(folder="../shared/data/language") -> tuple[list[series.Series], list[str]]:
    """(series, sentences of what was skipped) of the language sets in a folder."""
    found, skipped = [], []
    for name, renamed in SETS:
        path = Path(folder) / name
        if path.exists():
            found += _series(name.split("_")[0], pd.read_csv(path).rename(columns=renamed))
        else:
            skipped.append(f"{name}: not in {folder}, skipped.")
    return found, skipped


def _series(study, table):
    if study in ("bnsl", "revisiting"):
        return series.from_table(table.assign(family=study), study, 3, ("training",))
    if study == "mlfoundations":
        rows = table.assign(model=table["params"].astype(str), epochs=table["multiplier"])
        by_length = [series.from_table(part.drop(columns=["params_no_embed", "tokens"]), study, 3, ("size",))
                     for _, part in rows.groupby(["family", "multiplier"])]  # fmt: skip
        by_size = [series.from_table(part[["family", "tokens", "loss"]], study, 3, ("training",))
                   for _, part in rows.groupby(["family", "params"])]  # fmt: skip
        return list(chain(*by_length, *by_size))
    # loss against the training compute of one size; every other size is a sibling
    name = f"{study}-chinchilla" if study == "epoch" else study
    parts = [part for _, part in table.groupby((np.log(table["params"]) / SAME_SIZE).round()) if len(part) >= 4]
    curves = []
    for part in parts:
        for one in series.from_table(part[["train_flops", "loss"]], name, 4, ("training",)):
            params = float(part["params"].median())
            curves.append(replace(one, label=f"{params:.3g} parameters", settings=one.settings | {"params": params}))
    return [replace(one, siblings=tuple(c for c in curves if c is not one)) for one in curves]
