"""Where a cell's time goes: sampling, features, and the rest (metrics, store, leases, rows), of real cells of tiny-ldm.

python -m benchmarks.bookkeeping [--cells c8:8 c24:16 c32:32] [--compile]

The cells run through the same door as `collect run`, in a store of their own; the first is run once more beforehand, so
that nothing is counted that a sweep does once. Sampling (with decoding) and features are clocked where they happen, the
rest is what is left of the time from claim to row.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from collect import sweep
from collect.compute.meters import Clock
from collect.workers.worker import work

TINY = Path("data/models/tiny-ldm").resolve()
SWEEP = """family: {family}
models: [{label}]
steps: [{steps}]
samples: 2000
batch: 250
compile: {compile}
channels_last: true
"""


class Timed:
    """A feature network with a clock at its extraction."""

    def __init__(self, network):
        self.network, self.clock = network, Clock()

    def __getattr__(self, name):
        return getattr(self.network, name)

    def extract(self, samples):
        with self.clock:
            return self.network.extract(samples)


def timed(metric):
    return replace(metric, network=Timed(metric.network)) if hasattr(metric, "network") else metric


def shares(place, label, steps, compiled):
    """(seconds in all, of sampling, of features) of one cell in a new store."""
    path = Path(place) / "sweep.yaml"
    path.write_text(SWEEP.format(family=TINY, label=label, steps=steps, compile=str(compiled).lower()))
    opened = sweep.open_sweep(path, Path(place) / f"{label}-{steps}-{time.time_ns()}")
    opened.__dict__["scores"] = [timed(metric) for metric in opened.scores]
    measurer = sweep.Measurer(opened)
    measurer.ready(label)
    begin = time.perf_counter()
    (row,) = [event.row for event in work(opened.jobs, opened.store, measurer) if event.row]
    whole = time.perf_counter() - begin
    features = sum(m.network.clock.seconds for m in opened.scores if hasattr(m, "network"))
    return whole, (row["seconds_per_image"] + row["seconds_decode"]) * 2000, features


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", nargs="+", default=["c8:8", "c24:16", "c32:32"], help="label:steps")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    cells = [(label, int(steps)) for label, steps in (cell.split(":") for cell in args.cells)]
    with tempfile.TemporaryDirectory() as place:
        shares(place, *cells[0], args.compile)
        for label, steps in cells:
            whole, sampling, features = shares(place, label, steps, args.compile)
            rest = whole - sampling - features
            print(f"{label:>4} {steps:3d} steps: {whole:6.2f} s; features {features / whole:5.1%}, "
                  f"metrics, store and book-keeping {rest:5.2f} s, {rest / whole:5.1%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
