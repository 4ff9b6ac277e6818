"""The style of all figures: palette, axes, numbers on logarithmic axes, the legend."""

from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullFormatter

INK = "#222222"
MARK = "#d1495b"  # crossings, the best, and what is held out
GREY = "#b5b5b5"
SIZE = (8.2, 4.8)  # inches
MANY = 12  # labels that a legend can hold
FINER = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)  # ticks within a decade
FEWEST = 3  # ticks on an axis
RULES = {
    "axes.grid": True, "grid.color": "#e3e3e3", "grid.linewidth": 0.6, "axes.edgecolor": "#999999",
    "axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False, "figure.dpi": 110,
    "savefig.bbox": "tight", "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip


def colours(labels, ordered=True) -> dict:
    """{label: colour}: of sizes, the first (smallest) darkest; ordered=False: of levels that have no order.

    Of a categorical Series all its categories, in their order.
    """
    if isinstance(getattr(labels, "dtype", None), pd.CategoricalDtype):
        labels, ordered = labels.dtype.categories, labels.dtype.ordered
    labels = list(dict.fromkeys(map(str, labels)))
    if not ordered:
        return dict(zip(labels, sns.color_palette("colorblind", n_colors=len(labels)), strict=True))
    palette = sns.color_palette("viridis", n_colors=256)
    places = np.linspace(10, 225, len(labels)).astype(int) if len(labels) > 1 else [10]
    return {m: palette[i] for m, i in zip(labels, places, strict=True)}


@contextmanager
def styled(ax):
    """The axes to draw into, new ones where none are given, in the style above.

    Only the keys of RULES are set and restored: plt.rc_context would also restore `interactive`, which a notebook sets
    when its first figure is made, and later figures would not be shown.
    """
    before = {key: plt.rcParams[key] for key in RULES}
    plt.rcParams.update(RULES)
    try:
        yield plt.subplots(figsize=SIZE, layout="constrained")[1] if ax is None else ax
    finally:
        plt.rcParams.update(before)


def label_axes(ax, x, y, log=True):
    """Name the axes by the texts x and y; log: both logarithmic, with few and plain numbers at the ticks."""
    ax.set(xlabel=x, ylabel=y)
    ax.margins(x=0.03, y=0.06)
    if log:
        ax.set(xscale="log", yscale="log")
        plain_numbers(ax)
        spaced_numbers(ax)


def plain_numbers(ax):
    """1, 2, 5, 10 ... on a logarithmic y axis, more of them where few of these lie on it."""
    ax.yaxis.set_major_locator(Numbers(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(short))
    ax.yaxis.set_minor_formatter(NullFormatter())


class Numbers(LogLocator):
    """Ticks of a logarithmic axis; of one on which fewer than three lie, at more of the round numbers."""

    def tick_values(self, vmin, vmax):
        """The places of the ticks from vmin to vmax."""
        for locator in (super(), LogLocator(subs=FINER)):
            ticks = locator.tick_values(vmin, vmax)
            if ((ticks >= vmin) & (ticks <= vmax)).sum() >= FEWEST:
                return ticks
        return AutoLocator().tick_values(vmin, vmax)


def spaced_numbers(ax):
    """Powers of ten on a logarithmic x axis, 1, 2, 5, 10 ... where under three lie on it: labels do not overlap."""
    powers = np.diff(np.floor(np.log10(ax.get_xlim())))[0]
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if powers < FEWEST else (1.0,)))
    ax.xaxis.set_major_formatter(FuncFormatter(short))
    ax.xaxis.set_minor_formatter(NullFormatter())


def short(value, _=None):
    """5, 0.02 or 20000 as they are, smaller and larger numbers as 2 x 10^8."""
    if value <= 0 or 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, power = f"{value:.3e}".split("e")
    times = "" if float(mantissa) == 1 else rf"{float(mantissa):g}\times"
    return rf"${times}10^{{{int(power)}}}$"


def legend(ax, shade, title=""):
    """Labels and marks in one legend, right of the axes; labels only where there are few."""
    swatches = [plt.Line2D([], [], marker="o", lw=1.4, color=c, mec="white", label=m) for m, c in shade.items() if m]
    marks, _ = ax.get_legend_handles_labels()
    handles = (swatches if len(swatches) <= MANY else []) + marks
    if handles:
        ax.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0,
                  alignment="left")  # fmt: skip
