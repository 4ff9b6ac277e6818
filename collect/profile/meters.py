"""Seconds and memory of a stretch of work, with null where the machine cannot tell."""

import re
import time
from pathlib import Path

import torch

NO_MEMORY = "out of memory|can.t allocate memory|CUBLAS_STATUS_ALLOC_FAILED"  # in a RuntimeError


class Timer:
    """Wall-clock seconds of a `with` block, the accelerator's queue drained at both ends."""

    def __init__(self, device="cpu"):
        self.device, self.seconds = device, 0.0

    def _drain(self):
        if str(self.device).startswith("cuda"):
            torch.cuda.synchronize(self.device)

    def __enter__(self):
        self._drain()
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *_):
        self._drain()
        self.seconds += time.perf_counter() - self._begin


def stopwatch(device="cpu"):
    """measure(work) -> seconds of work(), by a Timer on the device."""

    def measure(work):
        with Timer(device) as timer:
            work()
        return timer.seconds

    return measure


def reset_peak(device="cpu"):
    """Begin a new peak: of the accelerator's allocator, or of this process's resident memory on Linux."""
    if str(device).startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return True
    except OSError:
        return False


def peak_bytes(device="cpu"):
    """Peak memory in bytes since reset_peak (weights and libraries included on a CPU), or None where unknown."""
    if str(device).startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    except (OSError, TypeError):
        return None


def device_name(device="cpu"):
    """The processor's or accelerator's marketing name, as the system reports it, else its kind."""
    if str(device).startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        return re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[1].strip()
    except (OSError, TypeError):
        return str(device)


def out_of_memory(error):
    """Whether an exception says that memory ran out, of an accelerator or of this machine."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and bool(re.search(NO_MEMORY, str(error), re.I)))
