"""Scores of single samples by which the best of n is kept (Ma et al. 2025, arXiv:2501.09732): higher is better.

A verifier is called with (samples, conditions) and returns float [sample]; `identity()` says all that changes it.
Choosing by the score that is reported makes that score look better than the samples are: verify and report on two
things. Any metric of METRICS verifies by its score of single samples. An installed package adds a verifier under the
entry-point group `scalinglaws.verifiers`: a function of the family, and of the options that the sweep gives.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from collect.jobs import Batch
from collect.plugins import open_named
from scalinglaws.schema import InputError

GROUP = "scalinglaws.verifiers"
METRICS = ("clip", "psnr", "ssim", "lpips")  # those that score single samples


@dataclass(frozen=True)
class Verifier:
    """score(samples, conditions) -> float [sample], with everything that changes it."""

    name: str
    score: object
    about: dict = field(default_factory=dict)

    def __call__(self, samples, conditions):
        return np.asarray(self.score(samples, conditions), float)

    def identity(self):
        return {"verifier": self.name} | self.about


def class_likelihood(family, device="cpu"):
    """Log probability of the condition's class, by the family's own classifier."""
    if not hasattr(family, "classifier"):
        raise InputError(f"Family '{family.name}' has no classifier to verify by: choose another verifier.")
    model = family.classifier().to(device)

    @torch.no_grad()
    def score(samples, conditions):
        logits = model(samples[:, 0].to(device))[1].log_softmax(1).cpu()
        return logits.gather(1, torch.as_tensor(conditions["classes"])[:, None])[:, 0].numpy()

    return Verifier("class-likelihood", score, {"weights": family.part_hashes["features"]})


def by_metric(name, family, device="cpu", **options):
    """The score that a metric gives a single sample; options are the metric's."""
    (metric,) = family.metrics([{"name": name} | options], device)
    sign = 1 if metric.higher_is_better else -1

    def score(samples, conditions):
        return sign * np.asarray(metric.score(Batch(conditions["indices"], samples, conditions)))

    return Verifier(name, score, metric.identity())


VERIFIERS = {"class-likelihood": class_likelihood} | {name: partial(by_metric, name) for name in METRICS}


def open_verifier(spec, family, device="cpu"):
    """The Verifier of a name or {'name': ..., options}; InputError lists names, or options that it takes."""
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name, needed = options.pop("name"), {"family": family} | options
    return open_named(name, needed, VERIFIERS, GROUP, "verifier", offered={"device": device})
