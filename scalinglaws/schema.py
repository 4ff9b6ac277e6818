"""The columns of a table of measurements, one row per measurement: names, units, ranges, and what each is for.

A metric is declared once, in `METRICS`: its name, unit, range and direction. Its further columns are derived: the
standard error (`fd_se`), the two halves of the samples, split by a hash of the sample number (`fd_half1`, `fd_half2`),
and for a Fréchet distance (FD), which falls as samples are added, the FD extrapolated to infinitely many samples
(`fd_inf`, `fd_inf_se`). Every other column is one line of `_SETTINGS`. A table may carry further columns; the known
ones are held to their range. Rows are counted from 1, the header not counted.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was given, what is allowed and what to do."""


class NoAnswer(InputError):
    """The question was understood, but what was measured holds no answer: the command line ends with 1, not 2."""


@dataclass(frozen=True)
class Range:
    """Values a column may hold: words for people, and the test on finite numbers."""

    words: str
    low: float = -np.inf
    high: float = np.inf
    open_low: bool = False  # the low end itself is not allowed
    whole: bool = False


TEXT = Range("any text")
NUMBER = Range("a finite number")
ABOVE = Range("a number above 0", low=0, open_low=True)
FROM0 = Range("a number, 0 or more", low=0)
SHARE = Range("a number from 0 to 1", low=0, high=1)
COSINE = Range("a number from -1 to 1", low=-1, high=1)
COUNT = Range("a whole number, 1 or more", low=1, whole=True)
WHOLE = Range("a whole number, 0 or more", low=0, whole=True)


KINDS = {  # what a column is for: whether rows that differ in it may count as one point of a law
    "label": "names a group of rows",
    "size": "the network's size: an input of a law",
    "steps": "sampling steps: an input of a law",
    "sampler": "a choice at sampling time: one law a value, and a budget chooses between them",
    "guidance": "a choice at sampling time, with its companions",
    "fixed": "the same in all rows of a law",
    "record": "where, when and by what the row was measured: rows may be pooled over it",
    "cost": "measured cost per image",
    "quality": "a metric, its extrapolation or its halves",
    "error": "the standard error of a metric",
}


@dataclass(frozen=True)
class Column:
    """One column. `role` is 'setting' (known before sampling), 'cost', 'quality' or 'error' (of a quality)."""

    name: str
    unit: str
    allowed: Range
    role: str
    meaning: str
    kind: str  # of KINDS
    metric: str = ""  # the metric a quality or error column belongs to
    higher_is_better: bool = False  # of a quality

    @property
    def pooled(self):
        """Whether rows that differ only in this column are repeats of one measurement."""
        return self.kind == "record"


@dataclass(frozen=True)
class Metric:
    """A quality, declared once; `better` is 'lower' or 'higher'."""

    name: str
    unit: str
    allowed: Range
    better: str
    meaning: str
    extrapolated: bool = False  # biased in the number of samples: has an _inf, extrapolated to infinitely many

    def columns(self):
        """The metric's own column and those derived from it."""
        yield self._quality(self.name, self.allowed, f"{self.meaning}; {self.better} is better")
        yield self._error(self.name)
        for half, which in (("half1", "one half"), ("half2", "the other half")):
            yield self._quality(f"{self.name}_{half}", self.allowed, f"{self.name} of {which} of the samples")
        if self.extrapolated:
            meaning = f"{self.name} extrapolated to infinitely many samples"
            yield self._quality(f"{self.name}_inf", NUMBER, meaning)
            yield self._error(f"{self.name}_inf")

    def _quality(self, name, allowed, meaning):
        return Column(name, self.unit, allowed, "quality", meaning, "quality", self.name, self.better == "higher")

    def _error(self, of):
        return Column(f"{of}_se", self.unit, FROM0, "error", f"standard error of {of}", "error", self.name)


