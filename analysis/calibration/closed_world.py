"""How many rows show each class of a complete vocabulary? Four methods behind one call, with bootstrap intervals.

Pure functions on similarities. Not here: the arithmetic of a method (`label_shift.py`), the pass over a corpus
(`closed_world_counting.py`), whether the world is closed (`open_world.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from scipy.special import softmax

from tailwag.errors import BadInput

from .label_shift import Temperature, adjust_counts, confusion_of, estimate_priors, fit_temperature, share_wins

Method = Literal["em", "adjusted", "softmax", "winner"]
METHODS: tuple[Method, ...] = get_args(Method)
NEED_LABELS: tuple[Method, ...] = ("em", "adjusted")
# The greatest factor on cosines that CLIP's training allows, with which its models end (Radford et al. 2021).
CLIP_SLOPE = 100.0
REPLICATES = 200
# Replicates need their shares to within a small part of a row in ten thousand, not to the last digit.
_STILL_IN_REPLICATES = 1e-6
_ROWS_A_PARAMETER = 50


@dataclass(frozen=True, eq=False)
class LabelledClasses:
    """Rows whose one class is known.

    Attributes
    ----------
    similarities
        (n, C) float64.
    labels
        (n,) int64 class numbers.

    Raises
    ------
    BadInput
        When shapes do not fit, or a label is no class.
    """

    similarities: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.similarities.ndim != 2 or self.labels.shape != self.similarities.shape[:1]:
            raise BadInput(f"{self.labels.shape} labels do not fit similarities of shape {self.similarities.shape}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < self.similarities.shape[1]:
            raise BadInput(
                f"labels run from {self.labels.min()} to {self.labels.max()}, the classes from 0 to "
                f"{self.similarities.shape[1] - 1}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sizes(self) -> np.ndarray:
        """(C,) int64: labelled rows of each class."""
        return np.bincount(self.labels, minlength=self.similarities.shape[1])


@dataclass(frozen=True, eq=False)
class ShareEstimator:
    """A method that is ready to be asked: what it takes from each row, and what it makes of all of them.

    Made by `fit_shares`.

    Attributes
    ----------
    method
        ``em``, ``adjusted``, ``softmax`` or ``winner``.
    margin
        Of the winner; see `share_wins`.
    temperature
        What turns similarities into probabilities; None where there are no labels.
    confusion
        (C, C) how labelled rows are won; None unless the method is ``adjusted``.
    """

    method: Method
    margin: float = 0.0
    temperature: Temperature | None = None
    confusion: np.ndarray | None = None

    @property
    def needs_rows(self) -> bool:
        """Whether the mean over rows is not enough."""
        return self.method == "em"

    def of_rows(self, similarities: np.ndarray) -> np.ndarray:
        """Share each row out among the classes: (N, C) float64, every row summing to 1."""
        if self.method == "winner":
            return share_wins(similarities, self.margin)
        if self.temperature is None:
            return softmax(CLIP_SLOPE * similarities.astype(np.float64), axis=1)
        probabilities = self.temperature.probabilities(similarities)
        return share_wins(probabilities) if self.method == "adjusted" else probabilities

    def from_mean(self, mean: np.ndarray) -> np.ndarray:
        """Make shares of the mean over rows: (C,), none negative, summing to 1."""
        return adjust_counts(mean, self.confusion) if self.confusion is not None else mean / mean.sum()

    def from_rows(self, shares: np.ndarray, weights: np.ndarray | None = None, **search: float) -> np.ndarray:
        """Make shares of what `of_rows` gave: (C,), none negative, summing to 1."""
        if self.method == "em":
            assert self.temperature is not None  # `fit_shares` sees to it
            return estimate_priors(shares, self.temperature.priors, weights, **search)
        return self.from_mean(np.average(shares, axis=0, weights=weights))


def fit_shares(
    method: Method,
    labelled: LabelledClasses | None = None,
    margin: float = 0.0,
    *,
    weights: np.ndarray | None = None,
    start: Temperature | None = None,
    refit: bool = True,
) -> ShareEstimator:
    """Prepare a method.

    Parameters
    ----------
    method
        - ``winner``: each row counts for its most similar class; needs no labels and uses none.
        - ``softmax``: the sum of probabilities; with labels by bias-corrected temperature scaling, without by
          CLIP's own factor of 100.
        - ``adjusted``: the winners by calibrated probability, corrected for how labelled rows are won.
        - ``em``: shares under which the rows are most probable, from calibrated probabilities.
    labelled
        Rows of known class, every class at least once; None where there are none.
    margin
        Of the winner.
    weights, start
        As for `fit_temperature`.
    refit
        Whether the temperature is fitted; else `start` is taken for it.

    Returns
    -------
    ShareEstimator
        Without labels ``em`` and ``adjusted`` fall back to ``winner``; its `method` says so.

    Raises
    ------
    BadInput
        For another method, a negative margin, or a class without a labelled row.

    Notes
    -----
    Saerens, Latinne and Decaestecker 2002 on the calibration of Alexandari, Kundaje and Shrikumar 2020; Forman 2008.
    """
    if method not in METHODS:
        raise BadInput(f"method {method!r} is none of {', '.join(METHODS)}")
    if not margin >= 0:
        raise BadInput(f"a margin is a distance of at least 0 between similarities, and {margin:g} was given")
    if labelled is None or not len(labelled):
        return ShareEstimator("winner" if method in NEED_LABELS else method, margin)
    if method == "winner":
        return ShareEstimator(method, margin)
    kept = None if refit else start
    temperature = kept or fit_temperature(labelled.similarities, labelled.labels, weights, start=start)
    if method != "adjusted":
        return ShareEstimator(method, margin, temperature)
    wins = share_wins(temperature.probabilities(labelled.similarities))
    return ShareEstimator(method, margin, temperature, confusion_of(wins, labelled.labels, weights))


def shift_intervals(
    estimator: ShareEstimator,
    labelled: LabelledClasses,
    counts: np.ndarray,
    rows: int,
    *,
    is_sample: bool = False,
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """How far may the counts be off? A bootstrap of the labelled rows under the estimated shift.

    Parameters
    ----------
    estimator
        What made the counts.
    labelled
        The labelled rows, every class at least once.
    counts
        (C,) estimated counts.
    rows
        N, rows that they are of.
    is_sample
        Whether these are drawn from more rows, about which the interval is to speak.
    level
        Of the interval.
    replicates, seed
        Of the bootstrap; the same seed gives the same interval.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Lower and upper, (C,) float64 within [0, N], the counts inside.

    Notes
    -----
    One replicate: the method is fitted to labelled rows drawn anew within their classes; shares are drawn from a
    Dirichlet of counts + ½, true counts T of N rows from them, and each row's similarities from the labelled rows of
    its class that the fit did not see, for it flatters what it saw (out-of-bag; Efron and Tibshirani 1997). The
    method is asked for T. The quantiles of log((estimate + ½) / (T + ½)) are turned round at the counts: the basic
    bootstrap (Davison and Hinkley 1997, ch. 5). It supposes what the methods suppose: that rows of a class look in
    the corpus as those that are labelled, and that there are no other classes. How the labelled rows themselves
    differ from that is in no interval.

    Since rows are drawn from the labelled ones, a replicate costs as much as these, however large the corpus. With
    fifty labelled rows for each number that the temperature has, it is not fitted anew: what it may be off is then
    small beside the rest.
    """
    generator = np.random.default_rng(seed)
    order = np.lexsort((*labelled.similarities.T, labelled.labels))  # so that the order of labels changes nothing
    labelled = LabelledClasses(labelled.similarities[order], labelled.labels[order])
    sizes = labelled.sizes
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    errors = np.empty((replicates, len(counts)))

    def drawn(numbers: np.ndarray, pools: list[np.ndarray]) -> np.ndarray:
        weights = np.zeros(len(labelled))
        for number, pool in zip(numbers, pools, strict=True):
            weights[pool] = generator.multinomial(number, np.full(len(pool), 1 / len(pool)))
        return weights

    classes = [np.arange(start, end) for start, end in pairwise(bounds)]
    refit = len(labelled) < _ROWS_A_PARAMETER * (len(counts) + 1)
    for replicate in range(replicates):
        shares = generator.dirichlet(counts + 0.5)
        there = generator.multinomial(rows, shares)
        true = rows * shares if is_sample else there
        fitting = drawn(sizes, classes)
        refitted = fit_shares(
            estimator.method,
            labelled,
            estimator.margin,
            weights=fitting,
            start=estimator.temperature,
            refit=refit,
        )
        left = [own[fitting[own] == 0] for own in classes]
        pools = [own if not len(out) else out for own, out in zip(classes, left, strict=True)]
        weights = drawn(there, pools)
        seen = weights > 0
        of_rows = refitted.of_rows(labelled.similarities[seen])
        found = rows * refitted.from_rows(of_rows, weights[seen], **_search(refitted))
        errors[replicate] = np.log((found + 0.5) / (true + 0.5))
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2], axis=0)
    lower = np.minimum((counts + 0.5) * np.exp(-high) - 0.5, counts)
    upper = np.maximum((counts + 0.5) * np.exp(-low) - 0.5, counts)
    return lower.clip(0, rows), upper.clip(0, rows)


def _search(estimator: ShareEstimator) -> dict[str, float]:
    return {"still": _STILL_IN_REPLICATES} if estimator.method == "em" else {}
