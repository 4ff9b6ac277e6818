"""What is taken from the columns, and what is refused instead of pooled."""

import pandas as pd
import pytest
from synthetic import family

from scalinglaws import infer, pooling, roles, studies
from scalinglaws.schema import InputError

EDM2 = {"family": "EDM2 img512 no guidance"}


def test_the_columns_tell_law_quality_and_inputs():
    question = infer.question(family())
    assert (question.law, question.quality) == ("size_steps", "fd")
    assert question.inputs == {"N": "flops_per_forward", "S": "steps"}
    plain = infer.question("edm2", where=EDM2)
    assert (plain.law, plain.quality, plain.inputs) == ("power_floor", "fid", {"N": "gflops_per_forward"})


@pytest.mark.parametrize(
    ("extra", "column"),
    [({"sampler": "ddpm"}, "sampler"), ({"guidance": 2.0}, "guidance"), ({"train_steps": 9}, "train_steps")],
)
def test_unlike_rows_are_not_pooled(extra, column):
    one = family().assign(train_steps=1)
    both = pd.concat([one, one.assign(**extra)])
    with pytest.raises(InputError, match=f"mix 2 values of {column} .* keep one with --where {column}=VALUE"):
        infer.question(both)


def test_distances_to_two_references_are_refused_at_one_point_and_said_elsewhere():
    """fd_effnet_lite0 is of images at 224 or at 96 pixels: the hash of the reference tells which."""
    rows = family().rename(columns={"fd": "fd_effnet_lite0"}).assign(reference="a224")
    with pytest.raises(InputError, match=r"mix 2 values of reference \(a224, b96\) .* --where reference=VALUE"):
        infer.question(pd.concat([rows, rows.assign(reference="b96", fd_effnet_lite0=lambda t: 3 * t.fd_effnet_lite0)]))
    largest = rows["flops_per_forward"] == rows["flops_per_forward"].max()
    apart = infer.question(rows.assign(reference=rows["reference"].mask(largest, "b96")))
    said = (
        "The rows mix 2 values of reference (a224, b96): fd_effnet_lite0 measured with different ones does not compare."
    )
    assert any(sentence.startswith(said) for sentence in apart.sentences())
    assert not any("does not compare" in sentence for sentence in infer.question(rows).sentences())
    mixed = rows.assign(reference=rows["reference"].mask(largest, "b96"))
    for quality, compares in (("precision", False), ("lpips", True), ("psnr", True)):  # on features, and to the target
        own = mixed.drop(columns="fd_effnet_lite0").assign(**{quality: mixed["fd_effnet_lite0"] / 1e4})
        noted = any("does not compare" in sentence for sentence in infer.question(own).sentences())
        assert noted != compares, quality


def test_a_mixture_of_many_values_is_named_by_the_first_twelve():
    column = pd.Series([0.5, *range(20, 0, -1)])
    assert pooling.mixture(column, "cfg") == (
        "The rows mix 21 values of cfg (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...)"
    )


def test_samplers_and_guidances_become_groups():
    table = pd.concat([family(), family(sampler="ddpm"), family(guidance=2.0)[:-9]])
    question = infer.question(table, choose=True)
    assert list(question.groups()) == ["sampler=ddim guidance=1", "sampler=ddim guidance=2", "sampler=ddpm guidance=1"]
    assert question.main()[0] in ("sampler=ddim guidance=1", "sampler=ddpm guidance=1")
    fits, skipped = question.fits(replicates=20)
    assert len(fits) == 3 and not skipped


def test_a_setting_too_small_to_fit_is_left_out_aloud():
    table = pd.concat([family(), family(sampler="ddpm")[:4]])
    fits, skipped = infer.question(table, choose=True).fits(replicates=20)
    assert list(fits) == ["sampler=ddim"] and skipped[0].startswith("Left out sampler=ddpm: Law")


def test_the_held_out_size_is_predicted():
    question = infer.question("edm2", where=EDM2)
    seen, held = question.hold_out()
    assert held.model.tolist() == ["EDM2-XXL"] and len(seen.table) == 5
    check = question.check(seen.fit(), held)
    assert check.inside.all() and abs(check.error[0]) < 0.02
    assert question.hold_out("EDM2-M")[1].model.tolist() == ["EDM2-M"]


@pytest.mark.slow
def test_every_family_that_can_be_asked_is_one_question():
    asked = 0
    for name in studies.names():
        table = studies.load(name)
        for group in dict.fromkeys(table.family):
            try:
                question = infer.question(table, where={"family": group})
            except InputError as error:
                assert str(error).endswith((".", ")"))
                continue
            asked += not pooling.mixing(question.table, question.inputs)
    assert asked > 40


