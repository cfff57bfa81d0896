"""Is accuracy a straight line in log frequency? A quadratic and a natural spline beside the line.

Not here: the lines themselves (`within_sets.py`, `slope_intervals.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

from .cluster_robust import cluster_robust
from .concept_level import POINTS
from .information import akaike, likelihood_ratio
from .moments import cluster_index, demeaned
from .resampling import Interval

# Harrell's places for four knots (2001, table 2.3), among the concepts that were found.
_KNOT_QUANTILES = (0.05, 0.35, 0.65, 0.95)


@dataclass(frozen=True)
class Curvature:
    """The line and two curves through the same concepts.

    Attributes
    ----------
    bend, bend_interval
        The coefficient of x² in points per squared decade, and its CR2 interval and p; positive where accuracy rises
        faster among frequent concepts.
    akaike_line, akaike_quadratic, akaike_spline
        Only differences mean anything; lower is better.
    p_quadratic, p_spline
        Likelihood-ratio p of each against the line, as if concepts were independent: too small where they are not.
    grid
        (K,) log10(1 + frequency) at which the curves are given.
    line, quadratic, spline
        (K,) accuracy in points, at the mean of the test sets.
    knots
        (4,) of the spline.
    """

    bend: float
    bend_interval: Interval
    akaike_line: float
    akaike_quadratic: float
    akaike_spline: float
    p_quadratic: float
    p_spline: float
    grid: np.ndarray
    line: np.ndarray
    quadratic: np.ndarray
    spline: np.ndarray
    knots: np.ndarray


def natural_spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Give the columns of a cubic spline that is straight beyond its outer knots.

    The restricted cubic spline of Stone and Koo (1985) in Harrell's form, over the squared distance of the outer knots.

    Parameters
    ----------
    x
        (n,).
    knots
        (k,) increasing, at least 3.

    Returns
    -------
    numpy.ndarray
        (n, k − 1): x itself, then k − 2 curved columns.
    """
    x, knots = np.asarray(x, dtype=np.float64), np.asarray(knots, dtype=np.float64)
    last, before = knots[-1], knots[-2]

    def cubed(knot: float) -> np.ndarray:
        return np.maximum(x - knot, 0) ** 3

    columns = [x]
    for knot in knots[:-2]:
        ends = cubed(before) * (last - knot) - cubed(last) * (before - knot)
        columns.append((cubed(knot) - ends / (last - before)) / (last - knots[0]) ** 2)
    return np.column_stack(columns)


def curvature(
    x: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float = 0.95, *, within: bool = True
) -> Curvature:
    """Does a curve describe accuracy better than a line?

    Parameters
    ----------
    x
        (n,) log10(1 + frequency).
    values
        (n,) shares from 0 to 1.
    sets
        (n,) names of test sets.
    level
        Of the interval.
    within
        Whether each test set has an intercept of its own.

    Returns
    -------
    Curvature

    Raises
    ------
    BadInput
        When there are too few different frequencies for a curve.
    """
    x, y = np.asarray(x, dtype=np.float64), POINTS * np.asarray(values, dtype=np.float64)
    names, index = cluster_index(sets)
    within = within and len(names) > 1
    centre = index if within else np.zeros(len(x), dtype=int)
    clusters = index if len(names) > 1 else np.arange(len(x))
    intercepts = len(names) if within else 1
    found = x[x > 0]
    knots = np.quantile(found, _KNOT_QUANTILES) if len(found) else np.zeros(4)
    if len(np.unique(np.round(knots, 9))) < 4:
        raise BadInput("there are too few different frequencies for a curve")
    middle = x.mean()
    grid = np.linspace(x.min(), x.max(), 101)

    def basis(kind: str, at: np.ndarray) -> np.ndarray:
        if kind == "spline":
            return natural_spline(at, knots)
        away = at - middle  # about the mean, so that both columns can be told apart
        return np.column_stack([away, away**2] if kind == "quadratic" else [away])

    residuals, curves, fits = {}, {}, {}
    for kind in ("line", "quadratic", "spline"):
        columns = basis(kind, x)
        design = np.column_stack([demeaned(column, centre) for column in columns.T])
        # An intercept for all clusters is no cluster's own: it stays in the design, for CR2's sake.
        whole = design if within else np.column_stack([design, np.ones_like(x)])
        fit = fits[kind] = cluster_robust(whole, demeaned(y, centre), clusters, absorbed=len(names) if within else 0)
        coefficients = fit.coefficients[: design.shape[1]]
        residuals[kind] = demeaned(y, centre) - design @ coefficients
        curves[kind] = y.mean() + (basis(kind, grid) - columns.mean(0)) @ coefficients
    return Curvature(
        bend=float(fits["quadratic"].coefficients[1]),
        bend_interval=fits["quadratic"].cr2_interval(1, level),
        akaike_line=akaike(residuals["line"], intercepts + 2),
        akaike_quadratic=akaike(residuals["quadratic"], intercepts + 3),
        akaike_spline=akaike(residuals["spline"], intercepts + 4),
        p_quadratic=likelihood_ratio(residuals["line"], residuals["quadratic"], 1)[1],
        p_spline=likelihood_ratio(residuals["line"], residuals["spline"], 2)[1],
        grid=grid,
        line=curves["line"],
        quadratic=curves["quadratic"],
        spline=curves["spline"],
        knots=knots,
    )
