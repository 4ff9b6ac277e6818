"""The scoreboard of claims: verdicts on made-up studies whose answers are known, and the shipped one is computed."""

import numpy as np
import pandas as pd
import pytest

from scalinglaws import studies
from scalinglaws.site import claims, index

SIZES = {"c8": 1e6, "c16": 4e6, "c32": 1.6e7, "c64": 6.4e7}
STEPS = (1, 2, 4, 8, 16, 32, 64)


def sampled(size_term, noise=0.01, steps=STEPS, **more):
    """fd = size_term(N) + 20 / steps, N in FLOPs a forward."""
    rows = [{"model": m, "params": n / 50, "flops_per_forward": n, "flops_per_image": n * s, "nfe": s, "steps": s,
             "fd": size_term(n) + 20 / s} for m, n in SIZES.items() for s in steps]  # fmt: skip
    return pd.DataFrame(rows).assign(fd_se=lambda t: noise * t["fd"], **{"sampler": "ddim"} | more)


def flat(n):
    """Size is worth next to nothing: the smallest is best until it has no more steps to take."""
    return 2 + 1e-6 * (n / 1e6) ** -0.1


def steep(n):
    """Size is worth everything: the largest is best as soon as it can be run."""
    return 400 * (n / 1e6) ** -1.0


def trained(a=0.4, size=0.0):
    """fd along training, and at fine-tuning: 20 C^-a N^-size."""
    rows = []
    for k, (model, n) in enumerate(SIZES.items()):
        for length in (125, 250, 500, 1000):
            compute = 3 * n * length * 64
            fd = 20 * (compute / 1e10) ** -a * (n / 1e6) ** -size * (1 + 0.01 * (-1) ** k)
            rows.append({"model": model, "params": n / 50, "flops_per_forward": n, "train_steps": length, "steps": 8,
                         "train_images": 64 * length, "train_flops": compute, "fd": fd})  # fmt: skip
    return pd.DataFrame(rows)


def board(folder, **tables):
    """{claim number: row} of a study of these tables: main, training, super_resolution, students."""
    for part, table in ({"main": sampled(flat)} | tables).items():
        name = "tiny-ldm" + ("" if part == "main" else f"-{part.replace('_', '-')}")
        table.to_csv(folder / f"{name}.csv", index=False)
    return {int(row["claim"][0]): row for _, row in claims.scoreboard(folder).iterrows()}


def test_what_was_not_measured_is_undecided(tmp_path):
    rows = board(tmp_path)
    assert list(rows) == [1, 2, 3, 4, 5, 6] and rows[1]["verdict"] == rows[6]["verdict"] == "undecided"
    assert rows[2]["measure"] == "not measured: there is no table tiny-ldm-super-resolution.csv"
    assert rows[4]["measure"] == "not measured: one sampler alone, ddim" and rows[4]["verdict"] == "undecided"


def test_training_compute_has_its_exponent(tmp_path):
    row = board(tmp_path, training=trained())[1]
    low, high = map(float, row["interval"].split(" to "))
    assert row["verdict"] == "holds" and float(row["value"]) == pytest.approx(-0.4, abs=0.02) and low < -0.4 < high


@pytest.mark.parametrize(("size", "verdict"), [(0.3, "holds"), (-0.3, "does not hold here"), (0.0, "undecided")])
def test_downstream_is_the_effect_of_size_at_equal_compute(tmp_path, size, verdict):
    row = board(tmp_path, super_resolution=trained(size=size).assign(variant="fine-tuned"))[2]
    assert row["verdict"] == verdict and float(row["value"]) == pytest.approx(-size, abs=0.02)
    assert float(row["detectable"]) < 0.05
    labelled = trained(size=size).assign(model=lambda t: t["model"] + "-" + t["train_steps"].astype(str))
    assert board(tmp_path, super_resolution=labelled.assign(variant="fine-tuned"))[2]["detectable"] == row["detectable"]


def test_small_wins_where_size_is_worth_nothing_and_not_where_it_is_worth_everything(tmp_path):
    assert float(board(tmp_path)[3]["value"]) > 0.9
    row = board(tmp_path, main=sampled(steep))[3]
    assert row["verdict"] == "does not hold here" and float(row["value"]) < 0.2


def test_small_wins_and_is_overtaken_as_the_budget_grows(tmp_path):
    row = board(tmp_path, main=sampled(lambda n: 3 * (n / 1e6) ** -0.15))[3]
    assert row["verdict"] == "holds" and "(the best grows: 100%)" in row["measure"]


def test_several_trainings_of_each_size_are_taken_where_they_were_measured(tmp_path):
    """The first trainings say that size is worth nothing; three of each, in a table of their own, that it is all."""
    rng, parts = np.random.default_rng(0), []
    for k in range(3):
        error = np.exp(0.02 * rng.standard_normal(len(SIZES)))
        part = sampled(steep, train_seed=k).assign(fd=lambda t, e=error: t["fd"] * np.repeat(e, len(STEPS)))
        parts.append(part.assign(model=part["model"] + (f"-s{k}" if k else "")))
    row = board(tmp_path, seeds=pd.concat(parts))[3]
    assert row["verdict"] == "does not hold here" and row["table"].startswith("tiny-ldm-seeds.csv")
    assert "up to 3 trainings of a size" in row["measure"]


def test_a_table_of_trainings_that_cannot_be_read_leaves_the_claim_undecided(tmp_path):
    row = board(tmp_path, seeds=sampled(flat, train_seed=0).assign(steps=-1))[3]
    assert row["verdict"] == "undecided" and "steps" in row["measure"] and row["table"] == "tiny-ldm-seeds.csv"


def test_samplers_and_students_agree_or_not(tmp_path):
    both = pd.concat([sampled(flat, guidance=2.0), sampled(flat, guidance=2.0, sampler="heun"), sampled(flat)])
    both["guidance"] = both["guidance"].fillna(1.0)
    students = [sampled(flat, variant="undistilled"), sampled(steep, steps=(1, 2, 4), variant="consistency")]
    rows = board(tmp_path, main=both, students=pd.concat(students))
    assert rows[4]["verdict"] == "holds" and float(rows[4]["value"]) == pytest.approx(0, abs=0.05)
    assert rows[6]["verdict"] == "does not hold here" and float(rows[6]["value"]) > 0.5


def test_a_reversal_above_twenty_steps(tmp_path):
    late = sampled(steep, steps=(32, 64, 128), variant="fine-tuned")
    rows = board(tmp_path, super_resolution=pd.concat([sampled(flat, steps=(1, 2, 4, 8, 16), variant="fine-tuned"),
                                                       late]))  # fmt: skip
    assert rows[5]["verdict"] == "holds" and float(rows[5]["value"]) < 0.5
    same = sampled(flat, steps=(*STEPS, 128), variant="fine-tuned")
    assert board(tmp_path, super_resolution=same)[5]["verdict"] == "does not hold here"


@pytest.mark.slow
def test_the_shipped_scoreboard_is_what_the_tables_say():
    shipped = index.read_claims(studies.HERE.parent / "data" / "claims.csv")
    computed = claims.scoreboard().astype(str).replace("nan", "")
    assert set(shipped["verdict"]) <= set(index.VERDICTS) and len(shipped) == len(computed)
    assert shipped[["claim", "study", "quality", "verdict"]].equals(computed[["claim", "study", "quality", "verdict"]])
    numbers = pd.to_numeric(shipped["value"]), pd.to_numeric(computed["value"])
    assert np.allclose(*numbers, rtol=0.02, atol=0.02, equal_nan=True)
