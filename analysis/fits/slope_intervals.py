"""One slope with every interval: classical, CR1, CR2, wild bootstrap, percentile and BCa bootstrap, side by side.

Not here: the formulas of each (`cluster_robust.py`, `wild_bootstrap.py`, `resampling.py`), which of them covers
(docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .cluster_robust import cluster_robust
from .concept_level import POINTS
from .moments import cluster_index, demeaned, moments, slopes
from .resampling import Interval, bca_interval, draw_weights, leave_one_out, percentile_interval
from .wild_bootstrap import wild_interval


@dataclass(frozen=True)
class SlopeIntervals:
    """A slope in points per decade and its intervals.

    Attributes
    ----------
    slope
        Points per decade.
    classical, cr1, cr2, wild, percentile, bca
        Its intervals. With one test set its concepts take the place of clusters.
    cr2_freedom
        Degrees of freedom of CR2.
    points, clusters
        How many concepts and test sets there are.
    """

    slope: float
    classical: Interval
    cr1: Interval
    cr2: Interval
    wild: Interval
    percentile: Interval
    bca: Interval
    cr2_freedom: float
    points: int
    clusters: int

    def all(self) -> tuple[Interval, ...]:
        """Give every interval, the recommended one first."""
        return (self.cr2, self.wild, self.cr1, self.bca, self.percentile, self.classical)


def pooled_slope(
    x: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float = 0.95, replicates: int = 2000, seed: int = 0
) -> SlopeIntervals:
    """How steep is the line through all concepts, and how sure is that?

    Parameters
    ----------
    x
        (n,) log10(1 + frequency).
    values
        (n,) shares from 0 to 1.
    sets
        (n,) names of test sets: the clusters.
    level, replicates, seed
        Of the intervals.
    """
    return _slope(x, values, sets, level, replicates, seed, within=False)


def within_slope(
    x: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float = 0.95, replicates: int = 2000, seed: int = 0
) -> SlopeIntervals:
    """How steep is accuracy within test sets, each with an intercept of its own, and how sure is that?

    Parameters are those of `pooled_slope`.
    """
    return _slope(x, values, sets, level, replicates, seed, within=True)


def _slope(
    x: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float, replicates: int, seed: int, *, within: bool
) -> SlopeIntervals:
    x, y = np.asarray(x, dtype=np.float64), POINTS * np.asarray(values, dtype=np.float64)
    names, index = cluster_index(sets)
    groups = len(names)
    if groups == 1:
        # Within one test set there is nothing to cluster by: each concept errs for itself, as in HC2.
        clusters, within = np.arange(len(x)), False
    else:
        clusters = index
    if within:
        design, y_used, position = demeaned(x, index)[:, None], demeaned(y, index), 0
    else:
        design, y_used, position = np.column_stack([np.ones_like(x), x]), y, 1
    fit = cluster_robust(design, y_used, clusters, absorbed=groups if within else 0)
    names, drawn_from = cluster_index(clusters)
    sums = moments(x, y, drawn_from)

    def slope_of(weights: np.ndarray) -> np.ndarray:
        found = slopes(sums, weights)
        return found.within if within else found.pooled

    generator = np.random.default_rng(seed)
    draws = _in_parts(
        lambda first, last: slope_of(draw_weights(len(names), last - first, generator)), replicates, len(names)
    )
    left_out = _in_parts(lambda first, last: slope_of(leave_one_out(len(names), first, last)), len(names), len(names))
    slope = float(fit.coefficients[position])
    return SlopeIntervals(
        slope=slope,
        classical=fit.classical_interval(position, level),
        cr1=fit.cr1_interval(position, level),
        cr2=fit.cr2_interval(position, level),
        wild=wild_interval(x, y, clusters, level, absorb=within, seed=seed)
        if groups > 1
        else Interval(np.nan, np.nan, np.nan, "wild cluster bootstrap-t: of several test sets only"),
        percentile=percentile_interval(draws, level),
        bca=bca_interval(slope, draws, left_out, level),
        cr2_freedom=float(fit.cr2_freedom[position]),
        points=len(x),
        clusters=groups,
    )


def _in_parts(slopes_of: Callable[[int, int], np.ndarray], rows: int, clusters: int) -> np.ndarray:
    """Take rows of weights a few at a time: with a concept a cluster, all of them would fill the memory."""
    step = max(1, 2_000_000 // clusters)
    return np.concatenate([slopes_of(first, min(first + step, rows)) for first in range(0, rows, step)])
