"""What --json prints is valid under the JSON Schema that `scalinglaws schema` prints, for every command."""

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import family

from scalinglaws import cli

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Three tables: one setting; two samplers; a user's own columns, one quality missing."""
    folder = tmp_path_factory.mktemp("tables")
    runs = family(noise=0.02)
    runs.to_csv(folder / "runs.csv", index=False)
    other = family(noise=0.02, sampler="dpm").assign(fd=lambda t: t.fd * (0.9 + 0.02 * t.steps**0.5))
    pd.concat([runs, other, family(guidance=2.0)[:5]]).to_csv(folder / "samplers.csv", index=False)
    pd.concat([runs, other]).to_csv(folder / "two.csv", index=False)
    mine = runs[["params", "steps", "fd", "seconds_per_image"]].set_axis(["params", "nfe", "fid", "time_s"], axis=1)
    mine.loc[3, "fid"] = np.nan
    mine.to_csv(folder / "mine.csv", index=False)
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    loss = 1.8172 + 482.01 * N**-0.3478 + 2085.43 * D**-0.3658  # Besiroglu et al. 2024
    pd.DataFrame({"params": N, "tokens": D, "loss": loss}).to_csv(folder / "training.csv", index=False)
    return folder


def printed(capsys, *words):
    capsys.readouterr()
    code = cli.main([str(w) for w in words])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


COMMANDS = (
    ("fit", "runs.csv"), ("fit", "mine.csv", "--loss", "squares"), ("fit", "runs.csv", "--checks"),
    ("fit", "samplers.csv", "--by", "sampler", "guidance"), ("predict", "runs.csv", "--at", "N=1e6", "S=10,20"),
    ("optimum", "runs.csv", "--budget", "1e8"), ("optimum", "samplers.csv", "--budget", "1e8"),
    ("optimum", "mine.csv", "--budget", "5ms"), ("ask", "runs.csv", "--budget", "1e8"), ("ask", "samplers.csv"),
    ("ask", "mine.csv"), ("crossover", "runs.csv"), ("crossover", "runs.csv", "--between", "c8", "c16"),
    ("crossover", "two.csv", "--by", "sampler", "--between", "ddim", "dpm", "--at", "c16"),
    ("crossover", "two.csv", "--by", "sampler"), ("compare", "runs.csv", "--laws", "size_steps_plain", "bnsl_1"),
    ("forecast", "runs.csv", "--at", "N=1e8,1e9", "--where", "steps=8"),
    ("forecast", "two.csv", "--at", "steps=512", "--where", "sampler=ddim", "model=c16", "--no-prior"),
    ("allocate", "training.csv", "--quality", "loss", "--budget", "1e21 FLOPs"),
    ("allocate", "training.csv", "--quality", "loss", "--law", "kaplan", "--serve", "1e9", "--quality-wanted", "2.5"),
    ("design", "runs.csv", "--spend", "1e12 FLOPs", "--budget", "1e8"),
    ("design", "runs.csv", "--spend", "1e13 FLOPs", "--question", "crossover", "--between", "c8", "c16"),
    ("backtest", "edm2", "--rivals", "last,floor_raw"),
    ("guidance", "samplers.csv", "--where", "sampler=ddim"), ("studies",), ("studies", "edm2"), ("schema", "fit"),
)  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_output_is_as_the_schema_says(capsys, tables, words):
    schema = printed(capsys, "schema", "--json")
    name = "fit --by" if "--by" in words and words[0] == "fit" else words[0]
    words = [tables / w if w.endswith(".csv") else w for w in words]
    answer = printed(capsys, *words, "--json")
    jsonschema.Draft202012Validator(schema | {"$ref": f"#/$defs/{name}"}).validate(answer)


def test_new_too(capsys, tmp_path):
    schema = printed(capsys, "schema", "new", "--json")
    jsonschema.Draft202012Validator(schema).validate(printed(capsys, "new", tmp_path, "--json"))


def test_every_command_has_a_schema_and_the_schema_is_one(capsys):
    schema = printed(capsys, "schema", "--json")
    jsonschema.Draft202012Validator.check_schema(schema)
    verbs = next(a for a in cli.build([])._actions if hasattr(a, "choices") and a.choices).choices
    assert set(verbs) - {point.name for point in cli.entry_points(group=cli.GROUP)} <= set(schema["$defs"])


def test_a_command_that_has_no_schema_is_refused(capsys):
    assert cli.main(["schema", "fitt"]) == 2
    assert "No JSON Schema for 'fitt'. Commands: new, ask, fit" in capsys.readouterr().err
