"""The figure over models or cells: the published slope beside the slope inside test sets, one line each.

Not here: the table of all cells (`cells.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import drawing as draw
from .cell import Cell
from .contents import Drawing, Plot, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cell_name(cell: Cell, cells: Sequence[Cell]) -> str:
    """Name a cell by what tells it from the others."""
    told = [cell.model]
    for name in ("pretraining", "side"):
        if len({getattr(each, name) for each in cells}) > 1:
            told.append(getattr(cell, name))
    return " · ".join(told)


def by_model(cells: Sequence[Cell]) -> Drawing:
    """Give published and within-set slopes of several models for the page."""
    names = [cell_name(cell, cells) for cell in cells]
    places = [-order for order in range(len(cells))]
    within = [cell.within for cell in cells]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "bin means, as published",
            "x": draw.rounded([cell.published.slope for cell in cells], 3),
            "y": places,
            "text": [draw.plain(name) for name in names],
            "hovertemplate": "%{text}, published: %{x:.2f}<extra></extra>",
            "marker": {"size": 9, "color": draw.PUBLISHED, "symbol": "circle-open", "line": {"width": 2}},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "inside test sets",
            "x": draw.rounded([each.value for each in within], 3),
            "y": places,
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [value or 0 for value in draw.rounded([each.upper - each.value for each in within], 3)],
                "arrayminus": [value or 0 for value in draw.rounded([each.value - each.lower for each in within], 3)],
                "color": draw.INSIDE,
                "thickness": 1.6,
                "width": 0,
            },
            "text": [draw.plain(name) for name in names],
            "hovertemplate": "%{text}, inside: %{x:.2f}<extra></extra>",
            "marker": {"size": 9, "color": draw.INSIDE},
        },
    ]
    layout = {
        "xaxis": {
            "title": {"text": "points of accuracy per decade of frequency"},
            "zeroline": True,
            "rangemode": "tozero",
        },
        "yaxis": {
            "tickvals": places,
            "ticktext": [draw.plain(name) for name in names],
            "range": [-len(cells) + 0.4, 0.6],
            "zeroline": False,
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.12},
        "margin": {"l": 8, "t": 40},
    }
    sentence = (
        "For each model the slope of the published bin means and the slope inside test sets with its interval, in "
        "points of accuracy for ten times the frequency. All models were tested on the same concepts, so they are "
        "not independent."
    )
    rows = [
        [
            name,
            draw.r_text(cell.published.r),
            draw.number_text(cell.published.slope),
            draw.r_text(cell.concept_r.value),
            draw.r_text(cell.within_r),
            draw.number_text(cell.within.value),
            draw.interval_text(cell.within.lower, cell.within.upper),
        ]
        for name, cell in zip(names, cells, strict=True)
    ]
    table = Table("Slopes by model", HEADINGS, rows)
    return Drawing("by-model", "Slopes by model", sentence, [Plot("by-model", traces, layout)], table)


HEADINGS = ("model", "published r", "published slope", "concept r", "r inside", "slope inside", "interval")


def by_model_figure(cells: Sequence[Cell]) -> Figure:
    """Draw the same for print."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 0.9 + 0.28 * max(len(cells), 3)), layout="constrained")
    axes = figure.subplots()
    places = -np.arange(len(cells))
    within = np.array([[cell.within.value, cell.within.lower, cell.within.upper] for cell in cells])
    errors = np.nan_to_num(np.array([within[:, 0] - within[:, 1], within[:, 2] - within[:, 0]]), posinf=0, neginf=0)
    axes.axvline(0, color="#999", linewidth=0.8)
    axes.errorbar(
        within[:, 0], places, xerr=errors, fmt="o", color=draw.INSIDE, markersize=4.5, label="inside test sets"
    )
    published = [cell.published.slope for cell in cells]
    axes.plot(
        published,
        places,
        "o",
        color=draw.PUBLISHED,
        markersize=5,
        markerfacecolor="none",
        label="bin means, as published",
    )
    axes.set_yticks(places, [draw.printable(cell_name(cell, cells)) for cell in cells])
    axes.set_ylim(-len(cells) + 0.4, 0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("points of accuracy per decade of frequency")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    if all(math.isfinite(slope) and slope >= 0 for slope in published):
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    return figure
