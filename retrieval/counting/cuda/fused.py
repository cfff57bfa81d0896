"""Answering queries with the fused kernels: which launches, with which band, and what becomes of their records.

Left to plain torch: more than one best prototype a row, and any rows of which a launch leaves more open than there is
room for. Not here: a single launch (`launches.py`), the kernels (`kernels.py`), moving rows (`pipeline.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from ..bands import float32_band
from ..bins import EDGES, counts_at_edges, edge_of
from ..tiles import Asked, Best, Pairs, TileAnswer
from .launches import (
    MOST_THRESHOLDS,
    RECORDS,
    Launcher,
    Records,
    TileSizes,
    below,
    decode_row_best,
    lowest_row_best,
    tile_sizes,
)
from .pipeline import DeviceCounter
from .tensor_cores import ANY, examine, supposed
from .torch_form import TorchAnswers, TorchForm

# More thresholds than this on edges of the histogram are read off it, which is then made even if nobody asked for it.
_MOST_EDGES_APART = 4
# The share of pairs that a launch may leave open before its records overflow.
_OPEN_SHARE = 1 / 32


class ProductNotAsSupposed(Exception):
    """A device's tensor cores do not compute as their band supposes; the kernels cannot be used on it."""


class FusedForm:
    """Counts with the fused kernels on one device.

    Parameters
    ----------
    device
        What torch calls it: ``"cuda:0"``; ``"cpu"`` where Triton interprets its kernels.
    sizes
        Tile sizes; None for those that suit the number of concepts.
    """

    name = "cuda"

    def __init__(self, device: str = "cuda", sizes: TileSizes | None = None) -> None:
        self._device = torch.device(device)
        self._sizes = sizes

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> DeviceCounter:
        """Make ready for one query; see `Backend.prepare`.

        Raises
        ------
        ProductNotAsSupposed
            When the device's products err by more than its band.
        """
        if asked.best > 1:
            return TorchForm(str(self._device)).prepare(prototypes, asked)
        return DeviceCounter(self.work(prototypes, asked), prototypes.shape[1])

    def work(self, prototypes: np.ndarray, asked: Asked) -> FusedWork:
        """Make ready for one query on rows that lie on the device already; see `prepare`."""
        return FusedWork(prototypes, asked, self._device, self._sizes or tile_sizes(*prototypes.shape))


@dataclass(frozen=True, eq=False)
class _Submitted:
    """Launches whose end is not known yet."""

    rows: torch.Tensor
    floors: np.ndarray | None
    refused: torch.Tensor
    fits: torch.Tensor
    pairs: Records | None
    arrived: Any


