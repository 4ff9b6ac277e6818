"""`collect personalise`: DreamBooth with prior preservation, from its file to a checkpoint folder.

prior         images of the subject's class, drawn by the model         prior.safetensors
encoded       x of the subject's images                                 encoded.safetensors
training      the one loop                                              state.safetensors, average-<step>.safetensors
checkpoint    the average of the last step as a diffusers folder        checkpoint/, family.yaml

The denoiser alone is trained: the text encoder is shared and stays as it is.
"""

from pathlib import Path

import torch

from collect.models.pipelines.encoding import encode_images, image_channels
from collect.sampling import loop as sampling
from collect.training.dreambooth import prior_preservation
from collect.training.events import TrainingEvent
from collect.training.examples import Examples
from collect.training.finetune import (
    check_classes,
    colours,
    encoded,
    first_examples,
    identified,
    kept_snapshot,
    open_base,
    trained,
)
from collect.training.parallel import Alone
from collect.training.pretrained import release, task_of_family, write_family
from scalinglaws.schema import InputError


def conditions_of(file, task):
    """({name: condition} of the subject, that of its class); InputError where the file lacks what the task needs.

    The subject's is None where each image has its own caption.
    """
    if task == "text":
        if file.class_prompt is None:
            raise InputError(
                "This model reads text: give prompt, such as 'a sks dog', and class_prompt, such as 'a dog'; with "
                "class_prompt alone each image has its own caption, of captions.csv."
            )
        given = None if file.prompt is None else {"prompts": file.prompt}
        return given, {"prompts": file.class_prompt}
    if task == "class":
        if file.subject_class is None:
            raise InputError("This model is conditioned on classes: give subject_class, and prior_class if another.")
        kept = file.subject_class if file.prior_class is None else file.prior_class
        return {"classes": file.subject_class}, {"classes": kept}
    if task == "unconditional":
        return {}, {}
    raise InputError("A super-resolution model cannot be personalised: give the model it was made from.")


def repeated(conditions, count):
    """{name: list or tensor of `count` times the condition}."""
    return {k: torch.full((count,), v) if k == "classes" else [v] * count for k, v in conditions.items()}


def draw_prior(base, check, conditions, seed, batch=25):
    """uint8 images [n, channel, side, side] that the model draws of a class; check: collect.config's Check."""
    config = sampling.SamplingConfig(check.sampler, check.steps, check.guidance, seed=seed)
    made = []
    for first in range(0, check.samples, batch):
        indices = range(first, min(first + batch, check.samples))
        given = repeated(conditions, len(indices))
        x = sampling.latents(base.model, config, indices, given, device=base.device)
        made.append(sampling.finished(base.model, x))
    return torch.cat(made)


def personalise(file, folder, where=None):
    """Train as a PersonaliseFile (paths resolved) says, in a folder, resuming what is there; yields TrainingEvents."""
    folder, where = Path(folder), where or Alone()
    base = open_base(file, where.device)
    subject, kept = conditions_of(file, base.task)
    for condition in (subject, kept):
        check_classes(base, condition)
    images, captions = first_examples(file, base.side, "unconditional" if subject is not None else "text")
    images = colours(images, image_channels(base.pipe, base.model))
    given = lambda: encode_images(base.pipe, base.model, images)  # noqa: E731
    own = encoded(folder / "encoded.safetensors", given, identified(images))
    drawn = lambda: encode_images(base.pipe, base.model, draw_prior(base, file.prior, kept, file.seed))  # noqa: E731
    prior = encoded(folder / "prior.safetensors", drawn)
    yield TrainingEvent(
        "prior", folder.name, f"{folder.name}: {len(own)} images of the subject, {len(prior)} of its class"
    )
    conditions = captions if subject is None else repeated(subject, len(own))
    both = [Examples(own, conditions), Examples(prior, repeated(kept, len(prior)))]
    loss = prior_preservation(base, *both, file.batch, file.prior_weight)
    yield from trained(file, base.trainable, loss, folder, where)
    if where.first:
        release(base, base.trainable, kept_snapshot(folder, file.steps), folder / "checkpoint")
        row = {"label": folder.name, "path": "checkpoint", "variant": "personalised"}
        row |= {"train_steps": file.steps, "train_seed": file.seed, "train_dtype": where.dtype}
        row["train_images"] = 2 * file.steps * file.batch * where.processes  # of the subject and of its class
        write_family(folder, task_of_family(base, both[0].conditions, folder), [row], base.options)
        yield TrainingEvent("checkpoint", folder.name, f"{folder / 'checkpoint'}: {file.steps} steps")
