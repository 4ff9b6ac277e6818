"""What the interactive page shows, computed by the functions a user calls: `question`, `fits`, `pricing`, `optimum`.

The page holds finished answers and computes none: at every stop of its slider it shows the result of
`scalinglaws.optimum(fit, budget, unit, stages=..., price=...)` for the setting that is best there.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import infer, measurements, pooling
from scalinglaws.answer import OPTIMISTIC
from scalinglaws.decide.cost import STAGES, UNITS, pricing
from scalinglaws.decide.fitted import FittedLaw, whole
from scalinglaws.decide.optimum import FAR, INTERVAL, best_setting, optimum
from scalinglaws.schema import InputError, NoAnswer

STOPS = 72  # budgets of a slider, evenly spaced in logs from the cheapest to the most expensive measured row
ROUNDED_UP = 1.005  # times a cost, rounded to three digits, still buys it
CURVE = 40  # points of a drawn curve
COLUMNS = ("model", "steps", "cost", "value", "low", "high", "probability", "decades_beyond")  # of a candidate
NAMES = {"flops": "FLOPs", "seconds": "time", "joules": "energy", "money": "money"}
AMONG = {"curve": "the best size in the refits", "owned": "the best of the models owned",
         "new_model": "the best size for models trained anew"}  # fmt: skip
STAGE_NAMES = {"text": "text encoder", "decode": "decoder"}


@dataclass(frozen=True)
class Setting:
    """The fit of one sampler and guidance, with the rows it is drawn with."""

    label: str
    law: FittedLaw
    rows: pd.DataFrame = field(repr=False)  # repeats averaged

    def cost(self, unit, stages, price):
        """Its CostModel, as `optimum` makes it of the rows fitted."""
        price_rows = pricing(unit=unit, stages=stages, price=price)
        return price_rows(self.law.table, self.law.size_column, self.law.steps_column)

    def described(self):
        """Its label, law and rows, and its sampler and guidance where the rows say them."""
        table = self.law.table
        known = {c: table[c].iloc[0] for c in pooling.CHOICES if c in table and table[c].nunique() == 1}
        said = {c: f"{v:g}" if isinstance(v, float) else str(v) for c, v in known.items()}
        return {"label": self.label, "law": self.law.fit.law.name, "rows": self.law.fit.rows, **said}


def answers(source, quality=None, law=None, inputs=None, where=None, read_as=None, *, price=None, level=0.9,
            of="owned", stops=STOPS, **options) -> dict:  # fmt: skip
    """Everything the page shows, as JSON can hold it: one scale per unit and set of stages, one answer per budget.

    source, quality, law, inputs, where, read_as: as for `infer.question`. price: money per hour of the machine; without
    it there are no budgets in money. level, of: of the intervals, as for optimum(). stops: budgets of a scale. options
    go to fit(). Raises InputError where the table cannot be read, NoAnswer where no budget can be priced.

    >>> page = answers("tiny-ldm", where="sampler=ddim; guidance=1", stops=3, replicates=50)
    >>> [scale["key"] for scale in page["scales"]]
    ['flops', 'flops-decode', 'seconds', 'seconds-decode']
    >>> page["scales"][0]["stops"][1]["text"][0]
    'Best for 1.42e+08 FLOPs per image: c8 with 66 steps.'
    """
    question = infer.question(source, quality, law, inputs, where, choose=True, read_as=read_as)
    fits, skipped = question.fits(**options)
    settings = [Setting(label, whole(fit), measurements.repeats(fit.table, fit.quality)) for label, fit in fits.items()]
    sizes = np.unique(np.concatenate([setting.law.sizes for setting in settings]))
    scales, unpriced, asked = [], [], {"level": level, "of": of}
    for unit in UNITS:
        if unit == "money" and price is None:
            continue
        for stages in _stages(question.table, unit):
            try:
                scales.append(_scale(settings, sizes, unit, stages, price if unit == "money" else None, stops, asked))
            except InputError as error:
                unpriced.append(str(error))
    if not scales:
        hint = "Give a column of cost per image, such as gpu_ms, energy_j or gflops."
        raise NoAnswer(f"No budget can be priced: {unpriced[0]} {hint}")
    return {
        "quality": question.quality, "higher": settings[0].law.rises, "level": level,
        "interval": INTERVAL[of], "among": AMONG[of], "far": FAR,
        "data": measurements.fingerprint(question.table), "rows": len(question.table),
        "models": _models(settings, sizes), "settings": [setting.described() for setting in settings],
        "scales": scales, "read": question.sentences(), "skipped": skipped, "unpriced": unpriced,
        "optimistic": OPTIMISTIC,
    }  # fmt: skip


def _models(settings, sizes):
    """Label and colour of every size [size], in the colours of the figures; a label that two sizes share names both."""
    from matplotlib.colors import to_hex

    from scalinglaws import plots

    labels = [next(s.law.label_of(n) for s in settings if np.isclose(s.law.sizes, n).any()) for n in sizes]
    labels = [f"{one} ({n:g})" if labels.count(one) > 1 else one for one, n in zip(labels, sizes, strict=True)]
    return [{"label": label, "colour": to_hex(colour)} for label, colour in plots.colours(labels).items()]


def _stages(table, unit):
    """Sets of stages to offer: denoising alone, and with every other stage that the table has a cost for."""
    column = "seconds" if unit == "money" else unit
    columns = {name: STAGES[name][column] for name in STAGE_NAMES}
    more = [name for name, known in columns.items() if known in table and table[known].notna().any()]
    return [("denoise",), *([("denoise", *more)] if more else [])]


def _scale(settings, sizes, unit, stages, price, stops, asked):
    """One unit and set of stages: the answer at every budget, with the curves and points of every setting."""
    costs, unpriced = {}, []
    for k, setting in enumerate(settings):
        try:
            costs[k] = setting.cost(unit, stages, price)
        except InputError as error:
            unpriced.append(f"Left out {setting.label or 'the rows'}: {error}")
    if not costs:
        raise InputError(unpriced[0].partition(": ")[2])
    spent = np.concatenate([cost.per_row(settings[k].law.table) for k, cost in costs.items()])
    along = np.geomspace(spent.min(), spent.max(), stops)
    budgets = sorted({float(f"{ROUNDED_UP * budget:.3g}") for budget in along})
    found = [stop for budget in budgets if (stop := _stop(settings, costs, budget, sizes, asked))]
    sentences = list(dict.fromkeys(sentence for stop in found for sentence in stop["warnings"]))
    more = [name for name in stages if name != "denoise"]
    with_more = f" with {' and '.join(STAGE_NAMES[m] for m in more)}" if more else ""
    currency = next(iter(costs.values())).currency or "money"
    return {
        "key": "-".join([unit, *more]), "unit": unit, "symbol": "" if unit == "money" else UNITS[unit],
        "currency": currency,
        "name": NAMES[unit] + with_more, "stages": list(stages), "warnings": sentences,
        "stops": [stop | {"warnings": [sentences.index(one) for one in stop["warnings"]]} for stop in found],
        "shown": [_drawn(s, costs[k], sizes, asked["of"]) if k in costs else None for k, s in enumerate(settings)],
        "skipped": unpriced, "notes": list(dict.fromkeys(note for cost in costs.values() for note in cost.notes)),
    }  # fmt: skip


def _stop(settings, costs, budget, sizes, asked):
    """The answer at one budget, best setting first; None where the budget buys nothing in any setting."""
    optima = {}
    for k, cost in costs.items():
        try:
            optima[k] = optimum(settings[k].law.fit, budget, cost=cost, **asked)
        except NoAnswer:
            continue
    if not optima:
        return None
    first, table = best_setting(optima)
    best, fit = optima[first], settings[first].law.fit
    rows = best.candidates.to_dict("records")
    return {
        "budget": budget, "setting": int(first), "model": _place(best.size, sizes),
        "text": best.summary().partition("\nWarning: ")[0].split("\n"), "warnings": [*best.warnings, *fit.warnings],
        "flat": [_place(row["size"], sizes) for row in rows if row["model"] in best.flat],
        "candidates": [_numbers(row, sizes) for row in rows],
        "settings": [[int(k), *_numbers(_chosen(optima[k]), sizes)] for k in table["setting"]],
    }  # fmt: skip


def _chosen(best):
    """The candidate that an optimum chose."""
    return next(row for row in best.candidates.to_dict("records") if row["size"] == best.size)


def _numbers(row, sizes):
    """COLUMNS of a candidate."""
    return [_place(row["size"], sizes), *(_short(row[column]) for column in COLUMNS[1:])]


def _drawn(setting, cost, sizes, of):
    """What is drawn of a setting: measured points, their frontier, and the curve of every size along the cost."""
    rows, law = setting.rows, setting.law
    spent, quality = cost.per_row(rows), rows[law.quality].to_numpy(float)
    error = rows.get(f"{law.quality}_se", pd.Series(np.nan, rows.index))
    points = [[_place(size, sizes), *map(_short, numbers)]
              for size, *numbers in zip(rows[law.size_column], spent, quality, error, strict=True)]  # fmt: skip
    order = np.lexsort([-quality if law.rises else quality, spent])
    loss = (-quality if law.rises else quality)[order]
    kept = order[loss < np.minimum.accumulate(np.concatenate([[np.inf], loss[:-1]]))]  # no cheaper point is as good
    curves = []
    if law.steps_column:
        span = law.table[law.steps_column].astype(float)
        steps = np.geomspace(span.min(), span.max(), CURVE)
        own = np.exp(law.expected_errors({law.axes[0]: law.sizes}, of))
        for size, shift in zip(law.sizes, own, strict=True):
            pairs = zip(cost.per_image(size, steps), shift * law.quality_at(size, steps), strict=True)
            curves.append([_place(size, sizes), [[_short(x), _short(y)] for x, y in pairs]])
    return {"points": points, "curves": curves, "frontier": [points[k][1:3] for k in kept]}


def _place(size, sizes):
    """The number of a size on the page."""
    return int(np.abs(np.log(sizes / size)).argmin())


def _short(value):
    """Nine digits: more than any text on the page shows; None where there is no number."""
    value = float(f"{value:.9g}")
    return (int(value) if value.is_integer() and abs(value) < 1e15 else value) if np.isfinite(value) else None
