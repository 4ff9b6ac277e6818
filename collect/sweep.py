"""A sweep: its cells, what is missing and what it will cost (plan), measuring it (run), how far it is (status)."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml

from collect.bundle import Bundle
from collect.compute import roofline
from collect.compute.batching import best_batch
from collect.compute.meters import Clock
from collect.jobs import Batch, Job, Outcome
from collect.measure import Bench, Cell, draw, key, measure, prepare
from collect.sampling import verifiers
from collect.sampling.loop import How, asked_of, begun, called, check_guidance, evaluations, finished
from collect.settings import SweepFile, read
from collect.sheets import Sheet
from collect.shelf import Shelf
from collect.text_family import KIND, TextFamily
from collect.workers import store
from collect.workers.store import Store
from scalinglaws.schema import InputError

HELD_BYTES = 8 * 2**30  # of weights kept loaded between cells


def open_family(folder, network=False):
    """The family in a folder: a Shelf where family.yaml lists models, a TextFamily by its kind, else a Bundle."""
    content = _raw(Path(folder) / "family.yaml")
    if content.get("kind") == KIND:
        return TextFamily(Path(folder))
    return Shelf(Path(folder), network) if "models" in content else Bundle(Path(folder))


def is_text_to_image(path):
    """Whether a family file is one of a text-to-image family."""
    return _raw(path).get("kind") == KIND


def _raw(path):
    """A YAML file's keys, or none; the family's own reader says what is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Sweep:
    """A validated sweep file with its family opened and its store's place settled."""

    file: SweepFile
    family: object  # a Bundle or a Shelf
    store: Store
    bench: Bench = field(default_factory=Bench)

    @property
    def labels(self):
        """Labels of the models asked for, in the family's order."""
        asked = [*(self.file.models or []), *(f"c{c}" for c in self.file.sizes or [])]
        known = self.family.labels
        if unknown := [label for label in asked if label not in known]:
            raise InputError(
                f"Family '{self.family.name}' has no model {', '.join(unknown)}. Its models are {', '.join(known)}."
            )
        return [label for label in known if label in asked] if asked else known

    @cached_property
    def cells(self):
        """Every combination of the axes; an interval is dropped where there is no guidance to switch."""
        file = self.file
        drawn = product(file.samplers, file.guidance, file.guidance_interval, sorted(file.steps), file.seeds)
        hows = [How(name, steps, w, between if w != 1 else None, seed) for name, w, between, steps, seed in drawn]
        cells = [
            Cell(label, how, file.samples, best, self.verifier_name if best > 1 else None)
            for label, how, best in product(self.labels, hows, file.best_of)
        ]
        return list(dict.fromkeys(cells))

    @cached_property
    def scores(self):
        """The metrics, opened once."""
        return self.family.metrics(self.file.quality, self.bench.device)

    @property
    def doubts(self):
        """Sentences on what the numbers of this sweep cannot tell, for metrics that know (`doubts(samples)`)."""
        knowing = [metric for metric in self.scores if hasattr(metric, "doubts")]
        return [sentence for metric in knowing for sentence in metric.doubts(self.file.samples)]

    @property
    def verifier_name(self):
        asked = self.file.verifier
        return asked["name"] if isinstance(asked, dict) else asked

    @cached_property
    def verifier(self):
        """What keeps the best of n, opened once, or None."""
        file = self.file
        return verifiers.open_verifier(file.verifier, self.family, self.bench.device) if file.verifier else None

    @cached_property
    def jobs(self):
        """A Job a cell: its name, identity, and expected FLOPs."""
        verified = {self.verifier_name: self.verifier.identity()} if self.verifier else {}
        known = key(self.family, self.scores, self.bench, verified)
        return [Job(cell.name, known(cell), self.expected_flops(cell), cell) for cell in self.cells]

    def expected_flops(self, cell):
        """FLOPs of all samples of a cell, text and decoding included, from the architecture alone."""
        return sum(work.flops for work in self.works(cell))

    def works(self, cell):
        """The Works of a cell: what its parts have to evaluate."""
        alike = replace(cell.how, seed=0, guidance=1.0 if cell.how.guidance == 1 else 2.0)  # in evaluations
        nfe = evaluations(alike, self.family.traits(cell.model))
        return self.family.card(cell.model).cell(nfe, cell.samples * cell.best_of, self.bench.batch).values()

    def check(self):
        """This sweep; InputError for a sampler, a guidance or steps that do not fit one of its models."""
        for label in self.labels:
            traits = self.family.traits(label)
            try:
                for weight in self.file.guidance:
                    check_guidance(traits, weight)
                for name, steps in product(self.file.samplers, self.file.steps):
                    evaluations(How(name, steps), traits)
            except InputError as error:
                raise InputError(f"Model '{label}': {error} Give such models a sweep of their own.") from None
        return self

    def missing(self, retry=False):
        """Jobs that have neither a row nor, unless `retry`, a recorded failure."""
        return store.missing(self.store, self.jobs, retry)


def open_sweep(path, place=None, device="cpu", network=False):
    """The Sweep of a YAML file; InputError for an unknown model, a missing or damaged weight file, a bad field."""
    path = Path(path)
    file = read(path, SweepFile)
    family = open_family(path.parent / file.family, network)
    at = place or file.store or f"runs/{path.stem}"
    remote = place or "://" in at or not file.store
    found = Store(at if "://" in str(at) else Path(at) if remote else path.parent / at)
    batch = 250 if file.batch == "auto" else file.batch
    bench = Bench(device, batch, file.dtype, file.compile, file.channels_last, lanes_of(file, device))
    sweep = Sweep(file, family, found, bench).check()
    for label in sweep.labels:
        family.identity(label)
    return replace(sweep, bench=replace(sweep.bench, batch=chosen_batch(sweep))) if file.batch == "auto" else sweep


