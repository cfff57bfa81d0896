"""The loops of the numba form: rows converted and checked, multiplied, and their scores compared, binned and settled.

Not here: what is laid out for them and in which order they run (`numba_screens.py`, `numba_form.py`). No loop starts a
thread of its own: all of them let go of Python's lock, and whoever calls them has threads. So nothing breaks when a
process forks, and no pool of threads meets another.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types

from ...embed.corpus import LEAST_SQUARE, MOST_SQUARE
from . import llvm_intrinsics
from .llvm_intrinsics import (
    INTEGER_TILE_CONCEPTS,
    INTEGER_TILE_ROWS,
    TILE_CONCEPTS,
    TILE_ROWS,
    half_to_float,
    multiply_floats,
    multiply_short_pairs,
    nearest,
)

# Float32 sums are made of runs of so many numbers: what a sum may err by grows with its length.
RUN = 64
# Rows that go through all panels before the next ones do; they stay in the second-level cache.
_ROWS_AT_ONCE = 96
# Concepts whose histograms stay in the second-level cache.
_CONCEPTS_AT_ONCE = 64
# Scores that are looked at together when nearly all of them are to be passed over.
_SCORES_AT_ONCE = 16

# Sums that LLVM may reorder: exact ones, and those that are only compared with a tolerance. It may assume nothing about
# nan and inf.
_ANY_ORDER = {"reassoc", "contract", "nsz"}
# numba names its cache after this file's text alone; the intrinsics are compiled into it too.
_DIGEST = hashlib.sha256(
    b"".join(Path(file).read_bytes() for file in (__file__, llvm_intrinsics.__file__))
).hexdigest()[:12]


class Kernel:
    """A compiled function for given types: compiled when first called, or read from numba's cache.

    Parameters
    ----------
    function
        What is compiled.
    types
        Of its arguments.
    """

    def __init__(self, function: Callable, *argument_types: Any) -> None:
        self._function = function
        self._types = argument_types
        self._compiled: Callable | None = None
        self._compiling = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        if self._compiled is None:
            with self._compiling:
                if self._compiled is None:
                    self._compiled = self._compile()
        return self._compiled(*arguments)

    def _compile(self) -> Callable:
        self._function.__qualname__ = f"{self._function.__name__}-{_DIGEST}"
        try:
            return njit(self._types, nogil=True, cache=True)(self._function)
        except (RuntimeError, OSError):  # there is nowhere to keep it: it is compiled in every process
            return njit(self._types, nogil=True)(self._function)


def kernel(*argument_types: Any) -> Callable[[Callable], Kernel]:
    """Make a function a `Kernel`."""
    return lambda function: Kernel(function, *argument_types)


def _array(dtype: Any, dimensions: int) -> Any:
    return types.Array(dtype, dimensions, "C")


_BITS = types.Array(types.uint16, 2, "C", readonly=True)
_FLAGS = _array(types.uint8, 1)
_FLOATS, _FLOATS_2 = _array(types.float32, 1), _array(types.float32, 2)
_DOUBLES, _DOUBLES_2 = _array(types.float64, 1), _array(types.float64, 2)
_WORDS_2 = _array(types.int32, 2)


# Single pairs and rows.


@njit(nogil=True, fastmath=_ANY_ORDER)
def _exact(bits: Any, prototype: Any) -> Any:
    """The float64 dot of a row's float16 numbers and a prototype's: exact for vectors of about unit length."""
    total = 0.0
    for k in range(len(prototype)):
        total += np.float64(half_to_float(bits[k])) * np.float64(prototype[k])
    return total


@njit(nogil=True, fastmath=_ANY_ORDER)
def _square(bits: Any) -> Any:
    total = 0.0
    for k in range(len(bits)):
        value = np.float64(half_to_float(bits[k]))
        total += value * value
    return total


@njit(nogil=True)
def _is_unit(bits: Any, square: Any) -> Any:
    """Say what `embed.corpus.is_unit` says, given the float32 squared length, which is summed in any order."""
    margin = 1e-4 + len(bits) * 2.0**-23
    if square > LEAST_SQUARE + margin and square < MOST_SQUARE - margin:
        return True
    if not (square > 0.9 and square < 1.1):  # nan too
        return False
    exact = _square(bits)
    return exact >= LEAST_SQUARE and exact <= MOST_SQUARE


# Rows made ready. Refused ones are marked and become zero.


@njit(nogil=True, fastmath=_ANY_ORDER)
def _widen(bits: Any, row: Any) -> Any:
    square = np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        row[k] = value
        square += value * value
    return square


@kernel(_BITS, _FLOATS_2, _FLAGS)
def rows_as_floats(bits: Any, rows: Any, refused: Any) -> None:
    """Widen rows to float32."""
    for r in range(len(bits)):
        row = rows[r, : bits.shape[1]]
        if not _is_unit(bits[r], _widen(bits[r], row)):
            refused[r] = 1
            row[:] = 0


@njit(nogil=True, fastmath=_ANY_ORDER)
def _to_shorts(bits: Any, row: Any) -> Any:
    square, lost = np.float32(0), np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        rounded = nearest(min(max(value * np.float32(32768), np.float32(-32767)), np.float32(32767)))
        row[k] = np.int16(np.int32(rounded))
        left = value - rounded * np.float32(1 / 32768)  # both are exact, and so is the difference
        square += value * value
        lost += left * left
    return square, lost


@kernel(_BITS, _array(types.int16, 2), _FLAGS)
def rows_as_shorts(bits: Any, rows: Any, refused: Any) -> Any:
    """Round rows to multiples of 2⁻¹⁵; gives the longest residual and the longest rounded row, rounded up."""
    longest_residual, longest = 0.0, 0.0
    for r in range(len(bits)):
        row = rows[r, : bits.shape[1]]
        square, lost = _to_shorts(bits[r], row)
        if not _is_unit(bits[r], square):
            refused[r] = 1
            row[:] = 0
            continue
        residual = np.sqrt(np.float64(lost)) * 1.001 + 1e-12
        longest_residual = max(longest_residual, residual)
        longest = max(longest, np.sqrt(np.float64(square)) * 1.001 + residual)
    return longest_residual, longest


@njit(nogil=True, fastmath=_ANY_ORDER)
def _about_mean(bits: Any, mean: Any) -> Any:
    square, greatest = np.float32(0), np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        square += value * value
        greatest = max(greatest, abs(value - mean[k]))
    return square, greatest


@njit(nogil=True, fastmath=_ANY_ORDER)
def _to_bytes(bits: Any, mean: Any, scale: Any, back: Any, row: Any) -> Any:
    lost, kept = np.float32(0), np.float32(0)
    for k in range(len(bits)):
        apart = half_to_float(bits[k]) - mean[k]
        rounded = min(max(nearest(apart * scale), np.float32(-127)), np.float32(127))
        row[k] = np.int8(np.int32(rounded))
        stands_for = rounded * back
        left = apart - stands_for
        lost += left * left
        kept += stands_for * stands_for
    return lost, kept


@kernel(_BITS, _FLOATS, _array(types.int8, 2), _FLOATS, _FLAGS)
def rows_as_bytes(bits: Any, mean: Any, rows: Any, steps: Any, refused: Any) -> Any:
    """Take the mean off rows and round them to int8, each by steps of its own.

    Gives the longest residual and the longest rounded row, rounded up. The float32 roundings of the difference from the
    mean and of the residual come to less than 10⁻⁶ in length.
    """
    longest_residual, longest = 0.0, 0.0
    for r in range(len(bits)):
        row = rows[r]
        square, greatest = _about_mean(bits[r], mean)
        if not _is_unit(bits[r], square):
            refused[r] = 1
            row[:] = 0
            steps[r] = 0
            continue
        greatest = max(greatest, np.float32(1e-6))
        steps[r] = greatest / np.float32(127)
        lost, kept = _to_bytes(bits[r], mean, np.float32(127) / greatest, steps[r], row)
        longest_residual = max(longest_residual, np.sqrt(np.float64(lost)) * 1.001 + 1e-6)
        longest = max(longest, np.sqrt(np.float64(kept)) * 1.001 + 1e-6)
    return longest_residual, longest


# Products.


@kernel(_FLOATS_2, _FLOATS, types.int64, types.int64, _FLOATS_2)
def multiply_rows(rows: Any, panels: Any, count: Any, dimension: Any, scores: Any) -> None:
    """Multiply float32 rows by panels of prototypes, in runs of RUN numbers.

    Parameters
    ----------
    rows
        (at least `count` and whole tiles, stride).
    panels
        Flat: panel by panel, number by number, TILE_CONCEPTS prototypes side by side.
    count, dimension
        Rows and their numbers.
    scores
        (as many rows, whole panels).
    """
    stride, width = rows.shape[1], scores.shape[1]
    for block in range(0, count, _ROWS_AT_ONCE):
        for concept in range(0, width, TILE_CONCEPTS):
            for row in range(block, min(block + _ROWS_AT_ONCE, count), TILE_ROWS):
                for k in range(0, dimension, RUN):
                    multiply_floats(
                        rows,
                        panels,
                        scores,
                        row * stride + k,
                        stride,
                        concept * dimension + k * TILE_CONCEPTS,
                        row * width + concept,
                        width,
                        min(RUN, dimension - k),
                        k > 0,
                    )


@kernel(_WORDS_2, _array(types.int32, 1), types.int64, _WORDS_2)
def multiply_shorts(rows: Any, panels: Any, count: Any, sums: Any) -> None:
    """Multiply int16 rows by panels of int16 prototypes; both come as pairs in int32."""
    stride, width = rows.shape[1], sums.shape[1]
    for block in range(0, count, _ROWS_AT_ONCE):
        for concept in range(0, width, INTEGER_TILE_CONCEPTS):
            for row in range(block, min(block + _ROWS_AT_ONCE, count), INTEGER_TILE_ROWS):
                start = row * width + concept
                multiply_short_pairs(
                    rows, panels, sums, row * stride, stride, concept * stride, start, width, stride, False
                )


@kernel(_DOUBLES_2, _DOUBLES, _DOUBLES, _DOUBLES, types.float64, types.float64, _WORDS_2, _WORDS_2)
def integer_bounds(
    thresholds: Any, scale: Any, length: Any, residual: Any, row_residual: Any, row_length: Any, lower: Any, upper: Any
) -> None:
    """Fill in between which integer sums the exact dot must decide.

    How far a product of rounded vectors may lie from the similarity follows from what rounding took off both:
    |x·p − x̂·p̂| ≤ |x − x̂| |p| + |x̂| |p − p̂| (Cauchy–Schwarz).

    Parameters
    ----------
    thresholds
        (T, C).
    scale, length, residual
        (C,) of the prototypes: what a sum is divided by to give a similarity, |p| and |p − p̂|, rounded up.
    row_residual, row_length
        The longest |x − x̂| and |x̂| of the rows.
    lower, upper
        (T, C) int32.
    """
    for t in range(thresholds.shape[0]):
        for c in range(thresholds.shape[1]):
            band = row_residual * length[c] + row_length * residual[c]
            # One to either side covers the float64 roundings here.
            low = np.floor((thresholds[t, c] - band) * scale[c]) - 1
            high = np.ceil((thresholds[t, c] + band) * scale[c]) + 1
            lower[t, c] = np.int32(min(max(low, -2147483648.0), 2147483647.0))
            upper[t, c] = np.int32(min(max(high, -2147483648.0), 2147483647.0))


@kernel(_WORDS_2, _FLOATS, _FLOATS_2)
def scale_sums(sums: Any, steps: Any, scores: Any) -> None:
    """Multiply the integer sums of each row by the row's step."""
    for r in range(len(sums)):
        for c in range(sums.shape[1]):
            scores[r, c] = np.float32(sums[r, c]) * steps[r]


