"""How much faster a student of few steps is than its teacher at the same quality, by size (Mei et al. 2024, Fig. 13).

    factor = cost of the teacher at the student's error / cost of the student      FLOPs per image of the denoiser

The teacher's error falls with its steps and is read off between measured steps straight in logs. Where no number of
measured steps is as good as the student the factor is a lower bound, where the teacher's first is better an upper one.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.effects import error_of, read_off
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import check_direction, need, rows_of
from scalinglaws.schema import InputError

UNDISTILLED = ("", "undistilled")
DRAWS = 2000  # of the measured errors, for the intervals


@dataclass(frozen=True)
class Acceleration:
    """One row per size and number of the student's steps: params, steps, error, cost, factor, low, high, bound.

    bound: '', or 'at least' and 'at most' where the teacher's measured steps do not reach the student's error.
    slope: the exponent of the factor in params at one number of steps, with its interval, from factors that are no
    bounds; None where there are fewer than three.
    """

    rows: pd.DataFrame
    slope: tuple | None  # exponent, low, high, the student's steps
    quality: str
    level: float
    curves: pd.DataFrame = field(repr=False, compare=False)  # student, params, steps, cost, error, se
    notes: tuple[str, ...] = ()

    def __repr__(self):
        return f"<Acceleration: {self.answer}>"

    @property
    def answer(self) -> str:
        """One sentence per claim: the factors, and whether they change with size."""
        steps = self.slope[3] if self.slope else self.rows["steps"].max()
        rows = self.rows[self.rows["steps"] == steps]
        factors = ", ".join(f"{(r.bound + ' ') if r.bound else ''}{r.factor:.1f}" for r in rows.itertuples())
        at = display.count(steps, "step")
        said = f"At {at} students are {factors} times as fast as their teachers at equal {self.quality}, "
        said += "from the smallest size to the largest"
        if self.slope is None:
            return f"{said}; too few factors are inside the teachers' measured steps to say how they change with size."
        effect, low, high, _ = self.slope
        word = "falls with size" if high < 0 else "rises with size" if low > 0 else "shows no change with size"
        return f"{said}; the factor {word} (exponent {effect:.2f}, {self.level:.0%} interval {low:.2f} to {high:.2f})."

    def summary(self) -> str:
        """The sentence, the rows and what to know of them."""
        return "\n".join([self.answer, display.text_table(self.rows), *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """One row per size and number of the student's steps."""
        return self.rows.copy()

    def _repr_html_(self):
        return display.html_page("Acceleration at equal quality", self.rows, notes=[self.answer, *self.notes])

    def plot(self, ax=None):
        """Factors with their intervals, one line per size and number of steps; returns the matplotlib Axes."""
        from scalinglaws.figures import intervals

        step_count = partial(display.count, noun="step")
        words = self.rows["params"].map("{:,.0f} params, ".format) + self.rows["steps"].map(step_count) + " "
        rows = self.rows.rename(columns={"factor": "value"})
        rows = rows.assign(label=words + rows["bound"], group=rows["steps"].map(step_count))
        return intervals(rows, "times as fast as its teacher", ax, reference=1.0)

    def plot_curves(self, ax=None):
        """Error against sampling cost of students and teachers of every size; returns the matplotlib Axes."""
        from scalinglaws import plots

        curves = self.curves.assign(label=self.curves["params"].map("{:,.0f} params".format))
        curves = curves.rename(columns={"cost": "x", "error": "value"})
        curves = curves.assign(low=curves["value"], high=curves["value"]).sort_values(["params", "x"])
        teachers, students = (curves[curves["student"] == flag] for flag in (False, True))
        points = students.rename(columns={"value": "y"}).drop(columns=["low", "high"])
        shown = teachers[teachers["params"].isin(students["params"])]
        label = f"{self.quality} (lines: teachers, points: students)"
        return plots.band(shown, points, "FLOPs per image, denoiser", label, ax)


