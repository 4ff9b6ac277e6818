"""What the interactive page shows, computed by the functions a user calls: `question`, `fits`, `cost_model`, `optimum`.

The page holds finished answers and computes none: at every stop of its slider it says what
`scalinglaws.optimum(fit, budget, unit, stages=..., price=...)` says for the setting that is best there.
"""

import numpy as np
import pandas as pd

from scalinglaws import infer, measurements, schema
from scalinglaws.answer import OPTIMISTIC
from scalinglaws.decide import measured
from scalinglaws.decide.cost import STAGES, UNITS, cost_model
from scalinglaws.decide.curves import law_curves
from scalinglaws.decide.fitted import whole
from scalinglaws.decide.optimum import best_setting, optimum
from scalinglaws.schema import InputError, NoAnswer

STOPS = 72  # budgets of a slider, evenly spaced in logs from the cheapest to the most expensive measured row
COLUMNS = ("model", "steps", "cost", "value", "low", "high", "probability")  # of a candidate; a setting's row adds one
NAMES = {"flops": "FLOPs", "seconds": "time", "joules": "energy", "money": "money"}


def answers(
    source,
    quality=None,
    law=None,
    inputs=None,
    where=None,
    read_as=None,
    *,
    price=None,
    level=0.9,
    stops=STOPS,
    **options,
) -> dict:
    """Everything the page shows, as JSON can hold it: one scale a unit and set of stages, one answer a budget.

    source, quality, law, inputs, where, read_as: as for `infer.question`. price: money per hour of the machine; without
    it there are no budgets in money. level: of the intervals. stops: budgets of a scale. options go to fit(). Raises
    InputError where the table cannot be read, NoAnswer where no budget can be priced.

    >>> page = answers("tiny-ldm", where="sampler=ddim; guidance=1", stops=3, replicates=50)
    >>> [scale["key"] for scale in page["scales"]]
    ['flops', 'flops-decode', 'seconds', 'seconds-decode']
    >>> page["scales"][0]["stops"][1]["text"][0]
    'Best for 1.41e+08 FLOPs per image: c12 with 29 steps.'
    """
    question = infer.question(source, quality, law, inputs, where, choose=True, read_as=read_as)
    fits, skipped = question.fits(**options)
    models = _models(question, fits)
    scales, unpriced = [], []
    for unit in UNITS:
        if unit == "money" and price is None:
            continue
        for stages in _stages(question.table, unit):
            try:
                scales.append(_scale(fits, list(models), unit, stages, price, level, stops))
            except InputError as error:
                unpriced.append(str(error))
    if not scales:
        raise NoAnswer(f"No budget can be priced: {unpriced[0]}")
    return {
        "quality": question.quality, "higher": schema.higher_is_better(question.quality), "level": level,
        "data": measurements.fingerprint(question.table), "rows": len(question.table),
        "models": [{"label": label, "colour": colour} for label, colour in models.items()],
        "settings": [_described(label, fit) for label, fit in fits.items()], "scales": scales,
        "read": question.sentences(), "skipped": skipped, "unpriced": unpriced, "optimistic": OPTIMISTIC,
    }  # fmt: skip


def _models(question, fits):
    """{label: colour} of every size fitted, smallest first, in the colours of the figures."""
    from matplotlib.colors import to_hex

    from scalinglaws import plots

    known = {}
    for fit in fits.values():
        law = whole(fit)
        known |= dict(zip(law.size_labels, law.sizes, strict=True))
    return {label: to_hex(c) for label, c in plots.colours(sorted(known, key=known.get)).items()}


def _stages(table, unit):
    """Sets of stages to offer: denoising alone, and with every other stage that the table has a cost for."""
    column = "seconds" if unit == "money" else unit
    columns = {name: STAGES[name][column] for name in ("text", "decode")}
    more = [name for name, known in columns.items() if known in table and table[known].notna().any()]
    return [("denoise",), *([("denoise", *more)] if more else [])]


