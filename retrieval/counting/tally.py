"""Adding up: what the answers of tiles come to over a whole corpus.

Not here: the pass that hands them in (`engine.py`), what a backend answers (`tiles.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bins import BINS, bin_of
from .overlap import Overlap, OverlapTally
from .query import CountQuery
from .tiles import Pairs, TileAnswer

# Rows of float64 that are in hand at once when single pairs are settled: 16 MiB at 512 numbers a row.
_PAIRS_A_STEP = 4096


@dataclass(frozen=True, eq=False)
class RowBest:
    """The best prototypes of every row that was counted.

    Attributes
    ----------
    offsets
        (n,) int64 positions of the rows in the corpus.
    concepts
        (n, m) int32 positions of prototypes; highest similarity first, equal ones by position.
    similarities
        (n, m) float64, exact.
    """

    offsets: np.ndarray
    concepts: np.ndarray
    similarities: np.ndarray


@dataclass(frozen=True, eq=False)
class TopRows:
    """The most similar rows of every prototype.

    Attributes
    ----------
    offsets
        (C, k) int64 positions of rows in the corpus; highest similarity first, equal ones by position. -1 where fewer
        than k rows were counted.
    similarities
        (C, k) float64, exact; nan where there is no row.
    """

    offsets: np.ndarray
    similarities: np.ndarray


class Tally:
    """Sums the answers of tiles, in any order, for one query."""

    def __init__(self, query: CountQuery) -> None:
        shape, concepts = query.thresholds.shape, len(query.prototypes)
        self._query = query
        self._prototypes = query.prototypes.vectors
        self.rows = 0
        self.counts = np.zeros(shape, dtype=np.int64)
        self.histogram = np.zeros((concepts, BINS), dtype=np.int64) if query.histogram else None
        named = query.mentions is not None
        self.mention_counts = np.zeros(shape, dtype=np.int64) if named else None
        self.mention_histogram = np.zeros((concepts, BINS), dtype=np.int64) if named else None
        self.both_counts = np.zeros(shape, dtype=np.int64) if query.other_thresholds is not None else None
        self.margin_counts = np.zeros(shape, dtype=np.int64) if query.margin is not None else None
        self._overlap = OverlapTally(query) if query.overlap else None
        self._best: list[RowBest] = []
        self._top = _TopRows(concepts, query.top_k) if query.top_k else None
        self._least = query.thresholds.min(axis=1)

    def floors(self) -> np.ndarray:
        """(C,) float64: pairs below these cannot matter any more."""
        query = self._query
        floors = np.full(len(query.prototypes), np.inf)
        if query.margin is not None or query.needs_hits:
            floors = self._least
        return floors if self._top is None else np.minimum(floors, self._top.floors())

    def add(self, offsets: np.ndarray, rows: np.ndarray, other: np.ndarray | None, answer: TileAnswer) -> None:
        """Take in the answer for one tile.

        Parameters
        ----------
        offsets
            (n,) int64 positions of the rows in the corpus, ascending.
        rows
            (n, d) float16, the side that was compared.
        other
            (n, d) float16, the other side; needed when the query has thresholds for it.
        answer
            Of a tile in which nothing was refused.
        """
        query = self._query
        self.rows += len(rows)
        self.counts += answer.counts
        if answer.histogram is not None:
            self.add_histogram(answer.histogram)
        if query.best and answer.best is not None:
            concepts, best = answer.best.concepts[:, : query.best], answer.best.similarities[:, : query.best]
            self._best.append(RowBest(offsets, concepts, best))
        if query.mentions is not None:
            self._add_mentions(offsets, rows, answer)
        if answer.pairs is not None:
            self._add_pairs(offsets, other, answer, answer.pairs)

    def merge(self, other: Tally) -> None:
        """Take in the sums of another tally for the same query, over other rows."""
        self.rows += other.rows
        self.counts += other.counts
        for mine, theirs in (
            (self.histogram, other.histogram),
            (self.mention_counts, other.mention_counts),
            (self.mention_histogram, other.mention_histogram),
            (self.both_counts, other.both_counts),
            (self.margin_counts, other.margin_counts),
        ):
            if mine is not None and theirs is not None:
                mine += theirs
        if self._overlap is not None and other._overlap is not None:
            self._overlap.merge(other._overlap)
        # Each part holds consecutive rows, in order, so that ordering the parts orders the rows.
        self._best = sorted(self._best + other._best, key=lambda part: part.offsets[0] if len(part.offsets) else -1)
        if self._top is not None and other._top is not None:
            self._top.merge(other._top)

    def add_histogram(self, histogram: np.ndarray) -> None:
        """Take in (C, BINS) int64 histograms, of a tile or of many."""
        if self.histogram is not None:
            self.histogram += histogram

    def best(self) -> RowBest | None:
        """Give the best prototypes of all rows, or None if they were not asked for."""
        if not self._query.best:
            return None
        none = RowBest(
            np.zeros(0, np.int64), np.zeros((0, self._query.best), np.int32), np.zeros((0, self._query.best))
        )
        parts = self._best or [none]
        return RowBest(
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.concepts for part in parts]),
            np.concatenate([part.similarities for part in parts]),
        )

    def top(self) -> TopRows | None:
        """Give the most similar rows of all prototypes, or None if they were not asked for."""
        return None if self._top is None else TopRows(self._top.offsets.copy(), self._top.similarities.copy())

    def overlap(self) -> Overlap | None:
        """Give where hits and mentions meet, or None if that was not asked for."""
        return None if self._overlap is None else self._overlap.finish()

    def _add_mentions(self, offsets: np.ndarray, rows: np.ndarray, answer: TileAnswer) -> None:
        mentions = self._query.mentions
        if mentions is None or self.mention_counts is None or self.mention_histogram is None or not len(offsets):
            return
        first, last = np.searchsorted(mentions.offsets, [offsets[0], offsets[-1] + 1])
        places = np.searchsorted(offsets, mentions.offsets[first:last])
        there = offsets[places] == mentions.offsets[first:last]
        places, concepts = places[there], mentions.concepts[first:last][there]
        exact = pair_similarities(rows, places, self._prototypes, concepts)
        np.add.at(self.mention_histogram, (concepts, bin_of(exact)), 1)
        np.add.at(self.mention_counts, concepts, (exact[:, None] >= self._query.thresholds[concepts]).astype(np.int64))
        if self._overlap is not None:
            self._overlap.add(len(rows), answer, places, concepts, exact)

    def _add_pairs(self, offsets: np.ndarray, other: np.ndarray | None, answer: TileAnswer, pairs: Pairs) -> None:
        query = self._query
        if self.margin_counts is not None and query.margin is not None:
            near = slice(None)
            if answer.best is not None:
                near = answer.best.similarities[pairs.rows, 0] - pairs.similarities <= query.margin
            hit = pairs.similarities[near, None] >= query.thresholds[pairs.concepts[near]]
            np.add.at(self.margin_counts, pairs.concepts[near], hit.astype(np.int64))
        if self.both_counts is not None and query.other_thresholds is not None and other is not None:
            hit = pairs.similarities[:, None] >= query.thresholds[pairs.concepts]
            some = np.flatnonzero(hit.any(axis=1))
            concepts = pairs.concepts[some]
            exact = pair_similarities(other, pairs.rows[some], self._prototypes, concepts)
            both = hit[some] & (exact[:, None] >= query.other_thresholds[concepts])
            np.add.at(self.both_counts, concepts, both.astype(np.int64))
        if self._top is not None:
            self._top.add(offsets[pairs.rows], pairs.concepts, pairs.similarities)


def pair_similarities(rows: np.ndarray, places: np.ndarray, prototypes: np.ndarray, concepts: np.ndarray) -> np.ndarray:
    """What are the similarities of single pairs, without any rounding?

    Parameters
    ----------
    rows, prototypes
        (n, d) and (C, d) float16.
    places, concepts
        (p,) positions in them.

    Returns
    -------
    numpy.ndarray
        (p,) float64.
    """
    exact = np.empty(len(places))
    for start in range(0, len(places), _PAIRS_A_STEP):
        step = slice(start, start + _PAIRS_A_STEP)
        wide = rows[places[step]].astype(np.float64)
        exact[step] = np.einsum("ij,ij->i", wide, prototypes[concepts[step]].astype(np.float64))
    return exact


class _TopRows:
    """The k most similar rows so far, for all prototypes at once."""

    def __init__(self, concepts: int, k: int) -> None:
        self.offsets = np.full((concepts, k), -1, dtype=np.int64)
        self.similarities = np.full((concepts, k), np.nan)

    def floors(self) -> np.ndarray:
        last = self.similarities[:, -1]
        return np.where(np.isnan(last), -np.inf, last)

    def merge(self, other: _TopRows) -> None:
        concepts, places = np.nonzero(other.offsets >= 0)
        self.add(other.offsets[concepts, places], concepts, other.similarities[concepts, places])

    def add(self, offsets: np.ndarray, concepts: np.ndarray, similarities: np.ndarray) -> None:
        touched = np.unique(concepts)
        if not len(touched):
            return
        k = self.offsets.shape[1]
        kept = self.offsets[touched].reshape(-1) >= 0
        all_concepts = np.concatenate([np.repeat(touched, k)[kept], concepts])
        all_offsets = np.concatenate([self.offsets[touched].reshape(-1)[kept], offsets])
        all_similarities = np.concatenate([self.similarities[touched].reshape(-1)[kept], similarities])
        order = np.lexsort((all_offsets, -all_similarities, all_concepts))
        ordered = all_concepts[order]
        place = np.arange(len(order)) - np.searchsorted(ordered, ordered, side="left")
        chosen, place = order[place < k], place[place < k]
        self.offsets[all_concepts[chosen], place] = all_offsets[chosen]
        self.similarities[all_concepts[chosen], place] = all_similarities[chosen]
