"""The compiled form of the CPU backend: prototypes and tiles handed to the C kernel (`kernel/`) through ctypes.

Not here: the loops themselves, and the forms that need no compiler (`numba_form.py`, `reference.py`).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ...embed.corpus import LEAST_SQUARE, MOST_SQUARE
from .bands import float32_band, screen_bounds
from .bins import BINS
from .reference import ReferenceCounter, similarities
from .tiles import Asked, Best, Pairs, TileAnswer

# The numbers of tile.h and kernel.c.
DOTS, FLOAT32, INT16, INT8 = range(4)
PORTABLE, AVX2, AVX512_VNNI = range(3)
INSTRUCTION_SETS = ("portable", "AVX2", "AVX-512 VNNI")
_RUN = 64

# Up to this many prototypes a row's dots cost less than reading it from memory.
_FEW = 8
# Every thread has histograms of its own up to this size, two thousand 32-bit counts a prototype; above it they share
# one, and the prototypes instead of the rows are shared out.
_HISTOGRAM_BYTES = 256 << 20
_BIN_STRIDE = BINS + 16
# Rows after which 32-bit histograms are emptied into 64-bit ones.
_MOST_ROWS = 1 << 30
# A threshold's cost is judged by this many rows of the first tile, smoothed over this width of similarity.
_SAMPLE_ROWS = 256
_SMOOTHED = 0.005
# What settling one pair costs and what comparing with one threshold costs, in float32 products of one pair.
_SETTLING, _COMPARING = 10.0, 0.02
_GREATEST_INT32 = 2.0**30.95


class _Found(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("rows", ctypes.POINTER(ctypes.c_int64)),
        ("concepts", ctypes.POINTER(ctypes.c_int32)),
        ("similarities", ctypes.POINTER(ctypes.c_double)),
    )


class _Tile(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("dimension", "concepts", "padded", "columns", "best", "threads", "histogram_copies")
        ),
        *((name, ctypes.c_int32) for name in ("product", "histogram_wanted", "pairs_wanted", "within_wanted")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "prototypes",
                "panels",
                "thresholds",
                "lower",
                "upper",
                "scale",
                "length",
                "residual",
                "offset",
                "correction",
                "mean",
            )
        ),
        *((name, ctypes.c_double) for name in ("band", "within", "least_square", "most_square")),
        ("rows_count", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "rows",
                "floors",
                "floors_lower",
                "counts",
                "histograms",
                "best_concepts",
                "best_similarities",
                "refused",
                "found",
            )
        ),
    )


def why_not() -> str | None:
    """Say why the kernel does not run here; None when it does."""
    return _load()[1]


def description() -> str:
    """Say which instructions the kernel uses here, and on how many threads."""
    library = _library()
    return f"{INSTRUCTION_SETS[library.tailwag_instructions()]}, {library.tailwag_threads()} threads"


def instruction_sets() -> int:
    """How many of `INSTRUCTION_SETS` run here."""
    return _library().tailwag_instructions() + 1


@cache
def _load() -> tuple[Any, str | None]:
    found = find_spec("tailwag.retrieval.counting._kernel")
    if found is None or found.origin is None:
        return None, "the kernel was not built: no C compiler was at hand when tailwag was installed"
    try:
        library = ctypes.CDLL(found.origin)
    except OSError as error:
        return None, f"the kernel cannot be loaded ({error})"
    library.tailwag_count.argtypes = (ctypes.POINTER(_Tile), ctypes.c_int)
    library.tailwag_free_found.argtypes = (ctypes.POINTER(_Found), ctypes.c_int64)
    return library, _self_test(library)


def _library() -> Any:
    library, reason = _load()
    if reason is not None:
        raise RuntimeError(reason)
    return library


def _self_test(library: Any) -> str | None:
    """Compare the kernel with the reference where products and sums are greatest; None when they agree."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(150, 100)) * np.geomspace(1, 30, 100)
    rows[0], rows[1] = 1, -1
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    prototypes = np.ascontiguousarray(rows[:40])
    thresholds = np.clip(np.stack([similarities(rows[90:91], prototypes)[0], np.full(40, 0.2)], axis=1), -1, 1)
    expected = ReferenceCounter(prototypes, Asked(thresholds, histogram=True)).count_tile(rows)
    for product in (FLOAT32, INT16, INT8):
        asked = Asked(thresholds, histogram=product == FLOAT32)
        counter = CompiledCounter(prototypes, asked, library, library.tailwag_instructions(), 1, product)
        same = np.array_equal(counter.count_tile(rows).counts, expected.counts)
        if not same or (product == FLOAT32 and not np.array_equal(counter.take_histogram(), expected.histogram)):
            return f"the kernel fails its self-test on this machine (product {product})"
    return None


