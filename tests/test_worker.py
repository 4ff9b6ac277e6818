"""Workers on one store: outcomes, stops, kills, pauses, full disks; the table is always the undisturbed one."""

import multiprocessing
import os
import random
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("safetensors")

from cheap_cells import BATCHES, PATIENCE, QUICK, jobs, measure, opener, serve, until

from collect.jobs import Job, Outcome
from collect.run.search import Clock
from collect.run.worker import KINDS, Broken, work
from collect.store import files, leases, partials
from collect.store.store import Store, cell_file, status, stem, verify
from scalinglaws.schema import InputError


def run(cells, store, measuring=measure, config=QUICK, **options):
    return list(work(cells, store, measuring, config=config, **options))


def kinds(events):
    return [event.kind for event in events]


def undisturbed(count):
    """The table that one worker leaves that nobody disturbs."""
    store = Store(files.Memory())
    run(jobs(count), store)
    return finished_table(store)


def finished_table(store):
    return store.table().sort_values("model", ignore_index=True)


def assert_whole(store, count):
    """The undisturbed table, row for row; nothing lost, doubled, damaged or left over."""
    assert len(store.stems()) == count and verify(store) == []
    pd.testing.assert_frame_equal(finished_table(store), undisturbed(count), check_exact=True)
    left = {folder: store.files.names(folder) for folder in ("leases", "partial", "failed")}
    assert left == {"leases": set(), "partial": set(), "failed": set()}


@pytest.fixture(params=["disk", "fsspec", "memory"])
def store(request, tmp_path):
    if request.param == "fsspec":
        pytest.importorskip("fsspec")
    places = {"disk": tmp_path / "s", "fsspec": f"memory://work{tmp_path}", "memory": files.Memory()}
    return Store(places[request.param])


def test_every_cell_is_measured_once_longest_first(store):
    events = run(jobs(10), store)
    assert kinds(events) == ["claimed", "finished"] * 10 + ["done"]
    flops = [event.job.flops for event in events if event.kind == "claimed"]
    assert flops == sorted(flops, reverse=True)
    assert_whole(store, 10)
    assert kinds(run(jobs(10), store)) == ["done"]


def test_partial_sums_are_kept_and_reported(store):
    reported = []
    run(jobs(1), store, report=reported.append)
    assert kinds(reported) == ["checkpointed"] * BATCHES
    assert set(kinds(reported)) <= set(KINDS)


def test_checkpoints_cost_a_small_share_of_the_time():
    """A checkpoint of 2 s every 10 s of measuring would cost 20 %: at a share of 5 % it is made every 40 s."""
    clock = Ticking()
    place = files.Memory()
    keep = place.replace

    def slow(self, name, data):
        clock.time += 2
        keep(name, data)

    class Slow(files.Memory):
        replace = slow

    def measuring(cell, partial=None, checkpoint=None):
        for _ in range(100):
            clock.time += 10
            checkpoint({"n": np.ones(1)})
        return {"fd": 1.0}

    reported = []
    config = replace(QUICK, keep=0, share=0.05)
    run(jobs(1), Store(Slow()), measuring, config, clock=Clock(clock.now, clock.sleep, clock.now), pulse=no_pulse,
        report=reported.append)  # fmt: skip
    assert 20 <= len(reported) <= 26 and 2 * len(reported) / clock.time < 0.055


class Ticking:
    """A clock that moves when reported."""

    time = 0.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


@contextmanager
def no_pulse(place, lease, seconds):
    yield leases.Beats()


def stop_at(batch, error):
    """The cheap measurement, stopped by an error at a batch of every cell's first try."""

    def harm(cell, at, seen=set()):  # noqa: B006 - remembers on purpose
        if at == batch and cell not in seen:
            seen.add(cell)
            raise error

    return partial(measure, harm=harm)


