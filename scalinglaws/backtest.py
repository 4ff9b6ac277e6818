"""The board: every series of the bundled studies, its last values hidden, forecast by us and by rivals on the same
rows, and the decisions that follow from the forecasts.

    board = backtest()                 one row per question and method
    print(summary(board))              medians, coverage, interval scores beside the rivals
    print(table(board))                the same in short, as markdown
    scalinglaws backtest --rivals all --write data/board.csv --page board.html

Our forecasts use a prior that has not seen the study at hand or its relatives. Nothing is chosen per study.
"""

from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws.forecasting import rivals, scores, series, surfaces
from scalinglaws.forecasting.forecast import of_series
from scalinglaws.forecasting.scores import LEVELS, scored
from scalinglaws.schema import InputError, NoAnswer

OURS = "forecast"
DISTANCES = ("fid", "fd", "fd_effnet_lite0", "fd_dinov2")  # the qualities most studies print
DECISION = "decision"  # the kind of question that is no forecast
SEEN = (("3 values (2 seen)", 2, 2), ("4 or more", 3, 99), ("5 or more", 4, 99))  # values; least and most rows seen
STORED = ("asked", "study", "group", "kind", "quality", "label", "seen", "x", "truth", "method", *LEVELS, "regret",
          "refused")  # fmt: skip
KEYS = ("asked", "study", "quality", "label", "seen", "x", "truth")  # of a question in a stored board
BATCH = 32  # questions of one batch: the engine fits its laws to all of them at once
TOLERANCE = 2e-3  # relative, between a stored board and a run of it


