"""A shared trend in training compute is not rejected, a shift with size is, and the power is what it says."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from scalinglaws.decide.power import effect, jackknife
from scalinglaws.decide.training_trend import training_trend
from scalinglaws.schema import InputError, NoAnswer

SIZES = {"c8": 2e6, "c12": 5e6, "c16": 8e6, "c24": 1.8e7, "c32": 3.3e7, "c48": 7.3e7, "c64": 1.2e8}
SNAPSHOTS = (125, 250, 500, 1000, 2000, 4000, 8000)
BATCH = 128


def runs(g=0.0, noise=0.0, own=0.0, seed=0):
    """fd = 5 + A N^g C^-0.4: g = 0 is one trend. own: the models' error of ln fd."""
    rng, rows = np.random.default_rng(seed), []
    for model, n in SIZES.items():
        shift = own * rng.standard_normal()
        for steps in SNAPSHOTS:
            compute = 3 * n * steps * BATCH
            fd = (5 + 20 * (n / 1e7) ** g * (compute / 1e12) ** -0.4) * np.exp(shift + noise * rng.standard_normal())
            rows.append({"model": model, "flops_per_forward": n, "train_steps": steps, "train_images": steps * BATCH,
                         "train_flops": compute, "fd": fd, "sampler": "ddim", "steps": 8})  # fmt: skip
    return pd.DataFrame(rows)


def elasticity(g, table):
    """d ln fd / d ln N at the geometric means."""
    n, c = (np.exp(np.log(table[k]).mean()) for k in ("flops_per_forward", "train_flops"))
    excess = 20 * (n / 1e7) ** g * (c / 1e12) ** -0.4
    return g * excess / (5 + excess)


@pytest.mark.parametrize("g", [-0.2, 0.0, 0.3])
def test_the_effect_of_size_is_that_of_the_runs(g):
    table = runs(g)
    found = training_trend(table)
    assert found.shift.value == pytest.approx(elasticity(g, table), abs=2e-3)
    shifted = found.laws.set_index("law").loc["compute, shifted by size"]
    assert shifted["scatter"] < 1e-3 and shifted["left_out"] < 1e-3
    assert found.laws["scatter"].iloc[0] < 1e-3 if g == 0 else found.laws["scatter"].iloc[0] > 0.02


@pytest.mark.slow
def test_models_with_errors_of_their_own_do_not_pass_for_a_trend_of_size():
    rejected = [training_trend(runs(0.0, noise=0.01, own=0.05, seed=seed)).shift.differs for seed in range(8)]
    assert sum(rejected) <= 3
    assert training_trend(runs(0.3, noise=0.01, own=0.05)).verdict == "sizes differ at equal compute"


def test_the_jackknife_of_a_mean_is_its_standard_error_and_the_power_is_that_of_t():
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"model": np.arange(12), "x": rng.normal(size=12)})
    (one,) = jackknife(lambda part: [part["x"].mean()], rows)
    se = rows["x"].std() / np.sqrt(12)
    assert one.se == pytest.approx(se)
    assert one.high - one.value == pytest.approx(student.ppf(0.95, 11) * se)
    assert one.detectable == pytest.approx((student.ppf(0.95, 11) + student.ppf(0.8, 11)) * se)


def test_an_effect_of_that_size_is_seen_as_often_as_said():
    rng = np.random.default_rng(4)
    size = effect(0, 1.0, 20).detectable
    drawn = size + rng.standard_normal(4000)
    error = np.sqrt(rng.chisquare(20, 4000) / 20)
    seen = [effect(x, s, 20).differs for x, s in zip(drawn, error, strict=True)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


def test_the_envelope_is_the_best_size_at_each_compute():
    table = runs(0.3)
    found = training_trend(table)
    assert (
        found.changes["model"].tolist() == list(SIZES)[: len(found.changes)] or found.changes["model"].iloc[0] == "c8"
    )
    for row in found.envelope.itertuples():
        spans = table.groupby("model")["train_flops"].agg(["min", "max"])
        can = [
            m for m, (low, high) in spans.iterrows() if low <= row.compute * (1 + 1e-9) and row.compute <= high * 1.001
        ]
        assert str(row.model) == min(can, key=SIZES.get)  # g > 0: the smallest is best at equal compute


def test_early_snapshots_are_left_out_and_other_settings_are_narrowed():
    table = pd.concat([runs(), runs().assign(sampler="ddpm").query("model == 'c8'")])
    found = training_trend(table, least=500)
    assert found.residuals["compute"].min() == pytest.approx(3 * 2e6 * 500 * BATCH)
    assert found.notes == ("Rows with sampler ddim alone are used, of which there are most.",
                           "Snapshots before 500 training steps are left out.")  # fmt: skip


def test_models_with_few_snapshots_are_left_out():
    seed = runs().query("model == 'c8' and train_steps == 8000").assign(model="c8-s1")
    found = training_trend(pd.concat([runs(), seed]))
    assert found.notes == ("1 models with fewer than 3 snapshots are left out.",)
    assert found.shift == training_trend(runs()).shift


def test_what_cannot_be_answered_is_said():
    with pytest.raises(InputError, match="needs the column 'train_flops'"):
        training_trend(runs().drop(columns="train_flops"))
    with pytest.raises(InputError, match="The table has no column train_steps"):
        training_trend(runs().drop(columns="train_steps"), least=500)
    with pytest.raises(InputError, match="agreement rises as it gets better"):
        training_trend(runs().assign(agreement=0.5), "agreement")
    with pytest.raises(NoAnswer, match="four sizes at 3 snapshots each; the table has 3 sizes"):
        training_trend(runs().query("model in ('c8', 'c12', 'c16')"))


def test_it_shows_itself_in_five_ways():
    found = training_trend(runs(0.3))
    assert repr(found).startswith("<TrainingTrend: sizes differ at equal compute, ten times the size")
    assert len(found.to_frame()) == 3 and found.answer in found._repr_html_() and found.answer in found.summary()
    assert "with probability 80%" in found.answer and found.answer.count(". ") == 1
    assert found.plot().get_xlabel() == found.plot_residuals().get_xlabel() == "training compute (FLOPs)"


def test_tokens_are_data_and_what_is_missing_is_named():
    table = runs(0.3).drop(columns=["train_steps", "sampler", "steps"])
    language = table.rename(columns={"train_images": "tokens", "fd": "val_loss"})
    found, same = training_trend(language, "val_loss"), training_trend(table)
    assert found.shift.value == pytest.approx(same.shift.value, abs=1e-6) and found.quality == "val_loss"
    with pytest.raises(InputError, match=r"needs a column of data \(train_images, tokens, train_steps, epochs, D\)"):
        training_trend(table.drop(columns="train_images"))
    with pytest.raises(InputError, match="needs a column of sizes"):
        training_trend(table.drop(columns="flops_per_forward"))


def test_a_law_of_size_and_data_is_no_shared_trend_although_it_shifts_in_no_one_direction():
    n, d = (v.ravel() for v in np.meshgrid([19e6, 51e6, 124e6, 355e6, 774e6], 1e9 * 2.0 ** np.arange(6)))
    loss = 1.7 + 410 * n**-0.34 + 420 * d**-0.28
    table = pd.DataFrame({"model": n, "params": n, "tokens": d, "train_flops": 6 * n * d, "loss": loss})
    found = training_trend(table.assign(model=[f"{v:g}" for v in n]))
    assert not found.shift.differs and "size and training length predict better than compute alone" in found.answer
    assert training_trend(runs(0.0, noise=0.01)).verdict == "one shared trend is not rejected"
