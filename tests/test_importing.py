"""Other tools' runs: exports that MLflow 3.17.2 and W&B 0.31.0 wrote themselves (tests/exports), and hostile tables.

The MLflow files were written by three runs of a sweep and one deleted run, logged to a folder and to sqlite; the W&B
file holds the records of two offline runs. The download of W&B's run table is made here after its documentation.
"""

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("yaml")

from collect.imports.importing import OURS, import_runs, obvious, write
from collect.imports.readers import flat
from scalinglaws import measurements, schema
from scalinglaws.schema import InputError

EXPORTS = Path(__file__).parent / "exports"
WANDB = EXPORTS / "wandb-0.31.0.jsonl"
LOGGED = {  # what the sweep logged: params, steps, guidance, fid (the last of three values), seed
    ("s", 38_800_000, 10, 1.0, 31.5, 0),
    ("s", 38_800_000, 50, 7.5, 25.3, 1),
    ("m", 144_800_000, 10, 7.5, 24.9, 2),
}
NUMBERS = ["model", "params", "steps", "guidance", "fid", "seed"]


@pytest.fixture
def mlflow(tmp_path):
    """{form: path} of the same sweep as MLflow keeps and exports it."""
    zipfile.ZipFile(EXPORTS / "mlruns-3.17.2.zip").extractall(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as base:
        base.executescript((EXPORTS / "mlflow-3.17.2.sql").read_text())
    experiment = next(p for p in (tmp_path / "mlruns").iterdir() if len(p.name) > 1)
    return {"csv": EXPORTS / "mlflow-3.17.2.csv", "folder": tmp_path / "mlruns", "experiment": experiment,
            "sqlite": tmp_path / "mlflow.db"}  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "folder", "experiment", "sqlite"])
def test_what_mlflow_logged_comes_back_in_every_form(mlflow, form):
    imported = import_runs(mlflow[form])
    assert set(imported.table[NUMBERS].itertuples(index=False, name=None)) == LOGGED
    assert set(imported.table["clip"]) == {0.3} and set(imported.table["tags.team"]) == {"images"}
    named = imported.named
    assert named["params.num_inference_steps"] == "steps" and named["metrics.eval/clip_score"] == "clip"
    assert "tags.mlflow.runName" in imported.kept and schema.check(imported.table) == []
    assert imported.table["source"].str.startswith(f"{mlflow[form].name}, run ").all()


def test_the_folder_gives_the_columns_of_search_runs(mlflow):
    exported, read = (import_runs(mlflow[form]).table.sort_values("seed") for form in ("csv", "folder"))
    same = [c for c in exported if c not in ("source", "start_time", "end_time", "experiment_id", "params.text")]
    assert set(exported) - set(read) == {"start_time", "end_time"}
    assert exported[same].astype(str).to_numpy().tolist() == read[same].astype(str).to_numpy().tolist()


def wandb_runs():
    return [json.loads(line) for line in WANDB.read_text().splitlines()]


def as_lines(path):
    path.write_text(WANDB.read_text())


def as_json(path):
    path.write_text(json.dumps({"runs": wandb_runs()}))


def as_service(path):
    """What the service answers: config and summary as JSON text, every value of config wrapped."""
    runs = wandb_runs()
    for run in runs:
        run["config"] = json.dumps({k: {"value": v, "desc": None} for k, v in run["config"].items()})
        run["summaryMetrics"] = json.dumps(run.pop("summary"))
    path.write_text(json.dumps(runs))


def as_project_csv(path):
    """The documentation's export script: a frame of dicts, written by pandas."""
    runs = wandb_runs()
    columns = {name: [run[name] for run in runs] for name in ("summary", "config", "name")}
    columns["summary"][0]["lost"] = float("nan")
    pd.DataFrame(columns).to_csv(path)


def as_run_table(path):
    """The download of the run table: names without prefixes, every cell quoted."""
    rows = [{"Name": run["name"], "State": "finished", "Tags": "", "Runtime": "3"} for run in wandb_runs()]
    for row, run in zip(rows, wandb_runs(), strict=True):
        row |= flat(run["config"]) | {"FID": run["summary"]["FID"]}
    pd.DataFrame(rows).to_csv(path, index=False, quoting=1)


