"""Tables as people first bring them: sizes in words, names of W&B, an index, logarithms; and what is said of them."""

import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws import infer, measurements
from scalinglaws.schema import InputError
from scalinglaws.spellings import recognise

WORDS = {"39M": 39e6, "300 million": 3e8, "1.5B": 1.5e9, "5 bn": 5e9}


def curve(**columns):
    return pd.DataFrame(columns | {"FID": [14.0, 11.0, 9.0, 8.5]})


@pytest.mark.parametrize("name", ["params", "Params", "n_params", "model_size", "config.model.size"])
def test_sizes_in_words_are_numbers_and_labels(tmp_path, name):
    curve(**{name: list(WORDS)}).to_csv(tmp_path / "mine.csv", index=False)
    for source in (tmp_path / "mine.csv", curve(**{name: list(WORDS)})):
        question = infer.question(source)
        assert question.inputs == {"N": "params"} and question.table.params.tolist() == list(WORDS.values())
    if name != "params":
        assert question.table.model.tolist() == list(WORDS)
        assert "with K, M and B as written" in question.sentences()[0]


def test_labels_that_are_sizes_are_read_where_nothing_else_tells_one():
    question = infer.question(curve(model=["39M", "300M", "1.5B", "5B"]))
    assert question.table.params.tolist() == list(WORDS.values()) and question.table.model[2] == "1.5B"
    known = curve(model=["39M", "300M", "1.5B", "5B"], gflops=[53, 300, 1600, 5000])
    assert infer.question(known).inputs == {"N": "flops_per_forward"}
    with pytest.raises(InputError, match="No column is known as a size"):
        infer.question(curve(model=["S", "B", "L", "XL"]))


def test_sizes_in_words_are_numbers_where_the_user_says_that_they_are_sizes():
    question = infer.question(curve(network=list(WORDS)), read_as={"network": "params"})
    assert question.table.params.tolist() == list(WORDS.values()) and question.table.model.tolist() == list(WORDS)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("eval/fid_50k", "fid"), ("test.clip_score", "clip"), ("config.sampler.num_inference_steps", "steps"),
        ("config.model.size", "params"), ("metrics.fid", "fid"), ("params.steps", "steps"), ("cfg.scale", "guidance"),
        ("config.batch.size", "batch_size"), ("config.sampler.name", "sampler"),
        ("perf/latency_ms", "seconds_per_image"),
        ("perf/gflops_per_step", "flops_per_forward"), ("GFLOPs/step", "flops_per_forward"),
        ("GFLOPs/img", "flops_per_image"),
    ],
)  # fmt: skip
def test_names_with_sections_are_read_by_their_last_part(name, meaning):
    assert recognise(name).meaning == meaning


@pytest.mark.parametrize(
    "name",
    [
        "_step",
        "_runtime",
        "timing/s",
        "timing/w",
        "cost.n",
        "config.sampler.s",
        "dataset.size",
        "train/num_steps",
        "data.size",
        "global_step",
    ],
)
def test_names_of_another_section_are_not_guessed(name):
    assert recognise(name) is None


def test_an_export_of_wandb_is_read_without_a_word():
    grid = [(n, s) for n in (39e6, 145e6, 866e6) for s in (4, 8, 16, 32)]
    rows = pd.DataFrame({
        "Name": [f"run-{i}" for i in range(12)], "State": "finished",
        "config.model.size": [f"{n / 1e6:g}M" for n, _ in grid],
        "config.sampler.num_inference_steps": [s for _, s in grid], "_step": np.arange(12), "_timestamp": 1.7e9,
        "eval/fid_50k": [8 + 2e4 * n**-0.45 + 90 * s**-1.1 for n, s in grid],
    })  # fmt: skip
    question = infer.question(rows)
    assert question.inputs == {"N": "params", "S": "steps"} and question.quality == "fid"
    fit = question.fit(replicates=20)
    assert [fit.values[k] for k in "EAaBb"] == pytest.approx([8, 2e4, 0.45, 90, 1.1], rel=0.01)
    assert question.table.model.tolist()[::4] == ["39M", "145M", "866M"]
    with pytest.raises(InputError, match=r"the table has no seconds_per_image\. Give a column of cost"):
        infer.question(rows.assign(_runtime=3600.0)).budget("1 s")


