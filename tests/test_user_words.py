"""A new user's words: a csv with columns of their own names, budgets with units, gaps, seeds, prices, exit codes.

Every row of the table in issue 9 is a test, by what it was tried with.
"""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws import answer, cli, measurements
from scalinglaws.decide.accounting import which_size
from scalinglaws.decide.rows import rows_of
from scalinglaws.decide.training_trend import training_trend
from scalinglaws.infer import question
from scalinglaws.schema import InputError, NoAnswer
from scalinglaws.spellings import recognise

HEADER = "model_size_B,num_steps,cfg,fid,gpu_ms"
SIZES, STEPS = (0.1, 0.3, 1.0, 3.0), (5, 10, 20, 50)


def quality(size, steps):
    """fid of a size in billions of parameters at a number of steps; exact."""
    return 7 + 7.35e4 * (1e9 * size) ** -0.457 + 233 * steps**-1.54


def frame():
    """The user's table, every cell filled; 14 ms per step and billion parameters, 1 ms more per image."""
    rows = [(b, s, 1.5, quality(b, s) * (1 + 0.004 * (-1) ** (i + j)), 1 + 14 * b * s)
            for i, b in enumerate(SIZES) for j, s in enumerate(STEPS)]  # fmt: skip
    return pd.DataFrame(rows, columns=HEADER.split(","))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """mine.csv in the working folder, one FID missing (row 7)."""
    table = frame()
    table.loc[6, "fid"] = np.nan
    table.to_csv(tmp_path / "mine.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.csv"


# fit mine.csv: the usual spellings are recognised, said in one line each, and can be overruled


def test_fit_recognises_and_says_the_columns(said, mine):
    code, out, err = said("fit", "mine.csv")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:4] == [
        "N = model_size_B (read as parameters, in billions)",
        "S = num_steps (read as sampling steps)",
        "guidance = cfg (read as guidance weight; 1 is none)",
        "seconds_per_image = gpu_ms (read as time per image, in ms)",
    ]
    assert "fid = E + A*N^-a + B*S^-b" in out


@pytest.mark.parametrize(
    ("words", "answer_has"),
    [
        (("crossover", "mine.csv", "--between", "0.1", "3"), "0.1B is better below, 3B above"),
        (("crossover", "mine.csv"), "0.1B"),
        (("compare", "mine.csv", "--laws", "size_steps_plain"), "size_steps_plain"),
        (("predict", "mine.csv", "--at", "model_size_B=2", "num_steps=30"), "2e+09"),
        (("predict", "mine.csv", "--at", "N=2e9", "S=30"), "2e+09"),
        (("ask", "mine.csv", "--budget", "500ms"), "Best for 0.5 s per image: 1B"),
    ],
)
def test_every_other_command_takes_the_same_table(said, mine, words, answer_has):
    code, out, err = said(*words)
    assert code == 0 and answer_has in out, err


def test_a_reading_can_be_overruled(said, mine):
    out = said("fit", "mine.csv", "--read-as", "model_size_B=none", "--inputs", "N=model_size_B", "S=num_steps")[1]
    assert "inputs: N = model_size_B, S = steps" in out and "in billions" not in out
    out = said("fit", "mine.csv", "--read-as", "model_size_B=depth:K")[1]
    assert "N = model_size_B (read as number of transformer blocks, in K)" in out
    out = said("optimum", "mine.csv", "--budget", "500", "--read-as", "gpu_ms=joules_per_image:mJ")[1]
    assert "Best for 0.5 J per image" in out


@pytest.mark.parametrize(
    ("name", "meaning", "factor"),
    [
        ("model_size_B", "params", 1e9), ("params_m", "params", 1e6), ("n_params", "params", 1),
        ("Model Size (B)", "params", 1e9), ("nParams", "params", 1), ("num_steps", "steps", 1),
        ("num_inference_steps", "steps", 1), ("numSteps", "steps", 1), ("NFE", "nfe", 1), ("cfg", "guidance", 1),
        ("cfg_scale", "guidance", 1), ("guidance_scale", "guidance", 1), ("FID", "fid", 1), ("fid50k", "fid", 1),
        ("FID-10K", "fid", 1), ("clip_score", "clip", 1), ("fid_se", "fid_se", 1),
        ("gpu_ms", "seconds_per_image", 1e-3), ("latency_s", "seconds_per_image", 1),
        ("Latency (ms/img)", "seconds_per_image", 1e-3), ("Energy [kJ per image]", "joules_per_image", 1e3),
        ("time per image [ms]", "seconds_per_image", 1e-3), ("ms_per_image", "seconds_per_image", 1e-3),
        ("gflops", "flops_per_forward", 1e9), ("GMACs", "flops_per_forward", 2e9),
        ("TFLOPs per image", "flops_per_image", 1e12), ("energy_j", "joules_per_image", 1),
        ("energy_mJ", "joules_per_image", 1e-3), ("energy (Wh)", "joules_per_image", 3600),
        ("Sampler", "sampler", 1), ("scheduler", "sampler", 1), ("trial", "seed", 1),
    ],
)  # fmt: skip
def test_the_usual_spellings(name, meaning, factor):
    reading = recognise(name)
    assert (reading.meaning, reading.factor) == (meaning, factor)


