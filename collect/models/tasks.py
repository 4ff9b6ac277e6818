"""The condition of sample i of a cell: a class, a prompt, an image to enlarge, values known before, or none."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scalinglaws.schema import InputError

IMAGES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Unconditional:
    """No condition."""

    name = "unconditional"

    def conditions(self, indices):
        return {}

    def identity(self):
        return {"task": self.name}


@dataclass(frozen=True)
class Classes:
    """The classes in turn: sample i has class i mod count."""

    count: int
    name = "class"

    def conditions(self, indices):
        return {"classes": np.asarray(indices) % self.count}

    def identity(self):
        return {"task": self.name, "classes": self.count}


@dataclass(frozen=True)
class Prompts:
    """The lines of a text in turn."""

    lines: tuple[str, ...]
    name = "text"

    def conditions(self, indices):
        return {"prompts": [self.lines[i % len(self.lines)] for i in indices]}

    def identity(self):
        return {"task": self.name, "prompts": list(self.lines)}


@dataclass(frozen=True)
class Upscale:
    """Images made small by `factor`; the originals are the targets. An optional prompt goes with each."""

    files: tuple[Path, ...]
    side: int  # pixels of the target, cropped from the middle
    factor: int = 4
    prompt: str = ""
    name = "upscale"

    def conditions(self, indices):
        pairs = [small_and_target(self.files[i % len(self.files)], self.side, self.factor) for i in indices]
        small, targets = (torch.stack(column) for column in zip(*pairs, strict=True))
        return {"small": small, "targets": targets, "prompts": [self.prompt] * len(pairs)}

    def identity(self):
        from collect import weights

        hashes = [weights.fingerprint(path) for path in self.files]
        return {"task": self.name, "images": hashes, "side": self.side, "factor": self.factor, "prompt": self.prompt}


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Sample i is one of `members` forecasts for context i // members, in turn; what came is its target."""

    contexts: np.ndarray  # float64 [context, value]: what is known
    futures: np.ndarray  # float64 [context, value]: what came
    members: int  # of an ensemble
    name = "forecast"

    def conditions(self, indices):
        chosen = np.asarray(indices) // self.members % len(self.contexts)
        return {"contexts": self.contexts[chosen], "targets": torch.as_tensor(self.futures[chosen])}

    def identity(self):
        held = np.hstack([self.contexts, self.futures])
        data = hashlib.sha256(np.ascontiguousarray(held).tobytes()).hexdigest()[:16]
        return {"task": self.name, "members": self.members, "data": data}


def small_and_target(path, side, factor):
    """(small, target) uint8 [3, side/factor, side/factor] and [3, side, side]: the middle crop, reduced by bicubic.

    InputError for a file that is no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an image ({type(error).__name__}): repair or remove it.") from None
    scale = side / min(image.size)
    image = image.resize([max(side, round(n * scale)) for n in image.size], Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    target = image.crop((left, top, left + side, top + side))
    small = target.resize((side // factor, side // factor), Image.Resampling.BICUBIC)
    return tuple(torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous() for picture in (small, target))


def prompts(path):
    """The Prompts of a text file, one a line; InputError when there are none."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"No prompts from {path} ({error}): give a text file, one prompt a line.") from None
    if not any(lines):
        raise InputError(f"{path} holds no prompt: write one a line.")
    return Prompts(tuple(line for line in lines if line))


def upscale(folder, side, factor=4, prompt=""):
    """The Upscale task of a folder of images, in the order of their names."""
    files = tuple(sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in IMAGES))
    if not files:
        raise InputError(f"No images ({', '.join(IMAGES)}) in {folder}: give a folder of targets to enlarge to.")
    if side % factor:
        raise InputError(f"A target of {side} pixels cannot be made {factor} times smaller: choose a multiple.")
    return Upscale(files, side, factor, prompt)
