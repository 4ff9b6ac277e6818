"""What a long run shows: a bar in a terminal, plain lines elsewhere; cells, samples per second, time left."""

import sys
import time
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from scipy.optimize import linprog

SHOWN = ("finished", "failed", "lost")  # kinds of events that get a line
KEPT = 64  # finished cells that the time left is learned from, the last ones


def show(text):
    """One plain line, flushed, so that a log file is never behind."""
    print(text, flush=True)


def note(text):
    """A caveat on the error stream, so that JSON stays whole."""
    print(f"note: {text}", file=sys.stderr, flush=True)


@dataclass
class RunProgress:
    """How far a run is, from the events of its workers; a cell's time is so much per expected FLOP and so much as it is
    (decoding, scoring), both learned as cells finish."""

    jobs: list  # missing when it began
    clock: object = time.monotonic
    closed: set = field(default_factory=set)  # names of finished and failed cells
    samples: int = 0  # of finished cells
    times: list = field(default_factory=list)  # of the last finished cells: (FLOPs, seconds on their worker)
    workers: dict = field(default_factory=dict)  # name: (the job at hand or None, the time it was claimed)
    pace: tuple = (0.0, 0.0)  # seconds per FLOP, seconds per cell

    def __post_init__(self):
        self.began = self.clock()

    def see(self, event):
        """Count what a worker has claimed, finished or failed."""
        if event.kind in ("claimed", "finished", "failed", "dropped"):
            self.workers[event.who] = (event.job if event.kind == "claimed" else None, self.clock())
        elif event.kind == "done":
            self.workers.pop(event.who, None)
        elif event.kind == "lost":  # a process's number is part of its worker's name
            self.workers = {who: held for who, held in self.workers.items() if f"-{event.who}-" not in who}
        if event.kind in ("finished", "failed") and event.job.name not in self.closed:
            self.closed.add(event.job.name)
            if event.kind == "finished":
                self.samples += event.row["n_samples_for_metric"]
                self.times = [*self.times, (event.job.flops, event.seconds)][-KEPT:]
                self.pace = pace(self.times)

    @property
    def rate(self):
        """Samples per second since the run began, all workers together."""
        return self.samples / max(self.clock() - self.began, 1e-9)

    @property
    def left(self):
        """Seconds left, or None before the first finished cell: what the open cells are expected to take, less what has
        passed of those at hand (at most what they are expected to take), shared by the workers."""
        if not self.times:
            return None
        open_cells = [job for job in self.jobs if job.name not in self.closed]
        at_hand = [(job, since) for job, since in self.workers.values() if job and job.name not in self.closed]
        passed = sum(min(self.clock() - since, self._expected(job)) for job, since in at_hand)
        shared = max(min(len(self.workers), len(open_cells)), 1)
        return max(sum(map(self._expected, open_cells)) - passed, 0.0) / shared

    def _expected(self, job):
        per_flop, per_cell = self.pace
        return per_flop * job.flops + per_cell

    def text(self):
        left = self.left
        more = "" if left is None else f", {duration(left)} left"
        return f"{len(self.closed)}/{len(self.jobs)} cells, {self.rate:.3g} samples/s{more}"


def pace(times):
    """(seconds per FLOP, seconds per cell), neither below 0, of cells [(FLOPs, seconds)]: those of the least sum of
    absolute errors, which a few cells that other work has slowed do not move. One cell is all FLOPs.

    As a linear program: Koenker & Bassett 1978, Econometrica 46, 33, at the median.
    """
    each = np.array(times, float)
    scale = each.max(axis=0, initial=1e-9)
    flops, seconds = (each / scale).T
    line, error = np.column_stack([flops, np.ones_like(flops)]), np.eye(len(flops))
    above_and_below = np.block([[line, -error], [-line, -error]])
    costs = [0, 1e-6, *np.ones_like(flops)]  # of equal fits the one of fewer seconds per cell
    found = linprog(costs, above_and_below, np.concatenate([seconds, -seconds])).x
    return found[0] * scale[1] / scale[0], found[1] * scale[1]


def duration(seconds):
    """12 s, 3 min, 2 h 05 min, 4 d 3 h."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def progress(events, jobs, line, console=None):
    """Pass events on; a bar fills in a terminal, a line per finished or failed cell elsewhere.

    line(event) -> text of a cell.
    """
    console, run = console or Console(file=sys.stderr), RunProgress(jobs)
    columns = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(jobs))
        for event in events:
            run.see(event)
            if event.kind in SHOWN:
                _print(f"{line(event)}   [{run.text()}]" if bar.disable else line(event), bar)
            bar.update(task, completed=len(run.closed), description=run.text())
            yield event


def _print(text, bar):
    if bar.disable:
        show(text)
    else:
        bar.console.print(text, highlight=False)
