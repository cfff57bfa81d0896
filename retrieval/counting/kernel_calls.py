"""Prototypes laid out for a product of the compiled kernel, and one call of it for a tile.

Not here: which product a prototype takes (`compiled.py`), the structures (`kernel_library.py`), the loops (`kernel/`).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...embed.corpus import LEAST_SQUARE, MOST_SQUARE
from .bands import float32_band, screen_bounds
from .bins import BINS
from .kernel_library import BIN_STRIDE, DOTS, FLOAT32, INT16, RUN, Found, Tile, usable_threads
from .tiles import Asked, Best, Pairs

# Every thread has histograms of its own up to this size, two thousand 32-bit counts a prototype; above it they share
# one, and the prototypes instead of the rows are shared out.
_HISTOGRAM_BYTES = 256 << 20
# Rows after which 32-bit histograms are emptied into 64-bit ones.
_MOST_ROWS = 1 << 30
# Rows of the first tile that the mean row is taken from.
_SAMPLE_ROWS = 256
# A little below 2³¹, for what rounding adds to the lengths of rows and prototypes.
_GREATEST_INT32 = 2.0**30.95


@dataclass(frozen=True)
class Kernel:
    """The kernel, and how it is to run.

    Attributes
    ----------
    library
        As `load_kernel` gives it.
    instructions
        An instruction set by its number.
    threads
        How many.
    """

    library: Any
    instructions: int
    threads: int


@dataclass(frozen=True, eq=False)
class Filled:
    """What one call found out: counts of its prototypes, and what was asked for beside them."""

    counts: np.ndarray
    best: Best | None
    pairs: Pairs | None


class KernelCall:
    """Some prototypes laid out for one product, and the arrays that the kernel reads of them.

    Parameters
    ----------
    kernel
        What runs it.
    prototypes
        (C, d) float16.
    asked
        Of all C prototypes.
    group
        Positions of those that this call counts.
    product
        DOTS, FLOAT32, INT16 or INT8.
    rows
        (n, d) float16, some rows of the table; int8 is finer when they are like the others.
    """

    def __init__(
        self,
        kernel: Kernel,
        prototypes: np.ndarray,
        asked: Asked,
        group: np.ndarray,
        product: int,
        rows: np.ndarray,
    ) -> None:
        self.group, self.product = group, product
        self.asked = asked
        self._kernel = kernel
        prototypes = np.ascontiguousarray(prototypes[group])
        concepts, dimension = prototypes.shape
        panel = 1 if product == DOTS else kernel.library.tailwag_panel(kernel.instructions)
        # The row-wise part loads whole vectors of scores and floors, up to 16 wide.
        self._padded = padded = -(-concepts // panel) * panel
        wide = np.zeros((padded, -(-dimension // 16) * 16))
        wide[:concepts, :dimension] = prototypes
        columns = asked.thresholds.shape[1]
        thresholds = np.full((padded, columns), np.inf)
        thresholds[:concepts] = asked.thresholds[group]
        thresholds = thresholds.reshape(padded // panel, panel, columns).transpose(0, 2, 1)
        band = kernel_band(dimension)
        lower, upper = screen_bounds(thresholds, band)
        arrays: dict[str, np.ndarray] = {"prototypes": prototypes, "thresholds": thresholds}
        if product in (DOTS, FLOAT32):
            arrays |= {"lower": lower, "upper": upper}
            arrays["panels"] = wide.astype(np.float32) if product == DOTS else _panels(wide[:, :dimension], panel, 1)
        else:
            arrays |= _as_integers(wide, product, panel, _mean_row(rows, wide.shape[1]))
        self._arrays = {name: _aligned(array) for name, array in arrays.items()}
        copies = 0
        if asked.histogram:  # a few prototypes share out the rows alone
            copies = kernel.threads if product == DOTS else histogram_copies(concepts, kernel.threads)
        self._histograms = np.zeros((copies, concepts, BIN_STRIDE), dtype=np.int32)
        self._total = np.zeros((concepts, BINS), dtype=np.int64) if asked.histogram else np.zeros((0, BINS), np.int64)
        self._binned_rows = 0
        self._tile = Tile(
            dimension=dimension,
            concepts=concepts,
            padded=padded,
            columns=columns,
            best=asked.best,
            threads=kernel.threads,
            histogram_copies=copies,
            histograms=self._histograms.ctypes.data,
            product=product,
            histogram_wanted=asked.histogram,
            pairs_wanted=0,
            within_wanted=asked.within is not None,
            band=band,
            within=0.0 if asked.within is None else asked.within,
            least_square=LEAST_SQUARE,
            most_square=MOST_SQUARE,
            **{name: array.ctypes.data for name, array in self._arrays.items()},
        )

    def take_histogram(self) -> np.ndarray:
        """Give (C, BINS) int64, the histograms of all tiles since the last time."""
        self._empty_histograms()
        total, self._total = self._total, np.zeros_like(self._total)
        return total

    def _empty_histograms(self) -> None:
        for one in self._histograms:
            self._total += one[:, :BINS]
            one[:] = 0
        self._binned_rows = 0

    def run(self, rows: np.ndarray, floors: np.ndarray | None, refused: np.ndarray) -> Filled:
        """Count a tile; marks the rows that are no unit vectors in `refused`."""
        tile, asked, concepts = self._tile, self.asked, len(self.group)
        counts = np.zeros(self._arrays["thresholds"].shape, dtype=np.int64)
        if self._binned_rows + len(rows) > _MOST_ROWS:
            self._empty_histograms()
        self._binned_rows += len(rows)
        best = None
        if asked.best:
            shape = (len(rows), asked.best)
            best = Best(np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float64))
            tile.best_concepts, tile.best_similarities = best.concepts.ctypes.data, best.similarities.ctypes.data
        wanted = asked.pairs and floors is not None
        tile.threads = usable_threads(self._kernel.threads)
        found = (Found * tile.threads)()
        padded_floors = np.full(tile.padded, np.inf)
        if wanted and floors is not None:
            padded_floors[:concepts] = floors[self.group]
        lower, _ = screen_bounds(padded_floors, tile.band)
        tile.pairs_wanted = wanted
        tile.floors, tile.floors_lower = padded_floors.ctypes.data, lower.ctypes.data
        tile.rows_count, tile.rows = len(rows), rows.ctypes.data
        tile.counts, tile.refused = counts.ctypes.data, refused.ctypes.data
        tile.found = ctypes.addressof(found)
        try:
            failed = self._kernel.library.tailwag_count(ctypes.byref(tile), self._kernel.instructions)
            if failed == 1:
                raise MemoryError("the counting kernel ran out of memory")
            if failed:
                raise RuntimeError(
                    f"the kernel has no product {self.product} for instruction set {self._kernel.instructions}"
                )
            pairs = _pairs(found) if wanted else None
        finally:
            self._kernel.library.tailwag_free_found(found, tile.threads)
        by_concept = counts.transpose(0, 2, 1).reshape(tile.padded, tile.columns)
        return Filled(by_concept[:concepts], best, pairs)


def kernel_band(dimension: int) -> float:
    """How far may the kernel's float32 scores lie from the similarity?

    Panels sum runs of 64 and then the runs; dots sum at least 16 lanes, then two vectors, then the lanes of one.
    """
    return float32_band(max(RUN + -(-dimension // RUN), -(-dimension // 16) + 10))


def histogram_copies(concepts: int, threads: int) -> int:
    """Whether every thread has histograms of its own, or there is one for all."""
    return threads if threads * concepts * BIN_STRIDE * 4 <= _HISTOGRAM_BYTES else 1


def _aligned(array: np.ndarray) -> np.ndarray:
    """Copy an array to the start of a cache line: the kernel reads whole lines of it again and again."""
    room = np.empty(array.nbytes + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _pairs(found: Any) -> Pairs:
    parts = [one for one in found if one.count]

    def joined(column: str, dtype: type) -> np.ndarray:
        pieces = [np.ctypeslib.as_array(getattr(one, column), (one.count,)) for one in parts]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype)  # a copy: the kernel's memory is freed

    return Pairs(joined("rows", np.int64), joined("concepts", np.int32), joined("similarities", np.float64))


def _panels(wide: np.ndarray, panel: int, together: int) -> np.ndarray:
    """Lay (padded, d) prototypes out panel by panel, `together` numbers of each concept side by side."""
    padded, dimension = wide.shape
    split = wide.reshape(padded // panel, panel, dimension // together, together)
    dtype = {1: np.float32, 2: np.int16, 4: np.int8}[together]
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3)).astype(dtype)


def _as_integers(wide: np.ndarray, product: int, panel: int, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Round prototypes to integers, and say what that lost.

    Rows times prototypes must stay within 32 bits: int16 rows are rounded to multiples of 2⁻¹⁵, so a prototype's scale
    is bounded by Cauchy–Schwarz over the two rounded lengths; int8 sums cannot get there.
    """
    greatest = np.maximum(np.abs(wide).max(axis=1), 1e-30)
    length = np.sqrt(np.square(wide).sum(axis=1))
    if product == INT16:
        # A little below 2³¹ / 2¹⁵, for what rounding adds to the lengths.
        scale = np.minimum(_GREATEST_INT32 / 2.0**15 / np.maximum(length, 1e-30), 32767 / greatest)
        scale = np.minimum(scale, 2.0**24)  # of a prototype that is all but zero
    else:
        scale = np.minimum(127 / greatest, 2.0**20)
    rounded = np.rint(wide * scale[:, None])
    residual = np.sqrt(np.square(wide - rounded / scale[:, None]).sum(axis=1))
    common = {
        "length": length * (1 + 1e-9) + 1e-12,
        "residual": residual * (1 + 1e-9) + 1e-12,
        "mean": mean,
    }
    if product == INT16:
        return {**common, "panels": _panels(rounded, panel, 2), "scale": scale * 2.0**15}
    return {
        **common,
        "panels": _panels(rounded, panel, 4),
        "scale": scale,
        "offset": wide @ mean.astype(np.float64),
        "correction": (128 * rounded.sum(axis=1)).astype(np.int32),
    }


def _mean_row(rows: np.ndarray, depth: int) -> np.ndarray:
    """(depth,) float32, the mean of some rows: CLIP's vectors share a direction, with a few outlying dimensions.

    Whatever it is, counts are exact; it only makes int8 finer.
    """
    mean = np.zeros(depth, dtype=np.float32)
    step = max(1, len(rows) // _SAMPLE_ROWS)
    sample = rows[::step][:_SAMPLE_ROWS].astype(np.float32)
    sample = sample[np.isfinite(sample).all(axis=1) & (np.abs(sample).max(axis=1, initial=0) <= 1.01)]
    if len(sample):
        mean[: rows.shape[1]] = sample.mean(axis=0)
    return mean
