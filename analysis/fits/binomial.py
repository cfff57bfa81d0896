"""Accuracy as k right answers of n: a logistic line in log frequency, for concepts with few test images.

Not here: least squares, which weighs every concept the same (`slope_intervals.py`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

from .cluster_robust import cluster_robust
from .concept_level import POINTS
from .moments import cluster_index
from .resampling import Interval


@dataclass(frozen=True)
class Logistic:
    """A logistic line.

    Attributes
    ----------
    log_odds, interval
        By how much log odds rise a decade, and the CR2 interval over test sets.
    quasi_interval
        The quasi-binomial interval: concepts as if independent, errors times the root of the dispersion.
    points_per_decade
        The mean over concepts of the curve's slope: log_odds · p(1 − p), in points.
    dispersion
        Pearson's χ² over its degrees of freedom: 1 where noise is binomial; above, concepts differ beyond it.
    points, clusters
        Concepts and test sets that entered.
    left_out
        Test sets in which every answer is right, or wrong: they say nothing of a slope.
    """

    log_odds: float
    interval: Interval
    quasi_interval: Interval
    points_per_decade: float
    dispersion: float
    points: int
    clusters: int
    left_out: tuple[str, ...]


def logistic_slope(
    x: np.ndarray, values: np.ndarray, trials: np.ndarray, sets: np.ndarray, level: float = 0.95, *, within: bool = True
) -> Logistic:
    """How do the odds of a right answer rise with log frequency?

    A binomial generalised linear model with logit link, fitted by iterated weighted least squares (McCullagh and Nelder
    1989), dispersion by Pearson's χ² (quasi-binomial, Wedderburn 1974). The point estimate is that of generalised
    estimating equations with independent working correlation (Liang and Zeger 1986); their sandwich is made as CR2 on
    the weighted design, which holds for few clusters.

    Parameters
    ----------
    x
        (n,) log10(1 + frequency).
    values
        (n,) shares from 0 to 1.
    trials
        (n,) test images of each concept, at least 1.
    sets
        (n,) names of test sets.
    level
        Of intervals.
    within
        Whether each test set has an intercept of its own.

    Returns
    -------
    Logistic

    Raises
    ------
    BadInput
        When a number of trials is below 1 or not finite, or the fit breaks down.
    """
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    x, y = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64)
    trials, sets = np.asarray(trials, dtype=np.float64), np.asarray(sets)
    if not (np.isfinite(trials).all() and (trials >= 1).all()):
        raise BadInput("a concept's number of test images is below 1 or not a finite number")
    names, index = cluster_index(sets)
    means = np.bincount(index, weights=y) / np.bincount(index)
    speaking = (means > 0) & (means < 1)
    left_out = tuple(str(name) for name in names[~speaking]) if within else ()
    kept = speaking[index] if within else np.ones(len(x), dtype=bool)
    if not kept.any():
        raise BadInput("in every test set all answers are right, or all wrong: odds have no slope")
    x, y, trials, sets = x[kept], y[kept], trials[kept], sets[kept]
    names, index = cluster_index(sets)
    intercepts = np.eye(len(names))[index] if within else np.ones((len(x), 1))
    design = np.column_stack([x - x.mean(), intercepts])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge is asked of the result
        try:
            fit = GLM(y, design, family=Binomial(), var_weights=trials).fit(scale="X2", maxiter=100)
        except (np.linalg.LinAlgError, ValueError) as problem:
            raise BadInput(f"the logistic line could not be fitted: {problem}") from problem
    if not fit.converged:
        raise BadInput(
            "the logistic line did not converge: frequency may tell right answers from wrong ones without fail"
        )
    fitted = np.clip(np.asarray(fit.fittedvalues), 1e-12, 1 - 1e-12)
    variance = fitted * (1 - fitted)
    root = np.sqrt(trials * variance)
    working = np.asarray(design @ fit.params) + (y - fitted) / variance
    clusters = index if len(names) > 1 else np.arange(len(x))
    robust = cluster_robust(design * root[:, None], working * root, clusters)
    ends = fit.conf_int(alpha=1 - level)[0]
    quasi = Interval(
        float(ends[0]), float(ends[1]), float(fit.pvalues[0]), "quasi-binomial, concepts as if independent"
    )
    return Logistic(
        log_odds=float(fit.params[0]),
        interval=robust.cr2_interval(0, level),
        quasi_interval=quasi,
        points_per_decade=float(POINTS * fit.params[0] * variance.mean()),
        dispersion=float(fit.scale),
        points=len(x),
        clusters=len(names),
        left_out=left_out,
    )
