"""How far a float32 product can lie from the real one: the band in which the exact float64 dot must decide.

Not here: the bands of other screens, which stand with the backends that use them.
"""

from __future__ import annotations

import numpy as np

# |x| |p| is at most 1.001 · 1.001 by what the engine and PrototypeSet refuse; the rest covers the float32 rounding in
# their checks and the float64 rounding of the bounds below.
GREATEST_LENGTHS = 1.003


def float32_band(additions: int) -> float:
    """How far can a float32 dot lie from the real one, for vectors of about unit length?

    In any order of summation, with or without fused multiply-adds, |error| ≤ γ_n Σ|xᵢpᵢ| ≤ γ_n |x||p| with
    γ_n = n·u / (1 − n·u) and u = 2⁻²⁴ (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).

    Parameters
    ----------
    additions
        n, the most roundings that any one product goes through on its way into the sum. The dimension where the order
        is not known; fewer where the sum is known to be made of shorter ones.
    """
    unit_roundoff = 2.0**-24
    return additions * unit_roundoff / (1 - additions * unit_roundoff) * GREATEST_LENGTHS


def screen_bounds(thresholds: np.ndarray, band: float) -> tuple[np.ndarray, np.ndarray]:
    """Between which float32 scores must the exact dot decide?

    Parameters
    ----------
    thresholds
        float64, any shape.
    band
        How far a score may lie from the similarity.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Lower and upper, float32 and rounded outward: a score below `lower` is surely below the threshold, one of at
        least `upper` surely reaches it.
    """
    return _down(thresholds - band), -_down(-thresholds - band)


def _down(values: np.ndarray) -> np.ndarray:
    """Float32 numbers that are no greater: rounded to nearest, a bound may have moved into the band."""
    narrow = values.astype(np.float32)
    return np.where(narrow.astype(np.float64) > values, np.nextafter(narrow, np.float32(-np.inf)), narrow)
