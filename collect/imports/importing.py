"""Other tools' runs into the schema: names given by the user first, then the obvious ones, the rest kept as they are.

A name becomes a column of ours when it is one already (in any case), or by the table below; a quality may stand behind
a path, as in eval/fid. Nothing is dropped and no number is converted: MACs stay MACs, percent stays percent.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from collect.imports.readers import PREFIXES, read_runs
from collect.writing import whole
from scalinglaws import schema
from scalinglaws.schema import InputError

SYNONYMS = {  # ours: theirs, in lower case with underscores; only names that mean nothing else in this field
    "params":               "num_params n_params num_parameters n_parameters param_count total_params",
    "model":                "model_name model_id",
    "steps":                "num_inference_steps num_sampling_steps sampling_steps n_sampling_steps inference_steps",
    "guidance":             "guidance_scale cfg_scale cfg cfg_weight",
    "sampler":              "sampler_name sampling_method",
    "resolution":           "image_size image_resolution",
    "train_steps":          "num_train_steps max_train_steps",
    "n_samples_for_metric": "num_fid_samples fid_samples num_samples_for_fid",
    "device":               "gpu_name device_name",
    "seed":                 "random_seed sampling_seed",
    "dataset":              "dataset_name",
    "throughput_img_s":     "images_per_second images_per_sec",
    "fid":                  "fid_score fid50k fid_50k fid50k_full",
    "kid":                  "kid_score",
    "is":                   "inception_score",
    "clip":                 "clip_score clipscore",
    "fd_dinov2":            "fd_dino fdd",
}  # fmt: skip
OTHERS = {  # parts of a path behind which stands another network than the denoiser, whose size `params` is
    "vae", "vqvae", "autoencoder", "first_stage", "first_stage_model", "text_encoder", "text_encoder_2",
    "image_encoder", "tokenizer", "clip", "t5", "discriminator", "teacher", "feature_extractor", "classifier",
    "reward_model",
}  # fmt: skip
OURS = {theirs: ours for ours, names in SYNONYMS.items() for theirs in names.split()}
NULLS = {"", "none", "null", "nan", "n/a"}
BEHIND_A_PATH = {c.name for c in schema.COLUMNS.values() if c.role in ("quality", "error")}
IDS = ("run_id", "id", "ID", "Name", "name")  # what names a run, best first


@dataclass(frozen=True)
class Imported:
    """Rows of the schema, and what became of each name."""

    table: pd.DataFrame
    named: dict[str, str]  # theirs: ours
    kept: tuple[str, ...]  # names left as they are

    def lines(self):
        """For people: how many rows, what was named, what was kept."""
        yield f"{len(self.table)} rows"
        yield "named: " + (", ".join(f"{a} -> {b}" for a, b in self.named.items()) or "nothing")
        yield "kept as they are: " + (", ".join(self.kept) or "nothing")


def import_runs(source, kind="auto", names=None, constants=None):
    """Imported runs of a file or folder; InputError names what conflicts or is out of range.

    `names` {theirs: ours} decides; theirs may leave out the tool's prefix. `constants` {ours: value} fills columns.
    """
    kind, table = read_runs(source, kind)
    chosen = _chosen(table, kind, names or {})
    named = _named(table, kind, chosen)
    table, joined = _filled(table, kind, named, chosen)
    runs = table.rename(columns=named)
    for name, value in (constants or {}).items():
        if name in runs and runs[name].notna().any():
            raise InputError(f"--set {name}={value}: the runs have {name!r} already; rename theirs with --map first.")
        runs = runs.assign(**{name: value})
    if "source" not in runs:  # the file, and the run's name in it
        file, run = Path(source).name, next((name for name in IDS if name in table), None)
        runs = runs.assign(source=[f"{file}, run {value}" for value in table[run]] if run else file)
    runs = pd.DataFrame({name: _clean(runs[name]) for name in runs})
    if faults := schema.check(runs):
        column = re.match(r"Column '([^']+)'", faults[0])[1]
        theirs = {ours: theirs for theirs, ours in named.items()}.get(column, column)
        hint = f"If {theirs!r} means something else, give it another name: --map {theirs}=NAME."
        raise InputError(f"{faults[0]} {hint}")
    moved = {theirs: ours for theirs, ours in named.items() if theirs != ours} | joined
    return Imported(runs, moved, tuple(n for n in table if n not in named and n not in schema.COLUMNS))


def obvious(name, kind):
    """Our column for one of their names, or None; a setting of another network, as vae.num_params, is none of ours."""
    bare = _bare(name, kind)
    *path, tail = (_plain(part) for part in re.split(r"[./]", bare))
    if (whole := _plain(bare)) in schema.COLUMNS:
        return whole
    if OTHERS & set(path) and tail not in BEHIND_A_PATH and OURS.get(tail) not in BEHIND_A_PATH:
        return None
    return OURS.get(tail) or (tail if tail in BEHIND_A_PATH else None)


def _bare(name, kind):
    prefix = next((p for p in PREFIXES[kind] if name.startswith(p)), "")
    return "" if name.startswith("tags.mlflow.") else name[len(prefix) :]


def _plain(name):
    return re.sub(r"\W+", "_", name).strip("_").lower()


def _chosen(table, kind, names):
    """{column of the table: ours} of what the user decided; InputError for a name that is not there, or is twice."""
    chosen = {}
    for theirs, ours in names.items():
        matches = [theirs] if theirs in table else [c for c in table if _bare(c, kind) == theirs]
        if len(matches) != 1:
            listed = ", ".join(map(repr, matches or table.columns))
            raise InputError(
                f"--map {theirs}={ours}: {'more than one' if matches else 'no'} column is {theirs!r}: {listed}."
            )
        chosen[matches[0]] = ours
    if twice := [ours for ours in chosen.values() if list(chosen.values()).count(ours) > 1]:
        raise InputError(f"--map names the column {twice[0]!r} twice: choose one source for it.")
    return chosen


def _named(table, kind, chosen):
    """{theirs: ours} of the columns that are renamed or are ours already."""
    guessed = {c: obvious(c, kind) for c in table if c not in chosen}
    named = dict(chosen)
    for ours in dict.fromkeys(o for o in guessed.values() if o):
        rivals = sorted((c for c, o in guessed.items() if o == ours), key=lambda c: c != ours)
        if ours not in chosen.values():
            _refuse_different(table, ours, rivals)
            named[rivals[0]] = ours
        elif ours in rivals:
            theirs = next(t for t, o in chosen.items() if o == ours)
            raise InputError(
                f"--map {theirs}={ours} would cover the column {ours!r} that is there: move it, "
                f"--map {ours}={ours}_theirs."
            )
    for theirs, ours in named.items():
        if ours in table and ours != theirs and ours not in named:
            raise InputError(f"--map {theirs}={ours}: the table has a column {ours!r} already; choose another name.")
    return named


def _refuse_different(table, ours, rivals):
    """Several names of one thing are fine while they agree."""
    first = [_comparable(v) for v in table[rivals[0]]]
    for other in rivals[1:]:
        second = [_comparable(v) for v in table[other]]
        for row, (a, b) in enumerate(zip(first, second, strict=True), 1):
            if None not in (a, b) and a != b:
                raise InputError(
                    f"Both {rivals[0]!r} and {other!r} would become {ours!r}, and differ in row {row} "
                    f"({_show(a)} and {_show(b)}): say which with --map {rivals[0]}={ours}, "
                    f"and name the other with --map {other}=NAME."
                )


def _filled(table, kind, named, chosen):
    """(table, {theirs: ours}): values that runs have under another name of a guessed column alone stand in it, too."""
    twins, joined = {c: obvious(c, kind) for c in table if c not in named}, {}
    for first, ours in named.items():
        for other in (c for c, o in twins.items() if o == ours and first not in chosen):
            _refuse_different(table, ours, [first, other])  # a third name may differ from what the second filled
            gaps = [
                _comparable(a) is None and _comparable(b) is not None
                for a, b in zip(table[first], table[other], strict=True)
            ]
            if any(gaps):
                table = table.assign(**{first: table[first].astype(object).mask(gaps, table[other])})
                joined[other] = ours
    return table, joined


def _comparable(value):
    """A number where it is one, else text, None for nothing."""
    if value is None or value != value or str(value).strip().lower() in NULLS:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _show(value):
    return f"{value:g}" if isinstance(value, float) else value


def _clean(column):
    """Numbers where the schema has numbers and all of them can be read; the words for nothing become null."""
    known = schema.COLUMNS.get(column.name)
    if known is None:
        return column
    held = column.map(lambda v: None if _comparable(v) is None else v)
    numbers = pd.to_numeric(held, errors="coerce")
    unread = numbers.isna() & held.notna()
    return held if known.allowed is schema.TEXT or unread.any() else numbers


WRITERS = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".parquet": lambda table, path: _as_columns(table).to_parquet(path, index=False),
}


def _as_columns(table):
    """Columns of mixed values as text: parquet holds one kind per column."""
    mixed = [n for n in table if pd.api.types.infer_dtype(table[n], skipna=True) in ("mixed", "mixed-integer")]
    return table.assign(**{n: table[n].map(lambda v: v if v is None or v != v else str(v)) for n in mixed})


def write(table, out):
    """The table as csv or parquet, whole or not at all."""
    path = Path(out)
    if path.suffix not in WRITERS:
        raise InputError(f"'{out}' ends in '{path.suffix}'; allowed are {' and '.join(WRITERS)}.")
    with whole(path) as part:
        WRITERS[path.suffix](table, part)
