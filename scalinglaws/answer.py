"""From a table and a budget to the answer in one call.

>>> import scalinglaws as sl
>>> answer = ask("tiny-ldm", "500 MFLOPs", where={"sampler": "ddim", "guidance": 1}, replicates=50)
>>> answer
<Answer: c16 with 60 steps for 5e+08 FLOPs per image, fd 14.4>
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scalinglaws import display, infer, measurements, studies, units
from scalinglaws.decide import fitted, measured
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.cost import CostModel, pricing, written
from scalinglaws.decide.crossover import crossovers
from scalinglaws.decide.curves import law_curves
from scalinglaws.decide.fitted import STEPS
from scalinglaws.decide.misfit import misfit
from scalinglaws.decide.optimum import Optimum, at_budgets, best_setting, optima
from scalinglaws.fitting.options import Options
from scalinglaws.forecasting.forecast import Forecast
from scalinglaws.infer import Question
from scalinglaws.largest import AVERAGE, NAIVE, HeldOut, hold_out, next_size, predict_largest
from scalinglaws.roles import TRAINING
from scalinglaws.schema import InputError, NoAnswer

OPTIMISTIC = "chosen on the rows it is reported on, so its lead is a little optimistic"
ADVICE = {NAIVE: "do not trust it", AVERAGE: "take the forecast of the next size"}  # by the way that predicts best
NEARBY = 10.0  # crossovers within this factor of the budget are shown


@dataclass(frozen=True)
class Answer:
    """What a table says about a budget: how it was read, the law, the best size and steps, and how far to trust them.

    `fit` is None where the rows are too few for a law, `optimum` where no budget can be priced or a law does not run in
    size; `notes` say why. `settings` has one row per sampler and guidance, best first; `crossovers` one row per pair of
    neighbouring sizes near the budget; `held_out` one row per way to predict the largest size from the others: way,
    median_error, largest_error, rows. `next_size` is the forecast for a model twice as large as the largest, at the
    steps that `next_at` says (for rows of one model: for twice the steps or the training); None where no two sizes
    were measured alike.
    """

    question: Question
    fit: object = field(repr=False)  # of the best setting
    setting: str  # sampler and guidance, empty where there is one
    optimum: Optimum | None = field(repr=False)
    settings: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    crossovers: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    held_out: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    notes: tuple[str, ...] = ()  # what could not be answered, and why
    cost: CostModel | None = field(default=None, repr=False)
    options: dict = field(default_factory=dict, repr=False)  # of fit()
    next_size: Forecast | None = field(default=None, repr=False, compare=False)
    next_at: str = ""  # such as " at steps = 64"
    level: float = 0.9  # of the intervals

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
        of_law = self.fit.warnings if self.fit else ()
        return tuple(
            dict.fromkeys(
                (*of_optimum, *_no_better_than_others(self.held_out, self.fit and self.fit.law.name), *of_law)
            )
        )

    def summary(self) -> str:
        """The answer in plain lines, the most important first."""
        parts = [self.optimum.summary().partition("\nWarning")[0]] if self.optimum else []
        if len(self.settings) > 1:
            parts.append(f"Best setting: {self.setting} ({OPTIMISTIC}).\n{display.text_table(self._settings())}")
        if self.optimum:
            parts.append(f"Every size at this budget:\n{display.text_table(self.optimum.candidates)}")
        if len(self.crossovers):
            parts.append(f"Crossovers of neighbouring sizes near the budget:\n{display.text_table(self.crossovers)}")
        if self.fit:
            parts.append(f"Law: {self.fit.quality} = {self.fit.law.equation}\n"
                         f"{self.fit.interval(self.level).to_string(float_format=display.NUMBER)}")  # fmt: skip
        if self.next_size:
            parts.append(f"Twice the largest {self.next_size.column}{self.next_at}, by laws averaged:\n"
                         f"{self.next_size.summary(self.level)}")  # fmt: skip
        if len(self.held_out):
            size = next(iter(self.question.inputs.values()))
            head = f"The largest {size}, predicted from the smaller ones (errors are shares of the measured value):"
            parts.append(f"{head}\n{display.text_table(self.held_out)}")
        sentences = [f"Warning: {w}" for w in self.warnings]
        said = [*self.question.sentences(), *self.notes]
        return "\n\n".join([p for p in ("\n".join(said), *parts, "\n".join(sentences)) if p])

    def to_frame(self) -> pd.DataFrame:
        """The sizes to choose from; without an optimum the law's parameters; without a law the forecast."""
        if self.optimum:
            return self.optimum.to_frame()
        return self.fit.interval(self.level).reset_index() if self.fit else self.next_size.to_frame(self.level)

    def record(self) -> dict:
        """Everything, for JSON."""
        law = {"law": None, "equation": None, "values": {}, "low": {}, "high": {}}
        if self.fit:
            interval = self.fit.interval(self.level)
            law = {"law": self.fit.law.name, "equation": self.fit.law.equation, "values": self.fit.values,
                   "low": interval["low"].to_dict(), "high": interval["high"].to_dict()}  # fmt: skip
        return {
            "optimum": self.optimum and self.optimum.record() | {"candidates": records(self.optimum.candidates)},
            "setting": self.setting, "settings": records(self._settings()), "crossovers": records(self.crossovers),
            **law, "held_out": records(self.held_out), "warnings": list(self.warnings), **described(self.question),
            "next_size": self.next_size and self.next_size.record(self.level) | {"at": self.next_at.strip()},
            "skipped": list(self.notes),
        }  # fmt: skip

    def _repr_html_(self):
        notes = [*self.question.sentences(), *self.notes]
        return display.html_page(self._short(), self.to_frame(), self.warnings, notes)

    def plot(self, ax=None):
        """Quality of every size at the budget, or the fitted law, or the forecast; returns the matplotlib Axes."""
        return (self.optimum or self.fit or self.next_size).plot(ax)

    def plot_costs(self, ax=None):
        """Quality against sampling cost of every size: measured points, fitted curves, where neighbours cross."""
        from scalinglaws import plots

        cost, rises = self._priced(), fitted.whole(self.fit).rises
        points, front = measured.points(self.rows, self.fit.quality, cost), measured.frontier(
            self.rows, self.fit.quality, cost, rises)  # fmt: skip
        chosen = self.optimum
        law = law_curves(self.fit, cost, chosen.level, of=chosen.of) if len(self.fit.inputs) == 2 else None
        known = {"law": law, "frontier": front, "crossovers": self.crossovers if len(self.crossovers) else None}
        return plots.quality_against_cost(points, self.fit.quality, cost.label, **known, ax=ax)

    def plot_winners(self, ax=None, budgets=60):
        """Which size is best at each budget: probabilities by the law, and the best measured size below them."""
        from scalinglaws import plots

        cost = self._priced()
        spent = cost.per_row(self.rows)
        along = np.geomspace(spent.min(), spent.max(), budgets)
        best = measured.winners(self.rows, along, self.fit.quality, cost, fitted.whole(self.fit).rises)
        return plots.winners(at_budgets(self.fit, along, cost=cost), cost.label, measured=best, ax=ax)

    def hold_out(self, size=None) -> HeldOut:
        """One size (default: the largest) predicted from the others; see HeldOut."""
        held = hold_out(self.question.groups()[self.setting], size, self.level, self.options)
        return replace(held, name=f"{held.name} ({self.setting})") if self.setting else held

    def _priced(self):
        if self.cost is None:
            raise NoAnswer("There is no cost to draw against. " + " ".join(self.notes))
        return self.cost

    def _short(self):
        if self.fit is None:
            (low, high), ahead = self.next_size.interval(self.level)[0], self.next_size
            return (f"no law, {ahead.quality} {ahead.value[0]:.3g} ({low:.3g} to {high:.3g}) at {ahead.column} = "
                    f"{ahead.new[0]:.4g}{self.next_at}")  # fmt: skip
        if self.optimum is None:
            return f"no optimum, {self.fit.quality} = {self.fit.law.equation}"
        o, setting = self.optimum, f", {self.setting}," if self.setting else ""
        budget = f"{o.budget:.4g} {written(o.unit, o.currency)} per image"
        return f"{o.model} with {display.count(o.steps, 'step')}{setting} for {budget}, {o.quality} {o.value:.3g}"

    def _settings(self):
        return self.settings.drop(columns="size", errors="ignore")


