"""A forest plot: one line a quantity, its value and interval, in the style of `plots`."""

import numpy as np

from scalinglaws.plots import INK, MARK, _axes, colours


def intervals(rows, x_label, ax=None, reference=0.0):
    """Values with their intervals, one line each, from the top; returns the matplotlib Axes.

    rows: label, value, low, high, and group, one colour each; low and high may be infinite. reference: a line at this
    value, such as that of no effect.
    """
    with _axes(ax) as ax:
        shade = colours(rows["group"], ordered=False)
        place = np.arange(len(rows))[::-1]
        ends = rows[["value", "low", "high"]].replace([np.inf, -np.inf], np.nan)
        span = np.nanmin(ends), np.nanmax(ends)
        edge = (span[0] - (span[1] - span[0]), span[1] + (span[1] - span[0]))
        for y, row in zip(place, rows.itertuples(), strict=True):
            low, high = np.clip([row.low, row.high], *edge)
            ax.plot([low, high], [y, y], color=shade[str(row.group)], lw=2)
            ax.plot(row.value, y, "o", color=shade[str(row.group)], mec="white", ms=8)
        ax.axvline(reference, color=MARK, lw=0.9, ls=":")
        ax.set_yticks(place, rows["label"], color=INK)
        ax.set(xlabel=x_label, ylim=(-0.6, len(rows) - 0.4))
        ax.grid(axis="y", visible=False)
    return ax
