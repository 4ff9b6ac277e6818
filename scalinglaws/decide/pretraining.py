"""What pretraining is worth to a fine-tuned model: the same networks with it and from weights drawn anew, in pairs."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.effects import error_of, read_off
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import need, rows_of
from scalinglaws.schema import InputError

SAME = ("sampler", "steps", "guidance", "task", "n_samples_for_metric", "seed")  # of two rows that are a pair


@dataclass(frozen=True)
class Pretraining:
    """Pairs of rows of one size and training length, with and without pretraining.

    pairs: params, train_flops, with, without (errors), ratio (with / without). sizes: one row per size: params, ratio
    (geometric mean over its lengths), compute (how many times the training compute the model without pretraining
    spends to the error that it ends with; at_least where the one with pretraining had it at its first snapshot).
    ratio: geometric mean over sizes, with its t interval over them.
    """

    pairs: pd.DataFrame = field(repr=False)
    sizes: pd.DataFrame
    quality: str
    error: str
    ratio: float
    low: float
    high: float
    level: float

    def __repr__(self):
        return f"<Pretraining: {self.answer}>"

    @property
    def answer(self) -> str:
        """One sentence: the ratio of errors with its interval, and the compute saved."""
        span = f"{self.level:.0%} interval {self.low:.2f} to {self.high:.2f} over {len(self.sizes)} sizes"
        seen = "a difference" if self.low > 1 or self.high < 1 else "no difference that shows"
        said = f"With pretraining the {self.error} is {self.ratio:.2f} times that without ({span}), {seen}"
        reached = self.sizes.dropna(subset=["compute"])
        if reached.empty:
            return f"{said}; no size with it reaches the error of its twin without."
        word = "at least " if reached["at_least"].any() else ""
        spent = f"{word}{reached['compute'].min():.1f} to {reached['compute'].max():.1f} times the compute, by size"
        return f"{said}; to the same error the models without it spend {spent}."

    def summary(self) -> str:
        """The sentence and one row per size."""
        return f"{self.answer}\n{display.text_table(self.sizes)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per size."""
        return self.sizes.copy()

    def _repr_html_(self):
        return display.html_page(f"What pretraining is worth: {self.quality}", self.sizes, notes=[self.answer])

    def plot(self, ax=None):
        """Ratio of errors against fine-tuning compute, a curve per size; returns the matplotlib Axes."""
        from scalinglaws import axes, plots

        points = self.pairs.rename(columns={"train_flops": "x", "ratio": "y"}).sort_values(["params", "x"])
        points = points.assign(label=points["params"].map("{:,.0f} params".format))
        label = f"{self.error}, with / without pretraining"
        ax = plots.band(points.assign(value=points["y"], low=points["y"], high=points["y"]), points,
                        "fine-tuning FLOPs", label, ax)  # fmt: skip
        ax.axhline(1, color=axes.GREY, lw=1, zorder=0)
        return ax


def pretraining(source, quality="fd", with_="fine-tuned", without="from scratch", where=None, level=0.9):
    """Pretraining's worth by the rows of two variants, `with_` and `without`.

    source: a bundled study, a path or a table; quality: the column compared; where: rows to keep, {column: value} or
    "a=b; c=d"; level: of the intervals. InputError where no size and length has both.
    """
    check_level(level)
    table = rows_of(source, where)
    need(table, (quality, "params", "train_steps", "train_flops", "variant"))
    errors, name = error_of(table, quality)
    keys = ["params", "train_steps", *(c for c in SAME if c in table)]
    table = table.assign(error=errors)[errors.notna()]
    sides = [table[table["variant"] == v].groupby(keys, as_index=False, dropna=False)
             .agg({"error": "mean", "train_flops": "mean"}) for v in (with_, without)]  # fmt: skip
    pairs = sides[0].merge(sides[1].drop(columns="train_flops"), on=keys, suffixes=("_with", "_without"))
    pairs = pairs.rename(columns={"error_with": "with", "error_without": "without"})
    if pairs.empty or pairs["params"].nunique() < 2:
        raise InputError(f"Fewer than two sizes have rows of both '{with_}' and '{without}' at one training length.")
    pairs["ratio"] = pairs["with"] / pairs["without"]
    sizes = pd.DataFrame([_of_size(params, rows) for params, rows in pairs.groupby("params")])
    return Pretraining(pairs, sizes, quality, name, *_mean(sizes["ratio"], level), level)


def _of_size(params, rows):
    compute, at_least = compute_saved(rows.sort_values("train_flops"))
    return {"params": params, "ratio": float(np.exp(np.log(rows["ratio"]).mean())), "compute": compute,
            "at_least": at_least}  # fmt: skip


def compute_saved(rows):
    """(how many times more compute the runs without pretraining need, whether that is a lower bound), at the error
    that they end with; NaN where the runs with it do not reach that error."""
    costs, errors = rows["train_flops"].to_numpy(), rows["with"].to_numpy()
    cost, bound = read_off(costs, errors, rows["without"].iloc[-1])
    return float("nan") if bound == "at least" else float(costs[-1] / cost), bound == "at most"


def _mean(ratios, level):
    """(geometric mean, low, high) by Student's t over sizes."""
    logs = np.log(ratios.to_numpy())
    mean = effect(logs.mean(), logs.std(ddof=1) / np.sqrt(len(logs)), len(logs) - 1, level)
    return tuple(float(np.exp(v)) for v in (mean.value, mean.low, mean.high))
