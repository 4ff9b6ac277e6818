"""The YAML files a user writes, validated; `json_schema(kind)` is what an editor completes them by.

FamilyFile             a family to train
CheckpointFamilyFile   a table of trained models
SweepFile              the cells to measure
"""

from collect.config.families import CheckpointFamilyFile, FamilyFile, Recipe
from collect.config.files import read_config
from collect.config.sweeps import SweepFile

KINDS = {"family": FamilyFile, "checkpoints": CheckpointFamilyFile, "sweep": SweepFile}

__all__ = ["KINDS", "CheckpointFamilyFile", "FamilyFile", "Recipe", "SweepFile", "json_schema", "read_config"]


def json_schema(kind):
    """The JSON schema of one kind of file, a key of KINDS."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | KINDS[kind].model_json_schema()
