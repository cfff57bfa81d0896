"""How many times more data for ten more points of accuracy, if the line held?

Not here: the slope and its interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .numbers import NAN


@dataclass(frozen=True)
class Need:
    """A factor with an interval that may be unbounded.

    Attributes
    ----------
    times
        The factor 10^(gain/slope); infinite where the slope is not positive.
    lower, upper
        The factors of all slopes in the slope's interval; `upper` is infinite where that interval reaches 0, and both
        are where it holds nothing positive; nan without one.
    note
        What to make of it; empty where the interval is bounded.
    """

    times: float
    lower: float
    upper: float
    note: str


def data_needed(slope: float, lower: float, upper: float, gain: float = 10.0) -> Need:
    """How many times more pairs of a concept would raise its accuracy by `gain` points?

    Times 10^(gain/slope) for a slope in points per decade: exponential in 1/slope. The interval is that of the slope
    carried over, which needs no approximation since the factor falls where the slope rises; as with Fieller's theorem
    (1954) it is unbounded where no slope is among those that the data allow.

    Parameters
    ----------
    slope, lower, upper
        Points per decade, and its interval; nan without one.
    gain
        Points of accuracy.

    Examples
    --------
    >>> need = data_needed(5.0, 2.5, 10.0)
    >>> need.times, need.lower, need.upper
    (100.0, 10.0, 10000.0)
    >>> data_needed(1.0, -1.0, 2.0).upper
    inf
    """
    if math.isnan(slope):
        return Need(NAN, NAN, NAN, "there is no slope")
    times = _factor(slope, gain)
    if math.isnan(lower) or math.isnan(upper):
        return Need(times, NAN, NAN, "the slope has no interval")
    if upper <= 0:
        return Need(times, math.inf, math.inf, "the slope's interval holds no positive slope: more data do not help")
    note = "the slope's interval reaches 0: more data may not help at all" if lower <= 0 else ""
    return Need(times, _factor(upper, gain), _factor(lower, gain), note)


def _factor(slope: float, gain: float) -> float:
    # Beyond what a float holds, more data than that is as good as no end of it.
    return math.inf if slope <= 0 or gain / slope > 300 else 10 ** (gain / slope)
