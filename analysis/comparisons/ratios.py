"""How many times as common is a concept in one pretraining set as in another, with an interval for each concept.

Not here: correlations over all concepts (`corpora.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from tailwag.errors import BadInput, NotFound

from ...retrieval.estimates.intervals import clopper_pearson
from .corpora import CorporaCompared

EXACT, FROM_INTERVALS = "conditional", "from intervals"


@dataclass(frozen=True)
class Ratios:
    """The share of pairs that show each concept in one set, over that in another.

    Attributes
    ----------
    first, second
        The sets: above 1 a concept is commoner in the first.
    concepts
        C names.
    ratio, lower, upper
        (C,) float64. 0 and infinity where one count is 0; nan where both are, and 0 to infinity the interval.
    methods
        C texts: ``conditional`` for two exact counts, ``from intervals`` where a frequency came with its own.
    level
        Of the intervals, each by itself.
    """

    first: str
    second: str
    concepts: tuple[str, ...]
    ratio: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    methods: tuple[str, ...]
    level: float


def ratios_of(compared: CorporaCompared, first: str, second: str, level: float = 0.95) -> Ratios:
    """Give the ratio of frequencies, each over the pairs of its set, for every concept of a comparison.

    Raises
    ------
    NotFound
        When a set is not in the comparison.
    BadInput
        When the number of pairs of a set is not known: counts without it are no shares.
    """
    positions = []
    for name in (first, second):
        if name not in compared.pretrainings:
            raise NotFound(f"{name!r} was not compared; there are {', '.join(compared.pretrainings)}")
        positions.append(compared.pretrainings.index(name))
        if np.isnan(compared.rows[positions[-1]]):
            raise BadInput(f"nobody says how many pairs {name!r} has: a ratio of shares needs the column rows")
    (one, other), rows = (compared.frequencies[at] for at in positions), compared.rows[positions]
    lower, upper = conditional_interval(one, other, rows[0], rows[1], level)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (one / rows[0]) / (other / rows[1])
    given = ~np.isnan(compared.lower[positions])
    estimated = np.asarray(given.any(axis=0))
    if estimated.any():
        counts = compared.frequencies[positions]
        # An exact count beside an estimate has a Poisson count's interval, so that both say the same kind of thing.
        poisson = poisson_interval(counts, level)
        ends = [
            np.where(given, own[positions], exact) / rows[:, None]
            for own, exact in zip((compared.lower, compared.upper), poisson, strict=True)
        ]
        between = interval_of_ratio(counts / rows[:, None], ends[0], ends[1])
        lower, upper = np.where(estimated, between[0], lower), np.where(estimated, between[1], upper)
    methods = tuple(FROM_INTERVALS if each else EXACT for each in list(estimated))
    return Ratios(first, second, compared.concepts, ratio, lower, upper, methods, level)


def conditional_interval(
    first: np.ndarray, second: np.ndarray, first_rows: float, second_rows: float, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Which ratios of two rates do two counts allow? Exact, given their sum.

    The first of two Poisson counts, given their sum, is binomial with π = ρ N₁ / (ρ N₁ + N₂) for a ratio ρ of rates, so
    Clopper and Pearson's interval for π gives one for ρ (Przyborowski and Wilenski, Biometrika 31, 1940). The sets are
    whole, not sampled: the interval says what a set of this size, drawn anew from the same web, could have had.

    Parameters
    ----------
    first, second
        (C,) counts; a frequency that is no whole number is rounded.
    first_rows, second_rows
        Pairs of each set.
    level
        Of the interval, 0 to 1.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        (C,) float64 ends; 0 and infinity where nothing was counted.

    Examples
    --------
    >>> lower, upper = conditional_interval(np.array([10, 0]), np.array([5, 0]), 1000, 1000)
    >>> lower.round(3), upper.round(3)
    (array([0.623, 0.   ]), array([7.457,   inf]))
    """
    one, other = np.rint(first).astype(np.int64), np.rint(second).astype(np.int64)
    together = one + other
    low, high = clopper_pearson(one, np.maximum(together, 1), level)
    low, high = np.where(together == 0, 0.0, low), np.where(together == 0, 1.0, high)
    with np.errstate(divide="ignore"):
        return low / (1 - low) * second_rows / first_rows, high / (1 - high) * second_rows / first_rows


def poisson_interval(counts: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Which means can have given these Poisson counts? Garwood's exact interval (Biometrika 28, 1936).

    Examples
    --------
    >>> lower, upper = poisson_interval(np.array([0.0, 10.0]))
    >>> lower.round(2), upper.round(2)
    (array([0. , 4.8]), array([ 3.69, 18.39]))
    """
    tail = (1 - level) / 2
    lower = np.where(counts > 0, gammaincinv(np.maximum(counts, 1), tail), 0.0)
    return lower, gammaincinv(counts + 1, 1 - tail)


def interval_of_ratio(shares: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which ratios do two shares with intervals of their own allow?

    Zou and Donner's variance recovery on logarithms (Construction of Confidence Limits about Effect Measures,
    Statistics in Medicine 27, 2008): from ln ρ - √((ln p₁ - ln l₁)² + (ln u₂ - ln p₂)²) to ln ρ + √((ln u₁ - ln p₁)² +
    (ln p₂ - ln l₂)²).

    Parameters
    ----------
    shares, lower, upper
        (2, C) float64: the shares and the ends of their intervals, which have one level.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        (C,) ends; 0 or infinity where a share or its lower end is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_shares, log_lower, log_upper = np.log(shares), np.log(lower), np.log(upper)
        centre = log_shares[0] - log_shares[1]
        down = np.hypot(log_shares[0] - log_lower[0], log_upper[1] - log_shares[1])
        up = np.hypot(log_upper[0] - log_shares[0], log_shares[1] - log_lower[1])
        low, high = np.exp(centre - down), np.exp(centre + up)
        # Of a share of 0 only the interval's far end is known.
        low = np.where((shares == 0).any(axis=0), lower[0] / upper[1], low)
        high = np.where((shares == 0).any(axis=0), upper[0] / lower[1], high)
    return np.nan_to_num(low, nan=0.0), np.where(np.isnan(high), np.inf, high)
