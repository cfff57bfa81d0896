"""Tiles on their way to a device and back: while one is counted, the next one travels.

Not here: how rows are counted once they are there (`torch_form.py`, `fused.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from ..tiles import TileAnswer

# Tiles whose answers are awaited at once.
_IN_FLIGHT = 2
# Those, one that has travelled, and one that travels.
_SLOTS = _IN_FLIGHT + 2
# One thread copies about 10 GB/s into pinned memory, and a link to a GPU takes five times as much.
_COPY_THREADS = 4
_COPY_APART_BYTES = 1 << 20


class DeviceWork(Protocol):
    """Counts rows that lie on a device, for one query; its sums stay there until they are asked for."""

    device: torch.device

    @property
    def most_rows(self) -> int:
        """How many rows are best submitted at once."""
        ...

    def start(self) -> None:
        """Set the sums to zero."""
        ...

    def submit(self, rows: torch.Tensor, floors: np.ndarray | None, checked: bool = False) -> Any:
        """Begin to count some rows, without waiting where that can be helped.

        Parameters
        ----------
        rows
            (n, d) float16 on the device, to be left alone until `collect`.
        floors
            See `TileCounter.count_tile`.
        checked
            Whether the rows are known to be finite and of unit length.
        """
        ...

    def collect(self, submitted: Any) -> TileAnswer:
        """Wait for what `submit` began. Counts are zero and there is no histogram: they are among the sums."""
        ...

    def sums(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the counts and the histogram of all rows since `start`, when all were collected."""
        ...


class DeviceCounter:
    """Answers for tiles of rows in the host's memory; see `TileStream`."""

    def __init__(self, work: DeviceWork, dimension: int) -> None:
        self._work = work
        self._uploads = Uploads(work.device, dimension)

    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        """Answer for one tile; see `TileCounter.count_tile`."""
        (answer,) = self.count_tiles([(rows, floors)])
        return answer

    def count_tiles(self, tiles: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[TileAnswer]:
        """Answer for many tiles; see `TileStream.count_tiles`."""
        waiting: deque[Any] = deque()
        travelled: tuple[torch.Tensor, np.ndarray | None] | None = None
        self._work.start()
        for rows, floors in tiles:
            travelling = self._uploads.put(rows), floors
            if travelled is not None:
                waiting.append(self._work.submit(*travelled))
            travelled = travelling
            if len(waiting) > _IN_FLIGHT:
                yield self._work.collect(waiting.popleft())
        if travelled is None:
            return
        waiting.append(self._work.submit(*travelled))
        while len(waiting) > 1:
            yield self._work.collect(waiting.popleft())
        last = self._work.collect(waiting.popleft())
        counts, histogram = self._work.sums()
        yield replace(last, counts=counts, histogram=histogram)


class Uploads:
    """Copies tiles to a device through a ring of buffers; each is used again after `_SLOTS` tiles.

    For a GPU the buffers on the host are pinned, and copies run on a stream of their own. Rows that lie in pinned
    memory already are copied from where they are, and must stay there as long as their tile is counted.
    """

    def __init__(self, device: torch.device, dimension: int) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._dimension = dimension
        self._slots = [_Slot() for _ in range(_SLOTS)]
        self._next = 0
        self._stream = torch.cuda.Stream(device) if self._on_gpu else None
        self._pool: ThreadPoolExecutor | None = None

    def put(self, rows: np.ndarray) -> torch.Tensor:
        """Begin to copy (n, d) float16 rows; what is launched afterwards waits for them."""
        slot = self._slots[self._next]
        self._next = (self._next + 1) % _SLOTS
        count = len(rows)
        if slot.device is None or len(slot.device) < count:
            size = (count, self._dimension)
            slot.host = torch.empty(size, dtype=torch.float16, pin_memory=self._on_gpu)
            slot.device = torch.empty(size, dtype=torch.float16, device=self._device) if self._on_gpu else slot.host
        assert slot.host is not None
        source = _pinned(rows) if self._on_gpu else None
        if source is None:
            source = slot.host[:count]
            self._fill(source.numpy(), rows)
        target = slot.device[:count]
        if self._stream is not None:
            with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                target.copy_(source, non_blocking=True)
                arrived = self._stream.record_event()
            torch.cuda.current_stream(self._device).wait_event(arrived)
        return target

    def _fill(self, target: np.ndarray, rows: np.ndarray) -> None:
        if rows.nbytes < _COPY_APART_BYTES:
            np.copyto(target, rows)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_COPY_THREADS, thread_name_prefix="tailwag-copy")
        pieces = zip(np.array_split(target, _COPY_THREADS), np.array_split(rows, _COPY_THREADS), strict=True)
        list(self._pool.map(lambda piece: np.copyto(*piece), pieces))


class _Slot:
    """A buffer on the host and its twin on the device, as large as the largest tile so far."""

    host: torch.Tensor | None = None
    device: torch.Tensor | None = None


def _pinned(rows: np.ndarray) -> torch.Tensor | None:
    """The same rows as a tensor, if they lie in pinned memory."""
    if not (rows.flags.writeable and rows.flags.c_contiguous):  # a view of a table's buffer: never pinned
        return None
    tensor = torch.from_numpy(rows)
    return tensor if tensor.is_pinned() else None
