"""The best size and steps for a budget per image, with an interval and the probability that the size is the best.

Steps are whole. A size may spend at most the budget; where the law falls with steps it spends all of it, where the
law turns it stops at its best number of steps. `of` says for whom: the models that are owned, models trained anew, or
the law alone. A cell's error is no quality of a model and takes no part in which is the best.

Which of the models owned: the one whose expected ln quality is best, by the law times the error that its own rows show.
It loses least on average; the one with the highest probability of being the best is right as often, but may be one of
which little is known, that loses more where it is wrong. Of 480 budgets on 80 simulated tables (own errors of 3 %,
cells of 1 or 3 %) the law's choice loses 0.59 % on average, the likeliest 0.068 %, the expected best
0.060 %.
"""

import math
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.arguments import check_level, check_positive, checked
from scalinglaws.decide.cost import ROUNDING, pricing, written
from scalinglaws.decide.fitted import whole
from scalinglaws.fitting.levels import check_of
from scalinglaws.schema import InputError, NoAnswer
from scalinglaws.units import Quantity, parse

FLAT = 0.01  # sizes within this share of the best, or within the noise, are as good as the best
GRID = 200  # step counts tried for a size, at most
INTERVAL = {"curve": "the law's curve", "owned": "a new measurement", "new_model": "a model trained anew"}
NAMED = 8  # sizes listed one by one; more are given as a range
SURER = 0.05  # by which another size must be likelier the best to be named
FAR = 0.05  # decades beyond the data that are worth a warning
COLUMNS = ["size", "model", "steps", "cost", "value", "low", "high", "decades_beyond", "probability"]  # of candidates


