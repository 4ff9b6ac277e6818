"""Which size and how much data for a training budget.

allocate(fit, "1e21 FLOPs")          N*, D* of a law in size and data, with intervals and the flat region
along_budgets(fit, budgets)          the same for many budgets, as one table

What a training costs: `decide.training_cost`; serving beside training: `decide.serving`; the two other approaches of
Hoffmann et al. 2022: `decide.isoflop`.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.arguments import check_falls, check_level, check_positive
from scalinglaws.decide.training_cost import LENGTHS, TrainingCost, training_cost
from scalinglaws.schema import InputError
from scalinglaws.units import parse

FLAT = 0.01  # quality within this share of the best: the flat region
GRID = 600  # sizes tried between the ends
BEYOND = 1e3  # sizes are tried this many times beyond the fitted ones, either way
FARTHEST = 12  # decades of budget beyond the rows that are refused
DATA = ("D", "C")  # symbols of data and of training compute


@dataclass(frozen=True)
class Allocation:
    """Size and data a training budget should buy.

    size and data in the units of their columns; quality at the optimum; intervals {name: (low, high)} of size, data,
    per_size, quality and exponent from the bootstrap, the exponent's from replicates with an optimum inside the sizes;
    flat (low, high): the sizes whose quality is within 1 % of the best at this budget. decades_beyond > 0: a
    projection. exponents (of size, of data) with which the optimum grows with the budget; closed: the closed form
    (size, data), where there is one. seen: items processed, more than `data` where they repeat; epochs = seen / unique,
    train_steps = seen / batch, where these were given.
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
    exponents: tuple
    closed: tuple | None = None
    seen: float | None = None
    epochs: float | None = None
    train_steps: float | None = None
    profile: pd.DataFrame = field(default=None, repr=False, compare=False)
    warnings: tuple = ()
    notes: tuple = ()

    @property
    def per_size(self) -> float:
        """Data per unit of size: tokens or images per parameter."""
        return self.data / self.size

    def __repr__(self):
        return (f"Allocation({self.budget:.3g}: {self.columns[0]} {self.size:.3g}, "
                f"{self.columns[1]} {self.data:.3g}, {self.columns[2]} {self.quality:.4g})")  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """One row per quantity: quantity, value, low, high."""
        values = {"size": self.size, "data": self.data, "per_size": self.per_size, "quality": self.quality}
        rows = [(k, v, *self.intervals[k]) for k, v in values.items()]
        scale = np.array(self.intervals["data"]) / self.data  # of epochs and steps: as the data
        for name in ("epochs", "train_steps"):
            value = getattr(self, name)
            if value is not None:
                rows.append((name, value, *(value * scale)))
        return pd.DataFrame(rows, columns=["quantity", "value", "low", "high"])

    def summary(self) -> str:
        """The answer in plain lines."""
        return "\n".join([*self._lines(), *(f"Warning: {w}" for w in self.warnings)])

    def _lines(self):
        size, data, quality = self.columns
        names = {"size": size, "data": data, "per_size": f"{data} per {size}", "quality": quality}
        low, high = self.intervals["exponent"]
        said = "a projection" if self.decades_beyond > 0 else "a prediction, within the range of the fitted rows"
        lines = [f"Budget {self.budget:.4g} ({self.cost}): {said}."]
        for row in self.to_frame().itertuples():
            span = f"{self.level:.0%} interval {row.low:.4g} to {row.high:.4g}"
            lines.append(f"  {names.get(row.quantity, row.quantity)}: {row.value:.4g} ({span})")
        span = f" ({low:.3f} to {high:.3f})" if np.isfinite(low) else ""
        lines.append(f"  {size} grows as budget^{self.exponents[0]:.3f}{span}.")
        lines.append(
            f"  {size} of {self.flat[0]:.3g} to {self.flat[1]:.3g} lose less than {FLAT:.0%}: the optimum is flat."
        )
        return [*lines, *self.notes]

    def _repr_html_(self):
        lines = self._lines()
        rows = len(self.to_frame())  # lines that the table holds
        return display.html_page(repr(self), self.to_frame(), self.warnings, (lines[0], *lines[1 + rows :]))

    def plot(self, ax=None):
        """Quality against size along the budget, with the interval of the optimum; returns the matplotlib Axes."""
        from scalinglaws import plots

        best = pd.DataFrame([{"budget": self.budget, "size": self.size, "quality": self.quality,
                              "low": self.intervals["size"][0], "high": self.intervals["size"][1]}])  # fmt: skip
        curve = self.profile.assign(budget=self.budget)
        shown = curve[curve["quality"] <= 2 * self.quality]
        return plots.isoflop_profiles(shown, best, None, self.columns[0], self.columns[2], self.cost, ax)


