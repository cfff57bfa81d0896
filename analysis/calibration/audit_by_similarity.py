"""Frequencies from labels without captions: bands of similarity, and a curve of truth over them.

The second best: where captions name the concept a two-way audit (`audit.py`) needs a third of the labels, and its
intervals hold; these are too narrow where a concept is rare or has look-alikes. Pure functions on histograms. Not here:
which grade such an estimate gets (`grades.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from tailwag.errors import BadInput

from .audit import AuditedFrequency, Labelled, check_labels
from .excess import from_the_top
from .strata import Stratum

# From the top each band holds as many rows as all above it, from this share of the corpus on.
_FIRST_SHARE = 2e-6
_FEWEST_ROWS = 8
# The similarity at which half the rows show the concept, in standard deviations of all: anywhere from here, where most
# rows show it, to one above the most similar band. There the log odds rise by e^N(log 1.8, .5²) with a standard
# deviation: true CLIP's tail has e per .85, and images that show a concept are fewer farther down.
_LOWEST_MIDDLE = -1.0
_STEEPNESS, _STEEPNESS_DEVIATION = np.log(1.8), 0.5
# Below the middle they also fall by a square: those of a normal with a standard deviation of 1.6, less a straight tail.
_BEND, _BEND_DEVIATION = 0.2, 0.5
# A band departs from the curve as though the curve were this many labels, and at least that many of them yes: where
# little is expected it is off by a factor, not all or nothing.
_CURVE_LABELS, _CURVE_TRUE = 6.0, 2.0
_PRIOR_DRAWS = 6_000
_DRAWS = 4_000
_DRAWS_FOR_CHOICE = 1_000


def lay_bands(rows: np.ndarray) -> tuple[Stratum, ...]:
    """Cut a concept's rows into bands of similarity, from the most similar down, each about as large as all above it.

    Parameters
    ----------
    rows
        (BINS,) int64: all rows by similarity.

    Returns
    -------
    tuple[Stratum, ...]
        About nineteen in a corpus of millions, none empty; together all rows, so that no interval closes on rows that
        nobody looked at. Their distance is that from the median, in robust standard deviations (median less 16th
        percentile).
    """
    total = int(rows.sum())
    if not total:
        return ()
    below = np.cumsum(rows)
    bins = np.arange(len(rows))
    median, low = (int(np.searchsorted(below, total * share)) for share in (0.5, 0.16))
    distance = (bins - median) / max(median - low, 1)
    above = from_the_top(rows)
    bands, last, wanted = [], len(rows), max(total * _FIRST_SHARE, _FEWEST_ROWS)
    while True:
        first = int(np.flatnonzero(above >= min(wanted, total))[-1])
        if first < last:
            middle = float(np.average(distance[first:last], weights=rows[first:last]))
            bands.append(Stratum(False, first, last, int(rows[first:last].sum()), 0.5, middle, 0, True))
            last = first
        if wanted >= total:
            break
        wanted *= 2
    return tuple(bands)


def frequency_by_similarity(
    bands: Sequence[Stratum],
    labels: Sequence[Labelled],
    *,
    confidence: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 0,
) -> AuditedFrequency:
    """Estimate how many rows show a concept, from labels of bands of similarity.

    Parameters
    ----------
    bands
        Of `lay_bands`.
    labels
        As many: what is known of each.
    confidence
        Of the interval.
    draws, seed
        Of the posterior.

    Raises
    ------
    BadInput
        When there is no band, or labels and bands do not fit.

    Notes
    -----
    The log odds of truth rise with similarity, in a line above where they are even (Platt 1999) and bent below; each
    band's share is Beta about that, as sure as six labels, or two that say yes. Curves are drawn from a prior and
    weighted by the labels' beta-binomial likelihood, shares from their posterior given a curve. Rows without a label
    are drawn, those with one are known.
    """
    if not bands:
        raise BadInput("a corpus without rows has nothing to audit")
    check_labels(bands, labels)
    generator = np.random.default_rng(seed)
    distance, rows = np.array([one.distance for one in bands]), np.array([one.rows for one in bands])
    seen, true = (np.array([getattr(one, field) for one in labels]) for field in ("rows", "true"))
    middle = generator.uniform(_LOWEST_MIDDLE, max(distance.max(), _LOWEST_MIDDLE) + 1, (_PRIOR_DRAWS, 1))
    steepness = np.exp(_STEEPNESS + _STEEPNESS_DEVIATION * generator.standard_normal((_PRIOR_DRAWS, 1)))
    bend = _BEND * np.exp(_BEND_DEVIATION * generator.standard_normal((_PRIOR_DRAWS, 1)))
    odds = steepness * (distance - middle) - bend * np.minimum(distance - middle, 0.0) ** 2
    curve = np.clip(special.expit(odds), 1e-9, 1 - 1e-9)
    weight = np.maximum(_CURVE_LABELS, _CURVE_TRUE / curve)
    yes, no = weight * curve, weight * (1 - curve)
    likelihood = (special.betaln(yes + true, no + seen - true) - special.betaln(yes, no)).sum(axis=1)
    weights = np.exp(likelihood - likelihood.max())
    kept = generator.choice(_PRIOR_DRAWS, draws, p=weights / weights.sum())
    shares = generator.beta(np.maximum(yes[kept] + true, 1e-3), np.maximum(no[kept] + seen - true, 1e-3))
    total = (true + generator.binomial(rows - seen, shares)).sum(axis=1).astype(np.float64)
    tail = 50 * (1 - confidence)
    lower, estimate, upper = np.percentile(total, [tail, 50, 100 - tail])
    return AuditedFrequency(
        float(estimate),
        float(lower),
        float(upper),
        int(seen.sum()),
        int(true.sum()),
        total,
        shares,
        np.zeros(draws),
    )


def next_labels_by_similarity(
    bands: Sequence[Stratum], labels: Sequence[Labelled], number: int, *, seed: int = 0
) -> tuple[int, ...]:
    """Say from which bands the next labels should come, to narrow the interval most.

    Parameters
    ----------
    bands, labels
        As for `frequency_by_similarity`.
    number
        How many labels are wanted.

    Returns
    -------
    tuple[int, ...]
        How many from each band; fewer in all where there are no more rows.

    Notes
    -----
    With T the logarithm of the frequency and p a band's share, k labels of it take Cov(T, p)² / (Var p + E p(1 - p)/k)
    off the variance of T, to first order (Raiffa and Schlaifer 1961): each label goes where it takes most.
    """
    known = frequency_by_similarity(bands, labels, draws=_DRAWS_FOR_CHOICE, seed=seed)
    logarithm = np.log(known.draws + 0.5)
    centred = known.shares - known.shares.mean(axis=0)
    together = ((logarithm - logarithm.mean())[:, None] * centred).mean(axis=0) ** 2
    variance, chance = known.shares.var(axis=0) + 1e-15, (known.shares * (1 - known.shares)).mean(axis=0) + 1e-15
    left = np.array([one.rows for one in bands]) - np.array([one.rows for one in labels])
    chosen = np.zeros(len(bands), dtype=int)
    for _ in range(number):
        taken, more = (together / (variance + chance / np.maximum(k, 1e-9)) for k in (chosen, chosen + 1))
        gain = np.where(chosen < left, more - taken, -1.0)
        if gain.max() < 0:
            break
        chosen[int(np.argmax(gain))] += 1
    return tuple(map(int, chosen))
