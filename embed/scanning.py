"""Reading a corpus's vectors: block by block, ahead of whoever works on them, whole or not at all.

Not here: opening a corpus and its other columns (`corpus.py`), which rows are wanted (controls, in `retrieval`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from tailwag.errors import TailwagError

from .database import first_line

# Measured best between 2,048 and 8,192 rows (512 float16 a row): larger tiles fall out of the cache.
DEFAULT_BLOCK_ROWS = 8192
# Blocks that are read and wait for the one who works on them; with those in lance's own buffers they bound the memory.
BLOCKS_AHEAD = 4
# Rows that are wanted are taken one by one below this share of all, and picked out of whole blocks above it.
_TAKEN_SHARE = 0.4
_END = object()

T = TypeVar("T")


@dataclass(frozen=True)
class Fragment:
    """Some consecutive rows of a table that were written together, as they are at one version.

    Attributes
    ----------
    number
        The table's own number of it; never used twice.
    offset, rows
        Position of its first row in the corpus, and how many rows it has.
    state
        Names its files and its deleted rows: two fragments of equal state hold the same rows.
    """

    number: int
    offset: int
    rows: int
    state: str


@dataclass(frozen=True)
class Block:
    """Some rows of one side, or of both.

    Attributes
    ----------
    offset
        Position of the first row in the corpus at its version; `Corpus.take_offsets` finds it again.
    vectors
        (n, dimension) float16, a view of the file's buffer: read-only. n varies.
    other
        The same rows' vectors of the other side, where both were asked for.
    picked
        (n,) int64 positions of the rows, where only some rows were asked for; None when they are consecutive.
    """

    offset: int
    vectors: np.ndarray
    other: np.ndarray | None = None
    picked: np.ndarray | None = None

    @property
    def offsets(self) -> np.ndarray:
        """(n,) int64 positions of the rows in the corpus at its version."""
        if self.picked is not None:
            return self.picked
        return np.arange(self.offset, self.offset + len(self.vectors))


class RowMask:
    """Which rows of a corpus are wanted, one bit a row.

    Parameters
    ----------
    wanted
        (N,) bool in the order of the corpus, or pieces of it.
    """

    def __init__(self, wanted: np.ndarray | Iterable[np.ndarray]) -> None:
        self.length = self.count = 0
        packed, rest = [], np.zeros(0, dtype=bool)
        for piece in [wanted] if isinstance(wanted, np.ndarray) else wanted:
            self.length += len(piece)
            self.count += int(np.count_nonzero(piece))
            joined = np.concatenate([rest, piece])
            whole = len(joined) // 8 * 8
            packed.append(np.packbits(joined[:whole]))
            rest = joined[whole:]
        self._bits = np.concatenate([*packed, np.packbits(rest)])

    @classmethod
    def of_offsets(cls, length: int, offsets: np.ndarray) -> RowMask:
        """Make a mask of `length` rows of which those at (m,) int64 offsets, all different, are wanted."""
        mask = cls(())
        mask.length, mask.count = length, len(offsets)
        mask._bits = np.zeros(-(-length // 8), dtype=np.uint8)
        np.bitwise_or.at(mask._bits, offsets // 8, (128 >> (offsets % 8)).astype(np.uint8))
        return mask

    def between(self, start: int, stop: int) -> np.ndarray:
        """Give rows start to stop as (stop - start,) bool."""
        first = start // 8
        bits = np.unpackbits(self._bits[first : (stop + 7) // 8])
        return bits[start - first * 8 : stop - first * 8].astype(bool)


def read_blocks(
    dataset: Any,
    whose: str,
    sides: Sequence[str],
    dimension: int,
    fragments: Sequence[Fragment],
    block_rows: int,
    mask: RowMask | None,
) -> Iterator[Block]:
    """Read the vectors of some fragments, in their order; see `Corpus.scan`."""
    for fragment in fragments:
        if mask is None:
            yield from _whole(dataset, whose, sides, dimension, fragment, block_rows)
            continue
        wanted = mask.between(fragment.offset, fragment.offset + fragment.rows)
        if np.count_nonzero(wanted) <= fragment.rows * _TAKEN_SHARE:
            yield from _taken(dataset, whose, sides, dimension, fragment.offset + np.flatnonzero(wanted), block_rows)
            continue
        for block in _whole(dataset, whose, sides, dimension, fragment, block_rows):
            start = block.offset - fragment.offset
            chosen = np.flatnonzero(wanted[start : start + len(block.vectors)])
            other = None if block.other is None else block.other[chosen]
            yield Block(block.offset, block.vectors[chosen], other, block.offset + chosen)


def _whole(
    dataset: Any, whose: str, sides: Sequence[str], dimension: int, fragment: Fragment, block_rows: int
) -> Iterator[Block]:
    done = 0
    try:
        scanner = dataset.scanner(
            columns=list(sides),
            fragments=[dataset.get_fragment(fragment.number)],
            batch_size=block_rows,
            batch_readahead=4,
            io_buffer_size=32 << 20,
        )
        for batch in scanner.to_batches():
            vectors = [_vectors(batch.column(side), whose, side, fragment.offset + done, dimension) for side in sides]
            yield Block(fragment.offset + done, *vectors)
            done += len(vectors[0])
    except (OSError, ValueError) as error:  # arrow wraps what lance could not read as an invalid value
        raise TailwagError(f"{whose} cannot be read past row {fragment.offset + done}: {first_line(error)}") from error
    if done != fragment.rows:
        raise TailwagError(
            f"{whose} gave {done} of the {fragment.rows} rows from row {fragment.offset} on: the table is damaged"
        )


def _taken(
    dataset: Any, whose: str, sides: Sequence[str], dimension: int, offsets: np.ndarray, block_rows: int
) -> Iterator[Block]:
    for start in range(0, len(offsets), block_rows):
        picked = offsets[start : start + block_rows]
        try:
            table = dataset.take(picked.tolist(), columns=list(sides))
        except (OSError, ValueError) as error:
            raise TailwagError(f"{whose} cannot be read past row {picked[0]}: {first_line(error)}") from error
        if table.num_rows != len(picked):
            raise TailwagError(f"{whose} gave {table.num_rows} of {len(picked)} rows asked for: the table is damaged")
        vectors = [
            _vectors(table.column(side).combine_chunks(), whose, side, int(picked[0]), dimension) for side in sides
        ]
        yield Block(int(picked[0]), vectors[0], vectors[1] if len(vectors) > 1 else None, picked)


def _vectors(column: Any, whose: str, side: str, offset: int, dimension: int) -> np.ndarray:
    if column.null_count:
        raise TailwagError(f"{whose} holds null {side} vectors from row {offset} on: embed again")
    return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, dimension)


class Ahead(Generic[T]):
    """Runs an iterator in a thread of its own, some items ahead of who takes them.

    What the iterator raises is raised where the items are taken: there is no end without its end. Closing it, as `with`
    does, stops the thread.

    Parameters
    ----------
    items
        What is to be run.
    depth
        Items that may wait at once.
    """

    def __init__(self, items: Iterator[T], depth: int = BLOCKS_AHEAD) -> None:
        self._items = items
        self._waiting: queue.Queue[Any] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tailwag-reader", daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._take()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        while self._thread.is_alive():  # it may wait to put one more item in
            try:
                self._waiting.get(timeout=0.01)
            except queue.Empty:
                continue

    def _take(self) -> Iterator[T]:
        while True:
            item = self._waiting.get()
            if item is _END:
                return
            if isinstance(item, _Raised):
                raise item.error
            yield item

    def _run(self) -> None:
        last: Any = _END
        try:
            for item in self._items:
                self._waiting.put(item)
                if self._stopped.is_set():
                    return
        except BaseException as error:
            last = _Raised(error)
        self._waiting.put(last)


@dataclass(frozen=True)
class _Raised:
    error: BaseException
