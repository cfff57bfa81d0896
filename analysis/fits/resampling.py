"""Intervals from drawing test sets anew, or leaving one out: bootstrap (percentile, BCa) and jackknife.

Not here: the statistics that are recomputed (`moments.py`, `published.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .numbers import NAN


@dataclass(frozen=True)
class Interval:
    """An interval with its two-sided p, both nan where they are undefined, and how they were made."""

    lower: float
    upper: float
    p: float
    method: str


def draw_weights(clusters: int, replicates: int, seed: int | np.random.Generator) -> np.ndarray:
    """How often is each of G clusters drawn, in each of R samples of G with replacement? (R, G) float64."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=replicates).astype(np.float64)


def leave_one_out(clusters: int, first: int = 0, last: int | None = None) -> np.ndarray:
    """Give weights that leave out each cluster once, from `first` up to `last`: (…, G) float64, 0 for the left out."""
    last = clusters if last is None else last
    return 1 - np.eye(last - first, clusters, first)


def percentile_interval(draws: np.ndarray, level: float) -> Interval:
    """Efron's percentile interval: the middle `level` of (R,) bootstrap draws (Efron and Tibshirani 1993, ch. 13).

    Draws in which the statistic is undefined are left out; if that is more than one in twenty, there is no interval.

    Examples
    --------
    >>> interval = percentile_interval(np.arange(101.0), 0.9)
    >>> round(interval.lower), round(interval.upper)
    (5, 95)
    """
    method = "percentile bootstrap over test sets"
    kept = _finite(draws)
    if kept is None:
        return Interval(NAN, NAN, NAN, method)
    lower, upper = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    # A draw at nothing speaks for both sides; never 0, since one more draw might have been beyond.
    tail = (min((kept <= 0).sum(), (kept >= 0).sum()) + 1) / (len(kept) + 1)
    return Interval(float(lower), float(upper), float(min(1, 2 * tail)), method)


def bca_interval(estimate: float, draws: np.ndarray, left_out: np.ndarray, level: float) -> Interval:
    """Efron's bias-corrected and accelerated interval (1987).

    Parameters
    ----------
    estimate
        The statistic of the data.
    draws
        (R,) of bootstrap samples.
    left_out
        (G,) of the data without each cluster, for the acceleration.
    level
        Of the interval.
    """
    method = "BCa bootstrap over test sets"
    kept, left = _finite(draws), _finite(left_out)
    if kept is None or left is None or not np.isfinite(estimate):
        return Interval(NAN, NAN, NAN, method)
    # Samples that have each cluster once are not rare among few: ties with the estimate, whatever rounding says.
    tie = np.abs(kept - estimate) <= 1e-9 * np.ptp(kept)
    below = ((kept < estimate) & ~tie).mean() + tie.mean() / 2
    if not 0 < below < 1:
        return Interval(NAN, NAN, NAN, method)
    shift = stats.norm.ppf(below)
    pulls = left.mean() - left
    spread = (pulls**2).sum()
    acceleration = (pulls**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    normal = stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    turned = shift + (shift + normal) / (1 - acceleration * (shift + normal))
    lower, upper = np.quantile(kept, stats.norm.cdf(turned))
    return Interval(float(lower), float(upper), NAN, method)


def jackknife_interval(
    estimate: float,
    left_out: np.ndarray,
    level: float,
    transform: Callable[[np.ndarray], np.ndarray] = lambda values: values,
    inverse: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> Interval:
    """Student's interval with the jackknife's error: (G − 1)/G Σ (θ₋ᵍ − mean)², G − 1 degrees of freedom (Tukey 1958).

    Parameters
    ----------
    estimate
        The statistic of the data.
    left_out
        (G,) of the data without each cluster.
    level
        Of the interval.
    transform, inverse
        To a scale on which it is symmetric and back: artanh and tanh for a correlation.
    """
    method = "jackknife over test sets, t with G − 1 degrees of freedom"
    left = np.asarray(left_out, dtype=np.float64)
    if len(left) < 2 or not np.isfinite(left).all() or not np.isfinite(estimate):
        return Interval(NAN, NAN, NAN, method)
    turned, middle = transform(left), transform(np.asarray(estimate))
    error = np.sqrt((len(left) - 1) / len(left) * ((turned - turned.mean()) ** 2).sum())
    if error == 0:
        return Interval(float(estimate), float(estimate), NAN, method)
    reach = stats.t.ppf((1 + level) / 2, len(left) - 1) * error
    p = 2 * stats.t.sf(abs(middle) / error, len(left) - 1)
    return Interval(float(inverse(middle - reach)), float(inverse(middle + reach)), float(p), method)


def fisher_jackknife_interval(estimate: float, left_out: np.ndarray, level: float) -> Interval:
    """`jackknife_interval` of a correlation, on Fisher's scale."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return jackknife_interval(estimate, left_out, level, np.arctanh, np.tanh)


def _finite(draws: np.ndarray) -> np.ndarray | None:
    draws = np.asarray(draws, dtype=np.float64)
    kept = draws[np.isfinite(draws)]
    return kept if len(kept) and len(kept) >= 0.95 * len(draws) else None
