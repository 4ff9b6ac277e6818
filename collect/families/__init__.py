"""A family of models on disk: one trained here (TrainedFamily, TextFamily, SeriesFamily), or a table of checkpoints
(CheckpointFamily).

All offer name, labels, task, model(label), cost_profile(label), traits(label), identity(label), columns(label) and
metrics(specs, device); only model() reads weights.
"""

from pathlib import Path

from collect.config import CheckpointFamilyFile, SeriesFamilyFile, TextFamilyFile, family_kind
from collect.families.checkpoints import CheckpointFamily
from collect.families.series import SeriesFamily
from collect.families.text import TextFamily
from collect.families.trained import TrainedFamily
from scalinglaws.schema import InputError

__all__ = ["CheckpointFamily", "SeriesFamily", "TextFamily", "TrainedFamily", "open_family"]


def open_family(folder, network=False, prompts=None):
    """The family in a folder, by what its family.yaml holds (collect.config.family_kind).

    network: whether models given by hub name and revision may be fetched. prompts: a text file, one a line, in place of
    the family's own; InputError for a family that is not conditioned on text.
    """
    folder = Path(folder)
    kind = family_kind(folder / "family.yaml")
    if kind is CheckpointFamilyFile:
        family = CheckpointFamily(folder, network, prompts)
    elif kind is TextFamilyFile:
        family = TextFamily(folder, prompts=prompts)
    else:
        family = SeriesFamily(folder) if kind is SeriesFamilyFile else TrainedFamily(folder)
    if prompts and family.task.name != "text":
        task = family.task.name
        raise InputError(f"Family '{family.name}' is conditioned on {task}, not on text: leave 'prompts' out.")
    return family
