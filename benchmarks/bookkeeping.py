"""Where a cell's time goes: sampling, features, and the rest (metrics, store, leases, rows), of real cells of tiny-ldm.

python -m benchmarks.bookkeeping [--cells c8:8 c24:16 c32:32] [--repeats 3]

The cells run as `collect run` does, in a store of their own; the first is run once more beforehand, so
that nothing is counted that a sweep does once. Sampling (with decoding) and features are clocked where they happen, the
rest is what is left of the time from claim to row.
"""

import argparse
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from collect.profile.meters import Timer
from collect.run import cell as measure
from collect.run import sweep
from collect.run.worker import work

TINY = Path("data/models/tiny-ldm").resolve()
SWEEP = """family: {family}
models: [{label}]
steps: [{steps}]
samples: 2000
"""


class Timed:
    """A feature network with a clock at its extraction."""

    def __init__(self, network):
        self.network, self.clock = network, Timer()

    def __getattr__(self, name):
        return getattr(self.network, name)

    def extract(self, samples):
        with self.clock:
            return self.network.extract(samples)


@contextmanager
def clocked(module, name):
    """A Clock that runs within a function of a module."""
    clock, inner = Timer(), getattr(module, name)

    def timed(*args, **kwargs):
        with clock:
            return inner(*args, **kwargs)

    setattr(module, name, timed)
    try:
        yield clock
    finally:
        setattr(module, name, inner)


def timed(metric):
    return replace(metric, network=Timed(metric.network)) if hasattr(metric, "network") else metric


def shares(place, label, steps):
    """(seconds in all, of sampling, of features) of one cell in a new store."""
    path = Path(place) / "sweep.yaml"
    path.write_text(SWEEP.format(family=TINY, label=label, steps=steps))
    opened = sweep.open_sweep(path, Path(place) / f"{label}-{steps}-{time.time_ns()}")
    opened.__dict__["scores"] = [timed(metric) for metric in opened.scores]
    measurer = sweep.Measurer(opened)
    measurer.ready(label)
    for metric in opened.scores:
        getattr(getattr(metric, "reference", None), "own_kernel", None)  # computed once per process
    with Timer() as whole, clocked(measure, "draw") as sampling:
        assert [event.kind for event in work(opened.jobs, opened.store, measurer)].count("finished") == 1
    features = sum(m.network.clock.seconds for m in opened.scores if hasattr(m, "network"))
    return whole.seconds, sampling.seconds, features


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", nargs="+", default=["c8:8", "c24:16", "c32:32"], help="label:steps")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    cells = [(label, int(steps)) for label, steps in (cell.split(":") for cell in args.cells)]
    with tempfile.TemporaryDirectory() as place:
        shares(place, *cells[0])
        for label, steps in cells:
            runs = [shares(place, label, steps) for _ in range(args.repeats)]
            whole, sampling, features = (median(column) for column in zip(*runs, strict=True))
            rest = whole - sampling - features
            print(f"{label:>4} {steps:3d} steps: {whole:6.2f} s; features {features / whole:5.1%}, "
                  f"metrics, store and book-keeping {rest:5.2f} s, {rest / whole:5.1%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
