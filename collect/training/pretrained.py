"""A trained model opened for more training, and the folder that a training leaves: a checkpoint family of one model.

checkpoint/   a diffusers folder of safetensors: the base's parts with the denoiser that was trained
family.yaml   the checkpoint family that `collect run` opens, with prompts.txt where the model reads text
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml

from collect import weights
from collect.families import CheckpointFamily, TextFamily, open_family
from collect.families.checkpoints import fetch
from collect.models import pipelines
from collect.models.model import Model
from collect.models.networks import quiet
from collect.models.pipelines import super_resolution
from collect.models.pipelines.encoding import image_side
from collect.models.pipelines.loading import load_pipeline
from collect.models.pipelines.parts import schedule, weighed
from collect.sampling.loop import encode
from collect.training import loop
from collect.training.process import Process, process_of
from collect.writing import write_text
from scalinglaws.schema import InputError

PROMPTS_KEPT = 5000  # of the training set, as the family's prompts


@dataclass(frozen=True)
class Pretrained:
    """A diffusers pipeline and its Model; all parts are frozen, `trainable` gives a denoiser to train."""

    pipe: object
    model: Model
    task: str  # text, class or unconditional; upscale for a widened one
    process: Process
    options: dict  # of the adapter
    device: str = "cpu"

    @property
    def part(self):
        """The denoiser's name in the pipeline."""
        return "transformer" if getattr(self.pipe, "transformer", None) is not None else "unet"

    @property
    def side(self):
        """Pixels of the images it draws."""
        return image_side(self.pipe, self.model)

    def trainable(self, pretrained=True):
        """A denoiser of its own to train: a copy of the weights, or drawn anew by torch's global generator.

        It stays in eval mode: no dropout, and conditions are dropped by the loss alone.
        """
        net = self.model.denoiser
        fresh = copy.deepcopy(net) if pretrained else type(net).from_config(net.config)
        return fresh.eval().requires_grad_(True)

    def with_few_steps(self):
        """The same pipeline with a scheduler that starts from the last level of noise, as students of few steps do
        (spacing 'trailing', Lin et al. 2023, arXiv:2305.08891); flow matching always does."""
        if self.process.flow:
            return self
        pipe = copy.copy(self.pipe)
        with quiet():
            config = schedule(pipe) | {"timestep_spacing": "trailing"}
            pipe.register_modules(scheduler=type(pipe.scheduler).from_config(config))
        return adapted(pipe, self.task, self.options, self.device)

    def with_denoiser(self, net, task=None):
        """The same pipeline around another denoiser."""
        pipe = copy.copy(self.pipe)
        with quiet():
            pipe.register_modules(**{self.part: net})
        return adapted(pipe, task or self.task, self.options, self.device)


def task_of(pipe):
    """The task that a pipeline was trained for; InputError for a class that is not known."""
    name = type(pipe).__name__
    if super_resolution.is_widened(pipe):
        return "upscale"
    if name in ("DDPMPipeline", "DDIMPipeline"):
        return "class" if pipe.unet.config.num_class_embeds else "unconditional"
    if name in pipelines.ADAPTERS and "upscale" not in pipelines.ADAPTERS[name][1]:
        return pipelines.ADAPTERS[name][1][0]
    trainable = [k for k, (_, tasks) in pipelines.ADAPTERS.items() if "upscale" not in tasks]
    raise InputError(f"A {name} cannot be trained on: known are {', '.join(trainable)}.")


def adapted(pipe, task, options, device="cpu"):
    """The Pretrained of a pipeline on a device."""
    pipe.to(device)
    adapt = super_resolution.adapt if super_resolution.is_widened(pipe) else pipelines.adapt
    model = adapt(pipe, **options) if task == "upscale" else adapt(pipe, task, **options)
    return Pretrained(pipe, model, task, process_of(model), options, device)


def open_pretrained(base, label=None, step=None, options=None, device="cpu"):
    """The Pretrained of a diffusers folder, or of a family's folder and a label of it.

    step: a snapshot in the family's training run, <base>/<label>/average-<step>.safetensors. options: of the pipeline,
    beside those of the label in a family of checkpoints.
    """
    if not Path(base).is_dir():
        raise InputError(f"No folder {base}: give a diffusers folder, or a family's folder with a label.")
    pipe, own = _of_family(Path(base), label, step) if label else (load_pipeline(base, "float32"), {})
    pipe.set_progress_bar_config(disable=True)
    for part in weighed(pipe).values():
        part.eval().requires_grad_(False)
    return adapted(pipe, task_of(pipe), own | (options or {}), device)


def _of_family(folder, label, step):
    """(the pipeline of a label, its options)."""
    family = open_family(folder)
    if isinstance(family, CheckpointFamily) and step is None:
        spec = family.spec(label)
        return load_pipeline(fetch(spec, folder), "float32"), spec.options
    if isinstance(family, TextFamily):
        snapshots = {} if step is None else {label: loop.snapshot(folder / label, step)}
        return replace(family, snapshots=snapshots).pipeline(label), {}
    raise InputError(
        f"{folder} holds no diffusers pipelines to train on (tiny-ldm's networks are none): give a text-to-image "
        "family or a family of checkpoints (a step only of the former), or a diffusers folder without a label."
    )


def release(trained, build, path, place):
    """Write a diffusers folder: the average at `path` as the weights of build(), the other parts of `trained`."""
    net = build().eval().requires_grad_(False)
    weights.load_into(net, path)
    pipe = trained.with_denoiser(net.to("cpu"), trained.task).pipe
    with quiet():
        pipe.save_pretrained(place, safe_serialization=True)


def write_family(into, task, rows, options=None):
    """Write the family.yaml that `collect run` opens: its task, and {label, path, ...} of each model."""
    content = {"family": Path(into).name, "task": task, "models": [row | {"options": options or {}} for row in rows]}
    write_text(Path(into) / "family.yaml", yaml.safe_dump(content, sort_keys=False))


def task_of_family(pretrained, conditions, into, images=None, factor=4, prompt=""):
    """The `task` of a family.yaml for a trained model: its prompts in turn, its classes, or images to enlarge."""
    if pretrained.task == "text":
        lines = list(dict.fromkeys(" ".join(p.split()) for p in conditions["prompts"]))[:PROMPTS_KEPT]
        write_text(Path(into) / "prompts.txt", "\n".join(lines) + "\n")
        return {"kind": "text", "prompts": "prompts.txt"}
    if pretrained.task == "class":
        return {"kind": "class", "classes": int(max(conditions["classes"])) + 1}
    if pretrained.task == "upscale":
        return {"kind": "upscale", "images": str(images), "side": pretrained.side, "factor": factor, "prompt": prompt}
    return {"kind": "unconditional"}


def dropped_conditions(model, conditions, dropped, device):
    """{name: tensor [b, ...]} as the network takes them, the unconditional ones where dropped (bool [b])."""
    with quiet():  # a caption that is cut is said at every step
        cond, uncond = encode(model, conditions, device)
    if uncond is None:
        return cond
    where = lambda a, b: torch.where(dropped.to(a.device).view(-1, *[1] * (a.dim() - 1)), b, a)  # noqa: E731
    return {name: where(cond[name], uncond[name]) for name in cond}
