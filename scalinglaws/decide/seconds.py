"""What a forward pass costs in seconds beside what it costs in FLOPs: how far one stands for the other.

    seconds = A * FLOPs^b       at one device, number format, batch and number of threads, across sizes

b = 1: FLOPs rank and price sizes as seconds do. b < 1: a small network uses the machine less well, so that it saves
less in seconds than in FLOPs. The roofline beside it is max(FLOPs / peak, bytes / bandwidth), Williams, Waterman and
Patterson 2009, doi:10.1145/1498765.1498785.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalinglaws import display
from scalinglaws.decide.arguments import check_level
from scalinglaws.decide.power import effect
from scalinglaws.decide.rows import rows_of
from scalinglaws.schema import InputError

SETTING = ["device", "threads", "dtype", "sampling_batch"]  # what one line in the logs has in common
NEEDED = ("model", "flops_per_forward", "seconds_per_image", *SETTING)


@dataclass(frozen=True)
class Seconds:
    """Seconds of a forward pass per image against its FLOPs.

    rows: model, device, threads, dtype, sampling_batch, flops_per_forward, seconds_per_image, rate (FLOPs per second),
    share (of the roofline; nan where it is not known), peak_memory_bytes.
    lines: SETTING, sizes, smallest, largest, flops_ratio and seconds_ratio (largest over smallest), exponent, low,
    high.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    level: float

    def __repr__(self):
        return f"<Seconds: {self.answer}>"

    @property
    def answer(self) -> str:
        """Two sentences: of the setting with most sizes, and of the roofline."""
        line = self.lines.loc[self.lines["sizes"].idxmax()]
        where = f"{line['dtype']}, batch {line.sampling_batch:g}"
        meant = (
            "a small size saves less in seconds than in FLOPs" if line.high < 1
            else "a small size saves more in seconds than in FLOPs" if line.low > 1
            else "seconds follow FLOPs as far as these sizes show"
        )  # fmt: skip
        said = (
            f"From {line.smallest} to {line.largest} a forward pass grows {line.flops_ratio:.3g} times in FLOPs and "
            f"{line.seconds_ratio:.3g} times in seconds ({where}): exponent {line.exponent:.2f} "
            f"({self.level:.0%} interval {line.low:.2f} to {line.high:.2f}), {meant}."
        )
        if self.rows["share"].isna().all():
            return f"{said} The roofline of the machine is not known."
        reached = [f"{low:.0%} to {high:.0%} in {dtype}" for dtype, low, high in self._reached()]
        return f"{said} The sizes reach {' and '.join(reached)} of the roofline."

    def _reached(self):
        shares = self.rows.groupby("dtype", sort=False)["share"].agg(["min", "max"]).dropna()
        return shares.itertuples()

    def summary(self) -> str:
        """The sentences, the lines and the rows."""
        return f"{self.answer}\n{display.text_table(self.lines)}\n{display.text_table(self.to_frame())}"

    def to_frame(self) -> pd.DataFrame:
        """One row per size, device, number format and batch."""
        return self.rows.copy()

    def _repr_html_(self):
        return display.html_page("Seconds and FLOPs of a forward pass", self.lines, notes=[self.answer])

    def plot(self, ax=None):
        """Seconds per image against FLOPs, the roofline dashed; returns the matplotlib Axes."""
        from scalinglaws.figures import seconds_against_flops

        return seconds_against_flops(self.rows, ax)

    def plot_share(self, ax=None):
        """Share of the roofline against FLOPs; returns the matplotlib Axes."""
        from scalinglaws.figures import roofline_share

        return roofline_share(self.rows, ax)


def seconds_of_sizes(source, where=None, level=0.9) -> Seconds:
    """The Seconds of a table of forward passes, such as `scalinglaws collect compute` writes.

    source: a bundled study, a file or a DataFrame with model, flops_per_forward, seconds_per_image of one pass, device,
    threads, dtype, sampling_batch, and where they are known roofline_seconds and peak_memory_bytes. where: rows to
    keep, {column: value} or "a=b; c=d". The exponent's interval is that of a least-squares line in logs, Student's t;
    passes of one size are averaged first, since repeating them does not repeat how far the size lies from the line.
    InputError where a column is missing, rows are of several passes (nfe above 1), or no setting has three sizes.

    >>> import scalinglaws as sl
    >>> table = sl.read("mei").assign(device="d", threads=1, dtype="float32", sampling_batch=1, nfe=1)
    >>> table["flops_per_forward"] = table["gflops_per_forward"] * 1e9
    >>> table["seconds_per_image"] = 1e-10 * table["flops_per_forward"] ** 0.9
    >>> float(seconds_of_sizes(table).lines["exponent"].round(6).iloc[0])
    0.9
    """
    check_level(level)
    table = passes_of(source, where).sort_values([*SETTING, "flops_per_forward"])
    lines = [_line(setting, rows, level) for setting, rows in table.groupby(SETTING, dropna=False) if _sizes(rows) > 2]
    if not lines:
        raise InputError("No device, number format and batch has three sizes with seconds: measure more of them.")
    roof = table.get("roofline_seconds", pd.Series(np.nan, table.index))
    memory = table.get("peak_memory_bytes", pd.Series(np.nan, table.index))
    rate, share = table["flops_per_forward"] / table["seconds_per_image"], roof / table["seconds_per_image"]
    rows = table[["model", *SETTING, "flops_per_forward", "seconds_per_image"]]
    rows = rows.assign(rate=rate, share=share, peak_memory_bytes=memory).reset_index(drop=True)
    return Seconds(rows, pd.DataFrame(lines), level)


def passes_of(source, where=None):
    """Rows of timed forward passes of a study, path or table, those without seconds left out.

    InputError where a column is missing or rows are of several passes (nfe above 1).
    """
    table = rows_of(source, where)
    if missing := [c for c in NEEDED if c not in table]:
        raise InputError(f"The table has no column {', '.join(missing)}: `scalinglaws collect compute` measures them.")
    if "nfe" in table and (several := table["nfe"].dropna() > 1).any():
        raise InputError(f"{several.sum()} rows are of several forward passes (nfe above 1): give rows of one pass.")
    return table[table["seconds_per_image"].notna()]


def _sizes(rows):
    return rows["flops_per_forward"].nunique()


def _line(setting, rows, level):
    from scipy.stats import linregress

    logs = np.log(rows[["flops_per_forward", "seconds_per_image"]]).groupby("flops_per_forward", as_index=False).mean()
    line = linregress(logs["flops_per_forward"], logs["seconds_per_image"])
    slope = effect(line.slope, line.stderr, len(logs) - 2, level)
    first, last = rows.iloc[0], rows.iloc[-1]
    ratios = {f"{name.split('_')[0]}_ratio": last[name] / first[name] for name in
              ("flops_per_forward", "seconds_per_image")}  # fmt: skip
    ends = {"sizes": _sizes(rows), "smallest": first["model"], "largest": last["model"]}
    return dict(zip(SETTING, setting, strict=True)) | ends | ratios | {
        "exponent": slope.value, "low": slope.low, "high": slope.high
    }  # fmt: skip
