"""Samplers compared: how fast the error of each falls with steps, beside theory, and which is best at which budget."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide import fitted
from scalinglaws.decide.arguments import check_level, checked
from scalinglaws.decide.cost import UNITS, pricing
from scalinglaws.decide.optimum import at_budgets
from scalinglaws.decide.rows import rows_of
from scalinglaws.schema import InputError

# order p of a solver: its error falls as steps^-p. A Fréchet distance squares a distance, so near its floor it may fall
# as steps^-2p.
ORDERS = {
    "ddpm": 0.5,  # Euler-Maruyama, strong error
    "ddim": 1.0,  # Song et al. 2021, arXiv:2010.02502: Euler of the probability-flow ODE
    "euler": 1.0,
    "heun": 2.0,  # Karras et al. 2022, arXiv:2206.00364
    "dpm++2m": 2.0,  # Lu et al. 2022, arXiv:2211.01095
    "unipc": 3.0,  # Zhao et al. 2023, arXiv:2302.04867
}
BUDGETS = 40  # along the measured costs


def shared_guidance(source, where=None):
    """The guidance at which most samplers were measured, of several that with most rows; None where no row has one.

    source: a bundled study, a path or a table; where: rows to keep, {column: value} or "a=b; c=d".

    >>> shared_guidance("tiny-t2i"), shared_guidance("tiny-ldm")
    (2.0, 1.0)
    """
    table = rows_of(source, where)
    if not {"sampler", "guidance"} <= set(table) or table["guidance"].isna().all():
        return None
    counts = table.groupby("guidance")["sampler"].agg(["nunique", "size"])
    return float(counts.sort_values(["nunique", "size"]).index[-1])


@dataclass(frozen=True)
class SamplerComparison:
    """Rates of the samplers, and the best of them along the budget.

    rates: one row per sampler: its name, rate (the law's exponent of steps), low, high, order (of the solver, NaN where
    unknown), verdict. winners: one row per budget: budget, best, model, steps, value, probability (that this
    sampler is the best at its own best size and steps, by the curves' replicates), second. curves: the best size and
    steps of each sampler at each budget, one row each; x is the budget.
    """

    by: str
    rates: pd.DataFrame
    winners: pd.DataFrame
    quality: str
    unit: str
    level: float
    curves: pd.DataFrame = field(repr=False, compare=False)

    def __repr__(self):
        return f"<SamplerComparison: {self._sentence()}>"

    @property
    def changes(self) -> pd.DataFrame:
        """The budgets at which the best changes, with the first budget as the first row."""
        return self.winners[self.winners["best"] != self.winners["best"].shift()].reset_index(drop=True)

    def summary(self) -> str:
        """Rates beside theory, and where the best changes."""
        head = f"Exponent of steps by {self.by}, with its {self.level:.0%} interval, beside the order of the solver:"
        along = f"The best {self.by} as the budget per image grows, from where on:"
        parts = [self._sentence(), head, display.text_table(self.rates), along, display.text_table(self.changes)]
        return "\n".join(parts)

    def to_frame(self) -> pd.DataFrame:
        """One row per sampler."""
        return self.rates

    def _repr_html_(self):
        return display.html_page(self._sentence(), self.rates)

    def plot(self, ax=None):
        """Quality of the best size and steps against the budget, one line per sampler; returns the matplotlib Axes."""
        from scalinglaws import plots

        return plots.band(self.curves, None, f"budget per image ({UNITS[self.unit]})", f"best {self.quality}", ax)

    def _sentence(self):
        best, low, high = self.winners["best"], *self.winners["budget"].iloc[[0, -1]]
        sure = best[self.winners["probability"] >= self.level]
        shares = ", ".join(f"{name} at {share:.0%} ({(sure == name).sum() / len(best):.0%})"
                           for name, share in best.value_counts(normalize=True).items())  # fmt: skip
        return (
            f"best {self.by} by {self.quality}, by share of the budgets from {low:.3g} to {high:.3g} "
            f"{UNITS[self.unit]} per image: {shares}; in brackets with a probability of {self.level:.0%} or more"
        )


@checked
def compare_samplers(groups, *, unit="flops", stages=("denoise",), price=None, level=0.9) -> SamplerComparison:
    """Rates of the samplers and the best of them at each budget, each at its own best size and steps.

    groups: the Groups of fit_groups(table, "sampler", ...) of a law in size and steps, or in steps. unit, stages and
    price: of the cost per image, as for optimum(). level: of the intervals. The budgets run over the costs at which
    every sampler was measured. Raises InputError where there are fewer than two samplers, or the law has no steps.

    >>> import scalinglaws as sl
    >>> rows = sl.read("tiny-ldm").query("guidance == 1 and sampler != 'ddpm'")
    >>> inputs = {"N": "flops_per_forward", "S": "steps"}
    >>> both = compare_samplers(sl.fit_groups(rows, ["sampler"], "size_steps", "fd", inputs, replicates=50))
    >>> both.rates[["sampler", "order", "verdict"]].values.tolist()
    [['ddim', 1.0, 'between order 1 and 2'], ['dpm++2m', 2.0, 'order 2']]
    """
    level = check_level(level)
    if not fitted.has_levels(groups):
        raise InputError("compare_samplers needs the Groups of fit_groups(table, ['sampler'], ...).")
    by, names = fitted.level_column(groups), list(fitted.level_names(groups))
    if len(names) < 2:
        raise InputError(f"One level of {by!r} alone, {names[0]}: keep the rows of two or more.")
    laws = {str(name): fitted.level(groups, name) for name in names}
    rates = pd.DataFrame([{by: name} | _rate(law, level) for name, law in laws.items()])
    price_rows = pricing(None, unit, stages, price)
    costs = {name: price_rows(law.table, law.size_column, law.steps_column) for name, law in laws.items()}
    curves = _along(laws, costs, _budgets(laws, costs), level)
    first = str(names[0])
    return SamplerComparison(by, rates, _winners(curves, laws), laws[first].quality, costs[first].unit, level, curves)


def _rate(law, level):
    """Exponent of steps with its interval, and how it compares with the order of the solver."""
    symbols = [s for s, column in law.inputs.items() if column in fitted.STEPS]
    powers = [power for term in law.fit.law.terms for power in term.powers]
    exponent = next((name for name, symbol, sign in powers if symbol in symbols and sign < 0), None)
    if law.rises:
        raise InputError(f"{law.quality} rises as it gets better, and the order of a solver is the rate at which an "
                         "error falls: name a distance or an error.")  # fmt: skip
    if exponent is None:
        raise InputError(f"Law {law.fit.law.name!r} has no exponent of steps: fit 'size_steps', or 'power_floor'.")
    row = law.fit.interval(level).loc[exponent]
    order = ORDERS.get(law.label, np.nan)
    return {"rate": row["value"], "low": row["low"], "high": row["high"], "order": order,
            "verdict": verdict(row["low"], row["high"], order)}  # fmt: skip


def verdict(low, high, order) -> str:
    """An interval of a rate beside the solver's order p, and 2p for a squared distance."""
    if np.isnan(order):
        return "order not known"
    for multiple in (1, 2):
        if low <= order * multiple <= high:
            return f"order {order:g}" if multiple == 1 else f"twice order {order:g}"
    if high < order:
        return f"below order {order:g}"
    return f"between order {order:g} and {2 * order:g}" if high < 2 * order else f"above twice order {order:g}"


def _budgets(laws, costs):
    """Budgets [budget] between the costs that every sampler was measured at."""
    spent = [costs[name].per_image(law.table[law.size_column].to_numpy(float),
                                   law.table[law.steps_column].to_numpy(float))
             for name, law in laws.items()]  # fmt: skip
    low, high = max(s.min() for s in spent), min(s.max() for s in spent)
    if low >= high:
        raise InputError("The samplers were measured at no common cost per image: measure them at similar steps.")
    return np.geomspace(low, high, BUDGETS)


def _along(laws, costs, budgets, level):
    """The best size and steps of every sampler at every budget that buys any."""
    tables = []
    for name, law in laws.items():
        table = at_budgets(law.fit, budgets, cost=costs[name], level=level)
        tables.append(table[table["best"]].assign(label=name))
    table = pd.concat([t.astype({"model": str}) for t in tables], ignore_index=True).rename(columns={"budget": "x"})
    return table.assign(label=pd.Categorical(table["label"], list(laws)))


def _winners(curves, laws):
    """One row per budget: the best sampler and how sure the replicates are of it."""
    rows, rises = [], next(iter(laws.values())).rises
    for budget, part in curves.groupby("x", sort=True):
        part = part.sort_values("value", ascending=not rises)
        drawn = [_replicated(laws[r.label], r.size, r.steps, seed) for seed, r in enumerate(part.itertuples())]
        count = min(map(len, drawn))
        values = np.stack([d[:count] for d in drawn])
        wins = values.argmax(0) if rises else values.argmin(0)
        first = part.iloc[0]
        rows.append({"budget": budget, "best": first["label"], "model": first["model"], "steps": first["steps"],
                     "value": first["value"], "probability": float((wins == 0).mean()),
                     "second": part["label"].iloc[1] if len(part) > 1 else ""})  # fmt: skip
    return pd.DataFrame(rows)


def _replicated(law, size, steps, seed):
    """Quality [replicate] in an order of its own: separate fits draw their replicates from a common seed."""
    return np.random.default_rng(seed).permutation(law.quality_at(size, steps, law.replicates)[:, 0])
