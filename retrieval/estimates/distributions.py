"""Probabilities of a sample's hits, to full precision: hypergeometric with its tail, and beta-binomial.

Pure functions on arrays. Log-gamma of five billion is good to five decimals only, so nothing here takes the difference
of two of them: Loader's form (Fast and Accurate Computation of Binomial Probabilities, 2000) adds up small numbers.
Not here: intervals (`intervals.py`, `sequences.py`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gammaln

# What rounding may do to a log probability at five billion rows, up to six standard deviations; tests hold it to this.
LOG_ERROR = 1e-9
# From here on Stirling's series with five terms is exact in float64.
_SERIES_FROM = 16.0
_HALF_LOG_TWO_PI = 0.9189385332046727
# Nodes of the rule that sums a block of a tail; a block is between this and twice this many standard deviations long.
_NODES = 8
_BLOCK_DEVIATIONS = 0.75
_BLOCKS_AT_ONCE = 3
# Terms of a tail that are smaller than this part of what they are added to cannot change it.
_NEGLIGIBLE = 1e-13


def log_hypergeometric(hits: np.ndarray, sampled: np.ndarray, total_hits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How probable is it that a sample holds so many hits? The logarithm of it.

    A sample of n of N rows, K of which are hits, drawn without replacement, holds k hits with probability
    C(K, k) C(N − K, n − k) / C(N, n) = b(k; K) b(n − k; N − K) / b(n; N), where b(x; m) is the binomial probability of
    x in m at the rate n/N (Loader 2000).

    Parameters
    ----------
    hits, sampled, total_hits, rows
        k, n, K and N, of shapes that broadcast; k may lie between whole numbers. 0 ≤ n ≤ N, 0 ≤ K ≤ N.

    Returns
    -------
    numpy.ndarray
        float64, wrong by no more than `LOG_ERROR`; −inf where it cannot be.
    """
    shape = np.broadcast_shapes(*map(np.shape, (hits, sampled, total_hits, rows)))
    hits, sampled, total_hits, rows = (
        np.atleast_1d(value).astype(float) for value in (hits, sampled, total_hits, rows)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        rate, rest = sampled / np.maximum(rows, 1), (rows - sampled) / np.maximum(rows, 1)
    misses, total_misses = sampled - hits, rows - total_hits
    possible = (hits >= 0) & (misses >= 0) & (hits <= total_hits) & (misses <= total_misses)
    log = (
        _log_binomial(hits, np.maximum(total_hits - hits, 0), rate, rest)
        + _log_binomial(misses, np.maximum(total_misses - misses, 0), rate, rest)
        - _log_binomial(sampled, rows - sampled, rate, rest)
    )
    return np.where(possible, log, -np.inf).reshape(shape)


def log_upper_tail(hits: np.ndarray, sampled: np.ndarray, total_hits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How probable is it that a sample holds so many hits or more? The logarithm of it.

    The sum is taken in blocks of about one standard deviation, each by the 8-node Gauss rule for sums over whole
    numbers: its nodes are the zeros of Gram's polynomials, orthogonal on 0, 1, …, m − 1 (Gautschi, Orthogonal
    Polynomials: Computation and Approximation, 2004). It is exact for polynomials of degree 15, and a block of 8 is
    summed term by term.

    Parameters
    ----------
    hits, sampled, total_hits, rows
        k, n, K and N, whole numbers of shapes that broadcast. Quick where k is no smaller than about the mean nK/N.

    Returns
    -------
    numpy.ndarray
        float64, wrong by no more than `LOG_ERROR`; −inf where it cannot be.
    """
    hits, sampled, total_hits, rows = np.broadcast_arrays(
        *(np.asarray(value, np.float64) for value in (hits, sampled, total_hits, rows))
    )
    shape = hits.shape
    hits, sampled, total_hits, rows = (value.reshape(-1) for value in (hits, sampled, total_hits, rows))
    share = total_hits / np.maximum(rows, 1)
    mean = sampled * share
    deviation = np.sqrt(mean * (1 - share) * (rows - sampled) / np.maximum(rows - 1, 1))
    log_lengths = np.ceil(np.log2(np.maximum(deviation * _BLOCK_DEVIATIONS, _NODES))).astype(int)
    starts = np.maximum(hits, np.maximum(sampled - (rows - total_hits), 0))
    ends = np.minimum(sampled, total_hits)
    sums = np.zeros(hits.shape)
    open_ones = np.flatnonzero(starts <= ends)
    while len(open_ones):
        own_logs = log_lengths[open_ones]
        nodes, weights = (np.stack([gram_rule(log)[part] for log in range(own_logs.max() + 1)]) for part in (0, 1))
        lengths = 2.0**own_logs
        blocks = starts[open_ones, None] + lengths[:, None] * np.arange(_BLOCKS_AT_ONCE)
        points = (blocks[:, :, None] + nodes[own_logs, None]).reshape(len(open_ones), -1)
        column = (value[open_ones, None] for value in (sampled, total_hits, rows))
        terms = np.exp(log_hypergeometric(points, *column)).reshape(len(open_ones), _BLOCKS_AT_ONCE, _NODES)
        by_block = (terms * weights[own_logs, None]).sum(axis=2)
        added = by_block[:, -1]
        sums[open_ones] += by_block.sum(axis=1)
        starts[open_ones] += lengths * _BLOCKS_AT_ONCE
        going_on = (starts[open_ones] <= ends[open_ones]) & (
            (added > sums[open_ones] * _NEGLIGIBLE) | (starts[open_ones] <= mean[open_ones])
        )
        open_ones = open_ones[going_on]
    with np.errstate(divide="ignore"):
        return np.minimum(np.log(sums), 0.0).reshape(shape)


@cache
def gram_rule(log_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Give nodes and weights for the sum of a smooth function over 0, 1, …, 2^log_length − 1.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        (8,) each. Sums of no more than 8 terms are exact for any function: their nodes are the whole numbers.
    """
    length = 2**log_length
    if length <= _NODES:
        nodes = np.arange(_NODES, dtype=np.float64)
        return nodes, (nodes < length).astype(np.float64)
    degree = np.arange(1, _NODES, dtype=np.float64)
    beside = np.sqrt(degree**2 * (length**2 - degree**2) / (4 * (4 * degree**2 - 1)))
    # Golub and Welsch (1969): the nodes are the eigenvalues of the recurrence's matrix.
    values, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    return values + (length - 1) / 2, length * vectors[0] ** 2


def log_beta_binomial(hits: np.ndarray, sampled: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How probable are so many hits among so many rows, when the share of hits is drawn from Beta(a, b)? The logarithm.

    Written as g(k; a) g(n − k; b) / g(n; a + b), where g(x; r) is the negative binomial probability of x at the rate
    (a + b) / (a + b + n), and that as a binomial one (Loader 2000): no large logarithms are subtracted.

    Parameters
    ----------
    hits, sampled
        k and n, whole numbers.
    a, b
        Above 0.

    Returns
    -------
    numpy.ndarray
        float64, wrong by no more than `LOG_ERROR`.
    """
    shape = np.broadcast_shapes(*map(np.shape, (hits, sampled, a, b)))
    hits, sampled, a, b = (np.atleast_1d(value).astype(float) for value in (hits, sampled, a, b))
    rate, rest = (a + b) / (a + b + sampled), sampled / (a + b + sampled)

    def negative_binomial(count: np.ndarray, size: np.ndarray) -> np.ndarray:
        return np.log(size / (size + count)) + _log_binomial(size, count, rate, rest)

    log = negative_binomial(hits, a) + negative_binomial(sampled - hits, b) - negative_binomial(sampled, a + b)
    return log.reshape(shape)


def _log_binomial(successes: np.ndarray, failures: np.ndarray, rate: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Log of Γ(x + y + 1) / (Γ(x + 1) Γ(y + 1)) · p^x · q^y for real x, y ≥ 0 and p + q = 1 (Loader 2000)."""
    number = successes + failures
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log = (
            _stirling_error(number)
            - _stirling_error(successes)
            - _stirling_error(failures)
            - _deviance(successes, number * rate)
            - _deviance(failures, number * rest)
            + 0.5 * np.log(number / successes / failures)
            - _HALF_LOG_TWO_PI
        )
        # At the ends: p^x and q^y, and 0 · log 0 is 0.
        log_rate = np.where(rate > 0.5, np.log1p(-rest), np.log(rate))
        log_rest = np.where(rest > 0.5, np.log1p(-rate), np.log(rest))
        log = np.where(successes == 0, failures * log_rest, log)
        return np.where(failures == 0, np.where(successes == 0, 0.0, successes * log_rate), log)


def _stirling_error(number: np.ndarray) -> np.ndarray:
    """By how much log Γ(x + 1) exceeds Stirling's (x + ½) log x − x + ½ log 2π; for x > 0."""
    inverse = 1 / number
    square = inverse * inverse
    error = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) * inverse
    small = number < _SERIES_FROM
    if small.any():
        few = number[small]
        error[small] = gammaln(few + 1) - (few + 0.5) * np.log(few) + few - _HALF_LOG_TWO_PI
    return error


def _deviance(number: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """x log(x / M) + M − x, without cancellation where x is near M (Loader 2000); x, M ≥ 0."""
    difference = number - mean
    ratio = difference / (number + mean)
    square = ratio * ratio
    series = 0.0
    for power in range(21, 1, -2):  # for |ratio| < 0.1 the next term is below 1e-22
        series = series * square + 1 / power
    deviance = difference * ratio + 2 * number * ratio * square * series
    far = ~(np.abs(ratio) < 0.1)
    if far.any():
        number, mean, difference = (np.broadcast_to(each, far.shape)[far] for each in (number, mean, difference))
        deviance[far] = number * np.log(number / mean) - difference
    return deviance
