"""Correlation and line over single concepts, without bins. Pure functions on arrays.

Not here: intervals that know of test sets (`cluster_robust.py`, `resampling.py`), slopes within sets
(`within_sets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tailwag.errors import BadInput

from .numbers import NAN

POINTS = 100.0  # a share of 1 in points of accuracy


def log_frequency(frequency: np.ndarray) -> np.ndarray:
    """log10(1 + frequency): a decade a step for frequent concepts, and 0 for a concept that was never seen.

    Parameters
    ----------
    frequency
        Any shape, not negative.

    Returns
    -------
    numpy.ndarray
        float64 of the same shape.

    Raises
    ------
    BadInput
        When a frequency is negative or not finite.

    Examples
    --------
    >>> log_frequency(np.array([0, 9, 99]))
    array([0., 1., 2.])
    """
    frequency = np.asarray(frequency, dtype=np.float64)
    if not (np.isfinite(frequency).all() and (frequency >= 0).all()):
        raise BadInput("a frequency is negative or not a finite number")
    return np.log10(1 + frequency)


@dataclass(frozen=True)
class Correlation:
    """One correlation coefficient over C concepts.

    Attributes
    ----------
    value, p
        The coefficient and its two-sided p as if concepts were independent; nan where undefined.
    concepts
        C.
    """

    value: float
    p: float
    concepts: int


def _correlation(method: str, one: np.ndarray, other: np.ndarray) -> Correlation:
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise BadInput(f"{one.shape} values cannot be correlated with {other.shape}")
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return Correlation(NAN, NAN, len(one))
    found = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[method](one, other)
    return Correlation(float(found.statistic), float(found.pvalue), len(one))


def pearson_of_found(frequency: np.ndarray, values: np.ndarray) -> Correlation:
    """What is Pearson's r of log10 frequency with accuracy, over the concepts with a frequency above 0?

    Examples
    --------
    >>> pearson_of_found(np.array([0, 1, 10, 100]), np.array([0.9, 0.1, 0.2, 0.3])).concepts
    3
    """
    found = np.asarray(frequency) > 0
    return _correlation("pearson", np.log10(np.asarray(frequency, dtype=np.float64)[found]), np.asarray(values)[found])


def pearson_of_all(frequency: np.ndarray, values: np.ndarray) -> Correlation:
    """What is Pearson's r of log10(1 + frequency) with accuracy, over all concepts?"""
    return _correlation("pearson", log_frequency(frequency), values)


def spearman(frequency: np.ndarray, values: np.ndarray) -> Correlation:
    """What is Spearman's ρ over all concepts, zeros included as ties?"""
    return _correlation("spearman", frequency, values)


def kendall(frequency: np.ndarray, values: np.ndarray) -> Correlation:
    """What is Kendall's τ-b over all concepts?"""
    return _correlation("kendall", frequency, values)
