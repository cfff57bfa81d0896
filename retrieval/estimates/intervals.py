"""How many hits does a corpus hold, by one sample of it? Exact intervals for one look.

Pure functions on arrays. Not here: looking again and again while the sample grows (`sequences.py`), probabilities
(`distributions.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from tailwag.errors import BadInput

from .boundaries import last_inside
from .distributions import LOG_ERROR, log_upper_tail


def hypergeometric_interval(
    hits: ArrayLike, sampled: ArrayLike, rows: ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """How many hits can a corpus hold, when a sample of it holds so many? An exact interval.

    The numbers K that neither of two one-sided tests of level (1 − confidence)/2 refuses: P(X ≥ k | K) > α/2 and
    P(X ≤ k | K) > α/2, X hypergeometric (Buonaccorsi, A Note on Confidence Intervals for Proportions in Finite
    Populations, The American Statistician 41, 1987); for large corpora Clopper and Pearson's interval. It holds the
    truth with at least the confidence, whatever the truth, the sample's size and the corpus's. Shorter exact intervals
    exist (Wang, Exact Optimal Confidence Intervals for Hypergeometric Parameters, JASA 110, 2015); these treat both
    ends alike and are found in a moment at five billion rows.

    Parameters
    ----------
    hits
        k, the hits in the sample; whole numbers of any shape.
    sampled, rows
        n and N: rows of the sample and of the corpus; one number or arrays that broadcast with `hits`.
    confidence
        Between 0 and 1.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Lower and upper, int64 of the common shape, both inside; k and k where the sample is the whole corpus. Rounding
        can only widen them.

    Raises
    ------
    BadInput
        Unless 0 ≤ k ≤ n ≤ N and 0 < confidence < 1.

    Examples
    --------
    >>> hypergeometric_interval([0, 12], 1000, 100_000)
    (array([  0, 624]), array([ 366, 2082]))
    >>> hypergeometric_interval([0, 12], 1000, 1000)
    (array([ 0, 12]), array([ 0, 12]))
    """
    hits, sampled, rows = checked_counts(hits, sampled, rows)
    check_confidence(confidence)
    log_level = np.log((1 - confidence) / 2) - LOG_ERROR
    triples, position = distinct_counts(hits, sampled, rows)
    own_hits, own_sampled, own_rows = triples
    lower = _least_hits(own_hits, own_sampled, own_rows, log_level)
    upper = own_rows - _least_hits(own_sampled - own_hits, own_sampled, own_rows, log_level)
    return lower[position].reshape(hits.shape), upper[position].reshape(hits.shape)


def clopper_pearson(hits: ArrayLike, sampled: ArrayLike, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Which share of hits can a population without end have? The limit of `hypergeometric_interval` for large corpora.

    Clopper and Pearson (The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial, Biometrika
    26, 1934), by quantiles of the beta distribution.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Lower and upper share, float64.

    Examples
    --------
    >>> lower, upper = clopper_pearson([0, 12], 1000)
    >>> lower.round(5), upper.round(5)
    (array([0.     , 0.00622]), array([0.00368, 0.02087]))
    """
    hits, sampled, _ = checked_counts(hits, sampled, sampled)
    check_confidence(confidence)
    tail, misses = (1 - confidence) / 2, sampled - hits
    lower = np.where(hits == 0, 0.0, betaincinv(np.maximum(hits, 1), misses + 1, tail))
    upper = np.where(misses == 0, 1.0, betaincinv(hits + 1, np.maximum(misses, 1), 1 - tail))
    return lower, upper


def point_estimate(hits: ArrayLike, sampled: ArrayLike, rows: ArrayLike) -> np.ndarray:
    """How many hits does a corpus hold, going by a sample? k N / n to the nearest whole number.

    Unbiased before rounding, and never fewer than were seen. Where nothing was sampled it is 0.

    Returns
    -------
    numpy.ndarray
        int64.
    """
    hits, sampled, rows = checked_counts(hits, sampled, rows)
    scaled = np.rint(hits * (rows / np.maximum(sampled, 1))).astype(np.int64)
    return np.clip(scaled, hits, rows - (sampled - hits))


def checked_counts(hits: ArrayLike, sampled: ArrayLike, rows: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give hits, sample and corpus as int64 of one shape.

    Raises
    ------
    BadInput
        Unless they are whole numbers with 0 ≤ hits ≤ sampled ≤ rows.
    """
    given = [np.asarray(value) for value in (hits, sampled, rows)]
    if any(value.dtype.kind not in "iu" for value in given):
        raise BadInput("hits, sampled rows and rows are counts: give whole numbers")
    whole = np.broadcast_arrays(*(value.astype(np.int64) for value in given))
    if not ((whole[0] >= 0) & (whole[0] <= whole[1]) & (whole[1] <= whole[2])).all():
        raise BadInput("a sample holds no more hits than rows, and no more rows than its corpus: 0 ≤ k ≤ n ≤ N")
    return whole[0], whole[1], whole[2]


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not between 0 and 1.

    Raises
    ------
    BadInput
        Naming it.
    """
    if not 0 < confidence < 1:
        raise BadInput(f"a confidence lies between 0 and 1, and {confidence:g} was given; 0.95 is usual")


def distinct_counts(hits: np.ndarray, sampled: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the triples that differ: thousands of concepts share the few counts of the rare ones.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        (3, m) int64, and the position among them of every element, flat.
    """
    triples = np.stack([hits.reshape(-1), sampled.reshape(-1), rows.reshape(-1)])
    return np.unique(triples, axis=1, return_inverse=True)


def _least_hits(hits: np.ndarray, sampled: np.ndarray, rows: np.ndarray, log_level: float) -> np.ndarray:
    """Give the least K with log P(X ≥ k | K) ≥ `log_level`, for (m,) triples."""
    # At K = ⌈kN/n⌉ the mean is no smaller than k, so neither is the median (Siegel, Median Bounds and Their
    # Application, 2001): P(X ≥ k) ≥ ½. One more makes up for the division's rounding.
    scaled = np.ceil(hits * (rows / np.maximum(sampled, 1))).astype(np.int64) + 1
    inside = np.where(hits == 0, 0, np.minimum(scaled, rows - (sampled - hits)))

    def margin(which: np.ndarray, total_hits: np.ndarray) -> np.ndarray:
        return log_upper_tail(hits[which], sampled[which], total_hits, rows[which]) - log_level

    # No K below k can bring forth k hits; for k = 0 nothing need be searched. The guess is the binomial limit, drawn in
    # by how much less a sample varies the more of the corpus it is.
    limit = rows * np.where(hits == 0, 0.0, betaincinv(np.maximum(hits, 1), sampled - hits + 1, np.exp(log_level)))
    guess = inside - (inside - limit) * np.sqrt((rows - sampled) / np.maximum(rows, 1))
    return last_inside(margin, inside, np.where(hits == 0, -1, hits - 1), guess)
