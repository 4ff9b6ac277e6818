"""The fitting engine: `fit` is the door, `Fit` what it gives back."""

from scalinglaws.fitting.door import fit
from scalinglaws.fitting.result import Fit

__all__ = ["Fit", "fit"]
