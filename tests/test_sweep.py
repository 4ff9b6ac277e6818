"""Sweeps on a small random family: planned, measured, killed, resumed, damaged, refused."""

import os
import pickle
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

pytest.importorskip("torch")

import torch

from collect import metrics, weights
from collect.families import TrainedFamily
from collect.metrics.mean import Mean
from collect.profile import latency
from collect.run import profiling, sweep
from collect.run.cell import Cell, ExecutionConfig, cell_key, settings
from collect.run.plan import plan
from collect.run.worker import work
from collect.sampling import loop, verifiers
from collect.sampling.loop import SamplingConfig
from collect.store.store import Store, verify
from scalinglaws import schema
from scalinglaws.schema import InputError

SWEEP = "family: {family}\nsizes: [8, 12]\nsamplers: [ddim]\nsteps: [1, 2]\nsamples: 80\nbatch: 40\n"
TIMING = ["seconds_per_image", "seconds_mad", "seconds_text", "seconds_decode", "peak_memory_bytes"]


def run(opened):
    """Measure what is missing in this process; yields the rows."""
    verify(opened.store)
    for event in work(opened.jobs, opened.store, sweep.Measurer(opened)):
        assert event.kind != "failed", event.reason
        if event.kind == "finished":
            yield event.row


def status(opened):
    return {"cells": len(opened.jobs), "missing": len(opened.missing())}


@pytest.fixture
def file(small_family, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP.format(family=small_family))
    return path


def without_timing(store):
    """The finished table without what the clock and the memory say."""
    return store.table().drop(columns=TIMING).sort_values(["base_channels", "steps"]).reset_index(drop=True)


def test_every_cell_is_measured_once_and_obeys_the_schema(file, tmp_path):
    opened = sweep.open_sweep(file, tmp_path / "store")
    prices = plan(opened)
    assert len(prices) == 4 and all(p.seconds > 0 for p in prices)
    cost_profile = opened.family.cost_profile("c12")
    assert prices[-1].flops == 80 * (2 * cost_profile.denoiser.flops + cost_profile.decoder.flops)
    assert len(list(run(opened))) == 4
    assert list(run(opened)) == [] and plan(opened) == []
    table = opened.store.table()
    assert schema.check(table) == []
    assert set(table.columns) <= set(schema.COLUMNS)
    assert (table.flops_per_image == table.nfe * table.flops_per_forward).all()
    assert (table.nfe == table.steps).all()
    assert status(opened) == {"cells": 4, "missing": 0}


def test_stopped_anywhere_it_goes_on(file, tmp_path):
    straight = sweep.open_sweep(file, tmp_path / "a")
    list(run(straight))
    stopped = sweep.open_sweep(file, tmp_path / "b")
    next(run(stopped))
    assert status(stopped)["missing"] == 3
    list(run(stopped))
    pd.testing.assert_frame_equal(without_timing(straight.store), without_timing(stopped.store))


def test_a_damaged_cell_is_quarantined_and_measured_again(file, tmp_path):
    opened = sweep.open_sweep(file, tmp_path / "store")
    list(run(opened))
    before = without_timing(opened.store)
    victim = sorted(opened.store.cells.glob("*.parquet"))[1]
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{victim.name} is damaged .* delete it and run the sweep again"):
        opened.store.table()
    assert len(list(run(opened))) == 1
    assert len(list(opened.store.cells.glob("*.damaged"))) == 1
    pd.testing.assert_frame_equal(before, without_timing(opened.store))


def test_other_weights_are_another_cell(small_family, tmp_path):
    import shutil

    from collect import weights
    from collect.families.trained import TrainedFamily
    from collect.models import shapes as families

    def identity(folder):
        family = TrainedFamily(folder)
        return cell_key(family, family.metrics(), ExecutionConfig())(Cell("c8", SamplingConfig("ddim", 1), 80))

    copy = tmp_path / "family"
    shutil.copytree(small_family, copy)
    assert identity(copy) == identity(small_family)
    weights.save(families.tiny(8).state_dict(), copy / "c8.safetensors", half=True)
    assert identity(copy) != identity(small_family)