@pytest.mark.parametrize(
    ("form", "name"),
    [(as_lines, "a.jsonl"), (as_json, "a.json"), (as_service, "a.json"), (as_project_csv, "project.csv"),
     (as_run_table, "wandb_export.csv")],
)  # fmt: skip
def test_what_wandb_logged_comes_back_in_every_form(tmp_path, form, name):
    form(tmp_path / name)
    imported = import_runs(tmp_path / name).table
    assert imported[["params", "steps", "fid", "seed"]].to_numpy().tolist() == [
        [38_800_000, 10, 31.5, 0],
        [144_800_000, 50, 24.9, 1],
    ]
    assert imported["source"].str.contains("run (?:s-10|m-50|qc7z725p|r3jzhwhp)").all()


def made(tmp_path, **columns):
    path = tmp_path / "runs.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_the_user_s_names_decide_and_nothing_is_dropped(tmp_path):
    path = made(tmp_path, width=[8, 16], my_fid=[30.0, 20.0], fid50k=[31.0, 21.0], comment=["a", "b"])
    imported = import_runs(path, names={"my_fid": "fid", "width": "base_channels"}, constants={"family": "mine"})
    assert list(imported.table["fid"]) == [30, 20] and list(imported.table["fid50k"]) == [31, 21]
    assert imported.kept == ("fid50k", "comment") and set(imported.table["family"]) == {"mine"}
    assert list(import_runs(path).table["fid"]) == [31, 21]


def test_a_csv_of_ours_passes_unchanged(tmp_path):
    file = Path(__file__).parents[1] / "data/measurements/tiny-ldm.csv"
    imported, before = import_runs(file), pd.read_csv(file)
    assert imported.named == {} and list(imported.table["fd"]) == list(before["fd"])
    assert set(imported.table) - set(before) <= {"source"}


def test_runs_that_have_a_value_under_another_name_keep_it(tmp_path):
    """A key renamed between runs, as W&B exports it; the quality of the runs under the other name was empty."""
    path = tmp_path / "runs.csv"
    columns = {"params": [1e6, 2e6, 3e6], "fid": [10.0, None, None], "eval/fid": [None, 9.0, 8.0]}
    pd.DataFrame(columns | {"note_fid": "x"}).to_csv(path, index=False)
    imported = import_runs(path)
    assert imported.table["fid"].tolist() == [10, 9, 8] and imported.named == {"eval/fid": "fid"}
    assert imported.table["eval/fid"].isna().tolist() == [True, False, False]
    pd.DataFrame(columns | {"fid_score": [None, 9.5, None]}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"would become 'fid', and differ in row 2 \(9 and 9.5\)"):
        import_runs(path)


def test_words_for_nothing_are_null_in_numbers_and_an_agreeing_twin_is_kept(tmp_path):
    imported = import_runs(made(tmp_path, guidance=["None", "2.5"], FID=[3.0, 4.0], fid_score=["3", None]))
    assert imported.table["guidance"].isna().tolist() == [True, False] and imported.table["guidance"][1] == 2.5
    assert imported.named == {"FID": "fid"} and "fid_score" in imported.table


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        ({"eval/fid": [3.0, 4.0], "train/fid": [3.0, 5.0]}, {},
         r"Both 'eval/fid' and 'train/fid' would become 'fid', and differ in row 2 \(4 and 5\): say which with --map"),
        ({"precision": ["bf16"]}, {}, r"the text 'bf16'; allowed is a number from 0 to 1. If 'precision' means "
         r"something else, give it another name: --map precision=NAME"),
        ({"num_inference_steps": [2.5]}, {}, r"row 1 holds 2.5; allowed is a whole.*'num_inference_steps' means"),
        ({"a": [1]}, {"names": {"b": "fid"}}, "--map b=fid: no column is 'b': 'a'"),
        ({"a": [1], "b": [2]}, {"names": {"a": "fid", "b": "fid"}}, "names the column 'fid' twice"),
        ({"a": [1], "fid": [2]}, {"names": {"a": "fid"}}, "would cover the column 'fid' that is there: move it"),
        ({"a": [1], "b": [2]}, {"names": {"a": "b"}}, "has a column 'b' already"),
        ({"a": [1], "study": ["x"]}, {"constants": {"study": "y"}}, "--set study=y: the runs have 'study' already"),
        ({"a": []}, {}, "holds no runs"),
        ({"summary": ["{'a': f(1)}"], "config": ["{}"]}, {}, "holds no dict: \"{'a': f"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, columns, options, sentence):
    with pytest.raises(InputError, match=sentence):
        import_runs(made(tmp_path, **columns), **options)


