"""What the missing cells of a sweep will cost, by counting, and in seconds by short trials of each model."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from collect.jobs import Batch, Job
from collect.profile import roofline
from collect.profile.meters import Timer
from collect.run.cell import prepare
from collect.sampling.loop import SamplingConfig, conditions_for, encode, finished, init, model_output


@dataclass(frozen=True)
class Price:
    """What a cell is expected to cost."""

    job: Job
    flops: float  # all samples, text and decoding included
    seconds: float | None  # extrapolated from short runs of its model here; None where none was made
    roofline_seconds: float | None  # the least this machine can take, where its peaks are known


def plan(sweep, timed=True):
    """A Price for each missing job; `timed` loads each model once and calls it three times."""
    missing = sweep.missing()
    labels = {job.cell.model for job in missing}
    rates = {label: seconds_by_part(sweep, label) for label in labels} if timed else {}
    cuda = str(sweep.execution.device).startswith("cuda")
    machine = roofline.known_machine(torch.cuda.get_device_name(sweep.execution.device)) if cuda else None
    prices = []
    for job in missing:
        works, seconds = list(sweep.works(job.cell)), None
        if timed:
            per_evaluation, per_sample = rates[job.cell.model]
            seconds = works[0].samples * per_evaluation + job.cell.samples * job.cell.best_of * per_sample
        prices.append(Price(job, job.flops, seconds, roofline.seconds(works, machine, sweep.execution.dtype)))
    return prices


@torch.no_grad()
def seconds_by_part(sweep, label, most=64):
    """Seconds here of (a network evaluation, everything else with its scoring) per sample; the least of three tries."""
    execution, task = replace(sweep.execution, compile=False), sweep.family.task
    model = prepare(sweep.family.model(label, execution.dtype), execution).model
    config, indices = SamplingConfig(sweep.file.samplers[0], min(sweep.file.steps)), np.arange(most)
    indices = indices[: execution.batch]
    tries = []
    for _ in range(3):
        with Timer(execution.device) as before:
            conditions = conditions_for(task, config, indices)
            state = init(model, config, indices, encode(model, conditions, execution.device), execution.device)
        with Timer(execution.device) as call:
            model_output(model, model.denoiser, state, state.noise, state.schedule.timesteps[0], 1.0)
        with Timer(execution.device) as after:
            batch = Batch(indices, finished(model, state.noise), conditions)
            for metric in sweep.scores:
                metric.add(metric.start(), batch)
        tries.append((call.seconds, before.seconds + after.seconds))
    return tuple(min(part) / len(indices) for part in zip(*tries, strict=True))
