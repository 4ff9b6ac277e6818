"""Seconds, memory, joules and the best batch: counters replayed, formulas in closed form, and this machine as it is."""

import math
import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cheap_cells import PATIENCE  # noqa: E402

from collect.jobs import Outcome  # noqa: E402
from collect.profile import energy, meters  # noqa: E402
from collect.profile.batch_size import best_batch  # noqa: E402
from collect.profile.energy import Counter, Joules, Power, find, trapezoid  # noqa: E402
from collect.profile.meters import Timer, out_of_memory, peak_bytes, reset_peak  # noqa: E402

ANY = {"shortest": 0.0}


class Refused(Exception):
    """What NVML raises, here."""


def nvml(millijoules=None, milliwatts=None, mig=0, known=("GPU-7",)):
    """A stand-in for pynvml that replays its counters; one that is None is not supported."""

    def handle(uuid):
        if uuid not in known:
            raise Refused("Not Found")
        return "handle"

    def answering(values):
        left = iter(values or ())

        def ask(handle):
            if values is None:
                raise Refused("Not Supported")
            return next(left)

        return ask

    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetMigMode=lambda handle: (mig, mig),
        nvmlDeviceGetTotalEnergyConsumption=answering(millijoules),
        nvmlDeviceGetPowerUsage=answering(milliwatts),
    )


def window(source, **options):
    with Joules(source, **(ANY | options)) as used:
        pass
    return used


