"""Slopes that differ from test set to test set: their mean, how much they vary, and what a new test set may show.

Not here: one slope for all test sets (`slope_intervals.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from tailwag.errors import BadInput

from .concept_level import POINTS
from .moments import cluster_index, demeaned
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
    Mundlak's means, so that b is the slope within sets). The interval is Student's with G − 1 degrees of freedom. The
    likelihood needs only sums over each set, so that it costs the same for any number of concepts.

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
        With a warning among its flags when the fit did not converge, a note when it lies at the edge of what is
        possible.

    Raises
    ------
    BadInput
        For fewer than three test sets, or when frequency or accuracy does not vary within them.
    """
    x, y = np.asarray(x, dtype=np.float64), POINTS * np.asarray(values, dtype=np.float64)
    names, index = cluster_index(sets)
    groups = len(names)
    if groups < 3:
        raise BadInput(f"{groups} test sets are too few for slopes that vary at random")
    means = np.bincount(index, weights=x) / np.bincount(index)
    inside = x - means[index]
    design = np.column_stack([np.ones_like(x), inside, means[index] - means.mean()])
    if np.ptp(means) < 1e-9:
        design = design[:, :2]
    if inside @ inside < 1e-9 or demeaned(y, index) @ demeaned(y, index) < 1e-9:
        raise BadInput("frequency or accuracy does not vary within test sets")
    columns = np.column_stack([design, y])
    crosses = np.zeros((groups, columns.shape[1], columns.shape[1]))
    np.add.at(crosses, index, columns[:, :, None] * columns[:, None, :])
    # Scaled, so that a random slope's and a random intercept's part are of one size for the search.
    scale = np.array([1.0, 1 / np.sqrt(inside @ inside / len(x))])
    start = np.array([0.5, 0.0, 0.2])
    search = [
        optimize.minimize(
            lambda each: _restricted(each, crosses, scale, len(x))[0],
            start * factor,
            method="L-BFGS-B",
            bounds=[(0, None), (None, None), (0, None)],
            options={"maxiter": 300},
        )
        for factor in (1.0, 0.1)
    ]
    best = min(search, key=lambda each: each.fun)
    _, coefficients, covariance, variance, lower = _restricted(best.x, crosses, scale, len(x))
    spread = lower @ lower.T * variance
    slope, error = float(coefficients[1]), float(np.sqrt(covariance[1, 1]))
    flags = []
    if not best.success or not np.isfinite(error):
        text = "the mixed model did not converge; the mean of the sets' own slopes stands in for it"
        flags.append(Flag("warning", text))
    elif min(best.x[0], best.x[2]) < 1e-4:
        text = "the mixed model lies at its edge: test sets differ in slope or level no more than noise makes them"
        flags.append(Flag("note", text))
    reach = float(stats.t.ppf((1 + level) / 2, groups - 1)) * error
    p = float(2 * stats.t.sf(abs(slope) / error, groups - 1)) if error > 0 else NAN
    method = f"mixed model, random intercept and slope for {groups} test sets, REML, t with {groups - 1}"
    return MeanSlope(
        slope=slope,
        interval=Interval(slope - reach, slope + reach, p, f"{method} degrees of freedom"),
        spread=float(np.sqrt(spread[1, 1])),
        new_lower=NAN,
        new_upper=NAN,
        clusters=groups,
        flags=tuple(flags),
    )


def _restricted(
    parameters: np.ndarray, crosses: np.ndarray, scale: np.ndarray, points: int
) -> tuple[float, np.ndarray, np.ndarray, float, np.ndarray]:
    """−2 restricted log-likelihood but for a constant, the noise's variance profiled out; and what it was made of.

    With Ψ = LL' the covariance of (uᵍ, vᵍ) over the noise's, V_g⁻¹ = 1 − Z L (1 + L'Z'ZL)⁻¹ L'Z' (Woodbury), so that
    every product A'V⁻¹B follows from the sums `crosses` (G, p + 1, p + 1) of the columns (X, y), whose first two are Z.
    """
    lower = scale[:, None] * np.array([[parameters[0], 0.0], [parameters[1], parameters[2]]])
    inner = np.eye(2) + lower.T @ crosses[:, :2, :2] @ lower
    through = lower.T @ crosses[:, :2, :]  # L'Z'(X, y)
    total = (crosses - through.transpose(0, 2, 1) @ np.linalg.solve(inner, through)).sum(0)
    cross, target, square = total[:-1, :-1], total[:-1, -1], total[-1, -1]
    coefficients = np.linalg.solve(cross, target)
    freedom = points - len(coefficients)
    variance = max(float(square - target @ coefficients), 1e-300) / freedom
    log_determinants = float(np.linalg.slogdet(inner)[1].sum() + np.linalg.slogdet(cross)[1])
    return (
        log_determinants + freedom * float(np.log(variance)),
        coefficients,
        variance * np.linalg.inv(cross),
        variance,
        lower,
    )
