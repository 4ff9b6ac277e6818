"""Series of published measurements along one axis, and the groups of studies that share models or authors.

A series is quality against one of size, steps or training length with every other setting equal. Backtests hide its
last values; the prior is learned from all series of the other groups.
"""

from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import pandas as pd

from scalinglaws import measurements, schema, studies
from scalinglaws.schema import InputError

# columns that stand for the axis, in order of preference; the others that follow it are not settings of a series
AXES = {
    "size": ("flops_per_forward", "gflops_per_forward", "params", "non_vocab_parameters", "depth"),
    "steps": ("steps", "nfe", "ar_steps"),
    "training": ("train_images", "train_steps", "epochs", "tokens", "train_flops"),
}
FOLLOWS = {
    "size": ("flops_per_forward", "gflops_per_forward", "macs_per_forward", "params", "params_no_embed", "depth",
             "base_channels", "rel_cost", "model", "weights", "params_provenance", "train_flops", "path_length",
             "batch_size"),
    "steps": ("steps", "nfe"),
    "training": ("train_flops", "train_images", "train_steps", "epochs", "weights", "batch_size"),
}  # fmt: skip
# settings that a study chose anew for each size: kept out of the key where each model has one value
TUNED = ("ema_std", "gnet", "epochs", "train_steps", "train_images", "batch_size", "guidance", "nfe", "diff_steps")
IDENTITY = ("weights", "base_channels", "params", "flops_per_forward", "macs_per_forward", "batch_size", "nfe")
UNRELATED = (
    "note",
    "unknown",
    "source",
    "provenance",
    "study",
    "versions",
    "device",
    "threads",
    "dtype",
    "sampling_batch",
    "seed",
)

# {table that the catalogue of studies does not list: its group of relatives}
RELATIVES = {"tiny-t2i-2000": "tiny-ldm", "epoch-chinchilla": "chinchilla", "kyotakano": "chinchilla"}
# headings under which a study lists different architectures or designs: no curve
MIXED = {("dico", "final, CFG"), ("dico", "512"), ("udit", "cfg 1.5 at 400K"), ("udit", "toy T size"),
         ("udit", "512 at 400K"), ("udit", "U-ViT at DiT 400K setting"), ("dit", "DiT-XL/2 block design"),
         ("fewstep", "DMF L/2 ablation"), ("fewstep", "multi-step reference")}  # fmt: skip
# path_length: no quality; clip_rel_drop_pct: less than the same model's own value at 50 steps, 0 there by definition
NO_QUALITY = ("path_length", "clip_rel_drop_pct")
HEADLINES = ("fd", "fd_effnet_lite0", "kd", "agreement")  # the qualities taken of the tables of tiny-t2i
SOLVERS_AS_LABELS = ("diff-solvers", "dpm-solver")  # studies whose series are named by their solver
STOCHASTIC_ETA = {"1.0": "ddpm", "sigma-hat": "sigma-hat"}  # study ddim: its label, the solver
UNLEARNED = ("tiny-t2i",)  # studies, by their first letters, that the prior is not learned from
NOT_ASKED = (  # few rows, made of models that other tables hold, or one recipe from several seeds
    "tiny-t2i-seeds", "tiny-t2i-super-resolution", "tiny-t2i-students", "tiny-t2i-5120", "tiny-t2i-held",
    "tiny-t2i-held-training", "tiny-t2i-interval", "tiny-t2i-subject", "tiny-ldm-diffusion-time",
    "tiny-series", "tiny-ldm-strides", "tiny-t2i-strides",
)  # fmt: skip
TUNED_RANGE = 5  # a training length that differs by more between sizes is a second axis
RISES = ("is", "clip", "geneval", "precision", "recall", "agreement", "psnr", "ssim")
SHARES = ("geneval", "precision", "recall", "agreement")  # from 0 to 1, higher is better


