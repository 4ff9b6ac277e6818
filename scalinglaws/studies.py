"""The bundled studies by name: what papers printed, and the family this project trained and measured.

load("edm2")        the table, checked
describe("edm2")    its source, families, quality columns and caveats
read(x)             a bundled name, or anything `measurements.read` takes
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from scalinglaws import measurements, schema
from scalinglaws.schema import InputError

HERE = Path(__file__).resolve().parent
HOMES = (HERE / "data", HERE.parent / "data")  # of the tables, in the wheel and in the checkout
FOLDERS = ("published", "measurements")  # folders of data/ that hold studies, one file per study

# name: (title, caveats); the note columns of the tables hold the caveats of single rows
KNOWN = {
    "tiny-ldm": ("Latent diffusion of Fashion-MNIST, trained and measured here", (
        "fd and kd use the shipped feature network and are not FID: compare with nothing else.",
        "Seconds of ddim at 16 steps and more are those of runs by diffusers' own, which calls the network as often.")),
    "tiny-ldm-strides": ("tiny-ldm by diffusers' own DDIM, whose strides fall short at 16 steps and more", (
        "The rows of tiny-ldm with sampler ddim are the same cells by contiguous steps.",)),
    "tiny-ldm-training": ("The same family at every snapshot of its training, 8 steps of DPM-Solver++ 2M", (
        "One training of each size, all at the same 125 to 8,000 training steps.",
        "fd and kd use the shipped feature network and are not FID: compare with nothing else.")),
    "tiny-t2i": ("Text-to-image latent diffusion of emoji scenes, trained and measured here", (
        "fd_effnet_lite0 is on ImageNet's features at 96 pixels, fd on the family's judge: neither is FID.",
        "1,000 images per cell: fd_effnet_lite0 at 50 steps is 6 to 18 % above that of infinitely many.",
        "fd_effnet_lite0 is best at about 8 steps and rises from there; unguided fd is so up to c16,",
        "while from c24 on it falls to 50 steps and stays.",
        "agreement is with the prompt, by the judge, which tells no sizes above c24 apart.")),
    "tiny-t2i-strides": ("tiny-t2i by diffusers' own DDIM, whose strides fall short at 16, 32 and 64 steps", (
        "The rows of tiny-t2i with sampler ddim are the same cells by contiguous steps.",)),
    "tiny-t2i-training": ("The same family at doubling snapshots of its training, 16 steps of DDIM, guidance 2", (
        "One training of each size; tiny-t2i-seeds.csv has others of c8, c16, c24, c32, c48, c64 at its end.",
        "Distances as in tiny-t2i.")),
    "tiny-t2i-5120": ("The same seven sizes by DDIM, 5,120 images per cell: 1 to 32 steps unguided, 50 at guidance 2", (
        "fd_inf is the distance extrapolated to infinitely many images.", "Distances as in tiny-t2i.")),
    "tiny-t2i-held": ("tiny-t2i on captions of pairs and of names that no training scene has, beside others", (
        "dataset: prompts (names and styles of the training, new scenes), pairs (names seen in other styles), names.",
        "agreement is by the judge, which has seen every name; 16 steps of DDIM, guidance 2, 1,000 images.")),
    "tiny-t2i-interval": ("tiny-t2i guided in an interval of noise levels beside throughout, 16 steps of DDIM", (
        "guidance_interval holds noise-to-signal ratios; empty: guidance throughout, rows of tiny-t2i.",
        "Distances as in tiny-t2i.")),
    "tiny-t2i-super-resolution": ("tiny-t2i fine-tuned to super-resolution, 4 times from 8 pixels", (
        "One training of each size, with pretraining and (three sizes) without; 500 images of one seed.",
        "fd is on the judge's features; 500 of the targets themselves have 2.53, the autoencoder's images 2.59.")),
    "tiny-t2i-students": ("Consistency students of tiny-t2i beside their teachers, guidance 2", (
        "One student of each size; 500 images of one seed, so that fd is not that of tiny-t2i's 1,000.",)),
    "tiny-ldm-diffusion-time": ("tiny-ldm sampled from shares of its noise schedule at 2 to 16 steps", (
        "Three sizes by DDIM; c16 alone by DPM-Solver++ 2M, at 4, 8 and 16 steps and six shares.",
        "1,000 images of one seed, the same start noise at every share; an empty diffusion_time is the whole schedule.",
        "fd and kd use the shipped feature network and are not FID: compare with nothing else.")),
    "tiny-t2i-held-training": ("Snapshots of tiny-t2i on captions of unseen pairs and names, 16 steps of DDIM", (
        "Snapshots of c8, c16 and c32 at 500 and 2,000 steps; 1,000 images of one seed. tiny-t2i-held has the ends.",
        "Rows of prompts are those of tiny-t2i-training, of weights not yet rounded to float16.")),
    "tiny-t2i-subject": ("DreamBooth subjects of tiny-t2i, before and after, 16 steps of DDIM, guidance 2", (
        "Four subjects (column dataset) of 5 images each, one training of each size and subject; 120 images a cell.",
        "Rows of NAME-class are of the subject's class and hold its diversity alone.",
        "Similarity and diversity are cosines of the family's judge, not DINO or LPIPS; it hardly sees fine detail.")),
    "tiny-series": ("Forecasters of weekly CO2 by CRPS: size, steps, three forward processes, three training seeds", (
        "crps in ppm of 8 weeks, 20 forecasts for each of 104 contexts from 1986; trained on the weeks before.",
        "crps_persistence, crps_year_ago and crps_regression: forecasts without a network, on the same weeks.",
        "All rows score the same weeks: crps_se, over contexts, is an error of the level, not of differences.",
        "interpolant is the forward process; but for flow, the sampler euler is DDIM.")),
    "mei": ("Mei et al. 2024, eleven latent diffusion U-Nets, Table 1", (
        "The 39M row is a misprint: 25.3 GFLOPs contradict its cost of 0.07 (56.9 would agree).",
        "GFLOPs are FLOPs, not multiply-adds as in DiT.",
        "One number of steps only (50): the paper's step sweeps exist as plots, without numbers.")),
    "mei-compute": ("A forward pass of the U-Nets of Mei et al. 2024, timed here with random weights", (
        "Two cores of a virtual machine, no quality: seconds of another machine are others.",
        "The roofline is that of peaks which a short trial on the same machine reached.")),
    "tiny-t2i-compute": ("A forward pass of tiny-t2i's seven sizes, timed here with random weights", (
        "Two cores of a virtual machine, no quality; batches of 1 and of 125.",)),
    "edm2": ("Karras et al. 2023, EDM2, six sizes of ImageNet-512", (
        "Sizes saw different amounts of training data: a law in size confounds the two.",
        "Guidance uses a small guide network: cost is not doubled; nfe counts both networks.",
        "fid and fd_dinov2 come from different EMA lengths, so they stand in different families.",
        "Each number is the best of several draws.")),
    "edm2-guidance": ("Kynkäänniemi et al. 2024, guidance interval on EDM2 and DiT", (
        "guidance is the weight that is best for FID; FD-DINOv2 used its own weight.",)),
    "edm2-students": ("Students distilled from EDM2 (NCVSD, SiDA, ECM, AYF), size by steps", (
        "Two rows are recalled, not read (column provenance).",)),
    "dit": ("Peebles and Xie 2022, DiT, four sizes by three patch sizes", (
        "gflops_per_forward are multiply-adds.",
        "FID from 10k and from 50k images coexist: filter on n_samples_for_metric.",
        "GFLOPs alone do not explain all twelve models: patch size is a second variable.")),
    "sit": ("Ma et al. 2024, SiT against DiT by size", ("gflops_per_forward are multiply-adds.",)),
    "sit-samplers": ("Ma et al. 2024, SiT interpolants and samplers", (
        "The number of images behind the ablation's FID is not confirmed.",)),
    "udit": ("Tian et al. 2024, U-DiT by size and by training", ("gflops_per_forward are multiply-adds.",)),
    "dico": ("DiCo, DiC, DiG and DiT at 400k steps", ("gflops_per_forward are multiply-adds.",)),
    "ddt": ("DDT against its baseline at 400k steps", (
        "gflops_per_forward are those of the same-size DiT, in multiply-adds.",)),
    "mdt": ("MDT by size, read second-hand", ("Weakest source here: an example, not a gate.",)),
    "fitv2": ("FiTv2 configurations, training by guidance", ()),
    "bksdm": ("BK-SDM, pruned and distilled Stable Diffusion", ("params are those of the U-Net only.",)),
    "ddim": ("DDIM, eta by steps on two data sets", ()),
    "dpm-solver": ("DPM-Solver, samplers by network evaluations", ("Read second-hand.",)),
    "diff-solvers": ("diff-solvers, eight samplers by network evaluations", ()),
    "ect": ("Easy consistency tuning, training by steps", ()),
    "fewstep": ("Few-step generators of ImageNet-256", (
        "Parameters of iMF and all of DMF were read second-hand.",)),
    "ucgm": ("UCGM, one sampler over many models, steps", ()),
    "tstitch": ("T-Stitch, share of the steps given to a small network", (
        "FID from 5k images: filter on n_samples_for_metric before comparing.",
        "The best share lies inside the range, not at an end.")),
    "sana": ("SANA and SANA-Sprint, text to image", (
        "FID does not improve with size: the right answer is 'no law'.",
        "clip is in percent.", "Read second-hand.")),
    "sd3": ("Stable Diffusion 3, depth by steps", ("params are not in the table.",)),
    "mar": ("MAR and relatives, model by autoregressive and diffusion steps", (
        "Cells of the L rows were garbled in the copy read.",)),
    "autoregressive": ("VAR, LlamaGen and RAR by size", ("params of RAR are recalled, not read.",)),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What a bundled study is; `quality` are its quality columns, `caveats` are to be read before fitting."""

    name: str
    title: str
    rows: int
    families: tuple
    quality: tuple
    sources: tuple
    caveats: tuple


