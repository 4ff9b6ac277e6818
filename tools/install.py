"""Set up .venv in steps, with the standard library alone: `python3 tools/install.py base|demo|test|docs|lab`.

Every target is a set of the package's extras; what is there already is not installed again. `uv` does the work where
it is found and pip is not configured (uv does not read pip's mirrors and local wheels), else pip. On Linux without an
NVIDIA GPU torch comes from PyTorch's index of CPU wheels: gigabytes less. All output goes to .venv/install.log and is
shown only where something failed. Ctrl-C is safe anywhere: a run after it goes on from there.

Nothing is compiled to bytecode here: Python does that for the modules that are imported, a few of the 20,000 installed.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
TESTED = (
    "torch, diffusers, transformers.models.clip, ray, torchmetrics, statsmodels.api, seaborn, hypothesis, papermill"
)
TARGETS = {  # name: (extras, what the user reads)
    "base": ((), "numpy, scipy, pandas, statsmodels, seaborn"),
    "demo": (("collect", "reports"), "torch, diffusers, transformers, papermill"),
    "test": (("collect", "reports", "dev"), "torch, diffusers, transformers, papermill, pytest, ray"),
    "docs": (("collect", "docs"), "torch, diffusers, transformers, Sphinx"),
    "lab": (("collect", "notebooks"), "torch, diffusers, transformers, JupyterLab"),
}
START = time.monotonic()


class Failed(Exception):
    """A step of the installation ended with an error; the text is for the user."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--venv", default=".venv", type=Path, help="the environment's folder (default: .venv)")
    parser.add_argument("--not-editable", action="store_true", help="install a copy, as from PyPI")
    args = parser.parse_args(argv)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        set_up(args.venv.absolute(), args.target, editable=not args.not_editable)
    except KeyboardInterrupt:
        say("Stopped. What is installed stays; the same command goes on from here.")
        return 130
    except Failed as error:
        say(str(error))
        return 1
    return 0


def set_up(venv, target, editable=True):
    """Install the target's extras into `venv`, unless they are there with the same pins."""
    if sys.version_info < (3, 11):  # noqa: UP036, the user's Python is any
        raise Failed(f"scalinglaws needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.x")
    extras, words = TARGETS[target]
    state = read_state(venv)
    if state is not None and set(extras) <= set(state):
        return
    venv.mkdir(parents=True, exist_ok=True)
    log, unfinished = venv / "install.log", venv / ".unfinished"
    if unfinished.exists():
        remove_half_installed(venv)
    unfinished.touch()
    install = installer(venv, log)
    wanted = sorted({*extras, *(state or ())})
    if "collect" in wanted:
        install_torch(venv, install, log)
    package = str(ROOT) + (f"[{','.join(wanted)}]" if wanted else "")
    step(f"Installing {words}", [*install, *(["-e"] if editable else []), package], log)
    if "dev" in wanted:
        step("Compiling what the tests import", [str(venv / "bin" / "python"), "-c", f"import {TESTED}"], log)
    write_state(venv, wanted)
    unfinished.unlink()
    say(f"Installed in {time.monotonic() - START:.0f} s.")


def installer(venv, log):
    """The command that installs, as a list of words; creates the environment if there is none."""
    python, uv = venv / "bin" / "python", shutil.which("uv")
    options = ["-c", str(CONSTRAINTS), *shlex.split(os.environ.get("PIP_ARGS", ""))]
    if uv and not pip_is_configured():
        if not python.exists():
            step("Creating the environment with uv", [uv, "venv", "--quiet", "--allow-existing", str(venv)], log)
        return [uv, "pip", "install", "--python", str(python), *options]
    if not python.exists() or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        step("Creating the environment", [sys.executable, "-m", "venv", str(venv)], log)
    return [str(python), "-m", "pip", "install", "--progress-bar=off", "--no-compile", *options]


def install_torch(venv, install, log):
    """torch first: without a GPU from the index of CPU wheels if that answers, else from where all else comes from."""
    if list(venv.glob("lib/python*/site-packages/torch-*.dist-info")):
        return
    where = []
    if sys.platform == "linux" and not gpu() and "PIP_ARGS" not in os.environ and not pip_is_configured():
        if answers(CPU_WHEELS + "/torch/"):
            where = ["--torch-backend=cpu"] if install[1:2] == ["pip"] else ["--extra-index-url", CPU_WHEELS]
        else:
            say(f"No GPU here, but {CPU_WHEELS} does not answer: torch comes with CUDA, which is gigabytes.")
    step("Installing torch" + (" without CUDA, there is no GPU" if where else ""), [*install, *where, "torch"], log)


def gpu():
    """Whether this machine has an NVIDIA GPU that a driver knows."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def pip_is_configured():
    """Whether pip's settings name package sources of this machine's own: they are then used as they are."""
    if any(os.environ.get(f"PIP_{name}") for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX")):
        return True
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    return bool(re.search(r"^(?:\w+|:env:)\.(?:index-url|extra-index-url|find-links|no-index)=", listed, re.M))


def answers(url, seconds=5):
    """Whether a web address answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
            return True
    except OSError:
        return False


def step(words, command, log):
    """Run one command with its output in the log, and say how long it takes; shows the log's end if it fails."""
    began, live = time.monotonic(), sys.stdout.isatty()
    say(f"{words} ...", end="" if live else "\n")
    with log.open("a") as out:
        out.write(f"\n$ {shlex.join(command)}\n")
        out.flush()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                try:
                    process.wait(1)
                except subprocess.TimeoutExpired:
                    if live:
                        say(f"{words} ... {time.monotonic() - began:.0f} s", start="\r", end="")
        except KeyboardInterrupt:
            process.wait()  # the terminal has sent it the same signal
            print()
            raise
    if live:
        print()
    if process.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith("WARNING")]
        raise Failed("\n".join([*lines[-15:], f"That failed; everything it said is in {log}. Mend it and run again."]))


def remove_half_installed(venv):
    """Forget packages whose installation was cut: their metadata is there, but not the RECORD that comes last."""
    for folder in venv.glob("lib/python*/site-packages/*.dist-info"):
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)


def read_state(venv):
    """The extras installed with today's pins, or None."""
    try:
        state = json.loads((venv / "installed.json").read_text())
    except (OSError, ValueError):
        return None
    return state["extras"] if state["pins"] == pins() else None


def write_state(venv, extras):
    """Written whole or not at all, so that Ctrl-C leaves no half stamp."""
    part = venv / "installed.part"
    part.write_text(json.dumps({"pins": pins(), "extras": extras}))
    part.replace(venv / "installed.json")


def pins():
    """A hash of what decides the versions."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()


def say(text, start="", end="\n"):
    print(f"{start}{text}", end=end, flush=True)


if __name__ == "__main__":
    sys.exit(main())
