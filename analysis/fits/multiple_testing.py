"""Many tests at once: p after Holm's and after Benjamini and Hochberg's correction.

Not here: any test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .numbers import Number

# Another interval of a number that is already in the table asks no question of its own.
ALTERNATIVES = "intervals"


def holm(p: np.ndarray) -> np.ndarray:
    """Correct (m,) p so that the chance of any false rejection stays below the level (Holm 1979); any dependence.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(raised, 1)
    return corrected


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Correct (m,) p so that the expected share of false among all rejections stays below the level (1995).

    Proven for independent tests and those that depend positively; models tested on the same concepts do the latter.

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.04, 0.04])
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")[::-1]
    lowered = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(lowered, 1)
    return corrected


def adjust(numbers: Sequence[Number]) -> tuple[Number, ...]:
    """Write both corrections on every number with a p, over all of them; those of section ``intervals`` stay without.

    Parameters
    ----------
    numbers
        All of one run: over all cells where there are several.

    Returns
    -------
    tuple of Number
        In the same order.
    """
    places = [place for place, each in enumerate(numbers) if np.isfinite(each.p) and each.section != ALTERNATIVES]
    p = np.array([numbers[place].p for place in places])
    corrected = list(numbers)
    for place, one, other in zip(places, holm(p), benjamini_hochberg(p), strict=True):
        corrected[place] = replace(numbers[place], holm=float(one), benjamini_hochberg=float(other))
    return tuple(corrected)
