"""How an audit begins: which concepts are asked about, by captions or by similarity alone, and the first draw of rows.

Not here: the audit afterwards (`audit_session.py`), strata (`strata.py`), bands (`audit_by_similarity.py`).
"""

from __future__ import annotations

from tailwag.errors import BadInput
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...retrieval.concepts import ConceptSet
from ...retrieval.records.certificate import state_of
from .audit_by_similarity import lay_bands
from .audit_rows import draw_rows
from .audit_session import AuditedConcept, AuditSession, as_tuples, of_two_way
from .calibrating import Calibration
from .pooling import concepts_to_audit
from .strata import lay_strata

# Drawn from each stratum when an audit begins, so that hundreds of labels need no other pass over the corpus; where
# more are wanted, another pass draws twice as many.
DRAWN_OF_A_STRATUM = 400


def begin_session(
    corpus: Corpus,
    calibration: Calibration,
    concepts: ConceptSet,
    *,
    captions: bool = True,
    most: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> AuditSession:
    """Lay strata for each concept and draw from them, in one pass over the corpus.

    Parameters
    ----------
    corpus
        What is audited.
    calibration
        Its frequencies without labels.
    concepts
        Those of the calibration, with their synonyms.
    captions
        Whether captions guide the audit. Concepts that no caption names are audited by similarity alone, and with False
        all of them are.
    most
        How many concepts people are asked about, common and rare ones of those that captions name often enough; the
        others learn from them. None: all.
    seed
        Of the draws.
    progress
        Advanced by the rows that are done.

    Raises
    ------
    BadInput
        When the concepts are not those of the calibration, or the corpus has no rows.
    """
    if concepts.names != tuple(one.concept for one in calibration):
        raise BadInput("the concepts are not those that were calibrated, in their order")
    if not len(corpus):
        raise BadInput(f"corpus {corpus.name!r} has no rows: there is nothing to audit")
    every, named = calibration.rows_by_similarity, calibration.mentions_by_similarity
    picked = range(len(calibration)) if most is None else concepts_to_audit(calibration.anchored, most)
    laid = [
        ((lay_strata(rows, mentions, frequency) if captions else ()) or lay_bands(rows)) if place in picked else ()
        for place, (rows, mentions, frequency) in enumerate(zip(every, named, calibration.anchored, strict=True))
    ]
    vectors = calibration.prototypes.vectors
    by_similarity = [not any(stratum.named for stratum in strata) for strata in laid]
    mentions = of_two_way(calibration.mentions, by_similarity)
    drawn = draw_rows(corpus, vectors, laid, mentions, DRAWN_OF_A_STRATUM, seed=seed, progress=progress)
    audited = tuple(
        AuditedConcept(
            calibration[position],
            calibration.anchored[position].recall,
            vectors[position],
            concept.synonyms,
            every[position],
            named[position],
            laid[position],
            as_tuples(drawn[position]),
        )
        for position, concept in enumerate(concepts)
    )
    return AuditSession(corpus.name, corpus.version, state_of(corpus), corpus.space.fingerprint, seed, audited)
