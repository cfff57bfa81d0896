"""Comparing least-squares models of the same points: Akaike's criterion and the likelihood-ratio test.

Not here: the models.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def akaike(residuals: np.ndarray, parameters: int) -> float:
    """Akaike's criterion (1974) of a model with normal noise: n ln(RSS/n) + 2k, but for a constant.

    Parameters
    ----------
    residuals
        (n,) of the least-squares fit.
    parameters
        k: coefficients, intercepts, and one for the noise.

    Examples
    --------
    >>> round(akaike(np.array([1.0, -1, 1, -1]), 2), 3)
    4.0
    """
    squares = float(residuals @ residuals)
    # A fit without residuals is as good as can be; its logarithm would be no number to compare.
    return len(residuals) * float(np.log(max(squares / len(residuals), 1e-300))) + 2 * parameters


def likelihood_ratio(smaller: np.ndarray, larger: np.ndarray, extra: int) -> tuple[float, float]:
    """Does a larger model fit better than chance would? n ln(RSS₀/RSS₁) against χ² (Wilks 1938).

    Parameters
    ----------
    smaller, larger
        (n,) residuals of nested models.
    extra
        How many parameters more the larger one has.

    Returns
    -------
    tuple of float
        The statistic and its p, as if points were independent and noise normal.
    """
    ratio = len(smaller) * np.log(max(float(smaller @ smaller), 1e-300) / max(float(larger @ larger), 1e-300))
    return float(ratio), float(stats.chi2.sf(max(ratio, 0.0), extra))
