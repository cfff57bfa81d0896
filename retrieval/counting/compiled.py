"""The compiled form of the CPU backend: which product each prototype takes, and whether the kernel may be used at all.

Not here: handing prototypes and tiles to the kernel (`kernel_calls.py`), the loops themselves (`kernel/`), and forms
that need no compiler (`numba_form.py`, `reference.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from .bins import BINS
from .kernel_calls import Kernel, KernelCall, histogram_copies, kernel_band
from .kernel_library import AVX512_VNNI, DOTS, FLOAT32, INSTRUCTION_SETS, INT8, INT16, load_kernel
from .reference import ReferenceCounter, similarities
from .tiles import Asked, TileAnswer

# Up to this many prototypes a row's dots cost less than reading it from memory.
_FEW = 8
# A threshold's cost is judged by this many rows of the first tile, smoothed over this width of similarity.
_SAMPLE_ROWS = 256
_SMOOTHED = 0.005
# Half-widths of the integer bands for unit vectors of CLIP's kind; only the choice between products rests on them.
_USUAL_BANDS = {INT16: 4e-4, INT8: 0.0125}
# What settling one pair costs and what comparing with one threshold costs, in float32 products of one pair.
_SETTLING, _COMPARING = 10.0, 0.02


def why_not() -> str | None:
    """Say why the kernel does not run here; None when it does."""
    library, reason = load_kernel()
    return reason if library is None else _failed_test(library)


def description() -> str:
    """Say which instructions the kernel uses here, and on how many threads."""
    library = load_kernel()[0]
    return f"{INSTRUCTION_SETS[library.tailwag_instructions()]}, {library.tailwag_threads()} threads"


def instruction_sets() -> int:
    """How many of `INSTRUCTION_SETS` run here."""
    return load_kernel()[0].tailwag_instructions() + 1


@cache
def _failed_test(library: Any) -> str | None:
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
        counter = CompiledCounter(prototypes, asked, Kernel(library, library.tailwag_instructions(), 1), product)
        if not np.array_equal(counter.count_tile(rows).counts, expected.counts) or (
            expected.histogram is not None
            and product == FLOAT32
            and not np.array_equal(counter.take_histogram(), expected.histogram)
        ):
            return f"the kernel fails its self-test on this machine (product {product})"
    return None


@cache
def _product_costs(kernel: Kernel) -> dict[int, float]:
    """Measure the products on this machine, in float32 products: a few milliseconds, once a process."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(768, 512))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    asked = Asked(np.ones((64, 1)))
    one_thread, seconds = Kernel(kernel.library, kernel.instructions, 1), {}
    for product in (FLOAT32, INT16, INT8) if kernel.instructions == AVX512_VNNI else (FLOAT32, INT16):
        counter = CompiledCounter(rows[:64], asked, one_thread, product)
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
        library, reason = load_kernel()
        if library is None:
            raise RuntimeError(reason)
        fastest = library.tailwag_instructions()
        self._kernel = Kernel(
            library, fastest if instructions is None else instructions, threads or library.tailwag_threads()
        )
        self._product = product

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> CompiledCounter:
        """Make ready for one query; see `Backend.prepare`."""
        return CompiledCounter(prototypes, asked, self._kernel, self._product)


class CompiledCounter:
    """Counts with the C kernel, for one query."""

    def __init__(self, prototypes: np.ndarray, asked: Asked, kernel: Kernel, product: int | None = None) -> None:
        self.asked = asked
        self._prototypes = np.ascontiguousarray(prototypes)
        self._kernel = kernel
        self._product = product
        self._calls: list[KernelCall] | None = None

    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        """Answer for one tile; see `TileCounter.count_tile`."""
        rows = np.ascontiguousarray(rows)
        if self._calls is None:
            if not len(rows):  # nothing to judge the thresholds by yet
                return self._run(list(self._plan(rows)), rows, floors)
            self._calls = list(self._plan(rows))
        return self._run(self._calls, rows, floors)

    def _plan(self, rows: np.ndarray) -> Iterator[KernelCall]:
        """Decide which product each prototype takes, by the rows of the first tile."""
        asked, everything = self.asked, np.arange(len(self._prototypes))
        scores_wanted = asked.best > 0 or asked.pairs
        shared = asked.histogram and histogram_copies(len(everything), self._kernel.threads) < self._kernel.threads
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
        asked, possible = self.asked, (FLOAT32, INT16, INT8)[: 3 if self._kernel.instructions == AVX512_VNNI else 2]
        step = max(1, len(rows) // _SAMPLE_ROWS)
        with np.errstate(invalid="ignore", over="ignore"):
            sample = rows[::step][:_SAMPLE_ROWS].astype(np.float32)
            scores = sample @ self._prototypes.astype(np.float32).T
        bands = {FLOAT32: kernel_band(self._prototypes.shape[1]), **_USUAL_BANDS}
        costs = np.empty((len(possible), len(self._prototypes)))
        product_costs = _product_costs(self._kernel)
        for position, product in enumerate(possible):
            width = max(bands[product], _SMOOTHED)
            unsettled = np.zeros(len(self._prototypes))
            for column in asked.thresholds.T if len(sample) else ():
                near = np.abs(scores - column.astype(np.float32)) < width
                unsettled += near.mean(axis=0) * (bands[product] / width)
            costs[position] = product_costs[product] + unsettled * _SETTLING + asked.thresholds.shape[1] * _COMPARING
        return np.array(possible)[costs.argmin(axis=0)]

    def _call(self, group: np.ndarray, product: int, asked: Asked, rows: np.ndarray) -> KernelCall:
        return KernelCall(self._kernel, self._prototypes, asked, group, product, rows)

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

    def _run(self, calls: list[KernelCall], rows: np.ndarray, floors: np.ndarray | None) -> TileAnswer:
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