@njit(nogil=True, fastmath=_ANY_ORDER)
def _dot_and_square(bits: Any, prototype: Any) -> Any:
    total, square = np.float32(0), np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        total += value * prototype[k]
        square += value * value
    return total, square


@njit(nogil=True, fastmath=_ANY_ORDER)
def _dot(row: Any, prototype: Any) -> Any:
    total = np.float32(0)
    for k in range(len(prototype)):
        total += row[k] * prototype[k]
    return total


@kernel(_BITS, _FLOATS_2, _FLOATS, _FLOATS_2, _FLAGS)
def dots(bits: Any, prototypes: Any, row: Any, scores: Any, refused: Any) -> None:
    """Multiply float16 rows by a few float32 prototypes, reading each row once; `row` has room for one."""
    concepts = len(prototypes)
    for r in range(len(bits)):
        if concepts == 1:
            scores[r, 0], square = _dot_and_square(bits[r], prototypes[0])
        else:
            square = _widen(bits[r], row)
            for c in range(concepts):
                scores[r, c] = _dot(row, prototypes[c])
        if not _is_unit(bits[r], square):
            refused[r] = 1
            scores[r] = 0


# What becomes of scores. A pair whose score lies in the band of a threshold is settled by the exact dot.


def _count_at(bits: Any, prototypes: Any, scores: Any, thresholds: Any, lower: Any, upper: Any, counts: Any) -> None:
    concepts = len(prototypes)
    for r in range(len(bits)):
        row = scores[r]
        for t in range(len(thresholds)):
            low, high, own = lower[t], upper[t], counts[t]
            unsettled = np.int32(0)
            for c in range(concepts):  # 32-bit throughout, so that whole vectors are compared
                sure = np.int32(row[c] >= high[c])
                own[c] = np.int32(own[c] + sure)
                unsettled = np.int32(unsettled + np.int32(np.int32(row[c] >= low[c]) - sure))
            if unsettled:
                for c in range(concepts):
                    if row[c] >= low[c] and row[c] < high[c]:
                        own[c] += np.int32(_exact(bits[r], prototypes[c]) >= thresholds[t, c])


