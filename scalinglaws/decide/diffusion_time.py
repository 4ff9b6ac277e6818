"""The best diffusion time: at which share T of the noise schedule sampling should start, by size and steps.

A diffusion that ends at T < 1 starts sampling from N(0, 1) where data still shows, an error that grows as T falls; the
error of the network and of the solver, who have a shorter path, falls. So an interior optimum is expected (Franzese et
al. 2022, arXiv:2206.05173, section 2, for the evidence lower bound). Each setting's optimum is the vertex of the
parabola in T through ln of its best measured quality and the two beside it; its interval comes from draws within the
standard errors. What starting there is worth is cross-fitted: the time is chosen on one half of the samples, and the
other half reports.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, schema
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.censored import ABOVE, BELOW, INSIDE
from scalinglaws.decide.guidance import HALVES
from scalinglaws.decide.rows import check_direction, commonest, need, rows_of, size_column
from scalinglaws.decide.vertices import law_of_optima, locate
from scalinglaws.schema import InputError, NoAnswer

TIME = "diffusion_time"
DRAWS = 4000  # of each setting's quality within its standard errors


@dataclass(frozen=True)
class BestDiffusionTime:
    """The best diffusion time of every setting, and its law.

    settings: model, size, steps, best (the best measured T), time (the optimum; the end of the measured times where
    `beyond` says above or below), low, high, interior (whether the interval leaves out the whole schedule and the
    shortest time measured), beyond, gain (how many times better the chosen T is than T = 1, cross-fitted), gain_low,
    gain_high, whole and chosen (the quality at T = 1 and at the chosen T) with relative errors. law: term, value, low,
    high of ln T* = ln T0 + m ln(size) + k ln(steps); empty with fewer than two optima inside.
    """

    settings: pd.DataFrame
    law: pd.DataFrame
    quality: str
    level: float
    measured: pd.DataFrame = field(repr=False, compare=False)  # model, steps, diffusion_time, quality, error
    notes: tuple[str, ...] = ()

    def __repr__(self):
        return f"<BestDiffusionTime: {self.headline}>"

    def summary(self) -> str:
        """Every setting and the law in plain text, and the answer."""
        parts = [display.text_table(self._shown()), *([display.text_table(self.law)] if len(self.law) else [])]
        return "\n".join([*parts, *self.notes, self.answer])

    def to_frame(self) -> pd.DataFrame:
        """One row per setting."""
        return self.settings.copy()

    def _repr_html_(self):
        return display.html_page(self.headline, self._shown(), notes=[*self.notes, self.answer])

    def _shown(self):
        return self.settings.drop(columns=["whole", "chosen", "whole_se", "chosen_se"])

    @property
    def answer(self) -> str:
        """Two sentences: whether the best time is interior and how it changes, and what it is worth."""
        by_steps = self.settings.groupby("steps")
        times = ", ".join(f"{steps:g} steps {rows['time'].median():.2f}" for steps, rows in by_steps)
        gains = ", ".join(f"{steps:g} steps {np.exp(np.log(rows['gain']).mean()):.3g}" for steps, rows in by_steps)
        changes = "; ".join(f"{row.term} {_span(row)}" for row in self.law[1:].itertuples())
        sure = int((self.settings["gain_low"] > 1).sum())
        return (
            f"By {self.quality}, {self.headline}: in the middle of the sizes {times}"
            f"{f' ({changes})' if changes else ''}. Starting there instead of at the schedule's end improves "
            f"{self.quality} by these factors, cross-fitted: {gains}; in {sure} of {len(self.settings)} settings the "
            f"{self.level:.0%} interval is above 1."
        )

    def between_sizes(self) -> pd.DataFrame:
        """The largest size's quality over the smallest's at equal steps, at T = 1 and at the best T of each.

        One row per number of steps: steps, whole, whole_low, whole_high, best, best_low, best_high.
        """
        from scipy.stats import norm

        rows, width = [], norm.ppf((1 + self.level) / 2)
        for steps, part in self.settings.groupby("steps"):
            small, large = part.iloc[part["size"].argmin()], part.iloc[part["size"].argmax()]
            row = {"steps": steps}
            for name, column in (("whole", "whole"), ("best", "chosen")):
                ratio = large[column] / small[column]
                reach = np.exp(width * np.hypot(large[f"{column}_se"], small[f"{column}_se"]))
                row |= {name: ratio, f"{name}_low": ratio / reach, f"{name}_high": ratio * reach}
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def headline(self) -> str:
        """Whether the best time is interior."""
        count, whole = int(self.settings["interior"].sum()), int((self.settings["beyond"] == ABOVE).sum())
        rest = f", in {whole} the whole schedule is best" if whole else ""
        return f"the best diffusion time is interior in {count} of {len(self.settings)} settings{rest}"

    def plot(self, ax=None):
        """T* against steps with its intervals, one colour per size; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.best_times(self.settings, self.quality, ax)

    def plot_curves(self, axes=None):
        """Quality against T at each number of steps, one panel per size; returns the Axes."""
        from scalinglaws import figures

        return figures.time_curves(self.measured, self.quality, axes)


