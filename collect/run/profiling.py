"""A sweep's models before and after anything runs: cost profile, latency of a call, share of the roofline reached."""

from dataclasses import dataclass

from collect.models.model import calls
from collect.profile import roofline
from collect.profile.latency import Protocol, measure_latency
from collect.profile.meters import device_name
from collect.run.cell import prepare, provenance
from collect.sampling.loop import SamplingConfig, conditions_for, encode, evaluations, finished, latents


def machine_of(device, dtypes=("float32",)):
    """The Machine of a device: published peaks of a GPU, a short trial on a CPU, None for a GPU that is not listed."""
    if str(device).startswith("cuda"):
        return roofline.known_machine(device_name(device))
    return roofline.measure_machine(device, dtypes)


def cost_profiles(sweep, machine):
    """A row per model: what its architecture says, least and likely seconds of a forward pass on a machine."""
    batch, dtype = sweep.execution.batch, sweep.execution.dtype
    for label in sweep.labels:
        profile = sweep.family.cost_profile(label)
        forward = [profile.cell(1, batch, batch)["denoise"]]
        least = roofline.seconds(forward, machine, dtype)
        eager = roofline.eager_seconds(forward, machine, dtype)
        yield {
            "model": label,
            **{k: v for k, v in profile.columns(1).items() if k not in ("nfe", "flops_per_image")},
            "weight_bytes": profile.denoiser.weights_as(dtype),
            "bytes_least": forward[0].fused / batch,
            "bytes_eager": forward[0].unfused / batch,
            "roofline_seconds": None if least is None else least / batch,
            "eager_seconds": None if eager is None else eager / batch,
        }


def roofline_share(sweep, row, machine):
    """Share of the roofline that a finished row's denoising reached, or None where it is not known.

    Guidance by pairs evaluates both of a pair in one call, which reads the weights once.
    """
    profile, traits = sweep.family.cost_profile(row["model"]), sweep.family.traits(row["model"])
    together = row["sampling_batch"] * calls(traits.guided, row["guidance"])
    works = [profile.cell(row["nfe"], 1, together)["denoise"]]
    return roofline.reached(works, machine, row.get("seconds_per_image"), row["dtype"])


@dataclass(frozen=True)
class Pipeline:
    """Opens one model of a sweep in a process of its own, as measure_latency wants it; picklable."""

    opener: object  # collect.run.sweep.Opener
    label: str
    config: SamplingConfig
    batch: int

    def __call__(self):
        return OpenedPipeline(self)


class OpenedPipeline:
    """A whole call of a batch, and its stages on inputs that were made once."""

    def __init__(self, pipeline):
        sweep = pipeline.opener.sweep
        self.config, self.indices = pipeline.config, range(pipeline.batch)
        self.ready = prepare(sweep.family.model(pipeline.label, sweep.execution.dtype), sweep.execution)
        self.conditions = conditions_for(sweep.family.task, self.config, self.indices)
        self.encoded = encode(self.ready.model, self.conditions, sweep.execution.device)
        self.x = self.denoise()
        self.stages = {"denoise": self.denoise, "decode": self.decode}
        if self.ready.model.text:
            self.stages["text"] = lambda: self.ready.model.text(self.conditions["prompts"])

    def denoise(self):
        device = self.ready.execution.device
        network = self.ready.net, device
        return latents(self.ready.model, self.config, self.indices, None, *network, encoded=self.encoded)

    def decode(self):
        return finished(self.ready.model, self.x)

    def call(self):
        if "text" in self.stages:
            self.stages["text"]()
        self.x = self.denoise()
        return self.decode()


def timed_config(file, steps, traits):
    """The SamplingConfig of a sweep file that a model's latency is measured with: the first sampler, the most guidance,
    and of the guidance intervals the one that takes most evaluations."""
    weight = max(file.guidance)
    intervals = file.guidance_interval if weight != 1 else [None]
    configs = [SamplingConfig(file.samplers[0], steps, weight, interval) for interval in intervals]
    return max(configs, key=lambda config: evaluations(config, traits))


def latencies(opener, steps, batch, protocol=None):
    """A row of scalinglaws.schema per model: seconds, memory, joules of timed_config, one candidate a sample (best of n
    takes n times as much, and its verifier); no quality."""
    sweep = opener.sweep
    for label in sweep.labels:
        config = timed_config(sweep.file, steps, sweep.family.traits(label))
        pipeline = Pipeline(opener, label, config, batch)
        latency = measure_latency(pipeline, batch, sweep.execution.device, protocol or Protocol(), timeout=3600)
        nfe = evaluations(config, sweep.family.traits(label))
        known = sweep.family.cost_profile(label).columns(nfe) | sweep.family.columns(label)
        settings = {"sampler": config.sampler, "steps": steps, "guidance": config.guidance}
        settings |= {"guidance_interval": "{:g}-{:g}".format(*config.interval)} if config.interval else {}
        versions = {k: v for k, v in provenance([], sweep.execution, batch).items() if k in ("dtype", "versions")}
        yield (
            {"study": sweep.family.name, "family": sweep.family.name} | known | settings | latency.columns() | versions
        )
