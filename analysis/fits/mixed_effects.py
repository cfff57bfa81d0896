"""Slopes that differ from test set to test set: their mean, how much they vary, and what a new test set may show.

Not here: one slope for all test sets (`slope_intervals.py`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from tailwag.errors import BadInput

from .concept_level import POINTS
from .moments import cluster_index
from .numbers import NAN, Flag
from .resampling import Interval


@dataclass(frozen=True)
class MeanSlope:
    """The mean over test sets of the slope within each.

    Attributes
    ----------
    slope, interval
        Points per decade.
    spread
        The standard deviation of the sets' true slopes around it, points per decade.
    new_lower, new_upper
        Where the slope of a test set like these lies, at the level of the interval; nan where it is not computed.
    clusters
        How many test sets have a slope.
    flags
        Whether the fit can be trusted.
    """

    slope: float
    interval: Interval
    spread: float
    new_lower: float
    new_upper: float
    clusters: int
    flags: tuple[Flag, ...]


def mean_of_slopes(slopes: np.ndarray, errors: np.ndarray, level: float = 0.95) -> MeanSlope:
    """What is the mean of the test sets' own slopes, and how much do they differ beyond their errors?

    A random-effects mean: τ² by restricted maximum likelihood, weights 1/(errorᵍ² + τ²), and Hartung and Knapp's
    interval (2001) with G − 1 degrees of freedom. For a new set: Higgins, Thompson and Spiegelhalter (2009), t with
    G − 2.

    Parameters
    ----------
    slopes, errors
        (G,) points per decade; sets without a slope or an error (nan) are left out.
    level
        Of both intervals.

    Returns
    -------
    MeanSlope

    Raises
    ------
    BadInput
        When fewer than two sets have a slope with an error.
    """
    slopes, errors = np.asarray(slopes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    kept = np.isfinite(slopes) & np.isfinite(errors) & (errors > 0)
    slopes, variances = slopes[kept], errors[kept] ** 2
    groups = len(slopes)
    if groups < 2:
        raise BadInput("fewer than two test sets have a slope with an error: there is no mean of slopes")

    def unlikelihood(tau2: float) -> float:
        weights = 1 / (variances + tau2)
        mean = (weights * slopes).sum() / weights.sum()
        return float(
            0.5 * (np.log(variances + tau2).sum() + np.log(weights.sum()) + (weights * (slopes - mean) ** 2).sum())
        )

    # On a logarithmic grid first: the likelihood may have a local minimum near 0.
    scale = max(float(np.var(slopes)), float(variances.mean()))
    grid = np.concatenate([[0.0], scale * np.logspace(-4, 2, 61)])
    best = int(np.argmin([unlikelihood(each) for each in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = float(optimize.minimize_scalar(unlikelihood, bounds=bounds, method="bounded").x)
    tau2 = found if unlikelihood(found) < unlikelihood(0.0) else 0.0
    weights = 1 / (variances + tau2)
    mean = float((weights * slopes).sum() / weights.sum())
    error = float(np.sqrt((weights * (slopes - mean) ** 2).sum() / ((groups - 1) * weights.sum())))
    reach = stats.t.ppf((1 + level) / 2, groups - 1) * error
    p = float(2 * stats.t.sf(abs(mean) / error, groups - 1)) if error > 0 else NAN
    new = stats.t.ppf((1 + level) / 2, groups - 2) * np.sqrt(tau2 + error**2) if groups > 2 else NAN
    method = f"random-effects mean of {groups} slopes, REML, Hartung and Knapp's interval"
    return MeanSlope(
        slope=mean,
        interval=Interval(float(mean - reach), float(mean + reach), p, method),
        spread=float(np.sqrt(tau2)),
        new_lower=float(mean - new),
        new_upper=float(mean + new),
        clusters=groups,
        flags=(),
    )


def mixed_slope(x: np.ndarray, values: np.ndarray, sets: np.ndarray, level: float = 0.95) -> MeanSlope:
    """What is the mean slope within test sets in a mixed model with a random intercept and slope for each?

    y = a + b·(x − x̄ᵍ) + c·x̄ᵍ + uᵍ + vᵍ·(x − x̄ᵍ) + noise by restricted maximum likelihood (Laird and Ware 1982, with
    Mundlak's means, so that b is the slope within sets). The interval is Student's with G − 1 degrees of freedom.

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

    Returns
    -------
    MeanSlope
        With a warning among its flags when the fit did not converge or lies at the edge of what is possible.

    Raises
    ------
    BadInput
        For fewer than three test sets, or when the fit breaks down.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM

    x, y = np.asarray(x, dtype=np.float64), POINTS * np.asarray(values, dtype=np.float64)
    names, index = cluster_index(sets)
    if len(names) < 3:
        raise BadInput(f"{len(names)} test sets are too few for slopes that vary at random")
    means = np.bincount(index, weights=x) / np.bincount(index)
    inside = x - means[index]
    if inside @ inside < 1e-9:
        raise BadInput("frequency does not vary within test sets")
    design = np.column_stack([np.ones_like(x), inside, means[index] - means.mean()])
    if np.ptp(means) < 1e-9:
        design = design[:, :2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is asked of the result below
        try:
            model = MixedLM(y, design, groups=index, exog_re=design[:, :2])
            fit = model.fit(reml=True, method=["lbfgs", "bfgs"], maxiter=200)
            slope, error = float(fit.fe_params[1]), float(fit.bse_fe[1])
            covariance = np.asarray(fit.cov_re)
            converged = bool(fit.converged)
        except (np.linalg.LinAlgError, ValueError) as problem:
            raise BadInput(f"the mixed model could not be fitted: {problem}") from problem
    flags = []
    if not converged or not np.isfinite(error) or error <= 0:
        flags.append(
            Flag("warning", "the mixed model did not converge; the mean of the sets' own slopes stands in for it")
        )
    elif np.linalg.eigvalsh(covariance).min() < 1e-6 * max(1.0, float(np.trace(covariance))):
        flags.append(
            Flag("note", "the mixed model lies at its edge: a variance or correlation of its slopes is at a bound")
        )
    reach = float(stats.t.ppf((1 + level) / 2, len(names) - 1)) * error
    p = float(2 * stats.t.sf(abs(slope) / error, len(names) - 1)) if error > 0 else NAN
    method = f"mixed model, random intercept and slope for {len(names)} test sets, REML, t with {len(names) - 1}"
    return MeanSlope(
        slope=slope,
        interval=Interval(slope - reach, slope + reach, p, f"{method} degrees of freedom"),
        spread=float(np.sqrt(max(covariance[1, 1], 0))),
        new_lower=NAN,
        new_upper=NAN,
        clusters=len(names),
        flags=tuple(flags),
    )
