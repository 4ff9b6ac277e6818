"""The usual spellings of columns: `model_size_B`, `num_steps`, `cfg`, `gpu_ms`, `fid50k`, each read as a schema column.

recognise("model_size_B")   Reading: params = 1e9 * model_size_B, "parameters, in billions"
read_columns(table)         the table with its columns called as in the schema, and the readings, to be shown

A column that is called as in the schema is taken as it is; what a user names wins over every spelling here.
"""

import re
import unicodedata
from dataclasses import dataclass, replace

import pandas as pd

from scalinglaws import schema, units
from scalinglaws.csvfile import clean_label
from scalinglaws.schema import InputError
from scalinglaws.units import COUNTS

WORDS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
LETTERS = {1e3: "K", 1e6: "M", 1e9: "B", 1e12: "T"}
SMALLEST = 1e4  # parameters; fewer are no count, but a size in a unit of the column's own
LEADING = {"num", "n", "nr", "no", "number", "of", "count", "the"}  # num_steps, number_of_steps
SECTIONS = {  # first parts of names such as eval/fid and config.sampler.steps that change nothing of the meaning
    "config", "configs", "summary", "eval", "evaluation", "test", "val", "valid", "validation", "metric", "metrics",
    "param", "params", "hparams", "args", "model", "net", "network", "unet", "sampler", "sampling", "inference",
    "generation", "final", "best", "last", "result", "results", "perf", "performance", "profile", "cost", "timing",
}  # fmt: skip
PER_IMAGE = ("perimage", "perimg", "persample", "perpicture", "image", "img", "sample")

