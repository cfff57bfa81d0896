"""Do captions name what is shown prominently oftener? The slope of recall over similarity, from mentions alone.

Captions name what is prominent, and what is prominent is similar; recall that is read in the most similar rows is
therefore too great for the others. Pure functions on histograms. Not here: what follows for recall (`anchored.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from .excess import Excess

# The slope is read in rows this many standard deviations above the mean of those that name the concept: look-alikes are
# few there, and their share hardly falls any further.
_NEAREST = 1.0
# Concepts have a say with this many mentions there, if at least this share of the rows there names them.
_FEWEST_MENTIONS, _LEAST_RATE = 50, 0.3
# Concepts of one corpus differ by this much, and look-alikes still bend the slope of some.
_SPREAD = 0.15
# A weak prior on each concept's slope keeps it finite.
_WIDEST_SLOPE = 2.0
_STEPS = 20


def standard_distances(mentions: np.ndarray, excess: Excess) -> np.ndarray:
    """How far is each bin of similarity above the mean of the rows that name a concept, in their standard deviations?

    Parameters
    ----------
    mentions
        (BINS,) int64: rows that name the concept, by similarity.
    excess
        Its zone, with at least one mention.

    Returns
    -------
    numpy.ndarray
        (BINS,) float64; a standard deviation is one bin at least.
    """
    bins = np.arange(len(mentions))
    zone = np.where(bins >= excess.start, mentions, 0).astype(np.float64)
    mean = (bins * zone).sum() / zone.sum()
    return (bins - mean) / max(float(np.sqrt(((bins - mean) ** 2 * zone).sum() / zone.sum())), 1.0)


def learn_prominence(
    rows: np.ndarray, mentions: np.ndarray, excesses: Sequence[Excess], prior: float, prior_deviation: float
) -> tuple[float, float]:
    """By how many logits does recall rise with a standard deviation of similarity in this corpus?

    Parameters
    ----------
    rows, mentions
        (C, BINS) int64: the similarities of all rows, and of those whose caption names each concept.
    excesses
        C of them.
    prior, prior_deviation
        What is expected before the corpus is looked at.

    Returns
    -------
    tuple[float, float]
        The slope, and the standard deviation of one concept's; the prior itself, where no concept has mentions enough.

    Notes
    -----
    For each concept a logistic regression of being named on similarity, among the rows at least one standard deviation
    above the mean of those that name it (Newton's method, prior N(0, 2²)). Over concepts their precision-weighted mean,
    with a spread of .15 between concepts and the prior as one more observation (DerSimonian and Laird 1986, with a
    spread that is given). Below one standard deviation the slope of a concept and the thinning of its look-alikes
    cannot be told apart.
    """
    found = [
        one
        for own_rows, own, excess in zip(rows, mentions, excesses, strict=True)
        if excess.excess >= _FEWEST_MENTIONS and (one := _slope(own_rows, own, excess)) is not None
    ]
    if not found:
        return prior, prior_deviation
    slopes, variances = np.array(found).T
    weights = 1 / (variances + _SPREAD**2)
    precision = float(weights.sum()) + prior_deviation**-2
    mean = (float((weights * slopes).sum()) + prior * prior_deviation**-2) / precision
    return mean, float(np.sqrt(1 / precision + _SPREAD**2))


def _slope(rows: np.ndarray, mentions: np.ndarray, excess: Excess) -> tuple[float, float] | None:
    """Give one concept's slope and its variance; None where too few rows tell."""
    distances = standard_distances(mentions, excess)
    taken = (distances >= _NEAREST) & (rows > 0)
    number, named = rows[taken].astype(np.float64), mentions[taken].astype(np.float64)
    if named.sum() < max(_FEWEST_MENTIONS, _LEAST_RATE * number.sum()):
        return None
    away = distances[taken] - np.average(distances[taken], weights=number)
    weak = np.diag([1e-9, _WIDEST_SLOPE**-2])
    line = np.array([special.logit((named.sum() + 0.5) / (number.sum() + 1)), 0.0])
    design = np.stack([np.ones_like(away), away], axis=1)
    curvature = weak
    for _ in range(_STEPS):
        chance = special.expit(design @ line)
        curvature = (design.T * (number * chance * (1 - chance))) @ design + weak
        step = np.linalg.solve(curvature, design.T @ (named - chance * number) - weak @ line)
        line = line + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    return float(line[1]), float(np.linalg.inv(curvature)[1, 1])
