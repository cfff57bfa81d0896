"""For tests of the pass: backends that answer late, as a GPU does, or have several counters; a corpus and questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tailwag.embed.corpus import Corpus
from tailwag.retrieval.counting import Asked, CountQuery, Mentions, TileAnswer
from tailwag.retrieval.counting.cuda import CudaBackend
from tailwag.retrieval.counting.reference import ReferenceCounter
from tests.corpora import clustered_unit, make_corpus, make_prototypes, rows_table

TILES_AHEAD = 3
DIMENSION = 24
PARTS = (900, 1, 450, 700, 30)


def five_fragments(folder: Path) -> Corpus:
    """Five fragments; both sides differ."""
    image, text = clustered_unit(sum(PARTS), DIMENSION, seed=1), clustered_unit(sum(PARTS), DIMENSION, seed=2)
    corpus = make_corpus(folder, image[:0])
    start = 0
    for number, rows in enumerate(PARTS):
        here = slice(start, start + rows)
        corpus.append(rows_table(corpus.space, image[here], text[here], prefix=f"{number}/"))
        start += rows
    return corpus


def everything(corpus, **changes):
    generator = np.random.default_rng(0)
    offsets = np.sort(generator.integers(0, max(len(corpus), 1), size=300))
    asked = {
        "histogram": True,
        "mentions": Mentions(offsets, generator.integers(0, 6, size=300).astype(np.int32)),
        "other_thresholds": [0.1, 0.2],
        "margin": 0.1,
        "best": 2,
        "top_k": 7,
        "partials": True,
    }
    asked["overlap"] = changes.get("mentions", asked["mentions"]) is not None
    prototypes = make_prototypes(clustered_unit(6, DIMENSION, seed=3))
    return CountQuery(prototypes, [0.2, 0.3], **{**asked, **changes})


def assert_same_result(found, expected):
    assert found.rows == expected.rows
    for field in ("counts", "histogram", "mention_counts", "mention_histogram", "both_counts", "margin_counts"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), err_msg=field)
    for field in ("overlap", "best", "top"):
        one, other = getattr(found, field), getattr(expected, field)
        assert (one is None) == (other is None)
        for name in vars(other) if other is not None else ():
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=f"{field}.{name}")
    assert len(found.partials) == len(expected.partials)
    for one, other in zip(found.partials, expected.partials, strict=True):
        assert (one.states, one.rows, one.digest) == (other.states, other.rows, other.digest)
        np.testing.assert_array_equal(one.counts, other.counts)


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


class TwoDevices(CudaBackend):
    """The GPU backend as on a machine with two of them, here on the CPU in plain torch."""

    def __init__(self) -> None:
        super().__init__(("cpu", "cpu"))