def test_a_logarithm_is_refused_with_what_to_give_instead():
    rows = pd.DataFrame({"log10_params": [7.0, 8, 9, 10], "fid": [14.0, 11, 9, 8]})
    with pytest.raises(InputError, match=r"log10_params is called like a logarithm.*10 to the power of log10_params"):
        infer.question(rows, inputs={"N": "log10_params"})


@pytest.mark.parametrize("name", ["log_loss", "log perplexity", "eval/log_ppl"])
def test_the_log_loss_is_a_loss(name):
    rows = pd.DataFrame({"params": [1e7, 1e8, 1e9, 1e10], name: [4.0, 3.1, 2.7, 2.5]})
    assert infer.question(rows, quality=name).quality == name


def test_of_a_log_likelihood_the_negative_is_asked_for():
    rows = pd.DataFrame({"params": [1e7, 1e8, 1e9], "Log-Likelihood": [-4.0, -3.1, -2.7]})
    with pytest.raises(InputError, match=r"Log-Likelihood is below 0 in every row.*: give a column of its negative, a"):
        infer.question(rows, quality="Log-Likelihood")


def test_the_levels_of_an_index_are_columns(tmp_path):
    rows = pd.DataFrame({"params": [1e7, 1e7, 1e8, 1e8], "steps": [4, 8] * 2, "fid": [20.0, 14, 12, 9]})
    rows.set_index(["params", "steps"]).to_parquet(tmp_path / "mine.parquet")
    for source in (rows.set_index(["params", "steps"]), rows.set_index("params"), tmp_path / "mine.parquet"):
        pd.testing.assert_frame_equal(measurements.read(source)[list(rows)], rows, check_dtype=False)
    with pytest.raises(InputError, match=r"columns have 2 levels, such as \('a', 'params'\): give each one name"):
        measurements.read(pd.concat({"a": rows}, axis=1))


def test_rows_counted_once_are_said():
    rows = pd.DataFrame({"params": [1e7, 1e8, 1e7, 1e9], "fid": [20.0, 14, 20.0, 12]})
    assert infer.question(rows).notes == ("Row 3 has the values of an earlier row in every column: counted once.",)


def test_wrong_arguments_are_refused_without_a_budget_too():
    rows = pd.DataFrame({"params": [1e7, 1e8, 1e9, 1e10], "gflops": [1, 10, 100, 1000], "fid": [20.0, 14, 12, 11]})
    with pytest.raises(InputError, match=r"level=1\.5: give a number between 0 and 1"):
        sl.ask(rows, level=1.5)
    with pytest.raises(InputError, match="No size 'many'"):
        sl.ask(rows, sizes=["many"], replicates=20)
    with pytest.raises(InputError, match=r"Give numbers of params beyond 1e\+10 to forecast at; got \['1B'\]"):
        sl.forecast(rows, "fid", "params", ["1B"])


def grid(**columns):
    """Rows of three sizes at four step counts, with columns by size: {name: one value a size}."""
    sizes = {k: np.repeat(v, 4) for k, v in columns.items()}
    n, s = np.repeat([39e6, 83e6, 866e6], 4), np.tile([4, 8, 16, 32], 3)
    fid = (8 + 2e4 * n**-0.45 + 90 * s**-1.1) * np.exp(0.01 * np.cos(np.arange(12)))
    return pd.DataFrame(sizes | {"steps": s, "fid": fid})


def test_a_label_of_two_sizes_is_told_from_an_unknown_one():
    rows = grid(model=["S", "B", "L"], flops_per_forward=[5.7e10, 1e11, 8e11])
    rows.loc[0, "flops_per_forward"] = 6e10
    with pytest.raises(InputError, match=r"S has 2 values of flops_per_forward \(5\.7e\+10, 6e\+10\): keep"):
        sl.ask(rows, 1e12, sizes=["S"], replicates=20)


