"""family.yaml: a family to train (FamilyFile), or a table of trained models (CheckpointFamilyFile)."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from collect.config.fields import Count, Positive, Seed, Strict
from collect.models.rules import known_shape
from collect.sampling.samplers import sampler


@dataclass(frozen=True)
class Recipe:
    """What every size shares."""

    batch: int = 128  # images per step
    rate: float = 2e-3  # Adam's peak learning rate
    warmup: int = 200  # steps
    decay_after: int = 2000  # steps at the peak rate before it falls as 1/sqrt(step)
    drop_class: float = 0.1  # probability
    clip: float = 1.0  # largest norm of the gradient
    seed: int = 0


class Parts(Strict):
    """Training steps of what all sizes share."""

    autoencoder_steps: Count = 3000
    features_steps: Count = 3000


class Check(Strict):
    """How quality is measured at each snapshot of the training."""

    sampler: str = "ddim"
    steps: Count = 16
    guidance: Positive = 1.0
    samples: Count = 2000

    _known = field_validator("sampler")(lambda name: sampler(name) and name)


class FamilyFile(Strict):
    """A family to train: a rule of collect/models/shapes.py, its widths, and what every size shares."""

    family: str
    shape: str = "tiny-ldm"
    widths: Annotated[list[Count], Field(min_length=1)]
    steps: Count
    recipe: dict[str, float] = Field(default_factory=dict)
    parts: Parts = Parts()
    check: Check = Check()

    _known = field_validator("shape")(known_shape)

    @property
    def labels(self):
        """c8, c12, ...: one model a width."""
        return [f"c{c}" for c in self.widths]

    @field_validator("recipe")
    @classmethod
    def _fields(cls, given):
        allowed = Recipe.__dataclass_fields__
        if unknown := set(given) - set(allowed):
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; allowed are {', '.join(allowed)}")
        for name, value in given.items():
            if not math.isfinite(value) or value < 0 or (value == 0 and name not in ("drop_class", "seed")):
                raise ValueError(f"{name} was {value:g}: give a positive number (drop_class and seed may be 0)")
            if allowed[name].type is int and value != int(value):
                raise ValueError(f"{name} was {value:g}: give a whole number")
            if name == "drop_class" and value > 1:
                raise ValueError(f"drop_class was {value:g}: a probability, at most 1")
        return {k: int(v) if allowed[k].type is int else v for k, v in given.items()}


class Task(Strict):
    """The condition of each sample: none, classes in turn, the lines of a text, images to enlarge, or a plug-in's."""

    kind: str = Field("unconditional", description="unconditional, class, text, upscale, or a plug-in's name")
    classes: Count = 1000
    prompts: str = Field("prompts.txt", description="a text file, one prompt a line")
    images: str = Field("images", description="a folder of targets")
    side: Count = Field(256, description="pixels of a target")
    factor: Count = Field(4, description="how many times smaller the image given is")
    prompt: str = ""
    options: dict[str, Any] = Field(default_factory=dict)


class ModelRow(Strict):
    """One model of a checkpoint family."""

    label: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    path: str | None = Field(None, description="a diffusers folder, or a hub name with its revision")
    revision: str | None = Field(None, description="the commit of a hub name: 40 hex digits")
    kind: str = Field("diffusers", description="diffusers, or the name of a scalinglaws.models plug-in")
    options: dict[str, Any] = Field(default_factory=dict)
    variant: str | None = Field(None, description="undistilled, or how it was distilled")
    train_steps: int | None = None
    train_images: int | None = Field(None, description="images seen in training, each for one step of it")
    train_passes: int | None = Field(
        None, description="forward passes behind the weights, a backward one counted as two; 3 an image when left out"
    )
    train_seed: Seed | None = Field(None, description="seed of its training; repeats differ in it")
    train_dtype: str | None = Field(None, description="numbers of its training: float32, or bfloat16 mixed")

    @model_validator(mode="after")
    def _has_a_place(self):
        if self.kind == "diffusers" and not self.path:
            raise ValueError("a diffusers model needs a path: a folder, or a hub name with its revision")
        return self


class CheckpointFamilyFile(Strict):
    """A family of trained models: the task they share, and where each is."""

    family: str
    task: Task = Task()
    models: Annotated[list[ModelRow], Field(min_length=1)]

    @field_validator("models")
    @classmethod
    def _once(cls, rows):
        labels = [row.label for row in rows]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"labels given twice: {', '.join(sorted(twice))}")
        return rows
