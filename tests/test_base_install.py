"""The base install needs no torch: proven by a process in which the extras cannot be imported."""

import json
import subprocess
import sys

import scalinglaws

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in "torch diffusers safetensors pydantic yaml rich papermill collect".split():
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""
EDM2 = ["fit", "edm2", "--where", "family=EDM2 img512 no guidance", "--law", "power_floor", "--quality", "fid"]
EDM2 += ["--inputs", "N=gflops_per_forward", "--loss", "squares", "--json"]


def test_fits_from_the_command_line_without_torch():
    code = f"{BLOCKED}\nfrom scalinglaws.cli import main\nsys.exit(main({EDM2!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)["values"]
    assert round(values["E"], 4) == 1.7395 and round(values["A"], 2) == 66.74 and round(values["a"], 4) == 0.9459


def test_importing_the_package_imports_neither_matplotlib_nor_statsmodels():
    heavy = ("matplotlib", "seaborn", "statsmodels", "scipy.optimize", "scipy.stats", "collect", "torch")
    code = f"import sys, scalinglaws; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tab_completion_shows_the_public_names_alone():
    assert dir(scalinglaws) == sorted(scalinglaws.__all__) == scalinglaws.__all__
    assert all(hasattr(scalinglaws, name) for name in scalinglaws.__all__)


def test_collect_without_its_extra_says_what_to_install():
    code = f"{BLOCKED}\nfrom scalinglaws.cli import main\nsys.exit(main(['collect', 'family', 'mei']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "scalinglaws[collect]" in done.stderr and "Traceback" not in done.stderr
