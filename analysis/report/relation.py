"""The figure that the page is about: bin means as published, and beside it every concept with slopes inside sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fits.published import PublishedFit
from . import drawing as draw
from .cell import Cell, SetSummary
from .contents import Drawing, Plot, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE_WORDS = {
    "image": "images that show it",
    "caption": "captions that name it",
    "joint": "pairs that show and name it",
}


def count_label(cell: Cell) -> str:
    """Name the axis of counts."""
    return f"{SIDE_WORDS.get(cell.side, 'rows with it')}, {cell.pretraining}"


def relation(cell: Cell, number: int) -> Drawing:
    """Give the two plots for the page, on the same axes."""
    top = 100.0 * 1.02
    greatest = float(cell.counts.max())
    axis = draw.count_axis(greatest, draw.plain(count_label(cell)))
    vertical = {"title": {"text": "accuracy, %"}, "range": [-2, top], "zeroline": False}
    layout = {"xaxis": axis, "yaxis": vertical, "showlegend": False, "hovermode": "closest"}
    fit = cell.published
    at = np.log10(1 + fit.edges)
    traces = [_bins(fit, at, True), _bins(fit, at, False)]
    if math.isfinite(fit.slope):
        places, line = published_line(fit)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": draw.rounded(places),
                "y": draw.rounded(line),
                "line": {"color": draw.PUBLISHED, "width": 2},
                "hoverinfo": "skip",
            }
        )
    within = cell.within
    plots = (
        Plot(f"published-{number}", traces, layout, "As published: means of bins", "published"),
        Plot(
            f"within-{number}",
            [*_concept_traces(cell), *_set_lines(cell), *_within_line(cell)],
            layout,
            "Every concept, and slopes inside test sets",
            "inside",
        ),
    )
    drawn = int(fit.drawn.sum())
    sentence = (
        f"Left, as published: the mean accuracy of each of {drawn} bins of log count, drawn at the bin's upper edge; "
        f"hollow bins have no part in r = {draw.r_text(fit.r)} nor in the slope, {draw.number_text(fit.slope)} points "
        f"per decade. Right, the {len(cell.counts):,} concepts behind such means: thin lines are slopes inside single "
        f"test sets, the thick one is the slope inside all of them, {draw.number_text(within.value)} points per decade"
        f"{_interval(within.lower, within.upper)}. Both share their axes; counts of zero stand at 0."
    )
    rows = [
        [
            str(index),
            draw.number_text(edge, 0),
            f"{size:,}",
            draw.number_text(100 * mean),
            "drawn" if shown else ("empty" if not size else "left out"),
        ]
        for index, (edge, size, mean, shown) in enumerate(zip(fit.edges, fit.sizes, fit.means, fit.drawn, strict=True))
    ]
    table = Table("Bins", ("bin", "upper edge, count", "concepts", "mean accuracy, %", "in the figure"), rows, (4,))
    return Drawing(
        "relation",
        "The figure, and what it is made of",
        sentence,
        plots,
        table,
        [draw.printable(each.task) for each in cell.sets],
    )


def published_line(fit: PublishedFit) -> tuple[np.ndarray, np.ndarray]:
    """Give the line through the drawn means, on the axis of log10(1 + count), where it is not quite straight."""
    drawn = np.log10(np.maximum(fit.edges[fit.drawn], 1))
    places = np.linspace(drawn.min(), drawn.max(), 33)
    return np.log10(1 + 10**places), fit.intercept + fit.slope * places


def per_decade(slope: float) -> str:
    """Write a slope."""
    return f"{draw.number_text(slope)} points per decade"


def _interval(lower: float, upper: float) -> str:
    return "" if math.isnan(lower) else f" ({draw.interval_text(lower, upper)})"


def _bins(fit: PublishedFit, at: np.ndarray, drawn: bool) -> dict[str, Any]:
    chosen = (fit.drawn == drawn) & (fit.sizes > 0)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": draw.rounded(at[chosen]),
        "y": draw.rounded(100 * fit.means[chosen]),
        "customdata": [[int(size), "drawn" if drawn else "not drawn"] for size in fit.sizes[chosen]],
        "hovertemplate": "mean of %{customdata[0]} concepts: %{y:.1f} %<br>%{customdata[1]}<extra></extra>",
        "marker": {
            "size": 12,
            "color": draw.PUBLISHED if drawn else "rgba(0,0,0,0)",
            "line": {"color": draw.PUBLISHED, "width": 1.8},
        },
    }


def _concept_traces(cell: Cell) -> list[dict[str, Any]]:
    at = draw.positions(cell.counts)
    traces = []
    for each in cell.sets:
        inside = cell.tasks == each.task
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": draw.plain(each.task),
                "meta": draw.printable(each.task),
                "x": draw.rounded(at[inside], 3),
                "y": draw.rounded(cell.values[inside], 2),
                "text": [draw.plain(str(name)) for name in cell.concepts[inside]],
                "customdata": [int(count) for count in cell.counts[inside]],
                "hovertemplate": "%{text}<br>%{customdata:,} rows, %{y:.1f} %<extra>%{fullData.name}</extra>",
                "marker": {"size": 4.5, "opacity": 0.35, "color": draw.PLAIN},
            }
        )
    return traces


def _ends(each: SetSummary) -> tuple[np.ndarray, np.ndarray]:
    """Give the ends of a set's line, over the range of its counts."""
    ends = np.array([each.line.low_x, each.line.high_x])
    return ends, each.values_at(ends)


