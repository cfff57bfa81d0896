"""Which rows of a corpus are labelled, and with what? From the corpus's label column, or from a file of labels.

Not here: the file itself (`label_files.py`), what follows from labels (`thresholds.py`, `closed_world_counting.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...retrieval.concepts import ConceptSet, fold, refuse
from ...retrieval.counting import CountQuery, Mentions, chosen_rows, count
from ...retrieval.prototypes import PrototypeSet
from .label_files import Label, read_labels

# What `--labels` says for the corpus's own column.
COLUMN = "column"
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """The labelled rows of a corpus at one version.

    Attributes
    ----------
    source
        Where the labels are from, in words.
    concepts
        C names.
    labelled
        (N,) bool: rows with any label.
    shown
        Rows that show a concept.
    absent
        Rows that do not; None where a labelled row shows what it is labelled with and nothing else.
    notes
        What was disregarded, one sentence each.
    """

    source: str
    concepts: tuple[str, ...]
    labelled: np.ndarray
    shown: Mentions
    absent: Mentions | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(np.count_nonzero(self.labelled))

    def histograms(
        self, corpus: Corpus, prototypes: PrototypeSet, *, backend: str = "auto", progress: Progress | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bin the labelled rows by similarity: those that show each concept, and those that do not.

        Parameters
        ----------
        corpus
            The corpus at the version whose labels these are.
        prototypes
            C of the concepts, in their order.
        backend, progress
            As for `count`.

        Returns
        -------
        tuple[numpy.ndarray, numpy.ndarray]
            Twice (C, BINS) int64.
        """
        if prototypes.names != self.concepts:
            raise BadInput("the prototypes are not those of the labelled concepts, in their order")

        def binned(mentions: Mentions) -> tuple[np.ndarray, np.ndarray]:
            control = chosen_rows("a label", self.labelled)
            query = CountQuery(prototypes, 1.0, control=control, histogram=True, mentions=mentions)
            result = count(corpus, query, backend, progress)
            assert result.histogram is not None and result.mention_histogram is not None  # they were asked for
            return result.histogram, result.mention_histogram

        every, shown = binned(self.shown)
        return shown, every - shown if self.absent is None else binned(self.absent)[1]

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the rows that show one concept: (m,) int64 offsets, ascending, and (m,) int64 numbers of concepts.

        Raises
        ------
        BadInput
            When a row shows two of them: in a closed world it shows one.
        """
        offsets, numbers = self.shown.offsets, self.shown.concepts.astype(np.int64)
        twice = np.flatnonzero(np.diff(offsets) == 0)
        if len(twice):
            one, other = (self.concepts[numbers[twice[0] + step]] for step in (0, 1))
            raise BadInput(
                f"{self.source} says that one row shows {one!r} and {other!r}"
                + (f", and {len(twice) - 1:,} more rows two" if len(twice) > 1 else "")
                + ": in a closed world each row shows one class; leave such rows out"
            )
        return offsets, numbers


def open_labels(text: str | Path, corpus: Corpus, concepts: ConceptSet) -> LabelledRows:
    """Find the labelled rows of a corpus: ``column`` reads its own labels, anything else names a file."""
    return column_labels(corpus, concepts) if str(text) == COLUMN else file_labels(text, corpus, concepts)


def column_labels(corpus: Corpus, concepts: ConceptSet) -> LabelledRows:
    """Read the corpus's label column: a row shows the concept that bears its label as name or synonym, and no other.

    Raises
    ------
    BadInput
        When no row has a label, or no label is a concept.
    """
    positions = _positions(concepts)
    labelled, offsets, numbers, start = [], [], [], 0
    others: Counter[str] = Counter()
    for piece in corpus.text_pieces("label"):
        encoded = piece.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        own = np.array([positions.get(fold(name), -1) for name in names] or [-1], dtype=np.int64)
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        there = codes >= 0
        found = np.where(there, own[codes], -1)
        hits = np.flatnonzero(found >= 0)
        for code, number in zip(*np.unique(codes[there & (found < 0)], return_counts=True), strict=True):
            others[names[code]] += int(number)
        labelled.append(there)
        offsets.append(hits + start)
        numbers.append(found[hits])
        start += len(piece)
    where = f"the label column of corpus {corpus.name!r} (version {corpus.version})"
    known = np.concatenate(labelled) if labelled else np.zeros(0, dtype=bool)
    if not known.any():
        raise BadInput(f"{where} is empty: pass a file of labels, or a corpus whose rows have some")
    shown = Mentions(np.concatenate(offsets), np.concatenate(numbers).astype(np.int32))
    if not len(shown.offsets):
        raise BadInput(
            f"{where} names none of the {len(concepts)} concepts: it has {_listed(tuple(others))}, the concepts begin "
            f"with {concepts.names[0]!r}"
        )
    notes = []
    if others:
        notes.append(
            f"{sum(others.values()):,} rows are labelled with what none of the concepts is called, and count as "
            f"showing none: {_listed([name for name, _ in others.most_common()])}"
        )
    return LabelledRows(where, concepts.names, known, shown, None, tuple(notes))


def file_labels(path: str | Path, corpus: Corpus, concepts: ConceptSet) -> LabelledRows:
    """Read a file of labels, yes or no for a row and a concept; see `read_labels`.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        With every mistake: those of the file, keys that the corpus does not have, lines without a concept where there
        are several, and where no label is of these concepts.
    """
    labels = read_labels(path)
    positions = _positions(concepts)
    told: list[tuple[Label, int]] = []
    unknown: Counter[str] = Counter()
    mistakes, unsure, empty = [], 0, 0
    for label in labels:
        if label.answer in (None, "unsure"):
            unsure, empty = unsure + (label.answer is not None), empty + (label.answer is None)
        elif not label.concept and len(concepts) > 1:
            mistakes.append(f"line {label.line}: no concept is named, and there are {len(concepts)} of them")
        elif (position := positions.get(fold(label.concept), -1) if label.concept else 0) < 0:
            unknown[label.concept] += 1
        else:
            told.append((label, position))
    found = _offsets(corpus, list(dict.fromkeys(label.key for label, _ in told)))
    mistakes += [
        f"line {label.line}: corpus {corpus.name!r} has no row {label.key!r} (version {corpus.version})"
        for label, _ in told
        if label.key not in found
    ]
    refuse(str(path), mistakes)
    if not told:
        more = f": it labels {_listed(tuple(unknown))}" if unknown else ""
        raise BadInput(f"{path} says yes or no of none of the {len(concepts)} concepts{more}")
    answers: dict[tuple[int, int], Label] = {}
    for label, position in told:
        first = answers.setdefault((found[label.key], position), label)
        if first.answer != label.answer:  # of one name and another of the same concept
            mistakes.append(
                f"line {label.line}: {label.key!r} is {label.answer!r}, and {first.answer!r} in line {first.line}"
            )
    refuse(str(path), mistakes)
    pairs = sorted((offset, position, label.answer == "yes") for (offset, position), label in answers.items())
    labelled = np.zeros(len(corpus), dtype=bool)
    labelled[[offset for offset, _, _ in pairs]] = True
    notes = []
    if unknown:
        notes.append(f"{sum(unknown.values()):,} labels are of concepts that were not asked for: {_listed(unknown)}")
    if unsure or empty:
        notes.append(f"{unsure:,} labels are unsure and {empty:,} empty: they say nothing")
    return LabelledRows(
        Path(path).name,
        concepts.names,
        labelled,
        _mentions([pair for pair in pairs if pair[2]]),
        _mentions([pair for pair in pairs if not pair[2]]),
        tuple(notes),
    )


def _positions(concepts: ConceptSet) -> dict[str, int]:
    """Concepts by name and synonym; a name goes before another concept's synonym."""
    found = {fold(name): position for position, name in enumerate(concepts.names)}
    for position, concept in enumerate(concepts):
        for synonym in concept.synonyms:
            found.setdefault(fold(synonym), position)
    return found


def _mentions(pairs: Sequence[tuple[int, int, bool]]) -> Mentions:
    return Mentions(
        np.array([offset for offset, _, _ in pairs], dtype=np.int64),
        np.array([position for _, position, _ in pairs], dtype=np.int32),
    )


def _offsets(corpus: Corpus, keys: Sequence[str]) -> dict[str, int]:
    """Find rows by key in one pass over the keys; those that are not there are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(keys, pa.string())
    found: dict[str, int] = {}
    start = 0
    for piece in corpus.text_pieces("key"):
        positions = pc.index_in(piece, value_set=wanted).fill_null(-1).to_numpy(zero_copy_only=False).tolist()
        found.update((keys[int(position)], start + row) for row, position in enumerate(positions) if position >= 0)
        start += len(piece)
    return found


def _listed(names: Sequence[str] | Iterator[str] | Counter[str]) -> str:
    every = list(names)
    shown = ", ".join(repr(name) for name in every[:_SHOWN])
    return shown + (f" and {len(every) - _SHOWN:,} more" if len(every) > _SHOWN else "")
