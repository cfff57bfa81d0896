"""Prototypes laid out for one kind of product, and the strips of rows that go through it.

A screen scores pairs in less than exact arithmetic, with a band that is proven: what lies in it is settled by the exact
dot. `FloatScreen` answers everything; `ShortScreen` and `ByteScreen` are quicker and only count. Not here: the loops
(`numba_answers.py`), which prototypes take which screen, and threads (`numba_form.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from . import numba_products as products
from . import numba_scores as answers
from .bands import float32_band, screen_bounds
from .bins import BINS, EDGES
from .llvm_intrinsics import INTEGER_TILE_CONCEPTS, INTEGER_TILE_ROWS, TILE_CONCEPTS, TILE_ROWS
from .tiles import Asked
from .torch_products import ByteProduct

# Up to so many prototypes, a row's dots cost less than laying it out for a product.
FEW = 6
# From more thresholds than this on, a score is looked up among them instead of being compared with each.
MANY_THRESHOLDS = 16
# The float32 roundings around a score other than its product's: of a bound, of a difference of two scores.
_ROUNDINGS = 3e-7
# Rows of memory are this many numbers longer than the dimension, so that they do not all fall into the same cache sets.
_PAD = 16
_GREATEST_INT32 = 2.0**30.95
_MOST_BUCKETS = 2048


@dataclass(eq=False)
class Strip:
    """Some rows of a tile.

    Attributes
    ----------
    bits
        (n, d) uint16, the bits of float16 numbers; read-only.
    refused
        (n,) uint8, set to 1 for rows that are no unit vectors.
    floors
        (C,) float64, where pairs are wanted.
    best_concepts, best_similarities
        (n, m), where the best are wanted; filled in.
    """

    bits: np.ndarray
    refused: np.ndarray
    floors: np.ndarray | None = None
    best_concepts: np.ndarray | None = None
    best_similarities: np.ndarray | None = None


@dataclass(eq=False)
class Sums:
    """What one worker has added up over the strips of a tile, for the prototypes of one screen.

    Attributes
    ----------
    counts
        (T, C) int32, for a few thresholds.
    between
        (C, T + 1) int32, for many: rows that reach exactly so many of them.
    bins
        (C, BINS) int32, histograms.
    """

    counts: np.ndarray
    between: np.ndarray | None = None
    bins: np.ndarray | None = None

    @classmethod
    def of(cls, workers: list[Sums]) -> Sums | None:
        """Add up; None when there is nobody."""

        def added(arrays: list[np.ndarray | None]) -> np.ndarray | None:
            there = [array for array in arrays if array is not None]
            return sum(there[1:], start=there[0]) if there else None

        counts = added([own.counts for own in workers])
        if counts is None:
            return None
        return cls(counts, added([own.between for own in workers]), added([own.bins for own in workers]))

    def clear(self) -> None:
        """Begin again."""
        for array in (self.counts, self.between, self.bins):
            if array is not None:
                array.fill(0)


class Space(Protocol):
    """The memory of one worker for one screen."""

    sums: Sums


class Ladder:
    """Many thresholds, and how a score finds its place among them.

    Parameters
    ----------
    thresholds
        (C, T) float64 in any order, or (1, T) for all concepts.
    band
        How far a score may lie from the similarity.
    """

    def __init__(self, thresholds: np.ndarray, band: float) -> None:
        self._order = np.argsort(thresholds, axis=1, kind="stable")
        self.thresholds = np.take_along_axis(thresholds, self._order, axis=1)
        beyond = np.full((len(thresholds), 1), np.float32(np.inf))
        self.lower, self.upper = (
            np.concatenate([bound, beyond], axis=1) for bound in screen_bounds(self.thresholds, band)
        )
        buckets = min(_MOST_BUCKETS, 4 * thresholds.shape[1])
        self.origin, last = self.thresholds.min() - 1e-3, self.thresholds.max() + 1e-3
        self.per_unit = buckets / (last - self.origin)
        # What a bucket holds, and the roundings in finding it; scores beyond either end fall into the last one there.
        ends = self.origin + np.arange(buckets + 1) / self.per_unit
        self.first = np.zeros((len(thresholds), buckets), np.int32)
        end = np.full((len(thresholds), buckets), thresholds.shape[1], np.int32)
        for concept, upper in enumerate(self.upper[:, :-1]):
            self.first[concept, 1:] = np.searchsorted(upper, ends[1:-1] - 2e-6, side="right")
            end[concept, :-1] = np.searchsorted(upper, ends[1:-1] + 2e-6, side="right")
        self.steps = int((end - self.first).max())

    def fill(self, bits: np.ndarray, prototypes: np.ndarray, scores: np.ndarray, between: np.ndarray) -> None:
        """Count the rows of a strip between one threshold and the next."""
        answers.count_between(
            bits,
            prototypes,
            scores,
            self.thresholds,
            self.lower,
            self.upper,
            self.first,
            self.steps,
            np.float32(self.origin),
            np.float32(self.per_unit),
            between,
        )

    def counts(self, between: np.ndarray) -> np.ndarray:
        """(C, T + 1) rows between thresholds, as (C, T) counts of rows that reach them, in the order given."""
        reached = np.cumsum(between[:, :0:-1], axis=1, dtype=np.int64)[:, ::-1]
        counts = np.empty(reached.shape, dtype=np.int64)
        np.put_along_axis(counts, np.broadcast_to(self._order, reached.shape), reached, axis=1)
        return counts


@dataclass(eq=False)
class _FloatSpace:
    sums: Sums
    rows: np.ndarray
    scores: np.ndarray


class FloatScreen:
    """A float32 product, in sums of known length; answers everything.

    Parameters
    ----------
    prototypes
        (C, d) float16.
    asked
        What is wanted for these prototypes.
    """

    def __init__(self, prototypes: np.ndarray, asked: Asked) -> None:
        concepts, dimension = prototypes.shape
        self._asked = asked
        self._prototypes = prototypes.astype(np.float32)
        self._few = concepts <= FEW
        self._width = concepts if self._few else whole(concepts, TILE_CONCEPTS)
        self._panels = None if self._few else panels(self._prototypes, TILE_CONCEPTS, 1)
        # The dots' order is LLVM's choice; the product's sums are chains of RUN, and a chain of those.
        additions = dimension if self._few else min(dimension, products.RUN) + -(-dimension // products.RUN)
        self.band = float32_band(additions) + _ROUNDINGS
        thresholds = asked.thresholds
        self._ladder = None
        if thresholds.shape[1] > MANY_THRESHOLDS:
            shared = bool((thresholds == thresholds[:1]).all())
            self._ladder = Ladder(thresholds[:1] if shared else thresholds, self.band)
            thresholds = thresholds[:, :0]
        self._thresholds = np.array(thresholds.T, order="C")
        self._lower, self._upper = screen_bounds(self._thresholds, self.band)
        self._edges = EDGES.copy()  # one that numba takes

    def space(self, rows: int) -> _FloatSpace:
        """Make room for strips of so many rows."""
        concepts, dimension = self._prototypes.shape
        sums = Sums(np.zeros(self._thresholds.shape, np.int32))
        if self._ladder is not None:
            sums.between = np.zeros((concepts, self._asked.thresholds.shape[1] + 1), np.int32)
        if self._asked.histogram:
            sums.bins = np.zeros((concepts, BINS), np.int32)
        if self._few:
            return _FloatSpace(sums, np.zeros((1, dimension), np.float32), np.empty((rows, concepts), np.float32))
        rows = whole(rows, TILE_ROWS)
        return _FloatSpace(
            sums, np.zeros((rows, dimension + _PAD), np.float32), np.empty((rows, self._width), np.float32)
        )

    def run(self, strip: Strip, space: _FloatSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Answer for a strip; gives its pairs as (rows, concepts, similarities), where they are wanted."""
        bits, prototypes, scores, asked = strip.bits, self._prototypes, space.scores, self._asked
        if self._panels is None:
            products.dots(bits, prototypes, space.rows[0], scores, strip.refused)
        else:
            products.rows_as_floats(bits, space.rows, strip.refused)
            products.multiply_rows(space.rows, self._panels, len(bits), bits.shape[1], scores)
        if len(self._thresholds):
            answers.count_at_floats(
                bits, prototypes, scores, self._thresholds, self._lower, self._upper, space.sums.counts
            )
        if self._ladder is not None and space.sums.between is not None:
            self._ladder.fill(bits, prototypes, scores, space.sums.between)
        if space.sums.bins is not None:
            answers.bin_scores(bits, prototypes, scores, self.band, self._edges, space.sums.bins)
        if asked.best:
            answers.best_of_rows(bits, prototypes, scores, self.band, strip.best_concepts, strip.best_similarities)
        if not asked.pairs or strip.floors is None:
            return None
        within = np.inf if asked.within is None else asked.within
        lower, _ = screen_bounds(strip.floors, self.band)
        return answers.pairs_of_rows(bits, prototypes, scores, self.band, strip.floors, lower, within)

    def counts(self, total: Sums) -> np.ndarray:
        """(C, T) int64, out of the sums of all workers."""
        if self._ladder is not None and total.between is not None:
            return self._ladder.counts(total.between)
        return total.counts.T.astype(np.int64)


