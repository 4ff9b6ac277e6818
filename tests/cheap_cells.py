"""Cells that cost milliseconds and behave like real ones: streamed float64 sums over numbered batches, checkpoints."""

import os
import time
from functools import partial
from pathlib import Path

import numpy as np

from collect.jobs import Job, Outcome
from collect.run.search import WorkerConfig
from collect.run.worker import work
from collect.store.store import Store, identity
from scalinglaws.schema import InputError

BATCHES = 12
QUICK = WorkerConfig(beat=0.05, ttl=0.6, look=0.02, keep=0.0, share=1e9, late=1e9)  # keeps all; no cell is late


def jobs(count):
    """Longer and shorter cells; FLOPs are expected, as ever, not true."""
    return [Job(f"c{i}", identity({"cell": i}), float(1 + i % 7), i) for i in range(count)]


def measure(cell, partial=None, checkpoint=None, pause=0.0, harm=None):
    """Mean and variance of BATCHES batches of random numbers that depend on (cell, batch) alone."""
    sums = dict(partial or {"batch": np.zeros(1, np.int64), "sum": np.zeros(3), "squares": np.zeros(3)})
    for batch in range(int(sums["batch"][0]), BATCHES):
        if harm:
            harm(cell, batch)
        x = np.random.default_rng((cell, batch)).standard_normal((50, 3))
        added = {"batch": np.ones(1, np.int64), "sum": x.sum(0), "squares": (x**2).sum(0)}
        sums = {name: sums[name] + added[name] for name in sums}
        time.sleep(pause)
        if checkpoint:
            checkpoint(sums)
    mean, square = (sums[name] / (50 * BATCHES) for name in ("sum", "squares"))
    return {"model": f"c{cell}", "fd": float(mean.sum()), "kd": float((square - mean**2).prod()), "note": None}


def opener(folder, count, pause=0.0, harm=None):
    """(jobs, store, measure) as the engines want them; harm is a name in HARMS."""
    harm = HARMS[harm] and partial(HARMS[harm], Path(folder))
    return jobs(count), Store(Path(folder)), partial(measure, pause=pause, harm=harm)


def nothing():
    """An opener that refuses."""
    raise InputError("Nothing to open: give a sweep.")


def serve(folder, count, pause, log, harm=None, config=QUICK):
    """A worker process: what it does goes into a file, a line an event."""
    cells, store, measuring = opener(folder, count, pause, harm)
    with open(log, "a", buffering=1) as out:
        for event in work(cells, store, measuring, config=config, report=lambda e: print(e.kind, e.cell, file=out)):
            print(event.kind, event.cell, event.reason, file=out)


def _marked(folder, cell):
    """Whether this is the first time that this happens to the cell."""
    try:
        (folder / f"harmed-{cell}").touch(exist_ok=False)
        return True
    except FileExistsError:
        return False


def _die_once(folder, cell, batch):
    if cell % 5 == 3 and batch == 4 and _marked(folder, cell):
        os.kill(os.getpid(), 9)


def _always_die(folder, cell, batch):
    if cell == 2:
        os.kill(os.getpid(), 9)


def _fail(folder, cell, batch):
    if batch == 1 and cell < 5:
        raise (Outcome("nan", "all images are NaN"), MemoryError("no room"), ValueError("a\nb"), OutOfMemoryError("x"),
               RuntimeError(""))[cell]  # fmt: skip


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def _break(folder, cell, batch):
    if cell == 1 and _marked(folder, cell):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


HARMS = {None: None, "die once": _die_once, "always die": _always_die, "fail": _fail, "break": _break}
