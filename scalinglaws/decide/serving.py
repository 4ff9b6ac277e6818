"""Which size, training length, steps and guidance, where training and a lifetime of serving are paid together.

serve(fit, quality, served, steps=[...])     Sardana et al. 2024, arXiv:2401.00448, with steps and guidance in the cost

Total cost = cost of training(N, D) + served (calls forward(N) + fixed), least over N, D, S and guidance among those
whose law gives the wanted quality; the search is in `decide.cheapest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scalinglaws import display, units
from scalinglaws.decide.allocate import decades_beyond, ends, intervals
from scalinglaws.decide.arguments import check_falls, check_level, check_positive
from scalinglaws.decide.cheapest import Demand, Option, Prices, cheapest, costs
from scalinglaws.decide.cost import calls_from
from scalinglaws.decide.training_cost import FORWARD, training_cost
from scalinglaws.fitting.result import Groups
from scalinglaws.schema import InputError, NoAnswer

GRID = 240  # sizes tried
DRAWS = 300  # bootstrap replicates that are solved


class OutOfReach(NoAnswer):
    """No size, training length and steps give the wanted quality by the law; the message says what is the best."""


@dataclass(frozen=True)
class Serving:
    """Size, data, steps and guidance of least total cost, training and serving together, at a wanted quality.

    total, training, serving in `unit`; intervals {name: (low, high)} from the bootstrap, of size and data over the
    replicates that reach the quality, whose share is `reached`, of the total over all: it ends at infinity where more
    than a tail of them do not; plans: the best and the naive ones beside it, a row
    each; profile: the cheapest way at each size. decades_beyond > 0: a projection.
    """

    quality: float
    served: float
    size: float
    data: float
    steps: float | None
    guidance: object
    total: float
    training: float
    serving: float
    unit: str
    intervals: dict
    chosen: dict  # {(guidance, steps): share of the replicates}
    reached: float
    decades_beyond: float
    level: float
    columns: tuple
    plans: pd.DataFrame = field(repr=False, compare=False)
    profile: pd.DataFrame = field(repr=False, compare=False)
    warnings: tuple = ()

    def __repr__(self):
        steps = f", {display.count(self.steps, 'step')}" if self.steps is not None else ""
        return (
            f"Serving({self.columns[2]} {self.quality:.4g}, {self.served:.3g} served: {self.columns[0]} "
            f"{self.size:.3g}, {self.columns[1]} {self.data:.3g}{steps}; {self.total:.3g} {self.unit})"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per plan, the best first: plan, size, data, steps, guidance, training, serving, total, times_best."""
        return self.plans

    def summary(self) -> str:
        """The answer in plain lines."""
        return "\n".join([*self._lines(), *(f"Warning: {w}" for w in self.warnings)])

    def _lines(self):
        size, data, quality = self.columns
        spans = {name: f"{self.level:.0%} interval {low:.4g} {f'to {high:.4g}' if np.isfinite(high) else 'and more'}"
                 for name, (low, high) in self.intervals.items()}  # fmt: skip
        ways = ", ".join(f"{_way(*key)} {share:.0%}" for key, share in self.chosen.items() if _way(*key))
        said = "a projection" if self.decades_beyond > 0 else "a prediction, within the range of the fitted rows"
        lines = [
            f"For {quality} {self.quality:.4g}, {self.served:.4g} served: {said}.",
            f"  {size}: {self.size:.4g} ({spans['size']})",
            f"  {data}: {self.data:.4g} ({spans['data']})",
            *([f"  {_way(self.guidance, self.steps)} (of the replicates: {ways})"] if ways else []),
            f"  total {self.total:.4g} {self.unit} ({spans['total']}): training {self.training:.4g}, serving "
            f"{self.serving:.4g}",
        ]
        for row in self.plans.iloc[1:].itertuples():
            if not np.isfinite(row.total):
                lines.append(f"  {row.plan}: does not reach {quality} {self.quality:.4g}.")
                continue
            way = _way(row.guidance, row.steps)
            lines.append(f"  {row.plan}: {size} {row.size:.4g}, {data} {row.data:.4g}{', ' if way else ''}{way}, "
                         f"{row.times_best:.3g} times the cost.")  # fmt: skip
        return lines

    def _repr_html_(self):
        return display.html_page(repr(self), self.plans, self.warnings, self._lines()[:5])

    def plot(self, ax=None):
        """Cost of training, of serving and of both against size, the plans marked; returns the matplotlib Axes."""
        from scalinglaws import plots

        near = self.profile[self.profile["total"] <= 30 * self.total]
        curves = near.melt("size", ["total", "training", "serving"], "label", "value").rename(columns={"size": "x"})
        curves = curves[curves["value"] > self.total / 30].assign(low=lambda t: t["value"], high=lambda t: t["value"])
        points = self.plans.rename(columns={"size": "x", "total": "y", "plan": "label"})
        label = f"cost at {self.columns[2]} {self.quality:.4g} ({self.unit})"
        curves = curves.astype({"label": pd.CategoricalDtype(curves["label"].unique())})
        return plots.marks(points[points["y"] <= 30 * self.total], plots.band(curves, None, self.columns[0], label, ax))


