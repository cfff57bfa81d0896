"""Every estimator that is compared, behind one protocol: from the threshold that nobody has to audits of 200 labels.

Not here: how they work (`tailwag.analysis.calibration`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tailwag.analysis.calibration.anchored import AnchoredFrequency, anchored_frequencies
from tailwag.analysis.calibration.audit import AuditedFrequency, Labelled, audited_frequency, next_labels
from tailwag.analysis.calibration.audit_by_similarity import (
    frequency_by_similarity,
    lay_bands,
    next_labels_by_similarity,
)
from tailwag.analysis.calibration.closed_world import LabelledClasses, Method, fit_shares, shift_intervals
from tailwag.analysis.calibration.grades import grade_anchored, grade_audited, grade_without_captions
from tailwag.analysis.calibration.pooling import pool_audits
from tailwag.analysis.calibration.strata import Stratum, lay_strata
from tailwag.analysis.calibration.threshold_rules import at_precision, best_f1, equal_counts, null_edge
from tailwag.retrieval.counting.bins import counts_at_edges

from .protocol import Answers, Estimator, Observed, Oracle

AUDITS = (30, 60, 200)
# Labels are asked for in sheets of this many.
_SHEET = 15
# Photographs' captions name .65 of what they show: the study's constant.
_USUAL_RECALL = 0.65
# An audit of a few hundred rows may as well look at all of them.
_LEAST_ROWS = 500
# Pooled audits: so many concepts get labels, of those with so many mentions beyond chance.
_AUDITED, _FEWEST_MENTIONS = 8, 30

# Of a bootstrap, where the tables ask hundreds of cases; the command takes more.
_REPLICATES = 40
# Tables of similarities of more labelled rows and classes than this would take the better part of an hour.
_LARGEST_BOOTSTRAPPED = 20_000
_BOOTSTRAPPED: tuple[Method, ...] = ("em", "adjusted")

IN_HINDSIGHT = "best threshold in hindsight"
IN_HINDSIGHT_BY_DECADE = "best threshold in hindsight, another for each decade"
ELSEWHERE = "threshold from elsewhere"
FROM_OTHERS = "threshold from the other concepts"
EQUAL_COUNTS = "own threshold by labels elsewhere, equal counts"
BEST_F1 = "own threshold by labels elsewhere, best F1"
PRECISION_90 = "own threshold by labels elsewhere, precision .9"
NULL = "own threshold by a normal null, a tenth false"
CLOSED_WORLD: dict[Method, str] = {
    "winner": "closed world: winner",
    "softmax": "closed world: calibrated softmax sum",
    "adjusted": "closed world: adjusted count",
    "em": "closed world: EM on calibrated probabilities",
}
MENTIONS = "mentions"
PLAIN_CAPTIONS = "mentions beyond chance / .65"
ANCHORED = "anchored"
AUDIT = "two-way audit"
BY_SIMILARITY = "audit by similarity alone"
POOLED = "anchored, eight other concepts audited"


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


class OwnFromElsewhere:
    """For each concept a threshold of its own, from rows elsewhere that are labelled with it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def suits(self, observed: Observed) -> bool:
        """Where the same concepts are labelled elsewhere."""
        return observed.elsewhere is not None and observed.labelled is not None

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count at each; no answer where no row is labelled with it, or no threshold is as pure as asked."""
        assert observed.elsewhere is not None
        rules = {EQUAL_COUNTS: equal_counts, BEST_F1: best_f1, PRECISION_90: lambda s, a: at_precision(s, a, 0.9)}
        shown = observed.elsewhere.true_rows
        absent = observed.elsewhere.rows - shown
        counts = counts_at_edges(observed.rows)
        edges = [rules[self.name](*pair) if pair[0].any() else None for pair in zip(shown, absent, strict=True)]
        found = [np.nan if edge is None else own[edge] for edge, own in zip(edges, counts, strict=True)]
        return {0: Answers.without_interval(np.array(found, dtype=np.float64))}


class FromNull:
    """For each concept the threshold that a normal null gives it, without a label: a bad idea, kept to show how bad."""

    name = NULL

    def suits(self, observed: Observed) -> bool:
        """Always."""
        return True

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Count nine tenths of the hits; 0 where the null explains all."""
        edges = [null_edge(own, 0.1) for own in observed.rows]
        counts = counts_at_edges(observed.rows)
        found = [0 if edge is None else 0.9 * own[edge] for edge, own in zip(edges, counts, strict=True)]
        return {0: Answers.without_interval(np.array(found, dtype=np.float64))}


