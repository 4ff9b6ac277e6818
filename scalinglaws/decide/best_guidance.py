"""The best guidance as a law of size and steps, with intervals, and what one guidance for all would cost.

Figures 7 and 8 of Mei et al. 2024 (arXiv 2404.01367) say that the best guidance depends on size and steps. Each
setting's best is located by the parabola in ln w through its best measured guidance and the two beside it; where the
best measured is the first or the last of the grid, the optimum is known only to lie beyond the middle of the last two.
The law ln w* = ln W + m ln(size) + k ln(steps) takes such settings as the bounds they are.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scalinglaws import display, schema
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.censored import INSIDE
from scalinglaws.decide.guidance import GUIDED, optimal_guidance
from scalinglaws.decide.rows import commonest, need, size_column
from scalinglaws.decide.vertices import EXPONENTS, law_of_optima, locate, typical_setting
from scalinglaws.schema import NoAnswer

DRAWS = 1000  # of each setting's quality within its standard errors
ROWS = 4  # settings a law needs, at least


@dataclass(frozen=True)
class BestGuidance:
    """The best guidance of every setting, its law, and the loss of fixed guidances.

    settings: model, size, steps, guidance (the best measured), w (the optimum; its bound where `beyond` is above or
    below), low, high, beyond, value (by the half that did not choose), agree. law: term, value, low, high; the first
    term is w* at the typical size and steps. losses: one row per guidance, and one for the law: mean and worst loss
    against the best of each setting, in per cent, and where it is worst.
    """

    settings: pd.DataFrame
    law: pd.DataFrame
    losses: pd.DataFrame
    quality: str
    size: str  # column
    level: float
    typical: dict  # {size, steps}: geometric means, at which the law is centred
    measured: pd.DataFrame = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def __repr__(self):
        return f"<BestGuidance: {self._headline()}>"

    def summary(self) -> str:
        """The law, every setting and the losses in plain text, and the answer."""
        tables = [self.law, self.settings, self.losses]
        return "\n".join([*map(display.text_table, tables), *self.notes, self.answer])

    def to_frame(self) -> pd.DataFrame:
        """One row per setting."""
        return self.settings

    def _repr_html_(self):
        return display.html_page(self._headline(), self.law, notes=self.notes)

    def at(self, size, steps) -> np.ndarray:
        """w* [n] by the law at sizes [n] and steps [n]."""
        centre, *exponents = self.law["value"]
        given = {EXPONENTS["size"]: np.log(np.asarray(size, float) / self.typical["size"]),
                 EXPONENTS["steps"]: np.log(np.asarray(steps, float) / self.typical["steps"])}  # fmt: skip
        return centre * np.exp(sum(b * given[t] for b, t in zip(exponents, self.law["term"][1:], strict=True)))

    @property
    def answer(self) -> str:
        """Two sentences: how the best guidance changes, and what one guidance for all costs."""
        fixed = self.losses[self.losses["guidance"] != "by the law"]
        best, law = fixed.loc[fixed["mean"].idxmin()], self.losses.iloc[-1]
        changes = "; ".join(f"{self._change(row)}" for row in self.law[1:].itertuples())
        edges = int((self.settings["beyond"] != INSIDE).sum())
        beyond = f", with {edges} of {len(self.settings)} optima at an edge of the grid" if edges else ""
        whole = set(fixed["guidance"]) == {f"{w:g}" for w in self.measured["guidance"].unique()}
        which = "" if whole else ", of those measured in every setting,"
        return (f"By {self.quality} the best guidance is {_span(self.law.iloc[0])} at the typical size and steps"
                f"{beyond}: {changes}. Guidance {best['guidance']} for all{which} costs {best['mean']:.2g} % of "
                f"quality on average and {best['worst']:.2g} % at worst ({best['at']}); guidance by the law costs "
                f"{law['mean']:.2g} % and {law['worst']:.2g} %.")  # fmt: skip

    def _change(self, row):
        said = f"{row.term} {_span(row._asdict())}"
        return said if row.low > 0 or row.high < 0 else f"{said}, which does not differ from 0"

    def _headline(self):
        return f"{len(self.settings)} settings, w* {_span(self.law.iloc[0])} at the typical size and steps"

    def plot(self, ax=None):
        """w* against steps with its intervals, one colour per size, with the law; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.best_guidance(self.settings, self.lines(), self.quality, ax)

    def plot_map(self, ax=None):
        """w* of every size and steps as a map; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.guidance_map(self.settings, ax)

    def plot_losses(self, ax=None):
        """Mean and worst loss of each fixed guidance and of the law; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.losses(self.losses, self.quality, ax)

    def plot_curves(self, axes=None):
        """Quality against guidance at each number of steps, smallest and largest size; returns the two Axes."""
        from scalinglaws import figures

        return figures.guidance_curves(self.measured, self.quality, axes)

    def lines(self) -> pd.DataFrame:
        """The law along steps for every size: model, steps, w."""
        grid = np.geomspace(self.settings["steps"].min(), self.settings["steps"].max(), 30)
        sizes = self.settings.drop_duplicates("model")
        return pd.concat([pd.DataFrame({"model": row.model, "steps": grid, "w": self.at(row.size_, grid)})
                          for row in sizes.rename(columns={"size": "size_"}).itertuples()])  # fmt: skip


