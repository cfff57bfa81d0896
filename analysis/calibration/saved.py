"""Frequencies that are kept: saved for a corpus as it is, and carried to another corpus when that is asked for by name.

A saved frequency holds for the rows, the space and the prototype that it was made with; nothing uses it elsewhere by
itself. Not here: the table (`retrieval/records`), finding what is saved (`saved_frequencies.py` there).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tailwag.errors import BadInput, NotFound, SpaceMismatch
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...retrieval.centring import making_of
from ...retrieval.counting import CountQuery, count
from ...retrieval.prototypes import PrototypeSet
from ...retrieval.records import Certificate, save_counts
from ...retrieval.records.saved_counts import Estimates
from ...retrieval.records.saved_frequencies import SavedFrequency, find_frequencies
from .calibrating import CalibratedFrequencies, CalibratedFrequency, sensitivity

# A threshold learned elsewhere is off by this much more, in natural logarithms of the frequency: a standard deviation.
# On photographs thresholds learned on other pictures were off by .15 to .2 decades in the median.
_CARRIED_DEVIATION = 0.5
_NORMAL_95 = 1.96


def save_frequencies(
    corpus: Corpus,
    frequencies: CalibratedFrequencies,
    prototypes: PrototypeSet,
    *,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Certificate:
    """Keep frequencies in the corpus's database, each with the exact count at its threshold, which is counted again.

    Parameters
    ----------
    corpus
        What was calibrated, at the version that was.
    frequencies
        C of them; those without an estimate are kept as plain counts.
    prototypes
        Theirs, in their order.
    backend, progress
        As for `count`.

    Returns
    -------
    Certificate
        Of the counts, under the run's name.

    Raises
    ------
    BadInput
        When the prototypes are not those of the frequencies, or the corpus has another version than they.
    """
    if prototypes.names != tuple(one.concept for one in frequencies):
        raise BadInput("the prototypes are not those of the frequencies, in their order")
    other = [one for one in frequencies if (one.corpus, one.corpus_version) != (corpus.name, corpus.version)]
    if other:
        raise BadInput(
            f"the frequency of {other[0].concept!r} is of corpus {other[0].corpus!r} at version "
            f"{other[0].corpus_version}, not of {corpus.name!r} at {corpus.version}: calibrate this one"
        )
    thresholds = np.array([[one.threshold] for one in frequencies])
    sources = [one.threshold_source for one in frequencies]
    query = CountQuery(prototypes, thresholds, "image", sources, histogram=True, partials=True)
    result = count(corpus, query, backend, progress)
    estimate, lower, upper = (
        np.array([[getattr(one, name)] for one in frequencies]) for name in ("estimate", "lower", "upper")
    )
    methods = [[one.method if one.is_known else None] for one in frequencies]
    grades = [[one.grade if one.is_known else None] for one in frequencies]
    estimates = Estimates(estimate, lower, upper, methods, grades)
    return save_counts(corpus, query, result, estimates=estimates)


def transfer_frequencies(
    source: Corpus,
    corpus: Corpus,
    prototypes: PrototypeSet,
    *,
    backend: str = "auto",
    progress: Progress | None = None,
) -> tuple[CalibratedFrequencies, tuple[str, ...]]:
    """Carry saved frequencies to another corpus, or another version: counted there at the same thresholds.

    Parameters
    ----------
    source
        The corpus whose calibration is carried, at its version.
    corpus
        To which.
    prototypes
        C of the concepts, made as those of the calibration were.
    backend, progress
        As for `count`.

    Returns
    -------
    tuple[CalibratedFrequencies, tuple[str, ...]]
        The frequencies, and the concepts of which the source has none.

    Raises
    ------
    SpaceMismatch
        When the two corpora are of different spaces: a similarity of one means nothing in the other.
    NotFound
        When the source has a frequency of none of the concepts.
    BadInput
        When a prototype was made in another way than the calibration's.

    Notes
    -----
    estimate = count here × (estimate / count) there. That supposes that as many hits are false here as there, which
    nothing here can show: a carried frequency is at best fragile, and its interval is widened by a factor of exp(±.5)
    as a standard deviation.
    """
    if source.space.fingerprint != corpus.space.fingerprint:
        raise SpaceMismatch(
            f"corpus {source.name!r} holds {source.space.title} (space {source.space.fingerprint}), corpus "
            f"{corpus.name!r} {corpus.space.title} ({corpus.space.fingerprint}): a calibration holds in its own space"
        )
    saved = find_frequencies(source, prototypes.names).current
    if not saved:
        raise NotFound(
            f"no frequency of these concepts is saved for corpus {source.name!r} at version {source.version}: "
            f"tailwag calibrate {source.name} … --save"
        )
    known = prototypes.select([name for name in prototypes.names if name in saved])
    for name, recipe in zip(known.names, known.recipes, strict=True):
        if making_of(saved[name].recipe) != making_of(recipe):
            raise BadInput(
                f"{name!r} was calibrated as {saved[name].recipe}, and is asked for as {recipe}: ask in the same way"
            )
    thresholds = np.array([[saved[name].threshold] for name in known.names])
    query = CountQuery(known, thresholds, "image", f"corpus {source.name}, version {source.version}", histogram=True)
    result = count(corpus, query, backend, progress)
    assert result.histogram is not None  # it was asked for
    carried = tuple(
        _carry(saved[one.concept], one.count, one.rows, result.histogram[position], corpus, source)
        for position, one in enumerate(result)
    )
    return CalibratedFrequencies(corpus.space, carried), tuple(n for n in prototypes.names if n not in saved)


def _carry(
    saved: SavedFrequency, number: int, rows: int, histogram: np.ndarray, corpus: Corpus, source: Corpus
) -> CalibratedFrequency:
    where = f"corpus {source.name!r} at version {source.version}"
    blank = CalibratedFrequency(
        concept=saved.concept,
        recipe=saved.recipe,
        estimate=math.nan,
        lower=math.nan,
        upper=math.nan,
        method=f"transfer from {where}",
        grade="unsupported",
        reasons=(f"nothing is above its threshold in {where}",),
        rows=rows,
        corpus=corpus.name,
        corpus_version=corpus.version,
        mentions=0,
        excess=0.0,
        recall=math.nan,
        own_recall=False,
        threshold=saved.threshold,
        threshold_source=f"corpus {source.name}, version {source.version}",
        count=number,
        sensitivity=sensitivity(histogram, saved.threshold),
    )
    if not saved.count or not saved.estimate > 0:
        return blank
    estimate = min(number * saved.estimate / saved.count, rows)
    spread = math.log((saved.upper + 0.5) / (saved.lower + 0.5)) / (2 * _NORMAL_95)
    factor = math.exp(_NORMAL_95 * math.hypot(spread, _CARRIED_DEVIATION, 1 / math.sqrt(number + 1)))
    reasons = (f"threshold and correction are of {where}",)
    return replace(
        blank,
        estimate=estimate,
        lower=max((estimate + 0.5) / factor - 0.5, 0.0),
        upper=min((estimate + 0.5) * factor - 0.5, rows),
        grade="unsupported" if saved.grade == "unsupported" else "fragile",
        reasons=reasons,
    )
