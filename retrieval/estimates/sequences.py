"""How many hits does a corpus hold, by a sample that grows while one looks? Intervals that hold at all looks together.

Two ways: looks that were planned beforehand, which are few and give the narrower intervals, and looks at any time. Pure
functions on arrays. Not here: one look (`intervals.py`), making the sample grow (`growing.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from .boundaries import last_inside
from .distributions import LOG_ERROR, log_beta_binomial, log_hypergeometric
from .intervals import check_confidence, checked_counts, distinct_counts, hypergeometric_interval

# The prior over the share of hits, fixed before anything is seen: Beta(½, ½·10^j) for j = 0 … 9 and their mirror
# images, equal weights. About as much on every decade of the share from 1 to 1e-9, so that rare concepts get narrow
# intervals too; any prior keeps the promise of coverage.
PRIOR = tuple((0.5, 0.5 * 10**decade) for decade in range(10)) + tuple(
    (0.5 * 10**decade, 0.5) for decade in range(1, 10)
)


def scheduled_interval(
    hits: ArrayLike, sampled: ArrayLike, rows: ArrayLike, confidence: float, looks: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many hits can a corpus hold, at one of so many looks that were planned before the first?

    `hypergeometric_interval` with the error shared out evenly, (1 − confidence) / looks to each look: by Bonferroni's
    inequality the truth lies in the intervals of all looks together with at least the confidence, so one may stop at
    any of them, for any reason. A look that is passed over costs nothing but its share. The looks' sizes must be
    planned; a look at the whole corpus cannot miss and need not be counted among them.

    Parameters
    ----------
    hits, sampled, rows, confidence
        As in `hypergeometric_interval`.
    looks
        At least 1.

    Examples
    --------
    >>> scheduled_interval([0, 12], 1000, 100_000, 0.95, looks=8)
    (array([  0, 470]), array([ 572, 2478]))
    """
    check_confidence(confidence)
    return hypergeometric_interval(hits, sampled, rows, 1 - (1 - confidence) / looks)


def sequence_interval(
    hits: ArrayLike, sampled: ArrayLike, rows: ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """How many hits can a corpus hold, going by a sample that is looked at as often as one likes while it grows?

    One term of a confidence sequence: with at least the confidence, the truth lies in *every* interval that is ever
    formed while rows are drawn without replacement; so one may stop whenever one likes, also because the interval is
    narrow. It is the prior-posterior-ratio sequence of Waudby-Smith and Ramdas (Confidence Sequences for Sampling
    Without Replacement, NeurIPS 2020): under the true K, prior(K) / posterior(K) is a martingale that starts
    at 1, so by Ville's inequality it ever reaches 1/α with probability at most α. By Bayes's rule the ratio is the
    probability of k hits under the prior over that under K, which leaves

        { K : P(k | K, n, N) > α Σⱼ wⱼ P(k | n, Beta(aⱼ, bⱼ)) },

    a hypergeometric against a mixture of beta-binomials (`PRIOR`). The left side rises and falls once in K.

    Parameters
    ----------
    hits, sampled, rows, confidence
        As in `hypergeometric_interval`.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Lower and upper, int64, both inside; all that is possible where nothing was sampled, and k and k where
        everything was. Rounding can only widen them.

    Raises
    ------
    BadInput
        Unless 0 ≤ k ≤ n ≤ N and 0 < confidence < 1.

    Examples
    --------
    >>> sequence_interval([0, 12], 1000, 100_000)
    (array([  0, 322]), array([ 399, 2990]))
    """
    hits, sampled, rows = checked_counts(hits, sampled, rows)
    check_confidence(confidence)
    triples, position = distinct_counts(hits, sampled, rows)
    own_hits, own_sampled, own_rows = triples
    log_level = np.log(1 - confidence) + log_prior_probability(own_hits, own_sampled) - LOG_ERROR
    lower = _least_hits(own_hits, own_sampled, own_rows, log_level)
    # The prior is its own mirror image.
    upper = own_rows - _least_hits(own_sampled - own_hits, own_sampled, own_rows, log_level)
    return lower[position].reshape(hits.shape), upper[position].reshape(hits.shape)


def log_prior_probability(hits: np.ndarray, sampled: np.ndarray) -> np.ndarray:
    """How probable are so many hits in a sample under `PRIOR`? The logarithm, float64."""
    a, b = np.array(PRIOR).T
    logs = log_beta_binomial(hits[..., None], sampled[..., None], a, b)
    return logsumexp(logs, axis=-1) - np.log(len(PRIOR))


def _least_hits(hits: np.ndarray, sampled: np.ndarray, rows: np.ndarray, log_level: np.ndarray) -> np.ndarray:
    """Give the least K with log P(k | K) ≥ `log_level`, for (m,) triples."""
    # The K under which k is the likeliest lies inside, since the prior's probability is a mean over all K.
    scaled = np.floor(hits * ((rows + 1) / np.maximum(sampled, 1))).astype(np.int64)
    likeliest = np.where(sampled == 0, 0, np.clip(scaled, hits, rows - (sampled - hits)))

    def margin(which: np.ndarray, total_hits: np.ndarray) -> np.ndarray:
        return log_hypergeometric(hits[which], sampled[which], total_hits, rows[which]) - log_level[which]

    # A normal curve falls by its excess over the level within so many standard deviations.
    excess = margin(np.arange(len(hits)), likeliest)
    deviation = likeliest * np.sqrt((rows - sampled) / np.maximum(rows, 1) / np.maximum(hits, 1))
    return last_inside(margin, likeliest, hits - 1, likeliest - deviation * np.sqrt(2 * excess))