def lanes_of(file, device):
    """The lanes asked for; else one a core for networks compiled for the CPU, one for the rest."""
    return file.lanes or (torch.get_num_threads() if file.compile and device == "cpu" else 1)


def chosen_batch(sweep, seconds=20.0):
    """The batch of most samples a second of the largest model, found by trying the fewest steps, not compiled."""
    label = max(sweep.labels, key=lambda name: sweep.family.card(name).denoiser.flops)
    bench = replace(sweep.bench, compile=False)
    ready = prepare(sweep.family.model(label, bench.dtype), bench)
    how = How(sweep.file.samplers[0], min(sweep.file.steps))

    def run(batch):
        draw(Cell(label, how, batch), sweep.family.task, ready, range(batch), batch)

    return best_batch(run, seconds_limit=seconds, device=bench.device).batch


@dataclass
class Measurer:
    """measure(cell, partial, checkpoint) for a worker; holds loaded models between cells while there is room."""

    sweep: Sweep
    held: OrderedDict = field(default_factory=OrderedDict)  # label: Ready

    def __call__(self, cell, partial=None, checkpoint=None):
        sheet = Sheet(self.sweep.file.sheets, start=int(partial["tally"][0]) if partial else 0)
        row = measure(
            cell,
            self.sweep.family,
            self.ready(cell.model),
            self.sweep.scores,
            partial,
            checkpoint,
            self.sweep.verifier if cell.verifier else None,
            sheet.keep if self.sweep.file.sheets else None,
        )
        if sheet.whole:
            self.sweep.store.files.replace(f"sheets/{cell.name}.png", sheet.png())
        return row

    def ready(self, label):
        """The prepared model of a label."""
        if label not in self.held:
            try:
                model = self.sweep.family.model(label, self.sweep.bench.dtype)
            except InputError as error:
                raise Outcome("error", str(error)) from error
            self._make_room(weight_bytes(model))
            self.held[label] = prepare(model, self.sweep.bench)
        self.held.move_to_end(label)
        return self.held[label]

    def _make_room(self, wanted):
        while self.held and sum(weight_bytes(r.model) for r in self.held.values()) + wanted > HELD_BYTES:
            self.held.popitem(last=False)


def weight_bytes(model):
    """Bytes of a Model's weights."""
    return sum(p.nbytes for part in model.parts for p in part.parameters())


@dataclass(frozen=True)
class Opener:
    """Opens a sweep in whatever process measures it: () -> (jobs, store, measure)."""

    path: str
    place: object = None
    device: str | None = None
    network: bool = False

    def sweep(self):
        return open_sweep(self.path, self.place, pick_device(self.device), self.network)

    def __call__(self):
        opened = self.sweep()
        return opened.jobs, opened.store, Measurer(opened)


@dataclass(frozen=True)
class Price:
    """What a cell is expected to cost."""

    job: Job
    flops: float  # all samples, text and decoding included
    seconds: float | None  # extrapolated from short runs of its model here; None where none was made
    roofline_seconds: float | None  # the least this machine can take, where its peaks are known


def plan(sweep, timed=True):
    """A Price for each missing job; `timed` runs each model once for two short trips."""
    missing = sweep.missing()
    labels = {job.cell.model for job in missing}
    rates = {label: seconds_by_part(sweep, label) for label in labels} if timed else {}
    machine = roofline.known_machine(device_label(sweep)) if str(sweep.bench.device).startswith("cuda") else None
    return [_price(sweep, job, rates.get(job.cell.model), machine) for job in missing]


def device_label(sweep):
    return torch.cuda.get_device_name(sweep.bench.device)


@torch.no_grad()
def seconds_by_part(sweep, label, most=64):
    """Seconds here of (a network evaluation, everything else with its scoring) a sample; the shorter of three tries."""
    bench, task = replace(sweep.bench, compile=False), sweep.family.task
    model = prepare(sweep.family.model(label, bench.dtype), bench).model
    how, indices = How(sweep.file.samplers[0], min(sweep.file.steps)), np.arange(min(bench.batch, most))
    tries = []
    for _ in range(3):
        with Clock(bench.device) as begin:
            asked = asked_of(task, how, indices)
            trip = begun(model, how, indices, asked, bench.device)
        with Clock(bench.device) as call:
            called(model, model.denoiser, trip, trip.noise, trip.schedule.timesteps[0], 1.0)
        with Clock(bench.device) as end:
            made = Batch(indices, finished(model, trip.noise), asked)
            for metric in sweep.scores:
                metric.add(metric.start(), made)
        tries.append((call.seconds, begin.seconds + end.seconds))
    return tuple(min(part) / len(indices) for part in zip(*tries, strict=True))


def _price(sweep, job, rates, machine):
    works = list(sweep.works(job.cell))
    seconds = None
    if rates:
        evaluations, each = works[0].samples, job.cell.samples * job.cell.best_of
        seconds = evaluations * rates[0] + each * rates[1]
    return Price(job, job.flops, seconds, roofline.seconds(works, machine, sweep.bench.dtype))


def pick_device(asked=None):
    """'cuda' where there is one, else 'cpu'; InputError when asked for what is not here."""
    if asked not in (None, "cpu", "cuda"):
        raise InputError(f"No device '{asked}': allowed are cpu and cuda.")
    if asked == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA device is here: leave --device out, or say --device cpu.")
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")
