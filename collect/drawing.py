"""`scalinglaws collect draw`: pictures for a prompt of one's own, sizes down and steps across, for the same seeds."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from collect.models.tasks import Prompts
from collect.progress import show
from collect.sampling.loop import How, samples
from collect.sweep import open_family, pick_device
from scalinglaws.schema import InputError

MARGIN, GAP = 64, 6  # pixels: left of and above the pictures, and between groups


@dataclass(frozen=True)
class Sheet:
    """Pictures uint8 [row, column, sample, channel, h, w] with the names of rows and columns."""

    pictures: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    def image(self, scale=2):
        """One picture: every cell holds its samples side by side, `scale` pixels a pixel."""
        r, c, n, _, h, w = self.pictures.shape
        wide, high = n * w * scale + GAP, h * scale + GAP
        canvas = Image.new("RGB", (MARGIN + c * wide, MARGIN // 3 + r * high), "white")
        pen = ImageDraw.Draw(canvas)
        for j, name in enumerate(self.columns):
            pen.text((MARGIN + j * wide, 4), name, fill="black")
        for i, name in enumerate(self.rows):
            pen.text((4, MARGIN // 3 + i * high), name, fill="black")
            for j in range(c):
                strip = self.pictures[i, j].transpose(2, 0, 3, 1).reshape(h, n * w, -1)
                strip = Image.fromarray(np.repeat(strip, 3, -1) if strip.shape[-1] == 1 else strip)
                strip = strip.resize((n * w * scale, h * scale), Image.Resampling.NEAREST)
                canvas.paste(strip, (MARGIN + j * wide, MARGIN // 3 + i * high))
        return canvas


@torch.inference_mode()
def sheet(family, labels, steps, lines, count, sampler="ddim", guidance=1.0, seed=0, device="cpu"):
    """The Sheet of labels x steps: `count` samples of the prompts in turn, the same noise in every cell."""
    task, cells = Prompts(tuple(lines)), []
    for label in labels:
        model = family.model(label)
        for part in model.parts:
            part.to(device)
        hows = [How(sampler, n, guidance, seed=seed) for n in steps]
        cells.append([samples(model, task, how, range(count), device=device)[0].numpy() for how in hows])
    return Sheet(np.array(cells), tuple(labels), tuple(f"{n} step" if n == 1 else f"{n} steps" for n in steps))


def register_draw(verbs):
    """Add the verb `draw` to the sub-parsers of `collect`."""
    verb = verbs.add_parser("draw", help="pictures for your own prompts: sizes down, steps across, one seed")
    verb.add_argument("family", help="folder of a text-to-image family")
    verb.add_argument("out", metavar="PNG", help="the picture to write")
    verb.add_argument("--prompt", nargs="+", help="prompts, in turn (default: the family's own)")
    verb.add_argument("--models", nargs="+", help="labels (default: all)")
    verb.add_argument("--steps", type=int, nargs="+", default=[1, 4, 16, 50], help="(default: 1 4 16 50)")
    verb.add_argument("--sampler", default="ddim", help="(default: ddim)")
    verb.add_argument("--guidance", type=float, default=2.0, help="(default: 2)")
    verb.add_argument("--count", type=int, help="samples a cell (default: one a prompt, 4 at most)")
    verb.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    verb.add_argument("--scale", type=int, default=2, help="pixels a pixel (default: 2)")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.set_defaults(run=run)


def run(args):
    """Draw and write the sheet."""
    family = open_family(args.family)
    if family.task.name != "text":
        raise InputError(
            f"'{family.name}' is drawn by {family.task.name}, not by text: `collect show` shows its cells."
        )
    labels = args.models or family.labels
    if unknown := [label for label in labels if label not in family.labels]:
        raise InputError(f"Family '{family.name}' has no model {unknown[0]}. Its models: {', '.join(family.labels)}.")
    lines = args.prompt or family.task.lines[: args.count or 4]
    how = {"sampler": args.sampler, "guidance": args.guidance, "seed": args.seed, "device": pick_device(args.device)}
    made = sheet(family, labels, args.steps, lines, args.count or min(len(lines), 4), **how)
    made.image(args.scale).save(args.out)
    show(f"{args.out}: {len(labels)} models down, {len(args.steps)} step counts across, guidance {args.guidance:g}")
    for line in lines:
        show(f"  {line}")
    return 0
