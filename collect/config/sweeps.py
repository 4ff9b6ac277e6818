"""A sweep file: the axes whose every combination is one cell, and how the machine is used."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from collect.config.fields import Count, Guidance, Ratio, Seed, Strict
from collect.sampling.samplers import sampler


class SweepFile(Strict):
    """Every combination of the axes is one cell; `family` is the folder of a family.yaml, relative to this file."""

    family: str
    sizes: list[Count] | None = Field(None, description="base widths of a trained family; all when left out")
    models: list[str] | None = Field(None, description="labels of the family's models; all when left out")
    samplers: Annotated[list[str], Field(min_length=1)] = Field(["ddim"])
    steps: Annotated[list[Annotated[int, Field(gt=0, le=1000)]], Field(min_length=1)]
    guidance: Annotated[list[Guidance], Field(min_length=1)] = Field([1.0])
    guidance_interval: list[tuple[Ratio, Ratio] | None] = Field(
        [None], description="noise-to-signal ratios [low, high] between which guidance is on; null is always"
    )
    diffusion_time: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] = Field(
        [1.0], description="shares of the noise schedule at which sampling starts; 1 is pure noise"
    )
    best_of: list[Count] = Field([1])
    verifier: str | dict[str, Any] | None = Field(
        None, description="the score that keeps the best of n: a name, or {name: clip, model: FOLDER}"
    )
    samples: Annotated[int, Field(ge=4, description="of each cell; several times the features for a distance")] = 2000
    seed: Seed | list[Seed] = 0
    prompts: str | None = Field(
        None, description="text file, one prompt a line, relative to this file; the family's own when left out"
    )
    quality: list[dict[str, Any]] | None = Field(None, description="metrics; the family's own when left out")
    batch: Count | Literal["auto"] = 250
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    channels_last: bool = False
    intra_batch_workers: Count | None = Field(
        None,
        description="threads that share a batch, each with a part of it; when left out one per core for networks "
        "compiled for the CPU, else 1",
    )
    contact_sheet: Annotated[int, Field(ge=0, le=400)] = Field(
        0, description="samples of each cell kept side by side as one picture"
    )
    store: str | None = Field(None, description="a folder or fsspec address; runs/<name of this file> when left out")

    _known = field_validator("samplers")(lambda names: [sampler(name) and name for name in names])

    @field_validator("guidance_interval")
    @classmethod
    def _ordered(cls, pairs):
        for pair in pairs:
            if pair and not pair[0] < pair[1]:
                raise ValueError(f"an interval is [low, high] with low < high, not {list(pair)}")
        return pairs

    @field_validator("verifier")
    @classmethod
    def _named(cls, given):
        if isinstance(given, dict) and not isinstance(given.get("name"), str):
            raise ValueError("it has no name: say {name: clip, model: FOLDER}, for one")
        return given

    @model_validator(mode="after")
    def _verified(self):
        if max(self.best_of) > 1 and not self.verifier:
            raise ValueError("best_of above 1 needs a verifier: the score by which the best is kept")
        return self

    @property
    def seeds(self):
        return [self.seed] if isinstance(self.seed, int) else self.seed