def allocate(
    fit, budget, unit="flops", *, cost=None, sizes=None, level=0.9, at=None, batch=None, unique=None
) -> Allocation:
    """The size and data that a training budget should buy.

    fit: a Fit of a law in N and D (such as chinchilla) or in N and training compute C (size_training); budget: a number
    or text with a unit ("1e21 FLOPs"); cost: see `training_cost`; sizes: (low, high) to look between (default: the
    fitted sizes, 1,000 times either way; an optimum at an end of them has no width); at: values of other inputs of the
    law, such as {"S": 32}. batch: items per training step, to have train_steps; unique: different items there are, to
    have epochs. level: of the intervals. Raises InputError.

    >>> import numpy as np, pandas as pd
    >>> from scalinglaws.fitting import fit
    >>> N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    >>> runs = pd.DataFrame({"N": N, "D": D, "loss": 1.8172 + 482.01 * N**-0.3478 + 2085.43 * D**-0.3658})
    >>> law = fit(runs, "chinchilla", "loss", {"N": "N", "D": "D"}, replicates=5)  # Besiroglu et al. 2024
    >>> answer = allocate(law, "5.76e23 FLOPs")
    >>> 15 < answer.per_size < 30  # about 20 tokens per parameter
    True

    With few data, repeated (Muennighoff et al. 2023), the same budget is better spent on a larger model:

    >>> from scalinglaws.decide.training_cost import RepeatedData
    >>> few = allocate(law, "5.76e23 FLOPs", cost=RepeatedData(2e11))
    >>> few.size > answer.size and few.epochs > 1
    True
    """
    level, at, model = check_level(level), _check(fit, at), training_cost(fit, cost)
    spend = _spend(budget, unit, fit, model)
    unique = getattr(cost, "unique", None) if unique is None else unique
    draws = np.asarray(fit.curve_replicates)
    best, drawn = (_optimum(fit, model, spend, theta, sizes, at) for theta in (fit.theta[None], draws))
    growth, grown = (_exponent(fit, model, spend, theta, sizes, at) for theta in (fit.theta[None], draws))
    grid, values = profile_at(fit, model, spend, fit.theta[None], sizes, at)
    grown = np.where(_at_end(grid, best["size"]) | _at_end(grid, drawn["size"]), np.nan, grown)
    named = drawn | {"per_size": drawn["data"] / drawn["size"], "exponent": grown}
    good = np.flatnonzero(values[0] <= values[0].min() * (1 + FLAT))
    size, data, quality = (float(best[name][0]) for name in ("size", "data", "quality"))
    closed, exponents = closed_form(fit, model, spend)
    seen = data if model.seen is None else float(model.seen(data))
    beyond = decades_beyond(fit, {"N": size, "D": data, "C": spend})
    return Allocation(
        budget=spend, size=size, data=data, quality=quality, cost=model.words, intervals=intervals(named, level),
        flat=(float(grid[good[0]]), float(grid[good[-1]])), decades_beyond=beyond, level=level,
        columns=(fit.inputs["N"], fit.inputs.get("D", "data"), fit.quality),
        exponents=exponents or (float(growth[0]), _data_exponent(model, growth[0])), closed=closed, seen=seen,
        epochs=None if unique is None else seen / check_positive(unique, "unique"),
        train_steps=None if batch is None else seen / check_positive(batch, "batch"),
        profile=pd.DataFrame({"size": grid, "data": model.data(grid, spend), "quality": values[0]}),
        warnings=(*_unpriced(fit, cost), *_warnings(grid, size, beyond, named["size"])), notes=_notes(fit, seen, data),
    )  # fmt: skip


