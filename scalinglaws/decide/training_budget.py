"""A study's training budget in one call, for the notebook: allocation, the other two approaches, serving.

training_budget("tiny-ldm")     rows with steps varied and rows with training length varied, one joint law, the answers
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.allocate import Allocation, allocate, along_budgets, profile_at
from scalinglaws.decide.isoflop import at_compute, envelope, isoflop, line
from scalinglaws.decide.rows import rows_of
from scalinglaws.decide.serving import OutOfReach, Serving, serve
from scalinglaws.decide.training_cost import training_cost
from scalinglaws.fitting import fit
from scalinglaws.fitting.result import Fit
from scalinglaws.roles import quality_of
from scalinglaws.schema import InputError, names

SIZES = ("flops_per_forward", "params", "N")
DATA = ("train_images", "tokens", "D")  # what 6 N D counts: training steps are not among them
TRAINING = ("train_steps", "train_images", "train_flops", "epochs")
SAME = ("sampler", "guidance", "family", "features", "seed", "n_samples_for_metric")  # of rows that may be joined
BUDGETS = 7  # isoFLOP profiles
IMAGES = 1e5  # served, unless said
NEAR = 3.0  # times the best: what a figure shows of a profile
SIMPLE, JOINT = "chinchilla", "size_training_steps"
APPROACHES = ("surface", "isoFLOP parabolas (approach 2)", "envelope (approach 1)")


@dataclass(frozen=True)
class TrainingBudget:
    """What `training_budget` gives: the law, the allocation, paths of N* and D*, and the serving plan or why none."""

    fit: Fit
    allocation: Allocation
    serving: Serving | None
    paths: pd.DataFrame = field(repr=False)  # approach, budget, size, size_low, size_high, data, data_low, data_high
    profiles: tuple = field(repr=False)  # curves, best and points of plots.isoflop_profiles
    optima: pd.DataFrame = field(repr=False)  # approach, compute, size, data of each profile of approaches 1 and 2
    exponents: pd.DataFrame = field(repr=False)  # approach, exponent, bias
    warnings: tuple = ()

    def __repr__(self):
        return f"TrainingBudget({self.allocation!r}; {self.serving!r})"

    def to_frame(self) -> pd.DataFrame:
        """One row per quantity of the allocation: quantity, value, low, high."""
        return self.allocation.to_frame()

    def summary(self) -> str:
        """Allocation and serving in plain lines, and the two sentences of `answer`."""
        parts = [self.allocation, *([self.serving] if self.serving else [])]
        return "\n".join([*(p.summary() for p in parts), *(f"Warning: {w}" for w in self.warnings), self.answer])

    def _repr_html_(self):
        return display.html_page(repr(self), self.to_frame(), self.warnings, [self.answer])

    @property
    def answer(self) -> str:
        """Two sentences: what the budget should buy, and what changes when the model is served."""
        one, plan, (size, data, quality) = self.allocation, self.serving, self.allocation.columns
        span = f"{one.level:.0%} interval {one.intervals['size'][0]:.3g} to {one.intervals['size'][1]:.3g}"
        kind = "projection" if one.decades_beyond > 0 else "prediction"
        said = (
            f"A training budget of {one.budget:.3g} ({one.cost}) is best spent on {size} {one.size:.3g} ({span}) and "
            f"{data} {one.data:.3g}, for {quality} {one.quality:.3g}, a {kind}; sizes from {one.flat[0]:.3g} to "
            f"{one.flat[1]:.3g} lose less than 1 %."
        )
        if plan is None:
            return f"{said} {self.warnings[-1]}"
        steps = "" if plan.steps is None else f" and {display.count(plan.steps, 'step')}"
        items, served = ("tokens" if data == "tokens" else "images"), " and served by default" if steps else ""
        return (
            f"{said} With {plan.served:.3g} {items} to serve at {quality} {plan.quality:.3g}, {size} {plan.size:.3g}, "
            f"{data} {plan.data:.3g}{steps} cost least, {plan.total:.3g} {plan.unit}; the size trained "
            f"compute-optimally{served} costs {plan.plans['times_best'].iloc[1]:.3g} times as much."
        )

    def plot(self, ax=None):
        """IsoFLOP profiles: quality against size at each training budget; returns the matplotlib Axes."""
        from scalinglaws import plots

        size, _, quality = self.allocation.columns
        return plots.isoflop_profiles(*self.profiles, size, quality, self.allocation.cost, ax)

    def plot_paths(self, name="size", ax=None):
        """N* ("size") or D* ("data") against the budget by the three approaches; returns the matplotlib Axes."""
        from scalinglaws import plots

        label = {"size": self.allocation.columns[0], "data": self.allocation.columns[1]}[name]
        kind = pd.CategoricalDtype(APPROACHES)
        columns = {"budget": "x", name: "value", f"{name}_low": "low", f"{name}_high": "high", "approach": "label"}
        curves = self.paths.rename(columns=columns).astype({"label": kind})
        points = self.optima.rename(columns={"compute": "x", name: "y", "approach": "label"}).astype({"label": kind})
        return plots.band(curves, points, "training budget (FLOPs)", f"best {label}", ax)


def training_budget(
    study="tiny-ldm", training=None, *, budget=None, quality="", wanted=None, served=None, steps=None, size="", data="",
    unique=None, level=0.9, replicates=400,
) -> TrainingBudget:  # fmt: skip
    """Which size and training length for a training budget, and what serving changes.

    study: rows, a file or a bundled study; training: rows whose training length varies, if they are apart (for
    "tiny-ldm" its bundled ones); the other rows are of the end of training. budget: FLOPs of training (default: the
    middle of those measured). quality: column (default fd, fid, loss or one called so); wanted: its value when serving
    (default: 1.25 times the best measured); served: images or tokens over the lifetime (default: 1e5 images, or as many
    tokens as the longest training took); steps: allowed (default: those measured). size, data: columns (default: the
    first known). unique: different items, for epochs. level: of the intervals, from `replicates` bootstrap refits.
    Raises InputError.
    """
    rows, columns = _rows(study, training, quality, size, data)
    quality, size, data = (columns[k] for k in ("quality", "N", "D"))
    law = fit(rows, JOINT if "S" in columns else SIMPLE, quality, {k: v for k, v in columns.items() if k in "NDS"},
              replicates=replicates)  # fmt: skip
    model = training_cost(law)
    rows = rows.assign(compute=model.of(rows[size].to_numpy(float), rows[data].to_numpy(float)))
    usual = rows.groupby("steps")[data].nunique().idxmax() if "S" in columns else None
    at, along = ({"S": usual}, rows[rows["steps"] == usual]) if "S" in columns else ({}, rows)
    ends = along["compute"].min(), along["compute"].max()
    spend = float(np.sqrt(ends[0] * ends[1])) if budget in (None, "") else budget
    chosen = allocate(law, spend, at=at, level=level, unique=unique or None, batch=_batch(rows))
    budgets = np.geomspace(ends[0] * 2, ends[1] / 2, 25)
    few = budgets[np.linspace(2, len(budgets) - 3, BUDGETS).astype(int)]
    points = at_compute(along, quality, size, "compute", few)
    surface = along_budgets(law, budgets, at=at, level=level).assign(approach=APPROACHES[0])
    answers, refused = _other_approaches(points, along, quality, size)
    paths = [_path(name, answer, model, budgets, level) for name, answer in answers.items()]
    exponents = [(name, answer["exponent"], answer["bias"]) for name, answer in answers.items()]
    wanted = 1.25 * float(rows[quality].min()) if wanted in (None, "") else float(wanted)
    many = float(rows[data].max()) if data == "tokens" else IMAGES
    plan, none = _serving(law, rows, wanted, many if served in (None, "") else float(served), steps, level)
    exponents = [(APPROACHES[0], chosen.exponents[0], ""), *exponents]
    return TrainingBudget(
        fit=law, allocation=chosen, serving=plan, paths=pd.concat([surface, *paths], ignore_index=True),
        profiles=_profiles(law, few, at, points, size, quality, level), optima=_optima(answers, model),
        exponents=pd.DataFrame(exponents, columns=["approach", "exponent", "bias"]), warnings=(*refused, *none),
    )  # fmt: skip


def joint_rows(training, sampling):
    """Rows with training length varied and rows with steps varied, the latter given their model's longest training.

    Of `sampling` those are kept that agree with `training` where training has one value (sampler, guidance, ...) and
    whose model was trained; equal settings are kept once. Raises InputError where none are left.
    """
    same = [c for c in SAME if c in training and c in sampling and training[c].nunique() == 1]
    agree = np.all([sampling[c] == training[c].iloc[0] for c in same], axis=0) if same else True
    kept = sampling[agree & sampling["model"].isin(training["model"])]
    if kept.empty:
        raise InputError(f"No row with steps varied agrees with the training rows in {', '.join(same)} and model.")
    known = [c for c in TRAINING if c in training]
    last = training.sort_values(known[0]).groupby("model")[known].last()
    kept = kept.drop(columns=[c for c in known if c in kept]).join(last, on="model")
    both = pd.concat([training, kept], ignore_index=True)
    return both.drop_duplicates(["model", "steps", known[0]], ignore_index=True)


def _rows(study, training, quality, size, data):
    """(rows of both kinds, {quality, N, D, S: column})."""
    rows = rows_of(study)
    if isinstance(study, str) and study == "tiny-ldm":
        training = training or "tiny-ldm-training"
    rows = rows if training in (None, "") else joint_rows(rows_of(training), rows)
    known = [c for c in ("fd", "fid", "loss", *names("quality")) if c in rows and rows[c].notna().all()]
    columns = {"quality": quality or next(iter(known), None) or quality_of(rows),
               "N": size or next((c for c in SIZES if c in rows), None),
               "D": data or next((c for c in DATA if c in rows), None)}  # fmt: skip
    argument = {"quality": "quality", "N": "size", "D": "data"}
    for symbol, column in columns.items():
        if column not in rows:
            name = f" {column!r}" if column else ""
            raise InputError(f"No column{name} for the {argument[symbol]}: name it with {argument[symbol]}=; the table "
                             f"has {', '.join(rows.columns)}.")  # fmt: skip
    if "steps" in rows and rows["steps"].nunique() > 2:
        columns["S"] = "steps"
    kept = rows.dropna(subset=list(columns.values()))
    mixed = [c for c in ("sampler", "guidance", "family") if c in kept and kept[c].nunique() > 1]
    if mixed:
        raise InputError(f"The rows differ in {', '.join(mixed)}: give rows of one value of each.")
    return kept.reset_index(drop=True), columns


def _batch(rows):
    """Items per training step, where the rows hold both counts and agree."""
    if not {"train_images", "train_steps"} <= set(rows):
        return None
    batch = rows["train_images"] / rows["train_steps"]
    return float(batch.iloc[0]) if np.allclose(batch, batch.iloc[0]) else None


def _other_approaches(points, along, quality, size):
    """({approach: what isoflop or envelope found}, a sentence for each that finds nothing), approaches 2 and 1."""
    answers, refused = {}, []
    for name, approach, table in zip(APPROACHES[1:], (isoflop, envelope), (points, along), strict=True):
        try:
            answers[name] = approach(table, quality, size, "compute")
        except InputError as reason:
            refused.append(f"{name}: {reason}")
    return answers, refused


def _path(name, approach, model, budgets, level):
    """N* and D* of one approach along the budgets, a row each."""
    path = line(approach, budgets, level).rename(columns={"value": "size", "low": "size_low", "high": "size_high"})
    data = {"data": "size", "data_low": "size_high", "data_high": "size_low"}  # the larger the size, the fewer data
    return path.assign(approach=name, **{k: model.data(path[v], budgets) for k, v in data.items()})


def _optima(answers, model):
    """approach, compute, size, data: the optimum of each profile of approaches 1 and 2."""
    optima = [best.assign(approach=name, data=model.data(best["size"], best["compute"]))
              for name, best in ((name, answer["profiles"]) for name, answer in answers.items())]  # fmt: skip
    columns = ["approach", "compute", "size", "data"]
    return pd.concat(optima, ignore_index=True) if optima else pd.DataFrame(columns=columns)


def _serving(law, rows, wanted, served, steps, level):
    """(plan, warnings); the sentence of why there is none is a warning."""
    allowed = steps or (sorted(rows["steps"].unique()) if "S" in law.inputs else None)
    decode = rows.get("flops_decode")
    fixed = float(decode.mean()) if decode is not None and decode.notna().all() else 0.0
    try:
        return serve(law, wanted, served, steps=allowed, fixed=fixed, level=level), ()
    except OutOfReach as none:
        return None, (str(none),)


def _profiles(law, budgets, at, points, size, quality, level):
    """(curves, best, points) of plots.isoflop_profiles; curves up to NEAR times the best, near the sizes measured."""
    held, curves = law.table[size].astype(float), []
    for budget in budgets:
        sizes, values = profile_at(
            law, training_cost(law), budget, law.theta[None], (held.min() / 4, held.max() * 4), at
        )
        curve = pd.DataFrame({"budget": budget, "size": sizes, "quality": values[0]})
        curves.append(curve[curve["quality"] <= NEAR * values.min()])
    best = along_budgets(law, budgets, at=at, level=level).rename(columns={"size_low": "low", "size_high": "high"})
    return pd.concat(curves), best, points.rename(columns={"compute": "budget", size: "size", quality: "quality"})
