"""What a budget buys: cost of an image = fixed + per_call · calls(steps), for each size.

Calls are network evaluations an image, counted on the run (`nfe`): classifier-free guidance doubles them, a
second-order solver may ask twice a step. FLOPs come from the architecture, seconds and joules from a straight line
through the measured runs of each size, money from seconds and a price.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from scalinglaws.schema import InputError

FORWARD = (("flops_per_forward", 1.0), ("gflops_per_forward", 1e9))  # column, FLOPs in one unit of it
MEASURED = {  # unit: columns of (sampling, decoding) an image
    "seconds": ("seconds_per_image", "seconds_decode"),
    "joules": ("joules_per_image", "joules_decode"),
}
UNITS = ("flops", *MEASURED, "money")
MACHINE = ("device", "threads", "sampling_batch", "dtype")  # what a time belongs to
HOUR = 3600.0  # s


@dataclass(frozen=True)
class Calls:
    """Network evaluations an image at a number of steps: per_step · steps + extra."""

    per_step: float
    extra: float = 0.0

    def at(self, steps):
        """Evaluations an image."""
        return self.per_step * np.asarray(steps, float) + self.extra

    def steps(self, calls):
        """Steps that need this many evaluations."""
        return (np.asarray(calls, float) - self.extra) / self.per_step


@dataclass(frozen=True)
class Cost:
    """Cost of an image in `unit`; sizes between the measured ones are interpolated in logs."""

    unit: str
    sizes: np.ndarray  # [size], rising, in the unit of the law's size column
    per_call: np.ndarray  # [size], unit an evaluation
    fixed: np.ndarray  # [size], unit an image
    calls: Calls
    notes: tuple = ()  # sentences: what was assumed

    def per_image(self, size, steps):
        """Cost of one image, in `unit`."""
        return self.overhead(size) + self.rate(size) * self.calls.at(steps)

    def steps(self, size, budget):
        """Steps the budget buys at a size: a real number, below 1 if it buys none."""
        return self.calls.steps((budget - self.overhead(size)) / self.rate(size))

    def rate(self, size):
        """Cost of one network evaluation."""
        return np.exp(_along(np.log(size), np.log(self.sizes), np.log(self.per_call)))

    def overhead(self, size):
        """Cost of an image before its first evaluation."""
        return np.interp(np.log(size), np.log(self.sizes), self.fixed)

    def priced(self, price):
        """This cost, in seconds, as money at `price` an hour."""
        scale = price / HOUR
        return replace(self, unit="money", per_call=self.per_call * scale, fixed=self.fixed * scale)


def cost_from(table, unit="flops", size="flops_per_forward", steps="steps", decode=False, price=None):
    """Cost of an image, from measured rows of one sampler and one kind of guidance.

    `size` and `steps` name the law's columns; `decode` adds the decoding of the latent; `price` is money an hour.
    """
    if unit not in UNITS:
        raise InputError(f"No unit {unit!r} for a budget. Known units: {', '.join(UNITS)}.")
    if unit == "money" and not price:
        raise InputError("A budget in money needs price=, the money an hour of the machine costs.")
    calls, notes = calls_from(table, steps)
    column = _forward(table, size)[0] if unit == "flops" else MEASURED[_clock(unit)][0]
    _need(table, [column, size], unit)
    maker = _flops if unit == "flops" else _measured
    sizes, lines = zip(*((n, maker(g, size, calls, unit, decode)) for n, g in table.groupby(size)), strict=True)
    per_call, fixed = np.array(lines, float).T
    said = (*notes, *_convention(table, column), *_machines(table, unit))
    cost = Cost(_clock(unit), np.array(sizes, float), per_call, fixed, calls, said)
    return cost.priced(price) if unit == "money" else cost


def calls_from(table, steps="steps"):
    """(Calls, notes) of the rows' sampler and guidance; the line through (steps, nfe)."""
    if steps not in table:
        return Calls(1.0), (f"No column {steps!r}: cost counts one step.",)
    if steps == "nfe":
        return Calls(1.0), ()
    if "nfe" not in table or table["nfe"].isna().all():
        return _assumed(table)
    pairs = table[[steps, "nfe"]].dropna().drop_duplicates().astype(float)
    if pairs[steps].nunique() == 1:
        return Calls(float((pairs["nfe"] / pairs[steps]).mean())), _mixed(pairs, steps)
    per_step, extra = np.polyfit(pairs[steps], pairs["nfe"], 1)
    return Calls(float(round(per_step, 9)), float(round(extra, 6)) + 0.0), _mixed(pairs, steps)


