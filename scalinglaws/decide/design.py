"""What to measure next: the cells and trainings that reduce the loss of a decision most per unit of cost.

    optimum    the best size at a budget per image; loss: the expected regret of the size chosen, in ln quality
    crossover  where two sizes cross along cost; loss: the expected absolute error of ln crossing
    largest    the quality of the largest size; loss: the standard deviation of its prediction

One Gaussian over all cells (belief.py) makes the value of a measurement an integral over one normal (worth.py), without
a fit: deterministic, under a second for a hundred cells. Cells are picked one by one; each pick counts what the earlier
ones will have taught.
"""

from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import ndtri

from scalinglaws import display, pooling, roles
from scalinglaws.decide.alternatives import QUESTIONS, budget_of
from scalinglaws.decide.arguments import check_positive, checked
from scalinglaws.decide.belief import Belief
from scalinglaws.decide.cost import UNITS, written
from scalinglaws.decide.experiment import Experiment
from scalinglaws.decide.settings import prepare_settings
from scalinglaws.schema import InputError
from scalinglaws.units import parse

MOST = 20  # picks of one plan
FUTURES = 32  # means that the first picks of a batch may lead to
ENOUGH = {"optimum": 0.002, "crossover": 0.05, "largest": 0.01}  # losses that are not worth reducing
NEGLIGIBLE = 0.01  # times that: a gain this small is none
RANDOM = 8  # random orders averaged for comparison
SHOWN = ("kind", "model", "size", "steps", "sampler", "guidance", "samples", "cost", "gain", "gain_per_cost",
         "loss_after")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to measure next.

    `cells` has one row per pick, in order: kind (cell, repeat, training, seed), model, size, steps, sampler, guidance
    ("" and NaN where the table has none), samples, cost (in `unit`, all samples, training included where it is new),
    gain (expected reduction of the loss), gain_per_cost, loss_after.
    """

    question: str
    loss: float  # now, in loss_unit
    expected: float  # after the plan
    loss_unit: str
    enough: float  # a loss below this is not worth reducing
    answer: str  # what would be decided today
    spend: float  # in unit
    unit: str
    cells: pd.DataFrame = field(repr=False, compare=False)
    others: dict = field(default_factory=dict)  # expected loss after the same spend by {order: loss}
    notes: tuple[str, ...] = ()
    currency: str = ""  # ISO code, of a spend in money that names one

    def __repr__(self):
        return f"<Plan: {self._headline()}>"

    @property
    def cost(self) -> float:
        """Of all picks, in `unit`."""
        return float(self.cells["cost"].sum())

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.notes

    def summary(self) -> str:
        """The plan in plain lines."""
        lines = [self._headline(), *self._details()]
        if len(self.cells):
            lines.append(display.text_table(self.cells))
        return "\n".join(lines + [f"Warning: {note}" for note in self.notes])

    def to_frame(self) -> pd.DataFrame:
        """One row per pick."""
        return self.cells

    def record(self) -> dict:
        """Every field, the picks as a list of rows, for JSON."""
        rows = self.cells.astype(object).where(self.cells.notna(), None).to_dict("records")
        return {k: v for k, v in asdict(self).items() if k != "cells"} | {"cells": rows, "cost": self.cost}

    def _repr_html_(self):
        return display.html_page(self._headline(), self.cells, self.notes, self._details())

    def plot(self, ax=None):
        """Expected loss against what is spent, with that of the other orders; returns the matplotlib Axes."""
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        spent = np.concatenate([[0.0], np.cumsum(self.cells["cost"])])
        ax.step(spent, [self.loss, *self.cells["loss_after"]], where="post", marker="o", label="this plan")
        for name, loss in self.others.items():
            ax.plot([self.cost or self.spend], [loss], "x", label=name)
        ax.axhline(self.enough, color="0.6", linestyle=":", label="not worth reducing")
        ax.set(xlabel=f"spent ({written(self.unit, self.currency)})", ylabel=self.loss_unit)
        ax.legend(frameon=False)
        return ax

    def _headline(self):
        if not len(self.cells):
            least = "the loss is small enough" if self.loss <= self.enough else "no cell within the spend would tell"
            return f"Nothing is worth measuring for {self.question}: {least} ({self.loss:.2g} {self.loss_unit})."
        first = self.cells.iloc[0]
        steps = "" if pd.isna(first["steps"]) else f" at {display.count(first['steps'], 'step')}"
        varied = [c for c in pooling.CHOICES if self.cells[c].nunique() > 1 and first[c] == first[c]]
        steps += "".join(f", {c} {first[c]:g}" if c == "guidance" else f", {first[c]}" for c in varied)
        more = f", then {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        spent = f"{self.cost:.3g} {written(self.unit, self.currency)}"
        return (f"Measure {first['model']}{steps} next{more}: {spent}, expected loss "
                f"{self.loss:.2g} to {self.expected:.2g}.")  # fmt: skip

    def _details(self):
        yield f"Today's answer: {self.answer}. Loss: {self.loss_unit}; below {self.enough:g} it does not matter."
        if self.others and len(self.cells):
            other = ", ".join(f"{loss:.2g} by {name}" for name, loss in self.others.items())
            yield f"The same spend would leave {self.expected:.2g} by this plan, {other}."


@checked
def design(
    source, question="optimum", spend="1e15 FLOPs", *, budget=None, between=None, quality=None, law=None, inputs=None,
    where=None, of=None, steps=None, sizes=None, samples=None, candidates=None, training=None, price=None,
    enough=None, most=MOST, compare=True,
) -> Plan:  # fmt: skip
    """The measurements that reduce the loss of a decision most per unit of cost, as many as `spend` pays.

    source: a Fit, a Question, a table, a file or the name of a study, read as by ask() with quality, law, inputs and
    where. question: optimum, crossover or largest. spend: text such as "1e15 FLOPs", "2 GPU-hours", "500 kJ" or "$3";
    a bare number is FLOPs. budget: per image, in the unit of the spend, one or several (default: from the cheapest to
    the most expensive cell, and the loss is averaged over them). between: two sizes, for crossover. of: "owned", the
    best of the models that were trained, or "new_model", the best size to train (default where `training` is given).

    Rows of several samplers or guidances: for the optimum, each of these settings has a law of its own, the decision is
    between all of them, and the candidates are in all of them; the other questions need rows of one.

    Candidates: every measured model at every measured number of steps and at `steps`, new or repeated, with `samples`
    images each, one or several counts (default: as in the table); or the rows of `candidates`, with the columns model
    or the law's size, steps, samples, cost in the unit of the spend, and the sampler and guidance where rows hold
    several. With `training`, the cost of training a size
    (True for the table's train_flops, a number, or a function of the size), also a second seed of every size, and the
    new `sizes`. enough: the loss that is not worth reducing. compare: whether other orders of the same spend are
    valued beside the plan.
    price: money per hour of the machine, for a spend in money. most: picks at most.

    Raises InputError for an argument that cannot be used, naming what is allowed.

    >>> import scalinglaws as sl
    >>> rows = sl.read("tiny-ldm").query("sampler == 'ddim' and guidance == 1 and steps <= 16")
    >>> plan = design(rows, "optimum", "1e13 FLOPs", budget="300 MFLOPs", steps=[32, 64, 128], enough=1e-4)
    >>> bool(plan.expected < plan.loss), bool(plan.cost <= 1e13)
    (True, True)
    """
    if question not in QUESTIONS:
        raise InputError(f"No question {question!r} for a design. Known: {', '.join(QUESTIONS)}.")
    currency = parse(spend).currency if isinstance(spend, str) else ""
    spend, unit = spend_of(spend, "money" if price is not None and not isinstance(spend, str) else None)
    if not isinstance(most, int) or most < 1:
        raise InputError(f"most={most!r}: give the number of picks at most, such as {MOST}.")
    enough = ENOUGH[question] if enough is None else check_positive(enough, "enough")
    experiment = prepare_settings(
        source, question, unit, budget=budget, between=between, quality=quality, law=law, inputs=inputs, where=where,
        of=of, steps=steps, sizes=sizes, samples=samples, candidates=candidates, training=training, price=price,
    )  # fmt: skip
    loss = experiment.decision.loss(experiment.belief.mean, experiment.belief.covariance)
    picks = greedy(experiment, spend, loss, enough, most)
    cells = _cells(experiment, picks, loss)
    expected = float(cells["loss_after"].iloc[-1]) if len(cells) else loss
    others = _others(experiment, loss, picks["cost"].sum(), most) if compare and len(cells) else {}
    least = experiment.costs(experiment.candidates.index).min()
    costs = f"{least:.3g} {written(unit, currency)}"
    small = f"The cheapest candidate costs {costs}, more than the spend of {spend:.3g}: raise it."
    return Plan(question, loss, expected, experiment.decision.unit, enough, experiment.answer(), spend, unit, cells,
                others, (*experiment.notes, *[small] * bool(least > spend)), currency)  # fmt: skip


def spend_of(given, unit=None) -> tuple[float, str]:
    """(value, unit) of a spend: text with a unit, or a number in `unit`, else FLOPs.

    >>> spend_of("2 GPU-hours"), spend_of(1e15)
    ((7200.0, 'seconds'), (1000000000000000.0, 'flops'))
    """
    quantity = parse(given, unit)
    unit = quantity.unit or "flops"
    return check_positive(quantity.value, "spend", UNITS[unit]), unit


def check_question(columns, unit, quality=None, budget=None) -> None:
    """Refuse a question about rows that are not measured yet, but will have these columns of quality.

    Raises InputError where the columns lack the quality, or hold several and none is named; for a budget per image in
    another unit, or not above 0.
    """
    if budget is not None:
        budget_of(budget, unit)
    if quality is None:
        roles.quality_of(pd.DataFrame([dict.fromkeys(columns, 1.0)]))
    elif quality not in columns:
        measured = ", ".join(name for name in columns if not name.endswith("_se"))
        raise InputError(f"The quality {quality!r} is not measured here; what is: {measured}.")


def _cells(experiment, picks, loss):
    """The picks as Plan.cells."""
    table = experiment.candidates.loc[picks["pick"]].reset_index(drop=True)
    table = table.assign(cost=picks["cost"], gain=picks["gain"], gain_per_cost=picks["gain"] / picks["cost"])
    table["loss_after"] = np.maximum(loss - picks["gain"].cumsum(), 0.0)
    again = table.duplicated(["model", "steps", "sampler", "guidance", "samples"])
    return table.assign(kind=np.where(again, "repeat", table["kind"]))[list(SHOWN)]


def _others(experiment, loss, spend, most):
    """{order: expected loss after the same spend} of orders that need no law."""
    rows = experiment.candidates.index.to_numpy()
    new = rows[(experiment.candidates["kind"] != "repeat").to_numpy()]
    new = new if len(new) else rows
    cheapest = new[np.argsort(experiment.costs(new), kind="stable")]
    rng = np.random.default_rng(0)
    shuffled = [in_order(experiment, rng.permutation(rows), spend, most) for _ in range(RANDOM)]
    left = {"the cheapest first": in_order(experiment, cheapest, spend, most), "a random order": np.mean(shuffled)}
    return {name: float(max(loss - gained, 0.0)) for name, gained in left.items()}


@dataclass(frozen=True)
class State:
    """A belief within a batch: the covariance after its picks, and the means they may lead to [draw, point]."""

    belief: Belief
    means: np.ndarray
    trained: tuple[str, ...] = ()  # models that the batch trains
    picks: tuple[int, ...] = ()

    @classmethod
    def of(cls, belief: Belief) -> "State":
        return cls(belief, belief.mean[None])

    def after(self, experiment: Experiment, pick: int) -> "State":
        """The state once the candidate `pick` is measured, its value not known yet."""
        row = experiment.candidates.loc[pick]
        shift = experiment.shifts(self.belief, [pick])[0]
        means = np.repeat(self.means, FUTURES, 0) if len(self.means) == 1 else self.means
        order = np.random.default_rng(len(self.picks)).permutation(FUTURES)
        means = means + shift * ndtri((np.arange(FUTURES) + 0.5) / FUTURES)[order][:, None]
        belief = replace(self.belief, covariance=self.belief.covariance - np.outer(shift, shift))
        return State(belief, means, (*self.trained, row["model"]), (*self.picks, pick))


def gains(experiment: Experiment, state: State, rows) -> np.ndarray:
    """Expected reduction of the loss by each candidate [row], given the batch so far."""
    shifts = experiment.shifts(state.belief, rows)
    return experiment.decision.gains(state.means, state.belief.covariance, shifts)


def next_pick(experiment: Experiment, state: State, left: float):
    """(candidate, gain, cost) of the greatest gain per unit of cost among those that `left` pays, or None."""
    costs = experiment.costs(experiment.candidates.index, state.trained)
    rows = experiment.candidates.index[costs <= left]
    if not len(rows):
        return None
    gained, costs = gains(experiment, state, rows), costs[rows]
    best = int(np.argmax(gained / costs))
    return int(rows[best]), float(gained[best]), float(costs[best])


def greedy(experiment: Experiment, spend: float, loss: float, enough: float, most: int) -> pd.DataFrame:
    """pick, gain and cost, one row per pick: each of the greatest gain per cost given the picks before it."""
    state, rows = State.of(experiment.belief), []
    while len(rows) < most and loss > enough:
        pick = next_pick(experiment, state, spend)
        if pick is None or pick[1] < NEGLIGIBLE * enough:
            break
        rows.append(pick)
        state, loss, spend = state.after(experiment, pick[0]), loss - pick[1], spend - pick[2]
    return pd.DataFrame(rows, columns=["pick", "gain", "cost"]).astype({"pick": int})


def in_order(experiment: Experiment, order, spend: float, most: int) -> float:
    """Expected reduction of the loss by the candidates of an order, as many as the spend pays."""
    state, total = State.of(experiment.belief), 0.0
    for pick in order:
        cost = float(experiment.costs([pick], state.trained)[0])
        if cost > spend or len(state.picks) >= most:
            continue
        total += float(gains(experiment, state, [pick])[0])
        state, spend = state.after(experiment, pick), spend - cost
    return total
