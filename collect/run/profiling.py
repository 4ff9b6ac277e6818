"""A sweep's models before and after anything runs: card, latency of a call, share of the roofline reached."""

from dataclasses import dataclass

from collect.profile import roofline
from collect.profile.latency import Protocol, measure_latency
from collect.profile.meters import device_name
from collect.run.cell import prepare, where
from collect.sampling.loop import How, asked_of, evaluations, finished, latents


def machine_of(bench):
    """The Machine of a bench: published peaks of its GPU, a short trial on a CPU, None for a GPU that is not listed."""
    if str(bench.device).startswith("cuda"):
        return roofline.known_machine(device_name(bench.device))
    return roofline.measure_machine(bench.device)


def cards(sweep, machine):
    """A row a model: what its architecture says, and the least and the likely seconds of a forward on a machine."""
    batch, dtype = sweep.bench.batch, sweep.bench.dtype
    for label in sweep.labels:
        card = sweep.family.card(label)
        forward = [card.cell(1, batch, batch)["denoise"]]
        counted = card.denoiser
        yield {
            "model": label,
            **{k: v for k, v in card.columns(1).items() if k not in ("nfe", "flops_per_image")},
            "weight_bytes": counted.weights_as(dtype),
            "bytes_least": forward[0].fused / batch,
            "bytes_eager": forward[0].unfused / batch,
            "roofline_seconds": _each(roofline.seconds(forward, machine, dtype), batch),
            "eager_seconds": _each(roofline.eager_seconds(forward, machine, dtype), batch),
        }


def _each(seconds, batch):
    return None if seconds is None else seconds / batch


def reached(sweep, row, machine):
    """Share of the roofline that a finished row's denoising reached, or None where it is not known."""
    card = sweep.family.card(row["model"])
    works = [card.cell(row["nfe"], 1, row["sampling_batch"])["denoise"]]
    return roofline.reached(works, machine, row.get("seconds_per_image"), row["dtype"])


@dataclass(frozen=True)
class Pipeline:
    """Opens one model of a sweep in a process of its own, as measure_latency wants it; picklable."""

    opener: object  # collect.sweep.Opener
    label: str
    how: How
    batch: int

    def __call__(self):
        return Opened(self)


class Opened:
    """A whole call of a batch, and its stages on inputs that were made once."""

    def __init__(self, pipeline):
        sweep = pipeline.opener.sweep()
        self.how, self.indices, self.task = pipeline.how, range(pipeline.batch), sweep.family.task
        self.ready = prepare(sweep.family.model(pipeline.label, sweep.bench.dtype), sweep.bench)
        self.asked = asked_of(self.task, self.how, self.indices)
        self.x = self.denoise()
        self.stages = {"denoise": self.denoise, "decode": self.decode}
        if self.ready.model.text:
            self.stages["text"] = lambda: self.ready.model.text(self.asked["prompts"])

    def denoise(self):
        ready = self.ready
        return latents(ready.model, self.how, self.indices, self.asked, ready.net, ready.bench.device)

    def decode(self):
        return finished(self.ready.model, self.x)

    def call(self):
        if "text" in self.stages:
            self.stages["text"]()
        self.x = self.denoise()
        return self.decode()


def latencies(opener, sweep, steps, batch, protocol=None):
    """A row of scalinglaws.schema a model: seconds, memory, joules of one sampler and step count; quality apart."""
    how = How(sweep.file.samplers[0], steps, max(sweep.file.guidance))
    for label in sweep.labels:
        found = measure_latency(
            Pipeline(opener, label, how, batch), batch, sweep.bench.device, protocol or Protocol(), timeout=3600
        )
        nfe = evaluations(how, sweep.family.traits(label))
        known = sweep.family.card(label).columns(nfe) | sweep.family.columns(label)
        settings = {"sampler": how.sampler, "steps": steps, "guidance": how.guidance}
        versions = {k: v for k, v in where([], sweep.bench, batch).items() if k in ("dtype", "versions")}
        yield {"study": sweep.family.name, "family": sweep.family.name} | known | settings | found.columns() | versions