# column of the schema: (what it is, kind of unit that may follow, spellings without underscores)
SPELLINGS = {
    "params": ("parameters", "count", "params parameters modelsize modelparams modelparameters paramcount "
               "parametercount totalparams unetparams ditparams size n"),
    "steps": ("sampling steps", "", "steps step stepcount samplingsteps samplesteps inferencesteps denoisingsteps "
              "ddimsteps samplersteps numinferencesteps s"),
    "nfe": ("network evaluations per image", "", "nfe nfes functionevals functionevaluations networkevaluations "
            "networkcalls modelcalls forwardpasses"),
    "train_steps": ("training steps", "count", "trainsteps trainingsteps trainiters trainingiters trainiterations "
                    "trainingiterations"),
    "tokens": ("tokens seen in training", "count", "tokens tokensseen seentokens traintokens trainingtokens "
               "tokenstrained tokencount"),
    "guidance": ("guidance weight; 1 is none", "", "cfg cfgscale cfgweight cfgw cfgstrength guidancescale "
                 "guidanceweight guidancestrength w"),
    "sampler": ("sampler", "", "solver scheduler samplername samplingmethod"),
    "model": ("the size's label", "", "modelname name arch architecture network checkpoint modelid size modelsize"),
    "seed": ("seed; repeats differ in it", "", "seeds run trial replicate repeat rep"),
    "n_samples_for_metric": ("samples behind the quality", "count", "samples images fidsamples numsamples numimages"),
    "seconds_per_image": ("time per image", "seconds", "latency time gpu gputime walltime wallclock wallclocktime wall "
                          "runtime samplingtime inferencetime generationtime"),
    "joules_per_image": ("energy per image", "joules", "energy gpuenergy samplingenergy"),
    "flops_per_forward": ("FLOPs per forward pass", "flops", "flopsperforward flopsforward forwardflops flopsperstep "
                          "flopspercall flopspereval flopspernfe flopsfwd fwdflops modelflops flopsstep flopscall "
                          "flopseval flopsnfe flopspass flopsperpass flopsperfwd"),
    "flops_per_image": ("FLOPs per image, all steps", "flops", "flopsperimage flopsimage imageflops flopstotal "
                        "totalflops samplingflops flopspersample flopsperimg flopsimg flopssample"),
}  # fmt: skip
METRICS = {  # column of the schema: further spellings; a number of samples and "score" may follow
    "fid": "", "is": "inceptionscore inception", "clip": "clipsim clipsimilarity clipt", "kid": "", "sfid": "",
    "fd_dinov2": "fddinov fddino fdd dinofd dinov2fd", "precision": "prec", "recall": "rec", "geneval": "",
    "hpsv2": "hps hpsv21", "pickscore": "pick", "image_reward": "ir", "aesthetic": "aesthetics laionaesthetic",
    "vqascore": "vqa", "lpips": "", "psnr": "", "ssim": "", "crps": "", "kd": "", "fd": "frechetdistance",
    "accuracy": "acc acc1 top1 top1acc top1accuracy testacc testaccuracy valacc valaccuracy evalacc evalaccuracy",
    "score": "winrate elo eloscore mos reward rewardscore auc auroc f1", "distance": "",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How one column is understood: schema column = factor * value ** power."""

    column: str  # as the table calls it
    meaning: str  # column of the schema
    words: str  # for people: "parameters, in billions"
    factor: float = 1.0
    power: int = 1

    def values(self, numbers):
        """The column's values in the schema's unit."""
        return self.factor * numbers**self.power

    def sentence(self, symbol=None):
        """`N = model_size_B (read as parameters, in billions)`."""
        return f"{symbol or self.meaning} = {self.column} (read as {self.words})"


def recognise(name):
    """The Reading that a column's name alone suggests, or None; `name` is as the table has it.

    >>> recognise("model_size_B").sentence("N")
    'N = model_size_B (read as parameters, in billions)'
    >>> recognise("gpu_ms").meaning, recognise("gpu_ms").factor
    ('seconds_per_image', 0.001)
    """
    if str(name).startswith("_"):  # W&B's own _step, _runtime and _timestamp
        return None
    head, mark, tail = str(name).partition("/") if "/" in str(name) else str(name).partition(".")
    within = mark and tail and set(words_of(head)) <= SECTIONS
    if within and (inner := _spelled(name, words_of(name)) or recognise(tail)):  # sampler.name is no name of a size
        return replace(inner, column=name)
    words = words_of(name)
    for find in (_metric, _flops, _throughput, _leading_unit, _spelled):
        reading = find(name, words)
        if reading:
            return reading
    plain = "_".join(words)  # "Train Flops", "Sampler"
    return Reading(name, plain, schema.COLUMNS[plain].meaning) if plain in schema.COLUMNS else None


def read_columns(table, read_as=None, wanted=()):
    """(table with recognised columns called and counted as in the schema, readings).

    `read_as` {column: meaning} overrules: a schema column, with a unit after a colon where the name tells none
    ("seconds_per_image:ms"), or "none" to leave the column as it is. Of several columns with one meaning the one in
    `wanted` is taken; without one, InputError names the candidates.
    """
    read_as = {clean_label(column): meaning for column, meaning in (read_as or {}).items()}
    stated = {column: _stated(table, column, meaning) for column, meaning in read_as.items()}
    readings = [reading for reading in stated.values() if reading]
    taken = {reading.meaning for reading in readings}
    known = {c for c in table.columns if c in schema.COLUMNS and c not in stated}
    guesses = {}
    for column in table.columns:
        guess = None if column in stated or column in known - PRINTED else _guess(table, column)
        if guess and guess.meaning not in taken | known:
            guesses.setdefault(guess.meaning, []).append(guess)
    readings += [_only(meaning, several, wanted) for meaning, several in guesses.items()]
    for reading in readings:
        table = _apply(table, reading)
    for reading in _sizes_by_label(table) if "model" not in stated else ():
        readings.append(reading)
        table = _apply(table, reading)
    return _labelled(table, readings), tuple(readings)


def without_unit(columns):
    """(column, meaning) of columns that are called like a time or an energy but name no unit."""
    for column in (c for c in columns if not str(c).startswith("_")):  # those of W&B are of the run
        words = re.sub(f"({'|'.join(PER_IMAGE)})$", "", "".join(words_of(column)))
        for meaning, (_, kind, spelled) in SPELLINGS.items():
            if kind in ("seconds", "joules") and words in spelled.split() and column not in schema.COLUMNS:
                yield column, meaning


LABEL = "label as written"  # a column's name while the one it was copied from is renamed
COUNTED = "with K, M and B as written"
PRINTED = {"latency_s", "throughput_img_s"}  # schema columns that serve as a cost where nothing better is there


def words_of(name):
    """['model', 'size', 'b'] of 'model_size_B', 'ModelSize (B)' or 'Modèl-Size [b]'; all in lower case."""
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z]{3})(?=[A-Z]$)", " ", plain)
    words = re.findall(r"[a-z0-9]+", plain.casefold())
    while len(words) > 1 and words[0] in LEADING:
        words = words[1:]
    return words


def _metric(name, words):
    error = len(words) > 1 and words[-1] in ("se", "stderr", "sem")
    joined = "".join(words[:-1] if error else words)
    bare = re.sub(r"(score)?(\d+k|\d{4,})?(score)?$", "", joined) or joined
    for column, more in METRICS.items():
        if {bare, joined} & {column.replace("_", ""), *more.split()}:
            better = "higher is better" if schema.higher_is_better(column) else "lower is better"
            meaning = f"{column}_se" if error else column
            return Reading(name, meaning, f"standard error of {column}" if error else f"{column}, {better}")
    return None


def _flops(name, words):
    """FLOPs, and multiply-adds at two FLOPs each; the table's values decide what a bare `gflops` means."""
    for k, word in enumerate(words):
        unit = re.fullmatch(r"([kmgtpe]?)(flops?|macs?|fma)", word)
        if not unit or "convention" in words:
            continue
        rest = "flops".join(["".join(words[:k]), "".join(words[k + 1 :])])
        macs = unit[2].startswith(("mac", "fma"))
        factor = units.PREFIXES[unit[1].upper() if unit[1] != "k" else "k"] * (2 if macs else 1)
        scale = f", in {WORDS[factor / (2 if macs else 1)]}" if unit[1] in list("kmgt") and unit[1] else ""
        for meaning in ("flops_per_forward", "flops_per_image"):
            what, _, spelled = SPELLINGS[meaning]
            if rest in spelled.split() or (rest == "flops" and meaning == "flops_per_forward"):
                what = what.replace("FLOPs", "multiply-adds") + scale + ("; 2 FLOPs each" if macs else "")
                return Reading(name, meaning, what if macs else SPELLINGS[meaning][0] + scale, factor)
    return None


def _throughput(name, words):
    joined = "".join(words)
    if re.fullmatch(r"(throughput)?(img|image|imgs|images|samples?)(per)?(s|sec|second)", joined):
        return Reading(name, "seconds_per_image", "images per second: time per image is its inverse", 1.0, -1)
    return None


def _leading_unit(name, words):
    """`ms_per_image`, `joules_per_image`, `latency`-less `ms`: the unit itself is the name."""
    unit = units.scale(words[0]) if words else None
    alone = "".join(words[1:])
    if not unit or unit[0] not in ("seconds", "joules") or alone not in ("", *PER_IMAGE):
        return None
    if not alone and len(words[0]) < 2:  # a bare s, h or j is no name for a time
        return None
    meaning = f"{unit[0]}_per_image"
    return Reading(name, meaning, f"{SPELLINGS[meaning][0]}, in {words[0]}", unit[1])


def _spelled(name, words):
    for meaning, (what, kind, spelled) in SPELLINGS.items():
        known = set(spelled.split())
        heads = ("".join(words), "".join(words[:-1]))
        trimmed = [re.sub(f"({'|'.join(PER_IMAGE)})$", "", h) if kind in ("seconds", "joules") else h for h in heads]
        if kind in ("", "count") and trimmed[0] in known:
            return Reading(name, meaning, what)
        if kind == "count" and trimmed[1] in known and words[-1] in COUNTS and len(words) > 1:
            factor = COUNTS[words[-1]]
            return Reading(name, meaning, f"{what}, in {WORDS[factor]}", factor)
        if kind in ("seconds", "joules"):
            unit = re.findall(r"[A-Za-zµ]+", name)[-1:]  # mJ and MJ differ by case
            size = units.scale(unit[0]) if unit and len(words) > 1 else None
            if size and size[0] == kind and trimmed[1] in known and not (words[0] == "gpu" and size[1] >= units.HOUR):
                return Reading(name, meaning, f"{what}, in {unit[0]}", size[1])
    return None


def _guess(table, column):
    """The Reading of a column, if its values fit: numbers for numbers, text for text."""
    if column in PRINTED:
        power = -1 if column.startswith("throughput") else 1
        return Reading(column, "seconds_per_image", f"{schema.COLUMNS[column].meaning}", 1.0, power)
    guess = recognise(column)
    if guess is None:
        return None
    text = not pd.api.types.is_numeric_dtype(table[column])
    if guess.meaning == "model" and _name_of_rows(table, column):
        return None
    if text and guess.meaning == "params" and guess.factor == 1.0 and _counted(table[column].dropna()).notna().all():
        return Reading(column, "params", f"{guess.words}, {COUNTED}")
    if text and guess.meaning == "params" and 2 * schema.numbers(table[column]).notna().sum() < len(table):
        return Reading(column, "model", SPELLINGS["model"][0]) if "size" in "".join(words_of(column)) else None
    if guess.meaning == "seed":
        values = schema.numbers(table[column])
        return guess if (values.notna() & (values >= 0) & (values % 1 == 0)).all() else None
    if guess.meaning == "params" and guess.factor == 1.0 and schema.numbers(table[column]).max() < SMALLEST:
        return Reading(column, "params", "the model's size, in the column's own unit")
    if guess.words.startswith(("FLOPs per forward", "multiply-adds per forward")):
        return _forward_or_image(table, guess)
    return guess


def _name_of_rows(table, column):
    """Whether a label is another one in every row, while sizes recur: the name of a run, not of a size."""
    sizes = [c for c in table.columns if c in schema.names(kind="size") or _is(c, "params")]
    return table[column].nunique() == len(table) and any(table[c].nunique() < len(table) for c in sizes)


def _counted(column):
    """A column as numbers, where text such as 39M and 1.5B counts in millions and billions; NaN for other text."""
    return column.map(lambda v: units.count(v) if isinstance(v, str) else v).astype(float)


def _sizes_by_label(table):
    """The Reading of labels such as 39M as parameters, where no column tells a size."""
    sized = [c for c in table.columns if c in schema.names(kind="size")]
    labels = table["model"] if "model" in table else pd.Series(dtype=object)
    if sized or labels.nunique() < 2 or not labels.map(lambda v: isinstance(v, str)).all():
        return []
    written = labels.map(lambda v: bool(re.fullmatch(r"\d+(\.\d+)?\s*[KMB]", v.strip())))
    return [Reading("model", "params", f"parameters, {COUNTED}")] if written.all() else []


def _forward_or_image(table, guess):
    """A bare `gflops` that grows with the steps counts a whole image; one that does not, a forward pass."""
    if not re.fullmatch(r"[kmgtpe]?(flops?|macs?)", "".join(words_of(guess.column))):
        return guess
    steps = next((c for c in table.columns if c == "steps" or _is(c, "steps")), None)
    size = next((c for c in table.columns if c in ("model", "params") or _is(c, "params") or _is(c, "model")), None)
    if steps and table[steps].nunique() > 1 and (size is None or table.groupby(size)[guess.column].nunique().max() > 1):
        words = guess.words.replace("per forward pass", "per image, since it changes with the steps")
        return Reading(guess.column, "flops_per_image", words, guess.factor)
    return guess


def _is(column, meaning):
    guess = recognise(column)
    return guess is not None and guess.meaning == meaning


def _only(meaning, several, wanted):
    named = [reading for reading in several if reading.column in wanted] or several
    best = [reading for reading in named if reading.power == 1] or named  # a latency before a throughput
    if len(best) > 1:
        listed = " and ".join(repr(reading.column) for reading in best)
        raise InputError(
            f"Columns {listed} both read as {meaning}: say which with --read-as {best[0].column}={meaning}, "
            f"and leave the other with --read-as {best[1].column}=none."
        )
    return best[0]


def _stated(table, column, meaning):
    """The Reading a user states as `column=meaning`, `column=meaning:unit` or `column=none`."""
    if column not in table:
        raise InputError(f"--read-as {column}=...: no such column; the table has {', '.join(table.columns)}.")
    target, _, unit = str(meaning).partition(":")
    target = schema.RENAMED.get(target.strip(), target.strip())
    if target.casefold() in ("none", "ignore", ""):
        return None
    if target not in schema.COLUMNS:
        known = ", ".join([*SPELLINGS, *METRICS])
        raise InputError(f"--read-as {column}={meaning}: no meaning {target!r}. Usual ones: {known}; or 'none'.")
    if unit:
        unit, base = unit.strip(), {"s": "seconds", "J": "joules", "FLOPs": "flops"}.get(schema.COLUMNS[target].unit)
        size = units.scale(unit)
        if base and size and size[0] == base:
            return Reading(column, target, f"{_what(target)}, in {unit}", size[1])
        if not base and unit.casefold() in COUNTS:
            return Reading(column, target, f"{_what(target)}, in {unit}", COUNTS[unit.casefold()])
        allowed = {"seconds": "s, ms, h", "joules": "J, kJ, Wh", "flops": "FLOPs, GFLOPs"}.get(base, "K, M, B")
        raise InputError(
            f"--read-as {column}={target}:{unit}: no unit {unit!r} for {target}; give one such as {allowed}."
        )
    guess = recognise(column)
    return guess if guess and guess.meaning == target else Reading(column, target, _what(target))


def _what(meaning):
    return SPELLINGS[meaning][0] if meaning in SPELLINGS else schema.COLUMNS[meaning].meaning


def _apply(table, reading):
    """The table with the column called and counted as in the schema."""
    kind = schema.COLUMNS[reading.meaning].allowed
    if kind is schema.TEXT:
        values = table[reading.column]
    else:
        values = table[reading.column]
        numbers = _counted(values) if reading.words.endswith(COUNTED) else schema.numbers(values)
        if reading.factor != 1.0 or reading.power != 1 or reading.words.endswith(COUNTED):
            values = reading.values(numbers).where(numbers.notna(), values)
    if reading.column in PRINTED and reading.meaning != reading.column:
        return table.assign(**{reading.meaning: values})
    attrs = table.attrs
    if reading.words.endswith(COUNTED) and "model" not in table.columns.drop(reading.column):
        table = table.assign(**{LABEL: table[reading.column]})
    if reading.meaning in table and reading.meaning != reading.column:  # the user names another column for it
        table = table.drop(columns=reading.meaning)
    table = table.assign(**{reading.column: values}).rename(columns={reading.column: reading.meaning})
    table = table.rename(columns={LABEL: "model"})
    table.attrs = attrs
    return table


def _labelled(table, readings):
    """The table with a label for every size, such as 1.3B, where parameters tell the sizes and no column names them."""
    if "model" in table or "params" not in table:
        return table
    params = schema.numbers(table["params"])
    counted = next((r.factor for r in readings if r.meaning == "params" and r.factor in LETTERS), None)
    if counted is None and not (params.max() >= SMALLEST and _same_sizes(table)):
        return table
    labels = params.map(lambda v: _label(v, counted or _thousands(v)), na_action="ignore")
    attrs = table.attrs
    table = table.assign(model=labels.where(params.notna(), None))
    table.attrs = attrs
    return table


def _label(count, factor):
    return f"{count / factor:.{6 if factor > 1 else 12}g}{LETTERS.get(factor, '')}"


def _thousands(count):
    """The largest of a thousand, a million, ... that a count holds; 1 below a thousand."""
    return max((factor for factor in LETTERS if count >= factor), default=1.0)


def _same_sizes(table):
    """Whether params tell apart what every other full column of size tells apart, and nothing else."""
    sizes = [c for c in schema.names(kind="size") if c in table and table[c].notna().all()]
    return all(len(table[[c, "params"]].drop_duplicates()) == table[c].nunique() == table["params"].nunique()
               for c in sizes)  # fmt: skip
