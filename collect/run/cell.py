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
from collect.profile.meters import Clock, device_name, peak_bytes, reset_peak
from collect.sampling.intra_batch import shares, side_by_side
from collect.sampling.loop import How, asked_of, best_of, counting, finished, first_calls, latents
from collect.store.store import identity

DECODED = {"cpu": 32, "cuda": None}  # samples decoded at once: what a CPU's cache holds; None is the whole batch
UNTIMED = nullcontext()
LIBRARIES = ("torch", "diffusers", "numpy")


@dataclass(frozen=True)
class Cell:
    """What is measured: a model of the family, how it is sampled, how many samples."""

    model: str
    how: How
    samples: int
    best_of: int = 1
    verifier: str | None = None

    @property
    def name(self):
        how = self.how
        parts = [self.model, how.sampler, str(how.steps), f"w{how.guidance:g}"]
        parts += [f"on{how.interval[0]:g}-{how.interval[1]:g}"] if how.interval else []
        parts += [f"best{self.best_of}"] if self.best_of > 1 else []
        return "-".join([*parts, f"n{self.samples}", f"s{how.seed}"]).replace("/", "_")


@dataclass(frozen=True)
class Bench:
    """The machine's side of measuring: nothing here changes what a sample is, but for rounding."""

    device: str = "cpu"
    batch: int = 250  # samples at once; halved where memory does not suffice
    dtype: str = "float32"  # of the networks; the sampler's own state is always float32
    compile: bool = False
    channels_last: bool = False
    lanes: int = 1  # parts of a batch computed side by side, see collect/sampling/intra_batch.py

    @property
    def kind(self):
        """'cpu' or 'cuda'."""
        return torch.device(self.device).type

    def identity(self):
        """What of it changes numbers by more than rounding: the networks' precision."""
        return {"dtype": self.dtype}


def key(family, scores, bench, verifiers=None):
    """cell -> its identity: the hash of its settings, of every weight that shapes it, of task and metrics."""
    shared = bench.identity() | {"metrics": [metric.identity() for metric in scores]}
    known = cache(family.identity)

    def of(cell):
        verified = {"verified": verifiers[cell.verifier]} if cell.verifier else {}
        return identity(asdict(cell) | known(cell.model) | shared | verified)

    return of


@dataclass(frozen=True)
class Ready:
    """A model on its device, with the network that is called: the denoiser itself or its compiled twin."""

    model: object
    net: object
    bench: Bench
    warm: set = field(default_factory=set)  # shapes that have run


def prepare(model, bench):
    """The Ready model of a bench: moved, laid out, and compiled where that is asked for."""
    for part in model.parts:
        part.to(bench.device)
        if bench.channels_last:
            part.to(memory_format=torch.channels_last)
    return Ready(model, compiled(model, bench.kind) if bench.compile else model.denoiser, bench)


@dataclass
class Tally:
    """What a cell has come to so far: samples done, network evaluations, seconds, and each metric's sums."""

    done: int
    nfe: int  # network evaluations, all samples
    denoise: list  # (seconds, samples) a batch
    decode: float  # seconds
    scoring: float  # seconds
    sums: dict  # metric: {name: array}

    def arrays(self):
        """{name: array}: what the store keeps of an unfinished cell."""
        own = {"tally": np.array([self.done, self.nfe, self.decode, self.scoring]), "denoise": np.array(self.denoise)}
        return own | {f"{m}/{k}": np.asarray(v) for m, sums in self.sums.items() for k, v in sums.items()}


def begin(scores, partial=None):
    """A fresh Tally, or the one that a cut run left."""
    if not partial:
        return Tally(0, 0, [], 0.0, 0.0, {m.name: m.start() for m in scores})
    done, nfe, decode, scoring = partial["tally"]
    kept = {m.name: {} for m in scores}
    for name, array in partial.items():
        metric, _, part = name.partition("/")
        if part:
            kept[metric][part] = array
    return Tally(int(done), int(nfe), partial["denoise"].tolist(), float(decode), float(scoring), kept)


def measure(cell, family, ready, scores, partial=None, checkpoint=None, verifier=None, keep=None):
    """The row of one cell. Raises Outcome when it cannot be had: 'oom' at one sample a batch, 'nan', 'error'.

    ready: the cell's model, prepared. scores: metrics (collect.metrics). partial, checkpoint: what a cut run left, and
    where to leave it. verifier: (samples, asked) -> scores, for best of n. keep(indices, samples): sees every image.
    """
    known_peak = reset_peak(ready.bench.device)
    tally, batch = begin(scores, partial), ready.bench.batch
    while tally.done < cell.samples:
        indices = np.arange(tally.done, min(tally.done + batch, cell.samples))
        try:
            warm_up(cell, family.task, ready, batch)
            tally = advance(tally, cell, family.task, ready, scores, indices, batch, verifier, keep)
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            batch = halved(batch, error)
            continue
        if checkpoint and tally.done < cell.samples:
            checkpoint(tally.arrays())  # the worker keeps them now and then
    return row(cell, family, ready.bench, scores, tally, batch, peak_bytes(ready.bench.device) if known_peak else None)


