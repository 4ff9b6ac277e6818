"""Where two curves cross: two sizes as steps grow, two samplers, a student and its teacher, two measured curves.

Every bootstrap replicate gives its own first crossing; the interval is theirs, and `probability` is the share of
replicates that cross at all within the range searched. A trained model's own error shifts its whole curve; `of` says
whether it is that of the models that are owned, of models trained anew, or left out (the curves of the law).
"""

from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide import fitted, measured
from scalinglaws.decide.arguments import check_level, check_pair, checked
from scalinglaws.decide.cost import UNITS, pricing, written
from scalinglaws.decide.curves import (
    Curve,
    cost_curve,
    held_at,
    input_curve,
    measured_cost_curves,
    measured_input_curve,
    needed,
    symbol_along,
)  # fmt: skip
from scalinglaws.decide.zeros import first_zeros, zeros
from scalinglaws.fitting.levels import check_of, is_sampling, names_models
from scalinglaws.schema import InputError

POINTS = 400  # places at which two fitted curves are compared
FAR = 0.05  # decades beyond the data that are worth a warning
DRAWN = 100  # of those are kept for a figure
NUMBERS = dict.fromkeys(("cost", "value", "low", "high"), float)  # columns that have nan where there is no crossing
SHOWN = ("first", "second", "cost", "value", "low", "high", "probability", "below", "above", "decades_beyond", "of")
WHOSE = {"curve": "", "owned": " for the models you own", "new_model": " for models trained anew"}
OUTSIDE = "The law's curves cross outside the interval: the models you own differ from the law by errors of their own."
ALONG_SIZE = "Along a size every place is another model: the interval is that of the law's curves."
APART = "The two were never measured at one place: the curves cross only in the law."


@dataclass(frozen=True)
class Crossover:
    """Where two curves cross; `cost` is None where they do not.

    `cost` is in `unit`: FLOPs, seconds, joules or money per image, or the unit of the input the curves run along.
    """

    first: str  # the smaller size, or the first level named
    second: str
    cost: float | None
    value: float | None  # quality there
    low: float | None  # interval of cost; None where the end lies outside the range searched
    high: float | None
    probability: float  # share of replicates that cross within the range
    below: str | None  # the better one below the crossing, or everywhere
    above: str | None
    decades_beyond: float  # of the crossing, above or below what both were measured at; 0 inside
    searched: tuple[float, float]  # (from, to), in the unit
    unit: str
    level: float
    warnings: tuple[str, ...] = ()
    by: str = "size"  # what the two differ in
    at: str = ""  # what is the same for both, such as model = c16
    quality: str = "quality"
    curves: pd.DataFrame = field(default=None, repr=False, compare=False)  # x, value, low, high, label
    of: str = "curve"  # whose interval and probability: levels.OF
    currency: str = ""  # ISO code, of a cost in money whose price names one

    def __repr__(self):
        return f"<Crossover: {self._sentence()}>"

    def summary(self) -> str:
        """The answer in plain lines."""
        unit = self._unit()
        low, high = (f"{x:.3g}" for x in self.searched)
        those = f"{'refits' if self.of == 'curve' else 'draws'}{WHOSE[self.of]}"
        lines = [self._sentence(), f"{self.probability:.0%} of the {those} cross from {low} to {high} {unit}."]
        return "\n".join(lines + [f"Warning: {w}" for w in self.warnings])

    def to_frame(self) -> pd.DataFrame:
        """One row: the two curves, cost, value, low, high (nan for None), probability, below, above, decades_beyond,
        of."""
        return pd.DataFrame([{k: getattr(self, k) for k in SHOWN}]).astype(NUMBERS)

    def record(self) -> dict:
        """Every field but the curves, for JSON."""
        return {k: v for k, v in asdict(self).items() if k != "curves"}

    def _repr_html_(self):
        return display.html_page(self._sentence(), self.to_frame(), self.warnings)

    def plot(self, ax=None):
        """The two curves with their intervals and the crossing; returns the matplotlib Axes."""
        from scalinglaws import plots

        unit = f"cost per image ({self._unit()})" if self.unit in UNITS else self.unit
        return plots.crossing(self.curves, self.to_frame(), unit, self.quality, ax)

    def _unit(self):
        return written(self.unit, self.currency) if self.unit in UNITS else self.unit

    def _sentence(self):
        unit = f"{self._unit()} per image" if self.unit in UNITS else self.unit
        pair = f"{self.first} and {self.second}" + (f" ({self.at})" if self.at else "")
        if self.cost is None:
            return f"{pair} do not cross: {self.below} is better throughout."
        low, high = (f"{side} the range searched" if end is None else f"{end:.4g}"
                     for end, side in ((self.low, "below"), (self.high, "beyond")))  # fmt: skip
        law = " by the law" if self.of == "new_model" else ""
        return (f"{pair} cross at {self.cost:.4g} {unit}{law} ({self.level:.0%} interval{WHOSE[self.of]} {low} to "
                f"{high}): {self.below} is better below, {self.above} above.")  # fmt: skip


