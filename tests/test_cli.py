"""The command line: JSON equals the library's answer, bad input is one sentence and exit code 2."""

import errno
import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pandas as pd
import pytest
from synthetic import family

import scalinglaws as sl
from scalinglaws import cli, commands


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    family(noise=0.02).to_csv(path, index=False)
    return str(path)


def test_fit_prints_what_the_library_finds(said, runs):
    code, out, _ = said("fit", runs, "--law", "size_steps", "--quality", "fd", "--delta", "1e-3", "--json")
    data = json.loads(out)
    inputs = {"N": "flops_per_forward", "S": "steps"}
    fit = sl.fit(sl.read(runs), law="size_steps", quality="fd", inputs=inputs, loss="huber", delta=1e-3, seed=0)
    assert code == 0 and data["values"] == fit.values and data["objective"] == fit.objective
    assert {"law", "values", "objective", "rows", "warnings"} <= set(data) and data["rows"] == 54


def test_edm2_gives_the_reference_numbers(said):
    where = ("--where", "family=EDM2 img512 no guidance")
    _, out, _ = said("fit", "edm2", *where, "--law", "power_floor", "--loss", "squares", "--json")
    values = json.loads(out)["values"]
    assert [round(values["E"], 4), round(values["A"], 2), round(values["a"], 4)] == [1.7395, 66.74, 0.9459]


def test_predict_takes_values_or_a_file(said, runs, tmp_path):
    _, out, _ = said("predict", runs, "--at", "N=1e6,2e6", "S=10", "--json")
    rows = json.loads(out)["rows"]
    assert [r["flops_per_forward"] for r in rows] == [1e6, 2e6]
    assert said("predict", runs, "--at", "N=1e6,2e6", "--at", "S=10", "--json")[1] == out
    pd.DataFrame({"flops_per_forward": [1e6], "steps": [10]}).to_csv(tmp_path / "new.csv", index=False)
    _, out, _ = said("predict", runs, "--new", tmp_path / "new.csv", "--json")
    assert json.loads(out)["rows"][0]["value"] == rows[0]["value"]


def test_optimum_and_crossover_print_the_library_answer(said, runs):
    fit = sl.fit(sl.read(runs), "size_steps", "fd", {"N": "flops_per_forward", "S": "steps"})
    _, out, _ = said("optimum", runs, "--budget", "1e8", "--json")
    best, data = sl.optimum(fit, 1e8), json.loads(out)
    assert (data["model"], data["steps"], data["value"]) == (best.model, best.steps, pytest.approx(best.value))
    _, out, _ = said("crossover", runs, "--between", "c8", "c16", "--json")
    assert json.loads(out)["cost"] == pytest.approx(sl.crossover(fit, ("c8", "c16")).cost)
    _, out, _ = said("crossover", runs, "--json")
    assert len(json.loads(out)["pairs"]) == 15


def test_optimum_chooses_between_samplers_and_guidances(said, tmp_path):
    worse = family(noise=0.02, sampler="ddpm").assign(fd=lambda t: 1.3 * t.fd)
    pd.concat([family(noise=0.02), worse, family(guidance=2.0)]).to_csv(tmp_path / "m.csv", index=False)
    _, out, _ = said("optimum", tmp_path / "m.csv", "--budget", "1e8", "--json")
    data = json.loads(out)
    assert data["setting"] == "sampler=ddim guidance=1" and len(data["settings"]) == 3
    code, _, err = said("fit", tmp_path / "m.csv")
    assert code == 2 and "keep one with --where sampler=VALUE" in err
    assert said("fit", tmp_path / "m.csv", "--where", "sampler=ddim", "guidance=1")[0] == 0


def test_compare_ranks_the_laws_that_are_named_by_law_too(said, runs):
    wanted = [said("compare", runs, option, "power", "size_steps_plain", "--json")[1] for option in ("--law", "--laws")]
    names = {row["law"] for row in json.loads(wanted[0])["laws"]}
    assert wanted[0] == wanted[1] and names == {"power", "size_steps_plain", "same as last"}


@pytest.mark.parametrize("verb", [("fit",), ("ask", "--budget", "1e8")])
def test_the_text_has_the_intervals_of_the_level_that_was_asked_for(said, runs, verb):
    verb, *options = verb
    argv = (verb, runs, "--quality", "fd", "--level", "0.5", *options)
    data, text = json.loads(said(*argv, "--json")[1]), said(*argv)[1]
    low, high = (float(data[end]["b"]) for end in ("low", "high"))
    shown = next(line.split() for line in text.splitlines() if line.startswith("b "))
    assert [float(v) for v in shown[2:]] == pytest.approx([low, high], rel=1e-3)
    assert verb == "ask" or "50 % intervals from 1000" in text


