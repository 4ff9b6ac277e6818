"""The batch that gives most images per second, found by trying: growing sizes until throughput falls or memory ends."""

from dataclasses import dataclass
from statistics import median

from collect.jobs import Outcome
from collect.profile import meters
from collect.profile.meters import out_of_memory

CANDIDATES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FALLEN = 0.95  # of the best throughput; below it no larger batch is tried
ALIKE = 0.98  # of the best throughput; the smallest batch this good is chosen: less memory, less latency


@dataclass(frozen=True)
class Tried:
    """One batch size and how it did."""

    batch: int  # images
    seconds: float  # of a warm call

    @property
    def throughput(self):
        """Images per second."""
        return self.batch / self.seconds


@dataclass(frozen=True)
class Best:
    """The batch chosen, all that was tried, and the sentence why no larger one was."""

    batch: int
    tried: tuple[Tried, ...]
    stopped: str


def best_batch(run, candidates=CANDIDATES, seconds_limit=60.0, device="cpu", stopwatch=None, repeats=3):
    """The Best of growing candidates by warm calls of run(batch), within about seconds_limit of trying.

    Outcome 'oom' when not even the smallest fits. `stopwatch(work) -> seconds` may be a replay.
    """
    stopwatch, tried, spent = stopwatch or meters.stopwatch(device), [], 0.0
    for batch in sorted(candidates):
        if tried and spent + (1 + repeats) * batch / tried[-1].throughput > seconds_limit:
            return _best(tried, f"A batch of {batch} would not end within {seconds_limit:g} s of trying.")
        try:
            seconds = [stopwatch(lambda batch=batch: run(batch)) for _ in range(1 + repeats)]
        except Exception as error:
            if not out_of_memory(error):
                raise
            return _best(tried, f"A batch of {batch} does not fit in memory.")
        tried, spent = [*tried, Tried(batch, median(seconds[1:]))], spent + sum(seconds)
        if tried[-1].throughput < FALLEN * max(t.throughput for t in tried):
            return _best(tried, f"A batch of {batch} is slower than a smaller one.")
    return _best(tried, "All candidates were tried.")


def _best(tried, stopped):
    if not tried:
        raise Outcome("oom", f"{stopped} It is the smallest candidate.")
    most = max(t.throughput for t in tried)
    chosen = next(t for t in tried if t.throughput >= ALIKE * most)
    return Best(chosen.batch, tuple(tried), stopped)