@pytest.mark.parametrize("written", [["39M", "83M", "866M"], [39e6, 83.2e6, 866e6]])
def test_sizes_in_flops_are_called_by_their_parameters(tmp_path, written):
    grid(params=written, flops_per_forward=[5.7e10, 1e11, 8e11]).to_csv(tmp_path / "mine.csv", index=False)
    question = infer.question(tmp_path / "mine.csv")
    assert question.inputs["N"] == "flops_per_forward"
    assert list(question.table.model.unique()) == ["39M", "83M" if written[1] == "83M" else "83.2M", "866M"]
    answer = sl.ask(tmp_path / "mine.csv", "4e12 FLOPs", replicates=20)
    assert set(answer.optimum.candidates.model) == set(question.table.model)
    crossing = sl.crossover(answer.fit, between=("39M", "83M"))
    assert (crossing.first, crossing.second) == ("39M", question.table.model[4])
    with pytest.raises(InputError, match=r"No size '84\.5M'\. Known sizes: 39M, 83"):
        sl.crossover(answer.fit, between=("39M", "84.5M"))


def test_sizes_that_parameters_do_not_tell_apart_keep_their_own_unit():
    patches = grid(params=[33e6, 33e6, 130e6], flops_per_forward=[6e9, 1.5e9, 23e9])
    assert "model" not in infer.question(patches).table
    unit = grid(size=[39, 83, 866])
    assert "model" not in infer.question(unit).table


def test_a_label_with_the_parameters_in_it_is_meant_by_them(tmp_path):
    rows = grid(Model=["LDM-39M", "LDM-83M", "LDM-866M"], params_M=[39, 83, 866], gflops=[57, 100, 800])
    question = infer.question(rows)
    fit = question.fit(replicates=20)
    for pair in (("39M", "83M"), ("39", "83"), ("57", "100"), (57e9, 1e11), ("LDM-39M", "LDM-83M")):
        crossing = sl.crossover(fit, between=[question.size(size) for size in pair])
        assert (crossing.first, crossing.second) == ("LDM-39M", "LDM-83M")


@pytest.mark.parametrize("column", ["params", "Total params"])
def test_a_size_with_a_comma_that_may_be_two_is_refused(tmp_path, column):
    rows = "".join(f'"{size}",{fid}\n' for size, fid in (("60 M", 9.5), ("500 M", 6.5), ("1,500 M", 5.5)))
    (tmp_path / "sizes.csv").write_text(f"{column},fid\n{rows}")
    with pytest.raises(InputError, match=f"Column '{column}'.*'1,500 M' may be 1500 M or 1.500 M"):
        infer.question(tmp_path / "sizes.csv")


def test_counts_are_understood_where_rows_are_chosen_and_where_values_are_asked_for(tmp_path, said):
    rows = pd.DataFrame({"Params (B)": [0.1, 0.3, 1.3, 13] * 2, "tokens": [1e11] * 4 + [3e11] * 4})
    rows = rows.assign(loss=1.7 + 400 * (1e9 * rows["Params (B)"]) ** -0.34 + 400 * rows.tokens**-0.28)
    rows.to_csv(tmp_path / "mine.csv", index=False)
    assert len(infer.question(rows, where={"tokens": "300B"}).table) == 4
    words = (tmp_path / "mine.csv", "--where", "tokens=300B", "--at")
    for at in ("Params (B)=30B", "Params (B)=30", "params=30B", "N=3e10"):
        code, out, _ = said("predict", *words, at, "--law", "power_floor")
        assert code == 0 and " 3e+10" in out
        code, out, _ = said("forecast", *words, at)
        assert code == 0 and "loss at params = 3e+10: " in out


@pytest.mark.parametrize(("words", "passes"), [("forecast --at N=3e12", True), ("predict --at N=3e12", True),
                                               ("predict --at N=1e9", False)])  # fmt: skip
def test_an_accuracy_above_one_is_said_to_be_none(tmp_path, said, words, passes):
    rows = pd.DataFrame({"params": [1.25e8, 3.5e8, 1.3e9, 2.7e9, 6.7e9, 1.3e10]})
    rows.assign(accuracy=[0.4299, 0.4986, 0.5987, 0.6442, 0.7092, 0.7453]).to_csv(tmp_path / "mine.csv", index=False)
    verb, *at = words.split()
    code, out, _ = said(verb, tmp_path / "mine.csv", *at)
    assert code == 0 and ("Warning: accuracy is a share, at most 1" in out) == passes
