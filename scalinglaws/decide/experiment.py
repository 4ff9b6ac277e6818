"""What can be measured, at what cost, and for which decision: an Experiment, made of a table or a fit.

Points of its belief: the measured rows, the candidates, the alternatives of the decision, in this order.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scalinglaws import display, infer, laws
from scalinglaws.decide import worth
from scalinglaws.decide.alternatives import QUESTIONS
from scalinglaws.decide.arguments import check_positive
from scalinglaws.decide.belief import CURVE, Belief, believe
from scalinglaws.decide.cost import UNITS, CostModel, cost_model
from scalinglaws.decide.fitted import FittedLaw, has_levels, rises
from scalinglaws.fitting.data import match_inputs
from scalinglaws.schema import InputError

RICHER = {"size_steps": "size_steps_interaction"}  # of the laws between which data would choose; the prior tames it
SAMPLES = "n_samples_for_metric"


@dataclass(frozen=True)
class Problem:
    """Rows, law and cost; the sizes and numbers of steps between which is decided."""

    law: FittedLaw  # its fit may be None
    form: laws.Law
    quality: str
    start: np.ndarray | None  # natural parameters, of a fit
    cost: CostModel
    of: str = "owned"
    sizes: np.ndarray = ()  # [size], rising
    counts: np.ndarray = ()  # numbers of steps of any cell, rising
    owned: dict = field(default_factory=dict)  # size: label of its first trained model
    notes: tuple[str, ...] = ()

    @property
    def rises(self) -> bool:
        return rises(self.quality, self.form)

    def named(self, size) -> str:
        """The model that a decision on a size is about."""
        return self.owned.get(size, CURVE) if self.of == "owned" else CURVE

    def cells_cost(self) -> np.ndarray:
        """Cost per image [steps, size] of every size at every number of steps."""
        return self.cost.per_image(*np.meshgrid(self.sizes, self.counts))

    def find_size(self, name) -> float:
        """The size meant by a label or a number."""
        return next((n for n, label in self.owned.items() if label == str(name)), None) or self.law.find_size(name)

    def label(self, size) -> str:
        """What a size is called."""
        return self.owned.get(size) or self.law.label_of(size)


@dataclass(frozen=True)
class Experiment:
    """Candidates, the belief about all points, and the decision.

    candidates: kind (cell, repeat, seed, training), model, size, steps, sampler, guidance, samples, sampling (cost of
    all samples), training (of its model; 0 where there is one), point (of the belief), scale (of its error).
    """

    problem: Problem = field(repr=False)
    belief: Belief = field(repr=False)
    decision: worth.Best | worth.Order | worth.Spread = field(repr=False)
    candidates: pd.DataFrame = field(repr=False)
    places: np.ndarray | None = field(default=None, repr=False)  # budgets, or costs along which two are compared

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, one sentence each."""
        return tuple(dict.fromkeys((*self.problem.notes, *self.problem.cost.notes)))

    def costs(self, rows, trained=()) -> np.ndarray:
        """Cost [row] of candidates, training included unless their model is among `trained`."""
        table = self.candidates.loc[rows]
        new = ~table["model"].isin(trained)
        return (table["sampling"] + new * table["training"]).to_numpy(float)

    def shifts(self, belief, rows) -> np.ndarray:
        """How far each candidate moves the mean of every point, per unit normal [row, point]."""
        table = self.candidates.loc[rows]
        return belief.shifts(table["point"].to_numpy(), table["scale"].to_numpy())

    def answer(self, belief: Belief | None = None) -> str:
        """What would be decided with this belief, in a few words."""
        belief = belief or self.belief
        points, decision, problem = belief.points, self.decision, self.problem
        if isinstance(decision, worth.Best):
            chosen = decision.choices(belief.mean)
            setting = points["setting"] if "setting" in points else pd.Series("", points.index)
            within = {k: f" ({setting[k]})" * bool(setting[k]) for k in chosen}
            names = list(dict.fromkeys(problem.label(points["size"][k]) + within[k] for k in chosen))
            if len(chosen) > 1:
                return f"{', '.join(names)} from the smallest budget to the largest"
            steps = f" at {display.count(points['steps'][chosen[0]], 'step')}" if problem.law.steps_column else ""
            return problem.label(points["size"][chosen[0]]) + steps + within[chosen[0]]
        if isinstance(decision, worth.Order):
            at = decision.crossing(belief.mean, self.places)
            return "no crossing" if at is None else f"a crossing at {at:.3g} {UNITS[problem.cost.unit]} per image"
        last = decision.targets[-1]
        spread = float(np.sqrt(belief.covariance[last, last]))
        return f"{problem.quality} {np.exp(belief.mean[last]):.4g} with a standard deviation of {spread:.1%}"


