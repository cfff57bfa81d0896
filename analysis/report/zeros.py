"""The figure of concepts that were not found: how many by test set, and how well they are known all the same.

Not here: how zeros are modelled (`fits`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import drawing as draw
from .cell import Cell, mean
from .contents import Drawing, Plot, Table
from .sets import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def zeros(cell: Cell, number: int) -> Drawing | None:
    """Give, by test set, the share of concepts with count 0 and how well they are known; None without a zero."""
    total = sum(each.zeros for each in cell.sets)
    if not total:
        return None
    ordered = sorted(cell.sets, key=lambda each: -each.zeros / each.line.points)
    places = [-order for order in range(len(ordered))]
    names = [draw.plain(short(each.task)) for each in ordered]
    vertical = {
        "tickvals": places,
        "ticktext": names,
        "range": [-len(ordered) + 0.4, 0.6],
        "showgrid": False,
        "zeroline": False,
    }
    shares = [100 * each.zeros / each.line.points for each in ordered]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "x": draw.rounded(shares, 2),
            "y": places,
            "text": [f"{draw.plain(each.task)}: {each.zeros:,} of {each.line.points:,}" for each in ordered],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"color": draw.PLAIN},
        }
    ]
    dumbbells: list[dict[str, Any]] = []
    for place, each in zip(places, ordered, strict=True):
        if math.isfinite(each.value_at_zero) and math.isfinite(each.value_found):
            dumbbells.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": draw.rounded([each.value_at_zero, each.value_found], 2),
                    "y": [place, place],
                    "line": {"color": draw.PLAIN, "width": 1.2},
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
    for name, colour, values, symbol in (
        ("count 0", draw.PUBLISHED, [each.value_at_zero for each in ordered], "circle-open"),
        ("found", draw.INSIDE, [each.value_found for each in ordered], "circle"),
    ):
        dumbbells.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": draw.rounded(values, 2),
                "y": places,
                "text": [draw.plain(each.task) for each in ordered],
                "hovertemplate": f"%{{text}}, {name}: %{{x:.1f}} %<extra></extra>",
                "marker": {"size": 9, "color": colour, "symbol": symbol, "line": {"width": 2, "color": colour}},
            }
        )
    left = {
        "xaxis": {"title": {"text": "concepts with count 0, %"}, "range": [0, 100]},
        "yaxis": vertical,
        "margin": {"l": 8},
    }
    right = {
        "xaxis": {"title": {"text": "mean accuracy, %"}, "range": [-2, 102], "zeroline": False},
        "yaxis": {**vertical, "showgrid": True},
        "legend": {"orientation": "h", "x": 0, "y": 1.08},
        "margin": {"l": 8, "t": 34},
    }
    found = cell.values[cell.counts > 0]
    lost = cell.values[cell.counts == 0]
    sentence = (
        f"{total:,} of {len(cell.counts):,} concepts have count 0. Their mean accuracy is "
        f"{draw.number_text(mean(lost), 1)} %, that of the others {draw.number_text(mean(found), 1)} %. A zero is "
        "often a name that the search missed, not a thing that the set lacks; the published figure takes it for one "
        "row, in a bin that is mostly not drawn."
    )
    rows = [
        [
            each.task,
            f"{each.zeros:,}",
            f"{each.line.points:,}",
            f"{100 * each.zeros / each.line.points:.1f}",
            draw.number_text(each.value_at_zero, 1),
            draw.number_text(each.value_found, 1),
        ]
        for each in ordered
    ]
    headings = ("test set", "count 0", "concepts", "%", "mean accuracy at 0, %", "mean accuracy found, %")
    return Drawing(
        "zeros",
        "Concepts that were not found",
        sentence,
        [
            Plot(f"zeros-{number}", bars, left, "How many", tall=True),
            Plot(f"zeros-accuracy-{number}", dumbbells, right, "How well they are known", tall=True),
        ],
        Table("Zeros by test set", headings, rows),
    )


def zeros_figure(cells: Sequence[Cell]) -> Figure:
    """Draw, for print, accuracy of concepts that were not found beside that of the others, by test set."""
    from matplotlib.figure import Figure

    ordered = sorted(cells[0].sets, key=lambda each: -each.zeros / each.line.points)
    names = [each.task for each in ordered]
    places = -np.arange(len(names))
    figure = Figure(figsize=(2.6 + 2.5 * len(cells), 0.9 + 0.19 * max(len(names), 4)), layout="constrained")
    left, *others = figure.subplots(1, 1 + len(cells), squeeze=False, sharey=True)[0]
    left.barh(places, [100 * each.zeros / each.line.points for each in ordered], color=draw.PLAIN, height=0.7)
    left.set(xlim=(0, 100), xlabel="concepts with count 0, %")
    left.set_yticks(places, [short(name) for name in names])
    for axes, cell in zip(others, cells, strict=True):
        of_name = {each.task: each for each in cell.sets}
        for place, name in zip(places, names, strict=True):
            each = of_name.get(name)
            if each is not None:
                axes.plot([each.value_at_zero, each.value_found], [place, place], color="#bbb", linewidth=0.9)
                axes.plot(each.value_at_zero, place, "o", color=draw.PUBLISHED, markersize=4, markerfacecolor="white")
                axes.plot(each.value_found, place, "o", color=draw.INSIDE, markersize=4)
        axes.set(xlim=(-2, 102), xlabel="mean accuracy, %")
        axes.set_title(f"{draw.printable(cell.model)}: ○ count 0, ● found")
    return figure