def acceleration(source, quality="fd", student="consistency", where=None, student_where=None, level=0.9, seed=0):
    """The Acceleration of the rows whose `variant` is `student` over the undistilled of the same params (no variant, or
    "undistilled"; where there are none, over those of other variants).

    where: rows to keep, {column: value} or "a=b; c=d"; student_where: those of the students, where they differ, such as
    a guidance of 1 for students that hold their teacher's guidance in their weights.
    Several guidances: at each cost the best of them, of both sides. Intervals (level) are those of the measured errors,
    drawn (seed) from a normal distribution by their standard errors. InputError where no size has both.
    """
    check_level(level)
    table = rows_of(source, where)
    need(table, ("variant",))
    own = rows_of(source, student_where) if student_where else table
    others = table[table["variant"] != student]
    plain = others["variant"].isna() | others["variant"].isin(UNDISTILLED)
    teachers = others[plain] if plain.any() else others
    table = pd.concat([teachers, own[own["variant"] == student]], ignore_index=True)
    need(table, (quality,))
    check_direction(table, quality)
    curves = _curves(table, quality, student)
    sides = {flag: rows for flag, rows in curves.groupby("student")}
    both = set(curves.loc[curves["student"], "params"]) & set(curves.loc[~curves["student"], "params"])
    if not both:
        raise InputError(f"No size has rows of variant '{student}' and of its teacher: a teacher has the same params.")
    rng = np.random.default_rng(seed)
    rows = [
        _factor(one, sides[False][sides[False]["params"] == one.params], rng, level)
        for one in sides[True].sort_values(["steps", "params"]).itertuples() if one.params in both
    ]  # fmt: skip
    rows = pd.DataFrame(rows)
    exact = f"No row has a {quality}_se: the intervals of the factors hold no error of measuring."
    return Acceleration(rows, _slope(rows, level), quality, level, curves, () if curves["se"].gt(0).any() else (exact,))


def _curves(table, quality, student):
    """The best guidance's error at each params, steps and side: student, params, steps, cost, error, se."""
    need(table, (quality, "params", "steps", "variant", "nfe", "flops_per_forward"))
    error, _ = error_of(table, quality)
    se = table.get(f"{quality}_se", pd.Series(0.0, table.index)).astype(float)
    se = se * error * np.log(10) / 20 if quality == "psnr" else se  # of the root mean square error
    made = pd.DataFrame({
        "student": table["variant"].astype(str) == student, "params": table["params"].astype(float),
        "steps": table["steps"].astype(float), "cost": table["nfe"] * table["flops_per_forward"],
        "error": error, "se": se.fillna(0.0),
    })  # fmt: skip
    made = made[made["error"].notna()]
    best = made.groupby(["student", "params", "steps"])["error"].idxmin()
    return made.loc[best].reset_index(drop=True)


def _factor(one, teacher, rng, level):
    teacher = teacher.sort_values("cost")
    costs, errors, se = (teacher[c].to_numpy() for c in ("cost", "error", "se"))
    cost, bound = read_off(costs, errors, one.error)
    draw = lambda value, se: value * np.exp(se / value * rng.normal(size=np.shape(value)))  # noqa: E731
    drawn = [read_off(costs, draw(errors, se), float(draw(one.error, one.se))) for _ in range(DRAWS)]
    lows = [0.0 if which == "at most" else value for value, which in drawn]  # a draw may be a bound, too
    highs = [np.inf if which == "at least" else value for value, which in drawn]
    low = np.quantile(lows, (1 - level) / 2, method="inverted_cdf")
    high = np.quantile(highs, (1 + level) / 2, method="inverted_cdf")
    return {"params": one.params, "steps": one.steps, "error": one.error, "cost": one.cost,
            "factor": cost / one.cost, "low": low / one.cost if bound != "at most" else 0.0,
            "high": high / one.cost if bound != "at least" else np.inf, "bound": bound}  # fmt: skip


def _slope(rows, level):
    """(exponent of the factor in params, low, high, steps) at the number of steps with most factors that are none of
    the bounds, the largest of several; None where fewer than three sizes have one."""
    from scipy.stats import linregress

    inside = rows[rows["bound"] == ""]
    counts = inside.groupby("steps")["params"].nunique()
    if counts.empty or counts.max() < 3:
        return None
    steps = counts[counts == counts.max()].index.max()
    kept = inside[inside["steps"] == steps]
    line = linregress(np.log(kept["params"]), np.log(kept["factor"]))
    slope = effect(line.slope, line.stderr, len(kept) - 2, level)
    return slope.value, slope.low, slope.high, float(steps)
