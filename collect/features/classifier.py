"""The shipped feature network: a small classifier of Fashion-MNIST whose last hidden layer has 64 features.

Distances on it are called fd and kd with features='fmnist-cnn64': they are no FID, and compare only with each other.
"""

from itertools import pairwise

import torch
from torch import nn

NAME = "fmnist-cnn64"
DIMENSIONS = 64


class Classifier(nn.Module):
    """uint8 images [image, 32, 32] -> (features [image, 64], logits [image, 10])."""

    def __init__(self):
        super().__init__()
        widths = (1, 32, 64, 128)
        self.convolutions = nn.Sequential(
            *[
                nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.SiLU())
                for a, b in pairwise(widths)
            ]
        )
        self.features = nn.Linear(128 * 4 * 4, DIMENSIONS)
        self.logits = nn.Linear(DIMENSIONS, 10)

    def forward(self, images):
        x = images[:, None].float() / 127.5 - 1
        features = self.features(self.convolutions(x).flatten(1))
        return features, self.logits(nn.functional.silu(features))


@torch.no_grad()
def extract(model, images, batch=1000):
    """features float64 [image, 64] and the predicted classes int64 [image], for uint8 images [image, 32, 32]."""
    parts = [model(chunk) for chunk in torch.as_tensor(images).split(batch)]
    return torch.cat([f for f, _ in parts]).double().numpy(), torch.cat([p.argmax(1) for _, p in parts]).numpy()
