"""Fits kept as numbers, so that decisions can be compared with earlier ones without fitting again.

tests/data/decisions/fits.json holds the parameters and 40 bootstrap replicates of every case; the tables are those of
the bundled studies, as they were then (tests/data/tiny-ldm.csv: by diffusers' DDIM, see LOG, 2026-11-30).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import laws, measurements, studies

FOLDER = Path(__file__).parent / "data/decisions"
TWO = {"N": "flops_per_forward", "S": "steps"}
KEPT = Path(__file__).parent / "data"
CASES = {  # name: study, rows, law, quality, inputs, by, parameters to share
    "tiny": ("tiny-ldm", {"sampler": "ddim", "guidance": 1}, "size_steps_plain", "fd", TWO, None, ()),
    "guided": ("tiny-ldm", {"sampler": "ddim", "guidance": 1.5}, "size_steps_plain", "fd", TWO, None, ()),
    "pooled": ("tiny-ldm", {"sampler": "ddim"}, "size_steps_plain", "fd", TWO, None, ()),
    "agreement": ("tiny-ldm", {"sampler": "ddim", "guidance": 1}, "ceiling", "agreement", {"S": "steps"}, "model", ()),
    "students": ("edm2-students", {"family": "NCVSD img512"}, "size_steps_plain", "fid",
                 {"N": "gflops_per_forward", "S": "steps"}, None, ()),
    "edm2": ("edm2", {"family": "EDM2 img512 no guidance"}, "power_floor", "fid", {"x": "gflops_per_forward"},
             None, ()),
    "samplers": ("tiny-ldm", {"guidance": 1}, "size_steps_plain", "fd", TWO, "sampler", ()),
    "solvers": ("diff-solvers", {"family": "CIFAR-10-32"}, "power_floor", "fid", {"x": "nfe"}, "sampler", ()),
    "eta": ("ddim", {"family": "CIFAR-10-32"}, "power_floor", "fid", {"S": "steps"}, "eta", ()),
    "shared": ("tiny-ldm", {"guidance": 1, "model": "c16"}, "power_floor", "fd", {"S": "steps"}, "sampler", ("E",)),
}  # fmt: skip


def kept(study):
    """The file of a study whose rows were measured again since, or its name."""
    path = KEPT / f"{study}.csv"
    return str(path) if path.exists() else study


@dataclass(frozen=True)
class StoredFit:
    """What the decisions ask of a Fit."""

    law: laws.Law
    theta: np.ndarray
    replicates: np.ndarray  # [replicate, parameter]
    table: pd.DataFrame
    quality: str
    inputs: dict
    noise: float
    residual_scale: str = "log"
    seed: int = 0
    warnings: list = field(default_factory=list)

    @property
    def count(self):
        return len(self.replicates)

    def curve(self, inputs, theta=None):
        with np.errstate(all="ignore"):
            return self.law.curve(self.theta if theta is None else theta, inputs)

    def predict(self, table, level=0.9, of="owned"):
        columns = {symbol: table[column].to_numpy() for symbol, column in self.inputs.items()}
        low, high = np.quantile(self.curve(columns, self.replicates), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return pd.DataFrame({"value": self.curve(columns), "low": low, "high": high, "decades_beyond": 0.0})


def table(name):
    """The rows of a case."""
    study, rows, _, quality, inputs, *_ = CASES[name]
    return measurements.tidy(measurements.where(studies.read(kept(study)), **rows), [*inputs.values()], quality)


def source(name):
    """The case as its fit, or as Groups of its fits."""
    from scalinglaws.fitting import Groups

    _, _, law, quality, inputs, by, share = CASES[name]
    kept, rows = json.loads((FOLDER / "fits.json").read_text())[name], table(name)
    one = laws.find(law) if len(inputs) > 1 else laws.find(law).with_input(next(iter(inputs)))
    if by and not share:
        values = {str(v): v for v in rows[by].unique()}
        parts = {values[label]: rows[rows[by] == values[label]].reset_index(drop=True) for label in kept}
        fits = {label: stored(one, kept[str(label)], part, quality, inputs)
                for label, part in parts.items()}  # fmt: skip
        return Groups((by,), fits, {})
    if share:
        one, inputs = laws.shared(one, sorted(rows[by].unique()), share, "g"), {**inputs, "g": by}
    return stored(one, kept[""], rows, quality, inputs)


def stored(law, kept, rows, quality, inputs):
    theta, replicates = np.array(kept["theta"]), np.array(kept["replicates"])
    return StoredFit(law, theta, replicates, rows, quality, inputs, kept["noise"], kept["residual_scale"])
