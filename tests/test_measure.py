"""One cell under hardship: cut and resumed, out of memory, not finite, compiled; the row is the undisturbed one."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from collect.families.trained import TrainedFamily  # noqa: E402
from collect.jobs import Job, Outcome  # noqa: E402
from collect.models.compiled import Compiled  # noqa: E402
from collect.models.shapes import tiny  # noqa: E402
from collect.profile import energy, meters  # noqa: E402
from collect.profile.stages import Stage, unknown  # noqa: E402
from collect.run.cell import Cell, ExecutionConfig, Ready, deviation, measure, prepare  # noqa: E402
from collect.run.worker import Broken, work  # noqa: E402
from collect.sampling.intra_batch import run_in_parallel, split  # noqa: E402
from collect.sampling.loop import SamplingConfig  # noqa: E402
from collect.store.store import Store  # noqa: E402

CELL = Cell("c8", SamplingConfig("ddim", 2, 2.0), 100)
TIMING = {"seconds_per_image", "seconds_mad", "seconds_text", "seconds_decode", "peak_memory_bytes"}


@pytest.fixture
def family(small_family):
    return TrainedFamily(Path(small_family))


def ready(family, **execution):
    return prepare(family.model("c8"), ExecutionConfig(batch=20, **execution))


def without_timing(row):
    return {k: v for k, v in row.items() if k not in TIMING}


def test_a_cut_cell_goes_on_from_its_sums_to_the_same_row(family):
    scores, held = family.metrics(), []
    whole = measure(CELL, family, ready(family), scores)

    class Cut(Exception):
        pass

    def cut(sums):
        held.append({k: v.copy() for k, v in sums.items()})
        if len(held) == 3:
            raise Cut

    with pytest.raises(Cut):
        measure(CELL, family, ready(family), scores, checkpoint=cut)
    seen = []
    rest = measure(CELL, family, ready(family), scores, held[-1], keep=lambda indices, x: seen.extend(indices))
    assert seen == list(range(60, 100))
    assert without_timing(rest) == without_timing(whole)


class Hungry(torch.nn.Module):
    """A network that runs out of memory above so many samples."""

    def __init__(self, inner, most):
        super().__init__()
        self.inner, self.most, self.seen = inner, most, []

    def forward(self, x, *args, **kwargs):
        self.seen.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.inner(x, *args, **kwargs)


def test_out_of_memory_halves_the_batch_and_keeps_the_samples(family):
    scores, model = family.metrics(), family.model("c8")
    whole = measure(CELL, family, ready(family), scores)
    hungry = Hungry(model.denoiser, 12)  # pairs of 20, 10 and 5 samples are 40, 20 and 10
    row = measure(CELL, family, Ready(model, hungry, ExecutionConfig(batch=20)), scores)
    assert row["sampling_batch"] == 5 and hungry.seen[:3] == [40, 20, 10]
    assert row["fd"] == pytest.approx(whole["fd"], rel=1e-4) and row["nfe"] == whole["nfe"]
    assert row["agreement"] == whole["agreement"]


def test_peak_memory_is_that_of_the_batch_that_fitted(family):
    """Half a gigabyte that a batch asked for before it failed is no memory that the smaller one takes."""
    model, wasted = family.model("c8"), 2**29

    class Greedy(Hungry):
        def forward(self, x, *args, **kwargs):
            room = torch.ones(wasted // 4) if len(x) > self.most else None  # noqa: F841 - held while it fails
            return super().forward(x, *args, **kwargs)

    rows = [measure(CELL, family, Ready(model, Greedy(model.denoiser, most), ExecutionConfig(batch=batch)), [])
            for most, batch in ((20, 10), (20, 20))]  # fmt: skip
    assert [row["sampling_batch"] for row in rows] == [10, 10]
    if rows[0]["peak_memory_bytes"] is None:
        pytest.skip("no peak that can be reset here")
    assert rows[1]["peak_memory_bytes"] < rows[0]["peak_memory_bytes"] + wasted / 2


def test_out_of_memory_at_one_sample_is_an_outcome(family):
    model = family.model("c8")
    with pytest.raises(Outcome, match="oom: one sample at a time does not fit"):
        measure(CELL, family, Ready(model, Hungry(model.denoiser, 0), ExecutionConfig(batch=20)), family.metrics())


def test_other_failures_are_outcomes_with_their_reason(family):
    model = family.model("c8")

    class Broken(torch.nn.Module):
        def forward(self, x, *args, **kwargs):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(Outcome, match="error: RuntimeError: mat1 and mat2"):
        measure(CELL, family, Ready(model, Broken(), ExecutionConfig(batch=20)), family.metrics())


class Failing(torch.nn.Module):
    """A network that fails with these words, above so many samples."""

    def __init__(self, inner, words, most=0):
        super().__init__()
        self.inner, self.words, self.most = inner, words, most

    def forward(self, x, *args, **kwargs):
        if len(x) > self.most:
            raise RuntimeError(self.words)
        return self.inner(x, *args, **kwargs)


def test_a_gpu_fault_ends_the_worker_so_that_no_other_cell_fails_of_it(family, tmp_path):
    """After a CUDA error every later call of the process fails, whatever the cell: the next cells are left to others.

    The words are torch's own, here of a network on the CPU.
    """
    cells, model = [CELL, replace(CELL, samples=60)], family.model("c8")
    fault = Failing(
        model.denoiser, "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"
    )
    held = Ready(model, fault, ExecutionConfig(batch=20))
    jobs, store = [Job(cell.name, "0" * 16, 1.0, cell) for cell in cells], Store(tmp_path)
    with pytest.raises(Broken, match="CUDA error: device-side assert triggered"):
        list(work(jobs, store, lambda cell, *more: measure(cell, family, held, family.metrics(), *more)))
    assert len(store.failures()) == 1


def test_every_way_in_which_torch_says_that_memory_ran_out_halves_the_batch(family):
    for words in (
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ):
        model = family.model("c8")
        fault = Failing(model.denoiser, words, most=20)
        row = measure(CELL, family, Ready(model, fault, ExecutionConfig(batch=20)), family.metrics())
        assert row["sampling_batch"] == 10


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_an_outcome(family, value):
    model = family.model("c8")
    with torch.no_grad():
        model.denoiser.conv_out.bias.fill_(value)
    with pytest.raises(Outcome, match="nan: the sampler gave numbers that are not finite"):
        measure(CELL, family, Ready(model, model.denoiser, ExecutionConfig(batch=20)), family.metrics())
    fine = family.model("c8")
    broken = replace(fine, decode=lambda x: x[:, :1] * value)
    with pytest.raises(Outcome, match="nan: the decoder gave numbers that are not finite"):
        measure(CELL, family, Ready(broken, broken.denoiser, ExecutionConfig(batch=20)), family.metrics())


def test_seconds_a_sample_and_their_spread_over_batches():
    assert np.isnan(deviation([(9.0, 3)])) and deviation([(1.0, 10), (2.0, 10), (1.5, 5)]) == pytest.approx(0.1)
    stage = Stage()
    stage.readings = [(1.0, 10), (2.0, 10), (1.5, 5)]
    assert stage.seconds_per_sample == pytest.approx(4.5 / 25)


def test_a_stage_is_weighed_after_a_batch_long_enough_by_hand(monkeypatch):
    """100 W; a batch is weighed where each piece of the one before took a second, and counts where its own did."""
    clock = SimpleNamespace(now=0.0)
    replayed = SimpleNamespace(perf_counter=lambda: clock.now)
    monkeypatch.setattr(meters, "time", replayed)
    monkeypatch.setattr(energy, "time", replayed)
    stage = Stage(meter=(Board(clock), None))

    def batch(samples, *pieces):
        stage.begin()
        for seconds in pieces:
            with stage:
                clock.now += seconds
        stage.end(samples)

    batch(10, 2.0)
    assert stage.joules_per_sample is None and stage.why.startswith("No batch after the first took 1 s or more")
    batch(10, 2.0, 3.0)
    batch(20, 1.0)
    assert stage.joules_per_sample == pytest.approx((500 + 100) / 30) and stage.seconds_per_sample == 8 / 40
    batch(10, 4.0, 0.5)  # weighed, and half a second is too short
    assert stage.why == "0.5 s are too short a window for the recorded board: 1 s or more."
    batch(10, 9.0)  # not weighed: the one before had a piece of half a second
    again = Stage().resume(**stage.arrays())
    for one in (stage, again):
        assert one.joules_per_sample == pytest.approx(20) and one.seconds_per_sample == pytest.approx(21.5 / 60)


def test_columns_that_are_null_for_one_reason_share_a_sentence():
    assert unknown({"a": "No meter.", "b": "Too short.", "c": "No meter."}) == "a, c: No meter. b: Too short."
    assert unknown({}) is None


class Cold(torch.nn.Module):
    """A network whose first call of a shape takes 1000 s of a replayed clock, as a compiler's does, others 1 s."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.known, self.calls, self.now = inner, set(), 0, 0.0

    def forward(self, x, *args, **kwargs):
        self.now += 1 if x.shape in self.known else 1000
        self.known.add(x.shape)
        self.calls += 1
        return self.inner(x, *args, **kwargs)