def warm_up(cell, task, ready, batch):
    """Call what a batch of the cell calls before the clocks: compiling, allocating, tuning are no cost of an image."""
    how = cell.how
    shape = batch, how.guidance != 1, how.interval and (how.interval, how.sampler, how.steps)
    if shape not in ready.warm:
        draw(replace(cell, best_of=1), task, ready, range(min(batch, cell.samples)), batch, trip=first_calls)
        ready.warm.add(shape)


def halved(batch, error):
    """Half the batch after a failure of memory; other failures, and one of a single sample, are Outcomes."""
    text = " ".join(str(error).split())
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
    if not memory:
        raise Outcome("error", f"{type(error).__name__}: {text}") from error
    if batch == 1:
        raise Outcome("oom", f"one sample at a time does not fit: {text}") from error
    error.__traceback__ = None  # or the frames keep the tensors
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch // 2


def advance(tally, cell, task, ready, scores, indices, batch, verifier, keep):
    """The Tally with the samples of these indices."""
    denoise, decode, scoring = (Clock(ready.bench.device) for _ in range(3))
    with counting(ready.net) as counted:
        samples, asked = draw(cell, task, ready, indices, batch, verifier, denoise, decode)
    with scoring:
        seen = Batch(indices, samples, asked)
        sums = {m.name: m.add(tally.sums[m.name], seen) for m in scores}
    if keep:
        keep(indices, samples)
    return replace(
        tally,
        done=int(indices[-1]) + 1,
        nfe=tally.nfe + sum(counted) * len(indices) // padded(indices, ready, batch),
        denoise=[*tally.denoise, (denoise.seconds, len(indices))],
        decode=tally.decode + decode.seconds,
        scoring=tally.scoring + scoring.seconds,
        sums=sums,
    )


def padded(indices, ready, batch):
    """Samples really computed: a compiled network is always given whole, equal parts, so that it is compiled once."""
    lanes = ready.bench.lanes
    return -(-batch // lanes) * lanes if ready.bench.compile else len(indices)


def draw(cell, task, ready, indices, batch, verifier=None, denoise=UNTIMED, decode=UNTIMED, trip=latents):
    """(samples, asked) of these indices, best of n where asked, with the clocks of its stages."""
    bench, wanted = ready.bench, np.arange(indices[0], indices[0] + padded(indices, ready, batch))
    asked = asked_of(task, cell.how, wanted)
    parts = shares(wanted, bench.lanes)
    asks = [asked] if len(parts) == 1 else [asked_of(task, cell.how, part) for part in parts]

    def one(candidate):
        def part(indices, asked):
            return trip(ready.model, cell.how, indices, asked, ready.net, bench.device, candidate)

        with denoise:
            x = torch.cat(side_by_side(bench.lanes, part, parts, asks))
        with decode:
            chunks = x.split(DECODED[bench.kind] or len(x))
            return torch.cat(side_by_side(bench.lanes, partial(finished, ready.model), chunks)), asked

    samples, asked = best_of(cell.best_of, verifier, one)
    return samples[: len(indices)], {k: v if callable(v) else v[: len(indices)] for k, v in asked.items()}


def row(cell, family, bench, scores, tally, batch, peak):
    """The schema's row of a finished Tally."""
    quality = {}
    for metric in scores:
        quality |= metric.finish(tally.sums[metric.name])
    who = {"study": family.name, "family": family.name} | family.columns(cell.model) | settings(cell)
    return who | costs(cell, family, tally) | {"peak_memory_bytes": peak} | quality | where(scores, bench, batch)


def settings(cell):
    """The cell's own axes as columns; those at rest (no interval, best of one) are left out."""
    how = cell.how
    plain = {"sampler": how.sampler, "steps": how.steps, "guidance": how.guidance, "seed": how.seed}
    plain |= {"guidance_interval": "{:g}-{:g}".format(*how.interval)} if how.interval else {}
    plain |= {"best_of": cell.best_of, "verifier": cell.verifier} if cell.best_of > 1 else {}
    return plain | {"n_samples_for_metric": cell.samples}


def costs(cell, family, tally):
    """Counted and timed costs of one image; candidates of best of n are all paid for."""
    counted = family.card(cell.model).columns(tally.nfe / cell.samples)
    seconds, spread = per_sample(tally.denoise)
    return counted | {
        "flops_decode": counted["flops_decode"] * cell.best_of,
        "seconds_per_image": seconds,
        "seconds_mad": spread,
        "seconds_decode": tally.decode / cell.samples,
    }


def per_sample(readings):
    """(seconds, median absolute deviation) a sample over a cell's batches [(seconds, samples)]; nan for one batch."""
    kept = np.asarray(readings, float)
    each = kept[:, 0] / kept[:, 1]
    spread = float(np.median(np.abs(each - np.median(each)))) if len(each) > 1 else float("nan")
    return float(kept[:, 0].sum() / kept[:, 1].sum()), spread


def where(scores, bench, batch):
    """The machine, the precision and the versions."""
    versions = "; ".join(f"{name} {version(name)}" for name in LIBRARIES)
    described = {k: v for m in scores for k, v in m.identity().items() if k in ("features", "reference")}
    return described | {
        "sampling_batch": batch,
        "device": device_name(bench.device),
        "dtype": bench.dtype,
        "threads": torch.get_num_threads(),
        "versions": f"{versions}; metrics {metrics.VERSION}",
    }