@pytest.mark.parametrize(
    ("names", "meaning"),
    [
        ("samples num_samples n_samples nSamples images num_images n_images imgs n_imgs", "n_samples_for_metric"),
        ("img/s images_per_sec samples_s imgs_per_s throughput_img_s imagesPerSecond throughput_samples imgpersec",
         "seconds_per_image"),
    ],
)  # fmt: skip
def test_a_number_of_samples_is_no_throughput(names, meaning):
    assert [recognise(name).meaning for name in names.split()] == [meaning] * len(names.split())


@pytest.mark.parametrize("name", ["loss", "lr", "date", "vram_gb", "size_mb", "gpu_hours", "latency", "fid_std", "x"])
def test_what_is_not_plain_is_not_guessed(name):
    assert recognise(name) is None


def test_two_candidates_are_one_sentence():
    table = frame().assign(fid50k=frame().fid).rename(columns={"fid": "fid10k"})
    with pytest.raises(InputError, match="Columns 'fid10k' and 'fid50k' both read as fid: say which with --read-as"):
        question(table)
    assert question(table, quality="fid10k").sentences()[2] == "quality = fid10k (read as fid, lower is better)"


def test_gflops_that_grow_with_the_steps_are_those_of_an_image():
    table = frame().assign(gflops=lambda t: 50 * t.model_size_B * t.num_steps)
    assert any("per image, since it changes with the steps" in s for s in question(table).sentences())
    table = frame().assign(gflops=lambda t: 50 * t.model_size_B)
    assert "N = gflops (read as FLOPs per forward pass, in billions)" in question(table).sentences()


# optimum --budget 500ms: a bare number takes the column's unit


@pytest.mark.parametrize("budget", ["500ms", "0.5 s", "0,5 s", "500"])
def test_budgets_with_units(said, mine, budget):
    code, out, _ = said("optimum", "mine.csv", "--budget", budget)
    assert code == 0 and "Best for 0.5 s per image: 1B with" in out


@pytest.mark.parametrize(
    ("cost", "budget", "shown"),
    [("energy_j", "0.2 kJ", "200 J"), ("TFLOPs_per_image", "3e12 FLOPs", "3e+12 FLOPs"),
     ("TFLOPs_per_image", "1.5 TFLOPs", "1.5e+12 FLOPs"), ("gpu_ms", "$0.0003", "0.0003 USD")],
)  # fmt: skip
def test_budgets_in_every_unit(said, tmp_path, cost, budget, shown):
    scale = 0.02 if cost.startswith("TFLOPs") else 1.0
    frame().rename(columns={"gpu_ms": cost}).assign(**{cost: lambda t: scale * t[cost]}).to_csv(
        tmp_path / "m.csv", index=False)  # fmt: skip
    price = ("--price", "2.5/h") if "$" in budget else ()
    code, out, err = said("optimum", tmp_path / "m.csv", "--budget", budget, *price)
    assert code == 0 and f"Best for {shown} per image" in out, err


def test_a_budget_in_a_unit_nobody_measured_names_those_there_are(said, mine):
    code, _, err = said("optimum", "mine.csv", "--budget", "3e12 FLOPs")
    assert code == 2 and "the table has no flops_per_forward" in err
    assert "A budget here can be in seconds (from gpu_ms) or money (from gpu_ms; with --price)." in err
    assert "needs the price of the machine" in said("optimum", "mine.csv", "--budget", "$0.001")[2]
    assert "Known units: FLOPs" in said("optimum", "mine.csv", "--budget", "5 miles")[2]
    assert "is in USD, the price" in said("optimum", "mine.csv", "--budget", "$1", "--price", "2 EUR/h")[2]


# one missing quality: left out and said; refused only when asked