def along_budgets(fit, budgets, unit="flops", *, cost=None, sizes=None, level=0.9, at=None) -> pd.DataFrame:
    """N*, D* and quality for many budgets, a row each: budget, and size, data, quality, each with _low and _high.

    Arguments as for `allocate`. Raises InputError.
    """
    at, model, draws, rows = _check(fit, at), training_cost(fit, cost), np.asarray(fit.curve_replicates), []
    for spend in (_spend(budget, unit, fit, model) for budget in budgets):
        best = _optimum(fit, model, spend, fit.theta[None], sizes, at)
        spans = intervals(_optimum(fit, model, spend, draws, sizes, at), check_level(level))
        row = {"budget": spend}
        for name, value in best.items():
            row |= {name: float(value[0]), f"{name}_low": spans[name][0], f"{name}_high": spans[name][1]}
        rows.append(row)
    return pd.DataFrame(rows)


def closed_form(fit, model: TrainingCost, budget):
    """((N*, D*), exponents of the budget) of E + A N^-a + B D^-b at cost c N^p D^q; (None, None) for other laws.

    N* = (a A q / (b B p))^(q / (a q + b p)) (budget / c)^(b / (a q + b p)) for A N^-a and B (c N^p / budget)^(b / q):
    Hoffmann et al. 2022, eq. 4, with p = q = 1.
    """
    if fit.law.name != "chinchilla" or not model.power:
        return None, None
    v, (c, p, q) = fit.values, model.power
    a, b = v["a"], v["b"]
    if min(v["A"], v["B"], a, b) <= 0:
        return None, None
    total = a * q + b * p
    size = (a * v["A"] * q / (b * v["B"] * p)) ** (q / total) * (budget / c) ** (b / total)
    return (float(size), float(model.data(size, budget))), (b / total, a / total)


def ends(fit, sizes=None):
    """(low, high) between which sizes are tried."""
    if sizes is not None:
        return check_positive(sizes[0], "sizes"), check_positive(sizes[1], "sizes")
    held = fit.table[fit.inputs["N"]].to_numpy(float)
    return held.min() / BEYOND, held.max() * BEYOND


def _spend(budget, unit, fit, model):
    """The budget as a number; InputError where it buys nothing, or lies so far from the rows that no law holds."""
    spend = parse(budget, unit).value
    if not spend > 0:
        raise InputError(f"A training budget of {budget!r} buys nothing: give a number above 0, such as '1e21 FLOPs'.")
    rows = {
        symbol: fit.table[column].to_numpy(float) for symbol, column in fit.inputs.items() if symbol in ("N", *DATA)
    }
    spent = np.log10(rows["C"] if "C" in rows else model.of(rows["N"], rows["D"]))
    far, side = max((np.log10(spend) - spent.max(), "above"), (spent.min() - np.log10(spend), "below"))
    if far > FARTHEST:
        raise InputError(
            f"A training budget of {budget!r} is {far:.0f} decades {side} the fitted rows, which cost "
            f"{10 ** spent.min():.3g} to {10 ** spent.max():.3g}: no law holds so far; check its unit."
        )
    return spend


def _check(fit, at):
    """Values of the law's inputs other than size and data, or InputError."""
    law, at = fit.law, dict(at or {})
    check_falls(fit, "allocate")
    rest = [s for s in law.inputs if s != "N" and s not in DATA]
    if "N" not in law.inputs or len(law.inputs) - len(rest) != 2:
        raise InputError(
            f"allocate needs a law in size and data (N and D) or size and training compute (N and C); {law.name!r} has "
            f"{', '.join(law.inputs)}. Fit 'chinchilla', 'kaplan' or 'size_training'."
        )
    if set(at) != set(rest):
        needed = f"at= with a value of {', '.join(rest)}" if rest else "no at="
        raise InputError(
            f"The law {law.name!r} has the inputs {', '.join(law.inputs)}: give {needed}; got {at or None}."
        )
    return at


