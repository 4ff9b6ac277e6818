"""A sweep: what is missing and what it will cost (plan), measuring it (run), how far it is (status)."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from collect import autoencoder
from collect.bundle import Bundle
from collect.measure import Cell, key, measure
from collect.meters import Clock
from collect.sampling import calls, latents
from collect.settings import SweepFile, read
from collect.store import Store
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Sweep:
    """A validated sweep file with its family opened and its store's place settled."""

    file: SweepFile
    bundle: Bundle
    store: Store

    @property
    def cells(self):
        """Every combination of the axes, cheapest sizes first."""
        file = self.file
        sizes = file.sizes or self.bundle.file.widths
        axes = product(sorted(sizes), file.samplers, file.guidance, sorted(file.steps))
        return [Cell(c, name, steps, w, file.samples, file.seed) for c, name, w, steps in axes]

    def missing(self):
        """Cells with no readable file in the store, with their identities."""
        named = [(cell, key(cell, self.bundle)) for cell in self.cells]
        return [(cell, identity) for cell, identity in named if not self.store.has(cell.name, identity)]


def open_sweep(path, store=None):
    """The Sweep of a YAML file; InputError for an unknown size, a missing or damaged weight file, a bad field."""
    path = Path(path)
    file = read(path, SweepFile)
    folder = store or (path.parent / file.store if file.store else Path("runs") / path.stem)
    sweep = Sweep(file, Bundle(path.parent / file.family), Store(Path(folder)))
    for c in file.sizes or sweep.bundle.file.widths:
        sweep.bundle.path(c)
    return sweep


@dataclass(frozen=True)
class Price:
    """What a cell is expected to cost."""

    cell: Cell
    flops: float  # all images, decoding included
    seconds: float  # from one timed forward of its size on this machine


def forward_seconds(bundle, c, batch, device="cpu"):
    """Seconds to denoise and decode one sample-call of a width here: (call, decode), after one untimed call."""
    model, decoder, indices = bundle.denoiser(c).to(device), bundle.autoencoder().to(device), range(batch)
    latents(model, "ddim", 1, 1.0, 0, indices, device=device)
    with Clock(device) as call:
        z = latents(model, "ddim", 1, 1.0, 0, indices, device=device)
    with Clock(device) as decode:
        autoencoder.decode(decoder, z)
    return call.seconds / batch, decode.seconds / batch


def plan(sweep, device="cpu"):
    """A Price for each missing cell."""
    missing = [cell for cell, _ in sweep.missing()]
    batch = sweep.file.batch
    timed = {c: forward_seconds(sweep.bundle, c, batch, device) for c in {cell.base_channels for cell in missing}}
    return [_price(sweep, cell, *timed[cell.base_channels]) for cell in missing]


def expected_flops(sweep, cell):
    """FLOPs of all images of a cell, decoding included, from the architecture alone."""
    evaluations = cell.steps * calls(cell.guidance)
    forward = sweep.bundle.card(cell.base_channels).flops_per_forward
    return cell.samples * (evaluations * forward + sweep.bundle.decode_flops)


def _price(sweep, cell, call, decode):
    seconds = cell.samples * (cell.steps * calls(cell.guidance) * call + decode)
    return Price(cell, expected_flops(sweep, cell), seconds)


def run(sweep, device="cpu"):
    """Measure what is missing, one immutable file a cell; yields (cell, row). Stop it anywhere and run it again."""
    for cell, identity in sweep.missing():
        row = measure(cell, sweep.bundle, sweep.file.batch, device=device)
        sweep.store.write(cell.name, identity, row)
        yield cell, row


def status(sweep):
    """{'cells', 'done', 'missing', 'damaged'}: counts, files set aside as damaged among them."""
    missing, total = len(sweep.missing()), len(sweep.cells)
    damaged = len(list(sweep.store.cells.glob("*.damaged")))
    return {"cells": total, "done": total - missing, "missing": missing, "damaged": damaged}


def pick_device(asked=None):
    """'cuda' where there is one, else 'cpu'; InputError when asked for what is not here."""
    if asked not in (None, "cpu", "cuda"):
        raise InputError(f"No device '{asked}': allowed are cpu and cuda.")
    if asked == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA device is here: leave --device out, or say --device cpu.")
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")
