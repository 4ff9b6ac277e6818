"""Class accuracy (column `agreement`): the share of images that a classifier puts in the class of their condition."""

import numpy as np

from collect import features as networks
from collect.metrics.mean import Mean, required


def agreement(predicted, classes):
    """(share, standard error) of images whose predicted class is that of their condition."""
    hits = np.asarray(predicted) == np.asarray(classes)
    return float(hits.mean()), float(hits.std(ddof=1) / np.sqrt(len(hits)))


def open_agreement(features=networks.NAME, weights=None, device="cpu"):
    """The metric on a classifying network, by name (with its options) or a Network."""
    if isinstance(features, str):
        features = networks.open_network(features, weights=weights, device=device)

    def score(batch):
        return features.classes(batch.samples) == np.asarray(required(batch, "classes", "agreement"))

    return Mean("agreement", "2", score, {"network": features.identity()})
