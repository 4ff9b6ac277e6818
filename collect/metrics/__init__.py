"""Quality of a cell's samples: streamed, mergeable, each number with its error.

A metric is a frozen dataclass: `start() -> sums`, `add(sums, batch) -> sums`, `merge(a, b) -> sums` of disjoint sets
of samples, `finish(sums) -> {column: number}`, `identity() -> JSON` of everything that moves its numbers, `columns`
it fills, `name` and `version`. Sums are dicts of numpy arrays: they can be kept, sent and added up in any order.
A batch is a `collect.jobs.Batch`. `METRICS` is the table; `open_metric(name, **options)` opens one:

    metric = open_metric("distances", features="effnet-lite0", reference="real.safetensors", columns=("fd", "fd_inf"))

Standard errors are those of drawing the samples again, given the reference. They do not hold the bias of a finite
sample (fd: about c/n, Chong & Forsyth 2020, arXiv:1911.07023; precision and recall as well): compare cells of equal
n, or take fd_inf, whose error does hold what is left of the bias.

A metric of your own is any object of that shape. An installed package adds the function that opens it under the
entry-point group `scalinglaws.metrics`; its keywords are the options of a sweep file:

    [project.entry-points."scalinglaws.metrics"]
    sharpness = "mypackage.quality:open_sharpness"

For a score of each sample, `Mean(name, version, score)` is all there is to write:

    def open_sharpness():
        return Mean("sharpness", "1", lambda batch: batch.samples.double().diff(dim=-1).abs().flatten(1).mean(1))
"""

from collections import Counter
from pathlib import Path

import numpy as np

from collect.features import of_classifier
from collect.metrics.classes import agreement, open_agreement
from collect.metrics.clip import open_clip
from collect.metrics.crps import open_crps
from collect.metrics.distances import QUALITIES, open_distances
from collect.metrics.gaussians import frechet
from collect.metrics.kernel import kernel_distance
from collect.metrics.manifold import precision_recall
from collect.metrics.matching import open_matching
from collect.metrics.mean import Mean
from collect.metrics.pairs import open_lpips, open_psnr, open_ssim
from collect.metrics.perceptual import open_perceptual
from collect.metrics.reference import Reference, read_reference, write_reference
from collect.metrics.subject import open_diversity, open_subject
from collect.plugins import names, open_named
from scalinglaws.schema import InputError

VERSION = "3"  # of the definitions here; part of a cell's identity
GROUP = "scalinglaws.metrics"
PATHS = ("reference", "weights", "heads", "model", "others", "images")  # options that may be paths

METRICS = {  # name: how it is opened               columns; conditions
    "distances": open_distances,  # of the network's names (fd, kd, precision ...); nothing
    "agreement": open_agreement,  # agreement; classes
    "clip": open_clip,  #           clip; prompts
    "matching": open_matching,  #   agreement; prompts
    "psnr": open_psnr,  #           psnr; targets
    "ssim": open_ssim,  #           ssim; targets
    "lpips": open_lpips,  #         lpips; targets
    "perceptual": open_perceptual,  # perceptual_effnet_lite0; targets
    "subject": open_subject,  #     subject_similarity; nothing, but a folder of its images
    "diversity": open_diversity,  # diversity; nothing, of one prompt at best
    "crps": open_crps,  #           crps; targets
}
# {what users call it: the quality of `distances`, its network}
OF_DISTANCES = {q: (q, "NETWORK") for q in QUALITIES} | {"fid": ("fd", "inception"), "kid": ("kd", "inception")}

__all__ = ["GROUP", "METRICS", "VERSION", "Mean", "Reference", "agreement", "frechet", "kernel_distance",
           "of_trained_family", "open_metric", "open_metrics", "precision_recall", "read_reference", "score",
           "write_reference"]  # fmt: skip


def open_metric(name, base=None, device="cpu", **options):
    """The metric of this name; InputError lists the names there are, the options that it takes, or the metric that a
    column such as fid is of.

    Paths (of references, weights, models) are looked for in the folder `base` first; a metric that takes a `device`
    has its networks there.
    """
    if name in OF_DISTANCES and name not in names(METRICS, GROUP):
        column, network = OF_DISTANCES[name]
        raise InputError(
            f"'{name}' is a column of the metric 'distances': {{name: distances, features: {network}, "
            f"reference: FILE, columns: [{column}]}}."
        )
    for option in PATHS if base is not None else ():
        value = options.get(option)
        if isinstance(value, str | Path) and (Path(base) / value).exists():
            options[option] = str(Path(base) / value)
    return open_named(name, options, METRICS, GROUP, "metric", offered={"device": device})


def open_metrics(specs, base, device="cpu"):
    """The metrics that a sweep file's `quality` lists, their paths relative to a family's folder `base`.

    InputError where two fill one column, as EfficientNet-Lite0 does at 224 and at 96 pixels.
    """
    opened = [open_metric(**{"base": base, "device": device} | spec) for spec in specs]
    filled = Counter(column for metric in opened for column in metric.columns)
    if twice := [column for column, count in filled.items() if count > 1]:
        raise InputError(
            f"Two metrics under 'quality' fill the column {twice[0]}, and a row holds one value of it: "
            "measure them by two sweep files with a store each."
        )
    return opened


def of_trained_family(family, device="cpu"):
    """What a trained family is measured by unless its sweep says otherwise: its own classifier and reference."""
    network = of_classifier(family.classifier().to(device), family.part_hashes["features"])
    return [open_distances(network, family.reference, ("fd", "fd_inf", "kd")), open_agreement(network)]


def score(features, predicted, classes, reference):
    """fd, kd and class accuracy with errors of features [image, d] that are all at hand; InputError when not finite."""
    if not np.isfinite(features).all():
        raise InputError("The features of some images are not finite: the sampler or the weights diverged.")
    columns = {}
    for name, (value, error) in {
        "fd": frechet(features, reference),
        "kd": kernel_distance(features, reference),
        "agreement": agreement(predicted, classes),
    }.items():
        columns |= {name: value, f"{name}_se": error}
    return columns
