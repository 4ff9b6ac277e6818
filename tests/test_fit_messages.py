"""What a fit says about itself: no sentence that the rows, or another sentence, contradict."""

import numpy as np
import pandas as pd
import pytest
from test_fit import EDM2
from test_laws import rows

from scalinglaws.fitting import fit, fit_groups
from scalinglaws.fitting.api import refit, same_delta
from scalinglaws.fitting.diagnostics import calibration
from scalinglaws.fitting.selection import aicc

BOTH = {"N": "N", "S": "S"}


def with_cluster_effect(seed, spread=0.05) -> pd.DataFrame:
    """Every size has an error of its own, as one trained model has."""
    table, rng = rows("size_steps_plain", 0.01, seed), np.random.default_rng(seed)
    own = spread * rng.standard_normal(10)
    return table.assign(y=table["y"] * np.exp(own[table["N"].rank(method="dense").astype(int) - 1]))


@pytest.mark.parametrize("seed", range(20))
def test_a_chosen_law_keeps_the_note_that_rows_share_an_error(seed):
    """The two laws are fitted again with one delta; their configurations were chosen before."""
    chosen = fit(with_cluster_effect(seed), "size_steps", "y", BOTH, replicates=1)
    assert chosen.bootstrap == "levels" and chosen.problem.data.clusters == 10
    assert "Rows with the same N (N) share an error" in chosen.notes[0]
    plain, rich = (fit(with_cluster_effect(seed), f"size_steps_{law}", "y", BOTH, delta=chosen.delta)
                   for law in ("plain", "interaction"))  # fmt: skip
    factor = calibration(rich.problem, rich.minima.theta[0])
    word = "lowers" if aicc(rich, factor) < aicc(plain, factor) else "raises"
    assert f"chosen; the interaction {word} AICc by " in chosen.notes[1] and len(chosen.notes) == 2


def test_same_delta_and_refits_keep_what_the_data_chose():
    table = with_cluster_effect(1)
    pair = [
        fit(table, law, "y", BOTH, delta=d) for law, d in (("size_steps_plain", 0.02), ("size_steps_product", 0.01))
    ]
    for one in (*same_delta(pair), refit(pair[0], loss="squares")):
        assert (
            one.problem.data.cluster_effect == pair[0].problem.data.cluster_effect or one.law.name != pair[0].law.name
        )
        assert len(one.notes) == 1 and "share an error" in one.notes[0]


def power(y, **options):
    return fit(pd.DataFrame({"n": np.geomspace(1, 100, len(y)), "q": y}), "power", "q", {"N": "n"}, **options)


def test_three_rows_without_significance_are_no_evidence_for_a_constant():
    warnings = " ".join(power([5.0, 3.8, 4.1]).warnings)
    assert "No law" not in warnings and "Too few rows to tell a curve in N (n) from a constant (p = 0." in warnings
    many = np.random.default_rng(0).uniform(3, 5, 30)
    assert power(many).warnings[0].startswith("No law: a constant explains 'q' as well")


@pytest.mark.parametrize("y", [[4.0, 4.4, 3.98], [4.0, 3.7, 3.99], [4.0, 4.3, 3.999, 4.1]])
def test_few_rows_that_a_constant_fits_well_are_no_evidence_for_it_either(y):
    text = " ".join(power(y).warnings)
    assert "a constant explains" not in text and ("Too few rows to tell" in text or "does not fall" in text)


def test_three_rows_that_rise_are_no_falling_law():
    first = power([3.0, 4.0, 5.0]).warnings[0]
    assert first.startswith("No law: 'q' does not fall with N (n) in these 3 rows, so the best curve is flat")


def test_configurations_are_explained():
    warnings = " ".join(fit(EDM2.iloc[:4], "power_floor", "fid", {"N": "gflops"}).warnings)
    assert "4 configurations (different values of N (gflops)) for 3 parameters: the residuals hardly" in warnings
    assert "lean on that of other studies" in warnings and "Only 0" not in warnings
    table = rows("size_steps_plain", 0.02).iloc[::13].assign(run=lambda t: np.arange(len(t)) % 3)
    warnings = " ".join(fit(table, "size_steps_plain", "y", BOTH).warnings)
    assert "7 configurations (different combinations of N (N) and S (S)) for 5 parameters" in warnings
    warnings = " ".join(fit(table, "size_steps_plain", "y", BOTH, cluster="run").warnings)
    assert "3 configurations (different values of run) for 5 parameters" in warnings


