"""A file of a store as a Python file: read in blocks, the next ones fetched while one is used.

Not here: the requests and their retries (`storage.py`).
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

if TYPE_CHECKING:
    from .storage import StorePath

# Large enough that a request's latency is small beside its transfer, small enough that a file costs 32 MB of memory.
BLOCK_BYTES = 8 << 20
BLOCKS_AHEAD = 2
# Of one file, however many streams it is read in.
_MOST_REQUESTS = 8

# Where a stretch of a file begins and ends, in bytes.
Range = tuple[int, int]


def open_ranged(
    path: StorePath, block_bytes: int = BLOCK_BYTES, streams: Sequence[Sequence[Range]] | None = None
) -> BinaryIO:
    """Open a file whose size is known.

    Parameters
    ----------
    path
        The file.
    block_bytes
        Bytes a request, at most.
    streams
        What is read front to back, though perhaps by turns: each stream's ranges, in order. Of each the next blocks are
        fetched ahead, and nothing beyond it; what lies in none is asked for as it is read. None for the whole file.

    Returns
    -------
    BinaryIO
        Buffered and seekable; of each stream at most `BLOCKS_AHEAD` + 1 blocks are in memory. Reading raises what
        `StorePath.read_bytes` raises, so a file that breaks off is never taken for one that ends.
    """
    assert path.size is not None
    streams = [[(0, path.size)]] if streams is None else streams
    return cast(BinaryIO, io.BufferedReader(_RangedFile(path, block_bytes, streams), 64 << 10))


class _Block(NamedTuple):
    """One request's bytes, and its place in its stream."""

    start: int
    end: int
    stream: int
    number: int


class _RangedFile(io.RawIOBase):
    def __init__(self, path: StorePath, block_bytes: int, streams: Sequence[Sequence[Range]]) -> None:
        assert path.size is not None
        self._path, self._size = path, path.size
        self._position = 0
        self._streams = [_cut(number, ranges, block_bytes) for number, ranges in enumerate(streams)]
        self._in_order = sorted(block for stream in self._streams for block in stream)
        self._starts = [block.start for block in self._in_order]
        self._blocks: dict[_Block, Future[bytes]] = {}
        requests = min((BLOCKS_AHEAD + 1) * len(streams), _MOST_REQUESTS)
        self._pool = ThreadPoolExecutor(requests, thread_name_prefix="ranged-reading")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._position >= self._size:
            return 0
        place = bisect_right(self._starts, self._position)
        block = self._in_order[place - 1] if place else None
        if block is not None and self._position < block.end:
            begin = self._position - block.start
            piece = memoryview(self._fetched(block))[begin : begin + len(buffer)]
        else:
            limit = self._starts[place] if place < len(self._starts) else self._size
            piece = self._path.read_bytes(self._position, min(self._position + len(buffer), limit))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _fetched(self, block: _Block) -> bytes:
        wanted = self._streams[block.stream][block.number : block.number + BLOCKS_AHEAD + 1]
        for other in [other for other in self._blocks if other.stream == block.stream and other not in wanted]:
            self._blocks.pop(other).cancel()
        for other in wanted:
            if other not in self._blocks:
                self._blocks[other] = self._pool.submit(self._path.read_bytes, other.start, other.end)
        return self._blocks[block].result()

    def close(self) -> None:
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._blocks.clear()
        super().close()


def _cut(stream: int, ranges: Sequence[Range], block_bytes: int) -> list[_Block]:
    """Cut a stream's ranges into blocks."""
    limits = [
        (start, min(start + block_bytes, end)) for first, end in ranges for start in range(first, end, block_bytes)
    ]
    return [_Block(*limit, stream, number) for number, limit in enumerate(limits)]