METRICS = (
    #      name                      unit         range   better     meaning; True where there is an _inf column
    Metric("fd",                     "distance", ABOVE,  "lower",  "Fréchet distance (FD) on features", True),
    Metric("fid",                    "distance", ABOVE,  "lower",  "FD on Inception features", True),
    Metric("sfid",                   "distance", ABOVE,  "lower",  "FD on spatial Inception features", True),
    Metric("fd_dinov2",              "distance", ABOVE,  "lower",  "FD on DINOv2 features", True),
    Metric("fd_effnet_lite0",        "distance", ABOVE,  "lower",  "FD on EfficientNet-Lite0, at 224 or 96 px", True),
    Metric("kd",                     "distance", NUMBER, "lower",  "kernel distance, unbiased"),
    Metric("kid",                    "distance", NUMBER, "lower",  "kernel distance on Inception features"),
    Metric("kd_effnet_lite0",        "distance", NUMBER, "lower",  "kernel distance on EfficientNet-Lite0 likewise"),
    Metric("is",                     "score",    ABOVE,  "higher", "inception score"),
    Metric("precision",              "share",    SHARE,  "higher", "samples inside the data"),
    Metric("recall",                 "share",    SHARE,  "higher", "data inside the samples"),
    Metric("precision_effnet_lite0", "share",    SHARE,  "higher", "precision on EfficientNet-Lite0 likewise"),
    Metric("recall_effnet_lite0",    "share",    SHARE,  "higher", "recall on EfficientNet-Lite0 likewise"),
    Metric("agreement",              "share",    SHARE,  "higher", "share that shows the class or prompt asked for"),
    Metric("clip",                   "score",    ABOVE,  "higher", "CLIP score"),
    Metric("geneval",                "share",    SHARE,  "higher", "GenEval score"),
    Metric("hpsv2",                  "score",    NUMBER, "higher", "human preference score, version 2"),
    Metric("pickscore",              "score",    NUMBER, "higher", "PickScore"),
    Metric("image_reward",           "score",    NUMBER, "higher", "ImageReward"),
    Metric("aesthetic",              "score",    NUMBER, "higher", "aesthetic predictor"),
    Metric("vqascore",               "share",    SHARE,  "higher", "VQAScore"),
    Metric("lpips",                  "distance", FROM0,  "lower",  "LPIPS to the target"),
    Metric("perceptual_effnet_lite0", "distance", FROM0, "lower",  "unweighted perceptual distance to the target"),
    Metric("psnr",                   "dB",       NUMBER, "higher", "PSNR to the target"),
    Metric("ssim",                   "score",    NUMBER, "higher", "SSIM to the target"),
    Metric("subject_similarity",     "cosine",   COSINE, "higher", "mean cosine to the real images of a subject"),
    Metric("diversity",              "score",    FROM0,  "higher", "mean of 1 - cosine over pairs of samples"),
    Metric("crps",                   "data",     FROM0,  "lower",  "continuous ranked probability score"),
    Metric("clip_rel_drop_pct",      "%",        NUMBER, "lower",  "CLIP lost against 50 steps"),
    Metric("accuracy",               "score",    ABOVE,  "higher", "correct answers, as a share or per cent"),
    Metric("score",                  "score",    ABOVE,  "higher", "any score of the user's own"),
    Metric("distance",               "distance", ABOVE,  "lower",  "any distance or error of the user's own"),
    Metric("path_length",            "latent",   ABOVE,  "lower",  "length of the sampling path"),
)  # fmt: skip

