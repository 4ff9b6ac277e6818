"""The verbs of `scalinglaws collect`: which start without torch, and that each leads somewhere."""

import argparse
import json
import subprocess
import sys

import pandas as pd
import pytest

pytest.importorskip("pydantic")

from collect import cli
from collect.store.store import Store

HEAVY = ("torch", "diffusers", "transformers", "PIL")
SWEEP = "family: nowhere\nsteps: [4]\nsamplers: [{}]\n"
RUN = """
import json, sys
from scalinglaws.cli import main
codes = []
for words in json.loads(sys.argv[1]):
    try:
        codes.append(main(words))
    except SystemExit as end:
        codes.append(end.code)
print(json.dumps([codes, [name for name in {heavy} if name in sys.modules]]))
"""


def light(folder, *commands):
    """([exit code of each command], what they said, names of HEAVY imported), in one fresh process."""
    code = RUN.replace("{heavy}", repr(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    codes, imported = json.loads(done.stdout.splitlines()[-1])
    return codes, done.stdout + done.stderr, imported


def test_help_tables_and_stores_need_no_torch(tmp_path):
    store = Store(tmp_path / "store")
    store.write("a", "0" * 16, {"fd": 3.0})
    store.fail(f"b-{'1' * 16}", "nan", "all samples are NaN", "2026-01-01T00:00:00Z", "me")
    pd.DataFrame({"study": ["s"], "fid": [3.0], "params": [1e6], "steps": [4]}).to_csv(tmp_path / "a.csv", index=False)
    commands = [
        ["collect", "--help"], ["collect", "run", "--help"], ["collect", "train", "--help"],
        ["collect", "export", "a.csv", "b.parquet"], ["collect", "import", "a.csv", "c.csv"],
        ["collect", "schema", "sweep"], ["collect", "status", "store"], ["collect", "status", "store", "--json"],
        ["collect", "export", "store", "d.csv"],
    ]  # fmt: skip
    codes, said, imported = light(tmp_path, *commands)
    assert codes == [0] * len(commands), said
    assert "1 rows in b.parquet" in said and "guidance_interval" in said and imported == []
    assert "1 cells done, 1 failed; its sweep file tells what is missing" in said
    assert f"b-{'1' * 16} nan: all samples are NaN (tries: 1)" in said and '"cells": null, "done": 1' in said


def test_what_is_wrong_with_the_words_or_the_file_is_said_before_torch_is_imported(tmp_path):
    (tmp_path / "steps.yaml").write_text(SWEEP.format("ddim").replace("[4]", "[0]"))
    (tmp_path / "good.yaml").write_text(SWEEP.format("ddim"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "tune.yaml").write_text("base: there\ndata: here\nsteps: 0\n")
    cases = {
        "sweep.yaml: give the path of a YAML file": ["status", "sweep.yaml"],
        "steps.yaml, line 2: 'steps.0' was 0": ["plan", "steps.yaml"],
        "--spend: only for a run with --adaptive": ["run", "good.yaml", "--spend", "$3"],
        "--until: only for a run with --adaptive": ["run", "good.yaml", "--until", "0"],
        "--subject dog noto is for --images FOLDER": ["data", "tiny-t2i", "--subject", "dog", "noto"],
        "--floors: not allowed with argument --images": ["data", "tiny-t2i", "--images", "a", "--floors", "b"],
        "'folder' holds no cell, finished, failed or in work": ["status", "folder"],
        "'folder' is a store itself: leave --store out": ["status", "folder", "--store", "other"],
        "No file nowhere/family.yaml: give the path of a YAML file": ["status", "good.yaml"],
        "--download: only with --sweep": ["export", "store", "rows.csv", "--download"],
        "No engine named 'slurm'": ["run", "good.yaml", "--engine", "slurm"],
        "'rows.txt' is neither .csv nor .parquet": ["latency", "good.yaml", "--out", "rows.txt"],
        "A batch of 0 samples": ["compute", "mei", "rows.csv", "--batches", "0"],
        "--scale was 0": ["draw", "family", "sheet.png", "--scale", "0"],
        "tune.yaml, line 3: 'steps' was 0": ["finetune", "tune.yaml"],
        "family.yaml: give the path of a YAML file": ["train", "family.yaml"],
        "No data set 'tiny'": ["data", "tiny"],
        "invalid choice: 'measure'": ["measure", "good.yaml"],
    }
    codes, said, imported = light(tmp_path, *(["collect", *words] for words in cases.values()))
    assert codes == [2] * len(cases) and [sentence for sentence in cases if sentence not in said] == [], said
    assert imported == []


def test_every_verb_has_a_function():
    pytest.importorskip("torch")
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    cli.register(commands)
    (verbs,) = (action.choices for action in commands.choices["collect"]._actions if action.choices)
    assert sorted(verbs) == sorted(cli.VERBS.split("|"))
    for verb in verbs.values():
        assert callable(verb.get_default("run").function())


def test_the_names_known_without_torch_are_those_that_are_built():
    pytest.importorskip("torch")
    from collect.models import rules, shapes
    from collect.sampling import samplers, schedulers

    assert tuple(shapes.SHAPES) == rules.SHAPES
    assert {row.scheduler for row in samplers.SAMPLERS.values() if row.scheduler in schedulers.OWN} == {"ExactDDIM"}


def test_a_tuning_verb_has_a_kind_of_file_and_what_runs_it():
    pytest.importorskip("torch")
    from collect.cli import training as light_side
    from collect.commands import training as heavy_side
    from collect.config import KINDS

    assert light_side.TUNINGS.keys() == heavy_side.TUNINGS.keys() <= KINDS.keys()
