"""The `chinchilla` package (PyPI, kyo-takano, 0.2) on the same points and objective, against ours.

    pip install chinchilla        in this or in another environment
    python -m benchmarks.package [--python OTHER_PYTHON] [--grid 3]

Its objective is the mean of the same Huber losses, by numeric BFGS in long double from grid^5 starts on all cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.points import chinchilla

RIVAL = """
import functools, json, sys, time
import numpy as np
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
folder, count = sys.argv[1], int(sys.argv[2])
if __name__ == "__main__":
    axes = dict(E=(1, 2), a=(1, 10), b=(1, 10), alpha=(0.1, 0.7), beta=(0.1, 0.7))
    rival = Chinchilla(folder, param_grid={k: np.linspace(*v, count) for k, v in axes.items()},
                       loss_fn=functools.partial(log_huber, delta=1e-3), log_level=50)
    rival.visualizer.optim = lambda *a, **k: None
    start = time.perf_counter()
    try:
        rival.fit()
    finally:
        print(json.dumps([time.perf_counter() - start] + [float(getattr(rival, k)) for k in
                         ("E", "A", "B", "alpha", "beta")]))
"""


def objective(table, E, A, B, alpha, beta) -> float:
    """The sum of Huber 1e-3 losses on ln L."""
    residual = np.log(E + A * table["N"] ** -alpha + B * table["D"] ** -beta) - np.log(table["loss"])
    psi = np.clip(residual, -1e-3, 1e-3)
    return float(np.sum(psi * (residual - psi / 2)))


def rival(table, python, grid):
    """Seconds and parameters of the package."""
    with tempfile.TemporaryDirectory() as folder:
        table.assign(C=6 * table["N"] * table["D"])[["C", "N", "D", "loss"]].to_csv(
            Path(folder) / "df.csv", index=False
        )
        script = Path(folder) / "rival.py"
        script.write_text(RIVAL)
        done = subprocess.run([python, str(script), folder, str(grid)], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if not lines:
        raise SystemExit(f"The package did not run: {done.stderr[-500:]}")
    seconds, *values = json.loads(lines[-1])
    return seconds, values


def main():
    from scalinglaws.fitting import fit

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--grid", type=int, default=3)
    options = parser.parse_args()
    table, _ = chinchilla()
    seconds, values = rival(table, options.python, options.grid)
    start = time.perf_counter()
    result = fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, delta=1e-3)
    own = time.perf_counter() - start
    theirs = objective(table, *values)
    print(f"chinchilla package, {options.grid**5} starts: {seconds:.1f} s, objective {theirs:.10g}")
    worse = theirs / result.objective - 1
    print(f"ours: {own * 1e3:.1f} ms, objective {result.objective:.10g}: theirs is {worse:+.2e} relative; "
          f"{seconds / own:,.0f} times faster")  # fmt: skip


if __name__ == "__main__":
    main()