def backtest(found=None, methods=None, least: int = 2, processes: int = 1, progress=None) -> pd.DataFrame:
    """Each series' largest x hidden: one row per series and method; then one row per decision and method (`decisions`).

    found: series (default: all bundled); methods: names in rivals.RIVALS besides ours (default: all); least: rows that
    must be seen; processes: how many to share the work; progress: called with (questions done, all) after each.
    Columns: question (position in `found`), asked (kind of question: size, steps, training, best guidance, guidance
    strength, decision), study, group, kind, quality, label, seen, x, truth, method, value, q05, q25, q75, q95, error
    (relative), in90, in50, interval_score (90 %, of ln y), crps (of ln y), regret (decisions only), refused (why a
    method gave nothing). Raises InputError for an unknown rival, and where no series is long enough to hide a value.
    """
    found = series.published() if found is None else found
    methods = rivals.RIVALS if methods is None else tuple(methods)
    questions = _questions(found, methods, least, processes)
    size = min(BATCH, -(-len(questions) // processes))
    chunks = [questions[k : k + size] for k in range(0, len(questions), size)]
    answer, done = partial(_answers, methods=methods), []
    with ProcessPoolExecutor(processes) if processes > 1 else nullcontext() as pool:
        for rows in chain.from_iterable(pool.map(answer, chunks) if pool else map(answer, chunks)):
            done.append(rows)
            if progress:
                progress(len(done), len(questions))
    board = scored(pd.DataFrame([row for rows in done for row in rows]))
    return pd.concat([board, decisions(board, found)], ignore_index=True).astype({"question": int})


def _questions(found, methods, least, processes):
    """(position, series) of the series with a value to hide; InputError where the arguments cannot be used."""
    unknown = [name for name in methods if name not in rivals.RIVALS]
    if unknown:
        raise InputError(f"No rival named {unknown[0]!r}. Known: {', '.join(rivals.RIVALS)}.")
    if least < 2 or processes < 1:
        raise InputError(f"Give at least 2 rows to be seen and 1 process; got least={least}, processes={processes}.")
    if isinstance(found, pd.DataFrame) or not all(isinstance(one, series.Series) for one in found):
        raise InputError("backtest takes a list of Series: series.questions(table, 'my table') makes them of a table.")
    questions = [(number, one) for number, one in enumerate(found) if len(one) > least]
    if not questions:
        raise InputError(
            f"No curve of {least + 1} values or more among {len(found)}, so nothing can be hidden: a curve is quality "
            "above 0 against size, steps or training length with every other setting equal; measure one more of these."
        )
    return questions


def _answers(questions, methods):
    """Rows of each of some questions: what ours and every rival say."""
    hidden = [series.hidden_largest(one) for _, one in questions]
    asked = [(seen, new) for seen, new, _ in hidden]
    by_rivals = zip(*(rivals.answers(name, asked) for name in methods), strict=True) if methods else [()] * len(asked)
    found = []
    for (number, one), (seen, new, truth), answers in zip(questions, hidden, by_rivals, strict=True):
        about = {"question": number, "asked": one.asked or one.kind, "study": one.study, "group": one.group,
                 "kind": one.kind, "quality": one.quality, "label": one.label, "seen": len(seen), "x": new,
                 "truth": truth}  # fmt: skip
        rows = [_rival(answer) | {"method": name} for name, answer in zip(methods, answers, strict=True)]
        found.append([about | row for row in ({"method": OURS} | _ours(seen, new, one), *rows)])
    return found


def _ours(seen, new, one):
    answer = of_series(seen, [new], leave_out=one.group)
    relative = np.nan_to_num(one.se[-1] / one.y[-1])
    of = "new_model" if one.kind == "size" else "owned"
    found = answer.quantiles(tuple(LEVELS.values()), of=of, cell_error=relative)[0]
    return dict(zip(LEVELS, found, strict=True)) | {"refused": ""}


def _rival(answer):
    if isinstance(answer, InputError):
        return {"value": np.nan, "refused": str(answer)}
    value, draws = answer
    row = {"value": value, "refused": ""}
    if draws is not None:
        limits = draws if len(draws) == 4 else np.quantile(draws, [0.05, 0.25, 0.75, 0.95])
        row |= dict(zip(("q05", "q25", "q75", "q95"), limits, strict=True))
    return row


def decisions(board: pd.DataFrame, found: list[series.Series]) -> pd.DataFrame:
    """Which size a budget buys when the largest model of a surface is forecast whole: one row per surface and method.

    regret: the share by which the measured quality of the size chosen exceeds the best, mean over the budgets of
    surfaces.regret; a method that refused one of the surface's series makes no decision. The rules `largest affordable`
    and `smallest` need no forecast.
    """
    rows, forecasts = [], board.set_index(["method", "question"])["value"]
    methods = list(dict.fromkeys(board["method"]))
    position = {id(one): number for number, one in enumerate(found)}
    for surface in surfaces.from_series(found):
        numbers = [position.get(id(one)) for one in surface.slices]
        believed = {name: forecasts.reindex([(name, n) for n in numbers]).to_numpy() for name in methods}
        believed = {name: values for name, values in believed.items() if np.isfinite(values).all()}
        lost = surfaces.regret(surface, believed)
        about = {"question": len(found) + len(rows), "asked": DECISION, "study": surface.study,
                 "group": series.group_of(surface.study), "kind": "size", "quality": surface.quality,
                 "label": surface.name, "seen": len(surface.sizes) - 1, "x": surface.sizes[-1],
                 "refused": ""}  # fmt: skip
        rows += [about | {"method": name, "regret": lost[name].mean()} for name in lost.columns]
    return pd.DataFrame(rows)


def compare(board: pd.DataFrame) -> pd.DataFrame:
    """Ours beside each rival on the rows that rival answered, one row per rival; see `scores.compare`."""
    return scores.compare(board[board["asked"] != DECISION], OURS)


def summary(board: pd.DataFrame, distances_only: bool = False) -> str:
    """The board as text: for each kind of question our errors and coverage, then each rival on the rows it answered;
    then the regret of the decisions.
    """
    if distances_only:
        board = board[board["quality"].isin(DISTANCES)]
    lines = []
    for words, rows, own in _forecasts(board, SEEN):
        each = scores.by_study(own)
        means = f" (mean of {len(each)} studies {each['in90'].mean():.0%}, {each['in50'].mean():.0%})"
        lines.append(
            f"{words}: {len(own)} series; median error {own['error'].median():.2%}, mean {own['error'].mean():.1%}, "
            f"worst {own['error'].max():.0%}; 90 % intervals hold {own['in90'].mean():.0%}, 50 % "
            f"{own['in50'].mean():.0%}{means if len(each) > 1 else ''}; interval score "
            f"{own['interval_score'].mean():.3f}, crps {own['crps'].mean():.4f}"
        )
        lines += [_beside(r) for r in compare(rows).itertuples() if r.rows]
    lost = board[board["asked"] == DECISION]
    if len(lost):
        lines.append(
            f"decisions on {lost[lost['method'] == OURS].shape[0]} surfaces, the largest model unseen; regret:"
        )
        lines += [f"    {name:20s} {len(r):4d} surfaces: mean {r.mean():.2%}, worst {r.max():.2%}"
                  for name, r in lost.groupby("method", sort=False)["regret"]]  # fmt: skip
    return "\n".join(lines)


def _forecasts(board, numbers):
    """(words, rows of all methods, ours among them) of each kind of question and number of values seen, where ours
    answered any. numbers: of SEEN."""
    for asked, part in board[board["asked"] != DECISION].groupby("asked", sort=False):
        for words, low, high in numbers:
            rows = part[part["seen"].between(low, high)]
            own = rows[rows["method"] == OURS]
            if len(own):
                yield f"{_words(asked)}, {words}", rows, own


def _words(asked):
    return f"next {asked}" if asked in series.AXES else asked


def _beside(r):
    scored_too = f"; interval score {r.ours_score:.3f} against {r.theirs_score:.3f}" if r.score_rows else ""
    return (
        f"    {r.rival:20s} {r.rows:4d} rows ({r.refused} refused): {r.ours:7.2%} against {r.theirs:7.2%}{scored_too}"
    )


def table(board: pd.DataFrame) -> str:
    """The board in short, as a markdown table: median errors beside the naive rule and the best rival, and coverage.

    The best rival is the one that comes nearest to ours, or is most ahead of it, on the questions that it answered, at
    least half of all; where they are not all, how many, and our error on them, stand beside.
    """
    lines = ["| question | series | forecast | same as last | best rival | 90 % / 50 % intervals cover |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for words, rows, own in _forecasts(board, SEEN[:2]):
        beside = compare(rows)
        last = beside[beside["rival"] == "last"]
        naive = f"{last['theirs'].iloc[0]:.1%}" if len(last) else ""
        lines.append(f"| {words} | {len(own)} | {own['error'].median():.1%} | {naive} | {_best(beside, len(own))} | "
                     f"{own['in90'].mean():.0%} / {own['in50'].mean():.0%} |")  # fmt: skip
    lost = board[board["asked"] == DECISION]
    if len(lost):
        regrets = lost.pivot_table(index=["study", "label", "quality"], columns="method", values="regret")
        shared = [(name, kept.notna().sum(), regrets[OURS][kept.notna()].mean(), kept.mean())
                  for name, kept in regrets.items() if name != OURS]  # fmt: skip
        beside = pd.DataFrame(shared, columns=["rival", "rows", "ours", "theirs"])
        lines.append(f"| size for a budget, largest model unseen: regret | {len(regrets)} surfaces | "
                     f"{regrets[OURS].mean():.2%} | {regrets['last'].mean() if 'last' in regrets else np.nan:.2%} | "
                     f"{_best(beside, len(regrets), 2)} | |")  # fmt: skip
    return "\n".join(lines)


def _best(beside, count, digits=1):
    """The best rival of `beside` (rival, rows, ours, theirs) in a cell of the table, of `count` questions."""
    beside = beside[(beside["rival"] != "last") & (2 * beside["rows"] >= count)]
    if beside.empty:
        return "none"
    best = beside.iloc[(beside["theirs"] / beside["ours"].clip(lower=1e-12)).argmin()]  # ours may be 0
    part = "" if best["rows"] == count else f", {best['rows']} answered; forecast {best['ours']:.{digits}%}"
    return f"{best['theirs']:.{digits}%} ({best['rival']}{part})"


def write(board: pd.DataFrame, path) -> Path:
    """Store a board as csv: values to five digits."""
    board.reindex(columns=list(STORED)).to_csv(path, index=False, float_format="%.5g")
    return Path(path)


def read(path) -> pd.DataFrame:
    """A stored board, scored again. Questions are numbered in the order of the file. Raises InputError."""
    try:
        board = pd.read_csv(path, dtype={"refused": str, "label": str}).fillna({"refused": "", "label": ""})
    except (OSError, ValueError) as error:
        raise InputError(f"No stored board {str(path)!r} ({error}): `scalinglaws backtest --write FILE`.") from error
    missing = [name for name in STORED if name not in board]
    if missing:
        raise InputError(f"{path} is no stored board: the column {missing[0]!r} is missing; `--write` stores one.")
    board["question"] = board.groupby(list(KEYS), sort=False, dropna=False).ngroup()
    return scored(board)


def check(stored: pd.DataFrame, again: pd.DataFrame) -> int:
    """How many of our forecasts and decisions a stored board and a run share, all of them alike within TOLERANCE.

    Raises NoAnswer where one differs or is on one of the boards only.
    """
    sides = [side[side["method"] == OURS].reindex(columns=list(STORED)).drop_duplicates(list(KEYS))
             for side in (stored, again)]  # fmt: skip
    # what was measured is stored to five digits
    keyed = [side.assign(x=side["x"].map("{:.5g}".format), truth=side["truth"].map("{:.5g}".format)) for side in sides]
    both = keyed[0].merge(keyed[1], on=list(KEYS), how="outer", suffixes=("", "_again"), indicator=True)
    alike = [np.isclose(both[name], both[f"{name}_again"], rtol=TOLERANCE, atol=TOLERANCE / 20, equal_nan=True)
             for name in (*LEVELS, "regret")]  # fmt: skip
    differ = both[~np.logical_and.reduce(alike) | (both["_merge"] != "both")]
    if len(differ):
        r = differ.iloc[0]
        what = "value" if r["asked"] != DECISION else "regret"
        raise NoAnswer(
            f"{len(differ)} of {len(both)} forecasts differ from the stored board, the first {_words(r['asked'])} of "
            f"{r['study']}, {r['quality']}, {r['label']}: {r[what]:.5g} stored, {r[what + '_again']:.5g} now. If that "
            "is meant: scalinglaws backtest --rivals all --write data/board.csv."
        )
    return len(both)
