"""Verbs that make a family: train, release, family."""

import json
import shutil
from pathlib import Path

from collect.config import FamilyFile, read_config
from collect.models import shapes
from collect.progress import show
from collect.run.sweep import pick_device
from collect.training import family as trainer
from collect.training.fashion_mnist import download
from scalinglaws.schema import InputError


def register(verbs):
    """Add the verbs to the sub-parsers of `collect`."""
    _train(verbs)
    _release(verbs)
    _family(verbs)


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


def _family(verbs):
    verb = verbs.add_parser("family", help="print a family's sizes; 'mei' beside the paper's table")
    verb.add_argument("name", choices=sorted(shapes.SHAPES), help="a rule of collect/models/shapes.py")
    verb.add_argument("--widths", type=int, nargs="+", default=[8, 12, 16, 20, 24, 32, 48], help="for tiny-ldm")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=family)


def _resume_with(file, folder):
    """The run's own copy of the family file; refuses a run of another recipe, allows more steps."""
    path = Path(folder) / "family.yaml"
    given = read_config(file, FamilyFile)
    if path.exists():
        before = read_config(path, FamilyFile)
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
    file = read_config(args.family, FamilyFile)
    folder, device = Path(args.out or f"runs/train/{file.family}"), pick_device(args.device)
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
    file = read_config(Path(args.trained) / "family.yaml", FamilyFile)
    into = trainer.release(file, args.trained, args.into, args.step)
    total = sum(path.stat().st_size for path in into.iterdir() if path.is_file())
    show(f"{len(file.widths)} sizes in {into}, {total / 1e6:.1f} MB")
    return 0


def family(args):
    """A table of sizes counted on the meta device."""
    rows = list(shapes.mei_side_by_side()) if args.name == "mei" else [_row(c) for c in args.widths]
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
    known = shapes.forward_cost("tiny-ldm", c)
    return {"base_channels": c, "params": known.params, "flops_per_forward": known.flops_per_forward}
