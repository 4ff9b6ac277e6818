"""Distances to real images on a feature network, all from one stream of features: Fréchet (FD; of each half of the
samples, too, and extrapolated to infinitely many), kernel, precision and recall."""

from dataclasses import dataclass
from pathlib import Path

from collect import features as networks
from collect.metrics import gaussians, sums
from collect.metrics.kernel import kernel_distance
from collect.metrics.manifold import NEIGHBOURS, precision_recall
from collect.metrics.reference import Reference, few, read_reference
from scalinglaws.schema import InputError

QUALITIES = {  # name in `columns`: what it writes (with _se but for the halves)
    "fd": ("fd", "fd_half1", "fd_half2"),
    "fd_inf": ("fd", "fd_half1", "fd_half2", "fd_inf"),
    "kd": ("kd",),
    "precision": ("precision",),
    "recall": ("recall",),
}
HALVES = ("fd_half1", "fd_half2")


@dataclass(frozen=True)
class Distances:
    """A metric of the collector: streamed sums of one network's features against one reference."""

    network: networks.Network
    reference: Reference
    wanted: tuple = ("fd", "kd")
    subset: int = sums.SUBSET  # features kept; kd, precision and recall are measured on them
    version: str = "3"

    @property
    def name(self):
        """One a network, since a cell may be measured on several."""
        return f"distances-{self.network.name}"

    @property
    def columns(self):
        """Names of the row's columns it fills."""
        qualities = dict.fromkeys(q for w in self.wanted for q in QUALITIES[w])
        named = {q: self.network.column(q) for q in qualities}
        return tuple(c for q, name in named.items() for c in (name, f"{name}_se")[: 1 if q in HALVES else 2])

    def start(self):
        return sums.start(self.network.dimensions)

    def add(self, partial, batch):
        return self.merge(partial, sums.of(self.network.extract(batch.samples), batch.indices, self.subset))

    def merge(self, a, b):
        return sums.merge(a, b, self.subset)

    def finish(self, partial):
        """Columns of the row, named as the network says; a half below 2 samples has nan."""
        pairs, kept = {}, partial["kept"].astype(float)
        if {"fd", "fd_inf"} & set(self.wanted):
            pairs |= gaussians.columns(partial, self.reference, "fd_inf" in self.wanted)
        if "kd" in self.wanted:
            pairs["kd"] = kernel_distance(kept, self.reference)
        if {"precision", "recall"} & set(self.wanted):
            pairs |= precision_recall(kept, self.reference)
        written = {self.network.column(q): pair for q, pair in pairs.items()}
        row = {name: value for name, (value, _) in written.items()} | {
            f"{name}_se": error for name, (_, error) in written.items() if error is not None
        }
        return {name: row[name] for name in self.columns}

    def doubts(self, samples):
        """Sentences on what distances of so many samples, and of this reference, cannot tell."""
        if not {"fd", "fd_inf"} & set(self.wanted):
            return []
        counts = {"samples per cell": samples, "images of the reference": self.reference.count}
        sentences = [few(count, what, self.network.dimensions) for what, count in counts.items()]
        return [sentence for sentence in sentences if sentence]

    def identity(self):
        settings = {"reference": self.reference.hash, "wanted": list(self.wanted), "subset": self.subset}
        return {"metric": "distances", "version": self.version, "neighbours": NEIGHBOURS} | settings | {
            "network": self.network.identity()
        }  # fmt: skip


def open_distances(features, reference, columns=("fd", "kd"), subset=sums.SUBSET, weights=None, device="cpu"):
    """Distances by name: features a network's name (weights, device its options) or a Network; reference a file or a
    Reference; columns out of fd, fd_inf, kd, precision, recall."""
    if unknown := [c for c in columns if c not in QUALITIES]:
        raise InputError(f"No distance '{unknown[0]}'. Known: {', '.join(QUALITIES)}.")
    if isinstance(features, str):
        options = {"device": device} | ({"weights": weights} if weights else {})
        features = networks.open_network(features, **options)
    if isinstance(reference, str | Path):
        reference = read_reference(reference)
    return Distances(features, reference.check(features), tuple(columns), subset)
