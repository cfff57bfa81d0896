"""Figures, as matplotlib draws them for papers and as SVG for a page. Drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX"
_ZERO = 0.5  # where a count of zero is drawn on a logarithmic axis


def counted_against_true(
    counted: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    families: Sequence[str],
    *,
    counted_label: str = "counted",
    truth_label: str = "true number of images",
    labelled: int = 6,
) -> Figure:
    """Draw estimated against true frequency on logarithmic axes.

    Parameters
    ----------
    counted, truth
        (C,) counts; zeros are drawn at ½.
    names, families
        C names, and the group of each, which gives its colour and marker.
    counted_label, truth_label
        The axes.
    labelled
        How many of the concepts that are farthest off get their names.

    Returns
    -------
    matplotlib.figure.Figure
        With a line of equality and a band of a factor of two.
    """
    from matplotlib.figure import Figure

    shown = np.maximum(np.asarray(counted, dtype=float), _ZERO)
    true = np.maximum(np.asarray(truth, dtype=float), _ZERO)
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(shown.min(), true.min()) / 1.6, max(shown.max(), true.max()) * 1.6
    line = np.array([low, high])
    axes.fill_between(line, line / 2, line * 2, color="#8886", linewidth=0, label="within a factor of 2")
    axes.plot(line, line, color="#666", linewidth=1)
    for number, family in enumerate(dict.fromkeys(families)):
        inside = np.array([each == family for each in families])
        axes.scatter(
            true[inside],
            shown[inside],
            s=26,
            alpha=0.8,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            linewidth=0,
            label=f"{family} ({inside.sum()})" if family else None,
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel=truth_label, ylabel=counted_label)
    axes.set_aspect("equal")
    axes.grid(color="#8883", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _label_farthest(axes, true, shown, names, labelled)
    return figure


def _label_farthest(axes: Axes, true: np.ndarray, shown: np.ndarray, names: Sequence[str], labelled: int) -> None:
    """Name the concepts that are farthest off, but none over another's name."""
    placed: list[np.ndarray] = []
    for concept in map(int, np.argsort(-np.abs(np.log(shown / true)), kind="stable")):
        if len(placed) == labelled:
            return
        position = np.array([np.log(true[concept]), np.log(shown[concept])]) / np.log(axes.get_xlim()[1])
        # As shares of the axis: a name is some 15 % long and 3 % high.
        if all((np.abs(position - other) > (0.15, 0.03)).any() for other in placed):
            placed.append(position)
            axes.annotate(
                names[concept], (true[concept], shown[concept]), xytext=(5, 3), textcoords="offset points", fontsize=8
            )


def to_svg(figure: Figure) -> str:
    """Give a figure as an ``<svg>`` element to put into a page: the same figure, the same text."""
    import matplotlib

    # Glyphs as text stay readable to a screen reader and small; the salt makes ids the same from run to run.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tailwag"}):
        written = StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return written.getvalue()[written.getvalue().index("<svg") :]
