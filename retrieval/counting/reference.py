"""The plain backend: one float64 product a tile, and everything by its definition. What all others must agree with.

Float64 is exact here: the product of two float16 numbers is a multiple of 2⁻⁴⁸ with at most 22 bits, and for vectors of
about unit length no partial sum exceeds about 1 (Cauchy–Schwarz), so each fits into float64's 53 bits in any order.
"""

from __future__ import annotations

import numpy as np

from ...embed.corpus import is_unit
from .bins import BINS, bin_of
from .tiles import Asked, Best, Pairs, TileAnswer


def similarities(rows: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """What is the similarity of each row to each prototype, without any rounding?

    Parameters
    ----------
    rows
        (n, d) float16, of about unit length.
    prototypes
        (C, d) float16, of at most about unit length.

    Returns
    -------
    numpy.ndarray
        (n, C) float64: the sums Σ xᵢpᵢ in real arithmetic.

    Examples
    --------
    >>> similarities(np.array([[0.6, 0.8]], np.float16), np.array([[1, 0]], np.float16))
    array([[0.60009766]])
    """
    return rows.astype(np.float64) @ prototypes.astype(np.float64).T


class ReferenceBackend:
    """Counts by the definition."""

    name = "reference"

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> ReferenceCounter:
        """Make ready for one query; see `Backend.prepare`."""
        return ReferenceCounter(prototypes, asked)


class ReferenceCounter:
    """Counts by the definition, for one query."""

    def __init__(self, prototypes: np.ndarray, asked: Asked) -> None:
        self._prototypes = prototypes
        self._asked = asked

    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        """Answer for one tile; see `TileCounter.count_tile`."""
        asked, thresholds = self._asked, self._asked.thresholds
        refused = np.flatnonzero(~is_unit(rows))
        if len(refused):
            return TileAnswer(refused, np.zeros(thresholds.shape, np.int64))
        scores = similarities(rows, self._prototypes)
        counts = np.zeros(thresholds.shape, dtype=np.int64)
        for position, column in enumerate(thresholds.T):
            counts[:, position] = (scores >= column).sum(axis=0)
        return TileAnswer(
            refused,
            counts,
            _histogram(scores) if asked.histogram else None,
            _best(scores, asked.best) if asked.best else None,
            _pairs(scores, floors, asked.within) if asked.pairs and floors is not None else None,
        )


def _histogram(scores: np.ndarray) -> np.ndarray:
    bins = bin_of(scores)
    return np.stack([np.bincount(column, minlength=BINS) for column in bins.T]).astype(np.int64)


def _best(scores: np.ndarray, best: int) -> Best:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :best]
    return Best(order.astype(np.int32), np.take_along_axis(scores, order, axis=1))


def _pairs(scores: np.ndarray, floors: np.ndarray, within: float | None) -> Pairs:
    wanted = scores >= floors
    if within is not None:
        wanted &= scores.max(axis=1, keepdims=True) - scores <= within
    rows, concepts = np.nonzero(wanted)
    return Pairs(rows, concepts.astype(np.int32), scores[rows, concepts])
