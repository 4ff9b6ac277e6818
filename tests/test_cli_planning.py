"""The verbs forecast, allocate and backtest: the library's answers, known laws, and bad input in one sentence."""

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import family

import scalinglaws as sl
from scalinglaws import cli

SIZES = [1e8, 3e8, 1e9, 3e9]
E, A, a, B, b = 1.8172, 482.01, 0.3478, 2085.43, 0.3658  # Besiroglu et al. 2024, arXiv:2404.10102


def curve(values=(9.0, 6.5, 5.0, 4.2), quality="fid"):
    return pd.DataFrame({"params": SIZES[: len(values)], quality: values})


def training(**columns):
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    table = pd.DataFrame({"params": N, "tokens": np.round(D), "loss": E + A * N**-a + B * np.round(D) ** -b})
    return table.assign(**columns)


def largest_without_quality():
    """Four measured sizes and one, XL, that has a size but no quality."""
    return pd.concat([curve().assign(model=list("SMLH")), pd.DataFrame({"params": [1e10], "model": ["XL"]})])


TABLES = {
    "runs.csv": family(noise=0.02),
    "four.csv": curve(), "one.csv": curve((9.0,)), "two.csv": curve((9.0, 6.5)), "text.csv": curve((9.0, "good", 5.0)),
    "noq.csv": curve().rename(columns={"fid": "price"}),
    "mine.csv": curve().assign(params=lambda t: t.params / 1e9).rename(columns={"params": "model_size_B"}),
    "xl.csv": largest_without_quality(), "clip.csv": training(clip=0.3).drop(columns="loss"),
    "seeds.csv": pd.concat([curve().assign(seed=k, fid=lambda t, k=k: t.fid * (1 + 0.02 * k)) for k in range(3)]),
    "depths.csv": pd.concat([curve().assign(steps=[4, 8, 16, 32], model=m).drop(columns="params") for m in "ab"]),
    "training.csv": training(), "steps.csv": training().rename(columns={"tokens": "train_steps"}),
    "own.csv": training().rename(columns={"params": "n_params", "tokens": "train_tokens"}),
    "hours.csv": training(gpu_hours=lambda t: 1e-18 * t.params**1.1 * t.tokens**0.9),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, table in TABLES.items():
        table.to_csv(folder / name, index=False)
    return folder


@pytest.fixture
def answered(said, folder, monkeypatch):
    """JSON of a command run among the tables."""
    monkeypatch.chdir(folder)

    def run(*words):
        code, out, err = said(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


def test_forecast_prints_what_the_library_forecasts(answered, said):
    data = answered("forecast", "four.csv", "--at", "params=1e10,3e10")
    table = sl.forecast(curve(), "fid", "params", [1e10, 3e10]).to_frame(0.9)
    pd.testing.assert_frame_equal(
        pd.DataFrame(data["forecast"]), table.rename(columns={"params": "x"}), check_dtype=False
    )
    text = said("forecast", "four.csv", "--at", "params=1e10")[1]
    assert "of a model you would train" in text and "The last row again, params = 3e+09: 4.2." in text
    check = data["check"]
    again = sl.forecast(curve()[:3], "fid", "params", [3e9])
    assert check["value"] == pytest.approx(again.value[0]) and (check["measured"], check["last"]) == (4.2, 5.0)


@pytest.mark.parametrize(
    ("file", "at"),
    [
        ("four.csv", "N=1e10"), ("four.csv", "params=10B"), ("mine.csv", "model_size_B=10"),
        ("mine.csv", "params=1e10"), ("xl.csv", "model=XL"),
    ],
)  # fmt: skip
def test_the_axis_in_the_user_s_words(answered, file, at):
    row = answered("forecast", file, "--at", at)["forecast"][0]
    assert row["x"] == 1e10 and row["value"] == pytest.approx(sl.forecast(curve(), "fid", "params", 1e10).value[0])


def test_a_study_is_forecast_by_a_prior_that_has_not_seen_it(answered):
    where = ("--where", "family=EDM2 img512 no guidance")
    data = answered("forecast", "edm2", *where, "--quality", "fid", "--at", "params=3e9")
    rows = sl.read("edm2").query("family == 'EDM2 img512 no guidance'")
    unseen, seen = (sl.forecast(rows, "fid", "params", 3e9, leave_out=name) for name in ("edm2", "mei"))
    assert data["forecast"][0]["value"] == unseen.value[0] != seen.value[0]
    alone = answered("forecast", "edm2", *where, "--quality", "fid", "--at", "params=3e9", "--no-prior")
    assert not alone["used_prior"] and alone["forecast"][0]["value"] != unseen.value[0]


def test_seeds_are_averaged_and_their_spread_is_the_error(answered):
    data = answered("forecast", "seeds.csv", "--at", "N=1e10")
    mean = curve().fid * (1 * 1.02 * 1.04) ** (1 / 3)
    spread = np.std(np.log([1, 1.02, 1.04]), ddof=1)
    rows = curve(mean.tolist()).assign(fid_se=spread / 3**0.5 * mean)
    assert data["rows"] == 4 and "12 rows are 4 values of params: repeats are averaged." in data["notes"]
    assert data["forecast"][0]["value"] == pytest.approx(sl.forecast(rows, "fid", "params", 1e10).value[0])


def test_far_beyond_and_a_largest_row_that_was_missed_are_warnings(said, folder, tmp_path):
    assert "Warning: 3.5 decades beyond" in said("forecast", folder / "four.csv", "--at", "params=1e13")[1]
    curve((9.0, 6.5, 5.0, 40.0)).to_csv(tmp_path / "odd.csv", index=False)
    assert "The largest measured row lies outside" in said("forecast", tmp_path / "odd.csv", "--at", "params=1e10")[1]


def test_allocate_is_the_closed_form_of_a_known_law(answered):
    data = answered("allocate", "training.csv", "--quality", "loss", "--budget", "1e22 FLOPs")
    size = (a * A / (b * B)) ** (1 / (a + b)) * (1e22 / 6) ** (b / (a + b))  # Hoffmann et al. 2022, eq. 4
    found = data["allocation"]
    assert found["size"]["value"] == pytest.approx(size, rel=1e-3)
    assert found["data"]["value"] == pytest.approx(1e22 / 6 / size, rel=1e-3)
    assert found["exponents"] == pytest.approx([b / (a + b), a / (a + b)], rel=1e-4)
    assert found["columns"] == {"size": "params", "data": "tokens", "quality": "loss"}


def test_a_cost_of_the_user_s_own(answered):
    by_column = answered("allocate", "hours.csv", "--quality", "loss", "--budget", "2000", "--cost", "gpu_hours")
    p, q = 1.1, 0.9
    total = a * q + b * p
    size = (a * A * q / (b * B * p)) ** (q / total) * (2000 / 1e-18) ** (b / total)
    assert by_column["allocation"]["size"]["value"] == pytest.approx(size, rel=2e-3)
    six = answered("allocate", "training.csv", "--quality", "loss", "--budget", "1e22")
    by_number = answered("allocate", "training.csv", "--quality", "loss", "--budget", "1e22", "--cost", "6")
    assert by_number["allocation"]["size"] == six["allocation"]["size"]


def test_the_other_two_approaches_stand_beside_with_their_biases(said, folder, tmp_path):
    profiles = []
    for compute in (1e19, 1e20, 1e21):
        N = compute**0.5 * np.geomspace(0.02, 0.5, 9)
        D = compute / (6 * N)
        profiles.append(
            pd.DataFrame({"params": N, "tokens": D, "train_flops": compute, "loss": E + A * N**-a + B * D**-b})
        )
    pd.concat(profiles).to_csv(tmp_path / "profiles.csv", index=False)
    words = ("allocate", tmp_path / "profiles.csv", "--quality", "loss", "--budget", "1e22")
    data = json.loads(said(*words, "--json")[1])
    best = data["allocation"]["size"]["value"]
    isoflop, envelope = data["approaches"]
    assert isoflop["size"] == pytest.approx(best, rel=0.2) and envelope["size"] == pytest.approx(best, rel=0.5)
    text = said(*words)[1]
    assert "By isoFLOP profiles: params" in text and "is biased" in text and "favours lucky runs" in text


def test_a_backtest_reads_columns_of_usual_names(answered):
    known, own = (answered("backtest", name, "--rivals", "last")["rows"] for name in ("training.csv", "own.csv"))
    assert len(known) > 0 and [row["truth"] for row in own] == [row["truth"] for row in known]


def test_serving_makes_the_model_smaller(answered):
    words = ("allocate", "training.csv", "--quality", "loss", "--quality-wanted", "2.5", "--serve")
    few, many = (answered(*words, count)["serving"] for count in ("1 million images", "1e14"))
    alone = next(p for p in few["plans"] if p["plan"] == "trained compute-optimally")
    assert few["size"] == pytest.approx(alone["size"], rel=0.05)
    assert many["size"] < 0.7 * few["size"] and many["total"] == pytest.approx(many["training"] + many["serving"])


def test_training_in_hours_is_not_added_to_serving_in_flops(said, folder):
    words = ("--quality", "loss", "--serve", "1e9", "--quality-wanted", "2.5", "--cost", "gpu_hours")
    code, out, err = said("allocate", folder / "hours.csv", *words)
    assert (code, out) == (2, "") and "'gpu_hours' and the serving cost in FLOPs cannot be added" in err


def test_a_quality_out_of_reach_is_no_answer(said, folder):
    words = ("--quality", "loss", "--serve", "1e9", "--quality-wanted", "0.5")
    code, out, err = said("allocate", folder / "training.csv", *words)
    assert code == 1 and not out and "No size reaches loss 0.5" in err


def test_design_prints_the_library_s_plan(answered, said):
    words = ("design", "runs.csv", "--spend", "1e13 FLOPs", "--budget", "1e8", "--steps", "128", "--enough", "1e-5")
    data = answered(*words)
    plan = sl.design(sl.read("runs.csv"), "optimum", "1e13 FLOPs", budget="1e8", steps=[128], enough=1e-5)
    assert data["cells"] == plan.record()["cells"] and data["loss"] == plan.loss and data["cost"] <= 1e13
    assert "Today's answer: " in said(*words)[1]


@pytest.mark.parametrize("option", ["--se fd_se", "--loss squares", "--delta 1", "--seed 3", "--level 0.5"])
def test_design_refuses_what_it_does_not_use(said, option):
    """Its belief has a prior of its own and no bootstrap; errors of cells are those of the column quality_se."""
    code, out, err = said("design", "runs.csv", "--spend", "1e13", *option.split())
    assert (code, out) == (2, "") and "unrecognized arguments: --" in err


def test_backtest_of_a_table_is_the_library_s_board(answered, said, tmp_path):
    data = answered("backtest", "edm2", "four.csv", "--rivals", "last,power", "--page", tmp_path / "board.html")
    rows = pd.DataFrame(data["rows"])
    assert set(rows.study) == {"edm2", "four"} and set(rows.method) == {"forecast", "last", "power"}
    mine = rows[(rows.study == "four")].set_index("method")
    assert (mine.truth == 4.2).all() and mine.value["last"] == 5.0
    assert mine.value["power"] == pytest.approx(np.exp(np.polyval(np.polyfit(np.log(SIZES[:3]), np.log([9, 6.5, 5]), 1),
                                                                  np.log(3e9))))  # fmt: skip
    assert "<svg" in (tmp_path / "board.html").read_text()
    code, out, err = said("backtest", "four.csv")
    assert code == 0 and out.startswith("next size, 4 or more: 1 series") and err == ""


def test_backtest_stores_a_board_and_checks_it(said, folder, tmp_path):
    stored = tmp_path / "board.csv"
    assert f"Board: {stored}" in said("backtest", "edm2", "--rivals", "last", "--write", stored, "--processes", "2")[1]
    assert set(pd.read_csv(stored)["asked"]) == {"size", "guidance strength"}
    code, out, _ = said("backtest", "edm2", "--rivals", "power", "--check", stored)
    assert code == 0 and "7 forecasts are as they were" in out
    code, out, err = said("backtest", folder / "four.csv", "--check", stored)
    assert code == 1 and not out and "8 of 8 forecasts differ" in err


def test_backtest_says_how_far_it_is(said, monkeypatch):
    monkeypatch.setattr(cli.commands.forecasts, "EVERY", 2)
    code, _, err = said("backtest", "edm2", "--rivals", "last")
    assert code == 0 and "2 of 7 series done." in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("forecast nowhere.csv --at params=1e10", "No file 'nowhere.csv'"),
        ("forecast one.csv --at params=1e10", "needs 2 rows or more; given were 1"),
        ("forecast text.csv --at params=1e10", "row 2 holds the text 'good'"),
        ("forecast four.csv --at depth=3", "Column 'depth' is missing; the table has params, fid"),
        ("forecast four.csv --at params=0", "'0' is no number above 0; write --at params=1e9,2e9 or params=1.3B"),
        ("forecast four.csv --at params=-3", "'-3' is no number above 0"),
        ("forecast four.csv --at params=many", "'many' is no number above 0"),
        ("forecast four.csv --at params=inf", "'inf' is no number above 0"),
        ("forecast four.csv --at params=1e8", "params = 1e+08 is below the largest, 3e+09"),
        ("forecast four.csv --at params=", "no value; write COLUMN=VALUE"),
        ("forecast four.csv --at 3e9", "write COLUMN=VALUE, such as --at params=1e9,2e9"),
        ("forecast four.csv --at params=1e10 fid=3", "a forecast runs along one"),
        ("forecast four.csv --at fid=10", "fid is the quality"),
        ("forecast four.csv --at S=10", "No column of steps that varies"),
        ("forecast four.csv --at N=1e10 --level 2", "--level 2: give a number between 0 and 1"),
        ("forecast four.csv", "the following arguments are required: --at"),
        ("forecast xl.csv --at model=ZZ", "No row has model = ZZ; the table has S, M, L, H, XL"),
        ("forecast depths.csv --at steps=64", "The rows mix 2 values of model (a, b)"),
        ("forecast edm2 --at params=1e10", "in Python where={'family': NAME}. They are 'EDM2 img512 no guidance'"),
        ("allocate training.csv --quality loss", "Give --budget, such as '1e21 FLOPs', or --serve IMAGES"),
        ("allocate training.csv --quality loss --budget 0", "give a number above 0"),
        ("allocate training.csv --quality loss --budget -5", "give a number above 0"),
        ("allocate training.csv --quality loss --budget 5miles", "no unit 'miles'"),
        ("allocate training.csv --quality loss --budget 2h", "is in seconds; training is counted in FLOPs here"),
        ("allocate training.csv --quality loss --budget much", "'much' is no quantity"),
        ("allocate four.csv --budget 1e22", "No column of training data or training compute varies"),
        ("allocate steps.csv --quality loss --budget 1e22", "train_steps varies, but 6 N D counts tokens or images"),
        ("allocate clip.csv --quality clip --budget 1e22", "clip rises as it gets better"),
        (
            "allocate training.csv --quality loss --budget 1e22 --law power_floor",
            "choose chinchilla, kaplan or size_tr",
        ),
        ("allocate training.csv --quality loss --budget 1e22 --law chinchila", "No law named 'chinchila'"),
        (
            "allocate training.csv --quality loss --budget 1e22 --law size_training",
            "No column of training compute varies",
        ),
        ("allocate training.csv --quality loss --budget 1e22 --inputs N=params", "name N=COLUMN and D=COLUMN (data)"),
        ("allocate training.csv --quality loss --budget 1e22 --cost 0", "--cost 0: give a number above 0"),
        ("allocate training.csv --quality loss --budget 1e22 --cost gpu", "No column 'gpu' for the cost of training"),
        ("allocate training.csv --quality loss --budget 1e22 --sizes 5 1", "give a smaller and a larger size"),
        ("allocate training.csv --quality loss --serve 1e9", "--serve 1e9 needs --quality-wanted, the loss"),
        ("allocate training.csv --quality loss --serve lots --quality-wanted 2.5", "--serve 'lots': give the images"),
        ("allocate training.csv --quality loss --serve 1e9 --quality-wanted 2.5 --calls 0", "--calls 0: give a number"),
        ("design tiny-ldm --spend 1e13 --question largest", "keep one with --where sampler=VALUE"),
        ("design runs.csv --spend 0", "spend"),
        ("design runs.csv --spend much", "'much' is no quantity"),
        ("design runs.csv --spend 1e13 --question luck", "No question 'luck' for a design. Known: optimum"),
        ("design runs.csv --spend 1e13 --question crossover --between c8 c99", "c99"),
        ("design runs.csv --spend 1e13 --training lots", "--training lots: give the cost"),
        ("design runs.csv --spend 1e13 --most 0", "most=0"),
        ("design runs.csv", "the following arguments are required: --spend"),
        ("design runs.csv --spend 1e13 --seed 1", "unrecognized arguments: --seed 1"),  # nothing there is drawn by it
        ("design runs.csv --spend 1e13 --level 0.5", "unrecognized arguments: --level 0.5"),  # nor has an interval
        ("allocate training.csv --quality loss --budget 1e22 --quality-wanted 2", "--quality-wanted is for --serve"),
        ("allocate training.csv --quality loss --budget 1e22 --calls 2", "--calls is for --serve IMAGES"),
        ("forecast four.csv --at params=1e9 --at steps=2", "--at names 2 columns"),
        ("backtest --rivals last,luck", "No rival named 'luck'. Known: all, last, power"),
        ("backtest nowhere.csv", "No file 'nowhere.csv'"),
        ("backtest two.csv", "No curve of 3 values or more"),
        ("backtest four.csv --language nowhere", "No folder 'nowhere'"),
        ("backtest noq.csv", "noq.csv has no quality, such as fid or loss; its columns are params, price"),
        ("backtest four.csv --processes 0", "at least 2 rows to be seen and 1 process; got least=2, processes=0"),
        ("backtest four.csv --write nowhere/b.csv", "no folder 'nowhere'"),
        ("backtest four.csv --check four.csv", "four.csv is no stored board"),
        ("backtest four.csv --page nowhere/board.html", "no folder 'nowhere'"),
        ("backtest edm2x", "Do you mean 'edm2'?"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(said, folder, monkeypatch, words, sentence):
    monkeypatch.chdir(folder)
    code, out, err = said(*words.split())
    assert code == 2 and not out and sentence in err and err.count("\n") == 1
