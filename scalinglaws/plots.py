"""Finished tables in, figures out. Nothing is computed here but positions and colours.

Sizes are coloured from dark to light along one sequential palette that colour-blind readers can order.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

UNITS = {"flops": "FLOPs", "seconds": "s", "joules": "J", "money": "money"}
INK = "#222222"
RULES = {
    "axes.grid": True, "grid.color": "#e3e3e3", "grid.linewidth": 0.6, "axes.edgecolor": "#999999",
    "axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False, "figure.dpi": 110,
    "savefig.bbox": "tight", "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip


def colours(models):
    """{label: colour}, the first (smallest) darkest."""
    palette = sns.color_palette("viridis", n_colors=256)
    places = np.linspace(10, 225, len(models)).astype(int) if len(models) > 1 else [10]
    return {m: palette[i] for m, i in zip(models, places, strict=True)}


def quality_against_cost(measured, quality, unit="flops", law=None, frontier=None, crossings=None, title=""):
    """Quality against cost of every size, log-log.

    measured: rows of `frontier.priced_rows` with `size`; law: `priced.law_curves`; frontier: `measured_frontier`;
    crossings: rows with cost and value to mark.
    """
    with plt.rc_context(RULES):
        figure, ax = plt.subplots(figsize=(8.2, 4.8), layout="constrained")
        shade = colours(_order(measured))
        for model, rows in measured.groupby("model"):
            _points(ax, rows.sort_values("cost"), quality, shade[model], str(model), law is None)
        if law is not None:
            for model, rows in law.groupby("model"):
                _band(ax, rows, shade[model])
        _frontier(ax, frontier, quality)
        _marks(ax, crossings)
        _log_axes(ax, f"sampling cost an image ({UNITS.get(unit, unit)})", quality)
        _legend(ax, shade, "size")
        ax.set_title(title)
    return _done(figure)


def winners(answers, measured=None, unit="flops", title=""):
    """Who wins at each budget: the law's probability of being best, and below it the measured winner.

    answers: `optimal.answers`; measured: `frontier.winners`.
    """
    with plt.rc_context(RULES):
        models = _order(answers)
        shade = colours(models)
        rows, heights = (2, [5, 1]) if measured is not None else (1, [1])
        figure, axes = plt.subplots(
            rows, 1, figsize=(8.2, 3.8), sharex=True, height_ratios=heights, squeeze=False, layout="constrained"
        )
        _probabilities(axes[0, 0], answers, models, shade)
        if measured is not None:
            _strip(axes[1, 0], measured, shade)
        axes[-1, 0].set_xlabel(f"budget an image ({UNITS.get(unit, unit)})")
        axes[0, 0].set_title(title)
        _legend(axes[0, 0], shade, "size")
    return _done(figure)


def held_out(seen, unseen, curve, quality, along, title=""):
    """A size predicted from the others: seen rows in grey, the prediction with its interval, the measured rows.

    seen, unseen: rows with `along` and the quality; curve: `along`, value, low, high of the held-out size.
    """
    with plt.rc_context(RULES):
        figure, ax = plt.subplots(figsize=(8.2, 4.6), layout="constrained")
        dark = colours(["a"])["a"]
        groups = [rows for _, rows in seen.groupby("model")] if seen["model"].nunique() < len(seen) else [seen]
        for rows in groups:
            rows = rows.sort_values(along)
            ax.plot(rows[along], rows[quality], "o-", color="#b5b5b5", ms=3.5, lw=0.9, zorder=2)
        ax.plot([], [], "o-", color="#b5b5b5", ms=3.5, lw=0.9, label="fitted sizes, measured")
        curve = curve.sort_values(along)
        ax.fill_between(curve[along], curve["low"], curve["high"], color=dark, alpha=0.18, lw=0, label="interval")
        ax.plot(curve[along], curve["value"], color=dark, lw=1.8, label="prediction")
        error = unseen.get(f"{quality}_se")
        ax.errorbar(unseen[along], unseen[quality], yerr=error, fmt="D", ms=5.5, color="#d1495b", mec="white",
                    mew=0.6, elinewidth=1, zorder=5, label="held out, measured")  # fmt: skip
        _log_axes(ax, along.replace("_", " "), quality)
        _measured_ticks(ax, pd.concat([seen[along], unseen[along]]))
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
        ax.set_title(title)
    return _done(figure)


def table(rows, hide=()):
    """Rows as a page shows them: four digits, no index."""
    shown = rows.drop(columns=[c for c in hide if c in rows])
    return shown.style.format(lambda v: f"{v:.4g}" if isinstance(v, float) else v, na_rep="none").hide()


def _done(figure):
    """The figure, forgotten by pyplot: a notebook shows it once, as the cell's value."""
    plt.close(figure)
    return figure


