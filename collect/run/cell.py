"""One cell: sample it batch by batch, score each batch, keep partial sums; a row of the schema comes out."""

import gc
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version

import numpy as np
import torch

from collect import metrics
from collect.jobs import Batch, Outcome
from collect.models.compiled import compiled
from collect.profile import energy
from collect.profile.meters import Timer, device_name, out_of_memory, peak_bytes, reset_peak
from collect.profile.stages import COLUMNS, Stage, unknown
from collect.sampling.intra_batch import run_in_parallel, split
from collect.sampling.loop import (
    SamplingConfig,
    best_of,
    conditions_for,
    counting,
    encode,
    finished,
    first_calls,
    latents,
)
from collect.sampling.samplers import sampler
from collect.store.store import identity

DECODED = {"cpu": 32, "cuda": None}  # samples decoded at once: what a CPU's cache holds; None is the whole batch
LIBRARIES = ("torch", "diffusers", "numpy")


@dataclass(frozen=True)
class Cell:
    """What is measured: a model of the family, how it is sampled, how many samples."""

    model: str
    sampling: SamplingConfig
    samples: int
    best_of: int = 1
    verifier: str | None = None

    @property
    def name(self):
        config = self.sampling
        parts = [self.model, config.sampler, str(config.steps), f"w{config.guidance:g}"]
        parts += [f"on{config.interval[0]:g}-{config.interval[1]:g}"] if config.interval else []
        parts += [f"T{config.diffusion_time:g}"] if config.diffusion_time != 1 else []
        parts += [f"best{self.best_of}"] if self.best_of > 1 else []
        return "-".join([*parts, f"n{self.samples}", f"s{config.seed}"]).replace("/", "_")


@dataclass(frozen=True)
class ExecutionConfig:
    """The machine's side of measuring: nothing here changes what a sample is, but for rounding."""

    device: str = "cpu"
    batch: int = 250  # samples at once; halved where memory does not suffice
    dtype: str = "float32"  # of the networks; the sampler's own state is always float32
    compile: bool = False
    channels_last: bool = False
    intra_batch_workers: int = 1  # threads that share a batch, see collect/sampling/intra_batch.py

    @property
    def kind(self):
        """'cpu' or 'cuda'."""
        return torch.device(self.device).type

    def identity(self):
        """What of it changes numbers by more than rounding: the networks' precision."""
        return {"dtype": self.dtype}


def described(cell):
    """A cell as a dictionary of its settings; those that came later are left out where they have no effect, so that
    cells measured before keep their names."""
    settings, drawn_by = asdict(cell), version_of(cell.sampling.sampler)
    if cell.sampling.diffusion_time == 1:
        del settings["sampling"]["diffusion_time"]
    if drawn_by > 1:
        settings["sampling"]["version"] = drawn_by
    return settings


@cache
def version_of(name):
    """The version of a sampler, looked up once: to find one of another package takes milliseconds."""
    return sampler(name).version


def cell_key(family, scores, execution, verifiers=None):
    """cell -> its identity: the hash of its settings, of every weight that shapes it, of task and metrics."""
    shared = execution.identity() | {"metrics": [metric.identity() for metric in scores]}
    known = cache(family.identity)

    def of(cell):
        verified = {"verified": verifiers[cell.verifier]} if cell.verifier else {}
        return identity(described(cell) | known(cell.model) | shared | verified)

    return of


@dataclass(frozen=True)
class Ready:
    """A model on its device, with the network that is called: the denoiser itself or its compiled twin."""

    model: object
    net: object
    execution: ExecutionConfig
    meter: tuple = (None, "No energy meter was given.")  # (source, reason), see energy.find
    warm: set = field(default_factory=set)  # shapes that have run


def prepare(model, execution):
    """The Ready model of an ExecutionConfig: moved to its device, laid out, and compiled where it says so."""
    for part in model.parts:
        part.to(execution.device)
        if execution.channels_last:
            part.to(memory_format=torch.channels_last)
    net = compiled(model, execution.kind) if execution.compile else model.denoiser
    return Ready(model, net, execution, energy.find(execution.device))


