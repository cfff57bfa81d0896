"""Backends for tests of the pass: one that answers late, as a GPU does, and one that has several counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from tailwag.retrieval.counting import Asked, TileAnswer
from tailwag.retrieval.counting.reference import ReferenceCounter

TILES_AHEAD = 3


class LateCounter(ReferenceCounter):
    """Takes tiles ahead, and tells the counts and the histogram of all of them with the last answer."""

    def count_tiles(self, tiles: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[TileAnswer]:
        waiting: deque[TileAnswer] = deque()
        counts, histogram = np.zeros(self._asked.thresholds.shape, np.int64), None
        for rows, floors in tiles:
            answer = self.count_tile(rows, floors)
            counts += answer.counts
            if answer.histogram is not None:
                histogram = answer.histogram + (0 if histogram is None else histogram)
            waiting.append(replace(answer, counts=np.zeros_like(counts), histogram=None))
            if len(waiting) > TILES_AHEAD:
                yield waiting.popleft()
        while len(waiting) > 1:
            yield waiting.popleft()
        if waiting:
            yield replace(waiting.popleft(), counts=counts, histogram=histogram)


class LateBackend:
    name = "late"

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> LateCounter:
        return LateCounter(prototypes, asked)


class ThreeCounters(LateBackend):
    name = "three"

    def prepare_all(self, prototypes: np.ndarray, asked: Asked) -> list[ReferenceCounter]:
        return [LateCounter(prototypes, asked), ReferenceCounter(prototypes, asked), LateCounter(prototypes, asked)]


class FailingCounter(ReferenceCounter):
    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        raise RuntimeError("the device has gone")


class OneFails(LateBackend):
    name = "failing"

    def prepare_all(self, prototypes: np.ndarray, asked: Asked) -> list[ReferenceCounter]:
        return [LateCounter(prototypes, asked), FailingCounter(prototypes, asked)]
