"""Figures by test set: the slope inside each, and means of test sets beside the slopes inside them.

Not here: the fits; concepts that were not found (`zeros.py`); the figure that the page is about (`relation.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import drawing as draw
from .cell import Cell, SetSummary
from .contents import Drawing, Plot, Table
from .relation import count_label, per_decade

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_NAME = 22  # on an axis; longer names end in an ellipsis


def slopes_by_set(cell: Cell, number: int) -> Drawing | None:
    """Give the slope inside each test set with its interval, for the page; None where no set has one."""
    fitted = _fitted(cell)
    if not fitted:
        return None
    places = [-order for order in range(len(fitted))]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": draw.rounded([each.line.slope for each in fitted], 3),
            "y": places,
            "error_x": _error_bars(fitted),
            "text": [f"{draw.plain(each.task)}: {_estimate(each)}, {each.line.points:,} concepts" for each in fitted],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"size": 8, "color": draw.INSIDE},
        }
    ]
    low, high = _reach(fitted)
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "points of accuracy per decade of frequency"},
            "zeroline": True,
            "range": [low, high],
        },
        "yaxis": {
            "tickvals": places,
            "ticktext": [draw.plain(short(each.task)) for each in fitted],
            "range": [-len(fitted) + 0.4, 0.6],
            "showgrid": False,
            "zeroline": False,
        },
        "showlegend": False,
        "shapes": [
            _upright(cell.within.value, draw.INSIDE, "solid"),
            _upright(cell.published.slope, draw.PUBLISHED, "dash"),
        ],
        "margin": {"l": 8},
    }
    layout["shapes"] = [shape for shape in layout["shapes"] if shape]
    signs = sum(each.line.slope > 0 for each in fitted)
    clear = sum(each.line.lower > 0 for each in fitted)
    sentence = (
        f"The slope inside each test set with its interval. {signs} of {len(fitted)} are above zero, {clear} of them "
        f"clearly so. The line is the slope inside all of them ({per_decade(cell.within.value)}), the dashed one that "
        f"of the published bin means ({per_decade(cell.published.slope)})."
    )
    rows = [
        [
            each.task,
            f"{each.line.points:,}",
            f"{each.zeros:,}",
            draw.number_text(each.line.slope),
            draw.interval_text(each.line.lower, each.line.upper),
        ]
        for each in fitted
    ]
    table = Table("Slopes by test set", ("test set", "concepts", "zeros", "points per decade", "interval"), rows)
    return Drawing(
        "by-set", "Slopes by test set", sentence, [Plot(f"by-set-{number}", traces, layout, tall=True)], table
    )


def _fitted(cell: Cell) -> list[SetSummary]:
    """Sets with a slope, the steepest first."""
    return sorted((each for each in cell.sets if each.fitted), key=lambda each: -each.line.slope)


def _estimate(each: SetSummary) -> str:
    interval = "" if math.isnan(each.line.lower) else f" ({draw.interval_text(each.line.lower, each.line.upper)})"
    return f"{per_decade(each.line.slope)}{interval}"


def _error_bars(fitted: Sequence[SetSummary]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [value or 0 for value in draw.rounded([each.line.upper - each.line.slope for each in fitted], 3)],
        "arrayminus": [value or 0 for value in draw.rounded([each.line.slope - each.line.lower for each in fitted], 3)],
        "color": draw.INSIDE,
        "thickness": 1.5,
        "width": 0,
    }


def _reach(fitted: Sequence[SetSummary]) -> tuple[float, float]:
    """Give an axis that shows every slope; a set of ten concepts may have an interval that runs out of it."""
    slopes = [each.line.slope for each in fitted]
    span = max(max(slopes) - min(slopes), 5.0)
    ends = [end for each in fitted for end in (each.line.lower, each.line.upper) if math.isfinite(end)] or slopes
    return max(min(ends), min(0.0, *slopes) - 0.8 * span) - 1, min(max(ends), max(0.0, *slopes) + 0.8 * span) + 1


def _upright(place: float, colour: str, dash: str) -> dict[str, Any]:
    if not math.isfinite(place):
        return {}
    line = {"color": colour, "width": 1.6, "dash": dash}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line}


def short(name: str) -> str:
    """Cut a name that is too long for an axis."""
    name = draw.printable(name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def between_and_within(cell: Cell, number: int) -> Drawing | None:
    """Give means of test sets with the slope inside each through its mean; None with fewer than two sets."""
    placed = cell.sets
    if len(placed) < 2:
        return None
    greatest = float(cell.counts.max())
    traces: list[dict[str, Any]] = []
    for each in placed:
        if each.fitted:
            x, y = segment(each)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": draw.rounded(x),
                    "y": draw.rounded(y),
                    "line": {"color": draw.SET_LINE, "width": 2},
                    "hoverinfo": "skip",
                }
            )
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": draw.rounded([each.line.mean_x for each in placed]),
            "y": draw.rounded([each.line.mean_y for each in placed]),
            "text": [f"{draw.plain(each.task)}, {each.line.points:,} concepts" for each in placed],
            "customdata": draw.rounded([10**each.line.mean_x - 1 for each in placed], 0),
            "hovertemplate": "%{text}<br>mean %{y:.1f} % at %{customdata:,} rows<extra></extra>",
            "marker": {
                "size": draw.rounded([6 + 14 * math.sqrt(each.line.points / len(cell.counts)) for each in placed], 1),
                "color": draw.PUBLISHED,
                "opacity": 0.85,
            },
        }
    )
    ends, line = _between_line(cell, placed)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": draw.rounded(ends),
            "y": draw.rounded(line),
            "line": {"color": draw.PUBLISHED, "width": 1.6, "dash": "dash"},
            "hoverinfo": "skip",
        }
    )
    layout = {
        "xaxis": draw.count_axis(greatest, draw.plain(count_label(cell))),
        "yaxis": {"title": {"text": "accuracy, %"}, "rangemode": "tozero", "zeroline": False},
        "showlegend": False,
        "hovermode": "closest",
    }
    between = cell.between
    sentence = (
        "Each circle is a test set at the means of its concepts; the short line through it is the slope "
        f"inside it. Between sets accuracy rises by {per_decade(between.value)}, inside them by "
        f"{per_decade(cell.within.value)}: what the pooled figure shows is partly which sets are hard."
    )
    rows = [
        [
            each.task,
            f"{each.line.points:,}",
            draw.number_text(10**each.line.mean_x - 1, 0),
            draw.number_text(each.line.mean_y, 1),
            draw.number_text(each.line.slope),
        ]
        for each in placed
    ]
    headings = ("test set", "concepts", "mean count (of logarithms)", "mean accuracy, %", "points per decade inside")
    table = Table("Means of test sets", headings, rows)
    return Drawing(
        "simpson",
        "Between test sets, and inside them",
        sentence,
        [Plot(f"simpson-{number}", traces, layout)],
        table,
    )


def segment(each: SetSummary) -> tuple[np.ndarray, np.ndarray]:
    """Give a short line through a set's mean with its slope: half a decade to either side, or its range."""
    line = each.line
    ends = np.array([max(line.low_x, line.mean_x - 0.5), min(line.high_x, line.mean_x + 0.5)])
    return ends, each.values_at(ends)


