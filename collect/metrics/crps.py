"""Continuous ranked probability score of ensembles of arrays, for forecasts and other data that are not images.

Sample i is member i % members of the ensemble for context i // members; conditions["targets"] holds the truth of each
sample's context, shaped like the samples (the same for all members). Of each number of the array,
mean |x - y| - mean over pairs of different members |x - x'| / 2: the fair score (Ferro 2014, doi:10.1002/qj.2270),
whose mean does not depend on how many members there are; in the unit of the data, averaged over the array's numbers.
Members of one context may come in any order, batch and worker: those of unfinished contexts wait in the sums.
"""

from dataclasses import dataclass

import numpy as np

from collect.jobs import Outcome
from collect.metrics.mean import mean_and_error, required, tally
from scalinglaws.schema import InputError

WAITING = ("indices", "samples", "targets")


def crps(members, target):
    """Fair CRPS of each number: members [member, ...] and target [...] -> [...]."""
    m = len(members)
    rank = 2 * np.arange(m) - m + 1  # sum over pairs i < j of x_j - x_i, members sorted
    pairs = np.tensordot(rank, np.sort(members, axis=0), 1)
    return np.abs(members - target).mean(0) - pairs / (m * (m - 1))


@dataclass(frozen=True)
class Crps:
    """A metric of the collector: mean over contexts of the ensemble's score."""

    members: int  # of an ensemble, 2 or more
    name: str = "crps"
    version: str = "1"
    columns: tuple = ("crps", "crps_se")

    def start(self):
        return tally([]) | {"indices": np.zeros(0, np.int64), "samples": np.zeros(0), "targets": np.zeros(0)}

    def add(self, partial, batch):
        """Sums with this batch; Outcome 'nan' when a sample is not finite."""
        samples = np.asarray(batch.samples, np.float64)
        targets = np.asarray(required(batch, "targets", self.name), np.float64)
        if samples.shape != targets.shape:
            raise InputError(f"'crps' compares arrays of one shape: samples {samples.shape}, targets {targets.shape}.")
        if not np.isfinite(samples).all():
            raise Outcome("nan", "some samples are not finite")
        return self.merge(partial, tally([]) | {"indices": batch.indices, "samples": samples, "targets": targets})

    def merge(self, a, b):
        """Sums of both; contexts whose members are now all there are scored and let go. InputError where members have
        different truths."""
        held = [part for part in (a, b) if len(part["indices"])]
        sums = {name: a[name] + b[name] for name in ("count", "total", "squares")}
        if not held:
            return sums | {name: a[name] for name in WAITING}
        waiting = {name: np.concatenate([part[name] for part in held]) for name in WAITING}
        order = np.argsort(waiting["indices"], kind="stable")
        waiting = {name: values[order] for name, values in waiting.items()}
        context = waiting["indices"] // self.members
        _, first, count = np.unique(context, return_index=True, return_counts=True)
        full = first[count == self.members]
        picked = [slice(k, k + self.members) for k in full]
        self._check_truths([waiting["targets"][s] for s in picked])
        scores = [crps(waiting["samples"][s], waiting["targets"][s.start]).mean() for s in picked]
        rest = np.repeat(count != self.members, count)
        return {k: sums[k] + v for k, v in tally(scores).items()} | {k: v[rest] for k, v in waiting.items()}

    def _check_truths(self, targets):
        if any(not np.array_equal(each, each[:1].repeat(self.members, 0), equal_nan=True) for each in targets):
            raise InputError(
                f"'crps' with members: {self.members} would compare samples of several contexts with the truth of one: "
                "say as many members as the task draws for each context."
            )

    def finish(self, partial):
        """crps and its standard error over contexts; InputError when members of a context are missing."""
        if len(partial["indices"]):
            context = int(partial["indices"][0]) // self.members
            there = int((partial["indices"] // self.members == context).sum())
            raise InputError(
                f"Context {context} has {there} of {self.members} members: the number of samples must be a multiple "
                f"of members."
            )
        value, error = mean_and_error(partial, self.name)
        return {"crps": value, "crps_se": error}

    def identity(self):
        return {"metric": self.name, "version": self.version, "members": self.members, "fair": True}


def open_crps(members):
    """The metric for ensembles of this many members."""
    if members < 2:
        raise InputError(f"CRPS compares members with each other: members must be 2 or more, not {members}.")
    return Crps(members)
