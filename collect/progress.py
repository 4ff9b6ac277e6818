"""What a long run shows: a bar in a terminal, plain lines elsewhere; cells, samples per second, time left."""

import sys
import time
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from scipy.optimize import nnls

SHOWN = ("finished", "failed", "lost")  # kinds of events that get a line
KEPT = 256  # closed cells that the time left is learned from, thinned to half beyond; even, so that the last one stays


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
    flops: float = 0.0
    work: list = field(default_factory=list)  # at closed cells, of many at some: FLOPs and cells so far, seconds

    def __post_init__(self):
        self.total, self.began = sum(job.flops for job in self.jobs), self.clock()

    def see(self, event):
        """Count a finished or failed cell."""
        if event.kind not in ("finished", "failed") or event.job.name in self.closed:
            return
        self.closed.add(event.job.name)
        self.flops += event.job.flops
        self.work.append((self.flops, len(self.closed), self.clock() - self.began))
        if len(self.work) > KEPT:
            self.work = self.work[::2]
        if event.kind == "finished":
            self.samples += event.row["n_samples_for_metric"]

    @property
    def rate(self):
        """Samples per second since the run began, all workers together."""
        return self.samples / max(self.clock() - self.began, 1e-9)

    @property
    def left(self):
        """Seconds left, or None before the first cell: by FLOPs alone after one, then by FLOPs and cells; less what has
        passed since the last cell."""
        if not self.flops:
            return None
        done = np.array(self.work)
        work, seconds = done[:, :2], done[:, 2]
        left = np.array([self.total, len(self.jobs)]) - work[-1]
        if len(work) == 1:
            expected = seconds[0] * left[0] / self.flops
        else:
            rates, _ = nnls(work / work[-1], seconds)
            expected = rates @ (left / work[-1])
        return max(float(expected - (self.clock() - self.began - seconds[-1])), 0.0)

    def text(self):
        left = self.left
        more = "" if left is None else f", {duration(left)} left"
        return f"{len(self.closed)}/{len(self.jobs)} cells, {self.rate:.3g} samples/s{more}"


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
