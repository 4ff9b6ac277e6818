"""`scalinglaws collect ...`: joins the command line by an entry point."""

from collect.cli import drawing, sweeps, tables, training

VERBS = (
    "data|train|finetune|personalise|distil|release|plan|profile|latency|run|status|show|export|import|reference|compute|draw|"
    "schema|family"
)


def register(commands):
    """Add `collect` and its verbs to the command line's sub-parsers."""
    parser = commands.add_parser("collect", help="train a family, measure a sweep (needs the collect extra)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=VERBS)
    training.register(verbs)
    sweeps.register(verbs)
    tables.register(verbs)
    drawing.register(verbs)
