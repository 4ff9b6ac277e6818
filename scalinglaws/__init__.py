"""Scaling laws of generative models: which size, how many steps, for the budget I have."""

from importlib.metadata import PackageNotFoundError, version

from scalinglaws import studies
from scalinglaws.answer import ask
from scalinglaws.decide.crossover import crossover
from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.decide.optimum import optimum
from scalinglaws.fitting import fit, fit_groups
from scalinglaws.schema import InputError
from scalinglaws.studies import read
from scalinglaws.validate import compare

try:
    __version__ = version("scalinglaws")
except PackageNotFoundError:  # run from the checkout
    __version__ = "0.1.0"

__all__ = [
    "InputError", "__version__", "ask", "compare", "crossover", "fit", "fit_groups", "optimal_guidance", "optimum",
    "read", "studies",
]  # fmt: skip
