"""Many groups in common batches: the answers of separate fits."""

import numpy as np
import pandas as pd
import pytest
from test_fit import STEPPED, grid
from test_laws import TRUTH, rows

from scalinglaws.fitting import fit, fit_groups
from scalinglaws.schema import InputError

KINDS = {"ddim": 0.9, "dpm": 1.4, "euler": 1.1}


def samplers(noise=0.02) -> pd.DataFrame:
    """Three samplers of different exponents and different numbers of rows, one of them measured twice."""
    parts = []
    for k, (name, b) in enumerate(KINDS.items()):
        truth = {"E": 5.0 + k, "A": 3e3, "a": 0.4, "B": 80.0 * 1e6**0.2, "g": -0.2, "b": b}
        parts.append(grid(truth, noise, seed=k).assign(sampler=name).iloc[: 64 - 9 * k])
    again = grid({"E": 5.0, "A": 3e3, "a": 0.4, "B": 80.0, "g": 0.0, "b": 1.0}, 0.05, seed=7).assign(sampler="twice")
    return pd.concat([*parts, again, again.assign(fd=again["fd"] * 1.01)], ignore_index=True)


def same(one, two):
    """Equal but for rounding: values, objective, delta, and the curves of the replicates.

    Delta is a median of residuals, small differences of large numbers: it carries their rounding into the rest.
    """
    assert one.law.name == two.law.name and one.bootstrap == two.bootstrap
    assert one.values == pytest.approx(two.values, rel=1e-8)
    assert one.objective == pytest.approx(two.objective, rel=1e-7)
    assert one.delta == pytest.approx(two.delta, rel=1e-7) and one.warnings == two.warnings
    curves = [result.curve(result.problem.data.x, result.replicates) for result in (one, two)]
    assert np.allclose(*curves, rtol=1e-7, atol=0)


@pytest.mark.parametrize("law", ["size_steps_interaction", "size_steps"])
@pytest.mark.parametrize("options", [{}, {"loss": "squares"}, {"bootstrap": "pair", "se": "se"}])
def test_groups_equal_separate_fits(law, options):
    table = samplers().assign(se=lambda t: t["fd"] * (0.01 + 0.01 * (t["steps"] > 8)))
    together = fit_groups(table, "sampler", law, "fd", STEPPED, replicates=60, **options)
    assert list(together.fits) == ["ddim", "dpm", "euler", "twice"]
    for name, part in table.groupby("sampler"):
        alone = fit(part, law, "fd", STEPPED, replicates=60, **options)
        same(together[name], alone)
        assert np.allclose(together[name].replicates, alone.replicates, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["power_floor", "kaplan", "bnsl_1", "sigmoid", "guidance_size"])
def test_laws_of_every_kind(name):
    parts = [rows(name, 0.02, seed).assign(family=f"f{seed}").iloc[seed:] for seed in range(3)]
    inputs = {s: s for s in TRUTH[name][1]}
    together = fit_groups(pd.concat(parts), ["family"], name, "y", inputs, replicates=40)
    for part in parts:
        same(together[part["family"].iloc[0]], fit(part, name, "y", inputs, replicates=40))


def test_groups_keep_their_replicates_and_make_one_table():
    together = fit_groups(samplers().assign(guidance=1.0), ["sampler", "guidance"], "size_steps", "fd", STEPPED)
    frame = together.to_frame()
    assert frame["sampler"].tolist() == ["ddim", "dpm", "euler", "twice"] and set(frame["rows"]) == {64, 55, 46, 128}
    assert (frame["b_low"] <= frame["b"]).all() and (frame["b"] <= frame["b_high"]).all()
    result = together["dpm", 1.0]
    assert result.drawn is not None and result.replicates.shape == (1000, 6)


def test_a_group_that_cannot_be_fitted_does_not_stop_the_others():
    table = samplers()
    table = table.drop(table.index[(table["sampler"] == "dpm") & (table.groupby("sampler").cumcount() > 3)])
    together = fit_groups(table, "sampler", "size_steps_interaction", "fd", STEPPED, replicates=20)
    assert set(together.fits) == {"ddim", "euler", "twice"}
    assert "has 6 parameters but the table has 4 rows" in together.refused["dpm"]
    with pytest.raises(InputError, match=r"No fit of the group 'dpm'\. Law 'size_steps_interaction' has 6"):
        together["dpm"]
    with pytest.raises(InputError, match=r"None of the 4 groups can be fitted; ddim: Law 'size_steps_interaction'"):
        fit_groups(table.groupby("sampler").head(4), "sampler", "size_steps_interaction", "fd", STEPPED)


@pytest.mark.parametrize(
    ("by", "options", "sentence"),
    [
        ("solver", {}, "No column 'solver' to group by; the table has flops"),
        ([], {}, "Name a column to group by"),
        ("sampler", {"replicate": 5}, "fit has no option 'replicate'. Known: loss, delta"),
        ("sampler", {"starts": 0}, "starts must be a whole number"),
    ],
)
def test_refusals(by, options, sentence):
    with pytest.raises(InputError) as refusal:
        fit_groups(samplers(), by, "size_steps", "fd", STEPPED, **options)
    assert sentence in str(refusal.value)