def _scale(fits, models, unit, stages, price, level, stops):
    """One unit and set of stages: the answer at every budget, with the curves and points of every setting."""
    costs, unpriced = {}, []
    for label, fit in fits.items():
        law = whole(fit)
        columns = {"size": law.size_column, "steps": law.steps_column or "steps"}
        paid = price if unit == "money" else None
        try:
            costs[label] = cost_model(fit.table, unit, stages=stages, price=paid, **columns)
        except InputError as error:
            unpriced.append(f"Left out {label or 'the rows'}: {error}")
    if not costs:
        raise InputError(unpriced[0].partition(": ")[2])
    spent = np.concatenate([cost.per_row(fits[label].table) for label, cost in costs.items()])
    budgets = sorted({float(f"{b:.3g}") for b in np.geomspace(spent.min(), spent.max(), stops)})
    order = list(fits)
    found = [_stop({k: fits[k] for k in costs}, costs, budget, level, models, order) for budget in budgets]
    found = [stop for stop in found if stop]
    sentences = list(dict.fromkeys(sentence for stop in found for sentence in stop["warnings"]))
    found = [stop | {"warnings": [sentences.index(one) for one in stop["warnings"]]} for stop in found]
    more = [name for name in stages if name != "denoise"]
    return {
        "key": "-".join([unit, *more]), "unit": unit, "symbol": "" if unit == "money" else UNITS[unit],
        "name": " with ".join([NAMES[unit], *([" and ".join(_SAID[m] for m in more)] if more else [])]),
        "stages": list(stages), "stops": found, "warnings": sentences,
        "shown": [_drawn(fits[k], costs[k], level, models) if k in costs else None for k in order],
        "skipped": unpriced, "notes": list(dict.fromkeys(note for cost in costs.values() for note in cost.notes)),
    }  # fmt: skip


_SAID = {"text": "text encoder", "decode": "decoder"}


def _stop(fits, costs, budget, level, models, order):
    """The answer at one budget, best setting first; None where the budget buys nothing in any setting."""
    optima = {}
    for label, fit in fits.items():
        try:
            optima[label] = optimum(fit, budget, cost=costs[label], level=level)
        except NoAnswer:
            continue
    if not optima:
        return None
    label, table = best_setting(optima)
    best = optima[label]
    text = best.summary().partition("\nWarning: ")[0].split("\n")
    columns = COLUMNS[1:]
    candidates = [[models.index(row["model"]), *(_short(row[c]) for c in columns)]
                  for row in best.candidates.to_dict("records")]  # fmt: skip
    settings = [[order.index(row["setting"]), models.index(row["model"]), *(_short(row[c]) for c in columns)]
                for row in table.to_dict("records")]  # fmt: skip
    return {
        "budget": budget, "setting": order.index(label), "model": models.index(best.model), "text": text,
        "flat": [models.index(name) for name in best.flat], "warnings": [*best.warnings, *fits[label].warnings],
        "candidates": candidates, "settings": settings,
    }  # fmt: skip


def _drawn(fit, cost, level, models):
    """What is drawn of a setting: measured points, their frontier, and the law's curve of every size along the cost."""
    rows = measured.points(fit.table, fit.quality, cost)
    front = measured.frontier(fit.table, fit.quality, cost)
    error = rows.get(f"{fit.quality}_se", pd.Series(np.nan, rows.index))
    points = [[models.index(str(m)), *map(_short, numbers)]
              for m, *numbers in zip(rows["model"], rows["cost"], rows[fit.quality], error, strict=True)]  # fmt: skip
    curves = []
    if whole(fit).steps_column:
        for label, curve in law_curves(fit, cost, level, points=40).groupby("label", observed=True):
            pairs = [[_short(x), _short(y)] for x, y in zip(curve["x"], curve["value"], strict=True)]
            curves.append([models.index(str(label)), pairs])
    frontier = [[_short(x), _short(y)] for x, y in zip(front["cost"], front[fit.quality], strict=True)]
    return {"points": points, "curves": curves, "frontier": frontier}


def _described(label, fit):
    """A setting: its label, and its sampler and guidance where the rows say them."""
    known = {c: fit.table[c].iloc[0] for c in infer.CHOICES if c in fit.table and fit.table[c].nunique() == 1}
    said = {c: f"{v:g}" if isinstance(v, float) else str(v) for c, v in known.items()}
    return {"label": label, "law": fit.law.name, "rows": fit.rows, **said}


def _short(value):
    """Nine digits: more than any text on the page shows; None where there is no number."""
    value = float(f"{value:.9g}")
    return (int(value) if value.is_integer() and abs(value) < 1e15 else value) if np.isfinite(value) else None
