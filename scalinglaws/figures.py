"""Figures of a whole study, in the style of `plots`: finished tables in, matplotlib Axes out. Nothing is computed here.

One palette: a size has the same colour in every figure, from dark (small) to light.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from scalinglaws.axes import GREY, INK, MARK, colours, label_axes, legend, styled
from scalinglaws.plots import quality_against_cost

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # ticks of logit axes
PERCENT = (-10, -5, 0, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # ticks of losses
LEGEND = 44  # characters of a line of a legend below the axes, of which two stand side by side
MARKERS = {"": "o", "above": "^", "below": "v"}


def best_guidance(settings, lines, quality, ax=None):
    """w* against steps, one colour per size, with intervals; bounds are open triangles; the law's lines behind."""
    with styled(ax) as ax:
        shade = colours(settings["model"])
        for place, (model, rows) in enumerate(settings.groupby("model", observed=True)):
            colour = shade[str(model)]
            line = lines[lines["model"] == model]
            ax.plot(line["steps"], line["w"], color=colour, lw=1.3, zorder=2)
            x = rows["steps"] * 1.025 ** (place - len(shade) / 2)  # side by side, so that intervals can be read
            ends = np.abs(rows[["low", "high"]].clip(0.05, 50).to_numpy(float).T - rows["w"].to_numpy(float))
            ax.errorbar(x, rows["w"], ends, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.6, zorder=1)
            for side, part in rows.groupby("beyond"):
                face = colour if side == "" else "white"
                ax.plot(x[part.index], part["w"], MARKERS[side], color=colour, mfc=face, ms=6, lw=0, zorder=3)
        for side in settings["beyond"].unique():
            if side:
                ax.plot([], [], MARKERS[side], color=INK, mfc="white", lw=0, label=f"{side} this: edge of the grid")
        label_axes(ax, "sampling steps", f"best guidance by {quality}")
        _ticks(ax, settings["steps"])
        ax.set_ylim(settings["w"].min() / 1.6, settings["w"].max() * 1.6)
        legend(ax, shade, "size")
    return ax


def guidance_map(settings, ax=None):
    """w* of every size (down) and number of steps (across), with its number; an edge of the grid as < or >."""
    with styled(ax) as ax:
        wide = settings.pivot(index="model", columns="steps", values="w")
        signs = settings.assign(text=settings["beyond"].map({"": "", "above": ">", "below": "<"})
                                + settings["w"].map("{:.2g}".format))  # fmt: skip
        text = signs.pivot(index="model", columns="steps", values="text").fillna("")
        sns.heatmap(np.log(wide.astype(float)), annot=text, fmt="", cmap="crest", cbar=False, linewidths=1, ax=ax)
        ax.set(xlabel="sampling steps", ylabel="size")
        ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
        ax.grid(False)
    return ax


def guidance_curves(measured, quality, axes=None):
    """Quality against guidance, one line per number of steps: the smallest and the largest size side by side.

    measured: model (categorical, in rising order of size), steps, guidance, quality, and quality_se if known.
    """
    with styled(() if axes is None else axes):  # the style alone
        if axes is None:
            axes = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")[1]
        steps = sorted(measured["steps"].unique())
        shade = dict(zip(map("{:g}".format, steps), sns.color_palette("flare", n_colors=len(steps)), strict=True))
        for ax, model in zip(axes, measured["model"].cat.categories[[0, -1]], strict=True):
            for count, rows in measured[measured["model"] == model].groupby("steps"):
                rows = rows.sort_values("guidance")
                ax.errorbar(rows["guidance"], rows[quality], rows.get(f"{quality}_se"), fmt="o-", ms=4, lw=1.2,
                            color=shade[f"{count:g}"], elinewidth=0.8)  # fmt: skip
            label_axes(ax, "guidance weight", quality)
            _ticks(ax, measured["guidance"])
            ax.set_title(str(model))
        legend(axes[1], shade, "steps")
    return axes


def losses(table, quality, ax=None):
    """Mean loss of each choice as a bar, the worst as a mark above it. table: guidance, mean, worst (per cent)."""
    with styled(ax) as ax:
        x = np.arange(len(table))
        last = ["#4c72b0"] * (len(table) - 1) + [MARK]
        ax.bar(x, table["mean"], color=last, width=0.65, zorder=2)
        ax.plot(x, table["worst"], "_", color=INK, ms=18, mew=1.6, lw=0, zorder=3, label="at worst")
        ax.set_xticks(x, table["guidance"])
        ax.set(xlabel="guidance for all settings", ylabel=f"loss of {quality} against the best guidance (%)")
        ax.set_yscale("symlog", linthresh=10)
        ax.yaxis.set_major_locator(FixedLocator(PERCENT))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.axhline(0, color=GREY, lw=1)
        legend(ax, {})
    return ax


def _ticks(ax, values):
    """Ticks at the values themselves."""
    known = sorted(set(values))
    ax.set_xticks(known, [f"{v:g}" for v in known])
    ax.xaxis.set_minor_locator(NullLocator())


