"""Scores of single samples by which the best of n is kept (Ma et al. 2025, arXiv:2501.09732): higher is better.

A verifier is called with (samples, asked) and returns float [sample]; `identity()` says all that changes it. Choosing
by the score that is reported makes that score look better than the samples are: verify and report on two things.
An installed package adds one under the entry-point group `scalinglaws.verifiers`: a function of the family.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from collect.openers import opener
from scalinglaws.schema import InputError

GROUP = "scalinglaws.verifiers"


@dataclass(frozen=True)
class Verifier:
    """score(samples, asked) -> float [sample], with everything that changes it."""

    name: str
    score: object
    about: dict = field(default_factory=dict)

    def __call__(self, samples, asked):
        return np.asarray(self.score(samples, asked), float)

    def identity(self):
        return {"verifier": self.name} | self.about


def class_likelihood(family):
    """Log probability of the class asked for, by the family's own classifier."""
    if not hasattr(family, "classifier"):
        raise InputError(f"Family '{family.name}' has no classifier to verify by: choose another verifier.")
    model = family.classifier()

    @torch.no_grad()
    def score(samples, asked):
        logits = model(samples[:, 0])[1].log_softmax(1)
        return logits.gather(1, torch.as_tensor(asked["classes"])[:, None])[:, 0].numpy()

    return Verifier("class-likelihood", score, {"weights": family.part_hashes["features"]})


VERIFIERS = {"class-likelihood": class_likelihood}


@lru_cache(maxsize=16)
def open_verifier(name, family):
    """The Verifier of this name for a family; InputError lists the names there are."""
    return opener(name, VERIFIERS, GROUP, "verifier")(family)
