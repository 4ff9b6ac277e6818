"""`scalinglaws collect ...` as a user types it: every verb on a small family, and one sentence for what is wrong."""

import json

import pandas as pd
import pytest

pytest.importorskip("torch")

from conftest import FAMILY

from collect import fashion_mnist
from scalinglaws.cli import main


@pytest.fixture
def file(small_bundle, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(f"family: {small_bundle}\nsizes: [8]\nsteps: [1, 2]\nsamples: 80\nbatch: 80\n")
    return path


def told(capsys, *args):
    assert main(["collect", *map(str, args)]) == 0
    return capsys.readouterr().out


def test_plan_run_status_export(file, tmp_path, capsys):
    store = tmp_path / "store"
    plan = json.loads(told(capsys, "plan", file, "--store", store, "--json"))
    assert plan["missing"] == 2 and plan["flops"] == sum(p["flops"] for p in plan["prices"])
    assert "2 of 2 cells missing" in told(capsys, "plan", file, "--store", store)
    assert "2 of 2 cells done, 0 missing" in told(capsys, "run", file, "--store", store)
    assert json.loads(told(capsys, "status", file, "--store", store, "--json"))["done"] == 2
    assert "2 rows in" in told(capsys, "export", store, tmp_path / "out.csv")
    assert list(pd.read_csv(tmp_path / "out.csv").steps) == [1, 2]


def test_train_and_release(tmp_path, capsys, monkeypatch):
    from test_trainer import data as noise  # the same four files of noise

    class Factory:
        mktemp = staticmethod(lambda name: tmp_path)

    monkeypatch.setenv(fashion_mnist.ENVIRONMENT, str(noise.__wrapped__(Factory)))
    (tmp_path / "family.yaml").write_text(FAMILY)
    run = tmp_path / "run"
    assert "Next: scalinglaws collect release" in told(capsys, "train", tmp_path / "family.yaml", "--out", run)
    assert "2 sizes in" in told(capsys, "release", run, tmp_path / "weights")
    (tmp_path / "family.yaml").write_text(FAMILY.replace("batch: 8", "batch: 9"))
    assert main(["collect", "train", str(tmp_path / "family.yaml"), "--out", str(run)]) == 2
    assert "holds a run of another recipe" in capsys.readouterr().err


def test_family_beside_the_paper(capsys):
    rows = json.loads(told(capsys, "family", "mei", "--json"))
    assert [row["model"] for row in rows][-2:] == ["2B", "5B"]
    assert "misprint" in told(capsys, "family", "mei") or "contradicts" in told(capsys, "family", "mei")
    assert "flops_per_forward" in told(capsys, "family", "tiny-ldm")


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
