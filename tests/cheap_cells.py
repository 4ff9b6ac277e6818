"""Cells that cost milliseconds and behave like real ones: streamed float64 sums over numbered batches, checkpoints.

Nothing here depends on how long anything takes: a worker process that must stand still at some point waits for the
test to let it go on, by a pipe (`Gate`) or a file.
"""

import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from collect.jobs import Job, Outcome
from collect.run.search import WorkerConfig
from collect.run.worker import work
from collect.store import leases
from collect.store.store import Store, identity
from scalinglaws.schema import InputError

BATCHES = 12
NEVER = 1e9  # seconds: on a busy machine a heartbeat may be late, so no lease expires unless a test says so
QUICK = WorkerConfig(beat=0.05, ttl=NEVER, look=0.02, keep=0.0, share=1e9, late=NEVER)  # keeps all; no cell is late
PATIENCE = 300  # seconds after which a condition that must come true is taken to be broken


def jobs(count):
    """Longer and shorter cells; FLOPs are expected, as ever, not true."""
    return [Job(f"c{i}", identity({"cell": i}), float(1 + i % 7), i) for i in range(count)]


def measure(cell, partial=None, checkpoint=None, harm=None):
    """Mean and variance of BATCHES batches of random numbers that depend on (cell, batch) alone."""
    sums = dict(partial or {"batch": np.zeros(1, np.int64), "sum": np.zeros(3), "squares": np.zeros(3)})
    for batch in range(int(sums["batch"][0]), BATCHES):
        if harm:
            harm(cell, batch)
        x = np.random.default_rng((cell, batch)).standard_normal((50, 3))
        added = {"batch": np.ones(1, np.int64), "sum": x.sum(0), "squares": (x**2).sum(0)}
        sums = {name: sums[name] + added[name] for name in sums}
        if checkpoint:
            checkpoint(sums)
    mean, square = (sums[name] / (50 * BATCHES) for name in ("sum", "squares"))
    return {"model": f"c{cell}", "fd": float(mean.sum()), "kd": float((square - mean**2).prod()), "note": None}


def opener(folder, count, harm=None):
    """(jobs, store, measure) as the engines want them; harm is a name in HARMS."""
    harm = HARMS[harm] and partial(HARMS[harm], Path(folder))
    return jobs(count), Store(Path(folder)), partial(measure, harm=harm)


def nothing():
    """An opener that refuses."""
    raise InputError("Nothing to open: give a sweep.")


def crash():
    """An opener that fails."""
    raise ZeroDivisionError("in the opener")


def which_gpu(folder, workers, cell, partial=None, checkpoint=None):
    """Which GPU this process was given, as the row of a cell, once so many processes have come to this."""
    (folder / f"worker-{os.getpid()}").touch()
    until(lambda: len(list(folder.glob("worker-*"))) >= workers)
    return {"model": os.environ["CUDA_VISIBLE_DEVICES"], "threads": os.getpid()}


def open_which_gpu(folder, workers):
    return jobs(6), Store(folder), partial(which_gpu, folder, workers)


class Gate:
    """The worker's end of a pipe: it says which batch it is about to do, and waits to be let through.

    A permit is True, or "lost" for 'once your heartbeat has found the lease lost'. A closed gate lets all through.
    """

    def __init__(self, pipe):
        self.pipe, self.beats = pipe, None

    def __call__(self, cell, batch):
        try:
            self.pipe.send((cell, batch))
            while not self.pipe.poll(0.05):
                pass  # a signal that comes just before a read would be seen only after it
            permit = self.pipe.recv()
        except (EOFError, OSError):
            return
        if permit == "lost":
            until(lambda: self.beats.lost)

    @contextmanager
    def pulse(self, files, lease, seconds):
        with leases.beating(files, lease, seconds) as self.beats:
            yield self.beats


def serve(folder, count, log, pipe=None, harm=None, config=QUICK):
    """A worker process: what it does goes into a file, a line per event; with a pipe, it waits at every batch."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
    cells, store, measuring = opener(folder, count, harm)
    gate = pipe and Gate(pipe)
    pulse = {"pulse": gate.pulse} if gate else {}
    measuring = partial(measure, harm=gate) if gate else measuring
    with open(log, "a", buffering=1) as out:
        report = lambda e: print(e.kind, e.cell, file=out)  # noqa: E731
        for event in work(cells, store, measuring, config=config, report=report, **pulse):
            print(event.kind, event.cell, event.reason, file=out)


def until(condition):
    """Wait for something that must come true, however slow the machine is."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


def patiently(start, message):
    """start(), again and again while it fails with this message because the machine is busy."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return start()
        except Exception as error:
            if message not in str(error) or time.monotonic() > end:
                raise


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


def _hold(folder, cell, batch):
    """Go no further than the third batch of any cell."""
    if batch == 3:
        until((folder / "go").exists)


def _fail(folder, cell, batch):
    if batch == 1 and cell < 5:
        raise (Outcome("nan", "all images are NaN"), MemoryError("no room"), ValueError("a\nb"), OutOfMemoryError("x"),
               RuntimeError(""))[cell]  # fmt: skip


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def _break(folder, cell, batch):
    if cell == 1 and _marked(folder, cell):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


HARMS = {None: None, "die once": _die_once, "always die": _always_die, "fail": _fail, "break": _break, "hold": _hold}