def ask(
    source, budget=None, *, quality=None, law=None, inputs=None, where=None, read_as=None, unit=None, price=None,
    stages=("denoise",), sizes=None, steps=None, level=0.9, strict=False, use_prior=True, **options,
) -> Answer:  # fmt: skip
    """The best size and steps for a budget per image, with everything that was assumed on the way.

    source: a csv, parquet, store, study's name or DataFrame. budget: text such as "500ms", "3e12 FLOPs", "0.2 J" or
    "$0.001", or a number in `unit` (default: what the table is priced in); None: the middle of the measured costs.
    quality, law, inputs, where, read_as, strict: as for `infer.question`, by default read from the columns. price:
    money per hour of the machine, such as 2.5 or "$2.50/h". stages: of denoise, text and decode. sizes, steps: those
    allowed. level: of the intervals. use_prior: whether the forecast of the next size uses the prior learned from
    studies; a bundled study is forecast by one that has not seen it. options go to fit().

    Where the rows are too few for a law, as with two or three sizes, the answer is that forecast, and its notes say why
    there is no law. Raises InputError where a question cannot be understood, NoAnswer where the measurements hold no
    answer.
    """
    check_level(level)
    question = infer.question(source, quality, law, inputs, where, choose=True, read_as=read_as, strict=strict)
    known = {"use_prior": use_prior}  # of forecasts; rows without a column study are known by the study's name
    if isinstance(source, str) and source in studies.names():
        known["leave_out"] = source
    fitting = Options.of(options)  # wrong options are refused, whatever the rows
    try:
        fits, skipped = question.fits(**options)
    except InputError as error:
        if any(column not in question.table for column in (fitting.se, fitting.weights) if column):
            raise
        return _without_law(question, error, level, known)
    priced = {"price": price, "stages": stages}
    try:
        _refuse_training(question)
        spend = question.budget(budget, unit, price) if budget is not None else _middle(question, fits, unit, priced)
        sizes = [question.size(s) for s in sizes] if not isinstance(sizes, str | None) else sizes
        answers, poor = best_affordable(fits, spend, sizes=sizes, steps=steps, level=level, **priced)
    except InputError as error:
        if not all(given is None for given in (budget, sizes, steps)):
            raise
        most = max(fits, key=lambda label: fits[label].rows)
        notes = (*skipped, f"No optimum: {error}", *_one_setting(fits, most))
        answer = Answer(question, fits[most], most, optimum=None, notes=notes, options=options, level=level)
        return _completed(answer, known)
    label, table = best_setting(answers)
    best = replace(answers[label], warnings=(*answers[label].warnings, *misfit(fits[label])))
    near, why = _near(fits[label], spend, level, priced)
    taken = f"{spend.value:.3g} {written(spend.unit, spend.currency)}"
    middle = [f"No budget given: {taken}, the middle of the measured costs, is taken."]
    answer = Answer(
        question, fits[label], label, optimum=best, settings=table, crossovers=near,
        notes=(*(middle if budget is None else ()), *skipped, *poor, *why), cost=_cost(fits[label], spend.unit, priced),
        options=options, level=level,
    )  # fmt: skip
    return _completed(answer, known)


