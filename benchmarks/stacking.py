"""compare() as a guide to the next value of a curve: its average and its best law beside fixed choices.

    python -m benchmarks.stacking [--kind steps] [--least 4] [--every 1]

The largest x of every published curve is hidden; `compare` ranks and averages on the rest, and what it names or
averages predicts the hidden value. The prior of `forecast` has seen neither the study nor its relatives.
"""

import argparse
import time

import numpy as np
import pandas as pd

from scalinglaws.fitting import fit
from scalinglaws.forecasting import series
from scalinglaws.forecasting.forecast import of_series
from scalinglaws.schema import InputError
from scalinglaws.validate import compare

SYMBOL = {"size": "N", "steps": "S", "training": "D"}
REPLICATES = 200


def guided(one) -> dict:
    """Relative errors of each way on the hidden row; NaN where it says nothing; and whether intervals hold it."""
    seen, x, truth = series.hidden_largest(one)
    rows = pd.DataFrame({seen.column: seen.x, seen.quality: seen.y, **_errors(seen)})
    new, inputs = pd.DataFrame({seen.column: [x]}), {SYMBOL[one.kind]: seen.column}
    ranking = compare(rows, None, seen.quality, inputs, replicates=REPLICATES, leave_out=one.group)
    average = ranking.predict(new).iloc[0]
    first = ranking.to_frame().iloc[0]
    top = first["law"] if np.isfinite(first["held_out"]) else None
    answer = of_series(seen, [x], one.group)
    low, high = answer.interval(of="new_model" if one.kind == "size" else "owned")[0]
    values = {
        "average": average["value"], "best": _of(ranking, ranking.best, new), "top": _of(ranking, top, new),
        "top law": _of(ranking, _top_law(ranking), new), "power_floor": _floor(rows, seen, inputs, new),
        "forecast": answer.value[0], "last": seen.y[-1],
    }  # fmt: skip
    found = {way: abs(value / truth - 1) for way, value in values.items()}
    return found | {
        "seen": len(seen), "study": one.study, "group": one.group,
        "held by average": average["low"] <= truth <= average["high"], "held by forecast": low <= truth <= high,
        "width of average": np.log(average["high"] / average["low"]), "width of forecast": np.log(high / low),
    }  # fmt: skip


def _errors(seen):
    return {f"{seen.quality}_se": seen.se} if np.isfinite(seen.se).any() else {}


def _of(ranking, name, new):
    return np.nan if name is None else float(ranking.candidates[name].predict(new)["value"].iloc[0])


def _top_law(ranking):
    """The fitted law with the smallest error, as compare named it before naive ways stood beside it."""
    held = ranking.to_frame()
    held = held[held["held_out"].notna() & ~held["law"].isin(["same as last", "forecast"])]
    return held["law"].iloc[0] if len(held) else None


def _floor(rows, seen, inputs, new):
    try:
        law = "ceiling" if series.rises(seen.quality) else "power_floor"
        return float(fit(rows, law, seen.quality, inputs, replicates=REPLICATES).predict(new)["value"].iloc[0])
    except InputError:
        return np.nan


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="steps", choices=list(SYMBOL))
    parser.add_argument("--least", type=int, default=4, help="rows of a curve, the hidden one counted")
    parser.add_argument("--every", type=int, default=1, help="every n-th curve, for a quick look")
    options = parser.parse_args(words)
    start = time.process_time()
    found = [s for s in series.published() if s.kind == options.kind and len(s) >= options.least][:: options.every]
    board = pd.DataFrame([guided(one) for one in found])
    ways = ["average", "best", "top", "top law", "power_floor", "forecast", "last"]
    for words, part in (("all", board), *((f"{n} rows seen", board[board["seen"] == n]) for n in (3, 4, 5)),
                        ("6 or more rows seen", board[board["seen"] > 5])):  # fmt: skip
        if part.empty:
            continue
        print(f"{words}: {len(part)} curves of {part['group'].nunique()} groups")
        for way in ways:
            both = part[part[way].notna() & part["average"].notna()]
            if len(both):
                print(f"    {way:12s} {len(both):4d} curves: median error {both[way].median():7.2%}, mean "
                      f"{both[way].mean():7.1%}; average on them {both['average'].median():7.2%}, forecast "
                      f"{both['forecast'].median():7.2%}")  # fmt: skip
        print(f"    90 % intervals hold {part['held by average'].mean():.0%} (average, median width "
              f"{part['width of average'].median():.3f} of ln y), {part['held by forecast'].mean():.0%} (forecast, "
              f"{part['width of forecast'].median():.3f})")  # fmt: skip
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