@checked
def best_guidance(table, quality="fd", *, level=0.9, size=None, seed=0) -> BestGuidance:
    """The best guidance w* of every model and number of steps, and the law ln w* = ln W + m ln(size) + k ln(steps).

    table: rows with guidance, model, a size column, steps and the quality; of several samplers and kinds of guidance
    the one with the most rows is kept. quality_se gives the settings' intervals, quality_half1 and quality_half2 the
    report by the half that did not choose. size: column (default: the first of flops_per_forward, gflops_per_forward,
    params, ... that is full). level: of the intervals. seed: of the draws within the standard errors. Models are groups
    with an error of their own. Raises InputError where a column is missing, NoAnswer where fewer than 4 settings have
    three guidances, or all have their best at an edge of the grid.
    """
    level = check_level(level)
    kinds = ("sampler", *GUIDED[1:]) if isinstance(table, pd.DataFrame) else ()
    table, kept = commonest(table, kinds, dropna=False)
    chosen = optimal_guidance(table, quality)
    need(table, ("model", "steps"))
    size = size_column(table, size)
    table = table[table["guidance"].gt(0) & table[quality].notna()]
    several = chosen.table[chosen.table["guidances"] >= 3].drop_duplicates(["model", "steps"])
    if len(several) < ROWS:
        raise NoAnswer(f"{len(several)} settings were measured at three guidances or more; a law needs {ROWS}: measure "
                       "more guidances.")  # fmt: skip
    points = _points(table, quality, several, size)
    settings = _settings(points, several, table, quality, size, level, seed)
    law, notes = _law(settings, level)
    notes = (*kept, *_left_out(chosen.table, several), *notes, *chosen.notes, *_not_compared(points),
             *_without_errors(points, quality))  # fmt: skip
    found = BestGuidance(settings.drop(columns="s"), law, pd.DataFrame(), quality, size, level,
                         typical_setting(settings), points, notes)  # fmt: skip
    by_law = found.at(settings["size"], settings["steps"])
    return replace(found, losses=_losses(points, settings, by_law, quality))


def _points(table, quality, several, size):
    """One row per model, steps and guidance, of the settings kept: quality, its halves and its standard error."""
    columns = [c for c in (quality, f"{quality}_half1", f"{quality}_half2", f"{quality}_se") if c in table]
    groups = table.groupby(["model", "steps", "guidance"])
    means = groups[columns].mean()
    if f"{quality}_se" in means:
        means[f"{quality}_se"] /= np.sqrt(groups.size())
    kept = several.set_index(["model", "steps"]).index
    means = means.reset_index()
    means = means[means.set_index(["model", "steps"]).index.isin(kept)].reset_index(drop=True)
    sizes = table.groupby("model")[size].mean().sort_values()
    order = [m for m in sizes.index if m in set(means["model"])]
    return means.assign(model=pd.Categorical(means["model"], order, ordered=True))


