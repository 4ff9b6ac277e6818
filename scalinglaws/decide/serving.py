"""Which size and how much data where training and a lifetime of serving are paid together.

serve(fit, quality, served)     Sardana et al. 2024, arXiv:2401.00448, with steps and guidance in the cost of serving
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws.decide.allocate import GRID, ends, training_cost
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Serving:
    """Size, data (and steps) of least total cost, training and serving together, at a wanted quality."""

    size: float
    data: float
    steps: float | None
    total: float
    training: float
    serving: float
    quality: float
    intervals: dict
    training_only: tuple  # size and data if nothing were served
    columns: tuple
    level: float

    def summary(self) -> str:
        """The answer in plain lines."""
        steps = f", {self.steps:.0f} sampling steps" if self.steps else ""
        low, high = self.intervals["size"]
        return (
            f"For {self.columns[2]} {self.quality:.4g}: {self.columns[0]} {self.size:.4g} ({self.level:.0%} interval "
            f"{low:.4g} to {high:.4g}), {self.columns[1]} {self.data:.4g}{steps}.\n"
            f"Total cost {self.total:.4g}: training {self.training:.4g}, serving {self.serving:.4g}.\n"
            f"Training alone would take {self.columns[0]} {self.training_only[0]:.4g}, {self.columns[1]} "
            f"{self.training_only[1]:.4g}."
        )

    def to_frame(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([{k: getattr(self, k) for k in ("size", "data", "steps", "total", "training", "serving")}])


def serve(fit, quality, served, *, cost=None, per_item=None, steps=None, calls=1.0, sizes=None, level=0.9) -> Serving:
    """The size and training that make a wanted quality cheapest over a lifetime of serving.

    fit: a law in N and D, or N, D and S (sampling steps; one joint law fitted on rows of both kinds). quality: the
    value wanted. served: items over the lifetime. per_item(N): FLOPs of one forward pass of an item (default 2 N, or
    the size itself where its column is FLOPs per forward). steps: step counts allowed, where the law has S. calls:
    network evaluations per step (2 under classifier-free guidance). Sardana et al. 2024, arXiv:2401.00448, eq. 3, with
    steps. Raises InputError.
    """
    if "N" not in fit.law.inputs or "D" not in fit.law.inputs:
        raise InputError(f"serve needs a law in N and D; {fit.law.name!r} has {', '.join(fit.law.inputs)}.")
    if "S" in fit.law.inputs and steps is None:
        raise InputError("The law has sampling steps S: give the step counts allowed, such as steps=[8, 16, 32].")
    model = training_cost(fit, cost)
    forward = per_item or ((lambda n: n) if fit.inputs["N"] == "flops_per_forward" else (lambda n: 2.0 * n))
    counts = np.atleast_1d(np.asarray(steps, float)) if "S" in fit.law.inputs else np.array([1.0])
    grid = np.geomspace(*ends(fit, sizes), GRID // 2)
    options = (fit, model, forward, quality, grid, counts, calls)
    best = _cheapest(*options, served, fit.theta)
    if best is None:
        floor = float(np.min(fit.curve(_inputs(fit, grid, np.full(grid.shape, 1e30), counts.max()))))
        raise InputError(
            f"No size reaches {fit.quality} {quality:g} by this law, whose best is {floor:.4g}: ask for less."
        )
    alone = _cheapest(*options, 0.0, fit.theta)
    draws = [_cheapest(*options, served, t) for t in np.asarray(fit.replicates)[:200]]
    kept = np.array([d[:2] for d in draws if d is not None])
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals = {name: tuple(np.quantile(kept[:, i], tails).tolist()) for i, name in enumerate(("size", "data"))}
    size, data, count, training, serving = best
    return Serving(size, data, count if "S" in fit.law.inputs else None, training + serving, training, serving, quality,
                   intervals, alone[:2], (fit.inputs["N"], fit.inputs["D"], fit.quality), level)  # fmt: skip


def _inputs(fit, sizes, data, count):
    inputs = {"N": sizes, "D": data}
    return inputs | {"S": np.full(sizes.shape, count)} if "S" in fit.law.inputs else inputs


def _cheapest(fit, model, forward, quality, grid, counts, calls, served, theta):
    """(size, data, steps, training, serving) of least cost; None if no size reaches the quality."""
    best = None
    for count in counts:
        low, high = np.full(grid.shape, -3.0), np.full(grid.shape, 30.0)  # log10 D
        with np.errstate(all="ignore"):
            reached = fit.curve(_inputs(fit, grid, 10**high, count), theta) <= quality
            for _ in range(60):
                middle = (low + high) / 2
                good = fit.curve(_inputs(fit, grid, 10**middle, count), theta) <= quality
                low, high = np.where(good, low, middle), np.where(good, middle, high)
            training = np.where(reached, model.of(grid, 10**high), np.inf)
        serving = served * forward(grid) * count * calls
        total = training + serving
        k = int(np.argmin(total))
        if np.isfinite(total[k]) and (best is None or total[k] < best[3] + best[4]):
            best = (float(grid[k]), float(10 ** high[k]), float(count), float(training[k]), float(serving[k]))
    return best