def test_ctrl_c_keeps_the_partial_sums_and_frees_the_cell(store):
    started = []

    def counted(cell, batch):
        started.append(batch)
        if len(started) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(jobs(1), store, partial(measure, harm=counted))
    assert store.files.names("leases") == set()
    assert store.files.names("partial") == {f"{stem(jobs(1)[0])}.0.safetensors"}
    run(jobs(1), store, partial(measure, harm=counted))
    assert started == [0, 1, 2, 3, 4, 5, 5, *range(6, BATCHES)]
    assert_whole(store, 1)


def test_a_closed_generator_frees_its_cell(store):
    working = work(jobs(3), store, measure, config=QUICK)
    assert next(working).kind == "claimed" and len(store.files.names("leases")) == 1
    working.close()
    assert store.files.names("leases") == set()
    run(jobs(3), store)
    assert_whole(store, 3)


def test_damaged_partial_sums_are_never_read(store):
    run_until_stopped(store)
    name = next(iter(store.files.names("partial")))
    data = store.files.read(f"partial/{name}")
    at = data.rindex(b"\0\0\0")
    store.files.replace(f"partial/{name}", data[:at] + b"\1" + data[at + 1 :])
    run(jobs(1), store)
    assert_whole(store, 1)


def run_until_stopped(store):
    with pytest.raises(KeyboardInterrupt):
        run(jobs(1), store, stop_at(7, KeyboardInterrupt()))
    assert len(store.files.names("partial")) == 1


def test_failures_are_recorded_with_reasons_and_stop_nobody(tmp_path):
    cells, store, failing = opener(tmp_path, 8, harm="fail")
    events = run(cells, store, failing)
    assert kinds(events).count("failed") == 5 and kinds(events).count("finished") == 3
    recorded = {name.split("-")[0]: (why["status"], why["reason"]) for name, why in store.failures().items()}
    assert recorded == {
        "c0": ("nan", "all images are NaN"), "c1": ("oom", "MemoryError: no room"), "c2": ("error", "ValueError: a b"),
        "c3": ("oom", "OutOfMemoryError: x"), "c4": ("error", "RuntimeError: no message"),
    }  # fmt: skip
    reported = status(store, cells)
    assert (reported["done"], reported["missing"], len(reported["failed"])) == (3, 0, 5)
    assert kinds(run(cells, store, failing)) == ["done"], "a failed cell is not tried again"
    assert kinds(run(cells, store, failing, retry=True)).count("failed") == 5, "unless with retry, and then once"
    assert {why["attempts"] for why in store.failures().values()} == {2}
    assert kinds(run(cells, store, retry=True)).count("finished") == 5
    assert_whole(store, 8)


def test_of_two_that_retry_only_one_does(store):
    def fails(cell, partial=None, checkpoint=None):
        raise Outcome("nan", "still")

    run(jobs(4), store, fails)
    workers = [work(jobs(4), store, fails, config=QUICK, retry=True) for _ in range(2)]
    events = [event for pair in zip_longest(*workers) for event in pair if event]  # in turns
    assert kinds(events).count("failed") == 4
    assert [why["attempts"] for why in store.failures().values()] == [2] * 4


def test_a_gpu_fault_ends_the_process_after_its_cell_is_recorded(tmp_path):
    cells, store, breaking = opener(tmp_path, 3, harm="break")
    with pytest.raises(Broken, match="c1: CUDA error: an illegal memory access"):
        run(cells, store, breaking)
    assert next(iter(store.failures())).startswith("c1-") and store.files.names("leases") == set()
    run(cells, store, breaking, retry=True)
    assert_whole(store, 3)


def test_a_row_that_cannot_be_kept_is_an_error_of_its_cell(store):
    events = run(jobs(1), store, lambda cell, partial=None, checkpoint=None: {"fd": object()})
    assert events[-2].status == "error" and "cannot be kept" in events[-2].reason


def test_a_full_disk_stops_the_worker_and_a_later_run_completes(tmp_path, monkeypatch):
    store, kept = Store(tmp_path), []
    fsync = os.fsync

    def full(descriptor):
        if len(kept) == 3:
            raise OSError(28, "No space left on device")
        kept.append(fsync(descriptor))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"did not take cells/.* \(No space left on device\): make room"):
        run(jobs(6), store)
    assert len(store.stems()) == 3 and store.files.names("leases") == set() and store.files.names("tmp") == set()
    monkeypatch.undo()
    run(jobs(6), store)
    assert_whole(store, 6)