# Scores at or above `upper` are hits, those below `lower` are none; all three (T, C), counts too and added to.
count_at_floats = Kernel(_count_at, _BITS, _FLOATS_2, _FLOATS_2, _DOUBLES_2, _FLOATS_2, _FLOATS_2, _WORDS_2)
count_at_sums = Kernel(_count_at, _BITS, _FLOATS_2, _WORDS_2, _DOUBLES_2, _WORDS_2, _WORDS_2, _WORDS_2)


@kernel(
    _BITS,
    _FLOATS_2,
    _FLOATS_2,
    _DOUBLES_2,
    _FLOATS_2,
    _FLOATS_2,
    _WORDS_2,
    types.int64,
    types.float32,
    types.float32,
    _WORDS_2,
)
def count_between(
    bits: Any,
    prototypes: Any,
    scores: Any,
    thresholds: Any,
    lower: Any,
    upper: Any,
    first: Any,
    steps: Any,
    origin: Any,
    per_unit: Any,
    classes: Any,
) -> None:
    """Count the rows between one threshold and the next, for many thresholds.

    Parameters
    ----------
    thresholds
        (C, T), or (1, T) for all concepts; ascending.
    lower, upper
        (C, T + 1) or (1, T + 1), the last ones infinite.
    first
        (C, buckets) or (1, buckets): how many thresholds a score surely reaches that falls into a bucket, buckets being
        `per_unit` to a unit of similarity from `origin` on.
    steps
        How many more it may reach at most.
    classes
        (C, T + 1), added to: how many rows reach exactly so many thresholds.
    """
    # Loops of one step each, without a branch that depends on the score: a few cycles a score. Flat arrays and unsigned
    # places, since numba asks of every signed one whether it counts from the end.
    concepts, columns = len(prototypes), thresholds.shape[1]
    own, last_bucket = len(thresholds) > 1, np.float32(first.shape[1] - 1)
    first_width, bound_width = own * first.shape[1], own * upper.shape[1]
    flat_first, flat_lower, flat_upper = first.reshape(-1), lower.reshape(-1), upper.reshape(-1)
    flat_thresholds, flat_classes, class_width = thresholds.reshape(-1), classes.reshape(-1), classes.shape[1]
    reached, unsettled = np.empty(_CONCEPTS_AT_ONCE, np.uint32), np.empty(_CONCEPTS_AT_ONCE, np.int32)
    for start in range(0, concepts, _CONCEPTS_AT_ONCE):
        here = min(_CONCEPTS_AT_ONCE, concepts - start)
        for r in range(len(bits)):
            row = scores[r, start : start + here]
            for i in range(here):
                bucket = min(max((row[i] - origin) * per_unit, np.float32(0)), last_bucket)
                reached[i] = np.uint32(np.int32(bucket))
            for i in range(here):
                reached[i] = np.uint32(flat_first[np.uint64((start + i) * first_width + reached[i])])
            for _ in range(steps):
                for i in range(here):
                    bound = flat_upper[np.uint64((start + i) * bound_width + reached[i])]
                    reached[i] = np.uint32(reached[i] + np.uint32(row[i] >= bound))
            for i in range(here):
                unsettled[i] = row[i] >= flat_lower[np.uint64((start + i) * bound_width + reached[i])]
            for i in range(here):
                column = np.int64(reached[i])
                if unsettled[i]:
                    exact = _exact(bits[r], prototypes[start + i])
                    below = (start + i) * own * columns
                    while column < columns and exact >= flat_thresholds[np.uint64(below + column)]:
                        column += 1
                flat_classes[np.uint64((start + i) * class_width + column)] += np.int32(1)


