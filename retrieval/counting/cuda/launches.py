"""Launching the kernels: tile sizes, programs, and the buffers for what they leave open.

Not here: the kernels (`kernels.py`), what is asked and how launches are put together for it (`fused.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from ....embed.corpus import LEAST_SQUARE, MOST_SQUARE
from ..bands import screen_bounds
from ..bins import BINS, BINS_PER_UNIT, EDGES

# Thresholds that one launch decides: they are unrolled in the kernel. With more, rows are multiplied again.
MOST_THRESHOLDS = 8
# Similarities that a launch may leave open, 8 bytes each and as many again for pairs; programs have equal shares. A
# share holds at least a whole tile of 128 by 128.
RECORDS = 1 << 22
LEAST_RECORDS_A_PROGRAM = 1 << 14
# Programs that settle one segment of records, and records that each takes at a time.
_SETTLERS, _SETTLE_GROUP = 4, 16
_CHECKED_ROWS = 16
# Programs for each multiprocessor: as many as fit, or they would wait for one another.
_PROGRAMS_A_MULTIPROCESSOR = 2
# A similarity times 1,000 plus 1,024 is rounded twice at most, each time by half of 2⁻¹³, float32's step below 2,048.
_SCALED_ROUNDING = 2.0**-12
# A bound near a threshold in [-1, 1] is rounded to float32 by no more than this; a difference by 2⁻²⁴ of itself.
_BOUND_ROUNDING, _DIFFERENCE_ROUNDING = 2.0**-23, 1 + 2.0**-22
# A threshold that nothing reaches or comes near to.
_UNREACHED = 4.0


@dataclass(frozen=True)
class TileSizes:
    """How a kernel cuts its work.

    Attributes
    ----------
    concepts, rows, columns
        Of the tiles that are multiplied; powers of two, at least 16 but for a single concept.
    warps, stages
        Warps of a program, and tiles that are loaded ahead.
    """

    concepts: int = 128
    rows: int = 128
    columns: int = 64
    warps: int = 8
    stages: int = 3


# What perf/gpu_count.py tries one after the other, the default first.
CANDIDATES = (
    TileSizes(),
    TileSizes(concepts=64, warps=4),  # two programs fit on a multiprocessor: one multiplies while the other decides
    TileSizes(rows=64, warps=4),
    TileSizes(stages=4),
)


def tile_sizes(concepts: int, dimension: int) -> TileSizes:
    """Give tile sizes that suit a number of concepts."""
    if concepts == 1:
        return TileSizes(concepts=1, rows=16, columns=min(power_of_two(dimension), 512), warps=4)
    if concepts <= 64:
        return TileSizes(concepts=16 if concepts <= 16 else 64, warps=4)
    return TileSizes()


@dataclass(frozen=True, eq=False)
class Records:
    """What a launch left open, and pairs that were asked for: a segment for each program.

    Attributes
    ----------
    records
        (programs, capacity) int64: the row, and from bit 32 on `kind · C + concept`.
    used
        (programs,) int32: records that each program had, which may be more than fit.
    similarities
        (programs, capacity) float64, where pairs were asked for.
    pair_kind
        The kind of records that are pairs.
    """

    records: torch.Tensor
    used: torch.Tensor
    similarities: torch.Tensor | None
    pair_kind: int

    def fit(self) -> torch.Tensor:
        """Say whether there was room for all of them."""
        return (self.used <= self.records.shape[1]).all()

    def pairs(self, concepts: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give rows, prototypes and exact similarities of the pairs, by row and prototype."""
        assert self.similarities is not None
        taken = torch.arange(self.records.shape[1], device=self.used.device) < self.used[:, None]
        records, exact = self.records[taken], self.similarities[taken]
        asked_for = (records >> 32) // concepts == self.pair_kind
        records, exact = records[asked_for], exact[asked_for]
        rows, positions = records & 0xFFFFFFFF, (records >> 32) % concepts
        order = torch.argsort(rows * concepts + positions)
        return rows[order], positions[order], exact[order]


