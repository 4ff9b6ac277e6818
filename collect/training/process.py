"""The forward process of a model, z_t = alpha_t x + sigma_t noise, and what its network predicts on it.

With v = alpha noise - sigma x for variance-preserving processes (Salimans & Ho 2022, arXiv:2202.00512, section 2) and
v = noise - x for flow matching (Liu et al. 2022, arXiv:2209.03003), where alpha = 1 - s, sigma = s and s = t / 1000.
"""

from dataclasses import dataclass

import torch

from collect.sampling.schedulers import scheduler
from scalinglaws.schema import InputError

# prediction p at z, alpha, sigma: (x, noise), and the p that a network is trained to make of (x, noise)
PREDICTIONS = {
    "epsilon": (lambda p, z, a, s: ((z - s * p) / a, p), lambda x, noise, a, s: noise),
    "sample": (lambda p, z, a, s: (p, (z - a * p) / s), lambda x, noise, a, s: x),
    "v_prediction": (lambda p, z, a, s: (a * z - s * p, a * p + s * z), lambda x, noise, a, s: a * noise - s * x),
    "flow": (lambda p, z, a, s: (z - s * p, z + a * p), lambda x, noise, a, s: noise - x),
}


@dataclass(frozen=True)
class Process:
    """A forward process. Time t is what the network takes: 0 .. levels - 1, and -1 for data, of a variance-preserving
    one; 0 .. 1000, and 0 for data, of flow matching."""

    prediction: str  # a key of PREDICTIONS
    levels: int  # of the training
    signal2: torch.Tensor | None = None  # alpha_t^2 float64 [levels]; None for flow matching

    @property
    def flow(self):
        return self.signal2 is None

    @property
    def data(self):
        """The time at which z is data."""
        return 0.0 if self.flow else -1

    def draw(self, count, generator):
        """Times t [count], uniform over the levels."""
        level = torch.randint(self.levels, (count,), generator=generator)
        return (level + 1) * (1000 / self.levels) if self.flow else level

    def coefficients(self, t, like):
        """(alpha, sigma) of times t [b], float32, shaped to multiply `like` [b, ...]."""
        t = torch.as_tensor(t)
        if self.flow:
            noise = t.double() / 1000
            alpha, sigma = 1 - noise, noise
        else:
            signal2 = torch.cat([self.signal2, self.signal2.new_ones(1)])[t.long().cpu()]  # index -1: data
            alpha, sigma = signal2.sqrt(), (1 - signal2).sqrt()
        shaped = (value.to(like.device, torch.float32).view(-1, *[1] * (like.dim() - 1)) for value in (alpha, sigma))
        return tuple(shaped)

    def noised(self, x, noise, t):
        """z_t [b, ...]."""
        alpha, sigma = self.coefficients(t, x)
        return alpha * x + sigma * noise

    def target(self, x, noise, t):
        """What the network should predict at z_t."""
        return PREDICTIONS[self.prediction][1](x, noise, *self.coefficients(t, x))

    def parts(self, predicted, z, t):
        """(x, noise) as a prediction at z_t implies them."""
        return PREDICTIONS[self.prediction][0](predicted, z, *self.coefficients(t, z))

    def at(self, x, noise, s):
        """The point at time s of the line through (x, noise): a DDIM step (Song et al. 2021, arXiv:2010.02502, eq. 12
        with sigma = 0), Euler's step of flow matching."""
        return self.noised(x, noise, s)


def process_of(model):
    """The Process of a Model, by its scheduler's configuration; InputError for a prediction that is not known."""
    if model.flow:
        return Process("flow", model.schedule.get("num_train_timesteps", 1000))
    kind = model.schedule.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise InputError(f"Networks that predict '{kind}' cannot be trained: known are {', '.join(PREDICTIONS)}.")
    signal2 = scheduler("ddim", model).alphas_cumprod.double()
    return Process(kind, len(signal2), signal2)
