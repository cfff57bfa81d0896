"""An audit as it stands: which rows were drawn from which stratum of which corpus, and what people said of them.

A session is a value: each step gives a new one, and `audit_state.py` keeps it, so that nothing is lost and labels
never meet another corpus. Not here: how one begins (`audit_beginning.py`), drawing rows (`audit_rows.py`), what labels
come to (`audit_answer.py`), files people fill (`label_files.py`), the page (`audit_page.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tailwag.errors import BadInput, SpaceMismatch
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ...embed.space import Space
from ...retrieval.captions import count_captions
from ...retrieval.concepts import Concept, ConceptSet, fold, refuse
from ...retrieval.counting.query import Mentions
from ...retrieval.prototypes import PrototypeSet
from ...retrieval.records.certificate import state_of
from .anchored import Recall
from .audit import AuditedFrequency, Labelled, audited_frequency, next_labels
from .audit_by_similarity import frequency_by_similarity, next_labels_by_similarity
from .audit_rows import draw_rows
from .calibrating import CalibratedFrequency
from .label_files import Answer, Label
from .strata import Stratum

ShowProgress = Callable[[str, int], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class AskedRow:
    """One row that people are asked about: its stratum's position, its offset and key in the corpus."""

    stratum: int
    offset: int
    key: str


@dataclass(frozen=True, eq=False)
class AuditedConcept:
    """One concept of an audit.

    Attributes
    ----------
    before
        Its frequency without labels.
    recall
        What captions said of naming.
    prototype
        (dimension,) float16.
    synonyms
        Its other names, by which captions were searched.
    rows_by_similarity, mentions_by_similarity
        (BINS,) int64: all rows, and those whose caption names it.
    strata
        Of its rows: those of a two-way audit, or bands of similarity where captions do not guide it; none where nobody
        is asked about the concept.
    drawn
        For each stratum offsets in random order, from which rows are asked about one after the other.
    asked
        The rows that were asked about, in the order in which they were.
    answers
        What was said of them, by key.
    """

    before: CalibratedFrequency
    recall: Recall
    prototype: np.ndarray
    synonyms: tuple[str, ...]
    rows_by_similarity: np.ndarray
    mentions_by_similarity: np.ndarray
    strata: tuple[Stratum, ...]
    drawn: tuple[tuple[int, ...], ...]
    asked: tuple[AskedRow, ...] = ()
    answers: Mapping[str, Answer] = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", dict(self.answers))

    @property
    def name(self) -> str:
        """The concept's name."""
        return self.before.concept

    @property
    def by_similarity(self) -> bool:
        """Whether it is audited by similarity alone: no stratum knows of captions."""
        return bool(self.strata) and not any(stratum.named for stratum in self.strata)

    @property
    def pending(self) -> tuple[AskedRow, ...]:
        """The rows that were asked about and not answered."""
        return tuple(row for row in self.asked if row.key not in self.answers)

    @property
    def decided(self) -> int:
        """How many rows were answered with yes or no."""
        return sum(answer != "unsure" for answer in self.answers.values())

    @property
    def unsure(self) -> int:
        """How many rows people could not tell."""
        return len(self.answers) - self.decided

    def labelled(self) -> tuple[Labelled, ...]:
        """Count the answers of each stratum; rows that people could not tell count as rows that nobody looked at."""
        rows, true = Counter[int](), Counter[int]()
        for row in self.asked:
            answer = self.answers.get(row.key)
            rows[row.stratum] += answer in ("yes", "no")
            true[row.stratum] += answer == "yes"
        return tuple(Labelled(rows[position], true[position]) for position in range(len(self.strata)))

    def estimate(self) -> AuditedFrequency:
        """Estimate the frequency from the answers so far."""
        if self.by_similarity:
            return frequency_by_similarity(self.strata, self.labelled())
        return audited_frequency(self.strata, self.labelled(), self.recall)

    def choose(self, number: int) -> tuple[int, ...]:
        """Say how many of the next `number` rows come from each stratum; see `next_labels`."""
        if not number or not self.strata:
            return (0,) * len(self.strata)
        shown, known = Counter(row.stratum for row in self.asked), self.labelled()
        # Rows that wait for an answer, or that people could not tell, are not asked about again.
        capped = tuple(
            replace(stratum, rows=max(stratum.rows - shown[position] + known[position].rows, 1))
            for position, stratum in enumerate(self.strata)
        )
        if self.by_similarity:
            more = next_labels_by_similarity(capped, known, number)
        else:
            more = next_labels(capped, known, self.recall, number)
        return tuple(
            min(extra, stratum.rows - shown[position])
            for position, (extra, stratum) in enumerate(zip(more, self.strata, strict=True))
        )


