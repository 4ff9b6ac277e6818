"""One worker: claim the longest cell that is free, measure it, keep it, until every cell is closed: finished or failed.

    for event in work(jobs, store, measure): print(event)

The same generator runs on a laptop, on every GPU of a cluster, and in the simulation (simulation.py), which only passes
another clock and another heartbeat. Workers know nothing of each other but the store. What happens to a cell:

    its row is there                    finished, for ever
    Outcome, MemoryError, an error      recorded in failed/ with its reason; closed unless `retry`
    the worker is stopped (Ctrl-C)      lease released, partial sums kept
    the worker is lost (kill -9)        its lease expires, another goes on from the partial sums
    the worker is merely slow           an idle one, with nothing else left, measures it too; the first row counts
    nobody survives it                  given up as failed after `losses` holders in a row that kept no new partial sums
"""

from dataclasses import dataclass

from collect.jobs import Outcome
from collect.run.search import Clock, Queue, Search, WorkerConfig
from collect.store import leases, partials
from collect.store.leases import Lease
from collect.store.store import cell_file, encode
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Event:
    """What a worker has done; `kind` is one of KINDS."""

    kind: str
    who: str
    job: object = None
    row: dict | None = None  # of a finished cell
    status: str = ""  # of a failed one: oom, nan, error
    reason: str = ""  # a sentence
    seconds: float = 0.0  # since the cell was claimed

    @property
    def cell(self):
        return self.job.name if self.job else ""


KINDS = {
    "claimed": "a cell is ours; the reason says whose it was before",
    "checkpointed": "partial sums are kept (reported during the measuring, not yielded)",
    "unkept": "partial sums could not be kept; the cell goes on (reported, not yielded)",
    "finished": "its row is in the store",
    "dropped": "another worker has it or has finished it",
    "failed": "its outcome is recorded",
    "waiting": "nothing is free, others are at work",
    "lost": "a worker process ended before its work (from engines)",
    "done": "every cell is finished or failed",
}


RESTARTS = 5  # of each worker by its engine: so that a cell that kills them is given up, see WorkerConfig.losses


class Dropped(BaseException):
    """Raised out of a checkpoint: the cell is no longer ours to measure. No measuring code should catch it."""


class Broken(RuntimeError):
    """This process can measure nothing any more (a CUDA error stays until the process ends); the store is in order."""


def ignore(event):
    """Report to nobody."""


def one_line(error):
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def work(jobs, store, measure, owner=None, clock=None, pulse=leases.beating, config=None, retry=False, report=ignore):
    """Finish every job, together with whoever else works on this store; yields Events.

    jobs: a list of Jobs or a Queue. measure(cell, partial=None, checkpoint=None) -> row, see collect/jobs.py.
    `retry`: failed cells are tried again, once. `report` is called with what happens while a cell is measured.
    InputError when the store takes no more; Broken when this process can go on with no cell.
    """
    search = Search(Queue.of(jobs), store, owner or leases.me(), clock or Clock(), config or WorkerConfig(), retry)
    while not search.over():
        lease, why = search.claim()
        if lease is None:
            yield Event("waiting", search.owner.who, reason="what is left is with other workers")
            search.rest()
            continue
        files, job, who = store.files, search.jobs[lease.stem], lease.owner.who
        try:
            yield Event("claimed", who, job, reason=why)
            start = search.clock.now()
            with pulse(files, lease, search.config.beat) as beats:
                result = _measured(search, lease, measure, beats, report)
            seconds = search.clock.now() - start
            event = Event(who=who, job=job, seconds=seconds, **_record(search, lease, seconds, **result))
        finally:  # however it ends, a closed generator included
            leases.release(files, lease)
        yield event
        if event.reason.startswith("CUDA error"):
            raise Broken(f"{job.name}: {event.reason}")
    search.tidy()
    yield Event("done", search.owner.who)


def _measured(search, lease, measure, beats, report):
    """{'kind': 'finished', 'row', 'data'}, or 'failed' with status and reason, or 'dropped' with reason."""
    if lease.lost >= search.config.losses:
        return _failed("error", f"{lease.lost} workers in a row were lost while they measured it")
    job, files = search.jobs[lease.stem], search.store.files
    known = partials.tokens(files, lease.stem) if lease.token else []
    partial = partials.read_partial(files, lease.stem, known)
    try:
        row = measure(job.cell, partial, _Checkpoint(search, lease, beats, report))
        return {"kind": "finished", "row": row, "data": encode(row)}
    except Dropped as dropped:
        return {"kind": "dropped", "reason": str(dropped)}
    except Outcome as outcome:
        return _failed(outcome.status, outcome.reason)
    except Exception as error:  # one cell's fault, whatever it is, does not stop the others
        memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, without torch
        text = " ".join(str(error).split()) or "no message"
        text = text if text.startswith("CUDA error") else f"{type(error).__name__}: {text}"
        return _failed("oom" if memory else "error", text)


def _failed(status, reason):
    return {"kind": "failed", "status": status, "reason": reason}


def _record(search, lease, seconds, kind, data=None, row=None, status="", reason=""):
    """Put the result into the store; the fields of the Event."""
    store, stem = search.store, lease.stem
    late = store.files.has(cell_file(stem)) if kind == "failed" else kind == "finished" and not store.keep(stem, data)
    if kind == "failed" and not late:
        store.fail(stem, status, reason, search.date(), lease.owner.who)
    if kind in ("finished", "failed"):
        search.close(stem, seconds if kind == "finished" else None)
    if stem in search.closed:
        partials.drop_partials(store.files, stem, lease.token)
    if late:
        return {"kind": "dropped", "reason": "another worker finished it first"}
    return {"kind": kind, "row": row, "status": status, "reason": reason}


@dataclass
class _Checkpoint:
    """What a measurement calls with its partial sums, after any batch: keeps them now and then."""

    search: object
    lease: Lease
    beats: object
    report: object
    last: float = None  # when the last were kept
    cost: float = 0.0  # seconds that keeping them took

    def __post_init__(self):
        self.last = self.start = self.search.clock.now()

    def __call__(self, sums):
        if self.beats.lost:
            raise Dropped("its lease expired and another worker took it over")
        search, files, stem, now = self.search, self.search.store.files, self.lease.stem, self.search.clock.now()
        if now - self.last < max(search.config.keep, self.cost / search.config.share):
            return
        if files.has(cell_file(stem)):
            search.close(stem)
            raise Dropped("another worker finished it first")
        kind, reason = "checkpointed", ""
        try:
            partials.keep_partial(files, stem, self.lease.token, sums)
        except InputError as error:
            kind, reason = "unkept", str(error)
        seconds = search.clock.now() - self.start
        self.report(Event(kind, self.lease.owner.who, search.jobs[stem], reason=reason, seconds=seconds))
        self.last = search.clock.now()
        self.cost = self.last - now
