"""Figures of questions beside the paper's: finished tables in, matplotlib Axes out. Nothing is computed here."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from scalinglaws.axes import GREY, INK, MARK, colours, label_axes, legend, styled

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # ticks of logit axes


def best_times(settings, quality, ax=None):
    """The best diffusion time against steps with its intervals, one colour a size; an end of the grid is open.

    settings: model (categorical, by rising size), steps, time, low, high, beyond.
    """
    with styled(ax) as ax:
        shade = colours(settings["model"])
        for place, (model, rows) in enumerate(settings.groupby("model", observed=True)):
            x = rows["steps"] * 1.03 ** (place - (len(shade) - 1) / 2)  # side by side, so that intervals can be read
            colour = shade[str(model)]
            ax.plot(x, rows["time"], "-", color=colour, lw=1, alpha=0.6)
            ax.vlines(x, rows["low"], rows["high"], color=colour, lw=1.6, alpha=0.7)
            for beyond, part in rows.groupby("beyond"):
                ax.plot(x[part.index], part["time"], "o", color=colour, mfc=colour if beyond == "" else "white", ms=6)
        ax.axhline(1, color=MARK, lw=1, ls=":", label="the whole schedule")
        ax.set(xscale="log", xlabel="sampling steps", ylabel=f"best diffusion time by {quality}")
        ax.set_xticks(known := sorted(settings["steps"].unique()), [f"{s:g}" for s in known])
        ax.xaxis.set_minor_locator(NullLocator())
        legend(ax, shade, "size")
    return ax


def time_curves(measured, quality, axes=None):
    """Quality against diffusion time, one line a number of steps, a panel a size; returns the Axes.

    measured: model (categorical, by rising size), steps, diffusion_time, quality, quality_se, best.
    """
    with styled(() if axes is None else axes):  # the style alone
        models = measured["model"].cat.categories
        if axes is None:
            shape = {"figsize": (3.3 * len(models) + 1, 4.0), "layout": "constrained", "sharey": True, "squeeze": False}
            axes = plt.subplots(1, len(models), **shape)[1][0]
        steps = sorted(measured["steps"].unique())
        shade = dict(zip(map("{:g}".format, steps), sns.color_palette("flare", n_colors=len(steps)), strict=True))
        for ax, model in zip(axes, models, strict=True):
            for count, rows in measured[measured["model"] == model].groupby("steps"):
                rows, colour = rows.sort_values("diffusion_time"), shade[f"{count:g}"]
                ax.errorbar(rows["diffusion_time"], rows[quality], rows[f"{quality}_se"], fmt="o-", ms=3.5, lw=1.2,
                            color=colour, elinewidth=0.8)  # fmt: skip
                best = rows[rows["best"]]
                ax.plot(best["diffusion_time"], best[quality], "D", color="none", mec=MARK, mew=1.5, ms=9)
            label_axes(ax, "diffusion time (share of the schedule)", quality if ax is axes[0] else "")
            ax.set(xscale="linear", title=str(model))
        legend(axes[-1], shade, "steps")
    return axes


def logit_trends(rows, curves, quality, ax=None):
    """Shares under each shift against the reference's on logit axes: models with errors, the trend as a band.

    rows: shift, model, reference, shifted, their _se, trend, differs; curves: shift, x, value, low, high (shares).
    """
    with styled(ax) as ax:
        shade = colours(rows["shift"], ordered=False)
        for shift, line in curves.groupby("shift", sort=False):
            colour, part = shade[str(shift)], rows[rows["shift"] == shift]
            ax.plot(line["x"], line["value"], color=colour, lw=1.4)
            ax.fill_between(line["x"], line["low"], line["high"], color=colour, alpha=0.15, lw=0)
            ax.errorbar(part["reference"], part["shifted"], part["shifted_se"], part["reference_se"], fmt="none",
                        ecolor=colour, elinewidth=0.8, alpha=0.6)  # fmt: skip
            for of_trend, some in part.groupby("trend"):
                ax.plot(some["reference"], some["shifted"], "o" if of_trend else "s", color=colour, ms=6,
                        mfc=colour if of_trend else "white")  # fmt: skip
            off = part[part["differs"]]
            ax.plot(off["reference"], off["shifted"], "D", color="none", mec=MARK, mew=1.6, ms=12)
        ends = np.array(
            [min(rows["reference"].min(), rows["shifted"].min()), rows[["reference", "shifted"]].max().max()]
        )
        ax.plot(ends, ends, color=GREY, lw=1, ls=":", label="no loss")
        if not rows["trend"].all():
            ax.plot([], [], "s", color=INK, mfc="white", lw=0, label="not of the trend")
        if rows["differs"].any():
            ax.plot([], [], "D", color="none", mec=MARK, mew=1.6, ms=9, lw=0, label="off the trend")
        ax.set(xscale="logit", yscale="logit", xlabel=f"{quality}, reference", ylabel=f"{quality}, shifted")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(FixedLocator(SHARES))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_minor_locator(NullLocator())
        ax.set_xlim(_beside(rows["reference"]))
        ax.set_ylim(_beside(rows["shifted"]))
        legend(ax, shade, "shift")
    return ax


def _beside(shares, by=0.35):
    """Limits a little beyond the shares, on the logit scale."""
    logit = np.log(shares / (1 - shares))
    return tuple(1 / (1 + np.exp(-np.array([logit.min() - by, logit.max() + by]))))
