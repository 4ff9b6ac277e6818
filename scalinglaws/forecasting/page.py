"""The board as one page of HTML: a section for each kind of question with scores, failures by name and every series
drawn with what was forecast of it, and the surfaces with the largest model forecast whole.
"""

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws.forecasting import surfaces
from scalinglaws.forecasting.scores import compare
from scalinglaws.forecasting.series import AXES, Series

WIDTH, HEIGHT, EDGE = 216, 132, 12  # pixels of a drawing
INK, HIDDEN, OURS = "#26323f", "#d1495b", "#2a78b8"  # colours of rows seen, the row hidden, the forecast
GRID = "#9fb1c1"
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:2em 1.2em;color:#26323f}
h1{font-size:1.7em;margin:0 0 .3em}h2{font-size:1.25em;margin:2.2em 0 .4em;border-bottom:1px solid #dde4ea}
nav a{margin-right:1em;color:#2a78b8;text-decoration:none}
pre{font-size:12px;line-height:1.45;background:#f6f8fa;padding:1em;overflow-x:auto;border-radius:6px}
table{border-collapse:collapse;font-size:13px;margin:.6em 0}td,th{padding:.2em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}th{font-weight:600;color:#5b6b7a;border-bottom:1px solid #dde4ea}
tr.ours td{font-weight:600;color:#2a78b8}details{margin:.6em 0}summary{cursor:pointer;color:#5b6b7a}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(228px,1fr));gap:8px}
figure{margin:0;padding:6px;border:1px solid #e3e8ed;border-radius:6px}figure.failed{border-color:#d1495b}
figcaption{font-size:11px;line-height:1.35;color:#5b6b7a;min-height:4.1em;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
.key span{margin-right:1.2em}.dot{display:inline-block;width:9px;height:9px;border-radius:5px;margin-right:.3em}
"""


def write(path, board: pd.DataFrame, found: list[Series], text: str, method: str = "forecast", top: str = "") -> Path:
    """Write the page: `board` and `found` as in backtest.backtest, `text` its summary or table; top: HTML put first."""
    asked = board[board["truth"].notna()]
    kinds = list(dict.fromkeys(asked["asked"]))
    sections = [_section(kind, asked[asked["asked"] == kind], found, method) for kind in kinds]
    links = "".join(f'<a href="#{_anchor(kind)}">{escape(words(kind))}</a>' for kind in kinds)
    lost = board[board["regret"].notna()] if "regret" in board else board[:0]
    if len(lost):
        sections.append(_decisions(lost, asked, found, method))
        links += '<a href="#decisions">Decisions</a>'
    dots = "".join(f'<span><i class="dot" style="background:{colour}"></i>{meaning}</span>'
                   for colour, meaning in ((INK, "rows seen"), (HIDDEN, "the row hidden"),
                                           (OURS, "forecast, with 50 and 90 % intervals")))  # fmt: skip
    body = (
        f"{top}<main><h1>The board</h1><p>The last value of every series is hidden and forecast from the rows before "
        f"it, by a prior that has not seen the study or its relatives, and by rivals on the same rows.</p>"
        f'<nav aria-label="Sections">{links}</nav>'
        f'{_text(text)}<p class="key">{dots}<span>both axes logarithmic; red frame: outside the 90 % '
        f"interval</span></p>{''.join(sections)}</main>"
    )
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>The board</title><style>{STYLE}</style></head>'
    )
    Path(path).write_text(f"{head}<body>{body}</body></html>\n", encoding="utf-8")
    return Path(path)


def words(asked: str) -> str:
    """A kind of question in words."""
    return f"Next {asked}" if asked in AXES else asked.capitalize()


def name(row) -> str:
    """A question in words."""
    return f"{row.study}, {row.quality}, {words(row.asked).lower()}, {row.label}"


def _text(text):
    """Markdown of one table as a table of HTML, any other text as it is."""
    lines = text.splitlines()
    if not lines or not all(line.startswith("|") for line in lines):
        return f'<pre role="region" aria-label="Summary" tabindex="0">{escape(text)}</pre>'
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return _table(head, rows, (), ours=False)


def _anchor(kind):
    return kind.replace(" ", "-")


def _section(kind, part, found, method):
    own = part[part["method"] == method].set_index("question")
    failed = own[own["in90"] == 0].sort_values("error", ascending=False)
    lines = [
        f"<li>{escape(name(r))}: {r.truth:.4g} measured, {r.value:.4g} forecast ({r.q05:.4g} to {r.q95:.4g})</li>"
        for r in failed.itertuples()
    ]
    missed = (
        f"<details><summary>{len(failed)} of {len(own)} outside their 90 % interval</summary><ul>{''.join(lines)}</ul>"
        "</details>"
        if lines
        else f"<p>All {len(own)} inside their 90 % interval.</p>"
    )
    figures = "".join(drawing(found[number], row) for number, row in own.iterrows())
    return (
        f'<section><h2 id="{_anchor(kind)}">{escape(words(kind))}</h2>{_scores(part, own, method)}{missed}'
        f'<div class="figures">{figures}</div></section>'
    )


def _scores(part, own, method):
    """Ours over all questions, then each rival on the rows that it answered."""
    head = ("", "answered", "refused", "median error", "mean", "worst", "holds 90 %", "interval score", "CRPS",
            "forecast on these rows: median error", "interval score")  # fmt: skip
    rows = [(method, len(own), 0, own["error"].median(), own["error"].mean(), own["error"].max(), own["in90"].mean(),
             own["interval_score"].mean(), own["crps"].mean(), None, None)]  # fmt: skip
    for r in compare(part, method).itertuples():
        interval = (r.theirs_in90, r.theirs_score, r.theirs_crps) if r.score_rows else (None,) * 3
        error = (r.theirs, r.theirs_mean, r.theirs_worst) if r.rows else (None,) * 3
        ours = (r.ours if r.rows else None, r.ours_score if r.score_rows else None)
        rows.append((r.rival, r.rows, r.refused, *error, *interval, *ours))
    return _table(head, rows, (3, 4, 5, 6, 9))


def _table(head, rows, percents, ours=True):
    def cell(k, value):
        if value is None:
            return ""
        if isinstance(value, str):
            return escape(value)
        return f"{value:.1%}" if k in percents else f"{value:.3f}" if isinstance(value, float) else str(value)

    body = ""
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{cell(k, value)}</td>" for k, value in enumerate(row))
        body += f'<tr class="ours">{cells}</tr>' if ours and i == 0 else f"<tr>{cells}</tr>"
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    table = f"<table><tr>{titles}</tr>{body}</table>"
    return f'<div class="scroll" role="region" aria-label="Scores" tabindex="0">{table}</div>'


def _decisions(lost, asked, found, method):
    groups = lost.groupby("method", sort=False)["regret"]
    rows = [(rule, len(r), float(r.mean()), float(r.max())) for rule, r in groups]
    rows = sorted(rows, key=lambda row: row[0] != method)
    numbers = {id(one): number for number, one in enumerate(found)}
    own = asked[asked["method"] == method].set_index("question")
    figures = []
    for surface in surfaces.from_series(found):
        here = [numbers[id(one)] for one in surface.slices]
        if set(here) <= set(own.index):
            figures.append(_surface(surface, own.loc[here]))
    return (
        '<section><h2 id="decisions">Which size for a budget, the largest model unseen</h2><p>The share by which the '
        "quality of the size chosen exceeds that of the best, over budgets. Each drawing: quality against steps, a "
        f"curve a size (light: smaller).</p>{_table(('', 'surfaces', 'mean regret', 'worst surface'), rows, (2, 3))}"
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


class _Frame:
    """Logarithmic coordinates of a drawing: across and down in pixels."""

    def __init__(self, x, y):
        self.x, self.y = (np.log([np.min(v), np.max(v)]) for v in (x, y))

    def across(self, v):
        return EDGE + (np.log(v) - self.x[0]) / max(np.ptp(self.x), 1e-9) * (WIDTH - 2 * EDGE)

    def down(self, v):
        return HEIGHT - EDGE - (np.log(v) - self.y[0]) / max(np.ptp(self.y), 1e-9) * (HEIGHT - 2 * EDGE)

    def line(self, x, y, colour, width=1.2):
        points = " ".join(f"{self.across(a):.1f},{self.down(b):.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    def dot(self, x, y, colour, radius=3):
        return f'<circle cx="{self.across(x):.1f}" cy="{self.down(y):.1f}" r="{radius}" fill="{colour}"/>'

    def bar(self, x, low, high, width):
        at = f"{self.across(x):.1f}"
        return (f'<line x1="{at}" x2="{at}" y1="{self.down(low):.1f}" y2="{self.down(high):.1f}" stroke="{OURS}" '
                f'stroke-width="{width}" stroke-opacity="0.75"/>')  # fmt: skip


def _figure(marks, caption, failed=False):
    style = ' class="failed"' if failed else ""
    label = escape(caption, quote=True)
    return (
        f'<figure{style}><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def drawing(one: Series, row) -> str:
    """A figure of one series as inline SVG."""
    frame = _Frame(one.x, [*one.y, row.q05, row.q95])
    marks = [frame.line(one.x[:-1], one.y[:-1], GRID), frame.bar(one.x[-1], row.q05, row.q95, 2),
             frame.bar(one.x[-1], row.q25, row.q75, 7)]  # fmt: skip
    marks += [frame.dot(x, y, INK) for x, y in zip(one.x[:-1], one.y[:-1], strict=True)]
    marks.append(frame.dot(one.x[-1], one.y[-1], HIDDEN, 3.5))
    marks.append(f'<circle cx="{frame.across(one.x[-1]):.1f}" cy="{frame.down(row.value):.1f}" r="4.5" fill="none" '
                 f'stroke="{OURS}" stroke-width="2"/>')  # fmt: skip
    return _figure(marks, f"{name(row)}: {row.value:.4g} forecast, {row.truth:.4g} measured", row.in90 == 0)


def _surface(surface, own):
    """Quality against steps, a line per size; the largest as measured and as forecast."""
    frame = _Frame(surface.steps, [*surface.y.ravel(), *own["q05"], *own["q95"]])
    marks = [frame.line(surface.steps, y, GRID, 0.6 + 1.2 * k / len(surface.y)) for k, y in enumerate(surface.y[:-1])]
    marks += [frame.bar(x, a, b, 2) for x, a, b in zip(surface.steps, own["q05"], own["q95"], strict=True)]
    marks += [frame.line(surface.steps, own["value"], OURS), frame.line(surface.steps, surface.y[-1], HIDDEN)]
    return _figure(marks, f"{surface.study}, {surface.quality}, {surface.name}: "
                          f"{own['error'].median():.1%} median error")  # fmt: skip