def serve(
    fit, quality, served, *, cost=None, per_item=None, fixed=0.0, steps=None, calls=None, sizes=None, speed=None,
    price=None, default_steps=None, level=0.9,
) -> Serving:  # fmt: skip
    """The size, training length, steps and guidance that make a wanted quality cheapest over a lifetime of serving.

    fit: a Fit of a law in N and D, or N, D and S (size_training_steps; one joint law fitted on rows of both kinds), or
    a fit for each guidance, {weight: Fit} or fit_groups(by="guidance"). quality: the value wanted. served: images (or
    tokens) over the lifetime. cost: of training in FLOPs, see `training_cost`. per_item(N): FLOPs of one forward pass
    (default 2 N, or the size itself where its column is FLOPs per forward); fixed: FLOPs per image besides, such as
    decoding. steps: the step counts allowed, where the law has S. calls: network evaluations per step (default: as
    counted in the rows' `nfe`; without it 2 where guidance is above 1, else 1), or {guidance: calls}. speed: FLOP/s, or
    (training, serving), for costs in seconds; price: money per hour besides, such as "$2.50/h". default_steps: of the
    naive plan (default: the most allowed). sizes: (low, high) to look between, as for allocate(); level: of the
    intervals. Raises InputError; OutOfReach where no size gives the quality.

    >>> import numpy as np, pandas as pd
    >>> from scalinglaws.fitting import fit
    >>> N, D, S = (v.ravel() for v in np.meshgrid([1e7, 1e8, 1e9, 1e10], [1e8, 1e9, 1e10], [4, 8, 16, 32]))
    >>> fd = 2 + 3e3 * N**-0.4 + 2e4 * N**-0.05 * D**-0.45 + 20 * N**0.05 * S**-1.2
    >>> law = fit(pd.DataFrame({"N": N, "D": D, "S": S, "fd": fd}), "size_training_steps", "fd",
    ...           {"N": "N", "D": "D", "S": "S"}, replicates=5)
    >>> few, many = (serve(law, 8.0, served, steps=[4, 8, 16, 32]) for served in (1e3, 1e12))
    >>> many.size < few.size and many.data > few.data and many.steps <= few.steps
    True
    """
    fits = _fits(fit)
    first, level = next(iter(fits.values())), check_level(level)
    if not (served >= 0 and np.isfinite(served)):
        raise InputError(f"served={served!r}: give the number of images over the lifetime, 0 or more.")
    demand = Demand(float(quality), float(served), _prices(first, cost, per_item, fixed, speed, price),
                    _options(fits, steps, calls), np.geomspace(*ends(first, sizes), GRID))  # fmt: skip
    point = {label: one.theta[None] for label, one in fits.items()}
    best = {name: value[0] for name, value in cheapest(demand, point).items()}
    if not np.isfinite(best["total"]):
        raise OutOfReach(_unreachable(demand))
    count = min(DRAWS, *(len(one.curve_replicates) for one in fits.values()))
    drawn = cheapest(demand, {label: np.asarray(one.curve_replicates)[:count] for label, one in fits.items()})
    able, tails = np.isfinite(drawn["total"]), [(1 - level) / 2, (1 + level) / 2]
    total = np.quantile(drawn["total"], tails, method="inverted_cdf")  # of infinite ones, too
    chosen = pd.Series(drawn["option"][able].astype(int)).value_counts(normalize=True)
    option = demand.options[int(best["option"])]
    size, data, training, serving = (float(best[k]) for k in ("size", "data", "training", "serving"))
    beyond = decades_beyond(option.fit, {"N": size, "D": data, "S": option.steps})
    return Serving(
        quality=demand.quality, served=demand.served, size=size, data=data, steps=option.steps,
        guidance=option.guidance, total=training + serving, training=training, serving=serving,
        unit=demand.prices.unit,
        intervals=intervals({k: drawn[k][able] for k in ("size", "data")}, level) | {"total": tuple(total.tolist())},
        chosen={(demand.options[k].guidance, demand.options[k].steps): float(v) for k, v in chosen.items()},
        reached=float(able.mean()), decades_beyond=beyond, level=level,
        columns=(first.inputs["N"], first.inputs["D"], first.quality),
        plans=_plans(demand, point, best, default_steps), profile=_profile(demand, point),
        warnings=_warnings(beyond, float(able.mean()), demand.quality, first.quality),
    )  # fmt: skip


