"""The files of `collect finetune`, `personalise` and `distil`: a base checkpoint, data, and how it is trained on.

Paths are relative to the file.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from collect.config.families import Check
from collect.config.fields import Count, Guidance, Positive, Seed, Strict

Share = Annotated[float, Field(ge=0, le=1)]


class TrainingFile(Strict):
    """What every training of a given model says."""

    base: str = Field(description="a diffusers folder; with `label` a family's folder")
    label: str | None = Field(None, description="a model of the family in `base`")
    labels: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="several of them: a run for each in <out>/<label>, one family of all"
    )
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = Field(
        None, description="with labels: a training of each for every seed; those beside 0 are called <label>-s<seed>"
    )
    step: Count | None = Field(None, description="a snapshot of that label in the family's training run")
    options: dict[str, Any] = Field(default_factory=dict, description="of the pipeline, such as {null_class: 10}")
    data: str = Field(description="a folder of images with captions.csv, or of scenes by `collect data`")
    examples: Count | None = Field(None, description="how many of them, the first; all when left out")
    steps: Count
    batch: Count = 32  # examples per step, in each process
    rate: Positive = 1e-4  # Adam's peak learning rate
    warmup: Count = 100  # steps
    decay_after: Count = 10_000  # steps at the peak rate before it falls as 1/sqrt(step)
    clip: Positive = 1.0  # largest norm of the gradient
    seed: Seed = 0
    save_every: Count = 250  # steps between two states on disk
    out: str | None = Field(
        None, description="the run's folder; when left out runs/<verb>/<name of this file> where the command runs"
    )

    @model_validator(mode="after")
    def _of_labels(self):
        if self.label and self.labels:
            raise ValueError("give label, for one model, or labels, for several")
        if self.step and not (self.label or self.labels):
            raise ValueError("a step is a snapshot of a label: give the label, too")
        if self.seeds and not self.labels:
            raise ValueError("seeds are of several labels: give labels, or one seed")
        if self.seeds and self.seed:
            raise ValueError("give seed, for one training of each label, or seeds, for several")
        names = [name for name, *_ in self._named()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two runs would have one name, {twice[0]}: each label and seed once (c8-s1: c8, seed 1)")
        return self

    @property
    def runs(self):
        """{name: (label, seed)} of several labels: c8, c8-s1, ...; empty for one."""
        return {name: (label, seed) for name, label, seed in self._named()}

    def _named(self):
        seeds = self.seeds or [self.seed]
        pairs = [(label, seed) for label in self.labels or [] for seed in seeds]
        return [(f"{label}-s{seed}" if self.seeds and seed else label, label, seed) for label, seed in pairs]

    def resolved(self, path):
        """The file with absolute folders, `path` being its own place."""
        place = Path(path).resolve().parent
        given = {name: getattr(self, name) for name in ("base", "data", "out")}
        return self.model_copy(update={name: value and str(place / value) for name, value in given.items()})


class DataFile(TrainingFile):
    """A training on a data set; for super-resolution, how its small images are made."""

    factor: Count = Field(4, description="of super-resolution: how many times smaller the small image is")
    prompt: str = Field("", description="of super-resolution by a model of text")
    images: str | None = Field(None, description="folder of images that the result is measured on; default: the data's")
    prompts: str | None = Field(None, description="file of prompts that the result is measured on; default: the data's")
    drop: Share = 0.1  # probability that a condition is dropped

    def resolved(self, path):
        file = super().resolved(path)
        place = Path(path).resolve().parent
        given = {name: getattr(self, name) for name in ("images", "prompts")}
        return file.model_copy(update={name: value and str(place / value) for name, value in given.items()})


class FinetuneFile(DataFile):
    """Continued training on a data set, or super-resolution from a widened first layer."""

    task: Literal["continue", "super-resolution"] = "continue"
    pretrained: bool = Field(True, description="false: the denoiser's weights are drawn anew")
    snapshots: bool = Field(False, description="true: each doubling step from 125 on becomes a checkpoint, too")


class PersonaliseFile(TrainingFile):
    """A subject of a few images (`data`), with images of its class that the model draws itself."""

    batch: Count = 4  # images of the subject per step, and as many of its class
    rate: Positive = 5e-6
    prompt: str | None = Field(
        None, description="of the subject, such as 'a sks dog'; for models of text, each image's caption when left out"
    )
    class_prompt: str | None = Field(None, description="of its class, such as 'a dog'")
    subject_class: int | None = Field(None, ge=0, description="the class that becomes the subject; of classes")
    prior_class: int | None = Field(None, ge=0, description="the class that is kept; the same when left out")
    prior: Check = Field(
        Check(sampler="ddim", steps=50, guidance=1.0, samples=200),
        description="how images of the class are drawn: {sampler, steps, guidance, samples}",
    )
    prior_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _both_prompts(self):
        if self.prompt is not None and self.class_prompt is None:
            raise ValueError("give both: prompt, of the subject, and class_prompt, of its class")
        return self


class DistilFile(DataFile):
    """A student of few steps. Progressive distillation has `steps` training steps for each of `student_steps`."""

    method: Literal["consistency", "guided", "progressive"]
    student_steps: list[Annotated[int, Field(gt=0, le=1000)]] = Field(
        default_factory=lambda: [8, 4, 2, 1],
        min_length=1,
        description="of progressive: falling, the last is the result",
    )
    gap: Annotated[int, Field(gt=0, lt=1000)] = Field(1, description="of consistency: levels between the two times")
    guidance: list[Guidance] = Field(
        default_factory=lambda: [1.0], min_length=1, max_length=2,
        description="of the teacher; [low, high]: the student takes it as an input",
    )  # fmt: skip

    @model_validator(mode="after")
    def _ordered(self):
        if self.guidance != sorted(self.guidance):
            raise ValueError(f"guidance is [low, high] with low <= high, not {self.guidance}")
        if self.student_steps != sorted(set(self.student_steps), reverse=True):
            raise ValueError(f"student_steps fall, such as [8, 4, 2, 1], not {self.student_steps}")
        return self
