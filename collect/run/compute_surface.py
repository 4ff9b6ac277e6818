"""Seconds, memory and joules of one forward pass of a family's sizes, weights random, over batches and number formats.

What a pass costs does not depend on the values of the weights, so sizes nobody has released can be timed: each in a
fresh process (collect.profile.latency), with the roofline of the machine (collect.profile.roofline) beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import product

import torch

from collect.jobs import Outcome
from collect.models import shapes
from collect.profile import roofline
from collect.profile.flops import Work, count
from collect.profile.latency import Protocol, measure_latency
from collect.profile.meters import device_name
from collect.profile.stages import unknown
from collect.run.profiling import machine_of
from scalinglaws.schema import InputError

PROTOCOL = Protocol(warmup=1, calls=5, seconds=2.0, windows=2)
LIBRARIES = ("torch", "diffusers")
SAME = ("model", "dtype", "sampling_batch", "device", "threads")  # what names a row


@dataclass(frozen=True)
class Forward:
    """Opens one size with random weights in a process of its own, as measure_latency wants it; picklable."""

    family: str
    base_channels: int
    batch: int
    dtype: str
    device: str

    def __call__(self):
        return _Opened(self)


class _Opened:
    """One forward pass of a batch of zeros; weights are drawn in their own format, for the largest fit only once."""

    def __init__(self, forward):
        rule, kind = shapes.shape(forward.family), getattr(torch, forward.dtype)
        with torch.device("meta"):
            network = torch.nn.Module.to(rule.build(forward.base_channels), kind)
        self.network = network.to_empty(device=forward.device).eval()
        with torch.no_grad():
            for weights in self.network.parameters():
                weights.normal_(0, 0.02)
        self.inputs = [
            x.expand(forward.batch, *x.shape[1:]).to(forward.device, kind if x.is_floating_point() else x.dtype)
            for x in rule.inputs()
        ]

    def call(self):
        with torch.no_grad():
            return self.network(*self.inputs)


def widths(family, models):
    """{label: base channels} of the sizes asked for, by default all that have a name; InputError for other labels."""
    named = {label: c for c, label, *_ in shapes.MEI_TABLE_1} if family == "mei" else {}
    labels = {f"c{c}": c for c in range(1, 5000)} | named
    allowed = f"{', '.join(named)}, or c and a width, such as c64" if named else "c and a width, such as c16"
    if not (models or named):
        raise InputError(f"The family {family} names no sizes: give --models, {allowed}.")
    if unknown := [m for m in models or () if m not in labels]:
        raise InputError(f"No size '{unknown[0]}' of the family {family}: give {allowed}.")
    for model in models or ():
        try:
            shapes.forward_cost(family, labels[model])
        except ValueError as error:
            raise InputError(f"No size '{model}' of the family {family} can be built: {error}") from error
    return {model: labels[model] for model in models or named}


@cache
def _counted(family, base_channels, dtype):
    """The Count of one sample's pass, which serves every batch."""
    rule = shapes.shape(family)
    return count(lambda: rule.build(base_channels), rule.inputs(), dtype)


def least_seconds(family, base_channels, batch, dtype, machine):
    """(seconds at the roofline, seconds operator by operator) per image of one pass, None where the peak is unknown."""
    work = [Work(_counted(family, base_channels, dtype), batch, batch)]
    bounds = roofline.seconds(work, machine, dtype), roofline.eager_seconds(work, machine, dtype)
    return tuple(None if s is None else s / batch for s in bounds)


def surface(family, models, batches, dtypes, device="cpu", done=(), protocol=PROTOCOL) -> Iterator[dict]:
    """A row of scalinglaws.schema per size, number format and batch, none whose SAME columns are in `done`.

    Raises InputError for a size that the family does not name. A pass that runs out of memory or fails gives a row
    without seconds, with the reason in `unknown`.
    """
    sizes, name, threads = widths(family, models), device_name(device), torch.get_num_threads()
    machine = machine_of(device, dtypes)
    for (label, width), dtype, batch in product(sizes.items(), dtypes, batches):
        if (label, dtype, batch, name, threads) in done:
            continue
        cost = shapes.forward_cost(family, width)
        roof, eager = least_seconds(family, width, batch, dtype, machine)
        yield {
            "study": f"{family}-compute",
            "family": family,
            "model": label,
            "base_channels": width,
            "params": cost.params,
            "flops_per_forward": cost.flops_per_forward,
            "nfe": 1,
            "flops_per_image": cost.flops_per_forward,
            "dtype": dtype,
            **_measured(Forward(family, width, batch, dtype, device), protocol),
            "roofline_seconds": roof,
            "eager_seconds": eager,
            "versions": "; ".join(f"{library} {version(library)}" for library in LIBRARIES),
            "note": f"random weights, one forward pass; {_peaks(machine, dtype)}",
        }


def _peaks(machine, dtype):
    if machine is None or dtype not in machine.peak_flops:
        return "peaks unknown"
    return f"peak {machine.peak_flops[dtype]:.3g} FLOPs/s, {machine.bandwidth:.3g} bytes/s; {machine.source}"


def _measured(forward, protocol):
    threads = torch.get_num_threads()
    try:
        latency = measure_latency(forward, forward.batch, forward.device, protocol, threads, timeout=3600)
    except Outcome as failure:
        named = {"sampling_batch": forward.batch, "device": device_name(forward.device), "threads": threads}
        return named | {"unknown": f"seconds_per_image: {failure}"}
    columns = latency.columns()
    reasons = {k: v for k, v in latency.reasons.items() if k != "seconds_decode"}  # one pass has no decoding
    return columns | {"unknown": unknown(reasons)}
