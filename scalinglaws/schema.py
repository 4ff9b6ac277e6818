"""One measurement, one row: the contract between the machine that measures and the laptop that fits.

`COLUMNS` is the whole contract, one line a column. A table may carry any further columns; the known ones are
held to their range. Rows are counted from 1, the header not counted.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was given, what is allowed and what to do."""


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
COUNT = Range("a whole number, 1 or more", low=1, whole=True)
WHOLE = Range("a whole number, 0 or more", low=0, whole=True)


@dataclass(frozen=True)
class Column:
    """One column: its role is 'setting' (told beforehand), 'cost', 'quality' or 'error' (of a quality)."""

    name: str
    unit: str
    allowed: Range
    role: str
    meaning: str


_TABLE = (
    # name                   unit          allowed role      meaning
    ("study",                "",           TEXT,  "setting", "where the row comes from"),
    ("family",               "",           TEXT,  "setting", "the group within which one law is fitted"),
    ("model",                "",           TEXT,  "setting", "the size's label, such as c16"),
    ("base_channels",        "channels",   COUNT, "setting", "width of the network's first level"),
    ("depth",                "blocks",     COUNT, "setting", "number of transformer blocks"),
    ("params",               "parameters", ABOVE, "setting", "parameters of the denoiser"),
    ("flops_per_forward",    "FLOPs",      ABOVE, "setting", "one forward pass of one image (2 per MAC)"),
    ("macs_per_forward",     "MACs",       ABOVE, "setting", "one forward pass of one image"),
    ("gflops_per_forward",   "as printed", ABOVE, "setting", "one forward pass, in the study's convention"),
    ("flop_convention",      "",           TEXT,  "setting", "what the study calls a FLOP; never converted"),
    ("rel_cost",             "relative",   ABOVE, "setting", "cost of a forward against the baseline's"),
    ("sampler",              "",           TEXT,  "setting", "the solver, such as ddim"),
    ("steps",                "steps",      COUNT, "setting", "sampling steps"),
    ("ar_steps",             "steps",      COUNT, "setting", "autoregressive steps"),
    ("diff_steps",           "steps",      ABOVE, "setting", "diffusion steps a token (may be a mean)"),
    ("guidance",             "weight",     FROM0, "setting", "classifier-free guidance; 1 is none"),
    ("guidance_kind",        "",           TEXT,  "setting", "how guidance was done"),
    ("guidance_interval",    "",           TEXT,  "setting", "noise levels at which guidance was on"),
    ("best_of",              "candidates", COUNT, "setting", "samples drawn for each one kept"),
    ("verifier",             "",           TEXT,  "setting", "the score by which the best of n is kept"),
    ("task",                 "",           TEXT,  "setting", "what a sample is asked for: class, text, upscale ..."),
    ("variant",              "",           TEXT,  "setting", "undistilled, or how it was distilled"),
    ("gnet",                 "",           TEXT,  "setting", "the network that guides, where it is another"),
    ("ema_std",              "share",      ABOVE, "setting", "relative width of the weights' average"),
    ("eta",                  "",           TEXT,  "setting", "noise of DDIM: 0 to 1, or sigma-hat"),
    ("interpolant",          "",           TEXT,  "setting", "path between noise and data"),
    ("objective",            "",           TEXT,  "setting", "what the network was trained to predict"),
    ("diffusion_coef",       "",           TEXT,  "setting", "diffusion coefficient of a stochastic sampler"),
    ("frac_small",           "share",      SHARE, "setting", "share of the steps given to the small network"),
    ("image_tokens",         "tokens",     COUNT, "setting", "tokens an image"),
    ("autoencoder",          "",           TEXT,  "setting", "the latent's encoder and decoder"),
    ("dataset",              "",           TEXT,  "setting", "what it was trained on, or measured against"),
    ("resolution",           "pixels",     COUNT, "setting", "side of the image"),
    ("train_steps",          "steps",      WHOLE, "setting", "optimiser steps behind the weights"),
    ("train_seed",           "",           WHOLE, "setting", "seed of the training; repeats of a size differ in it"),
    ("train_images",         "images",     FROM0, "setting", "images seen in training, repeats counted"),
    ("train_flops",          "FLOPs",      FROM0, "setting", "training compute, forward and backward"),
    ("batch_size",           "images",     COUNT, "setting", "training batch"),
    ("sampling_batch",       "images",     COUNT, "setting", "images sampled at once"),
    ("epochs",               "epochs",     ABOVE, "setting", "passes over the training data"),
    ("params_provenance",    "",           TEXT,  "setting", "where params comes from, if not the source"),
    ("nfe",                  "calls",      ABOVE, "setting", "network evaluations an image"),
    ("flops_per_image",      "FLOPs",      ABOVE, "cost",    "all denoiser evaluations of an image"),
    ("flops_decode",         "FLOPs",      FROM0, "cost",    "decoding the latent of an image"),
    ("flops_text",           "FLOPs",      FROM0, "cost",    "encoding the condition of an image"),
    ("seconds_per_image",    "s",          ABOVE, "cost",    "sampling an image, decoding apart"),
    ("seconds_decode",       "s",          FROM0, "cost",    "decoding an image"),
    ("seconds_text",         "s",          FROM0, "cost",    "encoding the condition of an image"),
    ("seconds_mad",          "s",          FROM0, "cost",    "median deviation of seconds_per_image over readings"),
    ("peak_memory_bytes",    "bytes",      FROM0, "cost",    "most memory held at once"),
    ("joules_per_image",     "J",          ABOVE, "cost",    "energy of sampling an image, decoding apart"),
    ("joules_mad",           "J",          FROM0, "cost",    "median deviation of joules_per_image over readings"),
    ("unknown",              "",           TEXT,  "setting", "why a cost of this row is null"),
    ("latency_s",            "s",          ABOVE, "cost",    "time to an image, as printed"),
    ("throughput_img_s",     "images/s",   ABOVE, "cost",    "images a second, as printed"),
    ("fd",                   "distance",   ABOVE, "quality", "Fréchet distance on features; lower is better"),
    ("fd_inf",               "distance",   NUMBER, "quality", "fd extrapolated to endless samples; lower is better"),
    ("fd_even",              "distance",   ABOVE, "quality", "fd of one half of the samples alone; lower is better"),
    ("fd_odd",               "distance",   ABOVE, "quality", "fd of the other half alone; lower is better"),
    ("fd_effnet_lite0",      "distance",   ABOVE, "quality", "Fréchet on EfficientNet-Lite0; lower is better"),
    ("kd_effnet_lite0",      "distance",   NUMBER, "quality", "kernel on EfficientNet-Lite0; lower is better"),
    ("kd",                   "distance",   NUMBER, "quality", "kernel distance, unbiased; lower is better"),
    ("agreement",            "share",      SHARE, "quality", "images classified as asked; higher is better"),
    ("fid",                  "distance",   ABOVE, "quality", "FID on Inception features; lower is better"),
    ("fid_even",             "distance",   ABOVE, "quality", "fid of one half of the samples; lower is better"),
    ("fid_odd",              "distance",   ABOVE, "quality", "fid of the other half; lower is better"),
    ("fd_effnet_lite0_even", "distance",   ABOVE, "quality", "of one half of the samples; lower is better"),
    ("fd_effnet_lite0_odd",  "distance",   ABOVE, "quality", "of the other half; lower is better"),
    ("fd_effnet_lite0_inf",  "distance",   NUMBER, "quality", "to endless samples; lower is better"),
    ("precision_effnet_lite0", "share",    SHARE, "quality", "precision on its features; higher is better"),
    ("recall_effnet_lite0",  "share",      SHARE, "quality", "recall on its features; higher is better"),
    ("fid_inf",              "distance",   NUMBER, "quality", "fid extrapolated to endless samples; lower is better"),
    ("kid",                  "distance",   NUMBER, "quality", "kernel distance on Inception; lower is better"),
    ("sfid",                 "distance",   ABOVE, "quality", "spatial FID; lower is better"),
    ("fd_dinov2",            "distance",   ABOVE, "quality", "Fréchet distance on DINOv2; lower is better"),
    ("is",                   "score",      ABOVE, "quality", "inception score; higher is better"),
    ("clip",                 "score",      ABOVE, "quality", "CLIP score; higher is better"),
    ("lpips",                "distance",   FROM0, "quality", "LPIPS to the target; lower is better"),
    ("psnr",                 "dB",         NUMBER, "quality", "PSNR to the target; higher is better"),
    ("ssim",                 "score",      NUMBER, "quality", "SSIM to the target; higher is better"),
    ("crps",                 "data",       FROM0, "quality", "ranked probability score; lower is better"),
    ("geneval",              "share",      SHARE, "quality", "GenEval score; higher is better"),
    ("precision",            "share",      SHARE, "quality", "samples inside the data; higher is better"),
    ("recall",               "share",      SHARE, "quality", "data inside the samples; higher is better"),
    ("clip_rel_drop_pct",    "%",          NUMBER, "quality", "CLIP lost against 50 steps; lower is better"),
    ("path_length",          "latent",     ABOVE, "quality", "length of the sampling path; lower is better"),
    ("fd_se",                "distance",   FROM0, "error",   "standard error of fd"),
    ("kd_se",                "distance",   FROM0, "error",   "standard error of kd"),
    ("agreement_se",         "share",      FROM0, "error",   "standard error of agreement"),
    ("fd_inf_se",            "distance",   FROM0, "error",   "standard error of fd_inf"),
    ("fid_inf_se",           "distance",   FROM0, "error",   "standard error of fid_inf"),
    ("fd_effnet_lite0_inf_se", "distance", FROM0, "error",   "standard error of fd_effnet_lite0_inf"),
    ("precision_effnet_lite0_se", "share", FROM0, "error",   "standard error of precision_effnet_lite0"),
    ("recall_effnet_lite0_se", "share",    FROM0, "error",   "standard error of recall_effnet_lite0"),
    ("fid_se",               "distance",   FROM0, "error",   "standard error of fid"),
    ("kid_se",               "distance",   FROM0, "error",   "standard error of kid"),
    ("fd_effnet_lite0_se",   "distance",   FROM0, "error",   "standard error of fd_effnet_lite0"),
    ("kd_effnet_lite0_se",   "distance",   FROM0, "error",   "standard error of kd_effnet_lite0"),
    ("precision_se",         "share",      FROM0, "error",   "standard error of precision"),
    ("recall_se",            "share",      FROM0, "error",   "standard error of recall"),
    ("clip_se",              "score",      FROM0, "error",   "standard error of clip"),
    ("lpips_se",             "distance",   FROM0, "error",   "standard error of lpips"),
    ("psnr_se",              "dB",         FROM0, "error",   "standard error of psnr"),
    ("ssim_se",              "score",      FROM0, "error",   "standard error of ssim"),
    ("crps_se",              "data",       FROM0, "error",   "standard error of crps"),
    ("n_samples_for_metric", "images",     COUNT, "setting", "images behind the quality numbers"),
    ("features",             "",           TEXT,  "setting", "network behind fd and kd"),
    ("reference",            "",           TEXT,  "setting", "hash of the reference statistics"),
    ("weights",              "",           TEXT,  "setting", "hash of the weights sampled"),
    ("seed",                 "",           WHOLE, "setting", "seed of the first image; repeats differ in it"),
    ("device",               "",           TEXT,  "setting", "machine that measured"),
    ("dtype",                "",           TEXT,  "setting", "number format of the network"),
    ("threads",              "threads",    COUNT, "setting", "CPU threads of the run"),
    ("versions",             "",           TEXT,  "setting", "software that measured"),
    ("source",               "",           TEXT,  "setting", "paper and table, or file and commit"),
    ("provenance",           "",           TEXT,  "setting", "read-from-source, or from-memory"),
    ("note",                 "",           TEXT,  "setting", "contradictions and cautions of the row"),
)  # fmt: skip

