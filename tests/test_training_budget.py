"""A study's training budget: rows of both kinds joined, and the answer of the bundled family."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from scalinglaws import studies
from scalinglaws.decide.training_budget import joint_rows, training_budget
from scalinglaws.fitting import fit
from scalinglaws.laws import power_sum
from scalinglaws.schema import InputError

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def found():
    return training_budget("tiny-ldm", replicates=100, unique=60000)


def test_rows_of_both_kinds_are_joined(found):
    table = found.fit.table
    assert len(table) == 70 and (table["sampler"] == "dpm++2m").all()  # 7 sizes: 7 lengths, and 3 more steps at the end
    ends = table[table["steps"] != 8]
    assert len(ends) == 21 and (ends["train_images"] == 1_024_000).all()


def test_rows_that_do_not_agree_are_refused():
    training = pd.DataFrame({"model": ["a", "b"], "sampler": "ddim", "steps": 8, "train_steps": [10, 20]})
    with pytest.raises(InputError, match="No row with steps varied agrees"):
        joint_rows(training, training.assign(sampler="dpm"))
    with pytest.raises(InputError, match=r"No column 'hours' for the data: name it with data="):
        training_budget("tiny-ldm", data="hours")
    steps = studies.read("tiny-ldm-training").drop(columns="train_images")  # 6 N D of steps is no number of FLOPs
    with pytest.raises(InputError, match=r"No column for the data: name it with data="):
        training_budget(steps)


def test_the_interaction_predicts_hidden_rows_that_the_plain_sum_does_not(found):
    """Every tenth row hidden in turn: 5 % with both shifts, 14 % without. The law's reason to be in the table."""
    plain = power_sum("plain", "E + A*N^-a + B*D^-b + K*S^-k", "test")
    table, errors = found.fit.table.reset_index(drop=True), {}
    part = np.random.default_rng(0).integers(0, 5, len(table))
    for law in ("size_training_steps", plain):
        off = []
        for k in range(5):
            one = fit(table[part != k], law, "fd", found.fit.inputs, replicates=2)
            hidden = table[part == k]
            at = {symbol: hidden[column].to_numpy(float) for symbol, column in one.inputs.items()}
            off.append(np.log(one.curve(at) / hidden["fd"].to_numpy()))
        errors[law if isinstance(law, str) else law.name] = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
    assert errors["size_training_steps"] < 0.07 < 0.12 < errors["plain"]


def test_the_answer_is_computed_from_the_fit(found):
    one, plan = found.allocation, found.serving
    assert f"{one.size:.3g}" in found.answer and f"{plan.total:.3g}" in found.answer and "epochs" in one.summary()
    assert one.train_steps == pytest.approx(one.data / 128)
    assert one.decades_beyond == 0 and 1e6 < one.size < 2e7
    assert set(found.paths["approach"]) == set(found.exponents["approach"]) and len(found.exponents) == 3
    assert "<table" in found._repr_html_() and "\n" not in repr(found)
    assert found.plot().get_ylabel() == "fd" and found.plot_paths("data").get_ylabel() == "best train_images"
    assert found.plot_paths().get_xlabel() == "training budget (FLOPs)"
    matplotlib.pyplot.close("all")


def test_a_study_without_steps_takes_the_plain_law():
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e6, 1e8, 6)))
    table = pd.DataFrame({"model": n.astype(int).astype(str), "params": n, "train_images": d})
    table = studies.read(table.assign(fid=2 + 1e3 * n**-0.4 + 4e3 * d**-0.4))
    one = training_budget(table, budget="1e16 FLOPs", replicates=20)
    assert one.fit.law.name == "chinchilla" and one.serving.steps is None
    assert one.allocation.size == pytest.approx(one.allocation.closed[0], rel=5e-3)


def test_a_law_in_tokens_serves_tokens_and_its_budget_is_in_flops(found):
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    runs = pd.DataFrame({"N": n.astype(int), "tokens": d, "loss": 1.9 + 420 * n**-0.36 + 1200 * d**-0.33})
    made = training_budget(runs, quality="loss", replicates=20)
    said, plan = made.answer, made.serving
    assert plan.served == d.max() and plan.plans["serving"].iloc[0] > 0.1 * plan.plans["training"].iloc[0]
    assert "served by default" not in said and "served by default" in found.answer  # steps alone have a default
    assert "(FLOPs, 6 x params x data) is best spent on params" in said and "tokens to serve at loss" in said
    assert "images to serve at fd" in found.answer
    own = training_budget(runs.rename(columns={"loss": "val_loss"}), replicates=20)  # found as `ask` finds it
    assert own.allocation.columns[2] == "val_loss" and own.allocation.size == made.allocation.size
