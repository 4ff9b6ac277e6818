"""A text-to-image family from package archives to released weights, in stages skipped where their result is there.

data       scenes with captions                      data/train.safetensors, data/train.txt
parts      autoencoder, text encoder, judge          autoencoder.safetensors, text/, judge/
           statistics of fresh scenes, prompts       reference-*.safetensors, prompts.txt
encoded    latents and text of the scenes            encoded.safetensors
sizes      all from one snapshot step to the next    c8/, c8-s1/, ...: state and averages
quality    each snapshot's cell, measured once       quality/
release    averages as float16 with the parts        a folder that a sweep can use
"""

import shutil
from functools import partial
from pathlib import Path

from collect import weights
from collect.families.text import TextFamily
from collect.models import tiny_t2i
from collect.training import loop, losses, quality
from collect.training import text_parts as parts
from collect.training.events import TrainingEvent
from collect.writing import copy


def make_parts(file, folder, data=None):
    """Everything that all sizes share, each part unless it is there; yields TrainingEvents.

    data: the folder of the package archives; the working folder when left out.
    """
    archives = data or "."
    images, captions = training_scenes(file, folder, archives)
    steps = file.parts.autoencoder_steps
    yield from _part("autoencoder", parts.make_autoencoder(folder, images, steps), steps)
    if steps := file.parts.decoder_steps:
        yield from _part("decoder", parts.tune_decoder(folder, images, steps), steps)
    steps = file.parts.text_steps
    yield from _part("text", parts.make_dual_encoder(folder, "text", parts.TEXT, images, captions, steps), steps)
    yield from _part("judge", parts.make_judge(file, folder, archives), file.parts.judge_steps)
    for what, sentence in parts.make_references(file, folder, archives):
        yield TrainingEvent("reference", what, sentence)


def _part(stage, training, last, every=125):
    for step, loss in training:
        if step % every == 0 or step == last:
            yield TrainingEvent(stage, stage, f"{stage}: step {step} of {last}, loss {loss:.4f}")


def training_scenes(file, folder, archives):
    """(uint8 images [scene, 3, 32, 32], captions) to train on."""
    return parts.make_scenes(archives, folder, "train", file.data.scenes, file.data.seed)


def train_sizes(file, folder, widths, data=None, device="cpu", every=125):
    """Train all labels of these widths side by side; yields a TrainingEvent every `every` steps of each."""
    encoded = parts.make_encoded(folder, *training_scenes(file, folder, data or "."))
    labels = labels_of(file, widths)
    for label, step, loss in train_labels(file, folder, encoded, labels, file.steps, device):
        if step % every == 0 or step == file.steps:
            yield TrainingEvent("train", label, f"{label}: step {step} of {file.steps}, loss {loss:.4f}")


def labels_of(file, widths):
    """The labels of these widths, every training seed."""
    return [label for label in file.labels if file.width(label) in widths]


def train_labels(file, folder, data, labels, steps, device="cpu"):
    """Train the labels side by side from snapshot to snapshot up to `steps`; yields (label, step, loss).

    data: losses.Captions.
    """
    recipe = file.recipe
    loss = losses.denoising(data, recipe.batch, recipe.drop)
    for target in loop.snapshot_steps(steps):
        for label in labels:
            config, build = loop.optimizer_config(recipe, file.seed(label)), partial(tiny_t2i.build, file.width(label))
            for step, value in loop.train(build, loss, config, target, Path(folder) / label, device=device):
                yield label, step, value


def measure_snapshots(file, folder, widths, device="cpu"):
    """Quality of every snapshot of these widths, each measured once and kept in `quality`; yields TrainingEvents."""
    open_at = lambda label, path: TextFamily(Path(folder), {label: path})  # noqa: E731
    for label, step, row in quality.measure_snapshots(folder, labels_of(file, widths), open_at, file.check, device):
        said = f"fd {row['fd']:.2f} +- {row['fd_se']:.2f}, agreement {row['agreement']:.3f}"
        yield TrainingEvent("quality", label, f"{label}: step {step}, {said}")


def release(file, folder, into, step=None, labels=None):
    """Copy the parts and each label's average of a snapshot step as float16 into a folder that a sweep can use.

    `step` is the last that every label has when left out, `labels` all of the file; InputError when one has no such
    snapshot.
    """
    folder, into = Path(folder), Path(into)
    loop.release_averages(folder, labels or file.labels, into, step)
    for path in (*folder.glob("reference-*.safetensors"), folder / "family.yaml", folder / "prompts.txt"):
        copy(path, into / path.name)
    tensors, about = weights.load(folder / "autoencoder.safetensors")
    weights.save(tensors, into / "autoencoder.safetensors", about, half=True)
    for name in ("text", "judge"):
        shutil.copytree(folder / name, into / name, dirs_exist_ok=True)
    return into
