"""A family of forecasters on disk: family.yaml and one weight file a model, w8-flow-s0.safetensors and so on.

A model is a width, a forward process and a training seed. All forecast the same weeks of the same series
(collect/datasets/series.py), an ensemble for each context, scored by CRPS in ppm.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch

from collect import metrics, weights
from collect.config import SeriesFamilyFile, read_config
from collect.datasets.series import CONTEXT, HORIZON, co2_windows
from collect.families.naive_forecasts import naive_scores
from collect.models import forecaster, profiling
from collect.models.tasks import Forecasts


@dataclass(frozen=True)
class SeriesFamily:
    """A family of forecasters trained here; each part is opened on first use."""

    folder: Path
    snapshots: dict = field(default_factory=dict, hash=False)  # label: another weight file to use, such as a snapshot

    @cached_property
    def file(self):
        return read_config(Path(self.folder) / "family.yaml", SeriesFamilyFile)

    @property
    def name(self):
        return self.file.family

    @property
    def labels(self):
        return self.file.labels

    @cached_property
    def windows(self):
        """(Windows to train on, Windows to test on)."""
        return co2_windows()

    @cached_property
    def scale(self):
        """Standard deviation of the futures to train on, ppm: what a network takes for 1."""
        return float(self.windows[0].futures.std())

    @cached_property
    def task(self):
        """The test weeks in turn, an ensemble for each."""
        test = self.windows[1]
        return Forecasts(test.contexts, test.futures, self.file.members)

    def path(self, label):
        """The weight file of a label."""
        self.file.parts(label)
        return Path(self.snapshots.get(label) or Path(self.folder) / f"{label}.safetensors")

    def build(self, label):
        """One model's network, its weights drawn anew."""
        return forecaster.Forecaster(self.file.parts(label)[0], CONTEXT, HORIZON)

    def model(self, label, dtype="float32"):
        """The Model of a label, its weights loaded."""
        net = self.build(label)
        weights.load_into(net, self.path(label))
        return self._adapted(label, net.eval().requires_grad_(False))

    def blueprint(self, label):
        """The Model of a label without its weights: its network is on the meta device."""
        with torch.device("meta"):
            return self._adapted(label, self.build(label))

    def _adapted(self, label, net):
        return forecaster.model(net, self.file.parts(label)[1], HORIZON, self.scale)

    @lru_cache(maxsize=512)  # noqa: B019 - a family lives as long as its sweep
    def cost_profile(self, label):
        """The CostProfile of a model; no weights are read."""
        return profiling.cost_profile(self.blueprint(label), self.task)

    def traits(self, label):
        """The Traits of a model; no weights are read, and nothing is counted."""
        return self.blueprint(label).traits

    def identity(self, label):
        """The hashes of the weights and of what is forecast."""
        return {"weights": weights.fingerprint(self.path(label))} | self.task.identity()

    def columns(self, label):
        """A model's columns beside its cost; the crps_ of forecasts without a network are those of the same weeks."""
        width, process, seed = self.file.parts(label)
        metadata = weights.load(self.path(label))[1]
        steps = int(metadata.get("train_steps") or metadata["step"])
        return {
            "model": label,
            "base_channels": width,
            "interpolant": process,
            "train_seed": seed,
            "task": self.task.name,
            **self.cost_profile(label).training_columns(steps, self.file.recipe.batch),
            "weights": weights.fingerprint(self.path(label)),
        } | self.naive

    @cached_property
    def naive(self):
        """{crps_NAME: mean CRPS in ppm} of forecasts without a network, on the same test weeks."""
        return {f"crps_{name}": score for name, score in naive_scores(*self.windows).items()}

    def metrics(self, specs=None, device="cpu"):
        """The metrics of a sweep file's `quality`; by default CRPS of the family's ensembles."""
        specs = specs or [{"name": "crps", "members": self.file.members}]
        return metrics.open_metrics(specs, self.folder, device)
