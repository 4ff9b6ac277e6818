"""A trained text-to-image family on disk: its file, one weight file per size, and the parts that all sizes share.

family.yaml  autoencoder.safetensors  text/  judge/  reference-*.safetensors  prompts.txt  c8.safetensors  c8-s1...

Every size is Stable Diffusion's pipeline over shared parts: what a sweep draws, `save_pipeline` writes as a folder
that `StableDiffusionPipeline.from_pretrained` loads.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch

from collect import metrics, weights
from collect.config import TextFamilyFile, read_config
from collect.datasets.emoji import ARCHIVES
from collect.families.checkpoints import folder_hash
from collect.families.model_cards import model_card
from collect.models import colour_autoencoder, dual_encoder, profiling, tasks, tiny_t2i
from collect.models.networks import quiet
from collect.models.pipelines.loading import DTYPES
from collect.models.pipelines.unets import text_unet
from collect.models.shapes import SCHEDULE
from collect.writing import write_text

SAMPLING = SCHEDULE | {  # starts at pure noise (Lin et al. 2023, arXiv:2305.08891)
    "clip_sample": False,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
METRICS = (  # what a sweep measures unless it says otherwise: distances on two networks, and how prompts are met
    {"name": "distances", "features": "judge", "weights": "judge", "reference": "reference-judge.safetensors",
     "columns": ("fd", "kd", "precision", "recall")},
    {"name": "distances", "features": "effnet-lite0-96", "reference": "reference-effnet-lite0-96.safetensors",
     "columns": ("fd", "kd", "precision", "recall")},
    {"name": "matching", "model": "judge", "others": "prompts.txt"},
    {"name": "clip", "model": "judge"},
)  # fmt: skip


@dataclass(frozen=True)
class TextFamily:
    """A text-to-image family trained here; each part is opened on first use."""

    folder: Path
    snapshots: dict = field(default_factory=dict, hash=False)  # label: another weight file to use, such as a snapshot
    prompts: Path | None = None  # captions in place of the family's own

    @cached_property
    def file(self):
        return read_config(Path(self.folder) / "family.yaml", TextFamilyFile)

    @property
    def name(self):
        return self.file.family

    @cached_property
    def labels(self):
        """Those of the file whose weights are here: a release need not hold every training seed.

        All of the file's where no weights are: costs need none.
        """
        here = [label for label in self.file.labels if self.path(label).exists()]
        return here or self.file.labels

    @property
    def task(self):
        """The captions that samples are drawn for, in turn."""
        return tasks.prompts(self.prompts or Path(self.folder) / "prompts.txt")

    def path(self, label):
        """The weight file of a label."""
        return Path(self.snapshots.get(label) or Path(self.folder) / f"{self.file.known(label)}.safetensors")

    def autoencoder(self):
        """The shared autoencoder with its scaling factor."""
        path = Path(self.folder) / "autoencoder.safetensors"
        model = colour_autoencoder.build(float(weights.load(path)[1]["scaling_factor"]))
        weights.load_into(model, path)
        return model.eval().requires_grad_(False)

    def tokenizer(self):
        return dual_encoder.load_tokenizer(Path(self.folder) / "text")

    def text_encoder(self):
        """The shared CLIPTextModel, float32."""
        return dual_encoder.text_tower(dual_encoder.load(Path(self.folder) / "text")[0])

    def denoiser(self, label):
        """One size's network with its trained weights, ready to sample."""
        model = tiny_t2i.build(self.file.width(label))
        weights.load_into(model, self.path(label))
        return model.eval().requires_grad_(False)

    def pipeline(self, label):
        """StableDiffusionPipeline of a size, with DDIM."""
        return pipeline(self.denoiser(label), self.autoencoder(), self.text_encoder(), self.tokenizer())

    def save_pipeline(self, label, into):
        """Write a size as an ordinary diffusers folder, float32, with a model card; returns its path."""
        with quiet():
            self.pipeline(label).save_pretrained(into, safe_serialization=True)
        write_text(Path(into) / "README.md", model_card(self, label, ARCHIVES))
        return Path(into)

    def model(self, label, dtype="float32"):
        """The Model of one size, as the sampler sees it."""
        with quiet():
            return text_unet(self.pipeline(label).to(DTYPES[dtype]))

    @lru_cache(maxsize=64)  # noqa: B019 - a family lives as long as its sweep
    def blueprint(self, label):
        """The Model of a label from the architectures alone: its networks are on the meta device."""
        with torch.device("meta"):
            denoiser, autoencoder = tiny_t2i.build(self.file.width(label)), colour_autoencoder.build()
            text_encoder = dual_encoder.blank_text_tower(Path(self.folder) / "text")
        return text_unet(pipeline(denoiser, autoencoder, text_encoder, self.tokenizer()))

    @lru_cache(maxsize=64)  # noqa: B019
    def cost_profile(self, label):
        """The CostProfile of a size: FLOPs and bytes of denoiser, text encoder and decoder; no weights are read."""
        return profiling.cost_profile(self.blueprint(label), self.task)

    def traits(self, label):
        """The Traits of a model; no weights are read, and nothing is counted."""
        return self.blueprint(label).traits

    @cached_property
    def part_hashes(self):
        """Hashes of what shapes every size's samples beside its own weights."""
        folder = Path(self.folder)
        return {
            "autoencoder": weights.fingerprint(folder / "autoencoder.safetensors"),
            "text": folder_hash(folder / "text"),
        }

    def identity(self, label):
        """The hashes of every weight that shapes this size's samples, and the prompts."""
        return self.part_hashes | {"weights": weights.fingerprint(self.path(label))} | self.task.identity()

    def columns(self, label):
        """A size's columns of the table beside its cost."""
        metadata = weights.load(self.path(label))[1]
        steps = int(metadata.get("train_steps") or metadata["step"])
        asked = {"dataset": Path(self.prompts).stem} if self.prompts else {}
        return asked | {
            "model": label,
            "base_channels": self.file.width(label),
            "train_seed": self.file.seed(label),
            "task": self.task.name,
            "resolution": 32,
            **self.cost_profile(label).training_columns(steps, self.file.recipe.batch),
            "weights": weights.fingerprint(self.path(label)),
        }

    def metrics(self, specs=None, device="cpu"):
        """The metrics of a sweep file's `quality`; by default those of METRICS whose reference is in the folder."""
        folder = Path(self.folder)
        specs = specs or [spec for spec in METRICS if (folder / spec.get("reference", "")).exists()]
        return metrics.open_metrics(specs, folder, device)


def pipeline(denoiser, autoencoder, text_encoder, tokenizer):
    """StableDiffusionPipeline of parts, with DDIM and without a safety checker."""
    with quiet():
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        pipe = StableDiffusionPipeline(
            autoencoder, text_encoder, tokenizer, denoiser, DDIMScheduler(**SAMPLING),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
    return pipe
