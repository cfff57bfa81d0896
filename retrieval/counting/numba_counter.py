"""The numba form's counter: which product each prototype takes, and strips of rows shared out to threads.

Not here: the products and what becomes of their scores (`numba_screens.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import torch_products
from .bands import float32_band
from .bins import BINS
from .llvm_intrinsics import machine_has
from .numba_form import Product
from .numba_screens import FEW, MANY_THRESHOLDS, ByteScreen, FloatScreen, Screen, ShortScreen, Space, Strip, Sums, whole
from .tiles import Asked, Best, Pairs, TileAnswer
from .torch_products import ByteProduct

# Strips have at most so many rows, so that their scores stay in the caches; and at least so many, so that the
# prototypes' panels are used often enough for each time that they come from memory.
_MOST_ROWS, _LEAST_ROWS = 480, 96
_SCORES_A_STRIP = 1 << 18
_ROWS_OF_A_FEW = 4096
# The histograms of all threads together.
_HISTOGRAM_BYTES = 1 << 30
# Sums are 32-bit while they are in hand.
_ROWS_IN_HAND = 1 << 30
# A prototype's product is chosen by so many rows of the first tile, smoothed over this width of similarity.
_SAMPLE_ROWS = 256
_SMOOTHED = 0.005
# In float32 products of a pair: what the products cost, and what settling a pair does. Measured by perf/count_numba.py;
# int8 is that of a machine with VNNI.
_COST: dict[Product, float] = {"float32": 1.0, "int16": 0.65, "int8": 0.3}
_SETTLING = 8.0
_BAND: dict[Product, float] = {"int16": 4e-4, "int8": 0.0125}
# Importing torch takes two seconds: its int8 product is taken when torch is there already, or once so many pairs have
# been counted that it would have been worth it.
_WORTH_TORCH = 1 << 30


@dataclass(frozen=True, eq=False)
class Group:
    """Some prototypes, by position, and the screen that they go through."""

    positions: np.ndarray
    screen: Screen


class NumbaCounter:
    """Counts with loops that numba compiles, for one query; a `TileStream`. See `NumbaBackend` for the parameters."""

    def __init__(
        self,
        prototypes: np.ndarray,
        asked: Asked,
        threads: int,
        product: Product | None = None,
        int8_product: ByteProduct | None = None,
    ) -> None:
        self.groups: list[Group] = []
        self._prototypes = np.ascontiguousarray(prototypes)
        self._asked = asked
        self._threads = threads
        if asked.histogram:
            self._threads = max(1, min(threads, _HISTOGRAM_BYTES // (4 * BINS * len(prototypes))))
        self._product: Product | None = product
        self._int8_product = int8_product
        more = asked.histogram or asked.best > 0 or asked.pairs
        self._counts_only = not more and 0 < asked.thresholds.shape[1] <= MANY_THRESHOLDS and len(prototypes) > FEW
        self._torch_may_help = self._counts_only and product is None and int8_product is None
        self._spaces: list[tuple[Space, ...]] = []
        self._most_rows = 0
        self._in_hand = self._pairs_counted = 0
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="tailwag-count")

    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        """Answer for one tile; see `TileCounter.count_tile`."""
        return next(iter(self.count_tiles([(rows, floors)])))

    def count_tiles(self, tiles: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[TileAnswer]:
        """Answer for many tiles; see `TileStream.count_tiles`. The sums stay with the threads until the last tile."""
        before: _Tile | None = None
        for rows, floors in tiles:
            if before is not None:
                yield before.answer(*(self._collect() if self._in_hand > _ROWS_IN_HAND else self._nothing()))
            self._plan(rows)
            before = self._count(rows, floors)
            if self._asked.pairs or self._torch_is_due():  # the next floors rest on this answer; sums change place
                yield before.answer(*self._collect())
                before = None
        if before is not None:
            yield before.answer(*self._collect())

    def _count(self, rows: np.ndarray, floors: np.ndarray | None) -> _Tile:
        tile = _Tile(rows, floors, self._asked)
        shared = whole(-(-len(rows) // self._threads), _LEAST_ROWS)
        strip = max(1, min(self._most_rows, shared))
        workers = max(1, min(self._threads, -(-len(rows) // strip)))
        while len(self._spaces) < workers:
            self._spaces.append(tuple(group.screen.space(self._most_rows) for group in self.groups))
        strips = iter(range(0, len(rows), strip))
        others = [self._pool.submit(self._work, tile, strips, strip, own) for own in self._spaces[1:workers]]
        try:
            self._work(tile, strips, strip, self._spaces[0])
        finally:
            errors = [other.exception() for other in others]  # waits, so that nothing goes on with these arrays
        for error in errors:
            if error is not None:
                raise error
        self._in_hand += len(rows)
        self._pairs_counted += len(rows) * len(self._prototypes)
        return tile

    def _work(self, tile: _Tile, strips: Iterator[int], rows: int, spaces: tuple[Space, ...]) -> None:
        """Take strips until there are none left. Several threads do, each with spaces of its own."""
        by_torch = any(isinstance(group.screen, ByteScreen) for group in self.groups) and torch_products.is_loaded()
        with torch_products.one_thread() if by_torch else nullcontext():
            for start in strips:
                strip = tile.strip(start, start + rows)
                for group, space in zip(self.groups, spaces, strict=True):
                    screen: Any = group.screen  # each made its own kind of space
                    found = screen.run(strip, space)
                    if found is not None:
                        tile.pairs[start] = found

    def _collect(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the counts and the histogram of what is in hand, and begin anew."""
        counts, histogram = np.zeros(self._asked.thresholds.shape, np.int64), None
        if self._asked.histogram:
            histogram = np.zeros((len(self._prototypes), BINS), np.int64)
        for place, group in enumerate(self.groups):
            sums = [own[place].sums for own in self._spaces]
            total = Sums.of(sums)
            if total is not None:
                counts[group.positions] = group.screen.counts(total)
                if histogram is not None and total.bins is not None:
                    histogram[group.positions] = total.bins
            for one in sums:
                one.clear()
        self._in_hand = 0
        return counts, histogram

    def _nothing(self) -> tuple[np.ndarray, None]:
        return np.zeros(self._asked.thresholds.shape, np.int64), None

    def _torch_is_due(self) -> bool:
        return self._torch_may_help and (torch_products.is_loaded() or self._pairs_counted > _WORTH_TORCH)

    def _plan(self, rows: np.ndarray) -> None:
        """Decide which product each prototype takes, by the rows of the first tile that has any."""
        if self._torch_is_due():
            self._torch_may_help, self._int8_product = False, torch_products.int8_product()
            if self._int8_product is not None:
                self.groups = []
        if self.groups and self._most_rows:
            return
        concepts = len(self._prototypes)
        fitting = _SCORES_A_STRIP // concepts // _LEAST_ROWS * _LEAST_ROWS
        chosen = self._products(rows)
        self._spaces, self.groups = [], []
        for product in np.unique(chosen):
            positions = np.flatnonzero(chosen == product)
            self.groups.append(Group(positions, self._screen(product, positions, rows)))
        self._most_rows = 0
        if len(rows):  # else there was nothing to judge by
            self._most_rows = _ROWS_OF_A_FEW if concepts <= FEW else max(_LEAST_ROWS, min(_MOST_ROWS, fitting))

    def _screen(self, product: Product, positions: np.ndarray, rows: np.ndarray) -> Screen:
        asked, prototypes = self._asked, self._prototypes[positions]
        own = Asked(asked.thresholds[positions], asked.histogram, asked.best, asked.pairs, asked.within)
        if product == "int16":
            return ShortScreen(prototypes, own)
        if product == "int8" and self._int8_product is not None:
            return ByteScreen(prototypes, own, _sample(rows).mean(axis=0), self._int8_product)
        return FloatScreen(prototypes, own)

    def _products(self, rows: np.ndarray) -> np.ndarray:
        """Which product is the quickest for each prototype? By how many pairs a sample lets expect in its band.

        Returns
        -------
        numpy.ndarray
            (C,) of the products' names.
        """
        if not self._counts_only or self._product is not None:
            product = self._product if self._counts_only else None
            return np.full(len(self._prototypes), product or "float32")
        possible: list[Product] = ["float32"]
        if machine_has("avx2") and not machine_has("avx512f"):  # whose float32 vectors are twice as long
            possible.append("int16")
        if self._int8_product is not None:
            possible.append("int8")
        scores = _sample(rows) @ self._prototypes.astype(np.float32).T
        costs = np.zeros((len(possible), len(self._prototypes)))
        for cost, product in zip(costs, possible, strict=True):
            band = _BAND.get(product, float32_band(self._prototypes.shape[1]))
            width = max(band, _SMOOTHED)
            near = np.zeros(scores.shape, np.int64)
            for column in self._asked.thresholds.T.astype(np.float32):
                near += np.abs(scores - column) < width
            cost[:] = _COST[product] + near.mean(axis=0) * (band / width) * _SETTLING
        return np.array(possible)[costs.argmin(axis=0)]


