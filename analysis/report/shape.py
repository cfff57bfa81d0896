"""Figures of the relation's shape: is it a line, how skewed are the counts, what if other bins were drawn?

Not here: the fits; figures by test set (`sets.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fits.published import published_fit
from . import drawing as draw
from .cell import Cell
from .contents import Drawing, Plot, Table
from .relation import count_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GROUPS = 12  # of concepts with like counts, in the figure of the shape
_EDGES = (6, 7, 8, 10, 12, 14, 16, 20, 24)
_LEFT_OUT = ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 2), (0, 4), (3, 0))
_CURVES = (("line", draw.INSIDE, "solid"), ("quadratic", "#009e73", "dash"), ("spline", "#cc79a7", "dot"))
_STYLES = {"solid": "-", "dash": "--", "dot": ":"}


def shape(cell: Cell, number: int) -> Drawing | None:
    """Give mean accuracy of concepts with like counts, test sets' means taken off, with a line and two curves."""
    curve = cell.curve
    if curve is None:
        return None
    places, means, reach, sizes = group_means(cell)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": draw.rounded(curve.grid),
            "y": draw.rounded(getattr(curve, name), 3),
            "line": {"color": colour, "width": 2.2, "dash": dash},
            "hoverinfo": "skip",
        }
        for name, colour, dash in _CURVES
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "means of concepts with like counts",
            "x": draw.rounded(places),
            "y": draw.rounded(means, 3),
            "error_y": {
                "type": "data",
                "array": draw.rounded(reach, 3),
                "color": draw.PLAIN,
                "thickness": 1.4,
                "width": 0,
            },
            "customdata": sizes,
            "hovertemplate": "%{customdata:,} concepts: %{y:.1f} %<extra></extra>",
            "marker": {"size": 8, "color": draw.PLAIN},
        }
    )
    layout = {
        "xaxis": draw.count_axis(float(cell.counts.max()), draw.plain(count_label(cell))),
        "yaxis": {"title": {"text": "accuracy at the mean test set, %"}, "zeroline": False},
        "legend": {"orientation": "h", "x": 0, "y": 1.12},
        "margin": {"t": 40},
    }
    bend = curve.bend
    sentence = (
        f"Accuracy with each test set's own level taken off: means of {_GROUPS} groups of concepts with like counts "
        "(bars are two standard errors, as if concepts were independent), and what a line, a quadratic and a natural "
        f"spline make of all concepts. The bend is {draw.number_text(bend)} points per squared decade "
        f"({draw.interval_text(curve.bend_interval.lower, curve.bend_interval.upper)}); AIC of the line less that of "
        f"the spline is {draw.number_text(curve.akaike_line - curve.akaike_spline, 1)}, positive where the curve "
        "describes better."
    )
    rows = [
        [draw.number_text(10**place - 1, 0), f"{size:,}", draw.number_text(mean), draw.number_text(error)]
        for place, size, mean, error in zip(places, sizes, means, reach, strict=True)
    ]
    table = Table("Groups of like counts", ("count", "concepts", "accuracy, %", "two standard errors"), rows, ())
    plot = Plot(f"shape-{number}", traces, layout)
    return Drawing("shape", "Is it a line?", sentence, [plot], table)


