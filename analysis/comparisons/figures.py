"""The figures of a comparison: ranks beside frequencies, and each concept's ratio between two pretraining sets.

Not here: the numbers in them (`study.py`); files are written by `report/folder.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..report.drawing import COLOURS, printable
from .long_tail import RARE_SHARE, rank_frequency
from .ratios import Ratios
from .study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELLED = 8
_NAMED_AT_MOST = 34
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def figures_of(study: Study) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Name the figures of a study, each with what draws it."""
    yield "rank_frequency", lambda: rank_frequency_figure(study)
    for ratios in study.ratios:
        name = f"ratios_{ratios.first}_{ratios.second}".replace("/", "-").replace("\\", "-")
        yield name, lambda ratios=ratios: ratio_figure(study, ratios)


def rank_frequency_figure(study: Study) -> Figure:
    """Draw each set's frequencies, the commonest first, as shares of its pairs where their number is known."""
    from matplotlib.figure import Figure

    compared = study.compared
    known = not np.isnan(compared.rows).any()
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for position, (name, counts, rows) in enumerate(
        zip(compared.pretrainings, compared.frequencies, compared.rows, strict=True)
    ):
        ranks, ordered = rank_frequency(counts)
        present = ordered > 0
        axes.plot(
            ranks[present],
            ordered[present] / (rows if known else 1),
            color=COLOURS[position % len(COLOURS)],
            linewidth=1.8,
            label=f"{printable(name)}: {int((~present).sum()):,} of {len(ordered):,} at zero",
        )
    if known:
        axes.axhline(RARE_SHARE, color="#666", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            "one pair in 10,000", (1, RARE_SHARE), xytext=(2, 3), textcoords="offset points", fontsize=8, color="#444"
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="rank of the concept",
        ylabel="share of the pairs" if known else f"{compared.side} count",
        title=f"{compared.side} frequency of {len(compared.concepts):,} concepts",
    )
    _finish(axes)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def ratio_figure(study: Study, ratios: Ratios) -> Figure:
    """Draw each concept's ratio over its frequency in both sets together, and name those that differ for certain."""
    from matplotlib.figure import Figure

    compared = study.compared
    one, other = (compared.frequencies[compared.pretrainings.index(name)] for name in (ratios.first, ratios.second))
    both = (one > 0) & (other > 0)
    certain = both & ((ratios.lower > 1) | (ratios.upper < 1))
    together = one + other
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for shown, colour, label in (
        (both & ~certain, "#7f8790", "interval holds 1"),
        (certain, COLOURS[0], "commoner in one of them"),
    ):
        axes.scatter(
            together[shown],
            ratios.ratio[shown],
            s=9,
            alpha=0.5,
            linewidth=0,
            color=colour,
            rasterized=True,
            label=f"{label} ({int(shown.sum()):,})",
        )
    axes.axhline(1, color="#444", linewidth=0.8)
    first, second = printable(ratios.first), printable(ratios.second)
    missing = int((~both).sum())
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"{compared.side} count, both sets together",
        ylabel=f"share in {first} / share in {second}",
        title=f"{int(both.sum()):,} concepts that both have; {missing:,} are not drawn",
    )
    _finish(axes)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    _label(axes, ratios, together, farthest(ratios, certain))
    return figure


def farthest(ratios: Ratios, among: np.ndarray, number: int = _LABELLED) -> list[int]:
    """Which concepts surely differ most? Positions, by the end of the interval that is nearer to 1, half a side."""
    least = np.where(ratios.ratio > 1, ratios.lower, ratios.upper)
    with np.errstate(divide="ignore", invalid="ignore"):
        evidence = np.where(among, np.abs(np.log(least)), -np.inf)
    found: list[int] = []
    for side in (ratios.ratio > 1, ratios.ratio < 1):
        ranked = np.argsort(-np.where(side, evidence, -np.inf), kind="stable")[: number // 2]
        found += [int(each) for each in ranked if among[each] and side[each]]
    return found


def _label(axes: Axes, ratios: Ratios, together: np.ndarray, concepts: list[int]) -> None:
    """Name concepts, but none over another's name."""
    placed: list[np.ndarray] = []
    for concept in concepts:
        where = axes.transAxes.inverted().transform(
            axes.transData.transform((together[concept], ratios.ratio[concept]))
        )
        # As shares of the axes: a name is some 20 % long and 4 % high.
        if all((np.abs(where - other) > (0.2, 0.04)).any() for other in placed):
            placed.append(where)
            axes.annotate(
                printable(ratios.concepts[concept])[:_NAMED_AT_MOST],
                (together[concept], ratios.ratio[concept]),
                xytext=(-4 if where[0] > 0.7 else 4, 2),
                ha="right" if where[0] > 0.7 else "left",
                textcoords="offset points",
                fontsize=7,
            )


def _finish(axes: Axes) -> None:
    """Write the decades of both axes as text, since names must not be read as formulas; draw a grid."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: decade(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#8883", linewidth=0.6)


def decade(value: float) -> str:
    """Write a power of ten as one reads it.

    Examples
    --------
    >>> decade(1000.0), decade(1e-4), decade(1e7)
    ('1,000', '10⁻⁴', '10⁷')
    """
    power = round(np.log10(value)) if value > 0 else 0
    if -2 <= power <= 4:
        return f"{value:,.{max(0, -power)}f}"
    return "10" + str(power).translate(_RAISED)
