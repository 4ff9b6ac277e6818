"""A shelf of checkpoints as a family: a YAML table of models, each a diffusers folder, a hub name or a user's own.

family: sd-sizes
task: {kind: text, prompts: prompts.txt}
models:
  - {label: small, path: ./sd-small}
  - {label: large, path: org/sd-large, revision: 0f1e..., variant: distilled}
  - {label: mine, kind: my-entry-point, options: {width: 8}}
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch

from collect import metrics, weights
from collect.models import counting, pipelines, tasks
from collect.models.pipelines import parts
from collect.openers import open_named
from collect.settings import ShelfFile, read
from scalinglaws.schema import InputError

MODELS = "scalinglaws.models"  # entry points: name -> function(**options) -> collect.model.Model
TASKS = "scalinglaws.tasks"  # entry points: name -> function(**options) -> a task as in collect/models/tasks.py
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@lru_cache(maxsize=64)
def folder_hash(folder):
    """16 hex digits of a checkpoint folder: every weight file and configuration in it."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix in (".safetensors", ".json", ".txt", ".model"))
    lines = [f"{p.relative_to(folder)} {weights.fingerprint(p)}" for p in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fetch(spec, base, network=False):
    """The folder of a model: local, or a hub snapshot with its revision pinned; the hub is asked only if allowed."""
    local = Path(base) / spec.path
    if local.is_dir():
        return local
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


def load_pipeline(folder, dtype):
    """A diffusers pipeline from a folder, safetensors only; InputError when it is not one or is damaged."""
    from diffusers import DiffusionPipeline
    from diffusers.utils import is_accelerate_available
    from diffusers.utils.logging import disable_progress_bar

    disable_progress_bar()  # the sweep has its own
    options = {"dtype": DTYPES[dtype], "low_cpu_mem_usage": is_accelerate_available()}
    safe = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    try:
        pipe = DiffusionPipeline.from_pretrained(folder, **options, **safe)
    except Exception as error:
        raise InputError(f"{folder} is not a diffusers pipeline with safetensors weights: {error}") from error
    for part in parts.weighed(pipe).values():
        part.eval().requires_grad_(False)
    return pipe


@dataclass(frozen=True)
class Shelf:
    """A family of checkpoints; opens what is asked for."""

    folder: Path
    network: bool = False  # whether hub names may be fetched

    @cached_property
    def file(self):
        return read(Path(self.folder) / "family.yaml", ShelfFile)

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
        asked = self.file.task
        if asked.kind == "text":
            return tasks.prompts(Path(self.folder) / asked.prompts)
        if asked.kind == "upscale":
            return tasks.upscale(Path(self.folder) / asked.images, asked.side, asked.factor, asked.prompt)
        if asked.kind == "class":
            return tasks.Classes(asked.classes)
        if asked.kind == "unconditional":
            return tasks.Unconditional()
        return open_named(asked.kind, asked.options, {}, TASKS, "task")

    def model(self, label, dtype="float32"):
        """The Model of a label, its weights loaded."""
        spec = self.spec(label)
        if spec.kind != "diffusers":
            return open_named(spec.kind, spec.options, {}, MODELS, "kind of model")
        pipe = load_pipeline(fetch(spec, self.folder, self.network), dtype)
        side = {"resolution": self.file.task.side} if self.task.name == "upscale" else {}
        return pipelines.adapt(pipe, self.task.name, **(spec.options | side))

    def identity(self, label):
        """What makes this model's cells its own: weights, options, and what is asked."""
        spec = self.spec(label)
        own = folder_hash(fetch(spec, self.folder, self.network)) if spec.kind == "diffusers" else spec.kind
        return {"weights": own, "options": spec.options} | self.task.identity()

    @lru_cache(maxsize=256)  # noqa: B019 - a shelf lives as long as its sweep
    def card(self, label):
        """The Card of a model: FLOPs and bytes of its parts."""
        return counting.card(self.model(label), self.task)

    @lru_cache(maxsize=256)  # noqa: B019
    def guided(self, label):
        """How a model is guided: a key of collect.model.GUIDED."""
        return self.model(label).guided

    def columns(self, label):
        """What the table says of a model beside its cost."""
        spec = self.spec(label)
        known = {"model": label, "variant": spec.variant, "train_steps": spec.train_steps, "task": self.task.name}
        own = {"weights": self.identity(label)["weights"]}
        return {k: v for k, v in known.items() if v is not None} | own

    def metrics(self, asked):
        """The metrics a sweep asks for, paths relative to the family's folder."""
        if not asked:
            raise InputError(f"Family '{self.name}' has no metrics of its own: say what to score under 'quality'.")
        return [metrics.open_metric(base=self.folder, **row) for row in asked]
