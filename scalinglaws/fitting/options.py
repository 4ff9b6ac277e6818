"""How a fit is done: the keyword options of fit(), checked once."""

from dataclasses import dataclass, fields

import numpy as np

from scalinglaws.fitting.loss import Loss, check_loss
from scalinglaws.schema import InputError

METHODS = ("auto", "wild", "pair", "residual", "levels")  # see bootstrap.py, draws.py
COUNTS = (("replicates", 1), ("starts", 1), ("seed", 0))  # whole numbers and the least allowed


@dataclass(frozen=True)
class Options:
    """See fit() for what each does. Raises InputError for values that do not exist."""

    loss: str = "huber"
    delta: float | None = None
    residuals: str = "log"
    se: str | None = None
    weights: str | None = None
    asymmetry: float = 1.0
    cluster: str | list[str] | None = None
    bootstrap: str = "auto"
    replicates: int = 1000
    starts: int = 8
    seed: int = 0

    def __post_init__(self):
        check_loss(self.loss, self.delta, self.residuals, self.asymmetry)
        if self.bootstrap not in METHODS:
            raise InputError(f"No bootstrap named {self.bootstrap!r}. Known: {', '.join(METHODS)}.")
        if self.bootstrap == "levels" and (self.cluster is not None or self.asymmetry != 1):
            raise InputError(
                "bootstrap='levels' draws errors of trained models and of cells about the middle of the rows: leave "
                "out cluster= and asymmetry=, or give another bootstrap (pair)."
            )
        for name, least in COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")

    @classmethod
    def of(cls, options: dict) -> "Options":
        """Options by name; raises InputError for a name that does not exist."""
        known = [field.name for field in fields(cls)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise InputError(f"fit has no option {unknown[0]!r}. Known: {', '.join(known)}.")
        return cls(**options)

    def as_loss(self) -> Loss:
        """The loss; a Huber delta that the noise will set begins at 1."""
        delta = (self.delta or 1.0) if self.loss == "huber" else np.inf
        return Loss(delta, self.asymmetry, self.residuals)
