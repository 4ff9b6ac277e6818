"""The interactive page: answers as JSON within one HTML file that needs no server, no network and no library.

The chart is some 160 lines of SVG and JavaScript of our own (chart.js), not plotly or vega: those weigh 1 to 4.5 MB a
page, bring a licence to carry and a version to follow, and their charts cannot be read by a screen reader. What a
reader must be able to do here is little: lines, points, one mark, two axes.
"""

import html
import json
from pathlib import Path

import scalinglaws

HERE = Path(__file__).parent


def write(path, answers, title, images=None, nav=()) -> Path:
    """Write the page of `answers.answers` and return its path.

    title: in words. images: as `pictures.embedded` gives them. nav: (href, text) of links above the title.
    """
    quality, scales = answers["quality"], [scale["name"] for scale in answers["scales"]]
    direction = "higher" if answers["higher"] else "lower"
    lead = (f"Move the budget to see which size, number of steps, sampler and guidance reach the best {quality} "
            f"({direction} is better). Budgets: {', '.join(scales)}.")  # fmt: skip
    stamp = f"scalinglaws {scalinglaws.__version__} · {answers['rows']} measurements · data {answers['data']}"
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("chart.js", "explore.js"))
    filled = {
        "STYLE": (HERE / "style.css").read_text(encoding="utf-8"), "NAV": links(nav), "TITLE": html.escape(title),
        "LEAD": html.escape(lead), "STAMP": html.escape(stamp), "SCRIPT": script,
        "DATA": embedded(answers | {"images": images}),
    }  # fmt: skip
    text = (HERE / "page.html").read_text(encoding="utf-8")
    for name, part in filled.items():
        text = text.replace(f"@@{name}@@", part)
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def embedded(data) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def links(nav, style="") -> str:
    """A row of links; nothing where there are none. style: CSS, for pages that are not in ours."""
    style = f' style="{html.escape(style)}"' if style else ""
    shown = " ".join(f'<a href="{html.escape(href)}">{html.escape(text)}</a>' for href, text in nav)
    return f'<nav aria-label="Site"{style}>{shown}</nav>' if shown else ""
