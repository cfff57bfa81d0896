"""Slopes when frequencies are uncertain: SIMEX, which adds more error and extrapolates back to none.

Not here: where the intervals of the frequencies come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tailwag.errors import BadInput

from .concept_level import POINTS, log_frequency
from .moments import Moments, cluster_index, moments, slopes
from .resampling import Interval, jackknife_interval, leave_one_out

LAMBDAS = (0.0, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Simex:
    """A slope freed from the errors of frequencies.

    Attributes
    ----------
    naive, corrected
        Points per decade, as if there were no errors and without them.
    interval
        Of the corrected slope, by leaving out test sets.
    lambdas, at_lambdas
        (L,) how much of the errors' variance was added, and the mean slope then.
    typical_error
        The root mean square of the errors, decades.
    """

    naive: float
    corrected: float
    interval: Interval
    lambdas: np.ndarray
    at_lambdas: np.ndarray
    typical_error: float


def log_error(lower: np.ndarray, upper: np.ndarray, level: float = 0.95) -> np.ndarray:
    """How large is the error of log10(1 + frequency), going by the frequency's interval?

    Half its width on that scale over the normal quantile: the interval's ends are taken as a normal error's would be.

    Parameters
    ----------
    lower, upper
        (n,) ends; nan gives nan.
    level
        Of the intervals.

    Returns
    -------
    numpy.ndarray
        (n,) float64 decades.

    Examples
    --------
    >>> log_error(np.array([9.0]), np.array([999.0])).round(3)
    array([0.51])
    """
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    known = np.isfinite(lower) & np.isfinite(upper)
    if (upper[known] < lower[known]).any() or (lower[known] < 0).any():
        raise BadInput("an interval of a frequency ends before it begins, or begins below 0")
    error = np.full(lower.shape, np.nan)
    error[known] = (log_frequency(upper[known]) - log_frequency(lower[known])) / (2 * stats.norm.ppf((1 + level) / 2))
    return error


def simex(
    x: np.ndarray,
    errors: np.ndarray,
    values: np.ndarray,
    sets: np.ndarray,
    level: float = 0.95,
    *,
    within: bool = True,
    draws: int = 100,
    seed: int = 0,
) -> Simex:
    """What would the slope be if frequencies were known without error?

    Simulation and extrapolation (Cook and Stefanski 1994): for each λ the slope is averaged over draws of
    x + √λ·error·z, and a quadratic through these means is read at λ = −1. All of it is repeated without each test set,
    with the same draws, for the jackknife's interval (compare Stefanski and Cook 1995). A quadratic takes off most of
    the bias, not all of it, where errors are as large as the spread of x.

    Parameters
    ----------
    x
        (n,) log10(1 + frequency).
    errors
        (n,) standard deviations of x, decades.
    values
        (n,) shares from 0 to 1.
    sets
        (n,) names of test sets.
    level
        Of the interval.
    within
        Whether the slope is that within test sets.
    draws, seed
        Of the simulation.

    Returns
    -------
    Simex

    Raises
    ------
    BadInput
        When an error is negative or not finite.
    """
    x, y = np.asarray(x, dtype=np.float64), POINTS * np.asarray(values, dtype=np.float64)
    errors = np.asarray(errors, dtype=np.float64)
    if errors.shape != x.shape or not (np.isfinite(errors).all() and (errors >= 0).all()):
        raise BadInput("the errors of frequencies must be one for each, finite and not negative")
    names, index = cluster_index(sets)
    if len(names) == 1:
        within, index = False, np.arange(len(x)) % min(len(x), 20)  # a jackknife needs parts: twenty, dealt out in turn
    groups = int(index.max()) + 1
    generator = np.random.default_rng(seed)
    # One row without a left-out set and one for each: the draws are shared.
    weights = np.vstack([np.ones(groups), leave_one_out(groups)])
    noise = [generator.standard_normal(len(x)) for _ in range(draws)]
    found = np.empty((len(LAMBDAS), groups + 1))
    for place, lam in enumerate(LAMBDAS):
        if lam == 0:
            found[place] = _slope(moments(x, y, index), weights, within)
            continue
        made = [_slope(moments(x + np.sqrt(lam) * errors * z, y, index), weights, within) for z in noise]
        found[place] = np.mean(made, axis=0)
    # The quadratic through the means, at −1: linear in them, so each row has its own.
    powers = np.vander(np.array(LAMBDAS), 3)
    at_minus_one = np.array([1.0, -1.0, 1.0]) @ np.linalg.pinv(powers)
    corrected = at_minus_one @ found
    interval = jackknife_interval(float(corrected[0]), corrected[1:], level)
    return Simex(
        naive=float(found[0, 0]),
        corrected=float(corrected[0]),
        interval=interval,
        lambdas=np.array(LAMBDAS),
        at_lambdas=found[:, 0].copy(),
        typical_error=float(np.sqrt((errors**2).mean())),
    )


def _slope(sums: Moments, weights: np.ndarray, within: bool) -> np.ndarray:
    found = slopes(sums, weights)
    return found.within if within else found.pooled