@cache
def _product_costs(library: Any, instructions: int) -> dict[int, float]:
    """Measure the products on this machine, in float32 products: a few milliseconds, once a process."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(768, 512))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    asked = Asked(np.ones((64, 1)))
    seconds = {}
    for product in (FLOAT32, INT16, INT8) if instructions == AVX512_VNNI else (FLOAT32, INT16):
        counter = CompiledCounter(rows[:64], asked, library, instructions, 1, product)
        counter.count_tile(rows)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            counter.count_tile(rows)
            times.append(time.perf_counter() - start)
        seconds[product] = min(times)
    return {product: one / seconds[FLOAT32] for product, one in seconds.items()}


class CompiledBackend:
    """Counts with the C kernel.

    Parameters
    ----------
    instructions
        An instruction set by its number; None takes the fastest of this machine.
    threads
        None takes all cores.
    product
        One product for all prototypes, for measurements; None chooses by their thresholds.
    """

    name = "c"

    def __init__(self, instructions: int | None = None, threads: int | None = None, product: int | None = None) -> None:
        self._kernel = _library()
        self._instructions = self._kernel.tailwag_instructions() if instructions is None else instructions
        self._threads = threads or self._kernel.tailwag_threads()
        self._product = product

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> CompiledCounter:
        """Make ready for one query; see `Backend.prepare`."""
        return CompiledCounter(prototypes, asked, self._kernel, self._instructions, self._threads, self._product)


class CompiledCounter:
    """Counts with the C kernel, for one query."""

    def __init__(
        self,
        prototypes: np.ndarray,
        asked: Asked,
        kernel: Any,
        instructions: int,
        threads: int,
        product: int | None = None,
    ) -> None:
        self._prototypes = np.ascontiguousarray(prototypes)
        self.asked = asked
        self._kernel = kernel
        self._instructions = instructions
        self._threads = threads
        self._product = product
        self._calls: list[_Call] | None = None

    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        """Answer for one tile; see `TileCounter.count_tile`."""
        rows = np.ascontiguousarray(rows)
        if self._calls is None:
            if not len(rows):  # nothing to judge the thresholds by yet
                return self._run(list(self._plan(rows)), rows, floors)
            self._calls = list(self._plan(rows))
        return self._run(self._calls, rows, floors)

    def _plan(self, rows: np.ndarray) -> Iterator[_Call]:
        """Decide which product each prototype takes, by the rows of the first tile."""
        asked, everything = self.asked, np.arange(len(self._prototypes))
        scores_wanted = asked.best > 0 or asked.pairs
        shared = asked.histogram and _histogram_copies(len(everything), self._threads) < self._threads
        if shared and scores_wanted:
            yield self._call(everything, FLOAT32, Asked(asked.thresholds, histogram=True), rows)
            rest = Asked(asked.thresholds[:, :0], False, asked.best, asked.pairs, asked.within)
            yield self._call(everything, FLOAT32, rest, rows)
        elif scores_wanted:
            yield self._call(everything, FLOAT32, asked, rows)
        elif self._product is not None and not asked.histogram:
            yield self._call(everything, self._product, asked, rows)
        elif len(everything) <= _FEW:
            yield self._call(everything, DOTS, asked, rows)
        elif asked.histogram:
            yield self._call(everything, FLOAT32, asked, rows)
        else:
            chosen = self._cheapest(rows)
            for product in (INT8, INT16, FLOAT32):
                group = np.flatnonzero(chosen == product)
                if len(group):
                    yield self._call(group, product, asked, rows)

    def _cheapest(self, rows: np.ndarray) -> np.ndarray:
        """Which product is the quickest for each prototype? By how many pairs a sample lets expect in its band.

        Returns
        -------
        numpy.ndarray
            (C,) of INT8, INT16 or FLOAT32.
        """
        asked, possible = self.asked, (FLOAT32, INT16, INT8)[: 3 if self._instructions == AVX512_VNNI else 2]
        step = max(1, len(rows) // _SAMPLE_ROWS)
        with np.errstate(invalid="ignore", over="ignore"):
            sample = rows[::step][:_SAMPLE_ROWS].astype(np.float32)
            scores = sample @ self._prototypes.astype(np.float32).T
        bands = {FLOAT32: self._band(), INT16: 4e-4, INT8: 0.0125}
        costs = np.empty((len(possible), len(self._prototypes)))
        product_costs = _product_costs(self._kernel, self._instructions)
        for position, product in enumerate(possible):
            width = max(bands[product], _SMOOTHED)
            unsettled = np.zeros(len(self._prototypes))
            for column in asked.thresholds.T if len(sample) else ():
                near = np.abs(scores - column.astype(np.float32)) < width
                unsettled += near.mean(axis=0) * (bands[product] / width)
            costs[position] = product_costs[product] + unsettled * _SETTLING + asked.thresholds.shape[1] * _COMPARING
        return np.array(possible)[costs.argmin(axis=0)]

    def _band(self) -> float:
        """How far the kernel's float32 scores may lie from the similarity: runs of 64, or 16 lanes, summed apart."""
        dimension = self._prototypes.shape[1]
        return float32_band(max(_RUN + -(-dimension // _RUN), -(-dimension // 16) + 8))

    def _call(self, group: np.ndarray, product: int, asked: Asked, rows: np.ndarray) -> _Call:
        return _Call(self, group, product, asked, rows)

    def products(self) -> list[tuple[int, np.ndarray]]:
        """Say which product each prototype takes: numbers of products, and positions. Known after the first tile."""
        return [(call.product, call.group) for call in self._calls or ()]

    def take_histogram(self) -> np.ndarray:
        """Give the histograms of all tiles since the last time; see `KeepingCounter`."""
        total = np.zeros((len(self._prototypes), BINS), dtype=np.int64)
        for call in self._calls or ():
            if call.asked.histogram:
                total += call.take_histogram()
        return total

    def _run(self, calls: list[_Call], rows: np.ndarray, floors: np.ndarray | None) -> TileAnswer:
        concepts, columns = self.asked.thresholds.shape
        refused = np.zeros(len(rows), dtype=np.uint8)
        counts = np.zeros((concepts, columns), dtype=np.int64)
        best = pairs = None
        for call in calls:
            filled = call.run(rows, floors, refused)
            if call.asked.thresholds.shape[1] == columns:
                counts[call.group] = filled.counts
            best, pairs = filled.best or best, filled.pairs or pairs
        return TileAnswer(np.flatnonzero(refused), counts, None, best, pairs)


@dataclass(frozen=True, eq=False)
class _Filled:
    counts: np.ndarray
    best: Best | None
    pairs: Pairs | None


class _Call:
    """Some prototypes laid out for one product, and the arrays that the kernel reads of them."""

    def __init__(
        self, counter: CompiledCounter, group: np.ndarray, product: int, asked: Asked, rows: np.ndarray
    ) -> None:
        self.group, self.product = group, product
        self.asked = asked
        self._kernel, self._instructions = counter._kernel, counter._instructions
        prototypes = np.ascontiguousarray(counter._prototypes[group])
        concepts, dimension = prototypes.shape
        panel = 1 if product == DOTS else self._kernel.tailwag_panel(self._instructions)
        # The row-wise part loads whole vectors of scores and floors, up to 16 wide.
        self._padded = padded = -(-concepts // panel) * panel
        wide = np.zeros((padded, -(-dimension // 16) * 16))
        wide[:concepts, :dimension] = prototypes
        columns = asked.thresholds.shape[1]
        thresholds = np.full((padded, columns), np.inf)
        thresholds[:concepts] = asked.thresholds[group]
        thresholds = thresholds.reshape(padded // panel, panel, columns).transpose(0, 2, 1)
        band = counter._band()
        lower, upper = screen_bounds(thresholds, band)
        arrays: dict[str, np.ndarray] = {"prototypes": prototypes, "thresholds": thresholds}
        if product in (DOTS, FLOAT32):
            arrays |= {"lower": lower, "upper": upper}
            arrays["panels"] = wide.astype(np.float32) if product == DOTS else _panels(wide[:, :dimension], panel, 1)
        else:
            arrays |= _as_integers(wide, product, panel, _mean_row(rows, wide.shape[1]))
        self._arrays = {name: _aligned(array) for name, array in arrays.items()}
        copies = _histogram_copies(concepts, counter._threads) if asked.histogram else 0
        self._histograms = np.zeros((copies, concepts, _BIN_STRIDE), dtype=np.int32)
        self._total = np.zeros((concepts, BINS), dtype=np.int64) if asked.histogram else np.zeros((0, BINS), np.int64)
        self._binned_rows = 0
        self._tile = _Tile(
            dimension=dimension,
            concepts=concepts,
            padded=padded,
            columns=columns,
            best=asked.best,
            threads=counter._threads,
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

    def run(self, rows: np.ndarray, floors: np.ndarray | None, refused: np.ndarray) -> _Filled:
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
        found = (_Found * tile.threads)()
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
            failed = self._kernel.tailwag_count(ctypes.byref(tile), self._instructions)
            if failed == 1:
                raise MemoryError("the counting kernel ran out of memory")
            if failed:
                raise RuntimeError(f"the kernel has no product {self.product} for instruction set {self._instructions}")
            pairs = _pairs(found) if wanted else None
        finally:
            self._kernel.tailwag_free_found(found, tile.threads)
        by_concept = counts.transpose(0, 2, 1).reshape(tile.padded, tile.columns)
        return _Filled(by_concept[:concepts], best, pairs)


def _histogram_copies(concepts: int, threads: int) -> int:
    """Whether every thread has histograms of its own, or there is one for all."""
    return threads if threads * concepts * _BIN_STRIDE * 4 <= _HISTOGRAM_BYTES else 1


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
