"""Verbs on a sweep file: plan, run, show, profile, latency; status is in stores.py."""

import json
import signal
import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path

import pandas as pd

from collect.commands.stores import counts
from collect.progress import duration, note, progress
from collect.progress import show as say
from collect.run import adaptive, contact_sheet, engines, profiling
from collect.run.cell import prepare
from collect.run.plan import plan as priced
from collect.run.sweep import Opener
from collect.sampling.loop import samples
from collect.store.store import status as store_status
from collect.store.store import stem, verify
from collect.store.tables import write_table
from scalinglaws.schema import InputError

QUALITIES = ("fd", "fid", "fd_effnet_lite0", "clip", "lpips", "psnr", "crps", "agreement")  # shown before others
FLOPS = {"PFLOPs": 1e15, "TFLOPs": 1e12, "GFLOPs": 1e9, "MFLOPs": 1e6}


def _opener(args):
    return Opener(str(args.sweep), args.store, args.device, args.download)


def plan(args):
    """The missing cells and what they will cost on this machine."""
    sweep = _opener(args).sweep
    for doubt in sweep.doubts:
        note(doubt)
    if not args.untimed:
        note("every model with missing cells is called three times to time it; --untimed counts FLOPs only")
    prices = priced(sweep, not args.untimed)
    total = {"cells": len(sweep.cells), "missing": len(prices), "flops": sum(p.flops for p in prices)}
    for column in ("seconds", "roofline_seconds"):
        known = [getattr(p, column) for p in prices]
        total[column] = None if None in known else sum(known)
    if args.json:
        names = [{"cell": p.job.name, "flops": p.flops, "seconds": p.seconds} for p in prices]
        say(json.dumps(total | {"prices": names}))
        return 0
    for p in prices:
        say(f"{p.job.name:<32} {_flops(p.flops):>14}" + (f" {p.seconds:>9.1f} s" if p.seconds else ""))
    about = "" if total["seconds"] is None else f", about {duration(total['seconds'])} here on one worker"
    least = total["roofline_seconds"]
    about += f", at least {duration(least)} at this device's roofline" if least else ""
    say(f"{len(prices)} of {len(sweep.cells)} cells missing: {_flops(total['flops'])}{about}.")
    return 0


def _flops(count):
    """1.234 TFLOPs, four digits in the largest unit below the count."""
    unit = next((unit for unit in FLOPS if count >= FLOPS[unit]), "MFLOPs")
    return f"{count / FLOPS[unit]:.4g} {unit}"


def run(args):
    """Measure with a progress display; a plain line per cell where there is no terminal."""
    opener = _opener(args)
    sweep = opener.sweep
    for doubt in sweep.doubts:
        note(doubt)
    verify(sweep.store)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a cluster sends before it takes the machine
    start = engines.engine(args.engine)
    options = {"workers": args.workers, "address": args.address, "retry": args.retry}
    events = _adaptive(args, opener, start, options) if args.adaptive else start(opener, **options)
    with redirect_stdout(sys.stderr) if args.json else nullcontext():  # what --json prints is JSON alone
        try:
            for event in progress(events, sweep.missing(args.retry), partial(_line, _shown(sweep))):
                if event.kind in ("chosen", "enough"):
                    note(f"{event.cell or 'Stopped'}: {event.reason}.")
        except KeyboardInterrupt:
            say("Stopped; finished cells and partial sums are kept. Run the same command to go on.")
            return 130
    done = store_status(sweep.store, sweep.jobs)
    say(json.dumps(done) if args.json else f"{counts(done)}, in {sweep.store.folder}")
    return 1 if done["failed"] else 0


def _adaptive(args, opener, start, options):
    """Events of an adaptive run as the arguments ask for it."""
    sweep, between = opener.sweep, args.between and tuple(args.between)
    spend, unit = adaptive.spend_of(args.spend) if args.spend is not None else (float("inf"), "flops")
    ask = adaptive.Ask(args.question or "optimum", spend, unit, args.until, args.budget, between, args.quality)
    adaptive.check(sweep, ask)
    profiles = {label: sweep.family.cost_profile(label).columns(1) for label in sweep.labels}
    sizes = {label: {c: known[c] for c in ("params", "flops_per_forward")} for label, known in profiles.items()}
    return adaptive.run(opener, ask, sizes, start, **options)


def _shown(sweep):
    """Columns of a row of which the first that it holds is shown: the usual ones, then what the sweep measures."""
    return (*QUALITIES, *(column for metric in sweep.scores for column in metric.columns))


