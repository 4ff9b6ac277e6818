"""Partial effects, pretraining and acceleration, on tables whose laws are known."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from scalinglaws.decide.acceleration import acceleration, read_off
from scalinglaws.decide.effects import error_of, partial_effects
from scalinglaws.decide.pretraining import pretraining
from scalinglaws.decide.reversal import reversal
from scalinglaws.fitting import fit
from scalinglaws.schema import InputError

matplotlib.use("Agg")
SIZES, LENGTHS, FLOPS = (1e5, 2e5, 4e5, 1e6, 2e6), (125, 250, 500, 1000), 50  # params, steps, FLOPs a forward per param


def runs(a=-0.3, b=-0.1, noise=0.0, factor=1.0, variant="fine-tuned"):
    """fd = factor params^a train_flops^b with noise that the rows of one training share and noise of each row; psnr
    and ssim follow compute alone."""
    rng, rows = np.random.default_rng(1), []
    for n in SIZES:
        shared = rng.normal()
        for steps in LENGTHS:
            c = 3 * FLOPS * n * 32 * steps
            error = c**-0.2
            fd = factor * n**a * c**b * np.exp(noise * (shared + rng.normal()))
            rows.append({"params": n, "flops_per_forward": FLOPS * n, "train_steps": steps, "train_flops": c, "fd": fd,
                         "psnr": 20 * np.log10(255 / (1e4 * error)), "ssim": 1 - 10 * error, "steps": 8})  # fmt: skip
    return pd.DataFrame(rows).assign(variant=variant)


def test_exponents_are_those_of_the_law():
    effects = partial_effects(runs(), ["fd", "psnr", "ssim"])
    assert effects.of("fd", "params").effect == pytest.approx(-0.3)
    assert effects.of("fd", "train_flops").effect == pytest.approx(-0.1)
    for quality in ("psnr", "ssim"):
        assert effects.of(quality, "params").effect == pytest.approx(0, abs=1e-9)
        assert effects.of(quality, "train_flops").effect == pytest.approx(-0.2)
    assert "fd follows size (exponent -0.30" in effects.answer and effects.clusters == 5


def test_a_floor_is_taken_off_first():
    raised = runs().assign(fd=lambda t: 2.5 + t["fd"])
    row = partial_effects(raised, ["fd"], floors={"fd": 2.5}).of("fd", "params")
    assert row.effect == pytest.approx(-0.3) and row.error == "fd - 2.5"
    with pytest.raises(InputError, match="'fd' is not above its floor 3 in 20 rows"):
        partial_effects(raised, ["fd"], floors={"fd": 3.0})


def test_seeds_of_one_size_are_one_curve_and_one_cluster():
    """The curve of each size runs through the geometric mean of its trainings: sqrt(0.8 * 1.25) = 1 times the law."""
    first, second = runs(factor=0.8).assign(train_seed=0), runs(factor=1.25).assign(train_seed=1)
    effects = partial_effects(pd.concat([first, second]), ["fd"])
    assert effects.clusters == 5 and effects.of("fd", "params").effect == pytest.approx(-0.3)
    ax = effects.plot_curves("fd")
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == len(LENGTHS)]
    wanted = [rows["fd"].to_numpy() for _, rows in runs().groupby("params")]
    assert len(drawn) == len(SIZES) and all(any(np.allclose(d, w) for d in drawn) for w in wanted)


def test_errors_are_the_sandwich_by_clusters():
    """Liang and Zeger 1986 with the usual correction, G/(G-1) (n-1)/(n-k), written out."""
    from scipy.stats import t

    table = runs(noise=0.1)
    row = partial_effects(table, ["fd"]).of("fd", "params")
    x = np.column_stack([np.ones(len(table)), np.log(table["params"]), np.log(table["train_flops"])])
    y = np.log(table["fd"].to_numpy())
    bread = np.linalg.inv(x.T @ x)
    residual = y - x @ (bread @ x.T @ y)
    scores = [x[at].T @ residual[at] for at in (np.flatnonzero(table["params"] == n) for n in SIZES)]
    n, k, g = len(x), 3, len(SIZES)
    cov = bread @ sum(np.outer(s, s) for s in scores) @ bread * g / (g - 1) * (n - 1) / (n - k)
    error = np.sqrt(cov[1, 1])
    assert [row.low, row.high] == pytest.approx(row.effect + t.ppf([0.05, 0.95], g - 1) * error)
    assert row.detectable == pytest.approx((t.ppf(0.95, g - 1) + t.ppf(0.8, g - 1)) * error)


def test_few_models_are_a_warning_and_two_an_error():
    assert "5 sizes are few" in partial_effects(runs(), ["fd"]).warnings[0]
    with pytest.raises(InputError, match="2 sizes are in the table"):
        partial_effects(runs()[lambda t: t["params"] < 3e5], ["fd"])
    with pytest.raises(InputError, match="no column lpips"):
        partial_effects(runs(), ["lpips"])


def test_a_psnr_is_the_root_mean_square_error():
    image = np.full((4, 4), 10.0)
    psnr = 10 * np.log10(255**2 / np.mean(image**2))
    assert error_of(pd.DataFrame({"psnr": [psnr]}), "psnr")[0].iloc[0] == pytest.approx(10)
    with pytest.raises(InputError, match="'precision' rises"):
        error_of(pd.DataFrame({"precision": [0.5]}), "precision")


def test_pretraining_of_a_known_worth():
    """Half the error at exponent -0.5 of compute: the same error at a quarter of the compute."""
    both = pd.concat([runs(0.0, -0.5, factor=0.5), runs(0.0, -0.5, variant="from scratch")])
    worth = pretraining(both, "fd")
    assert (worth.ratio, worth.low, worth.high) == pytest.approx((0.5, 0.5, 0.5))
    assert worth.sizes["compute"].tolist() == pytest.approx([4] * 5) and not worth.sizes["at_least"].any()
    assert "is 0.50 times that without" in worth.answer and "4.0 to 4.0 times the compute" in worth.answer
    better = pretraining(pd.concat([runs(0.0, -0.5, factor=0.1), runs(0.0, -0.5, variant="from scratch")]), "fd")
    assert better.sizes["compute"].tolist() == pytest.approx([8] * 5) and better.sizes["at_least"].all()
    worse = pretraining(pd.concat([runs(0.0, -0.5, factor=2.0), runs(0.0, -0.5, variant="from scratch")]), "fd")
    assert worse.sizes["compute"].isna().all() and "no size with it reaches" in worse.answer
    with pytest.raises(InputError, match="no column variant"):
        pretraining(runs().drop(columns="variant"), "fd")
    with pytest.raises(InputError, match="Fewer than two sizes"):
        pretraining(runs(), "fd")


def students(shift=0.0):
    """Teachers of error params^-0.2 / steps; at k steps a student is as good as its teacher at 4 k (params/1e5)^shift
    steps."""
    teachers = [(n, s, n**-0.2 / s, None) for n in SIZES for s in (1, 2, 4, 8, 16, 32, 64)]
    own = [(n, k, n**-0.2 / (4 * k * (n / 1e5) ** shift), "consistency") for n in SIZES for k in (1, 2, 4)]
    table = pd.DataFrame(teachers + own, columns=["params", "steps", "fd", "variant"])
    return table.assign(nfe=table["steps"], flops_per_forward=FLOPS * table["params"], fd_se=0.01 * table["fd"])


@pytest.mark.parametrize("shift", [0.0, 0.15])
def test_acceleration_of_a_known_factor(shift):
    found = acceleration(students(shift))
    expected = 4 * (found.rows["params"] / 1e5) ** shift
    assert found.rows["factor"].tolist() == pytest.approx(expected.tolist())
    assert ((found.rows["low"] < found.rows["factor"]) & (found.rows["factor"] < found.rows["high"])).all()
    assert found.slope[0] == pytest.approx(shift, abs=1e-9)
    half = 1.645 * 0.01 * 2**0.5  # an error of 1 % on both sides, exponent 1
    inner = found.rows[found.rows["steps"] == 2].iloc[0]
    assert np.log(inner.high / inner.low) == pytest.approx(2 * half, rel=0.15)


def test_students_with_guidance_in_their_weights_take_one_evaluation_for_two():
    table = students()
    own = table["variant"] == "consistency"
    table = table.assign(guidance=np.where(own, 1.0, 2.0), nfe=np.where(own, 1, 2) * table["steps"])
    found = acceleration(table, where={"guidance": 2}, student_where="guidance=1; steps=2")
    assert found.rows["factor"].to_numpy() == pytest.approx(8) and set(found.rows["steps"]) == {2}


def test_errors_that_were_turned_round_have_intervals():
    """1 - clip has clip's standard error; a decibel of psnr is ln(10) / 20 of the root mean square error."""
    table = students().assign(clip=lambda t: 1 - t["fd"], clip_se=lambda t: t["fd_se"])
    table = table.assign(psnr=-20 * np.log10(table["fd"] / 255), psnr_se=0.01 * 20 / np.log(10))
    by_fd = acceleration(table).rows
    for quality in ("clip", "psnr"):
        rows = acceleration(table, quality).rows
        assert rows[["low", "high"]].to_numpy() == pytest.approx(by_fd[["low", "high"]].to_numpy(), rel=1e-6)