@njit(nogil=True)
def _mth_highest(scores: Any, concepts: Any, highest: Any) -> Any:
    last = len(highest) - 1
    highest[:] = -np.inf
    for start in range(0, concepts, _SCORES_AT_ONCE):
        stop = min(start + _SCORES_AT_ONCE, concepts)
        above = np.int32(0)
        for c in range(start, stop):
            above = np.int32(above + np.int32(scores[c] > highest[last]))
        if not above:
            continue
        for c in range(start, stop):
            place = last
            if scores[c] > highest[place]:
                while place > 0 and highest[place - 1] < scores[c]:
                    highest[place] = highest[place - 1]
                    place -= 1
                highest[place] = scores[c]
    return highest[last]


@njit(nogil=True)
def _best_of_row(bits: Any, prototypes: Any, scores: Any, band: Any, highest: Any, concepts: Any, exact: Any) -> None:
    """Fill in a row's best prototypes: only those within two bands of the last one's score can be among them."""
    best, kept = len(highest), 0
    least = np.float64(_mth_highest(scores, len(prototypes), highest)) - 2 * band
    for c in range(len(prototypes)):
        if scores[c] < least:
            continue
        similarity = _exact(bits, prototypes[c])
        if kept == best and not similarity > exact[best - 1]:
            continue
        place = min(kept, best - 1)
        kept = min(kept + 1, best)
        while place > 0 and exact[place - 1] < similarity:  # equal ones stay in the order of their positions
            exact[place], concepts[place] = exact[place - 1], concepts[place - 1]
            place -= 1
        exact[place], concepts[place] = similarity, c


