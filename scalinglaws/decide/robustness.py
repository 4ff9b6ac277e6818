"""Effective robustness: accuracy under a shift beyond what the trend of other models predicts of it.

    logit p_shifted = a + b logit p_reference       over the models of the trend, errors in both
    effective robustness = p_shifted - trend(p_reference)

Taori et al. 2020 (arXiv:2007.00644, section 3) define it; Andreassen et al. 2021 (arXiv:2106.15831) follow it through
training and fine-tuning, on logit axes. A model of the trend is compared with the trend of the other models. Shares
counted on finite samples have binomial errors, on both axes; what the models scatter beyond them is estimated.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, measurements
from scalinglaws.assignments import stated
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import need, rows_of
from scalinglaws.decide.york import YorkLine, york_line
from scalinglaws.schema import InputError, NoAnswer

MODEL = ("family", "model", "variant", "train_seed", "train_steps", "sampler", "steps", "guidance")
MODELS = 4  # of a trend, at least: each is compared with a line through the others
SIZES = ("params", "base_channels", "flops_per_forward")


@dataclass(frozen=True)
class Robustness:
    """One row per model and shift: shift, model, reference, shifted (shares), predicted, robustness (shifted minus
    predicted), low, high, logits (the same on logit axes), z, trend (whether the model is of the trend), differs.

    lines: one row per shift: shift, models, slope, slope_low, slope_high, middle (the reference share at the mean logit
    of the trend), loss (that share minus the one predicted of it), chi2, tau (of the YorkLine), detectable (robustness
    of a single model that would be seen with probability POWER).
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    quality: str
    level: float
    curves: pd.DataFrame = field(repr=False, compare=False)  # shift, x, value, low, high
    notes: tuple[str, ...] = ()

    def __repr__(self):
        return f"<Robustness: {self._slopes()}>"

    def summary(self) -> str:
        """The trends, every model in plain text, and the answer."""
        tables = [display.text_table(self.lines), display.text_table(self.to_frame())]
        return "\n".join([*tables, *self.notes, self.answer])

    def to_frame(self) -> pd.DataFrame:
        """One row per model and shift."""
        return self.rows.drop(columns=["reference_se", "shifted_se"])

    def _repr_html_(self):
        return display.html_page(self._slopes(), self.lines, notes=[*self.notes, self.answer])

    @property
    def answer(self) -> str:
        """Two sentences: the trends, and which models lie off them."""
        seen = "; ".join(f"{r.detectable:.2f} on {r.shift}" for r in self.lines.itertuples())
        return (f"By {self.quality} {self._slopes()}. At {self.level:.0%}, corrected for {len(self.rows)} comparisons, "
                f"{self.headline}; an effective robustness of {seen} would have been seen.")  # fmt: skip

    @property
    def headline(self) -> str:
        """Which models lie off the trend."""
        off = self.rows[self.rows["differs"]]
        if off.empty:
            return f"none of {len(self.rows)} models and shifts lies off its trend"
        said = ", ".join(f"{r.model} on {r.shift} ({r.robustness:+.3f})" for r in off.itertuples())
        return f"{len(off)} of {len(self.rows)} models and shifts lie off their trend: {said}"

    def _slopes(self):
        return "; ".join(
            f"on {r.shift} the trend of {r.models} models has slope {r.slope:.2f} ({r.slope_low:.2f} to "
            f"{r.slope_high:.2f}) and loses {r.loss:.3f} at {r.middle:.2f}" for r in self.lines.itertuples()
        )  # fmt: skip

    def plot(self, ax=None):
        """Shifted against reference share on logit axes, with the trends; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.logit_trends(self.rows, self.curves, self.quality, ax)

    def plot_residuals(self, ax=None):
        """Effective robustness of every model with its interval; returns the matplotlib Axes."""
        from scalinglaws.figures import intervals

        rows = self.rows.assign(value=self.rows["robustness"], group=self.rows["shift"])
        rows = rows.assign(label=rows["model"] + ", " + rows["shift"])
        return intervals(rows, f"effective robustness: {self.quality} beyond the trend", ax)


@checked
def effective_robustness(source, quality="agreement", *, by="dataset", reference="", shifts=None, trend=None,
                         where=None, level=0.9) -> Robustness:  # fmt: skip
    """The Robustness of every model measured on a reference and under a shift.

    source: a bundled study, file or frame, or a list of names, with a row per model and value of the column `by`; rows
    of one model agree in MODEL's columns. reference: the value of the unshifted rows ("": the rows where it is empty).
    shifts: the values to compare, all others when left out. trend: {column: value} or text, rows whose models make the
    trend, all when left out. quality: a share, with quality_se or n_samples_for_metric. InputError for what is missing,
    NoAnswer where fewer than four models make a trend.
    """
    level = check_level(level)
    sources = source if isinstance(source, list | tuple) and all(isinstance(s, str) for s in source) else [source]
    table = pd.concat([rows_of(one, where) for one in sources], ignore_index=True)
    need(table, (by, quality))
    held = table[by].fillna("").astype(str)
    shifts = [shifts] if isinstance(shifts, str) else shifts or sorted(set(held) - {reference})
    if absent := [v for v in (reference, *shifts) if v not in set(held)]:
        raise InputError(f"No rows with {by} {absent[0]!r}: the table has {', '.join(map(repr, sorted(set(held))))}.")
    points = _points(table.assign(**{by: held}), quality, by)
    keep = _of_trend(points, trend)
    parts, notes = [], []
    for shift in shifts:
        shifted = points[points[by] == shift]
        both = points[points[by] == reference].merge(shifted, on="key", suffixes=("", "_shifted"))
        both = both.assign(of_trend=both["key"].isin(keep)).sort_values(["size", "p"], ignore_index=True)
        parts.append(_one_shift(both, shift, level, len(shifts)))
        if alone := shifted["key"].nunique() - len(both):
            notes.append(f"{alone} models measured on {shift} have no row of the reference and are left out.")
    rows, lines, curves = zip(*parts, strict=True)
    return Robustness(pd.concat(rows, ignore_index=True), pd.DataFrame(lines), quality, level, pd.concat(curves),
                      tuple(notes))  # fmt: skip


def _points(table, quality, by):
    """One row per model and value of `by`: key, model, size, p and se, logit and its standard error; repeats pooled.

    Half a hit and half a miss are added to the counts behind a logit (Haldane 1956, Annals of Human Genetics 20:309).
    """
    kept = [c for c in MODEL if c in table]
    share = table[quality].astype(float)
    if not share.between(0, 1).all():
        raise InputError(f"{quality} must be a share from 0 to 1 in every row: logit axes take nothing else.")
    se = table.get(f"{quality}_se", pd.Series(np.nan, table.index)).astype(float)
    drawn = table.get("n_samples_for_metric", pd.Series(np.nan, table.index)).astype(float)
    count = (share * (1 - share) / se**2).where(se > 0, drawn)  # of independent samples that would err as much
    if count.isna().any():
        raise InputError(f"Errors are needed: {quality}_se, or n_samples_for_metric.")
    text = table[kept].astype(object).where(table[kept].notna(), "").astype(str)
    key = text.agg(" ".join, axis=1) if kept else pd.Series("", table.index)
    size = next((table[c] for c in SIZES if c in table), pd.Series(np.nan, table.index))
    made = table.assign(key=key, size=size, count=count, hits=share * count)
    points = made.groupby(["key", by])[["count", "hits"]].sum()
    points = points.join(made.groupby("key")[["size", *kept]].first(), on="key").reset_index()
    hits, misses = points["hits"] + 0.5, points["count"] - points["hits"] + 0.5  # a share of 0 has a logit, too
    p = points["hits"] / points["count"]
    errors = {"se": np.sqrt(hits * misses / (hits + misses) ** 2 / (hits + misses)),
              "logit_se": np.sqrt(1 / hits + 1 / misses)}  # fmt: skip
    return points.assign(p=p, logit=np.log(hits / misses), **errors)


def _of_trend(points, trend):
    """Keys of the models that make the trend."""
    if not trend:
        return set(points["key"])
    text = [c for c in points if not pd.api.types.is_numeric_dtype(points[c])]
    kept = measurements.where(points.assign(**points[text].fillna("")), **stated(trend))
    return set(kept["key"])


def _one_shift(both, shift, level, shifts):
    """(rows, line, curve) of one shift; comparisons of all models and shifts are corrected together (Bonferroni)."""
    own = both[both["of_trend"]]
    if len(own) < MODELS:
        raise NoAnswer(f"A trend needs {MODELS} models measured on both; on {shift} there are {len(own)}.")
    line = _line(own)
    made = pd.DataFrame([_residual(row, own, line, level, shifts * len(both)) for row in both.itertuples()])
    made.insert(0, "shift", shift)
    spare, middle = line.count - 2, float(own["logit"].mean())
    slope = effect(line.slope, line.slope_se, spare, level)
    spread = np.hypot(_typical(both["logit_se_shifted"], both["logit_se"], line.slope, line.tau), line.se(middle))
    seen = effect(0.0, spread, spare, 1 - (1 - level) / (shifts * len(both))).detectable  # in logits
    share = _share(line.at(middle))
    trend = {"shift": shift, "models": line.count, "slope": slope.value, "slope_low": slope.low,
             "slope_high": slope.high, "middle": _share(middle), "loss": _share(middle) - share, "chi2": line.chi2,
             "tau": line.tau, "detectable": float(seen * share * (1 - share))}  # fmt: skip
    x = np.linspace(both["logit"].min() - 0.2, both["logit"].max() + 0.2, 60)
    band = [effect(value, se, spare, level) for value, se in zip(line.at(x), line.se(x), strict=True)]
    curve = pd.DataFrame([{name: _share(getattr(one, name)) for name in ("value", "low", "high")} for one in band])
    return made, trend, curve.assign(shift=shift, x=_share(x))


def _line(rows) -> YorkLine:
    return york_line(rows["logit"], rows["logit_shifted"], rows["logit_se"], rows["logit_se_shifted"])


def _residual(row, own, line, level, comparisons):
    """A model beside the trend of the others: its robustness with its interval."""
    from scipy.stats import t

    others = own[own["key"] != row.key]
    line = _line(others) if row.of_trend else line
    spare = line.count - 2
    se = np.hypot(_typical(row.logit_se_shifted, row.logit_se, line.slope, line.tau), line.se(row.logit))
    predicted = effect(line.at(row.logit), se, spare, level)
    logits = row.logit_shifted - predicted.value
    chance = 2 * t.sf(abs(logits) / se, spare)
    beyond, low, high = (row.p_shifted - _share(logit) for logit in (predicted.value, predicted.high, predicted.low))
    return {"model": _named(row), "reference": row.p, "shifted": row.p_shifted, "predicted": _share(predicted.value),
            "robustness": beyond, "low": low, "high": high, "logits": logits,
            "z": logits / se, "trend": row.of_trend, "differs": bool(chance * comparisons < 1 - level),
            "size": row.size, "reference_se": row.se, "shifted_se": row.se_shifted}  # fmt: skip


def _typical(se_shifted, se, slope, tau):
    """Standard error of a model's own point about a line, in logits."""
    return np.sqrt(np.mean(se_shifted**2 + slope**2 * se**2) + tau**2)


def _share(logit):
    return 1 / (1 + np.exp(-logit))


def _named(row):
    """The model, with what else tells rows of one label apart."""
    parts = [str(row.model)]
    for column, word in (("variant", "{}"), ("train_steps", "{:g} training steps")):
        value = getattr(row, column, None)
        if value is not None and not pd.isna(value) and value != "":
            parts.append(word.format(value))
    return ", ".join(parts)
