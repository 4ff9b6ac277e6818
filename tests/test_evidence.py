"""What values tell where names do not: unlike rows, which way a quality goes."""

import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws import evidence, infer, roles
from scalinglaws.schema import InputError

SIZES, STEPS = (2e7, 5e7, 1e8, 3e8, 9e8), (4, 8, 16, 32, 64)


def grid(**extra):
    """fid = 8 + 2e4 N^-0.45 + 90 S^-1.1, every size at every number of steps."""
    rows = pd.DataFrame([(n, s) for n in SIZES for s in STEPS], columns=["params", "steps"])
    return rows.assign(fid=8 + 2e4 * rows.params**-0.45 + 90 * rows.steps**-1.1, gflops=2e-9 * rows.params, **extra)


def noisy(table, rng, noise=0.02):
    return table.assign(fid=table.fid * np.exp(noise * rng.normal(size=len(table))))


def test_two_architectures_of_equal_sizes_are_not_pooled():
    one, other = grid(arch="unet"), grid(arch="dit")
    rows = noisy(pd.concat([one, other.assign(fid=0.9 * other.fid)]), np.random.default_rng(0))
    with pytest.raises(
        InputError,
        match=r"mix 2 values of arch \(dit, unet\) .* --where arch=VALUE\. At equal .* fid differs",
    ):
        infer.question(rows)
    assert len(infer.question(rows, where={"arch": "dit"}).table) == 25
    assert len(infer.question(rows, read_as={"arch": "note"}).table) == 50


def test_models_of_two_labels_and_one_size_are_said():
    label = "A" + grid().params.astype(str)
    other = grid(model=label.str.replace("A", "B"))
    notes = infer.question(noisy(pd.concat([grid(model=label), other]), np.random.default_rng(0))).notes
    assert any(note.startswith("Rows that differ in model only are taken for repeats") for note in notes)


def seeds_by_name(rng, own):
    """Three trainings of every size, named by text; each errs by `own` at all its steps."""
    parts = [noisy(grid(run=f"run-{k}"), rng).assign(k=k) for k in "abc"]
    rows = pd.concat(parts, ignore_index=True)
    error = rows.groupby(["params", "k"])["fid"].transform(lambda _: np.exp(own * rng.normal()))
    return rows.assign(fid=rows.fid * error).drop(columns="k")


def test_named_repeats_are_pooled_and_said():
    """Trainings of one size that differ at all their steps are no setting: 200 tables, refused once in 1000."""
    rng, refused = np.random.default_rng(1), 0
    for _ in range(200):
        rows = seeds_by_name(rng, own=0.05)
        refused += evidence.tell_apart(rows, "fid", ["params", "steps"]) is not None
    assert refused <= 2
    notes = infer.question(seeds_by_name(rng, 0.05)).notes
    assert any(note.startswith("Rows that differ in run only are taken for repeats") for note in notes)


def test_a_setting_of_five_per_cent_is_found_above_the_noise():
    rng, found = np.random.default_rng(2), 0
    for _ in range(50):
        rows = pd.concat([noisy(grid(precision_bits=b), rng, 0.01).assign(b=b) for b in (8, 16)])
        rows["fid"] *= np.where(rows.b == 8, 1.05, 1)
        found += evidence.tell_apart(rows.drop(columns="b"), "fid", ["params", "steps"]) == "precision_bits"
    assert found >= 45


def test_other_measured_columns_are_no_settings():
    rows = noisy(pd.concat([grid()] * 3, ignore_index=True), np.random.default_rng(3)).assign(seed=np.arange(75))
    rows = rows.assign(peak_gb=rows.fid * 2, my_fid=rows.fid * 1.1)
    assert evidence.tell_apart(rows, "fid", ["params", "steps"]) is None


def scores(name):
    """A score that rises to 0.9: 0.9 - 8 N^-0.25 - 0.5/S. For 3.2e9 FLOPs the best is known by trying every step."""
    rows = grid().drop(columns="fid")
    return rows.assign(**{name: 0.9 - 8 * rows.params**-0.25 - 0.5 / rows.steps})


