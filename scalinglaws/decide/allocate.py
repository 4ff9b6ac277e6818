"""Which size and how much data for a training budget.

allocate(fit, "1e21 FLOPs")          N*, D* of a law in size and data, with intervals and the flat region

Serving beside training: `decide.serving`; the two other approaches of Hoffmann et al. 2022: `decide.isoflop`.

Cost of training is 6 N D by default (Kaplan et al. 2020: 2 FLOPs a parameter forward, 4 backward), 3 F D where the size
is a forward pass in FLOPs, a column of the table, or a function.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws.schema import InputError
from scalinglaws.units import parse

FLAT = 0.01  # quality within this share of the best: the flat region
GRID = 600  # sizes tried between the ends
DATA = ("D", "C")  # symbols of data and of training compute


@dataclass(frozen=True)
class Allocation:
    """Size and data a training budget should buy.

    size and data in the units of their columns, per_size = data / size; quality at the optimum; intervals {name: (low,
    high)} of size, data, per_size and quality from the bootstrap; flat (low, high) the sizes whose quality is within
    1 %
    of the best at this budget. decades_beyond > 0: a projection. closed is the closed form (size, data), where there
    is one.
    """

    budget: float
    size: float
    data: float
    quality: float
    cost: str
    intervals: dict
    flat: tuple
    decades_beyond: float
    level: float
    columns: tuple
    exponents: tuple | None = None
    closed: tuple | None = None
    profile: pd.DataFrame = field(default=None, repr=False, compare=False)
    notes: tuple = ()

    @property
    def per_size(self) -> float:
        return self.data / self.size

    def __repr__(self):
        return (f"<Allocation of {self.budget:.3g}: {self.columns[0]} {self.size:.3g}, "
                f"{self.columns[1]} {self.data:.3g}, {self.columns[2]} {self.quality:.4g}>")  # fmt: skip

    def to_frame(self, level=None) -> pd.DataFrame:
        """One row a quantity: value, low, high."""
        values = {"size": self.size, "data": self.data, "per_size": self.per_size, "quality": self.quality}
        return pd.DataFrame(
            [
                {"quantity": k, "value": v, "low": self.intervals[k][0], "high": self.intervals[k][1]}
                for k, v in values.items()
            ]
        )

    def summary(self) -> str:
        """The answer in plain lines."""
        size, data, quality = self.columns
        percent = f"{self.level:.0%}"
        kind = (f"a projection: {self.decades_beyond:.1f} decades beyond the fitted rows" if self.decades_beyond > 0
                else "within the range of the fitted rows")  # fmt: skip
        lines = [f"Budget {self.budget:.4g} ({self.cost}); {kind}."]
        names = {"size": size, "data": data, "per_size": f"{data} per {size}", "quality": quality}
        for row in self.to_frame().itertuples():
            lines.append(
                f"  {names[row.quantity]}: {row.value:.4g} ({percent} interval {row.low:.4g} to {row.high:.4g})"
            )
        lines.append(
            f"  {size} of {self.flat[0]:.3g} to {self.flat[1]:.3g} lose less than {FLAT:.0%}: the optimum is flat."
        )
        if self.exponents:
            lines.append(f"  {size} grows as budget^{self.exponents[0]:.3f}, {data} as budget^{self.exponents[1]:.3f}.")
        return "\n".join(lines + [f"Note: {n}" for n in self.notes])

    def _repr_html_(self):
        from scalinglaws import display

        return display.html_page(repr(self), self.summary()) if hasattr(display, "html_page") else self.summary()

    def plot(self, ax=None):
        """Quality against size along the budget, through `scalinglaws.plots.band`."""
        from scalinglaws import plots

        curve = self.profile.rename(columns={"size": "x", "quality": "value"}).assign(label="at this budget")
        points = pd.DataFrame({"x": [self.size], "y": [self.quality], "label": ["optimum"]})
        return plots.band(curve, points, self.columns[0], self.columns[2], ax)


@dataclass(frozen=True)
class TrainingCost:
    """Cost of training: words; of(N, D) an increasing function of both; power (c, p, q) where it is c N^p D^q."""

    words: str
    of: object
    power: tuple | None = None

    def data(self, sizes, budget):
        """D that the budget leaves for each size, by formula or bisection; 0 where the size alone is too dear."""
        sizes = np.asarray(sizes, float)
        if self.power:
            c, p, q = self.power
            return (budget / (c * sizes**p)) ** (1 / q)
        low, high = np.full(sizes.shape, -20.0), np.full(sizes.shape, 50.0)  # log10 D
        for _ in range(80):
            middle = (low + high) / 2
            over = self.of(sizes, 10**middle) > budget
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return np.where(self.of(sizes, 10.0**-20) > budget, 0.0, 10**low)


def training_cost(fit, cost=None) -> TrainingCost:
    """The cost model of a fit: None for 6 N D (3 F D where size is FLOPs per forward), a column, a number, a function.

    A number c means c N D. A column of the fit's table is described by c N^p D^q, with its largest deviation in the
    words.
    """
    size = fit.inputs["N"]
    if cost is None:
        factor = {"flops_per_forward": 3.0, "macs_per_forward": 6.0, "gflops_per_forward": 3e9}.get(size, 6.0)
        return TrainingCost(f"{factor:g} x {size} x data", lambda n, d: factor * n * d, (factor, 1.0, 1.0))
    if callable(cost):
        return TrainingCost(getattr(cost, "__name__", "a function"), cost)
    if isinstance(cost, int | float):
        return TrainingCost(f"{cost:g} x {size} x data", lambda n, d: cost * n * d, (float(cost), 1.0, 1.0))
    if cost not in fit.table:
        raise InputError(f"No column {cost!r} for the cost of training; the table has {', '.join(fit.table.columns)}.")
    if "D" not in fit.inputs:
        raise InputError("A cost column needs a law in size and data (symbols N and D).")
    logs = np.log(fit.table[[size, fit.inputs["D"], cost]].to_numpy(float))
    design = np.column_stack([np.ones(len(logs)), logs[:, :2]])
    (c, p, q), *_ = np.linalg.lstsq(design, logs[:, 2], rcond=None)
    worst = float(np.expm1(np.abs(design @ [c, p, q] - logs[:, 2]).max()))
    words = f"column {cost} as {np.exp(c):.3g} N^{p:.3f} D^{q:.3f}, off by {worst:.0%} at most"
    return TrainingCost(words, lambda n, d: np.exp(c) * n**p * d**q, (float(np.exp(c)), float(p), float(q)))


def allocate(fit, budget, unit="flops", *, cost=None, sizes=None, level=0.9) -> Allocation:
    """The size and data that a training budget should buy.

    fit: a Fit of a law in N and D (such as chinchilla) or in N and training compute C (size_training); budget: a number
    or text with a unit ("1e21 FLOPs"); cost: see `training_cost`; sizes: (low, high) to look between (default: the
    fitted sizes, 1,000 times either way). Raises InputError.

    >>> import numpy as np, pandas as pd
    >>> from scalinglaws.fitting import fit
    >>> N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    >>> runs = pd.DataFrame({"N": N, "D": D, "loss": 1.8172 + 482.01 * N**-0.3478 + 2085.43 * D**-0.3658})
    >>> law = fit(runs, "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=5)  # Besiroglu et al. 2024
    >>> answer = allocate(law, "5.76e23 FLOPs")
    >>> 15 < answer.per_size < 30  # about 20 tokens a parameter
    True
    """
    spend = parse(budget, unit).value
    if not spend > 0:
        raise InputError(f"A training budget of {budget!r} buys nothing: give a number above 0, such as '1e21 FLOPs'.")
    law = _check(fit)
    model = training_cost(fit, cost)
    size, data, quality = _optimum(fit, model, spend, fit.theta[None], sizes)
    drawn = _optimum(fit, model, spend, np.asarray(fit.replicates), sizes)
    tails = [(1 - level) / 2, (1 + level) / 2]
    named = {"size": drawn[0], "data": drawn[1], "per_size": drawn[1] / drawn[0], "quality": drawn[2]}
    intervals = {k: tuple(np.quantile(v[np.isfinite(v)], tails).tolist()) for k, v in named.items()}
    grid, values = _profile(fit, model, spend, fit.theta[None], sizes)
    good = np.flatnonzero(values[0] <= values[0].min() * (1 + FLAT))
    closed, exponents = closed_form(fit, model, spend)
    notes = _notes(fit, grid, size[0], law)
    return Allocation(
        spend, float(size[0]), float(data[0]), float(quality[0]), model.words, intervals,
        (float(grid[good[0]]), float(grid[good[-1]])), _beyond(fit, size[0], data[0], spend), level,
        (fit.inputs["N"], fit.inputs.get("D", "data"), fit.quality), exponents, closed,
        pd.DataFrame({"size": grid, "data": model.data(grid, spend), "quality": values[0]}), notes,
    )  # fmt: skip


def closed_form(fit, model: TrainingCost, budget):
    """((N*, D*), exponents of the budget) of E + A N^-a + B D^-b at cost c N^p D^q; (None, None) for other laws.

    N* = (a A q / (b B p))^(q / (a q + b p)) (budget / c)^(b / (a q + b p)): Hoffmann et al. 2022, eq. 4, with p = q =
    1.
    """
    if fit.law.name != "chinchilla" or not model.power:
        return None, None
    v, (c, p, q) = fit.values, model.power
    a, b = v["a"], v["b"]
    if min(v["A"], v["B"], a, b) <= 0:
        return None, None
    total = a * q + b * p
    size = (a * v["A"] * q / (b * v["B"] * p)) ** (q / total) * (budget / c) ** (b / total)
    return (size, float(model.data(size, budget))), (b / total, a / total)


def _check(fit):
    law = fit.law
    if "N" not in law.inputs or not any(s in law.inputs for s in DATA) or len(law.inputs) != 2:
        raise InputError(
            f"allocate needs a law in size and data (N and D) or size and training compute (N and C); {law.name!r} has "
            f"{', '.join(law.inputs)}. Fit 'chinchilla', 'kaplan' or 'size_training'."
        )
    return law


def ends(fit, sizes):
    if sizes is not None:
        return float(sizes[0]), float(sizes[1])
    held = fit.table[fit.inputs["N"]].to_numpy(float)
    return held.min() / 1e3, held.max() * 1e3


def _profile(fit, model, budget, theta, sizes):
    """(sizes [n], quality [replicate, n]) along the budget."""
    grid = np.geomspace(*ends(fit, sizes), GRID)
    return grid, _along(fit, model, budget, theta, grid)


def _along(fit, model, budget, theta, grid):
    if "C" in fit.law.inputs:
        inputs = {"N": grid, "C": np.full(grid.shape, budget)}
    else:
        inputs = {"N": grid, "D": np.maximum(model.data(grid, budget), 1e-12)}
    with np.errstate(all="ignore"):
        values = np.asarray(fit.curve(inputs, theta))
    return np.where(np.isfinite(values), values, np.inf)


def _optimum(fit, model, budget, theta, sizes):
    """Numeric (N*, D*, quality) [replicate]: the best of the grid, then a parabola through its neighbours, in ln N."""
    grid, values = _profile(fit, model, budget, theta, sizes)
    best = np.clip(values.argmin(1), 1, len(grid) - 2)
    rows = np.arange(len(values))
    left, middle, right = (values[rows, best + k] for k in (-1, 0, 1))
    curvature = left - 2 * middle + right
    with np.errstate(all="ignore"):
        shift = np.where(curvature > 0, np.clip(0.5 * (left - right) / curvature, -1, 1), 0.0)
        found = middle - 0.25 * (left - right) * shift
    size = np.exp(np.log(grid[best]) + shift * np.log(grid[1] / grid[0]))
    return size, model.data(size, budget), found


def _beyond(fit, size, data, budget):
    """Decades by which the optimum lies outside the fitted rows, the most of its inputs."""
    at = {"N": size, "D": data, "C": budget}
    reach = [0.0]
    for symbol in fit.law.inputs:
        held = fit.table[fit.inputs[symbol]].to_numpy(float)
        reach += [np.log10(at[symbol] / held.max()), np.log10(held.min() / at[symbol])]
    return float(max(reach))


def _notes(fit, grid, size, law):
    notes = []
    if size < grid[0] * 1.02 or size > grid[-1] / 1.02:
        notes.append(
            "The optimum lies at an end of the sizes tried: the law gives none inside, or `sizes` is too narrow."
        )
    if "C" in law.inputs:
        notes.append("The law is in training compute, so the cost model only turns size and budget into data.")
    return tuple(notes)
