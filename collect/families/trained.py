"""A trained family on disk: family.yaml, one weight file per size, and the parts that all sizes share.

autoencoder.safetensors  features.safetensors  reference.safetensors  c8.safetensors  c12.safetensors ...
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path

import torch

from collect import features, metrics, weights
from collect.config import FamilyFile, read_config
from collect.models import autoencoder
from collect.models.model import Model, Traits
from collect.models.pipelines import parts
from collect.models.shapes import CLASSES, NULL_CLASS, SCHEDULE, shape
from collect.models.tasks import Classes
from collect.profile.flops import CostProfile, count
from scalinglaws.schema import InputError

SAMPLING = SCHEDULE | {"clip_sample": False, "timestep_spacing": "trailing"}  # starts at pure noise (Lin et al. 2023)
TRAITS = Traits("pair", False, SAMPLING)


@dataclass(frozen=True)
class TrainedFamily:
    """A family trained here; each part is opened on first use."""

    folder: Path
    snapshots: dict = field(default_factory=dict, hash=False)  # width: another weight file to use, such as a snapshot

    @cached_property
    def file(self):
        return read_config(Path(self.folder) / "family.yaml", FamilyFile)

    def path(self, c):
        """The weight file of one width; InputError lists the widths there are."""
        if c not in self.file.widths:
            allowed = ", ".join(map(str, self.file.widths))
            raise InputError(f"Family '{self.file.family}' has no size {c}. Its base widths are {allowed}.")
        return Path(self.folder) / f"c{c}.safetensors"

    @property
    def name(self):
        return self.file.family

    @property
    def labels(self):
        return self.file.labels

    @property
    def task(self):
        return Classes(CLASSES)

    def width(self, label):
        """The base width behind a label such as c16; InputError lists the labels there are."""
        if label not in self.labels:
            raise InputError(f"Family '{self.name}' has no model '{label}'. Its models are {', '.join(self.labels)}.")
        return int(label[1:])

    def model(self, label, dtype="float32"):
        """The Model of one size: class-conditional, its decoder the shared autoencoder's."""
        c = self.width(label)
        decoder = self.autoencoder()
        return Model(
            self.denoiser(c, self.snapshots.get(c)),
            autoencoder.LATENT,
            TRAITS.schedule,
            partial(parts.classes, CLASSES + 1, NULL_CLASS),
            partial(autoencoder.decode, decoder),
            modules={"autoencoder": decoder},
        )

    def identity(self, label):
        """The hashes of every weight that shapes this size's samples."""
        c = self.width(label)
        parts = {k: v for k, v in self.part_hashes.items() if k == "autoencoder"}
        return parts | {"weights": weights.fingerprint(self.snapshots.get(c) or self.path(c))}

    def traits(self, label):
        """The Traits of a model: those of all."""
        return TRAITS

    def columns(self, label):
        """A size's columns of the table beside its cost."""
        return {"model": label, "base_channels": self.width(label), "weights": self.identity(label)["weights"]}

    @cached_property
    def decoding(self):
        """The Count of the shared decoder, from its architecture alone."""
        return count(autoencoder.build, {"z": torch.zeros(1, *autoencoder.LATENT)}, call="decode")

    @lru_cache(maxsize=64)  # noqa: B019 - a family lives as long as its sweep
    def cost_profile(self, label):
        """The CostProfile of a size, from the architectures of its denoiser and of the shared decoder alone."""
        rule, width = shape(self.file.shape), self.width(label)
        return CostProfile(count(lambda: rule.build(width), rule.inputs()), None, self.decoding)

    def metrics(self, specs=None, device="cpu"):
        """The metrics of a sweep file's `quality`; by default fd, kd and class accuracy by the family's classifier."""
        if specs:
            return metrics.open_metrics(specs, self.folder, device)
        return metrics.of_trained_family(self, device)

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