@dataclass(eq=False)
class _IntegerSpace:
    sums: Sums
    rows: np.ndarray
    products: np.ndarray
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class _Rounded:
    """Prototypes as multiples of 1 / scale; lengths and residuals are rounded up."""

    numbers: np.ndarray
    scale: np.ndarray
    length: np.ndarray
    residual: np.ndarray

    def band(self, row_residual: float, row_length: float) -> np.ndarray:
        """How far can a product of rounded vectors lie from the similarity, for each prototype?

        |x·p − x̂·p̂| ≤ |x − x̂| |p| + |x̂| |p − p̂| (Cauchy–Schwarz).
        """
        return row_residual * self.length + row_length * self.residual


class ShortScreen:
    """An int16 product: twice as quick as float32 with AVX2, and about as fine; counts at a few thresholds.

    Rows are multiples of 2⁻¹⁵, so that their lengths are at most about 2¹⁵; the prototypes' scale is bounded so that no
    sum leaves 32 bits.
    """

    def __init__(self, prototypes: np.ndarray, asked: Asked) -> None:
        wide = prototypes.astype(np.float64)
        length = np.sqrt(np.square(wide).sum(axis=1))
        self._prototypes = prototypes.astype(np.float32)
        self._rounded = _round(wide, 32767, _GREATEST_INT32 / 2.0**15 / np.maximum(length, 1e-6))
        self._thresholds = np.array(asked.thresholds.T, order="C")
        self._scale = self._rounded.scale * 2.0**15
        self._depth = whole(prototypes.shape[1], 2)
        numbers = np.zeros((len(wide), self._depth), np.int16)
        numbers[:, : wide.shape[1]] = self._rounded.numbers
        self._panels = panels(numbers, INTEGER_TILE_CONCEPTS, 2).view(np.int32)

    def space(self, rows: int) -> _IntegerSpace:
        """Make room for strips of so many rows."""
        rows, width = whole(rows, INTEGER_TILE_ROWS), whole(len(self._prototypes), INTEGER_TILE_CONCEPTS)
        return _IntegerSpace(
            Sums(np.zeros(self._thresholds.shape, np.int32)),
            np.zeros((rows, self._depth), np.int16),
            np.empty((rows, width), np.int32),
        )

    def run(self, strip: Strip, space: _IntegerSpace) -> None:
        """Count a strip."""
        bits, thresholds, rounded = strip.bits, self._thresholds, self._rounded
        residual, length = products.rows_as_shorts(bits, space.rows, strip.refused)
        products.multiply_shorts(space.rows.view(np.int32), self._panels, len(bits), space.products)
        lower, upper = np.empty(thresholds.shape, np.int32), np.empty(thresholds.shape, np.int32)
        answers.integer_bounds(
            thresholds, self._scale, rounded.length, rounded.residual, residual, length, lower, upper
        )
        answers.count_at_sums(bits, self._prototypes, space.products, thresholds, lower, upper, space.sums.counts)

    def counts(self, total: Sums) -> np.ndarray:
        """(C, T) int64, out of the sums of all workers."""
        return total.counts.T.astype(np.int64)