@dataclass(frozen=True)
class Optimum:
    """Which size and how many steps a budget should buy.

    `candidates` has one row per size: size, model, steps, cost, value, low, high, probability, decades_beyond. labels:
    of every size of the law, by rising size, those out of the budget's reach, too.
    """

    size: float  # in the unit of the law's size column
    model: str
    steps: int
    cost: float  # unit per image
    value: float  # quality; of owned models the law times the error that the model's own rows show
    low: float
    high: float
    probability: float  # that this size is the best: share of replicates, own errors by `of`; nan of any size
    budget: float  # unit per image
    unit: str
    quality: str
    level: float
    flat: tuple[str, ...]  # labels of the sizes as good as the best
    candidates: pd.DataFrame = field(repr=False, compare=False)
    warnings: tuple[str, ...] = ()
    size_column: str = "size"
    of: str = "curve"  # whose intervals and probabilities: levels.OF
    best_sizes: tuple[float, float] | None = None  # where any size may be chosen: the interval of the law's best one
    rises: bool = False  # whether higher quality is better
    currency: str = field(default="", compare=False)  # ISO code, of money where the budget or the price names one
    labels: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __repr__(self):
        steps, unit = display.count(self.steps, "step"), written(self.unit, self.currency)
        return (f"<Optimum: {self.model} with {steps} for {self.budget:g} {unit} per image, "
                f"{self.quality} {self.value:.4g}>")  # fmt: skip

    def summary(self) -> str:
        """The answer in plain lines."""
        lines = [self._headline(), *self._details()]
        return "\n".join(lines + [f"Warning: {w}" for w in self.warnings])

    def to_frame(self) -> pd.DataFrame:
        """The candidates, one row per size, with `best` true for the size chosen, and `of`; model is categorical."""
        model = pd.Categorical(self.candidates["model"], self.labels, ordered=True)
        return self.candidates.assign(model=model, best=self.candidates["size"] == self.size, of=self.of)

    def record(self) -> dict:
        """Every field but the candidates and labels, for JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("candidates", "labels")}

    def _repr_html_(self):
        return display.html_page(self._headline(), self.to_frame(), self.warnings, self._details())

    def plot(self, ax=None):
        """Quality of every size at the budget, with its interval; returns the matplotlib Axes."""
        from scalinglaws import plots

        size = self.size_column.replace("_", " ").replace("gflops", "GFLOPs").replace("flops", "FLOPs")
        return plots.candidates(self.to_frame(), size, self.quality, ax)

    def _headline(self):
        steps = display.count(self.steps, "step")
        return f"Best for {self.budget:g} {written(self.unit, self.currency)} per image: {self.model} with {steps}."

    def _details(self):
        yield (f"{self.quality} {self.value:.4g} ({self.level:.0%} interval of {INTERVAL[self.of]} {self.low:.4g} to "
               f"{self.high:.4g}); {self._probable()}.")  # fmt: skip
        if len(self.flat) > 1:
            listed = ", ".join(self.flat) if len(self.flat) <= NAMED else f"{self.flat[0]} to {self.flat[-1]}"
            yield f"As good within {FLAT:.0%} or the noise: {listed}."

    def _probable(self):
        """How probable it is that the size is the best, and among what; of any size where the best lies."""
        if self.best_sizes:
            low, high = (f"{size:.4g}" for size in self.best_sizes)
            return f"the law's best {self.size_column} lies from {low} to {high} in {self.level:.0%} of the refits"
        if self.of == "curve":
            return f"it is the best size in {self.probability:.0%} of the refits"
        among = {"owned": "the best of the models you own", "new_model": "the best size for models trained anew"}
        return f"{self.probability:.0%} probability that {self.model} is {among[self.of]}"


@checked
def optimum(
    fit, budget, unit=None, *, sizes=None, steps=None, level=0.9, cost=None, price=None, stages=("denoise",),
    of="owned",
) -> Optimum:  # fmt: skip
    """The best size and steps for `budget` per image.

    fit: a law in size, or in size and steps. budget: a number in `unit` (flops, seconds, joules or money; default the
    unit of `cost`, or flops), or text such as "3e12 FLOPs", "500ms", "0.2 J" or "$0.001". sizes: labels or numbers
    (default the measured ones; "continuous" for any between them, of which none has a probability of its own: the
    answer holds the interval of the law's best size instead). steps: the step counts allowed (default any whole number
    from the fewest measured). level: of the intervals. of: for whom the choice, the intervals and the probabilities
    are: owned, the models of the fit, each with its own error as its rows show it (a size that was not
    measured has none), of which the one with the best expected quality is chosen; new_model, models trained anew, each
    with an error of its own, chosen by the law; curve, the law alone.

    cost: a CostModel; or stages (of denoise, text, decode) and price (money per hour) from which one is built of the
    rows fitted. Raises NoAnswer where the budget buys nothing, InputError where a stage has no data or an argument
    cannot be used.

    >>> import scalinglaws as sl
    >>> rows = sl.read("tiny-ldm").query("sampler == 'ddim' and guidance == 1")
    >>> fit = sl.fit(rows, "size_steps_interaction", "fd", {"N": "flops_per_forward", "S": "steps"}, replicates=50)
    >>> optimum(fit, "500 MFLOPs")
    <Optimum: c16 with 60 steps for 5e+08 FLOPs per image, fd 14.44>
    """
    level = check_level(level)
    check_of(of)
    law = whole(fit)
    budget, unit, currency = _budget(budget, unit, cost)
    cost = pricing(cost, unit if cost is None else None, stages, price)(law.table, law.size_column, law.steps_column)
    pairs = _affordable(law, cost, budget, sizes, steps, written(cost.unit, currency or cost.currency))
    table, best_sizes = _candidates(law, cost, pairs, level, of), None
    if _any_size(sizes):
        best_sizes, table = _best_sizes(law, pairs, level), table.assign(probability=np.nan)
    best = table.iloc[int(table["value"].argmax() if law.rises else table["value"].argmin())]
    known = {k: best[k] for k in ("size", "model", "cost", "value", "low", "high", "probability")}
    return Optimum(
        **known, steps=int(best["steps"]), budget=budget, unit=cost.unit, quality=law.quality, level=level,
        flat=_flat(law, table, best), candidates=table, size_column=law.size_column, of=of, best_sizes=best_sizes,
        rises=law.rises, currency=currency or cost.currency, labels=_labels(law, table),
        warnings=(*_warnings(law, cost, best, budget), *_likelier(table, best, of)),
    )  # fmt: skip


def at_budgets(fit, budgets, unit=None, **options) -> pd.DataFrame:
    """The optimum at each budget that buys anything: one row per budget and candidate size.

    Columns are those of `Optimum.to_frame` with `budget`. options: as for optimum(); all budgets are in one unit.
    InputError without a budget, NoAnswer where none buys anything.
    """
    law, named = whole(fit), {k: options.pop(k) for k in ("cost", "stages", "price") if k in options}
    budgets = list(budgets)
    if not budgets:
        raise InputError("Give at least one budget.")
    unit = _budget(budgets[0], unit, named.get("cost"))[1]
    cost = pricing(unit=unit, **named)(law.table, law.size_column, law.steps_column)
    tables, refusal = [], None
    for budget in budgets:
        try:
            answer = optimum(fit, budget, unit, cost=cost, **options)
        except NoAnswer as error:
            refusal = error
            continue
        tables.append(answer.to_frame().assign(budget=answer.budget))
    if not tables:
        raise refusal
    table = pd.concat(tables, ignore_index=True)
    return table.assign(model=pd.Categorical(table["model"].astype(str), _labels(law, table), ordered=True))


def optima(fits, budget, unit=None, **options):
    """({label: Optimum}, sentences for the settings that cannot afford it) of several settings' fits {label: Fit}.

    Where none can, the last one's InputError.
    """
    answers, skipped, refusal = {}, [], InputError("Give at least one fit.")
    for label, fit in fits.items():
        try:
            answers[label] = optimum(fit, budget, unit, **options)
        except InputError as error:
            refusal = error
            skipped.append(f"Left out {label}: {error}")
    if not answers:
        raise refusal
    return answers, skipped


def best_setting(answers):
    """(label, table of the settings, best first) of several settings' optima {label: Optimum}."""
    keys = ("model", "size", "steps", "cost", "value", "low", "high", "probability")
    table = pd.DataFrame([{"setting": label} | {k: getattr(o, k) for k in keys} for label, o in answers.items()])
    rises = next(iter(answers.values())).rises
    table = table.sort_values("value", ascending=not rises).reset_index(drop=True)
    return table["setting"].iloc[0], table


