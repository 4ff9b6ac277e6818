"""From a table and a budget to the answer in one call.

>>> import scalinglaws as sl
>>> answer = ask("tiny-ldm", "500 MFLOPs", where={"sampler": "ddim", "guidance": 1}, replicates=50)
>>> answer
<Answer: c16 with 60 steps for 5e+08 FLOPs per image, fd 14.2>
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, infer, measurements, units
from scalinglaws.decide import fitted, measured
from scalinglaws.decide.cost import UNITS, CostModel, cost_model
from scalinglaws.decide.crossover import crossovers
from scalinglaws.decide.curves import law_curves
from scalinglaws.decide.fitted import STEPS
from scalinglaws.decide.optimum import Optimum, at_budgets, best_setting, optima
from scalinglaws.infer import Question
from scalinglaws.schema import InputError, NoAnswer

OPTIMISTIC = "chosen on the rows it is reported on, so its lead is a little optimistic"
NEARBY = 10.0  # crossovers within this factor of the budget are shown
PLAIN = {1: "power", 2: "size_steps_product"}  # by the number of inputs: the law everyone draws first
NAIVE = "same as the largest size seen"


@dataclass(frozen=True)
class Answer:
    """What a table says about a budget: how it was read, the law, the best size and steps, and how far to trust them.

    `optimum` is None where no budget can be priced or a law does not run in size; `notes` say why. `settings` has one
    row a sampler and guidance, best first; `crossovers` one row a pair of neighbouring sizes near the budget;
    `held_out` one row a way to predict the largest size from the others: way, median_error, largest_error, rows.
    """

    question: Question
    fit: object = field(repr=False)  # of the best setting
    setting: str  # sampler and guidance, empty where there is one
    optimum: Optimum | None = field(repr=False)
    settings: pd.DataFrame = field(repr=False, compare=False)
    crossovers: pd.DataFrame = field(repr=False, compare=False)
    held_out: pd.DataFrame = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()  # what could not be answered, and why
    cost: CostModel | None = field(default=None, repr=False)
    options: dict = field(default_factory=dict, repr=False)  # of fit()

    def __repr__(self):
        return f"<Answer: {self._short()}>"

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of the best setting."""
        return self.question.groups()[self.setting].table

    @property
    def warnings(self):
        """Reasons for doubt, of the answer and of the law."""
        of_optimum = self.optimum.warnings if self.optimum else ()
        return tuple(dict.fromkeys((*of_optimum, *_no_better_than_last(self.held_out), *self.fit.warnings)))

    def summary(self) -> str:
        """The answer in plain lines, the most important first."""
        parts = [self.optimum.summary().partition("\nWarning")[0]] if self.optimum else []
        if len(self.settings) > 1:
            parts.append(f"Best setting: {self.setting} ({OPTIMISTIC}).\n{display.text_table(self._settings())}")
        if self.optimum:
            parts.append(f"Every size at this budget:\n{display.text_table(self.optimum.candidates)}")
        if len(self.crossovers):
            parts.append(f"Crossovers of neighbouring sizes near the budget:\n{display.text_table(self.crossovers)}")
        parts.append(f"Law: {self.fit.quality} = {self.fit.law.equation}\n"
                     f"{self.fit.interval(0.9).to_string(float_format=display.NUMBER)}")  # fmt: skip
        if len(self.held_out):
            size = next(iter(self.question.inputs.values()))
            head = f"The largest {size}, predicted from the smaller ones (errors are shares of the measured value):"
            parts.append(f"{head}\n{display.text_table(self.held_out)}")
        sentences = [f"Warning: {w}" for w in self.warnings]
        said = [*self.question.sentences(), *self.notes]
        return "\n\n".join([p for p in ("\n".join(said), *parts, "\n".join(sentences)) if p])

    def to_frame(self) -> pd.DataFrame:
        """The sizes to choose from, one row each, or the law's parameters where there is no optimum."""
        return self.optimum.to_frame() if self.optimum else self.fit.interval(0.9).reset_index()

    def record(self) -> dict:
        """Everything, for JSON."""
        interval = self.fit.interval(self.optimum.level if self.optimum else 0.9)
        return {
            "optimum": self.optimum and self.optimum.record() | {"candidates": records(self.optimum.candidates)},
            "setting": self.setting, "settings": records(self._settings()), "crossovers": records(self.crossovers),
            "law": self.fit.law.name, "equation": self.fit.law.equation, "values": self.fit.values,
            "low": interval["low"].to_dict(), "high": interval["high"].to_dict(),
            "held_out": records(self.held_out), "warnings": list(self.warnings), **described(self.question),
            "skipped": list(self.notes),
        }  # fmt: skip

    def _repr_html_(self):
        notes = [*self.question.sentences(), *self.notes]
        return display.html_page(self._short(), self.to_frame(), self.warnings, notes)

    def plot(self, ax=None):
        """Quality of every size at the budget, or the fitted law; returns the matplotlib Axes."""
        return (self.optimum or self.fit).plot(ax)

    def plot_costs(self, ax=None):
        """Quality against sampling cost of every size: measured points, the law, and where neighbours cross."""
        from scalinglaws import plots

        cost = self._priced()
        points, front = measured.points(self.rows, self.fit.quality, cost), measured.frontier(
            self.rows, self.fit.quality, cost)  # fmt: skip
        law = law_curves(self.fit, cost, self.optimum.level) if len(self.fit.inputs) == 2 else None
        known = {"law": law, "frontier": front, "crossovers": self.crossovers if len(self.crossovers) else None}
        return plots.quality_against_cost(points, self.fit.quality, cost.label, **known, ax=ax)

    def plot_winners(self, ax=None, budgets=60):
        """Which size is best at each budget: probabilities by the law, and the best measured size below them."""
        from scalinglaws import plots

        cost = self._priced()
        spent = cost.per_row(self.rows)
        along = np.geomspace(spent.min(), spent.max(), budgets)
        best = measured.winners(self.rows, along, self.fit.quality, cost)
        return plots.winners(at_budgets(self.fit, along, cost=cost), cost.label, measured=best, ax=ax)

    def hold_out(self, size=None):
        """One size (default: the largest) predicted from the others; see HeldOut."""
        return hold_out(self.question.groups()[self.setting], size, self.optimum.level if self.optimum else 0.9,
                        self.options)  # fmt: skip

    def _priced(self):
        if self.cost is None:
            raise NoAnswer("There is no cost to draw against: " + " ".join(self.notes))
        return self.cost

    def _short(self):
        if self.optimum is None:
            return f"no optimum, {self.fit.quality} = {self.fit.law.equation}"
        o = self.optimum
        return (f"{o.model} with {o.steps} steps for {o.budget:.4g} {UNITS[o.unit]} per image, "
                f"{o.quality} {o.value:.3g}")  # fmt: skip

    def _settings(self):
        return self.settings.drop(columns="size", errors="ignore")


