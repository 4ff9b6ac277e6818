"""The board as one page of HTML: the summary, failures by name, and every series drawn with what was forecast of it."""

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws.forecasting.series import Series

WIDTH, HEIGHT, EDGE = 230, 150, 12  # pixels of a drawing
STYLE = (
    "body{font:14px sans-serif;margin:2em;color:#222}pre{font-size:12px}"
    "figure{display:inline-block;margin:4px;padding:4px;border:1px solid #ccc;width:240px;vertical-align:top}"
    "figure.failed{border-color:#c00}figcaption{font-size:11px;height:4em;overflow:hidden}"
)


def write(path, board: pd.DataFrame, found: list[Series], text: str, method: str = "forecast") -> Path:
    """Write the page: `board` and `found` as in backtest.backtest, `text` its summary."""
    rows = board[board["method"] == method].set_index("question")
    failed = rows[rows["in90"] == 0].sort_values("error", ascending=False)
    lines = [
        f"<li>{escape(name(r))}: {r.truth:.4g} measured, {r.value:.4g} forecast ({r.q05:.4g} to {r.q95:.4g})</li>"
        for r in failed.itertuples()
    ]
    figures = [drawing(found[number], row) for number, row in rows.iterrows()]
    body = (
        f"<h1>Board</h1><pre>{escape(text)}</pre><h2>{len(failed)} of {len(rows)} outside their 90 % interval</h2>"
        f"<ul>{''.join(lines)}</ul><h2>Every series</h2><p>Black: seen. Red: hidden. Blue: forecast, 50 and 90 %. "
        f"Both axes logarithmic.</p>{''.join(figures)}"
    )
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Board</title><style>{STYLE}</style>'
    Path(path).write_text(f"{head}<body>{body}</body></html>", encoding="utf-8")
    return Path(path)


def name(row) -> str:
    """A question in words."""
    return f"{row.study}, {row.quality}, next {row.kind}, {row.label}"


def drawing(one: Series, row) -> str:
    """A figure of one series as inline SVG."""
    x, y = np.log(one.x), np.log(one.y)
    limits = np.log([row.q05, row.q25, row.value, row.q75, row.q95])
    low, high = min(y.min(), limits[0]), max(y.max(), limits[-1])

    def across(v):
        return EDGE + (v - x[0]) / (x[-1] - x[0]) * (WIDTH - 2 * EDGE)

    def down(v):
        return HEIGHT - EDGE - (v - low) / (high - low) * (HEIGHT - 2 * EDGE)

    at = across(x[-1])
    bars = "".join(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{down(a):.1f}" y2="{down(b):.1f}" stroke="#37c" stroke-width="{w}"/>'
        for a, b, w in ((limits[0], limits[4], 2), (limits[1], limits[3], 6))
    )
    dots = "".join(
        f'<circle cx="{across(a):.1f}" cy="{down(b):.1f}" r="3" fill="{"#c00" if k == len(x) - 1 else "#222"}"/>'
        for k, (a, b) in enumerate(zip(x, y, strict=True))
    )
    middle = f'<circle cx="{at:.1f}" cy="{down(limits[2]):.1f}" r="4" fill="none" stroke="#37c" stroke-width="2"/>'
    style = ' class="failed"' if row.in90 == 0 else ""
    return (
        f'<figure{style}><svg width="{WIDTH}" height="{HEIGHT}" role="img">{bars}{dots}{middle}</svg>'
        f"<figcaption>{escape(name(row))}: {row.value:.4g} for {row.truth:.4g}</figcaption></figure>"
    )
