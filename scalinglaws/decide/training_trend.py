"""Quality against training compute, all sizes at all snapshots: one shared trend, or does size matter beside compute?

Figure 3 of Mei et al. 2024 (arXiv 2404.01367) says that below about 1 G the sizes share one trend in training compute.
Compute alone, Q = E + A C^-a, is a special case of Q = E + A N^g C^-a with g = 0. The effect of size at equal compute
is d ln Q / d ln N of that law at the middle of the rows, 0 where the trend is shared; its interval is that of leaving
out each size in turn.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, laws
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.isoflop import at_compute
from scalinglaws.decide.power import POWER, Effect, jackknife
from scalinglaws.decide.rows import commonest, need, rows_of
from scalinglaws.fitting import Fit, fit
from scalinglaws.schema import InputError, NoAnswer, higher_is_better, names

SIZES, COMPUTE = ("flops_per_forward", "params", "N"), "train_flops"
MUCH = 0.5  # share of the error of compute alone on sizes left out; a gain this large is no accident of a few sizes
DATA = ("train_images", "tokens", "train_steps", "epochs", "D")
SHIFT = laws.power_sum("trend_by_size", "E + A*N^g*C^-a", "power_floor in training compute, shifted by size")
COMPARED = (  # name, law, symbols of its inputs
    ("compute alone", "power_floor", "x"),
    ("compute, shifted by size", SHIFT, "NC"),
    ("size and training length", "chinchilla", "ND"),
)
BUDGETS = 60  # along the envelope
SNAPSHOTS = 3  # of a size, at least
STARTS = 4  # of the fits with a size left out


@dataclass(frozen=True)
class TrainingTrend:
    """The shared trend, what size adds to it, and the envelope.

    trend: the law of compute alone. shift: d ln quality / d ln size at equal compute. slope: d ln quality / d ln
    compute by the shared trend. Both are taken at the geometric means of size and compute. laws: law, parameters,
    scatter (rms of ln residuals), left_out (the same for each size predicted from the others). envelope: compute,
    model, size, quality, margin (of the next best size, in per cent). residuals: model, size, compute, quality,
    residual (ln of measured over the shared trend).
    """

    trend: Fit
    shift: Effect
    slope: Effect
    laws: pd.DataFrame
    envelope: pd.DataFrame
    residuals: pd.DataFrame = field(repr=False)
    quality: str
    size: str
    level: float
    notes: tuple[str, ...] = ()

    def __repr__(self):
        return f"<TrainingTrend: {self.verdict}, {self._change()}>"

    @property
    def verdict(self) -> str:
        """One shared trend is rejected, or not."""
        if self.shift.differs:
            return "sizes differ at equal compute"
        alone, both = self.laws["left_out"].iloc[[0, -1]]
        if both < MUCH * alone:
            return "no shift in one direction is seen, but size and training length predict better than compute alone"
        return "one shared trend is not rejected"

    @property
    def changes(self) -> pd.DataFrame:
        """The envelope's rows at which the best size changes, with the first."""
        return self.envelope[self.envelope["model"] != self.envelope["model"].shift()].reset_index(drop=True)

    def summary(self) -> str:
        """Laws, the envelope's changes and the answer in plain text."""
        tables = [self.laws, self.changes]
        return "\n".join([*map(display.text_table, tables), *self.notes, self.answer])

    def to_frame(self) -> pd.DataFrame:
        """One row per law."""
        return self.laws

    def _repr_html_(self):
        return display.html_page(self.verdict, self.laws, notes=[self.answer, *self.notes])

    def _change(self):
        """What ten times the size does at equal compute."""
        value, low, high = (percent(10**g - 1) for g in (self.shift.value, self.shift.low, self.shift.high))
        return (
            f"ten times the size at equal compute: {self.quality} {value} ({self.level:.0%} interval {low} to {high})"
        )

    @property
    def answer(self) -> str:
        """Two sentences: whether the trend is shared, and what the envelope says."""
        alone, both = self.laws.iloc[0], self.laws.iloc[-1]
        path = ", ".join(f"{row.model} from {row.compute:.2g}" for row in self.changes.itertuples())
        seen = percent(10**self.shift.detectable - 1)
        errors = [f"{100 * row['left_out']:.1f} %" for row in (alone, both)]
        return (f"{self._change()[0].upper()}{self._change()[1:]}, so {self.verdict}; a change of {seen} would have "
                f"been seen with probability {POWER:.0%}. A size left out is predicted to {errors[0]} by compute alone "
                f"and to {errors[1]} by size and training length, and the best size along compute goes {path} "
                "FLOPs.")  # fmt: skip

    def plot(self, ax=None):
        """Quality against training compute, the shared trend and the envelope; returns the matplotlib Axes."""
        from scalinglaws import figures

        grid = np.geomspace(self.residuals["compute"].min(), self.residuals["compute"].max(), 120)
        band = self.trend.predict(pd.DataFrame({COMPUTE: grid}), self.level, of="curve").assign(x=grid)
        return figures.training_trend(self.residuals, band, self.envelope, self.quality, ax)

    def plot_residuals(self, ax=None):
        """What the shared trend leaves, one colour per size; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.trend_residuals(self.residuals, self.quality, ax)


def training_trend(study="tiny-ldm-training", quality="", *, where=None, size="", least=0, level=0.9) -> TrainingTrend:
    """Whether quality follows training compute alone, with power, and the best size along compute.

    study: rows with model, a size column, train_flops, the data seen (train_images, tokens) and the quality at several
    snapshots of every size; one sampler, guidance and number of steps. quality: column (default: fd, fid or loss).
    where: rows to keep, as for `question`. size: column (default: flops_per_forward or params). least: train_steps
    below which snapshots are left out, for a trend "after stabilising". level: of the intervals. Raises InputError
    where columns are missing or a quality that rises is asked for, NoAnswer for fewer than four sizes with three
    snapshots.

    >>> found = training_trend("tiny-ldm-training")
    >>> found.laws["law"].tolist()
    ['compute alone', 'compute, shifted by size', 'size and training length']
    """
    level = check_level(level)
    rows, quality, columns, notes = _rows(rows_of(study, where), quality, size, least)
    size = columns["N"]
    fits = {name: fit(rows, law, quality, {s: columns[s] for s in symbols}) for name, law, symbols in COMPARED}
    middle = {s: float(np.exp(np.log(rows[columns[s]].astype(float)).mean())) for s in "NxC"}
    (_, alone, inputs), (_, shifted, both), _ = COMPARED

    def effects(part):
        return [_slope(_fitted(part, shifted, both, quality, columns), "N", middle),
                _slope(_fitted(part, alone, inputs, quality, columns), "x", middle)]  # fmt: skip

    shift, slope = jackknife(effects, rows, level=level)
    table = pd.DataFrame([{"law": name, "parameters": len(fits[name].law.params), "scatter": _rms(fits[name], rows),
                           "left_out": _left_out(rows, law, symbols, quality, columns)}
                          for name, law, symbols in COMPARED])  # fmt: skip
    trend = fits[COMPARED[0][0]]
    residual = np.log(rows[quality] / trend.curve({"x": rows[COMPUTE].to_numpy(float)}))
    known = rows[["model", COMPUTE, size, quality]].rename(columns={COMPUTE: "compute"}).assign(residual=residual)
    known = known.rename(columns={size: "size"})
    return TrainingTrend(trend=trend, shift=shift, slope=slope, laws=table, envelope=_envelope(rows, quality, size),
                         residuals=known, quality=quality, size=size, level=level, notes=notes)  # fmt: skip


def percent(share) -> str:
    """A share as per cent with its sign."""
    return f"{100 * share:+.3g} %"


def _rows(table, quality, size, least):
    """(rows, quality, {symbol: column}, notes): several sampling settings are narrowed to the one with most rows."""
    quality = quality or next((c for c in ("fd", "fid", "loss", *names("quality")) if c in table), None)
    columns = {"N": size or next((c for c in SIZES if c in table), None), "C": COMPUTE, "x": COMPUTE,
               "D": next((c for c in DATA if c in table), None)}  # fmt: skip
    wanted = {"N": f"a column of sizes ({', '.join(SIZES)})", "D": f"a column of data ({', '.join(DATA)})"}
    for symbol, column in {"model": "model", "quality": quality, **columns}.items():
        if column not in table:
            how = ", such as 6 N D" if column == COMPUTE else ""
            needed = f"the column {column!r}{how}" if column else wanted.get(symbol, "a quality")
            raise InputError(f"A trend in training compute needs {needed}; the table has {', '.join(table.columns)}.")
    if higher_is_better(quality):
        raise InputError(f"{quality} rises as it gets better and these laws fall: name a loss or a distance.")
    table, notes = commonest(table, ("family", "sampler", "guidance", "steps"))
    table = table.dropna(subset=[quality, *columns.values()])
    if least:
        need(table, ("train_steps",))
        table = table[table["train_steps"] >= least]
        notes.append(f"Snapshots before {least:g} training steps are left out.")
    few = table.groupby("model")[COMPUTE].transform("nunique") < SNAPSHOTS
    if few.any():
        notes.append(f"{table.loc[few, 'model'].nunique()} models with fewer than {SNAPSHOTS} snapshots are left out.")
    if table.loc[~few, "model"].nunique() < 4:
        raise NoAnswer(f"A trend needs four sizes at {SNAPSHOTS} snapshots each; the table has "
                       f"{table['model'].nunique()} sizes at {table[COMPUTE].nunique()} computes.")  # fmt: skip
    table = table[~few]
    order = table.groupby("model")[columns["N"]].mean().sort_values().index
    table = table.assign(model=pd.Categorical(table["model"], list(order), ordered=True))
    return table.sort_values(["model", COMPUTE], ignore_index=True), quality, columns, tuple(notes)


def _fitted(rows, law, symbols, quality, columns) -> Fit:
    return fit(rows.assign(model=rows["model"].astype(str)), law, quality, {s: columns[s] for s in symbols},
               starts=STARTS)  # fmt: skip


def _slope(law, symbol, at):
    """d ln quality / d ln input of a law, one of its inputs, at a point {symbol: value}."""
    known = {s: np.full(2, at[s]) for s in law.law.inputs}
    low, high = law.curve(known | {symbol: at[symbol] * np.exp([-0.01, 0.01])})
    return float(np.log(high / low) / 0.02)


def _rms(law, rows):
    """Root mean square of ln(predicted / measured)."""
    x = {symbol: rows[column].to_numpy(float) for symbol, column in law.inputs.items()}
    return float(np.sqrt(np.mean(np.log(law.curve(x) / rows[law.quality]) ** 2)))


def _left_out(rows, law, symbols, quality, columns):
    """The same for rows of sizes that the law was not fitted to, each size in turn."""
    squares = [_rms(_fitted(rows[rows["model"] != m], law, symbols, quality, columns), rows[rows["model"] == m]) ** 2
               for m in rows["model"].cat.categories]  # fmt: skip
    return float(np.sqrt(np.mean(squares)))


def _envelope(rows, quality, size):
    """The best of the sizes measured at each compute, of two or more, straight in logs between snapshots."""
    ends = rows[COMPUTE].min(), rows[COMPUTE].max()
    points = at_compute(rows, quality, size, COMPUTE, np.geomspace(*ends, BUDGETS))
    label = rows.groupby(size)["model"].first()
    best = []
    for compute, part in points.groupby(COMPUTE):
        part = part.sort_values(quality)
        if len(part) > 1:
            one, two = part[quality].iloc[:2]
            best.append({"compute": compute, "model": label[part[size].iloc[0]], "size": part[size].iloc[0],
                         "quality": one, "margin": 100 * (two / one - 1)})  # fmt: skip
    return pd.DataFrame(best)
