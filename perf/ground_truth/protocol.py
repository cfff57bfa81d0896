"""One protocol for all: a case shows an estimator its histograms and answers its labels, and keeps the truth to itself.

Not here: the cases (`simulated.py`, `world.py`, `photographs.py`, `clip_vectors.py`), the estimators (`estimators.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tailwag.analysis.calibration.audit import Labelled
from tailwag.analysis.calibration.strata import Stratum
from tailwag.benchmarks.similarity_simulation import SimulatedHistograms
from tailwag.retrieval.counting.bins import BINS, bin_of


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of a complete labelled vocabulary: for estimators that need one.

    Attributes
    ----------
    similarities
        (M, C) float64.
    labels
        (M,) int64: the one concept that each shows; -1 for none of them.
    """

    similarities: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Observed:
    """What anybody can see of a corpus, and what is known of its space from another, labelled part.

    Attributes
    ----------
    names
        C concepts.
    rows, mentions
        (C, BINS) int64: all rows by similarity, and those whose caption names the concept.
    captions
        Whether there are captions at all.
    elsewhere
        Labelled histograms of the same space, of other rows or other concepts; None where there are none.
    similarities, labelled
        (N, C) float64 and the labelled images of another part, where there are any; else None.
    others_labelled
        Whether, for each concept, all rows are labelled with all the other concepts.
    """

    names: tuple[str, ...]
    rows: np.ndarray
    mentions: np.ndarray
    captions: bool
    elsewhere: SimulatedHistograms | None = None
    similarities: np.ndarray | None = None
    labelled: LabelledImages | None = None
    others_labelled: bool = False


@dataclass(eq=False)
class Oracle:
    """Knows the truth, answers questions about rows, and counts the answers.

    Attributes
    ----------
    known
        The histograms with their truth.
    generator
        Of the rows that are drawn from strata.
    given
        (C,) int64: labels given so far.
    """

    known: SimulatedHistograms
    generator: np.random.Generator
    given: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.given = np.zeros(len(self.known.rows), dtype=np.int64)

    def label(
        self,
        concept: int,
        strata: Sequence[Stratum],
        before: Sequence[Labelled],
        more: Sequence[int],
        *,
        captions: bool = True,
    ) -> list[Labelled]:
        """Label rows drawn at random from strata, without a mistake; give what is known afterwards."""
        self.given[concept] += sum(more)
        return self.known.label(concept, strata, before, more, self.generator, captions=captions)

    def of_others(self, concept: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the rows by similarity and the truth of all the other concepts: (C - 1, BINS) and (C - 1,)."""
        others = np.arange(len(self.known.rows)) != concept
        return self.known.rows[others], self.known.truth[others]

    def in_hindsight(self) -> np.ndarray:
        """Give the truth itself, (C,): for what nobody has."""
        return self.known.truth


@dataclass(frozen=True, eq=False)
class Answers:
    """What an estimator says of C concepts: (C,) each; nan for no interval, "" for no grade, nan for no estimate."""

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    grades: tuple[str, ...]

    @classmethod
    def without_interval(cls, estimate: np.ndarray) -> Answers:
        """Give estimates that say nothing of how far off they may be."""
        nothing = np.full(len(estimate), np.nan)
        return cls(np.asarray(estimate, dtype=np.float64), nothing, nothing, ("",) * len(estimate))


class Estimator(Protocol):
    """Estimates frequencies from what is observed and from labels that it asks for."""

    @property
    def name(self) -> str:
        """How tables call it."""
        ...

    def suits(self, observed: Observed) -> bool:
        """Whether it can be tried: not every corpus has captions, or a closed vocabulary."""
        ...

    def __call__(self, observed: Observed, oracle: Oracle) -> Mapping[int, Answers]:
        """Answer once for each number of labels a concept."""
        ...


@dataclass(frozen=True, eq=False)
class Case:
    """C concepts in one corpus, and the truth.

    Attributes
    ----------
    corpus, kind
        The table's group, and what varies within it.
    observed
        What estimators see.
    known
        The same histograms with their truth.
    seed
        Of the labels.
    """

    corpus: str
    kind: str
    observed: Observed
    known: SimulatedHistograms
    seed: int = 0

    @property
    def rows(self) -> int:
        """N."""
        return int(self.known.rows[0].sum())


class Corpora(Protocol):
    """Yields the cases of one group."""

    def __call__(self, quick: bool) -> Iterator[Case]:
        """Give them; few and small ones when it has to be quick."""
        ...


def histograms_of(
    similarities: np.ndarray, shown: np.ndarray, named: np.ndarray, unsure: np.ndarray | None = None
) -> SimulatedHistograms:
    """Bin what is known of every row.

    Parameters
    ----------
    similarities
        (N, C) float64.
    shown, named
        (N, C) bool: whether the image shows the concept, and the caption names it.
    unsure
        (N, C) bool: rows that are left out for a concept, since nobody could tell. None: there are none.
    """
    concepts = similarities.shape[1]
    bins = np.clip(bin_of(similarities), 0, BINS - 1)
    made = np.zeros((4, concepts, BINS), dtype=np.int64)
    for concept in range(concepts):
        told = np.ones(len(bins), dtype=bool) if unsure is None else ~unsure[:, concept]
        for which, chosen in enumerate((None, named, shown, shown & named)):
            of_it = told if chosen is None else told & chosen[:, concept]
            made[which, concept] = np.bincount(bins[of_it, concept], minlength=BINS)
    return SimulatedHistograms(*made)


def put_together(parts: Sequence[SimulatedHistograms]) -> SimulatedHistograms:
    """Take the concepts of several parts for those of one corpus."""
    return SimulatedHistograms(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "mentions", "true_rows", "true_mentions")
        )
    )