@pytest.mark.parametrize("name", ["accuracy", "top1_acc", "eval/accuracy", "win_rate"])
def test_a_score_is_made_as_high_as_the_budget_allows(name):
    steps = {n: int(3.2e9 / (2 * n)) for n in SIZES if 3.2e9 / (2 * n) >= 4}
    best = max(steps, key=lambda n: 0.9 - 8 * n**-0.25 - 0.5 / steps[n])
    answer = sl.ask(scores(name), "3.2e9 FLOPs", replicates=50).optimum
    assert (answer.size / 2, answer.steps) == (pytest.approx(best), steps[best])


def test_a_quality_that_nobody_knows_and_that_rises_is_asked_about():
    rows = scores("hits")
    with pytest.raises(InputError, match=r"hits rises with .*: is a higher value better\? Say --read-as hits=score"):
        sl.ask(rows, "3.2e9 FLOPs", quality="hits")
    with pytest.raises(InputError, match=r"--read-as 'MMLU acc=score' if .* --read-as 'MMLU acc=distance' if"):
        sl.ask(scores("MMLU acc"), "3.2e9 FLOPs", quality="MMLU acc")
    with pytest.raises(InputError, match="hits is to follow a law that rises"):
        sl.ask(rows, "3.2e9 FLOPs", quality="hits", law="size_steps_ceiling")
    rising = sl.ask(rows, "3.2e9 FLOPs", quality="hits", read_as={"hits": "score"}, replicates=50)
    assert rising.fit.law.name == "size_steps_ceiling" and rising.optimum.size == pytest.approx(4e7, rel=4)
    falls = grid().rename(columns={"fid": "my_measure"})
    assert infer.question(falls, quality="my_measure").law == "size_steps"


def test_a_law_that_rises_of_a_quality_nobody_knows_takes_the_highest():
    fit = sl.fit(scores("hits").assign(flops_per_forward=lambda t: 2 * t.params), "size_steps_ceiling", "hits",
                 {"N": "flops_per_forward", "S": "steps"}, replicates=50)  # fmt: skip
    best = sl.optimum(fit, 3.2e9)
    assert best.value == pytest.approx(best.candidates["value"].max())


def test_loss_against_parameters_and_tokens_is_one_law_of_both():
    """Hoffmann et al. 2022, eq. 10: 1.69 + 406.4 N^-0.34 + 410.7 D^-0.28; the floor is found, not the pooled mean's."""
    rows = pd.DataFrame([(n, d) for n in (1e7, 3e7, 1e8, 3e8, 1e9) for d in np.geomspace(1e9, 1e11, 6)],
                        columns=["n_params", "tokens_seen"])  # fmt: skip
    rows["val_loss"] = 1.69 + 406.4 * rows.n_params**-0.34 + 410.7 * rows.tokens_seen**-0.28
    asked = infer.question(rows)
    assert (asked.law, asked.quality, asked.inputs) == ("chinchilla", "val_loss", {"N": "params", "D": "tokens"})
    fit = asked.fit(replicates=20)
    assert [fit.values[k] for k in "EAaBb"] == pytest.approx([1.69, 406.4, 0.34, 410.7, 0.28], rel=0.01)


def test_a_length_of_training_that_differs_between_sizes_is_said():
    rows = pd.DataFrame({"params": [1e7, 1e8, 1e9, 1e10], "tokens": [2e8, 2e9, 2e10, 2e11], "loss": [4.0, 3, 2.5, 2.2]})
    assert "tokens differs between sizes: a law in params follows the two together." in infer.question(rows).notes


@pytest.mark.parametrize(
    ("columns", "quality"),
    [(["val_loss", "train_loss"], "val_loss"), (["train_loss"], "train_loss"), (["loss", "val_loss"], "loss")],
)
def test_the_loss_that_was_measured_on_other_data_is_the_quality(columns, quality):
    rows = pd.DataFrame({"params": [1e7, 1e8, 1e9], **{c: [4.0, 3.0, 2.5] for c in columns}})
    assert roles.quality_of(rows) == quality


def test_two_losses_on_other_data_are_asked_about():
    rows = pd.DataFrame({"params": [1e7, 1e8], "val_loss": [4.0, 3.0], "test_loss": [4.0, 3.0]})
    with pytest.raises(InputError, match="Name one of val_loss, test_loss"):
        roles.quality_of(rows)
