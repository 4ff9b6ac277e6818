"""The verb draw: images for the user's own prompts."""

from collect.cli.late import Command
from scalinglaws.schema import InputError


def register(verbs):
    """Add the verb to the sub-parsers of `collect`."""
    verb = verbs.add_parser("draw", help="images for your own prompts: sizes down, steps across, one seed")
    verb.add_argument("family", help="folder of a text-to-image family")
    verb.add_argument("out", metavar="PNG", help="the image to write")
    verb.add_argument("--prompt", nargs="+", help="prompts, in turn (default: the family's own)")
    verb.add_argument("--models", nargs="+", help="labels (default: all)")
    verb.add_argument("--steps", type=int, nargs="+", default=[1, 4, 16, 50], help="(default: 1 4 16 50)")
    verb.add_argument("--sampler", default="ddim", help="(default: ddim)")
    verb.add_argument("--guidance", type=float, default=2.0, help="(default: 2)")
    verb.add_argument("--count", type=int, help="samples per cell (default: one per prompt, 4 at most)")
    verb.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    verb.add_argument("--scale", type=int, default=2, help="pixels per pixel (default: 2)")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.set_defaults(run=Command("drawing.draw", check))


def check(args):
    """InputError for a count or a scale below 1."""
    for option in ("count", "scale"):
        if (given := getattr(args, option)) is not None and given < 1:
            raise InputError(f"--{option} was {given}: give 1 or more.")
