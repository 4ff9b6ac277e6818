"""Rival forecasts of a series' hidden row: what people do without this package, and this package's own single laws.

answers(name, asked)                     of one of RIVALS for many (seen, new): seen a Series, new the hidden x
SINGLE[name](seen, new, rng)             (value, draws) of one that takes a series at a time; rng is for the bootstrap
ENGINES[name]                            the law of one that is fitted to all of them at once

draws [replicate] of a new measurement, or its 5, 25, 75 and 95 % limits; None where there are none. What cannot be
answered is an InputError.
"""

import hashlib
import tempfile
import warnings

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from scalinglaws.forecasting.series import AXES
from scalinglaws.schema import InputError

REPLICATES = 200  # of a bootstrap


def last(x, y, new, rng):
    """The last value again; its draws add one of the series' own steps in ln y."""
    return y[-1], y[-1] * np.exp(rng.choice(np.diff(np.log(y)), REPLICATES))


def power(x, y, new, rng):
    """A x^-a by least squares of logs, with a residual bootstrap."""
    return _bootstrap(x, y, rng, lambda z: _line(np.log(x), z, np.log(new)), 2)


def floor(x, y, new, rng):
    """E + A x^-a by curve_fit on the logs, with a residual bootstrap over a grid of (E, a)."""
    value = _curve_fit(x, np.log(y), new, log=True)
    _, draws = _bootstrap(x, y, rng, lambda z: _grid_floor(np.log(x), z, np.log(new)), 3)
    return value, draws


def power_raw(x, y, new, rng):
    """A x^-a by curve_fit on the values, as a first script would do it."""
    _need(x, 2)
    start = [y[0], np.clip(-np.polyfit(np.log(x), np.log(y), 1)[0], -5, 5)]
    found = _quiet(curve_fit, lambda u, A, a: A * u**-a, x / x[0], y, p0=start, maxfev=5000)[0]
    return found[0] * (new / x[0]) ** -found[1], None


def floor_raw(x, y, new, rng):
    """E + A x^-a by curve_fit on the values, E and A at least 0."""
    return _curve_fit(x, y, new, log=False), None


def floor_free(x, y, new, rng):
    """E + A x^-a by curve_fit on the values without bounds: E may fall below 0."""
    _need(x, 3)
    start = [y[-1] * 0.9, y[0] - y[-1] * 0.9, 0.5]
    found = _quiet(curve_fit, lambda u, E, A, a: E + A * u**-a, x / x[0], y, p0=start, maxfev=20000)[0]
    return found[0] + found[1] * (new / x[0]) ** -found[2], None


def engine(law, asked):
    """(value, limits) of one law of this package for each (seen, new), or the InputError that refuses it.

    All are fitted in common batches, two to three times as fast as one by one: the same values; limits differ in how
    far refits got along a flat valley.
    """
    from scalinglaws.fitting import fit_groups

    rows = [pd.DataFrame({"series": k, "x": seen.x, "quality": seen.y}) for k, (seen, _) in enumerate(asked)]
    try:
        found = _quiet(fit_groups, pd.concat(rows), "series", law, "quality", {"x": "x"}, replicates=REPLICATES)
    except InputError as refusal:
        return [refusal] * len(asked)
    return [InputError(found.refused[k]) if k in found.refused else _limits(found[k], new)
            for k, (_, new) in enumerate(asked)]  # fmt: skip


def _limits(found, new):
    at = pd.DataFrame({"x": [new]})
    predicted, half = (_quiet(found.predict, at, level) for level in (0.9, 0.5))
    limits = [predicted["low"][0], half["low"][0], half["high"][0], predicted["high"][0]]
    return float(predicted["value"][0]), np.array(limits, float)


