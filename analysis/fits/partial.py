"""Correlation of accuracy with log frequency when something else is held fixed: the test set, a similarity.

Not here: how similar test images are to a pretraining set; that is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tailwag.errors import BadInput

from .moments import cluster_index, demeaned
from .numbers import NAN
from .resampling import Interval, fisher_jackknife_interval


@dataclass(frozen=True)
class Partial:
    """A partial correlation.

    Attributes
    ----------
    r, p
        Pearson's r of what the controls leave of both, and its p as if points were independent; nan where nothing is
        left.
    interval
        By leaving out test sets, on Fisher's scale.
    points
        n.
    """

    r: float
    p: float
    interval: Interval
    points: int


def partial_correlation(
    x: np.ndarray,
    values: np.ndarray,
    controls: np.ndarray,
    sets: np.ndarray,
    level: float = 0.95,
    *,
    within: bool = True,
) -> Partial:
    """How does accuracy go with log frequency among concepts that are alike in the controls?

    Both are replaced by their residuals from a least-squares fit to the controls, and to the test sets if `within`;
    n − 2 − k degrees of freedom for k controls and intercepts beyond the first (Fisher 1924).

    Parameters
    ----------
    x
        (n,) log10(1 + frequency).
    values
        (n,) shares from 0 to 1.
    controls
        (n, k) float64; k may be 0.
    sets
        (n,) names of test sets.
    level
        Of the interval.
    within
        Whether the test set is held fixed as well.

    Returns
    -------
    Partial

    Raises
    ------
    BadInput
        When shapes do not fit together or a control is not finite.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64)
    controls = np.asarray(controls, dtype=np.float64)
    if controls.ndim != 2 or len(controls) != len(x) or not np.isfinite(controls).all():
        raise BadInput(f"controls of {controls.shape} for {len(x)} points; give one finite row a point")
    names, index = cluster_index(sets)

    def r_of(kept: np.ndarray) -> float:
        centre = np.unique(index[kept], return_inverse=True)[1] if within else np.zeros(int(kept.sum()), dtype=int)
        one, other = demeaned(x[kept], centre), demeaned(y[kept], centre)
        if controls.shape[1]:
            held = np.column_stack([demeaned(column, centre) for column in controls[kept].T])
            both = np.column_stack([one, other])
            one, other = (both - held @ np.linalg.lstsq(held, both, rcond=None)[0]).T
        spread = (one @ one) * (other @ other)
        left = one @ one > 1e-10 * max(float(x @ x), 1e-300) and other @ other > 1e-10 * max(float(y @ y), 1e-300)
        return float(one @ other / np.sqrt(spread)) if left else NAN

    everything = np.ones(len(x), dtype=bool)
    r = r_of(everything)
    freedom = len(x) - 2 - controls.shape[1] - (len(names) - 1 if within else 0)
    p = NAN
    if np.isfinite(r) and freedom > 0 and abs(r) < 1:
        p = float(2 * stats.t.sf(abs(r) * np.sqrt(freedom / (1 - r * r)), freedom))
    left_out = np.array([r_of(index != place) for place in range(len(names))]) if len(names) > 1 else np.array([NAN])
    return Partial(r, p, fisher_jackknife_interval(r, left_out, level), len(x))
