"""What an audit says so far: each concept's frequency by its labels, or by what the labels of the others teach.

Not here: the audit's state (`audit_session.py`), the estimates (`audit.py`, `audit_by_similarity.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .anchored import AnchoredSettings, anchored_frequencies
from .audit_session import AuditedConcept, AuditSession
from .calibrating import CAPTIONS, CalibratedFrequency
from .grades import grade_anchored, grade_audited, grade_without_captions
from .pooling import pool_audits

# An audit with fewer decided labels says nothing that captions do not.
FEWEST_LABELS = 10
# One concept that is odd shall not move all the others.
FEWEST_POOLED = 3


@dataclass(frozen=True)
class AuditAnswer:
    """The frequencies of an audit's concepts as they stand.

    Attributes
    ----------
    frequencies
        One a concept, in the session's order.
    pooled
        The names of those that have too few labels of their own and were corrected by what the others' taught.
    audits
        How many concepts taught it; 0 where there are too few.
    factor, spread
        By what the frequencies from captions were multiplied, and the factor by which concepts differ about it: a
        standard deviation.
    """

    frequencies: tuple[CalibratedFrequency, ...]
    pooled: tuple[str, ...] = ()
    audits: int = 0
    factor: float = 1.0
    spread: float = 1.0


def answer_of(session: AuditSession) -> AuditAnswer:
    """Give the frequency of each concept: by its labels, else by captions as the others' audits correct them.

    Captions are corrected where at least three concepts have a two-way audit of ten labels; see `pool_audits`.
    """
    own = tuple(corrected(one) for one in session.concepts)
    audited = [place for place, one in enumerate(session.concepts) if _teaches(one)]
    learning = [
        place
        for place, one in enumerate(session.concepts)
        if one.decided < FEWEST_LABELS and one.before.method == CAPTIONS and one.before.mentions
    ]
    if len(audited) < FEWEST_POOLED:
        return AuditAnswer(own)
    rows = np.stack([one.rows_by_similarity for one in session.concepts])
    mentions = np.stack([one.mentions_by_similarity for one in session.concepts])
    usual = AnchoredSettings()
    alone = anchored_frequencies(rows, mentions, usual)
    settings = pool_audits([(alone[place], session.concepts[place].estimate()) for place in audited], usual)
    mended = anchored_frequencies(rows, mentions, settings)
    answered = list(own)
    for place in learning:
        one, before = mended[place], own[place]
        grade = grade_anchored(one, before.mentions)
        estimate, lower, upper = (min(value, before.rows) for value in (one.estimate, one.lower, one.upper))
        answered[place] = replace(
            before,
            estimate=estimate,
            lower=lower,
            upper=upper,
            method=f"captions, corrected by the audits of {len(audited)} other concepts",
            grade=grade.level,
            reasons=grade.reasons,
        )
    return AuditAnswer(
        tuple(answered),
        tuple(own[place].concept for place in learning),
        len(audited),
        math.exp(settings.correction),
        math.exp(settings.discrepancy),
    )


def _teaches(one: AuditedConcept) -> bool:
    """Whether its labels may say how far off captions are; by similarity alone they are not sure enough."""
    return bool(one.strata) and not one.by_similarity and one.decided >= FEWEST_LABELS


def corrected(one: AuditedConcept) -> CalibratedFrequency:
    """Give a concept's frequency: by labels where there are enough, else as it was without.

    The grade is that of `grade_audited`, or of `grade_without_captions` where similarity alone guided it. It is at
    best fragile where all labels say the same, since they do not tell where the concept ends, and where people could
    not tell of more than a fifth of the rows.
    """
    if one.decided < FEWEST_LABELS:
        return replace(one.before, labels=one.decided, unsure=one.unsure)
    audited = one.estimate()
    yes = sum(answer == "yes" for answer in one.answers.values())
    if one.by_similarity:
        grade = grade_without_captions(audited.estimate, one.before.rows, labels=one.decided)
    else:
        grade = grade_audited(audited)
    more = []
    if yes in (0, one.decided):
        more.append(f"all {one.decided} labels say {'yes' if yes else 'no'}")
    if one.unsure > one.decided / 4:
        more.append(f"of {one.unsure} rows people could not tell")
    return replace(
        one.before,
        estimate=audited.estimate,
        lower=audited.lower,
        upper=audited.upper,
        method=f"audit of {one.decided} labels" + (" by similarity alone" if one.by_similarity else ""),
        grade="fragile" if more and grade.level == "sound" else grade.level,
        reasons=(*grade.reasons, *more),
        labels=one.decided,
        unsure=one.unsure,
    )


def narrowness(lower: float, upper: float) -> float:
    """How wide is an interval? √(upper / lower) - 1: .2 where both ends are some 20 % from the middle.

    Half a row is added to either end, so that an interval from 0 has a width.
    """
    return math.sqrt((upper + 0.5) / (lower + 0.5)) - 1