def test_sums_that_do_not_fit_on_the_disk_cost_nothing_but_their_keeping(tmp_path, monkeypatch):
    def full(*paths):
        raise OSError(28, "No space left on device")

    store, reported = Store(tmp_path), []
    monkeypatch.setattr(os, "replace", full)
    run(jobs(1), store, report=reported.append)
    monkeypatch.undo()
    assert kinds(reported) == ["unkept"] * BATCHES and "make room" in reported[0].reason
    assert_whole(store, 1)


def test_a_cell_finished_elsewhere_is_dropped_at_the_next_checkpoint(store):
    other = Store(store.files)

    def overtaken(cell, batch):
        if batch == 5:
            other.keep(stem(jobs(1)[0]), data)

    run(jobs(1), memory := Store(files.Memory()))
    data = memory.files.read(cell_file(stem(jobs(1)[0])))
    events = run(jobs(1), store, partial(measure, harm=overtaken))
    assert kinds(events) == ["claimed", "dropped", "done"] and "finished it first" in events[1].reason
    assert_whole(store, 1)


def test_a_late_row_never_replaces_the_first(store):
    other = Store(store.files)

    def overtaken(cell, partial=None, checkpoint=None):
        assert other.write("c0", jobs(1)[0].key, {"fd": 1.0})
        return {"fd": 2.0}

    assert kinds(run(jobs(1), store, overtaken)) == ["claimed", "dropped", "done"]
    assert store.table().fd.tolist() == [1.0]


def test_an_idle_worker_starts_what_a_slow_one_holds_too_long():
    """Two workers in turns: the slow one holds the last cell; the other waits, then measures it, and is first."""
    store, clock = Store(files.Memory()), Ticking()
    timed = Clock(clock.now, clock.sleep, clock.now)
    cells = [Job(f"c{i}", f"k{i}", 1e9, i) for i in range(3)]

    def quick(cell, partial=None, checkpoint=None):
        clock.time += 10
        return {"model": f"c{cell}"}

    config = replace(QUICK, look=1, ttl=1e6, late=1.5)
    slow = work(cells, store, lambda *a, **k: {"model": "slow"}, clock=timed, pulse=no_pulse, config=config)
    held = next(slow).job
    events = run(cells, store, quick, config, clock=timed, pulse=no_pulse)
    assert kinds(events)[:4] == ["claimed", "finished"] * 2 and kinds(events)[-3:] == ["claimed", "finished", "done"]
    assert events[-3].job == held and events[-3].reason == "its holder is slow"
    assert 15 <= clock.time - 10 <= 20, "after one and a half times what it took here, counted from its start"
    assert next(slow).kind == "dropped" and kinds(list(slow))[-1] == "done"
    assert "slow" not in store.table().model.tolist()


