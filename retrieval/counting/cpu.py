"""The numpy backend: a float32 product a tile, and a float64 one for the few scores too near a threshold to tell.

Exact: a float32 sum is off by no more than a proven band; what lies inside the band is settled by the exact float64 dot
of the stored float16 values (`reference.py` says why that is exact).
"""

from __future__ import annotations

import numpy as np

from .reference import similarities

# |x| |p| is at most 1.001 · 1.001 by what the engine and PrototypeSet refuse; the rest covers the float32 rounding in
# their checks and the float64 rounding of the bounds below.
_GREATEST_LENGTHS = 1.003
# Scores that are in hand at once: 4 MiB of float32, so that they stay near the cores between product and comparison.
_SCORES_A_TILE = 1 << 20
# With more thresholds than this, the exact product, sorted once, is quicker than one comparison a threshold.
_MOST_SCREENED = 16
# From this share of a concept's scores in one band on, the exact product is quicker than picking rows.
_DENSE_SHARE = 1 / 16


def float32_band(dimension: int) -> float:
    """How far can a float32 dot of d numbers lie from the real one, for vectors of about unit length?

    In any order of summation, with or without fused multiply-adds, |error| ≤ γ_d Σ|xᵢpᵢ| ≤ γ_d |x||p| with
    γ_d = d·u / (1 − d·u) and u = 2⁻²⁴ (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
    """
    unit_roundoff = 2.0**-24
    return dimension * unit_roundoff / (1 - dimension * unit_roundoff) * _GREATEST_LENGTHS


def screen_bounds(thresholds: np.ndarray, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Between which float32 scores must the exact dot decide?

    Parameters
    ----------
    thresholds
        float64, any shape.
    dimension
        d.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Lower and upper, float32 and rounded outward: a score below `lower` is surely below the threshold, one of at
        least `upper` surely reaches it.
    """
    band = float32_band(dimension)
    lower, upper = thresholds - band, thresholds + band
    narrow_lower, narrow_upper = lower.astype(np.float32), upper.astype(np.float32)
    # Rounded to nearest, a bound may have moved into the band. The comparisons are in float64 on both sides.
    low = np.where(narrow_lower.astype(np.float64) > lower, np.nextafter(narrow_lower, np.float32(-2)), narrow_lower)
    high = np.where(narrow_upper.astype(np.float64) < upper, np.nextafter(narrow_upper, np.float32(2)), narrow_upper)
    return low, high


class CpuBackend:
    """Counts with numpy's float32 product."""

    name = "cpu"

    def prepare(self, prototypes: np.ndarray, thresholds: np.ndarray) -> CpuCounter:
        """Make ready for one query; see `Backend.prepare`."""
        return CpuCounter(prototypes, thresholds)


class CpuCounter:
    """Counts with numpy's float32 product, for one query."""

    def __init__(self, prototypes: np.ndarray, thresholds: np.ndarray) -> None:
        self._prototypes = prototypes
        self._wide = prototypes.astype(np.float32)
        self._thresholds = thresholds
        self._lower, self._upper = screen_bounds(thresholds, prototypes.shape[1])

    def count_tile(self, rows: np.ndarray) -> np.ndarray:
        """Count the rows whose similarity reaches each threshold; see `TileCounter.count_tile`."""
        counts = np.zeros(self._thresholds.shape, dtype=np.int64)
        step = max(1, _SCORES_A_TILE // max(1, len(rows)))
        groups = [np.arange(start, min(start + step, len(counts))) for start in range(0, len(counts), step)]
        if self._thresholds.shape[-1] > _MOST_SCREENED:
            unsettled = groups
        else:
            wide = rows.astype(np.float32)
            unsettled = [self._screen(group, rows, wide, counts) for group in groups]
        self._count_exactly([group for group in unsettled if len(group)], rows, counts)
        return counts

    def _screen(self, concepts: np.ndarray, rows: np.ndarray, wide: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Fill in the counts of some concepts by float32 scores; gives back those with too many scores in a band.

        Parameters
        ----------
        concepts
            Consecutive positions.
        rows, wide
            (n, d) float16, and the same in float32.
        counts
            (C, T) int64 to fill in.
        """
        scores = self._wide[concepts[0] : concepts[-1] + 1] @ wide.T
        return concepts[[not self._screen_one(c, scores[c - concepts[0]], rows, counts[c]) for c in concepts]]

    def _screen_one(self, concept: int, scores: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> bool:
        for position, threshold in enumerate(self._thresholds[concept]):
            possible = scores >= self._lower[concept, position]
            sure = scores >= self._upper[concept, position]
            counts[position] = np.count_nonzero(sure)
            in_band = np.count_nonzero(possible) - counts[position]
            if in_band > len(scores) * _DENSE_SHARE:
                return False
            if in_band:
                near = rows[possible & ~sure]
                exact = similarities(near, self._prototypes[concept : concept + 1])
                counts[position] += np.count_nonzero(exact >= threshold)
        return True

    def _count_exactly(self, groups: list[np.ndarray], rows: np.ndarray, counts: np.ndarray) -> None:
        """Fill in the counts of groups of concepts by exact similarities alone."""
        if not groups:
            return
        transposed = rows.astype(np.float64).T
        for concepts in groups:
            exact = self._prototypes[concepts].astype(np.float64) @ transposed
            exact.sort(axis=1)
            for ascending, concept in zip(exact, concepts, strict=True):
                below = np.searchsorted(ascending, self._thresholds[concept], side="left")
                counts[concept] = len(rows) - below
