"""Files to start from: a small csv of real measurements and a sweep file."""

from pathlib import Path

from scalinglaws import measurements, studies
from scalinglaws.schema import InputError

TABLE, SWEEP = "runs.csv", "sweep.yaml"
COLUMNS = ("model", "params", "flops_per_forward", "sampler", "steps", "guidance", "nfe", "seconds_per_image", "fd",
           "fd_se", "agreement", "n_samples_for_metric", "features", "device", "seed")  # fmt: skip
SIZES, STEPS = ("c8", "c12", "c16", "c24", "c32"), (4, 8, 16, 32, 64)

HEAD = """\
# Example: 25 measured cells of tiny-ldm, latent diffusion models of Fashion-MNIST in five sizes, DDIM without guidance.
# Source: measured for this package, data/measurements/tiny-ldm.csv (2,000 samples per cell, AMD EPYC, 2 threads).
# One row a measurement. Write your own below the header; `scalinglaws studies` lists published tables.
# fd: Frechet distance, lower is better; agreement: class accuracy, higher is better; seconds_per_image: CPU time.
"""
SWEEP_TEXT = """\
# What to measure: every combination of sizes, samplers, steps and guidance is one cell.
#   scalinglaws collect plan {name}      what it will cost, before anything runs
#   scalinglaws collect run {name} --store runs/first
#   scalinglaws ask runs/first
family: {family}
sizes: [8, 16, 32]
samplers: [ddim]
steps: [4, 8, 16, 32]
guidance: [1.0]
samples: 2000
seed: 0
"""


def write(folder="."):
    """Write the example table and sweep file into `folder`; (paths, commands to try next). Nothing is overwritten."""
    folder = Path(folder)
    table, sweep = folder / TABLE, folder / SWEEP
    for path in (table, sweep):
        if path.exists():
            raise InputError(f"{str(path)!r} is there already: nothing was written. Name another folder.")
    known = measurements.where(studies.load("tiny-ldm"), sampler="ddim", guidance=1)
    rows = known[known["model"].isin(SIZES) & known["steps"].isin(STEPS)]
    rows = rows[[c for c in COLUMNS if c in rows]]
    trained = Path(__file__).resolve().parents[1] / "data" / "models" / "tiny-ldm"  # in a checkout, else by name
    family = trained if trained.is_dir() else "sd-sizes"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.write_text(HEAD + rows.to_csv(index=False), encoding="utf-8")
        sweep.write_text(SWEEP_TEXT.format(name=sweep, family=family), encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write into {str(folder)!r}: {error.strerror}. Name another folder.") from error
    return [table, sweep], [
        f"scalinglaws ask {table} --budget '200 MFLOPs'",
        f"scalinglaws fit {table}",
        f"scalinglaws optimum {table} --budget 2ms",
        f"scalinglaws crossover {table} --between c8 c32",
        f"scalinglaws collect plan {sweep}",
    ]
