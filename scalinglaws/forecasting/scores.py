"""Scores of forecasts: errors, coverage, interval scores and CRPS, and one method beside another on shared rows."""

import numpy as np
import pandas as pd

LEVELS = {"q05": 0.05, "q25": 0.25, "value": 0.5, "q75": 0.75, "q95": 0.95}  # columns of a board and their levels
CRPS_WEIGHTS = (0.15, 0.225, 0.25, 0.225, 0.15)  # of the five levels in the integral over all levels


def scored(board: pd.DataFrame) -> pd.DataFrame:
    """The board with error (relative), in90, in50, interval_score (90 %, Gneiting and Raftery 2007, eq. 43) and crps
    (twice the pinball loss averaged over LEVELS).

    Both scores are of ln y, so that studies weigh alike. Limits at or below 0 count as a millionth of the truth.
    """
    board, tiny = board.copy(), 1e-6
    truth = np.log(board["truth"])
    logs = {q: np.log(board[q].clip(lower=board["truth"] * tiny)) for q in LEVELS}
    board["error"] = (board["value"] / board["truth"] - 1).abs()
    for name, low, high in (("in90", "q05", "q95"), ("in50", "q25", "q75")):
        inside = (board[low] <= board["truth"]) & (board["truth"] <= board[high])
        board[name] = inside.astype(float).where(board[low].notna())
    miss = (logs["q05"] - truth).clip(lower=0) + (truth - logs["q95"]).clip(lower=0)
    board["interval_score"] = logs["q95"] - logs["q05"] + 2 / 0.1 * miss
    pinball = [np.maximum(p * (truth - logs[q]), (p - 1) * (truth - logs[q])) for q, p in LEVELS.items()]
    board["crps"] = 2 * sum(w * p for w, p in zip(CRPS_WEIGHTS, pinball, strict=True))
    return board


def by_study(board: pd.DataFrame) -> pd.DataFrame:
    """Rows scored, and the share within the 90 and the 50 % interval, of each study [study]: series, in90, in50.

    Curves of one study share models, steps and networks and miss together, so that a user's own study is one draw from
    these: the mean over studies, not over curves, is how often its intervals may be expected to hold.
    """
    groups = board[board["in90"].notna()].groupby("study", sort=False)
    return groups[["in90", "in50"]].mean().assign(series=groups.size())[["series", "in90", "in50"]]


def compare(board: pd.DataFrame, ours: str) -> pd.DataFrame:
    """`ours` beside each other method on the rows that method answered. One row per method.

    Columns: rival; rows answered and refused; ours, theirs (median error), their means and worst; better, the share of
    rows on which ours is nearer; score_rows, ours_score, theirs_score, ours_crps, theirs_crps, theirs_in90 of the rows
    to which the rival gave an interval.
    """
    own = board[board["method"] == ours].set_index("question")
    result = []
    for name, every in board[board["method"] != ours].groupby("method", sort=False):
        theirs = every[every["value"].notna()].set_index("question")
        both = theirs["q05"].notna()
        mine = own.loc[theirs.index]
        row = {"rival": name, "rows": len(theirs), "refused": len(every) - len(theirs)}
        for label, held in (("ours", mine), ("theirs", theirs)):
            row |= {label: held["error"].median(), f"{label}_mean": held["error"].mean(),
                    f"{label}_worst": held["error"].max(), f"{label}_score": held.loc[both, "interval_score"].mean(),
                    f"{label}_crps": held.loc[both, "crps"].mean()}  # fmt: skip
        better = float((mine["error"] < theirs["error"]).mean()) if len(theirs) else np.nan
        result.append(row | {"better": better, "score_rows": int(both.sum()), "theirs_in90": theirs["in90"].mean()})
    return pd.DataFrame(result)
