"""One training file for several models of a family, or several seeds: a run for each, one family of all they leave."""

import os
from pathlib import Path

import yaml

from collect.config import TextFamilyFile, family_kind
from collect.families import open_family
from collect.writing import write_text
from scalinglaws.schema import InputError

RELATIVE = ("prompts", "images")  # paths of a family's task


def each_label(run, file, folder, where):
    """The events of run(file, folder, where) for each label and seed of a training file, or of the one that it names.

    A run's folder is <folder>/<its name>.
    """
    folder = Path(folder)
    if not file.labels:
        yield from run(file, folder, where)
        return
    known = open_family(file.base).labels
    if unknown := [label for label in file.labels if label not in known]:
        raise InputError(f"The family in {file.base} has no {', '.join(unknown)}. Its models are {', '.join(known)}.")
    names = list(file.runs)
    for name, (label, seed) in file.runs.items():
        if where.first and family_kind(Path(file.base) / "family.yaml") is TextFamilyFile:
            share_encoded(folder / names[0], folder / name)
        where.wait()
        one = file.model_copy(update={"label": label, "labels": None, "seed": seed, "seeds": None})
        yield from run(one, folder / name, where)
    if where.first:
        join(folder, names)


def share_encoded(first, place):
    """Link the encoded images of a run into another one's folder: sizes of a text-to-image family have one encoder."""
    place.mkdir(parents=True, exist_ok=True)
    for path in first.glob("encoded*.safetensors"):
        if not (place / path.name).exists():
            os.link(path, place / path.name)


def join(folder, labels):
    """Write the family.yaml of the runs in <folder>/<label>; each model's label begins with its run's."""
    families = {label: _family(folder / label) for label in labels}
    rows = [
        row | {"label": _joined(label, row["label"]), "path": f"{label}/{row['path']}"}
        for label, family in families.items()
        for row in family["models"]
    ]
    first = labels[0]
    task = {k: _from(first, v) if k in RELATIVE else v for k, v in families[first]["task"].items()}
    content = {"family": folder.name, "task": task, "models": rows}
    write_text(folder / "family.yaml", yaml.safe_dump(content, sort_keys=False))


def _family(folder):
    return yaml.safe_load((folder / "family.yaml").read_text(encoding="utf-8"))


def _joined(label, own):
    return own if own == label or own.startswith(f"{label}-") else f"{label}-{own}"


def _from(label, path):
    return path if Path(path).is_absolute() else f"{label}/{path}"
