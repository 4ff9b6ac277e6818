"""A user's table, a contact sheet and a quick interactive page, for the tests of the site."""

import json
import re

from PIL import Image
from synthetic import SIZES, family

from scalinglaws import site

QUICK = {"stops": 5, "replicates": 40}


def user_csv(folder):
    """A user's table with a column of their own naming, of one sampler, and exact."""
    path = folder / "runs.csv"
    family().drop(columns="guidance").rename(columns={"seconds_per_image": "gpu_s"}).to_csv(path, index=False)
    return path


def page_in(folder, csv):
    """The interactive page of the user's table, with a contact sheet in it."""
    return site.explore(csv, folder / "explore.html", sheets=[sheet_in(folder)], price="$2/h", **QUICK)


def sheet_in(folder):
    """A contact sheet of two models by two step counts, every cell of one colour."""
    sheet = Image.new("RGB", (4 + 2 * 10, 2 * 6), "white")
    for k, colour in enumerate(("red", "green", "blue", "black")):
        sheet.paste(colour, (4 + k % 2 * 10, k // 2 * 6, 4 + k % 2 * 10 + 8, k // 2 * 6 + 6))
    sheet.save(folder / "runs.png")
    grid = {"models": list(SIZES)[:2], "steps": [4, 16], "left": 4, "top": 0, "width": 8, "height": 6, "gap": 0}
    (folder / "runs.json").write_text(json.dumps(grid | {"caption": "Two <prompts>"}))
    return folder / "runs.png"


def data_of(path):
    """The answers within a page."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)[1]
    return json.loads(text)
