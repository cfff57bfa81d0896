"""A file of a store as a Python file: read in blocks, the next ones fetched while one is used.

Not here: the requests and their retries (`storage.py`).
"""

from __future__ import annotations

import io
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from .storage import StorePath

# Large enough that a request's latency is small beside its transfer, small enough that a file costs 32 MB of memory.
BLOCK_BYTES = 8 << 20
BLOCKS_AHEAD = 2


def open_ranged(path: StorePath, block_bytes: int = BLOCK_BYTES) -> BinaryIO:
    """Open a file whose size is known.

    Parameters
    ----------
    path
        The file.
    block_bytes
        Bytes a request.

    Returns
    -------
    BinaryIO
        Buffered and seekable. Reading raises what `StorePath.read_bytes` raises, so a file that breaks off is never
        taken for one that ends.
    """
    return cast(BinaryIO, io.BufferedReader(_RangedFile(path, block_bytes), 64 << 10))


class _RangedFile(io.RawIOBase):
    def __init__(self, path: StorePath, block_bytes: int) -> None:
        assert path.size is not None
        self._path, self._size, self._block_bytes = path, path.size, block_bytes
        self._position = 0
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(BLOCKS_AHEAD + 1, thread_name_prefix="ranged-reading")

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
        number, begin = divmod(self._position, self._block_bytes)
        piece = self._block(number)[begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _block(self, number: int) -> bytes:
        last = (self._size - 1) // self._block_bytes
        wanted = range(number, min(number + BLOCKS_AHEAD, last) + 1)
        for other in [other for other in self._blocks if other not in wanted]:
            self._blocks.pop(other).cancel()
        for other in wanted:
            if other not in self._blocks:
                start = other * self._block_bytes
                end = min(start + self._block_bytes, self._size)
                self._blocks[other] = self._pool.submit(self._path.read_bytes, start, end)
        return self._blocks[number].result()

    def close(self) -> None:
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._blocks.clear()
        super().close()
