"""Paired ratios beside scipy's paired t-test and a known factor."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from scalinglaws.decide.paired import paired
from scalinglaws.schema import InputError, NoAnswer


def study(factor=0.9, noise=0.02, pairs=8, seed=0):
    rng = np.random.default_rng(seed)
    steps, base = 2.0 ** np.arange(pairs), 10 + 40 / 2.0 ** np.arange(pairs)

    def make(name, by):
        fid = by * base * np.exp(noise * rng.normal(size=pairs))
        return pd.DataFrame({"model": "c8", "sampler": "ddim", "steps": steps, "nfe": steps * by,
                             "interpolant": name, "fid": fid})  # fmt: skip

    return pd.concat([make("VP", 1.0), make("linear", factor)])


def test_it_is_the_paired_t_test_of_logarithms():
    table = study()
    found = paired(table, "interpolant", "VP", "fid")
    a, b = (np.log(table[table["interpolant"] == name]["fid"].to_numpy()) for name in ("linear", "VP"))
    low, high = np.exp(ttest_rel(a, b).confidence_interval(0.9))
    row = found.rows.iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((low, high)) and row["pairs"] == 8
    assert row["ratio"] == pytest.approx(0.9, rel=0.03) and row["better"] == "yes"
    assert found.notes[0].startswith("One training of each")


def test_a_number_is_the_standard_however_it_is_written():
    table = study().assign(guidance=lambda t: np.where(t["interpolant"] == "VP", 1.0, 1.5)).drop(columns="interpolant")
    found = [paired(table, "guidance", standard, "fid") for standard in (1, 1.0, "1", "1.0")]
    assert all(one.rows.equals(found[0].rows) and one.standard == "1.0" for one in found)
    with pytest.raises(InputError, match=r"No row has guidance 2: the table has 1\.0, 1\.5"):
        paired(table, "guidance", 2, "fid")


def test_no_difference_is_undecided_and_a_rising_quality_turns_the_verdict():
    assert paired(study(factor=1.0, seed=1), "interpolant", "VP", "fid").rows["better"].item() == "undecided"
    rising = study(factor=0.8).rename(columns={"fid": "clip"})
    assert paired(rising, "interpolant", "VP", "clip").rows["better"].item() == "no"


def test_published_rows_of_sit():
    """Ma et al. 2024, Table 5: five pairs of velocity models each."""
    found = paired("sit-samplers", "interpolant", "SBDM-VP", "fid", where={"objective": "velocity"})
    assert found.rows.set_index("value")["pairs"].to_dict() == {"Linear": 5, "GVP": 5}
    ratios = np.array([34.8 / 39.8, 33.6 / 37.8, 33.5 / 38.7, 33.3 / 39.2, 33.0 / 41.1])
    linear = found.rows.set_index("value").loc["Linear"]
    assert linear["ratio"] == pytest.approx(np.exp(np.log(ratios).mean())) and linear["better"] == "yes"


def test_a_pair_is_named_by_its_model_and_what_varies_at_one_size():
    """train_flops follows the size and w varies at each: four pairs, called by the two."""
    sizes = pd.DataFrame({"model": ["c16", "c8"], "params": [4e5, 1e5], "train_flops": [4e12, 1e12]})
    table = sizes.merge(pd.DataFrame({"guidance": [2.0, 4.0]}), how="cross")
    table = pd.concat([table.assign(interpolant=n, fid=v) for n, v in (("VP", 10.0), ("linear", 8.0))])
    found = paired(table, "interpolant", "VP", "fid")
    assert list(found.pairs["pair"]) == ["c16, guidance 2", "c16, guidance 4", "c8, guidance 2", "c8, guidance 4"]
    assert found.rows["ratio"].item() == pytest.approx(0.8)


@pytest.mark.parametrize("column", ["params", "flops_per_forward", "model"])
def test_one_column_of_sizes_is_enough(column):
    rows = pd.concat([study(noise=0.0).assign(**{column: at, "sampler": "ddim"}) for at in (1e5, 2e5)])
    rows = rows.drop(columns=[c for c in ("model",) if c != column])
    found = paired(rows, "interpolant", "VP", "fid")
    assert found.rows["ratio"].item() == pytest.approx(0.9) and found.rows["pairs"].item() == 16


def test_one_pair_has_no_interval_and_none_is_no_answer():
    one = study(pairs=1)
    assert paired(one, "interpolant", "VP", "fid").rows["better"].item() == "undecided"
    with pytest.raises(NoAnswer, match="No row shares all other settings"):
        paired(one.assign(steps=[1, 2]), "interpolant", "VP", "fid")
    with pytest.raises(InputError, match="No row has interpolant 'cosine'"):
        paired(one, "interpolant", "cosine", "fid")


def test_it_shows_itself_in_five_ways():
    found = paired(study(), "interpolant", "VP", "fid")
    assert "linear 0.878" in repr(found) and found.answer in found.summary() and len(found.to_frame()) == 1
    assert "<table" in found._repr_html_() and found.plot().get_xlabel() == "fid over that of VP"


def trainings(own, factor=0.9, seeds=4, seed=0):
    """Four sizes by `seeds` trainings by five step counts, two processes; each training has an error of its own."""
    rng, parts = np.random.default_rng(seed), []
    for size in (1e3, 1e4, 1e5, 1e6):
        for name, by in (("VP", 1.0), ("linear", factor)):
            for one in range(seeds):
                steps = 2.0 ** np.arange(5)
                fid = by * (5 + 400 * size**-0.4) * (1 + 1 / steps) * np.exp(own * rng.normal())
                fixed = {"params": size, "model": f"{size:g}-{name}-{one}", "train_seed": one, "sampler": "ddim"}
                parts.append(pd.DataFrame(fixed | {"steps": steps, "interpolant": name, "fid": fid}))
    return pd.concat(parts)


def test_trainings_are_the_pairs_where_each_size_has_several():
    table = trainings(own=0.05)
    found = paired(table, "interpolant", "VP", "fid")
    each = np.log(table["fid"]).groupby([table["interpolant"], table["params"], table["train_seed"]]).mean().unstack(0)
    low, high = np.exp(ttest_rel(each["linear"], each["VP"]).confidence_interval(0.9))
    row = found.rows.iloc[0]
    assert row["pairs"] == 16 and (row["low"], row["high"]) == pytest.approx((low, high))
    assert found.notes[0].startswith("A pair is a training, 4 sizes from 4 seeds;")
    assert len(found.plot().get_yticklabels()) == 5  # the mean and four sizes


def test_intervals_over_trainings_hold_a_known_ratio_as_often_as_they_say():
    rows = [paired(trainings(0.05, seed=k), "interpolant", "VP", "fid").rows.iloc[0] for k in range(100)]
    held = sum(row["low"] <= 0.9 <= row["high"] for row in rows)
    assert 82 <= held <= 97  # of 100 at 90 %


def test_seeds_of_one_value_alone_make_no_pairs_of_trainings():
    table = trainings(own=0.05)
    some = table[(table["interpolant"] == "linear") | (table["train_seed"] == 0)]
    found = paired(some, "interpolant", "VP", "fid")
    assert found.rows["pairs"].item() == 4  # sizes: settings and seeds averaged
    assert "one of 4 sizes" in found.notes[0]
    two = paired(some[some["params"] < 5e4], "interpolant", "VP", "fid")
    assert two.rows["pairs"].item() == 10 and "not over trainings" in two.notes[0]  # sizes by steps


def test_sizes_trained_once_each_are_what_was_repeated():
    """Rows of one training share its error: over all pairs 90 % intervals held the ratio in about 60 of 100."""
    once = [trainings(0.05, seeds=1, seed=k).drop(columns="train_seed") for k in range(100)]
    rows = [paired(table, "interpolant", "VP", "fid").rows.iloc[0] for table in once]
    held = sum(row["low"] <= 0.9 <= row["high"] for row in rows)
    assert 82 <= held <= 97 and rows[0]["pairs"] == 4


def test_settings_of_sampling_share_the_training_and_are_paired_one_by_one():
    table = trainings(0.05).query("interpolant == 'VP' and train_seed == 0").drop(columns=["interpolant", "train_seed"])
    both = pd.concat([table.assign(sampler="ddim"), table.assign(sampler="heun", fid=0.9 * table["fid"])])
    assert paired(both, "sampler", "ddim", "fid").rows["pairs"].item() == len(table)


def test_an_unknown_quality_that_rises_is_not_taken_to_fall():
    rows = study().assign(wins=lambda t: 1 / t["fid"]).drop(columns="fid")
    with pytest.raises(InputError, match=r"wins rises with .*Call the column score if it is"):
        paired(rows, "interpolant", "VP", "wins")
    found = paired(rows.rename(columns={"wins": "score"}), "interpolant", "VP", "score")
    assert found.rows["better"].item() == paired(study(), "interpolant", "VP", "fid").rows["better"].item()