@kernel(_BITS, _FLOATS_2, _FLOATS_2, types.float64, _WORDS_2, _DOUBLES_2)
def best_of_rows(bits: Any, prototypes: Any, scores: Any, band: Any, concepts: Any, similarities: Any) -> None:
    """Find each row's best prototypes; the last two are (n, m) and filled in."""
    highest = np.empty(concepts.shape[1], np.float32)
    for r in range(len(bits)):
        _best_of_row(bits[r], prototypes, scores[r], band, highest, concepts[r], similarities[r])


@kernel(_BITS, _FLOATS_2, _FLOATS_2, types.float64, _DOUBLES, _FLOATS, types.float64)
def pairs_of_rows(
    bits: Any, prototypes: Any, scores: Any, band: Any, floors: Any, floors_lower: Any, within: Any
) -> Any:
    """Find the pairs that reach their floors and lie no further than `within` (inf for all) below their row's best."""
    concepts, near = len(prototypes), np.isfinite(within)
    tops, least = np.empty(len(bits)), np.full(len(bits), np.float32(-np.inf))
    highest, best_concept = np.empty(1, np.float32), np.empty(1, np.int32)
    found = 0
    for r in range(len(bits)):
        if near:
            _best_of_row(bits[r], prototypes, scores[r], band, highest, best_concept, tops[r : r + 1])
            # Two bands: the score may lie one below its similarity; the other covers all roundings here.
            least[r] = np.float32(tops[r] - within - 2 * band)
        possible = np.int32(0)
        for c in range(concepts):
            possible = np.int32(
                possible + np.int32(scores[r, c] >= floors_lower[c]) * np.int32(scores[r, c] >= least[r])
            )
        found += possible
    rows, others, similarities = np.empty(found, np.int64), np.empty(found, np.int32), np.empty(found)
    found = 0
    for r in range(len(bits)):
        for start in range(0, concepts, _SCORES_AT_ONCE):
            stop = min(start + _SCORES_AT_ONCE, concepts)
            possible = np.int32(0)
            for c in range(start, stop):
                possible = np.int32(
                    possible + np.int32(scores[r, c] >= floors_lower[c]) * np.int32(scores[r, c] >= least[r])
                )
            if not possible:
                continue
            for c in range(start, stop):
                if not (scores[r, c] >= floors_lower[c] and scores[r, c] >= least[r]):
                    continue
                similarity = _exact(bits[r], prototypes[c])
                if similarity >= floors[c] and (not near or tops[r] - similarity <= within):
                    rows[found], others[found], similarities[found] = r, c, similarity
                    found += 1
    return rows[:found].copy(), others[:found].copy(), similarities[:found].copy()
