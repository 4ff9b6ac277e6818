"""The time left of a run against runs whose cells take a known time."""

import numpy as np
import pytest

pytest.importorskip("rich")

from collect.jobs import Job
from collect.progress import KEPT, RunProgress, duration, pace
from collect.run.worker import Event

PER_FLOP, PER_CELL = 3e-9, 2.5  # seconds
ROW = {"n_samples_for_metric": 100}


def jobs(count, largest=1e11):
    """Longest first, as workers take them."""
    return [Job(f"c{k}", f"{k:016x}", flops, None) for k, flops in enumerate(np.geomspace(largest, 1e9, count))]


def seconds(job):
    return PER_FLOP * job.flops + PER_CELL


class Run:
    """Workers that take the jobs in turn, each `slow` times its time; seen by a RunProgress."""

    def __init__(self, every, workers=1, slow=()):
        self.now, self.every, self.slow = 0.0, every, dict(slow)
        self.progress = RunProgress(every, clock=lambda: self.now)
        self.waiting, self.free = list(every), {f"here-{k}-a{k + 30}": 0.0 for k in range(workers)}
        self.busy = {}  # worker: (job, seconds, end)

    def claim(self):
        for who in [w for w in self.free if w not in self.busy][: len(self.waiting)]:
            job = self.waiting.pop(0)
            spent = seconds(job) * self.slow.get(job.name, 1)
            self.busy[who] = job, spent, self.now + spent
            self.progress.see(Event("claimed", who, job))

    def finish(self, kind="finished"):
        self.claim()
        who = min(self.busy, key=lambda name: self.busy[name][2])
        job, spent, self.now = self.busy.pop(who)
        self.progress.see(Event(kind, who, job, ROW, seconds=spent))
        self.claim()


def test_one_worker_has_left_what_the_open_cells_take_by_their_law():
    run = Run(every := jobs(12))
    assert run.progress.left is None
    for count in range(2, 12):
        run.finish() if count > 2 else (run.finish(), run.finish())
        assert run.progress.left == pytest.approx(sum(map(seconds, every[count:])), rel=1e-6)
    before = run.progress.left
    run.now += 1.0
    assert run.progress.left == pytest.approx(before - 1.0, rel=1e-6), "what has passed of the cell at hand counts"
    run.now += 1e4
    assert run.progress.left == 0, "a cell that takes longer than expected is expected at any moment"


@pytest.mark.parametrize("slowed", [0, 3, 5])
@pytest.mark.parametrize("factor", [0.01, 20.0])  # resumed from partial sums, or slowed by other work
def test_one_cell_out_of_line_does_not_move_the_time_left(slowed, factor):
    run = Run(every := jobs(14), slow={f"c{slowed}": factor})
    for _ in range(7):
        run.finish()
    assert run.progress.left == pytest.approx(sum(map(seconds, every[7:])), rel=1e-6)


def test_workers_share_what_is_left():
    same = [Job(f"c{k}", f"{k:016x}", 1e11, None) for k in range(24)]
    run = Run(same, workers=4, slow={"c2": 3.0})
    for _ in range(12):
        run.finish()
    took = run.now
    expected = run.progress.left
    while run.waiting or run.busy:
        run.finish()
    assert expected == pytest.approx(run.now - took, rel=0.2) and run.progress.left == 0
    lost = Run(same, workers=4)
    lost.finish()
    before = lost.progress.left
    lost.progress.see(Event("lost", "3", reason="its process ended"))
    assert len(lost.progress.workers) == 3 and lost.progress.left > before


def test_failed_cells_teach_nothing_and_are_not_left():
    run = Run(every := jobs(9), slow={"c2": 1e-6})
    for kind in ("finished", "finished", "failed", "finished"):
        run.finish(kind)
    assert run.progress.left == pytest.approx(sum(map(seconds, every[4:])), rel=1e-6)
    assert "4/9 cells" in run.progress.text()


def test_the_pace_of_noisy_cells_is_near_that_of_median_regression():
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    flops = rng.uniform(1, 9, 200)
    spent = (2 * flops + 3) * np.exp(rng.standard_t(2, 200) * 0.1)
    intercept, slope = sm.QuantReg(spent, sm.add_constant(flops)).fit(q=0.5, max_iter=5000, p_tol=1e-10).params
    assert pace(list(zip(flops, spent, strict=True))) == pytest.approx((slope, intercept), rel=1e-3)


def test_only_the_last_cells_teach():
    same = [Job(f"c{k}", f"{k:016x}", 1e11, None) for k in range(4 * KEPT)]
    run = Run(same, slow={f"c{k}": 5.0 for k in range(KEPT)})
    for _ in range(2 * KEPT):
        run.finish()
    assert run.progress.left == pytest.approx(2 * KEPT * seconds(same[0]), rel=1e-6)


def test_durations_are_said_in_the_largest_fitting_unit():
    assert [duration(s) for s in (12, 180, 7500, 270_000)] == ["12 s", "3 min", "2 h 05 min", "3 d 3 h"]
