"""What the numbers of one model say side by side: the flags that a reader must see with them.

Not here: flags of the published figure alone (`published.py`), flags of what could not be fitted (`one_model.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .numbers import Flag
from .one_model import ModelFit
from .sensitivity import cut_flags


def grade_flags(grades: Sequence[str]) -> Iterator[Flag]:
    """Say how many of the points have a frequency that its own grade warns of; nothing where none is graded."""
    for grade in ("unsupported", "fragile"):
        number = sum(one == grade for one in grades)
        if number:
            severity = "warning" if grade == "unsupported" else "note"
            yield Flag(severity, f"{number:,} of {len(grades):,} points have a frequency that is graded {grade}")


def model_flags(fit: ModelFit, repeated: Mapping[str, str]) -> Iterator[Flag]:
    """Give every flag of a model: the figure's, those of the fits, and what the numbers say side by side."""
    yield from fit.published.flags
    once, made = fit.published_once, fit.published
    if once is not made and np.isfinite([once.r, made.r]).all():
        names = ", ".join(f"{one} repeats {other}" for one, other in repeated.items())
        severity = "warning" if made.r - once.r > 0.05 else "note"
        yield Flag(
            severity, f"{names} and counts it twice: without it the published r is {once.r:.3f}, not {made.r:.3f}"
        )
    if fit.published_usual is not None and np.isfinite(fit.published_usual.r):
        text = f"with the slice that classification usually has, the published r is {fit.published_usual.r:.3f}"
        yield Flag("note", f"{text}, not {made.r:.3f}")
    yield from cut_flags(fit.cuts, made.r)
    apart, within = fit.apart, fit.within
    if apart is not None and within is not None and within.clusters > 1:
        pooled, inside = apart.pooled, apart.within
        if np.isfinite([pooled, inside]).all() and abs(inside) < abs(pooled) / 2:
            yield Flag(
                "warning",
                f"most of the slope lies between test sets: {pooled:.2f} points a decade pooled, {inside:.2f} within",
            )
        elif pooled * inside < 0:
            yield Flag("warning", f"within test sets the slope is {inside:.2f} points a decade, pooled {pooled:.2f}")
        if within.cr2.lower <= 0 <= within.cr2.upper:
            yield Flag("warning", "the interval of the slope within test sets holds 0")
        if within.clusters < 10:
            yield Flag(
                "warning", f"{within.clusters} test sets are few: intervals over them are wide and rest on little"
            )
        elif within.cr2_freedom < 5:
            text = f"few of the {within.clusters} test sets carry the slope within them"
            yield Flag("note", f"{text}: {within.cr2_freedom:.1f} degrees of freedom")
    elif within is not None:
        yield Flag("note", "there is one test set: slopes between sets, and intervals over them, do not exist")
    yield from fit.flags
