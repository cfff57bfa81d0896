"""The k most similar rows of a pass over vectors, exactly; and the exact order of a few candidates.

On arrays alone. Not here: corpora and what a result carries (`search.py`), FAISS (`index.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tailwag.errors import TailwagError

from ..embed.corpus import is_unit
from ..embed.scanning import Block
from .counting.bands import float32_band
from .counting.reference import similarities


class TopK:
    """Keeps the k rows most similar to one prototype; equal similarities go by offset, the lower first.

    Parameters
    ----------
    k
        How many are kept.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._offsets = np.zeros(0, dtype=np.int64)
        self._similarities = np.zeros(0, dtype=np.float64)
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_pending = 0
        # The k-th best similarity so far: what lies below it cannot enter any more.
        self.floor = -np.inf

    def add(self, offsets: np.ndarray, exact: np.ndarray) -> None:
        """Offer rows: (n,) int64 offsets, and their (n,) exact float64 similarities."""
        if not len(offsets):
            return
        self._pending.append((offsets, exact))
        self._n_pending += len(offsets)
        # Sorting whenever the pending rows are a quarter of the kept ones costs k log k a few times, not a block.
        if self._n_pending * 4 >= len(self._offsets):
            self._settle()

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the kept rows, best first: (m,) int64 offsets and (m,) float64 similarities, m ≤ k."""
        self._settle()
        return self._offsets, self._similarities

    def _settle(self) -> None:
        offsets = np.concatenate([self._offsets, *(offsets for offsets, _ in self._pending)])
        exact = np.concatenate([self._similarities, *(exact for _, exact in self._pending)])
        order = np.lexsort((offsets, -exact))[: self._k]
        self._offsets, self._similarities = offsets[order], exact[order]
        self._pending, self._n_pending = [], 0
        if len(order) == self._k:
            self.floor = float(self._similarities[-1])


def exact_top_k(blocks: Iterable[Block], prototypes: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which k rows are the most similar to each prototype?

    A float32 product screens: it errs by no more than a proven band, so what lies more than the band below the k-th
    best exact similarity cannot belong to the answer. The rest is settled by a float64 dot, which is exact for float16.

    Parameters
    ----------
    blocks
        Blocks of float16 rows of unit length.
    prototypes
        (C, d) float16, of length at most 1.001.
    k
        How many, at least 1.

    Returns
    -------
    list[tuple[numpy.ndarray, numpy.ndarray]]
        For each prototype (m,) int64 offsets and (m,) float64 similarities, m = min(k, rows), best first; equal
        similarities by offset.

    Raises
    ------
    TailwagError
        When a row is not finite or not of unit length: the band rests on it.
    """
    band = float32_band(prototypes.shape[1])
    narrow = np.ascontiguousarray(prototypes.astype(np.float32).T)
    best = [TopK(k) for _ in prototypes]
    for block in blocks:
        wide = block.vectors.astype(np.float32)
        refuse_unfit(wide, block.offset)
        scores = wide @ narrow
        for column, kept in enumerate(best):
            rows = np.flatnonzero(scores[:, column] >= _cut(scores[:, column], k, kept.floor, band))
            if len(rows):
                exact = similarities(block.vectors[rows], prototypes[column : column + 1])[:, 0]
                kept.add(rows + block.offset, exact)
    return [kept.result() for kept in best]


def refuse_unfit(vectors: np.ndarray, offset: int) -> None:
    """Refuse rows on which exactness cannot rest.

    Raises
    ------
    TailwagError
        When one of the (n, d) vectors is not finite or not of unit length; names its offset.
    """
    bad = np.flatnonzero(~is_unit(vectors))
    if len(bad):
        raise TailwagError(
            f"the vector of row {offset + int(bad[0])} is not finite or not of unit length ({len(bad)} such rows near "
            "it): the table was not written by tailwag or is damaged; embed it again"
        )


def _cut(scores: np.ndarray, k: int, floor: float, band: float) -> float:
    """Below which float32 score can no row of this block belong to the k best?"""
    cut = floor - band
    if len(scores) > k:
        # k rows of the block have an exact similarity of at least their score less the band; a row two bands below the
        # last of them is surely less similar than all k.
        kth = float(np.partition(scores, len(scores) - k)[len(scores) - k])
        cut = max(cut, kth - 2 * band)
    # Against the rounding of these two subtractions, and of the comparison should numpy make it in float32.
    return cut - 1e-6
