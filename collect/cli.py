"""`scalinglaws collect ...`: joins the command line by an entry point."""

import json
import shutil
from pathlib import Path

from collect import families, store, sweep, trainer
from collect.fashion_mnist import download
from collect.progress import progress, show
from collect.settings import FamilyFile, read
from scalinglaws.schema import InputError


def register(commands):
    """Add `collect` and its verbs to the command line's sub-parsers."""
    parser = commands.add_parser("collect", help="train a family, measure a sweep (needs the collect extra)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="train|release|plan|run|status|export|family")
    _train(verbs)
    _release(verbs)
    _export(verbs)
    _family(verbs)
    for name, action, text in (
        ("plan", plan, "which cells are missing, and what they will cost"),
        ("run", run, "measure the missing cells; stop and repeat at will"),
        ("status", status, "how far a sweep is"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("sweep", help="a sweep file (YAML)")
        verb.add_argument("--store", help="folder of finished cells (default: the file's, or runs/<name>)")
        verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.set_defaults(run=action)


def _train(verbs):
    verb = verbs.add_parser("train", help="train a family; resumes what is there")
    verb.add_argument("family", help="a family file (YAML)")
    verb.add_argument("--out", help="folder of the run (default: runs/train/<family>)")
    verb.add_argument("--sizes", type=int, nargs="+", help="only these base widths (two processes can share a run)")
    verb.add_argument("--data", help="folder with Fashion-MNIST's four .gz files")
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


def _family(verbs):
    verb = verbs.add_parser("family", help="print a family's sizes; 'mei' beside the paper's table")
    verb.add_argument("name", choices=sorted(families.SHAPES), help="a rule of collect/families.py")
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


def plan(args):
    """The missing cells and what they will cost on this machine."""
    opened = sweep.open_sweep(args.sweep, args.store)
    prices = sweep.plan(opened, sweep.pick_device(args.device))
    flops, seconds = sum(p.flops for p in prices), sum(p.seconds for p in prices)
    total = {"cells": len(opened.cells), "missing": len(prices), "flops": flops, "seconds": seconds}
    if args.json:
        names = [{"cell": p.cell.name, "flops": p.flops, "seconds": p.seconds} for p in prices]
        show(json.dumps(total | {"prices": names}))
        return 0
    for p in prices:
        show(f"{p.cell.name:<32} {p.flops / 1e9:>12.1f} GFLOPs {p.seconds:>9.1f} s")
    show(f"{len(prices)} of {len(opened.cells)} cells missing: {flops / 1e12:.2f} TFLOPs, about {seconds:.0f} s here.")
    return 0


def run(args):
    """Measure with a progress display; a plain line a cell where there is no terminal."""
    opened, device = sweep.open_sweep(args.sweep, args.store), sweep.pick_device(args.device)
    work = {cell: sweep.expected_flops(opened, cell) for cell, _ in opened.missing()}
    try:
        for cell, row in progress(sweep.run(opened, device), work):
            show(_line(cell, row))
    except KeyboardInterrupt:
        show("Stopped; finished cells are kept. Run the same command to go on.")
        return 130
    done = sweep.status(opened)
    show(json.dumps(done) if args.json else f"{_counts(done)}, in {opened.store.folder}")
    return 0


def _line(cell, row):
    per_image = row["seconds_per_image"] * 1e3  # ms
    return f"{cell.name:<32} fd {row['fd']:8.2f} +- {row['fd_se']:.2f}   {per_image:8.2f} ms/image"


def _counts(done):
    rest = f"{done['missing']} missing, {done['damaged']} set aside as damaged"
    return f"{done['done']} of {done['cells']} cells done, {rest}"


def status(args):
    """Counts of finished, missing and damaged cells."""
    opened = sweep.open_sweep(args.sweep, args.store)
    done = sweep.status(opened)
    show(json.dumps(done) if args.json else _counts(done))
    return 0
