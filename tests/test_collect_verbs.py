"""`scalinglaws collect ...` as a user types it: every verb on a small family, and one sentence for what is wrong."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

pytest.importorskip("torch")

from conftest import FAMILY

from collect.datasets import fashion_mnist
from collect.run import sweep
from collect.store import leases
from collect.store.store import stem
from scalinglaws.cli import main


@pytest.fixture
def file(small_family, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(f"family: {small_family}\nsizes: [8]\nsteps: [1, 2]\nsamples: 80\nbatch: 80\n")
    return path


def printed(capsys, *args):
    assert main(["collect", *map(str, args)]) == 0
    return capsys.readouterr().out


def test_plan_run_status_export(file, tmp_path, capsys):
    store = tmp_path / "store"
    plan = json.loads(printed(capsys, "plan", file, "--store", store, "--json"))
    assert plan["missing"] == 2 and plan["flops"] == sum(p["flops"] for p in plan["prices"])
    said = re.search(r"2 of 2 cells missing: (\S+) (\w)FLOPs", printed(capsys, "plan", file, "--store", store))
    assert float(said[1]) * {"M": 1e6, "G": 1e9}[said[2]] == pytest.approx(plan["flops"], rel=1e-3)
    assert "2 of 2 cells done, 0 missing" in printed(capsys, "run", file, "--store", store)
    assert json.loads(printed(capsys, "status", file, "--store", store, "--json"))["done"] == 2
    assert "2 rows in" in printed(capsys, "export", store, tmp_path / "out.csv")
    assert list(pd.read_csv(tmp_path / "out.csv").steps) == [1, 2]


def test_status_tells_a_worker_from_one_that_was_killed(file, tmp_path, capsys):
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me, store = leases.me(), sweep.open_sweep(file, tmp_path / "store")
    place, (one, two) = store.store.files, [stem(job) for job in store.jobs]
    theirs = replace(me, who="killed", pid=killed.pid, born=leases.born(killed.pid))
    assert leases.claim(place, leases.Lease(one, 0, me)) and leases.claim(place, leases.Lease(two, 0, theirs))
    assert "2 missing, 2 in work" in printed(capsys, "status", file, "--store", tmp_path / "store")
    killed.kill()
    killed.communicate()
    said = printed(capsys, "status", file, "--store", tmp_path / "store")
    assert "1 in work, 1 left by a process that ended" in said and "was left by killed on" in said


@pytest.mark.parametrize("verb", ["plan", "status", "run"])
def test_a_store_that_is_a_file_is_one_sentence(verb, file, tmp_path, capsys):
    (tmp_path / "store").write_text("no folder")
    assert main(["collect", verb, str(file), "--store", str(tmp_path / "store")]) == 2
    assert "store is a file: a store is a folder of finished cells" in capsys.readouterr().err


def test_what_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "in.csv").write_text("steps,fd\n1,2.0\n")
    assert main(["collect", "export", str(tmp_path / "in.csv"), str(tmp_path / "none" / "out.csv")]) == 2
    assert "Cannot write" in capsys.readouterr().err
    (tmp_path / "out.csv").mkdir()
    assert main(["collect", "export", str(tmp_path / "in.csv"), str(tmp_path / "out.csv")]) == 2
    assert "out.csv (Is a directory): make room or name another place." in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_train_and_release(tmp_path, capsys, monkeypatch):
    from test_trainer import data as noise  # the same four files of noise

    class Factory:
        mktemp = staticmethod(lambda name: tmp_path)

    monkeypatch.setenv(fashion_mnist.ENVIRONMENT, str(noise.__wrapped__(Factory)))
    (tmp_path / "family.yaml").write_text(FAMILY)
    run = tmp_path / "run"
    assert "Next: scalinglaws collect release" in printed(capsys, "train", tmp_path / "family.yaml", "--out", run)
    assert "2 models in" in printed(capsys, "release", run, tmp_path / "weights")
    (tmp_path / "family.yaml").write_text(FAMILY.replace("batch: 8", "batch: 9"))
    assert main(["collect", "train", str(tmp_path / "family.yaml"), "--out", str(run)]) == 2
    assert "holds a run of another recipe" in capsys.readouterr().err


def test_family_beside_the_paper(capsys):
    rows = json.loads(printed(capsys, "family", "mei", "--json"))
    assert [row["model"] for row in rows][-2:] == ["2B", "5B"]
    assert "misprint" in printed(capsys, "family", "mei") or "contradicts" in printed(capsys, "family", "mei")
    assert "flops_per_forward" in printed(capsys, "family", "tiny-ldm")


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["plan", "none.yaml"], "No file none.yaml"),
        (["run", "{file}", "--device", "tpu"], "No device 'tpu'"),
        (["export", "nowhere", "out.csv"], "Nothing at 'nowhere'"),
        (["release", "nowhere", "out"], "No file nowhere/family.yaml"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(args, sentence, file, capsys):
    assert main(["collect", *(a.format(file=file) for a in args)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_show_profile_schema_and_contact_sheets(file, tmp_path, capsys):
    import jsonschema
    import yaml
    from PIL import Image

    store = tmp_path / "store"
    file.write_text(file.read_text() + "contact_sheet: 5\n")
    cell = ("show", file, "c8-ddim-2-w1-n80-s0", "--store", store)
    assert "not measured yet" in printed(capsys, *cell) and json.loads(printed(capsys, *cell, "--json")) is None
    assert "2 of 2 cells done" in printed(capsys, "run", file, "--store", store, "--engine", "gpus", "--workers", "1")
    row = json.loads(printed(capsys, *cell, "--json", "--images", tmp_path / "a.png", "--count", "5"))
    assert row["steps"] == 2 and row["fd"] > 0
    kept, again = (Image.open(p) for p in (store / "contact_sheets" / "c8-ddim-2-w1-n80-s0.png", tmp_path / "a.png"))
    assert kept.size == again.size == (3 * 34 - 2, 2 * 34 - 2) and kept.tobytes() == again.tobytes()
    cost_profile = json.loads(printed(capsys, "profile", file, "--store", store, "--json"))
    assert cost_profile["models"][0]["params"] == 45756 and all(share > 0 for share in cost_profile["roofline_reached"])
    schema = json.loads(printed(capsys, "schema", "sweep"))
    content = yaml.safe_load(file.read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"stepps": 1}, schema)
    assert main(["collect", "show", str(file), "c8-dim", "--store", str(store)]) == 2
    assert "it has 2, such as c8-ddim-1-w1-n80-s0" in capsys.readouterr().err