_SETTINGS = (
    # name                    unit            range   kind        meaning
    ("study",                 "",             TEXT,   "label",    "where the row comes from"),
    ("family",                "",             TEXT,   "label",    "the group within which one law is fitted"),
    ("model",                 "",             TEXT,   "label",    "the size's label, such as c16"),
    ("flops_per_forward",     "FLOPs",        ABOVE,  "size",     "one forward pass, per image (2 per multiply-add)"),
    ("gflops_per_forward",    "as printed",   ABOVE,  "size",     "one forward pass, in the study's convention"),
    ("params",                "parameters",   ABOVE,  "size",     "parameters of the denoiser"),
    ("base_channels",         "channels",     COUNT,  "size",     "width of the network's first level"),
    ("depth",                 "blocks",       COUNT,  "size",     "number of transformer blocks"),
    ("macs_per_forward",      "MACs",         ABOVE,  "size",     "one forward pass, per image"),
    ("flop_convention",       "",             TEXT,   "fixed",    "what the study calls a FLOP; never converted"),
    ("rel_cost",              "relative",     ABOVE,  "size",     "cost of a forward pass against the baseline's"),
    ("sampler",               "",             TEXT,   "sampler",  "the sampler or solver, such as ddim"),
    ("steps",                 "steps",        COUNT,  "steps",    "sampling steps"),
    ("nfe",                   "calls",        ABOVE,  "steps",    "network evaluations per image"),
    ("ar_steps",              "steps",        COUNT,  "steps",    "autoregressive steps"),
    ("diff_steps",            "steps",        ABOVE,  "steps",    "diffusion steps per token (may be a mean)"),
    ("guidance",              "weight",       FROM0,  "guidance", "classifier-free guidance weight; 1 is none"),
    ("guidance_kind",         "",             TEXT,   "guidance", "how guidance was done"),
    ("guidance_interval",     "",             TEXT,   "guidance", "noise levels at which guidance was on"),
    ("diffusion_time",        "share",        SHARE,  "fixed",    "where sampling starts in the schedule; empty: 1"),
    ("best_of",               "candidates",   COUNT,  "fixed",    "samples drawn for each one kept"),
    ("verifier",              "",             TEXT,   "fixed",    "the score by which the best of n is kept"),
    ("task",                  "",             TEXT,   "fixed",    "what a sample is conditioned on: class, text, ..."),
    ("variant",               "",             TEXT,   "fixed",    "undistilled, or how it was distilled"),
    ("gnet",                  "",             TEXT,   "guidance", "the guiding network, where it is another one"),
    ("ema_std",               "share",        ABOVE,  "fixed",    "relative width of the average of the weights"),
    ("eta",                   "",             TEXT,   "fixed",    "noise of DDIM: 0 to 1, or sigma-hat"),
    ("interpolant",           "",             TEXT,   "fixed",    "path between noise and data"),
    ("objective",             "",             TEXT,   "fixed",    "what the network was trained to predict"),
    ("diffusion_coef",        "",             TEXT,   "fixed",    "diffusion coefficient of a stochastic sampler"),
    ("frac_small",            "share",        SHARE,  "fixed",    "share of the steps given to the small network"),
    ("image_tokens",          "tokens",       COUNT,  "size",     "tokens per image"),
    ("autoencoder",           "",             TEXT,   "fixed",    "the latent's encoder and decoder"),
    ("dataset",               "",             TEXT,   "fixed",    "what it was trained on, or measured against"),
    ("resolution",            "pixels",       COUNT,  "fixed",    "side of the image"),
    ("train_steps",           "steps",        WHOLE,  "fixed",    "optimiser steps behind the weights"),
    ("train_images",          "images",       FROM0,  "fixed",    "images seen in training, repeats counted"),
    ("tokens",                "tokens",       FROM0,  "fixed",    "tokens seen in training, repeats counted"),
    ("train_flops",           "FLOPs",        FROM0,  "fixed",    "training compute, forward and backward"),
    ("batch_size",            "images",       COUNT,  "fixed",    "training batch"),
    ("epochs",                "epochs",       ABOVE,  "fixed",    "passes over the training data"),
    ("n_samples_for_metric",  "images",       COUNT,  "fixed",    "images behind the quality numbers"),
    ("features",              "",             TEXT,   "fixed",    "network behind fd and kd"),
    ("reference",             "",             TEXT,   "fixed",    "hash of the statistics, of one network and size"),
    ("dtype",                 "",             TEXT,   "fixed",    "number format of the network"),
    ("flops_per_image",       "FLOPs",        ABOVE,  "cost",     "all network evaluations of the denoiser, per image"),
    ("flops_decode",          "FLOPs",        FROM0,  "cost",     "decoding the latent, per image"),
    ("flops_text",            "FLOPs",        FROM0,  "cost",     "encoding the condition, per image"),
    ("seconds_per_image",     "s",            ABOVE,  "cost",     "sampling, per image, decoding apart"),
    ("seconds_decode",        "s",            FROM0,  "cost",     "decoding the latent, per image"),
    ("seconds_text",          "s",            FROM0,  "cost",     "encoding the condition, per image"),
    ("seconds_mad",           "s",            FROM0,  "cost",     "median deviation of readings of seconds_per_image"),
    ("peak_memory_bytes",     "bytes",        FROM0,  "cost",     "most memory held at once"),
    ("joules_per_image",      "J",            ABOVE,  "cost",     "sampling, per image, decoding apart"),
    ("joules_decode",         "J",            FROM0,  "cost",     "decoding the latent, per image"),
    ("joules_text",           "J",            FROM0,  "cost",     "encoding the condition, per image"),
    ("joules_mad",            "J",            FROM0,  "cost",     "median deviation of readings of joules_per_image"),
    ("latency_s",             "s",            ABOVE,  "cost",     "time to one image, as printed"),
    ("throughput_img_s",      "images/s",     ABOVE,  "cost",     "images per second, as printed"),
    ("sampling_batch",        "images",       COUNT,  "record",   "images sampled at once"),
    ("roofline_seconds",      "s",            ABOVE,  "record",   "least seconds at the device's peaks, per image"),
    ("eager_seconds",         "s",            ABOVE,  "record",   "least seconds operator by operator, per image"),
    ("params_provenance",     "",             TEXT,   "record",   "where params comes from, if not from the source"),
    ("unknown",               "",             TEXT,   "record",   "why a cost of this row is missing"),
    ("weights",               "",             TEXT,   "record",   "hash of the weights sampled"),
    ("seed",                  "",             WHOLE,  "record",   "seed of the first image; repeats differ in it"),
    ("train_seed",            "",             WHOLE,  "record",   "seed of the training; repeats differ in it"),
    ("train_dtype",           "",             TEXT,   "record",   "number format it was trained in, such as float32"),
    ("device",                "",             TEXT,   "record",   "machine that measured"),
    ("threads",               "threads",      COUNT,  "record",   "CPU threads of the run"),
    ("versions",              "",             TEXT,   "record",   "software that measured"),
    ("crps_persistence",      "data",         FROM0,  "record",   "CRPS of the last value known, on the same data"),
    ("crps_year_ago",         "data",         FROM0,  "record",   "CRPS of the change of a year ago, on the same data"),
    ("crps_regression",       "data",         FROM0,  "record",   "CRPS of a linear regression, on the same data"),
    ("source",                "",             TEXT,   "record",   "paper and table, or file and commit"),
    ("provenance",            "",             TEXT,   "record",   "read-from-source, or from-memory"),
    ("note",                  "",             TEXT,   "record",   "contradictions and caveats of the row"),
)  # fmt: skip


