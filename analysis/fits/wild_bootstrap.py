"""The wild cluster bootstrap of one slope: a test and, turned round, an interval that hold for few test sets.

Not here: sandwich errors (`cluster_robust.py`).
"""

from __future__ import annotations

import numpy as np

from .moments import cluster_index, demeaned
from .numbers import NAN
from .resampling import Interval

# Up to this many clusters every pattern of signs is tried (2¹², half of them mirror images); beyond, they are drawn.
_ALL_SIGNS = 12
_METHOD = "wild cluster bootstrap-t, null imposed"


def wild_interval(
    x: np.ndarray,
    y: np.ndarray,
    clusters: np.ndarray,
    level: float,
    *,
    absorb: bool,
    replicates: int = 1999,
    seed: int = 0,
) -> Interval:
    """Which slopes does the wild cluster bootstrap not refuse?

    For a slope β₀ the residuals of the fit that has it are multiplied by one sign a cluster, and the t statistic (CR1)
    of the data is compared with those of the samples so made (Cameron, Gelbach and Miller 2008). The interval holds
    every β₀ with p > 1 − level. Signs are +1 or −1; with fewer than 13 clusters all patterns are used, and with
    fewer than six no p can fall below 1/16: then there is no interval at 95 %.

    Parameters
    ----------
    x, y
        (n,) float64.
    clusters
        (n,) names.
    level
        Of the interval.
    absorb
        Whether each cluster has an intercept of its own; otherwise there is one for all.
    replicates, seed
        Of drawn signs.

    Returns
    -------
    Interval
        With the p of slope 0.
    """
    names, index = cluster_index(clusters)
    groups = len(names)
    if groups < 2:
        return Interval(NAN, NAN, NAN, _METHOD)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    x, y = (demeaned(x, index), demeaned(y, index)) if absorb else (x - x.mean(), y - y.mean())
    spread = np.bincount(index, weights=x * x)
    total = spread.sum()
    if not total > 1e-12 * max(1.0, float((y * y).sum())):
        return Interval(NAN, NAN, NAN, _METHOD)
    cross = np.bincount(index, weights=x * y)
    sizes, sums_x, sums_y = (np.bincount(index, weights=each) for each in (np.ones_like(x), x, y))
    if absorb:
        sums_x = sums_y = np.zeros(groups)
    slope = cross.sum() / total
    signs = _signs(groups, replicates, seed)

    def p_of(null: float) -> float:
        scores, sums = cross - null * spread, sums_y - null * sums_x
        drift = signs @ scores / total  # by how much each sample's slope differs from the null
        middle = signs @ sums / sizes.sum()
        errors = signs * scores - middle[:, None] * sums_x - drift[:, None] * spread
        own_error = scores - (slope - null) * spread - sums.sum() / sizes.sum() * sums_x
        # CR1's constant factor is the same on both sides.
        drawn = np.abs(drift) / np.sqrt(np.maximum((errors**2).sum(1), 1e-300))
        own = abs(slope - null) / np.sqrt(max((own_error**2).sum(), 1e-300)) * (1 - 1e-9)  # a tie counts
        return float((drawn >= own).mean())

    error = np.sqrt(((cross - slope * spread) ** 2).sum()) / total
    if error <= 1e-12 * np.sqrt(float(y @ y) / total):  # no noise, no test; and no step to search with
        return Interval(NAN, NAN, NAN, _METHOD)
    ends = [_end(p_of, slope, direction * error, 1 - level) for direction in (-1, 1)]
    return Interval(ends[0], ends[1], p_of(0.0), _METHOD)


def _signs(groups: int, replicates: int, seed: int) -> np.ndarray:
    if groups <= _ALL_SIGNS:
        bits = np.arange(2**groups)[:, None] >> np.arange(groups) & 1
        return 1.0 - 2.0 * bits
    drawn = np.random.default_rng(seed).integers(0, 2, size=(replicates, groups)) * 2.0 - 1
    return np.vstack([np.ones(groups), drawn])  # the data are one of the samples, so that p is never 0


def _end(p_of, slope: float, step: float, alpha: float) -> float:  # noqa: ANN001 - a closure
    """Where p falls to alpha on the way from the slope; infinite where it does not within 500 errors."""
    inside, outside = slope, slope + 2 * step
    while p_of(outside) > alpha:
        inside, outside = outside, slope + 2 * (outside - slope)
        if abs(outside - slope) > 500 * abs(step):
            return float(np.copysign(np.inf, step))
    for _ in range(30):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if p_of(middle) > alpha else (inside, middle)
        if abs(outside - inside) < 1e-4 * abs(step):
            break
    return float(outside)