def _budget(given, unit, cost):
    """(budget, unit, currency): a bare number is in `unit`, in that of the cost model, or in FLOPs."""
    known = getattr(cost, "unit", None)
    quantity = parse(given, unit) if isinstance(given, str | Quantity) else None
    unit = (quantity.unit if quantity else unit) or known or "flops"
    if known and unit != known:
        raise InputError(f"The budget {given!r} is in {unit}, the cost model in {known}: give both in one unit.")
    value = check_positive(quantity.value if quantity else given, "Budget", unit)
    return value, unit, quantity.currency if quantity else ""


def _affordable(law, cost, budget, sizes, steps, unit):
    """(size, steps) of every size that the budget buys, each at its best steps; NoAnswer where it buys none.

    unit: as written after a number.
    """
    allowed = _allowed_steps(law, steps)
    if _any_size(sizes):
        asked, pairs = law.sizes, _continuous(law, cost, budget, allowed)
    else:
        named = law.sizes if sizes is None else [sizes] if np.ndim(sizes) == 0 else sizes
        asked = np.unique([law.find_size(s) for s in named])
        pairs = _each_size(law, cost, asked, budget, allowed)
    if pairs:
        return pairs
    first = _fewest(law) if allowed is None else allowed[0]
    costs = cost.per_image(asked, np.full(len(asked), float(first)))
    cheap = int(np.argmin(costs))
    raise NoAnswer(
        f"A budget of {budget:g} {unit} per image is below the cheapest candidate: "
        f"{law.label_of(asked[cheap])} at {display.count(first, 'step')} costs {costs[cheap]:.4g} {unit}; "
        "raise the budget."
    )


def _any_size(sizes):
    return isinstance(sizes, str) and sizes == "continuous"


def _allowed_steps(law, steps):
    """Allowed step counts, rising, or None for any whole number."""
    if steps is None and law.steps_column:
        return None
    given = np.unique(law.table["steps"]) if steps is None and "steps" in law.table else steps
    try:
        allowed = np.unique(np.atleast_1d(np.asarray(1 if given is None else given, float)))
    except (TypeError, ValueError):
        raise InputError(f"steps={steps!r}: give numbers of steps, such as [4, 8, 16].") from None
    if not len(allowed) or not (np.isfinite(allowed) & (allowed > 0) & (allowed % 1 == 0)).all():
        raise InputError(f"steps={steps!r}: give whole numbers of steps above 0, such as [4, 8, 16].")
    return allowed


def _fewest(law):
    """The fewest steps measured: below it a law in steps is not to be trusted."""
    return math.ceil(law.table[law.steps_column].astype(float).min())


def _each_size(law, cost, sizes, budget, allowed):
    """(size, steps) of every size that can afford an allowed number of steps."""
    pairs = []
    for size in sizes:
        tried = _counts(law, float(cost.steps(size, budget)) * ROUNDING, allowed)
        if len(tried):
            pairs.append((size, _best_steps(law, size, tried)))
    return pairs


def _counts(law, most, allowed):
    """The allowed numbers of steps up to `most`, rising; of any whole number those from the fewest measured."""
    return _whole(_fewest(law), most) if allowed is None else allowed[allowed <= most]


def _best_steps(law, size, tried):
    values = law.quality_at(size, tried)
    return int(tried[values.argmax() if law.rises else values.argmin()])


def _whole(least, most):
    """Whole numbers from `least` to `most`, about evenly spaced in logs; none if most is below."""
    most = math.floor(min(most, 1e15))
    return np.unique(np.round(np.geomspace(least, most, GRID))) if most >= least else np.array([])


