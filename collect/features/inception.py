"""Inception v3 of 2015-12-05 by torch-fidelity: the features behind FID and KID.

torch-fidelity is an optional extra and its weights are a download of 91 MB; offline, give their path. The package
resizes as TensorFlow 1 did (bilinear, no antialias, in float) and takes (level - 128) / 128.
"""

import hashlib
import os
from pathlib import Path
from pickle import UnpicklingError

import torch

from collect.features.network import Network
from scalinglaws.schema import InputError

NAME = "inception"
DIMENSIONS = 2048
FILE = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
ENVIRONMENT = "INCEPTION_WEIGHTS"  # path of the weight file


def _extractor():
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision built for another torch
        raise InputError(
            f"FID needs torch-fidelity, which does not load here ({error}): pip install 'scalinglaws[fid]' with a "
            f"torchvision built for this torch, or choose another feature network."
        ) from error
    return FeatureExtractorInceptionV3


def weight_file(path=None):
    """The weight file: `path`, then $INCEPTION_WEIGHTS, then torch hub's folder; InputError says where to get it."""
    given = path or os.environ.get(ENVIRONMENT)
    file = Path(given) if given else Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not file.exists():
        raise InputError(
            f"No Inception weights at {file}: fetch {URL} once and give its path as weights, or set ${ENVIRONMENT}."
        )
    return file


def _refuse_code(path):
    """InputError unless the file holds tensors alone: torch-fidelity itself would unpickle whatever it holds."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"{path} is damaged or holds more than tensors ({type(error).__name__}): fetch {URL} again."
        ) from error


class Pooled(torch.nn.Module):
    """uint8 [image, 3, h, w] -> pool3 features [image, 2048], by torch-fidelity's extractor."""

    def __init__(self, extractor):
        super().__init__()
        self.extractor = extractor

    def forward(self, images):
        return self.extractor(images)[0]


def open_inception(weights=None, device="cpu"):
    """The Network whose distances are fid and kid."""
    extractor, path = _extractor(), weight_file(weights)
    _refuse_code(path)
    model = Pooled(extractor(NAME, ["2048"], feature_extractor_weights_path=str(path))).eval().to(device)
    about = {
        "size": 299,
        "resize": "bilinear as TensorFlow 1, no antialias, not rounded (torch-fidelity)",
        "mean": 128.0,
        "deviation": 128.0,
        "weights": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        "layer": "2048",
    }
    return Network(NAME, DIMENSIONS, model, 3, about, fd="fid", kd="kid")
