"""A family from its file to its weights, in stages that are each skipped where their result is already there.

parts      feature network, reference statistics, autoencoder, latents of the training images
sizes      every size in turn from one snapshot step to the next, so that a cut run leaves sizes that compare
quality    each snapshot's cell, measured once, kept in the run's store
release    averages as float16 with the parts: a folder that a sweep can use
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from collect import features, metrics, weights
from collect.families.trained import TrainedFamily
from collect.models import autoencoder
from collect.run.cell import Cell, ExecutionConfig, cell_key, measure, prepare
from collect.sampling.loop import SamplingConfig
from collect.store.store import Store
from collect.training.fashion_mnist import load_images
from collect.training.train import Recipe, snapshot_steps, train_size
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class TrainingEvent:
    """Something done: a stage, what it was about, and a sentence for people."""

    stage: str
    what: str
    text: str


def recipe_of(file):
    return Recipe(**file.recipe)


def _train_part(stage, training, path, metadata, every=250):
    """Run a training generator to its end, with Events, and save the model it leaves."""
    for step, loss, model in training:  # noqa: B007 - the last one is saved
        if step % every == 0:
            yield TrainingEvent(stage, path.stem, f"{stage}: step {step}, loss {loss:.4f}")
    weights.save(model.state_dict(), path, metadata(model.eval()))
    yield TrainingEvent(stage, path.stem, f"{stage}: done")


def make_parts(file, folder, data=None):
    """Train the feature network and the autoencoder and write the reference, each unless its file is there."""
    folder = Path(folder)
    paths = {name: folder / f"{name}.safetensors" for name in ("features", "reference", "autoencoder")}
    pictures, labels = (torch.as_tensor(a) for a in load_images("train", data))
    if not paths["features"].exists():
        training = features.train(pictures, labels, file.parts.features_steps)
        yield from _train_part("features", training, paths["features"], lambda model: {})
    if not paths["reference"].exists():
        extracted, _ = features.extract(TrainedFamily(folder).classifier(), pictures)
        metrics.write_reference(extracted, paths["reference"], features.NAME)
        yield TrainingEvent("reference", "reference", f"reference: {len(extracted)} images")
    if not paths["autoencoder"].exists():
        training = autoencoder.train(pictures, file.parts.autoencoder_steps)
        yield from _train_part("autoencoder", training, paths["autoencoder"], lambda model: _scaling(model, pictures))


def _scaling(model, pictures):
    """{'scaling_factor': 1 / standard deviation of the latents}, as diffusers stores it."""
    return {"scaling_factor": 1 / autoencoder.encode(model, pictures[:10_000]).std().item()}


def training_latents(folder, data=None):
    """(latents float32 [60000, 4, 8, 8], labels) of the training images; encoded once, then read from the folder."""
    path = Path(folder) / "latents.safetensors"
    if not path.exists():
        pictures, labels = (torch.as_tensor(a) for a in load_images("train", data))
        encoded = autoencoder.encode(TrainedFamily(folder).autoencoder(), pictures)
        weights.save({"latents": encoded, "labels": labels}, path)
    tensors, _ = weights.load(path)
    return tensors["latents"], tensors["labels"]


def train_sizes(file, folder, widths, data=None, device="cpu", every=100):
    """Train the widths side by side from snapshot to snapshot; yields a TrainingEvent every `every` steps of each."""
    latents, labels = training_latents(folder, data)
    for target in snapshot_steps(file.steps):
        for c in widths:
            place = Path(folder) / f"c{c}"
            for step, loss in train_size(file.shape, c, target, latents, labels, recipe_of(file), place, device=device):
                if step % every == 0 or step == target:
                    yield TrainingEvent("train", f"c{c}", f"c{c}: step {step} of {file.steps}, loss {loss:.4f}")


def snapshots(folder, c):
    """[(step, path)] of one size's averaged weights, in order."""
    paths = sorted((Path(folder) / f"c{c}").glob("average-*.safetensors"))
    return [(int(path.stem.split("-")[1]), path) for path in paths]


def measure_snapshots(file, folder, widths, device="cpu"):
    """Quality of every snapshot, each measured once; training compute is 3 x forward x images seen."""
    store, check, execution = Store(Path(folder) / "quality"), file.check, ExecutionConfig(device)
    for c in widths:
        cell = Cell(f"c{c}", SamplingConfig(check.sampler, check.steps, check.guidance), check.samples)
        for step, path in snapshots(folder, c):
            family = TrainedFamily(Path(folder), {c: path})
            scores = family.metrics(device=device)
            name, identity = f"{cell.name}-t{step}", cell_key(family, scores, execution)(cell)
            if store.has(name, identity):
                continue
            row = measure(cell, family, prepare(family.model(cell.model), execution), scores)
            store.write(name, identity, row | training_columns(file, row, step))
            yield TrainingEvent("quality", f"c{c}", f"c{c}: step {step}, fd {row['fd']:.2f} +- {row['fd_se']:.2f}")


def training_columns(file, row, step):
    """What the training had cost by a step: steps, images and FLOPs (backward counted as twice the forward)."""
    seen = step * recipe_of(file).batch
    return {"train_steps": step, "train_images": seen, "train_flops": 3 * row["flops_per_forward"] * seen}


def release(file, folder, into, step=None):
    """Copy the parts and each size's average of a snapshot step as float16 into a folder that a sweep can use.

    `step` is the last that every size has when left out; InputError when a size has no such snapshot.
    """
    kept = {c: dict(snapshots(folder, c)) for c in file.widths}
    common = sorted(set.intersection(*map(set, kept.values())))
    if not common or step not in (None, *common):
        raise InputError(f"Not every size in {folder} has a snapshot of step {step}; all have {common or 'none'}.")
    step = step or common[-1]
    into = Path(into)
    into.mkdir(parents=True, exist_ok=True)
    for name in ("family.yaml", "features.safetensors", "reference.safetensors", "autoencoder.safetensors"):
        shutil.copy2(Path(folder) / name, into / name)
    for c in file.widths:
        weights.save(weights.load(kept[c][step])[0], into / f"c{c}.safetensors", {"train_steps": step}, half=True)
    return into
