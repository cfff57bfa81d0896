"""The numba form's rows and products: float16 rows checked, widened or rounded, and multiplied by prototypes.

Not here: what becomes of the scores (`numba_scores.py`), how the bands follow from what rounding lost
(`numba_screens.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...embed.corpus import LEAST_SQUARE, MOST_SQUARE
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
from .numba_compiling import ANY_ORDER, BITS, BYTES_2, FLAGS, FLOATS, FLOATS_2, NUMBER, SHORTS_2, WORDS, WORDS_2, kernel

# Float32 sums are made of runs of so many numbers: what a sum may err by grows with its length.
RUN = 64
# Rows that go through all panels before the next ones do; they stay in the second-level cache.
_ROWS_AT_ONCE = 96


@njit(nogil=True, fastmath=ANY_ORDER)
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


@njit(nogil=True, fastmath=ANY_ORDER)
def _widen(bits: Any, row: Any) -> Any:
    square = np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        row[k] = value
        square += value * value
    return square


@kernel(BITS, FLOATS_2, FLAGS)
def rows_as_floats(bits: Any, rows: Any, refused: Any) -> None:
    """Widen rows to float32."""
    for r in range(len(bits)):
        row = rows[r, : bits.shape[1]]
        if not _is_unit(bits[r], _widen(bits[r], row)):
            refused[r] = 1
            row[:] = 0


@njit(nogil=True, fastmath=ANY_ORDER)
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


@kernel(BITS, SHORTS_2, FLAGS)
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


@njit(nogil=True, fastmath=ANY_ORDER)
def _about_mean(bits: Any, mean: Any) -> Any:
    square, greatest = np.float32(0), np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        square += value * value
        greatest = max(greatest, abs(value - mean[k]))
    return square, greatest


@njit(nogil=True, fastmath=ANY_ORDER)
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


@kernel(BITS, FLOATS, BYTES_2, FLOATS, FLAGS)
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


@kernel(FLOATS_2, FLOATS, NUMBER, NUMBER, FLOATS_2)
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


@kernel(WORDS_2, WORDS, NUMBER, WORDS_2)
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


@kernel(WORDS_2, FLOATS, FLOATS_2)
def scale_sums(sums: Any, steps: Any, scores: Any) -> None:
    """Multiply the integer sums of each row by the row's step."""
    for r in range(len(sums)):
        for c in range(sums.shape[1]):
            scores[r, c] = np.float32(sums[r, c]) * steps[r]


@njit(nogil=True, fastmath=ANY_ORDER)
def _dot_and_square(bits: Any, prototype: Any) -> Any:
    total, square = np.float32(0), np.float32(0)
    for k in range(len(bits)):
        value = half_to_float(bits[k])
        total += value * prototype[k]
        square += value * value
    return total, square


@njit(nogil=True, fastmath=ANY_ORDER)
def _dot(row: Any, prototype: Any) -> Any:
    total = np.float32(0)
    for k in range(len(prototype)):
        total += row[k] * prototype[k]
    return total


@kernel(BITS, FLOATS_2, FLOATS, FLOATS_2, FLAGS)
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
