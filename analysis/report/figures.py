"""Which figures a report has for print, by the names of their files.

Not here: how each is drawn (one module a question).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .cell import Cell
from .models import by_model_figure
from .relation import relation_figure
from .sets import between_figure, by_set_figure
from .shape import ranks_figure, sensitivity_figure, shape_figure
from .zeros import zeros_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures_of(cells: Sequence[Cell]) -> list[tuple[str, Callable[[], Figure]]]:
    """Name every figure of some cells, with what draws it."""
    several_sets = any(len(cell.sets) > 1 for cell in cells)
    wanted = [
        ("published-and-within", relation_figure, True),
        ("slopes-by-set", by_set_figure, any(each.fitted for cell in cells for each in cell.sets)),
        ("between-and-within", between_figure, several_sets),
        ("zeros", zeros_figure, any((cell.counts == 0).any() for cell in cells)),
        ("shape", shape_figure, any(cell.curve is not None for cell in cells)),
        ("sensitivity", sensitivity_figure, True),
        ("ranks", ranks_figure, True),
        ("slopes-by-model", by_model_figure, len(cells) > 1),
    ]
    return [(name, partial(make, cells)) for name, make, there in wanted if there]


def figures_of_all(cells: Sequence[Cell]) -> list[tuple[str, Callable[[], Figure]]]:
    """Name the figures over all cells of a release."""
    return [("slopes-by-cell", partial(by_model_figure, cells))]
