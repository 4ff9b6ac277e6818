"""The verb compute: what a forward pass of each size takes, its weights random."""

from pathlib import Path

import pandas as pd

from collect.progress import show
from collect.run import compute_surface
from collect.run.sweep import pick_device
from collect.store.tables import write_table
from scalinglaws.measurements import read


def compute(args):
    """A line per row; the file is written after each, so a run that was stopped goes on."""
    known = read(args.out) if Path(args.out).exists() else pd.DataFrame()
    done = set(zip(*(known[c] for c in compute_surface.SAME), strict=True)) if len(known) else ()
    rows = known.to_dict("records")
    for row in compute_surface.surface(
        args.family, args.models, args.batches, args.dtypes, pick_device(args.device), done
    ):
        rows.append(row)
        write_table(pd.DataFrame(rows), args.out)
        show(_line(row))
    show(f"{len(rows)} rows in {args.out}")
    return 0


def _line(row):
    head = f"{row['model']:<8} {row['dtype']:<9} batch {row['sampling_batch']:<4}"
    seconds, roof = row.get("seconds_per_image"), row["roofline_seconds"]
    if not seconds:
        return f"{head} not measured: {row['unknown']}"
    reached = f"{roof / seconds:.0%} of the roofline" if roof else "roofline unknown"
    memory = f"{row['peak_memory_bytes'] / 1e9:.3g} GB" if row["peak_memory_bytes"] else "memory unknown"
    return f"{head} {seconds * 1e3:10.4g} ms/image, {reached}, {memory}"
