"""The documents hold: README's commands parse, its Python runs, its table of laws is the table of laws."""

import re
import shlex
from pathlib import Path

import pytest

from scalinglaws import laws
from scalinglaws.cli import build

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "collect" / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^(scalinglaws .+?)(?:\s+[#>].*)?$", README + GUIDE, re.M)))


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_commands_parse(command):
    words = shlex.split(command)[1:]
    if words[0] == "collect":
        pytest.importorskip("torch")
    assert callable(build(words).parse_args(words).run)


def test_readme_python_runs():
    (code,) = re.findall(r"```python\n(.+?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})


def test_readme_lists_every_law_with_its_equation():
    listed = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", README, re.M))
    assert listed == {law.name: law.equation for law in laws.LAWS.values()}


def test_the_guides_table_of_samplers_is_the_table_of_samplers():
    samplers = pytest.importorskip("collect.sampling.samplers").SAMPLERS
    listed = re.findall(r"^\| `([\w+]+)` \| .+? \| (\S+) \| (\d).*? \| (yes|no) \|$", GUIDE, re.M)
    rows = [(name, f"{s.order or '-'}", str(s.calls), "yes" if s.flow else "no") for name, s in samplers.items()]
    assert listed == rows


def test_the_guides_sweep_and_shelf_are_valid_but_for_their_places():
    settings = pytest.importorskip("collect.settings")
    import yaml

    shelf, sweep = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.+?)```", GUIDE, re.S))
    assert len(settings.ShelfFile(**shelf).models) == 3
    assert settings.SweepFile(**sweep).seeds == [0, 1]


def test_readme_names_both_make_targets_and_the_makefile_has_them():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "lab"):
        assert f"make {target}" in README and f"\n{target}: " in makefile
