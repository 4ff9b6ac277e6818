"""An experiment over several samplers and guidances: a law for each of these settings, one belief and one decision
between all of them.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from scalinglaws import infer
from scalinglaws.decide import worth
from scalinglaws.decide.alternatives import below, budgets_of
from scalinglaws.decide.correlated import together
from scalinglaws.decide.cost import ROUNDING
from scalinglaws.decide.experiment import Experiment, experiment_on, prepare, read_problem
from scalinglaws.decide.fitted import FittedLaw
from scalinglaws.pooling import CHOICES
from scalinglaws.schema import InputError


def prepare_settings(
    source, question="optimum", unit="flops", *, budget=None, between=None, quality=None, law=None, inputs=None,
    where=None, candidates=None, **options,
) -> Experiment:  # fmt: skip
    """The Experiment of design(), which describes the arguments: for the optimum on all settings that the rows hold."""
    given = {"budget": budget, "between": between, "candidates": candidates} | options
    if hasattr(source, "theta"):
        return prepare(source, question, unit, quality=quality, law=law, inputs=inputs, where=where, **given)
    if not isinstance(source, infer.Question):
        source = infer.question(source, quality, law, inputs, where, choose=question == "optimum")
    candidates = None if candidates is None else pd.DataFrame(candidates)
    apart = [] if candidates is None else [c for c in CHOICES if c in candidates and candidates[c].nunique() > 1]
    groups = source.groups(apart) if question == "optimum" else {}
    if len(groups) < 2:
        return prepare(source, question, unit, **given)
    settings = pd.DataFrame([_setting(group) for group in groups.values()], groups)
    settings = settings.loc[:, settings.nunique() > 1]
    if candidates is not None:
        candidates = _checked(candidates, settings, source)
    parts, left_out = _problems(groups, settings, candidates, unit, options)
    spent = {label: problem.cells_cost() for label, (problem, *_) in parts.items()}
    budgets = budgets_of(budget, unit, np.concatenate([cost.ravel() for cost in spent.values()]))
    affordable = {label: budgets * ROUNDING >= cost.min() for label, cost in spent.items()}
    if not np.any([*affordable.values()], axis=0).all():
        below(budgets.min(), unit, min(cost.min() for cost in spent.values()))
    kept = {label: experiment_on(*parts[label], question, budgets[where], between)
            for label, where in affordable.items() if where.any()}  # fmt: skip
    return _joined(kept, affordable, settings, budgets, left_out)


def _setting(question):
    """{column: value} of the sampler and guidance of a Question on one setting."""
    return {c: question.table[c].iloc[0] for c in CHOICES if c in question.table}


def _checked(candidates, settings, question):
    """The candidates, with the sizes of models that any setting knows; InputError where they do not say in which
    setting they are, or are where nothing was measured."""
    if lacks := [c for c in settings if c not in candidates]:
        raise InputError(f"The rows hold several values of {lacks[0]}: candidates need that column, too; they have "
                         f"{', '.join(map(str, candidates.columns))}.")  # fmt: skip
    known = set(settings.itertuples(index=False, name=None))
    for one in candidates[[*settings]].itertuples(index=False, name=None):
        if one not in known:
            words = " ".join(f"{c}={v}" for c, v in zip(settings, one, strict=True))
            raise InputError(f"Candidates at {words}, where no row was measured: the settings are "
                             f"{'; '.join(settings.index)}.")  # fmt: skip
    size = FittedLaw(None, question.table, question.inputs).size_column
    if size in candidates or "model" not in candidates or "model" not in question.table:
        return candidates
    known = question.table.drop_duplicates("model").set_index("model")[size]
    return candidates.assign(**{size: candidates["model"].map(known)})


def _problems(groups, settings, candidates, unit, options):
    """({label: what read_problem gives}, sentences on settings left out); InputError where none remains."""
    parts, left_out = {}, []
    for label, group in groups.items():
        own = candidates
        if candidates is not None:
            own = candidates[(candidates[[*settings]] == settings.loc[label]).all(axis=1)]
        try:
            parts[label] = read_problem(group, unit, candidates=own, **options)
        except InputError as error:
            left_out.append((f"Left out {label}: {error}", error))
    if not parts:
        raise left_out[0][1]
    return parts, [sentence for sentence, _ in left_out]


def _joined(experiments, affordable, settings, budgets, left_out):
    """One Experiment of {label: Experiment}, settings side by side; affordable {label: which of the budgets it has}."""
    start, candidates, groups = 0, [], [[] for _ in budgets]
    for label, experiment in experiments.items():
        table = experiment.candidates
        candidates.append(table.assign(point=table["point"] + start, **settings.loc[label]))
        for k, group in zip(np.flatnonzero(affordable[label]), experiment.decision.groups, strict=True):
            groups[k].append(start + group)
        start += len(experiment.belief.points)
    parts = list(experiments.values())
    owned = {size: model for part in reversed(parts) for size, model in part.problem.owned.items()}
    notes = (*(note for part in parts for note in part.notes), *left_out)
    problem = replace(parts[0].problem, owned=owned, notes=notes)
    decision = worth.Best(tuple(map(np.concatenate, groups)), parts[0].decision.sign)
    belief = together({label: experiment.belief for label, experiment in experiments.items()})
    return Experiment(problem, belief, decision, pd.concat(candidates, ignore_index=True), budgets)