@dataclass(frozen=True)
class Series:
    """One curve: x and y [row], sorted by x; se [row] the part of y's standard errors that rows do not share, NaN where
    none is known. siblings: the study's other curves of the same quality along the same axis.
    """

    study: str
    kind: str  # size, steps or training
    quality: str
    column: str  # of x
    label: str
    x: np.ndarray
    y: np.ndarray
    se: np.ndarray
    settings: dict = field(default_factory=dict)
    asked: str = ""  # the kind of question, where it is not `kind`: best guidance, its value
    siblings: tuple["Series", ...] = field(default=(), repr=False, compare=False)

    @property
    def group(self) -> str:
        return group_of(self.study)

    @property
    def solver(self) -> str:
        """What is known of the solver, as one text."""
        label = {part.strip() for part in self.label.split(",")}
        from_eta = next((v for k, v in STOCHASTIC_ETA.items() if self.study == "ddim" and k in label), "")
        named = self.label if self.study in SOLVERS_AS_LABELS else ""
        return f"{self.settings.get('sampler', '')} {named} {from_eta}"

    def __len__(self):
        return len(self.x)

    def first(self, count: int) -> "Series":
        """The series of its `count` smallest x; of its siblings too only what lies within them."""
        within = [int(np.searchsorted(s.x, self.x[count - 1], "right")) for s in self.siblings]
        siblings = tuple(s.first(n) for s, n in zip(self.siblings, within, strict=True) if n >= 2)
        return replace(self, x=self.x[:count], y=self.y[:count], se=self.se[:count], siblings=siblings)


def group_of(study: str) -> str:
    """The group of studies that share models, baselines or authors with a study; its own name where none does."""
    return studies.known().get(study, {}).get("relatives", RELATIVES.get(study, study))


def rises(quality: str) -> bool:
    """Whether a quality rises as it gets better."""
    return schema.higher_is_better(quality) or quality.split("_")[0] in RISES


def qualities(table: pd.DataFrame) -> list[str]:
    """Quality columns of a table that are neither halves nor extrapolations of another, nor NO_QUALITY."""
    known = [c for c in schema.names("quality") if c in table] + [c for c in ("loss",) if c in table]
    ends = ("_even", "_odd", "_half1", "_half2", "_inf")
    return [c for c in known if not c.endswith(ends) and c not in NO_QUALITY and table[c].notna().sum() >= 3]


def own_error(rows: pd.DataFrame, quality: str) -> np.ndarray:
    """Standard errors of a curve's rows [row] that are not shared by all of them; NaN where none is known.

    Rows of one seed draw the same noise for sample i, so what chance makes of it is nearly the same in all of them: an
    error of the curve's level, not of its shape (common random numbers).
    """
    name = f"{quality}_se"
    shared = "seed" in rows and rows["seed"].nunique(dropna=False) == 1 and rows["seed"].notna().all()
    if name not in rows or shared:
        return np.full(len(rows), np.nan)
    return schema.numbers(rows[name]).to_numpy(float)


def one_row_each(table: pd.DataFrame, quality: str, column: str) -> tuple[pd.DataFrame, np.ndarray]:
    """(one row each x, rising, repeats averaged geometrically; standard errors [row], NaN where none is known).

    The error of a mean is that of one repeat, by the scatter of all repeats or by their standard errors, whichever is
    larger, over the square root of their number.
    """
    if not table[column].duplicated().any():
        rows = table.iloc[np.argsort(table[column].to_numpy(float))]
        return rows, own_error(rows, quality)
    held, y, x = f"{quality}_se", table[quality].astype(float), table[column]
    error = schema.numbers(table[held]) if held in table else pd.Series(np.nan, table.index)
    with np.errstate(all="ignore"):  # a quality of 0 or below has no logarithm, and its x no mean
        ln = np.log(y)
    same, logs, relative = table.groupby(column), ln.groupby(x), ((error / y) ** 2).groupby(x)
    between = np.sqrt(((ln - logs.transform("mean")) ** 2).sum() / (len(table) - len(same)))  # of all repeats, pooled
    rows = same.first().reset_index().assign(**{quality: np.exp(logs.mean().to_numpy())})
    spread = np.fmax(between, np.sqrt(relative.mean().to_numpy())) / np.sqrt(same.size().to_numpy())
    return rows, rows[quality].to_numpy() * spread


