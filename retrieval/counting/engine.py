"""The pass: read the corpus once, feed the backend, add up.

Not here: how a counter is led through the table (`passes.py`), how a tile is answered (the backends), what is asked
(`query.py`), the sums (`tally.py`), what comes out (`result.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ...embed.ledger import Ledger
from ...embed.scanning import Fragment
from .backends import choose_backend
from .cluster import Cluster
from .passes import count_parts
from .query import CountQuery
from .result import CountResult, Partial
from .tally import Tally

# Consecutive fragments are counted together so that there are no more parts than this: their counts stay small beside
# the answer, and what changed between two versions is still found to within a few parts.
MOST_PARTS = 256


def count(
    corpus: Corpus,
    query: CountQuery,
    backend: str = "auto",
    progress: Progress | None = None,
    *,
    fragments: Sequence[Fragment] | None = None,
    parts: Sequence[Sequence[Fragment]] | None = None,
    cluster: Cluster | None = None,
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
    cluster
        Where to count; None counts on this machine.

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
    check_space(corpus, query)
    if parts is not None:
        fragments = [fragment for part in parts for fragment in part]
    wanted = corpus.fragments() if fragments is None else tuple(fragments)
    whole = parts_of(wanted) if parts is None else [tuple(part) for part in parts]
    start = time.perf_counter()
    mask = query.control.mask(corpus) if query.control is not None else None
    if cluster is None:
        chosen = choose_backend(backend)
        sums, name = count_parts(corpus, query, chosen, whole, whole, mask, progress), chosen.name
    else:
        sums, name = cluster.count_parts(corpus, query, backend, whole, mask, progress)
    sums.bad_rows.refuse(corpus)
    partials = sums.parts.finish() if sums.parts is not None else ()
    return make_result(corpus, query, sums.tally, name, time.perf_counter() - start, partials)


def check_space(corpus: Corpus, query: CountQuery) -> None:
    """Refuse prototypes of another space than the corpus's.

    Raises
    ------
    SpaceMismatch
        When they are.
    """
    query.prototypes.space.require_same(
        corpus.space,
        here="the prototypes are",
        there=f"corpus {corpus.name!r} holds",
        remedy="make the prototypes with the corpus's model",
    )


def make_result(
    corpus: Corpus, query: CountQuery, tally: Tally, backend: str, seconds: float, partials: tuple[Partial, ...] = ()
) -> CountResult:
    """Put together the answer to a query from its sums, and everything that it holds for."""
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
        backend=backend,
        seconds=seconds,
        histogram=tally.histogram,
        mention_counts=tally.mention_counts,
        mention_histogram=tally.mention_histogram,
        both_counts=tally.both_counts,
        margin_counts=tally.margin_counts,
        overlap=tally.overlap(),
        best=tally.best(),
        top=tally.top(),
        partials=partials,
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