def test_a_missing_quality_is_left_out_and_said_or_refused_with_strict(said, mine):
    code, out, _ = said("fit", "mine.csv")
    assert code == 0 and "Row 7 has no fid: left out." in out and "rows 15" in out
    code, _, err = said("fit", "mine.csv", "--strict")
    assert code == 2 and "Column 'fid': row 7 holds nothing (NaN)" in err


def test_a_missing_input_too_and_row_numbers_are_those_of_the_file():
    table = frame().astype({"num_steps": object})
    table.loc[[2, 9], "num_steps"] = ["n/a", "-"]
    assert "Rows 3 and 10 have no steps: left out." in question(table).sentences()
    table = frame().assign(sampler=["ddim"] * 8 + ["heun"] * 8)
    table.loc[12, "fid"] = np.nan
    assert "Row 13 has no fid: left out." in question(table, where={"sampler": "heun"}).sentences()


# unit='second', 3,5, 12 %, BOM, spaces and accents


def test_unit_names_as_people_say_them(said, mine):
    for unit in ("second", "s", "seconds", "sec"):
        assert "Best for 0.5 s per image" in said("optimum", "mine.csv", "--budget", "0.5", "--unit", unit)[1]


def test_a_csv_of_a_german_spreadsheet(tmp_path):
    text = frame().to_csv(index=False, sep=";", decimal=",").replace("model_size_B", "\ufeff Model Size (B) ")
    (tmp_path / "mine.csv").write_bytes(text.encode())
    mine = question(tmp_path / "mine.csv")
    assert mine.sentences()[0] == "N = Model Size (B) (read as parameters, in billions)"
    np.testing.assert_allclose(mine.table.fid, frame().fid, rtol=1e-12)


def test_accents_in_labels_match_however_they_are_composed():
    table = pd.DataFrame({"modèle": ["é", "e\u0301", "b"], "fid": [1.0, 2.0, 3.0]})
    assert len(measurements.where(measurements.read(table), **{"mode\u0300le": "é"})) == 2


# three seeds a cell: means, spread within and between seeds used and said


def test_three_seeds_per_configuration_are_used_and_said():
    rng = np.random.default_rng(0)
    parts = [frame().assign(seed=k, fid=lambda t: t.fid * np.exp(0.03 * rng.standard_normal(len(t))))
             for k in range(3)]  # fmt: skip
    table = pd.concat(parts).assign(fid_se=lambda t: 0.01 * t.fid)
    asked = question(table)
    sentence = asked.notes[-1]
    assert sentence.startswith("3 rows per configuration in 16 of 16: fid differs between them by 0.0")
    assert "(32 degrees of freedom), within one by 0.01 (its fid_se)" in sentence
    assert "Seeds differ by more than their own standard errors say" in sentence
    spread = measurements.spread(asked.table, "fid", asked.inputs.values())
    pooled = asked.table.groupby(["params", "steps"]).fid.apply(lambda y: np.log(y).var(ddof=1)).mean() ** 0.5
    assert spread.between == pytest.approx(pooled) and spread.within == pytest.approx(0.01)
    assert asked.fit(replicates=20).rows == 48
    assert question(frame()).notes == ()


# a score that rises, with a price in money


@pytest.fixture
def rising(tmp_path):
    table = frame().rename(columns={"fid": "clip_score"})
    table["clip_score"] = 0.33 - 2.5 * (1e9 * table.model_size_B) ** -0.2 - 0.1 * table.num_steps**-0.8
    table.to_csv(tmp_path / "clip.csv", index=False)
    return tmp_path / "clip.csv"


def test_a_score_that_rises_with_a_price_in_money(said, rising):
    code, out, err = said("optimum", rising, "--budget", "$0.0003", "--price", "2.5/h")
    assert code == 0 and "quality = clip_score (read as clip, higher is better)" in out, err
    assert "Best for 0.0003 USD per image" in out
    hours = 0.0003 / 2.5
    best = answer.ask(rising, f"{hours} h", replicates=50).optimum
    sizes = {b: 0.33 - 2.5 * (1e9 * b) ** -0.2 - 0.1 * ((hours * 3.6e6 - 1) / (14 * b)) ** -0.8 for b in SIZES}
    assert best.model == f"{max(sizes, key=sizes.get):g}B" and best.value == pytest.approx(
        max(sizes.values()), rel=0.01
    )


# exit codes


