"""A table of fits whose numbers must not change: every bundled series, every kind of law, loss, weight and bootstrap.

`python tests/fit_cases.py` writes tests/data/fits.json with the engine as it is; do that only when numbers are meant to
change. Every case is also fitted with its quality multiplied by 1 + 1e-14 u, u uniform in -1..1: a number that moves by
more than FIRM is `flat` there, and the test compares objective and curves of that fit instead of it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from stored import KEPT
from test_fit import EDM2, LANGUAGE
from test_laws import TRUTH, rows, samplers

from scalinglaws import laws
from scalinglaws.fitting import fit, fit_groups
from scalinglaws.naive import NAMES
from scalinglaws.schema import InputError
from scalinglaws.validate import PLAIN, compare

PATH = Path(__file__).parent / "data" / "fits.json"
STUDIES = Path(__file__).parents[1] / "data"
FIRM = 1e-10  # relative movement under the perturbation above which a number is not compared by itself
SIZE = ("gflops_per_forward", "flops_per_forward", "params")
FOLLOW = {  # columns that change together with the input of a series
    "size": ("model", "base_channels", "params", "gflops_per_forward", "flops_per_forward", "macs_per_forward",
             "flops_per_image", "weights", "ema_std", "rel_cost", "train_steps", "train_images", "batch_size",
             "epochs"),
    "steps": ("nfe", "flops_per_image"), "nfe": ("steps",), "train_images": ("train_steps", "train_flops", "weights"),
    "guidance": ("nfe", "flops_per_image", "guidance_kind"),
}  # fmt: skip
LAWS = {"size": ("power", "power_floor"), "steps": ("power_floor", "steps_turn"), "nfe": ("power_floor", "m4"),
        "guidance": ("guidance",), "train_images": ("power", "bnsl_1")}  # fmt: skip
QUALITIES = ("fid", "fd")
SETTINGS = (
    "family", "model", "base_channels", "params", "gflops_per_forward", "flops_per_forward", "macs_per_forward",
    "flops_per_image", "sampler", "steps", "nfe", "guidance", "guidance_kind", "guidance_interval", "variant", "gnet",
    "ema_std", "eta", "interpolant", "objective", "diffusion_coef", "frac_small", "train_steps", "train_images",
    "train_flops", "batch_size", "dataset", "resolution", "epochs", "autoencoder", "n_samples_for_metric", "weights",
    "rel_cost", "ar_steps", "diff_steps",
)  # fmt: skip


def series():
    """(name, rows, x column, axis) of every series of four values or more in the bundled studies."""
    for path in sorted(STUDIES.glob("*/*.csv")):
        frozen = KEPT / path.name  # its rows were measured again since the fits were kept
        table = pd.read_csv(frozen if frozen.exists() else path)
        for quality in QUALITIES:
            for axis in LAWS:
                column = next((c for c in (SIZE if axis == "size" else (axis,)) if c in table), None)
                if quality not in table or column is None:
                    continue
                fixed = [c for c in SETTINGS if c in table and c not in (column, *FOLLOW[axis])]
                keep = table.dropna(subset=[quality, column])
                keep = keep[keep[column] > 0]
                parts = keep.groupby(fixed, dropna=False, sort=True) if fixed else [((), keep)]
                for k, (_, part) in enumerate(parts):
                    if part[column].nunique() == len(part) >= 4:
                        yield f"{path.stem}/{quality}/{axis}/{k}", part, column, quality, axis


def cases() -> dict:
    """{name: (table, law, quality, inputs, options)}."""
    collected = {}
    for name, part, column, quality, axis in series():
        for law in LAWS[axis]:
            collected[f"{name}/{law}"] = (part, law, quality, column, {})
    collected |= {f"{law}/{k}": (rows(law, 0.02, k), law, "y", {s: s for s in TRUTH[law][1]}, options)
              for law in TRUTH for k, options in enumerate(({}, {"loss": "squares"}))}  # fmt: skip
    collected |= _options() | _language()
    return collected


def _options() -> dict:
    """One law of each kind under every option."""
    collected, tables = {}, {"size_steps": "size_steps_interaction", "sigmoid": "sigmoid", "power_floor": "power_floor"}
    each = {
        "raw": {"residuals": "raw"}, "log1p": {"residuals": "log1p"}, "delta": {"delta": 0.004},
        "raw squares": {"residuals": "raw", "loss": "squares"}, "asymmetry": {"asymmetry": 0.2},
        "se": {"se": "se"}, "weights": {"weights": "w"}, "se weights asymmetry": {"se": "se", "weights": "w",
        "asymmetry": 0.5}, "wild": {"bootstrap": "wild"}, "pair": {"bootstrap": "pair"},
        "residual": {"bootstrap": "residual", "se": "se"}, "cluster": {"cluster": "k"},
        "starts": {"starts": 3, "seed": 5},
    }  # fmt: skip
    for law, source in tables.items():
        table = rows(source, 0.03, 4).assign(se=lambda t: t["y"] * (0.01 + 0.002 * (np.arange(len(t)) % 7)),
                                              w=lambda t: (np.arange(len(t)) % 4).astype(float),
                                              k=lambda t: np.arange(len(t)) % 6)  # fmt: skip
        for name, options in each.items():
            collected[f"{law}/{name}"] = (table, law, "y", {s: s for s in TRUTH[source][1]}, options)
    collected["shared floor"] = (samplers(0.02), laws.shared(laws.find("power_floor"), ("ddim", "dpm"), ("E",)), "fd",
                             {"x": "steps", "g": "sampler"}, {})  # fmt: skip
    for name, size in (("cluster effect", 0.05), ("smaller cluster effect", 0.02)):
        table = rows("size_steps_plain", 0.01, 1)
        shock = np.random.default_rng(1).standard_normal(10)[table["N"].rank(method="dense").astype(int) - 1]
        collected[name] = (
            table.assign(y=table["y"] * np.exp(size * shock)),
            "size_steps",
            "y",
            {"N": "N", "S": "S"},
            {},
        )
    return collected


def _language() -> dict:
    path = LANGUAGE / "epoch_chinchilla_svg_extracted_data.csv"
    if not path.exists():
        return {}
    table = pd.read_csv(path).sort_values("loss").iloc[:-5]
    table, inputs = table.assign(D=table["Training FLOP"] / (6 * table["Model Size"])), {"N": "Model Size", "D": "D"}
    each = ({}, {"delta": 1e-3}, {"delta": 1e-4}, {"loss": "squares"}, {"delta": 1e-3, "bootstrap": "pair"})
    collected = {
        f"chinchilla points/{k}": (table, "chinchilla", "loss", inputs, options) for k, options in enumerate(each)
    }
    addition = pd.read_csv(LANGUAGE / "bnsl_4digit_addition.csv")
    options = {"loss": "squares", "residuals": "log1p"}
    collected["4-digit addition"] = (addition[addition["train"] == 1], "bnsl_1", "test_loss", "dataset_size", options)
    return collected


def measured(name, case) -> dict:
    """Everything that is held fixed of one fit."""
    table, law, quality, inputs, options = case
    try:
        result = fit(table, law, quality, inputs, replicates=40, **options)
    except InputError as refusal:
        return {"refused": str(refusal)[:30]}
    return numbers(result, table)


def numbers(result, table) -> dict:
    ends = np.unique(np.linspace(0, len(table) - 1, 3).astype(int))
    new = table.iloc[ends].copy()
    for column in result.inputs.values():
        if pd.api.types.is_numeric_dtype(new[column]):
            new[column] = new[column].astype(float)
            new.iloc[-1, new.columns.get_loc(column)] *= 4
    predicted = result.predict(new)
    draws = np.quantile(result.replicates, [0.05, 0.95], axis=0)
    return {
        "law": result.law.name, "bootstrap": result.bootstrap, "theta": result.theta.tolist(),
        "objective": [result.objective], "noise": [result.noise], "curve": predicted["value"].tolist(),
        "delta": [result.delta if np.isfinite(result.delta) else 0.0],
        "se": [result.standard_errors[p] for p in result.law.params], "replicates": draws.ravel().tolist(),
        "predicted": predicted[["low", "high"]].to_numpy().ravel().tolist(),
    }  # fmt: skip


def perturbed(case):
    table, law, quality, inputs, options = case
    shake = np.random.default_rng(0).uniform(-1, 1, len(table))
    return table.assign(**{quality: table[quality] * (1 + 1e-14 * shake)}), law, quality, inputs, options


def moved(one, two) -> float:
    """Largest relative difference of two lists of numbers; inf where they differ in kind."""
    if len(one) != len(two):
        return float("inf")
    one, two = np.array(one), np.array(two)
    with np.errstate(all="ignore"):
        gap = np.abs(one - two) / np.maximum(np.abs(one), 1e-12)
    return float(np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, gap).max(initial=0.0))


PROFILES = ("edm2/fid/size/0/power_floor", "power_floor/0", "size_steps_plain/1", "kaplan/1", "size_steps/raw",
            "size_steps/se weights asymmetry", "ceiling/0")  # fmt: skip


def profile_ends(case) -> list:
    table, law, quality, inputs, options = case
    result = fit(table, law, quality, inputs, replicates=5, **options)
    return result.interval(0.9, "profile")[["low", "high"]].to_numpy().ravel().tolist()


def ranking(table, names, quality, inputs) -> dict:
    """Law: its scores in the order of compare(); of the laws named."""
    ranked = compare(table, names, quality, inputs, replicates=20).to_frame()
    columns = ["held_out", "inside", "aicc", "objective"]
    ranked = ranked[~ranked["law"].isin({*PLAIN, *NAMES} - set(names))]  # stand there whatever is named
    return {row["law"]: row[columns].astype(float).tolist() for _, row in ranked.iterrows()}


def rankings() -> dict:
    table = rows("size_steps_interaction", 0.02, 3)
    return {
        "edm2": ranking(EDM2, ("power", "power_floor"), "fid", {"N": "gflops"}),
        "steps": ranking(rows("steps_turn", 0.02, 1), ("power_floor", "steps_turn", "m4"), "y", {"S": "S"}),
        "size steps": ranking(table, ("size_steps", "size_steps_product", "power_floor"), "y", {"N": "N", "S": "S"}),
    }


def grouped() -> dict:
    """{group: numbers} of fit_groups for a sum of powers with a choice, and for a law given as a function."""
    parts = [rows("size_steps_plain", 0.02, k).assign(g=f"g{k}").iloc[k * 7 :] for k in range(3)]
    collected = {}
    for law, names, table in (
        ("size_steps", ("N", "S"), pd.concat(parts, ignore_index=True)),
        ("bnsl_1", ("x",), pd.concat([rows("bnsl_1", 0.02, k).assign(g=f"b{k}") for k in range(3)])),
    ):
        groups = fit_groups(table, "g", law, "y", {s: s for s in names}, replicates=40)
        collected |= {label: numbers(groups[label], table[table["g"] == label]) for label in groups.fits}
    return collected


def main():
    table, chosen = {}, cases()
    for name, case in chosen.items():
        values, again = measured(name, case), measured(name, perturbed(case))
        flat = [k for k, v in values.items() if isinstance(v, list) and not moved(v, again.get(k, [])) < FIRM]
        table[name] = values | ({"flat": flat} if flat else {})
        print(name, flat, file=sys.stderr)
    profiles = {name: profile_ends(chosen[name]) for name in PROFILES}
    whole = {"fits": table, "profiles": profiles, "rankings": rankings(), "groups": grouped()}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(whole, separators=(",", ":")).replace('},"', '},\n"') + "\n")
    print(len(table), "fits,", PATH.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
