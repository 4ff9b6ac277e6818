"""The board: every series of the bundled studies, its last values hidden, forecast by us and by rivals on the same
rows.

    board = backtest()                 one row a question and a method
    print(summary(board))              medians, coverage, interval scores beside the rivals

Our forecasts use a prior that has not seen the study at hand or its relatives. Nothing is chosen per study.
"""

import argparse
import hashlib
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import measurements
from scalinglaws.forecasting import page, rivals, series
from scalinglaws.forecasting.forecast import of_series
from scalinglaws.schema import InputError

OURS = "forecast"
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
DISTANCES = ("fid", "fd", "fd_dinov2")  # the qualities most studies print
LANGUAGE = (  # file, columns renamed, quality, settings of a series
    ("epoch_chinchilla_svg_extracted_data.csv", {"Model Size": "params", "Training FLOP": "train_flops"}),
    ("kyotakano_chinchilla_llm_df.csv", {"N": "params", "C": "train_flops"}),
    ("mlfoundations_scaling_models.csv", {"loss_shard-{0000000..0000010}.tar": "loss", "dataset": "family"}),
    ("revisiting_nsl_benchmark_nmt.csv", {"Loss": "loss", "Seen Examples": "train_images", "Model": "model"}),
    ("bnsl_4digit_addition.csv", {"test_loss": "loss", "dataset_size": "train_images"}),
)


def language(folder="../shared/data/language") -> tuple[list, list]:
    """(series, sentences of what was skipped) of the language sets, which are not shipped."""
    found, skipped = [], []
    for name, renamed in LANGUAGE:
        path = Path(folder) / name
        if not path.exists():
            skipped.append(f"{name}: not in {folder}, skipped.")
            continue
        table = pd.read_csv(path).rename(columns=renamed)
        found += _language(name.split("_")[0], table)
    return found, skipped


def _language(study, table):
    if study in ("bnsl", "revisiting"):
        return series.from_table(table.assign(family=study), study, 3, ("training",))
    if study == "mlfoundations":
        rows = table.assign(model=table["params"].astype(str), epochs=table["multiplier"])
        by_length = [series.from_table(part.drop(columns=["params_no_embed", "tokens"]), study, 3, ("size",))
                     for _, part in rows.groupby(["family", "multiplier"])]  # fmt: skip
        by_size = [series.from_table(part[["family", "tokens", "loss"]], study, 3, ("training",))
                   for _, part in rows.groupby(["family", "params"])]  # fmt: skip
        return list(chain(*by_length, *by_size))
    # sizes and training compute in bins: rows of one size within 3 %, loss against its training compute
    key = (np.log(table["params"]) / 0.03).round()
    parts = [part for _, part in table.groupby(key) if len(part) >= 4]
    name = f"{study}-chinchilla" if study == "epoch" else study
    return list(chain(*(series.from_table(p[["train_flops", "loss"]], name, 4, ("training",)) for p in parts)))


def user(source, study="table") -> list[series.Series]:
    """Series of a user's table."""
    return series.from_table(measurements.read(source), study)


def backtest(found=None, methods=None, least: int = 2, prior_from: str = "others") -> pd.DataFrame:
    """Each series' largest x hidden: one row a series and method.

    found: series (default: all bundled); methods: names in rivals.RIVALS besides ours; least: rows that must be seen.
    Columns: question, study, group, kind, quality, label, seen, x, truth, method, value, q05, q25, q75, q95, error
    (relative), in90, in50, interval_score (90 %, of ln y), crps (of ln y), refused (why a method gave nothing).
    """
    found = series.published() if found is None else found
    methods = tuple(rivals.RIVALS) if methods is None else tuple(methods)
    rows = []
    for number, one in enumerate(found):
        if len(one) <= least:
            continue
        seen, new, truth = series.hidden_largest(one)
        about = {"question": number, "study": one.study, "group": one.group, "kind": one.kind, "quality": one.quality,
                 "label": one.label, "seen": len(seen), "x": new, "truth": truth}  # fmt: skip
        rows.append(about | {"method": OURS} | _ours(seen, new, one))
        rows += [about | {"method": name} | _rival(name, seen, new) for name in methods]
    return _scored(pd.DataFrame(rows))


def _ours(seen, new, one):
    answer = of_series(seen, [new], leave_out=one.group)
    relative = np.nan_to_num(one.se[-1] / one.y[-1])
    found = answer.quantiles(LEVELS, of="new_model" if one.kind == "size" else "owned", cell_error=relative)[0]
    return dict(zip(("q05", "q25", "value", "q75", "q95"), found, strict=True)) | {"refused": ""}


def _rival(name, seen, new):
    rng = np.random.default_rng(int(hashlib.sha256(f"{seen.study}{seen.label}".encode()).hexdigest()[:8], 16))
    try:
        value, draws = rivals.RIVALS[name](seen.x, seen.y, new, rng)
    except InputError as refusal:
        return {"value": np.nan, "refused": str(refusal)}
    row = {"value": value, "refused": ""}
    if draws is not None:
        limits = draws if len(draws) == 4 else np.quantile(draws, [0.05, 0.25, 0.75, 0.95])
        row |= dict(zip(("q05", "q25", "q75", "q95"), limits, strict=True))
    return row


