"""The 240 Chinchilla points (Besiroglu et al. 2024), or as many synthetic ones where they are missing."""

from pathlib import Path

import numpy as np
import pandas as pd

BEST = 0.0010182740178006  # sum of Huber 1e-3 on ln L at the optimum of the real points
PATH = Path(__file__).parents[2] / "shared" / "data" / "language" / "epoch_chinchilla_svg_extracted_data.csv"


def chinchilla() -> tuple[pd.DataFrame, bool]:
    """Columns N (parameters), D (tokens), loss; and whether the points are the real ones."""
    if PATH.exists():
        table = pd.read_csv(PATH)
        table = table[table["loss"].rank(ascending=False) > 5]  # in the file's order, which the published draws use
        table = table.rename(columns={"Model Size": "N"}).assign(D=lambda t: t["Training FLOP"] / (6 * t["N"]))
        return table[["N", "D", "loss"]].reset_index(drop=True), True
    return synthetic(240), False


def synthetic(count: int, seed: int = 0) -> pd.DataFrame:
    """Rows of a known law with 1 % noise."""
    rng = np.random.default_rng(seed)
    N, D = np.exp(rng.uniform(np.log(5e7), np.log(1e10), count)), np.exp(rng.uniform(np.log(1e9), np.log(3e11), count))
    loss = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28) * np.exp(0.01 * rng.standard_normal(count))
    return pd.DataFrame({"N": N, "D": D, "loss": loss})