class Replayed:
    """A clock in place of the module `time`, that moves on by `step` seconds at every look, and when it is set."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def perf_counter(self):
        self.now += self.step
        return self.now


def test_nvml_s_millijoules_become_joules_and_add_up_over_windows():
    source, reason = find("cuda", nvml([0, 5_000, 7_500, 9_000, 9_250]), "GPU-7")
    used = Joules(source, **ANY)
    for _ in range(2):
        with used:
            pass
    assert reason is None and used.joules == pytest.approx(2.5 + 0.25) and used.reason is None


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ([0, 9_000, 40], "NVML energy counter ran backwards"),
        ([0, 9_000, 9_000], "NVML energy counter did not move"),
        ([0, 9_000], "stopped answering"),
    ],
)
def test_a_counter_that_cannot_be_right_gives_null_and_the_reason(counts, sentence):
    used = window(find("cuda", nvml(counts), "GPU-7")[0])
    assert used.joules is None and sentence in used.reason


def test_one_bad_window_spoils_the_sum():
    used = Joules(find("cuda", nvml([0, 10, 20, 30, 5, 40, 50]), "GPU-7")[0], **ANY)
    for _ in range(3):
        with used:
            pass
    assert used.joules is None and "backwards" in used.reason


def test_a_window_under_a_second_is_refused():
    used = window(find("cuda", nvml([0, 1_000, 2_000]), "GPU-7")[0], shortest=1.0)
    assert used.joules is None and "too short a window for the NVML energy counter: 1 s or more" in used.reason


def test_power_is_integrated_where_there_is_no_counter(monkeypatch):
    """250 W for as long as the replayed clock says, whenever the readings come."""
    clock, polled = Replayed(step=0.01), threading.Event()
    monkeypatch.setattr(energy, "time", clock)

    def milliwatts(handle, count=[]):  # noqa: B006 - counts on purpose
        count.append(1)
        if len(count) > 4:
            polled.set()
        return 250_000

    board = nvml(None, [])
    board.nvmlDeviceGetPowerUsage = milliwatts
    source, _ = find("cuda", board, "GPU-7")
    assert isinstance(source, Power)
    readings = []
    monkeypatch.setattr(energy, "trapezoid", lambda given: readings.extend(given) or trapezoid(given))
    with Joules(source, **ANY) as used:
        assert polled.wait(PATIENCE)
    assert len(readings) > 4 and used.joules == pytest.approx(250 * (readings[-1][0] - readings[0][0]))


def test_trapezoids_are_exact_for_a_ramp_and_close_for_a_wave():
    t = np.linspace(0, 3, 61)
    assert trapezoid(list(zip(t, 100 + 50 * t, strict=True))) == pytest.approx(100 * 3 + 25 * 9)
    assert trapezoid(list(zip(t, 200 + np.sin(t), strict=True))) == pytest.approx(600 + 1 - math.cos(3), rel=1e-5)


def test_power_that_falls_silent_is_not_integrated(monkeypatch):
    clock, lost = Replayed(), threading.Event()
    monkeypatch.setattr(energy, "time", clock)
    answers = iter([100.0, None])

    def watts():
        if (value := next(answers, 100.0)) is None:
            clock.now += 1.5  # and no reading in this time
            lost.set()
            raise Refused("GPU is lost")
        return value

    with Joules(Power("NVML power", watts, every=0.001), **ANY) as used:
        assert lost.wait(PATIENCE)
    assert used.joules is None and "gave no reading for 1.5 s" in used.reason


@pytest.mark.parametrize(
    ("stand_in", "uuid", "sentence"),
    [
        (nvml(), "GPU-7", r"neither energy nor power for this board \(Not Supported\)"),
        (nvml([1]), "GPU-8", r"does not answer for GPU-8 \(Not Found\)"),
        (nvml([1], mig=1), "GPU-7", "a slice.s energy is not known"),
    ],
)
def test_no_meter_is_a_sentence(stand_in, uuid, sentence):
    source, reason = find("cuda", stand_in, uuid)
    assert source is None and re.search(sentence, reason)
    assert window(source, reason=reason).joules is None and window(source, reason=reason).reason == reason


def test_the_real_nvml_module_has_every_function_asked_for_and_answers_or_says_why():
    pynvml = pytest.importorskip("pynvml")
    for name in vars(nvml()):
        assert callable(getattr(pynvml, name))
    source, reason = find("cuda", uuid="GPU-00000000-0000-0000-0000-000000000000")
    assert source is None and reason.startswith("NVML does not answer for GPU-00000000")


def zone(folder, name, label, microjoules, most=262_143_328_850):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(label + "\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    return path


def test_processor_packages_and_memory_are_added_and_nothing_twice(tmp_path):
    zones = [zone(tmp_path, "intel-rapl:0", "package-0", 10**6), zone(tmp_path, "intel-rapl:0:0", "dram", 10**6)]
    for name, label in (("intel-rapl:0:1", "core"), ("intel-rapl:1", "psys")):
        zones.append(zone(tmp_path, name, label, 10**6))
    source, _ = find("cpu", powercap=tmp_path)
    with Joules(source, **ANY) as used:
        for path in zones:
            (path / "energy_uj").write_text(str(4 * 10**6))
    assert used.joules == pytest.approx(3 + 3)


def test_a_counter_that_began_again_once_is_followed_and_more_often_refused(tmp_path):
    path = zone(tmp_path, "intel-rapl:0", "package-0", 65_000_000_000, most=65_532_610_987)
    source, _ = find("cpu", powercap=tmp_path)
    with Joules(source, **ANY) as used:
        (path / "energy_uj").write_text("67389013")
    assert used.joules == pytest.approx(600.0)
    for wraps in ((1e-6,), (1e-6, 1e12)):  # the smallest counter wraps first
        slow = Counter("RAPL counter", lambda wraps=wraps: (1.0,) * len(wraps), wraps)
        assert "more than once" in window(slow).reason


def test_counters_that_cannot_be_read_are_distinguished_from_none(tmp_path):
    assert "shows no energy counter" in find("cpu", powercap=tmp_path)[1]
    (zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").unlink()
    assert "root only" in find("cpu", powercap=tmp_path)[1]


def test_this_machine_answers_with_a_meter_or_a_sentence():
    source, reason = find("cpu")
    assert (source is None) == (reason is not None) and (reason is None or reason.endswith("."))


def test_the_timer_adds_up_over_blocks(monkeypatch):
    replayed = Replayed()
    monkeypatch.setattr(meters, "time", replayed)
    timer = Timer()
    for seconds in (0.5, 0.25):
        with timer:
            replayed.now += seconds
        replayed.now += 10  # between the blocks
    assert timer.seconds == 0.75


def test_the_peak_sees_an_allocation_that_is_gone():
    if not reset_peak():
        pytest.skip("this system has no resettable peak")
    before = peak_bytes()
    np.ones(25_000_000)  # 200 MB, freed at once
    assert peak_bytes() - before == pytest.approx(2e8, rel=0.1)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_distinguished_from_other_errors(error, memory):
    assert out_of_memory(error) is memory


def test_real_memory_that_cannot_be_had_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)


def machine(overhead, rate, room=10**9, knee=10**9):
    """run and stopwatch of a machine: seconds = overhead + batch/rate, slower past the knee, no room past `room`."""
    tried = []

    def run(batch):
        tried.append(batch)
        if batch > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def stopwatch(work):
        work()
        return overhead + tried[-1] / rate * (2 if tried[-1] > knee else 1)

    return run, stopwatch, tried


@pytest.mark.parametrize(
    ("options", "best", "sentence"),
    [
        ({"overhead": 0.01, "rate": 1000}, 256, "All candidates were tried"),  # 512 gains 1.9 %: not worth it
        ({"overhead": 0.0, "rate": 1000}, 1, "All candidates were tried"),  # nothing gained: the smallest
        ({"overhead": 0.01, "rate": 1000, "knee": 64}, 64, "A batch of 128 is slower"),
        ({"overhead": 0.01, "rate": 1000, "room": 40}, 32, "A batch of 64 does not fit in memory"),
        ({"overhead": 1.0, "rate": 10}, 32, "A batch of 64 would not end within 60 s"),
    ],
)
def test_the_best_batch_of_a_known_machine(options, best, sentence):
    run, stopwatch, _ = machine(**options)
    chosen = best_batch(run, stopwatch=stopwatch)
    assert chosen.batch == best and sentence in chosen.stopped
    assert chosen.tried[0].throughput == pytest.approx(1 / (options["overhead"] + 1 / options["rate"]))


def test_the_first_call_of_a_batch_is_not_counted():
    seconds = iter([8.0, 1.0, 9.0, 1.6])
    chosen = best_batch(None, (1, 2), stopwatch=lambda work: next(seconds), repeats=1)
    assert [tried.seconds for tried in chosen.tried] == [1.0, 1.6] and chosen.batch == 2


def test_a_machine_without_room_for_one_is_an_outcome_and_other_errors_pass():
    run, stopwatch, _ = machine(0.1, 10, room=0)
    with pytest.raises(Outcome, match=r"batch of 1 does not fit in memory\. It is the smallest"):
        best_batch(run, stopwatch=stopwatch)
    with pytest.raises(ZeroDivisionError):
        best_batch(lambda batch: 1 / 0, (1, 2))


def test_a_real_model_gets_a_batch():
    model = torch.nn.Linear(256, 256)
    with torch.no_grad():
        chosen = best_batch(lambda batch: model(torch.zeros(batch, 256)), (1, 8, 64), seconds_limit=5)
    assert chosen.batch in (1, 8, 64) and chosen.tried[0].batch == 1