def _scored(board):
    """Errors and scores; intervals are scored in ln y, so that studies weigh alike."""
    with np.errstate(divide="ignore", invalid="ignore"):
        truth, tiny = np.log(board["truth"]), 1e-6
        logs = {q: np.log(board[q].clip(lower=board["truth"] * tiny)) for q in ("q05", "q25", "value", "q75", "q95")}
    board["error"] = (board["value"] / board["truth"] - 1).abs()
    has = board["q05"].notna()
    for name, low, high in (("in90", "q05", "q95"), ("in50", "q25", "q75")):
        inside = (board[low] <= board["truth"]) & (board["truth"] <= board[high])
        board[name] = inside.astype(float).where(has)
    miss = (logs["q05"] - truth).clip(lower=0) + (truth - logs["q95"]).clip(lower=0)
    board["interval_score"] = logs["q95"] - logs["q05"] + 2 / 0.1 * miss
    pinball = [np.maximum(p * (truth - logs[q]), (p - 1) * (truth - logs[q]))
               for p, q in zip(LEVELS, ("q05", "q25", "value", "q75", "q95"), strict=True)]  # fmt: skip
    board["crps"] = 2 * sum(w * p for w, p in zip((0.15, 0.225, 0.25, 0.225, 0.15), pinball, strict=True))
    return board


def compare(board: pd.DataFrame, keep=None) -> pd.DataFrame:
    """Ours beside each rival on the rows that rival answered. One row a rival.

    Columns: rows, ours and theirs (median error), mean, worst, interval score and coverage where the rival has one.
    """
    board = board if keep is None else board[keep(board)]
    own = board[board["method"] == OURS].set_index("question")
    result = []
    for name, theirs in board[board["method"] != OURS].groupby("method", sort=False):
        theirs = theirs[theirs["value"].notna()].set_index("question")
        ours = own.loc[theirs.index]
        both = theirs["q05"].notna()
        result.append({
            "rival": name, "rows": len(theirs), "ours": ours["error"].median(), "theirs": theirs["error"].median(),
            "ours_mean": ours["error"].mean(), "theirs_mean": theirs["error"].mean(),
            "ours_worst": ours["error"].max(), "theirs_worst": theirs["error"].max(),
            "better": float((ours["error"] < theirs["error"]).mean()),
            "score_rows": int(both.sum()), "ours_score": ours.loc[both, "interval_score"].mean(),
            "theirs_score": theirs.loc[both, "interval_score"].mean(), "theirs_in90": theirs["in90"].mean(),
        })  # fmt: skip
    return pd.DataFrame(result)


def summary(board: pd.DataFrame, distances_only: bool = False) -> str:
    """The board as text: for each kind of question our errors and coverage, then each rival on the rows it answered."""
    if distances_only:
        board = board[board["quality"].isin(DISTANCES)]
    lines = []
    for kind, part in board.groupby("kind", sort=False):
        for words, low, high in (("3 values (2 seen)", 2, 2), ("4 or more", 3, 99), ("5 or more", 4, 99)):
            rows = part[part["seen"].between(low, high)]
            own = rows[rows["method"] == OURS]
            if own.empty:
                continue
            lines.append(
                f"next {kind}, {words}: {len(own)} series; median error {own['error'].median():.2%}, mean "
                f"{own['error'].mean():.1%}, worst {own['error'].max():.0%}; "
                f"90 % intervals hold {own['in90'].mean():.0%}, "
                f"50 % {own['in50'].mean():.0%}; interval score {own['interval_score'].mean():.3f}, "
                f"crps {own['crps'].mean():.4f}"
            )
            for r in compare(rows).itertuples():
                scored = f"; interval score {r.ours_score:.3f} against {r.theirs_score:.3f}" if r.score_rows else ""
                lines.append(f"    {r.rival:20s} {r.rows:4d} rows: {r.ours:7.2%} against {r.theirs:7.2%}{scored}")
    return "\n".join(lines)


def main(words=None):
    """python -m scalinglaws.backtest [--page FILE] [--rivals NAME,...] [TABLE ...]: run the board and print it."""
    parser = argparse.ArgumentParser(prog="scalinglaws backtest", description=main.__doc__)
    parser.add_argument("tables", nargs="*", help="csv or parquet files of your own, besides the bundled studies")
    parser.add_argument("--page", help="write every series, drawn, to this HTML file")
    parser.add_argument("--language", default="../shared/data/language", help="folder of the language sets")
    parser.add_argument("--rivals", default="last,power,floor,floor_raw", help=f"of {', '.join(rivals.RIVALS)}")
    options = parser.parse_args(words)
    unknown = [name for name in options.rivals.split(",") if name not in rivals.RIVALS]
    if unknown:
        raise InputError(f"No rival named {unknown[0]!r}. Known: {', '.join(rivals.RIVALS)}.")
    others, skipped = language(options.language)
    found = series.published() + others + [one for path in options.tables for one in user(path, Path(path).stem)]
    board = backtest(found, options.rivals.split(","))
    text = summary(board)
    print("\n".join([text, *skipped]))
    if options.page:
        page.write(options.page, board, found, text)


if __name__ == "__main__":
    main()