def _fits(fit):
    """{guidance: Fit} of a Fit, a mapping or Groups; InputError where a law has no N and D, or their inputs differ."""
    given = fit.fits if isinstance(fit, Groups) else dict(fit) if isinstance(fit, Mapping) else {None: fit}
    if not given:
        raise InputError("serve needs a fit; the mapping given is empty.")
    for one in given.values():
        check_falls(one, "serve")
        if "N" not in one.law.inputs or "D" not in one.law.inputs or set(one.law.inputs) - {"N", "D", "S"}:
            raise InputError(
                f"serve needs a law in N and D, or N, D and S; {one.law.name!r} has {', '.join(one.law.inputs)}. Fit "
                "'chinchilla' or 'size_training_steps'."
            )
        if one.inputs != next(iter(given.values())).inputs:
            raise InputError("The fits of different guidance must be of the same law's inputs and columns.")
    return given


def _options(fits, steps, calls) -> tuple[Option, ...]:
    """Every way to serve: guidance by steps."""
    first = next(iter(fits.values()))
    if "S" not in first.law.inputs:
        counts = [None]
    elif steps is None:
        raise InputError("The law has sampling steps S: give the step counts allowed, such as steps=[8, 16, 32].")
    else:
        counts = [check_positive(float(s), "steps") for s in np.atleast_1d(steps)]
    options = []
    for guidance, one in fits.items():
        given = calls.get(guidance) if isinstance(calls, Mapping) else calls
        per_step = _calls(one, guidance) if given is None else check_positive(given, "calls", "per step")
        for count in counts:
            of = per_step if callable(per_step) else lambda s, c=per_step: c * s
            options.append(Option(guidance, one, count, float(of(1.0 if count is None else count))))
    return tuple(options)


def _calls(fit, guidance):
    """Network evaluations per image of a number of steps, as counted in the fitted rows; 1 or 2 per step without."""
    column = fit.inputs.get("S", "steps")
    if "nfe" in fit.table and column in fit.table and "S" in fit.law.inputs:
        return calls_from(fit.table, column)[0].at
    return 2.0 if isinstance(guidance, int | float) and guidance > 1 else 1.0


