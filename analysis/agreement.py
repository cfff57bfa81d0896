"""How well do estimated frequencies agree with a known truth? Pure functions on arrays.

Not here: the estimates themselves, the picture of them (`figures.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tailwag.errors import BadInput


@dataclass(frozen=True)
class Agreement:
    """Agreement of estimates with the truth over C concepts.

    Attributes
    ----------
    concepts
        C.
    spearman
        Spearman's rank correlation ρ; nan when one side is constant.
    median_error, percentile_90_error
        Of |log10((estimate + ½) / (truth + ½))|: 0.1 is a factor of 1.26, 0.3 a factor of 2.
    """

    concepts: int
    spearman: float
    median_error: float
    percentile_90_error: float

    def __str__(self) -> str:
        return (
            f"over {self.concepts} concepts Spearman's ρ = {self.spearman:.3f}, median |log10 error| = "
            f"{self.median_error:.3f} (a factor of {10**self.median_error:.2f}), 90th percentile "
            f"{self.percentile_90_error:.3f}"
        )


def log10_errors(estimates: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many decades is each estimate off? |log10((estimate + ½) / (truth + ½))|.

    The half keeps a zero finite on either side.

    Parameters
    ----------
    estimates, truth
        (C,) counts, not negative.

    Returns
    -------
    numpy.ndarray
        (C,) float64, decades.

    Raises
    ------
    BadInput
        When the shapes differ, or a value is negative or not finite.

    Examples
    --------
    >>> log10_errors([99.5, 0], [9.5, 0])
    array([1., 0.])
    """
    estimates, truth = np.asarray(estimates, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if estimates.shape != truth.shape or estimates.ndim != 1:
        raise BadInput(f"{estimates.shape} estimates cannot be compared with {truth.shape} true counts")
    if not all(np.isfinite(values).all() and (values >= 0).all() for values in (estimates, truth)):
        raise BadInput("an estimate or a true count is negative or not a finite number")
    return np.abs(np.log10((estimates + 0.5) / (truth + 0.5)))


def compare_with_truth(estimates: np.ndarray, truth: np.ndarray) -> Agreement:
    """Measure agreement of (C,) estimates with (C,) true counts; raises as `log10_errors` does, and for C = 0."""
    errors = log10_errors(estimates, truth)
    if not len(errors):
        raise BadInput("there is no concept to compare")
    constant = len(np.unique(estimates)) == 1 or len(np.unique(truth)) == 1
    return Agreement(
        concepts=len(errors),
        spearman=float("nan") if constant else float(stats.spearmanr(estimates, truth).statistic),
        median_error=float(np.median(errors)),
        percentile_90_error=float(np.percentile(errors, 90)),
    )
