"""A sweep measured cell by cell, the next one chosen by what its answer still lacks, until the answer is good enough.

    for event in run(opener, Ask("optimum", 1e15), sizes): ...

The first cells are the cheapest that differ in size and steps, at each sampler and guidance; then `scalinglaws.design`
picks among the sweep's own missing cells, given every finished one, so that a run that was stopped goes on where it
was. What was chosen and why comes as an event of kind 'chosen', the end as one of kind 'enough'.
"""

from dataclasses import dataclass
from itertools import chain

import pandas as pd

from collect.profile import energy
from collect.run import engines
from collect.run.worker import Event
from collect.store.store import stem
from scalinglaws.decide.design import ENOUGH, QUESTIONS, UNITS, Plan, check_question, design, spend_of
from scalinglaws.schema import InputError

__all__ = ["Ask", "check", "run", "spend_of"]
FIRST = 4  # cells before there is anything to decide by
SETTINGS = ("samplers", "guidance")  # several only where the question is the optimum, which chooses between them
ONE = ("guidance_interval", "diffusion_time", "seeds", "best_of")  # with one value in a sweep
PARTS = {"seconds": ("seconds_per_image", "seconds_text", "seconds_decode"),
         "joules": ("joules_per_image", "joules_text", "joules_decode")}  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """What a sweep is measured for; see scalinglaws.design. InputError for a question that cannot be asked so."""

    question: str = "optimum"
    spend: float = float("inf")  # in unit, what is finished already included
    unit: str = "flops"  # or seconds, joules
    until: float | None = None  # the loss that is small enough; None: that of the question
    budget: object = None  # per image
    between: tuple | None = None
    quality: str | None = None

    def __post_init__(self):
        if self.question not in QUESTIONS:
            raise InputError(f"No question {self.question!r} for a design. Known: {', '.join(QUESTIONS)}.")
        if self.unit not in ("flops", *PARTS):
            raise InputError(f"A sweep knows no cost in {self.unit}: give the spend in FLOPs, seconds or joules.")
        if (self.question == "crossover") != (self.between is not None):
            raise InputError("A crossover, and no other question, is between two models: between=('c8', 'c16').")
        if self.between is not None and len(set(self.between)) < 2:
            raise InputError(f"A crossover is between two different models; given were {', '.join(self.between)}.")
        if self.budget is not None and self.question != "optimum":
            raise InputError(f"A budget per image is for the optimum, not for {self.question}.")
        if self.until is not None and not self.until > 0:
            raise InputError(f"until={self.until!r}: give a loss above 0, such as {ENOUGH[self.question]}.")


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
    """Events of all workers and of every choice; InputError where the spend does not pay for the first cells.

    sizes: {model: {column of a size: value}} of the cells' models. start: an engine; as many cells are chosen at once
    as there are workers.
    """
    jobs, store = opener()[:2]
    jobs = {stem(job): job for job in jobs}
    failed = set() if retry else set(store.failures())

    def measure(names):
        yield from start(Some(opener, frozenset(names)), workers=workers, retry=retry, **options)
        failed.update(store.failures().keys() & set(names))
        if not (failed | store.stems()) & set(names):
            raise InputError(f"None of {', '.join(jobs[n].name for n in names)} came to an end: run again to go on.")

    def finished():
        stems = store.stems()
        return {name: store.read(name) for name in jobs if name in stems}

    while waiting := first_cells({n: job for n, job in jobs.items() if n not in failed}).keys() - store.stems():
        _check_first(ask, spent(finished(), jobs, ask.unit), [jobs[n] for n in waiting])
        yield from measure(waiting)
    while True:
        done = finished()
        missing = {n: job for n, job in jobs.items() if n not in done and n not in failed}
        left = ask.spend - spent(done, jobs, ask.unit)
        plan = _plan(ask, list(done.values()), missing.values(), sizes, left, workers or 1)
        if plan is None or plan.cells.empty:
            yield Chosen("enough", "design", reason=_why(plan, ask, missing), plan=plan)
            return
        names = {(job.cell.model, float(job.cell.sampling.steps), *_setting(job)): n for n, job in missing.items()}
        picked = [names[cell] for cell in plan.cells[["model", "steps", "sampler", "guidance"]].itertuples(False, None)]
        why = f"{plan.loss:.2g} {plan.loss_unit}, expected {plan.expected:.2g} after it; today: {plan.answer}"
        yield Chosen("chosen", "design", jobs[picked[0]], reason=why, plan=plan)
        yield from measure(picked)


