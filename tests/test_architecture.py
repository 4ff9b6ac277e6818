"""Imports go down the lists of docs/architecture.md, module by module; the analysis never needs torch."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ORDERS = {name: re.findall(r"^(\S+)", lines, re.M)
          for name, lines in re.findall(r"^### (\S+)\n\n```text\n(.+?)^```", PAGE, re.S | re.M)}  # fmt: skip
HEAVY = {"torch", "diffusers", "transformers", "collect"}
SHARED = {"scalinglaws.schema", "scalinglaws.measurements", "scalinglaws.cells"}
ASKS = {"collect.run.adaptive": "scalinglaws.decide.design"}  # what to measure next is the analysis's to say


def modules(package):
    """{dotted name: path} of a package's modules; a package's own name is its __init__."""
    paths = {}
    for path in (ROOT / package.replace(".", "/")).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def imported(text, known):
    """Names of what a module's text imports anywhere in it, functions included; a module where `known` has it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            both = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in both)


def entry(name, package):
    """The line of a package's list that a module belongs to; the package's own __init__ is its own name."""
    rest = name.removeprefix(package).lstrip(".")
    return rest.split(".")[0] or package


def upward(package, texts):
    """(importing module, imported module) of every import that goes up the package's list, or sideways in it."""
    order = ORDERS[package]
    for name, text in texts.items():
        for other in set(imported(text, texts)) & set(texts):
            one, two = entry(name, package), entry(other, package)
            if one != two and order.index(two) < order.index(one):
                yield name, other


def texts_of(package):
    texts = {name: path.read_text() for name, path in modules(package).items()}
    if package not in ORDERS[package]:  # an __init__ that only hands names on
        texts.pop(package)
    return texts


@pytest.mark.parametrize("package", ORDERS)
def test_imports_go_down_the_list(package):
    assert list(upward(package, texts_of(package))) == []


@pytest.mark.parametrize("package", ORDERS)
def test_every_module_is_on_the_list_and_nothing_else(package):
    assert {entry(name, package) for name in texts_of(package)} == set(ORDERS[package])


def test_an_import_that_goes_up_is_noticed():
    texts = texts_of("scalinglaws.decide")
    texts["scalinglaws.decide.cost"] += "\ndef late():\n    from scalinglaws.decide.optimum import optimum\n"
    assert list(upward("scalinglaws.decide", texts)) == [("scalinglaws.decide.cost", "scalinglaws.decide.optimum")]


@pytest.mark.parametrize("package", ["scalinglaws", "collect"])
def test_no_modules_import_each_other(package):
    known, graph = modules(package), {}
    for name, path in known.items():
        graph[name] = {other for other in imported(path.read_text(), known) if other in known and other != name}
    try:
        assert len(list(TopologicalSorter(graph).static_order())) > 30
    except CycleError as error:
        pytest.fail(f"imports go round: {' -> '.join(error.args[1])}")


def test_the_analysis_needs_nothing_heavy_and_collect_shares_only_rows():
    for name, path in modules("scalinglaws").items():
        assert not {n.split(".")[0] for n in imported(path.read_text(), {})} & HEAVY, name
    known = modules("scalinglaws")
    used = {n for name, path in modules("collect").items() for n in imported(path.read_text(), known)
            if ASKS.get(name) != n}  # fmt: skip
    shared = {name for name in used if name.split(".")[0] == "scalinglaws"}
    assert shared <= SHARED, shared


def test_the_page_names_files_that_exist():
    named = set(re.findall(r"`((?:scalinglaws|collect|tests|notebooks|docs)/[\w./]+)`", PAGE)) - {
        "notebooks/NAME.ipynb"
    }
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).exists()] == []
