"""Laws given by the user against certified values: NIST StRD nonlinear regression (public domain).

https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml: all 26 sets with one input, as functions only; gradients come
from the engine.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalinglaws import laws
from scalinglaws.fitting import fit

FILES = Path(__file__).parent / "nist"


def rational(x, top, bottom):
    return sum(b * x**k for k, b in enumerate(top)) / (1 + sum(b * x ** (k + 1) for k, b in enumerate(bottom)))


def waves(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):
    t = 2 * np.pi * x
    return (b1 + b2 * np.cos(t / 12) + b3 * np.sin(t / 12) + b5 * np.cos(t / b4) + b6 * np.sin(t / b4)
            + b8 * np.cos(t / b7) + b9 * np.sin(t / b7))  # fmt: skip


def peaks(x, b1, b2, b3, b4, b5, b6, b7, b8):
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-((x - b4) ** 2) / b5**2) + b6 * np.exp(-((x - b7) ** 2) / b8**2)


def decays(x, b1, b2, b3, b4, b5, b6):
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)


def ratio3(x, b1, b2, b3, b4, b5, b6, b7):
    return rational(x, (b1, b2, b3, b4), (b5, b6, b7))


def chwirut(x, b1, b2, b3):
    return np.exp(-b1 * x) / (b2 + b3 * x)


MODELS = {
    "Misra1a": lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
    "Misra1b": lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
    "Misra1c": lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
    "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": lambda x, b1, b2: b1 * x**b2,
    "Lanczos1": decays,
    "Lanczos2": decays,
    "Lanczos3": decays,
    "Gauss1": peaks,
    "Gauss2": peaks,
    "Gauss3": peaks,
    "Kirby2": lambda x, b1, b2, b3, b4, b5: rational(x, (b1, b2, b3), (b4, b5)),
    "Hahn1": ratio3,
    "Thurber": ratio3,
    "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    "MGH10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
    "MGH17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5),
    "Rat42": lambda x, b1, b2, b3: b1 / (1 + np.exp(b2 - b3 * x)),
    "Rat43": lambda x, b1, b2, b3, b4: b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4),
    "Roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi,
    "ENSO": waves,
    "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
    "BoxBOD": lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
    "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1 / b3),
}


MORE = {  # what the user knows: parameters that are positive, terms that may be exchanged
    "Eckerle4": {"positive": ("b1", "b2")},
    "MGH17": {"alike": (("b4", "b2"), ("b5", "b3"))},
    **{name: {"alike": (("b2", "b1"), ("b4", "b3"), ("b6", "b5"))} for name in ("Lanczos1", "Lanczos2", "Lanczos3")},
}


def read(name: str):
    """Starts [2, parameter], certified values and standard deviations [parameter], x and y [row]."""
    lines = (FILES / f"{name}.dat").read_text().splitlines()
    rows = [line.split("=")[1].split() for line in lines[40:58] if line.strip().startswith("b") and "=" in line]
    numbers = np.array(rows, float)
    data = np.array([line.split() for line in lines[60:] if line.strip()], float)
    return numbers[:, :2].T, numbers[:, 2], numbers[:, 3], data[:, 1], data[:, 0]


def digits(result, certified) -> float:
    """Log relative error: the number of correct digits of the worst parameter, at most 11."""
    error = np.abs(np.asarray(result) - certified) / np.abs(certified)
    return float(-np.log10(np.maximum(error, 1e-11)).max(initial=-np.inf, where=error == error.max()))


def certify(name: str, start: int) -> tuple[float, float]:
    """Correct digits of parameters and of their standard errors."""
    starts, values, errors, x, y = read(name)
    params = [f"b{k + 1}" for k in range(len(values))]
    law = laws.custom(MODELS[name], params, ["x"], name, signed=True, trend="turns",
                      start=dict(zip(params, starts[start], strict=True)), **MORE.get(name, {}))  # fmt: skip
    result = fit(pd.DataFrame({"x": x, "y": y}), law, "y", "x", loss="squares", residuals="raw")
    return (digits([result.values[p] for p in params], values),
            digits([result.standard_errors[p] for p in params], errors))  # fmt: skip


NOT_REACHED = ("Lanczos1", "Lanczos2", "Lanczos3", "MGH10", "Bennett5")  # six digits are not reached from both starts


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", [name for name in MODELS if name not in NOT_REACHED])
def test_certified(name, start):
    parameters, errors = certify(name, start)
    assert parameters >= 6 and errors >= 6