@pytest.mark.parametrize("interval", [None, (0.5, 10.0)])
def test_what_a_first_call_takes_is_no_cost_of_an_image(family, interval, monkeypatch):
    model, cell = family.model("c8"), replace(CELL, samples=20, sampling=replace(CELL.sampling, interval=interval))
    cold = Cold(model.denoiser)
    monkeypatch.setattr(meters, "time", SimpleNamespace(perf_counter=lambda: cold.now))
    prepared = Ready(model, cold, ExecutionConfig(batch=20))
    row = measure(cell, family, prepared, family.metrics())
    assert len(cold.known) == (2 if interval else 1)
    assert row["seconds_per_image"] * 20 == cell.sampling.steps and row["seconds_decode"] == 0
    before = cold.calls
    measure(cell, family, prepared, family.metrics())
    assert cold.calls - before == cell.sampling.steps  # a shape that has run is not run again


class Board:
    """An energy source: 100 J each time the clock of a Cold network moves on by a second."""

    name = "recorded board"

    def __init__(self, network):
        self.network = network

    def begin(self):
        return self.network.now

    def end(self, before):
        return (self.network.now - before) * 100, None


def test_joules_of_each_stage_are_those_of_batches_long_enough_to_weigh(family, monkeypatch):
    """Denoising takes 2 s per batch of 20 and is weighed from the second batch on; decoding takes no time here."""
    model = family.model("c8")
    cold = Cold(model.denoiser)
    replayed = SimpleNamespace(perf_counter=lambda: cold.now)
    monkeypatch.setattr(meters, "time", replayed)
    monkeypatch.setattr(energy, "time", replayed)
    ready, held = Ready(model, cold, ExecutionConfig(batch=20), (Board(cold), None)), []
    whole = measure(CELL, family, ready, family.metrics(), checkpoint=held.append)
    assert whole["joules_per_image"] == pytest.approx(2 * 100 / 20)
    assert whole["joules_decode"] is None and whole["joules_text"] is None
    assert whole["unknown"].startswith("joules_text, joules_decode: No batch after the first took 1 s or more")
    resumed = measure(CELL, family, ready, family.metrics(), held[2])
    assert resumed["joules_per_image"] == whole["joules_per_image"]
    none = measure(CELL, family, replace(ready, meter=(None, "No meter is here.")), family.metrics())
    assert none["joules_per_image"] is None
    assert none["unknown"] == "joules_text, joules_per_image, joules_decode: No meter is here."


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch's compiler
@pytest.mark.slow
def test_a_compiled_network_gives_the_same_row_with_whole_batches(family):
    cell, scores = replace(CELL, samples=90), family.metrics()  # the last batch is half full
    eager = measure(cell, family, ready(family), scores)
    compiled = measure(cell, family, ready(family, compile=True, channels_last=True), scores)
    assert compiled["nfe"] == eager["nfe"] and compiled["agreement"] == pytest.approx(eager["agreement"], abs=0.02)
    assert compiled["fd"] == pytest.approx(eager["fd"], rel=1e-3)
    assert np.isfinite(compiled["seconds_per_image"])