def test_truncated_and_foreign_weights_are_refused(small_family, tmp_path):
    import shutil

    from collect.families.trained import TrainedFamily

    copy = tmp_path / "family"
    shutil.copytree(small_family, copy)
    shutil.copy(copy / "c12.safetensors", copy / "c8.safetensors")
    with pytest.raises(InputError, match=r"c8.safetensors does not fit this model"):
        TrainedFamily(copy).denoiser(8)
    os.truncate(copy / "c8.safetensors", 1000)
    with pytest.raises(InputError, match=r"c8.safetensors is damaged"):
        TrainedFamily(copy).denoiser(8)


BAD = [
    ("steps: [1, 2]", "steps: [0]", "sweep.yaml, line 4: 'steps.0' was 0: Input should be greater than 0"),
    ("steps: [1, 2]", "steps: [2000]", "'steps.0' was 2000"),
    ("samplers: [ddim]", "samplers: [eulr]", "No sampler named 'eulr'. Known samplers: ddim"),
    ("samples: 80", "samples: 3", "'samples' was 3: Input should be greater than or equal to 4"),
    ("sizes: [8, 12]", "sizes: [9]", "Family 'small' has no model c9. Its models are c8, c12"),
    ("batch: 40", "bacth: 40", "line 6: 'bacth' was 40: Extra inputs are not permitted (allowed keys: family, sizes"),
    ("steps: [1, 2]", "", "sweep.yaml, line 1: 'steps' is missing."),
    ("batch: 40", "batch: 0", "line 6: 'batch' was 0: Input should be greater than 0; "),
    ("batch: 40", "batch: [", "is not readable YAML"),
    ("family: ", "family: nowhere/", "No file"),
]


@pytest.mark.parametrize("old, new, sentence", BAD, ids=[new for _, new, _ in BAD])
def test_bad_sweep_files_get_one_sentence(file, old, new, sentence):
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        sweep.open_sweep(file)
    assert sentence in str(caught.value)


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="No CUDA device is here"):
        sweep.pick_device("cuda")
    assert sweep.pick_device() == "cpu"


def test_export_joins_stores_and_tables_and_drops_repeats(file, tmp_path):
    from collect.store.tables import export

    opened = sweep.open_sweep(file, tmp_path / "store")
    next(run(opened))
    first = export([tmp_path / "store"], tmp_path / "first.csv")
    list(run(opened))
    both = export([tmp_path / "first.csv", tmp_path / "store"], tmp_path / "all.parquet")
    assert len(first) == 1 and len(both) == 4
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "all.parquet"), both)
    with pytest.raises(InputError, match=r"'x.txt' is neither .csv nor .parquet"):
        export([tmp_path / "store"], "x.txt")
    with pytest.raises(InputError, match="holds no finished cell"):
        export([tmp_path], tmp_path / "none.csv")


def test_latency_is_that_of_a_cell_of_the_sweep(file, tmp_path, monkeypatch):
    """Of two intervals the one of most evaluations: guidance was on at every step, which no cell of the sweep has."""
    file.write_text(file.read_text() + "guidance: [1.0, 2.0]\nguidance_interval: [[0.5, 2.0], [0.2, 4.0]]\n")
    here = lambda opener, batch, device, protocol, timeout: latency.take(opener, batch, latency.real(device), protocol)  # noqa: E731
    monkeypatch.setattr(profiling, "measure_latency", here)  # in this process
    opener, once = sweep.Opener(str(file), tmp_path / "store", "cpu"), latency.Protocol(0, 1, 0.0, 1, 0.0)
    rows = list(profiling.latencies(opener, 8, 4, once))
    config = SamplingConfig("ddim", 8, 2.0, (0.2, 4.0))
    nfe = [loop.evaluations(replace(config, interval=at), opener.sweep.family.traits("c8"))
           for at in ((0.5, 2.0), (0.2, 4.0), None)]  # fmt: skip
    assert nfe[0] < nfe[1] < nfe[2] == 16
    assert [(row["model"], row["guidance_interval"], row["nfe"]) for row in rows] == [
        ("c8", "0.2-4", nfe[1]), ("c12", "0.2-4", nfe[1])]  # fmt: skip
    assert {row["guidance_interval"] for row in rows} <= {
        settings(cell)["guidance_interval"] for cell in opener.sweep.cells if cell.sampling.guidance != 1}  # fmt: skip
    assert schema.check(pd.DataFrame(rows)) == [] and all(row["seconds_per_image"] > 0 for row in rows)


