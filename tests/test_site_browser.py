"""The interactive page driven in headless Chromium: what it says is what `sl.optimum` says."""

import html as entities
import json
import re
import shutil
import subprocess

import pytest
from site_pages import QUICK, data_of, sheet_in
from synthetic import family

import scalinglaws as sl
from scalinglaws import site
from scalinglaws.site import assemble

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(not BROWSER, reason="no chromium or google-chrome on PATH")


def browse(path, tmp_path, anchor="", script=""):
    """The page's DOM as Chromium has it after `script` ran, as text."""
    if script:
        text = path.read_text().replace("</body>", f"<script>{script}</script></body>")
        path = tmp_path / "driven.html"
        path.write_text(text)
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    words += ["--virtual-time-budget=4000", "--dump-dom", f"{path.as_uri()}{anchor}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=180, check=True).stdout


def text_of(dom, name):
    """The text of the element with this id."""
    inner = re.search(rf'<(\w+)[^>]*\bid="{name}"[^>]*>(.*?)</\1>', dom, re.S)[2]
    return entities.unescape(re.sub(r"<[^>]+>", " ", inner)).strip()


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("key", ["flops", "seconds-decode", "money"])
def test_the_browser_shows_the_answer_of_the_nearest_budget(explorer, user_table, tmp_path, key):
    shown = data_of(explorer)
    scale = next(scale for scale in shown["scales"] if scale["key"] == key)
    stop = scale["stops"][3]
    dom = browse(explorer, tmp_path, f"#unit={key}&budget={1.04 * stop['budget']}")
    price = {"price": "$2/h"} if key == "money" else {}
    fit = sl.question(user_table).fit(replicates=40)
    best = sl.optimum(fit, stop["budget"], scale["unit"], stages=scale["stages"], **price)
    sentence = " ".join(best.summary().split("\nWarning: ")[0].split("\n"))
    assert text_of(dom, "sentence") == text_of(dom, "live") == sentence
    assert key != "money" or text_of(dom, "shown").endswith(" USD")
    facts = re.sub(r"\s+", " ", text_of(dom, "facts"))
    assert f"Size {best.model} " in facts and f"Steps {best.steps} " in facts and "Sampler ddim" in facts
    assert f"Probability {best.probability:.0%}" in facts and f"{best.value:.4g}" in facts
    assert sentence.split(".")[0] in re.search(r'aria-valuetext="([^"]*)"', dom)[1]
    assert sentence in entities.unescape(re.search(r"<desc[^>]*>(.*?)</desc>", dom, re.S)[1])
    for row in best.candidates.itertuples():
        assert re.search(rf"{row.model}(?: \(best\))?</th><td>{row.steps}</td>", dom), row.model


@needs_browser
@pytest.mark.slow
def test_a_projection_is_called_one_where_it_is_seen_and_where_it_is_heard(tmp_path):
    rows = sl.read("tiny-ldm").query("guidance == 1 and sampler != 'ddpm'")
    page = site.explore(rows, tmp_path / "far.html", **QUICK)
    first, last = (data_of(page)["scales"][0]["stops"][k]["budget"] for k in (0, -1))
    dom = browse(page, tmp_path, f"#unit=flops&budget={last}")
    heard = re.compile(r"A projection, \d\.\d decades beyond the measured rows\.$")
    assert heard.search(text_of(dom, "live")) and heard.search(re.search(r'aria-valuetext="([^"]*)"', dom)[1])
    assert "projected by the law beyond the measured rows; 90% interval" in text_of(dom, "facts")
    assert re.search(r"\(best\)(</th>|.*?) .*? \(projection\)", text_of(dom, "sizes"))
    near = browse(page, tmp_path, f"#unit=flops&budget={first}")
    assert "projection" not in text_of(near, "live") and "predicted by the law; 90%" in text_of(near, "facts")
    said = re.sub(r"\s+", " ", text_of(dom, "legend") + text_of(dom, "chart-note"))
    for words in ("measured, with its standard error", "law of a size", "another size's best", "red line is of all"):
        assert words in said, words
    assert "the probability that it is the best within its setting" in text_of(dom, "settings")


KEYS = """{
const told = () => at("sentence").textContent;
const slider = at("budget");
const said = [told()];
slider.value = 4; slider.dispatchEvent(new Event("input", {bubbles: true})); said.push(told(), location.hash);
slider.stepUp(); slider.dispatchEvent(new Event("input", {bubbles: true})); said.push(told());
const area = at("chart").querySelector("svg").getBoundingClientRect();
const line = at("chart").querySelector(".budget").getBoundingClientRect();
for (const type of ["pointerdown", "pointermove"]) {
  const place = type === "pointerdown" ? area.left + 1 : area.right - 1;
  at("chart").dispatchEvent(new PointerEvent(type, {clientX: place, clientY: line.top, buttons: 1, bubbles: true}));
  said.push(told());
}
at("scale").value = "seconds"; at("scale").dispatchEvent(new Event("change")); said.push(told());
location.hash = "#answer"; said.push(told());
const out = document.createElement("pre");
out.id = "out"; out.textContent = JSON.stringify(said); document.body.append(out);
}"""


@needs_browser
@pytest.mark.slow
def test_slider_chart_and_units_move_the_answer(explorer, tmp_path):
    shown = data_of(explorer)
    stops = [" ".join(stop["text"]) for stop in shown["scales"][0]["stops"]]
    times = [" ".join(stop["text"]) for stop in next(s for s in shown["scales"] if s["key"] == "seconds")["stops"]]
    said = json.loads(text_of(browse(explorer, tmp_path, script=KEYS), "out"))
    last = len(stops) - 1
    middle = len(times) // 2
    expected = [stops[len(stops) // 2], stops[4], f"#unit=flops&budget={shown['scales'][0]['stops'][4]['budget']:.0f}"]
    assert said == [*expected, stops[min(5, last)], stops[0], stops[last], times[middle], times[middle]]


WIDTHS = """
const wide = (node) => node.getBoundingClientRect().width;
addEventListener("load", () => setTimeout(() => parent.postMessage({
  page: document.documentElement.scrollWidth, chart: wide(at("chart").querySelector("svg")), slider: wide(at("budget")),
  image: !at("picture").hidden && at("picture").innerHTML}, "*"), 50));
"""


@needs_browser
@pytest.mark.slow
def test_a_narrow_phone_shows_all_of_it_with_the_image(explorer, tmp_path):
    stop = data_of(explorer)["scales"][0]["stops"][1]
    inner = tmp_path / "inner.html"
    inner.write_text(explorer.read_text().replace("</body>", f"<script>{WIDTHS}</script></body>"))
    outer = tmp_path / "outer.html"
    outer.write_text(
        '<!doctype html><body style="margin:0"><pre id="out"></pre><script>addEventListener("message", (event) => {'
        'document.getElementById("out").textContent = JSON.stringify(event.data); });</script>'
        f'<iframe src="{inner.as_uri()}#budget={stop["budget"]}" style="width:360px;height:700px;border:0"></iframe>'
        "</body>"
    )
    measured = json.loads(text_of(browse(outer, tmp_path), "out"))
    assert measured["page"] <= 360 and 280 <= measured["chart"] <= 360 and measured["slider"] > 250
    row = stop["candidates"][stop["model"]]
    label = data_of(explorer)["models"][stop["model"]]["label"]
    assert label in ("c8", "c12") and f"Images drawn by {label}" in measured["image"]
    assert ("drawn nearest" in measured["image"]) == (row[1] not in (4, 16))
    assert "Two &lt;prompts&gt;" in measured["image"]


@needs_browser
@pytest.mark.slow
def test_the_images_are_of_the_nearest_guidance_and_say_what_they_are_not(tmp_path):
    sheets = []
    for weight in (1.0, 2.0):
        (tmp_path / f"{weight:g}").mkdir()
        sheets.append(sheet_in(tmp_path / f"{weight:g}"))
        grid = sheets[-1].with_suffix(".json")
        grid.write_text(json.dumps(json.loads(grid.read_text()) | {"guidance": weight, "caption": f"of {weight:g}"}))
    page = site.explore(family(guidance=3.0), tmp_path / "guided.html", sheets=sheets, **QUICK)
    picture = text_of(browse(page, tmp_path, f"#budget={data_of(page)['scales'][0]['stops'][1]['budget']}"), "picture")
    assert re.search(r"\(drawn nearest to (\d+, )?guidance 3\)\. of 2$", picture), picture


@needs_browser
@pytest.mark.slow
def test_the_board_fits_a_phone(user_table, tmp_path, monkeypatch):
    monkeypatch.setattr(assemble.series, "published", list)
    board = site.build(user_table, tmp_path / "site", names=(), board=True, **QUICK).pages[-1]
    told = "addEventListener('load', () => parent.postMessage(document.documentElement.scrollWidth, '*'));"
    board.write_text(board.read_text().replace("</body>", f"<script>{told}</script></body>"))
    outer = tmp_path / "outer.html"
    outer.write_text(
        '<!doctype html><body><pre id="out"></pre><script>addEventListener("message", (event) => {'
        'document.getElementById("out").textContent = event.data; });</script>'
        f'<iframe src="{board.as_uri()}" style="width:360px;height:700px;border:0"></iframe></body>'
    )
    assert int(text_of(browse(outer, tmp_path), "out")) <= 360


RANGE = """{
const svg = at("chart").querySelector("svg");
const labels = [...svg.querySelectorAll("text[text-anchor=end]")].map((one) => Number(one.textContent));
const out = document.createElement("pre");
out.id = "out"; out.textContent = JSON.stringify(labels.filter(Number.isFinite)); document.body.append(out);
}"""


@needs_browser
@pytest.mark.slow
def test_an_interval_that_runs_off_leaves_the_axis_to_the_values(tmp_path):
    rows = sl.read("tiny-t2i").query("guidance == 1")
    page = site.explore(rows, tmp_path / "wide.html", quality="agreement", **QUICK)
    labels = json.loads(text_of(browse(page, tmp_path, script=RANGE), "out"))
    assert len(labels) >= 3 and min(labels) > 0.05


TICKS = """{
const out = document.createElement("pre");
const shown = [[10.6, 33.5], [1, 1000], [0.28, 0.33], [2, 30]].map((domain) => ticksOf(scaleOf(domain, [0, 300]), 6));
out.id = "out"; out.textContent = JSON.stringify(shown); document.body.append(out);
}"""


@needs_browser
@pytest.mark.slow
def test_every_axis_has_three_labels(explorer, tmp_path):
    ticks = json.loads(text_of(browse(explorer, tmp_path, script=TICKS), "out"))
    assert ticks[0] == [15, 20, 25, 30] and ticks[1] == [1, 10, 100, 1000]
    assert all(3 <= len(some) <= 6 for some in ticks)


@needs_browser
@pytest.mark.slow
def test_the_note_gives_an_address_that_works(explorer, tmp_path):
    note = text_of(browse(explorer, tmp_path), "chart-note")
    anchor = re.search(r"#unit=flops&budget=[\d.e+]+", note)[0]
    shown = data_of(explorer)["scales"][0]
    assert text_of(browse(explorer, tmp_path, anchor), "sentence") == " ".join(shown["stops"][0]["text"])