def from_table(table: pd.DataFrame, study: str = "table", least: int = 3, kinds=tuple(AXES)) -> list[Series]:
    """All series of a table with at least `least` different values along an axis.

    Rows that differ in nothing that the schema knows but a seed, a device or a note are repeats: see `one_row_each`.
    """
    found = []
    if "family" in table:
        mixed = [(study, family) in MIXED or "block design" in str(family) for family in table["family"]]
        table = table[~np.array(mixed)]
    for quality in qualities(table):
        rows = table[table[quality].notna()]
        for kind in kinds:
            found += _along(rows, study, kind, quality, least)
    return found


def questions(table: pd.DataFrame, study: str = "table", least: int = 3) -> list[Series]:
    """All that the board asks of a table: its series along each axis, and those of the best guidance; a curve that
    stands in the table twice (a strength printed once for several qualities) is asked once.
    """
    found = {}
    for one in from_table(table, study, least) + best_guidance(table, study, least):
        found.setdefault((one.kind, one.quality, *one.x, *one.y), one)
    return list(found.values())


def published(least: int = 3) -> list[Series]:
    """Series of all bundled studies, and of the bundled measurements that are no study of their own.

    A study that repeats another's series (the baselines of later papers) gives it once.
    """
    tables = {name: studies.load(name) for name in studies.names()}
    for path in sorted(path for home in studies.HOMES for path in (home / "measurements").glob("*.csv")):
        if path.stem not in tables:
            tables[path.stem] = measurements.read(path)
    tables = {name: table for name, table in tables.items() if name not in NOT_ASKED}
    for name, table in tables.items():
        if name.startswith(UNLEARNED):  # many columns of one table would outweigh all other studies
            tables[name] = table.drop(columns=[c for c in qualities(table) if c not in HEADLINES])
    return _distinct(list(chain(*(questions(table, name, least) for name, table in tables.items()))))


def learned(least: int = 3) -> list[Series]:
    """The series that the prior is learned from: without those over guidance, which repeat rows of others."""
    return [one for one in published(least) if not one.asked and not one.study.startswith(UNLEARNED)]


def best_guidance(table: pd.DataFrame, study: str = "table", least: int = 3) -> list[Series]:
    """Series of the best quality over guidance, where two strengths or more were measured, and of the best strength,
    where three or more were measured or the study printed one for each model.

    The best strength is that of the parabola in ln(guidance) through the best row and its neighbours, and the best
    row's own at the end of the range.
    """
    if "guidance" not in table:
        return []
    found = []
    for quality in qualities(table):
        rows = table[table[quality].notna() & table["guidance"].notna()]
        strengths = _along(rows, study, "size", "guidance", least)  # one printed for each model
        best, swept = _best_rows(rows, quality)
        for kind in AXES:
            found += [replace(one, asked="best guidance") for one in _along(best, study, kind, quality, least)]
            strengths += _along(swept, study, kind, "guidance", least)
        found += [replace(one, asked="guidance strength", label=f"{one.label} (by {quality})") for one in strengths]
    return found


def _best_rows(rows, quality):
    """(the best row of every setting measured at two guidance strengths or more, without its strength; of those
    measured at three or more, with the strength of the parabola's optimum).
    """
    keys = [c for c in measurements.settings(rows, schema.names("quality")) if c in schema.COLUMNS]
    keys = [c for c in keys if c not in UNRELATED and schema.COLUMNS[c].kind != "guidance" and c != "nfe"]
    best, swept = [], []
    for _, part in rows.groupby(keys, dropna=False, sort=False) if keys else [("", rows)]:
        part = part.drop_duplicates("guidance").sort_values("guidance")
        if len(part) < 2:
            continue
        y = part[quality].to_numpy(float) * (-1 if rises(quality) else 1)
        k = int(y.argmin())
        row = part.iloc[k]
        if "steps" in part:
            row = row.drop("nfe", errors="ignore")  # guidance may double the evaluations
        best.append(row.drop([c for c in part if c in schema.COLUMNS and schema.COLUMNS[c].kind == "guidance"]))
        if len(part) > 2:
            swept.append(row.copy())
            if 0 < k < len(part) - 1 and (part["guidance"] > 0).all():
                curve = np.polyfit(np.log(part["guidance"].iloc[k - 1 : k + 2]), y[k - 1 : k + 2], 2)
                swept[-1]["guidance"] = np.exp(-curve[1] / (2 * curve[0]))
    return pd.DataFrame(best), pd.DataFrame(swept)