@dataclass
class Tally:
    """What a cell has come to so far: samples done, network evaluations, seconds, and each metric's sums."""

    done: int
    nfe: int  # network evaluations, all samples
    scoring: float  # seconds
    stages: dict  # text, denoise, decode: a Stage each
    sums: dict  # metric: {name: array}

    def arrays(self):
        """{name: array}: what the store keeps of an unfinished cell."""
        own = {"tally": np.array([self.done, self.nfe, self.scoring])}
        own |= {f"stage/{name}/{k}": v for name, stage in self.stages.items() for k, v in stage.arrays().items()}
        return own | {f"{m}/{k}": np.asarray(v) for m, sums in self.sums.items() for k, v in sums.items()}


def new_tally(scores, ready, partial=None):
    """An empty Tally, or the one that an interrupted run left."""
    stages = {name: Stage(ready.execution.device, ready.meter) for name in COLUMNS}
    if not partial:
        return Tally(0, 0, 0.0, stages, {m.name: m.start() for m in scores})
    done, nfe, scoring = partial["tally"].tolist()
    for name, stage in stages.items():
        stage.resume(partial[f"stage/{name}/readings"], partial[f"stage/{name}/weighed"])
    sums = {m.name: {k.partition("/")[2]: v for k, v in partial.items() if k.startswith(f"{m.name}/")} for m in scores}
    return Tally(int(done), int(nfe), scoring, stages, sums)


def measure(cell, family, ready, scores, partial=None, checkpoint=None, verifier=None, keep=None):
    """The row of one cell. Raises Outcome when it cannot be had: 'oom' at one sample per batch, 'nan', 'error'.

    ready: the cell's model, prepared. scores: metrics (collect.metrics). partial, checkpoint: what an interrupted run
    left, and where to leave it. verifier: (samples, conditions) -> scores, for best of n. keep(indices, samples): sees
    every sample.
    """
    known_peak = reset_peak(ready.execution.device)
    tally, batch = new_tally(scores, ready, partial), ready.execution.batch
    while tally.done < cell.samples:
        indices = np.arange(tally.done, min(tally.done + batch, cell.samples))
        try:
            warm_up(cell, family.task, ready, batch)
            tally = advance(tally, cell, family.task, ready, scores, indices, batch, verifier, keep)
        except (MemoryError, RuntimeError) as error:
            batch = halved(batch, error)
            known_peak = reset_peak(ready.execution.device)  # what did not fit is no part of what it takes
            continue
        if checkpoint and tally.done < cell.samples:
            checkpoint(tally.arrays())  # the worker keeps them now and then
    peak = peak_bytes(ready.execution.device) if known_peak else None
    return row(cell, family, ready, scores, tally, batch, peak)


def warm_up(cell, task, ready, batch):
    """Call what a batch of the cell calls, untimed: compiling, allocating and tuning are no cost of a sample."""
    config = cell.sampling
    shape = batch, config.guidance != 1, config.interval and (config.interval, config.sampler, config.steps)
    if shape not in ready.warm:
        once = replace(cell, best_of=1)
        draw(once, task, ready, range(min(batch, cell.samples)), batch, sample=first_calls)
        ready.warm.add(shape)


def halved(batch, error):
    """Half the batch after a failure of memory; other failures, and one of a single sample, are Outcomes.

    A CUDA error keeps its words: by them the worker knows that its process can measure nothing any more.
    """
    text = " ".join(str(error).split())
    if not out_of_memory(error):
        reason = text if text.startswith("CUDA error") else f"{type(error).__name__}: {text}"
        raise Outcome("error", reason) from error
    if batch == 1:
        raise Outcome("oom", f"one sample at a time does not fit: {text}") from error
    error.__traceback__ = None  # or the frames keep the tensors
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch // 2


def advance(tally, cell, task, ready, scores, indices, batch, verifier, keep):
    """The Tally with the samples of these indices."""
    for stage in tally.stages.values():
        stage.begin()
    with counting(ready.net) as counted:
        samples, conditions = draw(cell, task, ready, indices, batch, verifier, tally.stages)
    with Timer(ready.execution.device) as scoring:
        seen = Batch(indices, samples, conditions)
        sums = {m.name: m.add(tally.sums[m.name], seen) for m in scores}
    if keep:
        keep(indices, samples)
    for stage in tally.stages.values():
        stage.end(len(indices))
    return replace(
        tally,
        done=int(indices[-1]) + 1,
        nfe=tally.nfe + sum(counted) * len(indices) // padded(indices, ready, batch),
        scoring=tally.scoring + scoring.seconds,
        sums=sums,
    )


