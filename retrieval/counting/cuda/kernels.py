"""Triton kernels: checking rows, the product with its decisions made in registers, one prototype alone, settling.

Not here: launching them (`launches.py`), what their bounds must be (`tensor_cores.py`). Triton decides when this module
is imported whether kernels are compiled or interpreted (TRITON_INTERPRET=1).

All kernels are memory-safe for any rows. What a kernel cannot decide goes as a record into its program's own segment of
a buffer: the row in its low 32 bits, and above them a code that is `kind · concepts + concept`. Kinds below THRESHOLDS
say which threshold is open; THRESHOLDS says that the bin of the histogram is; one more, that the pair itself was asked
for. A segment that overflows is seen by its counter, which goes on counting.
"""

# Triton's language: arguments have no Python types, constants are in capitals, and `tl.constexpr` is read from the
# annotations themselves, so there is no `from __future__ import annotations`.
# ruff: noqa: ANN001, ANN201, ANN202, N803

import triton
import triton.language as tl

BINS = tl.constexpr(2048)
_BINS_PER_UNIT = tl.constexpr(1000.0)
_FIRST_BIN = tl.constexpr(1024.0)  # the bin that begins at similarity 0
# Adding it rounds a float32 below 2²² to a whole number, which then stands in the lowest bits.
_ROUNDER = tl.constexpr(12582912.0)  # 1.5 · 2²³
_ROUNDER_BITS = tl.constexpr(0x4B400000)
# The score of what is outside: below every similarity, far from every edge of the histogram, and in no bin.
_OUTSIDE = tl.constexpr(-4.0005)
_NOWHERE, _OPEN = tl.constexpr(-1), tl.constexpr(-2)  # instead of a bin


@triton.jit
def check_rows(rows, refused, count, limits, D: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_D: tl.constexpr):
    """Mark rows that are not finite or not of unit length, by the exact sum of their squares.

    `limits` points to two float64, the least and the most that the sum may be.
    """
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    inside = row < count
    square = tl.zeros([BLOCK_R], tl.float64)
    for start in range(0, D, BLOCK_D):
        x = _load_rows(rows, row, inside, start, D, BLOCK_D).to(tl.float32)
        square += tl.sum((x * x).to(tl.float64), axis=1)  # a product of two float16 is exact in float32
    fine = (square >= tl.load(limits)) & (square <= tl.load(limits + 1))  # nan is not
    tl.store(refused + row, tl.where(fine, 0, 1).to(tl.int8), mask=inside)


