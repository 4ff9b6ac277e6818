"""A family from its file to its weights, in stages that are each skipped where their result is already there.

parts      feature network, reference statistics, autoencoder, latents of the training images
sizes      every size in turn from one snapshot step to the next, so that a cut run leaves sizes that compare
quality    each snapshot's cell, measured once, kept in the run's store
release    averages as float16 with the parts: a folder that a sweep can use
"""

from pathlib import Path

import torch

from collect import features, metrics, weights
from collect.config import Recipe
from collect.datasets.fashion_mnist import load_images
from collect.families.trained import TrainedFamily
from collect.models import autoencoder
from collect.models.shapes import shape
from collect.training import loop, losses, quality
from collect.training.events import TrainingEvent
from collect.writing import copy

CLASSIFIER = {"peak_rate": 2e-3, "weight_decay": 0.05}
AUTOENCODER = {"peak_rate": 2e-3, "clip": 1.0}


def recipe_of(file):
    return Recipe(**file.recipe)


def _train_part(stage, training, path, metadata, every=250):
    """Run a training generator to its end, with TrainingEvents, and save the model it leaves."""
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
        loss, steps = losses.classification(pictures, labels), file.parts.features_steps
        training = loop.train_one_cycle(features.Classifier, loss, steps, **CLASSIFIER)
        yield from _train_part("features", training, paths["features"], lambda model: {})
    if not paths["reference"].exists():
        extracted, _ = features.extract(TrainedFamily(folder).classifier(), pictures)
        metrics.write_reference(extracted, paths["reference"], features.NAME)
        yield TrainingEvent("reference", "reference", f"reference: {len(extracted)} images")
    if not paths["autoencoder"].exists():
        loss, steps = losses.grey_reconstruction(pictures), file.parts.autoencoder_steps
        training = loop.train_one_cycle(autoencoder.build, loss, steps, **AUTOENCODER)
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


def train_size(family, c, steps, latents, labels, recipe, folder, save_every=500, device="cpu"):
    """Train one size of a family's shape up to `steps` in `folder`, resuming what is there; yields (step, loss).

    latents float32 [image, channel, h, w]; labels int64 [image]. Leaves what loop.train leaves.
    """
    loss = losses.denoising(losses.Classes(latents, labels), recipe.batch, recipe.drop_class)
    config = loop.optimizer_config(recipe, recipe.seed)
    build = shape(family).build
    yield from loop.train(lambda: build(c), loss, config, steps, folder, save_every, device)


def train_sizes(file, folder, widths, data=None, device="cpu", every=100):
    """Train the widths side by side from snapshot to snapshot; yields a TrainingEvent every `every` steps of each."""
    latents, labels = training_latents(folder, data)
    recipe = recipe_of(file)
    for target in loop.snapshot_steps(file.steps):
        for c in widths:
            place = Path(folder) / f"c{c}"
            for step, loss in train_size(file.shape, c, target, latents, labels, recipe, place, device=device):
                if step % every == 0 or step == target:
                    yield TrainingEvent("train", f"c{c}", f"c{c}: step {step} of {file.steps}, loss {loss:.4f}")


def measure_snapshots(file, folder, widths, device="cpu"):
    """Quality of every snapshot of these widths, each measured once and kept in `quality`; yields TrainingEvents."""
    batch = recipe_of(file).batch
    rows = quality.measure_snapshots(
        folder,
        [f"c{c}" for c in widths],
        lambda label, path: TrainedFamily(Path(folder), {int(label[1:]): path}),
        file.check,
        device,
        lambda family, label, step: family.cost_profile(label).training_columns(step, batch),
    )
    for label, step, row in rows:
        yield TrainingEvent("quality", label, f"{label}: step {step}, fd {row['fd']:.2f} +- {row['fd_se']:.2f}")


def release(file, folder, into, step=None, labels=None):
    """Copy the parts and each size's average of a snapshot step as float16 into a folder that a sweep can use.

    `step` is the last that every label has when left out, `labels` all of the file; InputError when one has no such
    snapshot.
    """
    into = Path(into)
    loop.release_averages(folder, labels or file.labels, into, step)
    for name in ("family.yaml", "features.safetensors", "reference.safetensors", "autoencoder.safetensors"):
        copy(Path(folder) / name, into / name)
    return into
