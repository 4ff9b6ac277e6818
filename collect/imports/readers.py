"""Runs that other tools recorded, as one frame per source: a column per name of theirs, a row per run.

csv       any table of a run a row
mlflow    the csv of mlflow.search_runs(), an mlruns/ folder of plain files, or a tracking database (sqlite);
          columns params.*, metrics.* (the last value of each) and tags.*, as search_runs() names them
wandb     the csv of the run table's download, the project.csv of the documentation's export script (columns summary,
          config and name, holding dicts), or json and jsonl of runs with config and summary;
          columns config.* and summary.*, nested names joined by dots
"""

import ast
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd

from scalinglaws.measurements import READERS
from scalinglaws.schema import InputError

PREFIXES = {"csv": (), "mlflow": ("params.", "metrics.", "tags."), "wandb": ("config.", "summary.")}
KINDS = ("auto", *PREFIXES)
STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}  # mlflow.entities.RunStatus
SUMMARIES = ("summary", "summary_metrics", "summaryMetrics")


def read_runs(source, kind="auto"):
    """(kind, frame) of the runs at a file or folder; InputError says what can be read."""
    path = Path(source)
    if not path.exists():
        raise InputError(f"Nothing at '{source}': give a csv, json or jsonl file, an mlruns folder or its database.")
    if kind not in KINDS:
        raise InputError(f"No format named '{kind}'. Known formats: {', '.join(KINDS)}.")
    detected, table = _read(path)
    if table.empty:
        raise InputError(f"'{source}' holds no runs.")
    return (detected if kind == "auto" else kind), table.reset_index(drop=True)


def _read(path):
    if path.is_dir():
        return "mlflow", mlruns(path)
    suffix = path.suffix.lower()
    if suffix in (".db", ".sqlite"):
        return "mlflow", database(path)
    if suffix in (".json", ".jsonl", ".ndjson"):
        return "wandb", pd.DataFrame([_wandb_run(run) for run in _json(path)])
    if suffix in READERS:
        try:
            table = READERS[suffix](path)
        except Exception as error:  # pandas and pyarrow raise many kinds for a damaged file
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"'{path}' cannot be read ({reason}): export it again.") from error
        return _table(table)
    raise InputError(
        f"'{path}' ends in '{suffix}'; allowed are {', '.join(READERS)}, .json, .jsonl, .db or an mlruns folder."
    )


def _table(table):
    """(kind, table) by the names that only one tool writes."""
    names = set(map(str, table.columns))
    if {"summary", "config"} <= names:
        parsed = table.assign(**{name: table[name].map(_literal) for name in ("summary", "config")})
        return "wandb", pd.DataFrame([_wandb_run(dict(row)) for _, row in parsed.iterrows()])
    if "run_id" in names and any(n.startswith(("params.", "metrics.")) for n in names):
        return "mlflow", table
    return ("wandb" if {"Name", "State"} <= names else "csv"), table


def _literal(text):
    """A dict as Python prints it, as in project.csv; its nan is no literal and becomes null."""
    if not isinstance(text, str):
        return {}
    try:
        return ast.literal_eval(re.sub(r"(?<=[:\[,] )(nan|-?inf)(?=[,}\]])", "None", text))
    except (ValueError, SyntaxError) as error:
        raise InputError(
            f"A column 'config' or 'summary' holds no dict: {text[:60]!r}. Export runs as json."
        ) from error


def _json(path):
    """The runs of a json file (a list, or an object with 'runs') or of a file with one object a line."""
    text, one_a_line = path.read_text(encoding="utf-8-sig"), path.suffix.lower() != ".json"
    try:
        whole = [json.loads(line) for line in text.splitlines() if line.strip()] if one_a_line else json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"'{path}' is no json (line {error.lineno}: {error.msg}): export it again.") from error
    runs = whole.get("runs", [whole]) if isinstance(whole, dict) else whole
    if not all(isinstance(run, dict) for run in runs):
        raise InputError(f"'{path}' holds no list of runs: each must be an object with config and summary.")
    return runs


def _wandb_run(run):
    """One row: config.* and summary.*, and the run's own fields as they are."""
    summary = next((name for name in SUMMARIES if name in run), None)
    row = {k: v for k, v in run.items() if k not in ("config", summary) and not str(k).startswith("Unnamed")}
    config = {k: _unwrapped(v) for k, v in _object(run.get("config")).items()}
    return flat(row) | flat(config, "config.") | flat(_object(run.get(summary)), "summary.")


def _object(value):
    return json.loads(value) if isinstance(value, str) else value or {}


def _unwrapped(value):
    """config.yaml and the service write {"value": v, "desc": null} for v."""
    return value["value"] if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"} else value


def flat(tree, prefix=""):
    """{'a.b': 1} of {'a': {'b': 1}}; lists stay, as json."""
    row = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            row |= flat(value, f"{prefix}{key}.")
        else:
            row[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return row


def mlruns(folder):
    """The runs of an mlruns/ folder (or of one experiment in it), deleted ones left out as search_runs() does."""
    import yaml

    metas = sorted([*folder.glob("*/meta.yaml"), *folder.glob("*/*/meta.yaml")])
    known = [(path.parent, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in metas]
    runs = [(place, meta) for place, meta in known if "run_id" in (meta or {})]
    if not runs:
        raise InputError(
            f"The folder '{folder}' holds no MLflow runs (no */*/meta.yaml with a run_id). A W&B folder keeps runs in "
            "a form of its own: sync it, then export the runs as csv or json."
        )
    return pd.DataFrame([_mlflow_run(place, meta) for place, meta in runs if meta["lifecycle_stage"] == "active"])


def _mlflow_run(place, meta):
    row = {name: meta.get(name) for name in FIELDS}
    row["status"] = STATUS.get(row["status"], row["status"])
    row |= {f"metrics.{name}": _last(path) for name, path in _files(place / "metrics")}
    for kind in ("params", "tags"):
        row |= {f"{kind}.{name}": path.read_text(encoding="utf-8") for name, path in _files(place / kind)}
    return row


def _files(folder):
    """(name, path) of each file below; names may hold slashes."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.exists() else []
    return [(path.relative_to(folder).as_posix(), path) for path in paths]


def _last(path):
    """A metric's value at its largest (step, time, value), as MLflow takes it; lines are 'time value step'."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    points = [(int(step), int(when), float(value)) for when, value, step in (line[:3] for line in lines)]
    return max(points)[2] if points else None


def database(path):
    """The runs of an MLflow tracking database in sqlite, the default of MLflow 3; opened for reading only."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            rows = {run[0]: dict(zip(FIELDS, run, strict=True)) for run in base.execute(RUNS)}
            values = [(prefix, *row) for prefix, query in _QUERIES.items() for row in base.execute(query)]
    except sqlite3.DatabaseError as error:
        raise InputError(f"'{path}' is no MLflow tracking database ({error}).") from error
    for prefix, run, key, value in values:
        if run in rows:
            rows[run][f"{prefix}{key}"] = value
    return pd.DataFrame(list(rows.values()))


FIELDS = ("run_id", "experiment_id", "status", "artifact_uri")
RUNS = """SELECT run_uuid, experiment_id, status, artifact_uri FROM runs
          WHERE lifecycle_stage = 'active' ORDER BY start_time, run_uuid"""
_QUERIES = {
    "metrics.": "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics",
    "params.": "SELECT run_uuid, key, value FROM params",
    "tags.": "SELECT run_uuid, key, value FROM tags",
}