def _along(rows, study, kind, quality, least):
    column = next((c for c in AXES[kind] if c in rows and rows[c].notna().any() and rows[c].nunique() > 1), None)
    if column is None:
        return []
    alternatives = [c for c in AXES[kind] if c in rows]
    along = (column, *FOLLOWS[kind], *UNRELATED)
    keys = [c for c in measurements.settings(rows, schema.names("quality")) if c not in along]
    keys = [c for c in keys if c in schema.COLUMNS and c != quality and rows[c].nunique(dropna=False) > 1]
    if kind == "size" and "model" in rows:
        keys = [c for c in keys if c not in TUNED or not _one_per_model(rows, c)]
    found = []
    for values, part in _groups(rows, keys):
        # the preferred column that is complete within this group
        full = [c for c in alternatives if part[c].notna().all() and part[c].nunique() >= least]
        if full:
            found += _series(part, study, kind, quality, full[0], values, least)
    return [replace(one, siblings=tuple(s for s in found if s is not one and s.column == one.column)) for one in found]


def _one_per_model(rows, column):
    family = rows["family"] if "family" in rows else pd.Series("", rows.index)
    if rows.groupby([family, rows["model"]], dropna=False)[column].nunique(dropna=False).max() > 1:
        return False
    if column not in ("train_steps", "train_images"):
        return True
    held = rows.groupby(family, dropna=False)[column]
    return bool((held.max() <= TUNED_RANGE * held.min()).all())


def _groups(rows, keys):
    if not keys:
        return [({}, rows)]
    parts = rows.groupby(keys, dropna=False, sort=False)
    return [(dict(zip(keys, v if isinstance(v, tuple) else (v,), strict=True)), part) for v, part in parts]


def _series(part, study, kind, quality, column, values, least):
    if quality == "guidance" and part[column].duplicated().any():
        return []  # strengths that were tried, none of them chosen
    part, se = one_row_each(part, quality, column)
    x, y = part[column].to_numpy(float), part[quality].to_numpy(float)
    good = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    if good.sum() < least or np.ptp(y[good]) == 0:
        return []
    named = {c: v for c, v in values.items() if c not in IDENTITY and not pd.isna(v)}
    label = ", ".join(dict.fromkeys(str(v) for v in named.values())) or study
    settings = {c: part[c].iloc[0] for c in ("sampler", "guidance", "family", "model") if c in part}
    if "params" in part and part["params"].nunique() == 1:
        settings["params"] = float(part["params"].iloc[0])
    along = next(
        (c for c in ("steps", "nfe", "train_images", "train_steps") if c in values and not pd.isna(values[c])), None
    )
    if kind == "size" and along:  # a slice of a surface, see `surfaces`
        rest = {c: v for c, v in values.items() if c not in FOLLOWS["steps"] + FOLLOWS["training"]}
        length = {c: v for c, v in values.items() if c in FOLLOWS["training"] and along in FOLLOWS["steps"]}
        settings |= {"_along": along, "_at": float(values[along]), "_rest": _words(rest), "_length": _words(length)}
    return [Series(study, kind, quality, column, label, x[good], y[good], se[good], settings)]


def _words(values):
    """The known ones of {column: value}: text as it is, numbers with their column."""
    known = {c: v for c, v in values.items() if not pd.isna(v)}
    return ", ".join(v if isinstance(v, str) else f"{c}={v:g}" for c, v in known.items())


def _distinct(found):
    """Without series that another study has, x and y to 1 %: reprinted baselines would count several times."""
    kept, alike = [], {}
    for one in found:
        same, rows = alike.setdefault((one.kind, one.quality, one.column, len(one)), []), np.log([one.x, one.y])
        others = [seen for study, seen in same if study != one.study]
        if not others or not np.isclose(others, rows, atol=0.01).all((1, 2)).any():
            same.append((one.study, rows))
            kept.append(one)
    return kept


def hidden_largest(series: Series) -> tuple[Series, float, float]:
    """(the series without its largest x, that x, the measured y)."""
    if len(series) < 2:
        raise InputError(f"The series {series.label!r} has {len(series)} row: nothing to hide.")
    return series.first(len(series) - 1), float(series.x[-1]), float(series.y[-1])
