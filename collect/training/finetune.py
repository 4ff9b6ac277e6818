"""`collect finetune`: a checkpoint trained on, or made a super-resolution model, from its file to a checkpoint folder.

encoded       x of every image, encoded once                         encoded.safetensors
training      the one loop                                           state.safetensors, average-<step>.safetensors
checkpoint    the average of the last step as a diffusers folder     checkpoint/, family.yaml
"""

import hashlib
from pathlib import Path

import torch

from collect import weights
from collect.models.pipelines.encoding import encode_images, image_channels
from collect.models.pipelines.super_resolution import enlarge, latent_channels, widen
from collect.models.tasks import prompts
from collect.training import loop
from collect.training.denoising import denoising
from collect.training.events import TrainingEvent
from collect.training.examples import Examples, holds_scenes, image_files, read_examples, reduced
from collect.training.parallel import Alone
from collect.training.pictures import write_images
from collect.training.pretrained import open_pretrained, release, task_of_family, write_family
from scalinglaws.schema import InputError

PICTURES = 100  # scenes written as images that a super-resolution model is measured on


def open_base(file, device="cpu"):
    """The Pretrained that a training file names."""
    return open_pretrained(file.base, file.label, file.step, file.options, device)


def trained(file, build, loss, folder, where, stage="train", every=100):
    """The one loop up to the file's steps, as TrainingEvents."""
    config, name = loop.optimizer_config(file, file.seed), Path(folder).name
    for step, value in loop.train(build, loss, config, file.steps, folder, file.save_every, where=where):
        if step % every == 0 or step == file.steps:
            yield TrainingEvent(stage, name, f"{name}: step {step} of {file.steps}, loss {value:.4f}")


def identified(images):
    """(how many, 16 hex digits) of uint8 images [n, channel, h, w]: what tells them from others."""
    return len(images), hashlib.sha256(images.contiguous().numpy()).hexdigest()[:16]


def encoded(path, make, images=None):
    """The x of make(), kept in a file and read from there the next time; InputError where it is of other images than
    are given now (as `identified`), since the conditions would be those of the others."""
    count, name = images or (None, None)
    if not Path(path).exists():
        weights.save({"x": make()}, path, {"images": name} if images else {})
    tensors, about = weights.load(path)
    if images and (about.get("images", name), len(tensors["x"])) != (name, count):
        raise InputError(
            f"{path} was made of {len(tensors['x'])} images that are not the {count} in the data now: put them "
            "back, or choose another --out."
        )
    return tensors["x"]


def colours(images, channels):
    """uint8 [n, channels, h, w] of colour images: grey ones by the mean where one channel is wanted."""
    return images if channels == images.shape[1] else images.float().mean(1, keepdim=True).round().to(torch.uint8)


def first_examples(file, side, task):
    """read_examples of a file's data, as many as it says."""
    images, conditions = read_examples(file.data, side, task)
    return images[: file.examples], {name: values[: file.examples] for name, values in conditions.items()}


def measured_on(file, task, conditions):
    """The conditions that the result is measured on: the file's prompts, or those of the data; InputError for prompts
    of a model that reads none, or that cannot be read."""
    if file.prompts is None:
        return conditions
    if task != "text":
        raise InputError(
            f"prompts was {file.prompts}, but a model of task '{task}' is not measured on them: leave it out."
        )
    return {"prompts": prompts(file.prompts).lines}


def check_classes(base, conditions):
    """InputError for a class that the model does not have, before anything is trained on it."""
    if base.task == "class":
        base.model.condition(conditions)


def plain_examples(file, base, folder):
    """(Examples, uint8 images) of a file's data, encoded as the base model takes them."""
    images, conditions = first_examples(file, base.side, base.task)
    check_classes(base, conditions)
    images = colours(images, image_channels(base.pipe, base.model))
    make = lambda: encode_images(base.pipe, base.model, images)  # noqa: E731
    return Examples(encoded(Path(folder) / "encoded.safetensors", make, identified(images)), conditions), images