def ask(
    source, budget=None, *, quality=None, law=None, inputs=None, where=None, read_as=None, unit=None, price=None,
    stages=("denoise",), sizes=None, steps=None, level=0.9, strict=False, **options,
) -> Answer:  # fmt: skip
    """The best size and steps for a budget per image, with everything that was assumed on the way.

    source: a csv, parquet, store, study's name or DataFrame. budget: text such as "500ms", "3e12 FLOPs", "0.2 J" or
    "$0.001", or a number in `unit` (default: what the table is priced in); None: the middle of the measured costs.
    quality, law, inputs, where, read_as, strict: as for `infer.question`, by default read from the columns. price:
    money per hour of the machine, such as 2.5 or "$2.50/h". stages: of denoise, text and decode. sizes, steps: those
    allowed. level: of the intervals. options go to fit(). Raises InputError where a question cannot be understood,
    NoAnswer where the measurements hold no answer.
    """
    question = infer.question(source, quality, law, inputs, where, choose=True, read_as=read_as, strict=strict)
    fits, skipped = question.fits(**options)
    priced = {"price": price, "stages": stages}
    most = max(fits, key=lambda label: fits[label].rows)
    try:
        asked = question.budget(budget, unit, price) if budget is not None else _middle(question, fits, unit, priced)
        sizes = [question.size(s) for s in sizes] if not isinstance(sizes, str | None) else sizes
        answers, poor = best_affordable(fits, asked, sizes=sizes, steps=steps, level=level, **priced)
    except InputError as error:
        if budget is not None:
            raise
        held_out = predict_largest(question.groups()[most], fits[most])
        notes = (*skipped, f"No optimum: {error}")
        return Answer(question, fits[most], most, None, pd.DataFrame(), pd.DataFrame(), held_out, notes)
    label, table = best_setting(answers)
    near, why = _near(fits[label], asked, level, priced)
    held_out = predict_largest(question.groups()[label], fits[label], options)
    middle = [f"No budget given: {asked.value:.3g} {UNITS[asked.unit]}, the middle of the measured costs, is taken."]
    notes = (*(middle if budget is None else ()), *skipped, *poor, *why)
    cost = _cost(fits[label], asked.unit, priced)
    return Answer(question, fits[label], label, answers[label], table, near, held_out, notes, cost, options)


