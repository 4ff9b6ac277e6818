"""20,000 cells on 512 workers in simulated time, with durations replayed from the shipped measurements."""

import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from collect.jobs import Job
from collect.run.search import WorkerConfig
from collect.run.simulation import Actor, Fleet, bound, simulate
from collect.store.store import identity

MEASURED = Path(__file__).parents[1] / "data" / "measurements" / "tiny-ldm.csv"
CONFIG = WorkerConfig(beat=60, ttl=200, look=20, keep=60)
HOSTILE = {"killed": 0.3, "slow": 0.1, "paused": 0.1}


def replayed(count, images=(1e4, 6e4), seed=0):
    """Jobs by expected FLOPs, and the seconds that they take: measured ones, which FLOPs predict to a factor of 5."""
    rows = pd.read_csv(MEASURED).dropna(subset=["seconds_per_image", "seconds_decode"])
    flops, seconds = rows.flops_per_image + rows.flops_decode, rows.seconds_per_image + rows.seconds_decode
    rng, cells, took = random.Random(seed), [], {}
    for i in range(count):
        row, drawn = i % len(rows), rng.uniform(*images)
        cells.append(Job(f"c{i}", identity(i), float(flops.iloc[row] * drawn), i))
        took[i] = float(seconds.iloc[row] * drawn)
    return cells, took


def assert_once(run, count):
    assert len(run.finished) == count and set(run.finished.values()) == {1}
    assert run.store.stems() == set(run.finished)


def test_without_harm_it_is_near_the_bound_and_waste_is_none():
    cells, took = replayed(600)
    run = simulate(cells, took, Fleet(16), CONFIG)
    assert_once(run, 600)
    assert 0 <= run.above < 0.05 and run.counts["done"] == 16
    assert run.counts["claimed"] <= 600 * 1.02


def test_with_every_harm_each_cell_is_still_there_once():
    cells, took = replayed(600)
    fleet = Fleet(16, **HOSTILE)
    run = simulate(cells, took, fleet, CONFIG)
    assert_once(run, 600)
    assert 0 <= run.above < 0.25 and run.counts["claimed"] > 600


def test_the_same_seed_is_the_same_run_and_another_is_not():
    cells, took = replayed(200)
    runs = [simulate(cells, took, Fleet(8, seed=seed, **HOSTILE), CONFIG) for seed in (1, 1, 2)]
    outcomes = [(run.makespan, run.ended, run.counts, run.requests) for run in runs]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_all_killed_for_ever_leaves_cells_and_no_false_ones():
    cells, took = replayed(100)
    run = simulate(cells, took, Fleet(4, killed=1.0, away=float("inf")), CONFIG)
    assert 0 < len(run.finished) < 100 and set(run.finished.values()) == {1} and "done" not in run.counts
    assert run.bound == float("inf")


def test_the_bound_by_hand():
    """Two workers, one of half speed; one dies at 10 s, one comes at 20 s; one stands still from 2 to 6 s."""
    full, half = Actor("a", 1.0), Actor("b", 0.5)
    assert bound([full, half], {0: 9.0, 1: 6.0}) == pytest.approx(10)
    assert bound([full, half], {0: 14.0, 1: 1.0}) == pytest.approx(14), "the longest cell on the fastest worker"
    assert bound([Actor("a", 1.0, dies=10.0), half], dict.fromkeys(range(20), 1.0)) == pytest.approx(20)
    assert bound([half, Actor("c", 1.0, born=20.0)], dict.fromkeys(range(13), 1.0)) == pytest.approx(22)
    assert bound([Actor("p", 1.0, pauses=(2.0, 6.0))], dict.fromkeys(range(10), 1.0)) == pytest.approx(14)
    assert bound([Actor("d", 1.0, dies=5.0)], {0: 6.0}) == float("inf")


def test_kills_cost_more_than_none_and_checkpoints_are_used():
    """A cell of 1,000 s in four slices, on a worker that is killed: the next one goes on from the last slice."""
    cells = [Job("c", "k", 1e9, 0)]
    fleet = Fleet(1, killed=1.0, away=100, spread=0.0, seed=3, request=0.0)
    run = simulate(cells, {0: 1000.0}, fleet, CONFIG)
    assert_once(run, 1)
    lost = run.makespan - 1000 - fleet.away
    assert 0 < lost <= 250 + CONFIG.ttl + 5, "at most a slice is measured again, after the lease expired"


@pytest.mark.slow
def test_20_000_cells_on_512_workers_with_kills_pauses_and_stragglers(capsys):
    cells, took = replayed(20_000)
    start = time.process_time()
    run = simulate(cells, took, Fleet(512, **HOSTILE), CONFIG)
    with capsys.disabled():
        print(f"\n{run.above:.2%} above the bound of {run.bound:.0f} s, {run.counts}, "
              f"{time.process_time() - start:.0f} s CPU")  # fmt: skip
    assert_once(run, 20_000)
    assert 0 <= run.above < 0.10
    assert run.counts["claimed"] < 1.05 * 20_000, "little is measured twice"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_fleets_drawn_at_random_lose_and_double_nothing(seed):
    rng = np.random.default_rng(seed)
    cells, took = replayed(int(rng.integers(50, 400)), seed=seed)
    fleet = Fleet(int(rng.integers(1, 40)), *rng.uniform(0, 1, 1), away=float(rng.uniform(1, 2000)), seed=seed,
                  slow=float(rng.uniform(0, 0.8)), paused=float(rng.uniform(0, 0.8)), pause=float(rng.uniform(1, 3000)),
                  request=float(rng.choice([0.0, 0.05, 2.0])))  # fmt: skip
    assert_once(simulate(cells, took, fleet, CONFIG), len(cells))
