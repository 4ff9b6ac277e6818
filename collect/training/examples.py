"""What a model is trained on: images of a folder with captions.csv, or scenes of `collect data`; small copies of them.

captions.csv has a header: `file,caption` for models of text, `file,class` for models of classes.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from collect.models.tasks import IMAGES, small_and_target
from collect.training.text_parts import read_scenes
from scalinglaws.schema import InputError

CAPTIONS = "captions.csv"
COLUMNS = {"text": "caption", "class": "class"}  # by task
NAMES = {"text": "prompts", "class": "classes"}  # by task, as Model.condition takes them


@dataclass(frozen=True)
class Examples:
    """x float [example, ...] as the network takes it, and {name: list or tensor of a condition for each}."""

    x: torch.Tensor
    conditions: dict

    def __len__(self):
        return len(self.x)

    def take(self, chosen):
        """({name: conditions}) of some examples, chosen int64 [b]."""
        pick = lambda v: v[chosen] if isinstance(v, torch.Tensor) else [v[i] for i in chosen.tolist()]  # noqa: E731
        return {name: pick(values) for name, values in self.conditions.items()}


def image_files(folder):
    """The images of a folder in the order of their names; InputError when there are none."""
    files = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in IMAGES)
    if not files:
        raise InputError(f"No images ({', '.join(IMAGES)}) in {folder}: give a folder of images to train on.")
    return files


def holds_scenes(folder):
    """Whether `collect data` made this folder."""
    return (Path(folder) / "data" / "train.safetensors").exists()


def read_examples(folder, side, task):
    """(uint8 images [n, 3, side, side], {name: conditions}) of a folder, for a task: text, class or unconditional.

    Images are cropped in the middle and resized. InputError names what is missing.
    """
    if holds_scenes(folder):
        images, captions = read_scenes(folder, "train")
        if task == "class":
            raise InputError(f"{folder} holds scenes with captions; this model is conditioned on classes.")
        return _resized(images, side), {"prompts": captions} if task == "text" else {}
    files = image_files(folder)
    images = torch.stack([small_and_target(path, side, 1)[1] for path in files])
    return images, read_captions(folder, files, task) if task in COLUMNS else {}


def _resized(images, side):
    """uint8 [n, 3, side, side]."""
    return images if images.shape[-1] == side else _bicubic(images, side)


def _bicubic(images, side):
    """Pillow's bicubic, as the task `upscale` makes its small images."""
    from PIL import Image

    made = []
    for image in images:
        opened = Image.fromarray(image.permute(1, 2, 0).numpy())
        made.append(torch.from_numpy(np.array(opened.resize((side, side), Image.Resampling.BICUBIC))).permute(2, 0, 1))
    return torch.stack(made).contiguous()


def reduced(images, factor):
    """uint8 [n, 3, side/factor, side/factor]; InputError where the factor does not divide the side."""
    if images.shape[-1] % factor:
        raise InputError(f"Images of {images.shape[-1]} pixels cannot be made {factor} times smaller.")
    return _bicubic(images, images.shape[-1] // factor)


def read_captions(folder, files, task):
    """{name: a condition for each file} of captions.csv."""
    path, column = Path(folder) / CAPTIONS, COLUMNS[task]
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"No captions from {path} ({error}): write a csv with columns file,{column}.") from None
    if not rows or not {"file", column} <= set(rows[0]):
        raise InputError(
            f"{path} must have the columns file and {column}; it has {', '.join(rows[0] if rows else [])}."
        )
    known = {row["file"]: row[column] for row in rows}
    if missing := [f.name for f in files if not known.get(f.name)]:
        raise InputError(f"{path} has no {column} for {len(missing)} of {len(files)} images, such as {missing[0]}.")
    values = [known[f.name] for f in files]
    if task == "text":
        return {"prompts": values}
    try:
        return {"classes": torch.tensor([int(value) for value in values])}
    except ValueError as error:
        raise InputError(f"{path}: a class is a whole number ({error}).") from None
