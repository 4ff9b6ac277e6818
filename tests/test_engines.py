"""Engines: the same cells by this process, by several, by Ray; dead workers are noticed and replaced."""

import multiprocessing
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("safetensors")

from cheap_cells import PATIENCE, QUICK, crash, nothing, open_which_gpu, opener, patiently
from test_worker import assert_whole, finished_table, kinds, undisturbed

from collect.run import processes, ray_actors
from collect.run.engines import ENGINES, engine
from collect.run.processes import visible_gpus
from collect.store.store import Store
from scalinglaws.schema import InputError


def test_process_is_one_worker(tmp_path):
    reported = []
    events = list(ENGINES["process"](partial(opener, tmp_path / "s", 5), report=reported.append, config=QUICK))
    assert kinds(events) == ["claimed", "finished"] * 5 + ["done"] and len(reported) > 5
    assert_whole(Store(tmp_path / "s"), 5)


def test_two_processes_share_the_cells_and_a_killed_one_is_replaced(tmp_path, monkeypatch):
    """Cells 3, 8 and 13 kill the process that first measures them; all are finished all the same."""
    monkeypatch.setattr(processes, "visible_gpus", list)
    (tmp_path / "s").mkdir()
    events = list(ENGINES["gpus"](partial(opener, tmp_path / "s", 14, "die once"), 2, config=QUICK))
    assert kinds(events).count("finished") == 14 and kinds(events).count("lost") == 3
    assert "killed by signal 9): its cell is taken over, another is started" in reasons(events, "lost")[0]
    assert len({event.who for event in events if event.kind == "finished"}) >= 2
    assert "checkpointed" in kinds(events)
    for path in (tmp_path / "s").glob("harmed-*"):
        path.unlink()
    assert_whole(Store(tmp_path / "s"), 14)


def reasons(events, kind):
    return [event.reason for event in events if event.kind == kind]


def test_each_process_sees_one_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "visible_gpus", lambda: ["3", "5"])
    list(ENGINES["gpus"](partial(open_which_gpu, tmp_path, 2), config=QUICK))
    table = Store(tmp_path).table()
    assert set(table.model) == {"3", "5"} and (table.groupby("threads").model.nunique() == 1).all()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ or os.environ["CUDA_VISIBLE_DEVICES"] not in ("3", "5")


