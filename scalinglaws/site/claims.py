"""The six claims of Mei et al. 2024 (arXiv 2404.01367, section 1.1) on the tables measured here, computed from them.

    python -m scalinglaws.site.claims data/claims.csv

Claims 3 to 6 are about one number: the share of the budgets (in logs, of those that can run the largest size) at which
a smaller size is the best, counted as in the paper. A claim holds or does not where its 90 % interval says so and is
undecided otherwise; `detectable` is the least effect, or difference from one half, seen with probability 80 %. The
share is of the sizes, of which each training is one draw; between samplers of the same models, of these models.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglaws import measurements, studies
from scalinglaws.decide.accounting import which_size
from scalinglaws.decide.power import effect, jackknife
from scalinglaws.decide.rows import commonest, need, size_column
from scalinglaws.decide.samplers import shared_guidance
from scalinglaws.decide.training_trend import training_trend
from scalinglaws.schema import InputError
from scalinglaws.site.index import UNMEASURED, VERDICTS

TEXTS = (
    "1 Pretraining quality scales with training compute",
    "2 Downstream quality scales with size, and fine-tuning longer does not make up for it",
    "3 Small models sample more efficiently; large ones overtake as the budget grows",
    "4 The sampler does not change that",
    "5 It carries to downstream tasks up to 20 steps and reverses above",
    "6 Distillation does not change the trend",
)
STUDIES = (  # study, qualities
    ("tiny-ldm", ("fd",)),
    ("tiny-t2i", ("fd", "fd_effnet_lite0")),
)
PARTS = {  # of the study's tables, the first that has the quality; seeds: several trainings of each size
    1: ("-training",), 2: ("-super-resolution",), 3: ("-seeds", ""), 4: ("",), 5: ("-super-resolution",),
    6: ("-students",),
}  # fmt: skip
FEW = 20  # steps, of claim 5
LEVEL = 0.9
HALF = 0.5  # of the budgets: what "small is more efficient" means
HOLDS, FAILS, OPEN = VERDICTS


def scoreboard(folder=None) -> pd.DataFrame:
    """One row per claim, study and quality: these, verdict, measure, value, interval, detectable, table.

    folder: of the tables (default: the bundled measurements). A table that is missing, or does not hold what a claim
    needs, leaves the claim undecided, with the reason as `measure`.
    """
    folder = _folder() if folder is None else Path(folder)
    rows = [_row(number, study, quality, folder)
            for number in PARTS for study, qualities in STUDIES if (folder / f"{study}.csv").exists()
            for quality in qualities]  # fmt: skip
    return pd.DataFrame(rows)


def write(path) -> Path:
    """Write the scoreboard as a csv that `index.read_claims` takes."""
    Path(path).write_text(scoreboard().to_csv(index=False), encoding="utf-8")
    return Path(path)


def _folder():
    return next(home / "measurements" for home in studies.HOMES if (home / "measurements").exists())


def _row(number, study, quality, folder):
    paths = [folder / f"{study}{part}.csv" for part in PARTS[number]]
    there, path = [p for p in paths if p.exists()], paths[-1]
    try:
        if not there:
            raise InputError(f"{UNMEASURED}: there is no table {path.name}")
        for path in there:
            table = measurements.read(path)
            if quality in table:
                break
        else:
            raise InputError(f"{UNMEASURED}: {path.name} has no column {quality}")
        verdict, measure, value, low, high, detectable = RULES[number](table, quality)
        numbers = {"value": f"{value:.3g}", "interval": f"{low:.3g} to {high:.3g}", "detectable": f"{detectable:.2g}",
                   "table": f"{path.name} {measurements.fingerprint(table)}"}  # fmt: skip
    except InputError as reason:
        verdict, measure = OPEN, str(reason)
        numbers = {"value": "", "interval": "", "detectable": "", "table": path.name if path.exists() else ""}
    return {"claim": TEXTS[number - 1], "study": study, "quality": quality, "verdict": verdict,
            "measure": measure} | numbers  # fmt: skip


def _pretraining(table, quality):
    """Claim 1: the exponent of quality in training compute, all sizes together."""
    slope = training_trend(table, quality, level=LEVEL).slope
    verdict = HOLDS if slope.high < 0 else FAILS if slope.low > 0 else OPEN
    return verdict, f"d ln {quality} / d ln training FLOPs", slope.value, slope.low, slope.high, slope.detectable


def _downstream(table, quality):
    """Claim 2: the exponent of size at equal fine-tuning compute, by least squares in logs."""
    table = _one(_kept(table, "variant", "fine-tuned"), "steps")
    need(table, [quality, "params", "train_flops"])
    if table["train_flops"].nunique() < 2 or table["params"].nunique() < 4:
        raise InputError("four sizes at two lengths of fine-tuning are needed")

    def exponent(rows):
        x = np.log(rows[["params", "train_flops"]].to_numpy(float))
        x = np.column_stack([np.ones(len(x)), x])
        return [np.linalg.lstsq(x, np.log(rows[quality].to_numpy(float)), rcond=None)[0][1]]

    (size,) = jackknife(exponent, table, by="params", level=LEVEL)  # snapshots have labels of their own
    verdict = HOLDS if size.high < 0 else FAILS if size.low > 0 else OPEN
    measure = f"d ln {quality} / d ln params at equal fine-tuning FLOPs"
    return verdict, measure, size.value, size.low, size.high, size.detectable


def _efficiency(table, quality):
    """Claim 3: smaller is best at most budgets, and the best size grows with the budget."""
    table = _one(table, "train_steps")
    share = _share(table, quality)
    grows = share.grows >= LEVEL
    verdict = HOLDS if share.low > HALF and grows else FAILS if share.high < HALF else OPEN
    trained = table.groupby(size_column(table, None))["train_seed"].nunique().max() if "train_seed" in table else 1
    words = f"the best grows: {share.grows:.0%}" + (f"; up to {trained} trainings of a size" if trained > 1 else "")
    measure = f"share of budgets at which a smaller size is best ({words})"
    return verdict, measure, share.smaller, share.low, share.high, _detectable(share)


def _samplers(table, quality):
    """Claim 4: the share by sampler, at the steps and the guidance that most of them were measured at."""
    need(table, ["sampler"])
    table = _one(table, "train_steps")
    if (weight := shared_guidance(table)) is not None:
        table = table[table["guidance"] == weight]
    if table["sampler"].nunique() < 2:
        raise InputError(f"{UNMEASURED}: one sampler alone, {table['sampler'].iloc[0]}")
    common = set.intersection(*(set(rows["steps"]) for _, rows in table.groupby("sampler")))
    kept = table[table["steps"].isin(common)]
    shares = {name: _share(rows, quality, of="owned") for name, rows in kept.groupby("sampler")}
    return _same(shares, f"difference of that share between samplers at {len(common)} common step counts")


def _reversal(table, quality):
    """Claim 5: up to 20 steps the share is above one half, above 20 steps below it."""
    table = _one(_kept(table, "variant", "fine-tuned"), "train_steps")
    few, many = (_share(rows, quality) for rows in (table[table["steps"] <= FEW], table[table["steps"] > FEW]))
    holds, fails = few.low > HALF and many.high < HALF, few.high < HALF or many.low > HALF
    verdict = HOLDS if holds else FAILS if fails else OPEN
    measure = f"that share above {FEW} steps; up to {FEW}: {few.smaller:.2g} ({few.low:.2g} to {few.high:.2g})"
    return verdict, measure, many.smaller, many.low, many.high, _detectable(many)


def _distillation(table, quality):
    """Claim 6: the share of each kind of student and of their teachers."""
    need(table, ["variant"])
    variants = table["variant"].fillna("undistilled")
    if variants.nunique() < 2:
        raise InputError("students and their teachers are needed")
    shares = {name: _share(_one(rows, "train_steps"), quality) for name, rows in table.groupby(variants)}
    return _same(shares, f"difference of that share between {', '.join(map(str, shares))}")


RULES = {1: _pretraining, 2: _downstream, 3: _efficiency, 4: _samplers, 5: _reversal, 6: _distillation}


def _share(table, quality, of="curve"):
    """The first account, as the paper counts: smaller, low, high, grows."""
    return next(which_size(table, quality, of=of, level=LEVEL, served=()).accounts.itertuples())


def _same(shares, measure):
    """Whether settings agree on which side of one half the share lies: the verdict and the largest difference."""
    above, below = ([s.low > HALF for s in shares.values()], [s.high < HALF for s in shares.values()])
    verdict = HOLDS if all(above) or all(below) else FAILS if any(above) and any(below) else OPEN
    ordered = sorted(shares.values(), key=lambda s: s.smaller)
    one, two = ordered[0], ordered[-1]
    value = two.smaller - one.smaller
    low, high = max(two.low - one.high, -1.0), min(two.high - one.low, 1.0)
    each = "; ".join(f"{name} {s.smaller:.2g} ({s.low:.2g} to {s.high:.2g})" for name, s in shares.items())
    return verdict, f"{measure}: {each}", value, low, high, float(np.hypot(_detectable(one), _detectable(two)))


def _detectable(share):
    """The least difference that would have been seen, taking half of the interval's width for normal errors."""
    from scipy.stats import norm

    error = (share.high - share.low) / 2 / norm.ppf((1 + LEVEL) / 2)
    return effect(share.smaller, error, np.inf, LEVEL).detectable


def _kept(table, column, value):
    """Rows of a value, where there are any."""
    return table[table[column] == value] if column in table and (table[column] == value).any() else table


def _one(table, column):
    """Rows of the value that most rows have; all of them where there is one value alone."""
    return commonest(table, [column])[0]


if __name__ == "__main__":
    print(write(sys.argv[1] if len(sys.argv) > 1 else "data/claims.csv"))
