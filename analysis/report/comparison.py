"""The comparison that comes first everywhere: bin means as published, single concepts, inside one test set.

Not here: how it is printed (`commands.py`) or laid out (`page.py`).
"""

from __future__ import annotations

import math

from ..fits.exponential_need import Need, data_needed
from .cell import Cell
from .contents import Step
from .drawing import interval_text, number_text, r_text


def ladder(cell: Cell) -> tuple[Step, ...]:
    """Give the four steps from the published figure to single test sets, for one model."""
    fit, pooled, within = cell.published, cell.pooled, cell.within
    return (
        Step(
            "published",
            f"{int(fit.drawn.sum())} bin means, as published",
            f"means of {fit.concepts:,} concepts; {fit.never_drawn:,} of them lie in bins that are not drawn",
            r_text(fit.r),
            _slope(fit.slope, math.nan, math.nan),
            _share(fit.r),
        ),
        Step(
            "inside",
            f"{cell.concept_r.concepts:,} concepts that were found",
            "a point each instead of bins; zeros left out, each test set once",
            r_text(cell.concept_r.value),
            "",
            _share(cell.concept_r.value),
        ),
        Step(
            "inside",
            f"all {len(cell.counts):,} concepts",
            "zeros too, over log10(1 + count)",
            r_text(cell.pooled_r.value),
            _slope(pooled.value, pooled.lower, pooled.upper),
            _share(cell.pooled_r.value),
        ),
        Step(
            "inside",
            "inside one test set",
            f"{len(cell.sets)} test sets, each one's mean removed: is a set's commoner class its better known one?",
            r_text(cell.within_r),
            _slope(within.value, within.lower, within.upper),
            _share(cell.within_r),
        ),
    )


def sentences(cell: Cell) -> list[str]:
    """Say in plain words what the steps mean."""
    fit, within = cell.published, cell.within
    told = [
        f"Spearman's ρ over all concepts, zeros as ties, is {r_text(cell.spearman.value)}. A mean over hundreds of "
        "concepts hides how far single ones lie from it, and test sets with rare names are often the hard ones as well."
    ]
    once = cell.fit.published_once
    if once.concepts < fit.concepts:
        told.append(
            f"The published figure counts {fit.concepts - once.concepts:,} concepts twice, since a test set repeats "
            f"another's counts; with each once its r is {r_text(once.r)} and its slope {number_text(once.slope)}."
        )
    if math.isfinite(within.value):
        need = data_needed(within.value, within.lower, within.upper)
        told.append(
            f"Were the slope inside a test set one of cause, ten points more would need {_times(need.times)} as many "
            f"pairs of a concept{_range_of_times(need)}. Nothing here varied the frequency alone: each model saw one "
            "set."
        )
    return told


def _times(factor: float) -> str:
    """Write a factor with two digits: more are not known."""
    if math.isinf(factor):
        return "endlessly"
    if factor >= 1e6:
        return "more than a million times"
    return f"{float(f'{factor:.2g}'):,.0f} times" if factor >= 10 else f"{factor:.1f} times"


def _range_of_times(need: Need) -> str:
    if math.isnan(need.lower) or math.isinf(need.lower):
        return "" if math.isnan(need.lower) else ", or more data do not help at all"
    return f" (from {_times(need.lower)} to {'no bound' if math.isinf(need.upper) else _times(need.upper)})"


def _slope(value: float, lower: float, upper: float) -> str:
    if math.isnan(value):
        return ""
    interval = "" if math.isnan(lower) else f" [{interval_text(lower, upper, 1)}]"
    return f"{number_text(value, 1)} points a decade{interval}"


def _share(value: float) -> float:
    return 0.0 if math.isnan(value) else round(100 * min(1.0, abs(value)), 1)
