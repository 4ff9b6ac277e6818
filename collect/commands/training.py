"""Verbs that make models: data, train, finetune, personalise, distil, release, family."""

import json
from pathlib import Path

import yaml

from collect.config import (
    KINDS,
    FamilyFile,
    SeriesFamilyFile,
    TextFamilyFile,
    family_kind,
    read_config,
    trained_kind,
)
from collect.datasets import emoji
from collect.datasets.fashion_mnist import download
from collect.models import shapes
from collect.progress import show
from collect.run.sweep import pick_device
from collect.training import distil, family, finetune, parallel, personalise, series, text
from collect.training.floors import measure_floors
from collect.training.pictures import write_scenes
from collect.training.several import each_label
from collect.training.text_parts import make_references, make_scenes
from collect.writing import copy, write_text
from scalinglaws.schema import InputError

TRAINERS = {  # kind of family file: what makes it, fields in which a run may be continued with another value
    FamilyFile: (family, ("steps", "widths")),
    TextFamilyFile: (text, ("steps", "widths", "seeds", "parts", "check")),
    SeriesFamilyFile: (series, ("steps", "widths", "processes", "seeds", "check")),
}
FREE = ("steps", "out", "save_every", "labels", "seeds", "images", "prompts")  # of a tuning's file, change no weight
TUNINGS = {  # verb, and kind of its file: what runs it
    "finetune": finetune.finetune,
    "personalise": personalise.personalise,
    "distil": distil.distil,
}


def data(args):
    """Scenes with captions, from archives that are checked by their hashes."""
    if args.images:
        icons = emoji.icons(args.archives)
        captions = write_scenes(icons, args.split, args.scenes, args.images, args.seed, args.subject)
        show(f'{len(captions)} scenes as PNG in {args.images}, such as "{captions[0]}".')
        return 0
    if args.references:
        return _references(Path(args.references), args.archives)
    if args.floors:
        return _floors(args.floors, args.archives, args.scenes)
    folder = Path(args.out or f"runs/train/{args.name}")
    images, captions = make_scenes(args.archives, folder, args.split, args.scenes, args.seed)
    show(f'{len(images)} scenes of {images.shape[-1]} pixels in {folder / "data"}, such as "{captions[0]}".')
    for archive in emoji.ARCHIVES:
        show(f"  {archive.package}: {archive.licence}")
    return 0


def _floors(folder, archives, count):
    """One line for the scenes, one for what the autoencoder leaves of them: every quality with its standard error."""
    most = read_config(Path(folder) / "family.yaml", TextFamilyFile).data.prompts
    for name, row in measure_floors(folder, archives, min(count, most)):
        values = [f"{c} {v:.4g} +- {row[f'{c}_se']:.2g}" for c, v in row.items() if f"{c}_se" in row]
        show(f"{name}, {row['n_samples_for_metric']} scenes: {', '.join(values)}")
    return 0


def _references(folder, archives):
    made = list(make_references(read_config(folder / "family.yaml", TextFamilyFile), folder, archives))
    for _, sentence in made:
        show(f"{folder}: {sentence}")
    if not made:
        show(f"{folder} lacks nothing.")
    return 0


def _trainer(path):
    """(the family file's class, what trains it, fields that may change) by the file's kind."""
    kind = trained_kind(path)
    return kind, *TRAINERS[kind]


def _resume_with(path, given, folder, free):
    """Keep the family file in the run's folder; InputError where that holds a run of another recipe.

    free: fields whose value may change, such as more steps.
    """
    kept = Path(folder) / "family.yaml"
    if kept.exists():
        same = {name: getattr(given, name) for name in free}
        if family_kind(kept) is not type(given) or read_config(kept, type(given)).model_copy(update=same) != given:
            raise InputError(f"{folder} holds a run of another recipe than {path}: choose another --out.")
    Path(folder).mkdir(parents=True, exist_ok=True)
    if not kept.exists() or kept.read_bytes() != Path(path).read_bytes():
        copy(path, kept)


def train(args):
    """Parts, sizes, quality of every snapshot."""
    if args.download:
        download()
    kind, trainer, free = _trainer(args.family)
    file = read_config(args.family, kind)
    folder, device = Path(args.out or f"runs/train/{file.family}"), pick_device(args.device)
    widths = args.sizes or file.widths
    if unknown := set(widths) - set(file.widths):
        raise InputError(f"{args.family} has no size {min(unknown)}: its base widths are {file.widths}.")
    _resume_with(args.family, file, folder, free)
    for event in trainer.make_parts(file, folder, args.data):
        show(event.text)
    for event in trainer.train_sizes(file, folder, widths, args.data, device):
        show(event.text)
    for event in trainer.measure_snapshots(file, folder, widths, device):
        show(event.text)
    show(f"Trained in {folder}. Next: scalinglaws collect release {folder} FOLDER")
    return 0


def _same_run(path, given, folder):
    """Keep a tuning's file, its paths resolved, in the run's folder; InputError where that holds another one's run.

    Values of the fields in FREE continue a run. A run that was refused before it made anything is no run.
    """
    kept = Path(folder) / "training.yaml"
    if kept.exists() and any(Path(folder).rglob("*.safetensors")):
        free = {name: getattr(given, name) for name in FREE if name in type(given).model_fields}
        if read_config(kept, type(given)).model_copy(update=free) != given:
            raise InputError(f"{folder} holds a run of another file than {path}: choose another --out.")
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_text(kept, yaml.safe_dump(given.model_dump(mode="json"), sort_keys=False))


def tune(args):
    """One given model trained further, from its file to a checkpoint that a sweep can use."""
    given = read_config(args.file, KINDS[args.verb]).resolved(args.file)
    folder = Path(args.out or given.out or f"runs/{args.verb}/{Path(args.file).stem}")
    where = parallel.accelerated(args.accelerate) if args.accelerate else parallel.Alone(pick_device(args.device))
    if where.first:
        _same_run(args.file, given, folder)
    for event in each_label(TUNINGS[args.verb], given, folder, where):
        if where.first:
            show(event.text)
    if where.first:
        show(f"Done in {folder}: `family: {folder}` in a sweep file measures it.")
    return 0


def release(args):
    """float16 weights and the parts, ready for a sweep."""
    path = Path(args.trained) / "family.yaml"
    kind, trainer, _ = _trainer(path)
    file = read_config(path, kind)
    if unknown := set(args.models or []) - set(file.labels):
        raise InputError(f"{path} has no model {', '.join(sorted(unknown))}. Its models are {', '.join(file.labels)}.")
    labels = args.models or file.labels
    into = trainer.release(file, args.trained, args.into, args.step, labels)
    total = sum(part.stat().st_size for part in into.rglob("*") if part.is_file())
    show(f"{len(labels)} {'models' if len(labels) > 1 else 'model'} in {into}, {total / 1e6:.1f} MB")
    return 0


def list_family(args):
    """A table of sizes counted on the meta device."""
    rows = list(shapes.mei_side_by_side()) if args.name == "mei" else [_row(args.name, c) for c in args.widths]
    if args.json:
        show(json.dumps(rows))
        return 0
    show("  ".join(f"{name:>15}" for name in rows[0]))
    for row in rows:
        show("  ".join(f"{value:>15.4f}" if isinstance(value, float) else f"{value:>15}" for value in row.values()))
    if args.name == "mei":
        show("39M: the printed 25.3 contradicts its printed cost of 0.07 x 789.3; its ratio is to the corrected 56.9.")
    return 0


def _row(name, c):
    known = shapes.forward_cost(name, c)
    return {"base_channels": c, "params": known.params, "flops_per_forward": known.flops_per_forward}
