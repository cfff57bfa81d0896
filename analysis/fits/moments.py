"""Slopes and correlations from sums over test sets, so that a resampling of test sets costs a few products.

Not here: the resampling (`resampling.py`), errors of a slope (`cluster_robust.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput


@dataclass(frozen=True)
class Moments:
    """Sums over each of G clusters, of x and y less their means over everything.

    Attributes
    ----------
    n, x, y, xx, xy, yy
        (…, G) float64: the number of points, Σx, Σy, Σx², Σxy, Σy².
    """

    n: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray


@dataclass(frozen=True)
class Slopes:
    """Slopes and correlations, one for each row of weights; nan where x (or y) does not vary.

    Attributes
    ----------
    pooled, within, between
        Least-squares slopes: through all points; through all points less their cluster's mean; through the G means,
        each once.
    pooled_r, within_r
        Pearson's correlations of the first two.
    """

    pooled: np.ndarray
    within: np.ndarray
    between: np.ndarray
    pooled_r: np.ndarray
    within_r: np.ndarray


def cluster_index(clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give (G,) names of clusters in sorted order, and for each of n points its place among them."""
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    return names, index.reshape(-1)


def demeaned(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Take each cluster's mean off (n,) values.

    Examples
    --------
    >>> demeaned(np.array([1.0, 3, 10]), np.array([0, 0, 1]))
    array([-1.,  1.,  0.])
    """
    return values - (np.bincount(index, weights=values) / np.bincount(index))[index]


def moments(x: np.ndarray, y: np.ndarray, index: np.ndarray) -> Moments:
    """Add up (n,) x and y over clusters; index (n,) from 0 to G − 1, each of them there."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.shape != np.shape(index):
        raise BadInput(
            f"{x.shape} frequencies, {y.shape} accuracies and {np.shape(index)} clusters do not fit together"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadInput("a frequency or an accuracy is not a finite number")
    x, y = x - x.mean(), y - y.mean()

    def total(values: np.ndarray | None) -> np.ndarray:
        return np.bincount(index, weights=values).astype(np.float64)

    return Moments(total(None), total(x), total(y), total(x * x), total(x * y), total(y * y))


def slopes(sums: Moments, weights: np.ndarray | None = None) -> Slopes:
    """Which slopes have the clusters, each taken as often as its weight says?

    A cluster drawn twice counts as two clusters, each with a mean of its own.

    Parameters
    ----------
    sums
        Of G clusters.
    weights
        (R, G), not negative; None takes each once, R = 1.

    Returns
    -------
    Slopes
        (R,) each.
    """
    weights = np.ones((1, sums.n.shape[-1])) if weights is None else np.asarray(weights, dtype=np.float64)

    def added(values: np.ndarray) -> np.ndarray:
        return (weights * values).sum(-1)

    def spread(a: np.ndarray, b: np.ndarray, ab: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pooled = added(ab) - added(a) * added(b) / added(sums.n)
        within = added(ab - a * b / sums.n)
        means_a, means_b = a / sums.n, b / sums.n
        between = added(means_a * means_b) - added(means_a) * added(means_b) / weights.sum(-1)
        return pooled, within, between

    xx, xy, yy = (
        spread(a, b, ab)
        for a, b, ab in ((sums.x, sums.x, sums.xx), (sums.x, sums.y, sums.xy), (sums.y, sums.y, sums.yy))
    )
    # A spread that is nothing but rounding makes no slope.
    tiny = 1e-10 * np.maximum(added(sums.xx), 1e-300), 1e-10 * np.maximum(added(sums.yy), 1e-300)

    def ratio(kind: int) -> np.ndarray:
        return np.where(xx[kind] > tiny[0], xy[kind] / np.where(xx[kind] > tiny[0], xx[kind], 1), np.nan)

    def correlation(kind: int) -> np.ndarray:
        there = (xx[kind] > tiny[0]) & (yy[kind] > tiny[1])
        return np.where(there, xy[kind] / np.sqrt(np.where(there, xx[kind] * yy[kind], 1)), np.nan)

    between_scale = 1e-10 * np.maximum(added((sums.x / sums.n) ** 2), 1e-300)
    between = np.where(xx[2] > between_scale, xy[2] / np.where(xx[2] > between_scale, xx[2], 1), np.nan)
    return Slopes(ratio(0), ratio(1), between, correlation(0), correlation(1))
