"""family.yaml of a family of forecasters to train (SeriesFamilyFile): widths, forward processes and training seeds."""

from typing import Annotated, Literal

from pydantic import Field

from collect.config.families import Check
from collect.config.fields import Count, Positive, Seed, Strict
from collect.models.rules import PROCESSES
from scalinglaws.schema import InputError

SERIES = "series"  # the file's key `kind`


class SeriesRecipe(Strict):
    """How every model is trained."""

    batch: Count = 64  # windows per step
    rate: Positive = 2e-3  # Adam's peak learning rate
    warmup: Count = 100  # steps
    decay_after: Count = 1000  # steps at the peak rate before it falls as 1/sqrt(step)
    clip: Positive = 1.0  # largest norm of the gradient


class SeriesFamilyFile(Strict):
    """A family of forecasters to train: every width under every forward process from every seed."""

    family: str
    kind: Literal["series"]
    widths: Annotated[list[Count], Field(min_length=1)]
    processes: Annotated[list[Literal[*PROCESSES]], Field(min_length=1)] = Field(list(PROCESSES))
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field([0])
    steps: Count
    recipe: SeriesRecipe = SeriesRecipe()
    members: Annotated[int, Field(ge=2)] = 20  # of an ensemble, for one context
    check: Check = Check(sampler="euler", steps=16, samples=2080)

    @property
    def labels(self):
        """w8-flow-s0, ...: a model for each width, process and seed."""
        return [f"w{w}-{p}-s{s}" for w in self.widths for p in self.processes for s in self.seeds]

    def parts(self, label):
        """(width, process, seed) of a label; InputError lists those there are."""
        if label not in self.labels:
            known = f"{self.labels[0]} to {self.labels[-1]}"
            raise InputError(f"Family '{self.family}' has no model '{label}'. Its models are {known}.")
        width, rest = label[1:].split("-", 1)
        process, _, seed = rest.rpartition("-s")
        return int(width), process, int(seed)
