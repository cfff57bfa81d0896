"""Frequencies from labels: a Bayesian stratified estimate over what a two-way audit has seen so far.

Pure functions: which rows to label next, and what the labels say. Not here: the strata (`strata.py`), pictures and
sheets for people to fill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tailwag.errors import BadInput

from .anchored import Recall
from .strata import Stratum

# A stratum's prior weighs as much as this many labels.
_PRIOR_LABELS = 2.0
# What is expected of named rows, and of unnamed ones, may be off by this many logits throughout: a standard deviation.
_TILT = 1.0
# By how many logits recall falls with a standard deviation of similarity, from the audited zone to the rows below it.
_SLOPE, _SLOPE_DEVIATION, _LOWER_RECALL_DEVIATION = 0.3, 0.3, 0.3
_LOWEST = -2.5
_DRAWS = 4_000
_DRAWS_FOR_CHOICE = 500


@dataclass(frozen=True)
class Labelled:
    """How many rows of a stratum have a label, and how many of them show the concept."""

    rows: int = 0
    true: int = 0


@dataclass(frozen=True, eq=False)
class AuditedFrequency:
    """What strata and labels say of one concept's frequency.

    Attributes
    ----------
    estimate, lower, upper
        Rows that show the concept: median and central interval.
    labels
        How many there were.
    draws
        (D,) float64 of the posterior.
    shares
        (D, S) float64: the share of each stratum's rows that show the concept.
    beside
        (D,) float64: of the draws, unnamed rows below the zone, which no label can reach.
    """

    estimate: float
    lower: float
    upper: float
    labels: int
    draws: np.ndarray
    shares: np.ndarray
    beside: np.ndarray


def audited_frequency(
    strata: Sequence[Stratum],
    labels: Sequence[Labelled],
    recall: Recall,
    *,
    confidence: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 0,
) -> AuditedFrequency:
    """Estimate how many rows show a concept, from the labels of a two-way audit.

    Parameters
    ----------
    strata
        Of `lay_strata`.
    labels
        As many: what is known of each.
    recall
        What is known of naming without labels; it serves where no unnamed row was audited.
    confidence
        Of the interval.
    draws, seed
        Of the posterior.

    Raises
    ------
    BadInput
        When there is no stratum, or labels and strata do not fit.

    Notes
    -----
    In each stratum the share has a Beta prior of two labels' weight around what the histograms let expect; one normal
    tilt in logits for all named strata and one for all unnamed ones, weighted by the labels' likelihood, say how far
    that expectation was off. Rows without a label are drawn from the posterior, those with one are known. Unnamed rows
    below the zone are a Poisson number: the named ones there that show the concept, times the odds of not being named
    that the audit found in the zone, shifted by what recall loses with similarity.
    """
    _check(strata, labels)
    generator = np.random.default_rng(seed)
    named = np.array([one.named for one in strata])
    shares = np.empty((draws, len(strata)))
    for group in (named, ~named):
        if group.any():
            shares[:, group] = _draw_shares(
                [one for one, chosen in zip(strata, group, strict=True) if chosen],
                [one for one, chosen in zip(labels, group, strict=True) if chosen],
                draws,
                generator,
            )
    rows = np.array([one.rows for one in strata])
    seen, true = (np.array([getattr(one, field) for one in labels]) for field in ("rows", "true"))
    shown = true + generator.binomial(rows - seen, shares)
    in_zone = np.array([one.in_zone for one in strata])
    named_in_zone = shown[:, named & in_zone].sum(axis=1)
    unnamed = shown[:, ~named].sum(axis=1)
    named_below = shown[:, named & ~in_zone].sum(axis=1)
    beside = _beside(strata, recall, named_in_zone, unnamed, named_below, generator)
    total = (named_in_zone + unnamed + named_below + beside).astype(np.float64)
    tail = 50 * (1 - confidence)
    lower, estimate, upper = np.percentile(total, [tail, 50, 100 - tail])
    return AuditedFrequency(float(estimate), float(lower), float(upper), int(seen.sum()), total, shares, beside)


def next_labels(
    strata: Sequence[Stratum], labels: Sequence[Labelled], recall: Recall, number: int, *, seed: int = 0
) -> tuple[int, ...]:
    """Say from which strata the next labels should come, to narrow the interval most.

    Parameters
    ----------
    strata, labels, recall
        As for `audited_frequency`.
    number
        How many labels are wanted.

    Returns
    -------
    tuple[int, ...]
        How many from each stratum; fewer in all where there are no more rows.

    Notes
    -----
    Neyman's allocation (1934), one label at a time: each goes where N²p(1 - p)(1 / (n + 1) - 1 / (n + 2)) is greatest,
    with p the posterior mean. A stratum with fewer than two labels counts threefold. Named rows below the zone also
    weigh by the unnamed ones that they stand for.
    """
    known = audited_frequency(strata, labels, recall, draws=_DRAWS_FOR_CHOICE, seed=seed)
    rows = np.array([one.rows for one in strata], dtype=np.float64)
    share = known.shares.mean(axis=0)
    below = np.array([one.named and not one.in_zone for one in strata])
    stands_for = 1 + np.median(known.beside / ((known.shares * rows)[:, below].sum(axis=1) + 0.5))
    weights = rows**2 * share * (1 - share) * np.where(below, stands_for**2, 1.0)
    have = np.array([one.rows for one in labels])
    chosen = np.zeros(len(strata), dtype=int)
    for _ in range(number):
        together = have + chosen
        gain = weights * (1 / (together + 1) - 1 / (together + 2)) * np.where(together < 2, 3.0, 1.0)
        gain[together >= rows] = -1
        if gain.max() < 0:
            break
        chosen[int(np.argmax(gain))] += 1
    return tuple(map(int, chosen))


def _draw_shares(
    strata: Sequence[Stratum], labels: Sequence[Labelled], draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw (draws, S) shares from the posterior: Beta in each stratum, given a tilt that they have in common."""
    prior = special.logit(np.array([one.prior for one in strata]))
    centre = special.expit(prior + _TILT * generator.standard_normal((draws, 1)))
    for_it, against = _PRIOR_LABELS * centre, _PRIOR_LABELS * (1 - centre)
    yes = np.array([one.true for one in labels])
    no = np.array([one.rows for one in labels]) - yes
    likelihood = (special.betaln(for_it + yes, against + no) - special.betaln(for_it, against)).sum(axis=1)
    weights = np.exp(likelihood - special.logsumexp(likelihood))
    kept = generator.choice(draws, draws, p=weights / weights.sum())
    return generator.beta(np.maximum(for_it[kept] + yes, 1e-3), np.maximum(against[kept] + no, 1e-3))


