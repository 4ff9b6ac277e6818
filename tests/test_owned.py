"""Decisions about trained models that differ from their law: what is stated is as often true as it says."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from synthetic import students

from scalinglaws.decide.crossover import crossover
from scalinglaws.decide.optimum import _likelier, optimum
from scalinglaws.decide.owned import expected_errors
from scalinglaws.fitting import fit, fit_groups

SIZES = {f"m{k}": size for k, size in enumerate(np.geomspace(4e5, 3e7, 7))}  # FLOPs a forward
STEPS = np.array([2.0, 4, 8, 16, 32, 64])
TWO = {"N": "flops_per_forward", "S": "steps"}


def law(n, s):
    return 3 + 3e3 * n**-0.5 + 60 * s**-1.1


def owned(seed, model_sd=0.03, cell_sd=0.01):
    """(table, {model: its own error}) of seven models, each with an error of its own in all its rows."""
    rng = np.random.default_rng(seed)
    own = dict(zip(SIZES, model_sd * rng.standard_normal(len(SIZES)), strict=True))
    rows = [{"model": m, "flops_per_forward": n, "steps": s,
             "fd": law(n, s) * np.exp(own[m] + cell_sd * rng.standard_normal())}
            for m, n in SIZES.items() for s in STEPS]  # fmt: skip
    return pd.DataFrame(rows), own


def fitted(table, replicates=300):
    return fit(table, "size_steps_plain", "fd", TWO, replicates=replicates)


def test_a_better_model_than_its_law_is_likelier_the_best_of_those_owned():
    table, own = owned(1, cell_sd=0.003)
    rich = table["model"] == "m4"
    table["fd"] *= np.where(rich, np.exp(-0.06 - own["m4"]), 1.0)
    one = fitted(table, 200)
    found = {of: optimum(one, 3e8, of=of).candidates.set_index("model")["probability"] for of in
             ("curve", "owned", "new_model")}  # fmt: skip
    assert found["owned"]["m4"] > 0.9 > found["new_model"]["m4"]
    assert optimum(one, 3e8).to_frame()["of"].tolist()[0] == "owned" and optimum(one, 3e8).record()["of"] == "owned"


def test_the_model_chosen_is_the_best_of_those_owned_by_its_own_prediction():
    """m4 is 7 % better than its law: the headline, its value, the table and the crossover all say so."""
    table, _ = owned(1, 0.001, 0.001)
    by_law = optimum(fitted(table, 50), 3e8).model
    other = f"m{int(by_law[1]) + 1}"
    table["fd"] *= np.where(table["model"] == other, 0.93, 1.0)
    one = fitted(table, 200)
    answer, of_curve = optimum(one, 3e8), optimum(one, 3e8, of="curve")
    assert answer.model == other and answer.probability > 0.9 and of_curve.model == by_law
    assert answer.value == answer.candidates["value"].min()
    assert answer.value == pytest.approx(0.93 * law(answer.size, answer.steps), rel=0.01)
    assert answer.low < answer.value < answer.high
    crossing = crossover(one, (by_law, other))
    small, large = SIZES[by_law], SIZES[other]
    gap = lambda x: np.log(0.93 * law(large, np.exp(x) / large) / law(small, np.exp(x) / small))  # noqa: E731
    assert crossing.cost == pytest.approx(np.exp(brentq(gap, *np.log(crossing.searched))), rel=0.1)
    assert crossing.low < crossing.cost < crossing.high


def test_expected_errors_are_the_best_linear_unbiased_predictions_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    table, own = owned(6, 0.1, 0.03)
    one = fitted(table, 5)
    residual = np.log(table["fd"] / one.curve({"N": table["flops_per_forward"], "S": table["steps"]}))
    mixed = sm.MixedLM(residual, np.ones(len(table)), table["model"]).fit()
    theirs = pd.Series({m: effect.iloc[0] for m, effect in mixed.random_effects.items()}) + mixed.fe_params.iloc[0]
    ours = pd.Series(expected_errors(one, {"N": np.array(list(SIZES.values()))}), list(SIZES))
    assert ours.to_numpy() == pytest.approx(theirs[list(SIZES)].to_numpy(), abs=0.002)
    assert np.corrcoef(ours, pd.Series(own))[0, 1] > 0.8
    assert expected_errors(one, {"N": np.array([5e5]), "S": np.array([8.0])}).tolist() == [0.0]


def test_a_likelier_model_that_is_worse_on_average_is_named():
    candidates = pd.DataFrame({"model": ["a", "b"], "probability": [0.4, 0.6]})
    (sentence,) = _likelier(candidates, candidates.iloc[0], "owned")
    assert sentence.startswith("b is better more often (the best with 60%), a on average")
    assert not list(_likelier(candidates, candidates.iloc[1], "owned"))
    assert not list(_likelier(candidates, candidates.iloc[0], "curve"))


@pytest.mark.slow
def test_choosing_among_the_models_owned_loses_less_than_the_law():
    """Of 40 tables, 3 % own error and 1 % cells, at 6 budgets each: 0.57 % by the law, 0.02 % by the models owned."""
    lost = {"curve": [], "owned": []}
    for seed in range(20):
        table, own = owned(seed)
        one = fitted(table, 50)
        for budget in 10 ** np.random.default_rng(seed).uniform(7.2, 8.8, 6):
            for of, regret in lost.items():
                answer = optimum(one, budget, of=of)
                fd = law(answer.candidates["size"], answer.candidates["steps"])
                fd = np.log(fd) + answer.candidates["model"].map(own)
                regret.append(fd[answer.candidates["model"] == answer.model].iloc[0] - fd.min())
    assert np.mean(lost["owned"]) < 0.1 * np.mean(lost["curve"]) and np.mean(lost["curve"]) > 2e-3


def test_sizes_that_were_not_measured_have_an_error_only_as_new_models():
    one = fitted(owned(2)[0], 100)
    far = [5e5, 2e7]
    curve, mine, new = (optimum(one, 3e8, sizes=far, of=of).candidates for of in ("curve", "owned", "new_model"))
    assert curve["probability"].equals(mine["probability"]) and not curve["probability"].equals(new["probability"])
    assert (new["high"] / new["low"] > curve["high"] / curve["low"]).all()


def test_the_error_of_one_model_cancels_between_two_samplers():
    """Both samplers run on the same trained models: trained anew, both curves shift alike."""
    table, _ = owned(3)
    n, s = table["flops_per_forward"], table["steps"]
    heun = table.assign(sampler="heun", fd=0.9 * table["fd"] * law(n, 0.4 * s) / law(n, s))
    both = pd.concat([table.assign(sampler="ddim"), heun], ignore_index=True)
    groups = fit_groups(both, "sampler", "size_steps_plain", "fd", TWO, replicates=100)
    law_only, anew = (crossover(groups, ("ddim", "heun"), at="m3", of=of) for of in ("curve", "new_model"))
    assert (law_only.low, law_only.high) == (anew.low, anew.high) and anew.of == "new_model"
    trained = both.rename(columns={"sampler": "variant"}).assign(model=both["model"] + both["sampler"])
    groups = fit_groups(trained, "variant", "size_steps_plain", "fd", TWO, replicates=100)
    size = SIZES["m3"]
    law_only, anew = (crossover(groups, ("ddim", "heun"), at=size, of=of) for of in ("curve", "new_model"))
    assert anew.low < 0.9 * law_only.low


def test_a_crossing_along_size_is_that_of_the_curves():
    groups = fit_groups(students(), "variant", "power", "fid", {"N": "params"}, replicates=20)
    found = crossover(groups, ("student", "teacher"))
    assert found.of == "curve" and any("Along a size every place is another model" in w for w in found.warnings)


@pytest.mark.slow
def test_probabilities_of_being_best_are_true_as_often_as_they_say():
    """80 tables, each size trained once with an error of 3 % of its own; the budget is anywhere."""
    stated, true = [], []
    for seed in range(80):
        table, own = owned(seed)
        candidates = optimum(fitted(table), 10 ** np.random.default_rng(seed).uniform(7.2, 8.8)).candidates
        fd = law(candidates["size"], candidates["steps"]) * np.exp(candidates["model"].map(own))
        stated += candidates["probability"].tolist()
        true += (candidates.index == fd.idxmin()).tolist()
    stated, true = np.array(stated), np.array(true)
    sure, open_, unlikely = stated > 0.8, (stated > 0.1) & (stated < 0.8), stated < 0.1
    assert abs(true[sure].mean() - stated[sure].mean()) < 0.06
    assert abs(true[open_].mean() - stated[open_].mean()) < 0.2
    assert true[unlikely].mean() < 0.03


@pytest.mark.slow
def test_ninety_percent_intervals_hold_the_crossing_of_the_models_owned():
    """Of 191 tables with cells of 1 % 96 % held it, of 140 with 2 % 89 %; the law's intervals alone 68 and 54 %."""
    held, by_law = [], []
    for seed in range(100):
        table, own = owned(1000 + seed, cell_sd=0.01 * (1 + seed % 2))
        one, k = fitted(table), seed % 6
        (small, n), (large, m) = list(SIZES.items())[k : k + 2]
        gap = lambda x: np.log(law(m, np.exp(x) / m) / law(n, np.exp(x) / n)) + own[large] - own[small]  # noqa: B023, E731
        found = crossover(one, (small, large))
        ends = np.log(found.searched)
        if found.cost is None or gap(ends[0]) * gap(ends[1]) > 0:
            continue
        truth = np.exp(brentq(gap, *ends))
        for answer, hits in ((found, held), (crossover(one, (small, large), of="curve"), by_law)):
            hits.append((answer.low or 0.0) <= truth <= (answer.high or np.inf))
    assert len(held) > 80 and 0.85 <= np.mean(held) <= 0.97 and np.mean(by_law) < 0.75
