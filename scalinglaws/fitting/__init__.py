"""The fitting engine: `fit` is the door, `Fit` what it gives back; `fit_groups` fits many groups at once."""

from scalinglaws.fitting.door import fit
from scalinglaws.fitting.groups import Groups, fit_groups
from scalinglaws.fitting.result import Fit

__all__ = ["Fit", "Groups", "fit", "fit_groups"]
