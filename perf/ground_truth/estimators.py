"""Every estimator that is compared, behind one protocol: from the threshold that nobody has to audits of 200 labels.

Not here: how they work (`tailwag.analysis.calibration`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.audit import Labelled, audited_frequency, next_labels
from tailwag.analysis.calibration.strata import lay_strata
from tailwag.retrieval.counting.bins import counts_at_edges

from .grading import grades_of
from .protocol import Answers, Estimator, Observed, Oracle

AUDITS = (30, 60, 200)
# Labels are asked for in sheets of this many.
_SHEET = 15
# Photographs' captions name .65 of what they show: the study's constant.
_USUAL_RECALL = 0.65

IN_HINDSIGHT = "best threshold in hindsight"
IN_HINDSIGHT_BY_DECADE = "best threshold in hindsight, another for each decade"
ELSEWHERE = "threshold from elsewhere"
FROM_OTHERS = "threshold from the other concepts"
MENTIONS = "mentions"
PLAIN_CAPTIONS = "mentions beyond chance / .65"
ANCHORED = "anchored"
AUDIT = "two-way audit"


def best_edge(rows: np.ndarray, truth: np.ndarray) -> int:
    """At which edge is the median |log10 error| of the raw counts least?

    Parameters
    ----------
    rows
        (C, BINS) int64.
    truth
        (C,) int64.
    """
    errors = np.abs(np.log10((counts_at_edges(rows) + 0.5) / (truth[:, None] + 0.5)))
    # Of edges with the same median the one with the lesser mean.
    return int(np.lexsort((errors.mean(axis=0), np.median(errors, axis=0)))[0])


class BestInHindsight:
    """The one threshold for all concepts that the truth itself says is best: an oracle that nobody has."""

    name = IN_HINDSIGHT

    def suits(self, observed: Observed) -> bool:
        """Always."""
        return True

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count at it."""
        edge = best_edge(observed.rows, oracle.in_hindsight())
        return {0: Answers.without_interval(counts_at_edges(observed.rows)[:, edge])}


class BestInHindsightByDecade:
    """The same with a threshold for each decade of prevalence: what makes the study's cells of one prevalence."""

    name = IN_HINDSIGHT_BY_DECADE

    def suits(self, observed: Observed) -> bool:
        """Always."""
        return True

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count at the threshold of each concept's decade."""
        truth = oracle.in_hindsight()
        decades = np.round(np.log10(np.maximum(truth, 1)))
        estimate = np.empty(len(truth))
        for decade in np.unique(decades):
            of_it = decades == decade
            edge = best_edge(observed.rows[of_it], truth[of_it])
            estimate[of_it] = counts_at_edges(observed.rows[of_it])[:, edge]
        return {0: Answers.without_interval(estimate)}


class FromElsewhere:
    """One threshold for all concepts, the best on a labelled part of the same space: what people do."""

    name = ELSEWHERE

    def suits(self, observed: Observed) -> bool:
        """Where there is such a part."""
        return observed.elsewhere is not None

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count at it."""
        assert observed.elsewhere is not None
        edge = best_edge(observed.elsewhere.rows, observed.elsewhere.truth)
        return {0: Answers.without_interval(counts_at_edges(observed.rows)[:, edge])}


class FromOtherConcepts:
    """For each concept, the one threshold that is best for the other concepts of the same corpus."""

    name = FROM_OTHERS

    def suits(self, observed: Observed) -> bool:
        """Where the others are labelled."""
        return observed.others_labelled

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count at each."""
        counts = counts_at_edges(observed.rows)
        edges = [best_edge(*oracle.of_others(concept)) for concept in range(len(counts))]
        return {0: Answers.without_interval(counts[np.arange(len(counts)), edges])}


class Mentions:
    """How many captions name it."""

    name = MENTIONS

    def suits(self, observed: Observed) -> bool:
        """Where there are captions."""
        return observed.captions

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count them."""
        return {0: Answers.without_interval(observed.mentions.sum(axis=1))}


class MentionsBeyondChance:
    """Mentions beyond the background, over one recall for all concepts."""

    name = PLAIN_CAPTIONS

    def suits(self, observed: Observed) -> bool:
        """Where there are captions."""
        return observed.captions

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Divide."""
        excess = [one.excess.excess for one in anchored_frequencies(observed.rows, observed.mentions)]
        return {0: Answers.without_interval(np.array(excess) / _USUAL_RECALL)}


class Anchored:
    """The default without labels: mentions beyond chance over the recall of the purest rows."""

    name = ANCHORED

    def suits(self, observed: Observed) -> bool:
        """Where there are captions."""
        return observed.captions

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Estimate and grade."""
        found = anchored_frequencies(observed.rows, observed.mentions)
        estimate, lower, upper = np.array([(one.estimate, one.lower, one.upper) for one in found]).T
        return {0: Answers(estimate, lower, upper, grades_of(found, observed.rows))}


class TwoWayAudit:
    """Labels from strata of mention × similarity: where nothing names a concept, there is no answer."""

    name = AUDIT

    def __init__(self, labels: tuple[int, ...] = AUDITS) -> None:
        self.labels = labels

    def suits(self, observed: Observed) -> bool:
        """Where there are captions."""
        return observed.captions

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Ask in sheets, and estimate at each number of labels."""
        concepts = len(observed.names)
        said = {number: np.full((3, concepts), np.nan) for number in self.labels}
        for concept, found in enumerate(anchored_frequencies(observed.rows, observed.mentions)):
            strata = lay_strata(observed.rows[concept], observed.mentions[concept], found)
            if not strata:
                continue
            known = [Labelled() for _ in strata]
            for number in self.labels:
                while (have := sum(one.rows for one in known)) < number:
                    more = next_labels(strata, known, found.recall, min(_SHEET, number - have))
                    if not sum(more):
                        break  # all rows are known
                    known = oracle.label(concept, strata, known, more)
                done = audited_frequency(strata, known, found.recall)
                said[number][:, concept] = done.estimate, done.lower, done.upper
        grades = ("",) * concepts
        return {number: Answers(*values, grades) for number, values in said.items()}


def all_estimators() -> tuple[Estimator, ...]:
    """Give all that are compared, in the order of the tables."""
    return (
        BestInHindsight(),
        BestInHindsightByDecade(),
        FromElsewhere(),
        FromOtherConcepts(),
        Mentions(),
        MentionsBeyondChance(),
        Anchored(),
        TwoWayAudit(),
    )
