"""A trained text-to-image family on disk: its file, one weight file a size, and the parts that all sizes share.

family.yaml  autoencoder.safetensors  text/  judge/  reference-*.safetensors  prompts.txt  c8.safetensors  c8-s1...

Every size is Stable Diffusion's pipeline over shared parts: what a sweep draws, `save_pipeline` writes as a folder
that `StableDiffusionPipeline.from_pretrained` loads.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from collect import metrics, model_cards, weights
from collect.datasets.emoji import ARCHIVES
from collect.models import counting, tasks, tiny_t2i
from collect.models.pipelines.loading import quiet
from collect.models.pipelines.unets import text_unet
from collect.settings import Check, Count, Positive, Strict, read
from collect.shelf import folder_hash
from collect.training import colour_autoencoder, dual_encoder
from collect.training.denoising import SCHEDULE
from scalinglaws.schema import InputError

KIND = "text-to-image"
SAMPLING = SCHEDULE | {
    "clip_sample": False,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}  # from pure noise (Lin et al. 2023)


class Recipe(Strict):
    """What every size shares."""

    batch: Count = 64  # images a step
    rate: Positive = 1.5e-3  # Adam's peak rate
    warmup: Count = 200  # steps
    decay_after: Count = 2000  # steps at the peak rate before it falls as 1/sqrt(step)
    clip: Positive = 1.0  # largest norm of the gradient
    drop: Annotated[float, Field(ge=0, le=1)] = 0.1  # probability that a caption is dropped


class Data(Strict):
    """How many scenes: to train on, to train the judge on, for the reference; and captions that cells ask for."""

    scenes: Count = 100_000
    judge: Count = 60_000
    reference: Count = 20_000
    prompts: Count = 5_000
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Parts(Strict):
    """Training steps of what all sizes share."""

    autoencoder_steps: Count = 3000
    text_steps: Count = 1500
    judge_steps: Count = 3000


class TextFamilyFile(Strict):
    """A text-to-image family to train: widths, further training seeds of some, and what every size shares."""

    family: str
    kind: Literal["text-to-image"]
    widths: Annotated[list[Count], Field(min_length=1)]
    seeds: dict[Count, list[Count]] = Field({})  # width: training seeds beside 0
    steps: Count
    recipe: Recipe = Recipe()
    data: Data = Data()
    parts: Parts = Parts()
    check: Check = Check(sampler="ddim", steps=16, guidance=2.0, samples=1000)

    @model_validator(mode="after")
    def _seeds_of_widths(self):
        if unknown := set(self.seeds) - set(self.widths):
            raise ValueError(f"seeds are given for width {min(unknown)}, which is not among {self.widths}")
        return self

    @property
    def labels(self):
        """c8, c12, ... and then those of further seeds: c8-s1, ..."""
        more = [f"c{c}-s{seed}" for c in self.widths for seed in self.seeds.get(c, [])]
        return [*(f"c{c}" for c in self.widths), *more]

    def known(self, label):
        """This label; InputError lists those there are."""
        if label not in self.labels:
            raise InputError(f"Family '{self.family}' has no model '{label}'. Its models are {', '.join(self.labels)}.")
        return label

    def width(self, label):
        """The base width behind a label such as c16 or c16-s1."""
        return int(self.known(label)[1:].partition("-s")[0])

    def seed(self, label):
        """The training seed behind a label."""
        return int(self.known(label).partition("-s")[2] or 0)


@dataclass(frozen=True)
class TextFamily:
    """Opens what a folder holds, when it is asked for."""

    folder: Path
    snapshots: dict = field(default_factory=dict, hash=False)  # label: another weight file to use, such as a snapshot

    @cached_property
    def file(self):
        return read(Path(self.folder) / "family.yaml", TextFamilyFile)

    @property
    def name(self):
        return self.file.family

    @property
    def labels(self):
        return self.file.labels

    @property
    def task(self):
        """The captions that cells ask for, in turn."""
        return tasks.prompts(Path(self.folder) / "prompts.txt")

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
        return dual_encoder.CLIPTokenizer.from_pretrained(Path(self.folder) / "text")

    def text_encoder(self):
        """The shared CLIPTextModel, float32."""
        with quiet():
            whole = dual_encoder.CLIPModel.from_pretrained(Path(self.folder) / "text", dtype=torch.float32)
        return dual_encoder.text_tower(whole)

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
        (Path(into) / "README.md").write_text(model_cards.card(self, label, ARCHIVES), encoding="utf-8")
        return Path(into)

    def model(self, label, dtype="float32"):
        """The Model of one size, as the sampler sees it."""
        return text_unet(self.pipeline(label))

    @lru_cache(maxsize=64)  # noqa: B019 - a family lives as long as its sweep
    def _known(self, label):
        """(card, traits) of a label from the architectures alone."""
        with torch.device("meta"):
            parts = tiny_t2i.build(self.file.width(label)), colour_autoencoder.build(), self._blank_text_encoder()
        model = text_unet(pipeline(*parts, self.tokenizer()))
        return counting.card(model, self.task), model.traits

    def _blank_text_encoder(self):
        config = dual_encoder.CLIPConfig.from_pretrained(Path(self.folder) / "text")
        return dual_encoder.CLIPTextModel(config.text_config)

    def card(self, label):
        """The Card of a size: FLOPs and bytes of denoiser, text encoder and decoder; no weights are read."""
        return self._known(label)[0]

    def traits(self, label):
        """The Traits of a model; no weights are read."""
        return self._known(label)[1]

    @cached_property
    def part_hashes(self):
        """Hashes of what shapes every size's samples beside its own weights."""
        folder = Path(self.folder)
        return {
            "autoencoder": weights.fingerprint(folder / "autoencoder.safetensors"),
            "text": folder_hash(folder / "text"),
        }

    def identity(self, label):
        """The hashes of every weight that shapes this size's samples, and what is asked."""
        return self.part_hashes | {"weights": weights.fingerprint(self.path(label))} | self.task.identity()

    def columns(self, label):
        """What the table says of a size beside its cost."""
        seen = weights.load(self.path(label))[1]
        steps = int(seen.get("train_steps") or seen["step"])
        images = steps * self.file.recipe.batch
        flops = 3 * self.card(label).columns(1)["flops_per_forward"] * images
        return {
            "model": label,
            "base_channels": self.file.width(label),
            "train_seed": self.file.seed(label),
            "task": self.task.name,
            "resolution": 32,
            "train_steps": steps,
            "train_images": images,
            "train_flops": flops,
            "weights": weights.fingerprint(self.path(label)),
        }

    def metrics(self, asked=None, device="cpu"):
        """The metrics a sweep asks for, or the family's own: distances on two networks, and the judge's agreement."""
        near = [
            row for row in OWN if (Path(self.folder) / row.get("reference", "")).exists()
        ]  # large ones are not shipped
        asked = asked or near
        return [metrics.open_metric(**{"base": self.folder, "device": device} | row) for row in asked]


OWN = (
    {"name": "distances", "features": "effnet-lite0-96", "reference": "reference-effnet-lite0-96.safetensors",
     "columns": ("fd", "fd_inf", "kd", "precision", "recall")},
    {"name": "distances", "features": "judge", "weights": "judge", "reference": "reference-judge.safetensors",
     "columns": ("fd", "fd_inf", "kd")},
    {"name": "matching", "model": "judge", "others": "prompts.txt"},
    {"name": "clip", "model": "judge"},
)  # fmt: skip


def pipeline(denoiser, autoencoder, text_encoder, tokenizer):
    """StableDiffusionPipeline of parts, with DDIM; nothing watches over what it draws."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    with quiet():
        pipe = StableDiffusionPipeline(
            autoencoder, text_encoder, tokenizer, denoiser, DDIMScheduler(**SAMPLING),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
    return pipe
