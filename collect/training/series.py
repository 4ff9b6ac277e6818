"""A family of forecasters from its file to its weights: every width, forward process and seed by the same loop.

sizes      every model in turn from one snapshot step to the next, so that a cut run leaves models that compare
quality    each snapshot's cell, measured once, kept in the run's store
release    averages as float16: a folder that a sweep can use
"""

from pathlib import Path

import torch
from torch.nn.functional import mse_loss

from collect.families.series import SeriesFamily
from collect.training import loop, quality
from collect.training.events import TrainingEvent
from collect.training.process import process_of
from collect.writing import copy


def make_parts(file, folder, data=None):
    """Nothing is shared but the data; yields a TrainingEvent of what there is, and of forecasts without a network."""
    family = SeriesFamily(Path(folder))
    train, test = family.windows
    said = ", ".join(f"{name.removeprefix('crps_')} {score:.4f}" for name, score in family.naive.items())
    text = f"data: {len(train)} windows to train on, {len(test)} to test on; CRPS in ppm of {said}"
    yield TrainingEvent("data", "series", text)


def denoising(windows, scale, process, batch=64):
    """The loss E |f_theta(z_t, t, c) - velocity|^2 over the windows' futures x given their contexts c, both divided by
    `scale`, with z_t = alpha_t x + sigma_t noise of a Process and t uniform over its levels.

    For one seed and step all processes draw the same windows, noise and levels, whatever the network's device.
    """
    futures, contexts = (torch.as_tensor(part / scale).float() for part in (windows.futures, windows.contexts))

    def loss(net, generator):
        chosen = torch.randint(len(futures), (batch,), generator=generator)
        noise = torch.randn((batch, futures.shape[1]), generator=generator)
        t, device = process.draw(batch, generator), next(net.parameters()).device
        x, noise, given = (part.to(device) for part in (futures[chosen], noise, contexts[chosen]))
        found = net(process.noised(x, noise, t), t.to(device).float(), given)
        return mse_loss(found, process.target(x, noise, t))

    return loss


def train_model(family, label, steps, folder, save_every=1000, device="cpu"):
    """Train one model up to `steps` in `folder`, resuming what is there; yields (step, loss)."""
    recipe, seed = family.file.recipe, family.file.parts(label)[2]
    config = loop.optimizer_config(recipe, seed)
    loss = denoising(family.windows[0], family.scale, process_of(family.blueprint(label)), recipe.batch)
    yield from loop.train(lambda: family.build(label), loss, config, steps, folder, save_every, device)


def train_sizes(file, folder, widths, data=None, device="cpu", every=500):
    """Train all models of these widths from snapshot to snapshot; yields a TrainingEvent every `every` steps.

    Nothing is read from `data`.
    """
    family = SeriesFamily(Path(folder))
    for target in loop.snapshot_steps(file.steps):
        for label in labels_of(file, widths):
            for step, loss in train_model(family, label, target, Path(folder) / label, device=device):
                if step % every == 0 or step == file.steps:
                    yield TrainingEvent("train", label, f"{label}: step {step} of {file.steps}, loss {loss:.4f}")


def labels_of(file, widths):
    """The labels of these widths: every process and seed."""
    return [label for label in file.labels if file.parts(label)[0] in widths]


def measure_snapshots(file, folder, widths, device="cpu"):
    """CRPS of every snapshot of these widths, each measured once and kept in `quality`; yields TrainingEvents."""
    open_at = lambda label, path: SeriesFamily(Path(folder), {label: path})  # noqa: E731
    for label, step, row in quality.measure_snapshots(folder, labels_of(file, widths), open_at, file.check, device):
        text = f"{label}: step {step}, crps {row['crps']:.4f} +- {row['crps_se']:.4f}"
        yield TrainingEvent("quality", label, text)


def release(file, folder, into, step=None, labels=None):
    """Copy each model's average of a snapshot step as float16 into a folder that a sweep can use.

    `step` is the last that every label has when left out, `labels` all of the file; InputError when one has no such
    snapshot.
    """
    into = Path(into)
    loop.release_averages(folder, labels or file.labels, into, step)
    kept = into / "family.yaml"
    if not kept.exists() or kept.read_bytes() != (Path(folder) / "family.yaml").read_bytes():
        copy(Path(folder) / "family.yaml", kept)
    return into