def test_only_a_series_that_first_falls_turns_up_again():
    steps = 2.0 ** np.arange(8)
    turned, rising = 2 + 10 / steps + 0.03 * steps, 2 + 0.03 * steps
    texts = [" ".join(fit(pd.DataFrame({"s": steps, "q": q}), "power_floor", "q", {"S": "s"}).warnings)
             for q in (turned, rising)]  # fmt: skip
    assert "turns up again beyond s of about 16 in 1 of 1 curves" in texts[0]
    both = pd.concat([pd.DataFrame({"n": n, "s": steps, "q": q}) for n, q in ((1.0, turned), (2.0, 0.9 * turned),
                                                                               (4.0, rising))])  # fmt: skip
    text = " ".join(fit(both, "size_steps_plain", "q", {"N": "n", "S": "s"}).warnings)
    assert "turns up again beyond s of about 16 in 2 of 3 curves" in text and "rises with s in 1 of 3 curves" in text
    assert "turns up again" not in texts[1] and "Quality rises with s in 1 of 1 curves" in texts[1]


def test_a_floor_in_doubt_beside_an_interval_that_excludes_zero_is_explained():
    contradicted = 0
    for seed in range(12):
        table = rows("power_floor", 0.05, seed).iloc[::2]
        one = fit(table, "power_floor", "y", {"N": "x"}, replicates=200)
        low, text = one.interval(0.9).loc["E", "low"], " ".join(one.warnings)
        if one.trust.floor_identified is False:
            excluded = low > 0.01 * one.values["E"]
            contradicted += excluded
            assert ("is not identified" in text) == (not excluded)
            assert ("takes for granted that there is one" in text) == excluded
        else:
            assert "floor" not in text
    assert contradicted  # the case occurs


def test_no_claim_about_the_width_of_intervals():
    for table in (EDM2, EDM2.assign(fid=1.7 + 67 * EDM2["gflops"] ** -0.95)):
        assert "wide" not in " ".join(fit(table, "power_floor", "fid", {"N": "gflops"}).warnings)


def test_groups_name_their_warnings():
    table = pd.concat([EDM2.assign(g="a"), EDM2.iloc[:3].assign(g="b")])
    groups = fit_groups(table, "g", "power_floor", "fid", {"N": "gflops"}, replicates=20)
    assert groups.warnings[0].startswith("a: Only 6 different values of N")
    assert groups.warnings[-1].startswith("b not fitted: Law 'power_floor' has 3 parameters but the table has 3 rows")


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_diverged_is_named_and_a_clean_table_names_none(seed):
    table = rows("size_steps_plain", 0.02, seed)
    clean = fit(table, "size_steps_plain", "y", BOTH, replicates=1)
    assert not any("far from the law" in w for w in clean.warnings)
    worst = table.index[7 + seed]
    diverged = table.assign(y=table["y"].where(table.index != worst, 2.6 * table["y"]))
    said = [w for w in fit(diverged, "size_steps_plain", "y", BOTH, replicates=1).warnings if "far from the law" in w]
    N, S = table.loc[worst, ["N", "S"]]
    assert len(said) == 1 and f"A row lies far from the law, at N = {N:.4g}, S = {S:.4g} by a factor" in said[0]


def test_a_row_far_from_the_law_is_named_in_a_table_of_nine_rows_too():
    """A tenth of nine rows is less than one: such a row was never named."""
    size = np.geomspace(1e6, 1e9, 9)
    values = (2 + 8 * (size / 1e6) ** -0.35) * np.exp(0.01 * np.random.default_rng(0).standard_normal(9))
    table = pd.DataFrame({"params": size, "fd": values})
    assert not any("far from the law" in w for w in fit(table, "power_floor", "fd", {"N": "params"}).warnings)
    table.loc[4, "fd"] *= 4
    (said,) = (w for w in fit(table, "power_floor", "fd", {"N": "params"}).warnings if "far from the law" in w)
    assert f"A row lies far from the law, at params = {size[4]:.4g}" in said
