"""The latency protocol: a real tiny model in a real process, and recorded readings whose answers are known."""

import functools
import multiprocessing
import os
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from collect.jobs import Outcome  # noqa: E402
from collect.profile import latency  # noqa: E402
from collect.profile.latency import Protocol, Spread, measure_latency, replay, take  # noqa: E402
from scalinglaws import schema  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

QUICK = Protocol(warmup=1, calls=4, seconds=0.0)


class Tiny:
    """A pipeline of two stages around one real network; sleeping makes its seconds known."""

    def __init__(self, batch, asleep=0.0, stages=True):
        self.model, self.x, self.asleep = torch.nn.Linear(64, 64), torch.zeros(batch, 64), asleep
        self.stages = {"denoise": self.denoise, "decode": self.x.clone} if stages else {}

    def denoise(self):
        time.sleep(self.asleep)
        with torch.no_grad():
            return self.model(self.x)

    def call(self):
        return self.denoise().clone()


def slow_to_load(batch, asleep):
    time.sleep(0.2)
    return Tiny(batch, asleep)


def broken():
    raise ValueError("no such checkpoint")


def too_large():
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def dies():
    os.abort()


def test_a_real_process_loads_calls_and_sleeps_as_long_as_it_was_to():
    measured = measure_latency(functools.partial(slow_to_load, 2, 0.01), batch=2, protocol=QUICK, threads=1)
    assert measured.load_seconds >= 0.2  # at least: how much longer depends on who else uses the machine
    assert len(measured.call.readings) == 4 and min(measured.call.readings) >= 0.01
    assert measured.stages["denoise"].median >= 0.01 and measured.stages["decode"].median > 0
    assert measured.peak_memory_bytes > 1e7 and measured.threads == 1
    row = measured.columns()
    assert row["seconds_per_image"] == measured.stages["denoise"].median / 2
    import pandas as pd

    assert schema.check(pd.DataFrame([row])) == [] and set(row) <= set(schema.COLUMNS)


@pytest.mark.parametrize(
    ("opener", "status", "sentence"),
    [
        (too_large, "oom", "allocate memory"),
        pytest.param(broken, "error", "ValueError: no such checkpoint", marks=pytest.mark.slow),
        pytest.param(dies, "error", "ended with code -6 before it answered", marks=pytest.mark.slow),
    ],
)
def test_a_failing_process_is_an_outcome_with_its_reason(opener, status, sentence):
    with pytest.raises(Outcome, match=sentence) as caught:
        measure_latency(opener, 1, protocol=QUICK)
    assert caught.value.status == status


@pytest.mark.slow
def test_a_process_that_hangs_is_ended():
    with pytest.raises(Outcome, match="no answer within 1 s"):
        measure_latency(functools.partial(time.sleep, 10**6), 1, timeout=1)
    assert multiprocessing.active_children() == []


def test_an_opener_that_cannot_travel_is_refused_before_anything_runs():
    with pytest.raises(InputError, match=r"cannot be sent to a fresh process.*not a lambda"):
        measure_latency(lambda: None, 1)


def test_recorded_readings_give_numpy_s_median_and_deviation():
    seconds = np.random.default_rng(0).gamma(4, 0.1, 15)
    measured = take(lambda: Tiny(4, stages=False), 4, replay([1.5, 0.9, 5, 5, 5, *seconds], peak=10**9), Protocol())
    kept = np.array(measured.call.readings)
    assert (measured.load_seconds, measured.first_seconds) == (1.5, 0.9)
    assert len(kept) == max(10, np.searchsorted(np.cumsum(seconds), 2.0) + 1)
    assert np.array_equal(kept, seconds[: len(kept)])
    row = measured.columns()
    assert row["seconds_per_image"] == pytest.approx(np.median(kept) / 4)
    assert row["seconds_mad"] == pytest.approx(np.median(abs(kept - np.median(kept))) / 4)
    assert row["peak_memory_bytes"] == 10**9 and row["joules_per_image"] is None
    assert "joules_per_image: No energy was recorded." in row["unknown"]
    assert "seconds_decode: The pipeline was timed whole" in row["unknown"]


def test_short_calls_go_on_until_two_seconds_and_long_ones_until_ten_calls():
    short = take(lambda: Tiny(1, stages=False), 1, replay([0] * 5 + [0.01] * 300), Protocol())
    assert len(short.call.readings) == pytest.approx(200, abs=1)
    long = take(lambda: Tiny(1, stages=False), 1, replay([0] * 5 + [7.0] * 10), Protocol())
    assert len(long.call.readings) == 10


def test_seconds_and_their_spread_are_those_of_the_stage():
    recorded = replay([9.0, 9.0, 3.0, 5.0, 9.0, 1.0, 2.0, 4.0, 0.1, 0.1, 0.4])  # load, first, calls, denoise, decode
    row = take(lambda: Tiny(2), 2, recorded, Protocol(warmup=0, calls=3, seconds=0)).columns()
    assert (row["seconds_per_image"], row["seconds_mad"], row["seconds_decode"]) == pytest.approx(
        (2 / 2, 1 / 2, 0.1 / 2)
    )


def test_joules_are_shared_among_the_calls_of_each_window():
    recorded = replay([0] * 5 + [0.5] * 10, joules=[400, 440, 404])
    row = take(lambda: Tiny(2, stages=False), 2, recorded, Protocol(window_seconds=2)).columns()  # 4 calls, 8 images
    assert row["joules_per_image"] == pytest.approx(404 / 8) and row["joules_mad"] == pytest.approx(4 / 8)
    recorded = replay([0] * 5 + [0.5] * 10, joules=[400, 440, 404])
    uneven = take(lambda: Tiny(2, stages=False), 2, recorded, Protocol(window_seconds=1.7)).columns()
    assert uneven["joules_per_image"] == row["joules_per_image"], "four calls again: a window is not shorter than asked"


def test_joules_are_recorded_by_stage_and_what_could_not_be_weighed_says_why():
    """Two windows a stage; the third number of each stage would be the next stage's."""
    recorded = replay([0.0] * 5 + [1.0] * 8, joules=[20, 24, 6, 6.5])
    protocol = Protocol(warmup=1, calls=2, seconds=0, windows=2, window_seconds=2)
    row = take(lambda: Tiny(2), 2, recorded, protocol).columns()
    assert row["joules_per_image"] == pytest.approx(22 / 2 / 2) and row["joules_decode"] == pytest.approx(6.25 / 2 / 2)
    assert "joules" not in row["unknown"]
    silent = take(lambda: Tiny(2), 2, replay([0.0] * 5 + [1.0] * 8), protocol).columns()
    assert silent["joules_per_image"] is None and silent["joules_decode"] is None
    assert "joules_per_image, joules_decode: No energy was recorded." in silent["unknown"]


def test_a_replay_that_runs_out_says_so():
    with pytest.raises(RuntimeError, match="run out: record more"):
        take(lambda: Tiny(1), 1, replay([0.1] * 7), Protocol())


def test_one_reading_has_no_spread():
    assert Spread((2.0,)).mad is None and Spread(()).median is None and latency._per(None, 3) is None