def per_row(table, unit="flops", decode=False, price=None):
    """Cost of each row's image as measured, in `unit` [row]."""
    if unit == "flops":
        return _row_flops(table, decode)
    first, second = MEASURED[_clock(unit)]
    _need(table, [first], unit)
    seconds = table[first].to_numpy(float) + (_extra(table, second) if decode else 0.0)
    return seconds * (price / HOUR if unit == "money" else 1.0)


def _row_flops(table, decode):
    extra = _extra(table, "flops_decode") if decode else 0.0
    if "flops_per_image" in table and table["flops_per_image"].notna().all():
        return table["flops_per_image"].to_numpy(float) + extra
    column, scale = _forward(table, None)
    _need(table, [column], "flops")
    calls = table["nfe"] if "nfe" in table and table["nfe"].notna().all() else _assumed_calls(table)
    return table[column].to_numpy(float) * scale * np.asarray(calls, float) + extra


def _assumed(table):
    doubled = "guidance" in table and (table["guidance"].fillna(1) > 1).all()
    note = f"No column 'nfe': {'two network evaluations a step (guided)' if doubled else 'one a step'} assumed."
    return Calls(2.0 if doubled else 1.0), (note,)


def _assumed_calls(table):
    guided = table["guidance"].fillna(1) > 1 if "guidance" in table else False
    return table.get("steps", 1) * np.where(guided, 2, 1)


def _mixed(pairs, steps):
    if pairs[steps].is_unique:
        return ()
    return ("Rows of one number of steps differ in nfe: guided and unguided, or several solvers, are averaged.",)


def _forward(table, size):
    """(column, FLOPs a unit) of a forward pass; the law's own size column first."""
    known = dict(FORWARD)
    if size in known:
        return size, known[size]
    return next(((c, k) for c, k in FORWARD if c in table and table[c].notna().all()), FORWARD[0])


def _flops(group, size, calls, unit, decode):
    """(FLOPs an evaluation, FLOPs fixed) of one size."""
    column, scale = _forward(group, size)
    return float(group[column].mean()) * scale, float(np.mean(_extra(group, "flops_decode"))) if decode else 0.0


def _measured(group, size, calls, unit, decode):
    """(unit an evaluation, unit fixed) of one size: the line through its runs, neither part below 0."""
    first, second = MEASURED[_clock(unit)]
    spent = group[first].to_numpy(float)
    count = group["nfe"].to_numpy(float) if "nfe" in group else calls.at(group["steps"])
    extra = float(np.mean(_extra(group, second))) if decode else 0.0
    if len(np.unique(count)) == 1:
        return float(np.mean(spent / count)), extra
    lines = np.stack([count, np.ones_like(count)], axis=1) / spent[:, None]  # relative residuals
    (slope, fixed), _ = nnls(lines, np.ones_like(spent))
    return float(slope), float(fixed) + extra


def _clock(unit):
    return "seconds" if unit == "money" else unit


def _extra(table, column):
    return table[column].fillna(0.0).to_numpy(float) if column in table else np.zeros(len(table))


def _convention(table, column):
    if column != "gflops_per_forward":
        return ()
    said = ", ".join(dict.fromkeys(table["flop_convention"].dropna())) if "flop_convention" in table else ""
    return (f"FLOPs are as the study printed them ({said or 'convention not said'}): compare with no other study.",)


def _machines(table, unit):
    """A warning where times or energies of several machines are mixed."""
    if unit == "flops":
        return ()
    found = [c for c in MACHINE if c in table and table[c].nunique() > 1]
    return tuple(f"The {unit} were measured with {table[c].nunique()} values of {c}: keep one." for c in found)


def _need(table, columns, unit):
    for column in columns:
        if column not in table or table[column].isna().any():
            raise InputError(f"A budget in {unit} needs the column {column!r}, full; give it or choose another unit.")


def _along(x, known, values):
    """Straight lines through the points, the end segments prolonged."""
    if len(known) == 1:
        return values[0] + (np.asarray(x, float) - known[0])
    i = np.clip(np.searchsorted(known, x) - 1, 0, len(known) - 2)
    slope = (values[i + 1] - values[i]) / (known[i + 1] - known[i])
    return values[i] + slope * (x - known[i])
