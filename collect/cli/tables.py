"""Verbs on tables and files: export, import, reference, compute, schema."""

import json
from pathlib import Path

import pandas as pd

from collect.config import KINDS, json_schema
from collect.features import NETWORKS, open_network
from collect.imports.importing import import_runs, write
from collect.imports.readers import KINDS as FORMATS
from collect.metrics import sums
from collect.metrics.folder import FILTERS, SUFFIXES, make_reference
from collect.metrics.reference import few
from collect.models import shapes
from collect.profile.flops import BYTES
from collect.progress import note, show
from collect.run import compute_surface
from collect.run.sweep import pick_device
from collect.store.tables import export as export_tables
from collect.store.tables import table_format, write_table
from scalinglaws.measurements import read
from scalinglaws.schema import InputError


def register(verbs):
    """Add the verbs to the sub-parsers of `collect`."""
    _export(verbs)
    _import(verbs)
    _reference(verbs)
    _compute(verbs)
    _schema(verbs)


def _export(verbs):
    verb = verbs.add_parser("export", help="write a store's finished cells as one csv or parquet file")
    verb.add_argument("store", help="folder of finished cells")
    verb.add_argument("out", help="a .csv or .parquet file")
    verb.add_argument("--add", nargs="+", default=[], metavar="FILE", help="more tables or stores to put before them")
    verb.set_defaults(run=export)


def _import(verbs):
    """Add the verb `import`."""
    verb = verbs.add_parser("import", help="runs of a csv, W&B or MLflow export as rows of the schema")
    verb.add_argument("source", help="a csv, parquet, json or jsonl file, an mlruns folder or an MLflow database")
    verb.add_argument("out", help="a .csv or .parquet file")
    verb.add_argument("--format", default="auto", choices=FORMATS, help="who wrote it (default: by its looks)")
    verb.add_argument(
        "--map", nargs="+", action="extend", default=[], metavar="THEIRS=OURS", help="names decided by you"
    )
    verb.add_argument("--set", nargs="+", action="extend", default=[], metavar="OURS=VALUE", help="columns to fill")
    verb.set_defaults(run=import_)


def _compute(verbs):
    """Add the verb `compute`."""
    formats = [name for name in BYTES if name in ("float32", "bfloat16", "float16")]
    verb = verbs.add_parser("compute", help="seconds, memory and energy of a forward pass of each size, random weights")
    verb.add_argument("family", choices=sorted(shapes.SHAPES), help="a rule of collect/models/shapes.py")
    verb.add_argument("out", help="a .csv or .parquet file; rows it has already are not measured again")
    verb.add_argument("--models", nargs="+", help="sizes: the paper's labels, or c and a width (default: all of mei)")
    verb.add_argument("--batches", type=int, nargs="+", default=[1], help="samples per pass (default: 1)")
    verb.add_argument("--dtypes", nargs="+", choices=formats, default=["float32"], help="number formats")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.set_defaults(run=compute)


def _reference(verbs):
    """Add the verb `reference` to the sub-parsers of `collect`."""
    verb = verbs.add_parser("reference", help="statistics of a folder of real images, to measure distances to")
    verb.add_argument("folder", help=f"folder of images ({', '.join(SUFFIXES)}), folders within it too")
    verb.add_argument("out", help="the file to write, such as real.safetensors")
    verb.add_argument("--features", default="effnet-lite0", help=f"network: {', '.join(NETWORKS)} or an installed one")
    verb.add_argument("--weights", help="path of the network's weights, where it needs one")
    verb.add_argument("--size", type=int, help="side in pixels: the centre square, resized (default: as they are)")
    verb.add_argument("--filter", default="lanczos", choices=FILTERS, help="of the resize (default: lanczos)")
    verb.add_argument("--subset", type=int, default=sums.SUBSET, help="features kept (default: 5000)")
    verb.add_argument("--batch", type=int, default=64, help="images at once (default: 64)")
    verb.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    verb.set_defaults(run=reference)


def _schema(verbs):
    verb = verbs.add_parser("schema", help="the JSON schema of a file, by which an editor completes it")
    verb.add_argument("kind", choices=sorted(KINDS), help="which file")
    verb.set_defaults(run=lambda args: show(json.dumps(json_schema(args.kind), indent=1)) or 0)


def export(args):
    """One table of the store's rows, after those of other files."""
    table = export_tables([*args.add, args.store], args.out)
    show(f"{len(table)} rows in {args.out}")
    return 0


def import_(args):
    """Read, name, check, write; say what became of each name."""
    imported = import_runs(args.source, args.format, _pairs("--map", args.map), _pairs("--set", args.set))
    write(imported.table, args.out)
    print("\n".join(imported.lines()), f"written to {args.out}", sep="\n")
    return 0


def _pairs(option, given):
    """{left: right} of LEFT=RIGHT; the left may hold further equals signs."""
    pairs = [item.rpartition("=") for item in given]
    if bad := [item for item, pair in zip(given, pairs, strict=True) if not (pair[0] and pair[2])]:
        raise InputError(f"{option} {bad[0]}: write it as {'THEIRS=OURS' if option == '--map' else 'OURS=VALUE'}.")
    return {left: right for left, _, right in pairs}


def reference(args):
    """Make the file, say what is in it."""
    options = {"device": args.device} | ({"weights": args.weights} if args.weights else {})
    network = open_network(args.features, **options)
    made = make_reference(args.folder, network, args.out, args.size, args.filter, args.subset, args.batch, _progress)
    show(f"{args.out}: {made.count} images, {network.dimensions} features of {network.name}, hash {made.hash}")
    if doubt := few(made.count, "images", network.dimensions):
        note(doubt)
    return 0


def _progress(done, every):
    if done == every or done % 1000 < 64:
        show(f"{done} of {every} images")


def compute(args):
    """A line per row; the file is written after each, so a run that was stopped goes on."""
    if low := [b for b in args.batches if b < 1]:
        raise InputError(f"A batch of {low[0]} samples: give whole numbers of 1 or more.")
    table_format(args.out)  # refused now, not after the first row
    known = read(args.out) if Path(args.out).exists() else pd.DataFrame()
    done = set(zip(*(known[c] for c in compute_surface.SAME), strict=True)) if len(known) else ()
    rows = known.to_dict("records")
    for row in compute_surface.surface(
        args.family, args.models, args.batches, args.dtypes, pick_device(args.device), done
    ):
        rows.append(row)
        write_table(pd.DataFrame(rows), args.out)
        show(_line(row))
    show(f"{len(rows)} rows in {args.out}")
    return 0


def _line(row):
    head = f"{row['model']:<8} {row['dtype']:<9} batch {row['sampling_batch']:<4}"
    seconds, roof = row.get("seconds_per_image"), row["roofline_seconds"]
    if not seconds:
        return f"{head} not measured: {row['unknown']}"
    reached = f"{roof / seconds:.0%} of the roofline" if roof else "roofline unknown"
    memory = f"{row['peak_memory_bytes'] / 1e9:.3g} GB" if row["peak_memory_bytes"] else "memory unknown"
    return f"{head} {seconds * 1e3:10.4g} ms/image, {reached}, {memory}"
