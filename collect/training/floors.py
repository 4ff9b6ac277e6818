"""What the scenes themselves score on a text-to-image family's metrics, and what its autoencoder leaves of them."""

import numpy as np
import torch

from collect.datasets import emoji, scenes
from collect.families.text import TextFamily
from collect.jobs import Batch
from collect.models import autoencoder
from collect.models.model import to_images
from collect.training.text_parts import prompt_scenes


def measure_floors(folder, archives, count=None, batch=250):
    """Yields ("real", row) and ("autoencoded", row): columns of the family's metrics, n_samples_for_metric.

    The scenes are those whose captions the family's cells are drawn for (default: all of them); no denoiser of the
    family can be expected below the second row. folder: of the released family; archives: of the pictures.
    """
    family, icons = TextFamily(folder), emoji.icons(archives)
    model, scores, canvas = family.autoencoder(), family.metrics(), scenes.Canvas(icons)
    kept = prompt_scenes(family.file, icons, family.tokenizer(), count)
    for name in ("real", "autoencoded"):
        sums = {metric.name: metric.start() for metric in scores}
        for first in range(0, len(kept), batch):
            part = kept[first : first + batch]
            images = torch.from_numpy(np.stack([canvas.draw(scene) for scene in part]))
            if name == "autoencoded":
                images = to_images(autoencoder.decode(model, autoencoder.encode(model, images)))
            conditions = {"prompts": [scene.caption for scene in part]}
            seen = Batch(np.arange(first, first + len(part)), images, conditions)
            sums = {metric.name: metric.add(sums[metric.name], seen) for metric in scores}
        row = {"n_samples_for_metric": len(kept)}
        for metric in scores:
            row |= metric.finish(sums[metric.name])
        yield name, row
