"""The two YAML files a user writes, a family to train and a sweep to measure, read safely and validated."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from collect.families import shape
from collect.sampling import sampler
from collect.train import SCHEDULE, Recipe
from scalinglaws.schema import InputError

Count = Annotated[int, Field(gt=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """A family to train: a rule of collect/families.py, its widths, and what every size shares."""

    family: str
    shape: str = "tiny-ldm"
    widths: Annotated[list[Count], Field(min_length=1)]
    steps: Count
    recipe: dict[str, float] = {}
    parts: Parts = Parts()
    check: Check = Check()

    _known = field_validator("shape")(lambda name: shape(name) and name)

    @field_validator("recipe")
    @classmethod
    def _fields(cls, given):
        allowed = Recipe.__dataclass_fields__
        if unknown := set(given) - set(allowed):
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; allowed are {', '.join(allowed)}")
        return {k: int(v) if allowed[k].type is int else v for k, v in given.items()}


class SweepFile(Strict):
    """Every combination of the axes is one cell; `family` is a folder of weights, relative to this file."""

    family: str
    sizes: list[Count] | None = None  # base widths; all of the family's when left out
    samplers: Annotated[list[str], Field(min_length=1)] = ["ddim"]
    steps: Annotated[list[Annotated[int, Field(gt=0, le=SCHEDULE["num_train_timesteps"])]], Field(min_length=1)]
    guidance: Annotated[list[Positive], Field(min_length=1)] = [1.0]
    samples: Annotated[int, Field(gt=64)] = 2000  # more than the 64 features, or there is no covariance
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    batch: Count = 250
    store: str | None = None  # a folder, relative to this file; runs/<name of this file> when left out

    _known = field_validator("samplers")(lambda names: [sampler(name) and name for name in names])


def read(path, kind):
    """A validated FamilyFile or SweepFile; InputError names the file, the field, what was given and what is allowed."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"No file {path}: give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold 'key: value' lines; allowed keys are {', '.join(kind.model_fields)}.")
    try:
        return kind(**content)
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(map(_sentence, error.errors()))}.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _sentence(error):
    where = ".".join(map(str, error["loc"])) or "file"
    return f"'{where}' was {error['input']!r}: {error['msg']}"
