"""What sampling costs per image: fixed + per_call · calls(steps), for each size, in one unit, summed over stages.

Calls are network evaluations per image as counted on the run (column `nfe`): classifier-free guidance doubles them, a
second-order solver may need two per step. Stages: denoise scales with calls, text (encoding the condition) and decode
(of the latent) are paid once per image. FLOPs come from the architecture, seconds and joules from a straight line
through the measured runs of each size, money from seconds and a price per hour.

A measured row, a fitted curve, an optimum and a crossover are all priced by the same CostModel, so that one figure has
one definition of cost.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scalinglaws import units
from scalinglaws.decide.arguments import check_positive
from scalinglaws.schema import InputError

UNITS = {"flops": "FLOPs", "seconds": "s", "joules": "J", "money": "money"}  # unit: as written after a number


def written(unit, currency=""):
    """A unit as written after a number; money by its currency, where that is known."""
    return currency if unit == "money" and currency else UNITS[unit]


STAGES = {  # stage: {unit: column of its cost per image}
    "denoise": {"flops": "flops_per_image", "seconds": "seconds_per_image", "joules": "joules_per_image"},
    "text":    {"flops": "flops_text",      "seconds": "seconds_text",      "joules": "joules_text"},
    "decode":  {"flops": "flops_decode",    "seconds": "seconds_decode",    "joules": "joules_decode"},
}  # fmt: skip
FORWARD = (("flops_per_forward", 1.0), ("gflops_per_forward", 1e9))  # column, FLOPs in one unit of it
MACHINE = ("device", "threads", "sampling_batch", "dtype")  # what a time belongs to
ROUNDING = 1 + 1e-9  # on what a budget buys: one of exactly the cost of a cell buys it, whatever the last digit
DEVIATION = {"flops": 0.01, "seconds": 0.1, "joules": 0.1}  # relative; measured costs further from the model are noted


@dataclass(frozen=True)
class Calls:
    """Network evaluations per image at a number of steps: per_step · steps + extra."""

    per_step: float
    extra: float = 0.0
    column: str = "steps"  # of the steps; "nfe" where steps are counted in evaluations

    def of(self, table):
        """Evaluations of each measured row [row]: as counted (`nfe`) where all are, else by its steps."""
        if self.column == "nfe" or _has(table, "nfe"):
            return table["nfe"].to_numpy(float)
        return self.at(table[self.column] if self.column in table else np.ones(len(table)))

    def at(self, steps):
        """Evaluations per image [n] at steps [n]."""
        return self.per_step * np.asarray(steps, float) + self.extra

    def steps(self, calls):
        """Steps [n] that need this many evaluations [n]."""
        return (np.asarray(calls, float) - self.extra) / self.per_step


@dataclass(frozen=True)
class Stage:
    """One stage's share of the cost, for each measured size."""

    name: str
    per_call: np.ndarray  # [size], unit per network evaluation
    fixed: np.ndarray  # [size], unit per image


