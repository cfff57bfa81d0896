"""A threshold for every concept from fresh labelled images, and what counting with it is worth.

The rule: the lowest threshold at which at most a given share of the images without the concept are hits. What it
finds with the concept is the recall, by which a count is divided.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .vocabulary import concepts


@dataclass(frozen=True)
class ConceptThreshold:
    """One concept's threshold, with the shares of images without and with the concept that are hits at it."""

    concept: str
    threshold: float
    false_hit_rate: float
    recall: float


def lowest_threshold(similarities: np.ndarray, holds: np.ndarray, false_hit_rate: float) -> float:
    """The lowest threshold with no more than the given share of false hits.

    Parameters
    ----------
    similarities
        (n,) similarities to one concept.
    holds
        (n,) whether the image shows it.
    false_hit_rate
        Share of the images that do not show it, at most, which may be hits.

    Returns
    -------
    float
        Just above the similarity of the best image that must not be a hit.

    Examples
    --------
    >>> lowest_threshold(np.array([0.9, 0.5, 0.4, 0.1]), np.array([True, True, False, False]), 0.0) > 0.4
    True
    """
    without = np.sort(similarities[~holds])[::-1]
    allowed = int(false_hit_rate * len(without))
    return float(np.nextafter(without[allowed], np.inf)) if allowed < len(without) else -1.0


def choose_thresholds(
    similarities: np.ndarray, holds: np.ndarray, false_hit_rates: Sequence[float]
) -> list[ConceptThreshold]:
    """One threshold a concept.

    Parameters
    ----------
    similarities, holds
        (images, concepts), concepts in the vocabulary's order.
    false_hit_rates
        For every concept the share of false hits that is allowed.
    """
    chosen = []
    for column, (concept, rate) in enumerate(zip(concepts(), false_hit_rates, strict=True)):
        scores, shown = similarities[:, column], holds[:, column]
        threshold = lowest_threshold(scores, shown, rate)
        hits = scores >= threshold
        chosen.append(ConceptThreshold(concept.name, threshold, float(hits[~shown].mean()), float(hits[shown].mean())))
    return chosen


def estimates(similarities: np.ndarray, chosen: Sequence[ConceptThreshold]) -> np.ndarray:
    """How many images show each concept, estimated as hits / recall."""
    hits = (similarities >= np.array([one.threshold for one in chosen])).sum(0)
    return hits / np.array([max(one.recall, 1e-9) for one in chosen])


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rho, ties at their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def median_log_error(estimated: np.ndarray, true: np.ndarray) -> float:
    """The median of |log10(estimate / true)| over concepts that there are, an estimate of none taken as a half."""
    there = true > 0
    return float(np.median(np.abs(np.log10(np.maximum(estimated[there], 0.5) / true[there]))))


def write_thresholds(path: Path, chosen: Sequence[ConceptThreshold], space: str, source: str) -> None:
    """Write the thresholds as CSV: concept, threshold, false_hit_rate, recall, space, source."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("concept", "threshold", "false_hit_rate", "recall", "space", "source"))
        for one in chosen:
            # repr keeps every bit: a threshold lies between two neighbouring similarities.
            writer.writerow(
                (one.concept, repr(one.threshold), f"{one.false_hit_rate:.6f}", f"{one.recall:.4f}", space, source)
            )