def prepare(
    source, question="optimum", unit="flops", *, budget=None, between=None, quality=None, law=None, inputs=None,
    where=None, of=None, steps=None, sizes=None, samples=None, candidates=None, training=None, price=None,
) -> Experiment:  # fmt: skip
    """The Experiment of design(), which describes the arguments, on rows of one setting; costs are in `unit`."""
    parts = read_problem(source, unit, quality=quality, law=law, inputs=inputs, where=where, of=of,
                         steps=steps, sizes=sizes, samples=samples, candidates=candidates, training=training,
                         price=price)  # fmt: skip
    return experiment_on(*parts, question, budget, between)


def read_problem(
    source, unit="flops", *, quality=None, law=None, inputs=None, where=None, of=None, steps=None, sizes=None,
    samples=None, candidates=None, training=None, price=None,
):  # fmt: skip
    """(Problem, the measured rows as points, what may be measured, one row each)."""
    problem = _read(source, quality, law, inputs, where, unit, price)
    rows = _rows(problem.law)
    problem = replace(problem, of=_of(of, training), owned=_owned(rows))
    wanted = _candidates(problem, rows, steps, sizes, samples, candidates, training)
    if training is None:  # every candidate's model is there already, measured or not
        problem = replace(problem, owned=_owned(wanted) | problem.owned)
    anew = problem.of == "new_model" or training is None
    known = np.union1d(problem.law.sizes, wanted["size"]) if anew else problem.law.sizes
    return replace(problem, sizes=known, counts=np.union1d(rows["steps"], wanted["steps"])), rows, wanted


def experiment_on(problem, rows, wanted, question, budget=None, between=None) -> Experiment:
    """The Experiment of a Problem, its rows and what may be measured."""
    table = problem.law.table
    alternatives, decision, places = QUESTIONS[question](problem, budget, between)
    points = pd.concat([rows, wanted[["model", "size", "steps"]], alternatives], ignore_index=True)
    error = f"{problem.quality}_se"
    relative = (table[error] / table[problem.quality]).to_numpy(float) if error in table else None
    belief = believe(problem.form, problem.law.axes, points, np.arange(len(rows)), table[problem.quality], relative,
                     problem.start)  # fmt: skip
    wanted = wanted.assign(point=len(rows) + np.arange(len(wanted)))
    return Experiment(problem, belief, decision(len(rows) + len(wanted)), wanted, places)


def _read(source, quality, law, inputs, where, unit, price):
    """The Problem of a fit, a Question, or anything infer.question reads."""
    start, notes = None, ()
    if hasattr(source, "theta"):
        if has_levels(source):
            raise InputError("A design needs one law, not the levels of a shared one: give one of them.")
        known, form, quality, start, table = source.inputs, source.law, source.quality, source.theta, source.table
    else:
        if not isinstance(source, infer.Question):
            source = infer.question(source, quality, law, inputs, where)
        known, quality, table, notes = source.inputs, source.quality, source.table, tuple(source.sentences())
        form = laws.find(RICHER.get(law or source.law, law or source.law))
        form, known = match_inputs(form, known)
    rows = FittedLaw(None, table.reset_index(drop=True), known)
    rows.axes  # noqa: B018  InputError where the law has no size
    if not form.terms and start is None:
        from scalinglaws.fitting import fit

        start = fit(table, form, quality, known, replicates=20).theta
    cost = cost_model(table, unit, price=price, size=rows.size_column, steps=rows.steps_column or "steps")
    return Problem(rows, form, quality, start, cost, notes=notes)


def _rows(law):
    """The measured rows as points; a trained model is a label, and a seed of training where several are there."""
    table = law.table
    label = table["model"].astype(str) if "model" in table else table[law.size_column].map("{:g}".format)
    if "train_seed" in table and table["train_seed"].nunique() > 1:
        label = label + " seed " + table["train_seed"].map("{:g}".format)
    steps = table[law.steps_column] if law.steps_column else table.get("steps", pd.Series(1.0, table.index))
    return pd.DataFrame({"model": label, "size": table[law.size_column].astype(float), "steps": steps.astype(float)})


def _owned(rows):
    """{size: label of its first trained model}."""
    first = rows.drop_duplicates("size")
    return dict(zip(first["size"], first["model"], strict=True))


def _of(given, training):
    """owned or new_model, or InputError."""
    if given not in (None, "owned", "new_model"):
        raise InputError(f"of={given!r}: give 'owned', the models trained, or 'new_model', a model you would train.")
    return given or ("owned" if training is None else "new_model")


