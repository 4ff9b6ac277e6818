"""A made-up family with the collector's columns, following `E + A N^-a + B S^-b` exactly or with noise."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scalinglaws import laws

E, A, B, a, b = 2.0, 3e3, 60.0, 0.5, 1.2  # quality floor; size term; steps term (units of fd)
SIZES = {"c8": 4e5, "c12": 9e5, "c16": 1.6e6, "c24": 3.6e6, "c32": 6.4e6, "c48": 1.44e7}  # FLOPs a forward
STEPS = (2, 3, 4, 6, 8, 12, 20, 32, 50)
DECODE = 2e6  # FLOPs per image


def law(n, s):
    """fd of size n (FLOPs a forward) at s steps."""
    return E + A * n**-a + B * s**-b


def row(model, steps, seed=0, noise=0.0, guidance=1.0, sampler="ddim"):
    """One measured row; `noise` is a standard deviation on the log."""
    n, calls = SIZES[model], (2 if guidance > 1 else 1) * steps
    draw = np.random.default_rng([int(n), steps, seed]).normal()
    fd = law(n, steps) * np.exp(noise * draw)
    known = {"study": "synthetic", "family": "syn", "model": model, "params": n / 50, "sampler": sampler}
    costs = {"flops_per_forward": n, "macs_per_forward": n / 2, "nfe": calls, "flops_per_image": n * calls}
    time = {"flops_decode": DECODE, "seconds_per_image": 1e-4 + 1e-10 * n * calls, "seconds_decode": 1e-4}
    result = {"steps": steps, "guidance": guidance, "fd": fd, "fd_se": noise * fd, "seed": seed}
    return known | costs | time | result


def family(noise=0.0, seeds=(0,), **settings):
    """Every size at every number of steps."""
    return pd.DataFrame([row(m, s, k, noise, **settings) for m in SIZES for s in STEPS for k in seeds])


@dataclass(frozen=True)
class KnownFit:
    """What `scalinglaws.fit` returns, with parameters given instead of fitted."""

    theta: tuple  # in the order of law.params
    table: pd.DataFrame
    replicates: np.ndarray  # [replicate, parameter]
    law: laws.Law = laws.LAWS["size_steps_plain"]
    inputs: dict = field(default_factory=lambda: {"N": "flops_per_forward", "S": "steps"})
    quality: str = "fd"
    noise: float = 0.0

    def curve(self, columns, theta=None):
        return self.law.curve(self.theta if theta is None else theta, columns)

    def predict(self, table, level=0.9, of="owned"):
        columns = {symbol: table[column].to_numpy() for symbol, column in self.inputs.items()}
        low, high = np.quantile(self.curve(columns, self.replicates), [(1 - level) / 2, (1 + level) / 2], axis=0)
        value = self.curve(columns)
        return pd.DataFrame({"value": value, "low": low, "high": high, "decades_beyond": 0.0})


def known_fit(theta=(E, A, a, B, b), spread=0.0, refits=50, table=None):
    """A KnownFit whose refits scatter log-normally by `spread` about theta."""
    draws = np.random.default_rng(0).normal(size=(refits, len(theta)))
    return KnownFit(theta, family() if table is None else table, np.array(theta) * np.exp(spread * draws))


def students():
    """fid of a teacher and of a student that is better when small, along size: 900 N^-0.3 and 150 N^-0.2."""
    n = np.geomspace(1e7, 1e9, 6)
    known = (("teacher", 900.0, 0.3), ("student", 150.0, 0.2))
    return pd.concat([pd.DataFrame({"params": n, "variant": v, "fid": A * n**-a}) for v, A, a in known])
