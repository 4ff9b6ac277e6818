"""The usual spellings of columns: `model_size_B`, `num_steps`, `cfg`, `gpu_ms`, `fid50k`, each read as a schema column.

recognise("model_size_B")   Reading: params = 1e9 * model_size_B, "parameters, in billions"

This is what a name alone suggests; `scalinglaws.columns` asks the values, too.
"""

import re
import unicodedata
from dataclasses import dataclass, replace

from scalinglaws import schema, units
from scalinglaws.units import COUNTS

WORDS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
LEADING = {"num", "n", "nr", "no", "number", "of", "count", "the"}  # num_steps, number_of_steps
SECTIONS = {  # first parts of names such as eval/fid and config.sampler.steps that change nothing of the meaning
    "config", "configs", "summary", "eval", "evaluation", "test", "val", "valid", "validation", "metric", "metrics",
    "param", "params", "hparams", "args", "model", "net", "network", "unet", "sampler", "sampling", "inference",
    "generation", "final", "best", "last", "result", "results", "perf", "performance", "profile", "cost", "timing",
}  # fmt: skip
UNREAD = ("none", "ignore", "")  # meanings by which a user leaves a column as it is
RATE = r"(throughput ?)?(img|image|sample)s?( ?per ?| )(s|sec|second)|throughput ?(img|image|sample)s?"
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
    "n_samples_for_metric": ("samples behind the quality", "count", "samples images imgs fidsamples numsamples "
                             "numimages"),
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
    counted: bool = False  # text cells such as 39M and 1.5B count in millions and billions

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
    inner = within and (_spelled(name, words_of(name)) or (len(tail) > 1 and recognise(tail)))  # timing/s is no steps
    if inner:  # before the words together: sampler.name is no name of a size
        return replace(inner, column=name)
    words = words_of(name)
    for find in (_metric, _flops, _throughput, _leading_unit, _spelled):
        reading = find(name, words)
        if reading:
            return reading
    plain = "_".join(words)  # "Train Flops", "Sampler"
    return Reading(name, plain, schema.COLUMNS[plain].meaning) if plain in schema.COLUMNS else None


def without_unit(columns):
    """(column, meaning) of columns that are called like a time or an energy but name no unit."""
    for column in (c for c in columns if not str(c).startswith("_")):  # those of W&B are of the run
        name = _without_image("".join(words_of(column)))
        for meaning, (_, kind, spelled) in SPELLINGS.items():
            if kind in ("seconds", "joules") and name in spelled.split() and column not in schema.COLUMNS:
                yield column, meaning


def what(meaning):
    """What a schema column is, for people."""
    return SPELLINGS[meaning][0] if meaning in SPELLINGS else schema.COLUMNS[meaning].meaning


def words_of(name):
    """['model', 'size', 'b'] of 'model_size_B', 'ModelSize (B)' or 'Modèl-Size [b]'; all in lower case."""
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z]{3})(?=[A-Z]$)", " ", plain)
    words = re.findall(r"[a-z0-9]+", plain.casefold())
    while len(words) > 1 and words[0] in LEADING:
        words = words[1:]
    return words


def _without_image(text):
    """'latency' of 'latencyperimage'."""
    return re.sub(f"({'|'.join(PER_IMAGE)})$", "", text)


def _metric(name, words):
    """`fid50k`, `clip_score`, `fid_se`: a metric, or its standard error."""
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
        factor = units.PREFIXES[unit[1] if unit[1] == "k" else unit[1].upper()]
        scale = f", in {WORDS[factor]}" if factor in WORDS else ""
        for meaning in ("flops_per_forward", "flops_per_image"):
            words_for, _, spelled = SPELLINGS[meaning]
            if rest not in spelled.split() and (rest, meaning) != ("flops", "flops_per_forward"):
                continue
            if unit[2].startswith("flop"):
                return Reading(name, meaning, words_for + scale, factor)
            words_for = words_for.replace("FLOPs", "multiply-adds")
            return Reading(name, meaning, f"{words_for}{scale}; 2 FLOPs each", 2 * factor)
    return None


def _throughput(name, words):
    """`img_per_sec`, `throughput_samples_s`: the inverse of a time per image."""
    if re.fullmatch(RATE, " ".join(words)):
        return Reading(name, "seconds_per_image", "images per second: time per image is its inverse", power=-1)
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
    return Reading(name, meaning, f"{what(meaning)}, in {words[0]}", unit[1])


def _spelled(name, words):
    """A name of SPELLINGS: times and energies with a unit behind it, counts with or without."""
    whole, stem = "".join(words), "".join(words[:-1])
    bare = re.sub(r"[\s_]*(/|per)[\s_]*(image|img|sample|picture)s?\W*$", "", name, flags=re.I)  # latency (ms/img)
    timed = "".join(words_of(bare)[:-1])
    unit = re.findall(r"[A-Za-zµ]+", bare)[-1:]  # as written: mJ and MJ differ by case
    size = units.scale(unit[0]) if unit and timed else None
    if size and words[0] == "gpu" and size[1] >= units.HOUR:  # GPU hours are of a training
        size = None
    for meaning, (words_for, kind, spelled) in SPELLINGS.items():
        known = spelled.split()
        if kind in ("", "count") and whole in known:
            return Reading(name, meaning, words_for)
        if kind == "count" and stem in known and words[-1] in COUNTS:
            factor = COUNTS[words[-1]]
            return Reading(name, meaning, f"{words_for}, in {WORDS[factor]}", factor)
        if kind in ("seconds", "joules") and size and size[0] == kind and _without_image(timed) in known:
            return Reading(name, meaning, f"{words_for}, in {unit[0]}", size[1])
    return None
