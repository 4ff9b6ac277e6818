"""The best size under each way to count the cost is that of a study whose answer is known in closed form."""

import re

import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws.decide.accounting import which_size
from scalinglaws.decide.best_measured import best_measured
from scalinglaws.fitting.levels import PRIOR
from scalinglaws.schema import InputError, NoAnswer

SIZES = {"s": 1e6, "l": 1e7}  # FLOPs a forward
STEPS = (1, 2, 4, 8, 16, 32, 64)
TEXT, DECODE = 2e6, 8e6


def study(noise=0.0, guided=False, **more):
    """fd = 4 N^-0.5 (relative) + 8 / steps: the small model is better at few steps of its own only at equal cost."""
    rows = []
    for model, n in SIZES.items():
        for guidance in (1.0, 2.0) if guided else (1.0,):
            for steps in STEPS:
                fd = 4 * (n / 1e6) ** -0.5 + 8 / steps * (0.7 if guidance > 1 else 1)
                nfe = steps * (2 if guidance > 1 else 1)
                rows.append({"model": model, "flops_per_forward": n, "sampler": "ddim", "steps": steps, "nfe": nfe,
                             "guidance": guidance, "flops_per_image": n * nfe, "flops_text": TEXT,
                             "flops_decode": DECODE, "seconds_per_image": 1e-3 * nfe, "seconds_text": 1e-4,
                             "seconds_decode": 1e-4, "fd": fd, "fd_se": noise * fd})  # fmt: skip
    return pd.DataFrame(rows).assign(train_flops=lambda t: 1e6 * t["flops_per_forward"], **more)


def crossing(fixed=0.0):
    """The cost at which both are equally good: 4 + 8/s1 = 4/sqrt(10) + 8/s2 with equal cost, by bisection."""
    costs = np.geomspace(1e7 + fixed, 64e6 + fixed, 20001)
    one, two = (costs - fixed) / 1e6, (costs - fixed) / 1e7
    return costs[np.argmin(np.abs(4 + 8 / one - 4 / np.sqrt(10) - 8 / two))]


def test_the_budget_at_which_the_large_one_wins_is_that_of_the_law():
    found = which_size(study())
    one = found.winners[found.winners["account"] == "FLOPs of the denoiser, guidance once"]
    first = one.loc[one["model"] == "l", "share"].min() * 64e7
    assert first == pytest.approx(crossing(), rel=0.1)  # straight in logs between steps
    assert (one["model"] == "l")[one["share"] * 64e7 > first].all()


def test_a_size_that_a_tenth_of_its_cost_does_not_buy_is_out_of_reach_in_words():
    """16 of 64 steps at the fewest are a quarter of the full cost."""
    rows = study()
    found = which_size(rows[(rows["model"] == "s") | (rows["steps"] >= 16)])
    assert np.isinf(found.accounts["worse"]).any()
    for view in (found.summary(), found._repr_html_(), repr(found)):
        assert "inf" not in view and ("out of reach" in view or view == repr(found))


def test_trainings_of_several_seeds_count_as_one_size():
    """Seeds 4 % above and below the law, their mean on it: the answer is that of the law, no seed is a smaller size."""
    seeds = [study(0.1).assign(train_seed=k, fd=study()["fd"] * (1 + e)) for k, e in enumerate((0.0, 0.04, -0.04))]
    for k, rows in enumerate(seeds[1:], 1):
        rows["model"] = rows["model"] + f"-s{k}"
    found = which_size(pd.concat(seeds[::-1]), of="owned")
    one = which_size(study(0.1 / np.sqrt(3)), of="owned")  # three draws of error 0.1
    assert found.largest == "l" and set(found.winners["model"]) == {"s", "l"}
    assert found.accounts["smaller"].tolist() == pytest.approx(one.accounts["smaller"].tolist())
    assert found.accounts["low"].tolist() == pytest.approx(one.accounts["low"].tolist())
    assert any("differ in train_seed are averaged" in note for note in found.notes)
    unknown = seeds[0].assign(fd_se=np.nan)
    some = which_size(pd.concat([*seeds[:0:-1], unknown]), of="owned")  # an error that is not known is not 0
    assert some.accounts["low"].tolist() == pytest.approx(one.accounts["low"].tolist())
    other = [rows.assign(interpolant="flow", fd=2 * rows["fd"], model="flow " + rows["model"]) for rows in seeds]
    both = pd.concat([rows.assign(interpolant="linear") for rows in seeds] + other)
    assert which_size(both).accounts["smaller"].tolist() == found.accounts["smaller"].tolist()  # not pooled, and worse


