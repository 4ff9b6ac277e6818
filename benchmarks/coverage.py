"""How often 90 % intervals hold the truth: every law of the table, by design, method and number of sizes.

python -m benchmarks.coverage [--datasets 200] [--laws power_floor bnsl_1] [--methods bootstrap profile]
python -m benchmarks.coverage --predictions    of the next size, models and cells with errors drawn from the prior
python -m benchmarks.coverage --models         surfaces of size and steps whose models err by 3 % and cells by 1.5 %
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws.fitting import coverage, fit
from scalinglaws.fitting.levels import OF, PRIOR

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from test_laws import TRUTH, rows

FEW = (4, 5, 6, 8, 12)  # sizes of the power law with floor
SURFACE = {"E": 3.0, "A": 2e4, "a": 0.45, "B": 45.0, "b": 1.2}  # of size_steps_plain
DESIGNS = {  # sizes, step counts, trainings of a size
    "five sizes": (5, 6, 1), "twelve sizes": (12, 6, 1), "four sizes, three trainings": (4, 4, 3),
}  # fmt: skip
WAYS = {
    "levels": {"bootstrap": "levels"}, "single residuals": {"bootstrap": "residual"}, "sizes": {"cluster": "params"}
}  # fmt: skip


def show(title, one, options, method):
    """One line: the mean over parameters and the two extremes."""
    cover = coverage(one, options.datasets, 0.9, method, noise=options.noise)["cover"]
    print(f"{title:34s} {method:10s} {one.rows:4d} rows  mean {cover.mean():.3f}  lowest {cover.idxmin()} "
          f"{cover.min():.3f}  highest {cover.idxmax()} {cover.max():.3f}", flush=True)  # fmt: skip


def predictions(sizes, datasets):
    """One line: how often each 90 % interval holds a model of the next size, trained once; half width of the second."""
    held, width = dict.fromkeys(OF, 0), []
    for seed in range(datasets):
        rng = np.random.default_rng(seed)
        model_sd, cell_sd = (np.exp(rng.normal(*PRIOR[level])) for level in ("model", "cell"))
        table = pd.DataFrame({"params": np.geomspace(1e6, 1e9, sizes + 1)})
        curve = 1.8 + 3e3 * table["params"] ** -0.55
        own, cell = rng.standard_normal((2, sizes + 1))
        table["fid"] = curve * np.exp(model_sd * own + cell_sd * cell)
        one = fit(table.iloc[:-1], "power_floor", "fid", "params", replicates=400)
        found = one.predict(table.iloc[-1:], of="all").iloc[0]
        for of in OF:
            truth = curve.iloc[-1] if of == "curve" else table["fid"].iloc[-1]
            held[of] += found[f"{of}_low"] <= truth <= found[f"{of}_high"]
        width.append(np.log(found["owned_high"] / found["owned_low"]) / 2)
    shares = "  ".join(f"{of} {count / datasets:.3f}" for of, count in held.items())
    print(f"next size after {sizes:2d}: {shares}  half width {np.median(width):.3f}", flush=True)


def of_models(design, way, studies) -> pd.DataFrame:
    """One row a simulated study: whether 90 % intervals hold the curve within and 0.3 decades beyond the sizes, a new
    model there, and the parameters E and a.
    """
    sizes, steps, trainings = DESIGNS[design]
    size, step = np.geomspace(5e7, 2e9, sizes), 2.0 ** np.arange(2, 2 + steps)
    design = pd.MultiIndex.from_product([size, range(trainings), step], names=["params", "train_seed", "steps"])
    new, found = pd.DataFrame({"params": [1e9, 4e9], "steps": 64.0}), []
    for seed in range(studies):
        rng = np.random.default_rng(1000 + seed)
        own = np.repeat(0.03 * rng.standard_normal(sizes * trainings), steps)
        table = design.to_frame(index=False)
        table["fid"] = surface(table) * np.exp(own + 0.015 * rng.standard_normal(len(table)))
        one = fit(table, "size_steps_plain", "fid", {"N": "params", "S": "steps"}, replicates=300, **WAYS[way])
        answer, ends = one.predict(new, of="all"), one.interval()
        truth, error = surface(new), np.exp(np.hypot(0.03, 0.015) * rng.standard_normal())
        curve = answer["curve_low"].le(truth) & answer["curve_high"].ge(truth)
        model = answer["new_model_low"].le(truth * error) & answer["new_model_high"].ge(truth * error)
        held = {name: ends["low"][name] <= SURFACE[name] <= ends["high"][name] for name in ("E", "a")}
        width = np.log(answer["curve_high"][1] / answer["curve_low"][1]) / 2
        found.append({"within": curve[0], "beyond": curve[1], "new model": model[1], "half width": width} | held)
    return pd.DataFrame(found)


def surface(table):
    """The known law at the rows of a table."""
    law = SURFACE
    return law["E"] + law["A"] * table["params"] ** -law["a"] + law["B"] * table["steps"] ** -law["b"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--laws", nargs="*", default=list(TRUTH))
    parser.add_argument("--methods", nargs="*", default=["bootstrap", "profile"])
    parser.add_argument("--predictions", action="store_true")
    parser.add_argument("--models", action="store_true")
    options = parser.parse_args()
    if options.models:
        means = {(design, way): of_models(design, way, options.datasets).mean() for design in DESIGNS for way in WAYS}
        print(pd.DataFrame(means).T.round(3).to_string())
        return
    if options.predictions:
        for sizes in FEW:
            predictions(sizes, options.datasets)
        return
    for name in options.laws:
        one = fit(rows(name), name, "y", {s: s for s in TRUTH[name][1]}, loss="squares", replicates=400)
        for method in options.methods:
            show(name, one, options, method)
    table = rows("power_floor")
    for count in FEW if "power_floor" in options.laws else ():
        some = table.iloc[[round(k * 11 / (count - 1)) for k in range(count)]]
        one = fit(some, "power_floor", "y", {"N": "x"}, loss="squares", replicates=400)
        show(f"power_floor, {count} sizes", one, options, "bootstrap")


if __name__ == "__main__":
    main()