def test_an_export_of_hub_models_fetches_them_only_if_allowed(tmp_path, monkeypatch, said):
    """Its sweep names cells by their weights; a run may fetch them, and an export on another machine could not."""
    asked = []

    def hub(name, local_files_only, **_):
        asked.append((name, local_files_only))
        raise OSError("no network in tests")

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    (tmp_path / "family.yaml").write_text(f"family: f\nmodels: [{{label: a, path: org/a, revision: {'f' * 40}}}]\n")
    (tmp_path / "sweep.yaml").write_text("family: .\nsteps: [1]\n")
    words = ["collect", "export", tmp_path / "store", tmp_path / "out.csv", "--sweep", tmp_path / "sweep.yaml"]
    for more in ([], ["--download"]):
        code, _, err = said(*words, *more)
        assert code == 2 and "org/a at ffff" in err and "is not on this machine" in err
    assert asked == [("org/a", True), ("org/a", False)]


def test_what_is_done_is_said_without_counting_a_network(file, tmp_path, monkeypatch, said):
    """FLOPs of a call took a third of the seconds of `status`, which prints none."""
    opened = sweep.open_sweep(file, tmp_path / "store")
    assert [(job.name, job.key) for job in opened.uncounted] == [(job.name, job.key) for job in opened.jobs]
    counted = [80 * (steps * profile.denoiser.flops + profile.decoder.flops)
               for profile in map(opened.family.cost_profile, ("c8", "c12")) for steps in (1, 2)]  # fmt: skip
    assert [job.flops for job in opened.jobs] == counted
    monkeypatch.setattr("collect.families.trained.count", None)
    code, out, err = said("collect", "status", file, "--store", tmp_path / "store")
    assert code == 0 and "0 of 4 cells done, 4 missing" in out, err


def test_an_export_says_what_was_measured_twice_and_takes_the_cells_of_a_sweep_alone(file, tmp_path, said):
    """An older cell of one name, such as of other weights, and one of a step count that the sweep no longer has."""
    opened, store = sweep.open_sweep(file, tmp_path / "store"), Store(tmp_path / "store")
    rows = list(run(opened))
    first = opened.jobs[0]
    store.write(first.name, "0" * 16, rows[0] | {"fd": 1e6})
    words = ["collect", "export", store.folder, tmp_path / "all.csv"]
    code, out, err = said(*words)
    assert code == 0 and "5 rows in" in out and f"{store.folder} has more than once: 1, such as" in err
    assert first.name in err and "--sweep FILE takes those" in err
    store.write("c8-ddim-64-w1-n80-s0", "1" * 16, rows[0] | {"steps": 64})
    code, out, err = said(*words, "--sweep", file)
    kept = pd.read_csv(tmp_path / "all.csv")
    assert code == 0 and not err and f"2 of the store's 6 cells are left out: {file} does not name them" in out
    assert sorted(kept.steps) == [1, 1, 2, 2] and sorted(kept.fd) == pytest.approx(sorted(r["fd"] for r in rows))
    file.write_text(file.read_text().replace("[1, 2]", "[3]"))
    assert "holds none of the sweep's cells" in said(*words, "--sweep", file)[2]


