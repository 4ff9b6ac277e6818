"""The verb status: of a store alone, which needs no torch, or of a sweep's cells in it."""

import json
from pathlib import Path

from collect.progress import show
from collect.store import leases
from collect.store.store import CELLS, FAILED, Store, verify
from collect.store.store import status as store_status
from scalinglaws.schema import InputError


def status(args):
    """Counts of finished, missing, leased, failed and damaged cells; who works, and why cells failed."""
    store, jobs = _of_store(args.sweep) if is_store(args.sweep) else _of_sweep(args)
    moved = verify(store) if args.verify else []
    done = store_status(store, jobs)
    if args.json:
        show(json.dumps(done))
        return 0
    show(counts(done))
    for name in moved:
        show(f"  {name} was damaged: the next run measures its cell again")
    for lease in done["leased"]:
        place = f"{lease['who']} on {lease['host']}"
        ended = f"  {lease['cell']} was left by {place}, which ended: the next run goes on from its partial sums"
        show(ended if lease["gone"] else f"  {lease['cell']} is with {place} since {lease['since']}")
    for failure in done["failed"]:
        show(f"  {failure['cell']} {failure['status']}: {failure['reason']} (tries: {failure['attempts']})")
    return 0


def is_store(place):
    """Whether a folder or an address is given, not a file."""
    return "://" in place or Path(place).is_dir()


def _of_store(place):
    """(the store, None: its jobs are not known); InputError where no sweep has left anything."""
    store = Store(place)
    if not any(store.files.names(folder) for folder in (CELLS, FAILED, leases.FOLDER)):
        raise InputError(f"'{place}' holds no cell, finished, failed or in work: give a sweep file, or the folder or "
                         "address of its store.")  # fmt: skip
    return store, None


def _of_sweep(args):
    from collect.run.sweep import Opener  # torch: what a cell is called holds the hashes of networks

    sweep = Opener(args.sweep, args.store, args.device, args.download).sweep
    return sweep.store, sweep.uncounted


def counts(done):
    """3 of 8 cells done, 4 missing, 1 failed; of a store alone 3 cells done, 1 failed."""
    at_work, gone = (sum(lease["gone"] is dead for lease in done["leased"]) for dead in (False, True))
    held = {
        "in work": at_work,
        "left by a process that ended": gone,
        "failed": len(done["failed"]),
        "quarantined as damaged": done["damaged"],
    }
    rest = "".join(f", {count} {what}" for what, count in held.items() if count)
    known = done["cells"] is not None
    return (f"{done['done']} of {done['cells']} cells done, {done['missing']} missing{rest}" if known
            else f"{done['done']} cells done{rest}; its sweep file tells what is missing")  # fmt: skip