def test_exit_codes_mean_what_they_mean_elsewhere(said, mine, monkeypatch):
    assert said("fit", "mine.csv")[0] == 0
    code, out, err = said("optimum", "mine.csv", "--budget", "1ms")
    assert code == 1 and not out and "below the cheapest candidate" in err
    assert said("fit", "nowhere.csv")[0] == 2
    for words in (("optimum", "mine.csv"), ("fitt",), ("fit", "mine.csv", "--loss", "cubes"), ()):
        code, out, err = said(*words)
        assert code == 2 and not out and err.count("\n") == 1 and "--help" in err

    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.commands, "fit", interrupt)
    interrupt.__doc__ = "Interrupted."
    code, out, err = said("fit", "mine.csv")
    assert (code, out, err) == (130, "", "scalinglaws: interrupted.\n")


def test_a_reader_that_stops_reading_is_no_error():
    code = "import sys; from scalinglaws.cli import main; sys.exit(main(['studies']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


# from Python: one call from a table and a budget to the answer


def test_ask_gives_the_answer_and_everything_assumed(mine):
    reply = answer.ask(mine, "500ms", replicates=50)
    assert repr(reply).startswith("<Answer: 1B with") and "\n" not in repr(reply)
    text = reply.summary()
    for part in ("Row 7 has no fid: left out.", "Best for 0.5 s per image", "Every size at this budget",
                 "Crossovers of neighbouring sizes", "same as the largest size seen", "Warning: "):  # fmt: skip
        assert part in text
    assert reply.to_frame().best.sum() == 1
    assert "<table" in reply._repr_html_() and "Row 7 has no fid" in reply._repr_html_()
    error = reply.held_out.set_index("way").median_error
    assert error.iloc[0] < error["same as the largest size seen"]
    with pytest.raises(NoAnswer, match="below the cheapest candidate"):
        answer.ask(mine, "1ms", replicates=20)


def test_ask_without_a_budget_takes_the_middle_of_the_costs_and_without_costs_says_so(mine):
    assert "No budget given: " in answer.ask(mine, replicates=20).notes[0]
    reply = answer.ask(frame().drop(columns="gpu_ms"), replicates=20)
    assert reply.optimum is None and "No optimum: A budget in flops cannot be priced" in reply.notes[0]
    assert "no optimum" in repr(reply) and "Law: fid = " in reply.summary()


def test_a_law_no_better_than_same_as_last_is_said():
    table = pd.DataFrame({"way": ["law", answer.NAIVE], "median_error": [0.05, 0.01]})
    assert "predicts the largest size better (1.0%) than the law" in next(answer._no_better_than_others(table, "law"))
    assert not list(answer._no_better_than_others(table.assign(median_error=[0.01, 0.05]), "law"))
    plain = table.assign(way=["law", "power (a plain power law)"])
    assert "ask `scalinglaws compare` which law to take" in next(answer._no_better_than_others(plain, "law"))


def test_the_largest_size_is_predicted_by_a_plain_power_law_in_size_and_data_too():
    grid = pd.MultiIndex.from_product([[1e8, 3e8, 1e9], [1e4, 3e4, 1e5, 3e5]], names=["params", "train_steps"])
    rows = grid.to_frame(index=False).assign(fid=lambda t: 3 + 4e4 * t["params"] ** -0.3 * t["train_steps"] ** -0.25)
    ways = answer.ask(rows, inputs={"N": "params", "D": "train_steps"}, replicates=20).held_out.set_index("way")
    assert ways.loc["size_steps_product (a plain power law)", "median_error"] < 1e-3  # the law of the rows


# scalinglaws new


def test_new_writes_files_that_work_and_overwrites_nothing(said, tmp_path):
    code, out, _ = said("new", tmp_path / "first")
    assert code == 0 and "scalinglaws ask" in out
    table = tmp_path / "first" / "runs.csv"
    assert said("optimum", table, "--budget", "2ms")[0] == 0
    assert len(measurements.read(table)) == 25 and "# Source: " in table.read_text()
    code, _, err = said("new", tmp_path / "first")
    assert code == 2 and "is there already: nothing was written" in err


def test_the_sweep_of_new_is_a_valid_sweep(said, tmp_path):
    said("new", tmp_path)
    yaml = pytest.importorskip("yaml")
    sweep = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert sweep["sizes"] == [8, 16, 32] and sweep["samplers"] == ["ddim"]


