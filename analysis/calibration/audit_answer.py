"""What an audit says so far: the frequency of each concept by its labels, and how narrow its interval is.

Not here: the audit's state (`audit_session.py`), the estimates (`audit.py`, `audit_by_similarity.py`).
"""

from __future__ import annotations

import math
from dataclasses import replace

from .audit_session import AuditedConcept
from .calibrating import CalibratedFrequency
from .grades import grade_audited, grade_without_captions

# An audit with fewer decided labels says nothing that captions do not.
FEWEST_LABELS = 10


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
