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
_PRIOR_LABELS = 1.0
# It weighs more where little is expected: below half a true row Beta priors let a few labels that say no speak for
# thousands of rows.
_LEAST_PRIOR_TRUE = 0.5
# What is expected of named rows, and of unnamed ones, may be off by this many logits throughout: a standard deviation.
_TILT = 1.5
# Recall rises by this many logits with a standard deviation of similarity, before any label: between captions that name
# at random (0) and photographs with human captions (0.4 to 0.6). From band to band it also departs from a line.
_SLOPE, _SLOPE_DEVIATION, _DEPARTURE = 0.2, 0.3, 0.25
# What captions alone said of recall is believed to this many logits at best; to the second where the concept's own rows
# had no say.
_RECALL_DEVIATION, _OTHERS_RECALL_DEVIATION = 0.5, 1.2
_LOWEST = -2.5
# How far below the zone an unnamed row lies that shows the concept: a Lomax law of its rank. Over simulated concepts
# the exponent was 1.5 to 2 in corpora of some thousand rows, 1 to .5 for one row in 10,000 to 100,000 of millions.
_DESCENT, _DESCENT_DEVIATION = np.log(0.85), 0.6
_LEAST_SCALE = 8
# An audit that stops when its interval is narrow looks again and again; with fewer labels a lucky draw could end it.
FEWEST_TO_STOP = 30
# However much is expected below the zone, no band of it is surely all true.
_MOST_BELOW = 0.9
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
    labels, true_labels
        How many there were, and how many of them say yes.
    draws
        (D,) float64 of the posterior.
    shares
        (D, S) float64: the share of each stratum's rows that show the concept.
    beside
        (D,) float64: of the draws, unnamed rows below the zone that have no label.
    """

    estimate: float
    lower: float
    upper: float
    labels: int
    true_labels: int
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
    In each stratum the share has a Beta prior around what the histograms let expect, weak, but never so low that a few
    labels could rule out what many rows hold; one normal tilt in logits for all named strata and one for all unnamed
    ones, weighted by the labels' likelihood, say how far that expectation was off. Rows without a label are drawn from
    the posterior, those with one are known.

    How many unnamed rows below the zone show it is expected from the named ones there that do, times the odds of not
    being named. The log odds follow a line over similarity, fitted draw by draw to what the audit found in the zone,
    with the recall of captions alone and the usual prominence as its priors, and depart from it a little; half a named
    row is expected where there is none, so that no interval closes on rows that nobody looked at. Over ranks they are
    spread by a Lomax law (Pareto's second kind) with an exponent that is drawn, and each band there is a stratum like
    the others: its labels also weigh the number and the exponent.
    """
    if not strata:
        raise BadInput("nothing names the concept: captions cannot guide an audit; give it synonyms")
    check_labels(strata, labels)
    generator = np.random.default_rng(seed)
    named = np.array([one.named for one in strata])
    rest = np.array([not one.named and not one.in_zone for one in strata])
    shares = np.zeros((draws, len(strata)))
    for group in (named, ~named & ~rest):
        if group.any():
            centre = _tilted([one for one, chosen in zip(strata, group, strict=True) if chosen], draws, generator)
            own = [one for one, chosen in zip(labels, group, strict=True) if chosen]
            shares[:, group] = _draw_shares(centre, own, generator)[0]
    rows = np.array([one.rows for one in strata])
    seen, true = (np.array([getattr(one, field) for one in labels]) for field in ("rows", "true"))
    shown = true + generator.binomial(rows - seen, shares)
    if rest.any():
        hidden = _hidden(strata, recall, shares, shown, generator)
        centre = _descend([one for one, chosen in zip(strata, rest, strict=True) if chosen], hidden, generator)
        own = [one for one, chosen in zip(labels, rest, strict=True) if chosen]
        below, kept = _draw_shares(centre, own, generator)
        # What was found below the zone also says how much is named there, and how often.
        shares, shown = shares[kept], shown[kept]
        shares[:, rest] = below
        shown[:, rest] = true[rest] + generator.binomial((rows - seen)[rest], below)
    beside = (shown - true)[:, rest].sum(axis=1).astype(np.float64)
    total = shown.sum(axis=1).astype(np.float64)
    tail = 50 * (1 - confidence)
    lower, estimate, upper = np.percentile(total, [tail, 50, 100 - tail])
    return AuditedFrequency(
        float(estimate), float(lower), float(upper), int(seen.sum()), int(true.sum()), total, shares, beside
    )


