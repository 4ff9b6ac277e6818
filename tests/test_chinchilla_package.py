"""The training budget beside the chinchilla package 0.2.0, on a simulated table and on the shared Chinchilla points.

CI has neither the package nor the points: its numbers are stored in tests/data/chinchilla_package.json.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_allocate import POINTS, study

from scalinglaws.decide.allocate import allocate, closed_form
from scalinglaws.decide.training_cost import training_cost
from scalinglaws.fitting import fit
from scalinglaws.laws import find

STORED = json.loads((Path(__file__).parent / "data" / "chinchilla_package.json").read_text())
DELTA = 1e-3
NAMES = {"E": "E", "A": "A", "a": "alpha", "B": "B", "b": "beta"}


def epoch():
    table = pd.read_csv(POINTS)
    table = table[table["loss"].rank(ascending=False) > 5].rename(columns={"Model Size": "N"})
    return table.assign(D=table["Training FLOP"] / 6 / table["N"])


TABLES = {"simulated": lambda: study(0.01, 0), "epoch": epoch}


def log_huber(measured, predicted):
    error = np.abs(np.log(predicted / measured))
    return float(np.where(error < DELTA, error**2 / 2, DELTA * (error - DELTA / 2)).mean())


@pytest.fixture(scope="module", params=TABLES)
def both(request):
    """(our fit, the package's numbers) of one table."""
    if request.param == "epoch" and not POINTS.exists():
        pytest.skip("the Chinchilla points are not shipped")
    table = TABLES[request.param]()
    return fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, delta=DELTA, replicates=100), STORED[request.param]


def test_our_minimum_is_not_above_the_packages(both):
    ours, theirs = both
    y = ours.table["loss"].to_numpy()
    assert log_huber(y, ours.curve({s: ours.table[s].to_numpy() for s in "ND"})) <= theirs["objective"] * (1 + 1e-6)


def test_the_same_law_is_allocated_in_the_same_way(both):
    """Closed form against Chinchilla.allocate_compute, for the package's own parameters."""
    _, theirs = both
    law = SimpleNamespace(law=find("chinchilla"), values={k: theirs[v] for k, v in NAMES.items()}, inputs={"N": "N"})
    for budget, (size, data) in theirs["allocations"].items():
        (n, d), _ = closed_form(law, training_cost(law), float(budget))
        assert (n, d) == pytest.approx((size, data), rel=1e-9)


def test_the_packages_allocation_lies_in_our_interval(both):
    ours, theirs = both
    for budget, (size, _) in theirs["allocations"].items():
        answer = allocate(ours, float(budget))
        low, high = answer.intervals["size"]
        assert low < size < high and answer.flat[0] < size < answer.flat[1]


@pytest.mark.slow
def test_the_stored_numbers_are_the_packages(tmp_path):
    pytest.importorskip("chinchilla", reason="pip install chinchilla==0.2.0, in an environment of its own")
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber as loss

    grid = {"E": [1.5, 2.0], "a": [4, 6, 8, 10], "b": [5, 7, 9], "alpha": [0.3, 0.5], "beta": [0.3, 0.5]}
    package = Chinchilla(str(tmp_path), grid, loss_fn=lambda y, p: loss(y, p, DELTA), log_level=40)
    for row in TABLES["simulated"]().itertuples():
        package.database.append(C=6 * row.N * row.D, N=row.N, D=row.D, loss=row.loss)
    package.visualizer.optim = lambda *_, **__: None  # no figure
    package.fit()
    for name in NAMES.values():
        assert float(getattr(package, name)) == pytest.approx(STORED["simulated"][name], rel=1e-3)