def training_trend(rows, band, envelope, quality, ax=None):
    """Quality against training compute, sizes in colour, the shared trend as a band and the envelope in grey.

    rows: model, size, compute, quality; band: x, value, low, high; envelope: compute, quality.
    """
    with styled(ax) as ax:
        quality_against_cost(rows.assign(cost=rows["compute"]), quality, "training compute (FLOPs)", ax=ax)
        ax.plot(band["x"], band["value"], color=MARK, lw=1.6, zorder=4, label="law of compute alone")
        ax.fill_between(band["x"], band["low"], band["high"], color=MARK, alpha=0.15, lw=0, zorder=1)
        ax.plot(envelope["compute"], envelope["quality"], color=INK, lw=5, alpha=0.15, zorder=0, label="best size")
        legend(ax, colours(rows["model"]), "size")
    return ax


def trend_residuals(rows, quality, ax=None):
    """What a shared trend leaves, in per cent, against training compute, one colour per size.

    rows: model, compute, residual (ln of measured over the trend).
    """
    with styled(ax) as ax:
        shade = colours(rows["model"])
        for model, part in rows.groupby("model", observed=True):
            part = part.sort_values("compute")
            percent = 100 * np.expm1(part["residual"])
            ax.plot(part["compute"], percent, "o-", color=shade[str(model)], ms=4.5, lw=1.2, mec="white", mew=0.5)
        ax.axhline(0, color=MARK, lw=1.4, zorder=1)
        ax.set(xscale="log", xlabel="training compute (FLOPs)", ylabel=f"{quality} against the shared trend (%)")
        legend(ax, shade, "size")
    return ax


def which_size(winners, largest, ax=None):
    """The best size against the budget, one line per account: share (of the largest size's full cost), model, account.

    Lines are set a little apart, so that accounts that agree can be told apart.
    """
    with styled(ax) as ax:
        accounts = list(dict.fromkeys(winners["account"]))
        shade, models = colours(accounts, ordered=False), list(winners["model"].cat.categories)
        for place, (account, rows) in enumerate(winners.groupby("account", sort=False)):
            apart = 0.09 * (place - (len(accounts) - 1) / 2)
            ax.step(rows["share"], rows["model"].cat.codes + apart, where="post", color=shade[account], lw=2)
        ax.axvline(1, color=GREY, lw=1, ls=":")
        ax.set(xscale="log", xlabel=f"budget, 1: {largest} at its most steps, not guided")
        ax.set(ylabel="best size", ylim=(-0.5, len(models) - 0.5))
        ax.set_yticks(range(len(models)), models)
        handles = [plt.Line2D([], [], color=colour, lw=2, label=fill(account, LEGEND))
                   for account, colour in shade.items()]  # fmt: skip
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=1 + (len(handles) > 4),
                  fontsize=8)  # fmt: skip
    return ax


def intervals(rows, x_label, ax=None, reference=0.0):
    """Values with their intervals, one line each, from the top; returns the matplotlib Axes.

    rows: label, value, low, high, and group, one colour each; low and high may be infinite. reference: a line at this
    value, such as that of no effect.
    """
    with styled(ax) as ax:
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


def seconds_against_flops(rows, ax=None):
    """Seconds of a forward pass against its FLOPs, per image: a colour per number format, a marker per batch.

    rows: flops_per_forward, seconds_per_image, share (of the roofline), dtype, sampling_batch. Dashed: the roofline at
    the smallest batch.
    """
    with styled(ax) as ax:
        shade = _by_format(rows, "seconds_per_image", ax)
        for dtype, part in rows[rows["sampling_batch"] == rows["sampling_batch"].min()].groupby("dtype", sort=False):
            part = part.sort_values("flops_per_forward")
            roof = part["share"] * part["seconds_per_image"]
            ax.plot(part["flops_per_forward"], roof, "--", color=shade[dtype], lw=1.2, label=f"{dtype}, roofline")
        label_axes(ax, "FLOPs of a forward pass, per image", "seconds per image")
        ax.legend(fontsize=8)
    return ax


def roofline_share(rows, ax=None):
    """Share of the roofline that each size reaches, in per cent; rows as in seconds_against_flops."""
    with styled(ax) as ax:
        _by_format(rows.assign(share=100 * rows["share"]), "share", ax)
        label_axes(ax, "FLOPs of a forward pass, per image", "share of the roofline (%)", log=False)
        ax.set(xscale="log", ylim=(0, None))
        ax.legend(fontsize=8)
    return ax


def _by_format(rows, y, ax):
    """A line per number format and batch; returns the colours of the formats."""
    shade = colours(rows["dtype"], ordered=False)
    markers = dict(zip(sorted(rows["sampling_batch"].unique()), "os^Dv<>P*X" * 5, strict=False))
    for (dtype, batch), part in rows.groupby(["dtype", "sampling_batch"], sort=False):
        part = part.sort_values("flops_per_forward")
        ax.plot(part["flops_per_forward"], part[y], marker=markers[batch], color=shade[dtype], ms=5, lw=1,
                mec="white", mew=0.5, label=f"{dtype}, batch {batch:g}")  # fmt: skip
    return shade


def best_times(settings, quality, ax=None):
    """The best diffusion time against steps with its intervals, one colour per size; an end of the grid is open.

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
    """Quality against diffusion time, one line per number of steps, a panel per size; returns the Axes.

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
