"""A sweep: its cells and jobs, and the measuring of them by a worker. Opening one reads no weights but for hashes."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import torch

from collect.config import SweepFile, read_config
from collect.families import open_family
from collect.jobs import Job, Outcome
from collect.models.model import calls
from collect.profile.batch_size import best_batch
from collect.run.cell import Cell, ExecutionConfig, cell_key, draw, measure, prepare
from collect.run.contact_sheet import ContactSheet
from collect.sampling import verifiers
from collect.sampling.loop import SamplingConfig, check_guidance, evaluations
from collect.store.store import Store, missing
from scalinglaws.schema import InputError

HELD_BYTES = 8 * 2**30  # of weights kept loaded between cells
BATCH = 250  # samples at once until a run chooses that of `batch: auto`


@dataclass(frozen=True)
class Sweep:
    """A validated sweep file with its family opened and its store's place resolved."""

    file: SweepFile
    family: object  # a TrainedFamily or a CheckpointFamily
    store: Store
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    @property
    def labels(self):
        """Labels of the models in the sweep, in the family's order."""
        chosen = [*(self.file.models or []), *(f"c{c}" for c in self.file.sizes or [])]
        known = self.family.labels
        if unknown := [label for label in chosen if label not in known]:
            raise InputError(
                f"Family '{self.family.name}' has no model {', '.join(unknown)}. Its models are {', '.join(known)}."
            )
        return [label for label in known if label in chosen] if chosen else known

    @cached_property
    def cells(self):
        """Every combination of the axes; an interval is dropped where there is no guidance to switch."""
        file = self.file
        axes = product(
            file.samplers, file.guidance, file.guidance_interval, file.diffusion_time, sorted(file.steps), file.seeds
        )
        configs = [
            SamplingConfig(name, steps, w, at if w != 1 else None, seed, end) for name, w, at, end, steps, seed in axes
        ]
        cells = [
            Cell(label, config, file.samples, best, self.verifier_name if best > 1 else None)
            for label, config, best in product(self.labels, configs, file.best_of)
        ]
        return list(dict.fromkeys(cells))

    @cached_property
    def scores(self):
        """The metrics, opened once."""
        return self.family.metrics(self.file.quality, self.execution.device)

    @property
    def doubts(self):
        """Sentences on what the numbers of this sweep cannot tell, for metrics that know (`doubts(samples)`)."""
        knowing = [metric for metric in self.scores if hasattr(metric, "doubts")]
        return [sentence for metric in knowing for sentence in metric.doubts(self.file.samples)]

    @property
    def verifier_name(self):
        spec = self.file.verifier
        return spec["name"] if isinstance(spec, dict) else spec

    @cached_property
    def verifier(self):
        """What keeps the best of n, opened once, or None."""
        file = self.file
        return verifiers.open_verifier(file.verifier, self.family, self.execution.device) if file.verifier else None

    @cached_property
    def uncounted(self):
        """A Job per cell: its name and identity, which say what is done; its FLOPs, seconds a model, are nan."""
        verified = {self.verifier_name: self.verifier.identity()} if self.verifier else {}
        key = cell_key(self.family, self.scores, self.execution, verified)
        return [Job(cell.name, key(cell), float("nan"), cell) for cell in self.cells]

    @cached_property
    def jobs(self):
        """The same with expected FLOPs, by which they are planned and run."""
        return [replace(job, flops=sum(w.flops for w in self.works(job.cell))) for job in self.uncounted]

    def works(self, cell):
        """The Works of a cell, text and decoding included: what its parts have to evaluate, by architecture alone.

        A call holds both evaluations of a pair of guidance.
        """
        alike = replace(cell.sampling, seed=0, guidance=1.0 if cell.sampling.guidance == 1 else 2.0)  # in evaluations
        traits, profile = self.family.traits(cell.model), self.family.cost_profile(cell.model)
        together = self.execution.batch * calls(traits.guided, cell.sampling.guidance)
        return profile.cell(evaluations(alike, traits), cell.samples * cell.best_of, together).values()

    def check(self):
        """This sweep; InputError for a sampler, guidance, steps or diffusion time that a model cannot have."""
        for label in self.labels:
            traits = self.family.traits(label)
            try:
                for weight in self.file.guidance:
                    check_guidance(traits, weight)
                for name, steps, end in product(self.file.samplers, self.file.steps, self.file.diffusion_time):
                    evaluations(SamplingConfig(name, steps, diffusion_time=end), traits)
            except InputError as error:
                raise InputError(f"Model '{label}': {error} Give such models a sweep of their own.") from None
        return self

    def missing(self, retry=False):
        """Jobs that have neither a row nor, unless `retry`, a recorded failure."""
        return missing(self.store, self.jobs, retry)


