"""The comparison that comes first everywhere: bin means as published, single concepts, inside one test set.

Not here: how it is printed (`commands.py`) or laid out (`page.py`).
"""

from __future__ import annotations

import math

from .cell import Cell
from .contents import Step
from .drawing import interval_text, number_text, r_text


def ladder(cell: Cell) -> tuple[Step, ...]:
    """Give the three steps from the published figure to single test sets, for one model."""
    fit = cell.published
    drawn = int(fit.drawn.sum())
    concept = cell.concept_r
    inside, inside_slope = cell.within_r, cell.within
    return (
        Step(
            "published",
            f"{drawn} bin means, as published",
            f"means of {fit.concepts:,} concepts; {fit.never_drawn:,} of them lie in bins that are not drawn",
            r_text(fit.r),
            _slope(fit.slope, math.nan, math.nan),
            _share(fit.r),
        ),
        Step(
            "inside",
            f"{concept.points:,} concepts",
            "each concept that was found a point, each test set once; no bins",
            r_text(concept.value),
            _slope(cell.concept_slope.value, cell.concept_slope.lower, cell.concept_slope.upper),
            _share(concept.value),
        ),
        Step(
            "inside",
            "inside one test set",
            f"{len(cell.sets)} test sets, each one's mean removed: is a set's commoner class its better known one?",
            r_text(inside.value),
            _slope(inside_slope.value, inside_slope.lower, inside_slope.upper),
            _share(inside.value),
        ),
    )


def _slope(value: float, lower: float, upper: float) -> str:
    if math.isnan(value):
        return ""
    interval = "" if math.isnan(lower) else f" [{interval_text(lower, upper, 1)}]"
    return f"{number_text(value, 1)} points a decade{interval}"


def _share(value: float) -> float:
    return 0.0 if math.isnan(value) else round(100 * min(1.0, abs(value)), 1)
