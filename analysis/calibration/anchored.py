"""Frequencies from captions without a label: the mentions beyond chance over the share of images that get one.

Positive–unlabelled estimation (Elkan and Noto 2008), which here is capture–recapture with similarity as the second
capture (Lincoln–Petersen; Chapman 1951). Pure functions on histograms. Not here: where mentions stand out
(`excess.py`), estimates that use labels (`audit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from tailwag.errors import BadInput

from .excess import Excess, PurestRows, find_excess, find_purest_rows
from .prominence import learn_prominence, standard_distances

# Purest rows that name the concept less often than this are impure or seldom named, and nothing tells which.
LEAST_PURE_RATE = 0.4
# Concepts whose own recall is believed at all have this many mentions beyond chance; below, the others' recall serves.
_FEWEST_FOR_RECALL = 10
_FEWEST_CONCEPTS = 5
# Recall in logits where too few concepts show one: captions of photographs name .65 of what they show, give or take.
_USUAL_RECALL = (0.6, 0.6)
# Concepts differ by this much at least: recall over the kinds of one photograph collection ran from .30 to .91.
_LEAST_SPREAD = 0.5
# Purity is never quite what it seems.
_RECALL_DISCREPANCY = 0.15
# What is shown by more than the first of all rows has few look-alikes beside it, and from the second on hardly any: the
# discrepancy falls between the two to a share of it, and not below the least.
_COMMON, _VERY_COMMON = 0.01, 0.1
_COMMON_SHARE, _LEAST_DISCREPANCY = 0.2, 0.05
_DRAWS = 4_000


@dataclass(frozen=True)
class AnchoredSettings:
    """What is assumed of captions beyond what they show.

    Attributes
    ----------
    prominence, prominence_deviation
        By how many logits recall is expected to rise with a standard deviation of similarity among the images that show
        a concept, before the corpus is looked at (`prominence.py`). Captions name what is prominent, and what is
        prominent is similar: photographs with human captions showed 0.4 to 0.6; captions that name at random would
        show 0.
    discrepancy
        The standard deviation of what the model leaves out, in natural logarithms of the frequency: named look-alikes,
        recalls that differ. Of a concept that a hundredth of all rows shows or fewer; less of what is common.
    correction
        What every frequency is multiplied by, as a natural logarithm: what audits of other concepts of the same corpus
        found (`pooling.py`); 0 before any.
    confidence
        Of the intervals.
    seed
        Of the draws.
    """

    prominence: float = 0.25
    prominence_deviation: float = 0.25
    discrepancy: float = 0.25
    correction: float = 0.0
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Recall:
    """How often the caption of an image that shows a concept names it.

    Attributes
    ----------
    logit, deviation
        Mean and standard deviation of its logit.
    own
        Whether the concept's own purest rows had a say; else it is the other concepts' recall.
    """

    logit: float
    deviation: float
    own: bool

    @property
    def share(self) -> float:
        """The recall itself, between 0 and 1."""
        return float(special.expit(self.logit))


@dataclass(frozen=True, eq=False)
class AnchoredFrequency:
    """One concept's frequency from captions.

    Attributes
    ----------
    estimate, lower, upper
        Rows that show the concept.
    recall
        What the mentions beyond chance were divided by.
    excess
        Those mentions.
    purest
        Its purest rows; None where nothing names the concept.
    shares
        (BINS,) float32: of the rows of each bin of similarity, the share that shows the concept; never falls with
        similarity, and 0 where mentions do not stand out.
    """

    estimate: float
    lower: float
    upper: float
    recall: Recall
    excess: Excess
    purest: PurestRows | None
    shares: np.ndarray


def anchored_frequencies(
    rows: np.ndarray, mentions: np.ndarray, settings: AnchoredSettings | None = None
) -> tuple[AnchoredFrequency, ...]:
    """Estimate how many rows truly show each concept, from which rows name it.

    Parameters
    ----------
    rows, mentions
        (C, BINS) int64: the similarities of all rows, and of those whose caption names the concept.
    settings
        What is assumed of captions.

    Returns
    -------
    tuple[AnchoredFrequency, ...]
        C of them.

    Raises
    ------
    BadInput
        When the shapes differ, or a concept is named by more rows than there are.

    Notes
    -----
    The frequency is the excess of mentions over recall. Recall is read in the concept's purest rows, shifted to what it
    would be in all rows that show it (by the prominence that the corpus shows, times the distance of the two in
    standard deviations of similarity), and shrunk in logits towards the mean over concepts by their precisions. The
    interval draws the mentions from a Gamma(M + ½), the recall from its normal, and multiplies by exp of a normal with
    the correction and the discrepancy.
    """
    settings = settings or AnchoredSettings()
    if rows.shape != mentions.shape or rows.ndim != 2:
        raise BadInput(f"histograms of {rows.shape} rows and {mentions.shape} mentions do not belong together")
    if (mentions > rows).any():
        raise BadInput("a bin of similarity has more mentions than rows: the histograms are of different corpora")
    found = [(find_excess(*both), find_purest_rows(*both)) for both in zip(rows, mentions, strict=True)]
    slope, unsure = learn_prominence(
        rows, mentions, [excess for excess, _ in found], settings.prominence, settings.prominence_deviation
    )
    settings = replace(settings, prominence=slope, prominence_deviation=unsure)
    seen = [
        _recall_of_purest_rows(own, excess, purest, settings)
        for own, (excess, purest) in zip(mentions, found, strict=True)
    ]
    centre, spread = _population([one for one in seen if one is not None])
    generator = np.random.default_rng(settings.seed)
    return tuple(
        _carry_on(own_rows, own, excess, purest, _shrink(one, centre, spread), settings, generator)
        for own_rows, own, (excess, purest), one in zip(rows, mentions, found, seen, strict=True)
    )


def _recall_of_purest_rows(
    mentions: np.ndarray, excess: Excess, purest: PurestRows | None, settings: AnchoredSettings
) -> tuple[float, float] | None:
    """Read recall in the purest rows, as the logit of all that show the concept and its standard deviation."""
    if purest is None or purest.rate < LEAST_PURE_RATE or excess.excess < _FEWEST_FOR_RECALL:
        return None
    window = mentions * (np.arange(len(mentions)) >= purest.start)
    distance = np.average(standard_distances(mentions, excess), weights=window)
    rate = (purest.mentions + 0.5) / (purest.rows + 1)
    variance = (
        1 / (purest.rows * rate * (1 - rate) + 0.5)
        + (settings.prominence_deviation * distance) ** 2
        + _RECALL_DISCREPANCY**2
    )
    return float(special.logit(rate)) - settings.prominence * float(distance), float(np.sqrt(variance))


def _population(seen: list[tuple[float, float]]) -> tuple[float, float]:
    """Give mean and spread of recall over concepts, in logits: the moments of a random-effects model."""
    if len(seen) < _FEWEST_CONCEPTS:
        return _USUAL_RECALL
    logits, deviations = np.array(seen).T
    spread = max(float(np.sqrt(max(np.var(logits) - np.mean(deviations**2), 0.0))), _LEAST_SPREAD)
    weights = 1 / (spread**2 + deviations**2)
    return float((weights * logits).sum() / weights.sum()), spread


def _shrink(seen: tuple[float, float] | None, centre: float, spread: float) -> Recall:
    if seen is None:
        return Recall(centre, spread, own=False)
    logit, deviation = seen
    precision = 1 / spread**2 + 1 / deviation**2
    return Recall((centre / spread**2 + logit / deviation**2) / precision, precision**-0.5, own=True)


def true_shares(rows: np.ndarray, mentions: np.ndarray, excess: Excess, recall: Recall) -> np.ndarray:
    """Say for each similarity which share of the rows shows the concept.

    Parameters
    ----------
    rows, mentions
        (BINS,) int64: all rows by similarity, and those that name the concept.
    excess, recall
        What is known of its mentions.

    Returns
    -------
    numpy.ndarray
        (BINS,) float64 between 0 and 1.

    Notes
    -----
    With r the isotonic regression of the mention rate on similarity, weighted by rows (Barlow et al. 1972), m₀ the
    background and ρ the recall: (r - m₀) / (ρ - m₀), and 0 below the zone where mentions stand out.
    """
    shares = np.zeros(len(rows))
    filled = np.flatnonzero(rows)
    if not len(filled) or recall.share <= excess.background:
        return shares
    rates = optimize.isotonic_regression(mentions[filled] / rows[filled], weights=rows[filled]).x
    every = rates[np.clip(np.searchsorted(filled, np.arange(len(rows)), side="right") - 1, 0, None)]
    shares = np.clip((every - excess.background) / (recall.share - excess.background), 0.0, 1.0)
    shares[: excess.start] = 0.0
    return shares


def _carry_on(
    rows: np.ndarray,
    mentions: np.ndarray,
    excess: Excess,
    purest: PurestRows | None,
    recall: Recall,
    settings: AnchoredSettings,
    generator: np.random.Generator,
) -> AnchoredFrequency:
    recalls = special.expit(generator.normal(recall.logit, recall.deviation, _DRAWS))
    beyond = generator.gamma(excess.mentions + 0.5, size=_DRAWS) - excess.background * excess.rows
    uncorrected = excess.excess / recall.share
    discrepancy = _discrepancy(uncorrected / max(int(rows.sum()), 1), settings)
    unknown = settings.correction + discrepancy * generator.standard_normal(_DRAWS)
    frequencies = np.maximum(beyond, 0.0) / recalls * np.exp(unknown)
    tail = 50 * (1 - settings.confidence)
    lower, upper = np.percentile(frequencies, [tail, 100 - tail])
    estimate = uncorrected * float(np.exp(settings.correction))
    shares = true_shares(rows, mentions, excess, recall).astype(np.float32)
    return AnchoredFrequency(estimate, float(lower), float(upper), recall, excess, purest, shares)


def _discrepancy(prevalence: float, settings: AnchoredSettings) -> float:
    common = np.interp(np.log(max(prevalence, 1e-12)), np.log([_COMMON, _VERY_COMMON]), [1.0, _COMMON_SHARE])
    return float(max(settings.discrepancy * common, min(settings.discrepancy, _LEAST_DISCREPANCY)))
