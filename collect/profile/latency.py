"""Seconds, memory and joules of a pipeline call, each from a process of its own.

    spawn -> load -> first call -> 3 to warm up -> 10 calls and 2 s, timed -> the stages likewise -> energy windows
             once    compiles      exact shape     every reading is kept                             3 of 2 s

A fresh process for each model, dtype and compile mode, because allocators, compiled code and caches of one change the
next. The clock runs from a drained queue to a drained queue, around the whole call. Median and median absolute
deviation (MAD, not scaled) are reported, the readings kept. What cannot be measured is null, with the reason.
"""

import multiprocessing
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from statistics import median

import torch

from collect.jobs import Outcome
from collect.profile import energy
from collect.profile.meters import device_name, out_of_memory, peak_bytes, reset_peak, stopwatch
from collect.profile.stages import COLUMNS, unknown
from scalinglaws.schema import InputError

GRACE = 10  # seconds a process that has answered may take to tidy up


@dataclass(frozen=True)
class Protocol:
    """How often a call is repeated; the defaults are what our tables use."""

    warmup: int = 3  # calls
    calls: int = 10  # at least
    seconds: float = 2.0  # at least, of timed calls
    windows: int = 3  # of energy
    window_seconds: float = 2.0  # at least, of each
    most_calls: int = 100_000


@dataclass(frozen=True)
class Spread:
    """All readings of one thing, in the order taken."""

    readings: tuple[float, ...]

    @property
    def median(self):
        return median(self.readings) if self.readings else None

    @property
    def mad(self):
        """Median absolute deviation from the median, not scaled to a standard deviation; None for one reading."""
        return median(abs(r - self.median) for r in self.readings) if len(self.readings) > 1 else None


@dataclass(frozen=True)
class Latency:
    """What one process found; seconds and joules are of a whole call of `batch` images."""

    batch: int  # images per call
    load_seconds: float
    first_seconds: float  # of the first call: compiling and allocating, too
    call: Spread  # seconds of the whole pipeline
    stages: dict[str, Spread] = field(default_factory=dict)  # seconds by stage
    joules: dict[str, Spread] = field(default_factory=dict)  # per call, by stage, as far as they could be weighed
    peak_memory_bytes: int | None = None
    reasons: dict[str, str] = field(default_factory=dict)  # column: why it is null, or what it holds instead
    device: str = ""
    threads: int | None = None

    def columns(self):
        """This measurement as columns of scalinglaws.schema, per image; without stages all counts as denoising."""
        seconds, joules = self.stages or {"denoise": self.call}, {stage: Spread(()) for stage in COLUMNS} | self.joules
        measured = {}
        for stage, (seconds_column, joules_column) in COLUMNS.items():
            if stage in seconds:
                measured[seconds_column] = _per(seconds[stage].median, self.batch)
                measured[joules_column] = _per(joules[stage].median, self.batch)
        return {
            **measured,
            "seconds_mad": _per(seconds["denoise"].mad, self.batch),
            "joules_mad": _per(joules["denoise"].mad, self.batch),
            "peak_memory_bytes": self.peak_memory_bytes,
            "sampling_batch": self.batch,
            "device": self.device,
            "threads": self.threads,
            "unknown": unknown(self.reasons),
        }


def _per(value, batch):
    return None if value is None else value / batch


@dataclass(frozen=True)
class Instruments:
    """What a run is measured with; a replay of recorded readings takes their place in tests."""

    stopwatch: callable  # (work) -> seconds, having done the work
    reset: callable  # () -> whether a new memory peak was begun
    peak: callable  # () -> bytes or None
    joules: callable  # () -> a context with .joules and .reason, or None where there is no meter
    reason: str | None = None  # why there is no meter
    device: str = ""
    threads: int | None = None


def real(device="cpu"):
    """The instruments of this machine."""
    source, reason = energy.find(device)
    meter = (lambda: energy.Joules(source, device=device)) if source else None
    name, threads = device_name(device), torch.get_num_threads()
    return Instruments(
        stopwatch(device), lambda: reset_peak(device), lambda: peak_bytes(device), meter, reason, name, threads
    )


class Replay:
    """A stopwatch that does no work and gives recorded seconds, one per call; it raises when they run out."""

    def __init__(self, seconds):
        self._left = list(seconds)[::-1]

    def __call__(self, work):
        if not self._left:
            raise RuntimeError("The recorded readings have run out: record more, or ask for fewer calls.")
        return self._left.pop()


