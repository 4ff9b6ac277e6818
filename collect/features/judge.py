"""The image tower of a CLIP model as a feature network: its embedding before normalisation.

For tiny-t2i it is the judge, a second dual encoder that no denoiser was trained with; distances on it are called fd
and kd and compare only with each other.
"""

from pathlib import Path

import torch

from collect.features.network import Network, fingerprint
from collect.models import dual_encoder
from collect.models.pipelines.parts import to_model
from scalinglaws.schema import InputError

NAME = "judge"


class Embedding(torch.nn.Module):
    """uint8 [image, 3, h, w] -> [image, projection], by (level / 255 - 0.5) / 0.5."""

    def __init__(self, model):
        super().__init__()
        self.vision, self.projection = model.vision_model, model.visual_projection

    def forward(self, images):
        return self.projection(self.vision(pixel_values=to_model(images)).pooler_output)


def of_model(model):
    """The Network of a loaded CLIPModel."""
    tower = Embedding(model).eval().requires_grad_(False)
    about = {"size": model.config.vision_config.image_size, "resize": "as it comes", "mean": 127.5, "deviation": 127.5}
    about |= {"layer": "projected embedding", "weights": fingerprint(tower)}
    return Network(NAME, model.config.projection_dim, tower, 3, about, batch=250)


def open_judge(weights=None, device="cpu"):
    """The Network from the folder of a CLIP model, such as judge/ of a text-to-image family."""
    if not weights or not (Path(weights) / "config.json").exists():
        raise InputError(f"'{NAME}' needs weights: the folder of a CLIP model, such as judge/ of a family.")
    return of_model(dual_encoder.load(weights)[0].to(device))
