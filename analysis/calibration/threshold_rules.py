"""Which threshold follows from labelled rows? Rules on histograms: a concept's own labels, other concepts', or none.

Pure functions on (BINS,) histograms. Not here: labelled rows of a corpus (`labelled_rows.py`), the record that travels
with a threshold and its file (`thresholds.py`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

from tailwag.errors import BadInput

from ...retrieval.counting.bins import EDGES, counts_at_edges

# Of a normal distribution the median absolute deviation is this part of the standard deviation.
_MEDIAN_DEVIATION = float(ndtri(0.75))
FOLDS = 5


def equal_counts(shown: np.ndarray, absent: np.ndarray) -> int:
    """At which edge are there as many hits as rows that show the concept?

    Parameters
    ----------
    shown, absent
        (BINS,) int64: labelled rows that show the concept, and that do not, by similarity.

    Returns
    -------
    int
        Position in `EDGES`: of the edges whose log ratio of hits to true rows is least the highest, moved to the
        middle of the edges that part the same rows.
    """
    hits, true = counts_at_edges(shown + absent), int(shown.sum())
    errors = np.abs(np.log((hits + 0.5) / (true + 0.5)))
    return _middle(hits, _last_least(errors))


def best_f1(shown: np.ndarray, absent: np.ndarray) -> int:
    """At which edge is 2·TP / (hits + true) greatest? Of several the highest, in the middle as for `equal_counts`."""
    found, hits = counts_at_edges(shown), counts_at_edges(shown + absent)
    return _middle(hits, _last_least(-2 * found / np.maximum(hits + shown.sum(), 1)))


def at_precision(shown: np.ndarray, absent: np.ndarray, precision: float) -> int | None:
    """Which is the lowest edge at which hits are as pure as asked?

    Parameters
    ----------
    shown, absent
        As for `equal_counts`.
    precision
        Least share of hits that show the concept.

    Returns
    -------
    int | None
        Position in `EDGES`; None where no edge with a true hit is as pure.
    """
    found, hits = counts_at_edges(shown), counts_at_edges(shown + absent)
    pure = (found > 0) & (found >= precision * hits)
    if not pure.any():
        return None
    return _middle(hits, int(np.argmax(pure)))


def shared_edge(rows: np.ndarray, true: np.ndarray) -> int:
    """Which one edge counts best for several concepts: the least median of |log (hits + ½) / (true + ½)|?

    Parameters
    ----------
    rows
        (C, BINS) int64: all labelled rows of each concept.
    true
        (C,) int64: how many of them show it.

    Returns
    -------
    int
        Position in `EDGES`; of equal medians that of the lesser mean, of equal means the highest.
    """
    errors = _errors(rows, true)
    return _first_of(np.median(errors, axis=0), errors.mean(axis=0))


def others_edges(rows: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Which edge counts best for all the other concepts, for each concept in turn?

    Parameters
    ----------
    rows, true
        As for `shared_edge`, of at least two concepts.

    Returns
    -------
    numpy.ndarray
        (C,) positions in `EDGES`: `shared_edge` of all concepts but one.

    Notes
    -----
    The median without one value is read off the sorted values: the k-th of the others is the k-th of all, or the one
    after it where the value left out stands at or before that place.
    """
    if len(rows) < 2:
        raise BadInput("a threshold from other concepts needs other concepts with labels: label two or more")
    errors = _errors(rows, true)
    order = np.argsort(errors, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(rows))[:, None], axis=0)
    ordered = np.take_along_axis(errors, order, axis=0)
    left = len(rows) - 1
    two = [np.where(ranks > k, ordered[k], ordered[k + 1]) for k in ((left - 1) // 2, left // 2)]
    medians = (two[0] + two[1]) / 2
    means = (errors.sum(axis=0) - errors) / left
    return np.array([_first_of(*pair) for pair in zip(medians, means, strict=True)])


def null_edge(rows: np.ndarray, false_share: float) -> int | None:
    """From which edge on would a normal null explain at most a given share of the hits?

    Parameters
    ----------
    rows
        (BINS,) int64: all rows of a corpus, labelled or not.
    false_share
        Share of hits that may be false.

    Returns
    -------
    int | None
        Position in `EDGES`; None where hits are nowhere so many more than the null says.

    Notes
    -----
    N(median, (MAD / .6745)²) of all rows is taken for those that do not show the concept, and the tail-area false
    discovery rate N·(1 - F(t)) / hits(t) is held (Efron 2004; Benjamini and Hochberg 1995). The tail of CLIP's
    similarities is exponential and not normal: at four deviations a normal one is fifty times too thin, so that a null
    passes false hits for true ones wherever the concept is rare.
    """
    counts = counts_at_edges(rows)
    number = int(counts[0])
    if not number:
        return None
    middles = (EDGES[:-1] + EDGES[1:]) / 2
    centre = _weighted_median(middles, rows)
    deviation = _weighted_median(np.abs(middles - centre), rows) / _MEDIAN_DEVIATION
    expected = number * ndtr(-(EDGES - centre) / max(deviation, 1e-3))
    allowed = (counts > 0) & (expected <= false_share * counts) & (centre < EDGES)
    return int(np.argmax(allowed)) if allowed.any() else None


def fold_rows(histogram: np.ndarray, fold: int) -> np.ndarray:
    """Take every fifth row in the order of similarity: (BINS,) int64 of fold 0 to `FOLDS` - 1.

    The folds share the rows out, each alike, and do not depend on the order in which rows are stored.
    """
    ends = np.cumsum(histogram)
    starts = ends - histogram
    return (ends + FOLDS - 1 - fold) // FOLDS - (starts + FOLDS - 1 - fold) // FOLDS


def binomial_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Which shares can so many successes come from? Clopper and Pearson's exact interval; 0 to 1 without a trial.

    Examples
    --------
    >>> [round(one, 3) for one in binomial_interval(9, 10)]
    [0.555, 0.997]
    """
    tail = (1 - level) / 2
    lower = float(betaincinv(successes, trials - successes + 1, tail)) if successes else 0.0
    upper = float(betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return lower, upper


def _errors(rows: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.abs(np.log((counts_at_edges(rows) + 0.5) / (true[:, None] + 0.5)))


def _last_least(values: np.ndarray) -> int:
    return len(values) - 1 - int(np.argmin(values[::-1]))


def _first_of(medians: np.ndarray, means: np.ndarray) -> int:
    # Rounded, since sums in another order differ in their last digit and must not decide.
    return int(np.lexsort((-np.arange(len(medians)), means.round(9), medians.round(9)))[0])


def _middle(hits: np.ndarray, edge: int) -> int:
    """Move an edge to the middle of those with as many hits, within what a threshold can be."""
    same = np.flatnonzero((hits == hits[edge]) & (np.abs(EDGES) <= 1))
    return int(same[len(same) // 2])


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