def test_a_draw_beyond_the_measured_steps_bounds_the_interval_on_one_side():
    """The teacher's last measured error is just below the student's: in half of the draws it is above."""
    table = students()
    near = table["variant"].isna() & (table["steps"] == 16)
    table.loc[near, "fd"] *= 0.999
    found = acceleration(table[table["variant"].notna() | (table["steps"] <= 16)]).rows.set_index("steps")
    at_end = found.loc[4]
    assert (at_end["bound"] == "").all() and np.isinf(at_end["high"]).all()
    assert (at_end["low"] < 4).all() and (at_end["low"] > 3.8).all()
    assert np.isfinite(found.loc[2, "high"]).all()


def test_factors_without_errors_of_measuring_are_said_to_be_such():
    assert acceleration(students()).notes == ()
    bare = acceleration(students().drop(columns="fd_se"))
    assert (bare.rows["low"] == bare.rows["high"]).all() and "No row has a fd_se" in bare.summary()


def test_other_students_are_no_teachers():
    table = students()
    others = table[table["variant"] == "consistency"].assign(variant="progressive", fd=1e-6)
    both = pd.concat([table, others])
    assert acceleration(both).rows["factor"].tolist() == pytest.approx(acceleration(table).rows["factor"].tolist())
    named = both.fillna({"variant": "undistilled"})
    assert acceleration(named).rows["factor"].tolist() == pytest.approx(acceleration(table).rows["factor"].tolist())