def _without_law(question, error, level, known):
    """The Answer of rows too few for a law: the forecast alone, of the setting with the most rows."""
    label, _ = question.main()
    notes = (f"No law was fitted: {error} The answer is a forecast that averages laws.",
             *_one_setting(question.groups(), label))  # fmt: skip
    answer = _completed(Answer(question, fit=None, setting=label, optimum=None, notes=notes, level=level), known)
    if answer.next_size is None:  # nothing can be said of larger sizes either
        raise error
    return answer


def _one_setting(settings, label):
    """A sentence where no budget chooses between several samplers and guidances, and one of them is shown."""
    if len(settings) > 1:
        yield (f"No budget chooses between the {len(settings)} samplers and guidances: law and forecasts are of "
               f"{label} alone; keep another with where (--where).")  # fmt: skip


def _completed(answer, known):
    """The Answer with the largest size predicted from the others, and the next one forecast."""
    one = answer.question.groups()[answer.setting]
    held_out, refused = predict_largest(one, answer.fit, answer.options, **known)
    answer = replace(answer, held_out=held_out, notes=(*answer.notes, *refused))
    at = answer.optimum.steps if answer.optimum else None
    try:
        ahead, words = next_size(one, at, **known)
    except InputError as error:
        return replace(answer, notes=(*answer.notes, f"No forecast of a larger size: {error}"))
    return replace(answer, next_size=ahead, next_at=words)