class FusedWork:
    """Counts rows on a device with the fused kernels, for one query; see `DeviceWork`.

    Launches add to sums of their own, which join the others only if there was room for all that they left open. Else
    their rows are answered by the torch form.
    """

    def __init__(self, prototypes: np.ndarray, asked: Asked, device: torch.device, sizes: TileSizes) -> None:
        self.device = device
        self._asked = asked
        on_edges = [all(edge_of(float(one)) is not None for one in column) for column in asked.thresholds.T]
        self._histogram = asked.histogram or sum(on_edges) > _MOST_EDGES_APART
        self._read_off = [column for column, on in enumerate(on_edges) if on and self._histogram]
        decided = [column for column in range(len(on_edges)) if column not in self._read_off]
        self._groups = [decided[start : start + MOST_THRESHOLDS] for start in range(0, len(decided), MOST_THRESHOLDS)]
        thresholds = np.full((len(self._groups), min(len(decided), MOST_THRESHOLDS), len(prototypes)), np.inf)
        for group, columns in enumerate(self._groups):
            thresholds[group, : len(columns)] = asked.thresholds[:, columns].T
        # Nearly every edge has similarities near it: a narrower band is worth the additions that it costs.
        short_sums = self._histogram and sizes.concepts > 1
        self._band = product_band(device, sizes, prototypes.shape[1], short_sums)
        self._launcher = Launcher(prototypes, thresholds, self._band, short_sums, device, sizes)
        self._torch_asked = prototypes, replace(asked, histogram=self._histogram)
        self._torch: TorchAnswers | None = None
        self.start()

    @property
    def most_rows(self) -> int:
        """How many rows are best submitted at once."""
        return max(8192, min(1 << 23, int(RECORDS / _OPEN_SHARE) // self._launcher.concepts))

    def start(self) -> None:
        """Set the sums to zero."""
        self._counts, self._bins = self._launcher.sums(len(self._groups), self._histogram, torch.int64)
        self._torch_counts = torch.zeros(self._asked.thresholds.shape, dtype=torch.int64, device=self.device)

    def submit(self, rows: torch.Tensor, floors: np.ndarray | None, checked: bool = False) -> _Submitted:
        """Begin to count some rows: queues launches and returns."""
        with self._on_device():
            refused = torch.zeros(len(rows), dtype=torch.int8, device=self.device)
            if len(rows) and not checked:
                self._launcher.check(rows, refused)
            counts, bins = self._launcher.sums(len(self._groups), self._histogram, torch.int32)
            launched: list[Records] = []
            wanted = self._asked.best == 1 or (self._asked.pairs and floors is not None)
            by_row = wanted and (self._asked.best == 1 or self._asked.within is not None)
            row_best = lowest_row_best(len(rows), self.device) if by_row else None
            pair_floors = self._floors(floors, len(rows)) if wanted and not by_row else None
            # All goes into the first launch but for thresholds beyond its share, and pairs that hang on the row's best.
            for group in range(max(len(self._groups), 1)) if len(rows) else ():
                first = group == 0
                records = self._launcher.launch(
                    rows,
                    group=group if self._groups else None,
                    counts=counts[group] if self._groups else None,
                    bins=bins if first and self._histogram else None,
                    row_best=row_best if first else None,
                    floors=pair_floors if first else None,
                )
                launched.append(records)
            pairs = launched[0] if pair_floors is not None and launched else None
            if row_best is not None and len(rows):
                pairs = self._launcher.launch(rows, floors=self._floors(floors, len(rows), decode_row_best(row_best)))
                launched.append(pairs)
            fits = torch.ones((), dtype=torch.bool, device=self.device)
            for records in launched:
                fits &= records.fit()
            self._counts += counts * fits
            self._bins += bins * fits
            arrived = None
            if self.device.type == "cuda":
                refused = torch.zeros(0, dtype=torch.int8) if checked else _to_pinned(refused)
                fits = _to_pinned(fits)
                arrived = torch.cuda.current_stream(self.device).record_event()
        return _Submitted(rows, floors, refused, fits, pairs, arrived)

    def collect(self, submitted: _Submitted) -> TileAnswer:
        """Wait for what `submit` began."""
        if submitted.arrived is not None:
            submitted.arrived.synchronize()
        with self._on_device():
            if not bool(submitted.fits):
                return self._by_torch(submitted)
            counts = np.zeros(self._asked.thresholds.shape, np.int64)
            refused = np.flatnonzero(submitted.refused.numpy())
            if len(refused):
                return TileAnswer(refused, counts)
            return TileAnswer(refused, counts, None, *self._choose(submitted))

    def sums(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the counts and the histogram of all rows since `start`."""
        counts, decided, bins = (part.cpu().numpy() for part in (self._torch_counts, self._counts, self._bins))
        for group, columns in enumerate(self._groups):
            counts[:, columns] += decided[group, : len(columns)].T
        if self._read_off:
            at_edges = counts_at_edges(bins)
            for column in self._read_off:
                edges = np.searchsorted(EDGES, self._asked.thresholds[:, column])
                counts[:, column] = at_edges[np.arange(len(edges)), edges]
        return counts, bins if self._asked.histogram else None

    def _floors(
        self, floors: np.ndarray | None, rows: int, row_best: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What must a score reach for its pair to be wanted perhaps? See `Launcher.launch`."""
        least = torch.full((self._launcher.concepts,), torch.inf, dtype=torch.float64, device=self.device)
        if floors is not None and self._asked.pairs:
            least = torch.from_numpy(np.array(floors, np.float64)).to(self.device) - self._band
        near = torch.full((rows,), -torch.inf, dtype=torch.float64, device=self.device)
        highest = torch.full((rows,), torch.inf, dtype=torch.float64, device=self.device)
        if row_best is not None:
            highest = row_best.double() - 2 * self._band  # it may be off itself
            if self._asked.within is not None:
                near = highest - self._asked.within
        return below(least), below(near), below(highest)

    def _choose(self, submitted: _Submitted) -> tuple[Best | None, Pairs | None]:
        """Choose pairs by their exact similarities."""
        asked, floors, rows = self._asked, submitted.floors, len(submitted.rows)
        by_pairs = asked.pairs and floors is not None
        if not by_pairs and asked.best == 0:
            return None, None
        if submitted.pairs is None:  # there were no rows
            none = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0)
            best = Best(np.zeros((0, 1), np.int32), np.zeros((0, 1))) if asked.best else None
            return best, Pairs(*none) if by_pairs else None
        places, concepts, exact = submitted.pairs.pairs(self._launcher.concepts)
        best = pairs = None
        # Every row's highest pair is among them, where it is asked for.
        highest = torch.full((rows,), -torch.inf, dtype=torch.float64, device=self.device)
        highest.scatter_reduce_(0, places, exact, "amax")
        if asked.best:
            first = torch.full((rows,), self._launcher.concepts, dtype=torch.int64, device=self.device)
            top = exact == highest[places]
            first.scatter_reduce_(0, places[top], concepts[top], "amin")
            best = Best(first[:, None].int().cpu().numpy(), highest[:, None].cpu().numpy())
        if by_pairs:
            reach = exact >= torch.from_numpy(np.array(floors, np.float64)).to(self.device)[concepts]
            if asked.within is not None:
                reach &= highest[places] - exact <= asked.within
            pairs = Pairs(*(part[reach].cpu().numpy() for part in (places, concepts.int(), exact)))
        return best, pairs

    def _by_torch(self, submitted: _Submitted) -> TileAnswer:
        """Answer for rows of which too much was left open."""
        if self._torch is None:
            self._torch = TorchAnswers(*self._torch_asked, self.device)
        answer = self._torch.answer(submitted.rows, submitted.floors)
        self._torch_counts += answer.counts
        if answer.histogram is not None:
            self._bins += answer.histogram
        return answer.to_host()

    @contextlib.contextmanager
    def _on_device(self) -> Iterator[None]:
        with torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext():
            yield


@cache
def product_band(device: torch.device, sizes: TileSizes, dimension: int, short_sums: bool) -> float:
    """How far can a kernel's product lie from the similarity, on this device? Examined once.

    Raises
    ------
    ProductNotAsSupposed
        When the device's products err by more than even the weakest tensor cores may.
    """
    if sizes.concepts == 1:
        return float32_band(dimension)
    on_gpu = device.type == "cuda"
    chunk = sizes.columns if short_sums else None
    expected = supposed(torch.cuda.get_device_capability(device)) if on_gpu else ANY

    def product(rows: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
        launcher = Launcher(prototypes, np.zeros((0, 0, len(prototypes))), 0.0, short_sums, device, sizes)
        scores = torch.empty((len(prototypes), len(rows)), dtype=torch.float32, device=device)
        with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
            launcher.launch(torch.from_numpy(rows).to(device), scores=scores)
        return scores.T.cpu().numpy()

    found = examine(product, expected, dimension, chunk)
    if found is None:
        name = torch.cuda.get_device_name(device) if on_gpu else "this device"
        raise ProductNotAsSupposed(f"the tensor cores of {name} err by more than any that are known")
    return found.band(dimension, chunk)


def _to_pinned(values: torch.Tensor) -> torch.Tensor:
    """Begin to copy to the host."""
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
