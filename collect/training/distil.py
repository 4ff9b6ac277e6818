"""`collect distil`: a student of few steps, from its file to checkpoint folders.

consistency   CoDi's losses; one student for any number of steps (consistency-<gap> where the gap is not 1)
guided        one evaluation for the two of a guided teacher
progressive   student after student, each of the steps given; the next one's teacher is the last

Stages of the progressive one are runs of the one loop in steps-<n>/, each resumed where it was left; what a row says of
its training holds those before it, too.
"""

from pathlib import Path

from collect import weights
from collect.training import distillation
from collect.training.events import TrainingEvent
from collect.training.finetune import (
    kept_snapshot,
    measured_on,
    open_base,
    plain_examples,
    trained,
    upscale_examples,
    upscale_task,
)
from collect.training.parallel import Alone
from collect.training.pretrained import release, task_of_family, write_family
from scalinglaws.schema import InputError


def distil(file, folder, where=None):
    """Train as a DistilFile (paths resolved) says, in a folder, resuming what is there; yields TrainingEvents."""
    folder, where = Path(folder), where or Alone()
    teacher = open_base(file, where.device).with_few_steps()
    check_guidance(file, teacher.model)
    if teacher.task == "upscale":
        examples, about = upscale_examples(file, teacher, folder), upscale_task(file)
    else:
        (examples, _), about = plain_examples(file, teacher, folder), {}
    measured, rows = measured_on(file, teacher.task, examples.conditions), []
    images, passes = file.steps * file.batch * where.processes, 0
    for label, place, student, build, loss, each in students(file, folder, teacher, examples):
        yield from trained(file, build, loss, place, where, stage="distil")
        where.wait()
        if where.first:
            release(student, build, kept_snapshot(place, file.steps), folder / f"checkpoint-{label}")
            yield TrainingEvent("checkpoint", label, f"{folder / f'checkpoint-{label}'}: {file.steps} steps")
        stages, passes = len(rows) + 1, passes + each * images
        row = {"label": label, "path": f"checkpoint-{label}", "variant": label}
        seen = {"train_steps": stages * file.steps, "train_images": stages * images, "train_passes": passes}
        rows.append(row | seen | {"train_seed": file.seed, "train_dtype": where.dtype})
    if where.first:
        write_family(folder, task_of_family(teacher, measured, folder, **about), rows, teacher.options)


def check_guidance(file, model):
    """InputError for a guidance that the teacher cannot have."""
    if file.guidance != [1.0] and model.guided == "none":
        raise InputError(f"This model cannot be guided: guidance was {file.guidance}, allowed is [1.0].")
    if file.method == "guided" and file.guidance == [1.0]:
        raise InputError("Guided distillation of guidance 1 changes nothing: give guidance: [3.0] or [1.0, 4.0].")
    if file.method == "consistency" and file.guidance != [1.0]:
        raise InputError("A consistency student is guided when it samples, as its teacher is: leave guidance out.")
    if file.method == "progressive" and len(file.guidance) == 2 and model.guided != "embedded":
        raise InputError(
            f"A student of guidance {file.guidance} takes it as an input, which this model does not: make one by "
            "method: guided first, or give one value."
        )


def students(file, folder, teacher, examples):
    """(label, folder, Pretrained, build, loss, forward passes of each image) of each student in turn; asked for the
    next one after it is trained."""
    batch, drop = file.batch, file.drop

    def passes(teacher, guidance):
        return distillation.forward_passes(file.method, max(map(teacher.model.calls, guidance)))

    if file.method == "consistency":
        loss = distillation.consistency(teacher, examples, batch, drop, file.gap)
        label = "consistency" if file.gap == 1 else f"consistency-{file.gap}"
        yield label, folder, teacher, teacher.trainable, loss, passes(teacher, file.guidance)
    elif file.method == "guided":
        build, student = teacher.trainable, teacher
        if len(file.guidance) == 2 and teacher.model.guided != "embedded":
            build = lambda: distillation.with_guidance_input(teacher.trainable()).requires_grad_(True)  # noqa: E731
            student = teacher.with_denoiser(build().requires_grad_(False))
        loss = distillation.guided(student, teacher, examples, batch, file.guidance, drop)
        yield "guided", folder, student, build, loss, passes(teacher, file.guidance)
    else:
        guidance = file.guidance
        for steps in file.student_steps:
            place = folder / f"steps-{steps}"
            loss = distillation.progressive(teacher, teacher, examples, steps, batch, guidance, drop)
            yield f"progressive-{steps}", place, teacher, teacher.trainable, loss, passes(teacher, guidance)
            net = teacher.trainable().requires_grad_(False)
            weights.load_into(net, kept_snapshot(place, file.steps))
            teacher = teacher.with_denoiser(net)
            guidance = guidance if teacher.model.guided == "embedded" else [1.0]
