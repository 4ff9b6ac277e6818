"""The notebooks: thin, stored bare, and run end to end by the runner, which refuses typos."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from synthetic import family
from test_accounting import study as priced_study
from test_best_guidance import study as guided_study
from test_training_trend import runs as training_runs

from scalinglaws import notebooks, studies
from scalinglaws.cli import main
from scalinglaws.decide.accounting import which_size
from scalinglaws.decide.best_guidance import best_guidance
from scalinglaws.decide.training_budget import training_budget
from scalinglaws.decide.training_trend import training_trend
from scalinglaws.schema import InputError, NoAnswer

pytest.importorskip("papermill")
NAMES = notebooks.names()
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    second = family(noise=0.02, sampler="dpm++2m").assign(fd=lambda t: 0.9 * t["fd"])
    pd.concat([family(noise=0.02), second]).to_csv(path, index=False)
    return str(path)


def cells(name):
    return nbformat.read(notebooks._find(name), 4).cells


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_thin_and_stored_bare(name):
    code = [c for c in cells(name) if c.cell_type == "code"]
    assert all(not c.outputs and c.execution_count is None for c in code)
    assert all(len(c.source.splitlines()) <= 15 for c in code)
    assert not any(re.search(r"^\s*(def|class) ", c.source, re.M) for c in code)
    assert sum("parameters" in c.metadata.get("tags", ()) for c in code) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_package_is_all_that_a_notebook_imports(name):
    lines = [line for c in cells(name) if c.cell_type == "code" for line in c.source.splitlines()]
    imported = {line.strip() for line in lines if re.match(r"\s*(import|from)\b", line)}
    assert all(re.match(r"(import|from) scalinglaws\b|from IPython.display import", line) for line in imported)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_sentence_of_a_notebook_is_whole(name):
    sentence = notebooks.title(name)[1]
    assert len(sentence.split()) > 5 and sentence[-1] in ".?" and not sentence.endswith("et al.")


@pytest.mark.parametrize("name", NAMES)
def test_headings_state_no_result_since_tables_differ(name):
    headings = re.findall(r"^#+ .+$", "\n".join(c.source for c in cells(name) if c.cell_type == "markdown"), re.M)
    assert not [h for h in headings if re.search(r"\b(favours|grows? with|is flat|is best)\b(?!.*\bwhich\b)", h)]


def test_the_figures_of_guidance_in_an_interval_say_at_which_guidance():
    code = "\n".join(c.source for c in cells("guidance") if c.cell_type == "code")
    assert 'effect.plot().set_title(f"guidance {weight:g}")' in code and 'display(f"' not in code


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_read(name):
    source = next(c.source for c in cells(name) if "parameters" in c.metadata.get("tags", ()))
    assert list(notebooks.known_parameters(name)) == re.findall(r"^(\w+) = ", source, re.M)


def test_there_are_three():
    assert {"sampling_efficiency", "predict_size", "training_budget"} <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("predict_sizes", {}, "No notebook named 'predict_sizes'. Known notebooks: compute_surface"),
        ("predict_size", {"studdy": "mei"}, "has no parameter 'studdy'. Known parameters: study='tiny-ldm', quality"),
        ("predict_size", {"level": "much"}, "Parameter level='much': give a number, such as 0.9"),
        ("predict_size", {"study": "emd2"}, "No file or study named 'emd2'"),
    ],
)
def test_typos_are_refused_before_anything_runs(tmp_path, name, parameters, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        notebooks.report(name, parameters, tmp_path)


def test_without_papermill_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "papermill", None)
    assert main(["report", "predict_size"]) == 2
    assert 'pip install "scalinglaws[notebooks]"' in capsys.readouterr().err


@QUIET
def test_a_report_says_what_the_library_says(tmp_path):
    where = "family=EDM2 img512 no guidance"
    path = notebooks.report("predict_size", {"study": "edm2", "where": where}, tmp_path)
    page = path.read_text()
    assert "EDM2-XXL" in page and "1.909" in page and "scalinglaws 0" in page and "data 2611" in page
    assert "overflow-wrap: anywhere; }</style></head>" in page and not re.search(r"<td>[\d.]+\.\d{6}</td>", page)
    assert "sl.ask(" not in page and "image/png" in page and "<svg" not in page
    assert "<title>Predicting a size that was not measured</title>" in page
    assert re.search(
        r'<a href="predict_size-1.svg"><img alt="The held-out size, predicted and measured"[^>]*></a>', page
    )
    figures = {kind: sorted(tmp_path.glob(f"predict_size-*.{kind}")) for kind in ("png", "svg")}
    assert len(figures["png"]) == len(figures["svg"]) == page.count('src="data:image/png') > 0
    assert figures["png"][0].read_bytes()[:4] == b"\x89PNG" and "<svg" in figures["svg"][0].read_text()


@QUIET
def test_a_fault_inside_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"^The table has 7 families|^.*has 7 families; a law is fitted within one"):
        notebooks.report("predict_size", {"study": "edm2"}, tmp_path)
    assert not list(tmp_path.iterdir())  # no notebook executed in part


@QUIET
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sampling_efficiency", "predict_size"])
@pytest.mark.parametrize("unit", ["flops", "seconds"])
def test_every_notebook_runs_on_a_measured_family(name, unit, runs, tmp_path):
    budget, shown = {"flops": ("1e8", "1e+08 FLOPs"), "seconds": ("10ms", "0.01 s")}[unit]
    path = notebooks.report(name, {"study": runs, "unit": unit, "budget": budget}, tmp_path)
    assert re.search(rf"steps(, .*,)? for {re.escape(shown)} per image", path.read_text())


@QUIET
@pytest.mark.slow
def test_the_training_budget_closes_with_the_answer_of_its_fit(tmp_path):
    path = notebooks.report("training_budget", {"unique": "60000"}, tmp_path)
    code = [c for c in nbformat.read(tmp_path / "training_budget.ipynb", 4).cells if c.cell_type == "code"]
    found = training_budget("tiny-ldm", unique=60000)
    assert code[-1].outputs[0].data["text/markdown"] == found.answer and found.answer.count(". ") == 1
    figures = [o for c in code for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(figures) == 4 and "epochs" in path.read_text()


@QUIET
@pytest.mark.slow
def test_a_training_study_of_ones_own_and_a_quality_out_of_reach(tmp_path):
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e6, 1e8, 6)))
    table = pd.DataFrame({"model": n.astype(int).astype(str), "params": n, "train_images": d})
    table = table.assign(fid=2 + 1e3 * n**-0.4 + 4e3 * d**-0.4)
    table.to_csv(tmp_path / "runs.csv", index=False)
    given = {"study": str(tmp_path / "runs.csv"), "budget": "1e17 FLOPs", "wanted": "1.5"}
    page = notebooks.report("training_budget", given, tmp_path).read_text()
    assert re.search(r"A training budget of 1e\+17 \(.*6 x params x data\) is best spent on params", page)
    assert "No size reaches fid 1.5" in page


@QUIET
@pytest.mark.slow
def test_the_best_guidance_closes_with_the_answer_of_its_law(tmp_path):
    table = guided_study()
    table.to_csv(tmp_path / "runs.csv", index=False)
    path = notebooks.report("guidance", {"study": str(tmp_path / "runs.csv")}, tmp_path)
    code = [c for c in nbformat.read(tmp_path / "guidance.ipynb", 4).cells if c.cell_type == "code"]
    assert code[-1].outputs[0].data["text/markdown"] == best_guidance(table).answer
    figures = [o for c in code for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(figures) == 4 and "exponent of steps" in path.read_text()


@QUIET
@pytest.mark.slow
def test_the_training_compute_closes_with_the_answer_of_its_laws(tmp_path):
    table = training_runs(0.2)
    table.to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report("training_compute", {"study": str(tmp_path / "runs.csv"), "least": "250"}, tmp_path)
    code = [c for c in nbformat.read(tmp_path / "training_compute.ipynb", 4).cells if c.cell_type == "code"]
    assert code[-1].outputs[0].data["text/markdown"] == training_trend(table, least=250).answer
    assert len([o for c in code for o in c.outputs if "image/png" in o.get("data", {})]) == 2


@QUIET
@pytest.mark.slow
def test_which_size_closes_with_the_answer_of_its_accounts(tmp_path):
    table = priced_study(0.05, guided=True)
    table.to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report("which_size", {"study": str(tmp_path / "runs.csv"), "served": "1e5"}, tmp_path)
    code = [c for c in nbformat.read(tmp_path / "which_size.ipynb", 4).cells if c.cell_type == "code"]
    assert code[-1].outputs[0].data["text/markdown"] == which_size(table, served=(1e3, 1e5)).answer
    assert len([o for c in code for o in c.outputs if "image/png" in o.get("data", {})]) == 1


def test_readme_lists_every_notebook():
    readme = (studies.HERE.parent / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Notebooks") : readme.index("## Laws")]
    assert sorted(line.split("`")[1] for line in section.splitlines() if line.startswith("| `")) == notebooks.names()


@QUIET
@pytest.mark.slow
def test_a_table_without_cost_is_refused_in_a_sentence(tmp_path):
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 6)))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": 2 + 400 * n**-0.34 + 400 * d**-0.28})
    table.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(NoAnswer, match=r"There is no cost to draw against\. No optimum: a budget per image chooses"):
        notebooks.report("sampling_efficiency", {"study": str(tmp_path / "runs.csv")}, tmp_path)


@QUIET
@pytest.mark.slow
def test_samplers_are_compared_in_the_unit_that_is_measured(tmp_path):
    table = pd.concat([family(noise=0.01), family(noise=0.01, sampler="ddpm")]).drop(
        columns=["flops_per_forward", "flops_per_image", "flops_decode"])  # fmt: skip
    table.to_csv(tmp_path / "runs.csv", index=False)
    page = notebooks.report("samplers", {"study": str(tmp_path / "runs.csv"), "quality": "fd"}, tmp_path).read_text()
    assert re.search(r"from [\d.]+ to [\d.]+ s per image", page) and "budget per image (FLOPs)" not in page
