"""Scaling laws of generative models: which size, how many steps, for the budget I have."""

from importlib.metadata import PackageNotFoundError, version

from scalinglaws import laws, studies, units
from scalinglaws.answer import ask
from scalinglaws.decide.allocate import allocate
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.crossover import crossover, crossovers
from scalinglaws.decide.design import design
from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.decide.optimum import optimum
from scalinglaws.decide.samplers import compare_samplers
from scalinglaws.decide.serving import serve
from scalinglaws.decide.training_budget import training_budget
from scalinglaws.fitting import fit, fit_groups
from scalinglaws.forecasting.forecast import forecast
from scalinglaws.infer import question
from scalinglaws.schema import InputError, NoAnswer
from scalinglaws.studies import read
from scalinglaws.validate import compare

try:
    __version__ = version("scalinglaws")
except PackageNotFoundError:  # run from the checkout
    __version__ = "0.1.0"

__all__ = [
    "InputError", "NoAnswer", "__version__", "allocate", "ask", "compare", "compare_samplers", "cost_model",
    "crossover", "crossovers", "design", "fit", "fit_groups", "forecast", "laws", "optimal_guidance", "optimum",
    "question", "read", "serve", "studies", "training_budget", "units",
]  # fmt: skip


def __dir__():
    """The public names alone, so that tab completion shows what there is to use."""
    return __all__
