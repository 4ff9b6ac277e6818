"""Runs a page of the documents as its reader would: top to bottom, in an empty folder.

    ```python     runs; the pages' snippets share their names; a ```text block right after it is what it prints
    ```console    `$ command` lines run in bash, what stands below one is what it prints
    ```sh          make targets, which CI runs
    ```{code-block} yaml
    :caption: sweep.yaml      a block with a caption is a file that the reader saves

Printed numbers may differ by 2 % (other machines round otherwise); a line `...` stands for any lines.
`python -m tests.snippets PAGE...` writes what the commands print now into the pages.
"""

import contextlib
import io
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\S*|\{[\w-]+\}[^\n]*)\n(.*?)^```$", re.M | re.S)
CAPTION = re.compile(r"^:caption: (\S+)$", re.M)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
TOLERANCE = 0.02
KINDS = (
    "python",
    "text",
    "console",
    "sh",
    "yaml",
    "{code-block}",
    "{literalinclude}",
    "{toctree}",
    "{include}",
    "{eval-rst}",
)
SECONDS = 300  # a page's command may take, on a busy machine


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str  # python, console, text, {code-block} yaml, ...
    text: str
    line: int
    span: tuple[int, int]  # of the text, in the page


def blocks(page: str) -> list[Block]:
    """Every fenced block, in order."""
    return [Block(m[1].strip(), m[2], page.count("\n", 0, m.start()) + 1, m.span(2)) for m in FENCE.finditer(page)]


def run(path: Path, folder: Path) -> list[tuple[Block, str]]:
    """Run the page in `folder`. Returns (block, what it should hold now) of every block that shows output."""
    names, shown, printed = {"__name__": "__main__"}, [], None
    environment = shell_environment(folder)
    for block in blocks(path.read_text()):
        if caption := CAPTION.search(block.text):
            (folder / caption[1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / caption[1]).write_text(file_of(block, path))
        elif block.kind == "python":
            printed = run_python(block, path, names)
            continue
        elif block.kind == "text" and printed is not None:
            shown.append((block, printed))
        elif block.kind == "console":
            shown.append((block, run_console(block, path, folder, environment)))
        printed = None
    return shown


def file_of(block, path):
    """The content of a captioned block: its text, or the file that it includes."""
    if block.kind.startswith("{literalinclude}"):
        return (path.parent / block.kind.split(maxsplit=1)[1]).read_text()
    return re.sub(r"\A(?::[\w-]+:.*\n)+\n?", "", block.text)


def run_python(block, path, names):
    """What the snippet prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * block.line + block.text, str(path), "exec"), names)
    return out.getvalue()


def run_console(block, path, folder, environment):
    """The block with what its commands print now."""
    lines = []
    for command in commands(block.text):
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)  # fmt: skip
        expected = 2 if "# exit code 2" in command else 0
        if done.returncode != expected:
            raise AssertionError(f"{path.name}:{block.line}: {command!r} ended with {done.returncode}: {done.stdout}")
        lines += [*prompted(command), *done.stdout.splitlines()]
    return "\n".join(lines) + "\n"


def commands(text):
    """The commands of a console block; one that ends with a backslash goes on below."""
    return [m[1].replace("\n> ", "\n") for m in re.finditer(r"^\$ (.*(?:\\\n> .*)*)$", text, re.M)]


def prompted(command):
    return ("$ " + command.replace("\n", "\n> ")).splitlines()


def shell_environment(folder):
    """PATH with this checkout's `scalinglaws`, and a `pip` that installs into a folder of the test's own, offline."""
    bin_, site = folder / ".bin", folder / ".site"
    bin_.mkdir()
    python = sys.executable
    scripts = {
        "scalinglaws": f'exec "{python}" -m scalinglaws.cli "$@"',
        "pip": f'shift; exec "{python}" -m pip install -q --no-deps --no-build-isolation --no-index '
        f'--target "{site}" "$@"',
    }
    for name, text in scripts.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    paths = {"PATH": f"{bin_}:{Path(python).parent}:{os.environ['PATH']}"}
    return shell_paths(site) | paths | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "COLUMNS": "120", "NO_COLOR": "1"}


def shell_paths(*folders):
    """The environment in which Python finds this checkout, after the folders."""
    return os.environ | {"PYTHONPATH": ":".join(map(str, (*folders, ROOT)))}


def differences(expected: str, actual: str) -> list[str]:
    """Expected lines that were not printed, in order; blank lines and the width of gaps do not count."""
    lines = iter([line for line in actual.splitlines() if line.strip()])
    wrong, loose = [], False
    for line in expected.splitlines():
        if line.strip() == "...":
            loose = True
            continue
        if not line.strip():
            continue
        found = next((one for one in lines if same(line, one)), None) if loose else next(lines, None)
        if found is None or not same(line, found):
            wrong.append(f"expected {line.strip()!r}, got {'nothing' if found is None else repr(found.strip())}")
        loose = False
    rest = [] if loose else list(lines)
    return wrong + [f"not expected: {line.strip()!r}" for line in rest]


def same(expected, actual):
    """Whether two lines agree: the same words, and numbers within the tolerance; `...` stands for anything."""
    if "..." in expected:
        return re.fullmatch(
            ".*".join(map(re.escape, " ".join(expected.split()).split("..."))), " ".join(actual.split())
        )
    one, other = (
        [NUMBER.sub("#", " ".join(t.split())), [float(n) for n in NUMBER.findall(t)]] for t in (expected, actual)
    )
    return one[0] == other[0] and all(
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9) for a, b in zip(one[1], other[1], strict=True)
    )


def rewrite(path: Path) -> None:
    """Write what is printed now into the page; blocks with `...` stay as they are."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shown = run(path, Path(folder))
        os.chdir(here)
    page = path.read_text()
    for block, actual in reversed(shown):
        if not re.search(r"^\.\.\.$", block.text, re.M):
            page = page[: block.span[0]] + actual.rstrip("\n") + "\n" + page[block.span[1] :]
    path.write_text(page)


if __name__ == "__main__":
    import matplotlib

    matplotlib.use("agg")
    for name in sys.argv[1:]:
        rewrite(Path(name).resolve())