def test_sizes_known_by_label_only_are_not_pooled_along_the_steps():
    table = pd.DataFrame(
        {"size": list("SSSSBBBB"), "steps": [4, 8, 16, 32] * 2, "fid": [20, 15, 12, 11, 18, 13, 10, 9]}
    )
    with pytest.raises(InputError, match=r"mix 2 values of size \(B, S\) .* keep one with --where size=VALUE"):
        infer.question(table)
    assert infer.question(table, where={"size": "S"}).inputs == {"S": "steps"}


def test_other_qualities_are_said_and_a_time_without_unit_asks_for_it():
    table = pd.DataFrame({"params_m": [33, 130, 458], "fid": [20.0, 15, 12], "clip": [0.2, 0.3, 0.31], "latency": 0.1})
    question = infer.question(table)
    assert question.notes == ("quality = fid; the table also has clip (--quality).",)
    with pytest.raises(InputError, match="Column 'latency' names no unit: say it with --read-as latency=seconds"):
        question.budget("0.3s")
    assert not infer.question(table, quality="fid").notes


def test_a_loss_is_the_quality_where_there_is_no_metric():
    losses = {"loss": [3.0, 2.8, 2.7, 2.65], "val_loss": [3.1, 2.9, 2.8, 2.7]}
    table = pd.DataFrame({"params": [1e8, 3e8, 1e9, 3e9]} | losses)
    assert infer.question(table).quality == "loss"
    assert roles.quality_of(table.assign(fid=[9.0, 7.0, 6.0, 5.5])) == "fid"
    assert roles.quality_of(table.drop(columns="loss")) == "val_loss"


def test_a_hint_can_be_typed_as_it_stands():
    rows = family().rename(columns={"guidance": "CFG scale"})
    mixed = pd.concat([rows.assign(**{"CFG scale": w}) for w in (10.0, 2.0, 1.0)])
    with pytest.raises(InputError, match=r"3 values of CFG scale \(1, 2, 10\).* --where 'CFG scale=VALUE'\."):
        infer.question(mixed)


def trainings(**quality):
    grid = pd.DataFrame([(n, d) for n in (6.0, 22, 86, 304) for d in (30, 90, 300)], columns=["Params (M)", "Epochs"])
    return grid.assign(**{k: f(grid["Params (M)"], grid["Epochs"]) for k, f in quality.items()})


def test_rows_of_several_training_lengths_can_be_fitted_along_them():
    rows = trainings(**{"Top-1": lambda n, d: 90 - 40 * n**-0.5 - 60 * d**-0.6})
    with pytest.raises(InputError, match=r"or let the law run along both, --inputs 'N=Params \(M\)' D=Epochs\."):
        infer.question(rows)
    question = infer.question(rows, inputs={"N": "Params (M)", "D": "Epochs"})
    assert (question.law, question.inputs) == ("size_steps_ceiling", {"N": "params", "S": "epochs"})
    fit = question.fit(replicates=20)
    assert [fit.values[k] for k in ("C", "b")] == pytest.approx([90, 0.6], rel=1e-3)
    falling = trainings(loss=lambda n, d: 2 + n**-0.5 + 6 * d**-0.6)
    assert infer.question(falling, inputs={"N": "Params (M)", "D": "Epochs"}).law == "chinchilla"


def test_an_accuracy_of_sizes_and_tokens_is_given_a_law_that_rises():
    rows = trainings(acc=lambda n, d: 0.9 - 0.4 * n**-0.5 - 0.6 * d**-0.6).rename(columns={"Epochs": "tokens_B"})
    assert infer.question(rows).law == "size_steps_ceiling"


def test_the_prediction_is_drawn_up_to_the_size_held_out():
    question = infer.question("edm2", where=EDM2)
    seen, held = question.hold_out()
    curve = seen.curve(seen.fit(replicates=20), held, points=5)
    assert curve["gflops_per_forward"].max() == pytest.approx(held["gflops_per_forward"].iloc[0])


def test_a_table_without_a_known_quality_is_asked_for_one():
    with pytest.raises(InputError, match=r"Which column is the quality\? None is called like one: name it"):
        infer.question(pd.DataFrame({"model": ["a", "b"], "params": [1e6, 2e6], "steps": [4, 4]}))


def test_sizes_by_name_alone_are_to_be_given_as_numbers():
    with pytest.raises(InputError, match=r"mix 6 values of model .* or give their sizes in a column, such as params"):
        infer.question(family()[["model", "steps", "fd"]])