@pytest.mark.parametrize("workers", [2, 3])
def test_intra_batch_workers_change_nothing_but_the_seconds(family, workers):
    scores, threads = family.metrics(), torch.get_num_threads()
    whole = without_timing(measure(CELL, family, ready(family), scores))
    split = without_timing(measure(CELL, family, ready(family, intra_batch_workers=workers), scores))
    assert split.pop("fd") == pytest.approx(whole.pop("fd"), rel=1e-4)
    assert split["nfe"] == whole["nfe"] and split["agreement"] == whole["agreement"]
    assert torch.get_num_threads() == threads


def test_parts_of_a_batch_are_neighbours_of_nearly_the_same_size():
    for count in range(1, 8):
        for workers in range(1, 10):
            parts = split(np.arange(count), workers)
            assert np.concatenate(parts).tolist() == list(range(count)) and len(parts) == min(workers, count)
            sizes = [len(part) for part in parts]
            assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


def test_workers_share_the_cores_and_give_them_back():
    """Two calls meet in pairs, so both are under way at once; results keep the order of what was given."""
    before, meeting = torch.get_num_threads(), threading.Barrier(2, timeout=20)
    try:
        torch.set_num_threads(4)

        def run(number, letter):
            meeting.wait()
            return number, letter, torch.get_num_threads()

        assert run_in_parallel(2, run, range(4), "abcd") == [(k, "abcd"[k], 2) for k in range(4)]
        assert run_in_parallel(8, lambda _: torch.get_num_threads(), range(3)) == [1, 1, 1]
        assert run_in_parallel(1, lambda _: torch.get_num_threads(), range(3)) == [4, 4, 4]
        with pytest.raises(ZeroDivisionError):
            run_in_parallel(2, lambda x: 1 / x, [1, 0, 2])
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_what_fails_in_an_intra_batch_worker_is_the_outcome(family):
    model = family.model("c8")
    hungry = Hungry(model.denoiser, 4)
    row = measure(
        CELL, family, Ready(model, hungry, ExecutionConfig(batch=20, intra_batch_workers=2)), family.metrics()
    )
    assert row["sampling_batch"] == 2  # pairs of ten a worker, of five, of two and three, of one
    with torch.no_grad():
        model.denoiser.conv_out.bias.fill_(float("nan"))
    with pytest.raises(Outcome, match="nan: the sampler gave"):
        measure(
            CELL,
            family,
            Ready(model, model.denoiser, ExecutionConfig(batch=20, intra_batch_workers=2)),
            family.metrics(),
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch's compiler
@pytest.mark.slow
def test_every_model_of_a_class_is_compiled_for_itself(family):
    x, t, classes = torch.randn(6, 4, 8, 8), torch.full((6,), 500.0), torch.arange(6)
    graphs = torch._dynamo.utils.counters["stats"]
    for c in [4, 8, 12] * 4:  # more than the eight that torch keeps of one code object
        net, before = tiny(c).eval(), graphs["unique_graphs"]
        with torch.no_grad():
            twin = Compiled(net, {"cpp_wrapper": True})(x, t, class_labels=classes).sample
            assert torch.allclose(twin, net(x, t, class_labels=classes).sample, rtol=1e-4, atol=1e-4)
        assert graphs["unique_graphs"] == before + 1