def test_text_for_people(said, runs):
    assert "Best for 1e+08 FLOPs per image: c24" in said("optimum", runs, "--budget", "1e8")[1]
    assert "c8 is better below, c16 above" in said("crossover", runs, "--between", "c8", "c16")[1]
    assert "caveat    Sizes saw different amounts" in said("studies", "edm2")[1]
    assert "Up to 1.8 decades beyond" in said("predict", runs, "--at", "N=1e9", "S=10")[1]
    assert len(json.loads(said("studies", "--json")[1])) >= 24
    flows = said("studies", "reflow")[1].splitlines()
    assert 1 < len(flows) < 10 and all("reflow" in line.lower() for line in flows)


def test_fit_by_sampler_is_one_fit_each(said, tmp_path):
    table = pd.concat([family(noise=0.02), family(noise=0.02, sampler="ddpm").assign(fd=lambda t: 1.3 * t.fd)])
    table.to_csv(tmp_path / "m.csv", index=False)
    code, out, _ = said("fit", tmp_path / "m.csv", "--by", "sampler", "guidance", "--json")
    data = json.loads(out)
    assert code == 0 and [row["sampler"] for row in data["groups"]] == ["ddim", "ddpm"]
    alone = json.loads(said("fit", tmp_path / "m.csv", "--where", "sampler=ddpm", "--json")[1])
    assert {p: data["groups"][1][p] for p in alone["values"]} == pytest.approx(alone["values"], rel=1e-9)
    assert "  ddpm" in said("fit", tmp_path / "m.csv", "--by", "sampler")[1]
    assert "No column 'solver' to group by" in said("fit", tmp_path / "m.csv", "--by", "sampler", "solver")[2]


def test_checks_are_added_to_a_fit(said, runs):
    _, out, _ = said("fit", runs, "--checks", "--json")
    assert json.loads(out)["checks"]["line"]["slopes"].keys() == {"N", "S"}
    text = said("fit", runs, "--checks")[1]
    assert "std err" in text and "Straight line in logarithms" in text and "Lack of fit cannot be tested" in text


def test_crossover_of_samplers(said, tmp_path):
    other = family(noise=0.01, sampler="dpm").assign(fd=lambda t: t.fd * (0.9 + 0.02 * t.steps**0.5))
    pd.concat([family(noise=0.01), other]).to_csv(tmp_path / "m.csv", index=False)
    ask = ("crossover", tmp_path / "m.csv", "--by", "sampler", "--between", "ddim", "dpm")
    _, out, _ = said(*ask, "--at", "c16", "--json")
    data = json.loads(out)
    assert (data["below"], data["above"], data["at"]) == ("dpm", "ddim", "model = c16")
    assert data["cost"] == pytest.approx(25 * 1.6e6, rel=0.3)
    _, out, _ = said(*ask, "--share", "E", "A", "a", "--law", "size_steps_plain", "--along", "steps", "--json")
    assert [row["at"] for row in json.loads(out)["pairs"]][:2] == ["model = c8", "model = c12"]
    assert "dpm is better below, ddim above" in said(*ask, "--at", "c16")[1]
    assert "No sampler 'euler'" in said(*ask[:-1], "euler", "--at", "c16")[2]


def test_guidance_is_chosen_for_every_setting(said, tmp_path):
    parts = [family(guidance=w).assign(fd=lambda t, w=w: t.fd * (1 + (w - 1.5) ** 2)) for w in (1.0, 1.5, 2.0)]
    pd.concat(parts).to_csv(tmp_path / "m.csv", index=False)
    _, out, _ = said("guidance", tmp_path / "m.csv", "--where", "steps=8", "--json")
    data = json.loads(out)
    assert len(data["settings"]) == 6 and {row["guidance"] for row in data["settings"]} == {1.5}
    assert "Optimistic: 6 of 6 settings have no halves" in said("guidance", tmp_path / "m.csv", "--where", "steps=8")[1]


def test_compare_ranks_by_what_is_hidden(said, runs):
    _, out, _ = said("compare", runs, "--laws", "size_steps_plain", "size_steps_product", "--json")
    ranked = [r for r in json.loads(out)["laws"] if r["law"] != "same as last"]  # stands beside every law
    assert [r["law"] for r in ranked] == ["size_steps_plain", "size_steps_product"]
    assert ranked[0]["held_out"] < 0.05 < ranked[1]["held_out"]
    text = said("compare", runs, "--laws", "size_steps_plain")[1]
    assert "held_out is the error on hidden rows" in text


def bad(change):
    table = family(noise=0.02).astype({"fd": object, "flops_per_forward": object})
    return change(table)


