"""The YAML files a user writes, read safely and validated; an error names the file, the line, the field and what is
allowed. `schema(kind)` is the JSON schema by which an editor completes them.

FamilyFile   a family to train              SweepFile   the cells to measure
ShelfFile    a shelf of trained models
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from collect.models.shapes import shape
from collect.sampling.samplers import sampler
from collect.training.train import Recipe
from scalinglaws.schema import InputError

Count = Annotated[int, Field(gt=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Guidance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Ratio = Annotated[float, Field(ge=0)]  # noise over signal; .inf is allowed
SHARED = {"extra": "forbid", "frozen": True}


class Strict(BaseModel):
    model_config = ConfigDict(**SHARED)


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


class Task(Strict):
    """What samples are asked for: nothing, classes in turn, the lines of a text, images to enlarge, or a plug-in's."""

    kind: str = Field("unconditional", description="unconditional, class, text, upscale, or a plug-in's name")
    classes: Count = 1000
    prompts: str = Field("prompts.txt", description="a text file, one prompt a line")
    images: str = Field("images", description="a folder of targets")
    side: Count = Field(256, description="pixels of a target")
    factor: Count = Field(4, description="how many times smaller the image given is")
    prompt: str = ""
    options: dict[str, Any] = {}


class ModelRow(Strict):
    """One model of a shelf."""

    label: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    path: str | None = Field(None, description="a diffusers folder, or a hub name with its revision")
    revision: str | None = Field(None, description="the commit of a hub name: 40 hex digits")
    kind: str = Field("diffusers", description="diffusers, or the name of a scalinglaws.models plug-in")
    options: dict[str, Any] = {}
    variant: str | None = Field(None, description="undistilled, or how it was distilled")
    train_steps: int | None = None

    @model_validator(mode="after")
    def _has_a_place(self):
        if self.kind == "diffusers" and not self.path:
            raise ValueError("a diffusers model needs a path: a folder, or a hub name with its revision")
        return self


class ShelfFile(Strict):
    """A family of trained models: what they are asked for, and where each is."""

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


class SweepFile(Strict):
    """Every combination of the axes is one cell; `family` is a folder of weights or a shelf, relative to this file."""

    family: str
    sizes: list[Count] | None = Field(None, description="base widths of a trained family; all when left out")
    models: list[str] | None = Field(None, description="labels of the family's models; all when left out")
    samplers: Annotated[list[str], Field(min_length=1)] = ["ddim"]
    steps: Annotated[list[Annotated[int, Field(gt=0, le=1000)]], Field(min_length=1)]
    guidance: Annotated[list[Guidance], Field(min_length=1)] = [1.0]
    guidance_interval: list[tuple[Ratio, Ratio] | None] = Field(
        [None], description="noise-to-signal ratios [low, high] between which guidance is on; null is always"
    )
    best_of: list[Count] = [1]
    verifier: str | dict[str, Any] | None = Field(
        None, description="the score that keeps the best of n: a name, or {name: clip, model: FOLDER}"
    )
    samples: Annotated[int, Field(ge=4, description="of each cell; several times the features for a distance")] = 2000
    seed: Seed | list[Seed] = 0
    quality: list[dict[str, Any]] | None = Field(None, description="metrics; the family's own when left out")
    batch: Count | Literal["auto"] = 250
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    channels_last: bool = False
    lanes: Count | None = Field(
        None, description="parts of a batch side by side; when left out a core each if compiled for the CPU, else 1"
    )
    sheets: Annotated[int, Field(ge=0, le=400)] = Field(0, description="samples of each cell kept as a picture")
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
    def _named(cls, asked):
        if isinstance(asked, dict) and not isinstance(asked.get("name"), str):
            raise ValueError("it has no name: say {name: clip, model: FOLDER}, for one")
        return asked

    @model_validator(mode="after")
    def _judged(self):
        if max(self.best_of) > 1 and not self.verifier:
            raise ValueError("best_of above 1 needs a verifier: the score by which the best is kept")
        return self

    @property
    def seeds(self):
        return [self.seed] if isinstance(self.seed, int) else self.seed


KINDS = {"family": FamilyFile, "shelf": ShelfFile, "sweep": SweepFile}


def schema(kind):
    """The JSON schema of one kind of file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | KINDS[kind].model_json_schema()


def read(path, kind):
    """A validated file; InputError names the file, the line, the field, what was given and what is allowed."""
    text = _text(path)
    try:
        content, tree = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold 'key: value' lines; allowed keys are {', '.join(kind.model_fields)}.")
    try:
        return kind(**content)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(path, tree, e, kind) for e in error.errors()) + ".") from None


def _text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"No file {path}: give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None


def line_of(tree, place):
    """The line, counted from 1, of the deepest part of a path such as ('steps', 0) that the file holds."""
    line = tree.start_mark.line
    for step in place:
        tree, found = _child(tree, step)
        if tree is None:
            break
        line = found
    return line + 1


def _child(tree, step):
    if isinstance(tree, yaml.MappingNode):
        return next(((value, name.start_mark.line) for name, value in tree.value if name.value == str(step)), (None, 0))
    if isinstance(tree, yaml.SequenceNode) and isinstance(step, int) and step < len(tree.value):
        return tree.value[step], tree.value[step].start_mark.line
    return None, 0


def _named_in_file(step):
    """Whether a step of an error's path is in the file, and not pydantic's name for one of several allowed kinds."""
    return isinstance(step, int) or step.isidentifier()


def _sentence(path, tree, error, kind):
    where = ".".join(str(step) for step in error["loc"] if _named_in_file(step)) or "file"
    if error["type"] == "missing":
        return f"{path}, line {line_of(tree, error['loc'])}: '{where}' is missing"
    allowed = f" (allowed keys: {', '.join(kind.model_fields)})" if error["type"] == "extra_forbidden" else ""
    given = "" if error["type"] == "value_error" and not error["loc"] else f" was {error['input']!r}"
    told = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{path}, line {line_of(tree, error['loc'])}: '{where}'{given}: {told}{allowed}"
