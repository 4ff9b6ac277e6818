"""Verbs about files and studies: new, studies, report, schema."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from scalinglaws import examples, studies
from scalinglaws.assignments import pairs
from scalinglaws.commands.reading import Reply
from scalinglaws.schema import InputError

SCHEMA = Path(__file__).parents[1] / "answers.schema.json"


def new(args):
    """Write a small csv of real measurements and a sweep file to start from."""
    paths, commands = examples.write(args.folder)
    text = "\n".join([*(f"Wrote {p}" for p in paths), "", "Try:", *(f"  {c}" for c in commands)])
    return Reply({"files": [str(p) for p in paths], "commands": commands}, text)


def list_studies(args):
    """The bundled studies, those of a name or title with these words, or one with its caveats."""
    words = " ".join(args.name)
    found = studies.search(words)
    if words in found:
        study = studies.describe(words)
        lines = [f"{study.name}: {study.title}", f"rows      {study.rows}", f"quality   {', '.join(study.quality)}"]
        lines += [f"family    {f}" for f in study.families] + [f"source    {s}" for s in study.sources]
        return Reply(asdict(study), "\n".join(lines + [f"caveat    {c}" for c in study.caveats]))
    known = [studies.describe(name) for name in found]
    lines = [f"{s.name:26} {s.rows:4} rows  {_shown(s.quality):34} {s.title}" for s in known]
    return Reply([asdict(s) for s in known], "\n".join(lines))


def _shown(qualities, most=3):
    """The first qualities by name, halves of samples left out, and how many more there are."""
    names = [name for name in qualities if not name.endswith(("_half1", "_half2"))]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def report(args):
    """Run a notebook and print the path of its HTML; with --all build the site of a table."""
    from scalinglaws import notebooks

    if args.all:
        return _site(args)
    if args.name is None:
        raise InputError(f"Name a notebook ({', '.join(notebooks.names())}), or build a site: --all [TABLE].")
    for option in ("quality", "where", "read_as", "price", "se", "board"):
        if getattr(args, option):
            raise InputError(f"--{option.replace('_', '-')} is for --all; a notebook takes parameters, -p NAME=VALUE: "
                             f"{args.name} has {', '.join(notebooks.known_parameters(args.name))}.")  # fmt: skip
    path = notebooks.report(args.name, pairs(args.parameter, empty=True), args.out)
    return Reply({"report": str(path)}, f"Report: {path}")


def _say(page):
    """Name the page in work on the error stream: a site takes minutes."""
    print(f"{page} ...", file=sys.stderr, flush=True)


def _site(args):
    """Every page of a table (default: tiny-ldm)."""
    from scalinglaws import site

    if args.parameter:
        raise InputError("-p is for one notebook; with --all say --quality, --where, --read-as, --price or --se.")
    given = {"quality": args.quality, "where": pairs(args.where), "read_as": pairs(args.read_as)}
    given |= {"se": args.se} if args.se else {}
    made = site.build(args.name or "tiny-ldm", args.out, price=args.price, board=args.board, progress=_say, **given)
    left_out = [{"what": what, "why": why} for what, why in made.left_out]
    data = {"report": str(made.index), "pages": [str(page) for page in made.pages], "left_out": left_out}
    return Reply(data, made.summary())


def show_schema(args):
    """The JSON Schema of what --json prints."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    if args.verb:
        if args.verb not in schema["$defs"]:
            known = ", ".join(name for name in schema["$defs"] if name[0].islower())
            raise InputError(f"No JSON Schema for {args.verb!r}. Commands: {known}.")
        schema = {k: v for k, v in schema.items() if k != "oneOf"} | {"$ref": f"#/$defs/{args.verb}"}
    return Reply(schema, json.dumps(schema, indent=2))