def _between_line(cell: Cell, placed: Sequence[SetSummary]) -> tuple[np.ndarray, np.ndarray]:
    x = np.array([each.line.mean_x for each in placed])
    centre, height = x.mean(), np.mean([each.line.mean_y for each in placed])
    ends = np.array([x.min(), x.max()])
    return ends, np.clip(height + cell.between.value * (ends - centre), 0, 100)


def by_set_figure(cells: Sequence[Cell]) -> Figure:
    """Draw slopes by test set for print: a panel a model."""
    from matplotlib.figure import Figure

    most = max(len(_fitted(cell)) for cell in cells)
    figure = Figure(figsize=(max(4.2, 3.1 * len(cells)), 0.9 + 0.19 * max(most, 4)), layout="constrained")
    for axes, cell in zip(figure.subplots(1, len(cells), squeeze=False)[0], cells, strict=True):
        fitted = _fitted(cell)
        places = -np.arange(len(fitted))
        slopes = np.array([each.line.slope for each in fitted])
        low, high = _reach(fitted) if fitted else (-1, 1)
        lower = np.nan_to_num(slopes - [each.line.lower for each in fitted])
        upper = np.nan_to_num([each.line.upper for each in fitted] - slopes)
        axes.axvline(0, color="#999", linewidth=0.8)
        _mark(axes, cell.within.value, draw.INSIDE, "-", "inside test sets")
        _mark(axes, cell.published.slope, draw.PUBLISHED, "--", "published")
        axes.errorbar(slopes, places, xerr=[lower, upper], fmt="o", color=draw.INSIDE, markersize=3.5, linewidth=1)
        axes.set_yticks(places, [short(each.task) for each in fitted])
        axes.set_xlim(low, high)
        axes.grid(axis="y", visible=False)
        axes.set_title(draw.printable(cell.model))
        axes.set_xlabel("points per decade")
        axes.legend(loc="lower right", handlelength=1.5)
    return figure


def _mark(axes: Any, place: float, colour: str, style: str, label: str) -> None:
    if math.isfinite(place):
        axes.axvline(place, color=colour, linewidth=1.2, linestyle=style, label=label)


def between_figure(cells: Sequence[Cell]) -> Figure:
    """Draw means of test sets and slopes inside them for print: a panel a model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.2, 3.1 * len(cells)), 3.0), layout="constrained")
    for axes, cell in zip(figure.subplots(1, len(cells), squeeze=False, sharey=True)[0], cells, strict=True):
        placed = cell.sets
        for each in placed:
            if each.fitted:
                axes.plot(*segment(each), color=draw.SET_LINE, linewidth=1.4)
        sizes = [10 + 160 * each.line.points / len(cell.counts) for each in placed]
        x = [each.line.mean_x for each in placed]
        axes.scatter(x, [each.line.mean_y for each in placed], s=sizes, color=draw.PUBLISHED, alpha=0.85, linewidth=0)
        if len(placed) > 1 and math.isfinite(cell.between.value):
            axes.plot(*_between_line(cell, placed), "--", color=draw.PUBLISHED, linewidth=1.1)
        draw.set_count_axis(axes, float(cell.counts.max()), draw.printable(cell.pretraining + ": count"))
        axes.set_title(
            f"{draw.printable(cell.model)}: between {draw.number_text(cell.between.value, 1)}, "
            f"inside {draw.number_text(cell.within.value, 1)}"
        )
        axes.set_ylabel("mean accuracy, %" if cell is cells[0] else "")
    for axes in figure.axes:  # once all are drawn, since they share it
        axes.set_ylim(bottom=-1)
    return figure
