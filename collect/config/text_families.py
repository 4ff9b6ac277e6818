"""family.yaml of a text-to-image family to train (TextFamilyFile): widths, training seeds, and what all sizes share."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from collect.config.families import Check
from collect.config.fields import Count, Positive, Seed, Strict
from scalinglaws.schema import InputError

TEXT_TO_IMAGE = "text-to-image"  # the file's key `kind`


class TextRecipe(Strict):
    """How every size is trained."""

    batch: Count = 64  # images per step
    rate: Positive = 1.5e-3  # Adam's peak learning rate
    warmup: Count = 200  # steps
    decay_after: Count = 2000  # steps at the peak rate before it falls as 1/sqrt(step)
    clip: Positive = 1.0  # largest norm of the gradient
    drop: Annotated[float, Field(ge=0, le=1)] = 0.1  # probability that a caption is dropped


class SceneCounts(Strict):
    """How many scenes: to train on, to train the judge on, for the reference; and captions that cells are drawn for."""

    scenes: Count = 100_000
    judge: Count = 60_000
    reference: Count = 20_000
    prompts: Count = 5_000
    seed: Seed = 0


class TextParts(Strict):
    """Training steps of what all sizes share."""

    autoencoder_steps: Count = 3000
    decoder_steps: Annotated[int, Field(ge=0)] = 0  # of the decoder alone, the encoder fixed, after them
    text_steps: Count = 1500
    judge_steps: Count = 3000


class TextFamilyFile(Strict):
    """A text-to-image family to train: widths, further training seeds of some, and what every size shares."""

    family: str
    kind: Literal["text-to-image"]
    widths: Annotated[list[Count], Field(min_length=1)]
    seeds: dict[Count, list[Count]] = Field(default_factory=dict, description="width: training seeds beside 0")
    steps: Count
    recipe: TextRecipe = TextRecipe()
    data: SceneCounts = SceneCounts()
    parts: TextParts = TextParts()
    check: Check = Check(sampler="ddim", steps=16, guidance=2.0, samples=1000)

    @model_validator(mode="after")
    def _seeds_of_widths(self):
        if unknown := set(self.seeds) - set(self.widths):
            raise ValueError(f"seeds are given for width {min(unknown)}, which is not among {self.widths}")
        return self

    @property
    def labels(self):
        """c8, c12, ... and then those of further training seeds: c8-s1, ..."""
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
