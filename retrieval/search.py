"""Which rows of a corpus are the most similar to a query: exactly, in one pass, or through a FAISS index.

Not here: the pass over all rows (`counting`), building and opening indices (`index.py`), the page (`search_page.py`).
A top-k list says nothing of how many rows there are: that is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import Progress

from ..embed.corpus import Corpus, Side, check_side
from .counting import CountQuery, count, similarities
from .prototypes import PrototypeSet

if TYPE_CHECKING:
    from .index import Index

_SHOWN = ("key", "caption", "url", "label", "width", "height")


@dataclass(frozen=True)
class Hit:
    """One row that was found.

    Attributes
    ----------
    rank
        1 for the most similar row.
    offset
        The row's position in the corpus at the result's version.
    similarity
        Σ xᵢpᵢ, exactly.
    key, caption, url, label, width, height
        As the corpus holds them; the label is None in a set without labels.
    """

    rank: int
    offset: int
    similarity: float
    key: str
    caption: str
    url: str
    label: str | None
    width: int
    height: int


@dataclass(frozen=True)
class QueryHits:
    """What was found for one query.

    Attributes
    ----------
    query
        The prototype's name.
    recipe
        How the prototype was made.
    hits
        Best first; equal similarities by offset.
    """

    query: str
    recipe: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class SearchResult:
    """The k most similar rows to each query.

    Attributes
    ----------
    corpus, version, rows
        What was searched, and how many rows it has.
    space, fingerprint
        The embedding space, for people and for comparison.
    side
        ``"image"``, or ``"text"`` for the caption's vector.
    k
        How many were asked for.
    exact
        True when every row was compared. An index may miss rows; the similarities are exact either way.
    method
        How, in words: ``exact (all 2,426 rows compared)``, ``approximate (IVF-Flat index, nprobe 30 of 894, …)``.
    queries
        One a prototype, in their order.
    """

    corpus: str
    version: int
    rows: int
    space: str
    fingerprint: str
    side: Side
    k: int
    exact: bool
    method: str
    queries: tuple[QueryHits, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values, for JSON."""
        return asdict(self)

    def to_arrow(self) -> Any:
        """Give one row a hit, as a `pyarrow.Table`: the query, the corpus and its version, and the hit's fields."""
        import pyarrow as pa

        shared = {"corpus": self.corpus, "version": self.version, "side": self.side, "exact": self.exact}
        rows = [{**shared, "query": found.query, **asdict(hit)} for found in self.queries for hit in found.hits]
        schema = pa.schema(
            [
                pa.field("corpus", pa.string()),
                pa.field("version", pa.int64()),
                pa.field("side", pa.string()),
                pa.field("exact", pa.bool_()),
                pa.field("query", pa.string()),
                pa.field("rank", pa.int64()),
                pa.field("offset", pa.int64()),
                pa.field("similarity", pa.float64()),
                *(pa.field(name, pa.string()) for name in ("key", "caption", "url", "label")),
                *(pa.field(name, pa.int32()) for name in ("width", "height")),
            ]
        )
        return pa.Table.from_pylist(rows, schema=schema)


