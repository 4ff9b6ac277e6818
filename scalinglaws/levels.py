"""Where two levels of a column swap: two samplers, two guidances, a student and its teacher.

Their curves come from a fit of each (`fit_groups`) or from one law with shared parameters (`laws.shared`). They run
along the cost of an image at one size where the law knows size and steps, else along the law's one input.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from scalinglaws import frontier, laws, schema
from scalinglaws.fitting import Fit, Groups, fit_groups
from scalinglaws.fitting import fit as fit_one
from scalinglaws.priced import STEPS, priced
from scalinglaws.schema import InputError
from scalinglaws.swaps import POINTS, meet


@dataclass(frozen=True)
class Level:
    """One level's curve; stands for a Fit where a price is asked for."""

    name: str
    fit: Fit
    table: pd.DataFrame  # the rows of the level
    inputs: dict  # symbol: column, the group's own symbol left out
    replicates: np.ndarray  # [replicate, parameter]
    group: str | None = None  # in a shared law

    @property
    def quality(self):
        return self.fit.quality

    def curve(self, x, theta=None):
        """The level's quality [..., n] at inputs {symbol: [n]}."""
        count = len(np.atleast_1d(next(iter(x.values()))))
        own = {} if self.group is None else {self.fit.law.inputs[-1]: np.array([self.group] * count, object)}
        return self.fit.curve(x | own, theta)


@dataclass(frozen=True)
class Track:
    """What a level's curve runs along: quality [.., n] = at(x [n], theta), and the (from, to) measured."""

    at: object
    span: tuple[float, float]
    warnings: tuple = ()


def several(fit) -> bool:
    """Whether these are curves of several levels: Groups, or a fit of a shared law."""
    return isinstance(fit, Groups) or bool(fit.law.groups)


def fit_levels(table, by, law, quality, inputs, share=(), **options):
    """Groups, one fit a level of the column `by`; with parameters to share, one Fit of all levels."""
    if not share:
        return fit_groups(table, by, law, quality, inputs, **options)
    if law in laws.CHOICES:
        raise InputError(f"Sharing {', '.join(share)} needs one law, such as {laws.CHOICES[law][0]!r}, not {law!r}.")
    names = sorted(map(str, table[by].dropna().unique()))
    law = laws.find(law)
    symbol = next(s for s in ("g", "group", "level") if s not in (*law.inputs, *law.params, *inputs))
    one = law.with_input(next(iter(inputs))) if len(law.inputs) == 1 else law
    return fit_one(table, laws.shared(one, names, share, symbol), quality, {**inputs, symbol: by}, **options)


def crossover(
    source, between, unit="flops", level=0.9, decode=False, price=None, beyond=1.0, by=None, at=None, along=None
):
    """Where two levels swap; see scalinglaws.crossing.crossover."""
    pair = _pair(source, between, by)
    along = _along(pair[0], along)
    tracks = [_track(one, unit, along, at, decode, price) for one in pair]
    low, high = max(t.span[0] for t in tracks), min(t.span[1] for t in tracks)
    x = np.geomspace(low, max(high, low) * 10**beyond, POINTS)
    told = [w for t in tracks for w in t.warnings]
    if high < low:
        told.append("The two were never measured at one place: the curves meet only in the law.")
    first, refits = (_gap(tracks, x, thetas, pair[0].quality)
                     for thetas in ((None, None), [one.replicates for one in pair]))  # fmt: skip
    about = {"by": _column(source), "at": _same_size(pair[0], at)}
    return meet([one.name for one in pair], x, first, refits, (low, high), lambda place: tracks[0].at(place, None)[0],
                pair[0].inputs[along] if along else unit, level, dict.fromkeys(told), **about)  # fmt: skip


def measured(source, between, unit="flops", decode=False, price=None, at=None, along=None):
    """The same without a law: where the two measured curves, straight in logs, swap (a list, often empty)."""
    pair = _pair(source, between, None)
    one, two = (_measured(level, unit, _along(pair[0], along), at, decode, price) for level in pair)
    return one.meets(two) if one and two else []


def _measured(level, unit, along, at, decode, price):
    """The level's measured Curve, at the size where there is one; None if that was not measured."""
    if along is None:
        view = priced(level, unit, decode=decode, price=price)
        every = frontier.curves(level.table, level.quality, unit, level.inputs[view.size], decode, price)
        return next((c for c in every if np.isclose(c.size, view.find(at))), None)
    rows = level.table
    for symbol in level.inputs:
        if symbol != along:
            rows = rows[np.isclose(rows[level.inputs[symbol]].astype(float), _held(level, symbol, at))]
    return frontier.along(rows, level.quality, level.inputs[along]) if len(rows) else None


def crossovers(source, unit, shown, between=None, at=None, along=None, **options):
    """Every pair of levels, at every size they share where size is an input, one row each."""
    names = list(source.fits) if isinstance(source, Groups) else list(source.law.groups)
    rows = []
    for pair in [between] if between else combinations(names, 2):
        for size in _sizes(_pair(source, pair, None), along) if at is None else [at]:
            found = crossover(source, pair, unit, at=size, along=along, **options)
            rows.append({"at": found.at} | {k: getattr(found, k) for k in shown})
    return pd.DataFrame(rows, columns=["at", *shown])


