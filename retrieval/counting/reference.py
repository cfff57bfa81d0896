"""The plain backend: one float64 product a tile, compared. What every other backend must agree with.

Float64 is exact here: the product of two float16 numbers is a multiple of 2⁻⁴⁸ with at most 22 bits, and for vectors of
about unit length no partial sum exceeds about 1 (Cauchy–Schwarz), so each fits into float64's 53 bits in any order.
"""

from __future__ import annotations

import numpy as np


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

    def prepare(self, prototypes: np.ndarray, thresholds: np.ndarray) -> ReferenceCounter:
        """Make ready for one query; see `Backend.prepare`."""
        return ReferenceCounter(prototypes, thresholds)


class ReferenceCounter:
    """Counts by the definition, for one query."""

    def __init__(self, prototypes: np.ndarray, thresholds: np.ndarray) -> None:
        self._prototypes = prototypes
        self._thresholds = thresholds

    def count_tile(self, rows: np.ndarray) -> np.ndarray:
        """Count the rows whose similarity reaches each threshold; see `TileCounter.count_tile`."""
        scores = similarities(rows, self._prototypes)
        return np.stack([(scores >= column).sum(axis=0) for column in self._thresholds.T], axis=1)