def drawn(n, sd, own, rng, cell=0.0):
    """Sizes s, l of n trainings each: the quality times exp(sd u + own v + cell e), u of a training, v of a cell."""
    rows = []
    for k in range(n):
        for model, part in study().groupby("model"):
            error = sd * rng.normal() + own * rng.normal(size=len(part)) + cell * rng.normal(size=len(part))
            label = model if not k else f"{model}-s{k}"
            rows.append(part.assign(model=label, train_seed=k, fd=part["fd"] * np.exp(error), fd_se=cell * part["fd"]))
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize(("of", "factor"), [("curve", 1 / 3), ("new_model", 1 / 3 + 1)])
def test_errors_of_sizes_have_the_variance_of_their_trainings(of, factor):
    """With very many sizes of three trainings, of error sd shared by the rows: sd^2 / 3, and sd^2 more of a new one."""
    rng, sd = np.random.default_rng(0), 0.06
    rows = pd.concat([drawn(3, sd, 0.0, rng).assign(model=lambda t, i=i: f"{i:02d}", training=lambda t: t["train_seed"])
                      for i in range(60)]).query("flops_per_forward == 1e6")  # fmt: skip
    rows["model"] = pd.Categorical(rows["model"])
    loss = best_measured(rows.assign(share=rows["nfe"]), "fd", np.geomspace(1, 64, 7), of, 2000, 0)[0]
    errors = loss[:, 1:] - loss[:, :1]  # [size, draw, budget], of curves that only fall
    assert errors[:5].std(axis=1) == pytest.approx(np.sqrt(factor) * sd, rel=0.15)
    assert np.corrcoef(errors[0, :, 0], errors[0, :, -1])[0, 1] > 0.99 > 0.1 > abs(
        np.corrcoef(errors[0, :, 0], errors[1, :, 0])[0, 1])  # fmt: skip


def test_a_size_trained_once_errs_by_the_prior():
    rows = study().assign(training=0, share=lambda t: t["nfe"], model=lambda t: pd.Categorical(t["model"]))
    loss = best_measured(rows, "fd", np.geomspace(1, 64, 7), "curve", 4000, 0)[0]
    half = np.quantile(np.abs(loss[:, 1:] - loss[:, :1]), 0.5)
    sds = np.exp(np.random.default_rng(1).normal(*PRIOR["model"], 10**6))
    exact = np.quantile(np.abs(sds * np.random.default_rng(2).standard_normal(10**6)), 0.5)
    assert half == pytest.approx(exact, rel=0.1)


def test_the_same_rows_under_other_seeds_are_no_evidence_that_trainings_agree():
    same = pd.concat([study(0.05).assign(train_seed=k) for k in range(3)])
    found, once = which_size(same), which_size(study(0.05 / np.sqrt(3)))
    assert found.accounts["high"].tolist() == pytest.approx(once.accounts["high"].tolist(), abs=0.03)


def test_one_repeated_cell_does_not_stand_for_the_errors_of_all_others():
    again = study(0.1).iloc[:1].assign(train_seed=1, model="s-s1", fd=lambda t: 1.01 * t["fd"])
    once = which_size(study(0.1)).accounts.iloc[0]
    found = which_size(pd.concat([study(0.1).assign(train_seed=0), again])).accounts.iloc[0]
    assert found["high"] - found["low"] > 0.8 * (once["high"] - once["low"])


def test_a_training_of_unknown_seed_is_one_training():
    rows = pd.concat(
        [
            study(0.05).assign(train_seed=np.nan),
            study(0.05).assign(train_seed=1, model=lambda t: t["model"] + "-s1", fd=lambda t: 1.02 * t["fd"]),
        ]
    )
    found = which_size(rows)
    assert set(found.winners["model"]) == {"s", "l"} or set(found.winners["model"]) == {"s-s1", "l-s1"}
    assert "by 4 trainings (2 beyond one of each size)" in found.notes[-1]