def test_an_error_that_stays_is_reached_where_it_is_first_had():
    costs, errors = np.array([1.0, 2.0, 4.0, 8.0]), np.array([3.0, 1.0, 1.0, 0.5])
    assert read_off(costs, errors, 1.0) == (pytest.approx(2.0), "")
    assert read_off(costs, errors, np.sqrt(0.5)) == (pytest.approx(np.sqrt(32)), "")  # halfway in logs from 4 to 8
    assert read_off(costs[:3], errors[:3], 1.0) == (pytest.approx(2.0), "")


def test_rows_without_the_quality_are_left_out():
    table = students()
    table.loc[[0, 13, len(table) - 3], "fd"] = np.nan  # a teacher's first, another's last, a student's
    pd.testing.assert_frame_equal(acceleration(table).rows, acceleration(table.dropna(subset="fd")).rows)
    both = pd.concat([runs(), runs(factor=2.0, variant="from scratch")], ignore_index=True)
    both.loc[[0, 7, 25], "fd"] = np.nan
    pd.testing.assert_frame_equal(pretraining(both).sizes, pretraining(both.dropna(subset="fd")).sizes)


def test_a_factor_beyond_the_measured_steps_is_a_bound():
    table = students()
    few = table[table["variant"].notna() | (table["steps"] < 10)]
    found = acceleration(few)
    by_steps = found.rows.groupby("steps")["bound"].unique()
    assert [list(v) for v in by_steps] == [[""], [""], ["at least"]]
    assert np.isinf(found.rows["high"][found.rows["bound"] == "at least"]).all()
    assert read_off(np.array([1.0, 2.0]), np.array([3.0, 1.0]), 4.0) == (1.0, "at most")
    with pytest.raises(InputError, match="No size has rows of variant 'guided'"):
        acceleration(few, student="guided")


def test_the_best_size_changes_where_the_law_says():
    """E + A N^-a + B S^-b: the best size at each budget by search over the sizes and the steps that it buys."""
    from synthetic import SIZES as SYNTHETIC
    from synthetic import family, law

    found = reversal(fit(family(), "size_steps_plain", "fd", {"N": "flops_per_forward", "S": "steps"}, replicates=20))
    for row in found.changes.itertuples():
        best = {m: law(n, row.budget // n) for m, n in SYNTHETIC.items() if row.budget >= 2 * n}
        assert best[row.model] <= 1.005 * min(best.values())
    assert found.changes["model"].iloc[0] == "c8" and found.changes["model"].iloc[-1] == found.largest == "c48"
    assert "goes from c8 at" in found.answer and "to c48, the largest" in found.answer and found.plot().lines


def test_results_show_themselves():
    both = pd.concat([runs(0.0, -0.5, factor=0.5), runs(0.0, -0.5, variant="from scratch")])
    for result in (partial_effects(runs(noise=0.1)), pretraining(both), acceleration(students())):
        assert "\n" not in repr(result) and result.summary() and len(result.to_frame())
        assert "<table" in result._repr_html_() and result.plot().lines
    assert acceleration(students()).plot_curves().lines
    matplotlib.pyplot.close("all")


def test_small_exponents_are_said_with_two_digits():
    said = partial_effects(runs(a=-0.0053, b=-0.054, noise=1e-4), ["fd"]).answer
    assert "size (exponent -0.0053, 90% interval -0.005" in said and "training compute (exponent -0.054, " in said
