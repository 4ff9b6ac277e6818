"""The YAML files a user writes, validated; `json_schema(kind)` is what an editor completes them by.

FamilyFile             a family to train, conditioned on classes
TextFamilyFile         a text-to-image family to train
SeriesFamilyFile       a family of forecasters to train
CheckpointFamilyFile   a table of trained models
SweepFile              the cells to measure
FinetuneFile, PersonaliseFile, DistilFile   a given checkpoint trained further
"""

import yaml

from collect.config.families import CheckpointFamilyFile, FamilyFile, Recipe
from collect.config.files import read_config
from collect.config.series_families import SERIES, SeriesFamilyFile
from collect.config.sweeps import SweepFile
from collect.config.text_families import TEXT_TO_IMAGE, TextFamilyFile
from collect.config.trainings import DistilFile, FinetuneFile, PersonaliseFile

KINDS = {
    "family": FamilyFile,
    TEXT_TO_IMAGE: TextFamilyFile,
    SERIES: SeriesFamilyFile,
    "checkpoints": CheckpointFamilyFile,
    "sweep": SweepFile,
    "finetune": FinetuneFile,
    "personalise": PersonaliseFile,
    "distil": DistilFile,
}

__all__ = ["KINDS", "CheckpointFamilyFile", "DistilFile", "FamilyFile", "FinetuneFile", "PersonaliseFile", "Recipe",
           "SeriesFamilyFile", "SweepFile", "TextFamilyFile", "family_kind", "json_schema", "read_config",
           "trained_kind"]  # fmt: skip


def json_schema(kind):
    """The JSON schema of one kind of file, a key of KINDS."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | KINDS[kind].model_json_schema()


def family_kind(path):
    """The class of a family.yaml: CheckpointFamilyFile where it lists models, that of its `kind` where it has one, else
    FamilyFile; also where the file cannot be read, since read_config says what is wrong with it."""
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return FamilyFile
    if not isinstance(content, dict):
        return FamilyFile
    if "models" in content:
        return CheckpointFamilyFile
    kind = content.get("kind")
    return KINDS[kind] if kind in (TEXT_TO_IMAGE, SERIES) else FamilyFile


def trained_kind(path):
    """The class of a family.yaml to train: FamilyFile, whose reader says what it lacks, for a table of checkpoints."""
    kind = family_kind(path)
    return FamilyFile if kind is CheckpointFamilyFile else kind
