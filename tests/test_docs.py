"""The documents hold: every command and snippet runs, every shown output is what is printed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import snippets

from scalinglaws import laws
from scalinglaws.cli import build

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "collect" / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^(scalinglaws .+?)(?:\s+[#>].*)?$", README + GUIDE, re.M)))
PAGES = sorted(p for p in DOCS.rglob("*.md") if not {"_build", "_generated", "gallery"} & set(p.parts))
FIGURES = sorted((DOCS / "figures").glob("plot_*.py"))
SLOW = ("tutorial/measure.md", "tutorial/plugin.md")  # sample from networks


def name(path):
    return str(path.relative_to(DOCS))


@pytest.mark.parametrize("page", [pytest.param(p, marks=[pytest.mark.slow] if name(p) in SLOW else []) for p in PAGES],
                         ids=name)  # fmt: skip
def test_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch):
    if name(page) in SLOW:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    shown = snippets.run(page, tmp_path)
    wrong = [f"{name(page)}:{block.line}: {fault}" for block, actual in shown
             for fault in snippets.differences(block.text, actual)]  # fmt: skip
    assert not wrong, "\n".join([*wrong, f"If the new output is right: python -m tests.snippets docs/{name(page)}"])


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES, ids=lambda p: p.stem)
def test_a_figure_of_the_gallery_draws(figure):
    subprocess.run([sys.executable, figure], check=True, env=snippets.shell_paths() | {"MPLBACKEND": "agg"})


def test_commands_that_no_page_runs_are_run_elsewhere():
    """Fences of other kinds hold no commands, but those of `sh`: make targets, which CI runs."""
    ci = (ROOT / ".ci" / "run").read_text()
    for page in PAGES:
        for block in snippets.blocks(page.read_text()):
            kind = block.kind.split()[0] if block.kind else ""
            assert kind in snippets.KINDS, f"{name(page)}:{block.line}: no test knows what to do with {kind!r}"
            if kind == "sh":
                for line in block.text.splitlines():
                    assert line.split("#")[0].strip() in ci, f"{name(page)}:{block.line}: {line!r} is not run by CI"


def test_the_comparison_of_outputs_sees_what_matters():
    table = "model  value\nc8  1.000\n"
    assert not snippets.differences(table, "model    value\nc8 1.01\n\n")
    assert snippets.differences(table, "model value\nc8 1.1\n")
    assert snippets.differences(table, "model value\nc9 1.0\n")
    assert snippets.differences(table, table + "Warning: one more\n")
    assert not snippets.differences("...\nc8 1\n...\n", table + "Warning: one more\n")
    assert not snippets.differences("hash ...\n", "hash 0af\n") and snippets.differences("hash ...\n", "dash 0af\n")


def test_the_site_asks_nothing_of_the_network():
    """No page, style or setting names a file on another machine."""
    texts = [p.read_text() for p in (*PAGES, *DOCS.rglob("_static/*.css"), DOCS / "conf.py")]
    assert not re.findall(r"(?:src=|url\(|@import|mathjax_path).{0,10}https?://", "".join(texts))


def test_readme_commands_are_those_of_the_command_line():
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        if words[0] == "collect":
            pytest.importorskip("torch")
        assert callable(build(words).parse_args(words).run), command


def test_readme_python_runs():
    for code in re.findall(r"```python\n(.+?)```", README, re.S):
        exec(compile(code, "README.md", "exec"), {})


def test_readme_lists_every_law_with_its_equation():
    listed = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", README, re.M))
    assert listed == {law.name: law.equation for law in laws.LAWS.values()}


def test_the_guides_table_of_samplers_is_the_table_of_samplers():
    samplers = pytest.importorskip("collect.sampling.samplers").SAMPLERS
    listed = re.findall(r"^\| `([\w+]+)` \| .+? \| (\S+) \| (\d).*? \| (yes|no) \|$", GUIDE, re.M)
    rows = [(name, f"{s.order or '-'}", str(s.calls), "yes" if s.flow else "no") for name, s in samplers.items()]
    assert listed == rows


def test_the_guides_sweeps_and_family_are_valid_but_for_their_places():
    config = pytest.importorskip("collect.config")
    import yaml

    from collect.config.families import CheckpointFamilyFile
    from collect.config.sweeps import SweepFile

    assert config
    family, sweep, text_sweep = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.+?)```", GUIDE, re.S))
    assert len(CheckpointFamilyFile(**family).models) == 3
    assert SweepFile(**sweep).seeds == [0, 1]
    assert SweepFile(**text_sweep).models == ["c8", "c16", "c16-s1"]


def test_readme_names_the_make_targets_and_the_makefile_has_them():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "lab"):
        assert f"make {target}" in README and f"\n{target}:" in makefile


def test_the_json_page_has_every_command_and_field():
    sys.path.insert(0, str(DOCS))
    import json_page

    schema = json.loads((ROOT / "scalinglaws" / "answers.schema.json").read_text())
    page = json_page.tables(schema)
    for command, definition in schema["$defs"].items():
        assert f"## {command}\n" in page
        assert all(f"| `{field}` |" in page for field in definition.get("properties", ()))
