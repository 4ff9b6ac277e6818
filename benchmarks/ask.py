"""Seconds of a whole `sl.ask`, prior, levels of noise and averaged laws included, in a fresh process after the import.

python -m benchmarks.ask [--processes 7]

The bar is 1 s for 80 rows on one core.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd

BAR = 1.0  # s
SIZES, STEPS = np.geomspace(1e6, 1.28e8, 8), 2 ** np.arange(1, 11)  # FLOPs per forward pass
MODEL, CELL = 0.02, 0.01  # relative errors of a trained model and of a cell
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def eighty():
    """80 rows of a known law, 8 sizes at 10 numbers of steps, with errors of models and of cells."""
    rng = np.random.default_rng(0)
    size, steps = (v.ravel() for v in np.meshgrid(SIZES, STEPS, indexing="ij"))
    error = np.repeat(MODEL * rng.standard_normal(len(SIZES)), len(STEPS)) + CELL * rng.standard_normal(len(size))
    fd = (4.0 + 9e3 * size**-0.5 + 300 * steps**-1.3) * np.exp(error)
    return pd.DataFrame({"family": "known", "model": [f"{n:.3g}" for n in size], "flops_per_forward": size,
                         "steps": steps, "nfe": steps, "sampler": "ddim", "guidance": 1.0, "fd": fd,
                         "fd_se": CELL * fd, "seconds_per_image": size * steps / 1e12})  # fmt: skip


def tiny_ldm():
    """56 measured rows."""
    import scalinglaws as sl

    return sl.read("tiny-ldm").query("sampler == 'ddim' and guidance == 1")


TABLES = {"80 rows of a known law": eighty, "tiny-ldm, 56 rows": tiny_ldm}


def once(name):
    """Wall and CPU seconds of the first `sl.ask` of this process, as JSON."""
    import time

    import scalinglaws as sl

    table = TABLES[name]()
    begin = time.perf_counter(), time.process_time()
    answer = sl.ask(table, "3e8 FLOPs")
    print(json.dumps({"wall": time.perf_counter() - begin[0], "cpu": time.process_time() - begin[1],
                      "answer": repr(answer)}))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=7, help="fresh processes a table (default: 7)")
    parser.add_argument("--once", choices=TABLES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        return once(options.once)
    env = os.environ | dict.fromkeys(THREADS, "1")
    for name in TABLES:
        command = [sys.executable, "-m", "benchmarks.ask", "--once", name]
        runs = pd.DataFrame([json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout)
                             for _ in range(options.processes)])  # fmt: skip
        middle, least, most = runs["cpu"].median(), runs["cpu"].min(), runs["cpu"].max()
        print(f"{name}: {middle:.2f} s of one core ({least:.2f} to {most:.2f}), wall {runs['wall'].median():.2f} s, "
              f"medians of {len(runs)} fresh processes; the bar is {BAR:g} s\n    {runs['answer'][0]}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