def _prices(fit, cost, per_item, fixed, speed, price):
    factor = FORWARD.get(fit.inputs["N"], 6.0) / 3  # FLOPs of a forward pass per unit of size
    forward = per_item or (lambda n: factor * n)
    if isinstance(cost, str) and cost != "train_flops":  # in a unit of the column's own
        raise InputError(
            f"The training cost in the column {cost!r} and the serving cost in FLOPs cannot be added: leave the cost "
            "out, or give FLOPs per N D as a number; from Python speed= and price= make both seconds or money."
        )
    if speed is None:
        if price is not None:
            raise InputError("price= needs speed=, the FLOP/s of training and serving, such as speed=(2e14, 1e14).")
        return Prices(training_cost(fit, cost), forward, float(fixed), (1.0, 1.0), "FLOPs")
    pair = tuple(speed) if isinstance(speed, tuple | list) else (speed, speed)
    rates = [check_positive(v, "speed", "FLOP/s") for v in pair]
    hourly, unit = units.HOUR, "s"
    if price is not None:
        paid = units.price(price)
        hourly, unit = paid.value, paid.currency or "money"
    scales = tuple(hourly / units.HOUR / rate for rate in rates)
    return Prices(training_cost(fit, cost), forward, float(fixed), scales, unit)


def _plans(demand, thetas, best, default_steps):
    """The best plan and two naive ones: train compute-optimally and serve with the default steps; the largest size."""
    counts, fit = [o.steps for o in demand.options if o.steps is not None], demand.options[0].fit
    usual = tuple(o for o in demand.options if o.steps in (None, default_steps or max(counts, default=None)))
    if not usual:
        raise InputError(f"default_steps={default_steps!r} is none of the steps allowed: {counts}.")
    training_alone = replace(demand, served=0.0, options=usual)
    largest = replace(demand, sizes=np.array([fit.table[fit.inputs["N"]].max()], float))
    plans = {"best": demand, f"trained compute-optimally{', default steps' if counts else ''}": training_alone,
             "largest size measured": largest}  # fmt: skip
    rows = []
    for plan, wanted in plans.items():
        one = best if plan == "best" else {name: value[0] for name, value in cheapest(wanted, thetas).items()}
        way, size, data = wanted.options[int(one["option"])], float(one["size"]), float(one["data"])
        training, serving = demand.prices.of(size, data, way.calls, demand.served)
        total = float(training + serving) if np.isfinite(one["total"]) else np.inf
        rows.append({"plan": plan, "size": size, "data": data, "steps": way.steps, "guidance": way.guidance,
                     "training": float(training), "serving": float(serving), "total": total})  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(times_best=frame["total"] / frame["total"].iloc[0])


def _profile(demand, thetas):
    """The cheapest way at each size: size, data, training, serving, total, steps, guidance."""
    every = []
    for way in demand.options:
        paid = costs(demand, way, demand.sizes[None], thetas[way.guidance])
        row = pd.DataFrame({name: value[0] for name, value in paid.items()})
        every.append(row.assign(steps=way.steps, guidance=way.guidance))
    frame = pd.concat(every, ignore_index=True)
    return frame[np.isfinite(frame["total"])].sort_values("total").drop_duplicates("size").sort_values("size")


def _unreachable(demand):
    """A sentence with the best that the law gives with endless data, at the sizes and steps tried."""
    first, endless = demand.options[0], {"D": np.full(demand.sizes.shape, 1e30)}
    best = min(float(np.min(o.fit.curve(o.inputs(demand.sizes) | endless))) for o in demand.options)
    more = " or allow more steps" if first.steps is not None else ""
    return (f"No size reaches {first.fit.quality} {demand.quality:g} by this law, whose best is {best:.4g}: ask for a "
            f"higher value{more}.")  # fmt: skip


def _warnings(beyond, reached, quality, name):
    said = []
    if beyond > 0:
        said.append(f"A projection: the plan lies {beyond:.2g} decades beyond the fitted rows.")
    if reached < 0.95:
        said.append(f"Only {reached:.0%} of the bootstrap replicates reach {name} {quality:g}: it may be out of reach.")
    return tuple(said)


def _way(guidance, steps):
    """Guidance and steps in words; empty where neither was a choice."""
    words = [f"guidance {guidance:g}" if isinstance(guidance, int | float) else str(guidance or ""),
             display.count(steps, "step") if steps is not None and steps == steps else ""]  # fmt: skip
    return ", ".join(w for w in words if w)