def is_narrow_enough(audited: AuditedFrequency, factor: float) -> bool:
    """May the audit stop: is the upper end of the interval at most so many times the lower?

    Parameters
    ----------
    audited
        What is known after a round of labels.
    factor
        The width that is asked for, above 1.

    Raises
    ------
    BadInput
        For a factor that no interval can reach.

    Notes
    -----
    Looking after each round costs a posterior nothing as long as its prior is right; that it is right enough is
    simulated in the tests, with at least 30 labels before the first stop.
    """
    if not factor > 1:
        raise BadInput(f"an interval cannot be narrower than a factor of {factor:g}: ask for more than 1")
    return audited.labels >= FEWEST_TO_STOP and 0 < audited.upper <= factor * audited.lower


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
    weigh by the unnamed ones that they stand for. In bands of unnamed rows below it the prior's own weight takes the
    place of the one, so that labels go there only where they can still change something.
    """
    known = audited_frequency(strata, labels, recall, draws=_DRAWS_FOR_CHOICE, seed=seed)
    rows = np.array([one.rows for one in strata], dtype=np.float64)
    share = known.shares.mean(axis=0)
    below = np.array([one.named and not one.in_zone for one in strata])
    stands_for = 1 + np.median(known.beside / ((known.shares * rows)[:, below].sum(axis=1) + 0.5))
    weights = rows**2 * share * (1 - share) * np.where(below, stands_for**2, 1.0)
    have = np.array([one.rows for one in labels])
    closed = np.array([not one.in_reach for one in strata])
    rest = np.array([not one.named and not one.in_zone for one in strata])
    before = np.where(rest, np.maximum(_PRIOR_LABELS, _LEAST_PRIOR_TRUE / np.maximum(share, 1e-12)), _PRIOR_LABELS)
    chosen = np.zeros(len(strata), dtype=int)
    for _ in range(number):
        together = have + chosen
        gain = weights * (1 / (together + before) - 1 / (together + before + 1))
        gain *= np.where((together < 2) & ~rest, 3.0, 1.0)
        gain[(together >= rows) | closed] = -1
        if gain.max() < 0:
            break
        chosen[int(np.argmax(gain))] += 1
    return tuple(map(int, chosen))


def _tilted(strata: Sequence[Stratum], draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw (draws, S) shares that are expected: the strata's own, off by a tilt in logits that they have in common."""
    prior = special.logit(np.array([one.prior for one in strata]))
    return special.expit(prior + _TILT * generator.standard_normal((draws, 1)))