class ClosedWorld:
    """The classes of a vocabulary that is taken for complete, by one of four methods."""

    def __init__(self, method: Method) -> None:
        self.method: Method = method
        self.name = CLOSED_WORLD[method]

    def suits(self, observed: Observed) -> bool:
        """Where the similarities of every row to every class are at hand, and labelled rows."""
        return observed.similarities is not None and observed.labelled is not None

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Share the rows out among the classes; those without a labelled row have no answer but from winners."""
        assert observed.similarities is not None and observed.labelled is not None
        known = observed.labelled.labels >= 0
        labels = observed.labelled.labels[known]
        every = np.arange(len(observed.names))
        there = np.unique(labels) if self.method != "winner" else every
        labelled = LabelledClasses(observed.labelled.similarities[known][:, there], np.searchsorted(there, labels))
        fitted, rows = fit_shares(self.method, labelled), len(observed.similarities)
        counts = rows * fitted.from_rows(fitted.of_rows(observed.similarities[:, there]))
        said = np.full((3, len(observed.names)), np.nan)
        said[0, there] = counts
        if self.method in _BOOTSTRAPPED and labelled.similarities.size <= _LARGEST_BOOTSTRAPPED:
            said[1:, there] = shift_intervals(fitted, labelled, counts, rows, replicates=_REPLICATES)
        return {0: Answers(*said, ("",) * len(observed.names))}


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
        return {0: _graded(anchored_frequencies(observed.rows, observed.mentions), observed)}


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
        grades = {number: ["unsupported"] * concepts for number in self.labels}
        for concept, found in enumerate(anchored_frequencies(observed.rows, observed.mentions)):
            for number, done in audit(observed, oracle, concept, found, self.labels).items():
                said[number][:, concept] = done.estimate, done.lower, done.upper
                grades[number][concept] = grade_audited(done).level
        return {number: Answers(*values, tuple(grades[number])) for number, values in said.items()}


class AuditBySimilarity:
    """Labels from bands of similarity, as if there were no captions."""

    name = BY_SIMILARITY

    def __init__(self, labels: tuple[int, ...] = AUDITS[1:]) -> None:
        self.labels = labels

    def suits(self, observed: Observed) -> bool:
        """Where labels are few beside rows."""
        return int(observed.rows[0].sum()) >= _LEAST_ROWS

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Ask in sheets, and estimate at each number of labels."""
        concepts = len(observed.names)
        said = {number: np.full((3, concepts), np.nan) for number in self.labels}
        grades: dict[int, list[str]] = {number: [] for number in self.labels}
        for concept in range(concepts):
            bands = lay_bands(observed.rows[concept])
            known = [Labelled() for _ in bands]
            for number in self.labels:
                while (have := sum(one.rows for one in known)) < number:
                    more = next_labels_by_similarity(bands, known, min(_SHEET, number - have))
                    if not sum(more):
                        break  # all rows are known
                    known = oracle.label(concept, bands, known, more, captions=False)
                done = frequency_by_similarity(bands, known)
                said[number][:, concept] = done.estimate, done.lower, done.upper
                rows = int(observed.rows[concept].sum())
                grades[number].append(grade_without_captions(done.estimate, rows, labels=done.labels).level)
        return {number: Answers(*values, tuple(grades[number])) for number, values in said.items()}


class PooledAudits:
    """No label for the concept, but audits of some others of the corpus: what they teach is taken over."""

    name = POOLED

    def suits(self, observed: Observed) -> bool:
        """Where there are captions, and concepts enough."""
        return observed.captions and len(observed.names) > 2 * _AUDITED

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Audit some concepts, common and rare ones, and estimate the others."""
        found = anchored_frequencies(observed.rows, observed.mentions)
        order = np.argsort([-one.excess.excess for one in found], kind="stable")
        told = order[: sum(one.excess.excess >= _FEWEST_MENTIONS for one in found)]
        picked = set(told[np.linspace(0, len(told) - 1, _AUDITED).astype(int)].tolist()) if len(told) else set()
        audited = [
            (found[concept], done)
            for concept in sorted(picked)
            for done in audit(observed, oracle, concept, found[concept], AUDITS[:1]).values()
        ]
        done = _graded(
            anchored_frequencies(observed.rows, observed.mentions, pool_audits(audited) if audited else None), observed
        )
        others = np.array([concept not in picked for concept in range(len(found))])
        grades = tuple(grade if kept else "" for grade, kept in zip(done.grades, others, strict=True))
        values = [np.where(others, one, np.nan) for one in (done.estimate, done.lower, done.upper)]
        return {AUDITS[0]: Answers(*values, grades)}


def audit(
    observed: Observed, oracle: Oracle, concept: int, found: AnchoredFrequency, numbers: Sequence[int]
) -> dict[int, AuditedFrequency]:
    """Audit one concept sheet by sheet, and say what is known at each number of labels."""
    strata: Sequence[Stratum] = lay_strata(observed.rows[concept], observed.mentions[concept], found)
    if not strata:
        return {}
    known = [Labelled() for _ in strata]
    said = {}
    for number in numbers:
        while (have := sum(one.rows for one in known)) < number:
            more = next_labels(strata, known, found.recall, min(_SHEET, number - have))
            if not sum(more):
                break  # all rows are known
            known = oracle.label(concept, strata, known, more)
        said[number] = audited_frequency(strata, known, found.recall)
    return said


def _graded(found: Sequence[AnchoredFrequency], observed: Observed) -> Answers:
    estimate, lower, upper = np.array([(one.estimate, one.lower, one.upper) for one in found]).T
    mentions = observed.mentions.sum(axis=1)
    grades = tuple(grade_anchored(one, int(named)).level for one, named in zip(found, mentions, strict=True))
    return Answers(estimate, lower, upper, grades)


def all_estimators() -> tuple[Estimator, ...]:
    """Give all that are compared, in the order of the tables."""
    return (
        BestInHindsight(),
        BestInHindsightByDecade(),
        FromElsewhere(),
        FromOtherConcepts(),
        OwnFromElsewhere(EQUAL_COUNTS),
        OwnFromElsewhere(BEST_F1),
        OwnFromElsewhere(PRECISION_90),
        FromNull(),
        *(ClosedWorld(method) for method in CLOSED_WORLD),
        Mentions(),
        MentionsBeyondChance(),
        Anchored(),
        PooledAudits(),
        TwoWayAudit(),
        AuditBySimilarity(),
    )