def best_affordable(fits, budget, **options):
    """({label: Optimum}, sentences) for a budget as a Quantity; the price counts for money only."""
    price = options.pop("price", None)
    if budget.unit == "money":
        options["price"] = price
    return optima(fits, budget.value, budget.unit, **options)


def predict_largest(question, fit, options=None) -> pd.DataFrame:
    """The largest size predicted from the others: by the law, by a plain power law, and by the next smaller size.

    Columns: way, median_error, largest_error (shares of the measured value), rows. Empty where too few rows remain.
    """
    seen, held = question.hold_out()
    ways = [(fit.law.name, fit.law)]
    plain = PLAIN.get(len(question.inputs))
    if plain and plain != fit.law.name and fit.law.trend != "rises":
        ways.append((f"{plain} (a plain power law)", plain))
    rows = []
    for name, law in ways:
        try:
            again = infer.fit(seen.table, law, question.quality, question.inputs, **(options or {}))
            x = {symbol: held[column].to_numpy(float) for symbol, column in question.inputs.items()}
            rows.append((name, again.curve(x) / held[question.quality].to_numpy(float) - 1))
        except InputError:
            continue
    if rows and (same := _same_as_last(question, seen.table, held)) is not None:
        rows.append((NAIVE, same))
    table = [{"way": n, "median_error": np.median(abs(e)), "largest_error": abs(e).max(), "rows": len(e)}
             for n, e in rows]  # fmt: skip
    return pd.DataFrame(table, columns=["way", "median_error", "largest_error", "rows"])


@dataclass(frozen=True)
class HeldOut:
    """One size predicted by the law fitted to the others, beside what was measured.

    table: one row a measurement of that size: model, inputs, measured, value, low, high, inside, error (predicted over
    measured, less one).
    """

    question: Question = field(repr=False)  # of the other sizes
    fit: object = field(repr=False)  # to the other sizes
    table: pd.DataFrame = field(repr=False, compare=False)
    rows: pd.DataFrame = field(repr=False, compare=False)  # the rows held out
    name: str = ""
    level: float = 0.9

    def __repr__(self):
        return f"<HeldOut: {self._sentence()}>"

    def summary(self) -> str:
        """How far off the prediction is, and its rows."""
        return f"{self._sentence()}\n{display.text_table(self.table)}"

    def to_frame(self) -> pd.DataFrame:
        """One row a measurement of the size held out."""
        return self.table

    def _repr_html_(self):
        return display.html_page(self._sentence(), self.table, self.fit.warnings)

    def plot(self, ax=None):
        """The seen sizes, the prediction with its interval and the measured rows; returns the matplotlib Axes."""
        from scalinglaws import plots

        size, *others = self.question.inputs.values()
        curve = self.question.curve(self.fit, self.rows, self.level)
        seen = self.question.table if "model" in self.question.table else self.question.table.assign(
            model=self.question.table[size].astype(str))  # fmt: skip
        return plots.held_out(seen, self.rows, curve, self.question.quality, others[0] if others else size, ax=ax)

    def _sentence(self):
        error, inside = self.table["error"].abs(), self.table["inside"].mean()
        return (f"{self.name} predicted from the others: median error {error.median():.1%}, largest "
                f"{error.max():.1%}; {inside:.0%} of the {len(self.table)} measured rows lie inside the "
                f"{self.level:.0%} interval.")  # fmt: skip


