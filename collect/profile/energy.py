"""Joules of a stretch of work by the best counter the machine has, or null with the reason as a sentence.

    NVML counter    millijoules since the driver loaded, Volta and later; the board counts by itself
    NVML power      milliwatts read every 50 ms and integrated, where there is no counter
    RAPL            microjoules of the processor packages and their memory, in Linux's powercap files

Counters move every 20 to 100 ms, so a window under a second is refused. A counter sees all that ran on the board or the
package, other people's work included: measure on a quiet machine. Nothing here ever answers with a plausible zero.
"""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

SHORTEST = 1.0  # s, of a window whose joules are believed
POLL = 0.05  # s between two readings of power
SILENCE = 1.0  # s without a reading, after which power is not integrated
MOST_WATTS = 1000.0  # of a processor package; tells how long a window may be before its counter can wrap twice
POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """Joules counted by the hardware: `begin` reads, `end` answers (joules or None, the reason if None)."""

    name: str
    read: callable  # () -> joules since some moment, one number per sub-counter
    wraps: tuple = ()  # joules at which each sub-counter begins again; empty: it never does

    def begin(self):
        return self.read(), time.perf_counter()

    def end(self, started):
        before, when = started
        after, seconds = self.read(), time.perf_counter() - when
        if self.wraps and seconds > min(self.wraps) / MOST_WATTS:
            return None, f"The {self.name} may have wrapped more than once in {seconds:.0f} s: use shorter windows."
        steps = [b - a for a, b in zip(before, after, strict=True)]
        if self.wraps:
            steps = [step % wrap for step, wrap in zip(steps, self.wraps, strict=True)]
        if min(steps) < 0:
            why = "ran backwards (the driver was loaded again?): the energy of this window is not known."
            return None, f"The {self.name} {why}"
        return _believed(sum(steps), self.name)


@dataclass(frozen=True)
class Power:
    """Joules as power over time: a thread reads watts while the work runs; trapezoids between the readings."""

    name: str
    read: callable  # () -> watts
    every: float = POLL  # s

    def begin(self):
        readings, stop = [], threading.Event()
        readings.append((time.perf_counter(), self.read()))

        def poll():
            while not stop.wait(self.every):
                with suppress(Exception):  # a silence, which `end` measures
                    readings.append((time.perf_counter(), self.read()))

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        return readings, stop, thread

    def end(self, started):
        readings, stop, thread = started
        stop.set()
        thread.join()
        readings.append((time.perf_counter(), self.read()))
        silence = max(b[0] - a[0] for a, b in pairwise(readings))
        if silence > SILENCE:
            return None, f"The {self.name} gave no reading for {silence:.1f} s: the energy of this window is not known."
        return _believed(trapezoid(readings), self.name)


def trapezoid(readings):
    """Joules under (seconds, watts) readings in order of time."""
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(readings))


def _believed(joules, name):
    return (joules, None) if joules > 0 else (None, f"The {name} did not move during the work: no energy is known.")


class Joules:
    """Joules of one or several `with` blocks by a source, None if any is not known; `reason` says why.

    >>> source, reason = find("cuda")
    >>> with Joules(source, reason) as used: work()
    >>> used.joules, used.reason
    """

    def __init__(self, source, reason=None, device="cpu", shortest=SHORTEST):
        self.source, self.device, self.shortest = source, device, shortest
        self.joules, self.reason = (0.0, None) if source else (None, reason or "No energy meter was given.")

    def __enter__(self):
        _drain(self.device)
        self._when = time.perf_counter()
        self._begun = _read(self.source.begin) if self.source else None
        return self

    def __exit__(self, *_):
        _drain(self.device)
        seconds = time.perf_counter() - self._when
        if self.source is None:
            return
        failed = isinstance(self._begun, _Failed)
        joules, reason = self._begun if failed else _read(self.source.end, self._begun)
        if reason is None and seconds < self.shortest:
            reason = f"{seconds:.2g} s are too short a window for the {self.source.name}: {self.shortest:g} s or more."
        if reason or self.joules is None:
            self.joules, self.reason = None, self.reason or reason
        else:
            self.joules += joules


class _Failed(tuple):
    """(None, reason) in place of what a meter would have said."""


def _read(reading, *given):
    """reading(*given); a meter that fails in the middle costs the number, never the run."""
    try:
        return reading(*given)
    except Exception as error:
        return _Failed((None, f"The energy meter stopped answering ({type(error).__name__}: {error})."))


def _drain(device):
    if str(device).startswith("cuda"):
        torch.cuda.synchronize(device)


def find(device="cpu", nvml=None, uuid=None, powercap=POWERCAP):
    """(source, None) for a device, or (None, the reason). `nvml` is the pynvml module, found if not given."""
    if not str(device).startswith("cuda"):
        return _rapl(Path(powercap))
    # by uuid: the numbers of torch and of NVML differ once CUDA_VISIBLE_DEVICES is set
    return _nvidia(nvml, uuid or f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def _nvidia(nvml, uuid):
    """The board's counter, else its power, else the reason."""
    try:
        if nvml is None:
            import pynvml as nvml
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except ImportError:
        return None, "NVML is not installed: pip install nvidia-ml-py."
    except Exception as error:  # NVMLError, of a module that may be any stand-in
        return None, f"NVML does not answer for {uuid} ({error})."
    with suppress(Exception):  # boards before Ampere do not know MIG
        if nvml.nvmlDeviceGetMigMode(handle)[0] == 1:
            return None, f"{uuid} is cut into MIG slices and counts for the whole board: a slice's energy is not known."
    tries = (
        Counter("NVML energy counter", lambda: (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,)),  # mJ
        Power("NVML power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3),  # mW
    )
    for source in tries:
        try:
            source.read()
            return source, None
        except Exception as error:
            reason = error
    return None, f"NVML gives neither energy nor power for this board ({reason})."


def _rapl(powercap):
    """The processor packages and their memory; not psys, which holds them already."""
    named = {zone: _text(zone / "name") for zone in sorted(powercap.glob("intel-rapl:*"))}
    zones = [zone for zone, name in named.items() if name and (name.startswith("package") or name == "dram")]
    if not zones:
        return None, f"This processor shows no energy counter (nothing under {powercap}/intel-rapl:*)."
    wraps = [_text(zone / "max_energy_range_uj") for zone in zones]
    if None in wraps or None in [_text(zone / "energy_uj") for zone in zones]:
        return None, f"The energy counters under {powercap} may be read by root only: run as root, or allow reading."
    read = lambda: tuple(int((zone / "energy_uj").read_text()) / 1e6 for zone in zones)  # noqa: E731
    return Counter("RAPL counter", read, tuple(int(w) / 1e6 for w in wraps)), None


def _text(path):
    try:
        return path.read_text().strip()
    except OSError:
        return None