@triton.jit
def count_product(
    rows,
    prototypes,
    sure_from,
    counts,
    histogram,
    row_best,
    floors,
    row_floors,
    row_best_floors,
    records,
    used,
    scores_out,
    count,
    concepts,
    capacity,
    open_width,
    edge_band,
    one,
    D: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SHORT_SUMS: tl.constexpr,
    THRESHOLDS: tl.constexpr,
    HISTOGRAM: tl.constexpr,
    ROW_BEST: tl.constexpr,
    PAIRS: tl.constexpr,
    SCORES: tl.constexpr,
):
    """Multiply rows with all prototypes and decide in registers; each program stays with one block of prototypes.

    Prototypes lie along the first axis of a tile: a thread then holds few prototypes and many rows of each, so that it
    counts most hits by itself. Programs that run at the same time share their rows.
    """
    program = tl.program_id(0)
    blocks = tl.cdiv(concepts, BLOCK_C)
    concept = (program % blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    for block in range(program // blocks, tl.cdiv(count, BLOCK_R), tl.num_programs(0) // blocks):
        row = block * BLOCK_R + tl.arange(0, BLOCK_R)
        scores = tl.zeros([BLOCK_C, BLOCK_R], tl.float32)
        for start in range(0, D, BLOCK_D):
            p = _load_rows(prototypes, concept, concept < concepts, start, D, BLOCK_D)
            x = _load_rows(rows, row, row < count, start, D, BLOCK_D)
            if SHORT_SUMS:  # noqa: SIM108
                # The tensor cores' own sums stay short, and so does their error. As a + b the compiler would make one
                # long sum of it; `one` is 1.
                scores = tl.fma(tl.dot(p, tl.trans(x)), one, scores)
            else:
                scores = tl.dot(p, tl.trans(x), scores)
        _decide(
            scores, row, concept, sure_from, counts, histogram, row_best, floors, row_floors, row_best_floors,
            records, used, scores_out, count, concepts, capacity, open_width, edge_band,
            THRESHOLDS, HISTOGRAM, ROW_BEST, PAIRS, SCORES,
        )  # fmt: skip


@triton.jit
def count_one(
    rows,
    prototypes,
    sure_from,
    counts,
    histogram,
    row_best,
    floors,
    row_floors,
    row_best_floors,
    records,
    used,
    scores_out,
    count,
    concepts,
    capacity,
    open_width,
    edge_band,
    one,
    D: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SHORT_SUMS: tl.constexpr,
    THRESHOLDS: tl.constexpr,
    HISTOGRAM: tl.constexpr,
    ROW_BEST: tl.constexpr,
    PAIRS: tl.constexpr,
    SCORES: tl.constexpr,
):
    """Do the same for a single prototype, without tensor cores: reading the rows is all the work there is."""
    concept = tl.arange(0, 1)
    column = tl.arange(0, BLOCK_D)
    for block in range(tl.program_id(0), tl.cdiv(count, BLOCK_R), tl.num_programs(0)):
        row = block * BLOCK_R + tl.arange(0, BLOCK_R)
        sums = tl.zeros([BLOCK_R, BLOCK_D], tl.float32)
        for start in range(0, D, BLOCK_D):
            p = tl.load(prototypes + start + column, mask=start + column < D, other=0.0).to(tl.float32)
            x = _load_rows(rows, row, row < count, start, D, BLOCK_D).to(tl.float32)
            sums += x * p[None, :]
        scores = tl.sum(sums, axis=1)[None, :]
        _decide(
            scores, row, concept, sure_from, counts, histogram, row_best, floors, row_floors, row_best_floors,
            records, used, scores_out, count, concepts, capacity, open_width, edge_band,
            THRESHOLDS, HISTOGRAM, ROW_BEST, PAIRS, SCORES,
        )  # fmt: skip


@triton.jit
def settle(
    rows,
    prototypes,
    thresholds,
    edges,
    counts,
    histogram,
    records,
    used,
    similarities,
    concepts,
    capacity,
    D: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK_D: tl.constexpr,
    THRESHOLDS: tl.constexpr,
    HISTOGRAM: tl.constexpr,
    PAIRS: tl.constexpr,
):
    """Decide the records of one segment by the exact float64 dot; or, for pairs, only tell their similarities."""
    segment = tl.program_id(0)
    found = tl.minimum(tl.load(used + segment), capacity)
    for start in range(tl.program_id(1) * GROUP, found, tl.num_programs(1) * GROUP):
        place = start + tl.arange(0, GROUP)
        there = place < found
        place = segment.to(tl.int64) * capacity + place
        record = tl.load(records + place, mask=there, other=0)
        row = (record & 0xFFFFFFFF).to(tl.int32)
        code = (record >> 32).to(tl.int32)
        kind = code // concepts
        concept = code % concepts
        exact = tl.zeros([GROUP], tl.float64)
        for d in range(0, D, BLOCK_D):
            x = _load_rows(rows, row, there, d, D, BLOCK_D).to(tl.float32)
            p = _load_rows(prototypes, concept, there, d, D, BLOCK_D).to(tl.float32)
            # Exact twice over: a product of two float16 in float32, and the sum of such products in float64.
            exact += tl.sum((x * p).to(tl.float64), axis=1)
        if PAIRS:
            tl.store(similarities + place, exact, mask=there)
        if THRESHOLDS > 0:
            open_threshold = there & (kind < THRESHOLDS)
            threshold = tl.load(thresholds + code, mask=open_threshold, other=0.0)
            tl.atomic_add(counts + code, 1, mask=open_threshold & (exact >= threshold), sem="relaxed")
        if HISTOGRAM:
            open_bin = there & (kind == THRESHOLDS)
            # A similarity just below an edge may be rounded up to it, never one on it below: the edge itself decides.
            bin_ = tl.floor(exact * _BINS_PER_UNIT + _FIRST_BIN)
            bin_ = tl.minimum(tl.maximum(bin_, 1.0), BINS - 1.0).to(tl.int32)
            bin_ -= (exact < tl.load(edges + bin_, mask=open_bin, other=0.0)).to(tl.int32)
            tl.atomic_add(histogram + concept * BINS + bin_, 1, mask=open_bin, sem="relaxed")


@triton.jit
def _load_rows(rows, row, inside, start, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Load [len(row), BLOCK_D] from column `start` on; zeros outside."""
    column = start + tl.arange(0, BLOCK_D)
    mask = inside[:, None]
    if D % BLOCK_D != 0:
        mask = mask & (column < D)[None, :]
    return tl.load(rows + row.to(tl.int64)[:, None] * D + column[None, :], mask=mask, other=0.0)


@triton.jit
def _decide(
    scores,
    row,
    concept,
    sure_from,
    counts,
    histogram,
    row_best,
    floors,
    row_floors,
    row_best_floors,
    records,
    used,
    scores_out,
    count,
    concepts,
    capacity,
    open_width,
    edge_band,
    THRESHOLDS: tl.constexpr,
    HISTOGRAM: tl.constexpr,
    ROW_BEST: tl.constexpr,
    PAIRS: tl.constexpr,
    SCORES: tl.constexpr,
):
    """Count what [prototypes, rows] of scores decide, and record what they leave open."""
    row_inside, concept_inside = row < count, concept < concepts
    inside = concept_inside[:, None] & row_inside[None, :]
    if SCORES:
        place = concept.to(tl.int64)[:, None] * count + row[None, :]
        tl.store(scores_out + place, scores, mask=inside)
    scores = tl.where(inside, scores, _OUTSIDE)
    if THRESHOLDS > 0:
        nearest = tl.full([scores.shape[0]], 4.0, tl.float32)
        for kind in tl.static_range(THRESHOLDS):  # pyright: ignore
            above = scores - tl.load(sure_from + kind * concepts + concept, mask=concept_inside, other=4.0)[:, None]
            # Three instructions a score: the subtraction, its sign counted, its distance compared.
            misses = tl.sum(above.to(tl.int32, bitcast=True) >> 31, axis=1)
            nearest = tl.minimum(nearest, tl.min(tl.abs(above), axis=1))
            hits = scores.shape[1] + misses
            tl.atomic_add(counts + kind * concepts + concept, hits, mask=concept_inside & (hits > 0), sem="relaxed")
        if tl.min(nearest) < open_width:
            for near in range(THRESHOLDS):
                above = scores - tl.load(sure_from + near * concepts + concept, mask=concept_inside, other=4.0)[:, None]
                is_open = (above < 0) & (above > -open_width)
                _record(is_open, row, concept, near, records, used, concepts, capacity)
    if HISTOGRAM:
        scaled = scores * _BINS_PER_UNIT + _FIRST_BIN
        rounded = scaled + _ROUNDER
        past_edge = scaled - (rounded - _ROUNDER)  # from the nearest edge, between -1/2 and 1/2
        bin_ = rounded.to(tl.int32, bitcast=True) - _ROUNDER_BITS - (past_edge < 0).to(tl.int32)
        bin_ = tl.where((bin_ >= 0) & (bin_ < BINS), bin_, _NOWHERE)
        bin_ = tl.where(tl.abs(past_edge) < edge_band, _OPEN, bin_)  # one tile of numbers to hand on, not two
        tl.atomic_add(histogram + (concept * BINS)[:, None] + bin_, 1, mask=bin_ >= 0, sem="relaxed")
        _record(bin_ == _OPEN, row, concept, THRESHOLDS, records, used, concepts, capacity)
    if ROW_BEST:
        bits = tl.max(scores, axis=0).to(tl.int32, bitcast=True)
        # Whole numbers in the order of the float32 that they stand for.
        ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        tl.atomic_max(row_best + row, ordered, mask=row_inside, sem="relaxed")
    if PAIRS:
        floor = tl.load(floors + concept, mask=concept_inside, other=float("inf"))
        row_floor = tl.load(row_floors + row, mask=row_inside, other=float("inf"))
        row_best_floor = tl.load(row_best_floors + row, mask=row_inside, other=float("inf"))
        wanted = (scores >= floor[:, None]) & (scores >= row_floor[None, :])
        wanted = wanted | (scores >= row_best_floor[None, :])  # what is outside has infinite floors
        _record(wanted, row, concept, THRESHOLDS + 1, records, used, concepts, capacity)


@triton.jit
def _record(marked, row, concept, kind, records, used, concepts, capacity):
    """Append what is marked to the program's segment; most tiles have nothing to append."""
    if tl.max(marked.to(tl.int32)) > 0:
        program = tl.program_id(0)
        slot = tl.atomic_add(used + program + tl.zeros(marked.shape, tl.int32), 1, mask=marked, sem="relaxed")
        code = (kind * concepts + concept).to(tl.int64) << 32
        record = code[:, None] + row.to(tl.int64)[None, :]
        tl.store(records + program.to(tl.int64) * capacity + slot, record, mask=marked & (slot < capacity))