class ByteScreen:
    """An int8 product, given from outside; counts at a few thresholds.

    Rows are rounded as differences from a mean row, since CLIP's vectors share a direction that a few large numbers
    make up: they would set the steps.

    Parameters
    ----------
    prototypes, asked
        As for `FloatScreen`.
    mean
        (d,) float32, whatever it is.
    product
        Fills in the true sums.
    """

    def __init__(self, prototypes: np.ndarray, asked: Asked, mean: np.ndarray, product: ByteProduct) -> None:
        wide = prototypes.astype(np.float64)
        self._prototypes = prototypes.astype(np.float32)
        self._rounded = _round(wide, 127, np.full(len(wide), 2.0**20))
        self._numbers = self._rounded.numbers.astype(np.int8)
        self._thresholds = np.array(asked.thresholds.T, order="C")
        self._mean, self._offset = mean, wide @ mean.astype(np.float64)
        self._product = product

    def space(self, rows: int) -> _IntegerSpace:
        """Make room for strips of so many rows."""
        concepts, dimension = self._prototypes.shape
        return _IntegerSpace(
            Sums(np.zeros(self._thresholds.shape, np.int32)),
            np.zeros((rows, dimension), np.int8),
            np.empty((rows, concepts), np.int32),
            np.zeros(rows, np.float32),
            np.empty((rows, concepts), np.float32),
        )

    def run(self, strip: Strip, space: _IntegerSpace) -> None:
        """Count a strip."""
        bits, here = strip.bits, slice(len(strip.bits))
        residual, length = products.rows_as_bytes(bits, self._mean, space.rows, space.steps, strip.refused)
        self._product(space.rows[here], self._numbers, space.products[here])
        products.scale_sums(space.products[here], space.steps, space.scores)
        # The last term covers the float32 roundings of scores and bounds, some five of values below 2.
        band = self._rounded.band(residual, length) + 1e-6
        rest = self._thresholds - self._offset
        lower, upper = ((rest + way * band) * self._rounded.scale for way in (-1, 1))
        answers.count_at_floats(
            bits,
            self._prototypes,
            space.scores,
            self._thresholds,
            lower.astype(np.float32),
            upper.astype(np.float32),
            space.sums.counts,
        )

    def counts(self, total: Sums) -> np.ndarray:
        """(C, T) int64, out of the sums of all workers."""
        return total.counts.T.astype(np.int64)


