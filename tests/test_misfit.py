"""Doubts about a decision's law, on simulated tables that follow it or turn, and on rows that mislead it."""

import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws.cli import main
from scalinglaws.decide.misfit import misfit, missed_cells, stated_error

INPUTS = {"N": "flops_per_forward", "S": "steps"}
SIZES, STEPS = np.geomspace(3e6, 1e8, 7), (1, 2, 4, 8, 16, 32)


def table(seed, rise=0.0, own=0.03, cell=0.02):
    """A family with errors of models and cells; with a rise quality turns up with steps, soonest for small sizes."""
    rng, rows = np.random.default_rng(seed), []
    for size in SIZES / SIZES[0]:
        error = own * rng.standard_normal()
        for steps in STEPS:
            curve = 2 + 8 * size**-0.35 + 40 * steps**-1.2 + rise * size**-0.3 * steps**0.6
            fd = curve * np.exp(error + cell * rng.standard_normal())
            rows.append({"model": f"{size:.3g}", INPUTS["N"]: size * SIZES[0], "steps": steps, "fd": fd,
                         "fd_se": cell * fd})  # fmt: skip
    return pd.DataFrame(rows)


def fitted(rows, law="size_steps", quality="fd"):
    return sl.fit(rows, law, quality, INPUTS, replicates=5)


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_follow_the_law_raise_no_doubt(seed):
    fit = fitted(table(seed))
    assert list(misfit(fit)) == []
    assert missed_cells(fit) == pytest.approx(0.02, rel=0.4) and stated_error(fit) == pytest.approx(0.02)


@pytest.mark.parametrize("seed", range(2))
def test_of_rows_that_turn_the_law_that_turns_is_named_and_has_no_doubt(seed):
    rows = table(seed, rise=1.0)
    assert "ask again with --law size_steps" in list(misfit(fitted(rows)))[-1]
    assert list(misfit(fitted(rows, "size_steps_interaction_turn"))) == []


def test_without_standard_errors_only_a_decisive_gain_counts():
    rows = table(0).drop(columns="fd_se")
    assert stated_error(fitted(rows)) == np.inf and list(misfit(fitted(rows))) == []


def test_a_law_whose_best_size_no_training_bears_out_is_doubted(capsys):
    """Guided rows of tiny-t2i: a best size stated with 50 % is the best of other trainings in 10 % (LOG.md)."""
    asked = ["optimum", "tiny-t2i-seeds", "--budget", "3e8", "--where", "guidance=2", "train_seed=0"]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "The law misses single cells by 14.7%, and their standard errors are 6.8% in the median (fd_se)" in told
    assert "--law size_steps_interaction_turn" in told
    assert main(["crossover", "tiny-t2i-seeds", "--between", "c12", "c48", *asked[4:]]) == 0
    assert "The law misses single cells" in capsys.readouterr().out


def test_ask_says_so_too():
    answer = sl.ask("tiny-t2i-seeds", "300 MFLOPs", where={"guidance": 2, "train_seed": 0}, replicates=50)
    assert any("only falls: ask again with --law" in warning for warning in answer.warnings)