def group_means(cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Group concepts by count: those at zero, and equal numbers of the others.

    Returns
    -------
    tuple
        Mean places on the axis of log10(1 + count), mean accuracies with test sets' own levels taken off, two standard
        errors of these, and sizes.
    """
    x = cell.decades
    slope = cell.apart.within if cell.apart else 0.0
    level = np.zeros(len(x))
    for each in cell.sets:
        level[cell.tasks == each.task] = each.line.mean_y - slope * (each.line.mean_x - x.mean())
    adjusted = cell.values - level + cell.values.mean()
    found = np.flatnonzero(cell.counts > 0)
    found = found[np.argsort(x[found], kind="stable")]
    groups = [np.flatnonzero(cell.counts == 0), *np.array_split(found, min(_GROUPS, len(found)) or 1)]
    groups = [group for group in groups if len(group)]
    errors = [
        2 * adjusted[group].std(ddof=1) / math.sqrt(len(group)) if len(group) > 1 else math.nan for group in groups
    ]
    return (
        np.array([x[group].mean() for group in groups]),
        np.array([adjusted[group].mean() for group in groups]),
        np.array(errors),
        [len(group) for group in groups],
    )


def sensitivity(cell: Cell, number: int) -> Drawing | None:
    """Give the published r over other numbers of edges and other bins left out, for the page."""
    found = sensitivity_grid(cell)
    if not np.isfinite(found).any():
        return None
    columns = [f"{low} / {high}" for low, high in _LEFT_OUT]
    rows = [str(edges) for edges in _EDGES]
    texts = [[draw.r_text(value) if math.isfinite(value) else "" for value in row] for row in found]
    trace = {
        "type": "heatmap",
        "x": columns,
        "y": rows,
        "z": [draw.rounded(row) for row in found],
        "text": texts,
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} edges, %{x} bins left out below / above: r = %{text}<extra></extra>",
        "colorscale": [[0, "#0072b2"], [0.5, "#f2f2f2"], [1, "#e8853a"]],
        "zmin": -1,
        "zmax": 1,
        "showscale": False,
        "textfont": {"color": "#1f1e1b"},
        "xgap": 2,
        "ygap": 2,
    }
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "bins left out below / above"}, "type": "category", "showgrid": False},
        "yaxis": {"title": {"text": "number of edges"}, "type": "category", "showgrid": False},
    }
    own = cell.published
    sentence = (
        "The r of the same procedure with other numbers of edges and other bins left out; as published it has "
        f"{len(own.edges)} edges and r = {draw.r_text(own.r)}. Here it lies between "
        f"{draw.r_text(float(np.nanmin(found)))} and {draw.r_text(float(np.nanmax(found)))}, with the same concepts."
    )
    table = Table(
        "r by edges and bins left out",
        ("edges", *columns),
        [[edges, *row] for edges, row in zip(rows, texts, strict=True)],
        (),
    )
    return Drawing(
        "sensitivity",
        "What if other bins were drawn?",
        sentence,
        [Plot(f"sensitivity-{number}", [trace], layout)],
        table,
    )


def sensitivity_grid(cell: Cell) -> np.ndarray:
    """Compute the published r for each number of edges (rows) and each pair of bins left out (columns)."""
    counts, values = cell.published_counts, cell.published_values / 100
    return np.array(
        [
            [
                published_fit(counts, values, edges=edges, drawn=slice(low, edges - high), remarks=False).r
                for low, high in _LEFT_OUT
            ]
            for edges in _EDGES
        ]
    )


def ranks(cell: Cell, number: int) -> Drawing:
    """Give counts by rank for the page."""
    ordered = -np.sort(-cell.counts)
    found = ordered[ordered > 0]
    # The page needs no more than can be told apart on a logarithmic axis.
    kept = np.unique(np.round(np.geomspace(1, len(found), min(400, len(found)))).astype(int)) if len(found) else []
    names = cell.concepts[np.argsort(-cell.counts, kind="stable")]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [int(rank) for rank in kept],
        "y": [float(found[rank - 1]) for rank in kept],
        "text": [draw.plain(str(names[rank - 1])) for rank in kept],
        "hovertemplate": "rank %{x:,}: %{text}, %{y:,} rows<extra></extra>",
        "line": {"color": draw.INSIDE, "width": 1.5},
        "marker": {"size": 3.5},
    }
    layout = {
        "xaxis": {"type": "log", "title": {"text": "rank"}, "dtick": 1},
        "yaxis": {"type": "log", "title": {"text": draw.plain(count_label(cell))}, "dtick": 1},
    }
    total = ordered.sum()
    top = ordered[: max(1, len(ordered) // 20)].sum()
    shares = [0.01, 0.05, 0.1, 0.25, 0.5]
    rows = [[f"{100 * share:g} %", f"{ordered[int(share * (len(ordered) - 1))]:,.0f}"] for share in shares]
    sentence = (
        f"Counts of the {len(found):,} concepts that were found, by rank; {len(ordered) - len(found):,} more have "
        f"none. The commonest twentieth of the concepts holds {100 * top / total if total else 0:.0f} % of all hits, "
        f"the median concept {float(np.median(ordered)):,.0f}. A concept of several test sets stands here once for "
        "each."
    )
    table = Table("Counts by rank", ("rank, share of concepts", "count"), rows)
    return Drawing("ranks", "How skewed the counts are", sentence, [Plot(f"ranks-{number}", [trace], layout)], table)


def shape_figure(cells: Sequence[Cell]) -> Figure:
    """Draw the same as `shape` for print: a panel a model."""
    from matplotlib.figure import Figure

    curved = [cell for cell in cells if cell.curve is not None]
    figure = Figure(figsize=(max(4.2, 3.1 * len(curved)), 3.1), layout="constrained")
    for axes, cell in zip(figure.subplots(1, len(curved), squeeze=False, sharey=True)[0], curved, strict=True):
        curve = cell.curve
        assert curve is not None
        places, means, reach, _ = group_means(cell)
        axes.errorbar(places, means, yerr=reach, fmt="o", color=draw.PLAIN, markersize=4, linewidth=1)
        for name, colour, dash in _CURVES:
            axes.plot(
                curve.grid, getattr(curve, name), color=colour, linestyle=_STYLES[dash], linewidth=1.4, label=name
            )
        draw.set_count_axis(axes, float(cell.counts.max()), draw.printable(f"count in {cell.pretraining}"))
        axes.set_title(draw.printable(cell.model))
        axes.set_ylabel("accuracy at the mean test set, %" if cell is curved[0] else "")
        axes.legend(loc="upper left")
    return figure


def sensitivity_figure(cells: Sequence[Cell]) -> Figure:
    """Draw the same as `sensitivity` for print: a panel a model."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    colours = LinearSegmentedColormap.from_list("r", ["#0072b2", "#f2f2f2", "#e8853a"])
    figure = Figure(figsize=(max(4.2, 3.3 * len(cells)), 3.3), layout="constrained")
    for axes, cell in zip(figure.subplots(1, len(cells), squeeze=False, sharey=True)[0], cells, strict=True):
        found = sensitivity_grid(cell)
        axes.imshow(found, cmap=colours, vmin=-1, vmax=1, aspect="auto", origin="lower")
        for row, column in np.argwhere(np.isfinite(found)):
            axes.text(column, row, draw.r_text(float(found[row, column])), ha="center", va="center", fontsize=6.5)
        axes.set_xticks(range(len(_LEFT_OUT)), [f"{low}/{high}" for low, high in _LEFT_OUT])
        axes.set_yticks(range(len(_EDGES)), [str(edges) for edges in _EDGES])
        axes.set(xlabel="bins left out below/above", ylabel="number of edges" if cell is cells[0] else "")
        axes.set_title(f"{draw.printable(cell.model)}: published r = {draw.r_text(cell.published.r)}")
        axes.grid(visible=False)
    return figure


def ranks_figure(cells: Sequence[Cell]) -> Figure:
    """Draw counts by rank for print."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    cell = cells[0]  # the counts are the same for every model
    found = -np.sort(-cell.counts[cell.counts > 0])
    figure = Figure(figsize=(4.2, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.loglog(np.arange(1, len(found) + 1), found, ".", color=draw.INSIDE, markersize=2.5, rasterized=True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: draw.short_count(value)))
    axes.set(xlabel="rank", ylabel=draw.printable(f"count in {cell.pretraining}"))
    axes.set_title(f"{len(found):,} concepts found, {int((cell.counts == 0).sum()):,} with count 0")
    return figure