def _order(table):
    """Labels by rising size."""
    return [str(m) for m in table.sort_values("size")["model"].drop_duplicates()]


def _points(ax, rows, quality, colour, label, joined):
    error = rows.get(f"{quality}_se")
    line = "o-" if joined else "o"
    ax.errorbar(rows["cost"], rows[quality], yerr=error, fmt=line, color=colour, ms=4.5, lw=1.2, elinewidth=0.8,
                mec="white", mew=0.5, zorder=3)  # fmt: skip


def _band(ax, rows, colour):
    ax.plot(rows["cost"], rows["value"], color=colour, lw=1.4, zorder=2)
    ax.fill_between(rows["cost"], rows["low"], rows["high"], color=colour, alpha=0.2, lw=0, zorder=1)


def _frontier(ax, rows, quality):
    if rows is not None:
        ax.plot(rows["cost"], rows[quality], color=INK, lw=4.5, alpha=0.13, zorder=0, solid_capstyle="round",
                label="measured frontier")  # fmt: skip


def _marks(ax, crossings):
    if crossings is not None and len(crossings):
        ax.plot(crossings["cost"], crossings["value"], "X", color="#d1495b", mec="white", ms=9, lw=0, zorder=6,
                label="neighbours swap (law)")  # fmt: skip


def _probabilities(ax, answers, models, shade):
    """Stacked shares of refits in which each size is best."""
    wide = answers.pivot_table(index="budget", columns="model", values="probability", aggfunc="sum").fillna(0.0)
    shares = [wide[m] if m in wide else 0 * wide.iloc[:, 0] for m in models]
    ax.stackplot(wide.index, *shares, colors=[shade[m] for m in models], lw=0)
    ax.set(xscale="log", ylim=(0, 1), xlim=(wide.index.min(), wide.index.max()), ylabel="probability of being best")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(False)


def _strip(ax, measured, shade):
    """The measured winner at each budget, as a coloured strip."""
    known = measured.dropna(subset=["model"]).reset_index(drop=True)
    edges = _edges(known["budget"].to_numpy(float))
    for i, model in enumerate(known["model"]):
        ax.axvspan(edges[i], edges[i + 1], color=shade.get(str(model), "#cccccc"), lw=0)
    ax.set(yticks=[])
    ax.set_ylabel("measured", rotation=0, ha="right", va="center")
    ax.grid(False)


def _edges(x):
    """Borders half way between neighbours in logs."""
    logs = np.log(x)
    if len(x) == 1:
        return np.exp([logs[0] - 0.05, logs[0] + 0.05])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp([2 * logs[0] - middle[0], *middle, 2 * logs[-1] - middle[-1]])


def _log_axes(ax, x, y):
    ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.03, y=0.06)


def _measured_ticks(ax, values):
    """Label the measured values themselves, those at least a quarter apart."""
    kept = []
    for value in np.unique(values):
        if not kept or value >= 1.25 * kept[-1]:
            kept.append(float(value))
    ax.set_xticks(kept, [f"{v:g}" for v in kept])
    ax.xaxis.set_minor_locator(NullLocator())


def _legend(ax, shade, title):
    """Sizes and marks in one legend, right of the axes."""
    swatches = [plt.Line2D([], [], marker="o", lw=1.4, color=c, mec="white", label=m) for m, c in shade.items()]
    marks, _ = ax.get_legend_handles_labels()
    known = [m for m in marks if m.get_label() in ("measured frontier", "neighbours swap (law)")]
    ax.legend(handles=swatches + known, title=title, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0,
              alignment="left")  # fmt: skip