def profile_at(fit, model, budget, theta, sizes, at):
    """(sizes [n], quality [replicate, n]) along the budget, for theta [replicate, parameter]."""
    grid = np.geomspace(*ends(fit, sizes), GRID)
    inputs = {"N": grid} | {symbol: np.full(grid.shape, float(value)) for symbol, value in at.items()}
    if "C" in fit.law.inputs:
        inputs["C"] = np.full(grid.shape, budget)
    else:
        inputs["D"] = np.maximum(model.data(grid, budget), 1e-12)
    values = np.asarray(fit.curve(inputs, theta))
    return grid, np.where(np.isfinite(values), values, np.inf)


def _optimum(fit, model, budget, theta, sizes, at):
    """Numeric size, data, quality [replicate]: the best of the grid, then a parabola through its neighbours in ln N."""
    grid, values = profile_at(fit, model, budget, theta, sizes, at)
    best = np.clip(values.argmin(1), 1, len(grid) - 2)
    rows = np.arange(len(values))
    with np.errstate(all="ignore"):
        left, middle, right = (values[rows, best + k] for k in (-1, 0, 1))
        curvature = left - 2 * middle + right
        shift = np.where(curvature > 0, np.clip(0.5 * (left - right) / curvature, -1, 1), 0.0)
        quality = middle - 0.25 * (left - right) * shift
    size = np.exp(np.log(grid[best]) + shift * np.log(grid[1] / grid[0]))
    return {"size": size, "data": model.data(size, budget), "quality": quality}


def _exponent(fit, model, budget, theta, sizes, at):
    """d ln N* / d ln budget [replicate], by twice and half the budget."""
    half, twice = (_optimum(fit, model, budget * k, theta, sizes, at)["size"] for k in (0.5, 2.0))
    return np.log(twice / half) / np.log(4.0)


def _data_exponent(model, growth):
    """Of the data, where the cost is c N^p D^q and N grows with this exponent; nan where it is another function."""
    return (1 - model.power[1] * float(growth)) / model.power[2] if model.power else float("nan")


def intervals(named, level) -> dict:
    """{name: (low, high)} of draws {name: [replicate]}, those that are finite; nan where none is."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    finite = {k: v[np.isfinite(v)] for k, v in named.items()}
    return {k: tuple(np.quantile(v, tails).tolist()) if len(v) else (np.nan, np.nan) for k, v in finite.items()}


def decades_beyond(fit, at) -> float:
    """Decades by which the point {symbol: value} lies outside the fitted rows, the most of the law's inputs."""
    reach = [0.0]
    for symbol in set(fit.law.inputs) & set(at):
        held = fit.table[fit.inputs[symbol]].to_numpy(float)
        reach += [np.log10(at[symbol] / held.max()), np.log10(held.min() / at[symbol])]
    return float(max(reach))


def _at_end(grid, size):
    """Whether an optimum lies at an end of the sizes tried."""
    return (size < grid[0] * 1.02) | (size > grid[-1] / 1.02)


def _unpriced(fit, cost):
    """The doubt about 6 N D where D is no number of items."""
    column = fit.inputs.get("D")
    if cost is None and column in LENGTHS:
        yield (f"6 N D is FLOPs where D counts tokens or images, and {column} does not: say what a run costs by cost "
               "(--cost), a number c for c N D, such as 6 times the items of each, or a column.")  # fmt: skip


def _warnings(grid, size, beyond, drawn):
    said = []
    if beyond > 0:
        said.append(f"A projection: the optimum lies {beyond:.2g} decades beyond the fitted rows.")
    if _at_end(grid, size):
        said.append("The optimum lies at an end of the sizes tried: the law gives none inside, or `sizes` is narrow.")
    astray = float(np.mean(_at_end(grid, drawn)))
    if astray > 0.05:
        said.append(f"{astray:.0%} of the bootstrap replicates have no optimum inside the sizes tried: the interval "
                    "of the exponent leaves them out.")  # fmt: skip
    return tuple(said)


def _notes(fit, seen, data):
    notes = []
    if "C" in fit.law.inputs:
        notes.append("The law is in training compute, so the cost model only turns size and budget into data.")
    if seen > data * 1.001:
        notes.append(f"{seen:.4g} items are processed for the effect of {data:.4g} that are all new.")
    return tuple(notes)
