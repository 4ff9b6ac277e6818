"""How much a reader has to hold in mind, counted: python -m benchmarks.readability [FOLDER]

FOLDER is a checkout of the project (default: this one), so that two versions can be compared. Counted per package:

modules     Python files
functions   and their median length in lines
one-use     private helpers (`_name`) used exactly once in their module
widest      most parameters of one function, `self` not counted
constants   upper-case names bound to a number at module level
glossary    uses of words of a retired private vocabulary (WORDS), identifiers and prose alike
"""

import ast
import re
import sys
from pathlib import Path
from statistics import median

# retired words; the standard term stands in docs/architecture.md
WORDS = (
    r"door|shelf|shelves|swaps?|swapped|foretold|foretell|told|honest(?:ly)?|tilts?|twist(?:s|ed)?|dearest|"
    r"endless samples|cold starts?|traps?|an image|a forward|creep(?:s|ing)?|HEAT|LAP|the house|rooms?|"
    r"sealed?|set aside|settled|lanes?|unasked|parted by|Trip|How|Bench|Bundle|Shelf|Card|pull|bend|bent"
)


def main(root):
    """Print one table row per package."""
    print(f"{'package':12} {'modules':>7} {'functions':>9} {'median':>6} {'one-use':>7} {'widest':>6} "
          f"{'constants':>9} {'glossary':>8}")  # fmt: skip
    for package in ("scalinglaws", "collect"):
        counts = count(Path(root) / package)
        print(f"{package:12} {counts['modules']:7} {counts['functions']:9} {counts['median']:6g} "
              f"{counts['one_use']:7} {counts['widest']:6} {counts['constants']:9} {counts['glossary']:8}")  # fmt: skip


def count(folder):
    """The counts of the modules below one folder."""
    texts = [path.read_text() for path in sorted(folder.rglob("*.py"))]
    trees = [ast.parse(text) for text in texts]
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return {
        "modules": len(texts),
        "functions": len(functions),
        "median": median(n.end_lineno - n.lineno + 1 for n in functions),
        "one_use": sum(one_use(tree) for tree in trees),
        "widest": max(width(n) for n in functions),
        "constants": sum(constants(tree) for tree in trees),
        "glossary": sum(len(re.findall(rf"\b(?:{WORDS})\b", text)) for text in texts),
    }


def one_use(tree):
    """Private functions of a module whose name is read exactly once in it."""
    private = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and re.match(r"_[a-z]", n.name)}
    reads = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name)]
    reads += [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    return sum(reads.count(name) == 1 for name in private)


def width(function):
    """Parameters of a function, `self` and `cls` not counted."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def constants(tree):
    """Upper-case names bound to one number at module level."""
    bound = [n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)]
    return sum(isinstance(n.value.value, int | float) and n.targets[0].id.isupper()
               for n in bound if isinstance(n.targets[0], ast.Name))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])