def put(column, value):
    return lambda t: t.assign(**{column: [value, *t[column][1:]]})


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (put("fd", "good"), (), "Column 'fd': row 1 holds the text 'good'"),
        (put("fd", 0), (), "Column 'fd': row 1 holds 0; allowed is a number above 0"),
        (put("fd", np.nan), ("--quality", "fd", "--strict"), "Column 'fd': row 1 holds nothing (NaN)"),
        (put("flops_per_forward", -1), (), "Column 'flops_per_forward': row 1 holds -1"),
        (lambda t: t[t.model == "c8"], ("--law", "size_steps"), "flops_per_forward = 400000"),
        (lambda t: t, ("--law", "powr"), "No law named 'powr'. Known laws: power, power_floor"),
        (lambda t: t, ("--quality", "fid"), "Column 'fid' is missing; the table has study"),
        (lambda t: t, ("--inputs", "N=flops", "S=steps"), "Column 'flops' is missing"),
        (lambda t: t, ("--inputs", "N"), "'N' is not NAME=VALUE"),
        (lambda t: t, ("--where", "steps=4", "steps=8"), "steps is given twice, as '4' and '8': give it one value."),
        (lambda t: t, ("--where", "sampler=euler"), "No row has sampler = euler; the table has ddim"),
        (lambda t: t, ("--where", "sampel=euler"), "No column 'sampel'"),
        (lambda t: t, ("--loss", "squares", "--delta", "0.1"), "--delta is of Huber's loss"),
        (lambda t: t, ("--level", "1.5"), "--level 1.5: give a number between 0 and 1"),
        (lambda t: pd.concat([t, t[:1].assign(fd=9.0)]), (), "Rows 1 and 55 have the same settings but fd"),
        (lambda t: t[:3], ("--law", "size_steps"), "has 5 parameters but the table has 3 rows"),
        (lambda t: t.drop(columns=["fd", "fd_se"]), (), "Which column is the quality?"),
        (lambda t: pd.concat([t, t.assign(family="b")]), (), "has 2 families"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(said, tmp_path, change, options, sentence):
    bad(change).to_csv(tmp_path / "bad.csv", index=False)
    code, out, err = said("fit", tmp_path / "bad.csv", *options)
    assert code == 2 and not out and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("optimum", "RUNS", "--budget", "-1"), "give a number above 0"),
        (("optimum", "RUNS", "--budget", "1e8", "--unit", "miles"), "No unit 'miles'"),
        (("optimum", "RUNS", "--budget", "1e8", "--sizes", "c99"), "No size 'c99'. Known sizes: c8"),
        (("crossover", "RUNS", "--between", "c8", "c99"), "No size 'c99'"),
        (("crossover", "RUNS", "--law", "power", "--where", "steps=8"), "needs a law with steps"),
        (("crossover", "RUNS", "--between", "c8", "c16", "--at", "c8"), "--at is for the levels of a column"),
        (("crossover", "RUNS", "--share", "b"), "--share is for the levels of a column: name it by --by"),
        (("predict", "RUNS", "--at", "N=3", "--new", "n.csv"), "--new: not allowed with argument --at"),
        (("predict", "RUNS", "--at", "Q=3"), "the law's inputs are N, S"),
        (("predict", "RUNS", "--at", "N=many"), "'many' is no number"),
        (("fit", "nowhere.csv"), "No file 'nowhere.csv'"),
        (("fit", "emd2"), "No file or study named 'emd2'. Do you mean 'edm2'? Bundled studies: "),
        (("studies", "emd2"), "No study has 'emd2' in its name or title. Do you mean 'edm2'?"),
    ],
)
def test_bad_questions_too(said, runs, argv, sentence):
    code, out, err = said(*(runs if a == "RUNS" else a for a in argv))
    assert code == 2 and not out and sentence in err


def test_a_place_that_cannot_be_used_is_one_sentence_and_an_error_of_ours_is_not(runs, monkeypatch, capsys):
    def fail(error):
        def command(*args):
            """Fails."""
            raise error

        monkeypatch.setattr(commands, "fit", command)
        return cli.main(["fit", str(runs), "--quality", "fd"])

    assert fail(OSError(errno.EROFS, "Read-only file system", "/media/out.csv")) == 2
    assert capsys.readouterr().err.startswith("scalinglaws: /media/out.csv: Read-only file system.")
    with pytest.raises(OSError):
        fail(OSError("no file"))


def test_a_budget_far_beyond_is_answered_with_a_warning(said, runs):
    code, out, _ = said("optimum", runs, "--budget", "1e14")
    assert code == 0 and "5.1 decades beyond the most expensive measured row" in out


class Joins(EntryPoint):
    """An entry point of another package."""

    def load(self):
        if self.value == "broken":
            raise ImportError("No module named 'torch'")
        return lambda verbs: verbs.add_parser(self.name).set_defaults(run=lambda args: print("hello"))


def test_other_packages_join_and_a_broken_one_breaks_nothing(said, runs, monkeypatch):
    points = [Joins("extra", "works", cli.GROUP), Joins("other", "broken", cli.GROUP)]
    monkeypatch.setattr(cli, "entry_points", lambda group: points)
    assert said("extra")[:2] == (0, "hello\n")
    code, _, err = said("other", "run")
    assert code == 2 and "needs a package that is not here (No module named 'torch')" in err
    assert said("fit", runs)[0] == 0


def test_the_package_is_light_and_needs_no_torch():
    code = "import sys, scalinglaws; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "diffusers", "collect", "matplotlib", "seaborn", "papermill"} & set(out)


def test_the_public_names_are_functions():
    import scalinglaws.decide.crossover
    import scalinglaws.fitting  # noqa: F401

    assert all(callable(name) for name in (sl.fit, sl.crossover, sl.optimum, sl.read, sl.compare))
