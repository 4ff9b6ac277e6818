"""What the models draw, for the interactive page: single images, and contact sheets whose grid is known.

A contact sheet is one PNG: models down, step counts across, each cell a strip of images. `NAME.json` beside `NAME.png`
says where the cells are:

    {"models": ["c8", "c12"], "steps": [1, 4, 16], "left": 64, "top": 21, "width": 256, "height": 64, "gap": 6,
     "guidance": 2, "caption": "Four prompts"}                                 pixels; gap is between cells both ways
"""

import base64
import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from scalinglaws import studies
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Sheet:
    """A contact sheet and its grid, in pixels."""

    path: Path
    models: tuple[str, ...]  # labels, down
    steps: tuple[int, ...]  # across
    left: int
    top: int
    width: int  # of a cell
    height: int
    gap: int = 0
    caption: str = ""
    guidance: float | None = None  # of all its images, where it is known

    def boxes(self):
        """((model, steps), (left, top, width, height)) of every cell."""
        for i, model in enumerate(self.models):
            for j, steps in enumerate(self.steps):
                corner = (self.left + j * (self.width + self.gap), self.top + i * (self.height + self.gap))
                yield (model, steps), (*corner, self.width, self.height)


def read_sheet(path) -> Sheet | None:
    """The contact sheet `path`, or None where no grid is beside it; InputError where the grid does not fit."""
    path = Path(path)
    grid = path.with_suffix(".json")
    if not grid.exists():
        return None
    try:
        known = json.loads(grid.read_text(encoding="utf-8"))
        sheet = Sheet(path, **known | {"models": tuple(map(str, known["models"])), "steps": tuple(known["steps"])})
        right, bottom = (max(box[k] + box[k + 2] for _, box in sheet.boxes()) for k in (0, 1))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{grid}: give models, steps, left, top, width, height, and gap, caption, guidance where wanted; "
            f"got {error}."
        ) from error
    width, height = _size(path)
    if right > width or bottom > height:
        raise InputError(f"{grid}: cells reach to {right} x {bottom} pixels, {path.name} has {width} x {height}.")
    return sheet


def beside(source) -> list[Path]:
    """Contact sheets of a table: the PNG files beside it whose names begin with its own."""
    if not isinstance(source, str | Path):
        return []
    table = Path(source) if Path(source).exists() else studies._file(str(source))
    return sorted(table.parent.glob(f"{table.stem}*.png")) if table and table.is_file() else []


def embedded(models, images=None, sheets=()) -> dict | None:
    """Images for the page, in it as data: sources, and cells that say which part of a source shows which choice.

    models: labels, as the page numbers them. images: {(model, steps): path of an image}. sheets: Sheet. Labels that the
    page does not know are left out; None where nothing remains.
    """
    sources, cells = [], []
    drawn = [(path, {}, [((str(model), int(steps)), None)]) for (model, steps), path in (images or {}).items()]
    drawn += [(s.path, {"caption": s.caption, "guidance": s.guidance}, list(s.boxes())) for s in sheets]
    for path, about, boxes in drawn:
        known = [(model, steps, box) for (model, steps), box in boxes if model in models]
        if not known:
            continue
        width, height = _size(path)
        cells += [{"source": len(sources), "model": models.index(model), "steps": steps,
                   "box": list(box or (0, 0, width, height))} for model, steps, box in known]  # fmt: skip
        sources.append({"href": _data(path), "width": width, "height": height, "caption": "", "guidance": None} | about)
    return {"sources": sources, "cells": cells} if cells else None


def _size(path):
    """(width, height) in pixels."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise InputError(f"{str(path)!r} is no image that can be read: {error}.") from error


def _data(path):
    kind = mimetypes.guess_type(str(path))[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
