"""What more cores change: BLAS threads and processes, for the 4,000 refits and for a fit of a million rows.

python -m benchmarks.cores [--rows 1000000] [--replicates 4000]

Wall and CPU seconds, the best of several; the machine's load is printed beside them, for on a busy machine a second
core is not there to be had. The engine is numpy on one thread and knows no GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np

from benchmarks.points import chinchilla, synthetic
from scalinglaws.fitting import fit
from scalinglaws.fitting.data import match_inputs, read_data
from scalinglaws.fitting.loss import Loss
from scalinglaws.fitting.options import Options
from scalinglaws.fitting.problem import Problem
from scalinglaws.fitting.settings import BATCH
from scalinglaws.laws import find

SIZE = {"N": "N", "D": "D"}


def refits(count: int, seed: int = 0) -> float:
    """Seconds of count refits in this process, the fit before them not counted."""
    result = fit(chinchilla()[0], "chinchilla", "loss", SIZE, delta=1e-3, bootstrap="pair")
    start = time.perf_counter()
    result.resampled(count, seed, "pair")
    return time.perf_counter() - start


def rows(count: int) -> float:
    """Seconds of one fit of count rows."""
    table = synthetic(count)
    start = time.perf_counter()
    fit(table, "chinchilla", "loss", SIZE)
    return time.perf_counter() - start


JOBS = {"refits": refits, "rows": rows}


def timed(job: str, count: int, threads: int, times: int = 3) -> dict:
    """Wall and CPU seconds of a job in a process of its own with so many BLAS threads."""
    many = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.cores", "--one", job, str(count), str(times)]
    done = subprocess.run(command, env=os.environ | many, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(job: str, count: int, times: int) -> None:
    """The best of several, as JSON."""
    times_spent = []
    for _ in range(times):
        start = time.process_time()
        times_spent.append((JOBS[job](count), time.process_time() - start))
    print(json.dumps(dict(zip(("wall", "cpu"), min(times_spent), strict=True))))


def halves(count: int, times: int = 3) -> tuple[float, float]:
    """Wall seconds of the refits in one process, and of two halves of them in two."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(refits, [8, 8]))  # imports
        alone = min(pool.submit(refits, count).result() for _ in range(times))
        both = min(max(pool.map(refits, [count // 2] * 2, [1, 2])) for _ in range(times))
    return alone, both


def slices(count: int, times: int = 5) -> tuple[float, float]:
    """Wall seconds of one evaluation of the objective on count rows: slices in turn, and two at a time."""
    table, (law, inputs) = synthetic(count), match_inputs(find("chinchilla"), SIZE)
    problem = Problem.build(law, read_data(table, law, "loss", inputs, Options()), Loss(1e-2))
    theta = problem.coordinates.internal([[1.69, 406.4, 0.34, 410.7, 0.28]] * 4)
    size = BATCH.slice_power
    work = [slice(k, k + size) for k in range(0, count, size)]

    def evaluate(part):
        return problem.objective._evaluate(theta, np.arange(4), np.zeros((4, 1)), part)

    def clock(run):
        start = time.perf_counter()
        list(run(evaluate, work))
        return time.perf_counter() - start

    with ThreadPoolExecutor(2) as pool:
        return min(clock(map) for _ in range(times)), min(clock(pool.map) for _ in range(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--replicates", type=int, default=4_000)
    options = parser.parse_args()
    if options.one:
        return one(options.one[0], int(options.one[1]), int(options.one[2]))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    for job, count in (("refits", options.replicates), ("rows", options.rows)):
        for threads in (1, 2):
            spent = timed(job, count, threads)
            print(f"{count:,} {job}, {threads} BLAS threads: wall {spent['wall']:.2f} s, CPU {spent['cpu']:.2f} s "
                  f"(set-up included), load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
    alone, both = halves(options.replicates)
    print(f"{options.replicates:,} refits: one process {alone:.2f} s, two processes {both:.2f} s, "
          f"{alone / both:.2f} times faster, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    turn, two = slices(options.rows)
    print(f"one evaluation of {options.rows:,} rows: slices in turn {turn * 1e3:.0f} ms, two at a time "
          f"{two * 1e3:.0f} ms, {turn / two:.2f} times faster, load {os.getloadavg()[0]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
