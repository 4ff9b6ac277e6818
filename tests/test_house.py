"""The house: imports flow one way between rooms and between modules; the base never needs torch."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "diffusers", "transformers", "collect"}


def modules(package):
    """{dotted name: path} of a package's modules; a package's own name is its __init__."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path, known):
    """Names of what a module imports anywhere in it, functions included; a module where `known` has it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            both = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in both)


def room(name):
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("package", ["scalinglaws", "collect"])
@pytest.mark.parametrize("level", [str, room], ids=["modules", "rooms"])
def test_imports_flow_one_way(package, level):
    known, graph = modules(package), {}
    for name, path in known.items():
        inner = {level(n) for n in imported(path, known) if n in known and n != package}
        graph.setdefault(level(name), set()).update(inner - {level(name)})
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports go round: {' -> '.join(error.args[1])}")
    assert len(order) > 15


def test_the_analysis_needs_nothing_heavy_and_collect_shares_only_the_schema():
    for name, path in modules("scalinglaws").items():
        assert not {n.split(".")[0] for n in imported(path, {})} & HEAVY, name
    known = modules("scalinglaws")
    used = {n for path in modules("collect").values() for n in imported(path, known)}
    shared = {name for name in used if name.split(".")[0] == "scalinglaws"}
    assert shared <= {"scalinglaws.schema", "scalinglaws.measurements"}, shared
