"""`scalinglaws collect ...`: joins the command line by an entry point."""

import json
import shutil
import signal
from pathlib import Path

import pandas as pd

from collect import sheets, sweep, text_commands, timing, trainer
from collect.drawing import register_draw
from collect.imports.importing import register_import
from collect.models import families
from collect.progress import duration, note, progress, show
from collect.reference import register_reference
from collect.sampling.loop import samples
from collect.settings import KINDS, FamilyFile, read, schema
from collect.training.fashion_mnist import download
from collect.workers import engines, store
from scalinglaws.schema import InputError

VERBS = "data|train|release|plan|card|latency|run|status|show|export|import|reference|draw|schema|family"


def register(commands):
    """Add `collect` and its verbs to the command line's sub-parsers."""
    parser = commands.add_parser("collect", help="train a family, measure a sweep (needs the collect extra)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=VERBS)
    text_commands.register_data(verbs)
    _train(verbs)
    _release(verbs)
    _sweeps(verbs)
    _export(verbs)
    register_import(verbs)
    register_reference(verbs)
    register_draw(verbs)
    _schema(verbs)
    _family(verbs)


def _sweeps(verbs):
    for name, action, text in (
        ("plan", plan, "which cells are missing, and what they will cost"),
        ("run", run, "measure the missing cells; stop and repeat at will, on any number of machines"),
        ("status", status, "how far a sweep is, who works on what, what failed and why"),
        ("show", show_cell, "one cell: its row, or why it failed, and its first images"),
        ("card", card, "each model before anything runs: FLOPs, bytes, the roofline; after it, the share reached"),
        ("latency", latency, "seconds, memory and energy of one call a model, each in a process of its own"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("sweep", help="a sweep file (YAML)")
        verb.add_argument("--store", help="folder or address of finished cells (default: the file's, or runs/<name>)")
        verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
        verb.add_argument("--download", action="store_true", help="fetch models given by hub name and revision")
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.set_defaults(run=action)
        OPTIONS.get(name, lambda verb: None)(verb)


def _run_options(verb):
    verb.add_argument("--engine", default="process", help=f"{', '.join(engines.ENGINES)} (default: process)")
    verb.add_argument("--workers", type=int, help="processes or actors (default: what the engine finds)")
    verb.add_argument("--address", help="of a Ray cluster (default: one on this machine)")
    verb.add_argument("--retry", action="store_true", help="try failed cells again")


def _plan_options(verb):
    verb.add_argument("--untimed", action="store_true", help="count FLOPs only; run nothing")


def _show_options(verb):
    verb.add_argument("cell", help="its name, as plan and run print it")
    verb.add_argument("--images", metavar="PNG", help="draw its first samples again and write them side by side")
    verb.add_argument("--count", type=int, default=16, help="how many samples (default: 16)")


def _train(verbs):
    verb = verbs.add_parser("train", help="train a family; resumes what is there")
    verb.add_argument("family", help="a family file (YAML)")
    verb.add_argument("--out", help="folder of the run (default: runs/train/<family>)")
    verb.add_argument("--sizes", type=int, nargs="+", help="only these base widths (two processes can share a run)")
    verb.add_argument("--data", help="folder with Fashion-MNIST's four .gz files, or with the archives of tiny-t2i")
    verb.add_argument("--download", action="store_true", help="fetch Fashion-MNIST if it is not here")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.set_defaults(run=train)


def _release(verbs):
    verb = verbs.add_parser("release", help="copy a trained family's weights as float16 to a folder for sweeps")
    verb.add_argument("trained", metavar="RUN", help="folder of the training run")
    verb.add_argument("into", metavar="FOLDER", help="where the weights go")
    verb.add_argument("--step", type=int, help="the snapshot to take (default: the last that every size has)")
    verb.set_defaults(run=release)


def _export(verbs):
    verb = verbs.add_parser("export", help="write a store's finished cells as one csv or parquet file")
    verb.add_argument("store", help="folder of finished cells")
    verb.add_argument("out", help="a .csv or .parquet file")
    verb.add_argument("--add", nargs="+", default=[], metavar="FILE", help="more tables or stores to put before them")
    verb.set_defaults(run=export)


def _schema(verbs):
    verb = verbs.add_parser("schema", help="the JSON schema of a file, by which an editor completes it")
    verb.add_argument("kind", choices=sorted(KINDS), help="which file")
    verb.set_defaults(run=lambda args: show(json.dumps(schema(args.kind), indent=1)) or 0)


def _family(verbs):
    verb = verbs.add_parser("family", help="print a family's sizes; 'mei' beside the paper's table")
    verb.add_argument("name", choices=sorted(families.SHAPES), help="a rule of collect/models/families.py")
    verb.add_argument("--widths", type=int, nargs="+", default=[8, 12, 16, 20, 24, 32, 48], help="for tiny-ldm")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=family)


def _resume_with(file, folder):
    """The run's own copy of the family file; refuses a run of another recipe, allows more steps."""
    path = Path(folder) / "family.yaml"
    given = read(file, FamilyFile)
    if path.exists():
        before = read(path, FamilyFile)
        if before.model_copy(update={"steps": given.steps, "widths": given.widths}) != given:
            raise InputError(f"{folder} holds a run of another recipe than {file}: choose another --out.")
    Path(folder).mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != Path(file).read_bytes():
        shutil.copy2(file, path)
    return given


def train(args):
    """Parts, sizes, quality of every snapshot."""
    if sweep.is_text_to_image(Path(args.family)):
        return text_commands.train(args)
    if args.download:
        download()
    file = read(args.family, FamilyFile)
    folder, device = Path(args.out or f"runs/train/{file.family}"), sweep.pick_device(args.device)
    widths = args.sizes or file.widths
    if unknown := set(widths) - set(file.widths):
        raise InputError(f"{args.family} has no size {min(unknown)}: its base widths are {file.widths}.")
    _resume_with(args.family, folder)
    for event in trainer.make_parts(file, folder, args.data):
        show(event.text)
    for event in trainer.train_sizes(file, folder, widths, args.data, device):
        show(event.text)
    for event in trainer.measure_snapshots(file, folder, widths, device):
        show(event.text)
    show(f"Trained in {folder}. Next: scalinglaws collect release {folder} FOLDER")
    return 0


def release(args):
    """float16 weights and the parts, ready for a sweep."""
    if sweep.is_text_to_image(Path(args.trained) / "family.yaml"):
        return text_commands.release(args)
    file = read(Path(args.trained) / "family.yaml", FamilyFile)
    into = trainer.release(file, args.trained, args.into, args.step)
    total = sum(path.stat().st_size for path in into.iterdir() if path.is_file())
    show(f"{len(file.widths)} sizes in {into}, {total / 1e6:.1f} MB")
    return 0


def export(args):
    """One table of the store's rows, after those of other files."""
    table = store.export([*args.add, args.store], args.out)
    show(f"{len(table)} rows in {args.out}")
    return 0


def family(args):
    """A table of sizes counted on the meta device."""
    rows = list(families.mei_side_by_side()) if args.name == "mei" else [_row(c) for c in args.widths]
    if args.json:
        show(json.dumps(rows))
        return 0
    show("  ".join(f"{name:>15}" for name in rows[0]))
    for row in rows:
        show("  ".join(f"{value:>15.4f}" if isinstance(value, float) else f"{value:>15}" for value in row.values()))
    if args.name == "mei":
        show("39M: the printed 25.3 contradicts its printed cost of 0.07 x 789.3; its ratio is to the corrected 56.9.")
    return 0


def _row(c):
    known = families.card("tiny-ldm", c)
    return {"base_channels": c, "params": known.params, "flops_per_forward": known.flops_per_forward}


def _latency_options(verb):
    verb.add_argument("--steps", type=int, default=10, help="sampling steps of a call (default: 10)")
    verb.add_argument("--batch", type=int, default=1, help="samples a call (default: 1)")
    verb.add_argument("--out", metavar="FILE", help="a .csv or .parquet file for the rows")


OPTIONS = {"run": _run_options, "show": _show_options, "plan": _plan_options, "latency": _latency_options}


def _opener(args):
    return sweep.Opener(str(args.sweep), args.store, args.device, args.download)


def plan(args):
    """The missing cells and what they will cost on this machine."""
    opened = _opener(args).sweep()
    for doubt in opened.doubts:
        note(doubt)
    prices = sweep.plan(opened, not args.untimed)
    total = {"cells": len(opened.cells), "missing": len(prices), "flops": sum(p.flops for p in prices)}
    for column in ("seconds", "roofline_seconds"):
        known = [getattr(p, column) for p in prices]
        total[column] = None if None in known else sum(known)
    if args.json:
        names = [{"cell": p.job.name, "flops": p.flops, "seconds": p.seconds} for p in prices]
        show(json.dumps(total | {"prices": names}))
        return 0
    for p in prices:
        show(f"{p.job.name:<32} {p.flops / 1e9:>12.1f} GFLOPs" + (f" {p.seconds:>9.1f} s" if p.seconds else ""))
    about = "" if total["seconds"] is None else f", about {duration(total['seconds'])} here on one worker"
    least = total["roofline_seconds"]
    about += f", at least {duration(least)} at this device's roofline" if least else ""
    show(f"{len(prices)} of {len(opened.cells)} cells missing: {total['flops'] / 1e12:.2f} TFLOPs{about}.")
    return 0


def run(args):
    """Measure with a progress display; a plain line a cell where there is no terminal."""
    opener = _opener(args)
    opened = opener.sweep()
    for doubt in opened.doubts:
        note(doubt)
    store.verify(opened.store)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a cluster sends before it takes the machine
    start = engines.engine(args.engine)
    events = start(opener, workers=args.workers, address=args.address, retry=args.retry)
    try:
        for _ in progress(events, opened.missing(args.retry), _line):
            pass
    except KeyboardInterrupt:
        show("Stopped; finished cells and partial sums are kept. Run the same command to go on.")
        return 130
    done = store.status(opened.store, opened.jobs)
    show(json.dumps(done) if args.json else f"{_counts(done)}, in {opened.store.folder}")
    return 1 if done["failed"] else 0


QUALITIES = ("fd", "fid", "fd_effnet_lite0", "clip", "lpips", "psnr", "crps", "agreement")  # shown a line, first found


def _line(event):
    """A settled cell in a line: its quality and pace, or why there is none."""
    if event.kind == "lost":
        return f"worker {event.who} was lost: {event.reason}"
    if event.kind == "failed":
        return f"{event.cell:<32} {event.status}: {event.reason}"
    row = event.row
    name = next((q for q in QUALITIES if row.get(q) is not None), None)
    quality = f"{name} {row[name]:8.4g} +- {row.get(f'{name}_se', float('nan')):.2g}" if name else ""
    return f"{event.cell:<32} {quality}   {row['seconds_per_image'] * 1e3:8.2f} ms/sample"


def _counts(done):
    """3 of 8 cells done, 4 missing, 1 failed."""
    held = {"in work": len(done["leased"]), "failed": len(done["failed"]), "set aside as damaged": done["damaged"]}
    rest = "".join(f", {count} {what}" for what, count in held.items() if count)
    return f"{done['done']} of {done['cells']} cells done, {done['missing']} missing{rest}"


def status(args):
    """Counts of finished, missing, leased, failed and damaged cells; who works, and why cells failed."""
    opened = _opener(args).sweep()
    done = store.status(opened.store, opened.jobs)
    if args.json:
        show(json.dumps(done))
        return 0
    show(_counts(done))
    for lease in done["leased"]:
        show(f"  {lease['cell']} is with {lease['who']} on {lease['host']} since {lease['since']}")
    for failure in done["failed"]:
        show(f"  {failure['cell']} {failure['status']}: {failure['reason']} (tries: {failure['attempts']})")
    return 0


def show_cell(args):
    """A cell's row, its failure, and its images drawn again from their seeds."""
    opened = _opener(args).sweep()
    jobs = {job.name: job for job in opened.jobs}
    if args.cell not in jobs:
        near = [name for name in jobs if name.startswith(args.cell.split("-")[0])][:5] or list(jobs)[:5]
        raise InputError(f"No cell '{args.cell}' in {args.sweep}; it has {len(jobs)}, such as {', '.join(near)}.")
    job = jobs[args.cell]
    _show_row(opened.store, store.stem(job), args.json)
    if args.images:
        Path(args.images).write_bytes(_sheet(opened, job.cell, args.count))
        show(f"{min(args.count, job.cell.samples)} samples in {args.images}")
    return 0


def card(args):
    """A table of the models, and the share of the roofline that finished cells reached."""
    opened = _opener(args).sweep()
    machine = timing.machine_of(opened.bench)
    rows = list(timing.cards(opened, machine))
    table = opened.store.table()
    shares = [timing.reached(opened, row, machine) for row in table.to_dict("records")] if len(table) else []
    known = [share for share in shares if share is not None and share == share]
    if args.json:
        show(json.dumps({"models": rows, "roofline_reached": known}))
        return 0
    for row in rows:
        least, likely = (_milliseconds(row[name]) for name in ("roofline_seconds", "eager_seconds"))
        show(f"{row['model']:<12} {row['params'] / 1e6:10.3f} M params {row['flops_per_forward'] / 1e9:12.4f} GFLOPs "
             f"{row['macs_per_forward'] / 1e9:12.4f} GMACs {row['weight_bytes'] / 1e6:10.2f} MB of weights; "
             f"a forward: {least} at the roofline, {likely} eager")  # fmt: skip
    show(f"text {rows[0]['flops_text'] / 1e9:g} GFLOPs, decoding {rows[0]['flops_decode'] / 1e9:g} GFLOPs a sample")
    show(f"machine: {machine.name}, {machine.source}" if machine else "machine: its peaks are not known")
    if known:
        show(f"finished cells reached {min(known):.0%} to {max(known):.0%} of the roofline ({len(known)} cells)")
    return 0


def _milliseconds(seconds):
    return "unknown" if seconds is None else f"{seconds * 1e3:.4g} ms"


def latency(args):
    """A line a model; the rows to a file where asked."""
    opener = _opener(args)
    opened, rows = opener.sweep(), []
    for row in timing.latencies(opener, opened, args.steps, args.batch):
        rows.append(row)
        joules = "joules unknown" if row["joules_per_image"] is None else f"{row['joules_per_image']:.4g} J"
        spread = f"+- {row['seconds_mad'] * 1e3:.2g}" if row["seconds_mad"] is not None else ""
        show(f"{row['model']:<12} {row['seconds_per_image'] * 1e3:10.4g} {spread} ms/sample denoising, {joules}; "
             f"{row['unknown'] or ''}")  # fmt: skip
    if args.out:
        store.write_table(pd.DataFrame(rows), args.out)
    return 0


def _show_row(place, stem, as_json):
    if stem in place.stems():
        row = {k: v for k, v in place.read(stem).to_pylist()[0].items() if v is not None and v == v}
        show(json.dumps(row) if as_json else "\n".join(f"{k:<22} {v}" for k, v in row.items()))
        return
    found = place.failure(stem)
    show(f"failed, {found['status']}: {found['reason']}" if found else "not measured yet")


def _sheet(opened, cell, count):
    ready = sweep.prepare(opened.family.model(cell.model, opened.bench.dtype), opened.bench)
    indices = range(min(count, cell.samples))
    made, _ = samples(ready.model, opened.family.task, cell.how, indices, device=opened.bench.device)
    return sheets.png(made)
