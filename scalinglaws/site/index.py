"""The first page of a site: the table, the answer in short, the scoreboard of claims, and links to every page."""

import math
from html import escape
from pathlib import Path

import pandas as pd

import scalinglaws
from scalinglaws.schema import InputError
from scalinglaws.site.page import HERE

VERDICTS = ("holds", "does not hold here", "undecided")
UNMEASURED = "not measured"
SHOWN = (*VERDICTS, UNMEASURED)  # with a mark of their own
GLANCE = 7  # budgets shown at a glance
PREFIXES = ("n", "µ", "m", "", "k", "M", "G", "T", "P", "E")  # of 1000 ** -3 and up


def write(path, title, answers, explorer, pages, left_out, sheets=(), claims=None, table="", read=()) -> Path:
    """Write the index and return its path.

    answers: of `answers.answers`, or None; explorer: href of the interactive page. pages: (href, title, sentence).
    left_out: (what, why). sheets: hrefs of images. claims: of `read_claims`. table: href of the rows. read:
    sentences on how the table was read, for an index without answers.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        _glance(answers, explorer) if answers else "",
        _scoreboard(claims) if claims is not None else "",
        _section("Pages", _links(pages)) if pages else "",
        _section("Contact sheets", "".join(_sheet(href) for href in sheets)) if sheets else "",
        _section("Left out", _list(f"{what}: {why}" for what, why in left_out)) if left_out else "",
        _section("The table", _about(answers, table, read)) if answers or read else "",
    ]
    style = (HERE / "style.css").read_text(encoding="utf-8")
    head = (f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
            f"<style>\n{style}</style>")  # fmt: skip
    body = "\n".join(part for part in parts if part)
    foot = f"<footer><p>scalinglaws {scalinglaws.__version__}</p></footer>"
    text = (f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n<main>\n{body}\n</main>\n{foot}\n'
            "</body>\n</html>\n")  # fmt: skip
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def read_claims(path) -> pd.DataFrame:
    """The scoreboard's rows, a csv with the columns claim, verdict and any others, shown as they stand.

    verdict: holds, does not hold here, or undecided.
    """
    table = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False)
    missing = [c for c in ("claim", "verdict") if c not in table]
    if missing:
        raise InputError(f"{path}: a scoreboard needs the column {missing[0]!r}; it has {', '.join(table.columns)}.")
    wrong = table.loc[~table["verdict"].isin(VERDICTS), "verdict"]
    if len(wrong):
        raise InputError(f"{path}: verdict {wrong.iloc[0]!r}; give one of {', '.join(VERDICTS)}.")
    return table


def middle(answers):
    """(scale, stop) in the middle of the first scale."""
    scale = answers["scales"][0]
    return scale, scale["stops"][len(scale["stops"]) // 2]


def amount(value, symbol, currency="money") -> str:
    """A cost with the unit's prefix; seconds above one and money as they are.

    >>> amount(3.04e8, "FLOPs"), amount(0.0021, "s"), amount(150.0, "s"), amount(0.0004, "", "USD")
    ('304 MFLOPs', '2.1 ms', '150 s', '0.0004 USD')
    """
    if not symbol:
        return f"{value:.3g} {currency}"
    power = min(max(math.floor(math.log10(value) / 3), -3), 0 if symbol == "s" else 6)
    return f"{float(f'{value:.3g}') / 1000**power:g} {PREFIXES[power + 3]}{symbol}"


def _glance(answers, explorer):
    """The answer in the middle of the measured costs, and a table of budgets that lead into the interactive page."""
    scale, stop = middle(answers)
    last = len(scale["stops"]) - 1
    chosen = sorted({round(last * k / (GLANCE - 1)) for k in range(GLANCE)})
    several = len(answers["settings"]) > 1
    heads = ["Budget per image", "Size", *(["Setting"] if several else []), "Steps", answers["quality"],
             f"{answers['level']:.0%} interval", "Probability"]  # fmt: skip
    rows = [_glance_row(answers, scale, scale["stops"][k], explorer, several) for k in chosen]
    table = (f"<table><caption>Budgets in {escape(scale['name'])}; each leads to its place on the interactive page. "
             f"Values are predicted by the law; a projection lies beyond the measured rows.</caption>"
             f"<thead><tr>{''.join(f'<th scope=col>{escape(h)}</th>' for h in heads)}</tr></thead>"
             f"<tbody>{''.join(rows)}</tbody></table>")  # fmt: skip
    more = f'<p><a href="{_href(explorer, scale, stop)}">Choose a budget on the interactive page</a></p>'
    setting = [f"Best setting: {answers['settings'][stop['setting']]['label']}."] if several else []
    said = f'<p class="lead">{escape(" ".join([*stop["text"], *setting]))}</p>'
    doubts = [scale["warnings"][k] for k in stop["warnings"]]
    said += f"<p>Reasons for doubt:</p>{_list(doubts)}" if doubts else ""
    region = f'<div class="scroll" role="region" aria-label="The best size by budget" tabindex="0">{table}</div>'
    return _section("The best size by budget", said + region + more)


def _glance_row(answers, scale, stop, explorer, several):
    setting, model, steps, _, value, low, high, probability, beyond = stop["settings"][0]
    far = " (projection)" if beyond > answers["far"] else ""
    cells = [answers["models"][model]["label"], *([answers["settings"][setting]["label"]] if several else []),
             str(steps), f"{value:.4g}{far}", f"{low:.4g} to {high:.4g}", f"{probability:.0%}"]  # fmt: skip
    budget = amount(stop["budget"], scale["symbol"], scale["currency"])
    first = f'<th scope="row"><a href="{_href(explorer, scale, stop)}">{escape(budget)}</a></th>'
    return f"<tr>{first}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _href(explorer, scale, stop):
    return escape(f"{explorer}#unit={scale['key']}&budget={stop['budget']!r}")


def _scoreboard(claims):
    """The verdicts, claims down and tests across, and what each rests on."""
    count = ", ".join(f"{(claims['verdict'] == v).sum()} {v}" for v in VERDICTS)
    unmeasured = claims.get("measure", claims["verdict"]).str.startswith(UNMEASURED)
    count += f" ({unmeasured.sum()} of these not measured)" if unmeasured.any() else ""
    columns = [c for c in claims if c != "claim"]
    heads = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    bodies = [_claim(claim, tests[columns]) for claim, tests in claims.groupby("claim", sort=False)]
    region = (f'<div class="scroll claims" role="region" aria-label="Claims of the paper" tabindex="0"><table><thead>'
              f"<tr>{heads}</tr></thead>{''.join(bodies)}</table></div>")  # fmt: skip
    said = f"<p>{claims['claim'].nunique()} claims, {len(claims)} tests of them: {count}.</p>"
    known = [c for c in ("study", "quality") if c in claims]
    if known:
        verdicts = claims["verdict"].mask(unmeasured, UNMEASURED)
        said += _verdicts(claims.assign(verdict=verdicts, test=claims[known].agg(" ".join, axis=1)))
        region = f"<details><summary>What each verdict rests on</summary>{region}</details>"
    return _section("Claims of the paper", said + region)


def _verdicts(claims):
    """A table of claims down and tests across."""
    tests = list(dict.fromkeys(claims["test"]))
    heads = "".join(f'<th scope="col">{escape(test)}</th>' for test in tests)
    rows = []
    for claim, group in claims.groupby("claim", sort=False):
        found = group.groupby("test")["verdict"].unique()
        cells = (", ".join(found.get(test, [UNMEASURED])) for test in tests)
        shown = "".join(f'<td class="{cell.split()[0] if cell in SHOWN else ""}">{escape(cell)}</td>' for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(claim)}</th>{shown}</tr>')
    return (f'<div class="scroll verdicts" role="region" aria-label="Verdicts" tabindex="0"><table><thead><tr>'
            f'<th scope="col">claim</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')  # fmt: skip


def _claim(claim, tests):
    """A claim as a heading across its tests."""
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in tests.to_numpy())
    return f'<tbody><tr><th colspan="{tests.shape[1]}" scope="rowgroup">{escape(claim)}</th></tr>{rows}</tbody>'


def _links(pages):
    return "<ul>" + "".join(
        f'<li><a href="{escape(href)}">{escape(title)}</a>{"" if title[-1:] in "?!." else "."} {escape(sentence)}</li>'
        for href, title, sentence in pages
    ) + "</ul>"  # fmt: skip


def _sheet(href):
    name = escape(Path(href).stem)
    return (f'<figure><a href="{escape(href)}"><img src="{escape(href)}" alt="Contact sheet {name}: models down, steps '
            f'across"></a><figcaption>{name}</figcaption></figure>')  # fmt: skip


def _about(answers, table, read):
    if answers:
        read = [*answers["read"], *answers["skipped"], f"{answers['rows']} measurements, data {answers['data']}."]
    rows = f'<p><a href="{escape(table)}">The rows as read (csv)</a></p>' if table else ""
    return _list(read) + rows


def _list(sentences):
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"


def _section(title, inner):
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}\n</section>"
