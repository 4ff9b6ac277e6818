"""The board on a few studies: what is hidden, what rivals answer, scores by hand, decisions on measured surfaces."""

import numpy as np
import pandas as pd
import pytest

from scalinglaws import backtest
from scalinglaws.forecasting import rivals, series, surfaces
from scalinglaws.schema import InputError


@pytest.fixture(scope="module")
def published():
    return series.published()


@pytest.fixture(scope="module")
def board(published):
    few = [s for s in published if s.study in ("edm2", "ddim") and s.quality == "fid"]
    return backtest.backtest(few, methods=("last", "power", "floor", "floor_raw"))


def test_every_published_series_is_there(published):
    kinds = pd.Series([s.kind for s in published]).value_counts()
    assert kinds["size"] > 100 and kinds["steps"] > 100 and kinds["training"] > 40
    edm2 = next(s for s in published if s.study == "edm2" and s.quality == "fid" and len(s) == 6)
    assert edm2.y[-1] == 1.91 and edm2.column == "gflops_per_forward"
    assert not any((s.study, s.label.split(",")[0]) in series.MIXED for s in published)
    for one in published:
        assert (np.diff(one.x) > 0).all() and (one.y > 0).all() and len(one) >= 3


def test_a_reprinted_baseline_counts_once(published):
    dit = [
        s for s in published if s.quality == "fid" and s.kind == "size" and len(s) == 4 and abs(s.y[-1] - 19.47) < 0.1
    ]
    assert len(dit) == 1  # DiT p=2 stands in dit, sit, dico and mdt


def test_scores_are_those_of_their_definitions(board):
    row = board[(board["method"] == "forecast") & (board["study"] == "edm2")].iloc[0]
    low, high, truth = np.log(row[["q05", "q95", "truth"]].astype(float))
    miss = max(low - truth, 0) + max(truth - high, 0)
    assert row["interval_score"] == pytest.approx(high - low + 20 * miss)  # Gneiting and Raftery 2007, eq. 43
    assert row["error"] == pytest.approx(abs(row["value"] / row["truth"] - 1))
    last = board[(board["method"] == "last") & (board["study"] == "edm2")].iloc[0]
    assert last["value"] == 1.96 and last["truth"] == 1.91


def test_ours_is_compared_on_the_rows_a_rival_answered(board):
    table = backtest.compare(board).set_index("rival")
    answered = board[(board["method"] == "floor_raw") & board["value"].notna()]
    assert table.loc["floor_raw", "rows"] == len(answered)
    text = backtest.summary(board)
    assert "next size" in text and "next steps" in text and "90 % intervals hold" in text


@pytest.mark.parametrize("name", ["power", "floor", "power_raw", "floor_raw", "floor_free"])
def test_rivals_know_their_own_law(name):
    x = np.array([1.0, 2, 4, 8, 16])
    floor = 0.0 if name.startswith("power") else 2.0
    value, _ = rivals.RIVALS[name](x, floor + 5 * x**-0.7, 32.0, np.random.default_rng(0))
    assert value == pytest.approx(floor + 5 * 32**-0.7, rel=1e-3)


def test_m4_and_the_engine_answer_or_refuse_in_a_sentence():
    x = 2.0 ** np.arange(8)
    value, _ = rivals.m4(x, 2 + 5 * x**-0.7, 256.0, None)
    assert value == pytest.approx(2 + 5 * 256**-0.7, rel=0.02)
    with pytest.raises(InputError, match="3 rows for 5 parameters"):
        rivals.m4(x[:3], x[:3], 16.0, None)
    with pytest.raises(InputError):
        rivals.RIVALS["engine power_floor"](x[:2], x[:2], 8.0, None)


def test_missing_language_sets_are_said(tmp_path):
    found, skipped = backtest.language(tmp_path)
    assert found == [] and len(skipped) == len(backtest.LANGUAGE) and "skipped" in skipped[0]


@pytest.mark.slow
def test_decisions_on_measured_surfaces_lose_less_than_the_simple_rules():
    found = [s for s in surfaces.published() if s.quality == "fd" and s.label in ("ddim, 1.0", "dpm++2m, 1.0")]
    table, budgets = surfaces.summary(found)
    assert len(table) == 2 and (table["ours_regret"] < 0.005).all()
    assert (table["ours_regret"] < table["largest_regret"]).all()
    assert (table["ours_regret"] < table["smallest_regret"]).all()
    assert budgets.filter(like="regret").min().min() >= -1e-9  # nothing beats the best


def test_the_page_draws_every_series_and_names_failures(tmp_path, published, board):
    few = [s for s in published if s.study in ("edm2", "ddim") and s.quality == "fid"]
    path = backtest.page.write(tmp_path / "board.html", board, few, backtest.summary(board))
    text = path.read_text()
    own = board[board["method"] == "forecast"]
    assert text.count("<svg") == len(own) and text.count('class="failed"') == int((own["in90"] == 0).sum())
    assert "sigma-hat" in text and "nan" not in text.split("Every series")[1]