def _continuous(law, cost, budget, allowed):
    """(size, steps) of the sizes within the measured ones that spend the budget exactly with an allowed number of
    steps, each at the best such number that it can afford."""
    grid = np.geomspace(law.sizes[0], law.sizes[-1], 4 * GRID)
    counts = _counts(law, float(cost.steps(law.sizes[0], budget)) * ROUNDING, allowed)
    size = [np.exp(np.interp(np.log(budget), np.log(cost.per_image(grid, s)), np.log(grid))) for s in counts]
    most = dict(sorted(zip(map(float, size), counts, strict=True)))
    return [(n, _best_steps(law, n, counts[counts <= s])) for n, s in sorted(most.items())]


def _best_sizes(law, pairs, level):
    """(low, high) of the best of these sizes by the law: the interval over its replicates."""
    size, steps = np.array(pairs, float).T
    values = law.quality_at(size, steps, law.replicates)
    best = size[values.argmax(axis=-1) if law.rises else values.argmin(axis=-1)]
    low, high = np.quantile(best, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def _candidates(law, cost, pairs, level, of):
    """One row per candidate, with intervals and the probability of being the best."""
    size, steps = np.array(pairs, float).T
    values = law.quality_at(size, steps, law.replicates) * np.exp(law.own_errors({law.axes[0]: size}, of))
    best = values.argmax(axis=-1) if law.rises else values.argmin(axis=-1)
    known = {"size": size, "model": [law.label_of(n) for n in size], "steps": steps.astype(int)}
    known |= {"cost": cost.per_image(size, steps)}
    table = pd.DataFrame(known).join(law.predicted(size, steps, level, of).astype(float))
    return table.assign(probability=np.bincount(best, minlength=len(size)) / len(best))[COLUMNS]


def _labels(law, table):
    """Every label by rising size: of the law's sizes, or where others were asked for, of those in the table."""
    known = tuple(dict.fromkeys(law.size_labels))
    asked = table.sort_values("size")["model"].astype(str)
    return known if set(asked) <= set(known) else tuple(dict.fromkeys(asked))


def _flat(law, table, best):
    """Labels of the sizes as good as the best: within FLAT, or the noise of one measurement as a share of the value."""
    raw = getattr(law.fit, "residual_scale", "log") == "raw"
    noise = float(law.fit.noise) / (best["value"] if raw else 1.0)
    ratio = best["value"] / table["value"] if law.rises else table["value"] / best["value"]
    return tuple(table["model"][ratio <= 1 + max(FLAT, noise)])


def _likelier(table, best, of):
    """Another size that is likelier the best than the one chosen: it is better more often, but not on average."""
    if table["probability"].isna().all():  # of any size
        return
    first = table.loc[table["probability"].idxmax()]
    if of == "curve" or first["probability"] <= best["probability"] + SURER:
        return
    if of == "owned":
        yield (f"{first['model']} is better more often (the best with {first['probability']:.0%}), {best['model']} on "
               "average: less is known of the one, or it loses more where it is not the best.")  # fmt: skip
    else:
        yield (f"By the law {best['model']} is the best; {first['model']} is likelier to be "
               f"({first['probability']:.0%}): trained models differ from the law.")  # fmt: skip


def _warnings(law, cost, best, budget):
    yield from law.notes
    yield from cost.notes
    steps = law.table[law.steps_column] if law.steps_column else law.table.get("steps", 1.0)
    spent = cost.per_image(law.table[law.size_column].to_numpy(float), np.asarray(steps, float))
    ends = ((math.log10(budget / spent.max()), "most expensive"), (math.log10(spent.min() / budget), "cheapest"))
    for far, side in ends:
        if far > FAR:
            yield f"The budget is {far:.1f} decades beyond the {side} measured row: read the answer as a projection."
    if best["decades_beyond"] > FAR:
        yield f"The best lies {best['decades_beyond']:.1f} decades beyond the measured rows: a projection, not checked."
    if law.steps_column:
        steps, known = best["steps"], law.table[law.steps_column].astype(float)
        if steps > known.max():
            yield f"{display.count(steps, 'step')} were never measured; the most was {known.max():g}."
        if steps <= known.min():
            word = "the fewest measured" if steps == known.min() else f"fewer than the {known.min():g} measured"
            yield f"The best takes {display.count(steps, 'step')}, {word}: fewer may do."
    if best["size"] in (law.sizes[0], law.sizes[-1]):
        end = "smallest" if best["size"] == law.sizes[0] else "largest"
        yield f"The best is the {end} size measured: a {end[:-2] + 'r'} one may be better still."