def check(sweep, ask):
    """Refuse before the first cell what could not be answered after it.

    InputError for a sweep that mixes what an adaptive run cannot tell apart, a model that it lacks, a quality that it
    does not measure, a budget in another unit than the spend, and energy that nothing here counts.
    """
    axes = "sizes and steps, of several samplers and guidances for the optimum alone"
    for name in ONE if ask.question == "optimum" else (*SETTINGS, *ONE):
        values = getattr(sweep.file, name)
        if len(values) > 1:
            raise InputError(f"An adaptive run decides between {axes}; the sweep has {len(values)} {name} "
                             f"({', '.join(map(str, values))}): keep one, or run without --adaptive.")  # fmt: skip
    if unknown := set(ask.between or ()) - set(sweep.labels):
        raise InputError(f"The sweep has no model {', '.join(sorted(unknown))}. Its models: {', '.join(sweep.labels)}.")
    columns = list(chain.from_iterable(metric.columns for metric in sweep.scores))
    check_question(columns, ask.unit, ask.quality, ask.budget)
    if ask.unit == "joules":
        meter, why = energy.find(sweep.execution.device)
        if meter is None:
            raise InputError(f"A spend in joules needs an energy meter. {why} Give it in FLOPs or seconds.")


def first_cells(jobs) -> dict:
    """The cheapest {stem: Job} of each sampler and guidance until two sizes and two numbers of steps are among them,
    FIRST at least."""
    chosen = {}  # {setting: {stem: Job}}
    for name in sorted(jobs, key=lambda n: jobs[n].flops):
        own = chosen.setdefault(_setting(jobs[name]), {})
        cells = [job.cell for job in own.values()]
        both = len({c.model for c in cells}) > 1 and len({c.sampling.steps for c in cells}) > 1
        if not both or len(own) < FIRST:
            own[name] = jobs[name]
    return {name: job for own in chosen.values() for name, job in own.items()}


def _setting(job):
    return job.cell.sampling.sampler, job.cell.sampling.guidance


def spent(rows, jobs, unit) -> float:
    """What the finished cells {stem: row} cost, in the unit; a row's seconds and joules hold all candidates of a best
    of n."""
    if unit == "flops":
        return sum(jobs[n].flops for n in rows)
    return float(sum((row.get(column) or 0.0) * row["n_samples_for_metric"]
                     for row in rows.values() for column in PARTS[unit]))  # fmt: skip


def _check_first(ask, used, waiting):
    """InputError where the first cells cost more than is left; only FLOPs are known beforehand."""
    total = used + sum(job.flops for job in waiting)
    if ask.unit == "flops" and total > ask.spend:
        raise InputError(f"The first cells, before which there is nothing to decide by, cost {total:.3g} FLOPs, more "
                         f"than the spend of {ask.spend:.3g}: raise it.")  # fmt: skip


def _plan(ask, rows, missing, sizes, left, most):
    """The Plan of the next cells, at most `most`; None where no cell or nothing to spend is left."""
    if not missing or left <= 0:
        return None
    wanted = [{"model": job.cell.model, "steps": job.cell.sampling.steps, "samples": job.cell.samples}
              | dict(zip(("sampler", "guidance"), _setting(job), strict=True)) | sizes[job.cell.model]
              | ({"cost": job.flops} if ask.unit == "flops" else {})
              for job in missing]  # fmt: skip
    return design(
        pd.DataFrame(rows), ask.question, f"{min(left, 1e300)!r} {ask.unit}", budget=ask.budget, between=ask.between,
        quality=ask.quality, candidates=pd.DataFrame(wanted), enough=ask.until, most=most, compare=False,
    )  # fmt: skip


def _why(plan, ask, missing):
    if not missing:
        return "every cell of the sweep is measured or has failed"
    if plan is None:
        return f"the spend of {ask.spend:.3g} {UNITS[ask.unit]} is used"
    if plan.loss <= plan.enough:
        return f"{plan.loss:.2g} {plan.loss_unit} is below {plan.enough:g}; {plan.answer}"
    return f"no missing cell within the spend would tell; {plan.loss:.2g} {plan.loss_unit}; {plan.answer}"
