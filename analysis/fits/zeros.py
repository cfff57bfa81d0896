"""Concepts that were never found: a step of their own against log10(1 + frequency), which puts them at 0 on the line.

Not here: whether a zero is real; that is a matter of the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

from .cluster_robust import cluster_robust
from .concept_level import POINTS, log_frequency
from .information import akaike
from .moments import cluster_index, demeaned
from .numbers import NAN
from .resampling import Interval


@dataclass(frozen=True)
class Hurdle:
    """Two ways to treat zeros, fitted to the same concepts.

    Attributes
    ----------
    zeros, concepts
        How many concepts were never found, of how many.
    slope_with_zeros, with_zeros
        Points per decade of log10(1 + frequency) over all concepts, with its CR2 interval.
    slope_of_found, of_found
        Points per decade of log10 frequency among found concepts, beside an indicator of zero; its CR2 interval.
    step, step_interval
        The indicator's coefficient: how many points a concept that was never found lies above (or below, if negative)
        the line's value at frequency 1; its CR2 interval.
    akaike_with_zeros, akaike_hurdle
        Akaike's criterion of both; only their difference means anything, and the lower describes better.
    """

    zeros: int
    concepts: int
    slope_with_zeros: float
    with_zeros: Interval
    slope_of_found: float
    of_found: Interval
    step: float
    step_interval: Interval
    akaike_with_zeros: float
    akaike_hurdle: float


def hurdle(
    frequency: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float = 0.95, *, within: bool = True
) -> Hurdle:
    """Do zeros lie on the line that found concepts make?

    The hurdle model is y = a + b·1[f = 0] + c·log10 max(f, 1), its rival y = a + c·log10(1 + f) with one coefficient
    less. AIC is that of normal noise.

    Parameters
    ----------
    frequency
        (n,) not negative.
    values
        (n,) shares from 0 to 1.
    sets
        (n,) names of test sets.
    level
        Of intervals.
    within
        Whether each test set has an intercept of its own.

    Returns
    -------
    Hurdle
        With nan where there is no zero, or nothing else.

    Raises
    ------
    BadInput
        When log frequency does not vary.
    """
    frequency = np.asarray(frequency, dtype=np.float64)
    y = POINTS * np.asarray(values, dtype=np.float64)
    names, index = cluster_index(sets)
    zero = frequency <= 0
    within = within and len(names) > 1
    clusters = index if len(names) > 1 else np.arange(len(y))
    intercepts = len(names) if within else 1
    centre = index if within else np.zeros(len(y), dtype=int)
    columns = [demeaned(each, centre) for each in (log_frequency(frequency), np.log10(np.maximum(frequency, 1)))]
    indicator, y = demeaned(zero.astype(np.float64), centre), demeaned(y, centre)
    if np.abs(columns[0]).max() < 1e-9:
        raise BadInput("every concept has the same frequency: there is no slope")
    # An intercept for all clusters is no cluster's own: it stays in the design, for CR2's sake.
    constant, absorbed = ([], intercepts) if within else ([np.ones_like(y)], 0)
    with_zeros = cluster_robust(np.column_stack([columns[0], *constant]), y, clusters, absorbed=absorbed)
    plain = akaike(y - columns[0] * with_zeros.coefficients[0], intercepts + 2)
    nothing = Interval(NAN, NAN, NAN, "CR2")
    slope, step, of_found, step_interval, akaike_hurdle = NAN, NAN, nothing, nothing, NAN
    try:
        both = cluster_robust(np.column_stack([columns[1], indicator, *constant]), y, clusters, absorbed=absorbed)
    except BadInput:  # no zero, no frequency above 0, or one of each: the indicator says what the line does
        pass
    else:
        slope, step = map(float, both.coefficients[:2])
        of_found, step_interval = both.cr2_interval(0, level), both.cr2_interval(1, level)
        residuals = y - columns[1] * slope - indicator * step
        akaike_hurdle = akaike(residuals, intercepts + 3)
    return Hurdle(
        zeros=int(zero.sum()),
        concepts=len(y),
        slope_with_zeros=float(with_zeros.coefficients[0]),
        with_zeros=with_zeros.cr2_interval(0, level),
        slope_of_found=slope,
        of_found=of_found,
        step=step,
        step_interval=step_interval,
        akaike_with_zeros=plain,
        akaike_hurdle=akaike_hurdle,
    )
