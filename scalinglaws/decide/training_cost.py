"""What a training run costs: TrainingCost, from 6 N D, a column of the table, a number or a function of N and D.

6 N D: Kaplan et al. 2020, arXiv:2001.08361: 2 FLOPs per parameter and item forward, 4 backward. Where size is a
forward pass in FLOPs it is 3 F D.
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.schema import InputError

FORWARD = {"flops_per_forward": 3.0, "macs_per_forward": 6.0, "gflops_per_forward": 3e9}  # FLOPs of training per N D
LENGTHS = ("train_steps", "epochs")  # columns of data that 6 N D does not count: it takes tokens or images
LOG_DATA = (-20.0, 50.0)  # log10 D between which a budget's data are sought


@dataclass(frozen=True)
class TrainingCost:
    """Cost of training: words; of(N, D), increasing in both; power (c, p, q) where it is c N^p D^q; seen(D)."""

    words: str
    of: object
    power: tuple | None = None
    seen: object = None  # items processed to have the effect of D items; None: D itself

    def data(self, sizes, budget):
        """D that the budget leaves for each size, by formula or bisection; 0 where no data is affordable."""
        sizes = np.asarray(sizes, float)
        if self.power:
            c, p, q = self.power
            return (budget / (c * sizes**p)) ** (1 / q)
        low, high = (np.full(sizes.shape, end) for end in LOG_DATA)
        for _ in range(80):
            middle = (low + high) / 2
            over = self.of(sizes, 10**middle) > budget
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return np.where(self.of(sizes, 10.0 ** LOG_DATA[0]) > budget, 0.0, 10**low)


@dataclass(frozen=True)
class RepeatedData:
    """Cost of training on `unique` items that are repeated: a function of N and effective data D for allocate(cost=).

    After the first pass an item is worth less each time: unique + unique R* (1 - exp(-R / R*)) items have the effect of
    R repeats (Muennighoff et al. 2023, arXiv:2305.16264, R* = 15.39 for language). D beyond unique (1 + R*) cannot be
    had at any cost. The paper's second correction, of N, is not made. per: FLOPs of training per N D.

    >>> cost = RepeatedData(1e9)
    >>> float(cost.seen(5e8)), round(float(cost.seen(5e9)) / 1e9, 2), float(cost.seen(2e10))
    (500000000.0, 5.63, inf)
    >>> float(cost(1e8, 5e8)) == 6 * 1e8 * 5e8
    True
    """

    unique: float  # items, in the unit of D
    half_life: float = 15.387756  # R*, repeats
    per: float = 6.0

    def seen(self, data):
        """Items processed to have the effect of `data` items that are all new."""
        repeats = np.maximum(np.asarray(data, float) / self.unique - 1, 0)  # of full worth
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = -self.half_life * np.log1p(-np.minimum(repeats / self.half_life, 1))
        return np.where(repeats > 0, self.unique * (1 + needed), data)

    def __call__(self, size, data):
        return self.per * size * self.seen(data)

    def __str__(self):
        return f"{self.per:g} N D with {self.unique:.3g} items repeated"


def training_cost(fit, cost=None) -> TrainingCost:
    """The cost model of a fit: None for 6 N D (3 F D where size is FLOPs per forward), a column, a number, a function.

    A number c means c N D. A column of the fit's table is described by c N^p D^q, with its largest deviation in the
    words. A function takes arrays N and D and gives the cost, rising in both: attention, embeddings apart, or
    RepeatedData. Raises InputError for a column that is not there.

    >>> attention = lambda n, d: 6 * n * d + 12 * 24 * 1024 * 2048 * d  # layers x width x context, Kaplan et al. 2020
    """
    size = fit.inputs["N"]
    if isinstance(cost, TrainingCost):
        return cost
    if cost is None or isinstance(cost, int | float):
        factor = float(cost if cost is not None else FORWARD.get(size, 6.0))
        counted = size in (*FORWARD, "params", "N") and fit.inputs.get("D") not in LENGTHS
        flops = "FLOPs, " if cost is None and counted else ""
        return TrainingCost(f"{flops}{factor:g} x {size} x data", lambda n, d: factor * n * d, (factor, 1.0, 1.0))
    if callable(cost):
        words = getattr(cost, "__name__", str(cost))
        return TrainingCost("a function" if words == "<lambda>" else words, cost, seen=getattr(cost, "seen", None))
    if cost not in fit.table:
        raise InputError(f"No column {cost!r} for the cost of training; the table has {', '.join(fit.table.columns)}.")
    if "D" not in fit.inputs:
        raise InputError("A cost column needs a law in size and data (symbols N and D).")
    rows = fit.table[[size, fit.inputs["D"], cost]].astype(float)
    if not (rows[cost] > 0).all():
        raise InputError(f"The cost column {cost!r} must be above 0 in every fitted row.")
    logs = np.log(rows.to_numpy())
    design = np.column_stack([np.ones(len(logs)), logs[:, :2]])
    (c, p, q), *_ = np.linalg.lstsq(design, logs[:, 2], rcond=None)
    worst = float(np.expm1(np.abs(design @ [c, p, q] - logs[:, 2]).max()))
    words = f"column {cost} as {np.exp(c):.3g} N^{p:.3f} D^{q:.3f}, off by {worst:.0%} at most"
    return TrainingCost(words, lambda n, d: np.exp(c) * n**p * d**q, (float(np.exp(c)), float(p), float(q)))
