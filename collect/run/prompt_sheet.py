"""Images for the same prompts and noise by several models at several step counts: models down, steps across."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from collect.models.tasks import Prompts
from collect.run.cell import ExecutionConfig, prepare
from collect.sampling.loop import SamplingConfig, samples

MARGIN, GAP = 64, 6  # pixels: left of and above the images, and between groups


@dataclass(frozen=True)
class PromptSheet:
    """Images uint8 [model, step count, sample, channel, h, w] with the models' labels and the step counts."""

    images: np.ndarray
    models: tuple[str, ...]
    steps: tuple[int, ...]

    def grid(self, scale=2):
        """Where the cells of `page(scale)` are, in pixels, as the report's interactive page reads it."""
        _, _, n, _, h, w = self.images.shape
        corner = {"left": MARGIN, "top": MARGIN // 3, "width": n * w * scale, "height": h * scale, "gap": GAP}
        return {"models": list(self.models), "steps": list(self.steps)} | corner

    def page(self, scale=2):
        """One PIL image: every cell holds its samples side by side, each pixel `scale` pixels wide."""
        r, c, n, _, h, w = self.images.shape
        at = self.grid(scale)
        wide, high, top = at["width"] + GAP, at["height"] + GAP, at["top"]
        canvas = Image.new("RGB", (MARGIN + c * wide, top + r * high), "white")
        pen = ImageDraw.Draw(canvas)
        for j, steps in enumerate(self.steps):
            pen.text((MARGIN + j * wide, 4), f"{steps} step{'s' * (steps > 1)}", fill="black")
        for i, name in enumerate(self.models):
            pen.text((4, top + i * high), name, fill="black")
            for j in range(c):
                strip = self.images[i, j].transpose(2, 0, 3, 1).reshape(h, n * w, -1)
                strip = Image.fromarray(np.repeat(strip, 3, -1) if strip.shape[-1] == 1 else strip)
                strip = strip.resize((n * w * scale, h * scale), Image.Resampling.NEAREST)
                canvas.paste(strip, (MARGIN + j * wide, top + i * high))
        return canvas


@torch.inference_mode()
def prompt_sheet(family, labels, steps, lines, count, sampler="ddim", guidance=1.0, seed=0, device="cpu"):
    """The PromptSheet of labels x steps: `count` samples of the prompts in turn, the same noise in every cell."""
    task, rows = Prompts(tuple(lines)), []
    for label in labels:
        model = prepare(family.model(label), ExecutionConfig(device)).model
        configs = [SamplingConfig(sampler, n, guidance, seed=seed) for n in steps]
        rows.append([samples(model, task, config, range(count), device=device)[0].numpy() for config in configs])
    return PromptSheet(np.array(rows), tuple(labels), tuple(steps))