def test_gpus_asked_for_by_the_environment_are_shared_out(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-8a3f")
    assert visible_gpus() == ["4", "GPU-8a3f"]
    assert [s["CUDA_VISIBLE_DEVICES"] for s in processes._settings(3)] == ["4", "GPU-8a3f", "4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1"]


def test_a_cpu_worker_gets_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(processes, "visible_gpus", list)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert processes._settings(3) == [{"OMP_NUM_THREADS": "2"}] * 3


def test_what_the_opener_refuses_is_raised_here(monkeypatch):
    monkeypatch.setattr(processes, "visible_gpus", list)
    with pytest.raises(InputError, match="Nothing to open: give a sweep"):
        list(ENGINES["gpus"](nothing, 2))


def test_an_opener_that_fails_is_reported_and_not_tried_again(monkeypatch):
    monkeypatch.setattr(processes, "visible_gpus", list)
    events = list(ENGINES["gpus"](crash, 1))
    assert reasons(events, "lost") == ["ZeroDivisionError: in the opener", "its process ended (exit code 1): its cell "
                                       "is taken over, it is not started again"]  # fmt: skip


def test_stopping_the_loop_stops_the_workers(tmp_path, monkeypatch):
    """Both workers stand still after three batches of a cell; so whatever is measured after the stop would be seen."""
    monkeypatch.setattr(processes, "visible_gpus", list)
    monkeypatch.setattr(processes, "PATIENCE", PATIENCE)
    running = ENGINES["gpus"](partial(opener, tmp_path, 4, "hold"), 2, config=QUICK)
    kept = 0
    while kept < 2 * 3:
        kept += next(running).kind == "checkpointed"
    running.close()
    assert multiprocessing.active_children() == [], "nobody works on"
    store = Store(tmp_path)
    assert store.files.names("leases") == set() and store.stems() == set() and store.files.names("partial")


BAD = [
    ("process", {"workers": 2}, "Engine 'process' is one worker, not 2: --engine gpus runs several here."),
    ("process", {"address": "auto"}, "Engine 'process' takes no address ('auto' was given): say --engine ray."),
    ("gpus", {}, "No GPU is here: say --workers N for N processes on the CPU, or --engine process."),
]


@pytest.mark.parametrize("name, options, sentence", BAD)
def test_what_an_engine_cannot_do_it_says(name, options, sentence, monkeypatch):
    monkeypatch.setattr(processes, "visible_gpus", list)
    with pytest.raises(InputError) as caught:
        next(ENGINES[name](crash, **options))
    assert str(caught.value) == sentence


def test_an_unknown_engine_lists_the_known():
    assert engine("ray") is ENGINES["ray"]
    with pytest.raises(InputError, match=r"No engine named .slurm.\. Known engines: process, gpus, ray"):
        engine("slurm")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs the package ray: pip install 'scalinglaws\[ray\]'"):
        next(ENGINES["ray"](crash))


def test_a_ray_that_does_not_start_in_its_time_is_said_in_a_sentence(monkeypatch):
    """Ray raises a bare Exception after 30 s; here one that raises it at once."""

    def init(**options):
        raise Exception("The current node timed out during startup. This could happen because ...")

    cluster = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(ray_actors, "_ray", lambda: cluster)
    with pytest.raises(InputError, match=r"Ray did not start \(Exception: The current node timed out .*less busy"):
        next(ray_actors.ray(nothing))


BUSY = {"RAY_worker_register_timeout_seconds": f"{PATIENCE}", "RAY_health_check_failure_threshold": "1000"}
RAY = """
import sys
from functools import partial
import ray
from cheap_cells import QUICK, opener, patiently
from collect.run.engines import ENGINES
if __name__ == "__main__":
    start = partial(ray.init, num_cpus=2, include_dashboard=False, log_to_driver=False)
    patiently(start, "timed out during startup")  # Ray gives itself 30 s
    for event in ENGINES["ray"](partial(opener, sys.argv[1], 14, "die once"), workers=2, config=QUICK):
        print(event.kind, event.cell, event.who, event.reason)
    ray.shutdown()
"""


@pytest.mark.slow
def test_ray_actors_share_the_cells_and_a_killed_one_is_replaced(tmp_path):
    """A real local Ray, in a process of its own, warnings as errors there, too.

    What an actor yields just before it is killed may never arrive, so that the cells are counted in the store.
    """
    pytest.importorskip("ray")
    here = Path(__file__).parent
    (tmp_path / "s").mkdir()
    script = tmp_path / "ray_sweep.py"
    script.write_text(RAY)
    paths = os.pathsep.join(map(str, (here, here.parent)))
    environment = os.environ | BUSY | {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    finished = subprocess.run([sys.executable, "-W", "error", script, tmp_path / "s"], env=environment, text=True,
                           capture_output=True, timeout=4 * PATIENCE)  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    lines = [line.split(" ") for line in finished.stdout.splitlines()]
    done = [line[0] for line in lines]
    assert 0 < done.count("finished") <= 14 and done.count("lost") == 3 and "checkpointed" in done
    assert "another is started" in finished.stdout
    table = finished_table(Store(tmp_path / "s"))
    assert table.equals(undisturbed(14)) and len(Store(tmp_path / "s").stems()) == 14


@pytest.mark.slow
def test_ray_starts_and_ends_here_and_raises_what_is_refused(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1]))))
    for name, value in BUSY.items():
        monkeypatch.setenv(name, value)

    def run(opening):
        return patiently(lambda: list(ENGINES["ray"](opening, workers=1, config=QUICK)), "Ray did not start")

    events = run(partial(opener, tmp_path / "s", 3))
    assert kinds(events).count("finished") == 3 and not ray.is_initialized()
    with pytest.raises(InputError, match=r"Nothing to open: give a sweep"):
        run(nothing)
    assert not ray.is_initialized()