def _settings(points, several, table, quality, size, level, seed):
    """One row per setting: the optimum located, its interval, and what the cross-fitted choice reports."""
    rng, rows = np.random.default_rng(seed), []
    sizes = table.groupby("model")[size].mean()
    known = several.set_index(["model", "steps"])
    for (model, steps), part in points.groupby(["model", "steps"], observed=True):
        part = part.sort_values("guidance")
        report = known.loc[(model, steps), ["guidance", "value", "agree"]].to_dict()
        error = part[f"{quality}_se"].to_numpy(float) if f"{quality}_se" in part else np.zeros(len(part))
        loss = part[quality].to_numpy(float) * (-1 if schema.higher_is_better(quality) else 1)
        drawn = loss + np.nan_to_num(error) * rng.standard_normal((DRAWS, len(loss)))
        best = locate(np.log(part["guidance"].to_numpy(float)), loss, drawn, level)
        w, low, high = np.exp([best.place, best.low, best.high])
        s = float(best.inside.std()) if len(best.inside) else 0.0
        report |= {"w": w, "low": low, "high": high, "beyond": best.side, "s": s}
        rows.append({"model": model, "size": sizes[model], "steps": steps} | report)
    table = pd.DataFrame(rows)[["model", "size", "steps", "guidance", "w", "low", "high", "beyond", "value", "agree",
                                "s"]]  # fmt: skip
    table["model"] = table["model"].astype(points["model"].dtype)
    return table.sort_values(["model", "steps"], ignore_index=True)


def _law(settings, level):
    """(terms with their intervals, notes) of the optima; the first is w* itself at the typical size and steps."""
    inside = settings["beyond"] == INSIDE
    if not inside.any():
        raise NoAnswer("Every setting has its best guidance at an edge of the grid measured, so nothing is known but "
                       f"that: measure guidances beyond {settings['guidance'].iloc[0]:g}.")  # fmt: skip
    law, line = law_of_optima(settings, settings["w"], "w*", level)
    edges = settings.loc[~inside, "beyond"].value_counts().to_dict()
    said = [f"{count} of {len(settings)} optima lie {side} the grid of guidances and enter as bounds: intervals are "
            "wide where there are many." for side, count in edges.items()]  # fmt: skip
    known = ", ".join(f"{column} {value:.3g}" for column, value in typical_setting(settings).items())
    spread = f"Scatter of ln w* about the law: {line.tau:.2g} a setting, {line.omega:.2g} a model. Typical: {known}."
    return law, (*said, spread)


def _losses(points, settings, by_law, quality):
    """Mean and worst loss of each guidance, and of the measured guidance nearest to the law's, in per cent."""
    halves = [f"{quality}_half1", f"{quality}_half2"]
    whole = all(h in points and points[h].notna().all() for h in halves)
    reported = points[halves].mean(axis=1) if whole else points[quality]  # halves are compared with halves
    wide = points.assign(reported=reported).astype({"model": str})
    wide = wide.pivot(index=["model", "steps"], columns="guidance", values="reported")
    best = settings.astype({"model": str}).set_index(["model", "steps"])["value"]
    wide = wide.loc[best.index]
    ratio = wide.rdiv(best, axis=0) if schema.higher_is_better(quality) else wide.div(best, axis=0)
    rows = [_loss(f"{w:g}", ratio[w]) for w in ratio if ratio[w].notna().all()]
    distance = np.abs(np.log(wide.columns.to_numpy(float))[None] - np.log(by_law)[:, None])
    nearest = np.where(wide.notna(), distance, np.inf).argmin(axis=1)
    chosen = pd.Series(ratio.to_numpy()[np.arange(len(ratio)), nearest], index=ratio.index)
    return pd.DataFrame([*rows, _loss("by the law", chosen)])


def _loss(name, ratio):
    worst = ratio.idxmax()
    return {"guidance": name, "mean": 100 * (ratio.mean() - 1), "worst": 100 * (ratio.max() - 1),
            "at": f"{worst[0]}, {worst[1]:g} steps"}  # fmt: skip


def _left_out(chosen, several):
    """A sentence where settings have too few guidances."""
    few = len(chosen) - len(several)
    return (f"{few} settings with fewer than three guidances are left out.",) if few else ()


def _not_compared(points):
    """A sentence on guidances that some settings lack, so that none of them can be the one for all."""
    held = points.groupby("guidance")[["model", "steps"]].apply(lambda rows: len(rows.drop_duplicates()))
    some = [f"{w:g}" for w in held.index[held < held.max()]]
    if some:
        yield (f"As one guidance for all, only those measured in every setting are compared; {', '.join(some)} "
               f"{'is' if len(some) == 1 else 'are'} not, and losses are against the best that a setting was measured "
               "at.")  # fmt: skip


def _without_errors(points, quality):
    """A sentence where no row has a standard error, so that the settings' intervals have no width."""
    if not points.get(f"{quality}_se", pd.Series(0.0)).gt(0).any():
        yield f"No row has a {quality}_se: the intervals of single settings hold no error of measuring."


def _span(row):
    """A value with its interval."""
    return f"{row['value']:.2f} ({row['low']:.2g} to {row['high']:.2g})"