@pytest.mark.slow
def test_intervals_of_the_sizes_hold_the_truth_and_those_of_the_models_measured_do_not():
    """A training errs by 4 %, a cell by 1 %: 90 % intervals of the share, over 80 studies of three trainings."""
    rng = np.random.default_rng(0)
    truth = which_size(study(), served=(), of="owned", draws=2).accounts["smaller"].iloc[0]
    held = {of: 0 for of in ("curve", "owned")}
    for _ in range(80):
        rows = drawn(3, 0.04, 0.0, rng, cell=0.01)
        for of in held:
            first = which_size(rows, served=(), of=of, draws=200).accounts.iloc[0]
            held[of] += first["low"] - 0.005 <= truth <= first["high"] + 0.005
    assert held["curve"] >= 66 and held["owned"] < 50


def test_what_the_intervals_are_of_is_said():
    once, three = which_size(study(0.05)), which_size(drawn(3, 0.04, 0.0, np.random.default_rng(0)))
    assert once.of == "curve" and "Each was trained once: that error is by the prior" in once.notes[-1]
    assert "by 6 trainings (4 beyond one of each size)" in three.notes[-1]
    assert "models measured; other trainings" in which_size(study(0.05), of="owned").notes[-1]
    assert which_size(study(0.05), of="new_model").notes[-1].startswith("Intervals are of one more training of each")
    with pytest.raises(InputError, match="of='sizes': give one of curve, owned, new_model"):
        which_size(study(), of="sizes")


def test_fixed_costs_shift_it_as_they_should():
    found = which_size(study())
    part = found.winners[found.winners["account"] == "FLOPs with text encoder and decoder"]
    full = 64e7 + TEXT + DECODE
    assert part.loc[part["model"] == "l", "share"].min() * full == pytest.approx(crossing(TEXT + DECODE), rel=0.1)
    assert found.accounts.set_index("account").loc["FLOPs with text encoder and decoder", "full"] == pytest.approx(full)


def test_where_a_step_takes_the_same_time_the_large_one_is_always_best():
    seconds = which_size(study()).accounts.set_index("account").loc["seconds of the denoiser"]
    assert seconds["smaller"] == 0 and seconds["worse"] == 0 and seconds["at 10%"] == "l"


def test_guidance_that_counts_once_is_taken_more_often():
    found = which_size(study(guided=True)).winners
    shares = found.assign(guided=found["guidance"] > 1).groupby("account")["guided"].mean()
    once, twice = (shares[f"FLOPs of the denoiser, guidance {n}"] for n in ("once", "twice"))
    assert once > 0.95 > 0.5 > twice


def test_training_shared_out_moves_the_crossing_as_it_should():
    found = which_size(study(), served=(1e3, 1e9))
    plain = found.accounts.set_index("account").loc["FLOPs with text encoder and decoder", "smaller"]
    name = "FLOPs with text encoder and decoder and training over {:g} images"
    assert found.accounts.set_index("account").loc[name.format(1e9), "smaller"] == pytest.approx(plain, abs=0.02)
    part = found.winners[found.winners["account"] == name.format(1e3)]
    fixed, full = 1e10 + TEXT + DECODE, 64e7 + 1e10 + TEXT + DECODE  # of the large; the small takes all 64 steps
    exact = fixed + 1e7 * 8 / (4 + 8 / 64 - 4 / np.sqrt(10))
    assert part.loc[part["model"] == "l", "share"].min() * full == pytest.approx(exact, rel=0.02)


def test_without_noise_the_interval_has_no_width_and_with_it_some():
    exact, noisy = (which_size(study(noise), of="owned").accounts for noise in (0.0, 0.2))
    assert (exact["low"] == exact["high"]).all() and (noisy["low"] < noisy["high"]).any()


def test_a_quality_that_rises_is_read_the_right_way():
    table = study().assign(agreement=lambda t: 1 / (1 + t["fd"]))
    one, two = which_size(table), which_size(table, "agreement")
    columns = ["at 1%", "at 10%", "at 100%"]
    assert one.accounts[columns].equals(two.accounts[columns])
    assert two.winners["value"].between(0, 1).all()


