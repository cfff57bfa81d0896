"""How far may a frequency be trusted? Sound, fragile or unsupported, with the reasons in words.

The limits were set on simulations of seeds 0 to 2 (`benchmarks/similarity_simulation.py`) and by the measurements named
beside them; what they are worth is reported on others. Not here: the estimates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .anchored import AnchoredFrequency
from .audit import AuditedFrequency

Level = Literal["sound", "fragile", "unsupported"]
LEVELS: tuple[Level, ...] = ("sound", "fragile", "unsupported")

# Purest rows that name the concept less often are impure or seldom named. In simulated captions that name what is
# prominent, intervals held the truth for .95 above and .6 to .8 below.
SOUND_RATE = 0.6
# Mentions beyond chance. Below the second the truth may be nothing; between the two, with as much chance in the whole
# corpus as truth, estimates were off by a factor of 3.
SOUND_EXCESS, LEAST_EXCESS = 30, 10
_HALF = 0.5
# Purest rows that name the concept more seldom than the first, and are more than the second of all rows, may all be
# look-alikes. Of what this found in worlds of other seeds than the reported ones, one in seven was within a factor of
# 2; where fewer rows name it as seldom, they are the tail of what is unlike, and nine in ten were.
_LOOK_ALIKE_RATE, _LOOK_ALIKE_SHARE = 0.2, 1 / 400
# Two estimates that differ by more than a factor of 2 cannot both be right.
_DISAGREEMENT = 0.3
# A count this near to the frequency was off by .05 (p90 .15), up to the second by .17, beyond it by over .5: log10.
_NEAR, _FAR = 0.1, 0.3
# An interval wider than this factor tells nothing.
_WIDEST = 16.0
# Of audits: fewer labels leave half the strata unseen; fewer that say yes leave the scale to the prior.
_FEWEST_LABELS, _FEWEST_TRUE = 30, 5
# Without captions nothing tells look-alikes and the tail from the concept below this share of rows.
LEAST_SHARE_WITHOUT_CAPTIONS = 1e-3


@dataclass(frozen=True)
class Grade:
    """How far a frequency may be trusted, and why no further.

    Attributes
    ----------
    level
        ``sound``, ``fragile`` or ``unsupported``.
    reasons
        Short phrases; none where it is sound.
    """

    level: Level
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.level + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


def grade_anchored(frequency: AnchoredFrequency, mentions: int, *, other: float | None = None) -> Grade:
    """Grade a frequency from captions.

    Parameters
    ----------
    frequency
        Of `anchored_frequencies`.
    mentions
        All rows of the corpus whose captions name the concept.
    other
        Another estimate of the same number that does not rest on captions, such as the count at a threshold that was
        learned on other concepts; None without one.

    Returns
    -------
    Grade
        Unsupported with fewer than 10 mentions beyond chance, fewer than 30 that are no more than half of all, purest
        rows that are many and seldom name it, or an interval wider than a factor of 16. Sound with at least 30 that are
        more than half of all, purest rows of which at least .6 name the concept, and no other estimate off by more than
        a factor of 2. Else fragile.
    """
    excess = frequency.excess.excess
    mostly_chance = excess <= _HALF * mentions
    if not mentions:
        return Grade("unsupported", ("no caption names it",))
    if excess < LEAST_EXCESS:
        return Grade("unsupported", (f"only {excess:.0f} mentions are more than chance",))
    if excess < SOUND_EXCESS and mostly_chance:
        return Grade("unsupported", (f"only {excess:.0f} of {mentions:,} mentions are more than chance",))
    if frequency.upper > _WIDEST * frequency.lower:
        return Grade("unsupported", ("its interval spans more than a factor of 16",))
    rate, share = (frequency.purest.rate, frequency.purest.share) if frequency.purest is not None else (0.0, 0.0)
    if rate < _LOOK_ALIKE_RATE and share > _LOOK_ALIKE_SHARE:
        reason = (
            f"only {rate:.0%} of the {share:.1%} of rows that are most similar name it: look-alikes may be all there is"
        )
        return Grade("unsupported", (reason,))
    reasons = []
    if excess < SOUND_EXCESS:
        reasons.append(f"only {excess:.0f} mentions are more than chance")
    elif mostly_chance:
        reasons.append("most mentions are chance")
    if rate < SOUND_RATE:
        reasons.append(f"only {rate:.0%} of its most similar rows name it: they are impure, or it is seldom named")
    if other is not None and _distance(other, frequency.estimate) > _DISAGREEMENT:
        reasons.append(f"another estimate says {other:,.0f}")
    return Grade("fragile" if reasons else "sound", tuple(reasons))


def grade_audited(audited: AuditedFrequency) -> Grade:
    """Grade a frequency from a two-way audit.

    Parameters
    ----------
    audited
        Of `audited_frequency`.

    Returns
    -------
    Grade
        Unsupported without a label, or where the interval spans more than a factor of 16. Sound with at least 30
        labels, 5 of them yes, when at least half of the estimate lies where labels can reach. Else fragile.
    """
    if not audited.labels:
        return Grade("unsupported", ("no label was given",))
    if audited.upper > _WIDEST * max(audited.lower, 1.0):
        return Grade("unsupported", ("its interval spans more than a factor of 16",))
    reasons = []
    if audited.labels < _FEWEST_LABELS:
        reasons.append(f"only {audited.labels} labels")
    if audited.true_labels < _FEWEST_TRUE and audited.upper > audited.true_labels:
        reasons.append(f"only {audited.true_labels} labels say yes")
    beside = float(np.median(audited.beside))
    if beside > _HALF * audited.estimate:
        reasons.append("more than half of it lies below what was audited")
    return Grade("fragile" if reasons else "sound", tuple(reasons))


def grade_count(count: int, frequency: AnchoredFrequency, grade: Grade) -> Grade:
    """Grade a raw count at a threshold by its distance from the frequency; never above the frequency's own grade.

    Parameters
    ----------
    count
        Rows at or above the threshold.
    frequency, grade
        From captions, and its grade.

    Returns
    -------
    Grade
        Sound within .1 in log10, fragile within .3, unsupported beyond.
    """
    distance = _distance(count, frequency.estimate)
    if distance < _NEAR:
        return grade
    direction = "as many hits as" if count > frequency.estimate else "fewer hits than"
    level: Level = "fragile" if distance <= _FAR else "unsupported"
    if LEVELS.index(grade.level) > LEVELS.index(level):
        level = grade.level
    return Grade(level, (f"{10**distance:.1f} times {direction} captions let expect", *grade.reasons))


def grade_without_captions(estimate: float, rows: int, *, labels: int = 0) -> Grade:
    """Grade an estimate that no caption supports: by a threshold, or by an audit of similarity alone.

    Parameters
    ----------
    estimate
        Rows that show the concept; nan where there is none.
    rows
        Of the corpus.
    labels
        How many it rests on.

    Returns
    -------
    Grade
        Unsupported below a thousandth of the rows; else fragile. Never sound: intervals of such audits are narrow and
        wrong where the concept is rare, since look-alikes bend the curve of truth over similarity.
    """
    if math.isnan(estimate) or estimate < LEAST_SHARE_WITHOUT_CAPTIONS * rows:
        return Grade("unsupported", ("without captions nothing under a thousandth of the rows can be told",))
    reason = "no captions: look-alikes may count, and the interval may be too narrow"
    if labels >= _FEWEST_LABELS:
        return Grade("fragile", (reason,))
    return Grade("fragile", (reason, f"only {labels} labels" if labels else "no labels"))


def _distance(one: float, other: float) -> float:
    """Give |log10((a + ½) / (b + ½))|."""
    return abs(math.log10((one + 0.5) / (other + 0.5)))