def replay(seconds, peak=None, joules=()):
    """Instruments that answer with recorded seconds (load, first, warm-up, then calls), peak bytes and joules."""
    windows = iter(joules)
    meter = (lambda: nullcontext(_Window(next(windows)))) if joules else None
    reason = None if joules else "No energy was recorded."
    return Instruments(Replay(seconds), lambda: peak is not None, lambda: peak, meter, reason, "a recording", 1)


@dataclass(frozen=True)
class _Window:
    joules: float
    reason: str | None = None


def readings(work, stopwatch, protocol):
    """Spread of the seconds of warm calls: at least so many, and so many seconds of them."""
    for _ in range(protocol.warmup):
        stopwatch(work)
    seconds, total = [], 0.0
    while len(seconds) < protocol.most_calls and (len(seconds) < protocol.calls or total < protocol.seconds):
        seconds.append(stopwatch(work))
        total += seconds[-1]
    return Spread(tuple(seconds))


def take(opener, batch, instruments, protocol):
    """The Latency of what `opener()` returns, in this process."""
    opened = []
    load = instruments.stopwatch(lambda: opened.append(opener()))
    pipeline = opened[0] if opened else opener()  # a replayed stopwatch does no work
    first = instruments.stopwatch(pipeline.call)
    known = instruments.reset()
    call = readings(pipeline.call, instruments.stopwatch, protocol)
    peak = instruments.peak() if known else None
    parts = dict(getattr(pipeline, "stages", None) or {})
    stages = {name: readings(work, instruments.stopwatch, protocol) for name, work in parts.items()}
    joules, reasons = {}, {}
    for name, work in (parts or {"denoise": pipeline.call}).items():
        seconds = stages.get(name, call).median
        joules[name], why = _joules(work, seconds, instruments, protocol)
        reasons |= {COLUMNS[name][1]: why} if why and name in COLUMNS else {}
    if peak is None:
        reasons["peak_memory_bytes"] = "The system does not report a peak that can be reset."
    if not parts:
        reasons["seconds_decode"] = "The pipeline was timed whole: seconds_per_image includes text and decoding."
    return Latency(batch, load, first, call, stages, joules, peak, reasons, instruments.device, instruments.threads)


def _joules(work, seconds, instruments, protocol):
    """(Spread of joules per call over the windows, None) or (an empty one, the reason)."""
    if instruments.joules is None:
        return Spread(()), instruments.reason
    calls, readings = max(1, -int(-protocol.window_seconds // max(seconds, 1e-9))), []
    for _ in range(protocol.windows):
        with instruments.joules() as window:
            for _ in range(calls):
                work()
        if window.joules is None:
            return Spread(()), window.reason
        readings.append(window.joules / calls)
    return Spread(tuple(readings)), None


def measure_latency(opener, batch, device="cpu", protocol=None, threads=None, timeout=None):
    """The Latency of a pipeline, by a fresh process; Outcome 'oom' or 'error' with the reason if it fails.

    `opener` is a picklable function without arguments. It returns an object with `call()`, one whole call of `batch`
    images at a fixed shape, and perhaps `stages`, a dict of callables named text, denoise and decode. As with all
    spawned processes, a script calls this below `if __name__ == "__main__":`.
    """
    try:
        ForkingPickler.dumps(opener)
    except Exception as error:
        raise InputError(
            f"The opener {opener!r} cannot be sent to a fresh process ({error}): give a function of a module, "
            "or functools.partial of one, not a lambda or an inner function."
        ) from error
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(
        target=_measure_and_send, args=(theirs, opener, batch, device, protocol or Protocol(), threads)
    )
    child.start()
    theirs.close()
    try:
        return _answer(ours, child, timeout)
    finally:
        child.kill()
        child.join()
        ours.close()


def _answer(ours, child, timeout):
    """What the process sends; Outcome where it sends a failure, nothing in time, or ends first."""
    if not ours.poll(timeout):
        raise Outcome("error", f"The measuring process gave no answer within {timeout:g} s.")
    try:
        status, answer = ours.recv()
    except EOFError:
        child.join()
        code = child.exitcode
        killed = " (killed: the machine may be out of memory)" if code == -9 else ""
        raise Outcome("error", f"The measuring process ended with code {code}{killed} before it answered.") from None
    child.join(GRACE)
    if status != "done":
        raise Outcome(status, answer)
    return answer


def _measure_and_send(answer, opener, batch, device, protocol, threads):
    if threads:
        torch.set_num_threads(threads)
    try:
        answer.send(("done", take(opener, batch, real(device), protocol)))
    except Exception as error:
        answer.send(("oom" if out_of_memory(error) else "error", f"{type(error).__name__}: {error}"))
