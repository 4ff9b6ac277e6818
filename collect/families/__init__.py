"""A family of models on disk: one trained here (TrainedFamily), or a table of checkpoints (CheckpointFamily).

Both offer name, labels, task, model(label), cost_profile(label), traits(label), identity(label), columns(label) and
metrics(specs, device); only model() reads weights.
"""

from pathlib import Path

import yaml

from collect.families.checkpoints import CheckpointFamily
from collect.families.trained import TrainedFamily

__all__ = ["CheckpointFamily", "TrainedFamily", "open_family"]


def open_family(folder, network=False):
    """The family in a folder: a CheckpointFamily where family.yaml lists models, a TrainedFamily where it has widths.

    network: whether models given by hub name and revision may be fetched.
    """
    folder = Path(folder)
    try:
        content = yaml.safe_load((folder / "family.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        content = None  # the family's own reader says what is wrong
    if isinstance(content, dict) and "models" in content:
        return CheckpointFamily(folder, network)
    return TrainedFamily(folder)
