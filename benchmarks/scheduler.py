"""What the sweep's book-keeping costs: planning 100,000 cells, milliseconds per cell on this disk, a simulated cluster.

python -m benchmarks.scheduler [--folder DISK] [--cluster]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from collect.jobs import Job
from collect.run.search import Clock, Queue, Search, WorkerConfig
from collect.run.worker import work
from collect.store import leases, partials
from collect.store.store import Store, encode, identity, missing, status, stem, verify
from scalinglaws.schema import COLUMNS

sys.path.append(str(Path(__file__).parents[1] / "tests"))
CELLS, TIMED = 100_000, 300
ROW = {name: 1.0 if column.unit else "some text" for name, column in COLUMNS.items()}
SUMS = {"sum": np.zeros(2048), "products": np.zeros((2048, 2048))}  # of a Fréchet distance at 2,048 features, 34 MB


def timed(title, function, *arguments, each=1, unit="s"):
    """Print the seconds (milliseconds) of a call, of all that waits included, and of this process's own work."""
    start, own = time.perf_counter(), time.process_time()
    result = function(*arguments)
    seconds, own = time.perf_counter() - start, time.process_time() - own
    scale = {"s": 1, "ms": 1e3}[unit] / each
    print(f"{title:64s} {seconds * scale:8.2f} {unit}   of which CPU {own * scale:8.2f} {unit}", flush=True)
    return result


def planner(folder):
    """100,000 jobs against a store with half of them done: a real folder of real files."""
    store = Store(Path(folder) / "planner")
    jobs = timed("100,000 identities", lambda: [Job(f"c{i}", identity({"cell": i}), float(i % 977), i)
                                                for i in range(CELLS)])  # fmt: skip
    store.write(jobs[0].name, jobs[0].key, ROW)
    data = store.files.read(f"cells/{stem(jobs[0])}.parquet")
    for job in jobs[2::2]:
        (Path(folder) / "planner" / "cells" / f"{stem(job)}.parquet").write_bytes(data)
    left = timed("what is missing, 50,000 cell files there", missing, store, jobs)
    timed("status", status, store, jobs)
    queue = timed("claim order", Queue.of, jobs)
    search = timed("a worker's first look", Search, queue, store, leases.me(), Clock(), WorkerConfig(), False)
    lease, _ = timed("its first claim", search.claim)
    assert len(left) == CELLS // 2 and search.jobs[lease.stem].flops == max(job.flops for job in left)
    timed("every file's checksum (verify)", verify, store)


def cell(folder):
    """What a cell costs beside its measuring."""
    store = Store(Path(folder) / "cell")
    jobs = [Job(f"c{i}", identity({"cell": i}), 1.0, i) for i in range(TIMED)]
    whole = timed("a cell, all in all: look, claim, lease, row, release", lambda: list(
        work(jobs, store, lambda cell, partial=None, checkpoint=None: ROW)), each=TIMED, unit="ms")  # fmt: skip
    assert [event.kind for event in whole].count("finished") == TIMED
    timed("  of which the row's bytes and checksum", lambda: [encode(ROW) for _ in range(TIMED)], each=TIMED, unit="ms")
    timed("  of which the file, on the disk", lambda: [store.write(f"x{i}", "k", ROW) for i in range(TIMED)],
          each=TIMED, unit="ms")  # fmt: skip
    timed("a checkpoint of 34 MB of sums",
          lambda: [partials.keep_partial(store.files, "x-k", 0, SUMS) for _ in range(5)],
          each=5, unit="ms")  # fmt: skip
    timed("reading it back, checked", lambda: [partials.read_partial(store.files, "x-k", [0]) for _ in range(5)],
          each=5, unit="ms")  # fmt: skip
    timed(f"the table of {2 * TIMED} rows", store.table, each=2 * TIMED, unit="ms")


def cluster():
    """20,000 cells on 512 simulated workers: undisturbed, then with every harm of the tests."""
    from test_simulation import CONFIG, HOSTILE, replayed

    from collect.run.simulation import Fleet, simulate

    jobs, seconds = replayed(20_000)
    for title, harm in (("undisturbed", {}), ("killed, slow, paused", HOSTILE)):
        run = timed(f"20,000 cells on 512 workers, {title}", simulate, jobs, seconds, Fleet(512, **harm), CONFIG)
        print(f"    {run.above:.2%} above the bound of {run.bound:.0f} s; {run.counts}; "
              f"{run.requests / 20_000:.0f} requests per cell")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="where to write, on the disk to be judged; a temporary one when left out")
    parser.add_argument("--cluster", action="store_true", help="the simulated cluster, too: minutes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        planner(folder)
        cell(folder)
    if options.cluster:
        cluster()


if __name__ == "__main__":
    main()