class _Tile:
    """The rows of one tile, and the answers that are kept for each row."""

    def __init__(self, rows: np.ndarray, floors: np.ndarray | None, asked: Asked) -> None:
        self._bits = np.require(rows, requirements=["C", "A"]).view(np.uint16)
        self._bits.flags.writeable = False
        self._floors = np.array(floors, np.float64) if asked.pairs and floors is not None else None
        self._refused = np.zeros(len(rows), np.uint8)
        shape = (len(rows), asked.best)
        self._best = Best(np.zeros(shape, np.int32), np.zeros(shape)) if asked.best else None
        self.pairs: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def strip(self, start: int, stop: int) -> Strip:
        """Give some of its rows, with the places for their answers."""
        strip = Strip(self._bits[start:stop], self._refused[start:stop], self._floors)
        if self._best is not None:
            strip.best_concepts = self._best.concepts[start:stop]
            strip.best_similarities = self._best.similarities[start:stop]
        return strip

    def answer(self, counts: np.ndarray, histogram: np.ndarray | None) -> TileAnswer:
        """Give the answer, with these counts."""
        pairs = None if self._floors is None else self._all_pairs()
        return TileAnswer(np.flatnonzero(self._refused), counts, histogram, self._best, pairs)

    def _all_pairs(self) -> Pairs:
        found = sorted(self.pairs.items())
        none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0))
        parts = [Pairs(rows + start, concepts, scores) for start, (rows, concepts, scores) in found] or [none]
        return Pairs(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.concepts for part in parts]),
            np.concatenate([part.similarities for part in parts]),
        )


def _sample(rows: np.ndarray) -> np.ndarray:
    """(s, d) float32, some rows of a tile that can be compared; a zero row when there are none."""
    with np.errstate(invalid="ignore", over="ignore"):
        sample = rows[:: max(1, len(rows) // _SAMPLE_ROWS)][:_SAMPLE_ROWS].astype(np.float32)
        sample = sample[np.abs(sample).max(axis=1, initial=0) <= 1.01]
    return sample if len(sample) else np.zeros((1, rows.shape[1]), np.float32)