def padded(indices, ready, batch):
    """Samples really computed: a compiled network is always given whole, equal parts, so that it is compiled once."""
    workers = ready.execution.intra_batch_workers
    return -(-batch // workers) * workers if ready.execution.compile else len(indices)


def draw(cell, task, ready, indices, batch, verifier=None, stages=None, sample=latents):
    """(samples, conditions) of these indices, best of n where the cell says so, each stage within its context."""
    execution, stages = ready.execution, stages or dict.fromkeys(COLUMNS, nullcontext())
    computed = np.arange(indices[0], indices[0] + padded(indices, ready, batch))
    parallel = partial(run_in_parallel, execution.intra_batch_workers)
    conditions = conditions_for(task, cell.sampling, computed)
    parts = split(computed, execution.intra_batch_workers)
    given = [conditions] if len(parts) == 1 else [conditions_for(task, cell.sampling, part) for part in parts]
    conditioned = partial(parallel, partial(encode, ready.model, device=execution.device), given)
    if ready.model.text:
        conditioned()  # remembers the prompts, untimed
    with stages["text"]:
        if ready.model.text:
            ready.model.text(conditions["prompts"])  # anew: what is remembered costs nothing, a user's next prompt does
        encoded = conditioned()

    def candidate(number):
        def part(indices, encoded):
            network = ready.net, execution.device
            return sample(ready.model, cell.sampling, indices, None, *network, candidate=number, encoded=encoded)

        with stages["denoise"]:
            x = torch.cat(parallel(part, parts, encoded))
        with stages["decode"]:
            chunks = x.split(DECODED[execution.kind] or len(x))
            return torch.cat(parallel(partial(finished, ready.model), chunks))

    samples = best_of(cell.best_of, verifier, candidate, conditions)
    return samples[: len(indices)], {k: v if callable(v) else v[: len(indices)] for k, v in conditions.items()}


def row(cell, family, ready, scores, tally, batch, peak):
    """The schema's row of a finished Tally."""
    quality = {}
    for metric in scores:
        quality |= metric.finish(tally.sums[metric.name])
    who = {"study": family.name, "family": family.name} | family.columns(cell.model) | settings(cell)
    spent = costs(cell, family, tally) | {"peak_memory_bytes": peak}
    return who | spent | quality | provenance(scores, ready.execution, batch)


def settings(cell):
    """The cell's own axes as columns; those that are not in use (no interval, best of one) are left out."""
    config = cell.sampling
    columns = {"sampler": config.sampler, "steps": config.steps, "guidance": config.guidance, "seed": config.seed}
    columns |= {"guidance_interval": "{:g}-{:g}".format(*config.interval)} if config.interval else {}
    columns |= {"diffusion_time": config.diffusion_time} if config.diffusion_time != 1 else {}
    columns |= {"best_of": cell.best_of, "verifier": cell.verifier} if cell.best_of > 1 else {}
    return columns | {"n_samples_for_metric": cell.samples}


def costs(cell, family, tally):
    """Counted and measured costs per sample; candidates of best of n are all paid for, their text once."""
    counted = family.cost_profile(cell.model).columns(tally.nfe / cell.samples)
    measured, reasons = {"seconds_mad": deviation(tally.stages["denoise"].readings)}, {}
    for name, stage in tally.stages.items():
        seconds, joules = COLUMNS[name]
        measured |= {seconds: stage.seconds_per_sample, joules: stage.joules_per_sample}
        reasons |= {joules: stage.why} if stage.joules_per_sample is None else {}
    return counted | measured | {"flops_decode": counted["flops_decode"] * cell.best_of, "unknown": unknown(reasons)}


def deviation(readings):
    """Median absolute deviation of seconds per sample over batches [(seconds, samples)]; nan for one batch."""
    each = np.array([seconds / samples for seconds, samples in readings])
    return float(np.median(np.abs(each - np.median(each)))) if len(each) > 1 else float("nan")


def provenance(scores, execution, batch):
    """The machine, the precision and the versions."""
    versions = "; ".join(f"{name} {version(name)}" for name in LIBRARIES)
    described = {k: v for m in scores for k, v in m.identity().items() if k in ("features", "reference")}
    return described | {
        "sampling_batch": batch,
        "device": device_name(execution.device),
        "dtype": execution.dtype,
        "threads": torch.get_num_threads(),
        "versions": f"{versions}; metrics {metrics.VERSION}",
    }
