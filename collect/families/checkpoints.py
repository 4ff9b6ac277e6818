"""A family of checkpoints: a YAML table of models, each a diffusers folder, a hub name or a plug-in's.

family: sd-sizes
task: {kind: text, prompts: prompts.txt}
models:
  - {label: small, path: ./sd-small}
  - {label: large, path: org/sd-large, revision: 0f1e..., variant: distilled}
  - {label: mine, kind: my-entry-point, options: {width: 8}}
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

from collect import metrics, weights
from collect.config import CheckpointFamilyFile, read_config
from collect.models import pipelines, tasks
from collect.models import profiling as counting
from collect.models.pipelines import loading
from collect.plugins import names, open_named
from scalinglaws.schema import InputError

KINDS = ("unconditional", "class", "text", "upscale")  # of task
MODELS = "scalinglaws.models"  # entry points: name -> function(**options) -> collect.models.model.Model
ADAPTED = 2  # version of how a pipeline is adapted; part of a cell's identity
TASKS = "scalinglaws.tasks"  # entry points: name -> function(**options) -> a task as in collect/models/tasks.py


@lru_cache(maxsize=64)
def folder_hash(folder):
    """16 hex digits of a checkpoint folder: every weight file and configuration in it."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix in (".safetensors", ".json", ".txt", ".model"))
    lines = [f"{p.relative_to(folder)} {weights.fingerprint(p)}" for p in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fetch(spec, base, network=False):
    """The folder of a model: local, or a hub snapshot with its revision pinned; the hub is queried only if allowed."""
    local = Path(base) / spec.path
    if local.is_dir():
        return local
    if local.is_file():
        raise InputError(
            f"Model '{spec.label}': {local} is a single file, not a diffusers folder. Make one of it with the class of "
            "its pipeline, such as StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)."
        )
    if not spec.revision:
        raise InputError(
            f"Model '{spec.label}': no folder {local}; if '{spec.path}' is a hub name, pin its revision (a commit)."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    kept = ["*.safetensors", "*.json", "*.txt", "*.model"]
    try:
        place = snapshot_download(spec.path, revision=spec.revision, allow_patterns=kept, local_files_only=not network)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"Model '{spec.label}': {spec.path} at {spec.revision} is not on this machine ({type(error).__name__}); "
            "allow the network with --download, or give a folder."
        ) from None
    return Path(place)


@dataclass(frozen=True)
class CheckpointFamily:
    """A family of checkpoints; each part is opened on first use."""

    folder: Path
    network: bool = False  # whether hub names may be fetched
    prompts: Path | None = None  # captions in place of the family's own

    @cached_property
    def file(self):
        return read_config(Path(self.folder) / "family.yaml", CheckpointFamilyFile)

    @property
    def name(self):
        return self.file.family

    @property
    def labels(self):
        return [spec.label for spec in self.file.models]

    def spec(self, label):
        """The row of one model; InputError lists the labels there are."""
        known = {spec.label: spec for spec in self.file.models}
        if label not in known:
            raise InputError(f"Family '{self.name}' has no model '{label}'. Its models are {', '.join(known)}.")
        return known[label]

    @cached_property
    def task(self):
        spec, folder = self.file.task, Path(self.folder)
        if spec.kind == "text":
            return tasks.prompts(self.prompts or folder / spec.prompts)
        if spec.kind == "upscale":
            return tasks.upscale(folder / spec.images, spec.side, spec.factor, spec.prompt)
        if spec.kind == "class":
            return tasks.Classes(spec.classes)
        if spec.kind == "unconditional":
            return tasks.Unconditional()
        return open_named(spec.kind, spec.options, dict.fromkeys(KINDS), TASKS, "task")

    def model(self, label, dtype="float32"):
        """The Model of a label, its weights loaded."""
        return self._open(label, lambda folder: loading.load_pipeline(folder, dtype))

    def blueprint(self, label):
        """The Model of a label without its weights, which may be large: networks are on the meta device."""
        return self._open(label, loading.blueprint)

    def _open(self, label, load):
        spec = self.spec(label)
        if spec.kind != "diffusers":
            return open_named(spec.kind, spec.options, {"diffusers": None}, MODELS, "kind of model")
        side = {"resolution": self.file.task.side} if self.task.name == "upscale" else {}
        folder = fetch(spec, self.folder, self.network)
        try:
            return pipelines.adapt(load(folder), self.task.name, **(spec.options | side))
        except InputError as error:
            raise InputError(f"Model '{label}': {error}") from error

    def identity(self, label):
        """What tells this model's cells from others: weights (a plug-in's by its name and Model.weights), options, and
        the task."""
        spec = self.spec(label)
        if spec.kind == "diffusers":
            own = {"weights": folder_hash(fetch(spec, self.folder, self.network)), "adapted": ADAPTED}
        else:
            own = {"weights": " ".join(part for part in (spec.kind, self._known(label)[1]) if part)}
        return own | {"options": spec.options} | self.task.identity()

    @lru_cache(maxsize=256)  # noqa: B019 - a family lives as long as its sweep
    def _known(self, label):
        """(traits, weights, () -> cost profile) of a model. What a plug-in opens may be large: it is counted at once
        and let go; a blueprint holds no numbers and is counted when that is asked for."""
        model = self.blueprint(label)
        counted = partial(counting.cost_profile, model, self.task)
        if self.spec(label).kind == "diffusers":
            return model.traits, model.weights, counted
        profile = counted()
        return model.traits, model.weights, lambda: profile

    @lru_cache(maxsize=256)  # noqa: B019
    def cost_profile(self, label):
        """The CostProfile of a model: FLOPs and bytes of its parts; no weights are read."""
        return self._known(label)[2]()

    def traits(self, label):
        """The Traits of a model; no weights are read, and nothing is counted but of a plug-in's."""
        return self._known(label)[0]

    def columns(self, label):
        """A model's columns of the table beside its cost."""
        spec = self.spec(label)
        known = {"model": label, "variant": spec.variant, "task": self.task.name}
        known |= {name: getattr(spec, name) for name in ("train_steps", "train_images", "train_seed", "train_dtype")}
        if spec.train_images:
            known["train_flops"] = self.cost_profile(label).training_flops(spec.train_images, spec.train_passes)
        own = {"weights": self.identity(label)["weights"]}
        own |= {"dataset": Path(self.prompts).stem} if self.prompts else {}
        return {k: v for k, v in known.items() if v is not None} | own

    def metrics(self, specs, device="cpu"):
        """The metrics of a sweep file's `quality`, networks on a device, paths relative to the family's folder."""
        if not specs:
            raise InputError(
                f"Family '{self.name}' has no metrics of its own: say under 'quality' what to score, such as "
                f"- {{name: distances, features: effnet-lite0, reference: real.safetensors}}. "
                f"Metrics are {', '.join(names(metrics.METRICS, metrics.GROUP))}."
            )
        return metrics.open_metrics(specs, self.folder, device)
