"""Scenes as a folder of images with captions.csv: what a model is measured on, and the few images of a subject."""

import csv
from pathlib import Path

import numpy as np

from collect.datasets import scenes
from collect.writing import whole
from scalinglaws.schema import InputError

SEARCHED = 200_000  # scenes of a split that are looked through for a subject


def write_scenes(icons, split, count, folder, seed=0, subject=None):
    """Write `count` scenes of a split to a folder, from its first on; returns their captions.

    subject: (name, style), to keep the scenes that show it and nothing else. InputError where there are too few.
    """
    allowed = scenes.pool(split, len(icons.names), len(icons.styles))
    drawn = (scenes.scene(icons, allowed, seed, split, i) for i in range(count if subject is None else SEARCHED))
    wanted = None if subject is None else _indices(icons, *subject)
    kept = []
    for scene in drawn:
        kept += [scene] if wanted is None or _shown(scene) == [wanted] else []
        if len(kept) == count:
            break
    if len(kept) < count:
        raise InputError(
            f"The split '{split}' shows {' in style '.join(subject)} alone {len(kept)} times, not {count}."
        )
    canvas = scenes.Canvas(icons)
    write_images([canvas.draw(scene) for scene in kept], [scene.caption for scene in kept], Path(folder))
    return [scene.caption for scene in kept]


def _indices(icons, name, style):
    for word, known in ((name, icons.names), (style, icons.styles)):
        if word not in known:
            raise InputError(f"No '{word}' among the icons: such as {', '.join(known[:5])}.")
    return icons.names.index(name), icons.styles.index(style)


def _shown(scene):
    return [(thing.name, thing.style) for thing in scene.objects]


def write_images(images, captions, folder):
    """One PNG for each of uint8 images [3, h, w], and captions.csv where there are captions."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i:05d}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(np.ascontiguousarray(np.transpose(image, (1, 2, 0)))).save(folder / name)
    if captions is not None:
        with whole(folder / "captions.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "caption"), *zip(names, captions, strict=True)])
