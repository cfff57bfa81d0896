"""The bins of similarity histograms: 2,048 of a thousandth each, so that three decimals of a threshold are an edge.

Not here: filling them (the backends).
"""

from __future__ import annotations

import numpy as np

BINS = 2048
BINS_PER_UNIT = 1000
FIRST_EDGE = -1024  # in thousandths: two vectors of length 1.001 reach no further than 1.003
# The float64 nearest to each thousandth, which is also what a program reads in "0.271": a similarity s falls into bin b
# when EDGES[b] <= s < EDGES[b + 1], without any rounding.
EDGES = np.arange(FIRST_EDGE, FIRST_EDGE + BINS + 1) / BINS_PER_UNIT
EDGES.setflags(write=False)


def bin_of(similarities: np.ndarray) -> np.ndarray:
    """Which bin does each similarity fall into?

    Parameters
    ----------
    similarities
        float64, any shape.

    Returns
    -------
    numpy.ndarray
        int64, the same shape.

    Examples
    --------
    >>> bin_of(np.array([0.0, 0.271, 0.2709999]))
    array([1024, 1295, 1294])
    """
    return np.searchsorted(EDGES, similarities, side="right") - 1


def counts_at_edges(histogram: np.ndarray) -> np.ndarray:
    """How many similarities lie at or above each edge?

    Parameters
    ----------
    histogram
        (..., BINS) int64.

    Returns
    -------
    numpy.ndarray
        (..., BINS + 1) int64; the last is 0.
    """
    counts = np.zeros((*histogram.shape[:-1], BINS + 1), dtype=np.int64)
    counts[..., :-1] = np.cumsum(histogram[..., ::-1], axis=-1)[..., ::-1]
    return counts


def edge_of(threshold: float) -> int | None:
    """Which edge is a threshold? None when it lies between two."""
    position = int(np.searchsorted(EDGES, threshold, side="left"))
    return position if position <= BINS and EDGES[position] == threshold else None
