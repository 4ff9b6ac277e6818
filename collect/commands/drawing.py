"""The verb draw: images for the user's own prompts."""

import json
from pathlib import Path

from collect.families import open_family
from collect.progress import show
from collect.run.prompt_sheet import prompt_sheet
from collect.run.sweep import pick_device
from collect.writing import write_text
from scalinglaws.schema import InputError

AT_MOST = 4  # of the family's own prompts, unless --count says otherwise


def draw(args):
    """Draw and write the sheet, and beside it where its cells are (JSON), for the report's interactive page."""
    family = open_family(args.family)
    if family.task.name != "text":
        raise InputError(
            f"Family '{family.name}' is conditioned on {family.task.name}, not on text: `collect show` draws its cells."
        )
    labels = args.models or family.labels
    if unknown := [label for label in labels if label not in family.labels]:
        raise InputError(f"Family '{family.name}' has no model {unknown[0]}. Its models: {', '.join(family.labels)}.")
    lines = args.prompt or family.task.lines[: args.count or AT_MOST]
    config = {"sampler": args.sampler, "guidance": args.guidance, "seed": args.seed}
    count, device = args.count or min(len(lines), AT_MOST), pick_device(args.device)
    sheet = prompt_sheet(family, labels, args.steps, lines, count, **config, device=device)
    sheet.page(args.scale).save(args.out)
    caption = (
        f"{count} prompt{'s' * (count > 1)}, the same noise for every model, {args.sampler}, guidance {args.guidance:g}"
    )
    grid = sheet.grid(args.scale) | {"caption": caption, "guidance": args.guidance}
    write_text(Path(args.out).with_suffix(".json"), json.dumps(grid, indent=2) + "\n")
    show(f"{args.out}: {len(labels)} models down, {len(args.steps)} step counts across, guidance {args.guidance:g}")
    for line in lines:
        show(f"  {line}")
    return 0
