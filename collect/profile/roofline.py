"""How fast a machine could be: its peak FLOPs and bytes per second, published or measured, and the roofline they make.

    seconds >= max(FLOPs / peak, bytes / bandwidth)   Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785

The bound holds with the fewest bytes any run must move; summed over operators, each with its own bytes, it becomes an
estimate of an eager run. Peaks are dense: data sheets since Hopper print twice as much, for 2:4 sparse matrices.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch

from collect.profile.meters import Timer, device_name


@dataclass(frozen=True)
class Machine:
    """A device, by the name torch gives it."""

    name: str
    peak_flops: MappingProxyType  # FLOPs per second by number format; a format without a known peak is absent
    bandwidth: float  # bytes per second to and from memory
    source: str


H100 = "NVIDIA H100 Tensor Core GPU Architecture white paper, 2022, table 3; bandwidth: H100 data sheet"
H100_SHEET = "NVIDIA H100 data sheet, 2024, half of the figures with sparsity"
H200 = "NVIDIA H200 data sheet, 2024, half of the figures with sparsity"
A100 = "NVIDIA A100 data sheet, 2021 (nvidia-a100-datasheet-us-nvidia-1758950-r4)"
L4 = "NVIDIA L4 data sheet, 2023, half of the figures with sparsity"
L40S = "NVIDIA L40S data sheet, 2023, figures without sparsity"
ADA = "NVIDIA Ada GPU Architecture white paper, 2022, appendix A; tensor cores that add up in FP32, as torch does"
AMPERE = "NVIDIA Ampere GA102 GPU Architecture white paper, 2020, appendix A; tensor cores that add up in FP32"

_TABLE = (
    # name torch gives             TFLOPs per second, dense:                   GB per second
    #                              float32  tf32  bfloat16  float16                   source
    ("NVIDIA H100 80GB HBM3",       (66.9, 494.7, 989.4, 989.4),                3350, H100),
    ("NVIDIA H100 NVL",             (60.0, 417.5, 835.5, 835.5),                3900, H100_SHEET),
    ("NVIDIA H200",                 (67.0, 494.5, 989.5, 989.5),                4800, H200),
    ("NVIDIA A100-SXM4-80GB",       (19.5, 156.0, 312.0, 312.0),                2039, A100),
    ("NVIDIA A100 80GB PCIe",       (19.5, 156.0, 312.0, 312.0),                1935, A100),
    ("NVIDIA L4",                   (30.3,  60.0, 121.0, 121.0),                 300, L4),
    ("NVIDIA L40S",                 (91.6, 183.0, 362.0, 362.0),                 864, L40S),
    ("NVIDIA GeForce RTX 4090",     (82.6,  82.6, 165.2, 165.2),                1008, ADA),
    ("NVIDIA GeForce RTX 3090",     (35.6,  35.6,  71.0,  71.0),                 936, AMPERE),
)  # fmt: skip
FORMATS = ("float32", "tf32", "bfloat16", "float16")

MACHINES = {
    name: Machine(name, MappingProxyType({f: p * 1e12 for f, p in zip(FORMATS, peaks, strict=True)}), gb * 1e9, source)
    for name, peaks, gb, source in _TABLE
}


def known_machine(name):
    """The published peaks of a device by the name torch gives it, or None: a relative's peaks are not its own."""
    return MACHINES.get(name)


def measure_machine(device="cpu", dtypes=("float32",), side=None, repeats=5):
    """The Machine a short trial finds: the best of some matrix products and of some copies.

    About a second. What is found is what one program reached on this machine now: below the published peak, and below
    the true one where others use the machine. `side` is of the square matrices (1024 on a CPU, 8192 on a GPU).
    """
    large = str(device).startswith("cuda")
    side = side or (8192 if large else 1024)
    peaks = {dtype: _product(device, getattr(torch, dtype), side, repeats) for dtype in dtypes}
    bandwidth = _copy(device, 2**30 if large else 2**27, repeats)
    threads = "" if large else f" on {torch.get_num_threads()} threads"
    source = f"measured: products of {side} x {side} matrices and copies{threads}, best of {repeats}"
    return Machine(device_name(device), MappingProxyType(peaks), bandwidth, source)


def _best(work, device, repeats):
    """Seconds of the fastest of some runs, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        with Timer(device) as clock:
            work()
        seconds.append(clock.seconds)
    return min(seconds[1:])


def _product(device, dtype, side, repeats):
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * side**3 / _best(lambda: torch.mm(a, b, out=out), device, repeats)


def _copy(device, size, repeats):
    """Bytes per second, read and written both counted."""
    a = torch.ones(size // 4, device=device)
    b = torch.empty_like(a)
    return 2 * size / _best(lambda: b.copy_(a), device, repeats)


def seconds(works, machine, dtype="float32"):
    """Least seconds that any run of some Works (see collect.profile.flops), one after the other, can take.

    None where the machine or its peak for the number format is not known.
    """
    if machine is None or dtype not in machine.peak_flops:
        return None
    return sum(_roof(work.flops, work.fused, machine, dtype) for work in works)


def eager_seconds(works, machine, dtype="float32"):
    """Estimated seconds of a run operator by operator, each at its own roofline, its bytes from and to memory.

    A cache that holds activations makes a run faster than this, calls into small operators make it slower.
    """
    if machine is None or dtype not in machine.peak_flops:
        return None
    seconds = 0.0
    for work in works:
        times = work.batch / work.counted.batch  # samples of a call over those of the call that was counted
        seconds += work.calls * sum(
            count * _roof(one.flops * times, one.weights + one.moved * times, machine, dtype)
            for one, count in work.counted.operators.items()
        )
    return seconds


def _roof(flops, moved, machine, dtype):
    return max(flops / machine.peak_flops[dtype], moved / machine.bandwidth)


def reached(works, machine, measured, dtype="float32"):
    """Share of the roofline that a run of `measured` seconds reached, or None where either is not known.

    Above 1 the device is faster than its Machine says (a trial on a busy one), or FLOPs were saved, as by Winograd.
    """
    least = seconds(works, machine, dtype)
    return None if least is None or not measured else least / measured
