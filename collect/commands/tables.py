"""Verbs on tables and files that need no torch: export, import, schema."""

import json

from collect.config import json_schema
from collect.imports.importing import import_runs, write
from collect.progress import note, show
from collect.store.store import repeated, stem
from collect.store.tables import export as export_tables
from collect.store.tables import store_at
from scalinglaws.schema import InputError


def export(args):
    """One table of the store's rows, after those of other files; with a sweep file, of the cells it names alone."""
    among = _cells_of(args.sweep, args.download) if args.sweep else None
    table = export_tables([*args.add, args.store], args.out, among)
    show(f"{len(table)} rows in {args.out}")
    store = store_at(args.store)
    stems = store.stems() if store else set()
    if among is not None and (others := stems - among):
        show(f"{len(others)} of the store's {len(stems)} cells are left out: {args.sweep} does not name them")
    elif among is None and (names := repeated(stems)):
        note(
            f"Names that {args.store} has more than once: {len(names)}, such as {names[0]}, measured before and after "
            "weights, metrics or a reference were changed. --sweep FILE takes those that a sweep file names now."
        )
    return 0


def _cells_of(path, network):
    """Names of the files of a sweep's cells; opening it takes torch, which a plain export does without."""
    from collect.run.sweep import Opener

    return {stem(job) for job in Opener(path, device="cpu", network=network).sweep.uncounted}


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


def schema(args):
    """Print the JSON schema of a kind of file."""
    show(json.dumps(json_schema(args.kind), indent=1))
    return 0