@checked
def best_diffusion_time(source, quality="fd", *, where=None, level=0.9, size=None, seed=0) -> BestDiffusionTime:
    """The best diffusion time of every model and number of steps, and the law ln T* = ln T0 + m ln(size) + k ln(steps).

    source: a bundled study, a file or a frame with model, steps, diffusion_time (1 where it is empty), the quality and
    a size column; quality_se gives intervals, quality_half1 and quality_half2 the cross-fitted gain. Of several
    samplers and guidances the one with the most rows is kept. Intervals treat the times' errors as independent: they
    share their start noise, so true ones are narrower. Optima at T = 1 enter the law as bounds. InputError where a
    column is missing, NoAnswer where no setting has three times, T = 1 among them.
    """
    level = check_level(level)
    table = rows_of(source, where)
    need(table, ("model", "steps", quality))
    check_direction(table, quality)
    if TIME not in table:
        raise InputError(f"Column {TIME!r} is missing: measure a sweep with several values of it.")
    table, notes = commonest(table, ("sampler", "guidance"), dropna=False)
    size = size_column(table, size)
    points = _points(table, quality, size)
    if points.empty:
        raise NoAnswer("No model and number of steps has three diffusion times with T = 1 among them: measure more.")
    if (points[quality] <= 0).any():
        raise InputError(f"{quality} must be above 0: the optimum is that of its logarithm.")
    rng = np.random.default_rng(seed)
    rows = [{"model": model, "size": part["size"].iloc[0], "steps": steps} | _setting(part, quality, rng, level)
            for (model, steps), part in points.groupby(["model", "steps"], observed=True)]  # fmt: skip
    settings = pd.DataFrame(rows).sort_values(["size", "steps"], ignore_index=True)
    law = _law(settings, level)
    notes += _notes(points, quality)
    return BestDiffusionTime(settings.drop(columns=["s", "bound"]), law, quality, level, points, tuple(notes))


def _points(table, quality, size):
    """One row per model, steps and time, repeats averaged; settings of three times or more that have T = 1."""
    halves = [f"{quality}_{half}" for half in HALVES if f"{quality}_{half}" in table]
    table = table[table[quality].notna()].assign(**{TIME: table[TIME].fillna(1.0).astype(float)})
    groups = table.groupby(["model", "steps", TIME])
    means = groups[[quality, *halves]].mean()
    error = groups[f"{quality}_se"].mean() if f"{quality}_se" in table else pd.Series(0.0, means.index)
    means[f"{quality}_se"] = (error / np.sqrt(groups.size())).fillna(0.0)
    means["size"] = groups[size].mean()
    means = means.reset_index()
    several = means.groupby(["model", "steps"])[TIME].transform(lambda t: len(t) >= 3 and t.max() == 1)
    means = means[several.astype(bool)]
    means["best"] = means.groupby(["model", "steps"])[quality].rank(ascending=not schema.higher_is_better(quality)) == 1
    order = means.drop_duplicates("model").sort_values("size")["model"]
    return means.assign(model=pd.Categorical(means["model"], list(order), ordered=True)).reset_index(drop=True)


def _setting(part, quality, rng, level):
    """The optimum of one setting with its interval, and the gain over T = 1."""
    part = part.sort_values(TIME)
    t, value = part[TIME].to_numpy(float), part[quality].to_numpy(float)
    error, sign = part[f"{quality}_se"].to_numpy(float), -1 if schema.higher_is_better(quality) else 1
    drawn = value * np.exp(error / value * rng.standard_normal((DRAWS, len(t))))
    best = locate(t, sign * np.log(value), sign * np.log(drawn), level, ends=(t[0], 1.0))
    measured = int((sign * value).argmin())
    interior = best.side == INSIDE and t[0] < best.low and best.high < 1
    setting = {"best": t[measured], "time": {BELOW: t[0], ABOVE: t[-1]}.get(best.side, best.place), "low": best.low,
               "high": best.high, "interior": interior, "beyond": best.side}  # fmt: skip
    s = float(np.log(best.inside).std()) if len(best.inside) else 0.0
    return setting | _gain(part, quality, sign, measured, level) | {"s": s, "bound": best.place}


def _gain(part, quality, sign, at, level):
    """How much better than T = 1: {gain, gain_low, gain_high, whole, chosen, whole_se, chosen_se}, cross-fitted.

    whole, chosen: quality at T = 1 and at the time that each half chose and the other reports; without halves that of
    all samples, which chose it, too. whole_se, chosen_se: their relative standard errors, behind the gain's interval.
    """
    from scipy.stats import norm

    last = len(part) - 1
    halves = [part[f"{quality}_{half}"].to_numpy(float) for half in HALVES if f"{quality}_{half}" in part]
    whole = len(halves) == len(HALVES) and not np.isnan(halves).any()
    one, two = halves if whole else [part[quality].to_numpy(float)] * 2
    chosen = [int((sign * one).argmin()), int((sign * two).argmin())] if whole else [at, at]
    values = (one[last] + two[last]) / 2, (two[chosen[0]] + one[chosen[1]]) / 2
    ratio = np.log(values[0] / values[1])
    relative = (part[f"{quality}_se"] / part[quality]).to_numpy(float)
    moved = [c for c in chosen if c != last]
    width = norm.ppf((1 + level) / 2) * (np.hypot(relative[last], np.mean(relative[moved])) if moved else 0.0)
    ends = np.exp(sign * ratio + np.array([0.0, -width, width]))
    names = "gain", "gain_low", "gain_high", "whole", "chosen", "whole_se", "chosen_se"
    return dict(zip(names, map(float, (*ends, *values, relative[last], relative[chosen].mean())), strict=True))


def _law(settings, level):
    """The law of T*; empty with fewer than two optima inside."""
    if (settings["beyond"] == INSIDE).sum() < 2:
        return pd.DataFrame(columns=["term", "value", "low", "high"])
    return law_of_optima(settings, settings["bound"], "T*", level)[0]


def _notes(points, quality):
    """What to know of the measurements."""
    notes = []
    if not all(f"{quality}_{half}" in points for half in HALVES):
        notes.append("Optimistic: without halves of the samples the gain is that of the very samples that chose T.")
    if (points[f"{quality}_se"] == 0).all():
        notes.append(f"No standard errors ({quality}_se): intervals have no width.")
    return notes


def _span(row):
    return f"{row.value:.2g}, {row.low:.2g} to {row.high:.2g}"