Screen = FloatScreen | ShortScreen | ByteScreen


def whole(count: int, size: int) -> int:
    """Round up to a multiple."""
    return -(-count // size) * size


def panels(prototypes: np.ndarray, concepts_at_once: int, together: int) -> np.ndarray:
    """Lay (C, d) prototypes out flat: panel by panel, number by number, the panel's concepts side by side.

    `together` numbers of each concept stay together; what fills the last panel up is zero.
    """
    concepts, dimension = prototypes.shape
    padded = np.zeros((whole(concepts, concepts_at_once), dimension), prototypes.dtype)
    padded[:concepts] = prototypes
    split = padded.reshape(-1, concepts_at_once, dimension // together, together)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3)).reshape(-1)


def _round(wide: np.ndarray, greatest: int, most_scale: np.ndarray) -> _Rounded:
    scale = np.minimum(greatest / np.maximum(np.abs(wide).max(axis=1), 1e-6), most_scale)
    numbers = np.rint(wide * scale[:, None])
    residual = np.sqrt(np.square(wide - numbers / scale[:, None]).sum(axis=1))
    length = np.sqrt(np.square(wide).sum(axis=1))
    return _Rounded(numbers, scale, length * (1 + 1e-9) + 1e-12, residual * (1 + 1e-9) + 1e-12)
