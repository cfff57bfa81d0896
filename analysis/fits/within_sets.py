"""Slopes within and between test sets, apart: do frequent concepts do better, or do easy test sets have common ones?

Not here: other intervals of the same slopes (`slope_intervals.py`), slopes that vary at random (`mixed_effects.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from .cluster_robust import cluster_robust
from .concept_level import POINTS
from .moments import cluster_index, moments, slopes
from .numbers import NAN
from .resampling import Interval


@dataclass(frozen=True)
class SetSlope:
    """The line through the concepts of one test set.

    Attributes
    ----------
    task
        The test set.
    points
        Its concepts.
    mean_x, mean_y
        Mean log10(1 + frequency), and mean accuracy in points.
    low_x, high_x
        The range of log10(1 + frequency).
    slope, error
        Points per decade, and the standard error HC3 (MacKinnon and White 1985), which lets the noise vary with
        frequency; nan where frequency does not vary, or for fewer than three concepts.
    lower, upper, p
        Student's interval with n − 2 degrees of freedom, and the p of slope 0.
    """

    task: str
    points: int
    mean_x: float
    mean_y: float
    low_x: float
    high_x: float
    slope: float
    error: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True)
class Decomposition:
    """The pooled slope taken apart.

    Attributes
    ----------
    pooled, within, between
        Points per decade: through all concepts; after each test set's means are taken off; through the means of the
        test sets, each once.
    pooled_r, within_r
        Pearson's r of the first two.
    share_within
        Which share of the variance of log frequency lies within test sets.
    contextual
        Mundlak's test (1978): how much steeper the slope is between sets (weighted by their concepts) than within, in
        points per decade, with its CR2 interval and p. Values far from 0: pooled and within slopes answer different
        questions.
    contextual_slope
        Its value.
    between_interval
        Student's interval of the between slope over G means, HC3.
    sets
        (G,) each test set's own line.
    """

    pooled: float
    within: float
    between: float
    pooled_r: float
    within_r: float
    share_within: float
    contextual_slope: float
    contextual: Interval
    between_interval: Interval
    sets: tuple[SetSlope, ...]


def decompose(x: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float = 0.95) -> Decomposition:
    """How much of the slope lies within test sets, and how much between them?

    The least-squares slope through all points is a mean of the slope within sets and the slope between their (weighted)
    means, weighted by the shares of the variance of x that lie within and between. Where they differ, the pooled one
    says as much about which test sets exist as about concepts (Simpson 1951; Mundlak 1978).

    Parameters
    ----------
    x
        (n,) log10(1 + frequency).
    values
        (n,) shares from 0 to 1.
    sets
        (n,) names of test sets.
    level
        Of intervals.

    Returns
    -------
    Decomposition

    Examples
    --------
    >>> apart = decompose(np.array([0, 1, 3, 4.0]), np.array([0.2, 0.1, 0.8, 0.7]), np.array(["a", "a", "b", "b"]))
    >>> round(apart.pooled), round(apart.within), round(apart.between)
    (17, -10, 20)
    """
    y = POINTS * np.asarray(values, dtype=np.float64)
    names, index = cluster_index(sets)
    sums = moments(x, y, index)
    found = slopes(sums)
    means_x, means_y = sums.x / sums.n + np.mean(x), sums.y / sums.n + y.mean()
    lines = []
    for place, name in enumerate(names):
        own_x, own_y = np.asarray(x)[index == place], y[index == place]
        slope, error, interval = _line(own_x, own_y, level)
        low, high = float(own_x.min()), float(own_x.max())
        lines.append(
            SetSlope(
                task=str(name),
                points=len(own_x),
                mean_x=float(means_x[place]),
                mean_y=float(means_y[place]),
                low_x=low,
                high_x=high,
                slope=slope,
                error=error,
                lower=interval.lower,
                upper=interval.upper,
                p=interval.p,
            )
        )
    within_xx, all_xx = (sums.xx - sums.x**2 / sums.n).sum(), sums.xx.sum()
    contextual_slope, contextual = _contextual(np.asarray(x, dtype=np.float64), y, index, means_x, level)
    return Decomposition(
        pooled=float(found.pooled[0]),
        within=float(found.within[0]),
        between=float(found.between[0]),
        pooled_r=float(found.pooled_r[0]),
        within_r=float(found.within_r[0]),
        share_within=float(within_xx / all_xx) if all_xx > 0 else NAN,
        contextual_slope=contextual_slope,
        contextual=contextual,
        between_interval=_line(means_x, means_y, level)[2],
        sets=tuple(lines),
    )


def _line(x: np.ndarray, y: np.ndarray, level: float) -> tuple[float, float, Interval]:
    """Slope, HC3 error and interval; nan where there is none."""
    nothing = Interval(NAN, NAN, NAN, "HC3")
    centred = x - x.mean()
    spread = centred @ centred
    if len(x) < 3 or spread <= 1e-12 * len(x):
        return NAN, NAN, nothing
    slope = centred @ y / spread
    residuals = y - y.mean() - slope * centred
    leverage = 1 / len(x) + centred**2 / spread
    # A point that alone determines the slope has no residual to speak of: its leverage is 1.
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(leverage < 1 - 1e-9, residuals / (1 - leverage), 0.0)
    error = float(np.sqrt(((centred * scaled) ** 2).sum()) / spread)
    if error == 0:
        return float(slope), NAN, nothing
    reach = stats.t.ppf((1 + level) / 2, len(x) - 2) * error
    p = float(2 * stats.t.sf(abs(slope) / error, len(x) - 2))
    interval = Interval(float(slope - reach), float(slope + reach), p, f"HC3, t with {len(x) - 2} degrees of freedom")
    return float(slope), error, interval


def _contextual(
    x: np.ndarray, y: np.ndarray, index: np.ndarray, means_x: np.ndarray, level: float
) -> tuple[float, Interval]:
    """The coefficient of a set's mean beside the concept's own frequency."""
    design = np.column_stack([np.ones_like(x), x, means_x[index]])
    within = x - means_x[index]
    if len(means_x) < 3 or np.ptp(means_x) < 1e-9 or within @ within < 1e-9:
        return NAN, Interval(NAN, NAN, NAN, "CR2")
    fit = cluster_robust(design, y, index)
    return float(fit.coefficients[2]), fit.cr2_interval(2, level)