def test_status_counts_by_names_and_reads_cells_when_it_is_to_verify(file, tmp_path, said):
    opened = sweep.open_sweep(file, tmp_path / "store")
    list(run(opened))
    path = opened.store.path(opened.jobs[1].name, opened.jobs[1].key)
    path.write_bytes(path.read_bytes()[:-1])
    words = ["collect", "status", file, "--store", tmp_path / "store"]
    assert "4 of 4 cells done, 0 missing\n" in said(*words)[1]
    out = said(*words, "--verify")[1]
    assert "3 of 4 cells done, 1 missing, 1 quarantined as damaged" in out
    assert f"cells/{path.stem}.damaged was damaged: the next run measures its cell again" in out
    assert said("collect", "plan", file, "--store", tmp_path / "store", "--untimed")[1].count(opened.jobs[1].name) == 1


def test_networks_of_metrics_and_verifiers_are_on_the_device_of_the_sweep(file, monkeypatch):
    """Every machine has the device 'meta'."""
    monkeypatch.setitem(verifiers.VERIFIERS, "mine", lambda family, device="nowhere": device)
    columns = {"columns": ()}
    mine = lambda scale=1.0, device="nowhere": SimpleNamespace(scale=scale, device=device, **columns)  # noqa: E731
    monkeypatch.setitem(metrics.METRICS, "mine", mine)
    monkeypatch.setitem(metrics.METRICS, "plain", lambda scale: SimpleNamespace(scale=scale, device=None, **columns))
    file.write_text(file.read_text() + "best_of: [2]\nverifier: mine\n")
    opened = sweep.open_sweep(file, device="meta")
    distances, _ = opened.scores
    assert all(p.is_meta for p in distances.network.model.parameters())
    assert opened.verifier == "meta"
    specs = [{"name": "mine", "scale": 2.0}, {"name": "mine", "device": "cpu"}, {"name": "plain", "scale": 3.0}]
    found = [(metric.scale, metric.device) for metric in opened.family.metrics(specs, "meta")]
    assert found == [(2.0, "meta"), (1.0, "cpu"), (3.0, None)]


def test_the_likelihood_of_a_class_is_the_softmax_of_the_family_s_classifier(small_family):
    """Against the weights of the family, and scipy; the identity names the network's file by its hash."""
    family = TrainedFamily(Path(small_family))
    samples = torch.randint(0, 256, (6, 1, 32, 32), dtype=torch.uint8)
    classes = np.array([3, 0, 9, 9, 1, 4])
    verifier = verifiers.open_verifier("class-likelihood", family)
    features = family.classifier()(samples[:, 0])[0]
    tensors, _ = weights.load(family.folder / "features.safetensors")
    hidden = (features * torch.sigmoid(features)).detach().double().numpy()
    logits = hidden @ tensors["logits.weight"].double().numpy().T + tensors["logits.bias"].double().numpy()
    wanted = log_softmax(logits, axis=1)[np.arange(6), classes]
    assert verifier(samples, {"classes": classes}) == pytest.approx(wanted, abs=1e-5)
    digest = sha256((family.folder / "features.safetensors").read_bytes()).hexdigest()[:16]
    assert verifier.identity() == {"verifier": "class-likelihood", "weights": digest}
    network = family.classifier()
    elsewhere = SimpleNamespace(name="mine", classifier=lambda: network, part_hashes=family.part_hashes)
    verifiers.open_verifier("class-likelihood", elsewhere, "meta")
    assert all(p.is_meta for p in network.parameters())
    with pytest.raises(InputError, match="Family 'mine' has no classifier to verify by: choose another verifier"):
        verifiers.open_verifier("class-likelihood", SimpleNamespace(name="mine"))


