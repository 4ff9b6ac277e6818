"""Finished tables in, matplotlib Axes out. Nothing is computed here but positions and colours.

Every function draws into `ax`, or into new axes where none is given, and returns it, so that figures compose. Labels of
sizes are coloured from dark to light along one sequential palette that colour-blind readers can order, labels of other
levels (samplers, students) by a qualitative one. A categorical column of labels names every label there is, in order;
its colours are then the same in every figure.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator, PercentFormatter

from scalinglaws import display
from scalinglaws.axes import GREY, INK, MANY, MARK, colours, label_axes, legend, plain_numbers, spaced_numbers, styled

WIDE = 70  # characters of labels that fit side by side under an axis
RUNAWAY = 2.5  # times beyond the values that a figure shows of their intervals


def band(curves, points, x_label, y_label, ax=None):
    """Curves with their intervals, and points; log-log where all values are above 0.

    curves: x, value, low, high, label; points: x, y, label, and se where there are standard errors. Either may be None.
    Into axes that hold other bands already, labels go in colours that are not yet used.
    """
    with styled(ax) as ax:
        tables = [t for t in (curves, points) if t is not None]
        shade = colours(tables[0]["label"])
        for table in tables[1:]:
            shade |= {k: v for k, v in colours(table["label"], ordered=False).items() if k not in shade}
        earlier = ax.get_legend().legend_handles if ax.get_legend() else []
        drawn = {handle.get_label(): handle.get_color() for handle in earlier}
        if drawn:
            free = [c for c in sns.color_palette("colorblind") if c not in drawn.values()]
            shade = {label: free[k % len(free)] for k, label in enumerate(shade)} if free else shade
        if curves is not None:
            for label, rows in curves.groupby("label", observed=True, sort=False):
                _band(ax, rows.sort_values("x"), shade[str(label)])
        if points is not None:
            for label, rows in points.groupby("label", observed=True, sort=False):
                _points(ax, rows["x"], rows["y"], rows.get("se"), shade[str(label)])
        values = [t[c] for t in tables for c in t if c in ("x", "value", "y")]
        scaled = all((v.dropna() > 0).all() for v in values)
        label_axes(ax, x_label, y_label, log=scaled)
        _limit(ax, pd.concat([t[c] for t in tables for c in ("value", "y") if c in t]))
        shown = {str(v) for t in tables for v in t["label"].unique()}
        new = {k if k not in drawn else f"{k} ({len(drawn) + 1})": v for k, v in shade.items() if k in shown}
        legend(ax, drawn | new)
    return ax


def quality_against_cost(points, quality, cost_label, *, law=None, frontier=None, crossovers=None, ax=None):
    """Quality against cost of every size, log-log.

    points: rows of `measured.points`; law: `curves.law_curves`; frontier: `measured.frontier`; crossovers: rows with
    cost and value to mark. cost_label: of the axis, such as `CostModel.label`.
    """
    with styled(ax) as ax:
        shade = colours(_sizes(points))
        for label, rows in points.groupby("model", observed=True):
            rows = rows.sort_values("cost")
            _points(ax, rows["cost"], rows[quality], rows.get(f"{quality}_se"), shade[str(label)], law is None)
        if law is not None:
            for label, rows in law.groupby("label", observed=True):
                _band(ax, rows, shade[str(label)])
        if frontier is not None:
            ax.plot(frontier["cost"], frontier[quality], color=INK, lw=4.5, alpha=0.13, zorder=0,
                    solid_capstyle="round", label="measured frontier")  # fmt: skip
        if crossovers is not None and len(crossovers):
            ax.plot(crossovers["cost"], crossovers["value"], "X", color=MARK, mec="white", ms=9, lw=0, zorder=6,
                    label="neighbouring sizes cross")  # fmt: skip
        label_axes(ax, cost_label, quality)
        _limit(ax, pd.concat([points[quality], *([] if law is None else [law["value"]])]))
        legend(ax, shade, "size")
    return ax


def winners(answers, cost_label, *, measured=None, ax=None):
    """Which size is best at each budget: the law's probabilities, and below them a strip of the measured winner.

    answers: `optimum.at_budgets`; measured: `measured.winners`. cost_label: of the axis.
    """
    with styled(ax) as ax:
        shade = colours(_sizes(answers))
        wide = answers.pivot_table(index="budget", columns="model", values="probability", aggfunc="sum",
                                   observed=True).fillna(0.0)  # fmt: skip
        wide.columns = wide.columns.astype(str)
        shares = [wide[m] if m in wide else 0 * wide.iloc[:, 0] for m in shade]
        ax.stackplot(wide.index, *shares, colors=list(shade.values()), lw=0)
        ax.set(xscale="log", ylim=(0, 1), xlim=(wide.index.min(), wide.index.max()), xlabel=cost_label)
        spaced_numbers(ax)
        ax.set_ylabel("probability of being the best size")
        ax.set_yticks(np.linspace(0, 1, 6))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(False)
        if measured is not None:
            _strip(ax, measured.dropna(subset=["model"]).reset_index(drop=True), shade)
        legend(ax, shade, "size")
    return ax


def candidates(table, x_label, y_label, ax=None):
    """Quality of every size at one budget, with its interval, the best one marked; a row of `Optimum.to_frame` each."""
    with styled(ax) as ax:
        table = table.sort_values("size")
        few = len(table) <= MANY
        x = np.arange(len(table)) if few else table["size"].to_numpy()
        shade = [colours(_sizes(table))[str(model)] for model in table["model"]]
        if few:
            spread = table["low"].rsub(table["value"]), table["high"].sub(table["value"])
            ax.errorbar(x, table["value"], yerr=np.clip(spread, 0, None), fmt="none", ecolor=shade, elinewidth=2)
            names = [(str(row.model), display.count(row.steps, "step")) for row in table.itertuples()]
            if sum(max(map(len, name)) for name in names) <= WIDE:
                ax.set_xticks(x, map("\n".join, names))
            else:
                ax.set_xticks(x, map(", ".join, names), rotation=45, ha="right", rotation_mode="anchor")
        else:
            ax.fill_between(x, table["low"], table["high"], color=GREY, alpha=0.25, lw=0)
            ax.set_xscale("log")
        ax.plot(x, table["value"], color=GREY, lw=1, zorder=2)
        ax.scatter(x, table["value"], s=40 if few else 8, color=shade, zorder=3)
        best = table["best"].to_numpy(bool)
        ax.plot(x[best], table["value"][best], "D", color="none", mec=MARK, mew=1.8, ms=12, zorder=4, label="best")
        ax.set(yscale="log", xlabel=f"size ({x_label})", ylabel=y_label)
        plain_numbers(ax)
        _limit(ax, table["value"])
        ax.margins(x=0.05)
        legend(ax, {})
    return ax


def crossing(curves, marks, x_label, y_label, ax=None):
    """Two curves with their intervals and where they cross: band(), with rows of `Crossover.to_frame` to mark."""
    ax = band(curves, None, x_label, y_label, ax)
    for row in marks.dropna(subset=["cost"]).itertuples():
        ends = [edge if end is None or end != end else end for end, edge in zip((row.low, row.high), ax.get_xlim(),
                                                                              strict=True)]  # fmt: skip
        ax.axvspan(*ends, color=MARK, alpha=0.1, lw=0, zorder=0)
        ax.plot(row.cost, row.value, "X", color=MARK, mec="white", ms=10, zorder=6)
        ax.axvline(row.cost, color=MARK, lw=0.8, ls=":", zorder=1)
    return ax


def held_out(seen, unseen, curve, quality, along, *, ax=None):
    """A size predicted from the others: seen rows in grey, the prediction with its interval, the measured rows.

    seen, unseen: rows with the column `along` and the quality; curve: `along`, value, low, high of the held-out size.
    """
    with styled(ax) as ax:
        dark = colours(["a"])["a"]
        groups = [rows for _, rows in seen.groupby("model")] if seen["model"].nunique() < len(seen) else [seen]
        for rows in groups:
            rows = rows.sort_values(along)
            ax.plot(rows[along], rows[quality], "o-", color=GREY, ms=3.5, lw=0.9, zorder=2)
        ax.plot([], [], "o-", color=GREY, ms=3.5, lw=0.9, label="fitted sizes, measured")
        curve = curve.sort_values(along)
        ax.fill_between(curve[along], curve["low"], curve["high"], color=dark, alpha=0.18, lw=0, label="interval")
        ax.plot(curve[along], curve["value"], color=dark, lw=1.8, label="prediction")
        error = unseen.get(f"{quality}_se")
        ax.errorbar(unseen[along], unseen[quality], yerr=error, fmt="D", ms=5.5, color=MARK, mec="white",
                    mew=0.6, elinewidth=1, zorder=5, label="held out, measured")  # fmt: skip
        label_axes(ax, along.replace("_", " "), quality)
        kept = []  # the measured values themselves are labelled, those at least a quarter apart
        for value in np.unique(pd.concat([seen[along], unseen[along]])):
            if not kept or value >= 1.25 * kept[-1]:
                kept.append(float(value))
        ax.set_xticks(kept, [f"{v:g}" if v < 1e5 else f"{v:.3g}" for v in kept])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax


def predicted_against_measured(predictions, quality, ax=None):
    """Predicted against measured quality, one colour per law, with intervals and the line where both are equal.

    Log-log where all of them are above 0.

    predictions: law, measured, predicted, low, high.
    """
    with styled(ax) as ax:
        shade = colours(predictions["law"], ordered=False)
        for law, rows in predictions.groupby("law", sort=False):
            spread = np.abs(rows[["low", "high"]].to_numpy(float).T - rows["predicted"].to_numpy(float))
            ax.errorbar(rows["measured"], rows["predicted"], spread, fmt="o", color=shade[str(law)], ms=4.5,
                        elinewidth=1, mec="white", mew=0.5, alpha=0.8)  # fmt: skip
        if len(predictions):
            ends = predictions[["measured", "predicted"]].to_numpy(float)
            ax.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color=GREY, lw=1, label="predicted = measured")
        points = predictions[["measured", "predicted"]].stack()
        label_axes(ax, f"measured {quality}", f"predicted {quality}", log=bool((points > 0).all()))
        _limit(ax, points)
        legend(ax, shade, "law")
    return ax


def guidance(measured, quality, ax=None):
    """Quality against guidance, one line per setting, its best guidance marked.

    measured: guidance, quality, setting, best (true for the chosen row), and model, by which lines are coloured.
    """
    with styled(ax) as ax:
        shade = colours(measured["model"] if "model" in measured else measured["setting"])
        for setting, rows in measured.groupby("setting", sort=False):
            rows = rows.sort_values("guidance")
            colour = shade[str(rows["model"].iloc[0]) if "model" in rows else str(setting)]
            ax.plot(rows["guidance"], rows[quality], "o-", color=colour, ms=3.5, lw=1)
            best = rows[rows["best"]]
            ax.plot(best["guidance"], best[quality], "D", color="none", mec=MARK, mew=1.4, ms=8)
        ax.plot([], [], "D", color="none", mec=MARK, mew=1.4, ms=8, label="best of the setting")
        label_axes(ax, "guidance weight", quality, log=False)
        legend(ax, shade, "model" if "model" in measured else "setting")
    return ax


def isoflop_profiles(curves, best, points, x_label, y_label, cost, ax=None):
    """Quality against size at each training budget, the optimum of each marked with the interval of its size.

    curves: budget, size, quality of the law; best: budget, size, quality, low, high; points: budget, size, quality as
    measured, or None; cost: what a budget is of, in words.
    """
    with styled(ax) as ax:
        shade = dict(zip(sorted(best["budget"]), colours(range(len(best))).values(), strict=True))
        for budget, rows in curves.groupby("budget"):
            ax.plot(rows["size"], rows["quality"], color=shade[budget], lw=1.4, zorder=2)
        if points is not None:
            for budget, rows in points.groupby("budget"):
                _points(ax, rows["size"], rows["quality"], None, shade[budget])
        for row in best.itertuples():
            ax.plot([row.low, row.high], [row.quality] * 2, color=MARK, lw=3, alpha=0.45, zorder=4)
        ax.plot(best["size"], best["quality"], "D", color=MARK, mec="white", lw=0, zorder=5, label="best, interval")
        label_axes(ax, x_label, y_label)
        _limit(ax, pd.concat([t["quality"] for t in (curves, points) if t is not None]))
        legend(ax, {f"{value:.2g}": colour for value, colour in shade.items()}, f"training budget\n{cost}")
    return ax


def marks(points, ax):
    """Named points marked in axes that band() drew: x, y, label; the first is the one chosen."""
    handles = [*ax.get_legend().legend_handles]
    for marker, row in zip("Dos^v", points.itertuples(), strict=False):
        colour = MARK if marker == "D" else GREY
        handles += ax.plot(row.x, row.y, marker, color=colour, mec=INK, ms=9, lw=0, zorder=6, label=row.label)
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, alignment="left")
    return ax


def table(rows, hide=()):
    """Rows as a notebook shows them: four digits, no index; a pandas Styler."""
    shown = rows.drop(columns=[c for c in hide if c in rows])
    return shown.style.format(lambda v: f"{v:.4g}" if isinstance(v, float) else v, na_rep="none").hide()


def _sizes(rows):
    """The column of size labels, categorical in rising order of size."""
    if isinstance(rows["model"].dtype, pd.CategoricalDtype):
        return rows["model"]
    return pd.Categorical(rows["model"], rows.sort_values("size")["model"].drop_duplicates(), ordered=True)


def _points(ax, x, y, error, colour, joined=False):
    ax.errorbar(x, y, yerr=error, fmt="o-" if joined else "o", color=colour, ms=4.5, lw=1.2, elinewidth=0.8,
                mec="white", mew=0.5, zorder=3)  # fmt: skip


def _band(ax, rows, colour):
    ax.plot(rows["x"], rows["value"], color=colour, lw=1.4, zorder=2)
    ax.fill_between(rows["x"], rows["low"], rows["high"], color=colour, alpha=0.2, lw=0, zorder=1)


def _strip(ax, measured, shade):
    """The measured winner at each budget, as a strip of colours under the probabilities."""
    logs = np.log(measured["budget"].to_numpy(float))
    middle = (logs[1:] + logs[:-1]) / 2  # colours change half way between neighbours
    ends = [2 * logs[0] - middle[0], 2 * logs[-1] - middle[-1]] if len(middle) else [logs[0] - 0.05, logs[0] + 0.05]
    edges = np.exp([ends[0], *middle, ends[1]])
    for i, model in enumerate(measured["model"]):
        ax.axvspan(edges[i], edges[i + 1], ymax=0.1, color=shade.get(str(model), "#cccccc"), lw=0)
    ax.set_ylim(-0.2, 1)
    ax.axhspan(-0.08, 0, color="white", lw=0, zorder=3)
    ax.text(0.005, -0.04, "measured", transform=ax.get_yaxis_transform(), va="center", fontsize=8, zorder=4)


def _limit(ax, values):
    """Keep y near the values: an interval that runs off by more than a factor leaves the figure readable."""
    values = pd.Series(values, dtype=float).replace([np.inf, -np.inf], np.nan).dropna()
    if len(values) and values.min() > 0 and ax.get_yscale() == "log":
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, values.min() / RUNAWAY), min(high, values.max() * RUNAWAY))