def open_sweep(path, place=None, device="cpu", network=False):
    """The Sweep of a YAML file; InputError for an unknown model, a missing or damaged weight file, a bad field.

    No model is loaded: with `batch: auto` the batch is a guess until a Measurer chooses it.
    """
    path = Path(path)
    file = read_config(path, SweepFile)
    prompts = path.parent / file.prompts if file.prompts else None
    family = open_family(path.parent / file.family, network, prompts)
    at = place or file.store or f"runs/{path.stem}"
    as_given = place or "://" in at or not file.store  # else relative to the file
    store = Store(at if "://" in str(at) else Path(at) if as_given else path.parent / at)
    batch = BATCH if file.batch == "auto" else file.batch
    workers = file.intra_batch_workers or (torch.get_num_threads() if file.compile and device == "cpu" else 1)
    execution = ExecutionConfig(device, batch, file.dtype, file.compile, file.channels_last, workers)
    sweep = Sweep(file, family, store, execution).check()
    for label in sweep.labels:
        family.identity(label)
    return sweep


def fastest_batch(sweep, seconds=20.0):
    """The batch of most samples per second of the largest model, found by trying the fewest steps, not compiled."""
    label = max(sweep.labels, key=lambda name: sweep.family.cost_profile(name).denoiser.flops)
    execution = replace(sweep.execution, compile=False)
    ready = prepare(sweep.family.model(label, execution.dtype), execution)
    config = SamplingConfig(sweep.file.samplers[0], min(sweep.file.steps))

    def run(batch):
        draw(Cell(label, config, batch), sweep.family.task, ready, range(batch), batch)

    return best_batch(run, seconds_limit=seconds, device=execution.device).batch


@dataclass
class Measurer:
    """measure(cell, partial, checkpoint) for a worker; holds loaded models between cells while there is room."""

    sweep: Sweep
    held: OrderedDict = field(default_factory=OrderedDict)  # label: Ready

    @cached_property
    def execution(self):
        """The sweep's ExecutionConfig; `batch: auto` is chosen here, before the first cell, and only then."""
        automatic = self.sweep.file.batch == "auto"
        return replace(self.sweep.execution, batch=fastest_batch(self.sweep)) if automatic else self.sweep.execution

    def __call__(self, cell, partial=None, checkpoint=None):
        sheet = ContactSheet(self.sweep.file.contact_sheet, start=int(partial["tally"][0]) if partial else 0)
        row = measure(
            cell,
            self.sweep.family,
            self.ready(cell.model),
            self.sweep.scores,
            partial,
            checkpoint,
            self.sweep.verifier if cell.verifier else None,
            sheet.keep if self.sweep.file.contact_sheet else None,
        )
        if sheet.whole:
            self.sweep.store.files.replace(f"contact_sheets/{cell.name}.png", sheet.png())
        return row

    def ready(self, label):
        """The prepared model of a label."""
        if label not in self.held:
            execution = self.execution
            try:
                model = self.sweep.family.model(label, execution.dtype)
            except InputError as error:
                raise Outcome("error", str(error)) from error
            wanted = weight_bytes(model)
            while self.held and sum(weight_bytes(r.model) for r in self.held.values()) + wanted > HELD_BYTES:
                self.held.popitem(last=False)
            self.held[label] = prepare(model, execution)
        self.held.move_to_end(label)
        return self.held[label]


def weight_bytes(model):
    """Bytes of a Model's weights."""
    return sum(p.nbytes for part in model.parts for p in part.parameters())


@dataclass(frozen=True)
class Opener:
    """Opens a sweep, once in each process that uses it: () -> (jobs, store, measure)."""

    path: str
    place: object = None
    device: str | None = None
    network: bool = False

    @cached_property
    def sweep(self):
        return open_sweep(self.path, self.place, pick_device(self.device), self.network)

    def __reduce__(self):
        """What travels to another process: where the sweep is, not what was opened here."""
        return Opener, (self.path, self.place, self.device, self.network)

    def __call__(self):
        return self.sweep.jobs, self.sweep.store, Measurer(self.sweep)


def pick_device(name=None):
    """'cuda' where there is one, else 'cpu'; InputError for a device that is not here."""
    if name not in (None, "cpu", "cuda"):
        raise InputError(f"No device '{name}': allowed are cpu and cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA device is here: leave --device out, or say --device cpu.")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")
