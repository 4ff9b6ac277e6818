"""A sweep measured cell by cell, the next one chosen by what its answer still lacks, until the answer is good enough.

    for event in run(opener, ask, start): ...

The first cells are the cheapest that differ in size and steps; then `scalinglaws.design` picks among the sweep's own
missing cells, given every finished one, so that a run that was stopped goes on where it was. What was chosen and why
comes as an event of kind 'chosen', the end as one of kind 'enough'.
"""

from dataclasses import dataclass

import pandas as pd

from collect.run import engines
from collect.run.worker import Event
from collect.store.store import stem
from scalinglaws.decide.design import Plan, design, spend_of
from scalinglaws.schema import InputError

__all__ = ["Ask", "check", "run", "spend_of"]
FIRST = 4  # cells before there is anything to decide by
ONE = ("samplers", "guidance", "guidance_interval", "seeds", "best_of")  # of which a sweep may have one value
PARTS = {"seconds": ("seconds_per_image", "seconds_text", "seconds_decode"),
         "joules": ("joules_per_image", "joules_text", "joules_decode")}  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """What a sweep is measured for; see scalinglaws.design."""

    question: str = "optimum"
    spend: float = float("inf")  # in unit, what is finished already included
    unit: str = "flops"  # or seconds, joules
    until: float | None = None  # the loss that is small enough; None: that of the question
    budget: object = None  # per image
    between: tuple | None = None
    quality: str | None = None


@dataclass(frozen=True)
class Chosen(Event):
    """A plan, before its cells are measured ('chosen') or as the last one, without cells ('enough')."""

    plan: Plan | None = None


@dataclass(frozen=True)
class Some:
    """An opener of some of the cells of another: () -> (jobs, store, measure)."""

    opener: object
    stems: frozenset

    def __call__(self):
        jobs, store, measure = self.opener()
        return [job for job in jobs if stem(job) in self.stems], store, measure


def run(opener, ask, sizes, start=engines.process, workers=None, retry=False, **options):
    """Events of all workers and of every choice; InputError for a sweep that mixes more than sizes and steps.

    sizes: {model: {column of a size: value}} of the cells' models. start: an engine; as many cells are chosen at once
    as there are workers.
    """
    jobs, store = opener()[:2]
    jobs = {stem(job): job for job in jobs}
    options |= {"workers": workers}
    first = first_cells(jobs)
    if waiting := [s for s in first if not _closed(store, s)]:
        yield from start(Some(opener, frozenset(waiting)), retry=retry, **options)
    while True:
        done, missing = _divided(jobs, store)
        left = ask.spend - spent(done, jobs, ask.unit)
        plan = _plan(ask, done, {s: jobs[s] for s in missing}, sizes, left, workers or 1)
        if plan is None or plan.cells.empty:
            yield Chosen("enough", "design", reason=_why(plan, ask, left, missing), plan=plan)
            return
        names = {(job.cell.model, float(job.cell.sampling.steps)): s for s, job in jobs.items()}
        picked = [names[m, s] for m, s in zip(plan.cells["model"], plan.cells["steps"], strict=True)]
        why = f"{plan.loss:.2g} {plan.loss_unit}, expected {plan.expected:.2g} after it; today: {plan.answer}"
        yield Chosen("chosen", "design", jobs[picked[0]], reason=why, plan=plan)
        yield from start(Some(opener, frozenset(picked)), **options)
        if not any(_closed(store, name) for name in picked):
            raise InputError(f"None of {', '.join(jobs[p].name for p in picked)} came to an end: run again to go on.")


def check(file):
    """InputError for a sweep file that mixes what an adaptive run cannot tell apart."""
    for name in ONE:
        values = getattr(file, name)
        if len(values) > 1:
            raise InputError(f"An adaptive run decides between sizes and steps; the sweep has {len(values)} {name} "
                             f"({', '.join(map(str, values))}): keep one, or run without --adaptive.")  # fmt: skip


def first_cells(jobs) -> list[str]:
    """The cheapest cells {stem: Job} until two sizes and two numbers of steps are among them, FIRST at least."""
    chosen = []
    for name in sorted(jobs, key=lambda s: jobs[s].flops):
        cells = [jobs[s].cell for s in chosen]
        both = len({c.model for c in cells}) > 1 and len({c.sampling.steps for c in cells}) > 1
        if both and len(chosen) >= FIRST:
            break
        chosen.append(name)
    return chosen


def spent(rows, jobs, unit) -> float:
    """What the finished cells {stem: row} cost, in the unit."""
    if unit == "flops":
        return sum(jobs[s].flops for s in rows)
    parts = [(row.get(column) or 0.0) * row["n_samples_for_metric"] * jobs[s].cell.best_of
             for s, row in rows.items() for column in PARTS[unit]]  # fmt: skip
    return float(sum(parts))


def _closed(store, name):
    return name in store.stems() or store.failure(name) is not None


def _divided(jobs, store):
    """({stem: row} of the finished cells, stems of those neither finished nor failed)."""
    stems, failed = store.stems(), store.failures()
    done = {s: store.read(s) for s in jobs if s in stems}
    return done, [s for s in jobs if s not in stems and s not in failed]


def _plan(ask, done, missing, sizes, left, most):
    """The Plan of the next cells, at most `most`; None where no cell or nothing to spend is left."""
    if not missing or left <= 0:
        return None
    rows = [{"model": job.cell.model, "steps": job.cell.sampling.steps, "samples": job.cell.samples}
            | sizes[job.cell.model] | ({"cost": job.flops} if ask.unit == "flops" else {})
            for job in missing.values()]  # fmt: skip
    return design(
        pd.DataFrame(done.values()), ask.question, f"{min(left, 1e300)!r} {ask.unit}", budget=ask.budget,
        between=ask.between, quality=ask.quality, candidates=pd.DataFrame(rows), enough=ask.until, most=most,
        compare=False,
    )  # fmt: skip


def _why(plan, ask, left, missing):
    if not missing:
        return "every cell of the sweep is measured"
    if plan is None or left <= 0:
        return f"the spend of {ask.spend:.3g} {ask.unit} is used"
    if plan.loss <= plan.enough:
        return f"{plan.loss:.2g} {plan.loss_unit} is below {plan.enough:g}: {plan.answer}"
    return f"no missing cell within the spend would tell: {plan.loss:.2g} {plan.loss_unit}; {plan.answer}"