@pytest.mark.parametrize("name", ["psnr", "ssim", "lpips"])
def test_the_best_of_n_is_the_one_nearest_to_its_target_by_every_metric(name):
    """PSNR and SSIM rise and LPIPS falls; the last on the squared error, as AlexNet's weights are not here."""

    def error(batch):
        return (batch.samples.float() - batch.conditions["targets"].float()).square().mean((1, 2, 3)).numpy()

    pairs = metrics.pairs
    opened = {"psnr": pairs.open_psnr, "ssim": pairs.open_ssim, "lpips": lambda: Mean("lpips", "1", error)}
    given = []

    def open_metrics(specs, device):
        given.append((specs, device))
        return [opened[one["name"]]() for one in specs]

    family = SimpleNamespace(name="mine", metrics=open_metrics)
    target = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    noise = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    made = [(target + scale * noise).clamp(0, 255).to(torch.uint8) for scale in (90, 10, 40)]
    verifier = verifiers.open_verifier({"name": name, "of": "mine"}, family, "meta")
    assert given == [([{"name": name, "of": "mine"}], "meta")]
    conditions = {"indices": np.arange(3), "targets": target}
    assert torch.equal(loop.best_of(3, verifier, made.__getitem__, conditions), made[1])
    assert verifier.identity() == {"verifier": name, "metric": name, "version": "1"}


def test_a_sampler_that_needs_several_steps_is_planned_and_measured(file, tmp_path):
    file.write_text(file.read_text().replace("ddim", "PNDM").replace("[1, 2]", "[6]").replace("[8, 12]", "[8]"))
    opened = sweep.open_sweep(file, tmp_path / "store")
    (price,) = plan(opened)
    (row,) = run(opened)
    assert row["nfe"] == 15 and price.flops == 80 * (row["flops_per_image"] + row["flops_decode"])
    file.write_text(file.read_text().replace("[6]", "[2]"))
    with pytest.raises(InputError, match="Model 'c8': Sampler 'PNDM' cannot make 2 steps"):
        sweep.open_sweep(file)


class Loads(list):
    """Labels of the models that were loaded, and how often the batch was searched for."""

    batches = 0


@pytest.fixture
def loads(monkeypatch):
    from collect.families import TrainedFamily

    seen, model = Loads(), TrainedFamily.model

    def counted(self, label, dtype="float32"):
        seen.append(label)
        return model(self, label, dtype)

    def chosen(run, **options):
        seen.batches += 1
        run(4)
        return SimpleNamespace(batch=40)

    monkeypatch.setattr(TrainedFamily, "model", counted)
    monkeypatch.setattr(sweep, "best_batch", chosen)
    return seen


def test_only_a_run_chooses_the_automatic_batch_and_only_once(file, tmp_path, loads, monkeypatch, capsys):
    """status, show, profile and an untimed plan load no model; a run opens its sweep once."""
    from scalinglaws.cli import main

    file.write_text(file.read_text().replace("batch: 40", "batch: auto"))
    opened, open_sweep = [], sweep.open_sweep
    monkeypatch.setattr(sweep, "open_sweep", lambda *given: opened.append(given) or open_sweep(*given))
    monkeypatch.setattr(profiling, "machine_of", lambda device, dtypes: None)
    where = [str(file), "--store", str(tmp_path / "store")]
    for verb in (["status"], ["profile"], ["plan", "--untimed"], ["show", "c8-ddim-1-w1-n80-s0"]):
        assert main(["collect", verb[0], *where[:1], *verb[1:], *where[1:]]) == 0
    assert loads == [] and loads.batches == 0
    opened.clear()
    assert main(["collect", "run", *where]) == 0
    assert len(opened) == 1 and loads.batches == 1
    assert sorted(loads) == ["c12", "c12", "c8"], "the largest to choose the batch, then each to be measured"
    assert set(Store(tmp_path / "store").table().sampling_batch) == {40}
    loads.clear()
    assert main(["collect", "run", *where]) == 0
    assert loads == [] and loads.batches == 1, "nothing is missing"


def test_a_sweep_travels_to_another_process_without_what_was_opened(file, tmp_path):
    opener = sweep.Opener(str(file), tmp_path / "store", "cpu")
    assert opener.sweep is opener.sweep and "sweep" in vars(opener)
    assert vars(pickle.loads(pickle.dumps(opener))) == vars(sweep.Opener(str(file), tmp_path / "store", "cpu"))
