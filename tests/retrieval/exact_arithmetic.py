"""Counting with Python's whole numbers: slow, and beyond doubt. Every backend is compared with it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

# Every float16 number is a whole multiple of 2⁻²⁴, so every product is one of 2⁻⁴⁸.
_SCALE = 1 << 24


def whole_similarities(rows: np.ndarray, prototypes: np.ndarray) -> list[list[int]]:
    """Similarities in units of 2⁻⁴⁸."""
    whole_rows, whole_prototypes = _whole(rows), _whole(prototypes)
    return [[sum(map(int.__mul__, row, prototype)) for prototype in whole_prototypes] for row in whole_rows]


def exact_counts(rows: np.ndarray, prototypes: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(C, T) counts of rows whose similarity reaches each threshold."""
    found = whole_similarities(rows, prototypes)
    counts = np.zeros(thresholds.shape, dtype=np.int64)
    for concept, column in np.ndindex(*thresholds.shape):
        least = Fraction(float(thresholds[concept, column])) * _SCALE * _SCALE
        counts[concept, column] = sum(similarities[concept] >= least for similarities in found)
    return counts


def _whole(vectors: np.ndarray) -> list[list[int]]:
    scaled = vectors.astype(np.float64) * _SCALE
    assert (scaled == np.rint(scaled)).all()
    return [[int(value) for value in row] for row in scaled]