# Real processes -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context():
    """Processes forked from a server that has imported everything: real ones, started in milliseconds."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["pytest", "collect.run.worker"])
    return server


def start(context, *arguments, **options):
    child = context.Process(target=serve, args=arguments, kwargs=options, daemon=True)
    child.start()
    return child


def join(child):
    """Wait for the end of a process; one that never ends fails the test instead of stopping all."""
    child.join(PATIENCE)
    assert child.exitcode is not None, "it never ended"


class Gated:
    """A worker process that waits before every batch until it is let through; `log` is the file it writes."""

    def __init__(self, context, folder, count, log, config=QUICK):
        self.pipe, theirs = context.Pipe()
        self.log, self.ahead = log, 0
        self.child = start(context, folder, count, log, pipe=theirs, config=config)
        theirs.close()

    def reach(self, batches=1):
        """Wait until it stands before so many more batches than it was seen to."""
        for _ in range(batches):
            assert self.pipe.poll(PATIENCE), "it never came to that batch"
            self.pipe.recv()

    def let(self, batches=1, permit=True):
        for _ in range(batches):
            self.pipe.send(permit)

    def open(self):
        """Let it run freely from now on."""
        self.pipe.close()

    def kill(self):
        self.child.kill()
        join(self.child)
        self.pipe.close()
        assert self.child.exitcode == -signal.SIGKILL

    def end(self):
        self.open()
        join(self.child)
        return self.log.read_text()

    def stop(self):
        """Stop the process with SIGSTOP, and wait until it stands: not a child of ours, so waitid() cannot tell."""
        os.kill(self.child.pid, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def go_on(self):
        os.kill(self.child.pid, signal.SIGCONT)


def check_kills(context, tmp_path, count, kills, workers, seed=0):
    """Workers killed at random batches, while they do the next ones; then the last are left to finish."""
    rng, folder, logs = random.Random(seed), tmp_path / "store", []

    def hire():
        logs.append(tmp_path / f"log{len(logs)}")
        worker = Gated(context, folder, count, logs[-1])
        worker.reach()
        return worker

    crew = [hire() for _ in range(workers)]
    for _ in range(kills):
        at, batches, ahead = rng.randrange(workers), rng.randrange(BATCHES), rng.randrange(1, 4)
        crew[at].let(batches + ahead)
        crew[at].reach(batches)
        for other in crew[:at] + crew[at + 1 :]:
            other.let(2)
            other.reach(2)
        crew[at].kill()  # as it stands before a batch, within one, claims, keeps or finishes
        crew[at] = hire()
    for worker in crew:
        worker.open()  # all of them, as one may wait for another's cell
    for worker in crew:
        join(worker.child)
    text = "".join(log.read_text() for log in logs)
    assert text.count("claimed") > count + kills / 3, "kills must have hit cells in work"
    assert_whole(Store(folder), count)


def test_kill_9_a_few_times_with_two_workers(context, tmp_path):
    check_kills(context, tmp_path, 30, 5, workers=2)


@pytest.mark.slow
def test_kill_9_at_50_random_moments(context, tmp_path):
    check_kills(context, tmp_path, 150, 50, workers=1, seed=1)


@pytest.mark.slow
def test_kill_9_at_50_random_moments_of_three_workers(context, tmp_path):
    check_kills(context, tmp_path, 200, 50, workers=3, seed=2)


def test_three_workers_share_a_store_without_doing_anything_twice(context, tmp_path):
    crew = [Gated(context, tmp_path / "store", 30, tmp_path / f"log{i}") for i in range(3)]
    for worker in crew:
        worker.reach()  # each has a cell of its own
    for worker in crew:
        worker.open()
    texts = [worker.end() for worker in crew]
    shares = [text.count("finished") for text in texts]
    assert sum(shares) == 30 and min(shares) > 0
    assert sum(text.count("dropped") for text in texts) == 0
    assert_whole(Store(tmp_path / "store"), 30)


def test_a_worker_paused_past_its_lease_neither_loses_nor_doubles_its_cell(context, tmp_path):
    store, clock = Store(tmp_path / "store"), Ticking()
    paused = Gated(context, store.folder, 1, tmp_path / "log")
    paused.let(3)
    paused.reach(4)
    paused.stop()
    timed = Clock(clock.now, clock.sleep, clock.now)
    events = run(jobs(1), store, config=replace(QUICK, ttl=60), clock=timed, pulse=no_pulse)
    assert kinds(events)[-3:] == ["claimed", "finished", "done"] and "silent" in events[-3].reason
    assert clock.time > 60
    paused.go_on()
    text = paused.end()
    assert paused.child.exitcode == 0 and "dropped" in text and "finished c0" not in text
    assert_whole(store, 1)


def test_a_worker_paused_past_its_lease_while_another_is_still_at_it(context, tmp_path):
    """The first wakes up in the middle of the second's work, and lets it go; its sums never mix with the second's."""
    store = Store(tmp_path / "store")
    first = Gated(context, store.folder, 1, tmp_path / "log0")
    first.let(3)
    first.reach(4)
    first.stop()
    second = Gated(context, store.folder, 1, tmp_path / "log1", replace(QUICK, ttl=0.3))
    second.reach()
    first.go_on()
    first.let(permit="lost")
    until(lambda: "dropped" in first.log.read_text())
    texts = [second.end(), first.end()]
    assert "dropped c0 its lease expired" in texts[1] and "finished c0" in texts[0]
    assert_whole(store, 1)


def test_several_workers_race_for_a_killed_ones_cell_and_one_gets_it(context, tmp_path):
    folder = tmp_path / "store"
    dead = Gated(context, folder, 1, tmp_path / "log")
    dead.let(3)
    dead.reach(4)
    dead.kill()
    logs = [tmp_path / f"log{i}" for i in range(4)]
    crew = [start(context, folder, 1, log) for log in logs]
    for child in crew:
        join(child)
    texts = [log.read_text() for log in logs]
    assert sum(text.count("claimed") for text in texts) == 1 and sum(text.count("finished") for text in texts) == 1
    assert "claimed c0 the process that held it is gone" in "".join(texts)
    assert sum(text.count("checkpointed") for text in texts) == BATCHES - 3, "it went on from the sums"
    assert_whole(Store(folder), 1)


def test_ctrl_c_of_a_process_frees_its_cell_at_once(context, tmp_path):
    folder = tmp_path / "store"
    worker = Gated(context, folder, 1, tmp_path / "log")
    worker.let(3)
    worker.reach(4)  # it has kept the sums of three batches, and stands before the fourth
    os.kill(worker.child.pid, signal.SIGINT)
    join(worker.child)
    store = Store(folder)
    assert worker.child.exitcode != 0
    assert store.files.names("leases") == set() and len(store.files.names("partial")) == 1
    run(jobs(1), store)
    assert_whole(store, 1)


def test_damage_by_truncation_and_a_flipped_byte_is_measured_again(tmp_path):
    store = Store(tmp_path)
    run(jobs(6), store)
    first, second = sorted(store.stems())[1:3]
    os.truncate(tmp_path / cell_file(first), 200)
    data = bytearray((tmp_path / cell_file(second)).read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / cell_file(second)).write_bytes(data)
    assert len(verify(store)) == 2 and status(store, jobs(6))["damaged"] == 2
    assert kinds(run(jobs(6), store)).count("finished") == 2
    assert_whole(store, 6)


def test_a_cell_that_no_worker_survives_is_given_up_with_its_reason(context, tmp_path):
    folder, log = tmp_path / "store", tmp_path / "log"
    config = replace(QUICK, losses=3, keep=1e9)
    ends = []
    while 0 not in ends:
        child = start(context, folder, 4, log, harm="always die", config=config)
        join(child)
        ends.append(child.exitcode)
    assert ends == [-9, -9, -9, 0], "three died of it, the fourth gave it up"
    failures = Store(folder).failures()
    assert [why["reason"] for why in failures.values()] == ["3 workers in a row were lost while they measured it"]
    assert len(Store(folder).stems()) == 3


def test_many_workers_that_are_threads_on_one_object_store(tmp_path):
    """Eight workers and a store that is only listings and requests: each cell once."""
    store = Store(files.Memory())
    events = []
    crew = [threading.Thread(target=lambda: events.extend(run(jobs(40), store))) for _ in range(8)]
    [worker.start() for worker in crew]
    [worker.join() for worker in crew]
    assert kinds(events).count("finished") == 40 and kinds(events).count("done") == 8
    assert_whole(store, 40)


def test_leases_do_not_survive_cells(tmp_path):
    """What a killed worker leaves of a finished cell is removed by whoever finds all done."""
    store = Store(tmp_path)
    run(jobs(2), store)
    name = stem(jobs(2)[0])
    leases.claim(store.files, leases.Lease(name, 0, leases.me()))
    partials.keep_partial(store.files, name, 0, {"n": np.ones(1)})
    with suppress(StopIteration):
        run(jobs(2), store)
    assert_whole(store, 2)
