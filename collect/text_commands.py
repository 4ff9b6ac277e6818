"""What people type to make a text-to-image family: `collect data`, and `collect train` and `release` of its file."""

import shutil
from pathlib import Path

import torch

from collect import text_trainer as trainer
from collect.datasets import emoji
from collect.progress import show
from collect.settings import read
from collect.text_family import TextFamilyFile
from scalinglaws.schema import InputError

DATA = ("tiny-t2i",)
EVERY = 125  # steps a line


def register_data(verbs):
    """Add the verb `data` to the sub-parsers of `collect`."""
    verb = verbs.add_parser("data", help="build a training set from package archives")
    verb.add_argument("name", help=f"which: {', '.join(DATA)}")
    verb.add_argument("--archives", default=".", help="folder of the archives that `npm pack` left (default: here)")
    verb.add_argument("--out", help="folder of the run (default: runs/train/<name>)")
    verb.add_argument("--scenes", type=int, default=100_000, help="scenes to train on (default: 100000)")
    verb.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    verb.set_defaults(run=data)


def data(args):
    """Scenes with captions, from archives that are checked by their hashes."""
    if args.name not in DATA:
        raise InputError(f"No data set '{args.name}' to build. There is {', '.join(DATA)}.")
    if args.scenes < 1:
        raise InputError(f"--scenes was {args.scenes}: give 1 or more.")
    folder = Path(args.out or f"runs/train/{args.name}")
    images, captions = trainer.make_scenes(args.archives, folder, "train", args.scenes, args.seed)
    show(f'{len(images)} scenes of {images.shape[-1]} pixels in {folder / "data"}, such as "{captions[0]}".')
    for archive in emoji.ARCHIVES:
        show(f"  {archive.package}: {archive.licence}")
    return 0


def train(args):
    """Data, parts, then all sizes from snapshot to snapshot; resumes what is there."""
    file, folder = read(args.family, TextFamilyFile), Path(args.out or f"runs/train/{Path(args.family).parent.name}")
    folder.mkdir(parents=True, exist_ok=True)
    _same_recipe(file, folder)
    shutil.copyfile(args.family, folder / "family.yaml")
    labels = [x for x in file.labels if not args.sizes or file.width(x) in args.sizes]
    images, captions = trainer.make_scenes(args.data or ".", folder, "train", file.data.scenes, file.data.seed)
    _say("autoencoder", trainer.make_autoencoder(folder, images, file.parts.autoencoder_steps))
    _say("text", trainer.make_dual_encoder(folder, "text", trainer.TEXT, images, captions, file.parts.text_steps))
    encoded = trainer.make_encoded(folder, images, captions)
    for label, step, loss in trainer.train_sizes(file, folder, encoded, labels, file.steps, _device(args.device)):
        if step % EVERY == 0:
            show(f"{label}: step {step} of {file.steps}, loss {loss:.4f}")
    _say("judge", trainer.make_judge(file, folder, args.data or "."))
    for what in trainer.make_references(file, folder, args.data or "."):
        show(what)
    for name, row in trainer.measure_snapshots(file, folder, labels, _device(args.device)):
        show(f"{name}: fd {row['fd']:.2f} +- {row['fd_se']:.2f}, agreement {row['agreement']:.3f}")
    show(f"Trained in {folder}. Next: scalinglaws collect release {folder} FOLDER")
    return 0


def _say(part, steps):
    for step, loss in steps:
        if step % EVERY == 0:
            show(f"{part}: step {step}, loss {loss:.4f}")


def _device(asked):
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


def _same_recipe(file, folder):
    """InputError when a folder holds a run of another recipe; more steps, widths and seeds are allowed."""
    if (folder / "family.yaml").exists():
        free = {k: getattr(file, k) for k in ("steps", "widths", "seeds", "parts", "check")}
        if read(folder / "family.yaml", TextFamilyFile).model_copy(update=free) != file:
            raise InputError(f"{folder} holds a run of another recipe: choose another --out.")


def release(args):
    """float16 weights and the parts, ready for a sweep."""
    file = read(Path(args.trained) / "family.yaml", TextFamilyFile)
    into = trainer.release(file, args.trained, args.into, step=args.step)
    total = sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
    show(f"{len(file.labels)} models in {into}, {total / 1e6:.1f} MB")
    return 0