def cross(one: Curve, two: Curve, *, level=0.9, beyond=1.0, quality="quality", **about) -> Crossover:
    """Where two Curves cross first; fitted ones are searched `beyond` decades past what both were measured at.

    Measured curves are compared only where both were measured; InputError where there is no such place. about: `by`,
    `at` and `of` of the Crossover.

    >>> import numpy as np
    >>> from scalinglaws.decide.curves import measured_curve
    >>> x = np.array([1.0, 10.0, 100.0])
    >>> a, b = measured_curve("a", x, 4 / x, "s", False), measured_curve("b", x, 2 / x**0.5, "s", False)
    >>> round(cross(a, b).cost, 6)
    4.0
    """
    if one.x_unit != two.x_unit:
        raise InputError(f"The curves run along {one.x_unit} and {two.x_unit}: give two along one quantity.")
    data = max(one.span[0], two.span[0]), min(one.span[1], two.span[1])
    x = _places(one, two, beyond)
    draws = [one.draws(x), two.draws(x)]
    count = max(map(len, draws)) if min(map(len, draws)) == 1 else min(map(len, draws))
    replicates = _gap(*(rows[:count] for rows in draws), one.rises)
    first = _gap(one.at(x), two.at(x), one.rises)
    places, crossings = zeros(np.log(x), first), first_zeros(np.log(x), replicates)
    cost = _exp(first_zeros(np.log(x), first)[0])
    start = next((gap for gap in first if gap != 0), 0.0)  # measured curves may begin at one value
    low, high = _interval(crossings, replicates[:, 0], start, level) if cost else (None, None)
    names = (one.label, two.label) if start > 0 else (two.label, one.label)
    past = max(0.0, float(np.log10(max(cost / data[1], data[0] / cost)))) if cost else 0.0
    notes = [*one.notes, *two.notes, *([APART] if data[1] < data[0] else [])]
    if past > FAR:
        notes.append(f"The crossing is {past:.1f} decades beyond what both were measured at.")
    if cost and not (low or 0.0) <= cost <= (high or np.inf):
        notes.append(OUTSIDE)
    if len(places) > 1:
        notes.append("The curves cross more than once; this is the lowest crossing.")
    some = slice(None, None, max(1, len(x) // DRAWN))  # every few places are kept for a figure
    frames = [curve.frame(x[some], level, rows[:, some]) for curve, rows in zip((one, two), draws, strict=True)]
    return Crossover(
        one.label, two.label, cost, float(one.at(np.array([cost]))[0]) if cost else None, low, high,
        probability=float(np.isfinite(crossings).mean()), below=names[0], above=names[1] if cost else names[0],
        decades_beyond=past, searched=(float(x[0]), float(x[-1])), unit=one.x_unit, level=level,
        warnings=tuple(dict.fromkeys(notes)), quality=quality,
        curves=pd.concat(frames, ignore_index=True), **about,
    )  # fmt: skip


def _interval(crossings, starts, start, level):
    """(low, high) of the crossings [replicate], None for an end outside the range searched.

    Before it (-inf) where a replicate starts [replicate] as the fit, which starts at `start`, goes on after its
    crossing; beyond it (+inf) where a replicate never crosses.
    """
    over = np.where(np.sign(starts) == -np.sign(start), -np.inf, np.inf)
    censored = np.where(np.isfinite(crossings), crossings, over)
    low, high = np.quantile(censored, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return _exp(low), _exp(high)


def crossings(one: Curve, two: Curve) -> list[float]:
    """Every x at which two measured curves cross, within what both were measured at; often none."""
    x = _shared_points(one, two)
    return [float(np.exp(z)) for z in zeros(np.log(x), np.log(two.at(x)) - np.log(one.at(x)))]


@checked
def crossover(
    source, between, *, cost=None, unit=None, stages=("denoise",), price=None, at=None, along=None, level=0.9,
    of="owned",
) -> Crossover:  # fmt: skip
    """Where the two sizes, or the two levels of a column, `between` cross.

    source: a Fit of a law in size and steps, and between two sizes, labels or numbers; or the Groups of fit_groups, or
    the Fit of a shared law, and between two of its levels, such as samplers. Levels run along the cost per image at
    the size `at`, or along the input `along`, such as 'steps'; a law of one input runs along that.

    of: whose crossing the interval and the probability are for: owned, the models of the fit, each with its own error
    as its rows show it; new_model, models trained anew; curve, the law alone. Levels that are settings of sampling are
    of one model, whose own error cancels.

    cost: a CostModel; or unit (flops, seconds, joules or money; default flops), stages (of denoise, text, decode) and
    price (money per hour) from which one is built of the rows fitted. level: of the interval. InputError for anything
    that cannot be answered.

    >>> import scalinglaws as sl
    >>> rows = sl.read("tiny-ldm").query("sampler == 'ddim' and guidance == 1")
    >>> fit = sl.fit(rows, "size_steps_interaction", "fd", {"N": "flops_per_forward", "S": "steps"}, replicates=50)
    >>> crossing = crossover(fit, ("c8", "c16"))
    >>> print(crossing.below, "below", f"{crossing.cost:.1e}", crossing.unit)
    c8 below 2.6e+08 flops
    """
    level = check_level(level)
    check_of(of)
    if not (fitted.has_levels(source) or (at is None and along is None)):
        raise InputError("at= and along= are for levels of a column; two sizes are compared along cost.")
    laws, by = _laws(source, between)
    price_rows = pricing(cost, unit, stages, price)
    if by == "size":
        cost = _cost(laws[0][0], price_rows)
        curves = [cost_curve(law, cost, size, of=of) for law, size in laws]
        crossing = cross(*curves, level=level, quality=laws[0][0].quality, of=of, currency=cost.currency)
        return _coloured(crossing, laws[0][0].size_labels, True)
    first = laws[0]
    symbol = symbol_along(first, along)
    sized = symbol is not None and hasattr(first.fit, "levels") and names_models(first.fit, symbol)
    of = "curve" if sized else of
    own = "curve" if of == "new_model" and is_sampling(by) else of  # one model's error shifts both curves alike
    curves = [_level_curve(law, symbol, at, price_rows, own) for law in laws]
    same = "" if at is None or len(first.inputs) == 1 else f"{'model' if 'model' in first.table else 'size'} = {at}"
    crossing = cross(*curves, level=level, quality=first.quality, by=by, at=same, of=of)
    if sized:
        crossing = replace(crossing, warnings=(*crossing.warnings, ALONG_SIZE))
    return _coloured(crossing, fitted.level_names(source), False)


@checked
def crossovers(source, between=None, *, neighbours=False, at=None, along=None, **options) -> pd.DataFrame:
    """Every pair, one row each: at (for levels), first, second, cost, value, low, high, probability, ...

    source: as for crossover(). Pairs of sizes (of those in `between`; default all measured), with `neighbours` of
    neighbouring ones only; of levels at every size they share, or `at` one, or along the input `along`. options: as for
    crossover(). Raises InputError.
    """
    if not fitted.has_levels(source):
        law = fitted.whole(source)
        sizes = sorted(law.find_size(s) for s in (law.sizes if between is None else between))
        pairs = pairwise(sizes) if neighbours else combinations(sizes, 2)
        named = {k: options.pop(k) for k in ("cost", "unit", "stages", "price") if k in options}
        cost = _cost(law, pricing(**named))
        answers = [crossover(source, pair, cost=cost, **options) for pair in pairs]
        return pd.DataFrame([{k: getattr(one, k) for k in SHOWN} for one in answers], columns=SHOWN).astype(NUMBERS)
    rows = []
    for pair in [between] if between is not None else combinations(fitted.level_names(source), 2):
        for size in _common_sizes(source, pair, along) if at is None else [at]:
            one = crossover(source, pair, at=size, along=along, **options)
            rows.append({"at": one.at} | {k: getattr(one, k) for k in SHOWN})
    return pd.DataFrame(rows, columns=["at", *SHOWN]).astype(NUMBERS)


@checked
def measured_crossings(source, between, *, at=None, along=None, **options) -> list[float]:
    """The same without the law: every place at which the two measured curves cross (a list, often empty).

    source, between, at and along as for crossover(); options: cost, or unit, stages and price. Only places at which
    both were measured count; a size that was not measured has no curve and no crossing.
    """
    laws, by = _laws(source, between)
    price_rows = checked(pricing)(**options)
    if by == "size":
        cost = _cost(laws[0][0], price_rows)
        curves = [_measured_at(law, size, cost) for law, size in laws]
    else:
        symbol = symbol_along(laws[0], along)
        curves = [_measured_level(law, symbol, at, price_rows) for law in laws]
    return crossings(*curves) if all(curves) else []


def _laws(source, between):
    """([(law, size), (law, size)], "size") of two sizes of one fit, or ([law, law], column) of two levels."""
    if fitted.has_levels(source):
        column = fitted.level_column(source)
        between = check_pair(between, f"levels of {column!r}", tuple(map(str, fitted.level_names(source)[:2])))
        return [fitted.level(source, name, second=k > 0) for k, name in enumerate(between)], column
    law = fitted.whole(source)
    between = check_pair(between, "sizes", "('c16', 'c64')")
    small, large = sorted(law.find_size(s) for s in between)
    if small == large:
        raise InputError(f"between={tuple(between)!r}: both are the size {small:g}; give two different ones.")
    return [(law, small), (law, large)], "size"


def _coloured(crossing, labels, ordered):
    """The crossover with all labels there are as the categories of its curves, by which figures are coloured."""
    labels = list(dict.fromkeys([*map(str, labels), crossing.first, crossing.second]))
    label = pd.Categorical(crossing.curves["label"], labels, ordered=ordered)
    return replace(crossing, curves=crossing.curves.assign(label=label))


def _cost(law, price_rows):
    return price_rows(law.table, law.size_column, law.steps_column)


def _level_curve(law, symbol, at, price_rows, of):
    """A level's curve along an input, or along cost at the size `at`."""
    if symbol is not None:
        return input_curve(law, symbol, held_at(law, symbol, at), of)
    size = law.find_size(needed(law, law.axes[0], at))
    return cost_curve(law, _cost(law, price_rows), size, law.label, of)


def _measured_level(law, symbol, at, price_rows):
    if symbol is not None:
        return measured_input_curve(law, symbol, held_at(law, symbol, at))
    return _measured_at(law, law.find_size(needed(law, law.axes[0], at)), _cost(law, price_rows))


def _measured_at(law, size, cost):
    """The measured Curve of one size; None where it was not measured."""
    rows = law.rows_of(size)
    if rows.empty:
        return None
    points = measured.points(rows, law.quality, cost)
    return next(iter(measured_cost_curves(points, law.quality, cost.unit, law.rises).values()))


def _common_sizes(source, pair, along):
    """Labels of the sizes both levels have; None alone where size is no input."""
    one, two = (fitted.level(source, name) for name in pair)
    symbol = symbol_along(one, along)
    sizes = [s for s, column in one.inputs.items() if s != symbol and (symbol or column not in fitted.STEPS)]
    if not sizes or len(one.inputs) == 1:
        return [None]
    both = set(fitted.labels(two, two.inputs[sizes[0]]))
    return [name for name in fitted.labels(one, one.inputs[sizes[0]]) if name in both]


def _places(one, two, beyond):
    """x at which the curves are compared [place]."""
    if one.fitted and two.fitted:
        spans = [curve.domain or curve.span for curve in (one, two)]
        low, high = max(s[0] for s in spans), min(s[1] for s in spans)
        return np.geomspace(low, max(high, low) * 10**beyond, POINTS)
    x = _shared_points(one, two)
    if len(x) < 2:
        ranges = ", ".join(f"{c.label} from {c.span[0]:.3g} to {c.span[1]:.3g}" for c in (one, two))
        raise InputError(f"{one.label} and {two.label} were never measured at one {one.x_unit}: {ranges}.")
    return np.union1d(x, np.geomspace(x[0], x[-1], POINTS)) if one.fitted or two.fitted else x


def _shared_points(one, two):
    """The measured points of either curve, and the ends, within what both were measured at."""
    low, high = max(one.span[0], two.span[0]), min(one.span[1], two.span[1])
    x = np.unique(np.concatenate([c.points for c in (one, two) if not c.fitted]))
    return x[(x >= low) & (x <= high)]


def _gap(one, two, rises):
    """ln quality of the second minus the first [..., place]; above 0 where the first is better."""
    with np.errstate(all="ignore"):  # wild replicates may reach 0 or overflow; they count as not crossing
        return np.log(one) - np.log(two) if rises else np.log(two) - np.log(one)


def _exp(value):
    return float(np.exp(value)) if np.isfinite(value) else None
