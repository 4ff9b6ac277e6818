"""Verbs on tables and files that need no torch: export, import, schema."""

import json

from collect.config import json_schema
from collect.imports.importing import import_runs, write
from collect.progress import show
from collect.store.tables import export as export_tables
from scalinglaws.schema import InputError


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


def schema(args):
    """Print the JSON schema of a kind of file."""
    show(json.dumps(json_schema(args.kind), indent=1))
    return 0