def chinchilla(seen, new, rng):
    """E + A N^-alpha + B D^-beta by the package `chinchilla` (0.2, optional), on all rows of the surface that are seen.

    Answers where a series is a slice of a surface of size and training length. Fitted by log-Huber from 32 starts, with
    N and D in units of their geometric means.
    """
    size, length, y = training_surface(seen)
    if len(y) < 6 or len(set(size)) < 2 or len(set(length)) < 2:
        raise InputError(f"chinchilla fits a surface of size and training length; {len(y)} rows of one were seen.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from chinchilla import Chinchilla
            from chinchilla._metrics import log_huber
    except ImportError as error:
        raise InputError(f"The package chinchilla is not installed ({error}): pip install chinchilla.") from error
    unit, typical = (np.exp(np.log(v).mean()) for v in (size, length))
    at = (new, length[0]) if seen.kind == "size" else (size[0], new / _flops_per_item(seen))
    starts = {"E": [0.3 * y.min(), 0.9 * y.min()], "A": [0.1 * y.min(), y.max()], "B": [0.1 * y.min(), y.max()],
              "alpha": [0.2, 1.0], "beta": [0.2, 1.0]}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Chinchilla(folder, starts, {"C": (1e0, 1e1), "N_to_D": (1, 10)}, loss_fn=log_huber, log_level=50)
        model.visualizer.optim = lambda *given, **options: None  # it draws a figure
        model.database.df = pd.DataFrame({"C": size * length, "N": size / unit, "D": length / typical, "loss": y})
        model.fit(parallel=False)
        return float(model.predict_loss(at[0] / unit, at[1] / typical)), None


def training_surface(seen) -> tuple:
    """(size, training length, quality) [row] of a slice and its siblings, the slice's own rows first; empty where the
    series is no slice of such a surface."""
    rows = []
    for one in (seen, *seen.siblings):
        alike = one.kind == seen.kind and one.column == seen.column
        if alike and one.kind == "size" and one.settings.get("_along") in AXES["training"]:
            if one.settings["_rest"] == seen.settings.get("_rest"):
                rows.append((one.x, np.full(len(one), one.settings["_at"]), one.y))
        elif alike and one.kind == "training" and "params" in one.settings:
            rows.append((np.full(len(one), one.settings["params"]), one.x / _flops_per_item(one), one.y))
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3


def _flops_per_item(one):
    """What turns x into training items: 6 N where x is compute, else 1."""
    return 6 * one.settings["params"] if one.column == "train_flops" else 1.0


def on_curve(rival):
    """A rival that sees x and y only."""
    return lambda seen, new, rng: rival(seen.x, seen.y, new, rng)


ENGINES = {f"engine {law}": law for law in ("power_floor", "m4", "bnsl_1")}  # fitted to many series at once
SINGLE = {name: on_curve(rival) for name, rival in {
    "last": last,
    "power": power,
    "floor": floor,
    "power_raw": power_raw,
    "floor_raw": floor_raw,
    "floor_free": floor_free,
}.items()} | {"chinchilla": chinchilla}  # fmt: skip
RIVALS = (*SINGLE, *ENGINES)


def answers(name, asked):
    """(value, draws) of a rival for each (seen, new), or the InputError that refuses it."""
    if name in ENGINES:
        return engine(ENGINES[name], asked)
    return [_answer(SINGLE[name], seen, new) for seen, new in asked]


def _answer(rival, seen, new):
    seed = int(hashlib.sha256(f"{seen.study}{seen.label}".encode()).hexdigest()[:8], 16)
    try:
        return rival(seen, new, np.random.default_rng(seed))
    except InputError as refusal:
        return refusal


def _need(x, least):
    if len(x) < least:
        raise InputError(f"{len(x)} rows for {least} parameters: collect more rows or choose a smaller law.")


def _quiet(function, *given, **options):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*given, **options)
        except RuntimeError as error:
            raise InputError(f"The rival gave up: {error}") from error


def _curve_fit(x, target, new, log):
    """Floor law with E, A >= 0; target is ln y if log."""
    _need(x, 3)
    y = np.exp(target) if log else target

    def law(u, E, A, a):
        value = E + A * u**-a
        return np.log(np.maximum(value, 1e-300)) if log else value

    start = [y.min() * 0.9, max(y[0] - y.min() * 0.9, 1e-3 * y[0]), 0.5]
    found = _quiet(curve_fit, law, x / x[0], target, p0=start, bounds=([0, 0, 0], [np.inf, np.inf, 20]), maxfev=20000)
    value = law(new / x[0], *found[0])
    return float(np.exp(value) if log else value)


def _line(ln_x, z, ln_new):
    """Least squares line for all z [replicate, row]: (fitted, predicted)."""
    design = np.column_stack([np.ones_like(ln_x), ln_x])
    coefficients = z @ np.linalg.pinv(design).T
    return coefficients @ design.T, coefficients @ np.array([1, ln_new])


def _grid_floor(ln_x, z, ln_new):
    """Least squares floor law in logs over a grid, for all z [replicate, row]: (fitted, predicted)."""
    a, share = np.meshgrid(np.geomspace(0.03, 10, 50), np.linspace(0, 0.995, 45), indexing="ij")
    distance = np.append(ln_x, ln_new) - ln_x[-1]
    shape = np.log(share.ravel()[:, None] + (1 - share.ravel()[:, None]) * np.exp(-a.ravel()[:, None] * distance))
    seen = shape[:, :-1]
    centred = seen - seen.mean(1, keepdims=True)
    off = z - z.mean(1, keepdims=True)
    best = np.argmin((centred**2).sum(1)[None] - 2 * off @ centred.T, axis=1)
    level = (z - seen[best]).mean(1)
    return seen[best] + level[:, None], shape[best, -1] + level


def _bootstrap(x, y, rng, fit, parameters):
    """Residual bootstrap in logs; residuals grow by sqrt(n / (n - p)), and a drawn one is the new measurement's."""
    _need(x, parameters)
    z = np.log(y)[None]
    fitted, value = fit(z)
    residual = (z - fitted)[0]
    if len(x) <= parameters:
        return float(np.exp(value[0])), None
    residual = residual * np.sqrt(len(x) / (len(x) - parameters))
    _, again = fit(fitted + rng.choice(residual, (REPLICATES, len(x))))
    return float(np.exp(value[0])), np.exp(again + rng.choice(residual, REPLICATES))