def _line(columns, event):
    """A finished or failed cell in a line: its quality and pace, or why there is none. columns: see _shown."""
    if event.kind == "lost":
        return f"worker {event.who} was lost: {event.reason}"
    if event.kind == "failed":
        return f"{event.cell:<32} {event.status}: {event.reason}"
    row = event.row
    name = next((q for q in columns if row.get(q) is not None), None)
    quality = f"{name} {row[name]:8.4g} +- {row.get(f'{name}_se', float('nan')):.2g}" if name else ""
    return f"{event.cell:<32} {quality}   {row['seconds_per_image'] * 1e3:8.2f} ms/sample"


def show(args):
    """A cell's row, its failure, and its images drawn again from their seeds."""
    sweep = _opener(args).sweep
    jobs = {job.name: job for job in sweep.uncounted}
    if args.cell not in jobs:
        near = [name for name in jobs if name.startswith(args.cell.split("-")[0])][:5] or list(jobs)[:5]
        raise InputError(f"No cell '{args.cell}' in {args.sweep}; it has {len(jobs)}, such as {', '.join(near)}.")
    job = jobs[args.cell]
    _show_row(sweep.store, stem(job), args.json)
    if args.images:
        Path(args.images).write_bytes(_contact_sheet(sweep, job.cell, args.count))
        (note if args.json else say)(f"{min(args.count, job.cell.samples)} samples in {args.images}")
    return 0


def profile(args):
    """A table of the models, and the share of the roofline that finished cells reached."""
    sweep = _opener(args).sweep
    machine = profiling.machine_of(sweep.execution.device, (sweep.execution.dtype,))
    rows = list(profiling.cost_profiles(sweep, machine))
    finished = sweep.store.table().to_dict("records")
    shares = [profiling.roofline_share(sweep, row, machine) for row in finished]
    known = [share for share in shares if share is not None and share == share]
    if args.json:
        say(json.dumps({"models": rows, "roofline_reached": known}))
        return 0
    for row in rows:
        least, likely = (_milliseconds(row[name]) for name in ("roofline_seconds", "eager_seconds"))
        say(f"{row['model']:<12} {row['params'] / 1e6:10.3f} M params {row['flops_per_forward'] / 1e9:12.4f} GFLOPs "
             f"{row['macs_per_forward'] / 1e9:12.4f} GMACs {row['weight_bytes'] / 1e6:10.2f} MB of weights; "
             f"per forward: {least} at the roofline, {likely} eager")  # fmt: skip
    say(f"text {rows[0]['flops_text'] / 1e9:g} GFLOPs, decoding {rows[0]['flops_decode'] / 1e9:g} GFLOPs per sample")
    say(f"machine: {machine.name}, {machine.source}" if machine else "machine: its peaks are not known")
    if known:
        say(f"finished cells reached {min(known):.0%} to {max(known):.0%} of the roofline ({len(known)} cells)")
    return 0


def _milliseconds(seconds):
    return "unknown" if seconds is None else f"{seconds * 1e3:.4g} ms"


def latency(args):
    """A line per model; the rows to a file with --out."""
    rows = []
    for row in profiling.latencies(_opener(args), args.steps, args.batch):
        rows.append(row)
        if args.json:
            continue
        joules = "joules unknown" if row["joules_per_image"] is None else f"{row['joules_per_image']:.4g} J"
        spread = f"+- {row['seconds_mad'] * 1e3:.2g}" if row["seconds_mad"] is not None else ""
        say(f"{row['model']:<12} {row['seconds_per_image'] * 1e3:10.4g} {spread} ms/sample denoising, {joules}; "
             f"{row['unknown'] or ''}")  # fmt: skip
    if args.json:
        say(json.dumps(rows))
    if args.out:
        write_table(pd.DataFrame(rows), args.out)
    return 0


def _show_row(store, stem, as_json):
    """The row of a cell, else why it failed; as JSON either of them, null for a cell that was not measured."""
    row = {k: v for k, v in store.read(stem).items() if v is not None and v == v} if stem in store.stems() else None
    failure = None if row else store.failure(stem)
    if as_json:
        say(json.dumps(row or failure))
    elif row:
        say("\n".join(f"{k:<22} {v}" for k, v in row.items()))
    else:
        say(f"failed, {failure['status']}: {failure['reason']}" if failure else "not measured yet")


def _contact_sheet(sweep, cell, count):
    """The PNG of a cell's first samples, drawn again from their seeds."""
    ready = prepare(sweep.family.model(cell.model, sweep.execution.dtype), sweep.execution)
    indices = range(min(count, cell.samples))
    images, _ = samples(ready.model, sweep.family.task, cell.sampling, indices, device=sweep.execution.device)
    return contact_sheet.png(images)