def test_names_of_the_user_s_own_work_in_every_option(said, tmp_path):
    parts = [frame().assign(cfg=w, fid=lambda t, w=w: t.fid * (1 + (w - 1.5) ** 2 / 10)) for w in (1.5, 4.0)]
    pd.concat(parts).to_csv(tmp_path / "two.csv", index=False)
    code, out, err = said("fit", tmp_path / "two.csv", "--by", "cfg")
    assert code == 0 and " 1.5" in out, err
    assert said("fit", tmp_path / "two.csv", "--where", "cfg=4")[0] == 0
    words = ("crossover", tmp_path / "two.csv", "--by", "cfg", "--between", "1.5", "4", "--at", "1B")
    code, out, err = said(*words)
    assert code == 0 and "better throughout" in out, err
    frame()[["model_size_B", "num_steps"]].to_csv(tmp_path / "new.csv", index=False)
    code, out, err = said("predict", tmp_path / "two.csv", "--where", "cfg=4", "--new", tmp_path / "new.csv")
    assert code == 0 and ("3e+09" in out or "3000000000" in out), err


def test_a_column_stated_wins_over_the_one_of_the_schema_s_name():
    table = frame().assign(steps=7).rename(columns={"num_steps": "n_calls"})
    assert question(table, read_as="n_calls=steps").table.steps.nunique() == 4


# decisions on rows without a law of `question` read the same words


@pytest.mark.parametrize(
    ("study", "decide", "where"),
    [("tiny-ldm-training", training_trend, {"num_steps": 8}), ("tiny-ldm", which_size, None)],
)
def test_decisions_on_rows_know_the_usual_spellings(study, decide, where):
    words = {"model": "Model", "train_flops": "Train FLOPs", "train_images": "Train images", "steps": "num_steps",
             "sampler": "Solver", "guidance": "CFG scale", "flops_per_image": "MFLOPs per image", "nfe": "NFE",
             "fd": "Frechet distance"}  # fmt: skip
    rows = sl.read(study).filter([*words, "params"])
    mine = rows.assign(**{"params (M)": rows["params"] / 1e6}).drop(columns="params").rename(columns=words)
    mine["MFLOPs per image"] /= 1e6
    read = rows_of(mine, where)
    assert set(read) == set(rows) and np.allclose(read["params"], rows["params"])
    assert decide(read).answer == decide(rows).answer


@pytest.mark.parametrize("name", ["GenEval (%)", "GenEval"])
def test_shares_in_per_cent_are_read_as_shares(name):
    share = [0.40, 0.52, 0.61, 0.66]
    asked = question(pd.DataFrame({"params": [1e8, 3e8, 1e9, 3e9], name: [100 * s for s in share]}))
    assert np.allclose(asked.table["geneval"], share)
    assert f"quality = {name} (read as geneval, higher is better, in per cent)" in asked.sentences()
    as_shares = question(pd.DataFrame({"params": [1e8, 3e8, 1e9, 3e9], name: share}))
    assert np.allclose(as_shares.table["geneval"], share) and "per cent" not in " ".join(as_shares.sentences())


def test_standard_errors_in_per_cent_follow_their_metric():
    table = pd.DataFrame(
        {"params": [1e8, 3e8, 1e9, 3e9], "GenEval": [40.0, 52, 61, 66], "GenEval se": [1.0, 1, 1, 0.5]}
    )
    assert np.allclose(question(table).table["geneval_se"], [0.01, 0.01, 0.01, 0.005])


def test_a_budget_below_the_cheapest_row_says_the_unit(mine):
    with pytest.raises(NoAnswer, match=r"0.1B at 5 steps costs 0.008\d* s; raise the budget"):
        answer.ask("mine.csv", "1ms")


def test_without_a_cost_the_setting_shown_is_named():
    both = pd.concat([frame().drop(columns="gpu_ms").assign(solver=name) for name in ("ddim", "euler")])
    found = answer.ask(both, replicates=20)
    assert any("No budget chooses between the 2 samplers and guidances: law and forecasts are of sampler=ddim" in note
               for note in found.notes)  # fmt: skip
    assert found.hold_out().name == "3B (sampler=ddim)"
    priced = pd.concat(
        [frame().assign(solver=name, fid=frame()["fid"] * f) for name, f in (("ddim", 1), ("heun", 0.9))]
    )
    assert ", sampler=heun, for 0.1 s per image" in repr(answer.ask(priced, "100ms", replicates=20))


def test_a_step_count_held_out_is_not_called_a_size():
    steps = [5, 10, 20, 50, 100]
    one = pd.DataFrame({"params": 1e8, "num_steps": steps, "fid": [quality(0.1, s) for s in steps]})
    assert answer.ask(one, replicates=20).hold_out().name == "steps = 100"