def _pair(source, between, by):
    """Two Levels."""
    if by is not None and by != _column(source):
        raise InputError(f"The curves differ in {_column(source)!r}, not in {by!r}: fit them by that column.")
    if isinstance(between, str) or len(between) != 2 or str(between[0]) == str(between[1]):
        raise InputError(f"between={between!r}: give two different levels of {_column(source)!r}.")
    return _of_groups(source, between) if isinstance(source, Groups) else _of_shared(source, between)


def _column(source) -> str:
    if isinstance(source, Groups):
        if len(source.by) != 1:
            raise InputError(f"A crossing compares the levels of one column; these are groups by {_list(source.by)}.")
        return source.by[0]
    return source.inputs[source.law.inputs[-1]]


def _of_groups(source, between):
    """Levels of separate fits. Their replicates have a seed in common, so those of the second are put in another
    order: a shock must not be the same for both.
    """
    found = []
    for k, name in enumerate(between):
        fit = source[_known(name, list(source.fits) + list(source.refused), _column(source))]
        order = np.random.default_rng([fit.seed, 31]).permutation(fit.count) if k else np.arange(fit.count)
        found.append(Level(str(name), fit, fit.table, fit.inputs, fit.replicates[order]))
    return found


def _of_shared(fit, between):
    *symbols, _ = fit.law.inputs
    column, inputs = _column(fit), {symbol: fit.inputs[symbol] for symbol in symbols}
    names = [_known(name, fit.law.groups, column) for name in between]
    tables = [fit.table[fit.table[column].astype(str) == name].reset_index(drop=True) for name in names]
    return [Level(n, fit, rows, inputs, fit.replicates, n) for n, rows in zip(names, tables, strict=True)]


def _known(name, names, column):
    """The level meant by a name or number as typed."""
    for known in names:
        if str(known) == str(name) or (isinstance(known, float) and f"{known:g}" == str(name)):
            return known
    raise InputError(f"No {column} {str(name)!r}. Known: {_list(names)}.")


def _along(level, along):
    """The symbol the curves run along; None for the cost of an image."""
    if along is None:
        return None if len(level.inputs) > 1 else next(iter(level.inputs))
    for symbol, column in level.inputs.items():
        if along in (symbol, column):
            return symbol
    raise InputError(f"No input {along!r} to compare along; the law has {_list(level.inputs.values())}.")


def _track(level, unit, along, at, decode, price) -> Track:
    if along is None:
        return _cost_track(level, unit, at, decode, price)
    rest = [symbol for symbol in level.inputs if symbol != along]
    held = {symbol: _held(level, symbol, at) for symbol in rest}
    spread = level.table[level.inputs[along]].astype(float)
    return Track(lambda x, theta: level.curve({along: np.atleast_1d(x)} | {s: np.full(np.size(x), v)
                 for s, v in held.items()}, theta), (float(spread.min()), float(spread.max())))  # fmt: skip


def _cost_track(level, unit, at, decode, price):
    view = priced(level, unit, decode=decode, price=price)
    if not view.steps:
        raise InputError("Curves along cost need a law with steps; name the input to compare along: along='steps'.")
    size = view.find(_needed(level, view.size, at))
    rows = level.table[np.isclose(level.table[level.inputs[view.size]].astype(float), size)]
    steps = (rows if len(rows) else level.table)[level.inputs[view.steps]].astype(float)
    ends = (float(view.cost.per_image(size, steps.min())), float(view.cost.per_image(size, steps.max())))
    return Track(lambda x, theta: view.bought(size, np.atleast_1d(x), theta), ends, view.warnings)


def _needed(level, symbol, at):
    if at is None:
        raise InputError(f"Name the size at which to compare, at=...: {_list(_labels(level, symbol))}.")
    return at


def _held(level, symbol, at):
    """The value of an input that is the same for both levels, from a label or a number."""
    at = _needed(level, symbol, at)
    rows = level.table[level.table["model"].astype(str) == str(at)] if "model" in level.table else level.table[:0]
    if len(rows):
        return float(rows[level.inputs[symbol]].iloc[0])
    try:
        return float(at)
    except (TypeError, ValueError):
        raise InputError(f"No size {at!r}. Known: {_list(_labels(level, symbol))}; or give a number.") from None


def _labels(level, symbol):
    """Labels of the level's sizes, smallest first."""
    rows = level.table.sort_values(level.inputs[symbol])
    return list(dict.fromkeys(rows["model"].astype(str) if "model" in rows else rows[level.inputs[symbol]]))


def _sizes(pair, along):
    """Labels of the sizes both levels have; None alone where size is no input."""
    along = _along(pair[0], along)
    symbols = [s for s, column in pair[0].inputs.items() if s != along and (along or column not in STEPS)]
    if not symbols or (along is None and len(pair[0].inputs) == 1):
        return [None]
    both = set(_labels(pair[1], symbols[0]))
    return [label for label in _labels(pair[0], symbols[0]) if label in both]


def _same_size(level, at):
    if at is None or len(level.inputs) == 1:
        return ""
    return f"model = {at}" if "model" in level.table else f"size = {at}"


def _gap(tracks, x, thetas, quality):
    """ln quality of the second minus the first [.., place]; positive where the first is better."""
    with np.errstate(all="ignore"):  # wild refits may reach 0 or overflow; they count as not crossing
        one, two = (np.log(track.at(x, theta)) for track, theta in zip(tracks, thetas, strict=True))
    return one - two if schema.higher_is_better(quality) else two - one


def _list(names) -> str:
    return ", ".join(map(str, names))
