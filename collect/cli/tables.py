"""Verbs on tables and files: export, import, reference, compute, schema."""

from collect.cli.late import Command
from collect.config import KINDS, SweepFile, read_config
from collect.imports.readers import KINDS as FORMATS
from collect.models.rules import SHAPES
from collect.store.tables import table_format
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
    verb.add_argument("--sweep", metavar="FILE", help="of stores, only the cells that this sweep file names now: not "
                      "those of other weights, metrics, references or axes")  # fmt: skip
    verb.add_argument(
        "--download", action="store_true", help="with --sweep: fetch models given by hub name and revision"
    )
    verb.set_defaults(run=Command("tables.export", check_export))


def _import(verbs):
    verb = verbs.add_parser("import", help="runs of a csv, W&B or MLflow export as rows of the schema")
    verb.add_argument("source", help="a csv, parquet, json or jsonl file, an mlruns folder or an MLflow database")
    verb.add_argument("out", help="a .csv or .parquet file")
    verb.add_argument("--format", default="auto", choices=FORMATS, help="who wrote it (default: by its looks)")
    verb.add_argument(
        "--map", nargs="+", action="extend", default=[], metavar="THEIRS=OURS", help="names decided by you"
    )
    verb.add_argument("--set", nargs="+", action="extend", default=[], metavar="OURS=VALUE", help="columns to fill")
    verb.set_defaults(run=Command("tables.import_"))


def _reference(verbs):
    verb = verbs.add_parser("reference", help="statistics of a folder of real images, to measure distances to")
    verb.add_argument("folder", help="folder of images, folders within it too")
    verb.add_argument("out", help="the file to write, such as real.safetensors")
    verb.add_argument(
        "--features", default="effnet-lite0", help="network: effnet-lite0 (default), effnet-lite0-96, inception, ..."
    )
    verb.add_argument("--weights", help="path of the network's weights, where it needs one")
    verb.add_argument("--size", type=int, help="side in pixels: the centre square, resized (default: as they are)")
    verb.add_argument("--filter", default="lanczos", help="of the resize: box, bilinear, bicubic or lanczos (default)")
    verb.add_argument("--subset", type=int, help="features kept (default: 5000)")
    verb.add_argument("--batch", type=int, default=64, help="images at once (default: 64)")
    verb.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    verb.set_defaults(run=Command("references.reference"))


def _compute(verbs):
    formats = ("float32", "bfloat16", "float16")
    verb = verbs.add_parser("compute", help="seconds, memory and energy of a forward pass of each size, random weights")
    verb.add_argument("family", choices=sorted(SHAPES), help="a rule of collect/models/shapes.py")
    verb.add_argument("out", help="a .csv or .parquet file; rows it has already are not measured again")
    verb.add_argument("--models", nargs="+", help="sizes: the paper's labels, or c and a width (default: all of mei)")
    verb.add_argument("--batches", type=int, nargs="+", default=[1], help="samples per pass (default: 1)")
    verb.add_argument("--dtypes", nargs="+", choices=formats, default=["float32"], help="number formats")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.set_defaults(run=Command("compute.compute", check_compute))


def _schema(verbs):
    verb = verbs.add_parser("schema", help="the JSON schema of a file, by which an editor completes it")
    verb.add_argument("kind", choices=sorted(KINDS), help="which file")
    verb.set_defaults(run=Command("tables.schema"))


def check_export(args):
    """InputError for an --out that is no table, a sweep file that cannot be read, or one that is missing."""
    table_format(args.out)
    if args.sweep:
        read_config(args.sweep, SweepFile)
    elif args.download:
        raise InputError("--download: only with --sweep, whose models may be given by hub name.")


def check_compute(args):
    """InputError for a batch below 1 or a file that is no table."""
    if low := [b for b in args.batches if b < 1]:
        raise InputError(f"A batch of {low[0]} samples: give whole numbers of 1 or more.")
    table_format(args.out)