class Launcher:
    """Launches kernels for one set of prototypes.

    Parameters
    ----------
    prototypes
        (C, d) float16.
    thresholds
        (groups, at most `MOST_THRESHOLDS`, C) float64; a group is decided in one launch.
    band
        How far a product can lie from the similarity.
    short_sums
        Whether sums inside the tensor cores are kept to `sizes.columns` products; the band depends on it.
    device, sizes
        Where, and how the work is cut.
    """

    def __init__(
        self,
        prototypes: np.ndarray,
        thresholds: np.ndarray,
        band: float,
        short_sums: bool,
        device: torch.device,
        sizes: TileSizes,
    ) -> None:
        self.device = device
        self.concepts, self._dimension = prototypes.shape
        self._sizes, self._short_sums = sizes, short_sums
        self._prototypes = self._put(prototypes)
        # Kernels are made for 0, 1, 2, 4 and 8 thresholds.
        self.thresholds = power_of_two(thresholds.shape[1]) if thresholds.size else 0
        exact = np.full((len(thresholds), self.thresholds, self.concepts), _UNREACHED)
        exact[:, : thresholds.shape[1]] = thresholds
        # A score from the upper bound on is a hit; one below it, but not by more than the width, is open.
        self._exact, self._sure_from = self._put(exact), self._put(screen_bounds(exact, band)[1])
        self._open_width = _up((2 * band + _BOUND_ROUNDING) * _DIFFERENCE_ROUNDING)
        self._edge_band = _up(band * BINS_PER_UNIT + _SCALED_ROUNDING)
        self._edges = self._put(EDGES)
        self._limits = self._put(np.array([LEAST_SQUARE, MOST_SQUARE]))
        # For arguments that a launch has no use for.
        self._nothing = torch.zeros(1, dtype=torch.int32, device=device)

    def check(self, rows: torch.Tensor, refused: torch.Tensor) -> None:
        """Mark rows that are not finite or not of unit length in (n,) int8."""
        grid = (-(-len(rows) // _CHECKED_ROWS),)
        columns = min(power_of_two(self._dimension), 256)
        arguments = rows, refused, len(rows), self._limits, self._dimension, _CHECKED_ROWS, columns
        _kernels().check_rows[grid](*arguments)

    def launch(
        self,
        rows: torch.Tensor,
        *,
        group: int | None = None,
        counts: torch.Tensor | None = None,
        bins: torch.Tensor | None = None,
        row_best: torch.Tensor | None = None,
        floors: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
        scores: torch.Tensor | None = None,
    ) -> Records:
        """Multiply rows with the prototypes, decide, and settle what is left open.

        Parameters
        ----------
        rows
            (n, d) float16, n at least 1.
        group, counts
            A group of thresholds, and (thresholds, C) int32 that its hits are added to; None for no thresholds.
        bins
            (C, BINS) int32 that the histogram is added to; None for none.
        row_best
            (n,) int32 that is raised to each row's highest score, as `decode_row_best` reads it; None for none.
        floors
            (C,), (n,) and (n,) float32: pairs are recorded that reach the first and the second, or the third; None for
            no pairs.
        scores
            (C, n) float32 for all the scores; None for none.
        """
        kernels = _kernels()
        sizes, nothing = self._sizes, self._nothing
        thresholds = self.thresholds if group is not None else 0
        programs = self._programs(len(rows))
        capacity = max(LEAST_RECORDS_A_PROGRAM, RECORDS // programs)
        records = torch.empty((programs, capacity), dtype=torch.int64, device=self.device)
        used = torch.zeros(programs, dtype=torch.int32, device=self.device)
        pairs = floors is not None
        similarities = torch.empty((programs, capacity), dtype=torch.float64, device=self.device) if pairs else None
        floor, row_floor, row_best_floor = floors if floors is not None else (nothing, nothing, nothing)
        sure_from, exact = nothing, nothing
        if group is not None:
            sure_from, exact = self._sure_from[group], self._exact[group]
        kernel = kernels.count_one if sizes.concepts == 1 else kernels.count_product
        flags: dict[str, Any] = {"THRESHOLDS": thresholds, "HISTOGRAM": bins is not None, "PAIRS": pairs}
        kernel[(programs,)](
            rows,
            self._prototypes,
            sure_from,
            nothing if counts is None else counts,
            nothing if bins is None else bins,
            nothing if row_best is None else row_best,
            floor,
            row_floor,
            row_best_floor,
            records,
            used,
            nothing if scores is None else scores,
            len(rows),
            self.concepts,
            capacity,
            self._open_width,
            self._edge_band,
            1.0,
            D=self._dimension,
            BLOCK_C=sizes.concepts,
            BLOCK_R=sizes.rows,
            BLOCK_D=sizes.columns,
            SHORT_SUMS=self._short_sums,
            ROW_BEST=row_best is not None,
            SCORES=scores is not None,
            num_warps=sizes.warps,
            num_stages=sizes.stages,
            **flags,
        )
        if thresholds or bins is not None or pairs:
            kernels.settle[(programs, _SETTLERS)](
                rows,
                self._prototypes,
                exact,
                self._edges,
                nothing if counts is None else counts,
                nothing if bins is None else bins,
                records,
                used,
                nothing if similarities is None else similarities,
                self.concepts,
                capacity,
                D=self._dimension,
                GROUP=_SETTLE_GROUP,
                BLOCK_D=min(power_of_two(self._dimension), 128),
                **flags,
            )
        return Records(records, used, similarities, thresholds + 1)

    def sums(self, groups: int, histogram: bool, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Give counts (groups, thresholds, C) and bins (C, BINS), or none of them, of nothing."""
        counts = torch.zeros((groups, self.thresholds, self.concepts), dtype=dtype, device=self.device)
        return counts, torch.zeros((self.concepts * histogram, BINS), dtype=dtype, device=self.device)

    def _programs(self, rows: int) -> int:
        blocks = -(-self.concepts // self._sizes.concepts)
        multiprocessors = 2
        if self.device.type == "cuda":
            multiprocessors = torch.cuda.get_device_properties(self.device).multi_processor_count
        wanted = multiprocessors * _PROGRAMS_A_MULTIPROCESSOR // blocks
        return blocks * max(1, min(wanted, -(-rows // self._sizes.rows)))

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values, order="C")).to(self.device)


def _kernels() -> Any:
    """Import the kernels, and Triton with them, only now; their arguments are not Python's."""
    return import_module(".kernels", __package__)


def lowest_row_best(rows: int, device: torch.device) -> torch.Tensor:
    """Give (n,) int32 that every score raises."""
    return torch.full((rows,), -(2**31), dtype=torch.int32, device=device)


def decode_row_best(row_best: torch.Tensor) -> torch.Tensor:
    """Turn whole numbers in the order of float32 numbers into those: (n,) float32."""
    return torch.where(row_best < 0, row_best ^ 0x7FFFFFFF, row_best).view(torch.float32)


def below(values: torch.Tensor) -> torch.Tensor:
    """Round float64 to float32, never up."""
    narrow = values.float()
    return torch.where(narrow.double() > values, torch.nextafter(narrow, torch.full_like(narrow, -torch.inf)), narrow)


def power_of_two(least: int) -> int:
    """Give the smallest power of two that is no smaller."""
    return 1 << max(least - 1, 0).bit_length()


def _up(value: float) -> float:
    """Round to float32, never down: a kernel's arguments are float32."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))