def _draw_shares(
    centre: np.ndarray, labels: Sequence[Labelled], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw (D, S) shares from the posterior: Beta about (D, S) expected ones that labels weigh, and which were kept."""
    weight = np.maximum(_PRIOR_LABELS, _LEAST_PRIOR_TRUE / centre)
    for_it, against = weight * centre, weight * (1 - centre)
    yes = np.array([one.true for one in labels])
    no = np.array([one.rows for one in labels]) - yes
    likelihood = (special.betaln(for_it + yes, against + no) - special.betaln(for_it, against)).sum(axis=1)
    weights = np.exp(likelihood - special.logsumexp(likelihood))
    kept = generator.choice(len(centre), len(centre), p=weights / weights.sum())
    drawn = generator.beta(np.maximum(for_it[kept] + yes, 1e-3), np.maximum(against[kept] + no, 1e-3))
    return drawn, kept


def _descend(strata: Sequence[Stratum], hidden: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw (D, S) expected shares of bands below the zone, from (D,) numbers of rows in all of them.

    The share of them above rank a below the zone's top is 1 - (1 + a / s)^-α, with s the unnamed rows of the zone.
    """
    above = np.array([one.above for one in strata], dtype=np.float64)
    rows = np.array([one.rows for one in strata], dtype=np.float64)
    exponent = np.exp(_DESCENT + _DESCENT_DEVIATION * generator.standard_normal((len(hidden), 1)))
    scale = max(above[0], _LEAST_SCALE)
    down = 1 + (above - above[0]) / scale
    end = 1 + (above[-1] + rows[-1] - above[0]) / scale
    left = np.append(down, end) ** -exponent
    parts = (left[:, :-1] - left[:, 1:]) / (left[:, :1] - left[:, -1:])
    return np.clip(hidden[:, None] * parts / rows, 1e-12, _MOST_BELOW)


def _hidden(
    strata: Sequence[Stratum],
    recall: Recall,
    shares: np.ndarray,
    shown: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw how many unnamed rows below the zone are expected to show the concept, before any label there."""
    draws = len(shares)
    distance = np.clip([one.distance for one in strata], _LOWEST, None)
    zone = np.array([one.named and one.in_zone for one in strata])
    unnamed = np.array([not one.named and one.in_zone for one in strata])
    rest = np.array([not one.named and not one.in_zone for one in strata])
    below = np.array([one.named and not one.in_zone for one in strata])
    line = np.tile([-recall.logit, -_SLOPE], (draws, 1))
    unsure = _RECALL_DEVIATION if recall.own else _OTHERS_RECALL_DEVIATION
    spread = np.diag([recall.deviation**2 + unsure**2, _SLOPE_DEVIATION**2])
    if unnamed.any() and zone.any():
        named = np.array([one.mentions for one in strata])[unnamed] * (
            shares[:, zone] @ _interpolation(distance[zone], distance[unnamed])
        )
        odds = np.log(shown[:, unnamed] + 0.5) - np.log(named + 0.5)
        # Even a count that is known is one draw from the odds that made it.
        chance = 1 / (shown[:, unnamed].mean(axis=0) + 0.5) + 1 / (named.mean(axis=0) + 0.5)
        line, spread = _fit_line(distance[unnamed], odds, chance + _DEPARTURE**2, line[0], spread)
    root = np.linalg.cholesky(spread)
    line = line + generator.standard_normal((draws, 2)) @ root.T
    # Where nothing below the zone is named, half a named row is expected there all the same.
    where, stands = (distance[below], shown[:, below]) if below.any() else (distance[rest][:1], np.zeros((draws, 1)))
    odds = line[:, :1] + line[:, 1:] * where + _DEPARTURE * generator.standard_normal((draws, 1))
    return (generator.gamma(stands + 0.5) * np.exp(np.clip(odds, -12, 12))).sum(axis=1)


def _fit_line(
    distance: np.ndarray, odds: np.ndarray, departures: np.ndarray, prior: np.ndarray, prior_covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a line to log odds over distance, draw by draw: (D, 2) lines, and the covariance that draws do not have.

    With X = (1, distance), V the variance of the odds over draws, T that of the departures, W = (V + T)⁻¹, P the
    prior's precision, the posterior is C = (X'WX + P)⁻¹. Lines C (X'W odds + P prior) vary by C X'WVWX C over draws;
    C X'WTWX C + C P C is left.
    """
    design = np.stack([np.ones_like(distance), distance], axis=1)
    weights = 1 / (odds.var(axis=0) + departures)
    precision = np.linalg.inv(prior_covariance)
    covariance = np.linalg.inv((design.T * weights) @ design + precision)
    lines = (odds * weights @ design + precision @ prior) @ covariance
    left = (design.T * weights**2 * departures) @ design + precision
    return lines, covariance @ left @ covariance


def _interpolation(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Give (K, W) weights that interpolate values known at some distances to others, constant beyond the ends."""
    order = np.argsort(known)
    unit = np.eye(len(known))
    return np.stack([np.interp(wanted, known[order], unit[one][order]) for one in range(len(known))])


def check_labels(strata: Sequence[Stratum], labels: Sequence[Labelled]) -> None:
    """Refuse labels that cannot be those of the strata: another number, or more than there are rows.

    Raises
    ------
    BadInput
        Naming what does not fit.
    """
    if len(strata) != len(labels):
        raise BadInput(f"{len(labels)} counts of labels do not fit {len(strata)} strata")
    for stratum, known in zip(strata, labels, strict=True):
        if not 0 <= known.true <= known.rows <= stratum.rows:
            raise BadInput(f"{known.true} of {known.rows} labels cannot come from a stratum of {stratum.rows} rows")