def _set_lines(cell: Cell) -> list[dict[str, Any]]:
    traces = []
    for each in cell.sets:
        if each.fitted:
            x, y = _ends(each)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": draw.plain(each.task),
                    "meta": draw.printable(each.task),
                    "x": draw.rounded(x),
                    "y": draw.rounded(y),
                    "line": {"color": draw.SET_LINE, "width": 1.6},
                    "hovertemplate": f"{draw.plain(each.task)}: {per_decade(each.line.slope)}<extra></extra>",
                }
            )
    return traces


def within_band(cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Give the pooled within-set line and its band through the mean of all concepts.

    Returns
    -------
    tuple of numpy.ndarray or None
        Places, the line, the ends of the band; None where no slope was fitted.
    """
    within = cell.within
    if not math.isfinite(within.value):
        return None
    places = np.linspace(0, np.log10(1 + cell.counts.max()), 41)
    centre, height = np.log10(1 + cell.counts).mean(), cell.values.mean()
    slopes = [within.value, within.lower, within.upper]
    line, first, second = (np.clip(height + slope * (places - centre), 0, 100) for slope in slopes)
    return places, line, np.minimum(first, second), np.maximum(first, second)


def _within_line(cell: Cell) -> list[dict[str, Any]]:
    found = within_band(cell)
    if found is None:
        return []
    places, line, low, high = found
    traces: list[dict[str, Any]] = []
    if np.isfinite(low).all():
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": draw.rounded([*places, *places[::-1]]),
                "y": draw.rounded([*high, *low[::-1]]),
                "fill": "toself",
                "fillcolor": "rgba(0,114,178,0.22)",
                "line": {"width": 0},
                "hoverinfo": "skip",
            }
        )
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": draw.rounded(places),
            "y": draw.rounded(line),
            "line": {"color": draw.INSIDE, "width": 3.5},
            "hovertemplate": f"inside test sets: {per_decade(cell.within.value)}<extra></extra>",
        }
    )
    return traces


def relation_figure(cells: Sequence[Cell]) -> Figure:
    """Draw the same for print: a row a model, the published panel and the concepts beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.3 * len(cells)), layout="constrained")
    grid = figure.subplots(len(cells), 2, squeeze=False, sharey=True)
    for (left, right), cell in zip(grid, cells, strict=True):
        named = f"{draw.printable(cell.model)}: " if len(cells) > 1 else ""
        _draw_published(left, cell)
        _draw_within(right, cell)
        fit = cell.published
        left.set_title(f"{named}bin means, r = {draw.r_text(fit.r)}")
        right.set_title(f"inside test sets: {draw.number_text(cell.within.value)} points per decade")
        left.set_ylabel("accuracy, %")
    return figure


def _draw_published(axes: Axes, cell: Cell) -> None:
    fit = cell.published
    at = np.log10(1 + fit.edges)
    hollow = ~fit.drawn & (fit.sizes > 0)
    axes.plot(at[fit.drawn], 100 * fit.means[fit.drawn], "o", color=draw.PUBLISHED, markersize=6, label="drawn")
    axes.plot(
        at[hollow],
        100 * fit.means[hollow],
        "o",
        color=draw.PUBLISHED,
        markersize=6,
        markerfacecolor="none",
        label="left out",
    )
    for place, mean, size in zip(at, 100 * fit.means, fit.sizes, strict=True):
        if size:
            axes.annotate(
                f"{size:,}",
                (place, mean),
                xytext=(0, -10),
                textcoords="offset points",
                fontsize=6,
                ha="center",
                color="#555",
            )
    if math.isfinite(fit.slope):
        axes.plot(*published_line(fit), color=draw.PUBLISHED, linewidth=1.3)
    draw.set_count_axis(axes, float(cell.counts.max()), draw.printable(count_label(cell)))
    axes.set_ylim(-2, 102)
    axes.legend(loc="upper left", handletextpad=0.2)


def _draw_within(axes: Axes, cell: Cell) -> None:
    at = draw.positions(cell.counts)
    # Thousands of points are one small picture inside the SVG instead of thousands of elements.
    axes.scatter(at, cell.values, s=3.5, alpha=0.28, linewidth=0, color=draw.PLAIN, rasterized=True)
    for each in cell.sets:
        if each.fitted:
            axes.plot(*_ends(each), color=draw.SET_LINE, linewidth=0.9)
    found = within_band(cell)
    if found is not None:
        places, line, low, high = found
        if np.isfinite(low).all():
            axes.fill_between(places, low, high, color=draw.INSIDE, alpha=0.25, linewidth=0)
        axes.plot(places, line, color=draw.INSIDE, linewidth=2.4)
    draw.set_count_axis(axes, float(cell.counts.max()), draw.printable(count_label(cell)))
    axes.set_ylim(-2, 102)