def upscale_examples(file, base, folder):
    """Examples of super-resolution: x of each image, and beside it x of its small copy, enlarged."""
    if file.images is not None:
        image_files(file.images)  # measured on in the end: what is wrong with them is said now
    images, _ = first_examples(file, base.side, "unconditional")
    images = colours(images, image_channels(base.pipe, base.model))
    small = lambda: enlarge(reduced(images, file.factor), base.side)  # noqa: E731
    encode = lambda pictures: encode_images(base.pipe, base.model, pictures)  # noqa: E731
    known = identified(images)
    x = encoded(Path(folder) / "encoded.safetensors", lambda: encode(images), known)
    beside = encoded(Path(folder) / "encoded-small.safetensors", lambda: encode(small()), known)
    if holds_scenes(file.data) and file.images is None:
        write_images(images[:PICTURES].numpy(), None, Path(folder) / "images")
    return Examples(x, {"beside": beside, "prompts": [file.prompt] * len(x)})


def upscale_task(file):
    """What family.yaml says of the images to enlarge."""
    images = file.images or ("images" if holds_scenes(file.data) else file.data)
    return {"images": images, "factor": file.factor, "prompt": file.prompt}


def widened(base, pretrained=True):
    """(Pretrained of the task upscale around a widened denoiser, build of one to train)."""
    extra = latent_channels(base.pipe)
    wide = base.with_denoiser(widen(base.model.denoiser, extra), "upscale")
    return wide, lambda: widen(base.trainable(pretrained), extra).requires_grad_(True)


def finetune(file, folder, where=None):
    """Train as a FinetuneFile (paths resolved) says, in a folder, resuming what is there; yields TrainingEvents.

    Leaves a diffusers folder `checkpoint` and the family.yaml that `collect run` opens.
    """
    folder, where = Path(folder), where or Alone()
    base = open_base(file, where.device)
    if base.task == "upscale":
        raise InputError(f"{file.base} is a super-resolution model: give the model it was made from.")
    if file.task == "super-resolution":
        model, build = widened(base, file.pretrained)
        examples, about = upscale_examples(file, base, folder), upscale_task(file)
    else:
        model, build, about = base, lambda: base.trainable(file.pretrained), {}
        examples, _ = plain_examples(file, base, folder)
    measured = measured_on(file, model.task, examples.conditions)
    loss = denoising(model, examples, file.batch, file.drop)
    yield from trained(file, build, loss, folder, where)
    if where.first:
        task, rows = task_of_family(model, measured, folder, **about), []
        for step, end in kept_steps(file, folder):
            release(model, build, loop.snapshot(folder, step), folder / f"checkpoint{end}")
            variant = "fine-tuned" if file.pretrained else "from scratch"
            row = {"label": f"{folder.name}{end}", "path": f"checkpoint{end}", "variant": variant}
            seen = {"train_steps": step, "train_images": step * file.batch * where.processes}
            rows.append(row | seen | {"train_seed": file.seed, "train_dtype": where.dtype})
            yield TrainingEvent("checkpoint", folder.name, f"{folder / f'checkpoint{end}'}: {step} steps")
        write_family(folder, task, rows, model.options)


def kept_steps(file, folder):
    """[(step, end of the checkpoint's name)]: the last, or every snapshot up to it; InputError as of kept_snapshot."""
    kept_snapshot(folder, file.steps)
    if not file.snapshots:
        return [(file.steps, "")]
    return [(step, f"-{step}") for step, _ in loop.snapshots(folder) if step <= file.steps]


def kept_snapshot(folder, step):
    """The average of a step; InputError where the run is beyond it and has not kept it."""
    path, known = loop.snapshot(folder, step), [step for step, _ in loop.snapshots(folder)]
    if path.exists():
        return path
    raise InputError(
        f"{folder} has been trained for {known[-1]} steps, more than the {step} wanted, and keeps those after "
        f"{', '.join(map(str, known))}: give one of these, or another --out."
    )
