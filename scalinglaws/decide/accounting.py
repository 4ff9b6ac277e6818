"""Which size is best at equal cost, under each way to count the cost: what "small beats large" becomes.

Mei et al. 2024 (arXiv 2404.01367) count the FLOPs of the denoiser times steps: guidance is not counted twice, text
encoder and decoder not at all. Here the same measured rows are priced by each account; at a budget every size takes its
best measured steps and guidance (straight in logs between measured steps), as in the paper. Intervals are of the sizes,
of which each training is one draw, or of the models measured, within their standard errors.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display, schema
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.best_measured import best_measured
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.rows import check_direction, commonest, need, rows_of, size_column
from scalinglaws.decide.seconds import SETTING, passes_of
from scalinglaws.fitting.levels import check_of, prior_of
from scalinglaws.schema import InputError, NoAnswer

ACCOUNTS = (  # name, unit, whether text encoder and decoder count, evaluations per guided step
    ("FLOPs of the denoiser, guidance once", "flops", False, 1),  # as in the paper
    ("FLOPs of the denoiser, guidance twice", "flops", False, 2),
    ("FLOPs", "flops", True, 2),
    ("seconds of the denoiser", "seconds", False, 2),
    ("seconds", "seconds", True, 2),
    ("joules", "joules", True, 2),
)
FULL = ("denoise", "text", "decode")
TRAINED = ("family", "variant", "interpolant", "train_steps", "train_images")  # what a model is beside size and seed
SERVED = (1e4, 1e6)  # images over a lifetime, for accounts that share out the training
BUDGETS, DRAWS = 200, 400
OUT_OF_REACH = "out of reach"  # the largest size at a budget that does not buy it an image
NOTHING = "none"  # a budget that buys no image of any size
SHARES = (0.01, 0.1, 1.0)  # of the largest size's full cost: where the table names the best size


@dataclass(frozen=True)
class WhichSize:
    """The best size at each budget under each account.

    accounts: account, full (cost of the largest size at its most steps without guidance, the budgets' unit), the best
    size at 1 %, 10 % and 100 % of it (none where that buys no image), smaller (share of the budgets that buy the
    largest size its fewest steps or more, in logs, at which a smaller one is the best), low, high, worse (how much
    worse the largest is at 10 % of its full cost, in per cent; infinite where it cannot be run), grows (probability
    that the best size at the largest budget is larger than at the first that runs the largest). winners: account, share
    (of full), model, steps, guidance, value. of: what the intervals are of, one of `levels.OF`.
    """

    accounts: pd.DataFrame
    winners: pd.DataFrame = field(repr=False)
    quality: str
    level: float
    largest: str
    notes: tuple[str, ...] = ()
    errors: bool = True  # whether intervals hold an error; those without one have no width
    of: str = "curve"

    def __repr__(self):
        return f"<WhichSize: {len(self.accounts)} accounts, {self._spread()}>"

    def summary(self) -> str:
        """The accounts in plain text, and the answer."""
        return "\n".join([display.text_table(self._table()), *self.notes, self.answer])

    def to_frame(self) -> pd.DataFrame:
        """One row per account."""
        return self.accounts

    def _repr_html_(self):
        return display.html_page("Which size, by how cost is counted", self._table(), notes=[self.answer, *self.notes])

    def plot(self, ax=None):
        """The best size against the budget, one line per account; returns the matplotlib Axes."""
        from scalinglaws import figures

        return figures.which_size(self.winners, self.largest, ax)

    @property
    def answer(self) -> str:
        """Two sentences: the paper's account, and what the others make of it."""
        first, *rest = self.accounts.itertuples()
        sure = int((self.accounts["low"] > 0.5).sum())
        worse = f"{first.worse:.0f} % worse than the best" if np.isfinite(first.worse) else OUT_OF_REACH
        others = "; ".join(f"{row.account} {self._percent(row)}" for row in rest)
        sureness = f", with {self.level:.0%} confidence," if self.errors else ""
        return (f"Counted as {first.account}, a size smaller than {self.largest} is the best by {self.quality} at "
                f"{self._percent(first)} of the budgets that can run {self.largest}, which at a tenth of its full cost "
                f"is {worse}. Smaller sizes are best at more than half of those budgets{sureness} under {sure} of "
                f"{display.count(len(self.accounts), 'account')}{'; the shares of the others: ' if others else ''}"
                f"{others}."
                )  # fmt: skip

    def _table(self):
        """The accounts to be read: in words where a tenth of the full cost does not buy the largest size an image."""
        worse = [OUT_OF_REACH if np.isinf(x) else display.NUMBER(x) for x in self.accounts["worse"]]
        return self.accounts.assign(worse=worse)

    def _percent(self, row):
        """The share of budgets with its interval."""
        return f"{row.smaller:.0%} ({row.low:.0%} to {row.high:.0%})" if self.errors else f"{row.smaller:.0%}"

    def _spread(self):
        low, high = self.accounts["smaller"].min(), self.accounts["smaller"].max()
        return f"a size smaller than {self.largest} is best at {low:.0%} to {high:.0%} of the budgets"


@checked
def which_size(
    table, quality="fd", *, served=SERVED, passes=None, size=None, of="curve", level=0.9, draws=DRAWS, seed=0
) -> WhichSize:
    """The best size at every budget, by FLOPs, seconds and joules, with and without the parts around the denoiser.

    table: a study, path or table, with model, a size column, steps and the quality, and the costs that are to be
    counted: flops_per_image (or flops_per_forward), flops_text, flops_decode and the same in seconds and joules,
    train_flops; guidance and nfe where rows are guided; quality_se for the intervals. Of several samplers the one with
    the most rows is kept; trainings of one size that differ in train_seed are averaged, under the lowest one's label.
    served: images over which training is shared out. passes: another of timed forward passes, as `scalinglaws collect
    compute` writes: one account more for each device, number format and batch, network evaluations times the seconds of
    a pass. An account without its columns is left out and named in the notes. of: what the intervals hold for: "curve",
    the sizes themselves, of which each training is a draw; "owned", the models measured; "new_model", one more training
    of each size; see `best_measured`. Raises InputError where a column is missing or for any other `of`, NoAnswer for
    a single size or where no account can be priced.
    """
    level = check_level(level)
    check_of(of)
    table, size, notes = _rows(rows_of(table), quality, size)
    largest = str(table["model"].cat.categories[-1])
    answers, winners, left_out = [], [], {}
    for name, price in (*_accounts(table, served), *_by_passes(passes)):
        try:
            cost, full = price(table, size)
        except InputError as refusal:
            left_out.setdefault(str(refusal), []).append(name)
            continue
        answer, best = _account(table.assign(share=cost / full), quality, of, level, draws, seed)
        answers.append({"account": name, "full": full} | answer)
        winners.append(best.assign(account=name))
    notes += [f"Left out {'; '.join(names)}: {reason}" for reason, names in left_out.items()]
    if not answers:
        raise NoAnswer(f"No account can be priced. {' '.join(notes)}")
    errors = f"{quality}_se" in table and bool(table[f"{quality}_se"].gt(0).any())
    if not errors:
        notes.insert(0, f"No row has a {quality}_se: low and high hold no error of measuring.")
    notes.append(_whose(table, quality, of))
    return WhichSize(pd.DataFrame(answers), pd.concat(winners, ignore_index=True), quality, level, largest,
                     tuple(notes), errors or of != "owned", of)  # fmt: skip


def _whose(table, quality, of):
    """A sentence on what the intervals are of, and by which evidence."""
    if of == "owned":
        return "Intervals are of the models measured; other trainings of their sizes may rank otherwise."
    whose = "one more training of each size" if of == "new_model" else "the sizes, of which each training is one draw"
    trained = table.groupby("model", observed=True)["training"].nunique()
    mean = prior_of(quality)["model"][0]
    prior = f"the prior of trained models, {100 * np.exp(mean):.1g}% or so"
    if (trained == 1).all():
        return f"Intervals are of {whose}. Each was trained once: that error is by {prior}."
    spare = int((trained - 1).sum())
    return f"Intervals are of {whose}, by {trained.sum()} trainings ({spare} beyond one of each size) and {prior}."


def _accounts(table, served):
    """(name, function of (table, size column) that gives (cost [row], full cost of the largest)) of every account."""
    text = any(c in table and table[c].notna().any() for c in ("flops_text", "seconds_text"))
    parts, stages = ("text encoder and decoder", FULL) if text else ("decoder", ("denoise", "decode"))
    for name, unit, around, counted in ACCOUNTS:
        price = unit, stages if around else ("denoise",), counted
        yield f"{name} with {parts}" if around else name, lambda rows, size, a=price: _priced(rows, size, *a)
    for images in served:
        name = f"FLOPs with {parts} and training over {images:g} images"
        yield name, lambda rows, size, n=images: _with_training(rows, size, stages, n)


def _by_passes(passes):
    """The accounts in timed forward passes; none without such a table."""
    if passes is None:
        return
    rows = passes_of(passes)
    varied = [c for c in SETTING if c == "sampling_batch" or rows[c].nunique() > 1]
    for setting, one in rows.groupby(varied, dropna=False):
        words = ", ".join(
            f"batch {v:g}" if c == "sampling_batch" else str(v) for c, v in zip(varied, setting, strict=True)
        )
        seconds = one.groupby(one["model"].astype(str))["seconds_per_image"].mean()
        yield f"seconds of timed passes, {words}", lambda rows, size, s=seconds: _in_passes(rows, s)


def _in_passes(table, seconds):
    """Evaluations of each row times the seconds of a pass of its model, and those of the largest model's most steps."""
    models = table["model"].astype(str)
    if unknown := sorted(set(models) - set(seconds.index)):
        raise InputError(f"no pass of {', '.join(unknown)} was timed.")
    last = table["model"].cat.categories[-1]
    full = table.loc[table["model"] == last, "once"].max() * seconds[str(last)]
    return table["nfe"].to_numpy(float) * models.map(seconds).to_numpy(float), float(full)


def _priced(table, size, unit, stages, counted):
    """Cost per image of each row, and of the largest size at its most steps without guidance."""
    model = cost_model(table, unit, stages=stages, size=size, steps="nfe")
    calls = table["nfe"] if counted == 2 else table["once"]
    largest = table.loc[table[size].idxmax(), size]
    full = model.per_image(np.array([largest], float), table.loc[table[size] == largest, "once"].max())
    return model.per_row(table.assign(nfe=calls)), float(full[0])


def _with_training(table, size, stages, images):
    """The same in FLOPs, with each model's training shared out over so many images."""
    if "train_flops" not in table or table["train_flops"].isna().any():
        raise InputError("it needs the column 'train_flops', full.")
    cost, full = _priced(table, size, "flops", stages, 2)
    largest = table.loc[table[size].idxmax(), "train_flops"]
    return cost + table["train_flops"].to_numpy(float) / images, full + float(largest) / images


def _rows(table, quality, size):
    """(rows of one sampler with nfe and once (evaluations without those of guidance), size column, notes)."""
    need(table, ("model", "steps", quality))
    table, notes = commonest(table[table[quality].notna()], ["sampler"])
    size = size_column(table, size)
    check_direction(table, quality)
    seeds = table["train_seed"].nunique(dropna=False) if "train_seed" in table else 0
    table = _trainings(table, size) if seeds > 1 else table.assign(training=0)
    if table.groupby("model")["training"].nunique().gt(1).any():
        notes.append("Trainings of one size that differ in train_seed are averaged, under the label of the lowest.")
    if table["model"].nunique() < 2:
        raise NoAnswer("One size alone: measure two or more.")
    guided = table["guidance"].fillna(1) != 1 if "guidance" in table else pd.Series(False, table.index)
    table = table.assign(guidance=table["guidance"].fillna(1) if "guidance" in table else 1.0)
    if "nfe" not in table:
        table = table.assign(nfe=table["steps"] * np.where(guided, 2, 1))
    table = table.assign(once=table["nfe"] / np.where(guided, 2, 1))
    order = table.groupby("model")[size].mean().sort_values().index
    model = pd.Categorical(table["model"], list(order), ordered=True)
    return table.assign(model=model).sort_values(["model", "guidance", "steps"], ignore_index=True), size, notes


def _trainings(table, size):
    """The rows with the `training` they are of; trainings of one size have one label, that of the lowest seed."""
    own = [size, *(c for c in TRAINED if c in table)]
    table = table.sort_values("train_seed", kind="stable")
    label = table.groupby(own, dropna=False)["model"].transform("first")
    return table.assign(model=label, training=pd.factorize(table["train_seed"], use_na_sentinel=False)[0])


def _account(table, quality, of, level, draws, seed):
    """(the account's row, its winners) of rows with their `share` of the full cost."""
    models = list(table["model"].cat.categories)
    shares = np.geomspace(table["share"].min(), table["share"].max(), BUDGETS)
    loss, guidance, steps = best_measured(table, quality, shares, of, draws, seed)
    winner = loss.argmin(axis=0)  # [draw, budget]
    within = winner[:, np.isfinite(loss[-1, 0])]  # budgets that run the largest
    smaller, grows = (within < len(models) - 1).mean(axis=1), (within[1:, -1] > within[1:, 0]).mean()
    low, high = np.quantile(smaller[1:], [(1 - level) / 2, (1 + level) / 2])
    at = {s: int(np.abs(np.log(shares / s)).argmin()) for s in SHARES}
    named = {f"at {s:.0%}": models[winner[0, i]] if s > 0.99 * shares[0] else NOTHING for s, i in at.items()}
    tenth, first, column = loss[:, 0, at[0.1]], winner[0], np.arange(BUDGETS)
    value = np.exp(loss[first, 0, column] * (-1 if schema.higher_is_better(quality) else 1))
    frame = pd.DataFrame({"share": shares, "model": pd.Categorical.from_codes(first, models, ordered=True),
                          "guidance": guidance[first, column], "steps": steps[first, column],
                          "value": value})  # fmt: skip
    worse = float(100 * np.expm1(tenth[-1] - tenth.min()))
    return named | {"smaller": smaller[0], "low": low, "high": high, "worse": worse, "grows": grows}, frame
