"""The pass: read the corpus once, check the rows, feed the backend, add up.

Not here: how a tile is counted (the backends), what is asked (`query.py`), what comes out (`result.py`).
"""

from __future__ import annotations

import time

import numpy as np

from tailwag.errors import TailwagError
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import UNIT_TOLERANCE, Corpus, is_unit
from ...embed.ledger import Ledger
from .backends import choose_backend
from .query import CountQuery
from .result import CountResult


def count(corpus: Corpus, query: CountQuery, backend: str = "auto", progress: Progress | None = None) -> CountResult:
    """How many rows of the corpus lie at or above each threshold?

    One pass over the corpus at its version. The counts equal counting in real arithmetic over the stored float16
    vectors, whatever the backend.

    Parameters
    ----------
    corpus
        The corpus at one version.
    query
        Prototypes, thresholds, side.
    backend
        ``auto``, ``cpu`` or ``reference``.
    progress
        Advanced by the rows that are done; None shows nothing.

    Returns
    -------
    CountResult
        Counts, and everything that they hold for.

    Raises
    ------
    SpaceMismatch
        When the prototypes live in another space than the corpus.
    BadInput
        For a backend that does not exist.
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
    counter = chosen.prepare(query.prototypes.vectors, query.thresholds)
    counts = np.zeros(query.thresholds.shape, dtype=np.int64)
    rows, bad_rows = 0, _BadRows()
    start = time.perf_counter()
    for block in corpus.scan(query.side):
        bad_rows.look_at(block.offset, block.vectors)
        if not bad_rows.count:
            counts += counter.count_tile(block.vectors)
        rows += len(block.vectors)
        progress.advance(len(block.vectors))
    bad_rows.refuse(corpus, query.side)
    return CountResult(
        corpus=corpus.name,
        corpus_version=corpus.version,
        space=corpus.space,
        side=query.side,
        rows=rows,
        failures=known_failures(corpus),
        concepts=query.prototypes.names,
        recipes=query.prototypes.recipes,
        thresholds=query.thresholds,
        threshold_sources=query.threshold_sources,
        counts=counts,
        backend=chosen.name,
        seconds=time.perf_counter() - start,
    )


def known_failures(corpus: Corpus) -> int | None:
    """How many samples could not be embedded? None for an older version: the table of failures knows only today's."""
    newest = corpus.database.open_table(corpus.name).version
    return Ledger(corpus.database, corpus.name).failure_count() if corpus.version == newest else None


class _BadRows:
    """Rows that the exactness of counting cannot rest on: the first one, and how many there are in the whole corpus."""

    def __init__(self) -> None:
        self.count = 0
        self._first = 0

    def look_at(self, offset: int, vectors: np.ndarray) -> None:
        """Look for such rows in a block."""
        bad = np.flatnonzero(~is_unit(vectors))
        if len(bad) and not self.count:
            self._first = offset + int(bad[0])
        self.count += len(bad)

    def refuse(self, corpus: Corpus, side: str) -> None:
        """Raise when there were any, naming the first by its key."""
        if not self.count:
            return
        key = corpus.take_offsets([self._first], ["key"]).column("key")[0].as_py()
        others = f" and {self.count - 1:,} others are" if self.count > 1 else " is"
        raise TailwagError(
            f"the {side} vector of {key!r}{others} not finite or off unit length by more than {UNIT_TOLERANCE:g} in "
            f"corpus {corpus.name!r} (version {corpus.version}): nothing was counted; embed again, or delete them"
        )