def _beside(
    strata: Sequence[Stratum],
    recall: Recall,
    named_in_zone: np.ndarray,
    unnamed: np.ndarray,
    named_below: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw the number of unnamed rows below the zone that show the concept."""
    draws = len(unnamed)
    zone = [one for one in strata if one.named and one.in_zone]
    below = [one for one in strata if one.named and not one.in_zone]
    at = np.average([one.distance for one in zone], weights=[one.rows for one in zone]) if zone else 0.0
    down = np.average([one.distance for one in below], weights=[one.rows for one in below]) if below else at
    slope = generator.normal(_SLOPE, _SLOPE_DEVIATION, draws)
    if any(not one.named for one in strata):
        odds = np.log((unnamed + 0.5) / (named_in_zone + 0.5))
    else:
        odds = -generator.normal(recall.logit, recall.deviation, draws) - slope * at
    odds = odds + slope * (at - max(down, _LOWEST)) + _LOWER_RECALL_DEVIATION * generator.standard_normal(draws)
    return generator.poisson(generator.gamma(named_below + 0.5) * np.exp(np.clip(odds, -12, 12)))


def _check(strata: Sequence[Stratum], labels: Sequence[Labelled]) -> None:
    if not strata:
        raise BadInput("nothing names the concept: captions cannot guide an audit; give it synonyms")
    if len(strata) != len(labels):
        raise BadInput(f"{len(labels)} counts of labels do not fit {len(strata)} strata")
    for stratum, known in zip(strata, labels, strict=True):
        if not 0 <= known.true <= known.rows <= stratum.rows:
            raise BadInput(f"{known.true} of {known.rows} labels cannot come from a stratum of {stratum.rows} rows")
