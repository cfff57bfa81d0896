"""How far a float32 product can lie from the real one: the band in which the exact float64 dot must decide.

Not here: the bands of other screens, which stand with the backends that use them.
"""

from __future__ import annotations

import numpy as np

# |x| |p| is at most 1.001 · 1.001 by what the engine and PrototypeSet refuse; the rest covers the float32 rounding in
# their checks and the float64 rounding of the bounds below.
_GREATEST_LENGTHS = 1.003


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