def names():
    """Names of the studies that are there, in the order of `KNOWN`."""
    return [name for name in KNOWN if _file(name)]


def load(name, family=None):
    """The study's table; one of its families if asked."""
    path = _file(name)
    if path is None:
        raise InputError(f"No study named {name!r}. Known studies: {', '.join(names())}.")
    table = measurements.read(path)
    return measurements.where(table, family=family) if family else table


def describe(name):
    """Source, size, families, quality columns and caveats of a study."""
    table = load(name)
    quality = tuple(c for c in schema.names("quality") if c in table and table[c].notna().any())
    sources = tuple(dict.fromkeys(table["source"].dropna())) if "source" in table else ()
    title, caveats = KNOWN[name]
    return Study(name, title, len(table), tuple(measurements.families(table)), quality, sources, caveats)


def read(source, needs=(), quality=None, strict=False, named=None):
    """A bundled study by its name, or a csv, parquet, store, DataFrame or list: one tidy, checked table.

    See `measurements.read`: a row without a value in `needs` or `quality` is left out, or refused with `strict`.

    >>> len(read("mei", quality="fid"))
    11
    """
    called = isinstance(source, str) and "://" not in source and not Path(source).exists()
    path = _file(source) if called else None
    if called and not path and not Path(source).suffix:
        close = difflib.get_close_matches(source, names(), 1)
        hint = f" Do you mean {close[0]!r}?" if close else ""
        raise InputError(f"No file or study named {source!r}.{hint} Bundled studies: {', '.join(names())}.")
    return measurements.read(path or source, needs, quality, strict, named)


def _file(name):
    """Path of the study's table, in the wheel or in the checkout; None if there is none."""
    if name not in KNOWN:
        return None
    folders = [home / folder for home in HOMES for folder in FOLDERS]
    places = [folder / f"{name}{end}" for folder in folders for end in (".parquet", ".csv")]
    return next((p for p in places if p.exists()), None)
