"""Metrics that are a mean over samples: a score of each sample, its mean, and the standard error of the mean."""

from dataclasses import dataclass, field

import numpy as np

from scalinglaws.schema import InputError, higher_is_better


@dataclass(frozen=True)
class Mean:
    """A metric of the collector: `score(batch)` gives float64 [sample]; `about` holds all that changes it, as JSON."""

    name: str
    version: str
    score: object
    about: dict = field(default_factory=dict)
    rising: bool | None = None  # whether higher is better; for a column of the schema, what the schema says

    @property
    def higher_is_better(self):
        return higher_is_better(self.name) if self.rising is None else self.rising

    @property
    def columns(self):
        return (self.name, f"{self.name}_se")

    def start(self):
        return {"count": np.zeros(1, np.int64), "total": np.zeros(1), "squares": np.zeros(1)}

    def add(self, partial, batch):
        return self.merge(partial, tally(self.score(batch)))

    def merge(self, a, b):
        return {name: a[name] + b[name] for name in a}

    def finish(self, partial):
        value, error = mean_and_error(partial, self.name)
        return {self.name: value, f"{self.name}_se": error}

    def identity(self):
        return {"metric": self.name, "version": self.version} | self.about


def tally(scores):
    """Count, sum and sum of squares of scores [sample], each an array of one."""
    scores = np.asarray(scores, np.float64)
    return {
        "count": np.array([len(scores)], np.int64),
        "total": np.array([scores.sum()]),
        "squares": np.array([(scores**2).sum()]),
    }


def mean_and_error(partial, name):
    """(mean, standard error) of a tally; the error is nan for one sample, InputError for none."""
    count, total, squares = (float(partial[k][0]) for k in ("count", "total", "squares"))
    if count == 0:
        raise InputError(f"'{name}' has seen no sample: nothing to average.")
    mean = total / count
    spread = max(squares - count * mean**2, 0.0) if np.isfinite(mean) else np.nan
    return mean, float(np.sqrt(spread / (count - 1) / count)) if count > 1 else np.nan


def required(batch, what, metric):
    """The batch's conditions of a name, such as prompts; InputError when the task gives none."""
    if what not in batch.conditions:
        raise InputError(
            f"'{metric}' compares samples with their {what}, and this task gives none; it gives "
            f"{', '.join(batch.conditions) or 'nothing'}. Leave the metric out or choose another task."
        )
    return batch.conditions[what]
