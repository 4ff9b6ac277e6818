"""The static site: its answers are those of `sl.optimum`, and it needs no network."""

import html as entities
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from site_pages import QUICK, data_of, sheet_in
from synthetic import SIZES, STEPS, family, law

import scalinglaws as sl
from scalinglaws import notebooks, plots, site
from scalinglaws.decide import measured
from scalinglaws.decide.curves import law_curves
from scalinglaws.schema import InputError, NoAnswer
from scalinglaws.site import assemble, index, pictures
from scalinglaws.site.answers import COLUMNS, answers

VOID = {"meta", "input", "img", "br", "link", "hr", "rect", "path", "circle", "line"}


@pytest.fixture(scope="module")
def rows():
    return sl.read("tiny-ldm").query("guidance == 1 and sampler != 'ddpm'")


@pytest.fixture(scope="module")
def shown(rows):
    return answers(rows, **QUICK)


class Checker(HTMLParser):
    """Elements of a page: refuses what is not closed, collects ids, what refers to them, and what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.refers, self.loads, self.tags, self.headings = [], [], [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append((tag, known))
        self.ids += [known["id"]] if "id" in known else []
        self.refers += known.get("aria-labelledby", "").split() + known.get("for", "").split()
        self.loads += [known[k] for k in ("src", "href", "data", "action") if known.get(k)]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(path):
    """What holds for every page of a site."""
    text = path.read_text()
    page = Checker(text)
    assert len(set(page.ids)) == len(page.ids) and set(page.refers) <= set(page.ids)
    assert page.tags[0] == ("html", {"lang": "en"}) and page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert all(known.get("alt") for tag, known in page.tags if tag == "img")
    assert not [one for one in page.loads if re.match(r"(https?:)?//", one)]
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", text)
    return page


# --- the answers


def test_every_stop_says_what_optimum_says(rows, shown):
    fits, _ = sl.question(rows, choose=True).fits(replicates=40)
    labels = [model["label"] for model in shown["models"]]
    assert {scale["key"] for scale in shown["scales"]} == {"flops", "flops-decode", "seconds", "seconds-decode"}
    for scale in shown["scales"]:
        cost = {"unit": scale["unit"], "stages": scale["stages"]}
        for stop in scale["stops"]:
            label = shown["settings"][stop["setting"]]["label"]
            best = sl.optimum(fits[label], stop["budget"], **cost)
            assert best.summary().split("\nWarning: ")[0] == "\n".join(stop["text"])
            said = [scale["warnings"][k] for k in stop["warnings"]]
            assert said == [*best.warnings, *fits[label].warnings]
            assert [labels[k] for k in stop["flat"]] == list(best.flat)
            candidates = best.candidates[list(COLUMNS[1:])].to_numpy(float)
            assert np.allclose([row[1:] for row in stop["candidates"]], candidates, rtol=1e-8, atol=0)
            assert [labels[row[0]] for row in stop["candidates"]] == list(best.candidates["model"])
            others = [sl.optimum(fits[shown["settings"][k]["label"]], stop["budget"], **cost).value
                      for k, *_ in stop["settings"]]  # fmt: skip
            assert others == sorted(others) and np.isclose(best.value, others[0])


def test_what_lies_beyond_the_measured_rows_is_called_a_projection(shown, tmp_path):
    scale, beyond = shown["scales"][0], COLUMNS.index("decades_beyond")
    for stop in scale["stops"]:
        best = next(row for row in stop["candidates"] if row[0] == stop["model"])
        assert stop["settings"][0][1:] == best  # the best setting's best size, decades_beyond too
    first, last = (scale["stops"][k]["settings"][0][1:] for k in (0, -1))
    assert first[beyond] == 0 and last[beyond] > 0.3
    text = index.write(tmp_path / "index.html", "x", shown, "explore.html", [], []).read_text()
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in text.split("<tr>") if "explore.html#" in row]
    value = COLUMNS.index("value")  # size, setting and steps stand before it
    assert [row[value] for row in (cells[0], cells[-1])] == [f"{first[3]:.4g}", f"{last[3]:.4g} (projection)"]
    assert index.amount(scale["stops"][-1]["budget"], "FLOPs") in text  # both ends are there


def test_an_exact_table_gives_the_best_of_the_law_it_follows(user_table):
    shown = answers(user_table, **QUICK)
    sizes, labels = SIZES, [model["label"] for model in shown["models"]]
    assert labels == list(SIZES) and shown["settings"][0]["sampler"] == "ddim"
    scale = shown["scales"][0]
    assert scale["stops"][-1]["budget"] == pytest.approx(max(SIZES.values()) * max(STEPS), rel=0.01)
    for stop in scale["stops"]:
        reached = {(m, s): law(n, s) for m, n in sizes.items() for s in range(2, 2000) if n * s <= stop["budget"]}
        model, steps = min(reached, key=reached.get)
        row = stop["candidates"][stop["model"]]
        assert labels[stop["model"]] == model
        assert row[3] == pytest.approx(reached[model, steps], rel=1e-3)


def test_what_is_drawn_is_what_the_library_draws(rows, shown):
    scale = shown["scales"][0]
    for setting, drawn in zip(shown["settings"], scale["shown"], strict=True):
        fit = sl.question(rows, where=setting["label"].replace(" ", ";")).fit(replicates=40)
        front = measured.frontier(fit.table, "fd")
        assert np.allclose(drawn["frontier"], front[["cost", "fd"]], rtol=1e-8)
        assert len(drawn["points"]) == len(measured.points(fit.table, "fd"))
        known = law_curves(fit, points=40, of="owned")
        assert np.allclose(np.concatenate([pairs for _, pairs in drawn["curves"]]), known[["x", "value"]], rtol=1e-8)


def test_sizes_of_one_label_are_told_apart():
    shown = answers(family().assign(model="unet"), **QUICK)
    assert len({model["label"] for model in shown["models"]}) == len(SIZES)
    assert shown["models"][0]["label"] == "unet (400000)"
    assert len({stop["model"] for stop in shown["scales"][0]["stops"]}) > 2


def test_colours_are_those_of_the_figures(shown):
    from matplotlib.colors import to_hex

    labels = [model["label"] for model in shown["models"]]
    figures = {label: to_hex(colour) for label, colour in plots.colours(labels).items()}
    assert {model["label"]: model["colour"] for model in shown["models"]} == figures


def test_budgets_in_money_are_those_in_seconds_at_the_price(user_table):
    fewer = QUICK | {"stops": 3}
    scales = {scale["key"]: scale for scale in answers(user_table, price=3600, **fewer)["scales"]}
    assert [stop["budget"] for stop in scales["money"]["stops"]] == [s["budget"] for s in scales["seconds"]["stops"]]
    assert not {"money", "money-decode"} & {scale["key"] for scale in answers(user_table, **fewer)["scales"]}


def test_a_setting_without_times_is_left_out_of_budgets_in_time(shown):
    scale = next(scale for scale in shown["scales"] if scale["key"] == "seconds")
    left_out = [k for k, drawn in enumerate(scale["shown"]) if drawn is None]
    assert len(scale["skipped"]) == len(left_out) > 0
    assert not {row[0] for stop in scale["stops"] for row in stop["settings"]} & set(left_out)


def test_a_table_without_any_cost_has_no_page(tmp_path):
    table = family().drop(columns=["flops_per_forward", "flops_per_image", "flops_decode", "seconds_per_image"])
    with pytest.raises(
        NoAnswer,
        match=r"No budget can be priced: A cost in flops .* needs the column .* such as gpu_ms, energy_j or gflops",
    ):
        answers(table, **QUICK)


def test_the_last_budget_buys_the_most_expensive_row():
    for study, settings in (("mei", {}), ("tiny-ldm", {"where": "sampler=ddim; guidance=1"})):
        shown = answers(study, **settings, **QUICK)
        for scale in shown["scales"]:
            points = scale["shown"][0]["points"]
            ends = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
            for point, stop in zip(ends, (scale["stops"][0], scale["stops"][-1]), strict=True):
                assert point[1] <= stop["budget"] <= 1.01 * point[1]
                assert point[0] in [row[0] for row in stop["candidates"]]


def test_a_law_of_size_alone_has_points_and_no_curves():
    shown = answers("mei", quality="fid", **QUICK)
    (scale, *_), drawn = shown["scales"], shown["scales"][0]["shown"][0]
    assert drawn["curves"] == [] and len(drawn["points"]) == 11 and scale["stops"]


# --- the pages


def test_the_page_is_one_valid_file_that_loads_nothing(explorer):
    page = check_page(explorer)
    assert [href for href in page.loads if not href.startswith("#")] == []
    controls = [known for tag, known in page.tags if tag in ("input", "select")]
    assert {known["id"] for known in controls} <= {known.get("for") for tag, known in page.tags if tag == "label"}
    assert "prefers-color-scheme: dark" in explorer.read_text() and explorer.stat().st_size < 300_000


def test_what_a_table_says_cannot_leave_the_data(tmp_path):
    table = family().assign(model=lambda t: t["model"] + "</script><img src=x>")
    path = site.explore(table, tmp_path / "x.html", title="<b>&", **QUICK)
    check_page(path)
    assert "<img src=x" not in path.read_text() and "&lt;b&gt;&amp;" in path.read_text()
    assert data_of(path)["models"][0]["label"].endswith("</script><img src=x>")


def test_images_are_found_by_model_and_steps(tmp_path):
    sheet = pictures.read_sheet(sheet_in(tmp_path))
    embedded = pictures.embedded(["c8", "c12"], {("c12", 50): sheet.path, ("other", 1): sheet.path}, [sheet])
    assert [(cell["model"], cell["steps"]) for cell in embedded["cells"]] == [(1, 50), (0, 4), (0, 16), (1, 4), (1, 16)]
    assert len(embedded["sources"]) == 2 and embedded["cells"][0]["box"] == [0, 0, 24, 12]
    boxes = dict(sheet.boxes())
    image = Image.open(sheet.path)
    for key, colour in zip(boxes, ((255, 0, 0), (0, 128, 0), (0, 0, 255), (0, 0, 0)), strict=True):
        left, top, width, height = boxes[key]
        inside = image.crop((left, top, left + width, top + height))
        assert key[1] != 4 or inside.getcolors() == [(48, colour)]
    assert pictures.embedded(["c99"], None, [sheet]) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"width": 800}, "cells reach to"), ({"tall": 3}, "give models, steps"), ({"steps": None}, "give models, steps")],
)
def test_a_grid_that_does_not_fit_is_refused(tmp_path, change, sentence):
    path = sheet_in(tmp_path)
    grid = json.loads(path.with_suffix(".json").read_text()) | change
    path.with_suffix(".json").write_text(json.dumps(grid))
    with pytest.raises(InputError, match=sentence):
        pictures.read_sheet(path)


def test_the_shipped_sheet_has_a_grid_that_covers_it():
    paths = pictures.beside(sl.studies.HERE.parent / "data" / "measurements" / "tiny-t2i.csv")
    assert {pictures.read_sheet(path).guidance for path in paths} == {1.0, 2.0}
    path = paths[0]
    sheet = pictures.read_sheet(path)
    *_, (_, (left, top, width, height)) = sheet.boxes()
    image = Image.open(path)
    assert (left + width + sheet.gap, top + height + sheet.gap) == image.size
    white = np.asarray(image.convert("L")) > 250
    for _, (left, top, width, height) in sheet.boxes():
        inside = white[top : top + height, left : left + width]
        assert not inside.all(axis=0).any() and not inside.all(axis=1).any()  # no margin within a cell
        assert white[top : top + height, left - 1].all()


def test_a_site_links_its_pages_and_says_what_it_left_out(user_table, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "names", lambda: ["sampling_efficiency", "unknown"])
    ran = []

    def report(name, given, out, top=""):
        ran.append(given)
        path = out / f"{name}.html"
        path.write_text(f'<!doctype html><html lang="en"><body>{top}<h1>A</h1></body></html>')
        return path

    monkeypatch.setattr(notebooks, "report", report)
    monkeypatch.setattr(notebooks, "known_parameters", lambda name: {"study": "x"} if name != "unknown" else {"n": 1})
    claims = tmp_path / "claims.csv"
    claims.write_text("claim,verdict,numbers\nSmall wins,holds,9 of 9\nLarge <wins>,undecided,-\n")
    made = site.build(user_table, tmp_path / "site", sheets=[sheet_in(tmp_path)], claims=claims, **QUICK)
    assert [page.name for page in made.pages] == ["explore.html", "sampling_efficiency.html"]
    for page in (made.index, *made.pages):
        for href in check_page(page).loads:
            assert href.startswith("#") or (made.index.parent / href.partition("#")[0]).exists(), href
    text = made.index.read_text()
    assert (
        "2 claims, 2 tests of them: 1 holds, 0 does not hold here, 1 undecided." in text
        and "Large &lt;wins&gt;" in text
    )
    assert made.left_out == (("notebook unknown", "It takes no table (no parameter 'study' among n)."),)
    assert "notebook unknown: It takes no table" in text and "Left out notebook unknown" in made.summary()
    assert entities.escape(index.middle(data_of(made.pages[0]))[1]["text"][0]) in text
    assert "Best setting" not in text  # there is one
    again = sl.read(ran[0]["study"])  # the rows as read, in the usual columns
    assert len(again) == len(family()) and "seconds_per_image" in again


def test_the_board_leads_back_and_shows_its_captions_whole(user_table, tmp_path, monkeypatch):
    monkeypatch.setattr(assemble.series, "published", list)  # the table's own series alone
    made = site.build(user_table, tmp_path, names=(), board=True, **QUICK)
    board = made.pages[-1]
    checked = check_page(board)
    assert board.name == "board.html" and "index.html" in checked.loads
    text = board.read_text()
    assert "initial-scale=1" in text and not re.search(r"figcaption\{[^}]*overflow:hidden", text)
    assert text.count("<table>") == text.count('<div class="scroll"') > 0 and "<th>" not in text


def test_notebooks_about_other_rows_are_left_out_in_the_words_of_the_table(user_table, tmp_path):
    made = site.build(user_table, tmp_path, names=["training_compute", "neighbours", "training_budget"], **QUICK)
    assert [page.name for page in made.pages] == ["explore.html"]
    assert [why for _, why in made.left_out] == [
        "It is about models along their training: the table has no train_flops.",
        "It is about several diffusion times: the table has no diffusion_time.",
        "It is about models along their training: the table has no train_images or tokens.",
    ]
    assert set(assemble.NEEDS) | set(assemble.COMPANIONS) <= set(notebooks.names())


def test_a_site_without_costs_has_an_index_that_says_so(tmp_path):
    table = family().drop(columns=["flops_per_forward", "flops_per_image", "flops_decode", "seconds_per_image"])
    made = site.build(table, tmp_path, names=(), **QUICK)
    check_page(made.index)
    assert made.pages == () and made.left_out[0][0] == "the interactive page"
    assert "No budget can be priced" in made.index.read_text()


def test_a_claim_heads_its_tests_and_what_was_not_measured_is_counted(tmp_path):
    claims = tmp_path / "claims.csv"
    rows = ["Small wins,a,holds,share 0.9", "Small wins,b,undecided,not measured: no table", "Large,a,undecided,0 to 1"]
    claims.write_text("\n".join(["claim,study,verdict,measure", *rows]))
    text = index.write(tmp_path / "index.html", "x", None, "", [], [], claims=index.read_claims(claims)).read_text()
    check_page(tmp_path / "index.html")
    assert "2 claims, 3 tests of them: 1 holds, 0 does not hold here, 2 undecided (1 of these not measured)." in text
    board, rests = text.split("<details>")
    assert rests.count("Small wins") == 1 and rests.index("Small wins") < rests.index("share 0.9") < rests.index(
        "Large"
    )
    both = pd.DataFrame(
        {"claim": "Small wins", "study": "a", "metric": ["fid", "kid"], "verdict": ["holds", "undecided"]}
    )
    again = index.write(tmp_path / "again.html", "x", None, "", [], [], claims=both).read_text()
    assert '<td class="">holds, undecided</td>' in again
    rows = [row for row in board.split("<tr>")[2:] if 'scope="row"' in row]
    assert [[verdict in row for verdict in ("holds", "undecided", "not measured")] for row in rows] == [
        [True, False, True],
        [False, True, True],
    ]


def test_a_verdict_is_one_of_three(tmp_path):
    claims = tmp_path / "claims.csv"
    claims.write_text("claim,verdict\nSmall wins,maybe\n")
    with pytest.raises(InputError, match="'maybe'; give one of holds, does not hold here, undecided"):
        index.read_claims(claims)
    claims.write_text("claim\nSmall wins\n")
    with pytest.raises(InputError, match="needs the column 'verdict'"):
        index.read_claims(claims)


def test_the_verb_builds_the_site_and_its_json_is_as_the_schema_says(said, user_table, tmp_path, monkeypatch):
    jsonschema = pytest.importorskip("jsonschema")
    asked = {}

    def build(source, out, **given):
        asked.update(given, source=source, out=out)
        return site.Site(tmp_path / "index.html", (tmp_path / "explore.html",), (("notebook x", "no rows"),))

    monkeypatch.setattr(site, "build", build)
    words = ("--where", "sampler=ddim", "--se", "fd_se", "--price", "2", "--json")
    code, out, _ = said("report", "--all", user_table, "--out", tmp_path, *words)
    schema = json.loads(said("schema", "report")[1])
    jsonschema.validate(json.loads(out), schema)
    assert code == 0 and json.loads(out)["left_out"] == [{"what": "notebook x", "why": "no rows"}]
    assert asked["source"] == str(user_table) and asked["where"] == {"sampler": "ddim"} and asked["price"] == "2"
    assert asked["se"] == "fd_se"
    code, _, err = said("report", "--all")
    assert code == 0 and asked["source"] == "tiny-ldm"
    asked["progress"]("notebook samplers")  # a site takes minutes: what is in work is named on the error stream
    assert said("schema", "report")[2] == "notebook samplers ...\n"
    code, _, err = said("report")
    assert code == 2 and "Name a notebook (" in err and "--all [TABLE]" in err


def test_a_site_names_each_page_before_it_is_made(user_table, tmp_path):
    begun = []
    site.build(user_table, tmp_path, names=["training_compute"], progress=begun.append, **QUICK)
    assert begun == ["the interactive page"]  # the notebook is refused, for want of its rows


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_of_a_site_needs_no_network(user_table, tmp_path):
    pytest.importorskip("papermill")
    made = site.build(user_table, tmp_path, names=["predict_size"], **QUICK)
    text = made.pages[1].read_text()
    assert not re.search(r"""<(script|link|img)\b[^>]*(src|href)=["'](https?:)?//|import\(["']http""", text)
    assert 'href="index.html"' in text and "Predicting a size that was not measured" in made.index.read_text()


def test_a_notebook_about_training_runs_on_the_training_rows_of_a_bundled_study():
    assert assemble._companion("training_compute", "tiny-ldm") == {"study": "tiny-ldm-training"}
    assert assemble._companion("training_budget", "tiny-ldm") == {"training": "tiny-ldm-training"}
    assert assemble._companion("training_compute", "runs.csv") == assemble._companion("guidance", "tiny-ldm") == {}
    assert set(assemble.COMPANIONS) <= set(notebooks.names())


def test_an_index_without_the_interactive_page_says_how_the_table_was_read(user_table, tmp_path):
    rows = sl.read(user_table).drop(columns=["flops_per_forward", "flops_per_image", "flops_decode", "gpu_s"])
    made = site.build(rows.rename(columns={"steps": "num_steps"}), tmp_path, names=(), **QUICK)
    text = made.index.read_text()
    assert "S = num_steps (read as sampling steps)" in text and f"{len(rows)} measurements, data" in text
    assert 'href="table.csv"' in text


def test_rows_that_no_law_takes_have_the_pages_that_are_about_them(tmp_path, monkeypatch):
    table = family().assign(train_flops=lambda t: 1e9 * t["params"] * (1 + t.index % 2), seed=0)
    rows = table.rename(columns={"params": "n_params"})
    asked = []

    def report(name, given, out, top=""):
        asked.append((name, given["quality"]))
        (out / f"{name}.html").write_text(top)
        return out / f"{name}.html"

    monkeypatch.setattr(notebooks, "report", report)
    monkeypatch.setattr(notebooks, "known_parameters", lambda name: {"study": "x", "quality": ""})
    mixed = pd.concat([rows, rows.assign(train_flops=rows["train_flops"] * 4)], ignore_index=True)
    mixed["fd"] *= 1 + 0.01 * (mixed.index % 3)
    made = site.build(mixed, tmp_path, names=["training_compute", "which_size"], **QUICK)
    assert asked == [("training_compute", "fd")] and [page.name for page in made.pages] == ["training_compute.html"]
    assert [what for what, _ in made.left_out] == ["the interactive page", "notebook which_size"]
    assert all("mix" in why and "train_flops" in why for _, why in made.left_out)
    with pytest.raises(InputError, match="values of train_flops"):
        site.build(mixed, tmp_path / "none", names=["which_size"], **QUICK)
    assert not (tmp_path / "none" / "table.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--all", "tiny-ldm", "-p", "budget=3"), "-p is for one notebook; with --all say --quality"),
        (("which_size", "--quality", "fd"), "--quality is for --all; a notebook takes parameters, -p NAME=VALUE: whi"),
        (("which_size", "--se", "fd_se"), "--se is for --all"),
    ],
)
def test_options_of_the_other_kind_of_report_are_refused(said, words, sentence):
    pytest.importorskip("papermill")
    code, _, err = said("report", *words)
    assert code == 2 and sentence in err


def test_a_parameter_may_be_empty(said, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(notebooks, "report", lambda name, known, out: given.update(known) or tmp_path / "x.html")
    assert said("report", "downstream_scaling", "-p", "variant=", "-p", "steps=")[0] == 0
    assert given == {"variant": "", "steps": ""}
    assert said("report", "downstream_scaling", "-p", "=8")[0] == 2


def test_a_page_whose_title_asks_has_no_full_stop_after_it(tmp_path):
    pages = [("a.html", "Do seconds follow FLOPs?", "They do."), ("b.html", "The board", "Forecasts.")]
    text = index.write(tmp_path / "index.html", "x", None, "", pages, []).read_text()
    assert "follow FLOPs?</a> They do.</li>" in text and "The board</a>. Forecasts.</li>" in text


def test_the_index_names_the_best_of_several_settings(rows, shown, tmp_path):
    text = index.write(tmp_path / "index.html", "x", shown, "explore.html", [], []).read_text()
    best = shown["settings"][index.middle(shown)[1]["setting"]]["label"]
    assert f"Best setting: {best}." in text