def search(
    corpus: Corpus,
    prototypes: PrototypeSet,
    k: int,
    side: Side = "image",
    index: Index | None = None,
    *,
    nprobe: int | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Which k rows are the most similar to each prototype?

    Parameters
    ----------
    corpus
        What is searched.
    prototypes
        The queries, all answered in one pass.
    k
        How many rows; more than the corpus has gives them all.
    side
        Which vector of a pair is compared: ``"image"``, or ``"text"`` for the caption's.
    index
        An index of this corpus, version and side (`index.open_index`); None compares every row.
    nprobe
        How many of an IVF index's lists are looked into; None for the number it was built with.
    progress
        Advanced by the rows compared, when there is no index.

    Raises
    ------
    BadInput
        When k is less than 1, nprobe is given without an IVF index, or the index is of another corpus, version or side.
    SpaceMismatch
        When the prototypes are of another space.

    Examples
    --------
    >>> found = search(corpus, prototypes, k=20)                # doctest: +SKIP
    >>> found.queries[0].hits[0].similarity                     # doctest: +SKIP
    0.3114013671875
    """
    check_side(side)
    if k < 1:
        raise BadInput(f"k is {k}: ask for at least one row")
    if index is None and nprobe is not None:
        raise BadInput("nprobe says how much of an index is looked into, and there is none: leave it out")
    corpus.space.require_same(
        prototypes.space,
        here=f"corpus {corpus.name!r} holds",
        there="the query uses",
        remedy=f"make the query with {corpus.space.title}",
    )
    rows = len(corpus)
    if index is None:
        nearest = most_similar(corpus, prototypes, side, k, progress)
        method = f"exact (all {rows:,} rows compared)"
    else:
        index.require_for(corpus, side)
        candidates = index.candidates(prototypes.vectors, k, nprobe)
        nearest = rerank(corpus, side, prototypes.vectors, candidates, k)
        method = f"approximate ({index.describe_search(nprobe)})"
    return SearchResult(
        corpus=corpus.name,
        version=corpus.version,
        rows=rows,
        space=corpus.space.title,
        fingerprint=corpus.space.fingerprint,
        side=side,
        k=k,
        exact=index is None,
        method=method,
        queries=_with_rows(corpus, prototypes, nearest),
    )


def most_similar(
    corpus: Corpus, prototypes: PrototypeSet, side: Side, k: int, progress: Progress | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which k rows of the corpus are the most similar to each prototype, by comparing all?

    Returns
    -------
    list[tuple[numpy.ndarray, numpy.ndarray]]
        For each prototype (m,) int64 offsets and (m,) float64 similarities, m = min(k, rows), best first; equal
        similarities by offset.

    Raises
    ------
    TailwagError
        When a row cannot be read, or is not finite or not of unit length.
    """
    k = min(k, len(corpus))
    if k == 0:
        return [(np.zeros(0, np.int64), np.zeros(0))] * len(prototypes)
    top = count(corpus, CountQuery(prototypes, 1.0, side, top_k=k), progress=progress).top
    assert top is not None  # it was asked for
    return list(zip(top.offsets, top.similarities, strict=True))


def rerank(
    corpus: Corpus, side: Side, prototypes: np.ndarray, candidates: Sequence[np.ndarray], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which k of the candidates are the most similar, by the stored vectors?

    Parameters
    ----------
    corpus, side
        Where the vectors are.
    prototypes
        (C, d) float16.
    candidates
        For each prototype (m,) int64 offsets, all different, in any order.
    k
        How many are kept.

    Returns
    -------
    list[tuple[numpy.ndarray, numpy.ndarray]]
        As `most_similar` gives them.
    """
    offsets = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *candidates]))
    vectors = _take_vectors(corpus, side, offsets)
    nearest = []
    for prototype, own in zip(prototypes, candidates, strict=True):
        own = np.sort(own)
        exact = similarities(vectors[np.searchsorted(offsets, own)], prototype[None])[:, 0]
        order = np.lexsort((own, -exact))[:k]
        nearest.append((own[order], exact[order]))
    return nearest


def _take_vectors(corpus: Corpus, side: Side, offsets: np.ndarray) -> np.ndarray:
    if not len(offsets):
        return np.zeros((0, corpus.space.dimension), dtype=np.float16)
    column = corpus.take_offsets(offsets, [side]).column(0).combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, corpus.space.dimension)


def _with_rows(
    corpus: Corpus, prototypes: PrototypeSet, nearest: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[QueryHits, ...]:
    """Read what is shown of the rows that were found, each row once, and of no others."""
    offsets = np.unique(np.concatenate([own for own, _ in nearest]))
    row_of = {}
    if len(offsets):
        rows = corpus.take_offsets(offsets, _SHOWN).to_pylist()
        row_of = dict(zip(offsets.tolist(), rows, strict=True))
    return tuple(
        QueryHits(
            name,
            recipe,
            tuple(
                Hit(rank=rank, offset=offset, similarity=similarity, **row_of[offset])
                for rank, (offset, similarity) in enumerate(zip(own.tolist(), exact.tolist(), strict=True), start=1)
            ),
        )
        for name, recipe, (own, exact) in zip(prototypes.names, prototypes.recipes, nearest, strict=True)
    )
