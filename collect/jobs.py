"""What passes between modules: a job to measure, a batch of samples to score, an outcome that is not a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # workers need no torch to hand cells about
    import numpy as np
    import torch


@dataclass(frozen=True)
class Job:
    """A cell with what the store and the workers need to know of it."""

    name: str  # for people: c16-ddim-8-w1-n2000-s0
    key: str  # 16 hex digits of everything that changes its row
    flops: float  # expected, all samples
    cell: object


@dataclass(frozen=True)
class Batch:
    """Some samples of a cell, with the condition of each."""

    indices: np.ndarray  # int64 [sample]: their numbers within the cell
    samples: torch.Tensor  # uint8 [sample, channel, h, w] for images, float [sample, ...] for other data
    conditions: dict = field(default_factory=dict)  # classes int64 [sample], prompts, targets like samples


class Outcome(Exception):
    """A cell that gives no row, for a reason that a second try would have again: status 'oom', 'nan' or 'error'."""

    def __init__(self, status, reason):
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason
