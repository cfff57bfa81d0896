"""One counter's way through a table, and several counters' ways at once: tiles, parts, and rows that are refused.

Not here: what is asked and what comes out (`engine.py`), the sums (`tally.py`), how a tile is answered (the backends).
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from tailwag.errors import TailwagError
from tailwag.progress import Progress

from ...embed.corpus import UNIT_TOLERANCE, Corpus, is_unit
from ...embed.scanning import Block, Fragment, RowMask
from .backends import Backend, TileCounter, prepare_counters
from .query import CountQuery
from .result import Partial
from .tally import Tally
from .tiles import TileAnswer

# Pairs that a tile may bring forth at most, 20 bytes each.
PAIRS_A_TILE = 1 << 23
# Rows of the first tile when the most similar rows are wanted: until k rows are known, every row is one of the best.
FIRST_ROWS = 64


@dataclass
class Sums:
    """What passes over some fragments came to; can be sent between processes."""

    tally: Tally
    bad_rows: BadRows
    parts: Parts | None

    @classmethod
    def nothing(cls, query: CountQuery, parts: Sequence[Sequence[Fragment]]) -> Sums:
        """Give the sums before anything is counted."""
        tally = Tally(query)
        return cls(tally, BadRows(), Parts(parts, tally) if query.partials else None)

    def merge(self, other: Sums) -> None:
        """Take in what was found over other fragments."""
        self.tally.merge(other.tally)
        self.bad_rows.merge(other.bad_rows)
        if self.parts is not None and other.parts is not None:
            self.parts.merge(other.parts)


class Pass:
    """One counter's way through some of the table, with sums of its own, so that several can run at once."""

    def __init__(self, counter: TileCounter, query: CountQuery, parts: Sequence[Sequence[Fragment]]) -> None:
        self._counter = counter
        self._query = query
        self._asked = query.asked()
        self._first = True
        self.sums = Sums.nothing(query, parts)
        self.tally, self.bad_rows, self.parts = self.sums.tally, self.sums.bad_rows, self.sums.parts

    def run(self, corpus: Corpus, fragments: Sequence[Fragment], mask: RowMask | None, progress: Progress) -> None:
        """Count some fragments, in their order."""
        both = self._query.other_thresholds is not None
        blocks = corpus.scan(self._query.side, both=both, fragments=fragments, mask=mask)
        # A counter may answer for several tiles at once, but never across the border of two parts.
        parts = [(0, blocks)] if self.parts is None else groupby(blocks, key=self.parts.position)
        for _, part in parts:
            for tile, answer in self._answers(part):
                self._add(tile, answer)
                progress.advance(len(tile.vectors))
        if self.parts is not None:
            self.parts.close()
        if self._asked.histogram and hasattr(self._counter, "take_histogram"):
            self.tally.add_histogram(self._counter.take_histogram())

    def _answers(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, TileAnswer]]:
        waiting: deque[Block] = deque()

        def hand_over() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
            for block in blocks:
                if self.parts is not None:
                    self.parts.enter(block)
                for tile in self._tiles(block):
                    waiting.append(tile)
                    yield tile.vectors, self.tally.floors() if self._asked.pairs else None

        count_tiles = getattr(self._counter, "count_tiles", None)
        if count_tiles is None:
            answers = (self._counter.count_tile(rows, floors) for rows, floors in hand_over())
        else:
            answers = count_tiles(hand_over())
        for answer in answers:
            yield waiting.popleft(), answer

    def _tiles(self, block: Block) -> list[Block]:
        """Cut a block where all its pairs with prototypes may be wanted, so that they stay few enough to hold."""
        rows = len(block.vectors)
        if not self._asked.pairs or rows == 0:
            return [block]
        most = max(FIRST_ROWS, PAIRS_A_TILE // len(self._query.prototypes))
        size = FIRST_ROWS if self._query.top_k and self._first else most
        self._first = False
        tiles, start = [], 0
        while start < rows:
            here = slice(start, start + size)
            other = None if block.other is None else block.other[here]
            tiles.append(Block(block.offset + start, block.vectors[here], other, block.offsets[here]))
            start += size
            size = min(2 * size, most)
        return tiles

    def _add(self, tile: Block, answer: TileAnswer) -> None:
        side = self._query.side
        self.bad_rows.note(side, tile.offsets, answer.refused)
        if tile.other is not None:
            other_side = "text" if side == "image" else "image"
            self.bad_rows.note(other_side, tile.offsets, np.flatnonzero(~is_unit(tile.other)))
        if not self.bad_rows.count:
            self.tally.add(tile.offsets, tile.vectors, tile.other, answer)


def count_parts(
    corpus: Corpus,
    query: CountQuery,
    backend: Backend,
    parts: Sequence[Sequence[Fragment]],
    whole: Sequence[Sequence[Fragment]],
    mask: RowMask | None,
    progress: Progress,
) -> Sums:
    """Count some parts of a table with all counters that a backend has here.

    Parameters
    ----------
    corpus, query, backend, mask, progress
        As in `engine.count`.
    parts
        To be counted, in order.
    whole
        All parts that the query is about, of which these are some.
    """
    counters = prepare_counters(backend, query.prototypes.vectors, query.asked())
    passes = [Pass(counter, query, whole) for counter in counters]
    if len(passes) == 1:
        passes[0].run(corpus, [fragment for part in parts for fragment in part], mask, progress)
    else:
        share_out(passes, parts, corpus, mask, progress)
    sums, *others = (one.sums for one in passes)
    for other in others:
        sums.merge(other)
    return sums


def share_out(
    passes: Sequence[Pass],
    parts: Sequence[Sequence[Fragment]],
    corpus: Corpus,
    mask: RowMask | None,
    progress: Progress,
) -> None:
    """Run several passes at once, a thread each; whichever is free takes the next part of the table."""
    waiting, stopped = deque(parts), threading.Event()
    shared = _SharedProgress(progress, stopped)

    def work(one: Pass) -> None:
        try:
            while True:
                try:
                    part = waiting.popleft()
                except IndexError:
                    return
                one.run(corpus, part, mask, shared)
        except _Stopped:
            return
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(len(passes), thread_name_prefix="tailwag-count") as pool:
        running = [pool.submit(work, one) for one in passes]
        try:
            for one in as_completed(running):
                one.result()
        finally:
            stopped.set()  # when one has failed, or the user will not wait, the others go no further


class _Stopped(Exception):
    """Another thread has failed, or the user will not wait."""


class _SharedProgress:
    """Lets several threads advance one progress, and stops them."""

    def __init__(self, progress: Progress, stopped: threading.Event) -> None:
        self._progress, self._stopped = progress, stopped
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        if self._stopped.is_set():
            raise _Stopped
        with self._lock:
            self._progress.advance(amount)


class Parts:
    """Keeps what each part of the table adds to the counts, and a digest of the vectors that were compared."""

    def __init__(self, parts: Sequence[Sequence[Fragment]], tally: Tally) -> None:
        self._tally = tally
        self._parts = parts
        self._starts = np.array([part[0].offset for part in self._parts])
        self._digests: list[Any] = [hashlib.sha256() for _ in self._parts]
        self._rows = [0] * len(self._parts)
        self._counts = [np.zeros(tally.counts.shape, np.int64) for _ in self._parts]
        self._open = 0
        self._before = np.zeros(tally.counts.shape, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        """Give what can be sent to another process, to be merged there: digests can only be sent when they are done."""
        return {**self.__dict__, "_digests": [digest.hexdigest() for digest in self._digests]}

    def enter(self, block: Block) -> None:
        """Take note of a block before it is counted."""
        position = self.position(block)
        if position != self._open:
            self.close()
            self._open = position
        self._digests[position].update(np.ascontiguousarray(block.vectors).data)
        self._rows[position] += len(block.vectors)

    def position(self, block: Block) -> int:
        """Say which part a block belongs to."""
        return int(np.searchsorted(self._starts, block.offset, side="right")) - 1

    def merge(self, other: Parts) -> None:
        """Take over the parts that another pass went through."""
        for position, rows in enumerate(other._rows):
            if rows:
                self._rows[position] = rows
                self._digests[position] = other._digests[position]
                self._counts[position] = other._counts[position]
        self._before = self._tally.counts.copy()

    def finish(self) -> tuple[Partial, ...]:
        """Give what each part came to."""
        self.close()
        states = [tuple(fragment.state for fragment in part) for part in self._parts]
        digests = [digest if isinstance(digest, str) else digest.hexdigest() for digest in self._digests]
        return tuple(map(Partial, states, self._rows, digests, self._counts))

    def close(self) -> None:
        """Give the part that was entered last what the counts have grown by since."""
        if self._parts:
            self._counts[self._open] = self._counts[self._open] + self._tally.counts - self._before
            self._before = self._tally.counts.copy()


@dataclass(frozen=True)
class _BadRow:
    side: str
    offset: int


class BadRows:
    """Rows that the exactness of counting cannot rest on: the first one, and how many there are in the whole corpus."""

    def __init__(self) -> None:
        self.count = 0
        self._first: _BadRow | None = None

    def note(self, side: str, offsets: np.ndarray, bad: np.ndarray) -> None:
        """Take note of the bad rows of a tile, given by their positions in it."""
        if len(bad) and self._first is None:
            self._first = _BadRow(side, int(offsets[bad[0]]))
        self.count += len(bad)

    def merge(self, other: BadRows) -> None:
        """Take in those of other rows."""
        self.count += other.count
        found = [one for one in (self._first, other._first) if one is not None]
        self._first = min(found, key=lambda one: one.offset, default=None)

    def refuse(self, corpus: Corpus) -> None:
        """Raise when there were any, naming the first by its key."""
        if self._first is None:
            return
        key = corpus.take_offsets([self._first.offset], ["key"]).column("key")[0].as_py()
        others = f" and {self.count - 1:,} others are" if self.count > 1 else " is"
        raise TailwagError(
            f"the {self._first.side} vector of {key!r}{others} not finite or off unit length by more than "
            f"{UNIT_TOLERANCE:g} in corpus {corpus.name!r} (version {corpus.version}): nothing was counted; embed "
            "again, or delete them"
        )