def test_a_conflict_is_settled_by_the_map_it_asks_for(tmp_path):
    path = made(tmp_path, **{"eval/fid": [3.0, 4.0], "train/fid": [3.0, 5.0]})
    imported = import_runs(path, names={"eval/fid": "fid"})
    assert list(imported.table["fid"]) == [3, 4] and list(imported.table["train/fid"]) == [3, 5]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.json", "{", "is no json"),
        ("a.json", "[1, 2]", "holds no list of runs"),
        ("a.db", "not a database at all, but long enough", "no MLflow tracking database"),
        ("a.xlsx", "", "ends in '.xlsx'; allowed are .csv, .tsv, .txt, .parquet, .json"),
        ("a.csv", "", "holds no runs"),
        ("a.parquet", "no table", "cannot be read"),
        ("folder/x", "", "holds no MLflow runs"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, text, sentence):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        import_runs(path.parent if "/" in name else path)


def test_nothing_there_and_formats_unknown(tmp_path):
    with pytest.raises(InputError, match=r"Nothing at 'gone\.csv'"):
        import_runs("gone.csv")
    with pytest.raises(InputError, match=r"No format named 'comet'. Known formats: auto, csv, mlflow, wandb"):
        import_runs(WANDB, "comet")
    with pytest.raises(InputError, match=r"ends in '.xlsx'; allowed are .csv and .parquet"):
        write(pd.DataFrame({"a": [1]}), tmp_path / "a.xlsx")


@pytest.mark.parametrize(("name", "ours"), [
    ("config.vae.num_params", None), ("config.model.text_encoder.num_params", None), ("config.teacher.cfg", None),
    ("config.unet.num_params", "params"), ("config.model.num_params", "params"), ("config.num_params", "params"),
    ("summary.clip/clip_score", "clip"), ("summary.teacher/fid", "fid"), ("config.clip.num_params", None),
])  # fmt: skip
def test_a_setting_of_another_network_is_not_the_denoisers(name, ours):
    """The autoencoder's parameters stood as the size of the model, which every law is in."""
    assert obvious(name, "wandb") == ours


def test_every_synonym_is_a_column_of_ours_and_no_name_of_another():
    assert set(OURS.values()) <= set(schema.COLUMNS) and not set(OURS) & set(schema.COLUMNS)


def command(*argv):
    import argparse

    parser = argparse.ArgumentParser()
    tables = pytest.importorskip("collect.cli.tables")
    tables.register(parser.add_subparsers())
    args = parser.parse_args(["import", *map(str, argv)])
    return args.run(args)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_command_writes_what_fit_can_read(tmp_path, capsys, suffix):
    out = tmp_path / f"rows{suffix}"
    argv = ["--map", "tags.team=study", "--set", "family=mei", "features=inception", "--format", "mlflow"]
    assert command(EXPORTS / "mlflow-3.17.2.csv", out, *argv) == 0
    said = capsys.readouterr().out
    assert "3 rows" in said and "params.num_params -> params" in said and "kept as they are: run_id" in said
    table = measurements.read(out, needs=("params", "steps"), quality="fid")
    assert set(table[NUMBERS].itertuples(index=False, name=None)) == LOGGED and set(table["study"]) == {"images"}
    assert [p.name for p in tmp_path.iterdir()] == [out.name]  # no half-written file beside it


def test_the_command_s_pairs_are_checked(tmp_path):
    with pytest.raises(InputError, match="--map fid: write it as THEIRS=OURS"):
        command(WANDB, tmp_path / "a.csv", "--map", "fid")
