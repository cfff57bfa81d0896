"""What the audits of some concepts teach about the others of a corpus, and which concepts to audit for that.

Not here: the audits (`audit.py`), the frequencies that take the correction (`anchored.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tailwag.errors import BadInput

from .anchored import AnchoredFrequency, AnchoredSettings
from .audit import AuditedFrequency

# How far off captions may be in a corpus as a whole, and how many concepts the usual discrepancy weighs as much as.
_CORPUS_DEVIATION = 0.3
_CONCEPTS_OF_PRIOR = 4
# Concepts that are worth an audit for the others' sake have so many mentions beyond chance.
_FEWEST_MENTIONS = 30
# However well audited concepts agree, another may differ.
_LEAST_DISCREPANCY = 0.15


def concepts_to_audit(frequencies: Sequence[AnchoredFrequency], number: int) -> tuple[int, ...]:
    """Choose which concepts to audit so that they teach most about the others: as many common ones as rare ones.

    Parameters
    ----------
    frequencies
        Of all concepts, from captions.
    number
        How many shall be audited.

    Returns
    -------
    tuple[int, ...]
        Their positions, ascending: evenly spaced in the order of their mentions beyond chance, among those that have 30
        or more, or among all where those are too few.
    """
    excess = np.array([one.excess.excess for one in frequencies])
    order = np.argsort(-excess, kind="stable")
    often = int((excess >= _FEWEST_MENTIONS).sum())
    among = order[: often if often >= number else len(order)]
    return tuple(sorted(set(among[np.linspace(0, len(among) - 1, min(number, len(among))).astype(int)].tolist())))


def pool_audits(
    audited: Sequence[tuple[AnchoredFrequency, AuditedFrequency]], settings: AnchoredSettings | None = None
) -> AnchoredSettings:
    """Learn from audited concepts what captions get wrong in a corpus, for the concepts without labels.

    Parameters
    ----------
    audited
        Of each concept that has labels: its frequency from captions, under the same settings, and that from its audit.
        Concepts without an excess of mentions teach nothing and are left out.
    settings
        Those that the frequencies were made with.

    Returns
    -------
    AnchoredSettings
        For `anchored_frequencies`, with the correction and the discrepancy that the audits showed. Without a concept to
        learn from, the settings as they were.

    Raises
    ------
    BadInput
        When an audit has no label: it would repeat what captions say.

    Notes
    -----
    How naming depends on prominence, how seldom captions name at all, how many look-alikes they name: of a corpus all
    of it shows as one factor between audits and captions. Its logarithms y, with the audits' variances v, follow a
    random-effects model y ~ N(c, v + d²). d² is the method-of-moments value, with the usual discrepancy weighing as
    much as four concepts; c has the prior N(0, .3²) (Gelman et al., Bayesian Data Analysis, ch. 5).

    Correction factors of thresholded counts cannot be pooled like this: they differ too much from concept to concept.
    """
    settings = settings or AnchoredSettings()
    logarithms, variances = [], []
    for captions, audit in audited:
        if not audit.labels:
            raise BadInput("an audit without a label cannot teach what captions get wrong")
        if captions.excess.excess > 0:
            ratios = np.log((audit.draws + 0.5) / (captions.estimate + 0.5))
            logarithms.append(ratios.mean())
            variances.append(ratios.var())
    if not logarithms:
        return settings
    ratios, variances = np.array(logarithms), np.array(variances)
    usual = settings.discrepancy**2
    spread, shift = usual, 0.0
    for _ in range(20):
        weights = 1 / (variances + spread)
        shift = (weights * ratios).sum() / (weights.sum() + _CORPUS_DEVIATION**-2)
        seen = np.maximum((ratios - shift) ** 2 - variances, 0.0).sum()
        spread = (seen + _CONCEPTS_OF_PRIOR * usual) / (len(ratios) + _CONCEPTS_OF_PRIOR)
    remaining = 1 / ((1 / (variances + spread)).sum() + _CORPUS_DEVIATION**-2)
    return replace(
        settings,
        correction=settings.correction + float(shift),
        discrepancy=max(float(np.sqrt(spread + remaining)), _LEAST_DISCREPANCY),
    )
