"""Does quality against size make a step, or follow a smooth trend? (Two tiers, as Mei et al. 2024 see in Fig. 6.)

    trend    quality = a + b ln size (a line), or a polynomial of degree 2 (a curve)
    levels   quality = a below a break, a + d above it; the break lies between two of the sizes, at least two a side

Neither holds the other, and the data choose the place of the break: tables of F do not apply. Of the likelihood ratio
(Cox 1962; of such shapes by simulation Williams 1970, Biometrics 26, 23; the supremum over places Andrews 1993,
doi:10.2307/2951764) the distribution under each shape is simulated (`breaks`).

Sizes were trained once each and share their error over all subjects: what is fitted are the means over subjects.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.breaks import TRENDS, Problem, compare, likely_places, rest, seen_step
from scalinglaws.decide.effects import AXES
from scalinglaws.decide.power import POWER, Effect, effect
from scalinglaws.decide.rows import need, rows_of
from scalinglaws.schema import InputError, NoAnswer

FEWEST = 5  # sizes
SHOWN = {  # verdict: how the answer says it
    "two tiers": "two tiers",
    "a smooth trend": "a smooth trend",
    "neither": "neither two tiers nor a smooth trend",
    "undecided": "too little to tell two tiers from a trend",
}


@dataclass(frozen=True)
class Tiers:
    """Two levels beside smooth trends.

    tests: trend, misfit (deviation of the means from it), levels_misfit, log_ratio (of likelihoods, levels over trend),
    p_trend (that data of this trend speak as much for levels), p_levels (that data of two levels speak as much for the
    trend). low, high: the levels; below, above: the sizes on both sides of the break; earliest, latest: the same for
    all places that are not excluded. seen: the least step that would have rejected the line with probability 0.8.
    rise: of the line, from the smallest size to the largest.
    means: one row per size: size, value, se, before, change, change_low, change_high (over repeats, paired).
    """

    tests: pd.DataFrame
    low: float
    high: float
    below: float
    above: float
    earliest: float
    latest: float
    seen: float
    rise: Effect
    means: pd.DataFrame
    repeats: int
    quality: str
    size: str
    level: float
    points: pd.DataFrame = field(repr=False, compare=False)  # side, size, repeat, value
    curves: pd.DataFrame = field(repr=False, compare=False)  # label, x, value

    def __repr__(self):
        return f"<Tiers: {self.verdict}; {self.answer}>"

    @property
    def step(self) -> float:
        """Upper level less lower level."""
        return self.high - self.low

    @property
    def verdict(self) -> str:
        """'two tiers', 'a smooth trend', 'neither' or 'undecided', by what is rejected at the level.

        Trends have to be rejected all; levels by any of the tests, each at its part of the level (Bonferroni).
        """
        low = 1 - self.level
        trends = (self.tests["p_trend"] < low).all()
        levels = (self.tests["p_levels"] < low / len(self.tests)).any()
        return {(True, False): "two tiers", (False, True): "a smooth trend", (True, True): "neither"}.get(
            (bool(trends), bool(levels)), "undecided"
        )

    @property
    def answer(self) -> str:
        """Two sentences: what is rejected, and which step would have been seen."""
        rows = list(self.tests.itertuples())
        trends = " and ".join(f"a {row.trend} is {self._rejected(row.p_trend)}" for row in rows)
        levels = " and ".join(f"{self._rejected(row.p_levels, len(rows))} against the {row.trend}" for row in rows)
        seen = f"a step of {self.seen:.2g}" if np.isfinite(self.seen) else "no step, however large,"
        return (
            f"{self.quality} of {len(self.means)} sizes, {self.repeats} repeats, changes by {self.rise.value:+.2g} "
            f"along a line ({self.level:.0%} interval {self.rise.low:+.2g} to {self.rise.high:+.2g}) and shows "
            f"{SHOWN[self.verdict]}: against two levels {trends}, and two levels are {levels}. The best two are "
            f"{self.low:.3g} and, from "
            f"{self.above:,.0f} {self.size} on, {self.high:.3g} (the break may lie anywhere from {self.earliest:,.0f} "
            f"to {self.latest:,.0f}); {seen} would have been seen beside a line with {POWER:.0%} probability."
        )

    def _rejected(self, p, tests=1):
        return f"{'' if p < (1 - self.level) / tests else 'not '}rejected (p = {p:.3f})"

    @property
    def changed(self) -> str:
        """One sentence: what personalising changed, size by size."""
        rows = self.means.dropna(subset=["change"])
        if rows.empty:
            return f"No rows say what {self.quality} was before."
        sure = ((rows["change_low"] > 0) | (rows["change_high"] < 0)).sum()
        low, high = rows["change"].min(), rows["change"].max()
        return (
            f"{self.quality} changes by {low:+.2g} to {high:+.2g}, from {rows['change'].iloc[0]:+.2g} at the smallest "
            f"size to {rows['change'].iloc[-1]:+.2g} at the largest; the {self.level:.0%} interval over repeats leaves "
            f"out 0 at {sure} of {len(rows)} sizes."
        )

    def summary(self) -> str:
        """The answer, the tests and one row per size."""
        return "\n".join([self.answer, self.changed, display.text_table(self.tests), display.text_table(self.means)])

    def to_frame(self) -> pd.DataFrame:
        """One row per size."""
        return self.means.copy()

    def _repr_html_(self):
        return display.html_page(f"Two tiers or a trend: {self.quality}", self.tests, notes=[self.answer])

    def plot(self, ax=None):
        """Means over repeats with their errors, trends and levels behind them; returns the matplotlib Axes."""
        from scalinglaws import plots

        points = self.means.rename(columns={self.size: "x", "value": "y"}).assign(label="measured")
        lines = self.curves.assign(low=self.curves["value"], high=self.curves["value"])
        return _linear(
            plots.band(lines, points[["x", "y", "se", "label"]], AXES.get(self.size, self.size), self.quality, ax)
        )

    def plot_change(self, ax=None):
        """Before and after against size, means over repeats as lines; returns the matplotlib Axes."""
        from scalinglaws import plots

        points = self.points.rename(columns={self.size: "x", "value": "y", "side": "label"})
        points = points.sort_values("label", ascending=False)  # before, after
        lines = points.groupby(["label", "x"], as_index=False, sort=False)["y"].mean().rename(columns={"y": "value"})
        lines = lines.assign(low=lines["value"], high=lines["value"])
        return _linear(plots.band(lines, points, AXES.get(self.size, self.size), self.quality, ax))


def _linear(ax):
    """Quality on a linear axis: cosines and shares are compared by their difference."""
    ax.set_yscale("linear")
    ax.relim()
    ax.autoscale(axis="y")
    return ax


def tiers(
    source, quality="subject_similarity", after="personalised", repeats="dataset", size="params", where=None,
    level=0.9, draws=2000, seed=0,
):  # fmt: skip
    """The Tiers of the rows whose `variant` is `after` (all rows where that is None), one mean per size.

    source: a bundled study, a path or a table; repeats: the column of the schema whose values are repeats of the
    experiment, such as dataset (subjects) or train_seed, or None; where: rows to keep. Rows of other variants are
    `before`. Repeats that lack a size are left out.
    InputError where a column is missing; NoAnswer for fewer than five sizes, or where no repeat has them all.

    >>> rows = pd.DataFrame({"params": [1e5, 2e5, 4e5, 8e5, 16e5, 32e5], "clip": [.50, .51, .50, .71, .70, .71]})
    >>> result = tiers(rows, "clip", after=None, repeats=None)
    >>> result.verdict, f"{result.step:.2f}", result.below, result.above
    ('two tiers', '0.20', 400000.0, 800000.0)
    """
    check_level(level)
    wide, before, errors = _sides(rows_of(source, where), quality, after, repeats, size)
    problem = Problem.of(wide, np.nan_to_num(errors.to_numpy(float)))
    rng = np.random.default_rng(seed)
    tests = pd.DataFrame([compare(problem, trend, draws, rng) for trend in TRENDS])
    places, place = likely_places(problem, draws, rng, 1 - level)
    sizes = wide.columns.to_numpy(float)
    return Tiers(
        tests=tests, low=float(problem.means[:place].mean()), high=float(problem.means[place:].mean()),
        below=float(sizes[place - 1]), above=float(sizes[place]),
        earliest=float(sizes[min(places) - 1]), latest=float(sizes[max(places)]),
        seen=seen_step(problem, 1 - level, rng), rise=_rise(problem, level),
        means=_means(wide, before, problem, size, level), repeats=len(wide), quality=quality, size=size, level=level,
        points=_points(wide, before, size), curves=_curves(problem, sizes),
    )  # fmt: skip


def _sides(table, quality, after, repeats, size):
    """(quality after, quality before [repeat, size], standard error of each row after)."""
    kept = [quality, size, *([repeats] if repeats else [])]
    need(table, [*kept, *(["variant"] if after is not None else [])])
    table = table.dropna(subset=kept).assign(repeat=lambda t: t[repeats].astype(str) if repeats else "all")
    chosen = table["variant"].astype(str) == after if after is not None else pd.Series(True, table.index)
    if not chosen.any():
        known = ", ".join(map(str, table["variant"].unique()))
        raise InputError(f"No row with a {quality} is of variant '{after}': there are {known or 'no rows'}.")
    wide, before = (part.pivot_table(index="repeat", columns=size, values=quality)
                    for part in (table[chosen], table[~chosen]))  # fmt: skip
    wide = wide.dropna()
    if wide.shape[1] < FEWEST or wide.empty:
        raise NoAnswer(
            f"A line and two levels take {FEWEST} sizes or more, all measured in one {repeats or 'set'}: "
            f"{len(wide)} have {wide.shape[1]}."
        )
    return wide, before, table[chosen].get(f"{quality}_se", pd.Series(0.0, table.index[chosen]))


def _rise(problem, level):
    """The Effect of a line from the smallest size to the largest: Student's t of K - 2 degrees of freedom."""
    x, spare = problem.x - problem.x.mean(), len(problem.x) - 2
    slope, wide = x @ problem.means / (x @ x), np.ptp(x)
    error = np.sqrt(rest(problem.means, problem.trend("line")) / spare / (x @ x))
    return effect(slope * wide, error * wide, spare, level)