def test_accounts_without_their_columns_are_named():
    table = study().drop(columns=["seconds_per_image", "flops_text", "seconds_text", "train_flops"])
    found = which_size(table)
    assert found.accounts["account"].tolist() == ["FLOPs of the denoiser, guidance once",
                                                  "FLOPs of the denoiser, guidance twice",
                                                  "FLOPs with decoder"]  # fmt: skip
    assert any(
        note.startswith("Left out seconds of the denoiser; seconds with decoder: A cost in seconds")
        for note in found.notes
    )
    with pytest.raises(NoAnswer, match="One size alone"):
        which_size(study().query("model == 's'"))
    with pytest.raises(InputError, match="The table has no column fid: it has model"):
        which_size(study(), "fid")
    with pytest.raises(InputError, match="The table has no column width"):  # and takes no other one in its place
        which_size(study(), size="width")


def test_it_shows_itself_in_five_ways():
    found = which_size(study(0.05))
    assert repr(found).startswith("<WhichSize: 7 accounts, a size smaller than l is best at 0% to")
    assert found.answer.count(". ") == 1 and found.answer in found.summary() and found.answer in found._repr_html_()
    assert len(found.to_frame()) == 7 and "budget" in found.plot().get_xlabel()
    sure, others = re.search(r"under (\d) of 7 accounts; the shares of the others: (.*)\.$", found.answer).groups()
    assert int(sure) == (found.accounts["low"] > 0.5).sum() and others.count("; ") == 5  # all but the first account


def passes(exponent):
    """Seconds of a forward pass as FLOPs^exponent, in batches of 1 and 8."""
    rows = [{"model": m, "flops_per_forward": n, "seconds_per_image": 1e-9 * n**exponent / b, "sampling_batch": b,
             "device": "made up", "threads": 2, "dtype": "float32"}
            for m, n in SIZES.items() for b in (1, 8)]  # fmt: skip
    return pd.DataFrame(rows)


def test_timed_passes_that_follow_flops_answer_as_flops_do_and_equal_ones_favour_the_largest():
    found = which_size(study(guided=True), passes=passes(1.0)).accounts.set_index("account")
    flops, seconds = (found.loc[name] for name in ("FLOPs of the denoiser, guidance twice",
                                                   "seconds of timed passes, batch 8"))  # fmt: skip
    assert seconds["smaller"] == flops["smaller"] and seconds["worse"] == pytest.approx(flops["worse"])
    assert seconds["full"] == pytest.approx(64 * 1e-9 * 1e7 / 8)
    equal = which_size(study(), passes=passes(0.0)).accounts.set_index("account")
    assert equal.loc["seconds of timed passes, batch 1", "smaller"] == 0


def test_passes_of_other_models_are_left_out_with_the_reason():
    found = which_size(study(), passes=passes(1.0).query("model == 's'"))
    assert any("no pass of l was timed" in note for note in found.notes)


def test_a_study_is_taken_by_its_name():
    one, two = which_size("tiny-ldm", draws=40), which_size(sl.read("tiny-ldm"), draws=40)
    pd.testing.assert_frame_equal(one.accounts, two.accounts)


def test_without_standard_errors_no_interval_is_shown():
    bare = which_size(study().drop(columns="fd_se"), of="owned")
    assert bare.notes[0] == "No row has a fd_se: low and high hold no error of measuring."
    assert "%" in bare.answer and " to " not in bare.answer and "confidence" not in bare.answer
    known = which_size(study(0.05))
    assert (
        "with 90% confidence, under" in known.answer and " to " in known.answer and "_se" not in " ".join(known.notes)
    )


def test_accounts_that_lack_the_same_column_are_named_once():
    notes = which_size(study().drop(columns=["flops_per_forward", "flops_per_image"]), size="train_flops").notes
    once = [note for note in notes if "'flops_per_forward'" in note]
    assert len(once) == 1 and once[0].startswith(
        "Left out FLOPs of the denoiser, guidance once; FLOPs of the denoiser,"
    )


def test_equally_many_rows_are_not_called_most():
    both = pd.concat([study(), study().assign(sampler="euler")])
    assert "of which there are as many as of other values of sampler." in " ".join(which_size(both).notes)


def test_a_share_of_the_cost_that_buys_no_image_has_no_best_size():
    rows = study().query("steps >= 16")
    cheapest = 1e6 * 16 / (1e7 * 64)
    found = which_size(rows).accounts.iloc[0]
    assert cheapest > 0.01 and found["at 1%"] == "none" and found["at 10%"] == "s"