@dataclass(frozen=True, eq=False)
class AuditSession:
    """An audit of some concepts of one corpus at one version.

    Attributes
    ----------
    corpus, corpus_version, corpus_state, space
        What is audited; the state names its rows, the space is a fingerprint.
    seed
        Of the draws.
    concepts
        Those that are audited.
    """

    corpus: str
    corpus_version: int
    corpus_state: str
    space: str
    seed: int
    concepts: tuple[AuditedConcept, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts' names."""
        return tuple(one.name for one in self.concepts)

    @property
    def pending(self) -> int:
        """How many rows wait for an answer, over all concepts."""
        return sum(len(one.pending) for one in self.concepts)

    def prototypes(self, space: Space) -> PrototypeSet:
        """Give the concepts' prototypes, which live in the corpus's space."""
        vectors = np.stack([one.prototype for one in self.concepts])
        return PrototypeSet(self.names, vectors, space, tuple(one.before.recipe for one in self.concepts))

    def require_for(self, corpus: Corpus, names: Sequence[str], where: str | Path) -> None:
        """Refuse another corpus, version, space or concept than the audit's.

        Raises
        ------
        SpaceMismatch
            For a corpus of another space.
        BadInput
            For anything else that differs.
        """
        if corpus.space.fingerprint != self.space:
            raise SpaceMismatch(
                f"the audit in {where} is of space {self.space}, and corpus {corpus.name!r} of "
                f"{corpus.space.fingerprint}: begin another with another --out"
            )
        if corpus.name != self.corpus:
            raise BadInput(
                f"the audit in {where} is of corpus {self.corpus!r}, not {corpus.name!r}: begin another with "
                "another --out"
            )
        if state_of(corpus) != self.corpus_state:
            raise BadInput(
                f"the audit in {where} drew from version {self.corpus_version} of corpus {self.corpus!r}, and this is "
                f"version {corpus.version} with other rows: pass --version {self.corpus_version}, or begin another "
                "with another --out"
            )
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise BadInput(
                f"the audit in {where} is of {_listed(self.names)}, not {unknown[0]!r}: begin another with another "
                "--out"
            )

    def ask(
        self,
        corpus: Corpus,
        number: int,
        *,
        reached: Mapping[str, bool] | None = None,
        show: ShowProgress | None = None,
    ) -> AuditSession:
        """Choose the next rows to ask about, so that each concept has `number` pending; fewer where there are no more.

        Which rows: where labels narrow the interval most, given the answers so far; see `next_labels`. Of the concepts
        that `reached` says are done, none. Where a stratum has more rows than were drawn of it, another pass over the
        corpus draws more; `show` makes its bar of what is done and how many rows that takes.
        """
        done = reached or {}
        wanted = [one.choose(0 if done.get(one.name) else max(number - len(one.pending), 0)) for one in self.concepts]
        session = self._drawn_deeper(corpus, wanted, show)
        concepts = tuple(_ask(one, corpus, more) for one, more in zip(session.concepts, wanted, strict=True))
        return replace(session, concepts=concepts)

    def _drawn_deeper(self, corpus: Corpus, wanted: Sequence[Sequence[int]], show: ShowProgress | None) -> AuditSession:
        """Draw twice as many rows as are wanted from the concepts that have a stratum that runs short."""
        needed = [
            [sum(row.stratum == position for row in one.asked) + extra for position, extra in enumerate(more)]
            for one, more in zip(self.concepts, wanted, strict=True)
        ]
        short = [
            any(number > len(rows) for number, rows in zip(numbers, one.drawn, strict=True))
            for one, numbers in zip(self.concepts, needed, strict=True)
        ]
        if not any(short):
            return self
        most = 2 * max(max(numbers) for numbers, is_short in zip(needed, short, strict=True) if is_short)
        # Strata of the others are left out; a concept's draw depends on its place, so that the places stay.
        strata = [one.strata if is_short else () for one, is_short in zip(self.concepts, short, strict=True)]
        vectors = np.stack([one.prototype for one in self.concepts])
        opened = nullcontext(NoProgress()) if show is None else show("drawing more rows", 2 * len(corpus))
        with opened as progress:
            names = ConceptSet("audited", tuple(Concept(one.name, one.synonyms) for one in self.concepts))
            mentions = count_captions(corpus, names, keep="words", progress=progress).mentions
            assert mentions is not None  # they were asked for
            mentions = of_two_way(mentions, [one.by_similarity for one in self.concepts])
            drawn = draw_rows(corpus, vectors, strata, mentions, most, seed=self.seed, progress=progress)
        concepts = tuple(
            replace(one, drawn=as_tuples(rows)) if is_short else one
            for one, rows, is_short in zip(self.concepts, drawn, short, strict=True)
        )
        return replace(self, concepts=concepts)

    def answer(self, labels: Sequence[Label], where: str | Path = "the labels") -> tuple[AuditSession, int]:
        """Take labels in; those without an answer say nothing.

        Returns
        -------
        tuple[AuditSession, int]
            The new session, and how many rows are called otherwise than before.

        Raises
        ------
        BadInput
            With every label whose row or concept this audit did not ask about.
        """
        told = [dict(one.answers) for one in self.concepts]
        asked = [{row.key for row in one.asked} for one in self.concepts]
        positions = {fold(name): position for position, name in enumerate(self.names)}
        mistakes, changed = [], 0
        for label in labels:
            position = positions.get(fold(label.concept)) if label.concept else 0
            if position is None or (not label.concept and len(self.concepts) > 1):
                what = f"concept {label.concept!r} is not audited" if label.concept else "no concept is named"
                mistakes.append(f"line {label.line}: {what}; the audit is of {_listed(self.names)}")
            elif label.key not in asked[position]:
                mistakes.append(f"line {label.line}: nobody was asked about {label.key!r}")
            elif label.answer is not None:
                changed += told[position].get(label.key, label.answer) != label.answer
                told[position][label.key] = label.answer
        if mistakes:
            mistakes.append("only rows that the audit drew can be used: of others nobody knows how they were chosen")
        refuse(str(where), mistakes)
        concepts = tuple(replace(one, answers=own) for one, own in zip(self.concepts, told, strict=True))
        return replace(self, concepts=concepts), changed

    def labels(self) -> tuple[Label, ...]:
        """Give every row that was asked about, with its answer where there is one, in an order that tells nothing."""
        return tuple(
            Label(row.key, one.name, one.answers.get(row.key))
            for one in self.concepts
            for row in shuffled(one.asked, self.seed)
        )


def shuffled(rows: Sequence[AskedRow], seed: int) -> list[AskedRow]:
    """Put rows in a random order that does not tell their stratum, the same for the same rows."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[position] for position in order]


def _ask(one: AuditedConcept, corpus: Corpus, more: Sequence[int]) -> AuditedConcept:
    shown = Counter(row.stratum for row in one.asked)
    offsets = [
        (position, offset)
        for position, extra in enumerate(more)
        for offset in one.drawn[position][shown[position] : shown[position] + extra]
    ]
    if not offsets:
        return one
    keys = corpus.take_offsets([offset for _, offset in offsets], ["key"]).column("key").to_pylist()
    rows = tuple(AskedRow(position, offset, key) for (position, offset), key in zip(offsets, keys, strict=True))
    return replace(one, asked=(*one.asked, *rows))


def of_two_way(mentions: Mentions, by_similarity: Sequence[bool]) -> Mentions:
    """Leave out the mentions of concepts that are audited by similarity alone: their bands hold every row."""
    kept = ~np.array(by_similarity)[mentions.concepts]
    return Mentions(mentions.offsets[kept], mentions.concepts[kept])


def as_tuples(drawn: Sequence[np.ndarray]) -> tuple[tuple[int, ...], ...]:
    """Give drawn offsets as a session keeps them."""
    return tuple(tuple(one.tolist()) for one in drawn)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
