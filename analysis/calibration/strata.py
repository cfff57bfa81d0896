"""The strata of a two-way audit: rows that name a concept and rows that do not, each cut by similarity.

Where labels go beats how many there are: a random sample finds no image of a rare concept, and one by similarity alone
misses those that are named but look unlike. Pure functions on histograms. Not here: the labels and what follows from
them (`audit.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from .anchored import AnchoredFrequency
from .excess import from_the_top

# Unnamed rows are audited down to where this share of them is expected to show the concept; further down labels would
# nearly all say no.
_LEAST_SHARE = 0.08
# Further down they are audited too, in bands that each hold as many unnamed rows as all above, the first at least so
# many, until so many rows lie in them: below, a label would hardly ever say yes.
_FIRST_OF_THE_REST, _REACH = 8, 20_000
# Runs of equal excess in which that share is looked at, from the top.
_RUNS = 12
_NAMED_STRATA = 3
_UNNAMED_STRATA = 4
# How far a prior share may lie from 0 and 1: no histogram makes one surer than this.
_SURE = (0.02, 0.95)
_FARTHEST = 4.0
# Concepts are taken to be named at least this often when it is decided how far down labels go.
_LEAST_RECALL = 0.1
# By how many logits recall rises with a standard deviation of similarity: half of what photographs showed, since the
# share that is expected here only guides where labels go.
_SLOPE = 0.3


@dataclass(frozen=True)
class Stratum:
    """Rows of one concept from which labels are drawn at random.

    Attributes
    ----------
    named
        Whether their captions name the concept.
    first, last
        Their bins of similarity, `last` not included.
    rows
        How many there are.
    prior
        The share expected to show the concept.
    distance
        Their mean similarity from that of all rows that name and show it, in standard deviations.
    mentions
        How many rows between those bins have captions that name the concept: `rows` itself where `named`.
    in_zone
        Whether unnamed rows as similar as these are expected to show it often. Where they are not, each named row that
        shows the concept stands for unnamed ones beside it.
    above
        Of unnamed rows below the zone: how many unnamed rows of the zone, and below it above these, there are; 0 else.
    in_reach
        Whether labels may go there: nobody is asked about the least similar rows of a large corpus.
    """

    named: bool
    first: int
    last: int
    rows: int
    prior: float
    distance: float
    mentions: int
    in_zone: bool
    above: int = 0
    in_reach: bool = True


def lay_strata(rows: np.ndarray, mentions: np.ndarray, frequency: AnchoredFrequency) -> tuple[Stratum, ...]:
    """Cut a concept's rows into strata, from the most similar down, the named ones first.

    Parameters
    ----------
    rows, mentions
        (BINS,) int64: all rows by similarity, and those that name the concept.
    frequency
        What is known without labels.

    Returns
    -------
    tuple[Stratum, ...]
        Three strata of named rows in the zone and at most two below it; at most four of unnamed rows in the zone, and
        below it bands of them that double in size. Every row is in one of them; none is empty. Without a single mention
        there is no stratum: captions cannot guide an audit of what they never name.
    """
    if not mentions.any():
        return ()
    bins = np.arange(len(rows))
    background, start = frequency.excess.background, frequency.excess.start
    unnamed = (rows - mentions).astype(np.float64)
    above = np.where(bins >= start, np.maximum(mentions - background * rows, 0.0), 0.0)
    if not above.any():
        above = mentions.astype(np.float64)
    mean = np.average(bins, weights=above)
    deviation = max(float(np.sqrt(np.average((bins - mean) ** 2, weights=above))), 2.0)
    distance = np.clip((bins - mean) / deviation, -_FARTHEST, _FARTHEST)
    # Unnamed rows that show the concept, for each named one: the odds of not being named.
    # Where the purest rows are impure or seldom named, labels must tell which: they go there as though seldom named.
    recall, purest = frequency.recall.logit, frequency.purest
    if not frequency.recall.own and purest is not None:
        recall = min(recall, float(special.logit(max(purest.rate, _LEAST_RECALL))))
    odds = np.exp(-np.clip(recall + _SLOPE * distance, -12, 12))

    def expected(first: int, last: int) -> float:
        beyond = max(float((mentions[first:last] - background * rows[first:last]).sum()), 0.2)
        return beyond * float(np.average(odds[first:last], weights=above[first:last] + 1e-9))

    zone = _lowest_worthwhile(above, unnamed, expected)
    strata = []
    for first, last, in_zone in [
        *((first, last, True) for first, last in _runs(np.where(bins >= zone, mentions, 0), _NAMED_STRATA)),
        (min(start, zone), zone, False),
        (0, min(start, zone), False),
    ]:
        number = int(mentions[first:last].sum())
        if number:
            chance = background * float(rows[first:last].sum())
            strata.append(_stratum(True, first, last, number, 1 - chance / number, distance, mentions, number, in_zone))
    for first, last in _runs(np.where(bins >= zone, above * odds, 0), _UNNAMED_STRATA):
        number = int(unnamed[first:last].sum())
        if number:
            share = expected(first, last) / number
            beside = int(mentions[first:last].sum())
            strata.append(_stratum(False, first, last, number, share, distance, above * odds, beside, True))
    in_zone = int(unnamed[zone:].sum())
    for first, last, number, higher, in_reach in _rest(unnamed, zone, in_zone):
        share = expected(first, last) / number
        beside = int(mentions[first:last].sum())
        one = _stratum(False, first, last, number, share, distance, unnamed, beside, False)
        strata.append(replace(one, above=higher, in_reach=in_reach))
    return tuple(strata)


def _rest(unnamed: np.ndarray, zone: int, in_zone: int) -> Iterator[tuple[int, int, int, int, bool]]:
    """Cut the unnamed rows below the zone into bands that double: first and last bin, rows, rows above, in reach."""
    below = from_the_top(unnamed[:zone])
    total = int(below[0]) if zone else 0
    last, taken = zone, 0
    while taken < total:
        wanted = max(taken + max(in_zone + taken, _FIRST_OF_THE_REST), 1)
        in_reach = taken < _REACH
        first = int(np.flatnonzero(below >= min(wanted, total))[-1]) if in_reach else 0
        number = int(below[first]) - taken
        yield first, last, number, in_zone + taken, in_reach
        last, taken = first, taken + number


def _lowest_worthwhile(above: np.ndarray, unnamed: np.ndarray, expected: Callable[[int, int], float]) -> int:
    runs = _runs(above, _RUNS)
    lowest = runs[0][0]
    for first, last in runs:
        if expected(first, last) < _LEAST_SHARE * unnamed[first:last].sum():
            break
        lowest = first
    return lowest


def _runs(weights: np.ndarray, number: int) -> list[tuple[int, int]]:
    """Cut the bins that have weight into runs of about equal weight, from the top down."""
    total = from_the_top(weights.astype(np.float64))
    if not total[0] > 0:
        return []
    lowest = int(np.flatnonzero(weights)[0])
    last, runs = len(weights), []
    for part in range(1, number + 1):
        reached = np.flatnonzero(total >= total[0] * part / number * (1 - 1e-12))
        first = max(int(reached[-1]), lowest) if part < number else lowest
        if first < last:
            runs.append((first, last))
            last = first
    return runs


def _stratum(
    named: bool,
    first: int,
    last: int,
    number: int,
    share: float,
    distance: np.ndarray,
    weights: np.ndarray,
    beside: int,
    in_zone: bool,
) -> Stratum:
    middle = float(np.average(distance[first:last], weights=weights[first:last] + 1e-9))
    return Stratum(named, first, last, number, float(np.clip(share, *_SURE)), middle, beside, in_zone)
