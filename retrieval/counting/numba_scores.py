"""What becomes of scores in the numba form: counted at thresholds, binned, the best of a row found, pairs listed.

A pair whose score lies in the band of a threshold is settled by the exact dot. Not here: the products
(`numba_products.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .bins import BINS, BINS_PER_UNIT, FIRST_EDGE
from .llvm_intrinsics import half_to_float
from .numba_compiling import (
    ANY_ORDER,
    BITS,
    DOUBLE,
    DOUBLES,
    DOUBLES_2,
    FLOAT,
    FLOATS,
    FLOATS_2,
    NUMBER,
    WORDS_2,
    Kernel,
    kernel,
)

# Concepts whose histograms stay in the second-level cache.
_CONCEPTS_AT_ONCE = 64
# Scores that are looked at together when nearly all of them are to be passed over.
_SCORES_AT_ONCE = 16


@njit(nogil=True, fastmath=ANY_ORDER)
def _exact(bits: Any, prototype: Any) -> Any:
    """The float64 dot of a row's float16 numbers and a prototype's: exact for vectors of about unit length."""
    total = 0.0
    for k in range(len(prototype)):
        total += np.float64(half_to_float(bits[k])) * np.float64(prototype[k])
    return total


@kernel(DOUBLES_2, DOUBLES, DOUBLES, DOUBLES, DOUBLE, DOUBLE, WORDS_2, WORDS_2)
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
count_at_floats = Kernel(_count_at, BITS, FLOATS_2, FLOATS_2, DOUBLES_2, FLOATS_2, FLOATS_2, WORDS_2)
count_at_sums = Kernel(_count_at, BITS, FLOATS_2, WORDS_2, DOUBLES_2, WORDS_2, WORDS_2, WORDS_2)


@kernel(
    BITS,
    FLOATS_2,
    FLOATS_2,
    DOUBLES_2,
    FLOATS_2,
    FLOATS_2,
    WORDS_2,
    NUMBER,
    FLOAT,
    FLOAT,
    WORDS_2,
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
def _bin_of(exact: Any, edges: Any) -> Any:
    place = min(max(np.int64(np.floor(exact * BINS_PER_UNIT)) - FIRST_EDGE, 0), BINS - 1)
    while place > 0 and exact < edges[place]:
        place -= 1
    while place < BINS - 1 and exact >= edges[place + 1]:
        place += 1
    return place


@kernel(BITS, FLOATS_2, FLOATS_2, DOUBLE, DOUBLES, WORDS_2)
def bin_scores(bits: Any, prototypes: Any, scores: Any, band: Any, edges: Any, histograms: Any) -> None:
    """Add scores to (C, BINS) histograms; those within a band of an edge are settled."""
    # In units of a bin; the second term covers the roundings of the two operations on floats up to 2048.
    near = np.float32(band * BINS_PER_UNIT * 1.001 + 4 * 2048 * 2.0**-24)
    settled, places = np.int32(1 << 30), np.empty(_CONCEPTS_AT_ONCE, np.int32)
    flat, width, concepts = histograms.reshape(-1), histograms.shape[1], len(prototypes)
    for start in range(0, concepts, _CONCEPTS_AT_ONCE):
        here = min(_CONCEPTS_AT_ONCE, concepts - start)
        for r in range(len(bits)):
            row = scores[r, start : start + here]
            for i in range(here):
                place = row[i] * np.float32(BINS_PER_UNIT) - np.float32(FIRST_EDGE)
                place = min(max(place, np.float32(0)), np.float32(BINS - 1))  # nothing may be written elsewhere
                whole = np.int32(place)
                part = place - np.float32(whole)
                sure = np.int32(part > near) & np.int32(part < np.float32(1) - near)
                places[i] = np.int32(whole | (sure * settled))
            for i in range(here):
                if places[i] >= settled:
                    column = np.int64(places[i] - settled)
                else:
                    column = _bin_of(_exact(bits[r], prototypes[start + i]), edges)
                flat[np.uint64((start + i) * width + column)] += np.int32(1)


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


@kernel(BITS, FLOATS_2, FLOATS_2, DOUBLE, WORDS_2, DOUBLES_2)
def best_of_rows(bits: Any, prototypes: Any, scores: Any, band: Any, concepts: Any, similarities: Any) -> None:
    """Find each row's best prototypes; the last two are (n, m) and filled in."""
    highest = np.empty(concepts.shape[1], np.float32)
    for r in range(len(bits)):
        _best_of_row(bits[r], prototypes, scores[r], band, highest, concepts[r], similarities[r])


@kernel(BITS, FLOATS_2, FLOATS_2, DOUBLE, DOUBLES, FLOATS, DOUBLE)
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
