"""The fitting core: `fit` for one table, `fit_groups` for many groups of one, `Fit` and `Groups` what they return.

From the outside in: api (what users call), multistart (initial guesses to minima), batching (many members, many
groups), solver (damped Newton), loss (what is minimised), model (the law and its derivatives).
"""

from scalinglaws.fitting.api import fit, fit_groups
from scalinglaws.fitting.coverage import coverage
from scalinglaws.fitting.result import Fit, Groups

__all__ = ["Fit", "Groups", "coverage", "fit", "fit_groups"]
