"""Where the two sides of a pair meet: rows with a hit, rows that name a concept, rows where both are of one concept.

Not here: what these numbers are carried on to (`retrieval/captions/misalignment.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .query import CountQuery
from .tiles import TileAnswer


@dataclass(frozen=True, eq=False)
class Overlap:
    """How many rows have a hit, a mention, both, and both of the same concept; at T thresholds.

    Attributes
    ----------
    hit_rows
        (T,) int64: rows that are a hit for at least one concept.
    named_rows
        Rows that name at least one.
    both_rows
        (T,) int64: rows that are a hit for one and name one.
    common_rows
        (T,) int64: rows that are a hit for a concept that they name.
    """

    hit_rows: np.ndarray
    named_rows: int
    both_rows: np.ndarray
    common_rows: np.ndarray


class OverlapTally:
    """Sums the overlap of tiles, in any order, for one query. Memory does not grow with the rows."""

    def __init__(self, query: CountQuery) -> None:
        thresholds = query.thresholds
        self._thresholds = thresholds
        # With thresholds that all concepts share, a row has a hit when its best similarity reaches one.
        self._shared = thresholds[0] if query.overlap_by_best else None
        self._sums = np.zeros((3, thresholds.shape[1]), dtype=np.int64)
        self._named_rows = 0

    def add(self, rows: int, answer: TileAnswer, places: np.ndarray, concepts: np.ndarray, exact: np.ndarray) -> None:
        """Take in one tile.

        Parameters
        ----------
        rows
            n, its rows.
        answer
            With each row's best prototype, or with all pairs that reach the least thresholds: see `CountQuery.asked`.
        places, concepts, exact
            (p,) the mentions in the tile: positions of rows, positions of prototypes, and their similarities.
        """
        named = np.zeros(rows, dtype=bool)
        named[places] = True
        hit = self._hit(rows, answer)
        common = np.zeros_like(hit)
        meets = exact[:, None] >= self._thresholds[concepts]
        for column, own in enumerate(meets.T):
            common[places[own], column] = True
        self._sums += np.stack([hit, hit & named[:, None], common]).sum(axis=1)
        self._named_rows += int(named.sum())

    def merge(self, other: OverlapTally) -> None:
        """Take in the sums of another tally for the same query, over other rows."""
        self._sums += other._sums
        self._named_rows += other._named_rows

    def finish(self) -> Overlap:
        """Give the sums."""
        hit, both, common = self._sums.copy()
        return Overlap(hit, self._named_rows, both, common)

    def _hit(self, rows: int, answer: TileAnswer) -> np.ndarray:
        """(n, T) bool: is the row a hit for any concept?"""
        if self._shared is not None:
            assert answer.best is not None
            return answer.best.similarities[:, :1] >= self._shared
        assert answer.pairs is not None
        hit = np.zeros((rows, self._thresholds.shape[1]), dtype=bool)
        meets = answer.pairs.similarities[:, None] >= self._thresholds[answer.pairs.concepts]
        for column, own in enumerate(meets.T):
            hit[answer.pairs.rows[own], column] = True
        return hit
