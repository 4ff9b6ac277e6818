"""Agreement: the share of images that a classifier puts in the class that was asked."""

import numpy as np

from collect import features as networks
from collect.metrics.mean import Mean, wanted


def agreement(found, asked):
    """(share, standard error) of images the classifier puts in the class that was asked, given equal classes."""
    hits = np.asarray(found) == np.asarray(asked)
    return float(hits.mean()), float(hits.std(ddof=1) / np.sqrt(len(hits)))


def open_agreement(features=networks.NAME, weights=None, device="cpu"):
    """The metric on a classifying network, by name (with its options) or a Network."""
    if isinstance(features, str):
        features = networks.open_network(features, weights=weights, device=device)

    def score(batch):
        return features.classes(batch.samples) == np.asarray(wanted(batch, "classes", "agreement"))

    return Mean("agreement", "2", score, {"network": features.identity()})
