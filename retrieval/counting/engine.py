"""The pass: read the corpus once, feed the backend, add up.

Not here: how a tile is answered (the backends), what is asked (`query.py`), the sums (`tally.py`), what comes out
(`result.py`).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tailwag.errors import TailwagError
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import UNIT_TOLERANCE, Corpus, is_unit
from ...embed.ledger import Ledger
from ...embed.scanning import Block, Fragment, RowMask
from .backends import TileCounter, choose_backend, prepare_counters
from .query import CountQuery
from .result import CountResult, Partial
from .tally import Tally
from .tiles import TileAnswer

# Consecutive fragments are counted together so that there are no more parts than this: their counts stay small beside
# the answer, and what changed between two versions is still found to within a few parts.
MOST_PARTS = 256
# Pairs that a tile may bring forth at most, 20 bytes each.
_PAIRS_A_TILE = 1 << 23
# Rows of the first tile when the most similar rows are wanted: until k rows are known, every row is one of the best.
_FIRST_ROWS = 64


def count(
    corpus: Corpus,
    query: CountQuery,
    backend: str = "auto",
    progress: Progress | None = None,
    *,
    fragments: Sequence[Fragment] | None = None,
    parts: Sequence[Sequence[Fragment]] | None = None,
) -> CountResult:
    """How many rows of the corpus lie at or above each threshold?

    One pass over the corpus at its version. The counts equal counting in real arithmetic over the stored float16
    vectors, whatever the backend.

    Parameters
    ----------
    corpus
        The corpus at one version.
    query
        Prototypes, thresholds, side, and what else is wanted.
    backend
        ``auto``, ``cpu``, or one by its own name; see `backends.py`.
    progress
        Advanced by the rows that are done; None shows nothing.
    fragments
        Of the corpus's `fragments()`, those to count; None counts all.
    parts
        The same fragments, in the order of the table, put together as the parts that a query for partials wants to
        know of; None puts them together by `parts_of`.

    Returns
    -------
    CountResult
        Counts, and everything that they hold for.

    Raises
    ------
    SpaceMismatch
        When the prototypes live in another space than the corpus.
    BadInput
        For a backend that does not exist or does not run here.
    TailwagError
        When rows cannot be read, or are not finite or not of unit length; names the first key and says how many.

    Examples
    --------
    >>> result = count(corpus, CountQuery(prototypes, 0.27))     # doctest: +SKIP
    >>> print(result[0])                                         # doctest: +SKIP
    137 of 2,426 images (5.65 %) have a similarity of at least 0.27 to "red panda" in corpus 'photos' …
    """
    progress = progress or NoProgress()
    query.prototypes.space.require_same(
        corpus.space,
        here="the prototypes are",
        there=f"corpus {corpus.name!r} holds",
        remedy="make the prototypes with the corpus's model",
    )
    chosen = choose_backend(backend)
    counters = prepare_counters(chosen, query.prototypes.vectors, query.asked())
    if parts is not None:
        fragments = [fragment for part in parts for fragment in part]
    wanted = corpus.fragments() if fragments is None else tuple(fragments)
    whole_parts = parts_of(wanted) if parts is None else [tuple(part) for part in parts]
    start = time.perf_counter()
    mask = query.control.mask(corpus) if query.control is not None else None
    passes = [_Pass(counter, query, whole_parts) for counter in counters]
    if len(passes) == 1:
        passes[0].run(corpus, wanted, mask, progress)
    else:
        _share_out(passes, whole_parts, corpus, mask, progress)
    done, *others = passes
    for other in others:
        done.merge(other)
    done.bad_rows.refuse(corpus)
    tally = done.tally
    return CountResult(
        corpus=corpus.name,
        corpus_version=corpus.version,
        space=corpus.space,
        side=query.side,
        control=query.control.name if query.control is not None else "",
        rows=tally.rows,
        failures=known_failures(corpus),
        concepts=query.prototypes.names,
        recipes=query.prototypes.recipes,
        thresholds=query.thresholds,
        threshold_sources=query.threshold_sources,
        counts=tally.counts,
        backend=chosen.name,
        seconds=time.perf_counter() - start,
        histogram=tally.histogram,
        mention_counts=tally.mention_counts,
        mention_histogram=tally.mention_histogram,
        both_counts=tally.both_counts,
        margin_counts=tally.margin_counts,
        best=tally.best(),
        top=tally.top(),
        partials=done.parts.finish() if done.parts is not None else (),
    )


def known_failures(corpus: Corpus) -> int | None:
    """How many samples could not be embedded? None for an older version: the table of failures knows only today's."""
    newest = corpus.database.open_table(corpus.name).version
    return Ledger(corpus.database, corpus.name).failure_count() if corpus.version == newest else None