def best_affordable(fits, budget, **options):
    """({label: Optimum}, sentences) for a budget as a Quantity; the price counts for money only."""
    price = options.pop("price", None)
    if budget.unit == "money":
        options["price"] = price
    return optima(fits, budget, budget.unit, **options)


def described(question) -> dict:
    """How a question was understood, for JSON."""
    readings = [{"column": r.column, "meaning": r.meaning, "words": r.words, "factor": r.factor, "power": r.power}
                for r in question.readings]  # fmt: skip
    return {"quality": question.quality, "inputs": question.inputs, "readings": readings,
            "notes": list(question.notes), "data": measurements.fingerprint(question.table)}  # fmt: skip


def records(table) -> list[dict]:
    """The rows of a table as dictionaries."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _no_better_than_others(held_out, law):
    """A warning where another way predicts the largest size better than the law of this name."""
    error = dict(zip(held_out.get("way", ()), held_out.get("median_error", ()), strict=True))
    best = min(error, key=error.get, default=law)
    if law in error and error[best] < error[law]:
        by_law, advice = error[law], ADVICE.get(best, "ask `scalinglaws compare` which law to take")
        yield (f"'{best}' predicts the largest size better ({error[best]:.1%}) than the law fitted without it "
               f"({by_law:.1%}): between the measured sizes the law holds, beyond them {advice}.")  # fmt: skip


def _refuse_training(question):
    """InputError where a law runs along the training: a budget per image buys a size and steps."""
    trained = [c for c in question.inputs.values() if c in TRAINING]
    if trained:
        raise InputError(
            f"a budget per image chooses a size and steps, and this law runs along {' and '.join(trained)}; for a "
            "training budget see `scalinglaws allocate` (sl.allocate)."
        )


def _middle(question, fits, unit, priced):
    """A budget in the middle of what the rows cost, on a logarithmic scale."""
    first = question.budget(1.0, unit, priced["price"]).unit
    currency = units.price(priced["price"]).currency if first == "money" else ""
    fit = fits[max(fits, key=lambda label: fits[label].rows)]
    if not any(column not in STEPS for column in fit.inputs.values()):
        raise InputError(f"a budget per image needs a law in size; this one is in {', '.join(fit.inputs.values())}.")
    spent = _cost(fit, first, priced).per_row(fit.table)
    return units.Quantity(float(f"{np.sqrt(spent.min() * spent.max()):.2e}"), first, currency)


def _cost(fit, unit, priced):
    """The CostModel of the rows of a fit."""
    law = fitted.whole(fit)
    price = priced["price"] if unit == "money" else None
    return pricing(unit=unit, stages=priced["stages"], price=price)(law.table, law.size_column, law.steps_column)


def _near(fit, budget, level, priced):
    """(crossovers of neighbouring sizes near the budget, why there are none)."""
    price = priced["price"] if budget.unit == "money" else None
    try:
        table = crossovers(fit, neighbours=True, unit=budget.unit, level=level, price=price, stages=priced["stages"])
    except InputError as error:
        return pd.DataFrame(), (f"No crossovers: {error}",)
    cost = table["cost"].astype(float)
    return table[cost.between(budget.value / NEARBY, budget.value * NEARBY)].reset_index(drop=True), ()