COLUMNS = {
    name: Column(name, unit, allowed, "cost" if kind == "cost" else "setting", meaning, kind)
    for name, unit, allowed, kind, meaning in _SETTINGS
} | {column.name: column for metric in METRICS for column in metric.columns()}
RENAMED = {  # columns of older files, read under the name they have now
    f"{m.name}_{old}": f"{m.name}_{new}" for m in METRICS for old, new in (("even", "half1"), ("odd", "half2"))
}
SHOWN = 3  # rows named in one sentence


def names(role=None, kind=None):
    """Known column names in the order declared, of one role or kind if asked."""
    return [c.name for c in COLUMNS.values() if role in (None, c.role) and kind in (None, c.kind)]


def unpooled():
    """Settings in which all rows of one point of a law must agree."""
    kinds = ("sampler", "guidance", "steps", "fixed")
    return [c.name for c in COLUMNS.values() if c.kind in kinds and not c.pooled]


def higher_is_better(quality):
    """Whether a known quality column rises as it gets better; columns that are not known are taken to fall.

    `infer.question` refuses an unknown one that rises with its inputs.
    """
    return quality in COLUMNS and COLUMNS[quality].higher_is_better


def check(table, used=(), missing=False):
    """What is wrong with the table, one sentence per fault; columns in `used` must be above 0.

    They must be full, too, unless `missing` values are allowed. Rows are named by the index, counted from 1.
    """
    held = ", ".join(map(str, table.columns))
    absent = [c for c in used if c not in table.columns]
    if absent:
        return [f"Column {c!r} is missing; the table has {held}." for c in absent]
    others = [c for c in table.columns if c in COLUMNS and c not in used]
    faults = [_check_used(table[c], missing) for c in used]
    faults += [_check_column(table[c], COLUMNS[c].allowed) for c in others]
    return [f for f in faults if f]


def numbers(column):
    """The column as float64, text becoming NaN."""
    return pd.to_numeric(column, errors="coerce").astype(float)


def _check_column(column, allowed):
    if allowed is TEXT:
        return None
    return _sentence(column, column.notna() & ~_inside(numbers(column), allowed), allowed.words)


def _check_used(column, missing):
    known = COLUMNS.get(column.name)
    allowed = known.allowed if known and known.allowed.low >= 0 else ABOVE
    inside = _inside(numbers(column), allowed) & (numbers(column) > 0)
    bad = ~inside & column.notna() if missing else ~inside
    above = "" if allowed.open_low or allowed.low > 0 else " and above 0"
    return _sentence(column, bad, f"{allowed.words}, in every row used{above}")


def _inside(values, allowed):
    low = values > allowed.low if allowed.open_low else values >= allowed.low
    return np.isfinite(values) & low & (values <= allowed.high) & ((not allowed.whole) | (values % 1 == 0))


def _sentence(column, bad, words):
    """Name the first bad rows, what they hold and what is allowed."""
    rows = np.flatnonzero(np.asarray(bad))
    if not len(rows):
        return None
    numbered = column.index if pd.api.types.is_integer_dtype(column.index) else range(len(column))
    held = ", ".join(f"row {numbered[i] + 1} holds {_show(column.iloc[i])}" for i in rows[:SHOWN])
    more = f" (and {len(rows) - SHOWN} more rows)" if len(rows) > SHOWN else ""
    return f"Column {column.name!r}: {held}{more}; allowed is {words}."


def _show(value):
    if isinstance(value, str):
        return f"the text {value!r}"
    return "nothing (NaN)" if pd.isna(value) else f"{float(value):g}"