def hold_out(question, size=None, level=0.9, options=None) -> HeldOut:
    """One size (default: the largest) predicted by the law fitted to the others."""
    seen, rows = question.hold_out(size or None)
    if rows.empty or seen.table.empty:
        raise InputError(f"No size {size!r} to hold out, or no other one.")
    fit = seen.fit(**(options or {}))
    first = rows[next(iter(question.inputs.values()))].iloc[0]
    name = str(rows["model"].iloc[0]) if "model" in rows else f"{first:g}"
    return HeldOut(seen, fit, seen.check(fit, rows, level), rows, name, level)


def described(question) -> dict:
    """How a question was understood, for JSON."""
    readings = [{"column": r.column, "meaning": r.meaning, "words": r.words, "factor": r.factor, "power": r.power}
                for r in question.readings]  # fmt: skip
    return {"quality": question.quality, "inputs": question.inputs, "readings": readings,
            "notes": list(question.notes), "data": measurements.fingerprint(question.table)}  # fmt: skip


def records(table) -> list[dict]:
    """The rows of a table as dictionaries."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _no_better_than_last(held_out):
    """A warning where the law predicts the largest size no better than the next smaller size does by itself."""
    error = dict(zip(held_out.get("way", ()), held_out.get("median_error", ()), strict=True))
    law = next(iter(error.values()), 0.0)
    if error.get(NAIVE, np.inf) < law:
        yield (f"'{NAIVE}' predicts the largest size better ({error[NAIVE]:.1%}) than the law fitted without it "
               f"({law:.1%}): between the measured sizes the law holds, beyond them do not trust it.")  # fmt: skip


def _same_as_last(question, seen, held):
    """Relative errors [row] if the largest size were as good as the largest one seen, at the same other inputs."""
    size, *others = question.inputs.values()
    last = seen[seen[size] == seen[size].max()]
    known = last.groupby(others)[question.quality].mean() if others else last[question.quality].mean()
    guess = held[others[0]].map(known) if others else pd.Series(known, index=held.index)
    error = (guess / held[question.quality] - 1).dropna().to_numpy(float)
    return error if len(error) else None


def _middle(question, fits, unit, priced):
    """A budget in the middle of what the rows cost, on a logarithmic scale."""
    first = question.budget(1.0, unit, priced["price"]).unit
    fit = fits[max(fits, key=lambda label: fits[label].rows)]
    if not any(column not in STEPS for column in fit.inputs.values()):
        raise InputError(f"a budget per image needs a law in size; this one is in {', '.join(fit.inputs.values())}.")
    spent = _cost(fit, first, priced).per_row(fit.table)
    return units.Quantity(float(f"{np.sqrt(spent.min() * spent.max()):.2e}"), first)


def _cost(fit, unit, priced):
    """The CostModel of the rows of a fit."""
    law = fitted.whole(fit)
    price = priced["price"] if unit == "money" else None
    steps = law.steps_column or "steps"
    return cost_model(fit.table, unit, stages=priced["stages"], price=price, size=law.size_column, steps=steps)


def _near(fit, budget, level, priced):
    """(crossovers of neighbouring sizes near the budget, why there are none)."""
    price = priced["price"] if budget.unit == "money" else None
    try:
        table = crossovers(fit, neighbours=True, unit=budget.unit, level=level, price=price, stages=priced["stages"])
    except InputError as error:
        return pd.DataFrame(), (f"No crossovers: {error}",)
    cost = table["cost"].astype(float)
    return table[cost.between(budget.value / NEARBY, budget.value * NEARBY)].reset_index(drop=True), ()
