"""A trained family on disk: family.yaml, one weight file a size, and the parts that all sizes share.

autoencoder.safetensors  features.safetensors  reference.safetensors  c8.safetensors  c12.safetensors ...
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from collect import autoencoder, features, metrics, weights
from collect.families import card, forward_flops, shape
from collect.settings import FamilyFile, read
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Bundle:
    """Opens what a folder holds, when it is asked for."""

    folder: Path

    @cached_property
    def file(self):
        return read(Path(self.folder) / "family.yaml", FamilyFile)

    def path(self, c):
        """The weight file of one width; InputError lists the widths there are."""
        if c not in self.file.widths:
            allowed = ", ".join(map(str, self.file.widths))
            raise InputError(f"Family '{self.file.family}' has no size {c}. Its base widths are {allowed}.")
        return Path(self.folder) / f"c{c}.safetensors"

    def denoiser(self, c, path=None):
        """One size's network with its trained weights, ready to sample; `path` for another weight file of that size."""
        model = shape(self.file.shape).build(c)
        weights.load_into(model, path or self.path(c))
        return model.eval().requires_grad_(False)

    def autoencoder(self):
        """The shared autoencoder with its scaling factor."""
        path = Path(self.folder) / "autoencoder.safetensors"
        factor = float(weights.load(path)[1]["scaling_factor"])
        model = autoencoder.build(factor)
        weights.load_into(model, path)
        return model.eval().requires_grad_(False)

    def classifier(self):
        """The feature network."""
        model = features.Classifier()
        weights.load_into(model, Path(self.folder) / "features.safetensors")
        return model.eval().requires_grad_(False)

    @cached_property
    def reference(self):
        return metrics.read_reference(Path(self.folder) / "reference.safetensors")

    @cached_property
    def part_hashes(self):
        """Hashes of what every cell of the family depends on beside the size's own weights."""
        names = ("autoencoder", "features", "reference")
        return {name: weights.fingerprint(Path(self.folder) / f"{name}.safetensors") for name in names}

    def card(self, c):
        return card(self.file.shape, c)

    @cached_property
    def decode_flops(self):
        """FLOPs to decode one image."""
        import torch

        return forward_flops(autoencoder.build().decoder, (torch.zeros(1, *autoencoder.LATENT),))