def _means(wide, before, problem, size, level):
    rows = []
    for column, value in zip(wide.columns, problem.means, strict=True):
        row = {size: float(column), "value": value, "se": np.sqrt(problem.noise), "before": np.nan}
        row |= {"change": np.nan, "change_low": np.nan, "change_high": np.nan}
        if column in before:
            pairs = (wide[column] - before[column].reindex(wide.index)).dropna()
            row["before"] = before[column].reindex(pairs.index).mean()
            row["change"] = pairs.mean()
            if len(pairs) > 1:
                change = effect(pairs.mean(), pairs.std(ddof=1) / np.sqrt(len(pairs)), len(pairs) - 1, level)
                row |= {"change_low": change.low, "change_high": change.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _points(wide, before, size):
    sides = [
        side.reset_index().melt("repeat", var_name=size).assign(side=name)
        for name, side in (("before", before), ("after", wide)) if len(side)
    ]  # fmt: skip
    return pd.concat(sides, ignore_index=True).dropna(subset=["value"])[["side", size, "repeat", "value"]]


def _curves(problem, sizes):
    """label, x, value: the fitted trends and levels along size."""
    z, grid = problem.means, np.linspace(problem.x[0], problem.x[-1], 60)
    curves = [
        pd.DataFrame({"label": name, "x": np.exp(grid), "value": np.polyval(np.polyfit(problem.x, z, degree), grid)})
        for name, degree in TRENDS.items()
    ]
    place = problem.places[problem.levels(z).argmin()]
    low, high = z[:place].mean(), z[place:].mean()
    middle = np.sqrt(sizes[place - 1] * sizes[place])
    x, value = [sizes[0], middle, middle * (1 + 1e-9), sizes[-1]], [low, low, high, high]
    return pd.concat([*curves, pd.DataFrame({"label": "two levels", "x": x, "value": value})], ignore_index=True)
