"""Verbs on a sweep file: plan, run, status, show, profile, latency."""

from pathlib import Path

from collect.cli.late import Command
from collect.commands.stores import is_store
from collect.config import SweepFile, family_kind, read_config
from collect.run import engines
from collect.store.tables import table_format
from scalinglaws.schema import InputError


def register(verbs):
    """Add the verbs to the sub-parsers of `collect`."""
    for name, run, options, text in (
        ("plan", Command("sweeps.plan", check_file), _plan_options, "which cells are missing, and what they will cost"),
        ("run", Command("sweeps.run", check_run), _run_options,
         "measure the missing cells; stop and repeat at will, on any number of machines"),
        ("status", Command("stores.status", check_status), _status_options,
         "how far a sweep is, who works on what, what failed and why; of a store's folder, at once what is there"),
        ("show", Command("sweeps.show", check_file), _show_options,
         "one cell: its row, or why it failed, and its first images"),
        ("profile", Command("sweeps.profile", check_file), None,
         "cost profile of each model, before anything runs; after it, the roofline share"),
        ("latency", Command("sweeps.latency", check_latency), _latency_options,
         "seconds, memory and energy of one call per model, in a fresh process"),
    ):  # fmt: skip
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("sweep", help=f"a sweep file (YAML){', or a store' if name == 'status' else ''}")
        verb.add_argument("--store", help="folder or address of finished cells (default: the file's, or runs/<name>)")
        verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
        verb.add_argument("--download", action="store_true", help="fetch models given by hub name and revision")
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.set_defaults(run=run)
        if options:
            options(verb)


def _run_options(verb):
    verb.add_argument("--engine", default="process", help=f"{', '.join(engines.ENGINES)} (default: process)")
    verb.add_argument("--workers", type=int, help="processes or actors (default: what the engine finds)")
    verb.add_argument("--address", help="of a Ray cluster (default: one on this machine)")
    verb.add_argument("--retry", action="store_true", help="try failed cells again")
    verb.add_argument("--adaptive", action="store_true", help="choose the next cell by what the answer still lacks")
    chosen = verb.add_argument_group("with --adaptive")
    chosen.add_argument("--question", help="optimum, crossover or largest (default: optimum)")
    chosen.add_argument(
        "--spend", help="stop once this is spent: '1e15 FLOPs' or '2 GPU-hours', finished cells included"
    )
    chosen.add_argument(
        "--until", type=float, help="stop once the expected loss is below this (default: the question's)"
    )
    chosen.add_argument("--budget", help="per image, in the unit of the spend, for the optimum (default: all)")
    chosen.add_argument("--between", nargs=2, metavar="MODEL", help="the two models of a crossover")
    chosen.add_argument("--quality", help="the metric (default: fd where there is one)")


def _plan_options(verb):
    verb.add_argument("--untimed", action="store_true", help="count FLOPs only; run nothing")


def _status_options(verb):
    verb.add_argument("--verify", action="store_true", help="read every finished cell and quarantine the damaged "
                      "ones, as a run does first; else cells are counted by their names")  # fmt: skip


def _show_options(verb):
    verb.add_argument("cell", help="its name, as plan and run print it")
    verb.add_argument("--images", metavar="PNG", help="draw its first samples again and write them side by side")
    verb.add_argument("--count", type=int, default=16, help="how many samples (default: 16)")


def _latency_options(verb):
    verb.add_argument("--steps", type=int, default=10, help="sampling steps of a call (default: 10)")
    verb.add_argument("--batch", type=int, default=1, help="samples per call (default: 1)")
    verb.add_argument("--out", metavar="FILE", help="a .csv or .parquet file for the rows")


def check_file(args):
    """InputError for a sweep file or the family file that it names, which cannot be read, or a value that is not
    allowed in the sweep."""
    family = Path(args.sweep).parent / read_config(args.sweep, SweepFile).family / "family.yaml"
    read_config(family, family_kind(family))


def check_status(args):
    """The same, unless it is a store, beside which there is no other one."""
    if not is_store(args.sweep):
        check_file(args)
    elif args.store:
        raise InputError(f"'{args.sweep}' is a store itself: leave --store out, or give a sweep file.")


def check_run(args):
    """The same, and for options of an adaptive run without --adaptive, or an unknown engine."""
    given = [f"--{n}" for n in ("question", "spend", "until", "budget", "between", "quality")
             if getattr(args, n) is not None]  # fmt: skip
    if given and not args.adaptive:
        raise InputError(f"{', '.join(given)}: only for a run with --adaptive.")
    engines.engine(args.engine)
    check_file(args)


def check_latency(args):
    """The same, and for an --out that is no table: refused now, not after the last model."""
    if args.out:
        table_format(args.out)
    check_file(args)