@dataclass(frozen=True)
class CostModel:
    """Cost per image in `unit`, for any size and number of steps; sizes between measured ones are interpolated in logs.

    Made by cost_model().
    """

    unit: str  # flops, seconds, joules or money
    size: str  # column of the sizes
    sizes: np.ndarray = field(repr=False)  # [size], rising, in the unit of the size column
    stages: tuple[Stage, ...] = field(repr=False)
    calls: Calls = Calls(1.0)
    notes: tuple[str, ...] = ()  # what was assumed, one sentence each
    currency: str = ""  # ISO code, of money whose price names one

    def per_image(self, size, steps):
        """Cost [n] of one image at sizes [n] and steps [n]."""
        return self.fixed(size) + self.per_call(size) * self.calls.at(steps)

    def per_row(self, table) -> np.ndarray:
        """Cost of one image of each measured row [row]: by the row's own count of evaluations where it has one."""
        _require(table, self.size)
        size = table[self.size].to_numpy(float)
        return self.fixed(size) + self.per_call(size) * self.calls.of(table)

    def steps(self, size, budget):
        """Steps the budget buys at a size: a real number, below 1 if it buys none."""
        return self.calls.steps((budget - self.fixed(size)) / self.per_call(size))

    def per_call(self, size):
        """Cost [n] of one network evaluation at sizes [n]."""
        x, known = np.log(size), np.log(self.sizes)
        values = np.log(sum(stage.per_call for stage in self.stages))
        if len(known) == 1:
            return np.exp(values[0] + (np.asarray(x, float) - known[0]))
        i = np.clip(np.searchsorted(known, x) - 1, 0, len(known) - 2)  # the end segments are prolonged
        slope = (values[i + 1] - values[i]) / (known[i + 1] - known[i])
        return np.exp(values[i] + slope * (x - known[i]))

    def fixed(self, size):
        """Cost [n] per image apart from its evaluations, at sizes [n]."""
        return np.interp(np.log(size), np.log(self.sizes), sum(stage.fixed for stage in self.stages))

    def counting(self, table, steps=None):
        """This cost with the evaluations per step of other rows, such as those of another sampler."""
        calls, notes = calls_from(table, steps or self.calls.column)
        if calls == self.calls:  # what was assumed is said, where it matters
            return self
        return replace(self, calls=calls, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    @property
    def label(self) -> str:
        """What is counted, for the axis of a figure."""
        names = " + ".join(stage.name for stage in self.stages)
        unit = written(self.unit, self.currency)
        return f"sampling cost per image ({unit}{f'; {names}' if len(self.stages) > 1 else ''})"

    def to_frame(self) -> pd.DataFrame:
        """One row per size and stage: size, stage, per_call, fixed."""
        parts = [pd.DataFrame({self.size: self.sizes, "stage": s.name, "per_call": s.per_call, "fixed": s.fixed})
                 for s in self.stages]  # fmt: skip
        return pd.concat(parts, ignore_index=True)


def cost_model(
    table, unit="flops", *, stages=("denoise",), price=None, size="flops_per_forward", steps="steps"
) -> CostModel:
    """The cost per image, from measured rows of one sampler and one kind of guidance.

    unit: flops, seconds, joules or money. stages: which of denoise, text and decode are counted. price: money per hour
    of the machine, such as 2.5 or "$2.50/h", for unit="money". size, steps: the law's columns. InputError where a
    stage has no data.

    >>> import scalinglaws as sl
    >>> rows = sl.read("tiny-ldm").query("sampler == 'ddim' and guidance == 1")
    >>> cost = cost_model(rows, stages=("denoise", "decode"))
    >>> print(f"{cost.per_image(2141184, steps=8):.4g} {cost.unit}")
    4.862e+07 flops
    """
    unit = units.canonical(unit)
    stages = _check_stages(stages)
    if unit == "money":
        cost = cost_model(table, "seconds", stages=stages, size=size, steps=steps)
        if price is None:
            raise InputError("A budget in money needs price=, the money an hour of the machine costs.")
        hourly = units.price(price)
        scale = check_positive(hourly.value, "price", "per hour") / units.HOUR
        paid = tuple(Stage(s.name, s.per_call * scale, s.fixed * scale) for s in cost.stages)
        return replace(cost, unit="money", stages=paid, currency=hourly.currency)
    _require(table, size)
    calls, notes = calls_from(table, steps)
    groups = list(table.groupby(size))
    measured, more = zip(*(_stage(name, unit, groups, size, calls) for name in stages), strict=True)
    mixed = [c for c in MACHINE if unit != "flops" and c in table and table[c].nunique() > 1]
    machines = [f"The {unit} were measured with {table[c].nunique()} values of {c}: keep one." for c in mixed]
    notes = () if steps in table and _cancels(table, unit, stages, groups) else notes
    said = (*notes, *(note for one in more for note in one), *machines)
    return CostModel(unit, size, np.array([n for n, _ in groups], float), measured, calls, said)


def pricing(cost=None, unit=None, stages=("denoise",), price=None):
    """How rows are priced: a function of (table, size column, steps column) that gives a CostModel.

    With `cost` that model, counting the evaluations of the rows; else one built from the rows themselves, by unit,
    stages and price as for cost_model(). InputError where both are given, or the law's size is not the model's.
    """
    if cost is None:
        unit = units.canonical(unit or "flops")
        if price is not None and unit != "money":
            raise InputError(f"price= is for unit='money'; the unit is {unit!r}.")
        return lambda table, size, steps: cost_model(
            table, unit, stages=stages, price=price, size=size, steps=steps or "steps"
        )
    if not isinstance(cost, CostModel):
        raise InputError(f"cost={cost!r}: give a CostModel, such as cost_model(rows, unit='seconds').")
    if units.canonical(unit or cost.unit) != cost.unit or price is not None or _check_stages(stages) != ("denoise",):
        raise InputError(f"Give cost= alone, or unit=, stages= and price=; the cost given is in {cost.unit}.")

    def given(table, size, steps):
        if size != cost.size:
            raise InputError(f"The cost model is by {cost.size!r}, the law by {size!r}: build it with size={size!r}.")
        return cost.counting(table, steps or "steps")

    return given


def calls_from(table, steps="steps"):
    """(Calls, notes) of the rows' sampler and guidance: the line through (steps, nfe)."""
    if steps == "nfe":
        return Calls(1.0, column="nfe"), ()
    if steps not in table:
        return Calls(1.0, column=steps), (f"No column {steps!r}: cost counts one step.",)
    if "nfe" not in table or table["nfe"].isna().all():
        doubled = "guidance" in table and (table["guidance"].fillna(1) > 1).all()
        note = f"No column 'nfe': {'two network evaluations per step (guided)' if doubled else 'one per step'} assumed."
        return Calls(2.0 if doubled else 1.0, column=steps), (note,)
    pairs = table[[steps, "nfe"]].dropna().drop_duplicates().astype(float)
    mixed = "Rows of one number of steps differ in nfe: guided and unguided, or several solvers, are averaged."
    notes = () if pairs[steps].is_unique else (mixed,)
    if pairs[steps].nunique() == 1:
        return Calls(float((pairs["nfe"] / pairs[steps]).mean()), column=steps), notes
    per_step, extra = np.polyfit(pairs[steps], pairs["nfe"], 1)
    return Calls(float(round(per_step, 9)), float(round(extra, 6)) + 0.0, steps), notes


def _cancels(table, unit, stages, groups):
    """Whether the evaluations assumed per step change no cost: rows of one guidance whose cost was measured."""
    assumed = "nfe" not in table or table["nfe"].isna().all()
    alike = "guidance" not in table or table["guidance"].nunique(dropna=False) == 1
    return assumed and alike and "denoise" in stages and _full(groups, STAGES["denoise"][unit])


def _check_stages(stages):
    stages = (stages,) if isinstance(stages, str) else stages
    if not isinstance(stages, tuple | list | set):
        raise InputError(f"stages={stages!r}: give some of {', '.join(STAGES)}.")
    unknown = [name for name in stages if name not in STAGES]
    if unknown or not stages:
        raise InputError(f"stages={stages!r}: give some of {', '.join(STAGES)}.")
    if "denoise" not in stages:
        raise InputError(f"stages={stages!r}: without 'denoise' no steps are paid for; add it.")
    return tuple(name for name in STAGES if name in stages)


def _stage(name, unit, groups, size, calls):
    """(Stage, notes) from the rows of each size that hold the stage's cost; InputError where a size has none."""
    column = STAGES[name][unit]
    if name == "denoise" and unit == "flops" and not _full(groups, column):
        for forward, flops in sorted(FORWARD, key=lambda known: known[0] != size):
            if _full(groups, forward):
                per_call = np.array([rows[forward].mean() * flops for _, rows in groups])
                return Stage(name, per_call, 0 * per_call), _convention(groups, forward)
    empty = [group for group in groups if column not in group[1] or group[1][column].isna().all()]
    if empty:
        where = f"no row of {_labels(empty)} has it" if len(empty) < len(groups) else "no row has it"
        column = "flops_per_forward" if column == "flops_per_image" else column  # either serves
        rest = "leave the stage out or write 0 where there is none" if name != "denoise" else "choose another unit"
        raise InputError(
            f"A cost in {unit} with the stage {name!r} needs the column {column!r}: {where}; give it, or {rest}."
        )
    known = [rows[rows[column].notna()] for _, rows in groups]
    if name == "denoise":
        return _per_call(unit, column, known, calls)
    fixed = np.array([rows[column].mean() for rows in known], float)
    return Stage(name, 0 * fixed, fixed), ()


def _per_call(unit, column, known, calls):
    """(Stage, notes) of denoising: for each size the line through its rows, `known`, of (evaluations, cost)."""
    counts = [calls.of(rows) for rows in known]
    spent = [rows[column].to_numpy(float) for rows in known]
    line = _ratio if unit == "flops" else _line
    per_call, fixed = np.array([line(n, s) for n, s in zip(counts, spent, strict=True)]).T
    share = per_call * [n.max() for n in counts] / [s.max() for s in spent]  # of the cost that rises with evaluations
    if (share < 1e-6).any():
        label = _labels([(0, known[int(share.argmin())])])
        raise InputError(f"{column!r} of {label} does not rise with the network evaluations: no budget buys steps.")
    modelled = [b + a * n for a, b, n in zip(per_call, fixed, counts, strict=True)]
    far = np.abs(np.concatenate(modelled) / np.concatenate(spent) - 1)
    note = f"Measured {unit} differ from the cost model by up to {far.max():.0%} (median {np.median(far):.0%})."
    return Stage("denoise", per_call, fixed), (note,) if far.max() > DEVIATION[unit] else ()


def _ratio(calls, spent):
    """(per call, 0): cost proportional to calls."""
    return float(np.mean(spent / calls)), 0.0


def _line(calls, spent):
    """(per call, fixed): the line of least relative squares with neither part below 0."""
    if len(np.unique(calls)) == 1:
        return _ratio(calls, spent)
    from scipy.optimize import nnls  # a tenth of a second to import, and only times and energies need it

    lines = np.stack([calls, np.ones_like(calls)], axis=1) / spent[:, None]
    (slope, fixed), _ = nnls(lines, np.ones_like(spent))
    return float(slope), float(fixed)


def _labels(groups):
    """Labels of sizes, from (size, rows)."""
    return ", ".join(str(rows["model"].iloc[0]) if "model" in rows else f"{size:g}" for size, rows in groups)


def _has(rows, column):
    return column in rows and rows[column].notna().all()


def _full(groups, column):
    return all(_has(rows, column) for _, rows in groups)


def _convention(groups, column):
    if column != "gflops_per_forward":
        return ()
    every = pd.concat([rows["flop_convention"] for _, rows in groups if "flop_convention" in rows] or [pd.Series()])
    said = ", ".join(dict.fromkeys(every.dropna()))
    return (f"FLOPs are as the study printed them ({said or 'convention not said'}): compare with no other study.",)


def _require(table, column):
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"A cost needs a table of measurements; got {type(table).__name__}.")
    if table.empty:
        raise InputError("A cost needs at least one measured row; the table has none.")
    if column not in table or table[column].isna().any():
        raise InputError(f"A cost needs the size column {column!r}, full; the table has {', '.join(table.columns)}.")
