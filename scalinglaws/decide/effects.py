"""What a quality follows: partial effects of settings on its error, in logs, with errors clustered by size.

    error = c * params^a * train_flops^b      a: at equal compute; b: at equal size; negative is better

Errors that rise with quality are turned round first, so that all fall: psnr becomes the root mean square error, shares
and similarities (ssim, clip, agreement) their distance to 1.

How far a size lies from the law is shared by all of its rows, those of other training seeds, too: the sizes are what
was repeated.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, schema
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import need, rows_of
from scalinglaws.schema import InputError

FEW = 10  # clusters, under which intervals by clusters are known to be too narrow
TURNED = {  # quality: (its error, what that is)
    "psnr": (lambda q: 255 * 10 ** (-q / 20), "root mean square error"),
    "ssim": (lambda q: 1 - q, "1 - ssim"),
    "clip": (lambda q: 1 - q, "1 - clip"),
    "agreement": (lambda q: 1 - q, "1 - agreement"),
}
WORDS = {"params": "size", "train_flops": "training compute", "steps": "sampling steps", "train_steps": "training"}
AXES = {"params": "parameters", "train_flops": "training FLOPs", "steps": "sampling steps"}


@dataclass(frozen=True)
class Effects:
    """Partial effects, one row per quality and term: quality, error, term, effect, low, high, p, detectable.

    effect: the exponent of the term in the error's law; p: two-sided, of no effect; detectable: the least effect seen
    with probability `power.POWER`. clusters: sizes (of each family and variant); count: measurements.
    """

    rows: pd.DataFrame
    terms: tuple
    level: float
    clusters: int
    count: int
    points: pd.DataFrame = field(repr=False, compare=False)

    def __repr__(self):
        return f"<Effects: {self.answer}>"

    @property
    def warnings(self):
        """Reasons for doubt."""
        few = f"{self.clusters} sizes are few: intervals by clusters are too narrow below {FEW}."
        return [few] if self.clusters < FEW else []

    def of(self, quality, term):
        """The row of one quality and term; InputError where there is none."""
        found = self.rows[(self.rows["quality"] == quality) & (self.rows["term"] == term)]
        if found.empty:
            known = ", ".join(self.rows["quality"].unique())
            raise InputError(f"No effect of '{term}' on '{quality}': qualities are {known}, terms {self.terms}.")
        return found.iloc[0]

    @property
    def answer(self) -> str:
        """One sentence: the terms that each quality follows, with exponents and intervals."""
        return "; ".join(self._follows(quality) for quality in self.rows["quality"].unique()) + "."

    def _follows(self, quality):
        rows = self.rows[self.rows["quality"] == quality]
        said = [
            f"{WORDS.get(r.term, r.term)} (exponent {_digits(r.effect)}, {self.level:.0%} interval {_digits(r.low)} to "
            f"{_digits(r.high)})" for r in rows.itertuples() if r.low > 0 or r.high < 0
        ]  # fmt: skip
        return f"{quality} follows {' and '.join(said) or 'none of ' + ', '.join(self.terms)}"

    def summary(self) -> str:
        """The table, what was counted, and reasons for doubt."""
        counted = f"{self.count} rows of {self.clusters} sizes"
        head = f"Exponents in the error, {counted}, {self.level:.0%} intervals:"
        return "\n".join([head, display.text_table(self.rows), *(f"Warning: {w}" for w in self.warnings)])

    def to_frame(self) -> pd.DataFrame:
        """One row per quality and term."""
        return self.rows.copy()

    def _repr_html_(self):
        return display.html_page("Partial effects on the error", self.rows, self.warnings)

    def plot(self, ax=None):
        """Exponents with their intervals, one line per quality and term; returns the matplotlib Axes."""
        from scalinglaws.figures import intervals

        rows = self.rows.rename(columns={"effect": "value", "quality": "group"})
        rows = rows.assign(label=rows["group"] + ": " + rows["term"].map(lambda t: WORDS.get(t, t)))
        return intervals(rows, f"exponent in the error, with its {self.level:.0%} interval", ax)

    def plot_curves(self, quality, along="train_flops", ax=None):
        """The error of one quality along a column, a curve per size; returns the matplotlib Axes.

        Rows of one size and x, such as trainings of several seeds: the curve is their geometric mean, its band their
        range.
        """
        from scalinglaws import plots

        error, name = error_of(self.points, quality)
        rows = pd.DataFrame({"params": self.points["params"], "x": self.points[along], "y": error})
        if name == quality and f"{quality}_se" in self.points:
            rows["se"] = self.points[f"{quality}_se"]
        rows["label"] = rows["params"].map("{:,.0f} params".format)
        if "variant" in self.points and self.points["variant"].nunique() > 1:
            rows["label"] += ", " + self.points["variant"].astype(str)
        rows = rows.sort_values(["params", "x"])
        same = rows.groupby(["label", "x"], sort=False)["y"]
        lines = same.agg(value=lambda y: np.exp(np.log(y).mean()), low="min", high="max").reset_index()
        return plots.band(lines, rows, AXES.get(along, along), name, ax)


def _digits(exponent):
    """Two decimals, or two digits of what is smaller than 0.1."""
    return f"{exponent:.2f}" if abs(exponent) >= 0.1 else f"{exponent:.2g}"


def error_of(table, quality):
    """(error of each row, its name): what falls as the quality gets better; InputError where none is known.

    >>> error_of(pd.DataFrame({"ssim": [0.75]}), "ssim")[0].tolist()
    [0.25]
    """
    turn, name = TURNED.get(quality, (lambda q: q, quality))
    if quality not in TURNED and schema.higher_is_better(quality):
        raise InputError(f"'{quality}' rises as it gets better and has no known error: known are {', '.join(TURNED)}.")
    return turn(table[quality].astype(float)), name


def read_off(costs, errors, aim):
    """(least cost at which a falling curve has the error `aim`, '' or 'at least' or 'at most'), straight in logs."""
    logs, falling = np.log(costs), np.log(np.minimum.accumulate(errors))
    if falling[-1] > np.log(aim):
        return float(costs[-1]), "at least"
    if falling[0] <= np.log(aim):
        return float(costs[0]), "at most"
    reached = int((falling <= np.log(aim)).argmax())
    ends = slice(reached - 1, reached + 1)
    return float(np.exp(np.interp(-np.log(aim), -falling[ends], logs[ends]))), ""


def partial_effects(source, qualities=(), terms=("params", "train_flops"), where=None, level=0.9, floors=None):
    """Effects of the terms on the error of each quality: ordinary least squares in logs, all terms at once.

    source: a bundled study, a path or a table; qualities: columns, all that vary when left out; where: rows to keep;
    floors: {quality: what is taken off its error}, such as the Fréchet distance of as many real images.
    Standard errors are clustered by size, apart for each family and variant (Liang & Zeger 1986), with t quantiles of
    clusters - 1 degrees of freedom. InputError where a column is missing or there are fewer than three sizes.
    """
    check_level(level)
    table = rows_of(source, where)
    need(table, ("params", *terms, *qualities))
    named = list(qualities) or [q.name for q in schema.METRICS if q.name in table and table[q.name].nunique() > 1]
    groups = table.groupby([c for c in ("family", "params", "variant") if c in table], dropna=False).ngroup()
    if groups.nunique() < 3:
        raise InputError(f"{groups.nunique()} sizes are in the table: an effect needs three.")
    rows = [row for quality in named for row in _regress(table, quality, terms, groups, level, floors)]
    return Effects(pd.DataFrame(rows), tuple(terms), level, groups.nunique(), len(table), table)


def _regress(table, quality, terms, groups, level, floors=None):
    import statsmodels.api as sm

    error, name = error_of(table, quality)
    floor = (floors or {}).get(quality, 0.0)
    error, name = error - floor, f"{name} - {floor:g}" if floor else name
    if (error <= 0).any():
        raise InputError(
            f"'{quality}' is not above its floor {floor:g} in {(error <= 0).sum()} rows: give a lower one."
        )
    inputs = np.log(table[list(terms)].astype(float))
    fine = np.isfinite(np.log(error)) & np.isfinite(inputs).all(axis=1)
    model = sm.OLS(np.log(error[fine]), sm.add_constant(inputs[fine]))
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups[fine]}, use_t=True)
    spare = groups[fine].nunique() - 1
    for term in terms:
        one = effect(fit.params[term], fit.bse[term], spare, level)
        yield {"quality": quality, "error": name, "term": term, "effect": one.value, "low": one.low, "high": one.high,
               "p": fit.pvalues[term], "detectable": one.detectable}  # fmt: skip