COLUMNS = {row[0]: Column(*row) for row in _TABLE}
SHOWN = 3  # rows named in one sentence


def names(role=None):
    """Known column names, of one role if asked."""
    return [c.name for c in COLUMNS.values() if role in (None, c.role)]


def higher_is_better(quality):
    """Whether a known quality column rises as it gets better; columns not known are taken to fall."""
    return quality in COLUMNS and COLUMNS[quality].meaning.endswith("higher is better")


def check(table, used=()):
    """What is wrong with the table, one sentence a fault; those in `used` must be full and above 0."""
    held = ", ".join(map(str, table.columns))
    missing = [c for c in used if c not in table.columns]
    if missing:
        return [f"Column {c!r} is missing; the table has {held}." for c in missing]
    others = [c for c in table.columns if c in COLUMNS and c not in used]
    faults = [_check_used(table[c]) for c in used]
    faults += [_check_column(table[c], COLUMNS[c].allowed) for c in others]
    return [f for f in faults if f]


def numbers(column):
    """The column as float64, text becoming NaN."""
    return pd.to_numeric(column, errors="coerce").astype(float)


def _check_column(column, allowed):
    if allowed is TEXT:
        return None
    return _sentence(column, column.notna() & ~_inside(numbers(column), allowed), allowed.words)


def _check_used(column):
    known = COLUMNS.get(column.name)
    allowed = known.allowed if known and known.allowed.low >= 0 else ABOVE
    inside = _inside(numbers(column), allowed) & (numbers(column) > 0)
    return _sentence(column, ~inside, f"{allowed.words}, in every row used" + _above(allowed))


def _above(allowed):
    return "" if allowed.open_low or allowed.low > 0 else " and above 0"


def _inside(values, allowed):
    low = values > allowed.low if allowed.open_low else values >= allowed.low
    return np.isfinite(values) & low & (values <= allowed.high) & ((not allowed.whole) | (values % 1 == 0))


def _sentence(column, bad, words):
    """Name the first bad rows, what they hold and what is allowed."""
    rows = np.flatnonzero(np.asarray(bad))
    if not len(rows):
        return None
    held = ", ".join(f"row {i + 1} holds {_show(column.iloc[i])}" for i in rows[:SHOWN])
    more = f" (and {len(rows) - SHOWN} more rows)" if len(rows) > SHOWN else ""
    return f"Column {column.name!r}: {held}{more}; allowed is {words}."


def _show(value):
    if isinstance(value, str):
        return f"the text {value!r}"
    return "nothing (NaN)" if pd.isna(value) else f"{float(value):g}"