def _candidates(problem, rows, steps, sizes, samples, given, training):
    """Everything that may be measured, one row each: see Experiment.candidates."""
    table = problem.law.table
    usual = float(table[SAMPLES].median()) if SAMPLES in table and table[SAMPLES].notna().any() else None
    images = np.atleast_1d(np.asarray(samples if samples is not None else usual or 1.0, float))
    if not (np.isfinite(images) & (images > 0)).all():
        raise InputError(f"samples={samples!r}: give numbers of images above 0, such as 10000.")
    wanted = _grid(problem, rows, steps, sizes, training) if given is None else _given(problem, rows, given, training)
    if samples is not None or "samples" not in wanted:
        wanted = wanted.drop(columns="samples", errors="ignore").merge(pd.DataFrame({"samples": images}), how="cross")
    wanted["samples"] = wanted["samples"].fillna(images[0]).astype(float)
    wanted["scale"] = np.sqrt((usual or images[0]) / wanted["samples"])
    done = set(zip(rows["model"], rows["steps"], strict=True))
    again = [cell in done for cell in zip(wanted["model"], wanted["steps"], strict=True)]
    wanted.loc[again, "kind"] = "repeat"
    for column, unknown in (("sampler", ""), ("guidance", np.nan)):
        values = table[column].dropna().unique() if column in table else ()
        wanted[column] = values[0] if len(values) == 1 else unknown
    return _priced(problem, rows, wanted, training).reset_index(drop=True)


def _grid(problem, rows, steps, sizes, training):
    """Every model, measured or trained anew, at every measured number of steps and at `steps`: kind, model, size,
    steps."""
    more = [] if steps is None else [check_positive(float(s), "steps") for s in np.atleast_1d(steps)]
    models = [("cell", *pair) for pair in rows[["model", "size"]].drop_duplicates().itertuples(index=False)]
    models += _new_models(problem, sizes, training)
    cells = [(*model, s) for model in models for s in np.union1d(rows["steps"], more)]
    return pd.DataFrame(cells, columns=["kind", "model", "size", "steps"])


def _priced(problem, rows, wanted, training):
    """The candidates with the cost of sampling them, as given or by the cost model, and of training their model."""
    per_image = problem.cost.per_image(wanted["size"].to_numpy(float), wanted["steps"].to_numpy(float))
    trained = wanted["model"].isin(rows["model"])
    price = training if callable(training) else _training(problem, training)
    spent = [0.0 if own else float(price(size)) for own, size in zip(trained, wanted["size"], strict=True)]
    return wanted.assign(sampling=wanted.get("cost", per_image * wanted["samples"]), training=spent)


def _given(problem, rows, given, training):
    """The user's candidates as kind, model, size, steps (samples, cost)."""
    given, law = pd.DataFrame(given).reset_index(drop=True), problem.law
    have = ", ".join(map(str, given.columns))
    size = next((c for c in (law.size_column, "size") if c in given), None)
    steps = (law.steps_column or "steps") if (law.steps_column or "steps") in given else None
    if "model" not in given and size is None:
        raise InputError(f"candidates need the column model or {law.size_column}; they have {have}.")
    if law.steps_column and steps is None:
        raise InputError(f"candidates need the column {law.steps_column}; they have {have}.")
    known = rows.drop_duplicates("model").set_index("model")["size"]
    sizes = given[size].astype(float) if size else given["model"].astype(str).map(known).astype(float)
    if sizes.isna().any():
        unknown = given["model"][sizes.isna()].iloc[0]
        raise InputError(f"No size known for {unknown!r}: give {law.size_column} as well.")
    text = sizes.map("{:g}".format)
    labels = given["model"].astype(str) if "model" in given else sizes.map(problem.owned).fillna(text)
    new = np.where(sizes.isin(rows["size"]), "seed", "training")
    kinds = np.where(labels.isin(rows["model"]) | (training is None), "cell", new)
    table = pd.DataFrame({"kind": kinds, "model": labels, "size": sizes, "steps": given[steps] if steps else 1.0})
    table["steps"] = table["steps"].astype(float)
    return table.assign(**{c: given[c].astype(float) for c in ("samples", "cost") if c in given})


def _new_models(problem, sizes, training):
    """(kind, label, size) of a second seed of every size and of new sizes; none where training has no cost."""
    if training is None:
        if sizes is not None:
            raise InputError("sizes= are trained anew: give training=, the cost of training a size.")
        return []
    new = [check_positive(float(s), "size") for s in np.atleast_1d(sizes)] if sizes is not None else []
    again = [("seed", f"{problem.owned[n]} again", n) for n in problem.law.sizes]
    return again + [("training", f"{n:g}", n) for n in new if n not in problem.owned]


def _training(problem, given):
    """Cost of training a model of a size, in the unit of the cost model."""
    if given is None or (not isinstance(given, bool) and np.isscalar(given)):
        fixed = 0.0 if given is None else check_positive(given, "training")
        return lambda size: fixed
    table = problem.law.table
    if "train_flops" not in table or table["train_flops"].isna().all() or problem.cost.unit != "flops":
        raise InputError("training=True needs the column train_flops and a spend in FLOPs; else give a number, or a "
                         f"function of the size, in {UNITS[problem.cost.unit]}.")  # fmt: skip
    each = table.groupby(problem.law.size_column)["train_flops"].max().dropna()
    x, y = np.log(each.index.to_numpy(float)), np.log(each.to_numpy(float))
    slope, level = np.polyfit(x, y, 1) if len(x) > 1 else (1.0, y[0] - x[0])
    return lambda size: float(np.exp(level + slope * np.log(size)))