def parts_of(fragments: Sequence[Fragment]) -> list[tuple[Fragment, ...]]:
    """Put consecutive fragments together, so that there are at most `MOST_PARTS` parts of about as many rows each."""
    if len(fragments) <= MOST_PARTS:
        return [(fragment,) for fragment in fragments]
    least = -(-sum(fragment.rows for fragment in fragments) // MOST_PARTS)
    parts: list[tuple[Fragment, ...]] = []
    open_part: list[Fragment] = []
    for fragment in fragments:
        open_part.append(fragment)
        if sum(one.rows for one in open_part) >= least:
            parts.append(tuple(open_part))
            open_part = []
    return [*parts, tuple(open_part)] if open_part else parts


class _Pass:
    """One counter's way through some of the table, with sums of its own, so that several can run at once."""

    def __init__(self, counter: TileCounter, query: CountQuery, parts: Sequence[Sequence[Fragment]]) -> None:
        self._counter = counter
        self._query = query
        self._asked = query.asked()
        self._first = True
        self.tally, self.bad_rows = Tally(query), _BadRows()
        self.parts = _Parts(parts, self.tally) if query.partials else None

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

    def merge(self, other: _Pass) -> None:
        """Take in what another pass came to over other fragments."""
        self.tally.merge(other.tally)
        self.bad_rows.merge(other.bad_rows)
        if self.parts is not None and other.parts is not None:
            self.parts.merge(other.parts)

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
        most = max(_FIRST_ROWS, _PAIRS_A_TILE // len(self._query.prototypes))
        size = _FIRST_ROWS if self._query.top_k and self._first else most
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


def _share_out(
    passes: Sequence[_Pass],
    parts: Sequence[Sequence[Fragment]],
    corpus: Corpus,
    mask: RowMask | None,
    progress: Progress,
) -> None:
    """Run several passes at once, a thread each; whichever is free takes the next part of the table."""
    waiting, stopped = deque(parts), threading.Event()
    shared = _SharedProgress(progress, stopped)

    def work(one: _Pass) -> None:
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


class _Parts:
    """Keeps what each part of the table adds to the counts, and a digest of the vectors that were compared."""

    def __init__(self, parts: Sequence[Sequence[Fragment]], tally: Tally) -> None:
        self._tally = tally
        self._parts = parts
        self._starts = np.array([part[0].offset for part in self._parts])
        self._digests = [hashlib.sha256() for _ in self._parts]
        self._rows = [0] * len(self._parts)
        self._counts = [np.zeros(tally.counts.shape, np.int64) for _ in self._parts]
        self._open = 0
        self._before = np.zeros(tally.counts.shape, np.int64)

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

    def merge(self, other: _Parts) -> None:
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
        digests = [digest.hexdigest() for digest in self._digests]
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


class _BadRows:
    """Rows that the exactness of counting cannot rest on: the first one, and how many there are in the whole corpus."""

    def __init__(self) -> None:
        self.count = 0
        self._first: _BadRow | None = None

    def note(self, side: str, offsets: np.ndarray, bad: np.ndarray) -> None:
        """Take note of the bad rows of a tile, given by their positions in it."""
        if len(bad) and self._first is None:
            self._first = _BadRow(side, int(offsets[bad[0]]))
        self.count += len(bad)

    def merge(self, other: _BadRows) -> None:
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
